"""One update of the parameters, as the plan has it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from kexue.optim import layer_adaptation, lookahead, step_size_tuner, weight_decay
from kexue.optim._lazy_rules import rule_of
from kexue.optim._lazy_tables import LazyTables, Work
from kexue.optim._names import matching
from kexue.optim._plan import Plan
from kexue.optim._state import GAIN, MOVE, SKIPPED, UPDATES, out_of_sight, params_of

# Under torch.compile(optimizer.step) these frames run as they are, and what they call is compiled:
# the base's step, and the pull of Lookahead. Counters would else be a new graph at each step.
uncompiled = partial(torch._disable_dynamo, recursive=False)


try:
    from torch._C._dynamo.eval_frame import get_eval_frame_callback
except ImportError:  # another release of torch
    get_eval_frame_callback = None  # type: ignore[assignment]


class Update:
    """Carries the plan out on a base.

    Attributes
    ----------
    tables : LazyTables or None
    undecayed, unadapted : set of Tensor
        Parameters that `WeightDecay` and `LayerAdaptation` leave out.
    """

    def __init__(self, base: Optimizer, plan: Plan, names: dict[Tensor, str]) -> None:
        self.base = base
        self.plan = plan
        self.names = names
        self.tables: LazyTables | None = None
        self._buffers: dict[Tensor, Tensor] = {}
        self._ratios: dict[Tensor, Tensor] = {}  # of the last update
        self.exclude()
        if plan.lazy is not None:
            rule = rule_of(base) if plan.rows else None
            self.tables = LazyTables(plan.lazy, base, names, rule)

    def exclude(self) -> None:
        """Find out which parameters the add-ons leave out."""
        plan, params = self.plan, params_of(self.base)
        self.undecayed: set[Tensor] = set()
        self.unadapted: set[Tensor] = set()
        if plan.decay is not None:
            rule = plan.decay.exclude
            self.undecayed = matching(rule, params, self.names, "WeightDecay(exclude)")
        if plan.adaptation is not None:
            rule = plan.adaptation.exclude
            self.unadapted = matching(rule, params, self.names, "LayerAdaptation(exclude)")

    @uncompiled
    def run(self, closure: Callable[[], Any] | None) -> Any:
        """Update the parameters from their gradients; return what the base returns."""
        plan, groups = self.plan, self.base.param_groups
        if plan.lookahead is not None:
            self.begin_slow()
        works = self.tables.begin() if self.tables is not None else []
        try:
            moving = [[p for p in g["params"] if self._moves(p)] for g in groups]
            if self._is_skipped(moving):
                return None
            factors = self._factors()
            copies = self._copy(moving, works)
            with self._rates(factors if plan.linear else [1.0] * len(groups)):
                self._shrink(moving)
                found = self.base_step(closure)
                late = [1.0] * len(groups) if plan.linear else factors
                self._reshape(moving, copies, late)
                self._finish(works, copies, late)
                self._remember(moving, late)
        finally:
            for work in works:
                work.table.p.grad = work.gradient
        for group in groups:
            group[UPDATES] += 1
        if plan.lookahead is not None and groups[0][UPDATES] % plan.lookahead.k == 0:
            self._pull()
        return found

    @uncompiled
    def base_step(self, closure: Callable[[], Any] | None) -> Any:
        """Step the base alone."""
        with out_of_sight(self.base, compiled=_is_compiled()):
            try:
                return self.base.step() if closure is None else self.base.step(closure)
            except RuntimeError as error:
                self._explain(error)
                raise

    @torch._disable_dynamo
    def begin_slow(self) -> None:
        """Start the slow weights of parameters that are about to make their first move."""
        lookahead.begin([p for p in params_of(self.base) if self._moves(p)], self.base.state)

    @torch._disable_dynamo
    def settle(self) -> None:
        """Bring the weights of all rows up to date."""
        if self.tables is not None:
            with torch.no_grad():
                self.tables.flush(moments=False)

    # --- parts of an update, in their order

    def _moves(self, p: Tensor) -> bool:
        """Whether the step at hand may move a parameter."""
        return p.requires_grad if self.plan.whole_step else p.grad is not None

    @torch._disable_dynamo
    def _is_skipped(self, moving: list[list[Tensor]]) -> bool:
        """Let the tuner learn; return whether its gradients forbid a step."""
        if self.plan.tuner is None:
            return False
        groups = self.base.param_groups
        if step_size_tuner.learn(self.plan.tuner, groups, moving, self.base.state):
            return False
        for group in groups:
            group[SKIPPED] += 1
        return True

    @torch._disable_dynamo
    def _factors(self) -> list[float]:
        """Return what the rate of each group is multiplied by."""
        plan, groups = self.plan, self.base.param_groups
        shared = 1.0
        if plan.schedule is not None:
            shared = plan.schedule.multiplier(groups[0][UPDATES])
        if plan.tuner is None:
            return [shared] * len(groups)
        return [shared * step_size_tuner.scale_of(group) for group in groups]

    @torch._disable_dynamo
    def _copy(self, moving: list[list[Tensor]], works: list[Work]) -> dict[Tensor, Tensor]:
        """Return what the parameters are before the step, of those where it is needed."""
        plan, state = self.plan, self.base.state
        wanted = {work.table.p: None for work in works if work.values is None}
        for params in moving:
            if plan.copies_all:
                wanted.update(dict.fromkeys(params))
            elif plan.adaptation is not None:
                wanted.update(dict.fromkeys(p for p in params if p not in self.unadapted))
        if not wanted:
            return {}
        copies = {}
        for p in wanted:
            # the tuner's memory of the last move has served by now
            held = state[p] if plan.tuner is not None else self._buffers
            key: Any = MOVE if plan.tuner is not None else p
            if key not in held:
                held[key] = torch.empty_like(p)
            copies[p] = held[key]
        torch._foreach_copy_(list(copies.values()), list(copies))
        return copies

    @torch._disable_dynamo
    @contextmanager
    def _rates(self, factors: list[float]) -> Iterator[None]:
        """Scale the rates of the groups for the length of a block."""
        groups = self.base.param_groups
        rates = [group["lr"] for group in groups]
        for group, factor in zip(groups, factors, strict=True):
            if factor != 1:
                group["lr"] = group["lr"] * factor
        try:
            yield
        finally:
            for group, rate in zip(groups, rates, strict=True):
                group["lr"] = rate

    @torch._disable_dynamo
    def _shrink(self, moving: list[list[Tensor]]) -> None:
        """Decay before a step that does not read the parameters."""
        plan = self.plan
        if plan.decay is None or plan.folded_decay or not plan.blind:
            return
        for group, params in zip(self.base.param_groups, moving, strict=True):
            decayed = [p for p in params if p not in self.undecayed]
            if decayed:
                weight_decay.shrink(decayed, group["lr"], plan.decay.rate)

    @torch._disable_dynamo
    def _reshape(
        self, moving: list[list[Tensor]], copies: dict[Tensor, Tensor], late: list[float]
    ) -> None:
        """Change the moves that the base has made; `late` are factors that it does not know."""
        plan, state = self.plan, self.base.state
        late_decay = plan.decay is not None and not (plan.folded_decay or plan.blind)
        gains = plan.tuner is not None and plan.tuner.gain_rate > 0
        for group, params, factor in zip(self.base.param_groups, moving, late, strict=True):
            decayed = [p for p in params if p not in self.undecayed] if late_decay else []
            if decayed:
                assert plan.decay is not None
                before = [copies[p] for p in decayed]
                weight_decay.decay_from(decayed, before, group["lr"], plan.decay.rate)
            if factor != 1 and params:
                torch._foreach_lerp_(params, [copies[p] for p in params], 1 - factor)
            if gains:
                for p in params:
                    torch.lerp(copies[p], p, state[p][GAIN].to(p.dtype), out=p.data)
            adapted = []
            if plan.adaptation is not None:
                adapted = [p for p in params if p not in self.unadapted]
            if adapted:
                assert plan.adaptation is not None
                before = [copies[p] for p in adapted]
                rate = group["lr"] * factor
                clip, eta = plan.adaptation.clip, plan.adaptation.eta
                ratios = layer_adaptation.adapt(adapted, before, rate, clip, eta)
                self._ratios.update(zip(adapted, ratios, strict=True))

    @torch._disable_dynamo
    def _finish(self, works: list[Work], copies: dict[Tensor, Tensor], late: list[float]) -> None:
        """Update the rows of tables, or put those back that were not touched."""
        if not works:
            return
        groups = self.base.param_groups
        factors = {id(group): factor for group, factor in zip(groups, late, strict=True)}
        for work in works:
            p, group = work.table.p, work.group
            if work.values is None:
                moved = p.detach()[work.rows]
                p.copy_(copies[p])
                p[work.rows] = moved
                continue
            assert self.tables is not None
            rate = float(group["lr"]) * factors[id(group)]
            self.tables.update(work, rate, self._decay_of(p, group))

    def _decay_of(self, p: Tensor, group: dict[str, Any]) -> tuple[float, float]:
        """Return the decoupled and the coupled decay of a parameter."""
        own = float(group.get("weight_decay", 0))
        if self.plan.decoupled(group):
            return own, 0.0
        if self.plan.decay is None or p in self.undecayed:
            return 0.0, own
        return self.plan.decay.rate, 0.0

    @torch._disable_dynamo
    def _remember(self, moving: list[list[Tensor]], late: list[float]) -> None:
        """Keep the moves for the tuner, without the part that is decay."""
        if self.plan.tuner is None:
            return
        for group, params, factor in zip(self.base.param_groups, moving, late, strict=True):
            for p in params:
                own = self.base.state[p]
                decay = group["lr"] * factor * self._decay_of(p, group)[0]
                if decay and p in self._ratios:
                    decay = decay * self._ratios[p]
                step_size_tuner.remember(p, own, decay)

    @uncompiled
    def _pull(self) -> None:
        """Draw slow weights and parameters together."""
        assert self.plan.lookahead is not None
        self.settle()
        lookahead.pull_all(params_of(self.base), self.base.state, self.plan.lookahead)

    def _explain(self, error: RuntimeError) -> None:
        """Name the parameters whose gradients the base does not take."""
        params = params_of(self.base)
        sparse = [p for p in params if p.grad is not None and p.grad.is_sparse]
        if sparse and "sparse" in str(error):
            names = ", ".join(self.names.get(p, f"shape {tuple(p.shape)}") for p in sparse)
            error.add_note(f"sparse gradients: {names}; the add-on Lazy takes them")


def _is_compiled() -> bool:
    """Whether torch.compile is at work on the frames that the caller calls."""
    return get_eval_frame_callback is None or get_eval_frame_callback() not in (None, False)
