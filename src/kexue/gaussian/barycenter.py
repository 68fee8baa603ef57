r"""The Gaussian at the least weighted mean of squared Wasserstein distances to given ones.

Its covariance is the fixed point of
:math:`S \leftarrow S^{-1/2} (\sum_i w_i (S^{1/2} S_i S^{1/2})^{1/2})^2 S^{-1/2}`. With factors,
:math:`S = K K^T`, that is :math:`K \leftarrow \sum_i w_i L_i O_i`: each factor is rotated nearest
to K and the mean is taken, so that nothing is inverted.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from kexue._core import InputError
from kexue.gaussian._arrays import as_real, astype, detached, epsilon, is_torch, namespace
from kexue.gaussian._covariances import Diagonal
from kexue.gaussian._linalg import padded, root, squared_norm
from kexue.gaussian._procrustes import rotation
from kexue.gaussian.gaussian import Gaussian

_TOLERANCE = 1e-12
_MOST_STEPS = 500


def barycenter(gaussians: Gaussian | Sequence[Gaussian], weights: Any = None) -> Gaussian:
    """Return the Wasserstein barycenter.

    Parameters
    ----------
    gaussians : Gaussian with a batch of one dimension, or sequence of Gaussian
        Singular ones are allowed.
    weights : array-like of shape (k,), optional
        Not negative; they are divided by their sum. Equal by default.

    Returns
    -------
    Gaussian
        Diagonal if all are, in closed form. Else by its factor, of shape (n, n), in steps until
        the covariance changes by less than 1e-12 of its norm (10 eps in float32). Without
        gradients then: tensors come back detached.

    Raises
    ------
    TypeError, InputError
        For what is no Gaussian, an empty sequence, several dimensions, or bad weights.

    References
    ----------
    Agueh and Carlier, Barycenters in the Wasserstein space, SIAM Journal on Mathematical Analysis
    43, 2011; Álvarez-Esteban, del Barrio, Cuesta-Albertos and Matrán, A fixed-point approach to
    barycenters in Wasserstein space, Journal of Mathematical Analysis and Applications 441, 2016.

    Examples
    --------
    >>> p, q = Gaussian.diag([0.0], var=[1.0]), Gaussian.diag([0.0], var=[4.0])
    >>> barycenter([p, q], weights=[1, 3]).cov.tolist()  # ((1 + 3 * 2) / 4)^2
    [[3.0625]]
    """
    batch = gaussians if isinstance(gaussians, Gaussian) else Gaussian.stack(gaussians)
    if len(batch.batch_shape) != 1:
        raise InputError(
            "gaussians must be a sequence or one batch of one dimension, got batch shape "
            f"{batch.batch_shape}"
        )
    (k,) = batch.batch_shape
    if not k:
        raise InputError("gaussians must not be empty")
    xp = namespace(batch.mean)
    shares = _shares(weights, k, batch.mean)
    mean = (shares[:, None] * xp.broadcast_to(batch.mean, (k, batch.dim))).sum(0)
    form = batch.covariance
    if isinstance(form, Diagonal):
        roots = xp.broadcast_to(root(form.var), (k, batch.dim))
        return Gaussian.diag(mean, (shares[:, None] * roots).sum(0) ** 2)
    return Gaussian.from_factor(detached(mean), _fixed_point(detached(form.factor), shares))


def _fixed_point(factors: Any, shares: Any) -> Any:
    """Return K of shape (n, n) for factors of shape (k, n, r)."""
    xp = namespace(factors)
    n = factors.shape[-2]
    shares = shares[:, None, None]
    factors = xp.broadcast_to(factors, (shares.shape[0], *factors.shape[-2:]))
    # the squares of covariances below must not leave the range of float32
    size = abs(factors).max()
    factors = factors / xp.where(size > 0, size, 1.0)
    values, vectors = xp.linalg.eigh((shares * (factors @ factors.mT)).sum(0))
    k = vectors * root(values)
    r = max(n, factors.shape[-1])
    k, factors = padded(k, r), padded(factors, r)
    cov = k @ k.mT
    tolerance = max(_TOLERANCE, 10 * epsilon(k))
    for _ in range(_MOST_STEPS):
        k = (shares * (factors @ rotation(k, factors))).sum(0)
        before, cov = cov, k @ k.mT
        if bool(squared_norm(cov - before, 2) <= tolerance**2 * squared_norm(cov, 2)):
            return size * k
    warnings.warn(
        f"the barycenter still moves after {_MOST_STEPS} steps",
        ConvergenceWarning,
        stacklevel=3,
    )
    return size * k


def _shares(weights: Any, k: int, like: Any) -> Any:
    if weights is None:
        weights = np.ones(k)
    known = as_real("weights", weights)
    known = detached(known).cpu().numpy() if is_torch(known) else known
    if known.shape != (k,) or (known < 0).any() or not known.sum() > 0:
        raise InputError(
            f"weights must be {k} numbers >= 0, not all of them 0, got {known.tolist()!r}"
        )
    shares = known / known.sum()
    if is_torch(like):
        return namespace(like).as_tensor(shares, dtype=like.dtype, device=like.device)
    return astype(shares, like.dtype)
