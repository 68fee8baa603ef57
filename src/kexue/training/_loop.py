"""The training loop."""

from __future__ import annotations

import logging
import math
import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import broadcast, reduce, send_to_device

from kexue._core import InputError
from kexue.optim import Derived, piecewise_linear
from kexue.training import checkpoints as files
from kexue.training._gradients import GradientSum
from kexue.training._interrupts import interrupts
from kexue.training._progress import progress
from kexue.training._random import random_state, restore_random_state
from kexue.training._settings import check_settings, settings
from kexue.training.config import TrainingConfig
from kexue.training.data import IndexedData
from kexue.training.results import HISTORY, TrainingResult, TrainingStep

_LOG = logging.getLogger("kexue")
_PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Run:
    """One call of `fit`."""

    evaluate: Callable[[torch.nn.Module], float] | None = None
    callbacks: tuple[Callable[[TrainingStep], bool | None], ...] = ()
    workdir: Path | None = None

    def __init__(
        self,
        module: torch.nn.Module,
        data: IndexedData,
        loss: Callable[[torch.nn.Module, Any], Any],
        config: TrainingConfig,
        optimizer: torch.optim.Optimizer,
        process: PartialState,
    ) -> None:
        self.module, self.data, self.loss, self.config = module, data, loss, config
        self.optimizer, self.process = optimizer, process
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self.settings = settings(config, optimizer, data.n, process.num_processes)
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        self.scaler = (
            torch.amp.GradScaler(process.device.type) if config.precision == "fp16" else None
        )
        dtype = _PRECISIONS.get(config.precision)
        self.autocast = (
            nullcontext() if dtype is None else torch.autocast(process.device.type, dtype)
        )
        self.gradients = GradientSum(self.parameters, process, config.accumulate == 1, self.scaler)
        held = set(map(id, self.parameters))
        self.others = [p for p in module.parameters() if id(p) not in held]
        # a derived optimizer weighs what it is handed, and need not look for other processes
        self.weighs = isinstance(optimizer, Derived)
        if isinstance(optimizer, Derived):
            optimizer.reduced = True
        self.result = TrainingResult()
        self.total = config.steps(data.n)
        self.window = [0.0, 0.0]  # sums of loss and weight since the last row of the history
        self.seconds = 0.0

    def begin(self, resume: bool) -> None:
        """Go on from the last checkpoint, or share the first process's parameters."""
        found = files.checkpoints(self.workdir) if self.workdir and resume else []
        if found:
            self._restore(found[-1])
        elif self.process.num_processes > 1:
            for tensor in self.module.state_dict().values():
                tensor.copy_(broadcast(tensor))
        if self.workdir and not resume and files.checkpoints(self.workdir):
            raise InputError(
                f"{self.workdir} holds checkpoints of another run; give another workdir, remove "
                "them, or go on from them by resume=True"
            )

    def train(self) -> TrainingResult:
        """Do the updates that are left; leave neither gradients nor scheduled rates behind."""
        if self.result.steps > self.total:
            warnings.warn(
                f"{self.result.checkpoint} has {self.result.steps} updates, more than the "
                f"{self.total} that were asked for",
                UserWarning,
                stacklevel=3,
            )
        if not self.module.training:
            self.module.train()
        self.module.zero_grad(set_to_none=True)
        try:
            return self._train()
        finally:
            self.module.zero_grad(set_to_none=True)
            for group in self.optimizer.param_groups:
                group["lr"] = group.pop("initial_lr", group["lr"])  # one may have been added

    def _train(self) -> TrainingResult:
        ranks, accumulate = self.process.num_processes, self.config.accumulate
        first = self.process.process_index * accumulate
        todo = range(self.result.steps, self.total)
        updates = self.data.parts(
            self.config.seed,
            self.config.batch_size,
            todo,
            ranks * accumulate,
            range(first, first + accumulate),
        )
        every, interval = self.config.checkpoint_interval()
        began = self.clock = time.perf_counter()
        written = self.result.steps
        shown = self.process.is_main_process
        with interrupts() as interrupted, progress(todo, shown) as advance:

            def wishes() -> tuple[bool, bool]:
                late = interval is not None and time.perf_counter() - began >= interval
                return late, interrupted()

            for parts in updates:
                loss, late, stop = self._update(parts, wishes)
                step = self.result.steps
                enough = self._after(step, loss)
                if late or (every and step % every == 0):
                    self._checkpoint()
                    began, written = time.perf_counter(), step
                if stop or (interrupted() and self.process.num_processes == 1):
                    self._stop(written)
                advance(step, loss)
                if enough:
                    break
        self._end(written)
        return self.result

    def _update(
        self, parts: list[tuple[Any, Any]], wishes: Callable[[], tuple[bool, bool]]
    ) -> tuple[float, bool, bool]:
        """Do one update; return its loss, and whether any process wishes to save or to stop."""
        gradients, optimizer, config = self.gradients, self.optimizer, self.config
        gradients.clear()
        for rows, batch in parts:
            if self.process.device.type != "cpu":
                batch = send_to_device(batch, self.process.device, non_blocking=True)
            with self.autocast:
                found = self.loss(self.module, batch)
            gradients.add(*_loss_and_weight(found, len(rows)))
        loss, weight, (late, stop) = gradients.finish(*wishes())
        if not math.isfinite(loss):
            self._refuse(loss, parts)
        if config.schedule is not None:
            multiplier = float(piecewise_linear(self.result.steps + 1, config.schedule))
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * multiplier
        if weight:
            if self.scaler is not None:
                self.scaler.unscale_(optimizer)
            if config.clip_norm is not None:
                torch.nn.utils.clip_grad_norm_(self.parameters, config.clip_norm)
            self._step(weight)
        optimizer.zero_grad(set_to_none=True)
        for p in self.others:
            p.grad = None
        self.result.steps += 1
        self.window[0] += loss * weight
        self.window[1] += weight
        return loss, late, stop

    def _step(self, weight: float) -> None:
        arguments: dict[str, Any] = {"weight": weight} if self.weighs else {}
        if self.scaler is None:
            self.optimizer.step(**arguments)
        else:
            self.scaler.step(self.optimizer, **arguments)
            self.scaler.update()

    def _after(self, step: int, loss: float) -> bool:
        """Log, evaluate and tell the callbacks; return whether one has had enough."""
        config = self.config
        if step % config.log_every == 0 or step == self.total:
            self._log(step)
        every = config.eval_every or -(-self.data.n // config.batch_size)
        if self.evaluate is not None and (step % every == 0 or step == self.total):
            self._evaluate(step)
        told = TrainingStep(step, loss, self.module, self.optimizer) if self.callbacks else None
        enough = any([callback(told) for callback in self.callbacks])  # type: ignore[arg-type]
        if self.callbacks and self.process.num_processes > 1:
            # what one process has had enough of, all leave
            answers = torch.tensor(float(enough), device=self.process.device)
            enough = bool(reduce(answers, "sum").item() > 0)
        return enough

    def _log(self, step: int) -> None:
        now = time.perf_counter()
        self.seconds += now - self.clock
        self.clock = now
        loss, weight = self.window
        row = (
            step,
            loss / weight if weight else math.nan,
            self.optimizer.param_groups[0]["lr"],
            self.seconds,
        )
        for name, value in zip(HISTORY, row, strict=True):
            self.result.history[name].append(value)
        self.window = [0.0, 0.0]

    def _evaluate(self, step: int) -> None:
        assert self.evaluate is not None
        self._flush()
        modes = [(module, module.training) for module in self.module.modules()]
        self.module.eval()
        with torch.no_grad():
            value = float(self.evaluate(self.module))
        for module, training in modes:
            module.training = training
        if self.process.num_processes > 1:
            told = torch.tensor(value, dtype=torch.float64, device=self.process.device)
            value = broadcast(told).item()
        self.result.evaluations["step"].append(step)
        self.result.evaluations["value"].append(value)
        best = self.result.best
        if best is None or value < best["value"] or math.isnan(best["value"]):
            path = None
            if self.workdir is not None:
                path = self.workdir / "best.safetensors"
                if self.process.is_main_process:
                    files.write_module(path, self.module)
            self.result.best = {"step": step, "value": value, "weights": path}

    def _flush(self) -> None:
        """Bring parameters up to date that a lazy optimizer leaves behind."""
        if isinstance(self.optimizer, Derived):
            self.optimizer.flush()

    def _checkpoint(self) -> None:
        if self.workdir is None:
            return
        result = self.result
        step, last = result.steps, result.checkpoint
        if not all(bool(torch.isfinite(p).all()) for p in self.parameters):
            raise FloatingPointError(
                f"parameters are not finite after update {step}, though the loss before it was; "
                f"{self._last()}"
            )
        best = result.best and {name: result.best[name] for name in ("step", "value")}
        states = {
            "settings": self.settings,
            "steps": step,
            "history": result.history,
            "evaluations": result.evaluations,
            "best": best,
            "window": self.window,
            "seconds": self.seconds + time.perf_counter() - self.clock,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler and self.scaler.state_dict(),
        }
        try:
            result.checkpoint = files.write_checkpoint(
                self.workdir,
                step,
                module=self.module,
                states=states,
                random=random_state(),
                process=self.process.process_index,
                barrier=self.process.wait_for_everyone,
                keep=self.config.keep,
            )
        except OSError as error:
            result.checkpoint = last
            raise OSError(
                error.errno,
                f"the checkpoint of update {step} could not be written ({error.strerror}); "
                f"{self._last()}",
                str(self.workdir),
            ) from error

    def _restore(self, path: Path) -> None:
        states, random, weights = files.read_checkpoint(path, self.process.process_index)
        check_settings(states["settings"], self.settings, path)
        files.load_module(path, self.module, weights)
        self.optimizer.load_state_dict(states["optimizer"])
        if self.scaler is not None:
            self.scaler.load_state_dict(states["scaler"])
        restore_random_state(random)
        result = self.result
        result.steps, result.history = states["steps"], states["history"]
        result.evaluations, result.checkpoint = states["evaluations"], path
        if states["best"] is not None:
            assert self.workdir is not None
            result.best = {**states["best"], "weights": self.workdir / "best.safetensors"}
        self.window, self.seconds = states["window"], states["seconds"]
        _LOG.info("going on from %s, %d of %d updates done", path, result.steps, self.total)

    def _end(self, written: int) -> None:
        if self.result.steps > written:
            self._checkpoint()
        # after it, so that a longer run can go on as if it had never ended here
        if isinstance(self.optimizer, Derived):
            self.optimizer.finish_window()
        self._flush()

    def _stop(self, written: int) -> None:
        if self.result.steps > written:
            self._checkpoint()
        raise KeyboardInterrupt(f"stopped after update {self.result.steps}; {self._last()}")

    def _refuse(self, loss: float, parts: list[tuple[Any, Any]]) -> None:
        values = [value.item() for value, _ in self.gradients.parts]
        bad = [
            int(row)
            for (rows, _), value in zip(parts, values, strict=True)
            if not math.isfinite(value)
            for row in rows
        ]
        where = "rows of another process" if not bad else f"rows {_listed(bad)}"
        raise FloatingPointError(
            f"the loss of update {self.result.steps + 1} is {loss} ({where}); the parameters are "
            f"those before it; {self._last()}"
        )

    def _last(self) -> str:
        """Say what is left to go on from."""
        if self.workdir is None:
            return "nothing was kept, because no workdir was given"
        last = self.result.checkpoint
        if last is None:
            return f"no checkpoint was written yet in {self.workdir}"
        return f"calling fit again goes on from {last}"


def _loss_and_weight(found: Any, rows: int) -> tuple[torch.Tensor, float]:
    loss, weight = found, float(rows)
    if isinstance(found, dict):
        if not found.keys() >= {"loss", "weight"}:
            raise InputError(
                f"a dict from loss must have the keys 'loss' and 'weight', got {list(found)}"
            )
        loss, weight = found["loss"], float(found["weight"])
        if not 0 <= weight < math.inf:
            raise InputError(f"the weight of a loss must be a finite number >= 0, got {weight}")
    if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
        given = tuple(loss.shape) if isinstance(loss, torch.Tensor) else type(loss).__name__
        raise TypeError(
            f"loss must return a scalar tensor, or a dict with 'loss' and 'weight', got {given}"
        )
    return loss, weight


def _listed(rows: list[int], most: int = 20) -> str:
    shown = ", ".join(map(str, rows[:most]))
    return shown if len(rows) <= most else f"{shown} and {len(rows) - most} more"
