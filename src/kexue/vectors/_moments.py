"""Mean and scatter of rows that come in chunks, in any order and from several workers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import blas, get_blas_funcs

from kexue._core import InputError

_FEW = 64  # rows


@dataclass
class Moments:
    r"""What a covariance needs to know of n rows, kept in float64.

    Sums are about the mean of the rows themselves, because sums about zero lose all digits where
    the mean is large beside the spread. Two states are merged by the rule of Chan, Golub and
    LeVeque: with :math:`\delta` the difference of the means,

    .. math:: S = S_1 + S_2 + \frac{n_1 n_2}{n_1 + n_2} \delta \delta^T .

    Attributes
    ----------
    n : int
    mean : float64 array of shape (d,)
    scatter : float64 array of shape (d, d)
        Sum of (x - mean) (x - mean)^T; only the lower triangle is meaningful.
    cubic : float64 array of shape (d,), or None
        Sum of |x - mean|^2 (x - mean), if fourth moments are wanted.
    quartic : float
        Sum of |x - mean|^4.

    References
    ----------
    Chan, Golub and LeVeque, Updating formulae and a pairwise algorithm for computing sample
    variances, COMPSTAT 1982.
    """

    n: int
    mean: np.ndarray
    scatter: np.ndarray
    cubic: np.ndarray | None = None
    quartic: float = 0.0

    @classmethod
    def empty(cls, d: int, *, fourth: bool = False) -> Moments:
        """Return the moments of no rows with d columns."""
        cubic = np.zeros(d) if fourth else None
        return cls(0, np.zeros(d), np.zeros((d, d), order="F"), cubic)

    def add(self, rows: np.ndarray, precision: str = "float64", first_row: int = 0) -> None:
        """Take in rows.

        Parameters
        ----------
        rows : array of shape (m, d), any real type
        precision : {"float64", "float32"}
            Of the sums within these rows; from one call to the next they are kept in float64.
        first_row : int
            The number of the first of these rows, for messages.

        Raises
        ------
        InputError
            For NaN or infinity, of which the first is named; nothing is taken in then.
        """
        if not rows.shape[0]:
            return
        # any point among the rows will do
        near = self.mean if self.n else rows[:_FEW].mean(axis=0, dtype=np.float64)
        shift = near.astype(precision)
        with np.errstate(invalid="ignore", over="ignore"):
            centred = np.subtract(rows, shift, dtype=shift.dtype)
            total = np.ones(rows.shape[0], shift.dtype) @ centred
            # NumPy sees the symmetry, and does half of the work
            scatter = (centred.T @ centred).T
        if not np.isfinite(np.diagonal(scatter)).all() or not np.isfinite(total).all():
            check_finite(rows, first_row)
            raise InputError(
                f"X holds numbers too large to be squared in {precision}; scale X down"
            )
        offset = total.astype(np.float64) / rows.shape[0]
        scatter = _plus_outer(scatter, -rows.shape[0], offset)
        part = Moments(rows.shape[0], shift + offset, scatter)
        if self.cubic is not None:
            centred -= offset.astype(shift.dtype)
            squares = np.einsum("ij,ij->i", centred, centred)
            part.cubic = (squares @ centred).astype(np.float64)
            part.quartic = float(squares @ squares)
        self.merge(part)

    def merge(self, other: Moments) -> None:
        """Take in the rows of another state, which keeps fourth moments if this one does."""
        n = self.n + other.n
        if not n:
            return
        delta = other.mean - self.mean
        if self.cubic is not None:
            cubic, quartic = self._fourth_about(delta * (-other.n / n))
            other_cubic, other_quartic = other._fourth_about(delta * (self.n / n))
            self.cubic, self.quartic = cubic + other_cubic, quartic + other_quartic
        # joblib may have mapped it from a file, to be read only
        self.scatter = np.require(self.scatter, requirements="W")
        self.scatter += other.scatter
        self.scatter = _plus_outer(self.scatter, self.n * other.n / n, delta)
        self.mean = self.mean + delta * (other.n / n)
        self.n = n

    def copy(self) -> Moments:
        """Return a state that shares no array with this one."""
        cubic = None if self.cubic is None else self.cubic.copy()
        scatter = self.scatter.copy(order="F")
        return Moments(self.n, self.mean.copy(), scatter, cubic, self.quartic)

    def covariance(self) -> np.ndarray:
        """Return the covariance, scatter / n, of shape (d, d), both triangles filled."""
        lower = np.tril(self.scatter)
        lower /= self.n
        return lower + np.tril(lower, -1).T

    def _fourth_about(self, move: np.ndarray) -> tuple[np.ndarray, float]:
        """Return `cubic` and `quartic` about the point ``mean - move``."""
        if self.cubic is None:
            raise ValueError("fourth moments were not kept")
        length = float(move @ move)
        trace = float(np.trace(self.scatter))
        turned = blas.dsymv(1.0, self.scatter, move, lower=1)
        cubic = self.cubic + 2 * turned + (trace + self.n * length) * move
        quartic = self.quartic + 4 * (move @ turned) + 4 * (move @ self.cubic)
        return cubic, float(quartic + 2 * length * trace + self.n * length**2)


def check_finite(rows: np.ndarray, first_row: int = 0) -> None:
    """Raise `InputError` naming the first entry that is NaN or infinite, if one is."""
    finite = np.isfinite(rows)
    if not finite.all():
        row, column = np.argwhere(~finite)[0].tolist()
        value = float(rows[row, column])
        raise InputError(
            f"X must be finite, got {'NaN' if np.isnan(value) else value} at row "
            f"{first_row + row}, column {column}"
        )


def _plus_outer(matrix: np.ndarray, weight: float, vector: np.ndarray) -> np.ndarray:
    """Return the matrix plus ``weight * vector vector^T``, in place, lower triangle."""
    syr = get_blas_funcs("syr", (matrix,))
    return np.asarray(syr(weight, vector, a=matrix, lower=1, overwrite_a=1))
