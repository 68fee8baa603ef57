"""Piecewise linear learning rates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from kexue._core import InputError, check_float, check_int


@dataclass(frozen=True)
class PiecewiseLinear:
    """Scale the learning rate by a curve of straight pieces.

    Parameters
    ----------
    schedule : dict from int to float
        Knots ``{t: multiplier}``, t >= 0 and increasing; linear between them, constant after the
        last.
    from_zero : bool
        Begin with the knot (0, 0) where the first knot is later; else the first value holds
        until then.
    offset : int
        The first update has the multiplier at t = `offset`.

    Notes
    -----
    t counts updates of the parameters: under `Accumulate`, whole windows. A rate that a scheduler
    of torch sets in the groups is scaled too.

    Examples
    --------
    >>> import torch
    >>> from kexue.optim import derive
    >>> p = torch.nn.Parameter(torch.zeros(1))
    >>> optimizer = derive(torch.optim.SGD([p], lr=1.0), PiecewiseLinear({2: 1, 4: 0}))
    >>> for _ in range(5):
    ...     p.grad = torch.ones(1)
    ...     optimizer.step()
    ...     print(p.item())
    -0.5
    -1.5
    -2.0
    -2.0
    -2.0

    References
    ----------
    kexue.fm, archives/7094.
    """

    schedule: Mapping[int, float]
    from_zero: bool = True
    offset: int = 1

    def __post_init__(self) -> None:
        times, values = check_schedule(self.schedule)
        # a copy: later changes of the caller's would be silent
        object.__setattr__(self, "schedule", dict(zip(times, values, strict=True)))
        check_int("offset", self.offset, minimum=0)
        if not isinstance(self.from_zero, bool):
            raise TypeError(f"from_zero must be a bool, got {self.from_zero!r}")

    def multiplier(self, updates: int) -> float:
        """Return what the rate is multiplied by after so many updates."""
        return float(piecewise_linear(updates + self.offset, self.schedule, self.from_zero))


def piecewise_linear(t: ArrayLike, schedule: Mapping[int, float], from_zero: bool = True) -> Any:
    """Return the multiplier at `t`, of the shape of `t`.

    Examples
    --------
    >>> piecewise_linear(15, {10: 1, 20: 0.1})
    0.55
    >>> piecewise_linear([1, 10, 20, 99], {10: 1, 20: 0.1})
    array([0.1, 1. , 0.1, 0.1])
    """
    times, values = check_schedule(schedule)
    if from_zero and times[0] > 0:
        times, values = [0, *times], [0.0, *values]
    found = np.interp(np.asarray(t, np.float64), times, values)
    return float(found) if np.ndim(found) == 0 else found


def check_schedule(schedule: Any) -> tuple[list[int], list[float]]:
    """Return the times and multipliers of a schedule, checked."""
    if not isinstance(schedule, Mapping):
        raise TypeError(f"schedule must be a dict {{step: multiplier}}, got {schedule!r}")
    if not schedule:
        raise InputError("schedule must have at least one knot, got {}")
    times = [check_int("schedule step", t, minimum=0) for t in schedule]
    values = [check_float("schedule multiplier", m, minimum=0) for m in schedule.values()]
    if any(a >= b for a, b in pairwise(times)):
        raise InputError(f"schedule must have increasing steps, got {times}")
    return times, values


class PiecewiseLinearLR(LRScheduler):
    """The curve of `PiecewiseLinear` as a scheduler of torch, for any optimizer.

    Parameters
    ----------
    optimizer : Optimizer
    schedule, from_zero, offset
        As for `PiecewiseLinear`; t counts calls of ``scheduler.step``.
    last_epoch : int

    Examples
    --------
    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    >>> scheduler = PiecewiseLinearLR(optimizer, {4: 1})
    >>> scheduler.get_last_lr()
    [0.5]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedule: Mapping[int, float],
        from_zero: bool = True,
        offset: int = 1,
        last_epoch: int = -1,
    ) -> None:
        curve = PiecewiseLinear(schedule, from_zero, offset)
        self.schedule = curve.schedule
        self.from_zero = from_zero
        self.offset = offset
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float | Tensor]:
        """Return the rate of each group."""
        curve = PiecewiseLinear(self.schedule, self.from_zero, self.offset)
        multiplier = curve.multiplier(self.last_epoch)
        return [rate * multiplier for rate in self.base_lrs]
