"""Vectors of words and documents."""

from kexue.vectors.encoders import SentenceEncoder
from kexue.vectors.isotropy import IsotropyReport, isotropy
from kexue.vectors.jose import JoSE
from kexue.vectors.ppmi import PPMI, positive_pmi
from kexue.vectors.sts import STSReport, evaluate_sts, read_pairs
from kexue.vectors.whitening import Whitening

__all__ = [
    "PPMI",
    "IsotropyReport",
    "JoSE",
    "STSReport",
    "SentenceEncoder",
    "Whitening",
    "evaluate_sts",
    "isotropy",
    "positive_pmi",
    "read_pairs",
]
