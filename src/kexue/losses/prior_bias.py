"""The prior inside the last layer's bias: there while training, gone when predicting."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from kexue._core import InputError
from kexue.losses._priors import log_priors, strength


class PriorBias(nn.Module):
    """What `fold_prior` puts on a bias: adds ``tau * (log prior - log target)`` in training mode.

    Attributes
    ----------
    shift : float32 tensor of shape (K,)
        What is added, in nats; a buffer.
    """

    shift: Tensor

    def __init__(self, prior: Any, tau: float = 1.0, *, target_prior: Any = None) -> None:
        super().__init__()
        log_prior, log_target = log_priors(prior, target_prior)
        shift = torch.from_numpy(strength(tau) * (log_prior - log_target))
        self.register_buffer("shift", shift.float())

    def forward(self, bias: Tensor) -> Tensor:
        """Return the bias that the layer uses in the present mode."""
        return bias + self.shift.to(bias.dtype) if self.training else bias

    def right_inverse(self, bias: Tensor) -> Tensor:
        """Return the parameter for a bias that is assigned to the layer: itself."""
        return bias


def fold_prior(
    layer: nn.Module, prior: Any, tau: float = 1.0, *, target_prior: Any = None
) -> nn.Module:
    """Let the bias of the last layer carry the prior in training mode: logit adjustment for free.

    Then train with any loss of softmax, ``nn.CrossEntropyLoss()`` say, and predict in evaluation
    mode. The result is that of `LogitAdjustedLoss` on the bare layer. Losses in evaluation mode
    are without the prior. To keep it out for good, call
    ``torch.nn.utils.parametrize.remove_parametrizations(layer, "bias", leave_parametrized=False)``.

    Parameters
    ----------
    layer : nn.Module
        With a `bias` of shape (K,), ``nn.Linear`` as a rule. It is changed.
    prior : array-like or tensor of shape (K,)
        Counts or probabilities of the classes in what the model is trained on.
    tau : float >= 0
        Strength.
    target_prior : array-like or tensor of shape (K,), optional
        All classes the same if not given.

    Returns
    -------
    nn.Module
        `layer`, with a `PriorBias` on its bias as a parametrization of torch.

    Raises
    ------
    TypeError, InputError
        For a layer without such a bias, one that has a prior already, or a bad prior.

    Notes
    -----
    In the state dict the bias is called ``parametrizations.bias.original``. Exclude it from weight
    decay, which would undo a part of the prior.

    Examples
    --------
    >>> layer = fold_prior(torch.nn.Linear(4, 2), [90, 10])
    >>> x = torch.zeros(1, 4)
    >>> (layer.train()(x) - layer.eval()(x)).exp()
    tensor([[0.9000, 0.1000]], grad_fn=<ExpBackward0>)
    """
    bias = getattr(layer, "bias", None)
    if not isinstance(bias, Tensor) or bias.ndim != 1:
        raise TypeError(
            f"layer must have a bias of shape (K,), got {type(layer).__name__} without one; use "
            "LogitAdjustedLoss instead"
        )
    if parametrize.is_parametrized(layer, "bias"):
        chain: Any = layer.parametrizations["bias"]  # type: ignore[index]
        if any(isinstance(part, PriorBias) for part in chain):
            raise InputError("layer must be without a prior, got one that fold_prior was called on")
    added = PriorBias(prior, tau, target_prior=target_prior).to(bias.device)
    if added.shift.shape != bias.shape:
        raise InputError(
            f"prior must have one number for each of the {bias.numel()} outputs of layer, "
            f"got {added.shift.numel()}"
        )
    added.train(layer.training)
    parametrize.register_parametrization(layer, "bias", added)
    return layer
