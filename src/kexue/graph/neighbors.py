"""The graph of nearest neighbours by cosine, the bridge from vectors to communities."""

import hashlib
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from kexue._core import (
    InputError,
    check_choice,
    check_float,
    check_int,
    effective_jobs,
    thread_map,
)

_BLOCK = 256  # rows per task of a thread
# Of the approximate search: with fewer rows all are compared; 4 sqrt(n) cells, so many of whose
# rows are looked at to find them, and so many of which are searched for each row
LEAST_APPROXIMATE = 10_000
POINTS_PER_CELL = 64
CELLS_LOOKED_AT = 32
UNIT_ROUNDOFF = 2.0**-24  # of float32


def knn_graph(
    X: ArrayLike,
    n_neighbors: int = 50,
    min_similarity: float = 0.6,
    metric: str = "cosine",
    mutual: bool = False,
    n_jobs: int | None = None,
    *,
    exact: bool = True,
) -> csr_array:
    """Return the directed graph from every vector to its most similar others.

    Parameters
    ----------
    X : array-like of float, shape (n_samples, n_features)
        Computed in float32 if it is float32, else in float64; similarities always in float64.
        Lengths do not matter, however large or small. A zero vector has no neighbours.
    n_neighbors : int
        At most so many neighbours each, the vector itself not among them. Of equally similar
        ones the first in X are taken.
    min_similarity : float in [0, 1]
        Neighbours are at least so similar; similarity 0 makes no link.
    metric : {"cosine"}
    mutual : bool
        Keep only links that exist in both directions.
    n_jobs : int, optional
        Threads: None means 1, -1 all processors. An exact result does not depend on it.
    exact : bool
        False compares each of 10,000 vectors or more with those in cells near it only, and so
        misses some neighbours, about 3 of 100; it takes time in proportion to n**1.5 instead of
        n**2.

    Returns
    -------
    csr_array of float64, shape (n_samples, n_samples)
        ``A[i, j]`` is the cosine of rows i and j; columns sorted.

    Raises
    ------
    InputError
        For NaN or infinite values (the first is named) or a bad parameter.

    Examples
    --------
    >>> knn_graph([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]], n_neighbors=1).toarray().round(3)
    array([[0.   , 0.995, 0.   ],
           [0.995, 0.   , 0.   ],
           [0.   , 0.   , 0.   ]])
    """
    check_choice("metric", metric, ("cosine",))
    k = check_int("n_neighbors", n_neighbors, minimum=1)
    least = check_float("min_similarity", min_similarity, minimum=0, maximum=1)
    if not isinstance(exact, bool | np.bool_):
        raise TypeError(f"exact must be a bool, got {exact!r}")
    jobs = effective_jobs(n_jobs)
    vectors = _checked_vectors(X)
    n = vectors.shape[0]
    exact = bool(exact) or n < LEAST_APPROXIMATE
    k = min(k, n - 1)
    present, vectors = _scaled(vectors)
    if present.size < 2:
        return csr_array((n, n), dtype=np.float64)
    group, first = _equal_rows(vectors)
    vectors = vectors[first]
    members = np.argsort(group, kind="stable")
    begin = np.concatenate([[0], np.cumsum(np.bincount(group))])
    found = _best_members(vectors, begin, members, k + 1, least, exact, jobs)
    graph = _csr(found, group, present, k, n)
    if mutual:
        back = graph.T.tocsr()
        back.data[:] = 1.0
        graph = csr_array(graph.multiply(back))
        graph.sort_indices()
    return graph


def _checked_vectors(X: ArrayLike) -> NDArray[Any]:
    array = np.asarray(X)
    if array.ndim != 2 or array.dtype.kind not in "iuf" or 0 in array.shape:
        raise InputError(
            "X must be a numeric 2-D array with at least one row and column, got shape "
            f"{array.shape}, dtype {array.dtype}"
        )
    vectors = np.ascontiguousarray(
        array, dtype=np.float32 if array.dtype == np.float32 else np.float64
    )
    if not (np.isfinite(vectors.max()) and np.isfinite(vectors.min())):
        row, column = np.argwhere(~np.isfinite(vectors))[0]
        raise InputError(
            f"X must be finite, got {float(vectors[row, column])!r} at row {row}, column {column}"
        )
    return vectors


