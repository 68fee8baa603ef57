"""Words found without a dictionary, and a tokenizer that knows them."""

from kexue.words.discovery import WordDiscoverer
from kexue.words.parsing import SentenceParser
from kexue.words.scoring import segmentation_score
from kexue.words.templates import TemplateFinder
from kexue.words.tokenizer import UnigramTokenizer
from kexue.words.tokens import word_table

__all__ = [
    "SentenceParser",
    "TemplateFinder",
    "UnigramTokenizer",
    "WordDiscoverer",
    "segmentation_score",
    "word_table",
]
