"""The prior of rows without labels, from the probabilities that a model gives them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from kexue._core import InputError, check_float, check_int
from kexue.losses._priors import as_prior

_OFF = 1e-3  # sums of rows in single precision


class PriorEstimate(np.ndarray):
    """A prior, float64 of shape (K,), that knows how it was found.

    Attributes
    ----------
    n_iter : int
        Steps taken.
    log_likelihood : float64 array of shape (n_iter + 1,)
        Nats a row, over what the training prior itself gives: 0 at the start, then never falling.
    converged : bool
    """

    n_iter: int
    log_likelihood: np.ndarray
    converged: bool

    def __array_wrap__(
        self, array: np.ndarray, context: Any = None, return_scalar: bool = False
    ) -> Any:
        # what is computed from a prior is a plain array
        return array[()] if return_scalar else np.asarray(array)


def estimate_prior(
    proba: Any, train_prior: Any, tol: float = 1e-8, max_iter: int = 1000
) -> PriorEstimate:
    r"""Find the prior under which rows without labels are likeliest, by EM.

    Starting from the training prior :math:`\pi`,

    .. math:: p'_{iy} \propto p_{iy} q_y / \pi_y, \qquad q_y \leftarrow \mathrm{mean}_i\, p'_{iy}

    The likelihood never falls and has one maximum, which is found. How near it is to the truth is
    a matter of calibration: the classes must look as they did in training, only their frequencies
    may differ, and `proba` must be the posterior under `train_prior`.

    Parameters
    ----------
    proba : array-like or tensor of shape (N, K)
        Probabilities; rows sum to 1.
    train_prior : array-like or tensor of shape (K,)
        Counts or probabilities of the classes in the training data.
    tol : float >= 0
        Stop when no entry of `q` moves by more.
    max_iter : int >= 1

    Returns
    -------
    PriorEstimate
        An array of shape (K,), with ``n_iter``, ``log_likelihood`` and ``converged``.

    Raises
    ------
    TypeError, InputError
        For NaN, negative numbers, rows that do not sum to 1, or another number of classes.

    Warns
    -----
    ConvergenceWarning
        If it was still moving after `max_iter` steps.

    Examples
    --------
    A test that is right nine times in ten, in training on as many ill as well; now 26 in 100 come
    out positive. Two in ten are ill: 0.2 * 0.9 + 0.8 * 0.1 = 0.26.

    >>> proba = [[0.1, 0.9]] * 26 + [[0.9, 0.1]] * 74
    >>> found = estimate_prior(proba, [0.5, 0.5])
    >>> np.round(found, 6), found.converged
    (array([0.8, 0.2]), True)

    References
    ----------
    Saerens, Latinne and Decaestecker, Adjusting the outputs of a classifier to new a priori
    probabilities: a simple procedure, Neural Computation 14, 2002.
    """
    pi = as_prior("train_prior", train_prior)
    tol = check_float("tol", tol, minimum=0)
    max_iter = check_int("max_iter", max_iter, minimum=1)
    p = _probabilities(proba, pi.size)
    # likelihoods up to a factor, at most 1
    ratio = p * (pi.min() / pi)
    q, moved, path = pi, np.inf, []
    for _ in range(max_iter):
        mixed = ratio @ q
        path.append(np.log(mixed).mean())
        new = q * (ratio.T @ (1 / mixed)) / len(p)
        new /= new.sum()  # of rounding, and of rows that sum to nearly 1
        moved, q = float(np.abs(new - q).max()), new
        if moved <= tol:
            break
    else:
        warnings.warn(
            f"the prior still moved by {moved:.2g} after {max_iter} steps; raise max_iter or tol",
            ConvergenceWarning,
            stacklevel=2,
        )
    path.append(np.log(ratio @ q).mean())
    found = q.view(PriorEstimate)
    found.n_iter = len(path) - 1
    found.log_likelihood = np.array(path) - path[0]
    found.converged = moved <= tol
    return found


def _probabilities(proba: Any, n_classes: int) -> np.ndarray:
    """Return probabilities in float64, shape (N, K), checked."""
    if hasattr(proba, "detach"):
        proba = proba.detach().cpu().double()
    p = np.asarray(proba)
    if p.dtype.kind not in "iuf":
        raise TypeError(f"proba must be real numbers, got {p.dtype}")
    if p.ndim != 2 or not len(p) or p.shape[1] != n_classes:
        raise InputError(f"proba must be of shape (N, {n_classes}), got {p.shape}")
    p = p.astype(np.float64)
    off = ~(np.abs(p.sum(1) - 1) <= _OFF) | (p < 0).any(1)
    if off.any():
        i = int(off.argmax())
        raise InputError(
            f"proba must be >= 0 with rows that sum to 1, got {p[i].sum():g} in row {i}; give "
            "probabilities, not logits"
        )
    return p
