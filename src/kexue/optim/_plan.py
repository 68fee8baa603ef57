"""What a stack of add-ons amounts to on a given base, found out once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.optim import (
    LBFGS,
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    NAdam,
    Optimizer,
    RAdam,
    RMSprop,
    SparseAdam,
)

from kexue._core import InputError
from kexue.optim._lazy_rules import rule_of
from kexue.optim.accumulate import Accumulate
from kexue.optim.exponentiated_gradient import ExponentiatedGradient
from kexue.optim.layer_adaptation import LayerAdaptation
from kexue.optim.lazy import Lazy
from kexue.optim.lookahead import Lookahead
from kexue.optim.piecewise_linear import PiecewiseLinear
from kexue.optim.step_size_tuner import StepSizeTuner
from kexue.optim.weight_decay import WeightDecay

# in the order in which they act within an update
ADDONS = (
    Accumulate, PiecewiseLinear, WeightDecay, StepSizeTuner, LayerAdaptation, Lazy, Lookahead,
)  # fmt: skip

# whose move is proportional to the rate and, without a weight decay of their own, does not depend
# on the parameters; of other classes, derived ones too, nothing is known
_PLAIN = (Adadelta, Adagrad, Adam, Adamax, AdamW, NAdam, RAdam, RMSprop, SGD, SparseAdam)


@dataclass(frozen=True)
class Plan:
    """How each add-on is carried out.

    Attributes
    ----------
    accumulate, schedule, decay, tuner, adaptation, lazy, lookahead
        The add-ons, None where absent.
    folded_decay : bool
        The base decays by itself, with the rates set in its groups.
    blind : bool
        The base's move does not depend on the parameters: they can be shrunk before the step.
    linear : bool
        The base's move is proportional to its rate, which the schedule scales.
    rows : bool
        Rows of lazy tables are updated by a rule of their own.
    whole_step : bool
        The base evaluates the loss itself.
    native_decay : bool
        The base's own decay is decoupled, whatever its groups say.
    """

    accumulate: Accumulate | None
    schedule: PiecewiseLinear | None
    decay: WeightDecay | None
    tuner: StepSizeTuner | None
    adaptation: LayerAdaptation | None
    lazy: Lazy | None
    lookahead: Lookahead | None
    folded_decay: bool
    blind: bool
    linear: bool
    rows: bool
    whole_step: bool
    native_decay: bool

    @property
    def copies_all(self) -> bool:
        """Whether every parameter's value before the step is needed."""
        late_decay = self.decay is not None and not (self.folded_decay or self.blind)
        late_schedule = self.schedule is not None and not self.linear
        return late_decay or late_schedule or self.tuner is not None

    def decoupled(self, group: dict[str, Any]) -> bool:
        """Whether the ``weight_decay`` of a group is decoupled."""
        return self.native_decay or bool(group.get("decoupled_weight_decay"))

    def lines(self) -> list[str]:
        """Return what is done, in order, a line for each add-on."""
        how = []
        if self.accumulate:
            how.append(f"{self.accumulate}")
        if self.schedule:
            how.append(f"{self.schedule}: {'scales lr' if self.linear else 'scales the move'}")
        if self.decay:
            way = "after the step"
            if self.folded_decay:
                way = "by the base itself"
            elif self.blind:
                way = "before the step"
            how.append(f"{self.decay}: {way}")
        if self.tuner:
            how.append(f"{self.tuner}")
        if self.adaptation:
            how.append(f"{self.adaptation}")
        if self.lazy:
            how.append(f"{self.lazy}: {'row by row' if self.rows else 'masks the whole step'}")
        if self.lookahead:
            how.append(f"{self.lookahead}")
        return how


def make_plan(base: Optimizer, addons: tuple[Any, ...]) -> Plan:
    """Check that the add-ons fit the base and one another, and return the plan."""
    by_class: dict[type, Any] = {}
    for addon in addons:
        if type(addon) not in ADDONS:
            allowed = ", ".join(kind.__name__ for kind in ADDONS)
            hint = " (give an instance)" if isinstance(addon, type) else ""
            raise InputError(f"add-ons must be among {allowed}, got {addon!r}{hint}")
        if type(addon) in by_class:
            raise InputError(f"{type(addon).__name__} must be given at most once")
        by_class[type(addon)] = addon
    accumulate, schedule, decay, tuner, adaptation, lazy, lookahead = map(by_class.get, ADDONS)
    plain = type(base) in _PLAIN
    folded = type(base) is AdamW or (plain and "decoupled_weight_decay" in base.defaults)
    plan = Plan(
        accumulate, schedule, decay, tuner, adaptation, lazy, lookahead,
        folded_decay=folded,
        blind=plain,
        # its rate lies within an exponential: a move that is stretched would leave its domain
        linear=plain or type(base) is ExponentiatedGradient,
        # the trust ratio is of whole tensors; the two other modes know rows only
        rows=rule_of(base) is not None
        and (adaptation is None or (lazy is not None and lazy.mode != "masked")),
        whole_step=isinstance(base, LBFGS),
        native_decay=type(base) is AdamW,
    )  # fmt: skip
    _check_fit(plan, base)
    return plan


def check_group(plan: Plan, group: dict[str, Any]) -> None:
    """Raise for a group of the base that an add-on cannot work with."""
    if "lr" not in group:
        raise InputError(f"groups must have an lr, got one with {sorted(group)}")
    own = group.get("weight_decay", 0)
    coupled = bool(own) and not plan.decoupled(group)
    if coupled and plan.decay is not None:
        raise InputError(
            f"the base has weight_decay={own:g} of its own; set it to 0 beside WeightDecay"
        )
    if coupled and plan.lazy is not None and plan.rows and plan.lazy.mode != "frozen":
        raise InputError(
            f"the base has weight_decay={own:g} in its gradients, which rows that are not touched "
            f"cannot follow with mode={plan.lazy.mode!r}; take WeightDecay instead"
        )


def fold_decay(
    groups: list[dict[str, Any]], rate: float, undecayed: set[Tensor]
) -> list[dict[str, Any]]:
    """Return the groups with the decay set, split where only some parameters are decayed."""
    found = []
    for group in groups:
        params = group["params"]
        parts: dict[bool, list[int]] = {}
        for i, p in enumerate(params):
            parts.setdefault(p not in undecayed, []).append(i)
        for decayed, members in sorted(parts.items(), reverse=True):
            part = group if len(parts) == 1 else dict(group)
            if part is not group:
                part["params"] = [params[i] for i in members]
                if "param_names" in group:
                    part["param_names"] = [group["param_names"][i] for i in members]
                if isinstance(group["lr"], Tensor):
                    part["lr"] = group["lr"].clone()
            part["weight_decay"] = rate if decayed else 0.0
            if "decoupled_weight_decay" in part:
                part["decoupled_weight_decay"] = True
            found.append(part)
    return found


def _check_fit(plan: Plan, base: Optimizer) -> None:
    if plan.whole_step and plan.accumulate is not None:
        raise InputError("LBFGS evaluates the loss several times a step: it cannot Accumulate")
    if plan.whole_step and plan.tuner is not None:
        raise InputError("LBFGS evaluates the loss several times a step: no StepSizeTuner fits it")
    if plan.lazy is not None and plan.lazy.mode != "masked":
        mode = plan.lazy.mode
        if rule_of(base) is None:
            raise InputError(
                f"Lazy(mode={mode!r}) has no row rule for {type(base).__name__}; "
                "take Adam, AdamW or SGD, or mode='masked'"
            )
