"""Vectors of documents that JoSE has not learned from, the words standing still."""

from __future__ import annotations

import itertools

import numpy as np

from kexue._core import thread_map
from kexue.vectors import _jose_kernels as kernels
from kexue.vectors._jose_training import POWER, Settings, alias_table
from kexue.vectors._token_lists import TokenLists


def infer(
    lists: TokenLists, vectors: np.ndarray, counts: np.ndarray, settings: Settings
) -> np.ndarray:
    """Return a vector for each document that has a word; rows of the others are not set.

    Each begins where its words point, less where words drawn at random do.

    Parameters
    ----------
    lists : TokenLists
        Documents in rows of `vectors`.
    vectors : float32 array of shape (n_words, dim)
    counts : int64 array of shape (n_words,)
        By which negatives are drawn.
    settings : Settings

    Returns
    -------
    float32 array of shape (n_documents, dim)
    """
    n, dim = len(lists), vectors.shape[1]
    weights = counts**POWER
    drawn = (weights @ vectors / weights.sum()).astype(np.float32)
    found = np.empty((n, dim), np.float32)
    share, alias = alias_table(counts)
    epochs = max(settings.epochs, 1)
    rates = (settings.rate * (1 - np.arange(epochs) / epochs)).astype(np.float32)
    seed = np.uint64(settings.seed << 32)

    def part(bounds: tuple[int, int]) -> None:
        for k in range(*bounds):
            rows = lists.ids[lists.offsets[k] : lists.offsets[k + 1]]
            if rows.size:
                found[k] = unit(vectors[rows].mean(axis=0) - drawn)
        kernels.infer_documents(
            lists.ids, lists.offsets, *bounds, rates, share, alias, vectors,
            dim, settings.negative, np.float32(settings.margin), seed, found,
        )  # fmt: skip

    edges = np.linspace(0, n, settings.n_jobs + 1).astype(int).tolist()
    thread_map(part, itertools.pairwise(edges), settings.n_jobs)
    return found


def unit(vector: np.ndarray) -> np.ndarray:
    """Return the vector at length 1; zeros stay zeros."""
    norm = np.linalg.norm(vector)
    return vector / norm if norm else vector