def _scaled(vectors: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Return which rows are not zero, and these with their largest entry in [0.5, 1).

    The factors are powers of two, so nothing is rounded, and no square over- or underflows.
    """
    largest = np.maximum(vectors.max(axis=1), -vectors.min(axis=1))
    present = np.flatnonzero(largest)
    rows = vectors[present]
    return present, np.ldexp(rows, -np.frexp(largest[present])[1][:, None], out=rows)


def _equal_rows(vectors: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the group of equal rows that each row belongs to, and the first row of each group."""
    seen: dict[bytes, int] = {}
    group = [seen.setdefault(hashlib.sha256(row).digest(), len(seen)) for row in vectors]
    codes = np.array(group, np.int64)
    return codes, np.unique(codes, return_index=True)[1]


def _best_members(
    vectors: NDArray[Any],
    begin: NDArray[np.int64],
    members: NDArray[np.int64],
    k: int,
    least: float,
    exact: bool,
    jobs: int,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Return (columns, cosines, counts): the k nearest rows of every group, its own among them.

    Group g has the vector ``vectors[g]`` and the rows ``members[begin[g]:begin[g + 1]]``.
    """
    n_groups = vectors.shape[0]
    norms = np.sqrt(_squares(vectors))
    unit = (vectors / norms[:, None]).astype(vectors.dtype)
    # A few candidates more than asked for, so that rounding in the search cannot cost a place.
    width = min(n_groups, k + max(8, k // 8))
    candidates = _nearest(unit, width, exact, jobs)
    # what rounding to float32 may cost a cosine; nothing is looked up again if not exact
    slack = (vectors.shape[1] + 4) * UNIT_ROUNDOFF if exact else -np.inf
    columns = np.empty((n_groups, k), np.int64)
    cosines = np.empty((n_groups, k))
    counts = np.empty(n_groups, np.int64)

    def fill(start: int) -> None:
        stop = min(start + _BLOCK, n_groups)
        _best_of(
            vectors, norms, begin, members, candidates, least, slack, start, stop,
            columns, cosines, counts,
        )  # fmt: skip

    thread_map(fill, range(0, n_groups, _BLOCK), jobs)
    return columns, cosines, counts


def _nearest(unit: NDArray[Any], width: int, exact: bool, jobs: int) -> NDArray[np.int64]:
    """Return the `width` nearest rows of every row, itself among them; -1 where none was found."""
    import faiss
    from threadpoolctl import threadpool_limits

    rows, dim = unit.shape
    vectors = np.ascontiguousarray(unit, np.float32)
    # on unit vectors the inner product is the cosine
    index: Any = faiss.IndexFlatIP(dim)
    if not exact:
        cells = round(4 * rows**0.5)
        index = faiss.IndexIVFFlat(index, dim, cells, faiss.METRIC_INNER_PRODUCT)
        index.cp.min_points_per_centroid = 1  # or it prints a warning
        index.cp.max_points_per_centroid = POINTS_PER_CELL
        index.nprobe = CELLS_LOOKED_AT
    with threadpool_limits(limits=jobs):
        if not index.is_trained:
            index.train(vectors)
        index.add(vectors)
        _, found = index.search(vectors, width)
    return np.asarray(found, np.int64)


@njit(cache=True, nogil=True)
def _squares(vectors):  # type: ignore[no-untyped-def]
    """Return the squared length of every row, in float64."""
    out = np.zeros(vectors.shape[0])
    for i in range(vectors.shape[0]):
        for d in range(vectors.shape[1]):
            out[i] += np.float64(vectors[i, d]) * np.float64(vectors[i, d])
    return out


@njit(cache=True, nogil=True)
def _cosine(vectors, norms, i, j):  # type: ignore[no-untyped-def]
    # four sums, always combined in the same order: fast, symmetric in i and j, repeatable
    a, b, c, e = 0.0, 0.0, 0.0, 0.0
    width = vectors.shape[1]
    whole = width - width % 4
    for d in range(0, whole, 4):
        a += np.float64(vectors[i, d]) * np.float64(vectors[j, d])
        b += np.float64(vectors[i, d + 1]) * np.float64(vectors[j, d + 1])
        c += np.float64(vectors[i, d + 2]) * np.float64(vectors[j, d + 2])
        e += np.float64(vectors[i, d + 3]) * np.float64(vectors[j, d + 3])
    for d in range(whole, width):
        a += np.float64(vectors[i, d]) * np.float64(vectors[j, d])
    return min(1.0, ((a + b) + (c + e)) / (norms[i] * norms[j]))


@njit(cache=True, nogil=True)
def _best_of(  # type: ignore[no-untyped-def]
    vectors, norms, begin, members, candidates, least, slack, start, stop, columns, cosines, counts
):
    """Fill the rows ``start .. stop - 1`` of (columns, cosines, counts), see `_best_members`.

    Where the last place is within `slack` of what the search may have left out, all groups are
    compared, so that the result is exact, whatever the search does with near-ties.
    """
    n_groups, k = columns.shape
    everyone = np.arange(n_groups)
    for g in range(start, stop):
        last = np.inf  # the least similar candidate
        for attempt in range(2):
            pool = candidates[g] if attempt == 0 else everyone
            count = 0
            for h in pool:
                if h < 0:
                    continue
                cosine = _cosine(vectors, norms, g, h)
                last = min(last, cosine)
                if cosine < least or cosine <= 0.0:
                    continue
                for j in members[begin[h] : begin[h + 1]]:
                    at = count
                    while at > 0 and (
                        cosines[g, at - 1] < cosine
                        or (cosines[g, at - 1] == cosine and columns[g, at - 1] > j)
                    ):
                        at -= 1
                    if at >= k:
                        break  # the other members come later still
                    count = min(count + 1, k)
                    for t in range(count - 1, at, -1):
                        cosines[g, t] = cosines[g, t - 1]
                        columns[g, t] = columns[g, t - 1]
                    cosines[g, at] = cosine
                    columns[g, at] = j
            needed = cosines[g, k - 1] if count == k else max(least, 0.0)
            if pool.size == n_groups or needed > last + slack:
                break
        counts[g] = count


def _csr(
    found: tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]],
    group: NDArray[np.int64],
    present: NDArray[np.int64],
    k: int,
    n: int,
) -> csr_array:
    """Give every row of `present` the first k of its group's list other than itself."""
    columns, cosines, counts = found
    chosen = np.arange(columns.shape[1]) < counts[:, None]
    chosen = chosen[group] & (columns[group] != np.arange(group.size)[:, None])
    chosen &= np.cumsum(chosen, axis=1) <= k
    lengths = np.zeros(n, np.int64)
    lengths[present] = chosen.sum(axis=1)
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    graph = csr_array(
        (cosines[group][chosen], present[columns[group][chosen]], indptr), shape=(n, n)
    )
    graph.sort_indices()
    return graph
