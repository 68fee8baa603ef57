"""How rows of a table are updated alone: the rules of Adam and of SGD."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer

from kexue._core import InputError
from kexue.optim._lazy_kernels import adam_rows, catch_up_rows
from kexue.optim._state import LAZY_STEP, ROW_STEP

_BLOCK = 8192  # rows caught up at a time, so that flushing a table needs no copy of it


class Past(NamedTuple):
    """What the native loops need of a table's past; see `History`."""

    mode: int
    start: int
    reach: int
    sums: np.ndarray
    logs: np.ndarray


class AdamRule:
    """Adam and AdamW: the move that a row misses is along m / sqrt(v) of its last touch."""

    def check(self, group: dict[str, Any], mode: str) -> None:
        """Raise for settings that rows cannot follow."""
        for key in ("amsgrad", "capturable", "differentiable"):
            if group.get(key):
                raise InputError(f"Lazy(mode={mode!r}) does not support Adam with {key}=True")
        beta1, beta2 = (float(beta) for beta in group["betas"])
        if mode == "deferred" and not 0 <= beta1 < math.sqrt(beta2):
            raise InputError(
                "mode='deferred' needs betas with beta1 < sqrt(beta2), so that missed moves die "
                f"away, got {group['betas']!r}"
            )

    def prepare(self, p: Tensor, own: dict[str, Any], group: dict[str, Any]) -> None:
        """Make the base's state where it is missing, as the base would."""
        if "exp_avg" not in own:
            device = p.device if group.get("fused") else torch.device("cpu")
            fresh = {
                "step": torch.zeros((), dtype=torch.float32, device=device),
                "exp_avg": torch.zeros_like(p, memory_format=torch.preserve_format),
                "exp_avg_sq": torch.zeros_like(p, memory_format=torch.preserve_format),
            }
            ours = dict(own)
            own.clear()
            own.update(fresh, **ours)

    def steps(self, own: dict[str, Any]) -> int:
        """Return the number of steps that the table has taken."""
        return int(own["step"])

    def ratio(self, group: dict[str, Any]) -> float:
        """Return by what a missed move shrinks from step to step."""
        return float(group["betas"][0]) / math.sqrt(group["betas"][1])

    def coefficient(self, group: dict[str, Any], t: int, lr: float) -> float:
        """Return the length of a missed move at step t, before it shrinks."""
        beta1, beta2 = group["betas"]
        return lr * math.sqrt(1 - float(beta2) ** t) / (1 - float(beta1) ** t)

    def keeps(self, group: dict[str, Any], gaps: Tensor) -> list[Tensor]:
        """Return what each moment is multiplied by for steps without a gradient."""
        return [float(beta) ** gaps for beta in group["betas"]]

    def native(self, p: Tensor, own: dict[str, Any]) -> bool:
        """Whether the loops in native code can take this table."""
        return _compiled(p, own["exp_avg"], own["exp_avg_sq"])

    def catch_up_native(
        self, p: Tensor, own: dict[str, Any], group: dict[str, Any], rows: Tensor, past: Past
    ) -> None:
        """Make up for missed steps, all in one loop."""
        theta, m, v = (a.numpy() for a in (p.detach(), own["exp_avg"], own["exp_avg_sq"]))
        catch_up_rows(
            theta, m, v, own[ROW_STEP].numpy(), rows.numpy(), self.steps(own), past.start,
            past.reach, past.mode, np.array(group["betas"], np.float64), past.sums, past.logs,
        )  # fmt: skip

    def update_native(
        self, p: Tensor, own: dict[str, Any], group: dict[str, Any], rows: np.ndarray,
        gradients: Tensor, past: Past, lr: float, decay: tuple[float, float],
    ) -> None:  # fmt: skip
        """Catch up and take the step, all in one loop; `rows` may hold a row several times."""
        order = np.argsort(rows, kind="stable")
        ordered = rows[order]
        starts = np.flatnonzero(np.diff(ordered, prepend=-1, append=-1))
        if rows.size == 0:
            starts = np.zeros(1, np.int64)
        steps = self.steps(own)
        own["step"] += 1
        constants = self._constants(group, steps + 1, lr, decay)
        theta, m, v = (a.numpy() for a in (p.detach(), own["exp_avg"], own["exp_avg_sq"]))
        row_step = own[ROW_STEP].numpy() if ROW_STEP in own else np.empty(0, np.int64)
        adam_rows(
            theta, m, v, row_step, ordered[starts[:-1]], order, starts,
            gradients.contiguous().numpy(), steps, past.start, past.reach, past.mode,
            np.array(group["betas"], np.float64), past.sums, past.logs,
            np.array(constants, theta.dtype),
        )  # fmt: skip

    def _constants(
        self, group: dict[str, Any], t: int, lr: float, decay: tuple[float, float]
    ) -> list[float]:
        beta1, beta2 = (float(beta) for beta in group["betas"])
        sign = -1.0 if group["maximize"] else 1.0
        size, root = lr / (1 - beta1**t), math.sqrt(1 - beta2**t)
        return [1 - beta1, 1 - beta2, size, root, group["eps"], 1 - lr * decay[0], decay[1], sign]

    def catch_up(self, p: Tensor, own: dict[str, Any], rows: Tensor, missed: list[Tensor]) -> None:
        """Make up for missed steps: factor of the row, its move, factors of the moments."""
        theta, m, v = p.detach(), own["exp_avg"], own["exp_avg_sq"]
        columns = torch.stack(missed, 1).to(theta.dtype)
        for part, column in zip(rows.split(_BLOCK), columns.split(_BLOCK), strict=True):
            keep, move, keep_m, keep_v = column.unsqueeze(-1).unbind(1)
            first, second = m.index_select(0, part), v.index_select(0, part)
            # of v = 0 the root is infinite, and m = 0
            along = second.rsqrt().nan_to_num_(posinf=0.0).mul_(first).mul_(move)
            theta.index_copy_(0, part, theta.index_select(0, part).mul_(keep).sub_(along))
            m.index_copy_(0, part, first.mul_(keep_m))
            v.index_copy_(0, part, second.mul_(keep_v))

    def update(
        self, p: Tensor, own: dict[str, Any], group: dict[str, Any], rows: Tensor,
        gradients: Tensor, keeps: list[Tensor] | None, lr: float, decay: tuple[float, float],
    ) -> None:  # fmt: skip
        """Take the step of the touched rows; `decay` is the decoupled and the coupled one."""
        own["step"] += 1
        gain_m, gain_v, size, root, eps, shrink, coupled, sign = self._constants(
            group, self.steps(own), lr, decay
        )
        theta, m, v = p.detach(), own["exp_avg"], own["exp_avg_sq"]
        if keeps is not None:
            keep_m, keep_v = (keep.to(theta.dtype).unsqueeze(-1) for keep in keeps)
        value = theta.index_select(0, rows)
        if sign != 1 or coupled:
            gradients = torch.add(sign * gradients, value, alpha=coupled)
        first, second = m.index_select(0, rows), v.index_select(0, rows)
        if keeps is not None:
            first.mul_(keep_m)
            second.mul_(keep_v)
        first.lerp_(gradients, gain_m)
        second.mul_(1 - gain_v).addcmul_(gradients, gradients, value=gain_v)
        m.index_copy_(0, rows, first)
        v.index_copy_(0, rows, second)
        root_v = second.sqrt_().div_(root).add_(eps)
        if shrink != 1:
            value.mul_(shrink)
        theta.index_copy_(0, rows, value.addcdiv_(first, root_v, value=-size))


