"""The tables of a `Lazy` optimizer at work: which rows were touched, and what they missed."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from kexue._core import InputError
from kexue.optim._lazy_history import History
from kexue.optim._lazy_kernels import DEFERRED, FROZEN, MASKED
from kexue.optim._lazy_rules import AdamRule, Past, SGDRule
from kexue.optim._names import matching
from kexue.optim._state import ROW_STEP, TOUCHED, params_of
from kexue.optim.lazy import Lazy

_MODES = {"frozen": FROZEN, "masked": MASKED, "deferred": DEFERRED}
_NOTHING = np.zeros(1)
_PROBES = 8  # untouched rows that are looked at for a gradient from elsewhere


class Work(NamedTuple):
    """What one table has to do at an update."""

    table: Table
    group: dict[str, Any]
    gradient: Tensor  # as it stood in p.grad
    rows: Tensor  # int64; of a sparse gradient as they stand there, some maybe twice
    values: Tensor | None  # None where the base itself takes the step


class Table:
    """One table: its parameter, the layers that read it, and its past."""

    def __init__(self, p: Tensor, name: str, layers: list[nn.Module], mode: str) -> None:
        self.p = p
        self.name = name
        self.layers = layers
        self.mode = mode
        self.seen: list[Tensor] = []  # what the layers have read on the way to a loss
        self.dense = False
        self.history: History | None = None

    def gather(self, own: dict[str, Any]) -> Tensor:
        """Return the rows read since the last update, each once."""
        parts = [rows.reshape(-1) for rows in self.seen]
        self.seen.clear()
        if TOUCHED in own:
            parts.append(own.pop(TOUCHED))
        if not parts:
            return torch.empty(0, dtype=torch.int64, device=self.p.device)
        return torch.cat([part.to(torch.int64) for part in parts]).unique()


class LazyTables:
    """All tables of an optimizer."""

    def __init__(
        self, lazy: Lazy, base: Optimizer, names: dict[Tensor, str], rule: AdamRule | SGDRule | None
    ) -> None:
        self.base = base
        self.rule = rule
        self.tables = {table.p: table for table in _resolve(lazy, base, names)}
        for group, table in self._with_groups():
            if rule is not None:
                rule.check(group, table.mode)
        self._attach()

    def keep_rows(self) -> None:
        """Store which rows a micro-batch has read, for the update at the end of the window."""
        for p, table in self.tables.items():
            if table.seen:
                self.base.state[p][TOUCHED] = table.gather(self.base.state[p])

    def prepare(self) -> None:
        """Make the state of every table that the base does not step."""
        if self.rule is None:
            return
        for group, table in self._with_groups():
            if table.dense:
                continue
            table.p.grad = None
            own = self.base.state[table.p]
            self.rule.prepare(table.p, own, group)
            if table.mode != "frozen":
                self._row_step(table, own, self.rule.steps(own))

    def begin(self) -> list[Work]:
        """Return the work of an update; gradients that the base must not see are taken away."""
        found = []
        for group, table in self._with_groups():
            gradient = table.p.grad
            if gradient is None or table.dense:
                table.seen.clear()
                continue
            touched = self._touched(table, gradient)
            if touched is None:
                self._fall_back(table)
                continue
            rows, values = touched
            if self.rule is None:
                table.p.grad = gradient.to_dense() if gradient.is_sparse else gradient
                found.append(Work(table, group, gradient, rows, None))
            else:
                table.p.grad = None
                found.append(Work(table, group, gradient, rows, values))
        return found

    def update(self, work: Work, lr: float, decay: tuple[float, float]) -> None:
        """Take the step of the touched rows of one table."""
        rule, table, group = self.rule, work.table, work.group
        assert rule is not None
        assert work.values is not None
        own = self.base.state[table.p]
        rule.prepare(table.p, own, group)
        steps = rule.steps(own)
        if table.mode != "frozen":
            self._row_step(table, own, steps)
        self._begin_history(table, group, steps)
        if isinstance(rule, AdamRule) and rule.native(table.p, own):
            rows, past = work.rows.numpy(), self._past(table)
            rule.update_native(table.p, own, group, rows, work.values, past, lr, decay)
        else:
            self._update_by_torch(work, own, lr, decay)
        if table.history is not None:
            coefficient = rule.coefficient(group, steps + 1, lr)
            table.history.append(coefficient, lr * decay[0])

    def _update_by_torch(
        self, work: Work, own: dict[str, Any], lr: float, decay: tuple[float, float]
    ) -> None:
        """Do so on any device, for any type."""
        rule, table, group = self.rule, work.table, work.group
        assert rule is not None
        assert work.values is not None
        steps, rows, values = rule.steps(own), work.rows, work.values
        if work.gradient.is_sparse:
            whole = work.gradient.coalesce()
            rows, values = whole._indices()[0], whole._values()
        keeps = None
        if table.mode == "masked":
            gaps = (steps - own[ROW_STEP][rows]).to(torch.float64)
            keeps = rule.keeps(group, gaps)
        elif table.mode == "deferred":
            self._catch_up(table, group, own, rows)
        rule.update(table.p, own, group, rows, values, keeps, lr, decay)
        if table.mode != "frozen":
            own[ROW_STEP][rows] = steps + 1

    def _begin_history(self, table: Table, group: dict[str, Any], steps: int) -> None:
        assert self.rule is not None
        if table.mode == "deferred" and table.history is None:
            table.history = History(steps, self.rule.ratio(group))

    def _past(self, table: Table) -> Past:
        past, mode = table.history, _MODES[table.mode]
        if past is None:
            return Past(mode, 0, 0, _NOTHING, _NOTHING)
        return Past(mode, past.start, past.reach, past.sums, past.logs)

    def flush(self, *, moments: bool = True) -> None:
        """Bring all rows of deferred tables up to date, and the `moments` of masked ones."""
        if self.rule is None:
            return
        for group, table in self._with_groups():
            own = self.base.state.get(table.p, {})
            if ROW_STEP not in own or table.dense or not (moments or table.mode == "deferred"):
                continue
            steps = self.rule.steps(own)
            rows = (own[ROW_STEP] < steps).nonzero().squeeze(1)
            if table.mode == "deferred":
                if rows.numel():
                    self._catch_up(table, group, own, rows)
                table.history = None
            elif rows.numel():
                gaps = (steps - own[ROW_STEP][rows]).to(torch.float64)
                still, ones = torch.zeros_like(gaps), torch.ones_like(gaps)
                missed = [ones, still, *self.rule.keeps(group, gaps)]
                self.rule.catch_up(table.p, own, rows, missed)
                own[ROW_STEP][rows] = steps

    def forget(self) -> None:
        """Drop what belongs to a state that another one has taken the place of."""
        for table in self.tables.values():
            table.history = None
            table.seen.clear()

    @torch.no_grad()
    def catch_up(self, table: Table, rows: Tensor) -> None:
        """Bring the rows that a layer is about to read up to date."""
        own = self.base.state.get(table.p, {})
        if self.rule is None or table.mode != "deferred" or table.dense or ROW_STEP not in own:
            return
        group = next(group for group, other in self._with_groups() if other is table)
        rows = rows.reshape(-1).to(torch.int64)
        # the native loop finds a row that comes twice to be up to date
        native = isinstance(self.rule, AdamRule) and self.rule.native(table.p, own)
        self._catch_up(table, group, own, rows if native else rows.unique())

    def _catch_up(
        self, table: Table, group: dict[str, Any], own: dict[str, Any], rows: Tensor
    ) -> None:
        """Bring distinct rows of a deferred table up to date."""
        rule = self.rule
        assert rule is not None
        steps = rule.steps(own)
        self._begin_history(table, group, steps)
        if isinstance(rule, AdamRule) and rule.native(table.p, own):
            rule.catch_up_native(table.p, own, group, rows, self._past(table))
            return
        last = own[ROW_STEP][rows]
        behind = (last < steps).nonzero().squeeze(1)
        if behind.numel() == 0:
            return
        assert table.history is not None
        rows, last = rows[behind], last[behind]
        keep, move = (
            torch.from_numpy(part).to(rows.device)
            for part in table.history.missed(last.cpu().numpy())
        )
        keeps = rule.keeps(group, (steps - last).to(torch.float64))
        rule.catch_up(table.p, own, rows, [keep, move, *keeps])
        own[ROW_STEP][rows] = steps

    def _row_step(self, table: Table, own: dict[str, Any], steps: int) -> Tensor:
        if ROW_STEP not in own:
            n_rows, device = table.p.shape[0], table.p.device
            own[ROW_STEP] = torch.full((n_rows,), steps, dtype=torch.int64, device=device)
        found: Tensor = own[ROW_STEP]
        return found

    def _touched(self, table: Table, gradient: Tensor) -> tuple[Tensor, Tensor] | None:
        """Return rows and their gradients; None if others have a gradient too."""
        rows = table.gather(self.base.state[table.p])
        if gradient.is_sparse:
            return gradient._indices()[0], gradient._values()
        if any(getattr(layer, "sparse", False) for layer in table.layers):
            return None  # a sparse part and a dense one have made a dense sum
        if rows.numel() == 0:
            return None if bool(gradient.any()) else (rows, gradient[:0])
        untouched = torch.randint(gradient.shape[0], (_PROBES,), device=rows.device)
        untouched = untouched[~torch.isin(untouched, rows)]
        if bool(gradient[untouched].any()):
            return None
        return rows, gradient.index_select(0, rows)

    def _fall_back(self, table: Table) -> None:
        self.flush()
        self.base.state[table.p].pop(ROW_STEP, None)
        table.dense = True
        warnings.warn(
            f"{table.name} has gradients in rows that no lazy layer has read (is its weight used "
            "elsewhere too, or by F.embedding?): it is updated whole",
            UserWarning,
            stacklevel=6,
        )

    def _with_groups(self) -> Iterable[tuple[dict[str, Any], Table]]:
        for group in self.base.param_groups:
            for p in group["params"]:
                if p in self.tables:
                    yield group, self.tables[p]

    def _attach(self) -> None:
        """Hook the layers; through weak references, so that the layers do not keep us alive."""
        me = weakref.ref(self)
        for table in self.tables.values():
            for layer in table.layers:
                deferred = table.mode == "deferred" and self.rule is not None
                if deferred:
                    layer.register_forward_pre_hook(_Hook(me, table.p, _read), with_kwargs=True)
                    layer.register_state_dict_pre_hook(_Hook(me, table.p, _export))
                if not getattr(layer, "sparse", False):
                    layer.register_forward_hook(_Hook(me, table.p, _used), with_kwargs=True)


class _Hook:
    """A hook that does nothing once its optimizer is gone, or in a copy of the layer."""

    def __init__(
        self,
        tables: Callable[[], LazyTables | None] = lambda: None,
        p: Tensor | None = None,
        act: Callable[..., None] | None = None,
    ) -> None:
        self.tables, self.p, self.act = tables, p, act

    def __call__(self, layer: nn.Module, *arguments: Any) -> None:
        tables = self.tables()
        if tables is not None and self.act is not None and self.p in tables.tables:
            self.act(tables, tables.tables[self.p], *arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        return (_Hook, ())


def _read(tables: LazyTables, table: Table, args: Any, kwargs: Any) -> None:
    tables.catch_up(table, args[0] if args else kwargs["input"])


def _used(tables: LazyTables, table: Table, args: Any, kwargs: Any, output: Tensor) -> None:
    if output.requires_grad:
        rows = args[0] if args else kwargs["input"]
        output.register_hook(lambda _: table.seen.append(rows.detach()))


def _export(tables: LazyTables, table: Table, *_: Any) -> None:
    with torch.no_grad():
        tables.flush(moments=False)


def _resolve(lazy: Lazy, base: Optimizer, names: dict[Tensor, str]) -> Sequence[Table]:
    """Return the tables that a `Lazy` names."""
    params = params_of(base)
    if isinstance(lazy.tables, str):
        found = matching(lazy.tables, params, names, f"Lazy({lazy.tables!r})")
        for p in found:
            if p.dim() != 2:
                raise InputError(f"{names[p]} is no table: it has the shape {tuple(p.shape)}")
        return [Table(p, names[p], [], lazy.mode) for p in params if p in found]
    by_weight: dict[Tensor, list[nn.Module]] = {}
    for layer in lazy.tables:
        by_weight.setdefault(layer.weight, []).append(layer)  # type: ignore[arg-type]
    known = set(params)
    for p in by_weight:
        if p not in known:
            raise InputError("a table of Lazy is not among the parameters of the optimizer")
    return [
        Table(p, names.get(p, f"a table of shape {tuple(p.shape)}"), layers, lazy.mode)
        for p, layers in by_weight.items()
    ]
