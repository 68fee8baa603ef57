"""Optimizers taken in turns, and peers set up as their documentation has it."""

from __future__ import annotations

import importlib
import importlib.machinery
import statistics
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

SHAPES = [(256, 332), (332,)] * 40  # 3.4 M parameters in 80 tensors


def parameters(shapes: list[tuple[int, ...]] = SHAPES) -> list[nn.Parameter]:
    """Return parameters, with gradients."""
    generator = torch.Generator().manual_seed(0)
    found = [nn.Parameter(0.02 * torch.randn(s, generator=generator)) for s in shapes]
    for p in found:
        p.grad = torch.randn(p.shape, generator=generator)
    return found


def alternating(
    sides: dict[str, Callable[[], Any]],
    *,
    rounds: int = 21,
    calls: int = 5,
    prepare: Callable[[], Any] | None = None,
) -> dict[str, float]:
    """Return the median CPU milliseconds a call of each side; each round takes all sides in turn.

    `calls` is a multiple of all periods, as that of Lookahead. `prepare` runs before every call,
    and is not timed.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for i in range(rounds + 2):
        for name, side in sides.items():
            total = 0.0
            for _ in range(calls):
                if prepare is not None:
                    prepare()
                start = time.process_time()
                side()
                total += time.process_time() - start
            if i >= 2:  # warm
                seconds[name].append(1000 * total / calls)
    return {name: statistics.median(values) for name, values in seconds.items()}


def timm_module(name: str) -> Any:
    """Return a module of timm.optim; its packages need torchvision, its optimizers do not."""
    spec = importlib.machinery.PathFinder.find_spec("timm")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("this comparison needs timm")
    folder = Path(spec.submodule_search_locations[0])
    for package, path in (("timm", folder), ("timm.optim", folder / "optim")):
        if package not in sys.modules:
            bare = types.ModuleType(package)
            bare.__path__ = [str(path)]
            sys.modules[package] = bare
    return importlib.import_module(f"timm.optim.{name}")
