"""A normal distribution, or a batch of them, by mean and covariance in whichever form it has."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import log, pi
from typing import Any

import numpy as np

from kexue._core import InputError, check_float, check_int, check_seed
from kexue.gaussian._arrays import (
    as_real,
    astype,
    detached,
    dtype_name,
    eye,
    is_torch,
    namespace,
    of_one_type,
    plain,
    scalar_like,
)
from kexue.gaussian._covariances import Change, Covariance, Diagonal, Full, LowRank
from kexue.gaussian._linalg import symmetric

_MOST_ASYMMETRY = 1e-6
_SHRINKAGES = ("oas", "ledoit_wolf")


@dataclass(frozen=True, eq=False)
class Gaussian:
    """N(m, S) on R^n; build it with `full`, `diag`, `from_factor`, `lowrank` or `fit`.

    Arrays are of NumPy or all of torch, in float32 or float64; tensors keep their device and
    gradients. Leading dimensions are a batch. Arrays are not copied: do not write to them.

    Attributes
    ----------
    mean : array of shape (..., n)
    covariance : object
        S in its form, for the functions of this room; `cov` is the matrix.

    Examples
    --------
    >>> p = Gaussian.diag([0.0, 0.0], var=[1.0, 4.0])
    >>> p
    Gaussian(dim=2, diagonal)
    >>> p.cov.tolist()
    [[1.0, 0.0], [0.0, 4.0]]
    >>> round(float(p.entropy()), 5)  # nats
    3.53102
    >>> Gaussian.from_factor(np.zeros(3), [[1.0], [1.0], [0.0]]).rank
    1
    """

    mean: Any
    covariance: Covariance

    @classmethod
    def full(cls, mean: Any, cov: Any, *, rcond: float | None = None) -> Gaussian:
        """Take a covariance matrix, which may be singular.

        Parameters
        ----------
        mean : array-like of shape (..., n)
        cov : array-like of shape (..., n, n)
            Symmetric, without negative eigenvalues.
        rcond : float, optional
            Eigenvalues up to `rcond` times the largest count as 0; n * eps by default.

        Raises
        ------
        InputError
            For shapes that do not match, NaN or infinity, a relative asymmetry above 1e-6, an
            eigenvalue below ``-rcond`` times the largest, or a singular matrix of which a
            gradient is wanted.
        """
        mean, cov = _arrays(mean=mean, cov=cov)
        _check_shape("cov", cov, mean, 2)
        if rcond is not None:
            rcond = check_float("rcond", rcond, minimum=0, maximum=1)
        _check_symmetric(detached(cov))
        return cls(mean, Full.of_matrix(symmetric(cov), rcond))

    @classmethod
    def diag(cls, mean: Any, var: Any) -> Gaussian:
        """Take variances, not standard deviations, of independent coordinates.

        Parameters
        ----------
        mean, var : array-like of shape (..., n)
            ``var >= 0``. A matrix of shape (n, n) is n vectors of variances, a batch: a covariance
            matrix goes to `full`.

        Raises
        ------
        InputError
            For shapes that do not match, NaN or infinity, or a negative variance.
        """
        mean, var = _arrays(mean=mean, var=var)
        _check_shape("var", var, mean, 1)
        _check_not_negative("var", var)
        return cls(mean, Diagonal(var))

    @classmethod
    def from_factor(cls, mean: Any, factor: Any) -> Gaussian:
        """Take S = F F.T: a Cholesky factor, or a rectangular one for a singular S.

        Parameters
        ----------
        mean : array-like of shape (..., n)
        factor : array-like of shape (..., n, r)

        Raises
        ------
        InputError
            For shapes that do not match, NaN or infinity.
        """
        mean, factor = _arrays(mean=mean, factor=factor)
        _check_shape("factor", factor, mean, 2, square=False)
        return cls(mean, LowRank(scalar_like(0.0, mean), factor))

    @classmethod
    def lowrank(cls, mean: Any, diag: Any, factor: Any) -> Gaussian:
        """Take S = diag(D) + F F.T.

        Parameters
        ----------
        mean : array-like of shape (..., n)
        diag : float, or array-like of shape (..., n) or (..., 1)
            Variances D >= 0; one number, or a last dimension of 1, means the same in all
            directions, for which every distance here takes O(n r^2).
        factor : array-like of shape (..., n, r)

        Raises
        ------
        InputError
            For shapes that do not match, NaN or infinity, or a negative variance.
        """
        if isinstance(diag, int | float):
            like = factor if is_torch(factor) else np.asarray(factor, dtype=None)
            floating = like if dtype_name(like) in ("float32", "float64") else np.zeros(1)
            diag = scalar_like(check_float("diag", diag, minimum=0), floating)
        mean, diag, factor = _arrays(mean=mean, diag=diag, factor=factor)
        if diag.ndim == 0:
            diag = diag[None]
        _check_shape("factor", factor, mean, 2, square=False)
        if diag.shape[-1] != 1:
            _check_shape("diag", diag, mean, 1)
        _check_not_negative("diag", diag)
        return cls(mean, LowRank(diag, factor))

    @classmethod
    def fit(cls, X: Any, shrinkage: str | float | None = None) -> Gaussian:
        """Take mean and covariance of samples; the covariance divides by N - 1.

        With no more samples than dimensions the covariance stays the factor that the centred
        samples are, and no matrix of shape (n, n) is formed.

        Parameters
        ----------
        X : array-like of shape (N, n)
            With N >= 2.
        shrinkage : float in [0, 1], "oas", "ledoit_wolf" or None
            The part a of ``(1 - a) S + a tr(S) / n I``; the names choose it as scikit-learn
            does. None leaves S as it is, singular as it may be.

        Raises
        ------
        InputError
            For another shape, NaN or infinity, or a bad `shrinkage`.
        """
        samples = as_real("X", X)
        check_samples("X", samples)
        part = _shrinkage(samples, shrinkage)
        n_samples, n = samples.shape
        # in float32 a running sum of many samples loses digits, and at last stands still
        wide = namespace(samples).float64
        mean = astype(samples.mean(0, dtype=wide), samples.dtype)
        factor = (samples - mean).mT / (n_samples - 1) ** 0.5
        if n_samples > n:
            cov = factor @ factor.mT
            if part:
                cov = (1 - part) * cov + part * (factor * factor).sum() / n * eye(n, cov)
            return cls(mean, Full.of_matrix(symmetric(cov)))
        if not part:
            return cls(mean, LowRank(scalar_like(0.0, mean), factor))
        spread = part * (factor * factor).sum() / n
        return cls(mean, LowRank(spread[None], (1 - part) ** 0.5 * factor))

    @classmethod
    def stack(cls, gaussians: Iterable[Gaussian]) -> Gaussian:
        """Return several Gaussians, of the same dimension and without batches, as one batch.

        Those that share a form keep it; otherwise all become full matrices.
        """
        gaussians = list(gaussians)
        for gaussian in gaussians:
            if not isinstance(gaussian, Gaussian):
                raise TypeError(
                    f"gaussians must be of type Gaussian, got {type(gaussian).__name__}"
                )
            if gaussian.batch_shape or gaussian.dim != gaussians[0].dim:
                raise InputError(
                    "gaussians must have the same dimension and no batch, got dimensions "
                    f"{sorted({g.dim for g in gaussians})} and batch {gaussian.batch_shape}"
                )
        if not gaussians:
            raise InputError("gaussians must not be empty")
        xp = namespace(*(gaussian.mean for gaussian in gaussians))
        mean = xp.stack([gaussian.mean for gaussian in gaussians])
        forms = [gaussian.covariance for gaussian in gaussians]
        kind = type(forms[0])
        alike = {(type(form), *(part.shape for part in form.parts)) for form in forms}
        if len(alike) > 1 or kind is Full:
            return cls(mean, Full.of_matrix(xp.stack([form.dense for form in forms])))
        parts = zip(*(form.parts for form in forms), strict=True)
        return cls(mean, kind(*(xp.stack(part) for part in parts)))

    @property
    def dim(self) -> int:
        """The dimension n."""
        return int(self.mean.shape[-1])

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Shape of the batch, ``()`` for one Gaussian."""
        parts = self.covariance.parts
        core = 1 if isinstance(self.covariance, Diagonal) else 2
        shapes = [parts[-1].shape[:-core], *(part.shape[:-1] for part in parts[:-1])]
        return tuple(np.broadcast_shapes(self.mean.shape[:-1], *shapes))

    @property
    def cov(self) -> Any:
        """The covariance matrices, of shape (..., n, n)."""
        return self.covariance.dense

    @property
    def factor(self) -> Any:
        """L of shape (..., n, r) with S = L L.T, which is not unique."""
        return self.covariance.factor

    @property
    def rank(self) -> Any:
        """The rank of S: an int, or an array of the batch's shape."""
        rank = self.covariance.rank
        return int(rank) if rank.ndim == 0 else rank

    @property
    def logdet(self) -> Any:
        """The logarithm of det S; -inf where S is singular."""
        return plain(self.covariance.logdet())

    def entropy(self) -> Any:
        """Return the differential entropy in nats, of the batch's shape; -inf if singular."""
        return (self.dim * (1 + log(2 * pi)) + self.logdet) / 2

    def sample(self, size: int, random_state: Any = None) -> Any:
        """Draw samples.

        Parameters
        ----------
        size : int
            From each Gaussian of the batch.
        random_state : None, int, RandomState or Generator

        Returns
        -------
        array of shape (size, ..., n)
        """
        size = check_int("size", size, minimum=0)
        draw = _normal_draws(self.mean, (*self.batch_shape, size), check_seed(random_state))
        return namespace(self.mean).moveaxis(self.covariance.colour(draw), -2, 0) + self.mean

    def score_samples(self, X: Any) -> Any:
        """Return the log density of points, in nats.

        Parameters
        ----------
        X : array-like of shape (..., N, n)
            Leading dimensions broadcast with the batch.

        Returns
        -------
        array of shape (..., N)
            Of the type of number that the Gaussian has.

        Raises
        ------
        InputError
            For another shape, or if S is singular: then there is no density.
        """
        points = as_real("X", X)
        namespace(points, self.mean)
        points = astype(points, self.mean.dtype)
        if points.ndim < 2 or points.shape[-1] != self.dim:
            raise InputError(
                f"X must be of shape (..., N, {self.dim}), got shape {tuple(points.shape)}"
            )
        if not self.covariance.regular:
            raise InputError(
                f"a density needs a covariance of full rank, got rank {self.rank} of {self.dim}"
            )
        far = self.covariance.mahalanobis(points - self.mean[..., None, :])
        scale = self.dim * log(2 * pi) + self.covariance.logdet()
        return -(far + scale[..., None]) / 2

    def map(self, change: Change) -> Gaussian:
        """Return the Gaussian with its arrays changed, each told how many dimensions are core."""
        return Gaussian(change(self.mean, 1), self.covariance.map(change))

    def __getitem__(self, index: Any) -> Gaussian:
        """Return a part of the batch, by whatever index its dimensions allow."""
        batch = self.batch_shape
        if not batch:
            raise InputError("one Gaussian has no batch to take a part of")
        xp = namespace(self.mean)
        parts = index if isinstance(index, tuple) else (index,)
        if not any(part is Ellipsis for part in parts):
            parts = (*parts, Ellipsis)

        def taken(array: Any, core: int) -> Any:
            shape = (*batch, *array.shape[array.ndim - core :])
            return xp.broadcast_to(array, shape)[(*parts, *[slice(None)] * core)]

        return self.map(taken)

    def __repr__(self) -> str:
        form = {Full: "full", Diagonal: "diagonal", LowRank: "low rank"}[type(self.covariance)]
        batch = f"batch={self.batch_shape}, " if self.batch_shape else ""
        return f"Gaussian({batch}dim={self.dim}, {form})"


