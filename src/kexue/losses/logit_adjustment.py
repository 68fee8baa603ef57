"""Logit adjustment after training: move scores from the prior of the data to another one."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from kexue._core import InputError
from kexue.losses._priors import log_priors, strength


def logit_adjustment(logits: Any, prior: Any, tau: float = 1.0, target_prior: Any = None) -> Any:
    r"""Take the prior of the training data out of logits, and put another one in.

    .. math:: g_y = f_y - \tau (\log \pi_y - \log q_y)

    The class with the largest :math:`g` makes the least balanced error, the mean over classes of
    the share that is missed, where :math:`f` are logarithms of the true posterior, up to a
    constant for each row. Logits on another scale, :math:`s f`, want :math:`\tau = s`: those of
    an over-confident model more than 1.

    Parameters
    ----------
    logits : array or tensor of shape (..., K)
        Of NumPy, torch, or any other library of the array API standard; lists become NumPy. Scores
        of a model trained with the prior in its loss (`LogitAdjustedLoss`, `fold_prior`) are
        adjusted already: doing it twice is worse than not at all.
    prior : array-like or tensor of shape (K,)
        Counts or probabilities of the classes in the training data.
    tau : float >= 0
        Strength; 0 changes nothing.
    target_prior : array-like or tensor of shape (K,), optional
        Counts, probabilities or costs of the classes in use; all the same if not given. A class
        with 0 is never chosen.

    Returns
    -------
    array or tensor of shape (..., K)
        On the device of `logits` and of its type; integers become float64.

    Raises
    ------
    TypeError, InputError
        For another number of classes, an empty class, NaN in `logits` or a bad `tau`.

    Examples
    --------
    Nine in ten of the training rows were of class 0, and 0.8 is less than that:

    >>> import numpy as np
    >>> adjusted = logit_adjustment(np.log([[0.8, 0.2]]), [900, 100])
    >>> adjusted.argmax(-1)
    array([1])
    >>> (np.exp(adjusted) / np.exp(adjusted).sum()).round(2)
    array([[0.31, 0.69]])

    References
    ----------
    Menon, Jayasumana, Rawat, Jain, Veit and Kumar, Long-tail learning via logit adjustment, arXiv
    2007.07314. kexue.fm, archives/7615.
    """
    tau = strength(tau)
    log_prior, log_target = log_priors(prior, target_prior, zeros=True)
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(logits, torch.Tensor):
        xp, real = torch, logits.is_floating_point()
        compiling = torch.compiler.is_compiling()
    else:
        xp, compiling = np, False
        if hasattr(logits, "__array_namespace__"):
            xp = logits.__array_namespace__()
        else:
            logits = np.asarray(logits)
        if xp is np and logits.dtype.kind not in "iuf":
            raise TypeError(f"logits must be real numbers, got {logits.dtype}")
        real = xp is not np or logits.dtype.kind == "f"
    check_classes("logits", tuple(logits.shape), log_prior.size)
    # a look at the values would break the graph of torch.compile
    if real and not compiling and bool(xp.any(xp.isnan(logits))):
        raise InputError("logits must not be NaN; the model that gave them has diverged")
    # 0 times the logarithm of 0 is no shift
    shift = tau * (log_target - log_prior) if tau else np.zeros_like(log_prior)
    dtype = logits.dtype if real else xp.float64
    return logits + xp.asarray(shift, dtype=dtype, device=logits.device)


def check_classes(name: str, shape: tuple[int, ...], n_classes: int) -> None:
    """Raise `InputError` unless the last axis holds one number for each class."""
    if not shape or shape[-1] != n_classes:
        raise InputError(
            f"{name} must be of shape (..., {n_classes}), one column for each class of the prior, "
            f"got shape {shape}"
        )
