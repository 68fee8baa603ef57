"""Communities within communities, as an array of paths from the top."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


def numbered_by_use(paths: Iterable[tuple[int, ...]], uses: np.ndarray) -> np.ndarray:
    """Return paths whose numbers go, among siblings, by how much of the text their words make up.

    Lone words come last. Not by flow: on a graph of nearest neighbours that gathers at odd words
    which happen to be near many others.

    Parameters
    ----------
    paths : iterable of n_words tuples of int
        The modules around each word from the top: the place of each among its siblings.
    uses : integer array of shape (n_words,)

    Returns
    -------
    int64 array of shape (n_words, depth)
        Numbers from 0; -1 below the innermost module.
    """
    array = path_array(paths)
    numbered = np.full_like(array, -1)
    parent = np.zeros(len(array), np.int64)
    for level in range(array.shape[1]):
        _, first, module = np.unique(
            np.column_stack((parent, array[:, level])), axis=0, return_index=True,
            return_inverse=True,
        )  # fmt: skip
        module = module.ravel()
        size, use = np.bincount(module), np.bincount(module, uses)
        order = np.lexsort((np.arange(size.size), -use, size == 1, parent[first]))
        begins = np.searchsorted(parent[first][order], parent[first][order])
        place = np.empty(size.size, np.int64)
        place[order] = np.arange(size.size) - begins
        inside = array[:, level] >= 0
        numbered[inside, level] = place[module[inside]]
        parent = module
    return numbered


def path_array(paths: Iterable[tuple[int, ...]]) -> np.ndarray:
    """Return paths as rows of an int64 array, -1 after their ends."""
    given = list(paths)
    array = np.full((len(given), max(map(len, given), default=1)), -1, np.int64)
    for row, path in enumerate(given):
        array[row, : len(path)] = path
    return array


def communities_at(paths: np.ndarray, level: int) -> np.ndarray:
    """Return the module of each word at a level from 1, int64, numbered from 0 along the paths.

    In branches that end earlier the innermost module counts.
    """
    if not len(paths):
        return np.zeros(0, np.int64)
    return np.unique(paths[:, :level], axis=0, return_inverse=True)[1].astype(np.int64).ravel()


def spelled_paths(paths: np.ndarray, level: int) -> list[str]:
    """Return the path of each word's community at a level, such as ``"3:1"``, as in a tree file."""
    cut = paths[:, :level]
    distinct, of = np.unique(cut, axis=0, return_inverse=True)
    names = [":".join(str(place + 1) for place in path if place >= 0) for path in distinct.tolist()]
    return [names[k] for k in of.ravel().tolist()]
