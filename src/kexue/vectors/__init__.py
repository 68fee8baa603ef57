"""Vectors of words and documents."""

from kexue.vectors.jose import JoSE
from kexue.vectors.ppmi import PPMI, positive_pmi

__all__ = ["PPMI", "JoSE", "positive_pmi"]