class SGDRule:
    """SGD: the move that a row misses is along its momentum."""

    def check(self, group: dict[str, Any], mode: str) -> None:
        """Raise for settings that rows cannot follow."""
        if group.get("differentiable"):
            raise InputError(f"Lazy(mode={mode!r}) does not support SGD with differentiable=True")
        if mode == "deferred" and not 0 <= group["momentum"] < 1:
            raise InputError(
                f"mode='deferred' needs a momentum in [0, 1), got {group['momentum']!r}"
            )

    def prepare(self, p: Tensor, own: dict[str, Any], group: dict[str, Any]) -> None:
        """Make the base's state where it is missing."""
        if LAZY_STEP not in own:
            ours = dict(own)
            own.clear()
            momentum = ours.pop("momentum_buffer", None)
            if group["momentum"]:
                own["momentum_buffer"] = torch.zeros_like(p) if momentum is None else momentum
            # only that the first step is taken matters: rates and corrections do not depend on it
            own.update(ours)
            own[LAZY_STEP] = torch.tensor(int(momentum is not None))

    def steps(self, own: dict[str, Any]) -> int:
        """Return the number of steps that the table has taken."""
        return int(own[LAZY_STEP])

    def ratio(self, group: dict[str, Any]) -> float:
        """Return by what a missed move shrinks from step to step."""
        return float(group["momentum"])

    def coefficient(self, group: dict[str, Any], t: int, lr: float) -> float:
        """Return the length of a missed move at step t, before it shrinks."""
        return lr * (group["momentum"] if group["nesterov"] else 1.0)

    def keeps(self, group: dict[str, Any], gaps: Tensor) -> list[Tensor]:
        """Return what the momentum is multiplied by for steps without a gradient."""
        return [float(group["momentum"]) ** gaps]

    def native(self, p: Tensor, own: dict[str, Any]) -> bool:
        """Whether the loops in native code can take this table."""
        return False

    def catch_up(self, p: Tensor, own: dict[str, Any], rows: Tensor, missed: list[Tensor]) -> None:
        """Make up for missed steps: factor of the row, its move, factor of the momentum."""
        theta, m = p.detach(), own.get("momentum_buffer")
        columns = torch.stack(missed, 1).to(theta.dtype)
        for part, column in zip(rows.split(_BLOCK), columns.split(_BLOCK), strict=True):
            keep, move, keep_m = column.unsqueeze(-1).unbind(1)
            if m is None:
                theta[part] = keep * theta[part]
                continue
            theta[part] = keep * theta[part] - move * m[part]
            m[part] = keep_m * m[part]

    def update(
        self, p: Tensor, own: dict[str, Any], group: dict[str, Any], rows: Tensor,
        gradients: Tensor, keeps: list[Tensor] | None, lr: float, decay: tuple[float, float],
    ) -> None:  # fmt: skip
        """Take the step of the touched rows; `decay` is the decoupled and the coupled one."""
        first_step = self.steps(own) == 0
        own[LAZY_STEP] += 1
        theta, m = p.detach(), own.get("momentum_buffer")
        old = theta[rows]
        gradients = (-gradients if group["maximize"] else gradients) + decay[1] * old
        if m is not None:
            keep = 1.0 if keeps is None else keeps[0].to(theta.dtype).unsqueeze(-1)
            # as torch: the first gradient of a tensor is taken whole
            fresh = 1.0 if first_step else 1 - group["dampening"]
            momentum = keep * float(group["momentum"]) * m[rows] + fresh * gradients
            m[rows] = momentum
            nesterov = group["nesterov"]
            gradients = gradients + group["momentum"] * momentum if nesterov else momentum
        theta[rows] = (1 - lr * decay[0]) * old - lr * gradients


def rule_of(base: Optimizer) -> AdamRule | SGDRule | None:
    """Return the row rule of an optimizer, None where there is none."""
    if type(base) in (Adam, AdamW):
        return AdamRule()
    return SGDRule() if type(base) is SGD else None


def _compiled(*tensors: Tensor) -> bool:
    """Whether the loops in native code can take these tensors."""
    first = tensors[0]
    return first.dtype in (torch.float32, torch.float64) and all(
        t.device.type == "cpu" and t.dtype == first.dtype and t.is_contiguous() and t.dim() == 2
        for t in tensors
    )