def check_samples(name: str, samples: Any) -> None:
    """Raise `InputError` unless `samples` are of shape (N, n) with N >= 2."""
    if samples.ndim != 2 or samples.shape[0] < 2 or samples.shape[1] < 1:
        raise InputError(
            f"{name} must be of shape (N, n) with N >= 2 samples, got shape {tuple(samples.shape)}"
        )


def _arrays(**values: Any) -> tuple[Any, ...]:
    return of_one_type(*(as_real(name, value) for name, value in values.items()))


def _check_shape(name: str, array: Any, mean: Any, core: int, *, square: bool = True) -> None:
    shape, of_mean = tuple(array.shape), tuple(mean.shape)
    asked = "(..., n)" if core == 1 else "(..., n, n)" if square else "(..., n, r)"
    n = of_mean[-1] if of_mean else 0
    fits = n >= 1 and len(shape) >= core and shape[len(shape) - core] == n
    if fits and core == 2:
        fits = shape[-1] == n if square else shape[-1] >= 1
    if fits:
        try:
            np.broadcast_shapes(of_mean[:-1], shape[: len(shape) - core])
        except ValueError:
            fits = False
    if not fits:
        raise InputError(
            f"mean must be of shape (..., n) and {name} of shape {asked}, got {of_mean} and {shape}"
        )


