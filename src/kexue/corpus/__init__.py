"""Text at any size, and counts of what is in it.

Modules are imported on first use, so that processes which need no kernels start at once.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kexue.corpus.counting import count_ngrams
    from kexue.corpus.ngrams import NGramCounts
    from kexue.corpus.pairs import count_pairs
    from kexue.corpus.parallel import parallel_apply
    from kexue.corpus.texts import Texts, as_texts, read_texts
    from kexue.corpus.word_counts import WordCounts, count_words

__all__ = [
    "NGramCounts",
    "Texts",
    "WordCounts",
    "as_texts",
    "count_ngrams",
    "count_pairs",
    "count_words",
    "parallel_apply",
    "read_texts",
]

_MODULES = {
    "NGramCounts": "ngrams",
    "Texts": "texts",
    "WordCounts": "word_counts",
    "as_texts": "texts",
    "count_ngrams": "counting",
    "count_pairs": "pairs",
    "count_words": "word_counts",
    "parallel_apply": "parallel",
    "read_texts": "texts",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'kexue.corpus' has no attribute {name!r}")
    return getattr(importlib.import_module(f"kexue.corpus.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
