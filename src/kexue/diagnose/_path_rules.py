"""How optimizers make their move of past gradients, read from their groups and state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW

from kexue.diagnose._flat import Layout
from kexue.diagnose._path_store import Step

# By how much a move may differ from what the rule says, as a share of it: float32 rounds
_TOLERANCE = 2e-3


@dataclass
class Rule:
    """Reads the terms of `Step` off an optimizer around its step, and checks them.

    Attributes
    ----------
    scaled : bool
        Whether entries of a parameter move at rates of their own.
    """

    scaled: bool
    _rates: list[float] = field(default_factory=list)
    _groups: list[dict[str, Any]] = field(default_factory=list)
    _momentum: float = 0.0

    def before(
        self,
        base: torch.optim.Optimizer,
        parameters: Sequence[Tensor],
        layout: Layout,
        mark: Tensor,
    ) -> None:
        """Note the groups as the base is about to use them, and the momentum so far."""
        by_parameter = {id(p): group for group in base.param_groups for p in group["params"]}
        self._groups = [dict(by_parameter[id(p)]) for p in parameters]
        self._momentum = (self._buffer(base, parameters, layout) @ mark).item()
        self._first = not any(_momentum(base.state.get(p, {})) is not None for p in parameters)

    def after(
        self,
        base: torch.optim.Optimizer,
        parameters: Sequence[Tensor],
        layout: Layout,
        mark: Tensor,
        step: Step,
        shrunk: list[float],
        gradient: Tensor,
        before: Tensor,
        moved: Tensor,
        first: bool,
    ) -> Tensor | None:
        """Fill in `step`; return D up to the rate, where entries differ."""
        groups = self._groups
        adaptive = isinstance(base, Adam)
        scale = self._scale(base, parameters, layout) if adaptive else None
        if first and self._momentum:
            return scale  # it remembers gradients from before the path
        step.decay, step.coupled, step.rate = [], [], []
        for group, share in zip(groups, shrunk, strict=True):
            lr, decay = float(group["lr"]), float(group["weight_decay"])
            decoupled = isinstance(base, AdamW) or bool(group.get("decoupled_weight_decay"))
            step.decay.append(share + (1 - share) * lr * decay if decoupled else share)
            step.coupled.append(0.0 if decoupled else decay)
            step.rate.append(lr)
        terms = [_terms(base, group, self._first) for group in groups]
        if any(term != terms[0] for term in terms):
            return scale  # parameters with a momentum each; not of the form
        step.momentum, step.intake, step.through, step.direct = terms[0]
        rate = layout.spread(step.rate, torch.float64)
        divided = rate if scale is None else rate * scale
        buffer = self._buffer(base, parameters, layout)
        # a base that decays by its gradients decays in no other way
        full = gradient + layout.spread(step.coupled, torch.float64) * before
        if not step.momentum and not adaptive:
            buffer = full
        expected = -divided * (step.through * buffer + step.direct * full)
        expected = expected - layout.spread(step.decay, torch.float64) * before
        move = moved - before
        rounding = 4 * torch.finfo(parameters[0].dtype).eps * before.norm()
        follows = (move - expected).norm() <= _TOLERANCE * move.norm() + rounding
        told = step.momentum * self._momentum + step.intake * (full @ mark).item()
        size = buffer.norm().item() + abs(told)
        linear = abs((buffer @ mark).item() - told) <= _TOLERANCE * size
        step.known = bool(follows) and linear
        return scale

    def _buffer(
        self, base: torch.optim.Optimizer, parameters: Sequence[Tensor], layout: Layout
    ) -> Tensor:
        return layout.gather((_momentum(base.state.get(p, {})) for p in parameters), torch.float64)

    def _scale(
        self, base: torch.optim.Optimizer, parameters: Sequence[Tensor], layout: Layout
    ) -> Tensor:
        """Return 1 / ((1 - beta1^t) (sqrt(v / (1 - beta2^t)) + eps)), entry by entry."""
        parts: list[Tensor | None] = []
        for p, group in zip(parameters, self._groups, strict=True):
            state = base.state.get(p, {})
            if "exp_avg_sq" not in state:
                parts.append(None)  # it has had no gradient yet, and does not move
                continue
            first, second = group["betas"]
            t = float(state["step"])
            square = state["max_exp_avg_sq" if group["amsgrad"] else "exp_avg_sq"].double()
            denominator = (square / (1 - second**t)).sqrt() + group["eps"]
            parts.append(1 / ((1 - first**t) * denominator))
        return layout.gather(parts, torch.float64)


def rule_of(base: torch.optim.Optimizer) -> Rule | None:
    """Return the rule of an optimizer, None where it is not known."""
    if type(base) not in (SGD, Adam, AdamW):
        return None
    if any(group["maximize"] for group in base.param_groups):
        return None
    return Rule(scaled=isinstance(base, Adam))


def _momentum(state: dict[str, Any]) -> Tensor | None:
    found = state.get("momentum_buffer", state.get("exp_avg"))
    return found if isinstance(found, Tensor) else None


def _terms(
    base: torch.optim.Optimizer, group: dict[str, Any], first: bool
) -> tuple[float, float, float, float]:
    """Return b, c, p and q."""
    if isinstance(base, Adam):
        beta = float(group["betas"][0])
        return beta, 1 - beta, 1.0, 0.0
    momentum = float(group["momentum"])
    if not momentum:
        return 0.0, 1.0, 1.0, 0.0
    # torch begins the buffer as the first gradient itself
    intake = 1.0 if first else 1 - float(group["dampening"])
    return (momentum, intake, momentum, 1.0) if group["nesterov"] else (momentum, intake, 1.0, 0.0)
