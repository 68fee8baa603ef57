"""Normal log densities and their sums over a block of rows: fast forms, careful forms, holes.

The fast form multiplies out the square, so that densities are one product with the powers of a
row, and the sums are another one. It loses digits as the square of the distance of a component
from the mean of all, in its own deviations, grows: beyond `_FAR` the careful form takes over,
which subtracts each component's mean first and sums about it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.linalg.blas import dtrmm

from kexue.mixture._evaluators import Evaluator, LinearEvaluator, Sums, masked_columns
from kexue.mixture._gaussian_kernels import products, squares

_FAR = 1e6
_WIDE = 48  # columns from which on one product per component is faster than powers, measured
_NEGLIGIBLE = 1e-12
_LOG_2PI = float(np.log(2 * np.pi))


def is_far(distances: np.ndarray) -> bool:
    """Whether squared lengths of rows are such that the fast form would lose digits."""
    return bool(not ((distances**2).sum(1) < _FAR).all())


def inverse_factors(roots: np.ndarray) -> np.ndarray:
    """Return transposed inverses of lower factors, shape (K, d, d): x @ W is white."""
    return np.swapaxes(np.linalg.inv(roots), 1, 2)


@lru_cache(maxsize=64)
def _lower(d: int) -> tuple[np.ndarray, np.ndarray]:
    return np.tril_indices(d)


def full_evaluators(
    means: np.ndarray, roots: np.ndarray, shift: np.ndarray, reg: float,
    penalty: np.ndarray | None = None,
) -> Callable[[], Evaluator]:  # fmt: skip
    """Return what makes evaluators of normal densities with lower factors of shape (K, d, d).

    `penalty` of shape (K,), of the whole covariance, stands in for that of `reg` where the columns
    are only some of all.
    """
    inverse = inverse_factors(roots)
    constant = -0.5 * len(shift) * _LOG_2PI - np.log(np.diagonal(roots, axis1=1, axis2=2)).sum(1)
    constant = constant - (reg / 2 * (inverse**2).sum((1, 2)) if penalty is None else penalty)
    white = np.einsum("kd,kde->ke", means, inverse)
    if is_far(white):
        return lambda: FullEvaluator(means, inverse, constant, shift)
    if len(shift) >= _WIDE:
        return lambda: WideEvaluator(white, inverse, constant, shift)
    precision = inverse @ np.swapaxes(inverse, 1, 2)
    i, j = _lower(len(shift))
    theta = np.concatenate(
        [
            (constant - 0.5 * (white**2).sum(1))[:, None],
            np.einsum("kde,ke->kd", inverse, white),
            precision[:, i, j] * np.where(i == j, -0.5, -1.0),
        ],
        axis=1,
    )
    return lambda: PowerEvaluator(theta, shift)


class PowerEvaluator(LinearEvaluator):
    """The fast form for full covariances: phi holds 1, the columns, their products."""

    def __init__(self, theta: np.ndarray, shift: np.ndarray) -> None:
        super().__init__(theta, np.zeros(len(theta)))
        self.shift = shift
        self._buffer = np.empty((0, theta.shape[1]))

    def features(self, x: np.ndarray) -> np.ndarray:
        if len(self._buffer) < len(x):
            self._buffer = np.empty((len(x), self.theta.shape[1]))
        found = self._buffer[: len(x)]
        products(_doubles(x), self.shift, found)
        return found

    def sums(self) -> Sums:
        d = len(self.shift)
        second = np.empty((len(self.theta), d, d))
        i, j = _lower(d)
        second[:, i, j] = second[:, j, i] = self.total[:, d + 1 :]
        return {
            "n": self.total[:, 0],
            "first": self.total[:, 1 : d + 1],
            "second": second,
            "reference": np.zeros((len(self.theta), d)),
        }


class WideEvaluator:
    """The fast form for full covariances of many columns: one triangular product for each."""

    def __init__(
        self, white: np.ndarray, inverse: np.ndarray, constant: np.ndarray, shift: np.ndarray
    ) -> None:
        k, d = white.shape
        self.white, self.constant, self.shift = white, constant, shift
        self.inverse = [np.asfortranarray(one.T) for one in inverse]
        self.n, self.first, self.second = np.zeros(k), np.zeros((k, d)), np.zeros((k, d, d))
        self.width = d

    def read(self, x: Any, observed: np.ndarray | None) -> None:
        self.x = np.subtract(x, self.shift, dtype=np.float64, order="C")

    def log_joint(self, log_weights: np.ndarray) -> np.ndarray:
        found = np.empty((len(self.white), len(self.x)))
        for k, white in enumerate(self.white):
            y = dtrmm(1.0, self.inverse[k], self.x.T, lower=1).T
            y -= white
            np.einsum("nd,nd->n", y, y, out=found[k])
        found *= -0.5
        found += (self.constant + log_weights)[:, None]
        return found

    def add(self, r: np.ndarray) -> None:
        self.n += r.sum(1)
        self.first += r @ self.x
        for k, share in enumerate(r):
            rows = np.flatnonzero(share > _NEGLIGIBLE)
            few = len(rows) < 0.9 * len(share)
            x, share = (self.x[rows], share[rows]) if few else (self.x, share)
            part = x * np.sqrt(share)[:, None]
            self.second[k] += part.T @ part

    def sums(self) -> Sums:
        reference = np.zeros_like(self.first)
        return {"n": self.n, "first": self.first, "second": self.second, "reference": reference}


class FullEvaluator:
    """The careful form for full covariances."""

    def __init__(
        self, means: np.ndarray, inverse: np.ndarray, constant: np.ndarray, shift: np.ndarray
    ) -> None:
        self.means, self.inverse, self.constant, self.shift = means, inverse, constant, shift
        k, d = means.shape
        self.n, self.first, self.second = np.zeros(k), np.zeros((k, d)), np.zeros((k, d, d))
        self.width = 3 * d

    def read(self, x: Any, observed: np.ndarray | None) -> None:
        self.x = np.subtract(x, self.shift, dtype=np.float64)

    def log_joint(self, log_weights: np.ndarray) -> np.ndarray:
        found = np.empty((len(self.means), len(self.x)))
        for k, mean in enumerate(self.means):
            white = (self.x - mean) @ self.inverse[k]
            np.einsum("nd,nd->n", white, white, out=found[k])
        found *= -0.5
        found += (self.constant + log_weights)[:, None]
        return found

    def add(self, r: np.ndarray) -> None:
        self.n += r.sum(1)
        for k, mean in enumerate(self.means):
            rows = np.flatnonzero(r[k] > _NEGLIGIBLE)
            if not len(rows):
                continue
            few = len(rows) < 0.9 * len(self.x)
            away = (self.x[rows] if few else self.x) - mean
            share = r[k, rows] if few else r[k]
            self.first[k] += share @ away
            away *= np.sqrt(share)[:, None]
            self.second[k] += away.T @ away

    def sums(self) -> Sums:
        return {
            "n": self.n, "first": self.first, "second": self.second, "reference": self.means
        }  # fmt: skip


class TiedEvaluator(LinearEvaluator):
    """The fast form for one covariance: what is square in x is common to all components.

    With `total`, the scatter of all rows, its part of the likelihood is known before.
    """

    def __init__(
        self, means: np.ndarray, inverse: np.ndarray, shift: np.ndarray, reg: float,
        total: np.ndarray | None,
    ) -> None:  # fmt: skip
        white = means @ inverse
        constant = -0.5 * len(shift) * _LOG_2PI + np.log(np.diag(inverse)).sum()
        constant -= reg / 2 * (inverse**2).sum() + 0.5 * (white**2).sum(1)
        super().__init__(white @ inverse.T, constant)
        self.inverse, self.shift, self.known = inverse, shift, total
        self.scatter = np.zeros_like(inverse)

    def features(self, x: np.ndarray) -> np.ndarray:
        return np.subtract(x, self.shift, dtype=np.float64)

    def log_joint(self, log_weights: np.ndarray) -> np.ndarray:
        found = super().log_joint(log_weights)
        if self.known is None:
            white = self.phi @ self.inverse
            found -= 0.5 * np.einsum("nd,nd->n", white, white)
        return found

    def add(self, r: np.ndarray) -> None:
        super().add(r)
        if self.known is None:
            self.scatter += (self.phi * r.sum(0)[:, None]).T @ self.phi

    def sums(self) -> Sums:
        found = {"first": self.total, "reference": np.zeros_like(self.total)}
        if self.known is None:
            return found | {"second": self.scatter}
        # once for all rows, however many evaluators there are
        quadratic = np.einsum("de,df,fe->", self.inverse, self.known, self.inverse)
        return found | {"once.second": self.known, "once.log_density": np.array(-0.5 * quadratic)}


def _doubles(x: Any) -> np.ndarray:
    return np.ascontiguousarray(x, dtype=np.float64)


# --- variances alone


def factor_evaluators(
    means: np.ndarray, std: np.ndarray, shift: np.ndarray, reg: float, masked: bool
) -> Callable[[], Evaluator]:
    """Return what makes evaluators of products of normal densities, deviations (K, d)."""
    # per value that is there
    constant = -0.5 * _LOG_2PI - np.log(std) - reg / 2 / std**2
    if is_far(means / std):
        return lambda: FactorEvaluator(means, std, constant, shift)
    constant = constant - 0.5 * (means / std) ** 2
    parts = [means / std**2, -0.5 / std**2]
    if masked:
        theta = np.concatenate([*parts, constant], axis=1)
        return lambda: SquareEvaluator(theta, np.zeros(len(theta)), shift, masked)
    theta = np.concatenate(parts, axis=1)
    return lambda: SquareEvaluator(theta, constant.sum(1), shift, masked)


class SquareEvaluator(LinearEvaluator):
    """The fast form: phi holds the columns, their squares and, with holes, where they are."""

    def __init__(
        self, theta: np.ndarray, constant: np.ndarray, shift: np.ndarray, masked: bool
    ) -> None:
        super().__init__(theta, constant)
        self.shift, self.masked = shift, masked
        self._buffer = np.empty((0, theta.shape[1]))

    def features(self, x: np.ndarray) -> np.ndarray:
        if len(self._buffer) < len(x):
            self._buffer = np.empty((len(x), self.theta.shape[1]))
        found = self._buffer[: len(x)]
        squares(_doubles(x), self.shift, found)
        return found

    def sums(self) -> Sums:
        d = len(self.shift)
        found = {
            "first": self.total[:, :d],
            "second": self.total[:, d : 2 * d],
            "reference": np.zeros((len(self.theta), d)),
        }
        return found | {"n": self.total[:, 2 * d :]} if self.masked else found


class FactorEvaluator:
    """The careful form for variances alone, with holes or without."""

    def __init__(
        self, means: np.ndarray, std: np.ndarray, constant: np.ndarray, shift: np.ndarray
    ) -> None:
        self.means, self.std, self.constant, self.shift = means, std, constant, shift
        self.n, self.first, self.second = (np.zeros_like(means) for _ in range(3))
        self.width = 4 * means.shape[1]

    def read(self, x: Any, observed: np.ndarray | None) -> None:
        self.x, self.here = masked_columns(np.subtract(x, self.shift, dtype=np.float64))

    def log_joint(self, log_weights: np.ndarray) -> np.ndarray:
        found = self.constant @ self.here.T + log_weights[:, None]
        for k, mean in enumerate(self.means):
            white = (self.x - mean) / self.std[k] * self.here
            found[k] -= 0.5 * np.einsum("nd,nd->n", white, white)
        return np.asarray(found)

    def add(self, r: np.ndarray) -> None:
        self.n += r @ self.here
        for k, mean in enumerate(self.means):
            away = (self.x - mean) * self.here
            self.first[k] += r[k] @ away
            self.second[k] += r[k] @ away**2

    def sums(self) -> Sums:
        return {
            "n": self.n, "first": self.first, "second": self.second, "reference": self.means
        }  # fmt: skip


# --- holes


def conditional(covariance: np.ndarray, observed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how hidden columns depend on observed ones, and the covariance that is left.

    Parameters
    ----------
    covariance : array of shape (K, d, d)
    observed : bool array of shape (d,)

    Returns
    -------
    regression : array of shape (K, h, o)
    left : array of shape (K, h, h)
    """
    o, h = np.flatnonzero(observed), np.flatnonzero(~observed)
    across = covariance[:, h[:, None], o]
    regression = np.swapaxes(
        np.linalg.solve(covariance[:, o[:, None], o], np.swapaxes(across, 1, 2)), 1, 2
    )
    left = covariance[:, h[:, None], h] - regression @ np.swapaxes(across, 1, 2)
    return regression, (left + np.swapaxes(left, 1, 2)) / 2


