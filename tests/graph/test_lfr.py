"""The generator of the benchmarks' LFR graphs, and Infomap on them."""

import importlib
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import normalized_mutual_info_score

from kexue.graph import Infomap

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def lfr_graph():
    # pytest imports by path and leaves sys.path alone; the benchmarks are no part of the package
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)
        return importlib.import_module("benchmarks.graph.lfr").lfr_graph


def degrees_of(links, n):
    return np.bincount(links.ravel(), minlength=n)


def mixing(links, communities):
    return np.mean(communities[links[:, 0]] != communities[links[:, 1]])


@pytest.mark.parametrize(("n", "mu"), [(1000, 0.3), (100_000, 0.4), (100_000, 0.55)])
def test_a_simple_graph_of_the_stated_mean_and_mixing(lfr_graph, n, mu):
    links, communities = lfr_graph(n, mu, seed=3)
    assert links.shape[1] == 2
    assert communities.shape == (n,)
    assert (links[:, 0] != links[:, 1]).all()
    ends = np.sort(links, axis=1).astype(np.int64)
    assert np.unique(ends[:, 0] * n + ends[:, 1]).size == len(links)
    assert degrees_of(links, n).mean() == pytest.approx(20.0, rel=0.02)
    # rounding leaves chance in the mixing of a thousand nodes
    assert mixing(links, communities) == pytest.approx(mu, rel=0.02 if n > 1000 else 0.05)


def test_degrees_follow_the_power_law(lfr_graph):
    links, _ = lfr_graph(100_000, 0.4, seed=0)
    degrees = degrees_of(links, 100_000)
    assert degrees.max() <= 200

    def tail(k):  # not normalised; a degree x is rounded up or down, so >= k begins about k - 1/2
        return (k - 0.5) ** -1.5 - 200**-1.5

    for low, high in ((10, 20), (20, 40), (40, 80)):
        share = np.mean(degrees >= high) / np.mean(degrees >= low)
        assert share == pytest.approx(tail(high) / tail(low), rel=0.03)


def test_each_node_keeps_the_mixing(lfr_graph):
    links, communities = lfr_graph(20_000, 0.4, seed=1)
    degrees = degrees_of(links, 20_000)
    outside = communities[links[:, 0]] != communities[links[:, 1]]
    outer = degrees_of(links[outside], 20_000)
    # rounding moves the outer degree by less than 1, an odd stub by one more in a few communities
    assert np.mean(np.abs(outer - 0.4 * degrees) < 1.0) > 0.98


@pytest.mark.parametrize("n", [120, 1234, 100_000])
def test_community_sizes_are_in_range(lfr_graph, n):
    _, communities = lfr_graph(n, 0.4, seed=2, sizes=(50, 300), max_degree=100)
    size = np.bincount(communities)
    assert size.sum() == n
    assert size.min() >= 50
    assert size.max() <= 300
    if n == 100_000:
        # P(size >= 2 least) of the density x**-1.5 between 50 and 301
        share = (100**-0.5 - 301**-0.5) / (50**-0.5 - 301**-0.5)
        assert np.mean(size >= 100) == pytest.approx(share, abs=0.05)


def test_one_seed_one_graph(lfr_graph):
    one, two, other = (lfr_graph(3000, 0.4, seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(one[0], two[0])
    np.testing.assert_array_equal(one[1], two[1])
    assert not np.array_equal(one[1], other[1])


def test_ids_and_order_say_nothing_about_communities(lfr_graph):
    links, communities = lfr_graph(20_000, 0.4, seed=0)
    chance = np.sum((np.bincount(communities) / 20_000) ** 2)
    assert np.mean(communities[1:] == communities[:-1]) < 1.5 * chance
    first = communities[links[:, 0]]
    assert np.mean(first[1:] == first[:-1]) < 1.5 * chance


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mu": 1.0}, r"mu must be in \[0, 1\), got 1.0"),
        ({"max_degree": 2000}, "max_degree 2000 has no community of more than 1000 nodes"),
        ({"n_nodes": 40}, "40 nodes cannot be parted into communities of 50 to 1000"),
        ({"n_nodes": 1500, "sizes": (1000, 1000)}, "1500 nodes cannot be parted"),
        ({"mean_degree": 1.0}, "no power law with exponent 2.5 up to 10.0 has mean 1.0"),
    ],
)
def test_impossible_graphs_are_refused(lfr_graph, arguments, message):
    with pytest.raises(ValueError, match=message):
        lfr_graph(**{"n_nodes": 1000, "mu": 0.4, "seed": 0, **arguments})


def test_infomap_finds_the_planted_communities(lfr_graph):
    links, communities = lfr_graph(100_000, 0.4, seed=1)
    labels = Infomap(levels=2, random_state=0).fit_predict(links)
    assert normalized_mutual_info_score(communities, labels) >= 0.99999
