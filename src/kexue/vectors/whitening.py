"""Whitening: one affine map after which vectors have mean 0 and covariance I."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted, validate_data

from kexue._core import InputError, check_choice, check_float, check_int, require
from kexue.vectors import _whitening_files as files
from kexue.vectors._chunks import is_sliceable, is_stream, row_chunks
from kexue.vectors._moments import Moments, check_finite
from kexue.vectors._spectrum import Solution, solve
from kexue.vectors._whitening_kernels import shift_and_scale

_SHRINKAGES = ("oas", "ledoit_wolf")
_BLOCK = 512  # rows whose centred copy and result stay in the cache


class Whitening(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    r"""Make vectors isotropic, so that cosines tell them apart, and shorter if asked.

    With the mean :math:`\mu` and the covariance
    :math:`\Sigma = \frac{1}{N} \sum (x - \beta\mu)^T (x - \beta\mu) = U \Lambda U^T` of the rows,

    .. math:: y = (x - \beta\mu) W, \quad W W^T = U_k \Lambda_k^{-\gamma} U_k^T,

    then :math:`y / |y|`. :math:`\beta = \gamma = 1` is whitening; :math:`\beta = \gamma = 0`
    without reduction leaves every cosine as it was. No labels are needed. It helps vectors that
    were never trained to be compared; supervised ones it often harms: then prefer ``beta=0,
    gamma=0``, which only reduces them.

    Parameters
    ----------
    n_components : None, int, float in (0, 1) or "auto"
        Number of columns k: None, as many as the rank of the covariance; a share, the least
        number with at least this part of the variance; "auto", the number under which one half
        of the rows makes the other half likeliest (probabilistic PCA). Only with ``method="pca"``.
    beta, gamma : float in [0, 1]
        How much of the mean is subtracted, and of the differences in variance evened out.
    method : {"pca", "zca", "cholesky"}
        Which root W of the precision: along the principal axes, largest variance first; symmetric,
        nearest to the rows as they are; lower triangular. Without reduction all cosines are the
        same.
    shrinkage : None, float in [0, 1], "oas" or "ledoit_wolf"
        Weight s in :math:`\lambda \leftarrow (1 - s) \lambda + s \bar\lambda`, or how it is
        estimated. With few rows, small variances are underestimated and would be blown up.
    rcond : float in [0, 1)
        Directions with a variance of at most `rcond` times the largest count as rounding noise
        and are left out, unless variances are shrunk.
    normalize : bool
        Give rows the length 1.
    precision : {"float64", "float32"}
        Of the sums within a chunk, and of the axes. Float32 is twice as fast and loses variances
        below about 1e-6 of the largest, which count as noise then.
    batch_size : int
        Rows to a chunk.

    Attributes
    ----------
    mean_ : float64 array of shape (d,)
    kernel_ : float64 array of shape (d, k)
        W.
    bias_ : float64 array of shape (k,)
        :math:`-\beta\mu W`, so that y = x W + bias.
    eigenvalues_ : float64 array of shape (d,)
        Variances along the principal axes, largest first, before shrinkage.
    explained_variance_ratio_ : float64 array
        Share of each axis that is kept.
    rank_ : int
        Number of eigenvalues that are not rounding noise.
    shrinkage_ : float
        The weight s that was used.
    n_samples_seen_ : int
    n_features_in_ : int
        d.

    Notes
    -----
    Sums are kept in float64 about the mean of the rows, so that chunks of any size in any order,
    and parts that several workers have summed, give the same result to rounding. `X` is never
    copied as a whole. Variances are divided by N. After `partial_fit` and `merge` the map is
    computed when it is first asked for.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(500, 3)) @ [[3, 0, 0], [2, 1, 0], [0, 1, 0.1]] + 5
    >>> model = Whitening(normalize=False).fit(X)
    >>> Y = model.transform(X)
    >>> bool(np.abs(Y.T @ Y / len(Y) - np.eye(3)).max() < 1e-10)
    True
    >>> halves = Whitening(normalize=False).partial_fit(X[:100]).partial_fit(X[100:])
    >>> np.allclose(halves.kernel_, model.kernel_, rtol=1e-10)
    True

    References
    ----------
    Su, Cao, Liu and Ou, Whitening sentence representations for better semantics and faster
    retrieval, arXiv 2103.15316. kexue.fm, archives/8069 and archives/9079. Chen, Wiesel, Eldar
    and Hero, Shrinkage algorithms for MMSE covariance estimation, IEEE Transactions on Signal
    Processing 58, 2010. Ledoit and Wolf, A well-conditioned estimator for large-dimensional
    covariance matrices, Journal of Multivariate Analysis 88, 2004.
    """

    # One state, or one for the even and one for the odd rows
    _halves: list[Moments]
    _solution: Solution | None
    n_features_in_: int
    feature_names_in_: np.ndarray

    def __init__(
        self,
        n_components: int | float | Literal["auto"] | None = None,
        *,
        beta: float = 1.0,
        gamma: float = 1.0,
        method: Literal["pca", "zca", "cholesky"] = "pca",
        shrinkage: float | Literal["oas", "ledoit_wolf"] | None = None,
        rcond: float = 1e-7,
        normalize: bool = True,
        precision: Literal["float64", "float32"] = "float64",
        batch_size: int = 4096,
    ) -> None:
        self.n_components = n_components
        self.beta = beta
        self.gamma = gamma
        self.method = method
        self.shrinkage = shrinkage
        self.rcond = rcond
        self.normalize = normalize
        self.precision = precision
        self.batch_size = batch_size

    def fit(self, X: ArrayLike | Iterable[ArrayLike], y: None = None) -> Whitening:
        """Learn the map from rows.

        Parameters
        ----------
        X : array-like of shape (N, d), memory map, torch tensor, or iterable of such chunks
            Float16, float32, float64 or integers.
        y : None
            Ignored.

        Raises
        ------
        InputError
            For fewer than two rows, NaN or infinity (the first is named), rows that are all the
            same, more components than the rank, or a bad parameter.

        Warns
        -----
        UserWarning
            For fewer than 5 d rows without shrinkage.
        """
        self._check_parameters()
        self._take_in(self._sums(X, reset=True), first=True)
        self._solution = self._solve()
        return self

    def partial_fit(self, X: ArrayLike | Iterable[ArrayLike], y: None = None) -> Whitening:
        """Learn from more rows; of bad ones none are taken in. Parameters as for `fit`."""
        self._check_parameters()
        first = not self.__sklearn_is_fitted__()
        found = self._sums(X, reset=first)
        self._take_in(found, first=first)
        return self

    def merge(self, other: Whitening) -> Whitening:
        """Take in all rows that `other` has seen, as if they had been given to `partial_fit`.

        The parameters stay. A model that has seen no rows may so try other parameters on the rows
        that another one has seen, without reading them again.

        Raises
        ------
        InputError
            If `other` has another number of features, or does not keep what
            ``n_components="auto"`` or ``shrinkage="ledoit_wolf"`` need.
        """
        self._check_parameters()
        if not isinstance(other, Whitening):
            raise TypeError(f"other must be a Whitening, got {type(other).__name__}")
        check_is_fitted(other)
        first = not self.__sklearn_is_fitted__()
        if not first and self.n_features_in_ != other.n_features_in_:
            raise InputError(
                f"other must have {self.n_features_in_} features like this one, "
                f"got {other.n_features_in_}"
            )
        mine = self._new_sums(other.n_features_in_) if first else self._halves
        if len(mine) > len(other._halves):
            raise InputError("n_components='auto' needs it set in both before any row is seen")
        if mine[0].cubic is not None and other._halves[0].cubic is None:
            raise InputError("shrinkage='ledoit_wolf' needs it set in both before any row is seen")
        theirs = [half.copy() for half in other._halves]
        while len(theirs) > len(mine):
            theirs[0].merge(theirs.pop())
        if first:
            self.n_features_in_ = other.n_features_in_
            if hasattr(other, "feature_names_in_"):
                self.feature_names_in_ = other.feature_names_in_
        self._take_in(theirs, first=first)
        return self

    def transform(self, X: ArrayLike | Iterable[ArrayLike], out: np.ndarray | None = None) -> Any:
        """Whiten rows.

        Parameters
        ----------
        X : as for `fit`
        out : float32 or float64 array of shape (N, k), optional
            Written to, and returned; a memory map where N is large.

        Returns
        -------
        array of shape (N, k)
            Float32 for float16 and float32, else float64.

        Raises
        ------
        NotFittedError, InputError
        """
        check_is_fitted(self)
        solution = self._solved()
        if out is not None:
            self._check_out(out)
        parts = []
        row = 0
        for rows in self._chunks(X, reset=False):
            work = np.dtype(np.float32 if rows.dtype in (np.float16, np.float32) else np.float64)
            if out is None and is_sliceable(X):
                out = np.empty((len(X), solution.kernel.shape[1]), work)  # type: ignore[arg-type]
            if out is None:
                part = np.empty((len(rows), solution.kernel.shape[1]), work)
                parts.append(part)
            else:
                part = out[row : row + len(rows)]
            if len(part) == len(rows):
                self._apply(solution, rows, part, row)
            row += len(rows)
        if out is not None and len(out) != row:
            raise InputError(f"out must have as many rows as X, {row}, got {len(out)}")
        return np.concatenate(parts) if out is None else out

    def inverse_transform(self, Y: ArrayLike) -> np.ndarray:
        """Return the rows that whitening maps to `Y`, of shape (N, d), in the axes' span.

        Lengths that `normalize` has taken are not restored: with it, a row comes back as the
        point in its direction, seen from the mean, that lies at unit distance after whitening.
        """
        check_is_fitted(self)
        solution = self._solved()
        k = solution.kernel.shape[1]
        rows = np.asarray(Y)
        if rows.ndim != 2 or rows.shape[1] != k or rows.dtype.kind not in "iuf":
            raise InputError(
                f"Y must be a numeric array of shape (N, {k}), got shape {rows.shape}, "
                f"dtype {rows.dtype}"
            )
        work = np.float32 if rows.dtype in (np.float16, np.float32) else np.float64
        found = rows @ solution.inverse.astype(work) + solution.offset.astype(work)
        return np.asarray(found)

    def to_linear(self) -> Any:
        """Return the map as a ``torch.nn.Linear`` of float32, without the normalization.

        Its float32 product loses digits where the mean is large beside the spread, which
        `transform` does not.
        """
        check_is_fitted(self)
        torch = require("torch", extra="torch", purpose="to_linear()")
        layer = torch.nn.Linear(*self.kernel_.shape)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(self.kernel_.T.copy()))
            layer.bias.copy_(torch.from_numpy(self.bias_))
        return layer

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the sums, the map and the parameters as one file of safetensors, atomically."""
        check_is_fitted(self)
        names = getattr(self, "feature_names_in_", None)
        files.write(path, self.get_params(), names, self._halves, self._solution)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Whitening:
        """Return the model of a file of `save`: bit for bit the same, ready for `partial_fit`."""
        parameters, names, halves, solution = files.read(path)
        try:
            model = cls(**parameters)
        except TypeError as error:
            raise InputError(f"{os.fspath(path)} has other parameters: {error}") from error
        model._check_parameters()
        model._halves, model._solution = halves, solution
        model.n_features_in_ = halves[0].mean.size
        if names is not None:
            model.feature_names_in_ = np.array(names, dtype=object)
        return model

    @property
    def mean_(self) -> np.ndarray:
        """Mean of the rows, shape (d,)."""
        return self._solved().mean

    @property
    def kernel_(self) -> np.ndarray:
        """W, shape (d, k)."""
        return self._solved().kernel

    @property
    def bias_(self) -> np.ndarray:
        """What is added to x W, shape (k,)."""
        return self._solved().bias

    @property
    def eigenvalues_(self) -> np.ndarray:
        """Variances along the axes, largest first, shape (d,)."""
        return self._solved().eigenvalues

    @property
    def explained_variance_ratio_(self) -> np.ndarray:
        """Share of the variance that each kept axis has."""
        solution = self._solved()
        return solution.eigenvalues[: solution.kept] / solution.eigenvalues.sum()

    @property
    def rank_(self) -> int:
        """Number of axes whose variance is not rounding noise."""
        return self._solved().rank

    @property
    def shrinkage_(self) -> float:
        """Weight of the mean variance."""
        return self._solved().shrinkage

    @property
    def n_samples_seen_(self) -> int:
        """Number of rows."""
        if not self.__sklearn_is_fitted__():
            raise NotFittedError("this Whitening has seen no rows yet; call fit or partial_fit")
        return sum(half.n for half in self._halves)

    @property
    def _n_features_out(self) -> int:
        return int(self._solved().kernel.shape[1])

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_halves")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    # --- summing

    def _new_sums(self, d: int) -> list[Moments]:
        fourth = isinstance(self.shrinkage, str) and self.shrinkage == "ledoit_wolf"
        n_parts = 2 if isinstance(self.n_components, str) else 1
        return [Moments.empty(d, fourth=fourth) for _ in range(n_parts)]

    def _sums(self, X: Any, *, reset: bool) -> list[Moments]:
        """Return the sums over all rows of X."""
        sums: list[Moments] = []
        row = 0
        for rows in self._chunks(X, reset=reset):
            sums = sums or (
                self._new_sums(rows.shape[1])
                if reset
                else [
                    Moments.empty(half.mean.size, fourth=half.cubic is not None)
                    for half in self._halves
                ]
            )
            seen = 0 if reset else self.n_samples_seen_
            for parity, half in enumerate(sums):
                own = rows[(parity - seen - row) % len(sums) :: len(sums)]
                half.add(own, self.precision, row)
            row += len(rows)
        return sums

    def _take_in(self, found: list[Moments], *, first: bool) -> None:
        if first:
            self._halves = found
        else:
            for half, more in zip(self._halves, found, strict=True):
                half.merge(more)
        self._solution = None

    def _chunks(self, X: Any, *, reset: bool) -> Iterator[np.ndarray]:
        """Yield checked rows; at the first chunk, learn or compare the names of the columns."""
        for i, rows in enumerate(row_chunks(X, int(self.batch_size), self)):
            if i == 0:
                validate_data(self, rows if is_stream(X) else X, reset=reset, skip_check_array=True)
            yield rows

    # --- solving

    def _solved(self) -> Solution:
        if not self.__sklearn_is_fitted__():
            raise NotFittedError("this Whitening has seen no rows yet; call fit or partial_fit")
        if self._solution is None:
            self._solution = self._solve()
        return self._solution

    def _solve(self) -> Solution:
        n, d = self.n_samples_seen_, self.n_features_in_
        if n < 2:
            raise InputError(f"X must have at least 2 rows to have a covariance, got n_samples={n}")
        if n < 5 * d and self.shrinkage is None:
            warnings.warn(
                f"{n} rows are few for {d} features: variances are underestimated where they are "
                f"small; give shrinkage='oas', or at least {5 * d} rows",
                UserWarning,
                stacklevel=3,
            )
        # noise of a float32 product, measured, is below this
        rcond = self.rcond if self.precision == "float64" else max(self.rcond, 1e-6)
        return solve(
            self._halves, self.n_components, beta=self.beta, gamma=self.gamma, method=self.method,
            shrinkage=self.shrinkage, rcond=rcond, precision=self.precision,
        )  # fmt: skip

    def _apply(self, solution: Solution, rows: np.ndarray, out: np.ndarray, first: int) -> None:
        """Write the whitened `rows` to `out`, block by block."""
        work = np.dtype(np.float32 if rows.dtype in (np.float16, np.float32) else np.float64)
        kernel, shift = solution.kernel.astype(work), solution.offset.astype(work)
        # what rounding the mean has taken
        bias = ((shift - solution.offset) @ solution.kernel).astype(out.dtype)
        buffer = np.empty((min(_BLOCK, len(rows)), shift.size), work)
        with np.errstate(invalid="ignore", over="ignore"):
            for start in range(0, len(rows), _BLOCK):
                block = rows[start : start + _BLOCK]
                target = out[start : start + _BLOCK]
                centred = np.subtract(block, shift, out=buffer[: len(block)], dtype=work)
                np.matmul(centred, kernel, out=target)
                if not shift_and_scale(target, bias, int(self.normalize)):
                    check_finite(block, first + start)

    # --- checking

    def _check_parameters(self) -> None:
        k = self.n_components
        allowed = f"n_components must be None, an int >= 1, a share in (0, 1) or 'auto', got {k!r}"
        if isinstance(k, str):
            if k != "auto":
                raise InputError(allowed)
        elif isinstance(k, float | np.floating):
            if not 0 < k < 1:
                raise InputError(allowed)
        elif k is not None:
            check_int("n_components", k, minimum=1)
        check_float("beta", self.beta, minimum=0, maximum=1)
        check_float("gamma", self.gamma, minimum=0, maximum=1)
        check_choice("method", self.method, ("pca", "zca", "cholesky"))
        if k is not None and self.method != "pca":
            raise InputError(
                f"method={self.method!r} keeps all columns, so n_components must be None, "
                f"got {k!r}; take method='pca' for fewer"
            )
        if isinstance(self.shrinkage, str):
            if self.shrinkage not in _SHRINKAGES:
                raise InputError(
                    "shrinkage must be None, a number in [0, 1], 'oas' or 'ledoit_wolf', "
                    f"got {self.shrinkage!r}"
                )
        elif self.shrinkage is not None:
            check_float("shrinkage", self.shrinkage, minimum=0, maximum=1)
        if not check_float("rcond", self.rcond, minimum=0) < 1:
            raise InputError(f"rcond must be a number in [0, 1), got {self.rcond!r}")
        if not isinstance(self.normalize, bool | np.bool_):
            raise TypeError(f"normalize must be a bool, got {self.normalize!r}")
        check_choice("precision", self.precision, ("float64", "float32"))
        check_int("batch_size", self.batch_size, minimum=1)

    def _check_out(self, out: Any) -> None:
        k = self._n_features_out
        fits = isinstance(out, np.ndarray) and out.ndim == 2 and out.shape[1] == k
        if not fits or out.dtype not in (np.float32, np.float64):
            got = f"shape {out.shape}, {out.dtype}" if hasattr(out, "dtype") else type(out).__name__
            raise InputError(f"out must be a float32 or float64 array of shape (N, {k}), got {got}")
