"""Lazy tables: a step beside torch's SparseAdam and its dense Adam; memory of the deferred mode.

A table of 100,000 x 256 in float32 of which a batch touches 1,000 rows, others each time. One
thread, CPU time, all sides in turns in one run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Adam, AdamW, SparseAdam

from benchmarks.measuring import Row, first_call_seconds
from benchmarks.optim.measuring import alternating
from kexue.optim import Lazy, WeightDecay, _lazy_rules, derive

N_ROWS, WIDTH, TOUCHED = 100_000, 256, 1000
MODES = ("masked", "frozen", "deferred")


def measure(data: Path) -> Iterator[Row]:
    """Yield the comparisons."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield from compare()
    finally:
        torch.set_num_threads(threads)


class Side:
    """A table, its optimizer, and one batch after the other."""

    def __init__(self, make: Callable[[nn.Embedding], Any], *, sparse: bool = True) -> None:
        torch.manual_seed(0)
        self.table = nn.Embedding(N_ROWS, WIDTH, sparse=sparse)
        self.optimizer = make(self.table)
        self.generator = torch.Generator().manual_seed(1)
        self.values = torch.randn(TOUCHED, WIDTH, generator=self.generator)
        if not sparse:
            self.table.weight.grad = torch.zeros_like(self.table.weight)
        else:
            self.prepare()
        self.optimizer.step()
        # the first touch of a page of the state is not what a step costs
        for held in self.optimizer.state[self.table.weight].values():
            if isinstance(held, torch.Tensor):
                held.add_(0)

    def prepare(self) -> None:
        """Make the gradient of the next batch."""
        rows = torch.randint(N_ROWS, (TOUCHED,), generator=self.generator)
        if self.table.sparse:
            shape = (N_ROWS, WIDTH)
            self.table.weight.grad = torch.sparse_coo_tensor(
                rows[None], self.values, shape, check_invariants=False
            )

    def step(self) -> None:
        """Take one step."""
        self.optimizer.step()


def by_torch(make: Callable[[nn.Embedding], Any]) -> Side:
    """Return a side whose rows are updated by torch rather than by loops in native code."""
    side = Side(make)
    plain = side.optimizer.step

    def step() -> None:
        native = _lazy_rules._compiled
        _lazy_rules._compiled = lambda *_: False
        try:
            plain()
        finally:
            _lazy_rules._compiled = native

    side.step = step  # type: ignore[method-assign]
    return side


def lazy(mode: Any) -> Callable[[nn.Embedding], Any]:
    def make(table: nn.Embedding) -> Any:
        base = AdamW(table.parameters(), lr=1e-3)
        return derive(base, WeightDecay(0.01, exclude=None), Lazy([table], mode))

    return make


def compare() -> Iterator[Row]:
    start = Side(lazy("deferred"))
    start.prepare()
    loading = first_call_seconds(start.step)
    sides = {
        "dense fused": Side(lambda t: Adam(t.parameters(), fused=True), sparse=False),
        "dense foreach": Side(lambda t: Adam(t.parameters(), foreach=True), sparse=False),
        "SparseAdam": Side(lambda t: SparseAdam(t.parameters())),
        **{mode: Side(lazy(mode)) for mode in MODES},
        **{f"{mode} by torch": by_torch(lazy(mode)) for mode in MODES},
    }

    def everyone() -> None:
        for side in sides.values():
            side.prepare()

    ms = alternating(
        {name: side.step for name, side in sides.items()}, rounds=9, calls=4, prepare=everyone
    )
    note = (
        f"{N_ROWS:,} x {WIDTH} float32, {TOUCHED:,} rows a step, drawn at random; one thread, CPU "
        f"time of step(). First call, loading kernels: {loading:.1f} s"
    )
    for mode in MODES:
        for peer, name, bar in (
            ("SparseAdam", f"torch {torch.__version__} SparseAdam", 6.0),
            ("dense fused", f"torch {torch.__version__} Adam(fused=True), dense", 8.0),
            ("dense foreach", f"torch {torch.__version__} Adam(foreach=True), dense", None),
        ):
            yield Row(f"Lazy {mode}, beside {peer}", "CPU ms", ms[mode], ms[peer], name, bar,
                      note=note, readme=mode == "deferred" and bar is not None)  # fmt: skip
        yield Row(
            f"Lazy {mode} by torch, beside SparseAdam", "CPU ms", ms[f"{mode} by torch"],
            ms["SparseAdam"], f"torch {torch.__version__} SparseAdam", 2.5, readme=False,
            note="as for other types and devices: without the loops in native code",
        )  # fmt: skip
    deferred, bare = (
        sum(v.numel() * v.element_size() for v in s.optimizer.state[s.table.weight].values())
        for s in (sides["deferred"], sides["dense fused"])
    )
    yield Row(
        "Lazy deferred: state more than Adam's", "bytes a row", (deferred - bare) / N_ROWS, 8.0,
        "one int64 a row", limit=8.0, readme=False,
    )  # fmt: skip
