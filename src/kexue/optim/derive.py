"""Derived optimizers: an optimizer of torch with add-ons around its step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from kexue._core import InputError
from kexue.optim import accumulate
from kexue.optim._names import matching, warn_if_idle
from kexue.optim._plan import check_group, fold_decay, make_plan
from kexue.optim._reduction import Reduction
from kexue.optim._state import (
    COUNTERS,
    GAIN,
    MICRO_STEPS,
    SKIPPED,
    SLOW,
    TUNER_COUNTERS,
    UPDATES,
    WEIGHT,
    params_of,
    restore,
)
from kexue.optim._update import Update, uncompiled
from kexue.optim.step_size_tuner import prepare as prepare_tuner
from kexue.optim.step_size_tuner import scale_of


def derive(
    base: Optimizer,
    *addons: Any,
    named_parameters: Iterable[tuple[str, Tensor]] | Mapping[str, Tensor] | None = None,
) -> Derived:
    """Return `base` with add-ons around its step, as an optimizer.

    Parameters
    ----------
    base : Optimizer
        Any; its groups and its state stay in use.
    *addons
        Of `Accumulate`, `PiecewiseLinear`, `WeightDecay`, `StepSizeTuner`, `LayerAdaptation`,
        `Lazy` and `Lookahead` each at most once. They act in this order, whatever the order of
        the arguments.
    named_parameters : iterable of (str, Tensor), optional
        What the regular expressions of the add-ons look for; without it, the names that the base
        was built with, if it was.

    Raises
    ------
    TypeError
        If `base` is not an optimizer.
    InputError
        For an add-on that is unknown, given twice or does not fit the base, and for a regular
        expression where names are not known.

    Warns
    -----
    UserWarning
        If a regular expression is found in no name.

    Examples
    --------
    >>> from kexue.optim import Accumulate, Lookahead, WeightDecay
    >>> model = torch.nn.Linear(3, 1)
    >>> optimizer = derive(
    ...     torch.optim.AdamW(model.parameters(), lr=0.1),
    ...     WeightDecay(0.01), Accumulate(2), Lookahead(5),
    ...     named_parameters=model.named_parameters(),
    ... )
    >>> optimizer
    Derived(AdamW, updates=0)
      Accumulate(steps=2)
      WeightDecay(rate=0.01, exclude='bias|norm'): by the base itself
      Lookahead(k=5, alpha=0.5, momentum='keep')
    >>> for _ in range(4):
    ...     model(torch.ones(2, 3)).sum().backward()
    ...     optimizer.step()
    ...     optimizer.zero_grad()
    >>> optimizer.updates
    2

    References
    ----------
    kexue.fm, archives/7094 and archives/6869.
    """
    if not isinstance(base, Optimizer):
        raise TypeError(f"base must be a torch.optim.Optimizer, got {type(base).__name__}")
    if isinstance(base, Derived):
        raise TypeError("base must not be derived itself; give all add-ons to one derive()")
    plan = make_plan(base, addons)
    for group in base.param_groups:
        check_group(plan, group)
    names = _names_of(base.param_groups)
    if isinstance(named_parameters, Mapping):
        names.update((p, name) for name, p in named_parameters.items())
    elif named_parameters is not None:
        names.update((p, name) for name, p in named_parameters)
    for addon in (plan.decay, plan.adaptation):
        if addon is not None:
            of = f"{type(addon).__name__}(exclude)"
            warn_if_idle(addon.exclude, matching(addon.exclude, params_of(base), names, of), of)
    if plan.decay is not None and plan.folded_decay:
        undecayed = matching(plan.decay.exclude, params_of(base), names, "WeightDecay(exclude)")
        base.param_groups[:] = fold_decay(base.param_groups, plan.decay.rate, undecayed)
    return Derived(base, addons, names)


class Derived(Optimizer):
    """An optimizer with add-ons; made by `derive`.

    ``param_groups`` and ``state`` are the base's own objects. Counters lie in the groups and
    tensors in the state, so that ``state_dict`` has torch's ordinary form, which a bare base can
    read too.

    Attributes
    ----------
    base : Optimizer
    updates : int
        Updates of the parameters so far.
    will_step : bool
        Whether the next `step` updates the parameters, or only accumulates.
    reduced : bool
        Set it where gradients have been summed over processes by the time of `step`, as
        `kexue.training` does, rather than within the backward pass.
    scale, scales_, skipped_ : float, list of float, int
        Of `StepSizeTuner`: the scale, that of each group, and the updates that were skipped.
    """

    def __init__(self, base: Optimizer, addons: tuple[Any, ...], names: dict[Tensor, str]) -> None:
        # torch's own constructor would make groups and state anew; `_start` calls the part of it
        # that makes hooks
        self._start(base, addons, names)

    def _start(self, base: Optimizer, addons: tuple[Any, ...], names: dict[Tensor, str]) -> None:
        self.base, self._addons, self._names = base, addons, names
        super().__setstate__({})
        self._plan = make_plan(base, addons)
        self._update = Update(base, self._plan, names)
        self._reduction: Reduction | None = None
        self._announced: float | None = None
        self._swapped = False
        self.reduced = False
        self._count()

    # --- what makes it an optimizer

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Groups of the base."""
        return self.base.param_groups

    @param_groups.setter
    def param_groups(self, groups: list[dict[str, Any]]) -> None:
        self.base.param_groups = groups

    @property
    def state(self) -> Any:
        """State of the base."""
        return self.base.state

    @state.setter
    def state(self, state: Any) -> None:
        self.base.state = state

    @property
    def defaults(self) -> dict[str, Any]:
        """Defaults of the base."""
        return self.base.defaults

    @defaults.setter
    def defaults(self, defaults: dict[str, Any]) -> None:
        self.base.defaults = defaults

    @property
    def _step_supports_amp_scaling(self) -> bool:
        # a fused base has True: it would be handed scaled gradients, which must not be mixed.
        # Only a GradScaler asks, before each step
        if self._reduction is not None:
            self._reduction.scaled = True
        return False

    def __getstate__(self) -> dict[str, Any]:
        # rows that are behind stay so: the layers may have been copied before us
        return {
            "base": self.base,
            "addons": self._addons,
            "names": self._names,
            "past": [(table.history, table.dense) for table in self._tables()],
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._start(state["base"], state["addons"], state["names"])
        for table, past in zip(self._tables(), state["past"], strict=True):
            table.history, table.dense = past

    def __repr__(self) -> str:
        title = f"Derived({type(self.base).__name__}, updates={self.updates})"
        return "\n  ".join([title, *self._plan.lines()])

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters, as pairs with their names where a rule of an add-on looks at names."""
        given = param_group["params"]
        members = [given] if isinstance(given, Tensor) else list(given)
        if members and isinstance(members[0], tuple):
            self._names.update((p, name) for name, p in members)
            if not any("param_names" in group for group in self.param_groups):
                members = [p for _, p in members]
        plan, groups = self._plan, self.param_groups
        group = {**param_group, "params": members}
        check_group(plan, {**self.defaults, **group})
        before = len(groups)
        self.base.add_param_group(group)
        try:
            self._update.exclude()
        except InputError:
            del groups[before:]
            raise
        added = groups[before:]
        if plan.decay is not None and plan.folded_decay:
            added = fold_decay(added, plan.decay.rate, self._update.undecayed)
        for part in added:
            part.update({key: groups[0][key] for key in COUNTERS})
        groups[before:] = added
        self._count()

    @torch._disable_dynamo
    def state_dict(self) -> dict[str, Any]:
        """Return the state in torch's form; deferred rows are brought up to date first."""
        self._settle()
        for before in self._optimizer_state_dict_pre_hooks.values():
            before(self)
        found = self.base.state_dict()
        for after in self._optimizer_state_dict_post_hooks.values():
            changed = after(self, found)
            found = found if changed is None else changed
        return found

    @torch._disable_dynamo
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the state of a `state_dict` over, of a derived optimizer or of a bare base."""
        for before in self._optimizer_load_state_dict_pre_hooks.values():
            changed = before(self, state_dict)
            state_dict = state_dict if changed is None else changed
        self.base.load_state_dict(state_dict)
        restore(self.base, state_dict)
        self._count()
        if self._update.tables is not None:
            self._update.tables.forget()
        for done in self._optimizer_load_state_dict_post_hooks.values():
            done(self)

    def _count(self) -> None:
        """Give groups the counters that they lack."""
        counters = COUNTERS if self._plan.tuner is None else {**COUNTERS, **TUNER_COUNTERS}
        for group in self.param_groups:
            for key, value in counters.items():
                group.setdefault(key, value)

    # --- stepping

    @property
    def updates(self) -> int:
        """Number of updates so far."""
        return int(self.param_groups[0][UPDATES])

    @property
    def will_step(self) -> bool:
        """Whether the next `step` updates the parameters."""
        addon = self._plan.accumulate
        if addon is None:
            return True
        return bool(self.param_groups[0][MICRO_STEPS] + 1 >= addon.window(self.updates))

    def announce(self, weight: float) -> None:
        """Tell the weight of the next micro-batch before its backward pass.

        Needed only where gradients are reduced over processes during that pass.
        """
        self._announced = accumulate.check_weight(weight)

    @uncompiled
    def step(self, closure: Callable[[], Any] | None = None, *, weight: float | None = None) -> Any:
        """Take one step, or add one micro-batch to the window of `Accumulate`.

        Parameters
        ----------
        closure : function, optional
            Evaluates the loss and its gradients.
        weight : float >= 0, optional
            Of this micro-batch, as its number of tokens; 1 by default.

        Returns
        -------
        What the closure returns.
        """
        if self._swapped:
            raise RuntimeError("step() within slow_weights() would be lost; leave the block first")
        if weight is not None:
            weight = accumulate.check_weight(weight)
        with torch.no_grad():
            if self._is_rehearsal():
                self._rehearse()
                return None
            if self._plan.whole_step:
                return self._update.run(closure)
            loss = None
            if closure is not None:
                with torch.enable_grad():
                    loss = closure()
            if self._plan.accumulate is None:
                self._update.run(None)
            else:
                ends = self.will_step
                self._take_in(weight)
                if ends:
                    self._close_window()
            return loss

    @torch._disable_dynamo
    def finish_window(self) -> bool:
        """Update with the gradients of a window that is not full; return whether there were any."""
        if self.param_groups[0][MICRO_STEPS] == 0:
            return False
        with torch.no_grad():
            self._close_window()
        return True

    @torch._disable_dynamo
    def flush(self) -> None:
        """Bring all rows of lazy tables up to date, before their weights are read or written."""
        if self._update.tables is not None and not self._swapped:
            with torch.no_grad():
                self._update.tables.flush()

    @contextmanager
    def slow_weights(self) -> Iterator[None]:
        """Give the parameters the slow weights of `Lookahead` for the length of a block.

        Raises
        ------
        InputError
            Without `Lookahead`.
        """
        if self._plan.lookahead is None:
            raise InputError("slow_weights() needs the add-on Lookahead")
        self._settle()
        known = [p for p in params_of(self.base) if SLOW in self.state.get(p, ())]
        fast = [p.detach().clone() for p in known]
        with torch.no_grad():
            for p in known:
                p.copy_(self.state[p][SLOW])
        self._swapped = True
        try:
            yield
        finally:
            self._swapped = False
            with torch.no_grad():
                for p, value in zip(known, fast, strict=True):
                    p.copy_(value)

    @property
    def scale(self) -> float:
        """Scale of the rate that `StepSizeTuner` has learned, of the first group."""
        return self.scales_[0]

    @property
    def scales_(self) -> list[float]:
        """Scale of each group."""
        self._need_tuner("scales_")
        return [scale_of(group) for group in self.param_groups]

    @property
    def skipped_(self) -> int:
        """Number of updates that were skipped for a gradient that was not finite."""
        self._need_tuner("skipped_")
        return int(self.param_groups[0][SKIPPED])

    def gains(self, p: Tensor) -> Tensor:
        """Return the gains of a parameter, of its shape: 1 before its first update."""
        self._need_tuner("gains()")
        found = self.state.get(p, {}).get(GAIN)
        return torch.ones_like(p) if found is None else found

    def _need_tuner(self, what: str) -> None:
        if self._plan.tuner is None:
            raise InputError(f"{what} needs the add-on StepSizeTuner")

    @torch._disable_dynamo
    def _take_in(self, weight: float | None) -> None:
        """Add the gradients to the window."""
        if self._reduction is None and not self.reduced:
            self._reduction = Reduction.where_needed(self)
        joined = self._reduction.end(weight) if self._reduction is not None else set()
        if weight is None:
            weight = 1.0 if self._announced is None else self._announced
        self._announced = None
        first, params, tables = self.param_groups[0], params_of(self.base), self._update.tables
        total = first[WEIGHT] + weight
        if tables is not None:
            tables.keep_rows()
        if first[MICRO_STEPS] == 0:
            accumulate.begin(params, self.state)
        if joined:
            accumulate.adopt([p for p in params if p in joined], self.state)
            params = [p for p in params if p not in joined]
        accumulate.take_in(params, self.state, weight / total if total else 0.0)
        for group in self.param_groups:
            group[MICRO_STEPS] += 1
            group[WEIGHT] = total

    @uncompiled
    def _close_window(self) -> None:
        """Update with the mean, and begin a new window."""
        accumulate.give_back(params_of(self.base), self.state)
        self._update.run(None)
        for group in self.param_groups:
            group[MICRO_STEPS] = 0
            group[WEIGHT] = 0.0

    def _settle(self) -> None:
        if not self._swapped:
            self._update.settle()

    def _tables(self) -> list[Any]:
        tables = self._update.tables
        return [] if tables is None else list(tables.tables.values())

    @torch._disable_dynamo
    def _is_rehearsal(self) -> bool:
        """Whether this call only has to make the state.

        ``torch.distributed.checkpoint`` steps a fresh optimizer with all rates 0 and all
        gradients 0 for that. Counted as a step, it would open a window.
        """
        groups = self.param_groups
        return (
            not self.state
            and self.updates == 0
            and all(type(group["lr"]) is float and group["lr"] == 0 for group in groups)
            and all(p.grad is not None or not p.requires_grad for p in params_of(self.base))
        )

    @torch._disable_dynamo
    def _rehearse(self) -> None:
        plan, update, params = self._plan, self._update, params_of(self.base)
        if plan.lookahead is not None:
            update.begin_slow()
        if plan.accumulate is not None:
            accumulate.take_in(params, self.state, 1.0)
            accumulate.give_back(params, self.state)
        if update.tables is not None:
            update.tables.prepare()
        if plan.tuner is not None:
            prepare_tuner(plan.tuner, params, self.state)
        update.base_step(None)


def _names_of(groups: list[dict[str, Any]]) -> dict[Tensor, str]:
    """Return the names that torch knows."""
    return {
        p: name
        for group in groups
        for p, name in zip(group["params"], group.get("param_names", ()), strict=False)
    }
