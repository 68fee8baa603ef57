"""From raw text to a page that explains it: words, communities, and what each is worth."""

from kexue.atlas.atlas import Atlas
from kexue.atlas.ledger import LedgerRow, entropy_ledger

__all__ = ["Atlas", "LedgerRow", "entropy_ledger"]
