"""How evenly vectors fill their space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp

from kexue._core import InputError
from kexue.vectors._chunks import is_sliceable, is_stream, row_chunks
from kexue.vectors._moments import Moments
from kexue.vectors._spectrum import descending, numerical_rank

_BATCH = 4096  # rows
_ROUNDING = 1e-7  # as whitening's `rcond`


@dataclass(frozen=True)
class IsotropyReport:
    """How evenly vectors fill their space; the best value of each figure is in brackets.

    Attributes
    ----------
    mean_cosine : float
        Of all pairs of different rows (0). NaN if fewer than two rows are not zero.
    partition_ratio : float
        Least over largest of the sums over rows x of exp(c x), for c along either direction of
        the principal axes about zero (1); Mu and Viswanath's measure. It depends on the lengths.
    condition : float
        Largest variance along an axis over the least (1); infinite where directions are empty.
    effective_rank : float
        exp of the entropy of the shares that the axes have of the variance, in dimensions (d).
    top_share : float
        Share of the variance along the first axis (1 / d).

    References
    ----------
    Mu and Viswanath, All-but-the-top: simple and effective postprocessing for word
    representations, ICLR 2018. Roy and Vetterli, The effective rank, EUSIPCO 2007.
    """

    mean_cosine: float
    partition_ratio: float
    condition: float
    effective_rank: float
    top_share: float


def isotropy(X: ArrayLike) -> IsotropyReport:
    """Measure how evenly vectors fill their space.

    Exact, from all rows and pairs; rows are read three times and never copied as a whole.

    Parameters
    ----------
    X : array-like of shape (N, d), memory map or torch tensor

    Returns
    -------
    IsotropyReport

    Raises
    ------
    InputError
        For fewer than two rows, rows that are all the same, NaN, infinity, or a stream, which
        cannot be read three times.

    Examples
    --------
    >>> report = isotropy([[3.0, 1.0], [3.0, -1.0], [-3.0, 1.0], [-3.0, -1.0]])
    >>> round(report.mean_cosine, 3), round(report.condition, 3), round(report.top_share, 3)
    (-0.333, 9.0, 0.9)
    >>> round(isotropy([[9.0, 1.0], [9.0, -1.0], [8.0, 0.0]]).mean_cosine, 3)
    0.988
    """
    if is_stream(X):
        raise InputError("X must be one array: isotropy reads it three times; join the chunks")
    rows = X if is_sliceable(X) else next(row_chunks(X, len(X)))  # type: ignore[arg-type]
    moments, total, present = _sums(rows)
    if moments.n < 2:
        raise InputError(f"X must have at least 2 rows, got {moments.n}")
    values, _ = descending(moments.covariance())
    rank = numerical_rank(values, _ROUNDING)
    if not rank:
        raise InputError(f"X must hold rows that differ, got {moments.n:,} rows all the same")
    # the sum of all cosines, less those of rows with themselves
    pairs = present * (present - 1)
    shares = values[:rank] / values.sum()
    return IsotropyReport(
        mean_cosine=float(total @ total - present) / pairs if pairs else float("nan"),
        partition_ratio=_partition_ratio(rows, moments),
        condition=float(values[0] / values[-1]) if rank == values.size else float("inf"),
        effective_rank=float(np.exp(-shares @ np.log(shares))),
        top_share=float(shares[0]),
    )


def _sums(X: Any) -> tuple[Moments, np.ndarray, int]:
    """Return the moments of rows, the sum of the unit rows, and how many rows are not zero."""
    moments, total, present = None, np.zeros(()), 0
    for i, rows in enumerate(row_chunks(X, _BATCH)):
        moments = moments or Moments.empty(rows.shape[1])
        moments.add(rows, first_row=i * _BATCH)
        wide = rows.astype(np.float64)
        lengths = np.linalg.norm(wide, axis=1)
        total = total + np.divide(1.0, lengths, out=np.zeros(len(rows)), where=lengths > 0) @ wide
        present += int(np.count_nonzero(lengths))
    assert moments is not None  # a chunk without rows has been refused
    return moments, total, present


def _partition_ratio(X: Any, moments: Moments) -> float:
    second = moments.covariance() + np.outer(moments.mean, moments.mean)
    _, axes = descending(second)
    logarithms = np.full(2 * axes.shape[1], -np.inf)
    for rows in row_chunks(X, _BATCH):
        along = rows.astype(np.float64) @ axes
        found = np.concatenate([logsumexp(along, axis=0), logsumexp(-along, axis=0)])
        logarithms = np.logaddexp(logarithms, found)
    return float(np.exp(logarithms.min() - logarithms.max()))
