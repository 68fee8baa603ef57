"""Vectors of words and documents."""

from kexue.vectors.ppmi import PPMI, positive_pmi

__all__ = ["PPMI", "positive_pmi"]
