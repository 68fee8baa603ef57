"""Training a module: the public door, and what it asks of its arguments."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import parse_flag_from_env

from kexue._core import InputError
from kexue.training._loop import Run
from kexue.training._random import seeded
from kexue.training.config import TrainingConfig
from kexue.training.data import IndexedData
from kexue.training.results import TrainingResult, TrainingStep


def fit(
    module: torch.nn.Module,
    data: Any,
    loss: Callable[[torch.nn.Module, Any], Any],
    config: TrainingConfig,
    *,
    optimizer: torch.optim.Optimizer | Callable[..., torch.optim.Optimizer] | None = None,
    evaluate: Callable[[torch.nn.Module], float] | None = None,
    callbacks: Iterable[Callable[[TrainingStep], bool | None]] = (),
    workdir: str | os.PathLike[str] | None = None,
    resume: bool = True,
) -> TrainingResult:
    r"""Train a module: exactly, on one process or many, and through interruptions.

    An update has the gradient of :math:`\sum w_i l_i / \sum w_i` over all its parts, in however
    many parts and processes its rows are worked on. A run that was killed at any moment and is
    started again ends with the same bits as one that was not.

    Parameters
    ----------
    module : torch.nn.Module
        Trained in place, on the device of the process.
    data : IndexedData, torch Dataset, tensor, or sequence of tensors of the same length
    loss : callable
        ``loss(module, batch)`` returns the mean loss of a batch as a scalar tensor, weighed by the
        number of rows; or a dict of "loss" and "weight", where the mean is over something else,
        such as tokens.
    config : TrainingConfig
    optimizer : None, Optimizer or callable
        An optimizer of the module's parameters, any `kexue.optim.derive` stack among them, or what
        makes one of them: ``optimizer(module.parameters())``. None, ``AdamW(lr=config.lr)``.
    evaluate : callable, optional
        ``evaluate(module)`` returns a number; lower is better. Called in evaluation mode without
        gradients, in every process; that of the first counts.
    callbacks : iterable of callable
        Each is told a `TrainingStep` after every update; where one returns True, training stops.
    workdir : path, optional
        Folder of the checkpoints. None, nothing is kept and nothing resumed.
    resume : bool
        Whether to go on from the last checkpoint in there.

    Returns
    -------
    TrainingResult

    Raises
    ------
    InputError, TypeError
        For bad arguments; for a checkpoint of another configuration, whose differing settings are
        named.
    FloatingPointError
        Where a loss is not finite. The update and its rows are named; the parameters are those
        before it, and the last checkpoint stays.
    KeyboardInterrupt
        After Ctrl-C, once the update is complete and a checkpoint of it is written.
    OSError
        Where a checkpoint cannot be written; the last one stays.

    Notes
    -----
    Under ``accelerate launch`` each process works on its share of every update. Random numbers
    (dropout) are drawn apart by each, so that without them the number of processes does not matter.
    The generators of Python, numpy and torch are seeded for the run and given back after it.

    Examples
    --------
    >>> X = torch.linspace(-1, 1, 256).reshape(-1, 1)
    >>> model = torch.nn.Linear(1, 1)
    >>> def squared_error(module, batch):
    ...     x, y = batch
    ...     return (module(x) - y).square().mean()
    >>> config = TrainingConfig(epochs=80, batch_size=32, lr=0.05)
    >>> result = fit(model, (X, 3 * X - 1), squared_error, config)
    >>> result.steps, round(model.weight.item(), 1), round(model.bias.item(), 1)
    (640, 3.0, -1.0)
    """
    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"module must be a torch.nn.Module, got {type(module).__name__}")
    called = tuple(callbacks) if isinstance(callbacks, Iterable) else (None,)
    for name, function in (
        ("loss", loss),
        ("evaluate", evaluate),
        *(("callbacks", c) for c in called),
    ):
        if not callable(function) and (name != "evaluate" or function is not None):
            raise TypeError(f"{name} must be callable, got {function!r}")
    if not isinstance(resume, bool):
        raise TypeError(f"resume must be True or False, got {resume!r}")
    if workdir is not None and Path(workdir).exists() and not Path(workdir).is_dir():
        raise InputError(f"workdir must be a folder, got the file {workdir}")
    rows = IndexedData.of(data)
    if not isinstance(config, TrainingConfig):
        raise TypeError(f"config must be a TrainingConfig, got {type(config).__name__}")
    process = _process()
    module.to(process.device)
    run = Run(module, rows, loss, config, _optimizer(module, optimizer, config), process)
    run.evaluate, run.callbacks = evaluate, called
    run.workdir = None if workdir is None else Path(workdir)
    with seeded(config.seed, process.process_index):
        run.begin(resume)
        return run.train()


def _process() -> PartialState:
    # a launcher of processes without a device says so only by there being none
    cpu = parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.accelerator.is_available()
    return PartialState(cpu=cpu)


def _optimizer(module: torch.nn.Module, given: Any, config: TrainingConfig) -> Any:
    parameters = [p for p in module.parameters() if p.requires_grad]
    if not parameters:
        raise InputError("module must have parameters that require a gradient, got none")
    if given is None:
        return torch.optim.AdamW(parameters, lr=config.lr)
    if not isinstance(given, torch.optim.Optimizer):
        if not callable(given):
            raise TypeError(
                "optimizer must be None, a torch Optimizer or a callable that makes one of the "
                f"parameters, got {type(given).__name__}"
            )
        given = given(module.parameters())
    known = set(map(id, parameters))
    held = [p for group in given.param_groups for p in group["params"] if p.requires_grad]
    if not all(id(p) in known for p in held):
        raise InputError("optimizer must hold parameters of the module, got one with others")
    return given
