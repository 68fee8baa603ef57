"""What of an optimizer's state belongs to the add-ons: out of the base's sight, kept as it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

# counters, in every group
UPDATES, MICRO_STEPS, WEIGHT = "updates", "micro_steps", "window_weight"
LOG_SCALE, SKIPPED = "log_scale", "skipped"
COUNTERS = {UPDATES: 0, MICRO_STEPS: 0, WEIGHT: 0.0}
TUNER_COUNTERS = {LOG_SCALE: 0.0, SKIPPED: 0}

# tensors, in the state of parameters
MEAN, MEAN_ROWS = "accumulated", "accumulated_rows"
ROW_STEP, LAZY_STEP, TOUCHED = "row_step", "lazy_step", "touched"
MOVE, GAIN, GAIN_MEAN = "move", "gain", "gain_mean"
SLOW = "slow"
_OURS = frozenset({MEAN, MEAN_ROWS, ROW_STEP, LAZY_STEP, TOUCHED, MOVE, GAIN, GAIN_MEAN, SLOW})


def is_ours(key: Any) -> bool:
    """Whether a key of a parameter's state is an add-on's."""
    return key in _OURS or (isinstance(key, str) and key.startswith(f"{SLOW}_"))


def params_of(base: Optimizer) -> list[Tensor]:
    """Return the parameters of all groups, in order."""
    return [p for group in base.param_groups for p in group["params"]]


@torch._disable_dynamo
@contextmanager
def out_of_sight(base: Optimizer, *, compiled: bool) -> Iterator[None]:
    """Take what is ours out of the base's state for the length of a block.

    The base would take a state that holds only ours for its own, and torch.compile would look at
    every new tensor in it. A base that is not compiled looks up its own keys only; these come
    first, and then nothing need be done.
    """
    state, put_by = base.state, []
    for p, own in state.items():
        if own and (compiled or is_ours(next(iter(own)))):
            ours = {key: own.pop(key) for key in [*filter(is_ours, own)]}
            if ours:
                put_by.append((p, ours))
    for p, _ in put_by:
        if not state[p]:
            del state[p]
    try:
        yield
    finally:
        for p, ours in put_by:
            state[p].update(ours)


def restore(base: Optimizer, saved: dict[str, Any]) -> None:
    """Give our tensors, which torch casts to the type of their parameter, their own back."""
    indices = (i for group in saved["param_groups"] for i in group["params"])
    for i, p in zip(indices, params_of(base), strict=True):
        for key, value in saved["state"].get(i, {}).items():
            if is_ours(key) and isinstance(value, torch.Tensor):
                device = "cpu" if key == LAZY_STEP else p.device
                base.state[p][key] = value.detach().to(device, copy=True)
