"""What a training run tells: each update to its callbacks, and at its end."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

HISTORY = ("step", "loss", "lr", "seconds")


@dataclass
class TrainingResult:
    """What `fit` leaves beside the trained module.

    Attributes
    ----------
    steps : int
        Updates done.
    history : dict of list
        Columns step, loss (mean over the updates since the row before, by weight), lr (of the
        first parameter group), seconds (of training, those before an interruption included).
    evaluations : dict of list
        Columns step, value.
    best : dict or None
        step and value of the best evaluation, and the path of its weights if there is a workdir.
    checkpoint : Path or None
        The last one.
    """

    steps: int = 0
    history: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in HISTORY})
    evaluations: dict[str, list[float]] = field(default_factory=lambda: {"step": [], "value": []})
    best: dict[str, Any] | None = None
    checkpoint: Path | None = None


@dataclass(frozen=True)
class TrainingStep:
    """What a callback is told after an update.

    Attributes
    ----------
    step : int
        Updates done.
    loss : float
        Of the update's rows, by weight.
    module : torch.nn.Module
    optimizer : torch.optim.Optimizer
    """

    step: int
    loss: float
    module: torch.nn.Module
    optimizer: torch.optim.Optimizer
