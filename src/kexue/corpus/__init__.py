"""Text at any size, and counts of what is in it."""

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
