"""Graphs of nearest neighbours: equal to the plain definition, whatever the threads."""

import numpy as np
import pytest

from kexue._core import InputError
from kexue.graph import knn_graph, neighbors


def plain_knn(X, k, least):
    X = X.astype(np.float64)
    norms = np.linalg.norm(X, axis=1)
    cosine = X @ X.T / np.maximum(np.outer(norms, norms), 1e-300)
    np.fill_diagonal(cosine, -1.0)
    out = np.zeros_like(cosine)
    for i in range(len(X)):
        for j in np.argsort(-cosine[i], kind="stable")[:k]:
            if cosine[i, j] >= least and cosine[i, j] > 0:
                out[i, j] = cosine[i, j]
    return out


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("k", "least"), [(5, 0.3), (50, 0.6), (1, 0.0), (500, 0.1)])
def test_it_is_the_definition(dtype, k, least):
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(12, 8))[rng.integers(0, 12, 300)] + rng.normal(size=(300, 8))) / 2
    X[7] = 0.0
    graph = knn_graph(X.astype(dtype), k, least)
    assert graph.dtype == np.float64
    assert graph.has_canonical_format
    np.testing.assert_allclose(graph.toarray(), plain_knn(X.astype(dtype), k, least), atol=1e-12)
    assert graph[[7]].nnz == 0
    assert graph.diagonal().sum() == 0


@pytest.mark.parametrize("n", [60, 3000])
def test_threads_do_not_matter(n):
    X = np.random.default_rng(1).normal(size=(n, 16)).astype(np.float32)
    X[n // 2 :] = X[: n - n // 2]  # every vector twice: ties everywhere
    graphs = [knn_graph(X, 10, 0.2, n_jobs=jobs) for jobs in (1, 2, None)]
    for other in graphs[1:]:
        np.testing.assert_array_equal(graphs[0].indptr, other.indptr)
        np.testing.assert_array_equal(graphs[0].indices, other.indices)
        np.testing.assert_array_equal(graphs[0].data, other.data)


def test_of_equals_the_first_are_taken():
    graph = knn_graph(np.tile([[1.0, 2.0]], (40, 1)), 3)
    assert graph[[20]].indices.tolist() == [0, 1, 2]
    assert graph[[1]].indices.tolist() == [0, 2, 3]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_copies_of_rows_are_rows(dtype):
    rng = np.random.default_rng(3)
    X = rng.normal(size=(20, 4))[rng.integers(0, 20, 200)].astype(dtype)
    X[::3] = rng.normal(size=X[::3].shape)
    X[5] = X[60] = 0.0
    # equal rows have equal cosines to all others, to the last bit
    for k in (1, 7, 30, 199):
        expected = plain_knn(X, k, 0.3)
        found = knn_graph(X, k, 0.3).toarray()
        np.testing.assert_allclose(np.sort(found), np.sort(expected), atol=1e-7)
    *others, last = np.flatnonzero((X[1] == X).all(axis=1)).tolist()
    assert len(others) > 2
    assert knn_graph(X, len(others))[[last]].indices.tolist() == others


@pytest.mark.parametrize("scale", [5e-324, 1e-200, 1e-160, 1e200, 1e305])
def test_lengths_do_not_matter(scale):
    X = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 3.0], [0.0, 0.0]])
    far = X.copy()
    far[1:] *= scale
    for other in (X * scale, far):
        graph = knn_graph(other, 2, 0.1)
        np.testing.assert_allclose(graph.toarray(), knn_graph(X, 2, 0.1).toarray(), atol=1e-15)
        assert graph.nnz == 4


def test_many_copies_need_no_full_comparison(monkeypatch):
    # every candidate list beyond the first would be a scan of all pairs
    X = np.random.default_rng(4).normal(size=(1500, 8))
    shapes = []
    nearest = neighbors._nearest

    def spy(unit, *others):
        shapes.append(unit.shape)
        return nearest(unit, *others)

    monkeypatch.setattr(neighbors, "_nearest", spy)
    knn_graph(np.concatenate([X, X, 2 * X]), 10)
    assert shapes == [(1500, 8)]


def test_what_rounding_leaves_out_is_looked_up():
    """The search tells cosines apart to 1e-7; these differ by less."""
    X = 1 + 1e-5 * np.random.default_rng(5).normal(size=(300, 4))
    found, expected = (graph.sum(axis=1) for graph in (knn_graph(X, 5, 0.0), plain_knn(X, 5, 0.0)))
    np.testing.assert_allclose(np.asarray(found).ravel(), expected, rtol=0, atol=2e-15)


def test_an_inexact_search_misses_some(monkeypatch):
    rng = np.random.default_rng(6)
    X = rng.normal(size=(4000, 16))
    whole = knn_graph(X, 10, 0.0)
    np.testing.assert_array_equal(knn_graph(X, 10, 0.0, exact=False).indices, whole.indices)
    monkeypatch.setattr(neighbors, "LEAST_APPROXIMATE", 1000)
    found = knn_graph(X, 10, 0.0, exact=False)
    assert 0.5 < found.multiply(whole != 0).nnz / whole.nnz < 1
    assert found.data.min() > 0
    # what is found has its exact cosine
    both = (found != 0).multiply(whole)
    np.testing.assert_array_equal(both.data, found.multiply(whole != 0).tocsr().data)


def test_mutual_links_go_both_ways():
    X = np.random.default_rng(2).normal(size=(200, 6))
    full = knn_graph(X, 5, 0.1).toarray()
    mutual = knn_graph(X, 5, 0.1, mutual=True).toarray()
    np.testing.assert_array_equal(mutual, np.where(full.T > 0, full, 0))
    assert 0 < (mutual > 0).sum() < (full > 0).sum()


@pytest.mark.parametrize("X", [np.zeros((3, 2)), np.ones((1, 4)), [[0.0, 0.0], [1.0, 0.0]]])
def test_nobody_to_be_near_to(X):
    assert knn_graph(X).nnz == 0


@pytest.mark.parametrize(
    ("X", "arguments", "message"),
    [
        ([[0.0, np.nan]], {}, "X must be finite, got nan at row 0, column 1"),
        ([1.0, 2.0], {}, r"X must be a numeric 2-D array .* got shape \(2,\)"),
        (np.ones((2, 0)), {}, r"got shape \(2, 0\)"),
        ([[1.0]], {"n_neighbors": 0}, "n_neighbors must be an int >= 1, got 0"),
        ([[1.0]], {"min_similarity": 2}, r"min_similarity must be a finite number in \[0, 1\]"),
        ([[1.0]], {"metric": "l2"}, "metric must be one of 'cosine', got 'l2'"),
    ],
)
def test_bad_input(X, arguments, message):
    with pytest.raises(InputError, match=message):
        knn_graph(X, **arguments)


def test_exact_is_yes_or_no():
    with pytest.raises(TypeError, match="exact must be a bool, got 'no'"):
        knn_graph([[1.0, 0.0], [0.0, 1.0]], exact="no")
