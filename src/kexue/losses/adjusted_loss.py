"""Cross-entropy with the prior in the logits, so that the model need not learn it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from kexue._core import InputError, check_choice, check_float, check_int
from kexue.losses._fused import cross_entropy_of_sum
from kexue.losses._priors import log_priors, strength
from kexue.losses._targets import check_targets
from kexue.losses.logit_adjustment import check_classes

_REDUCTIONS = ("mean", "sum", "none")


class LogitAdjustedLoss(nn.Module):
    r"""Cross-entropy of logits to which the logarithm of the prior has been added.

    .. math::
        \ell = -\log \mathrm{softmax}(f + b)_y, \quad b_y = \tau (\log \pi_y - \log q_y)

    which is the pairwise margin
    :math:`\log(1 + \sum_{j \ne y} e^{b_j - b_y} e^{f_j - f_y})`. With :math:`\tau = 1` the
    logits :math:`f` come to be the pointwise mutual information of input and class: predict with
    their argmax, **without** the prior, and do not adjust them again. Their softmax is the
    posterior under the target prior `q`.

    Parameters
    ----------
    prior : array-like or tensor of shape (K,)
        Counts or probabilities of the classes in what the model is trained on: those of the
        sampler, if one draws the rows.
    tau : float >= 0
        Strength. 0 is plain cross-entropy.
    target_prior : array-like or tensor of shape (K,), optional
        Counts, probabilities or costs of the classes in use; all the same if not given.
    smoothing : float >= 0
        Added to every entry of `prior`, in its units.
    trainable_tau : bool
        Make `tau` a parameter, kept >= 0. A model with a bias of its own can undo any `tau`.
    weight : tensor of shape (K,), optional
    ignore_index : int
    label_smoothing : float in [0, 1]
    reduction : {"mean", "sum", "none"}
        All four as in ``torch.nn.functional.cross_entropy``.

    Attributes
    ----------
    log_prior, log_target : float64 tensors of shape (K,)
        Buffers, in nats; they follow the device but keep their type. Loading a state dict of
        another prior or target raises RuntimeError.
    tau : float or nn.Parameter

    Notes
    -----
    From 2^18 logits on, class numbers without label smoothing go through one autograd function
    that keeps a single array of the shape of the logits: it can be differentiated once. Half
    precision is computed in float32. Weight decay on the bias of the last layer undoes a part of
    the prior: exclude it.

    Examples
    --------
    >>> loss = LogitAdjustedLoss([900, 90, 10])
    >>> f = torch.zeros(2, 3)
    >>> loss(f, torch.tensor([0, 2]))
    tensor(2.3553)
    >>> torch.nn.functional.cross_entropy(f + loss.bias(), torch.tensor([0, 2]))
    tensor(2.3553)

    References
    ----------
    Menon, Jayasumana, Rawat, Jain, Veit and Kumar, Long-tail learning via logit adjustment, arXiv
    2007.07314. kexue.fm, archives/7615.
    """

    log_prior: Tensor
    log_target: Tensor
    weight: Tensor | None

    def __init__(
        self,
        prior: Any,
        tau: float = 1.0,
        *,
        target_prior: Any = None,
        smoothing: float = 0.0,
        trainable_tau: bool = False,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        label_smoothing: float = 0.0,
        reduction: Literal["mean", "sum", "none"] = "mean",
    ) -> None:
        super().__init__()
        tau = strength(tau)
        self.tau = nn.Parameter(torch.tensor(tau)) if trainable_tau else tau
        self.ignore_index = check_int("ignore_index", ignore_index)
        self.label_smoothing = check_float("label_smoothing", label_smoothing, minimum=0, maximum=1)
        self.reduction = check_choice("reduction", reduction, _REDUCTIONS)
        logs = log_priors(prior, target_prior, smoothing=smoothing)
        if weight is not None and tuple(weight.shape) != logs[0].shape:
            raise InputError(
                f"weight must be of shape ({logs[0].size},), got shape {tuple(weight.shape)}"
            )
        self.register_buffer("log_prior", torch.from_numpy(logs[0]))
        self.register_buffer("log_target", torch.from_numpy(logs[1]))
        self.register_buffer("weight", weight, persistent=False)

    @classmethod
    def from_labels(cls, y: Any, n_classes: int | None = None, **kw: Any) -> LogitAdjustedLoss:
        """Return the loss whose prior is counted from labels.

        Parameters
        ----------
        y : array-like or tensor of integers
            Class numbers of all training rows; those equal to `ignore_index` are left out.
        n_classes : int, optional
            K; one more than the largest label if not given.
        **kw
            As for the class.

        Raises
        ------
        TypeError, InputError
            For labels that are no class numbers below `n_classes`, or a class without rows.
        """
        labels = np.asarray(y.detach().cpu() if isinstance(y, Tensor) else y).ravel()
        if labels.dtype.kind not in "iu":
            raise TypeError(
                f"y must hold class numbers, got {labels.dtype}; number the labels with "
                "numpy.unique(y, return_inverse=True)"
            )
        ignored = kw.get("ignore_index", -100)
        labels = labels[labels != ignored]
        if not labels.size or labels.min() < 0:
            raise InputError(
                f"y must hold class numbers >= 0 or ignore_index {ignored}, "
                f"got {labels.min() if labels.size else 'no other'}"
            )
        K = int(labels.max()) + 1
        if n_classes is not None:
            n_classes = check_int("n_classes", n_classes, minimum=1)
            if n_classes < K:
                raise InputError(f"y must hold class numbers in [0, {n_classes}), got {K - 1}")
            K = n_classes
        return cls(np.bincount(labels, minlength=K), **kw)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss, in nats.

        Parameters
        ----------
        logits : tensor of shape (..., K)
            f, without the prior.
        target : integer tensor of shape (...), or tensor of shape (..., K)
            Class numbers, or probabilities whose rows sum to 1.

        Returns
        -------
        tensor
            A scalar, or of shape (...) for ``reduction="none"``; float32 or float64.

        Raises
        ------
        TypeError, InputError
            For other shapes, or, on the CPU, for targets out of range.
        """
        check_classes("logits", tuple(logits.shape), self.log_prior.numel())
        soft = check_targets(logits, target, self.ignore_index)
        bias = self._bias().to(logits.device)
        weight = None if self.weight is None else self.weight.to(logits.device)
        # (..., K) -> (N, K)
        loss = cross_entropy_of_sum(
            logits.reshape(-1, logits.shape[-1]),
            bias,
            target.reshape(-1, logits.shape[-1]) if soft else target.reshape(-1),
            weight=weight,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
            reduction=self.reduction,
        )
        return loss.reshape(logits.shape[:-1]) if self.reduction == "none" else loss

    def bias(self) -> Tensor:
        """Return what is added to the logits, a float32 tensor of shape (K,)."""
        return self._bias().float()

    def extra_repr(self) -> str:
        """Return what ``print(model)`` shows."""
        text = f"n_classes={self.log_prior.numel()}, tau={float(self.tau):g}"
        return text if self.reduction == "mean" else f"{text}, reduction={self.reduction!r}"

    def _bias(self) -> Tensor:
        tau = self.tau.clamp_min(0) if isinstance(self.tau, Tensor) else self.tau
        return tau * (self.log_prior - self.log_target)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> LogitAdjustedLoss:
        # .half() and .to(dtype) would round the prior
        exact = {name: getattr(self, name) for name in ("log_prior", "log_target")}
        super()._apply(fn, recurse)
        for name, values in exact.items():
            device = getattr(self, name).device
            if not values.is_meta and device.type != "mps":  # which knows no float64
                setattr(self, name, values.to(device))
        return self

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *rest: Any) -> None:
        errors, before = rest[-1], len(rest[-1])
        for name, what in (("log_prior", "prior"), ("log_target", "target prior")):
            saved, mine = state_dict.get(prefix + name), getattr(self, name)
            if saved is None or saved.shape != mine.shape:
                continue  # torch says so itself
            away = (saved.to(mine) - mine).abs()
            if bool(away.max() > 1e-6):
                k = int(away.argmax())
                errors.append(
                    f"{what} of the checkpoint is another one: {saved[k].exp():.6g} for class {k}, "
                    f"this loss has {mine[k].exp():.6g}; build the loss from the counts of the "
                    f"run that is resumed"
                )
        if len(errors) == before:  # else leave this loss as it is
            super()._load_from_state_dict(state_dict, prefix, *rest)
