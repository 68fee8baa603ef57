"""Which rows of a table of vectors point most nearly in one direction."""

from __future__ import annotations

import numpy as np


def nearest_rows(
    vectors: np.ndarray, query: np.ndarray, n: int, own: int = -1
) -> list[tuple[int, float]]:
    """Return the `n` rows of largest cosine with a vector and these cosines, best first.

    Parameters
    ----------
    vectors : array of shape (n_rows, dim)
        Of any length; rows of zeros have the cosine 0.
    query : array of shape (dim,)
    n : int
    own : int
        A row that is left out; -1 for none.
    """
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    least = np.finfo(np.float32).tiny
    cosines = vectors @ query / np.maximum(lengths * np.linalg.norm(query), least)
    if own >= 0:
        cosines[own] = -np.inf
    best = np.argsort(-cosines, kind="stable")[: min(n, cosines.size - (own >= 0))]
    return [(row, float(cosines[row])) for row in best.tolist()]
