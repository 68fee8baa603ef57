"""What one sweep asks of a family: densities of a block of rows, and sums over them.

An evaluator belongs to one thread. It reads a block, gives the log densities of all components,
and takes the responsibilities of the same block into its sums, which are added over evaluators.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from scipy import sparse

Params = dict[str, np.ndarray]
Sums = dict[str, np.ndarray]


class Evaluator(Protocol):
    """The protocol; K components.

    Attributes
    ----------
    width : int
        Numbers that are made of a row.
    """

    width: int

    def read(self, x: Any, observed: np.ndarray | None) -> None:
        """Take a block of m rows, in which all have the same pattern if one is given."""

    def log_joint(self, log_weights: np.ndarray) -> np.ndarray:
        """Return log pi_k + log f_k, new, of shape (K, m), up to what is common to all k."""

    def add(self, r: np.ndarray) -> None:
        """Add to the sums with weighted responsibilities of shape (K, m)."""

    def sums(self) -> Sums:
        """Return what was summed up."""


class Family(Protocol):
    """What a mixture asks of a family of densities; parameters lead with K unless shared."""

    needs_patterns: bool

    def settle(self, rows: Any) -> None:
        """Learn from all rows what does not change: origin, scale, levels."""

    def settle_again(self, rows: Any) -> None:
        """Learn what depends on the rows alone, with the old origin and scale."""

    def forget_rows(self) -> None:
        """Stop relying on sums over the rows that were settled on."""

    def blank(self, n_components: int) -> Params:
        """Return parameters by which all components are alike."""

    def evaluators(
        self, params: Params, *, masked: bool, patterns: bool, fitting: bool
    ) -> Callable[[], Evaluator]:
        """Return what makes evaluators; with `fitting`, of the penalised density."""

    def statistics(self, params: Params, sums: Sums, weight: np.ndarray) -> Sums:
        """Return sums in a form that does not depend on `params`."""

    def merged(self, one: Sums, other: Sums) -> Sums:
        """Return the statistics of both."""

    def scaled(self, statistics: Sums, factor: float) -> Sums:
        """Return the statistics with all weights multiplied."""

    def m_step(self, statistics: Sums) -> Params:
        """Return the likeliest parameters; not finite where there are none."""

    def start(self, statistics: Sums) -> Params:
        """Return safe parameters to begin with."""

    def broken(self, params: Params) -> np.ndarray:
        """Return which components cannot go on, shape (K,)."""

    def replaced(self, params: Params, k: int, row: np.ndarray) -> Params:
        """Return parameters with component k begun anew at a row."""

    def log_prior(self, params: Params) -> float:
        """Return the logarithm of the prior, up to a constant."""

    def n_parameters(self, n_components: int) -> int:
        """Return the number of free parameters."""

    def pack(self, params: Params) -> np.ndarray:
        """Return a vector of numbers that may each be any."""

    def unpack(self, vector: np.ndarray, like: Params) -> Params:
        """Return the parameters of a vector; `like` gives the shapes."""

    def sample(self, params: Params, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return a row for each label."""

    def impute(
        self, params: Params, x: np.ndarray, r: np.ndarray, rng: np.random.Generator | None
    ) -> np.ndarray:
        """Return `x` without NaN: by expectation, or drawn if a generator is given.

        `r` is of shape (K, m), one-hot if drawn.
        """

    def start_features(self, x: Any) -> Any:
        """Return rows in which distances mean something, NaN kept."""

    def levels_of(self, columns: Sequence[int]) -> dict[int, int]:
        """Return the number of codes of each column that has codes."""

    def learned(self, params: Params) -> dict[str, Any]:
        """Return what users see, by the names of attributes."""

    def state(self) -> dict[str, np.ndarray]:
        """Return what was settled, for a file."""

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Settle as a file says."""


class LinearEvaluator:
    """log f_k(x) = theta_k . phi(x) + constant_k: one product in, one product out.

    Parameters
    ----------
    theta : array of shape (K, D)
    constant : array of shape (K,)
    features : callable
        From a block of rows to phi, of shape (m, D), dense or CSR; else a subclass has it. (Not a
        bound method, or an evaluator with its buffers would live until cycles are collected.)
    """

    def __init__(
        self,
        theta: np.ndarray,
        constant: np.ndarray,
        features: Callable[[Any], Any] | None = None,
    ) -> None:
        self.theta, self.constant = theta, constant
        self._features = features
        # with rows and columns this way round, BLAS needs half the time
        self._columns = np.ascontiguousarray(theta.T)
        self.total = np.zeros_like(theta)
        self.width = theta.shape[1]

    def read(self, x: Any, observed: np.ndarray | None) -> None:
        self.phi = self.features(x)

    def features(self, x: Any) -> Any:
        """Return phi."""
        assert self._features is not None
        return self._features(x)

    def log_joint(self, log_weights: np.ndarray) -> np.ndarray:
        products = self.phi @ self._columns
        found = np.empty(products.shape[::-1])
        return np.add(products.T, (self.constant + log_weights)[:, None], out=found)

    def add(self, r: np.ndarray) -> None:
        if sparse.issparse(self.phi):
            self.total += (self.phi.T @ r.T).T
        else:
            self.total += r @ self.phi

    def sums(self) -> Sums:
        return {"total": self.total}


def masked_columns(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return rows with 0 for NaN, and 1.0 where there is a number."""
    here = ~np.isnan(x)
    return np.where(here, x, 0.0), here.astype(np.float64)
