"""Recording a training run, so that its predictions can be taken apart afterwards."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from kexue._core import InputError, check_float, check_int
from kexue.diagnose._flat import Layout, fingerprint
from kexue.diagnose._path_rules import rule_of
from kexue.diagnose._path_store import Batch, Header, Step, StoredPath, TrainingPath

_BATCH_NORM = torch.nn.modules.batchnorm._BatchNorm
_DROPOUT = torch.nn.modules.dropout._DropoutNd


class PathRecorder:
    """Record every update of an optimizer: parameters, rows and what became of the gradient.

    Parameters
    ----------
    model : torch.nn.Module
        Without batch normalization in training mode, which mixes the examples of a batch. Dropout
        is recorded with its random numbers.
    optimizer : torch.optim.Optimizer
        For exact sums SGD, Adam or AdamW with any options but ``maximize``, bare or in a
        `kexue.optim.derive` stack of schedule, decay, accumulation and Lookahead. Others can be
        recorded for approximate methods.
    store : path, optional
        Folder that the path is written to; None, memory.
    every : int
        Updates to a recorded one. Above 1, only approximate methods apply.
    dtype : torch.dtype, optional
        Of what is stored; by default that of the parameters.

    Attributes
    ----------
    path : TrainingPath

    Raises
    ------
    InputError
        If `store` holds a path that does not come by the present parameters. One that does, as
        after a kill and the return to a checkpoint, is cut there and gone on with.

    Notes
    -----
    Each update stores the P parameters, and P denominators for Adam: 80 kB for 10,000 in float32.

    Examples
    --------
    >>> model = torch.nn.Linear(2, 1)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> X, y = torch.eye(2), torch.ones(2, 1)
    >>> with PathRecorder(model, optimizer) as recorder:
    ...     for _ in range(3):
    ...         rows = torch.tensor([0, 1])
    ...         recorder.batch(rows, X[rows], y[rows])
    ...         torch.nn.functional.mse_loss(model(X[rows]), y[rows]).backward()
    ...         optimizer.step()
    ...         optimizer.zero_grad()
    >>> len(recorder.path.steps)
    3
    """

    path: TrainingPath

    def __init__(
        self,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        store: str | os.PathLike[str] | None = None,
        *,
        every: int = 1,
        dtype: torch.dtype | None = None,
    ) -> None:
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise TypeError(f"optimizer must be a torch Optimizer, got {type(optimizer).__name__}")
        model = getattr(model, "_orig_mod", model)  # of a compiled one
        self.model, self.optimizer = model, optimizer
        self.every = check_int("every", every, minimum=1)
        self.base = getattr(optimizer, "base", optimizer)
        held = [p for group in optimizer.param_groups for p in group["params"]]
        self.layout = Layout.of(model, held)
        if not self.layout.names:
            raise InputError("optimizer must hold parameters of the model, got none of them")
        parameters = dict(model.named_parameters())
        self._parameters = [parameters[name] for name in self.layout.names]
        found = {p.dtype for p in self._parameters}
        self.dtype = dtype or (torch.float64 if torch.float64 in found else torch.float32)
        self._rule = rule_of(self.base)
        header = Header(
            self.layout,
            self.dtype,
            self.every,
            self._rule is not None and self._rule.scaled and self.every == 1,
        )
        self.path = TrainingPath(header) if store is None else StoredPath(Path(store), header)
        self._mark = self.layout.mark()
        self._batches: list[Batch] = []
        self._draws = any(isinstance(m, _DROPOUT) and m.p > 0 for m in model.modules())
        self._before: Tensor | None = None
        self._window: Tensor | None = None
        self._updates = 0
        self._hooks: list[Any] = []

    def __enter__(self) -> PathRecorder:
        self._joined = False
        self._hooks = [
            self.optimizer.register_step_pre_hook(self._begin),
            self.base.register_step_pre_hook(self._about_to_move),
            self.base.register_step_post_hook(self._moved),
            self.optimizer.register_step_post_hook(self._end),
        ]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks = []

    def batch(self, rows: Any, x: Any, y: Any = None, *, weight: float = 1.0) -> None:
        """Tell which rows the next forward pass is of; call it right before.

        Parameters
        ----------
        rows : integers of shape (B,)
            Their numbers in the data set.
        x : tensor of shape (B, ...)
        y : tensor of shape (B, ...), optional
        weight : float
            Of this batch's mean loss among those of the update, where there are several.

        Raises
        ------
        InputError
            For a batch normalization in training mode.
        """
        for name, module in self.model.named_modules():
            if isinstance(module, _BATCH_NORM) and module.training:
                raise InputError(
                    f"{name} normalizes over the batch, so that examples have no gradient of their "
                    "own; put it in evaluation mode while recording, or take GroupNorm"
                )
        given = torch.as_tensor(rows).reshape(-1)
        if given.is_floating_point() or given.dtype == torch.bool or bool((given < 0).any()):
            raise InputError(f"rows must be integers >= 0, got {rows!r}")
        if check_float("weight", float(weight), minimum=0) == 0:
            raise InputError("weight must be > 0, got 0")
        numbers = given.tolist()
        if len(numbers) != len(x):
            raise InputError(f"rows must number the {len(x)} examples of x, got {len(numbers)}")
        told = fingerprint(x) if y is None else fingerprint(x, y)
        random = ""
        if self._draws and self.model.training:
            random = bytes(torch.get_rng_state().tolist()).hex()
        self._batches.append(Batch([int(i) for i in numbers], float(weight), told, random))

    def _join(self) -> None:
        """Go on with the path that is in the store, from where the parameters are."""
        theta = self._theta()
        if not self.path.started:
            self.path.begin(theta)
            return
        length = len(self.path.steps)
        for t in range(length, -1, -1):
            if torch.equal(self.path.theta(t), theta):
                self.path.cut(t)
                self._updates = t * self.every
                pulls = [i for i, step in enumerate(self.path.steps) if step.pull is not None]
                self._window = self.path.theta(pulls[-1] + 1 if pulls else 0).double()
                return
        raise InputError(
            f"the path has {length} updates, none of which begins or ends with the parameters of "
            "the model; go back to where it was recorded, or give another store"
        )

    def _theta(self) -> Tensor:
        return self.layout.gather(self._parameters, self.dtype)

    def _exact(self) -> Tensor:
        return self.layout.gather(self._parameters, torch.float64)

    def _begin(self, *_: Any) -> None:
        if not self._joined:
            # not sooner: a checkpoint may be loaded after the recorder was made
            self._join()
            self._joined = True
        if self._before is None:
            self._before = self._exact()
            if not bool(torch.isfinite(self._before).all()):
                raise InputError("the parameters are not finite; a path must be")
            last = self.path.theta(len(self.path.steps))
            if self.every == 1 and not torch.equal(self._before.to(self.dtype), last):
                raise InputError("the parameters were changed between two updates")
        self._inner = False

    def _about_to_move(self, *_: Any) -> None:
        """Right before the base moves: its gradients and rates are set."""
        self._inner = True
        assert self._before is not None
        if not self._batches:
            raise InputError("no rows were told of this update; call batch() before each forward")
        self._step = Step(self._batches)
        self._batches = []
        groups = {id(p): group for group in self.base.param_groups for p in group["params"]}
        self._step.rate = [float(groups[id(p)].get("lr", 1.0)) for p in self._parameters]
        gradient = self.layout.gather((p.grad for p in self._parameters), torch.float64)
        self._step.norm = gradient.norm().item()
        self._step.dot = (gradient @ self._mark).item()
        if self._rule is not None:
            self._rule.before(self.base, self._parameters, self.layout, self._mark)
        # decay that shrinks parameters before the base moves
        now = self._exact()
        self._shrunk = _shares(self.layout, self._before, now)
        self._gradient = gradient

    def _moved(self, *_: Any) -> None:
        self._after_base = self._exact()

    def _end(self, *_: Any) -> None:
        if not self._inner:
            return  # a micro-step, which moves nothing
        before, after = self._before, self._exact()
        assert before is not None
        self._before = None
        self._updates += 1
        step = self._step
        if self._window is None:
            self._window = before
        if not torch.equal(after, self._after_base):
            step.pull = _pull(self._window, self._after_base, after)
            self._window = after
        first = not self.path.steps
        scale = None
        if self._rule is not None and self.every == 1:
            scale = self._rule.after(
                self.base, self._parameters, self.layout, self._mark, step, self._shrunk,
                self._gradient, before, self._after_base, first,
            )  # fmt: skip
            # back on the way since the last time, and nowhere else
            step.known &= step.pull is None or 0 <= step.pull <= 1
        if self._updates % self.every == 0:
            self.path.append(
                step, after.to(self.dtype), None if scale is None else scale.to(self.dtype)
            )


def _shares(layout: Layout, before: Tensor, now: Tensor) -> list[float]:
    """Return for each parameter the share of itself by which it was made smaller."""
    found = []
    for place in layout.slices().values():
        size = (before[place] @ before[place]).item()
        found.append(1 - (now[place] @ before[place]).item() / size if size else 0.0)
    return found


def _pull(start: Tensor, end: Tensor, found: Tensor) -> float:
    """Return the part of the way from `start` to `end` at which `found` lies, -1 if beside it."""
    way = end - start
    part = ((found - start) @ way / (way @ way)).item()
    beside = (found - start - part * way).norm() > 1e-3 * way.norm()
    return -1.0 if beside else part
