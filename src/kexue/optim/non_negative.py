"""Regression with coefficients that are not negative: least squares and Poisson."""

from __future__ import annotations

import warnings
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted, validate_data

from kexue._core import InputError, check_choice, check_float, check_int
from kexue.optim._non_negative_losses import PoissonLoss, SquaredLoss, column_scales
from kexue.optim._projected_newton import projected_newton
from kexue.optim.eg_minimize import eg_minimize

_EXPLORE = 1e-4  # violation at which the set of positive coefficients is mostly known
_LARGEST_POLISH = 5000  # coefficients at once: the Hessian is a dense matrix


class NonNegativeRegressor(RegressorMixin, BaseEstimator):
    r"""Fit :math:`y \approx X\theta` with :math:`\theta \ge 0`, by exponentiated gradient.

    .. math:: \theta \leftarrow \theta \odot \exp(-\eta \nabla L(\theta)), \quad
        L = \tfrac{1}{2N} |X\theta - y|^2 \text{ or }
        \tfrac1N \sum_n \left(\mu_n - y_n \log \mu_n\right), \; \mu = X\theta.

    The constraint alone makes solutions sparse. Steps that multiply never reach zero, so when
    they have shown which coefficients remain, projected Newton steps end the work.

    Parameters
    ----------
    loss : {"squared", "poisson"}
        "poisson" is for counts, with the mean itself linear: neither X nor y may be negative.
    tol : float >= 0
        Stop at this `kkt_`.
    max_iter : int >= 1
        Steps of both kinds.
    polish : bool
        End with Newton steps. False makes all steps multiply.

    Attributes
    ----------
    coef_ : float64 array of shape (d,)
    n_iter_ : int
        Steps of both kinds.
    kkt_ : float
        Largest violation of the conditions of an optimum, :math:`|\min(\theta, \nabla L)|`, with
        the columns of `X` and `y` taken in units of their root mean square ("squared") or of
        their mean ("poisson"), so that no unit of the data matters.
    n_features_in_ : int
        d.

    Notes
    -----
    There is no intercept; a column of ones is one. `X` may be sparse. Columns of zeros get the
    coefficient 0. Where columns depend on each other, one of several solutions is returned.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.random((100, 3))
    >>> y = X @ [2.0, -1.0, 1.0]
    >>> model = NonNegativeRegressor().fit(X, y)
    >>> np.round(model.coef_, 2), model.kkt_ <= 1e-8
    (array([1.56, 0.  , 0.6 ]), True)

    References
    ----------
    Kivinen and Warmuth, Exponentiated gradient versus gradient descent for linear predictors,
    Information and Computation 132, 1997. Bertsekas, Projected Newton methods for optimization
    problems with simple constraints, SIAM Journal on Control and Optimization 20, 1982.
    Hintermüller, Ito and Kunisch, The primal-dual active set strategy as a semismooth Newton
    method, SIAM Journal on Optimization 13, 2002. kexue.fm, archives/8968.
    """

    coef_: np.ndarray
    n_iter_: int
    kkt_: float

    def __init__(
        self,
        loss: Literal["squared", "poisson"] = "squared",
        *,
        tol: float = 1e-8,
        max_iter: int = 5000,
        polish: bool = True,
    ) -> None:
        self.loss = loss
        self.tol = tol
        self.max_iter = max_iter
        self.polish = polish

    def fit(self, X: ArrayLike, y: ArrayLike) -> NonNegativeRegressor:
        """Find the coefficients.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (N, d)
        y : array-like of shape (N,)

        Raises
        ------
        InputError
            For a negative entry with ``loss="poisson"``, or a bad parameter.

        Warns
        -----
        ConvergenceWarning
            If `tol` is not reached.
        UserWarning
            For rows of zeros with a count, with ``loss="poisson"``: they are left out.
        """
        check_choice("loss", self.loss, ("squared", "poisson"))
        tol = check_float("tol", self.tol, minimum=0)
        max_iter = check_int("max_iter", self.max_iter, minimum=1)
        if not isinstance(self.polish, bool):
            raise TypeError(f"polish must be a bool, got {self.polish!r}")
        rows, target = validate_data(
            self, X, y, accept_sparse="csr", dtype=np.float64, y_numeric=True
        )
        target = np.asarray(target, dtype=np.float64)
        if self.loss == "poisson":
            _check_counts(rows, target)
            target = np.where(_row_sums(rows) > 0, target, 0.0)
        squared = self.loss == "squared"
        unit, scales = column_scales(rows, target, squared=squared)
        self.coef_ = np.zeros(rows.shape[1])
        self.n_iter_, self.kkt_ = 0, 0.0
        used = np.flatnonzero(scales)
        if unit == 0 or not used.size:
            return self
        kind = SquaredLoss if squared else PoissonLoss
        loss = kind(rows[:, used] if len(used) < len(scales) else rows, scales[used], target / unit)
        theta = self._solve(loss, tol, max_iter)
        self.coef_[used] = theta * (unit / scales[used])
        if self.kkt_ > tol:
            warnings.warn(
                f"stopped after {self.n_iter_} steps with kkt_ {self.kkt_:.1e} > tol {tol:.1e}; "
                "raise max_iter or tol",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    def _solve(self, loss: SquaredLoss | PoissonLoss, tol: float, max_iter: int) -> np.ndarray:
        theta = loss.start()
        goal = _EXPLORE if self.polish else tol
        while True:
            before = self.n_iter_
            found = eg_minimize(
                loss, theta, True, tol=max(goal, tol), max_iter=max_iter - self.n_iter_
            )
            theta = found.x
            self.n_iter_ += found.nit
            if self.polish and np.count_nonzero(theta > goal) <= _LARGEST_POLISH:
                theta, n_steps = projected_newton(loss, theta, tol, max_iter - self.n_iter_)
                self.n_iter_ += n_steps
            self.kkt_ = loss.violation(theta)
            stuck = self.n_iter_ == before and goal < 1e-12
            if self.kkt_ <= tol or self.n_iter_ >= max_iter or stuck:
                return theta
            # once more from nearer, should Newton's steps have ended too early
            goal *= 0.1
            theta = np.maximum(theta, 1e-12)

    def predict(self, X: ArrayLike) -> np.ndarray:
        r"""Return :math:`X\theta`, shape (N,)."""
        check_is_fitted(self)
        rows = validate_data(self, X, accept_sparse="csr", dtype=np.float64, reset=False)
        return np.asarray(rows @ self.coef_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        if self.loss == "poisson":
            tags.input_tags.positive_only = True
            tags.target_tags.positive_only = True
        return tags


def _check_counts(X: Any, y: np.ndarray) -> None:
    least = X.min()
    if least < 0:
        raise InputError(
            f"Negative values in data: X must not be negative with loss='poisson', got {least:.6g}"
        )
    if (y < 0).any():
        row = int(np.argmax(y < 0))
        raise InputError(
            f"y must not be negative with loss='poisson', got {y[row]:.6g} at row {row}"
        )
    bare = int(np.count_nonzero(y[_row_sums(X) == 0]))
    if bare:
        warnings.warn(
            f"{bare} rows of X are 0 where y is not: with loss='poisson' no coefficients explain "
            "them, and they are left out; a column of ones would",
            UserWarning,
            stacklevel=3,
        )


def _row_sums(X: Any) -> np.ndarray:
    return np.asarray(X.sum(axis=1)).ravel()
