"""Graphs that several tests of the room share."""

import numpy as np
import pytest

from kexue.graph import Network


@pytest.fixture(scope="session")
def random_network():
    def build(seed, directed, n=40, n_links=160):
        """Weights, self-loops, parallel links, dangling nodes and an isolated last node."""
        rng = np.random.default_rng(seed)
        source = rng.integers(0, n - 2, n_links)
        target = rng.integers(0, n, n_links)
        target[:6] = source[:6]
        weight = rng.uniform(0.1, 3.0, n_links)
        return Network.from_links(source, target, weight, n_nodes=n + 1, directed=directed)

    return build
