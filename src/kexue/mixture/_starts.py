"""Where EM begins: rows shared out around centres, all components equally wide."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from kexue.mixture._evaluators import Family, Params
from kexue.mixture._rows import Rows, sweep

_MOST_ROWS = 20_000  # that a start is chosen from
_LLOYD_STEPS = 20
_LEAST_SHARE = 1e-3  # of what components have on average
_HEATS = 10  # of annealing
_SWEEPS_PER_HEAT = 3


def start(
    rows: Rows, family: Family, init: Any, rng: np.random.Generator
) -> tuple[np.ndarray, Params]:
    """Return weights and parameters to begin with.

    Parameters
    ----------
    rows : Rows
        Of which at most 20,000 are looked at, spread evenly over their weights.
    family : Family
        Settled.
    init : "k-means++", "random", "anneal" or array of shape (n, K)
    rng : Generator
    """
    k = rows.n_components
    if isinstance(init, np.ndarray):
        found = sweep(rows, family, np.zeros(k), family.blank(k), given=init)
        return _weights(found.weight), _estimate(family, found.statistics)
    some = rows.only(_spread(rows, rng))
    z = family.start_features(some.x)
    weight = np.ones(some.n) if some.weight is None else some.weight
    shares = _Assignment(z, weight, some.labels, k, rng)
    if init != "random":
        shares.spread_out()
        shares.settle()
    else:
        shares.draw()
    given = np.zeros((some.n, k))
    given[np.arange(some.n), shares.labels()] = 1.0
    found = sweep(some, family, np.zeros(k), family.blank(k), given=given)
    theta = _weights(found.weight), family.start(found.statistics)
    return _annealed(some, family, theta) if init == "anneal" else theta


def _estimate(family: Family, statistics: Any) -> Params:
    params = family.m_step(statistics)
    return family.start(statistics) if family.broken(params).any() else params


def _weights(counts: np.ndarray) -> np.ndarray:
    """Return shares, none of which is 0."""
    counts = np.maximum(counts, _LEAST_SHARE * counts.mean())
    return np.asarray(counts / counts.sum())


def _spread(rows: Rows, rng: np.random.Generator) -> np.ndarray:
    """Return indices of rows that stand for all."""
    if rows.weight is None:
        if rows.n <= _MOST_ROWS:
            return np.arange(rows.n)
        steps = (np.arange(_MOST_ROWS) + rng.random()) / _MOST_ROWS
        return (steps * rows.n).astype(np.int64)
    chosen = np.flatnonzero(rows.weight > 0)
    if len(chosen) <= _MOST_ROWS:
        return chosen
    steps = (np.arange(_MOST_ROWS) + rng.random()) / _MOST_ROWS
    reached = np.cumsum(rows.weight[chosen])
    return np.unique(chosen[np.searchsorted(reached, steps * reached[-1], side="right")])


class _Assignment:
    """Centres among rows, over what is observed of them."""

    def __init__(
        self, z: Any, weight: np.ndarray, labels: np.ndarray | None, k: int,
        rng: np.random.Generator,
    ) -> None:  # fmt: skip
        self.weight, self.known, self.k, self.rng = weight, labels, k, rng
        self.here = None
        if sparse.issparse(z):
            self.z = z.astype(np.float64)
            self.squares = np.asarray(self.z.multiply(self.z).sum(1)).ravel()
        else:
            z = np.asarray(z, np.float64)
            if np.isnan(z).any():
                self.here = (~np.isnan(z)).astype(np.float64)
                z = np.where(np.isnan(z), 0.0, z)
            self.z, self.squares = z, np.einsum("nd,nd->n", z, z)
        self.centres = np.zeros((k, z.shape[1]))

    def distances(self, centres: np.ndarray) -> np.ndarray:
        """Return squared distances of shape (n, c)."""
        norms = (centres**2).T
        far = norms.sum(0) if self.here is None else self.here @ norms
        return np.maximum(self.squares[:, None] - 2 * (self.z @ centres.T) + far, 0.0)

    def row(self, n: int) -> np.ndarray:
        """Return a row, with the mean of all where it has a hole."""
        if sparse.issparse(self.z):
            return np.asarray(self.z[[n]].todense()).ravel()
        if self.here is None:
            return np.asarray(self.z[n])
        return np.where(self.here[n] > 0, self.z[n], self.mean(self.weight))

    def mean(self, weight: np.ndarray) -> np.ndarray:
        seen = weight.sum() if self.here is None else weight @ self.here
        return (self.z.T @ weight) / np.maximum(seen, np.finfo(float).tiny)

    def draw(self) -> None:
        """Take rows at random, and the mean of the rows of each known class."""
        free = self._known_centres()
        reached = np.cumsum(self.weight)
        taken: list[int] = []
        for k in free:
            for _ in range(100):  # the same row twice would make two components one
                n = int(np.searchsorted(reached, self.rng.random() * reached[-1], side="right"))
                if n not in taken:
                    break
            taken.append(n)
            self.centres[k] = self.row(n)

    def spread_out(self) -> None:
        """Choose centres by k-means++, the best of a few candidates for each."""
        free = self._known_centres()
        done = [k for k in range(self.k) if k not in free]
        nearest = np.ones(len(self.weight))
        if done:
            nearest = self.distances(self.centres[done]).min(1)
        n_candidates = 2 + int(np.log(self.k))
        for i, k in enumerate(free):
            reached = np.cumsum(self.weight * nearest)
            if not reached[-1] > 0:  # fewer different rows than components
                reached = np.cumsum(self.weight)
            first = i == 0 and not done
            u = self.rng.random(1 if first else n_candidates) * reached[-1]
            chosen = np.searchsorted(reached, u, side="right").clip(max=len(reached) - 1)
            rows = np.stack([self.row(n) for n in chosen])
            distances = self.distances(rows)
            if not first:
                distances = np.minimum(distances, nearest[:, None])
            best = int((self.weight @ distances).argmin())
            nearest, self.centres[k] = distances[:, best], rows[best]

    def settle(self) -> None:
        """Do a few steps of k-means."""
        before = None
        for _ in range(_LLOYD_STEPS):
            labels = self.labels()
            if before is not None and np.array_equal(labels, before):
                break
            before = labels
            for k in range(self.k):
                weight = np.where(labels == k, self.weight, 0.0)
                if weight.any():
                    old = self.centres[k]
                    self.centres[k] = self.mean(weight)
                    if self.here is not None:  # columns that nobody here has observed
                        self.centres[k] = np.where(weight @ self.here > 0, self.centres[k], old)

    def labels(self) -> np.ndarray:
        """Return the nearest centre of each row, or its known class."""
        found = self.distances(self.centres).argmin(1)
        return found if self.known is None else np.where(self.known >= 0, self.known, found)

    def _known_centres(self) -> list[int]:
        """Set centres of classes of which rows are known; return the others."""
        known = [] if self.known is None else [int(k) for k in np.unique(self.known) if k >= 0]
        for k in known:
            self.centres[k] = self.mean(np.where(self.known == k, self.weight, 0.0))
        return [k for k in range(self.k) if k not in known]


def _annealed(
    rows: Rows, family: Family, theta: tuple[np.ndarray, Params]
) -> tuple[np.ndarray, Params]:
    """Follow the optimum while the posterior cools down from nearly uniform."""
    weights, params = theta
    for heat in np.geomspace(1 / max(2, rows.d), 1.0, _HEATS):
        for _ in range(_SWEEPS_PER_HEAT):
            found = sweep(rows, family, np.log(weights), params, heat=float(heat))
            weights, params = _weights(found.weight), _estimate(family, found.statistics)
    return weights, params
