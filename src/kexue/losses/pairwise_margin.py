"""Losses of pairwise margins: one family in which the known remedies for rare classes meet."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kexue._core import InputError, check_choice, check_float, check_int
from kexue.losses._priors import as_prior, strength
from kexue.losses._targets import check_targets
from kexue.losses.logit_adjustment import check_classes

_PRESETS = ("erm", "class_balanced", "ldam", "equalised", "logit_adjusted")


class PairwiseMarginLoss(nn.Module):
    r"""Cross-entropy with a margin for each pair of classes and a weight for each class.

    .. math::
        \ell = \alpha_y \log\Big(1 + \sum_{j \ne y} e^{\Delta_{yj}} e^{f_j - f_y}\Big)

    Its minimiser makes the least balanced error whenever
    :math:`\Delta_{yj} = \log(\alpha_j \pi_j) - \log(\alpha_y \pi_y)` for the training prior
    :math:`\pi`: weights :math:`1 / \pi` without margins, logit adjustment with weights 1, and all
    between. LDAM's and equalised margins are not of this form.

    Parameters
    ----------
    margins : array-like of shape (K, K), or pair of array-like of shape (K,)
        :math:`\Delta_{yj}`, in nats, the diagonal unused; or `rival` and `own` with
        :math:`\Delta_{yj} = \mathrm{rival}_j - \mathrm{own}_y`, which needs K numbers, not K².
    alpha : array-like of shape (K,), optional
        Weights >= 0; 1 if not given.
    ignore_index : int
        Class number of rows that do not count.
    reduction : {"mean", "sum", "none"}
        The mean is over rows, not over weights.

    Examples
    --------
    >>> loss = PairwiseMarginLoss.preset("ldam", [900, 90, 10])
    >>> loss.own
    tensor([-0.1623, -0.2887, -0.5000], dtype=torch.float64)
    >>> loss(torch.zeros(2, 3), torch.tensor([0, 2]))
    tensor(1.3339)

    References
    ----------
    Menon et al., Long-tail learning via logit adjustment, arXiv 2007.07314. Cui et al.,
    Class-balanced loss based on effective number of samples, arXiv 1901.05555. Cao et al., Learning
    imbalanced datasets with label-distribution-aware margin loss, arXiv 1906.07413. Tan et al.,
    Equalization loss for long-tailed object recognition, arXiv 2003.05176.
    """

    own: Tensor | None
    rival: Tensor | None
    margins: Tensor | None
    alpha: Tensor | None

    def __init__(
        self,
        margins: Any,
        alpha: Any = None,
        *,
        ignore_index: int = -100,
        reduction: Literal["mean", "sum", "none"] = "mean",
    ) -> None:
        super().__init__()
        pair = isinstance(margins, tuple)
        matrix, rival, own = None, None, None
        if pair:
            if len(margins) != 2:
                raise InputError(f"margins must be a pair (rival, own), got {len(margins)} items")
            rival, own = (
                _numbers(name, part, 1)
                for name, part in zip(("rival", "own"), margins, strict=True)
            )
            if rival.shape != own.shape:
                raise InputError(f"rival and own must be alike, got {len(rival)} and {len(own)}")
        else:
            matrix = _numbers("margins", margins, 2)
            if matrix.shape[0] != matrix.shape[1]:
                raise InputError(f"margins must be of shape (K, K), got {tuple(matrix.shape)}")
        self.n_classes = len(margins[0]) if pair else len(margins)
        weights = None if alpha is None else _numbers("alpha", alpha, 1)
        if weights is not None and (len(weights) != self.n_classes or bool((weights < 0).any())):
            raise InputError(f"alpha must be {self.n_classes} weights >= 0, got {alpha!r}")
        for name, part in (
            ("rival", rival), ("own", own), ("margins", matrix), ("alpha", weights),
        ):  # fmt: skip
            self.register_buffer(name, part)
        self.ignore_index = check_int("ignore_index", ignore_index)
        self.reduction = check_choice("reduction", reduction, ("mean", "sum", "none"))

    @classmethod
    def preset(
        cls,
        name: Literal["erm", "class_balanced", "ldam", "equalised", "logit_adjusted"],
        counts: Any,
        *,
        tau: float = 1.0,
        beta: float = 0.9999,
        max_margin: float = 0.5,
        **kw: Any,
    ) -> PairwiseMarginLoss:
        r"""Return a known member of the family.

        Parameters
        ----------
        name : {"erm", "class_balanced", "ldam", "equalised", "logit_adjusted"}
            No margins; weights :math:`(1 - \beta) / (1 - \beta^{n_y})`, scaled to the mean 1;
            margins :math:`C n_y^{-1/4}`; :math:`\tau \log \pi_j`; or
            :math:`\tau \log(\pi_j / \pi_y)`.
        counts : array-like of shape (K,)
            Training rows of each class.
        tau : float >= 0
        beta : float in [0, 1)
        max_margin : float >= 0
            Of the rarest class, which settles C. The paper also normalises features, scales logits
            and defers weights: that is up to the model and the training loop.
        **kw
            As for the class.
        """
        check_choice("name", name, _PRESETS)
        log_prior = np.log(as_prior("counts", counts))
        n = np.asarray(counts.cpu() if isinstance(counts, Tensor) else counts, np.float64)
        tau, rival, own, alpha = strength(tau), np.zeros(len(n)), np.zeros(len(n)), None
        beta = check_float("beta", beta, minimum=0, maximum=1)
        max_margin = check_float("max_margin", max_margin, minimum=0)
        if name == "class_balanced":
            if beta == 1 or n.min() < 1:
                raise InputError(
                    "class_balanced needs beta < 1 and counts >= 1, rows rather than shares, "
                    f"got beta {beta}, least count {n.min():g}"
                )
            alpha = 1 / -np.expm1(n * np.log(beta)) if beta else np.ones(len(n))
            alpha /= alpha.mean()
        elif name == "ldam":
            own = -max_margin * (n.min() / n) ** 0.25
        elif name == "equalised":
            rival = tau * log_prior
        elif name == "logit_adjusted":
            rival = own = tau * log_prior
        return cls((rival, own), alpha, **kw)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss, in nats.

        Parameters
        ----------
        logits : tensor of shape (..., K)
        target : integer tensor of shape (...)
            Class numbers.

        Returns
        -------
        tensor
            A scalar, or of shape (...) for ``reduction="none"``; float32 or float64.
        """
        check_classes("logits", tuple(logits.shape), self.n_classes)
        if check_targets(logits, target, self.ignore_index):
            raise TypeError(f"target must be class numbers: margins need one, got {target.dtype}")
        f = logits.reshape(-1, self.n_classes)
        f = f if f.dtype == torch.float64 else f.float()
        kept = target.reshape(-1) != self.ignore_index
        y = target.reshape(-1).long().masked_fill(~kept, 0)
        with torch.autocast(f.device.type, enabled=False):
            z = self._with_margins(f, y)
            losses = F.cross_entropy(z, y, reduction="none")
        if self.alpha is not None:
            losses = losses * self.alpha.to(f)[y]
        losses = losses.masked_fill(~kept, 0)
        if self.reduction == "none":
            return losses.reshape(target.shape)
        return losses.sum() / kept.sum() if self.reduction == "mean" else losses.sum()

    def _with_margins(self, f: Tensor, y: Tensor) -> Tensor:
        """Return logits of shape (N, K) whose softmax at the target is what the loss asks for."""
        if self.margins is not None:
            margins = self.margins.to(f)
            margins = margins - torch.diag(margins.diagonal())
            return f + margins[y]
        assert self.rival is not None  # the one or the other, see __init__
        assert self.own is not None
        own = f.gather(1, y[:, None]) + self.own.to(f)[y, None]
        return (f + self.rival.to(f)).scatter(1, y[:, None], own)


def _numbers(name: str, value: Any, ndim: int) -> Tensor:
    """Return finite numbers as a float64 tensor with `ndim` axes."""
    try:
        numbers = torch.as_tensor(value).to(torch.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must hold numbers: {error}") from error
    if numbers.ndim != ndim or not numbers.numel() or not bool(numbers.isfinite().all()):
        shape = "(K,)" if ndim == 1 else "(K, K)"
        raise InputError(f"{name} must be finite, of shape {shape}, got {tuple(numbers.shape)}")
    return numbers
