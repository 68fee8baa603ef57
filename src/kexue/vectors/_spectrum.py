"""From a covariance to the matrix that whitens: spectrum, rank, shrinkage, number of columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import eigh

from kexue._core import InputError
from kexue.vectors._moments import Moments


@dataclass(frozen=True)
class Solution:
    """The map, and what it was made of; arrays of float64.

    Attributes
    ----------
    mean, offset : arrays of shape (d,)
        The mean, and the part of it that is subtracted.
    kernel, bias, inverse : arrays of shapes (d, k), (k,), (k, d)
    eigenvalues : array of shape (d,)
    rank, kept : int
        Directions that are not noise, and those that are kept.
    shrinkage : float
    """

    mean: np.ndarray
    offset: np.ndarray
    kernel: np.ndarray
    bias: np.ndarray
    inverse: np.ndarray
    eigenvalues: np.ndarray
    rank: int
    kept: int
    shrinkage: float


def solve(
    halves: list[Moments],
    n_components: Any,
    *,
    beta: float,
    gamma: float,
    method: str,
    shrinkage: float | str | None,
    rcond: float,
    precision: str = "float64",
) -> Solution:
    """Return the map for the rows of all states; see `Whitening` for the parameters.

    Raises
    ------
    InputError
        If rows have no spread, or fewer directions than are asked for.
    """
    moments = halves[0]
    if len(halves) > 1:
        moments = halves[0].copy()
        moments.merge(halves[1])
    # its lower triangle, which is all that is read
    covariance = moments.scatter / moments.n
    if beta != 1:
        covariance += (1 - beta) ** 2 * np.outer(moments.mean, moments.mean)
    values, axes = descending(covariance, precision)
    d = values.size
    rank = numerical_rank(values, rcond)
    if beta != 1 and d > 1 and precision == "float64":
        # the first may be the mean alone, beside which no spread counts
        floor = max(rcond * values[1], np.finfo(np.float64).eps * values[0])
        rank = int(np.count_nonzero(values > floor))
    if not rank:
        raise InputError(f"X must hold rows that differ, got {moments.n:,} rows all the same")
    amount = shrinkage_amount(shrinkage, moments)
    even = shrunk(values, amount)
    usable = d if amount > 0 else rank
    if n_components is None:
        kept = usable
    elif isinstance(n_components, str):
        if len(halves) < 2:
            raise InputError("n_components='auto' must be set before the first rows are seen")
        kept = min(held_out_components(halves, rcond), usable)
    elif isinstance(n_components, float | np.floating):
        share = np.cumsum(values) / values.sum()
        # a sum that rounding keeps below the share must not ask for more than there is
        kept = min(int(np.searchsorted(share, n_components)) + 1, usable)
    else:
        kept = int(n_components)
    if kept > usable:
        raise InputError(
            f"n_components must be at most {usable}, the rank of the covariance of {d} features "
            f"over {moments.n:,} rows, got {kept}; None takes them all"
        )
    if method == "cholesky" and kept < d:
        raise InputError(
            f"method='cholesky' needs a covariance of full rank, got rank {rank} of {d} features; "
            "give shrinkage, or take method='pca'"
        )
    kernel, inverse = whitening_matrices(even[:kept], axes[:, :kept], gamma, method)
    offset = beta * moments.mean
    return Solution(
        moments.mean.copy(), offset, kernel, -offset @ kernel, inverse, values, rank, kept, amount
    )


def descending(matrix: np.ndarray, precision: str = "float64") -> tuple[np.ndarray, np.ndarray]:
    """Return eigenvalues, largest first, none below 0, and eigenvectors as columns.

    The entry of largest size in every eigenvector is positive, so that results can be repeated.
    Only the lower triangle of the matrix is read, and it may be used up.
    """
    # divide and conquer: the other drivers lose where all eigenvectors are wanted
    matrix = matrix.astype(precision, copy=False)
    values, vectors = eigh(matrix, driver="evd", overwrite_a=True, check_finite=False)
    vectors = vectors[:, ::-1].astype(np.float64, copy=False)
    largest = np.argmax(np.abs(vectors), axis=0)
    vectors *= np.where(vectors[largest, np.arange(largest.size)] < 0, -1.0, 1.0)
    return np.maximum(values[::-1].astype(np.float64, copy=False), 0.0), vectors


def numerical_rank(values: np.ndarray, rcond: float) -> int:
    """Return how many eigenvalues, descending, are above `rcond` times the first."""
    return int(np.count_nonzero(values > rcond * values[0])) if values[0] > 0 else 0


def shrinkage_amount(shrinkage: float | str | None, moments: Moments) -> float:
    """Return the share in [0, 1] that the mean variance gets.

    The formulas of Chen et al. ("oas") and of Ledoit and Wolf need no row again: the former takes
    the covariance, the latter also the sum of the fourth powers of the rows' lengths.
    """
    if shrinkage is None or isinstance(shrinkage, int | float):
        return float(shrinkage or 0.0)
    n, d = moments.n, moments.mean.size
    diagonal = np.diagonal(moments.scatter) / n
    mean = float(diagonal.mean())
    squares = 2 * _squares_below(moments.scatter) / n**2 + float(diagonal @ diagonal)
    if shrinkage == "oas":
        mean_square = squares / d**2
        below = (n + 1) * (mean_square - mean**2 / d)
        return min(1.0, (mean_square + mean**2) / below) if below > 0 else 1.0
    spread = squares / d - mean**2
    noise = (moments.quartic / n - squares) / (d * n)
    return min(1.0, max(0.0, noise / spread)) if spread > 0 else 0.0


def shrunk(values: np.ndarray, amount: float) -> np.ndarray:
    """Return ``(1 - s) l + s mean(l)``."""
    return (1 - amount) * values + amount * values.mean()


def held_out_components(halves: list[Moments], rcond: float) -> int:
    """Return the number of components under which either half of the rows is likeliest."""
    gains = held_out_gains(halves, rcond)
    if gains.size > 2:
        # the last direction, if it is all the noise there is, has its own variance as well
        gains[-2] = -np.inf
    return int(np.argmax(gains)) + 1


def held_out_gains(halves: list[Moments], rcond: float) -> np.ndarray:
    """Return twice the mean log likelihood of a row, but for a constant, for k = 1 ... rank.

    Probabilistic PCA: k directions have their own variances and the others share one, all learned
    from one half of the rows; the likelihood, in nats, is that of the other half, both ways round
    added up. Nothing but the moments is needed.

    References
    ----------
    Tipping and Bishop, Probabilistic principal component analysis, Journal of the Royal
    Statistical Society B 61, 1999.
    """
    learned = [descending(half.covariance()) for half in halves]
    rank = max(1, min(numerical_rank(values, rcond) for values, _ in learned))
    gains = np.zeros(rank)
    for (values, vectors), half, other in zip(learned, halves, halves[::-1], strict=True):
        known, axes = values[:rank], vectors[:, :rank]
        seen = np.einsum("ij,ij->j", axes, other.covariance() @ axes)
        seen += ((other.mean - half.mean) @ axes) ** 2
        if known[-1] > 0:
            gains += _log_likelihoods(known, seen)
    return gains


def _log_likelihoods(known: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Return twice the log likelihood of a row for k = 1 ... r, but for a constant, in nats."""
    rank = known.size
    left = np.arange(rank - 1, -1, -1)
    own = np.cumsum(np.log(known) + seen / known)
    noise = np.append(np.cumsum(known[::-1])[::-1][1:], 0.0) / np.maximum(left, 1)
    rest = np.append(np.cumsum(seen[::-1])[::-1][1:], 0.0)
    noise[-1] = 1.0
    return -(own + left * np.log(noise) + rest / noise)


def whitening_matrices(
    values: np.ndarray, axes: np.ndarray, gamma: float, method: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return W and its pseudo-inverse, with W W^T the covariance to the power -gamma.

    Parameters
    ----------
    values : array of shape (k,), positive
    axes : array of shape (d, k)
    gamma : float
    method : {"pca", "zca", "cholesky"}
        The last needs k = d.

    Returns
    -------
    tuple of arrays of shapes (d, m) and (m, d), with m = k for "pca" and d else
    """
    scale = values ** (-gamma / 2)
    if method == "pca":
        return axes * scale, (axes / scale).T
    if method == "zca":
        return (axes * scale) @ axes.T, (axes / scale) @ axes.T
    kernel = np.linalg.cholesky((axes * scale**2) @ axes.T)
    return kernel, np.linalg.inv(kernel)


def _squares_below(matrix: np.ndarray) -> float:
    """Return the sum of the squares of all entries below the diagonal."""
    return float(sum(row[:i] @ row[:i] for i, row in enumerate(matrix)))
