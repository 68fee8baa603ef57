"""Priors over classes: read from counts or probabilities, checked, and as logarithms."""

from __future__ import annotations

from typing import Any

import numpy as np

from kexue._core import InputError, check_float

_NAMED = 5  # classes that a message names


def as_prior(name: str, value: Any, *, smoothing: float = 0.0, zeros: bool = False) -> np.ndarray:
    """Return counts or probabilities as probabilities.

    Parameters
    ----------
    name : str
        Of the argument, for messages.
    value : array-like or tensor of shape (K,)
        Counts or probabilities, of any sum.
    smoothing : float >= 0
        Added to every entry first.
    zeros : bool
        Whether classes may be empty.

    Returns
    -------
    float64 array of shape (K,)
        Sums to 1.

    Raises
    ------
    TypeError, InputError
        For something else than numbers, another shape, NaN, infinity, negative or empty classes;
        the first classes at fault are named.
    """
    smoothing = check_float("smoothing", smoothing, minimum=0)
    if hasattr(value, "detach"):
        value = value.detach().cpu().double()
    numbers = np.asarray(value)
    if numbers.dtype.kind not in "iuf":
        raise TypeError(
            f"{name} must hold one count or probability for each class, got {numbers.dtype}; "
            "labels are counted by LogitAdjustedLoss.from_labels or numpy.unique"
        )
    if numbers.ndim != 1 or not numbers.size:
        raise InputError(
            f"{name} must be of shape (K,), one number for each class, got shape {numbers.shape}"
        )
    numbers = numbers.astype(np.float64)
    if not np.isfinite(numbers).all() or (numbers < 0).any():
        bad = np.flatnonzero(~np.isfinite(numbers) | (numbers < 0))
        raise InputError(
            f"{name} must be finite and >= 0, got {numbers[bad[0]]} for class {bad[0]}"
        )
    numbers = numbers + smoothing
    empty = np.flatnonzero(numbers == 0)
    if empty.size and not zeros:
        raise InputError(
            f"{name} must be > 0 for every class, got 0 for {named(empty)}; leave these classes "
            "out, or count every class once more with smoothing=1"
        )
    total = numbers.sum()
    if not total or not np.isfinite(total):
        raise InputError(f"{name} must have a finite sum > 0, got {total}")
    return numbers / total


def named(classes: np.ndarray) -> str:
    """Return "class 3" or "classes 0, 1, 2 and 7 more"."""
    shown = ", ".join(str(item) for item in classes[:_NAMED].tolist())
    more = f" and {classes.size - _NAMED} more" if classes.size > _NAMED else ""
    return f"class{'es' if classes.size > 1 else ''} {shown}{more}"


def log_priors(
    prior: Any, target_prior: Any = None, *, smoothing: float = 0.0, zeros: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return log prior and log target, both float64 of shape (K,), in nats.

    Without a target all classes count the same, and its logarithm is given as 0: a constant
    changes no decision, and the adjustment is then ``tau * log prior`` as published.

    Parameters
    ----------
    prior, target_prior : array-like of shape (K,)
    smoothing : float >= 0
        Of the prior.
    zeros : bool
        Whether the target may leave classes out.
    """
    pi = as_prior("prior", prior, smoothing=smoothing)
    if target_prior is None:
        return np.log(pi), np.zeros_like(pi)
    q = as_prior("target_prior", target_prior, zeros=zeros)
    if q.size != pi.size:
        raise InputError(
            f"target_prior must have as many classes as prior, {pi.size}, got {q.size}"
        )
    with np.errstate(divide="ignore"):
        return np.log(pi), np.log(q)


def strength(tau: Any) -> float:
    """Return `tau`, checked."""
    return check_float("tau", tau, minimum=0)
