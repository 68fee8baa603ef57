"""Text at any size, and counts of what is in it."""

from kexue.corpus.counting import NGramCounts, count_ngrams
from kexue.corpus.pairs import count_pairs
from kexue.corpus.texts import Texts, as_texts, read_texts

__all__ = ["NGramCounts", "Texts", "as_texts", "count_ngrams", "count_pairs", "read_texts"]
