"""Normal densities with any of five kinds of covariance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kexue.mixture._evaluators import Evaluator, Params, Sums
from kexue.mixture._gaussian_sums import (
    PatternEvaluator,
    TiedEvaluator,
    conditional,
    factor_evaluators,
    full_evaluators,
    inverse_factors,
    is_far,
)

_SINGULAR = 1e-14  # of a column's variance; less is left of it only by rounding


class Gaussian:
    """Normal densities; rows are kept relative to the mean of all, columns in their own units.

    Parameters
    ----------
    covariance : {"full", "tied", "diag", "spherical", "tied_spherical"}
    reg_covar : float
        Added to the variances in the M-step, as if each value were known only to within this
        variance; the E-step takes it into account, so that the objective rises.
    prior : bool
        Whether covariances have the inverse Wishart prior of Fraley and Raftery.

    Attributes
    ----------
    shift, scale : arrays of shape (d,)
        Means and standard deviations of the columns.
    """

    def __init__(self, covariance: str, reg_covar: float, prior: bool) -> None:
        self.covariance, self.reg, self.prior = covariance, reg_covar, prior
        self.needs_patterns = covariance in ("full", "tied")
        self.shared = covariance.startswith("tied")
        self.spherical = covariance.endswith("spherical")
        self.lambda_: np.ndarray | None = None
        self.total: np.ndarray | None = None  # weighted scatter of all rows about `shift`

    # --- before fitting

    def settle(self, rows: Any) -> None:
        self.shift = rows.means()
        matrix = self.covariance == "tied" or (self.covariance == "full" and self.prior)
        scatter, weight = rows.squares(self.shift, matrix=matrix)
        whole = scatter.ndim == 2
        self.total = scatter if whole and self.covariance == "tied" else None
        variances = (np.diag(scatter) if whole else scatter) / weight
        self.scale = np.where(variances > 0, np.sqrt(variances), 1.0)
        if self.prior:
            spread = scatter / weight[:, None] if whole else variances
            spread = np.diag(spread) if self.needs_patterns and not whole else spread
            self.lambda_ = spread / rows.n_components ** (2 / len(variances))

    def settle_again(self, rows: Any) -> None:
        if self.covariance == "tied" and not rows.masked:
            self.total = rows.squares(self.shift, matrix=True)[0]

    def forget_rows(self) -> None:
        self.total = None

    def start_features(self, x: np.ndarray) -> np.ndarray:
        return x - self.shift if self.spherical else (x - self.shift) / self.scale

    def blank(self, n_components: int) -> Params:
        k, d = n_components, len(self.shift)
        one: Any = np.diag(self.scale)
        if not self.needs_patterns:
            one = np.sqrt(np.mean(self.scale**2)) if self.spherical else self.scale
        root = np.asarray(one) if self.shared else np.repeat(np.asarray(one)[None], k, axis=0)
        return {"means": np.zeros((k, d)), "cholesky": root}

    # --- the E-step

    def evaluators(
        self, params: Params, *, masked: bool, patterns: bool, fitting: bool
    ) -> Callable[[], Evaluator]:
        means, root = params["means"], params["cholesky"]
        reg = self.reg if fitting else 0.0
        shift = self.shift
        if not self.needs_patterns:
            return factor_evaluators(means, self._std(params), shift, reg, masked)
        if patterns:
            return lambda: PatternEvaluator(means, root, shift, reg)
        if self.covariance == "tied":
            inverse = inverse_factors(root[None])[0]
            if not is_far(means @ inverse.T):
                total = self.total if fitting else None
                return lambda: TiedEvaluator(means, inverse, shift, reg, total)
            root = np.broadcast_to(root, (len(means), *root.shape))
        return full_evaluators(means, root, shift, reg)

    def statistics(self, params: Params, sums: Sums, weight: np.ndarray) -> Sums:
        """Return weights n, means and scatters about these means, relative to `shift`."""
        first, second = sums["first"], sums["second"]
        n = sums.get("n", weight)
        if not self.needs_patterns and n.ndim == 1:
            n = np.repeat(n[:, None], first.shape[1], axis=1)
        divisor = np.maximum(n if n.ndim == 2 else n[:, None], np.finfo(float).tiny)
        away = first / divisor
        mean = away + sums["reference"]
        if not self.needs_patterns:
            scatter = np.maximum(second - first * away, 0.0)
        elif self.covariance == "full":
            scatter = second - first[:, :, None] * away[:, None, :]
        else:
            scatter = (second.sum(0) if second.ndim == 3 else second) - first.T @ away
        return {"n": n, "mean": mean, "scatter": scatter}

    # --- statistics

    def merged(self, one: Sums, other: Sums) -> Sums:
        n = one["n"] + other["n"]
        part = other["n"] / np.maximum(n, np.finfo(float).tiny)
        wide = part if part.ndim == 2 else part[:, None]
        apart = other["mean"] - one["mean"]
        between = one["n"] * part
        if between.ndim == 2:
            extra = between * apart**2
        elif self.covariance == "full":
            extra = between[:, None, None] * apart[:, :, None] * apart[:, None, :]
        else:
            extra = (apart * between[:, None]).T @ apart
        scatter = one["scatter"] + other["scatter"] + extra
        return {"n": n, "mean": one["mean"] + wide * apart, "scatter": scatter}

    def scaled(self, statistics: Sums, factor: float) -> Sums:
        return {k: v if k == "mean" else v * factor for k, v in statistics.items()}

    # --- the M-step

    def m_step(self, statistics: Sums) -> Params:
        n, mean, scatter = (statistics[name] for name in ("n", "mean", "scatter"))
        d = mean.shape[1]
        strength = 0.0
        if self.lambda_ is not None:
            # counted once where all components share one variance
            times = 1 / len(mean) if self.covariance == "tied_spherical" else 1.0
            strength, scatter = 2.0 * d + 3, scatter + times * self.lambda_
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.covariance == "full":
                covariance = scatter / (n + strength)[:, None, None] + self.reg * np.eye(d)
            elif self.covariance == "tied":
                covariance = scatter / (n.sum() + strength) + self.reg * np.eye(d)
            elif self.covariance == "diag":
                return {"means": mean, "cholesky": np.sqrt(scatter / (n + strength) + self.reg)}
            else:
                axis = (0, 1) if self.shared else 1
                divisor = n.sum(axis) + d * strength
                return {
                    "means": mean,
                    "cholesky": np.sqrt(scatter.sum(axis) / divisor + self.reg),
                }
        return {"means": mean, "cholesky": cholesky(covariance)}

    def start(self, statistics: Sums) -> Params:
        n, mean, scatter = (statistics[name] for name in ("n", "mean", "scatter"))
        k, d = mean.shape
        pooled = scatter if self.covariance == "tied" else scatter.sum(0)
        weight = n.sum(0)
        if self.needs_patterns:
            covariance = pooled / weight + self.reg * np.eye(d)
            for share in (0.0, 0.1, 1.0):  # as much of the columns' own variances as is needed
                mixed = (1 - share) * covariance + share * np.diag(self.scale**2)
                root = cholesky(mixed)
                if not self._singular(root[None])[0]:
                    break
            whole = root if self.shared else np.repeat(root[None], k, axis=0)
        else:
            variance = pooled / weight + self.reg
            variance = np.where(variance > 1e-6 * self.scale**2, variance, self.scale**2)
            std = np.sqrt(variance.mean() if self.spherical else variance)
            whole = std if self.shared else np.repeat(std[None], k, axis=0)
        return {"means": mean, "cholesky": np.asarray(whole)}

    def broken(self, params: Params) -> np.ndarray:
        k = len(params["means"])
        root = params["cholesky"]
        if self.needs_patterns:
            found = self._singular(root[None] if self.shared else root)
        else:
            std = self._std(params)
            least = np.full(std.shape, np.sqrt(_SINGULAR)) * self.scale
            found = np.asarray(~(std > least).all(axis=1))
        finite = np.isfinite(params["means"]).all(axis=1)
        return np.logical_or(np.broadcast_to(found, (k,)), ~finite)

    def _singular(self, root: np.ndarray) -> np.ndarray:
        diagonal = np.diagonal(root, axis1=1, axis2=2)
        return np.asarray(~(diagonal > np.sqrt(_SINGULAR) * self.scale).all(1))

    def replaced(self, params: Params, k: int, row: np.ndarray) -> Params:
        means, root = params["means"].copy(), params["cholesky"].copy()
        means[k] = np.where(np.isnan(row), 0.0, row - self.shift)
        if not self.shared:
            wide = self.scale / len(means) ** (1 / len(self.scale))
            if self.covariance == "full":
                root[k] = np.diag(wide)
            else:
                root[k] = np.sqrt(np.mean(wide**2)) if self.spherical else wide
        return {"means": means, "cholesky": root}

    def log_prior(self, params: Params) -> float:
        if self.lambda_ is None:
            return 0.0
        root = params["cholesky"]
        d = len(self.scale)
        strength = 2.0 * d + 3
        if self.needs_patterns:
            roots = root[None] if self.shared else root
            inverse = inverse_factors(roots)
            logs = np.log(np.diagonal(roots, axis1=1, axis2=2)).sum()
            trace = np.einsum("kij,il,klj->", inverse, self.lambda_, inverse)
            return float(-strength * logs - trace / 2)
        std = self._std(params)
        std = std[:1] if self.shared else std
        return float(-strength * np.log(std).sum() - (self.lambda_ / std**2).sum() / 2)

    def n_parameters(self, n_components: int) -> int:
        d = len(self.shift)
        each = {"full": d * (d + 1) // 2, "tied": d * (d + 1) // 2, "diag": d}
        return n_components * d + each.get(self.covariance, 1) * (
            1 if self.shared else n_components
        )

    # --- the free parametrisation

    def pack(self, params: Params) -> np.ndarray:
        """Return means and log-Cholesky factors in units of the columns' deviations."""
        root = params["cholesky"]
        if self.needs_patterns:
            scaled = root / self.scale[:, None]
            below = np.tril_indices(len(self.scale))
            diagonal = below[0] == below[1]
            flat = scaled[..., below[0], below[1]]
            flat[..., diagonal] = np.log(flat[..., diagonal])
        else:
            flat = np.log(root)
        return np.concatenate([(params["means"] / self.scale).ravel(), np.ravel(flat)])

    def unpack(self, vector: np.ndarray, like: Params) -> Params:
        k, d = like["means"].shape
        means = vector[: k * d].reshape(k, d) * self.scale
        flat = vector[k * d :]
        with np.errstate(over="ignore"):
            if not self.needs_patterns:
                return {"means": means, "cholesky": np.exp(flat).reshape(like["cholesky"].shape)}
            below = np.tril_indices(d)
            diagonal = below[0] == below[1]
            flat = flat.reshape(*like["cholesky"].shape[:-2], -1).copy()
            flat[..., diagonal] = np.exp(flat[..., diagonal])
        root = np.zeros(like["cholesky"].shape)
        root[..., below[0], below[1]] = flat
        return {"means": means, "cholesky": root * self.scale[:, None]}

    # --- rows out

    def sample(self, params: Params, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        z = rng.standard_normal((len(labels), len(self.shift)))
        root = params["cholesky"]
        if not self.needs_patterns:
            z *= self._std(params)[labels]
        elif self.shared:
            z = z @ root.T
        else:
            for k in np.unique(labels):
                z[labels == k] = z[labels == k] @ root[k].T
        return np.asarray(z + params["means"][labels] + self.shift)

    def impute(
        self, params: Params, x: np.ndarray, r: np.ndarray, rng: np.random.Generator | None
    ) -> np.ndarray:
        means = params["means"]
        if not self.needs_patterns:
            filled = r.T @ means
            if rng is not None:
                filled = filled + rng.standard_normal(x.shape) * (r.T @ self._std(params))
            return np.where(np.isnan(x), filled + self.shift, x)
        roots = np.broadcast_to(params["cholesky"], (len(means), *params["cholesky"].shape[-2:]))
        out = x - self.shift
        patterns, which = np.unique(np.isnan(x), axis=0, return_inverse=True)
        for i, hidden in enumerate(patterns):
            if not hidden.any():
                continue
            rows = np.flatnonzero(which.ravel() == i)
            out[np.ix_(rows, hidden)] = self._conditional(
                means, roots, out[rows][:, ~hidden], r[:, rows], hidden, rng
            )
        return np.where(np.isnan(x), out + self.shift, x)

    @staticmethod
    def _conditional(
        means: np.ndarray, roots: np.ndarray, seen: np.ndarray, r: np.ndarray,
        hidden: np.ndarray, rng: np.random.Generator | None,
    ) -> np.ndarray:  # fmt: skip
        regression, left = conditional(roots @ np.swapaxes(roots, 1, 2), ~hidden)
        out = np.zeros((len(seen), int(hidden.sum())))
        for k, mean in enumerate(means):
            if rng is not None and not r[k].any():
                continue
            expected = mean[hidden] + (seen - mean[~hidden]) @ regression[k].T
            if rng is not None:
                values, axes = np.linalg.eigh(left[k])
                z = rng.standard_normal(expected.shape) * np.sqrt(np.maximum(values, 0))
                expected += z @ axes.T
            out += r[k][:, None] * expected
        return out

    # --- what users see

    def _std(self, params: Params) -> np.ndarray:
        """Standard deviations of shape (K, d), for factorised kinds."""
        k, d = params["means"].shape
        root = params["cholesky"]
        wide = root[:, None] if self.covariance == "spherical" else root
        return np.ascontiguousarray(np.broadcast_to(wide, (k, d)))

    def learned(self, params: Params) -> dict[str, np.ndarray]:
        """Return means, covariances and the factors of precisions, as scikit-learn shapes them."""
        root = params["cholesky"]
        if self.needs_patterns:
            covariances = root @ np.swapaxes(root, -1, -2)
            roots = root[None] if self.shared else root
            precisions = inverse_factors(roots)[0] if self.shared else inverse_factors(roots)
        else:
            covariances, precisions = root**2, 1 / root
        return {
            "means_": params["means"] + self.shift,
            "covariances_": covariances,
            "precisions_cholesky_": precisions,
        }

    def levels_of(self, columns: Sequence[int]) -> dict[int, int]:
        return {}

    def smallest_variances(self, params: Params) -> np.ndarray:
        """Return the smallest eigenvalue of each covariance in units of the columns' variances."""
        k = len(params["means"])
        root = params["cholesky"]
        if self.needs_patterns:
            roots = np.broadcast_to(root, (k, *root.shape[-2:])) / self.scale[:, None]
            return np.linalg.svd(roots, compute_uv=False)[:, -1] ** 2
        return (self._std(params) / self.scale).min(1) ** 2

    def state(self) -> dict[str, np.ndarray]:
        found = {"shift": self.shift, "scale": self.scale}
        return found if self.lambda_ is None else found | {"lambda": self.lambda_}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        self.shift, self.scale = state["shift"], state["scale"]
        self.lambda_ = state.get("lambda")


def cholesky(covariance: np.ndarray) -> np.ndarray:
    """Return lower factors, NaN where there is none, of matrices of shape (..., d, d)."""
    try:
        return np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        if covariance.ndim == 2:
            return np.full(covariance.shape, np.nan)
        return np.array([cholesky(one) for one in covariance])
