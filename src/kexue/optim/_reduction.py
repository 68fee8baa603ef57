"""Accumulation under data parallelism: earlier micro-batches join the last one's reduction."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from kexue._core import InputError
from kexue.optim._state import MEAN, MEAN_ROWS, MICRO_STEPS, WEIGHT, params_of

if TYPE_CHECKING:
    from kexue.optim.derive import Derived


class Reduction:
    """Mixes a window's mean into its last gradients, before these are reduced.

    DistributedDataParallel reduces a gradient as soon as it is there, within the backward pass.
    So the mean of the earlier micro-batches, which are not reduced, must be in it by then: a hook
    on each parameter adds it. One reduction serves the whole window.

    Attributes
    ----------
    scaled : bool
        A GradScaler is at work: the last gradients are scaled during the backward pass, the mean
        is not, so that they cannot be mixed.
    """

    def __init__(self, optimizer: Derived) -> None:
        self.optimizer = weakref.ref(optimizer)
        self.joined: set[Tensor] = set()
        self.weight: float | None = None
        self.scaled = False
        self._hooked: set[Tensor] = set()
        self.attach()

    @classmethod
    def where_needed(cls, optimizer: Derived) -> Reduction | None:
        """Return one if there are several processes."""
        parallel = torch.distributed.is_available() and torch.distributed.is_initialized()
        if parallel and torch.distributed.get_world_size() > 1:
            return cls(optimizer)
        return None

    def attach(self) -> None:
        """Hook the parameters that are not hooked yet."""
        optimizer = self.optimizer()
        assert optimizer is not None
        me = weakref.ref(self)
        for p in params_of(optimizer.base):
            if p.requires_grad and p not in self._hooked:
                p.register_hook(_join(me, weakref.ref(p)))
                self._hooked.add(p)

    def join(self, p: Tensor, gradient: Tensor) -> Tensor | None:
        """Return what the gradient of a window's last micro-batch becomes."""
        optimizer = self.optimizer()
        if optimizer is None or not optimizer.will_step:
            return None
        group = optimizer.param_groups[0]
        own = optimizer.state.get(p, {})
        if group[MICRO_STEPS] == 0 or group[WEIGHT] == 0 or MEAN_ROWS in own:
            return None
        if gradient.is_sparse:
            return None
        if self.scaled:
            raise RuntimeError(
                "Accumulate under DistributedDataParallel cannot mix gradients that a GradScaler "
                "has scaled; train in bfloat16, or without the scaler"
            )
        self.weight = 1.0 if optimizer._announced is None else optimizer._announced
        share = self.weight / (group[WEIGHT] + self.weight)
        mean = own.get(MEAN)
        first = p not in self.joined or p.grad is None
        self.joined.add(p)
        if first and mean is not None:
            return torch.lerp(mean, gradient, share)
        return gradient * share

    def end(self, weight: float | None) -> set[Tensor]:
        """Return the parameters whose gradients hold the whole window; the next one begins."""
        joined, self.joined = self.joined, set()
        if joined and weight is not None and weight != self.weight:
            raise InputError(
                f"weight={weight:g} must be known before the backward pass under data "
                f"parallelism; call announce({weight:g}) there"
            )
        self.attach()
        return joined


def _join(reduction: Any, parameter: Any) -> Any:
    def hook(gradient: Tensor) -> Tensor | None:
        mixer, p = reduction(), parameter()
        return None if mixer is None or p is None else mixer.join(p, gradient)

    return hook
