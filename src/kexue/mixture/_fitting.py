"""EM of a mixture: the two steps that the engine takes in turns, and what ends up dead."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from kexue._core import InputError
from kexue.mixture._discrete import Bernoulli, Categorical, Multinomial
from kexue.mixture._evaluators import Family, Params
from kexue.mixture._gaussian import Gaussian
from kexue.mixture._mixed import Mixed
from kexue.mixture._rows import Rows, Sweep, posterior, sweep
from kexue.mixture.engine import Acceleration, EMResult, Progress, Restart, expectation_maximization

_DEAD = 1e-12  # of the weight of all rows
_RESTARTS = 3  # for each component


class Theta(NamedTuple):
    """Weights of the components, shape (K,), and parameters of the family."""

    weights: np.ndarray
    params: Params


def make_family(family: Any, reg_covar: float, prior: str | None) -> Family:
    """Return the family of a name or of blocks of columns."""
    if isinstance(family, dict):
        blocks = [
            (make_family(name, reg_covar, prior), np.array(columns, dtype=np.int64))
            for name, columns in family.items()
        ]
        return Mixed(blocks)
    if family.startswith("gaussian"):
        return Gaussian(family.removeprefix("gaussian_"), reg_covar, prior == "map")
    kinds: dict[str, Any] = {
        "bernoulli": Bernoulli, "multinomial": Multinomial, "categorical": Categorical
    }  # fmt: skip
    found: Family = kinds[family](prior == "map")
    return found


class Fitting:
    """EM on given rows.

    Parameters
    ----------
    rows : Rows
    family : Family
        Settled on these rows.
    hard : bool
    fixed : array of shape (K,) or None
        Weights of the components that are not learned.
    n_jobs : int
    """

    def __init__(
        self, rows: Rows, family: Family, *, hard: bool, fixed: np.ndarray | None, n_jobs: int
    ) -> None:
        self.rows, self.family, self.hard, self.fixed = rows, family, hard, fixed
        self.n_jobs = n_jobs
        self.total = rows.total_weight
        self.restarts_left = _RESTARTS * rows.n_components
        self.theta: Theta | None = None

    def run(
        self, theta: Theta, *, max_iter: int, tol: float, accelerate: bool | Acceleration,
        callback: Callable[[Progress], Any] | None = None,
    ) -> EMResult:  # fmt: skip
        """Return what EM finds from `theta`."""
        like = theta.params
        k = self.rows.n_components

        def pack(theta: Theta) -> np.ndarray:
            free = [self.family.pack(theta.params)]
            return np.concatenate(
                free if self.fixed is not None else [np.log(theta.weights), *free]
            )

        def unpack(vector: np.ndarray) -> Theta:
            if self.fixed is not None:
                return Theta(self.fixed, self.family.unpack(vector, like))
            weights = np.exp(vector[:k] - vector[:k].max())
            return Theta(weights / weights.sum(), self.family.unpack(vector[k:], like))

        if self.fixed is not None:
            theta = Theta(self.fixed, theta.params)
        return expectation_maximization(
            self.m_step, self.e_step, theta, max_iter=max_iter, tol=tol,
            accelerate=False if self.hard else accelerate, pack=pack, unpack=unpack,
            callback=callback,
        )  # fmt: skip

    def e_step(self, theta: Theta) -> tuple[Sweep | None, float]:
        """Return the sums and F, the mean negative log-likelihood less the log prior."""
        if self.family.broken(theta.params).any() or not (theta.weights > 0).all():
            return None, np.inf
        self.theta = theta
        found = sweep(
            self.rows, self.family, np.log(theta.weights), theta.params,
            hard=self.hard, n_jobs=self.n_jobs,
        )  # fmt: skip
        return found, -(found.log_likelihood + self.family.log_prior(theta.params)) / self.total

    def m_step(self, found: Sweep) -> Theta | Restart:
        """Return the likeliest parameters, or a restart where components have died."""
        weights = found.weight / found.weight.sum() if self.fixed is None else self.fixed
        params = self.family.m_step(found.statistics)
        dead = self.family.broken(params) | (found.weight <= _DEAD * self.total)
        if dead.any():
            return Restart(self._revived(Theta(weights, params), np.flatnonzero(dead)))
        return Theta(weights, params)

    def _revived(self, theta: Theta, dead: np.ndarray) -> Theta:
        """Return `theta` with dead components begun anew at the rows explained worst."""
        assert self.theta is not None
        self.restarts_left -= len(dead)
        names = ", ".join(str(k) for k in dead)
        if self.restarts_left < 0 or len(dead) == len(theta.weights):
            raise InputError(
                f"of {len(theta.weights)} components, {names} collapsed to a density without bound "
                "or lost all rows, however often begun anew; take fewer components, a larger "
                "reg_covar or prior='map'"
            )
        rows = self._worst(len(dead))
        warnings.warn(
            f"component {names} has died and begins anew at row "
            f"{', '.join(str(row) for row in rows)}, which was explained worst",
            ConvergenceWarning,
            stacklevel=2,
        )
        params, weights = theta.params, theta.weights.copy()
        for k, row in zip(dead, rows, strict=True):
            x = self.rows.x[[row]]
            values = np.asarray(x.todense() if hasattr(x, "todense") else x, float).ravel()
            params = self.family.replaced(params, int(k), values)
            weights[k] = 1 / len(weights)
        if self.fixed is not None:
            return Theta(self.fixed, params)
        return Theta(weights / weights.sum(), params)

    def _worst(self, count: int) -> np.ndarray:
        """Return the rows of least density under the last parameters that could be evaluated."""
        assert self.theta is not None
        evidence = np.empty(self.rows.n)
        for where, logs in log_joint(self.rows, self.family, self.theta):
            evidence[where] = posterior(logs)
        if self.rows.weight is not None:
            evidence[self.rows.weight == 0] = np.inf
        return np.argsort(evidence, kind="stable")[:count]


def log_joint(rows: Rows, family: Family, theta: Theta) -> Any:
    """Yield places of rows and their log pi_k + log f_k, of shape (K, m)."""
    make = family.evaluators(
        theta.params, masked=rows.masked, patterns=rows.patterns, fitting=False
    )
    with np.errstate(divide="ignore"):
        log_weights = np.log(theta.weights)
    evaluator = make()
    for start, end, pattern in rows.cut(evaluator.width):
        where, x, _ = rows.take(start, end)
        evaluator.read(x, pattern)
        yield where, evaluator.log_joint(log_weights)
