"""The graph of nearest neighbours by cosine, the bridge from vectors to communities."""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from kexue._core import InputError, check_choice, check_float, check_int, effective_jobs


def knn_graph(
    X: ArrayLike,
    n_neighbors: int = 50,
    min_similarity: float = 0.6,
    metric: str = "cosine",
    mutual: bool = False,
    n_jobs: int | None = None,
) -> csr_array:
    """Return the directed graph from every vector to its most similar others.

    Parameters
    ----------
    X : array-like of float, shape (n_samples, n_features)
        Computed in float32 if it is float32, else in float64; similarities always in float64.
        A zero vector has no neighbours.
    n_neighbors : int
        At most so many neighbours each, the vector itself not among them. Of equally similar
        ones the first in X are taken.
    min_similarity : float in [0, 1]
        Neighbours are at least so similar; similarity 0 makes no link.
    metric : {"cosine"}
    mutual : bool
        Keep only links that exist in both directions.
    n_jobs : int, optional
        Threads, all processors by default. The result does not depend on it.

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
    jobs = effective_jobs(n_jobs)
    vectors = _checked_vectors(X)
    n = vectors.shape[0]
    norms = np.sqrt(_squares(vectors))
    present = np.flatnonzero(norms > 0.0)
    if present.size < 2:
        return csr_array((n, n), dtype=np.float64)
    unit = (vectors[present] / norms[present, None]).astype(vectors.dtype)
    # A few candidates more than asked for, so that rounding in the search cannot cost a place.
    width = min(present.size, k + 1 + max(8, k // 8))
    candidates = present[_nearest(unit, width, jobs)]
    slack = 1e-5 if vectors.dtype == np.float32 else 1e-10
    columns, cosines, counts = _best_of(
        vectors, norms, present, candidates, min(k, n - 1), least, slack, width == present.size
    )
    graph = _csr(columns, cosines, counts, present, n)
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
    if not np.isfinite(vectors.sum(dtype=np.float64)):
        bad = np.argwhere(~np.isfinite(vectors))
        if bad.size:
            row, column = bad[0]
            raise InputError(
                f"X must be finite, got {float(vectors[row, column])!r} "
                f"at row {row}, column {column}"
            )
    return vectors


def _nearest(unit: NDArray[Any], width: int, jobs: int) -> NDArray[np.int64]:
    """Return the `width` nearest rows of every row, itself among them."""
    from sklearn.neighbors import NearestNeighbors
    from threadpoolctl import threadpool_limits

    # on unit vectors euclidean order is cosine order, and only euclidean has the fast path
    search = NearestNeighbors(n_neighbors=width, algorithm="brute", metric="euclidean")
    with threadpool_limits(limits=jobs):
        found = search.fit(unit).kneighbors(unit, return_distance=False)
    return np.asarray(found, dtype=np.int64)


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
def _best_of(vectors, norms, present, candidates, k, least, slack, complete):  # type: ignore[no-untyped-def]
    """Return (columns, cosines, counts) of the k best candidates of every row of `present`.

    Where the last place is within `slack` of what the search may have left out, all rows are
    compared, so that the result is exact, whatever the search does with near-ties.
    """
    rows = present.size
    columns = np.empty((rows, k), np.int64)
    cosines = np.empty((rows, k))
    counts = np.zeros(rows, np.int64)
    for r in range(rows):
        i = present[r]
        last = np.inf  # the least similar candidate
        for attempt in range(2):
            pool = candidates[r] if attempt == 0 else present
            count = 0
            for j in pool:
                if j == i:
                    continue
                cosine = _cosine(vectors, norms, i, j)
                last = min(last, cosine)
                if cosine < least or cosine <= 0.0:
                    continue
                at = count
                while at > 0 and (
                    cosines[r, at - 1] < cosine
                    or (cosines[r, at - 1] == cosine and columns[r, at - 1] > j)
                ):
                    at -= 1
                if at >= k:
                    continue
                count = min(count + 1, k)
                for t in range(count - 1, at, -1):
                    cosines[r, t] = cosines[r, t - 1]
                    columns[r, t] = columns[r, t - 1]
                cosines[r, at] = cosine
                columns[r, at] = j
            needed = cosines[r, k - 1] if count == k else max(least, 0.0)
            if complete or needed > last + slack:
                break
        counts[r] = count
    return columns, cosines, counts


def _csr(
    columns: NDArray[np.int64],
    cosines: NDArray[np.float64],
    counts: NDArray[np.int64],
    present: NDArray[np.int64],
    n: int,
) -> csr_array:
    """Put the neighbour lists of the rows `present` into a matrix with sorted columns."""
    lengths = np.zeros(n, np.int64)
    lengths[present] = counts
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    chosen = np.arange(columns.shape[1]) < counts[:, None]
    graph = csr_array((cosines[chosen], columns[chosen], indptr), shape=(n, n))
    graph.sort_indices()
    return graph
