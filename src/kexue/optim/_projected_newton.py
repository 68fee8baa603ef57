"""Newton steps on the coefficients that are free, projected on those that are not negative."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

_HALVINGS = 30
_DECREASE = 1e-4
_RIDGE = 1e-12


def projected_newton(
    loss: Any, theta: np.ndarray, tol: float, max_steps: int
) -> tuple[np.ndarray, int]:
    """Return coefficients near `theta` that violate the conditions by at most `tol`, and the steps.

    Parameters
    ----------
    loss : callable
        ``loss(theta) -> (value, gradient)``, ``loss.hessian(theta, among)``.
    theta : array of shape (d,)
        Not negative.
    tol : float
    max_steps : int

    Notes
    -----
    Brought to zero is what is nearer to it than its slope is steep: the conditions are
    min(theta, gradient) = 0, and this is Newton's method on them. Stops early where no step lowers
    the value.
    """
    value, gradient = loss(theta)
    for n_steps in range(max_steps):
        violation = np.abs(np.minimum(theta, gradient)).max()
        if violation <= tol:
            return theta, n_steps
        held = theta <= gradient
        free = np.flatnonzero(~held)
        direction = np.where(held, -theta, 0.0)
        direction[free] = -_solve(loss.hessian(theta, free), gradient[free])
        length = 1.0
        for _ in range(_HALVINGS):
            moved = np.maximum(theta + length * direction, 0)
            new_value, new_gradient = loss(moved)
            slope = gradient @ (moved - theta)
            better = np.abs(np.minimum(moved, new_gradient)).max() < violation
            # where the value is down to its rounding, the violation tells
            rounding = 1e-13 * max(abs(value), 1e-300)
            if new_value <= value + _DECREASE * min(slope, 0) or (
                better and new_value <= value + rounding
            ):
                break
            length /= 2
        else:
            return theta, n_steps
        theta, value, gradient = moved, new_value, new_gradient
    return theta, max_steps


def _solve(hessian: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """Return hessian^-1 gradient, with a ridge as large as it takes."""
    if not len(gradient):
        return gradient
    ridge = 0.0
    size = max(float(np.trace(hessian)) / len(hessian), 1e-300)
    while True:
        try:
            factor = cho_factor(hessian + ridge * np.eye(len(hessian)), lower=True)
            break
        except LinAlgError:
            ridge = max(10 * ridge, _RIDGE * size)
    return np.asarray(cho_solve(factor, gradient))
