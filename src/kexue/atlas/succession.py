"""The network of succession: which word follows which, the text itself as the walk."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from kexue.atlas.levels import numbered_by_use
from kexue.atlas.placing import find_communities
from kexue.corpus import count_pairs
from kexue.words.tokens import Tokens


@dataclass(frozen=True, eq=False)
class Succession:
    """The network whose links are counted in the text.

    Attributes
    ----------
    links : csr_array of shape (n_types, n_types)
        How often the second type follows the first, the first token following the last.
    paths : int64 array of shape (n_types, depth)
        Communities as in `Atlas.paths_`.
    codelength, one_level : float
        Bits per token of the walk under the map equation, with the communities and without; the
        second is the entropy of the words.
    """

    links: sparse.csr_array
    paths: np.ndarray
    codelength: float
    one_level: float


def closed_walk(tokens: Tokens) -> sparse.csr_array:
    """Return how often each type follows each other, the first token following the last."""
    walk = np.append(tokens.ids, tokens.ids[0])
    return count_pairs(walk, 1, symmetric=False, n_tokens=tokens.first.size)


def succession_network(tokens: Tokens, seed: int, n_jobs: int) -> Succession:
    """Return the network of a text and its communities."""
    links = closed_walk(tokens)
    paths, _, bits, one_level = find_communities(links, flow="rawdir", seed=seed, n_jobs=n_jobs)
    return Succession(links, numbered_by_use(paths, tokens.counts), bits, one_level)
