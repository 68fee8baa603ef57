"""Non-negative regression: least squares beside scipy's active set, counts beside L-BFGS-B.

Random rows in float64. One thread, CPU time, sides in turn.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.measuring import Row
from benchmarks.optim.measuring import alternating
from kexue.optim import NonNegativeRegressor

N, D = 5000, 500
TOL = 1e-6
DESIGNS = ("normal columns", "uniform columns", "columns that share a factor")


def measure(data: Path) -> Iterator[Row]:
    """Yield the comparisons."""
    import scipy
    from scipy.optimize import nnls

    peer = f"scipy {scipy.__version__} nnls"
    for design in DESIGNS:
        X, y = problem(design)
        model = NonNegativeRegressor(tol=TOL)
        sides = {"ours": lambda: model.fit(X, y), "theirs": lambda: nnls(X, y)}  # noqa: B023
        ms = alternating(sides, rounds=5, calls=1)
        theirs = nnls(X, y)[0]
        exact = NonNegativeRegressor().fit(X, y)
        yield Row(
            f"least squares, {N:,} x {D:,}, {design}", "CPU s",
            ms["ours"] / 1000, ms["theirs"] / 1000, peer, 3,
            note=f"to a violation of {TOL:g}; {model.n_iter_} steps, {np.count_nonzero(theirs)} "
            f"coefficients are positive; violation ours {violation(X, y, model.coef_):.1e}, "
            f"theirs {violation(X, y, theirs):.1e}; largest difference "
            f"{np.abs(model.coef_ - theirs).max():.1e}, by default, after {exact.n_iter_} steps, "
            f"{np.abs(exact.coef_ - theirs).max():.1e}",
            readme=design == DESIGNS[0],
        )  # fmt: skip
        if design == DESIGNS[0]:
            model = NonNegativeRegressor(tol=TOL, polish=False)
            ms = alternating(sides, rounds=5, calls=1)
            yield Row(
                f"the same, multiplicative steps alone, {design}", "CPU s",
                ms["ours"] / 1000, ms["theirs"] / 1000, peer,
                note=f"{model.n_iter_} steps; violation {violation(X, y, model.coef_):.1e}",
                readme=False,
            )  # fmt: skip
    yield poisson(f"scipy {scipy.__version__} L-BFGS-B")


def problem(design: str, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and targets; about half of the true coefficients are zero."""
    rng = np.random.default_rng(seed)
    X = rng.random((N, D)) if design.startswith("uniform") else rng.normal(size=(N, D))
    if design.endswith("factor"):
        X += 3 * rng.normal(size=(N, 1))
    return X, X @ np.maximum(rng.normal(size=D), 0) + rng.normal(size=N)


def violation(X: np.ndarray, y: np.ndarray, theta: np.ndarray) -> float:
    """Return how far the conditions of an optimum are off, in the units of ``kkt_``."""
    scales, unit = np.sqrt((X**2).mean(0)), np.sqrt((y**2).mean())
    slopes = X.T @ (X @ theta - y) / (len(y) * scales * unit)
    return float(np.abs(np.minimum(theta * scales / unit, slopes)).max())


def poisson(peer: str) -> Row:
    """Compare counts explained by few of many features."""
    from scipy.optimize import minimize

    n, d = 5000, 200
    rng = np.random.default_rng(0)
    X = rng.random((n, d)) * (rng.random((n, d)) < 0.2)
    X[:, 0] = 1
    y = rng.poisson(X @ np.maximum(rng.normal(size=d), 0)).astype(float)
    counted = y > 0

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        mean = X @ theta + 1e-300
        ratio = np.where(counted, y / mean, 0)
        return float((mean.sum() - y[counted] @ np.log(mean[counted])) / n), X.T @ (1 - ratio) / n

    def theirs() -> np.ndarray:
        settings = {"ftol": 1e-14, "gtol": 1e-7, "maxiter": 5000, "maxfun": 50_000}
        start = np.full(d, y.mean() / X.mean(0).sum())
        return minimize(loss, start, jac=True, bounds=[(0, None)] * d, options=settings).x

    model = NonNegativeRegressor("poisson", tol=TOL)
    ms = alternating({"ours": lambda: model.fit(X, y), "theirs": theirs}, rounds=5, calls=1)
    return Row(
        f"counts, {n:,} x {d}", "CPU s", ms["ours"] / 1000, ms["theirs"] / 1000, peer,
        quality="value of the loss", quality_ours=loss(model.coef_)[0],
        quality_peer=loss(theirs())[0],
        note=f"{model.n_iter_} steps to a violation of {model.kkt_:.1e}",
        readme=False,
    )  # fmt: skip