class PatternEvaluator:
    """Rows with holes: blocks of one pattern each, on their observed columns.

    The sums over the observed columns are carried to all columns by the regression of the hidden
    ones on them; what that leaves of their covariance is added, or variances would shrink.
    """

    def __init__(self, means: np.ndarray, root: np.ndarray, shift: np.ndarray, reg: float) -> None:
        k, d = means.shape
        self.means, self.shift, self.reg = means, shift, reg
        self.roots = np.broadcast_to(root, (k, d, d))
        self.covariances = self.roots @ np.swapaxes(self.roots, 1, 2)
        self.penalty = reg / 2 * (inverse_factors(self.roots) ** 2).sum((1, 2))
        self.n, self.first, self.second = np.zeros(k), np.zeros((k, d)), np.zeros((k, d, d))
        self.observed: np.ndarray | None = None
        self.width = 1 + d + d * (d + 1) // 2 if d < _WIDE else d

    def read(self, x: Any, observed: np.ndarray | None) -> None:
        assert observed is not None
        if self.observed is None or not np.array_equal(observed, self.observed):
            self._finish()
            self.observed = observed
            roots = self.roots
            if not observed.all():
                o = np.flatnonzero(observed)
                roots = np.linalg.cholesky(self.covariances[:, o[:, None], o])
            self.inner = full_evaluators(
                self.means[:, observed], roots, self.shift[observed], self.reg, self.penalty
            )()
        self.inner.read(x if observed.all() else x[:, observed], None)

    def log_joint(self, log_weights: np.ndarray) -> np.ndarray:
        return self.inner.log_joint(log_weights)

    def add(self, r: np.ndarray) -> None:
        self.inner.add(r)

    def _finish(self) -> None:
        """Carry the sums of the pattern that ends here to all columns."""
        if self.observed is None:
            return
        observed, found = self.observed, self.inner.sums()
        n, mean = found["n"], self.means[:, observed]
        away = found["reference"] - mean
        first = found["first"] + n[:, None] * away
        half = found["first"][:, :, None] * away[:, None, :]
        second = found["second"] + half + np.swapaxes(half, 1, 2)
        second += n[:, None, None] * away[:, :, None] * away[:, None, :]
        self.n += n
        if observed.all():
            self.first += first
            self.second += second
            return
        hidden = np.flatnonzero(~observed)
        regression, left = conditional(self.covariances, observed)
        # from observed columns to all
        carry = np.zeros((len(n), len(observed), int(observed.sum())))
        carry[:, np.flatnonzero(observed), np.arange(carry.shape[2])] = 1.0
        carry[:, hidden] = regression
        self.first += np.einsum("kdo,ko->kd", carry, first)
        self.second += carry @ second @ np.swapaxes(carry, 1, 2)
        self.second[:, hidden[:, None], hidden] += n[:, None, None] * left

    def sums(self) -> Sums:
        self._finish()
        self.observed = None
        return {
            "n": self.n, "first": self.first, "second": self.second, "reference": self.means
        }  # fmt: skip
