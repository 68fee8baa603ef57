"""What a run shares with the checkpoint from which it goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from kexue._core import InputError
from kexue.training.config import TrainingConfig


def settings(
    config: TrainingConfig, optimizer: torch.optim.Optimizer, rows: int, processes: int
) -> dict[str, Any]:
    """Return all that decides the bits of a run, apart from the model and the data themselves."""
    groups = []
    for group in optimizer.param_groups:
        # what else lies in a group changes on the way
        found = {name: group[name] for name in optimizer.defaults if _is_plain(group.get(name))}
        groups.append(found)
    return {
        **config.decisive(),
        "rows": rows,
        "processes": processes,
        "optimizer": _name(optimizer),
        **{f"optimizer group {i}, {k}": v for i, g in enumerate(groups) for k, v in g.items()},
    }


def check_settings(was: dict[str, Any], now: dict[str, Any], path: Path) -> None:
    differing = [
        f"{name} was {was.get(name)!r} and is {now.get(name)!r}"
        for name in dict.fromkeys([*was, *now])
        if was.get(name) != now.get(name)
    ]
    if differing:
        raise InputError(
            f"the checkpoint {path} is of another configuration: {'; '.join(differing)}; restore "
            "these, or give another workdir"
        )


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


def _name(optimizer: torch.optim.Optimizer) -> str:
    kind = type(optimizer)
    name = f"{kind.__module__}.{kind.__qualname__}"
    if not hasattr(optimizer, "base"):
        return name
    addons = "".join(repr(optimizer).splitlines()[1:])  # the first line counts updates
    return f"{name} of {_name(optimizer.base)}:{addons}"