def _check_symmetric(cov: Any) -> None:
    """Raise `InputError` if one of the matrices is asymmetric beside its own largest entry."""
    xp = namespace(cov)
    largest = xp.amax(abs(cov), (-2, -1))
    asymmetry = xp.amax(abs(cov - cov.mT), (-2, -1))
    wrong = asymmetry > _MOST_ASYMMETRY * largest
    if bool(wrong.any()):
        raise InputError(
            f"cov must be symmetric, got entries that differ by {float(asymmetry[wrong][0]):.3g} "
            f"from their mirror images, beside a largest of {float(largest[wrong][0]):.3g}"
        )


def _check_not_negative(name: str, array: Any) -> None:
    known = detached(array)
    if bool((known < 0).any()):
        raise InputError(f"{name} must hold variances >= 0, got {float(known.min()):.6g}")


def _shrinkage(samples: Any, shrinkage: str | float | None) -> float:
    if shrinkage is None:
        return 0.0
    if not isinstance(shrinkage, str):
        return check_float("shrinkage", shrinkage, minimum=0, maximum=1)
    if shrinkage not in _SHRINKAGES:
        raise InputError(
            f"shrinkage must be None, a number in [0, 1], 'oas' or 'ledoit_wolf', got {shrinkage!r}"
        )
    from sklearn.covariance import ledoit_wolf_shrinkage, oas

    known = detached(samples)
    known = known.cpu().numpy() if is_torch(known) else known
    return float(oas(known)[1] if shrinkage == "oas" else ledoit_wolf_shrinkage(known))


def _normal_draws(like: Any, shape: tuple[int, ...], seed: int) -> Callable[[int], Any]:
    if is_torch(like):
        torch = namespace(like)
        source = torch.Generator(like.device).manual_seed(seed)
        kept = {"dtype": like.dtype, "device": like.device, "generator": source}
        return lambda k: torch.randn((*shape, k), **kept)
    rng = np.random.default_rng(seed)
    return lambda k: rng.standard_normal((*shape, k), like.dtype)
