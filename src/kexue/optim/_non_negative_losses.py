"""The losses of `NonNegativeRegressor`, on columns and targets in units of their own size."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

_GRAM_COLUMNS = 5000  # whose products among each other are kept: 200 MB


def column_scales(X: Any, y: np.ndarray, *, squared: bool) -> tuple[float, np.ndarray]:
    """Return the size of `y` and of each column: root mean square, or mean; 0 for zeros."""
    if not squared:
        return float(y.mean()), np.asarray(X.mean(axis=0)).ravel()
    squares = X.multiply(X).sum(axis=0) if sparse.issparse(X) else np.einsum("ij,ij->j", X, X)
    scales = np.sqrt(np.asarray(squares, dtype=np.float64).ravel() / len(y))
    return float(np.sqrt(np.mean(y**2))), scales


class SquaredLoss:
    r""":math:`|X\theta - y|^2 / 2N`, from the products of the columns where they are few."""

    def __init__(self, X: Any, scales: np.ndarray, y: np.ndarray) -> None:
        self.X, self.scales, self.y = X, scales, y
        n, d = X.shape
        self.slopes = self.back(y) / n
        self.gram = None
        if d <= min(n, _GRAM_COLUMNS):
            self.gram = _dense(X.T @ X) / n
            self.gram /= scales[:, None]
            self.gram /= scales

    def start(self) -> np.ndarray:
        """Return equal coefficients."""
        return np.full(len(self.scales), 1 / len(self.scales))

    def back(self, rows: np.ndarray) -> np.ndarray:
        """Return the products of the columns with a vector over rows."""
        return np.asarray(self.X.T @ rows) / self.scales

    def residual(self, theta: np.ndarray) -> np.ndarray:
        return np.asarray(self.X @ (theta / self.scales)) - self.y

    def __call__(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Return value, but for a constant, and gradient."""
        if self.gram is None:
            gradient = self.back(self.residual(theta)) / len(self.y)
        else:
            gradient = self.gram @ theta - self.slopes
        return 0.5 * float(theta @ (gradient - self.slopes)), gradient

    def hessian(self, theta: np.ndarray, among: np.ndarray) -> np.ndarray:
        """Return the second derivatives among some coefficients."""
        if self.gram is not None:
            return self.gram[np.ix_(among, among)]
        some = self.X[:, among]
        scales = self.scales[among]
        return _dense(some.T @ some) / (len(self.y) * np.outer(scales, scales))

    def violation(self, theta: np.ndarray) -> float:
        """Return the largest violation of the conditions of an optimum, from the rows."""
        gradient = self.back(self.residual(theta)) / len(self.y)
        return float(np.abs(np.minimum(theta, gradient)).max())


class PoissonLoss:
    r""":math:`\sum_n (\mu_n - y_n \log \mu_n) / N` with :math:`\mu = X\theta`."""

    def __init__(self, X: Any, scales: np.ndarray, y: np.ndarray) -> None:
        self.X, self.scales, self.y = X, scales, y
        self.counted = y > 0

    def start(self) -> np.ndarray:
        """Return equal coefficients, with the mean of `y`."""
        return np.full(len(self.scales), 1 / len(self.scales))

    def back(self, rows: np.ndarray) -> np.ndarray:
        """Return the products of the columns with a vector over rows."""
        return np.asarray(self.X.T @ rows) / self.scales

    def __call__(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Return value and gradient; the value is infinite where a count has the mean 0."""
        mean = np.asarray(self.X @ (theta / self.scales))
        at = self.counted
        if (mean[at] <= 0).any():
            return np.inf, np.full(len(theta), np.nan)
        ratio = np.zeros(len(mean))
        ratio[at] = self.y[at] / mean[at]
        value = (mean.sum() - self.y[at] @ np.log(mean[at])) / len(mean)
        return float(value), self.back(1 - ratio) / len(mean)

    def hessian(self, theta: np.ndarray, among: np.ndarray) -> np.ndarray:
        """Return the second derivatives among some coefficients."""
        mean = np.asarray(self.X @ (theta / self.scales))
        at = self.counted
        weights = np.zeros(len(mean))
        weights[at] = self.y[at] / mean[at] ** 2
        some = self.X[:, among]
        scales = self.scales[among]
        if sparse.issparse(some):
            product = _dense(some.T @ sparse.diags_array(weights) @ some)
        else:
            product = some.T @ (weights[:, None] * some)
        return product / (len(mean) * np.outer(scales, scales))

    def violation(self, theta: np.ndarray) -> float:
        """Return the largest violation of the conditions of an optimum."""
        return float(np.abs(np.minimum(theta, self(theta)[1])).max())


def _dense(product: Any) -> np.ndarray:
    return product.toarray() if sparse.issparse(product) else np.asarray(product)
