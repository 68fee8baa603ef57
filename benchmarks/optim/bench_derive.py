"""Derived optimizers: what add-ons cost beside fused AdamW, pytorch_optimizer and timm; memory.

3.4 million parameters in 80 tensors, one thread, CPU time, all sides in turns in one run. The unit
is the time of one step of AdamW(fused=True) in the same run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Adam, AdamW

from benchmarks.measuring import Row
from benchmarks.optim.measuring import SHAPES, alternating, parameters, timm_module
from kexue.optim import (
    Accumulate,
    LayerAdaptation,
    Lookahead,
    PiecewiseLinear,
    StepSizeTuner,
    WeightDecay,
    derive,
)

UNIT = "x AdamW fused"
MICRO_STEPS = 4
DECAY = WeightDecay(0.01, exclude=None)
SCHEDULE = PiecewiseLinear({100: 1, 100_000: 0.1})


def measure(data: Path) -> Iterator[Row]:
    """Yield the comparisons."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield from compare_steps()
        yield from compare_windows()
        yield from compare_memory()
    finally:
        torch.set_num_threads(threads)


def stacks() -> dict[str, Callable[[list[nn.Parameter]], Any]]:
    """Return how to make every side."""
    import pytorch_optimizer

    timm_lookahead, timm_lamb = timm_module("lookahead"), timm_module("lamb")
    return {
        "AdamW fused": lambda p: AdamW(p, fused=True),
        "AdamW": AdamW,
        "decay, schedule": lambda p: derive(AdamW(p, fused=True), DECAY, SCHEDULE),
        "decay, Lookahead": lambda p: derive(AdamW(p, fused=True), DECAY, Lookahead(5)),
        "LAMB": lambda p: derive(Adam(p, fused=True), DECAY, LayerAdaptation(None)),
        "tuner": lambda p: derive(AdamW(p, fused=True), StepSizeTuner(1e-9)),
        "tuner, gains": lambda p: derive(AdamW(p, fused=True), StepSizeTuner(1e-9, 1e-9)),
        "po fused": lambda p: pytorch_optimizer.Lookahead(AdamW(p, fused=True), k=5),
        "po default": lambda p: pytorch_optimizer.Lookahead(AdamW(p), k=5),
        "po own": lambda p: pytorch_optimizer.Lookahead(
            pytorch_optimizer.AdamW(p, weight_decay=0.01), k=5
        ),
        "timm fused": lambda p: timm_lookahead.Lookahead(AdamW(p, fused=True), k=5),
        "timm default": lambda p: timm_lookahead.Lookahead(AdamW(p), k=5),
        "po LAMB": lambda p: pytorch_optimizer.Lamb(p, weight_decay=0.01),
        "timm LAMB": lambda p: timm_lamb.Lamb(p, weight_decay=0.01),
    }


def compare_steps() -> Iterator[Row]:
    ms = alternating({name: make(parameters()).step for name, make in stacks().items()})
    unit = ms["AdamW fused"]
    relative = {name: value / unit for name, value in ms.items()}
    po, timm = (f"{name} {version(name)}" for name in ("pytorch_optimizer", "timm"))
    note = (
        f"{sum(torch.Size(s).numel() for s in SHAPES) / 1e6:.1f} M parameters in {len(SHAPES)} "
        f"tensors, one thread, CPU time in units of AdamW(fused=True), {unit:.2f} ms a step; "
        f"AdamW as torch has it by default on a processor: {relative['AdamW']:.2f}"
    )
    composed = relative["decay, Lookahead"]
    for peer, side, limit in (
        (f"{po} Lookahead, AdamW fused", "po fused", 1.15),
        (f"{po} Lookahead, AdamW default", "po default", None),
        (f"{po} Lookahead, its AdamW", "po own", None),
        (f"{timm} Lookahead, AdamW fused", "timm fused", None),
        (f"{timm} Lookahead, AdamW default", "timm default", None),
    ):
        name = f"AdamW fused, WeightDecay, Lookahead(5), beside {side}"
        yield Row(name, UNIT, composed, relative[side], peer, limit=limit, note=note,
                  readme=side in ("po fused", "timm fused"))  # fmt: skip
    yield Row(
        "AdamW fused, WeightDecay, PiecewiseLinear", UNIT, relative["decay, schedule"], 1.0,
        "AdamW fused itself", limit=1.15, readme=False,
    )  # fmt: skip
    for peer, side in ((po, "po LAMB"), (timm, "timm LAMB")):
        yield Row(f"LAMB, beside {side}", UNIT, relative["LAMB"], relative[side], peer, limit=3.6)
    for side in ("tuner", "tuner, gains"):
        yield Row(f"AdamW fused, {side}", UNIT, relative[side], 1.0, "AdamW fused itself",
                  readme=False)  # fmt: skip


def compare_windows() -> Iterator[Row]:
    """Four micro-batches: torch's own additions and fused AdamW are the unit."""
    import pytorch_optimizer

    generator = torch.Generator().manual_seed(1)
    source = [torch.randn(s, generator=generator) for s in SHAPES]
    plain, derived, other = parameters(), parameters(), parameters()
    sides = {
        "plain": (plain, AdamW(plain, fused=True)),
        "ours": (
            derived,
            derive(AdamW(derived, fused=True), DECAY, Lookahead(5), Accumulate(MICRO_STEPS)),
        ),
        "po": (other, pytorch_optimizer.Lookahead(AdamW(other), k=5)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for i in range(17):
        for name, (params, optimizer) in sides.items():
            total = 0.0
            for _ in range(5):
                total += window(params, optimizer, source, ours=name == "ours")
            if i >= 2:
                seconds[name].append(total / 5)
    medians = {name: sorted(values)[len(values) // 2] for name, values in seconds.items()}
    yield Row(
        "4 micro-steps, WeightDecay, Lookahead(5)", "x 4 additions and AdamW fused",
        medians["ours"] / medians["plain"], medians["po"] / medians["plain"],
        f"pytorch_optimizer {version('pytorch_optimizer')} Lookahead(AdamW), additions by torch",
        limit=1.15,
        note="gradients are made anew for each micro-step, outside the time",
    )  # fmt: skip


def window(params: list[nn.Parameter], optimizer: Any, source: list[Any], *, ours: bool) -> float:
    """Return the CPU seconds of a window of micro-steps, less the making of gradients."""
    total = 0.0
    for i in range(MICRO_STEPS):
        gradients = [g.clone() for g in source]
        last = i == MICRO_STEPS - 1
        start = time.process_time()
        for p, g in zip(params, gradients, strict=True):
            if ours or i == 0:
                p.grad = g
            else:
                p.grad.add_(g)
        # both sides free what they no longer need within the time
        del gradients, p, g
        if ours or last:
            optimizer.step()
        if ours or last:
            for p in params:
                p.grad = None
        total += time.process_time() - start
    return total


# --- memory


def compare_memory() -> Iterator[Row]:
    """Count the bytes of all tensors that an optimizer holds, in copies of the parameters."""
    for addons, what in (
        ([DECAY, SCHEDULE, Accumulate(MICRO_STEPS)], "WeightDecay, PiecewiseLinear, Accumulate"),
        ([DECAY, Lookahead(2)], "WeightDecay, Lookahead"),
        ([DECAY, StepSizeTuner()], "WeightDecay, StepSizeTuner"),
        ([DECAY, LayerAdaptation(None)], "WeightDecay, LayerAdaptation"),
    ):
        params = parameters()
        source = [p.grad.clone() for p in params]
        optimizer = derive(AdamW(params, fused=True), *addons)
        held = []
        for _ in range(2 * MICRO_STEPS + 1):
            for p, g in zip(params, source, strict=True):
                p.grad = g.clone()
            optimizer.step()
            optimizer.zero_grad()
            held.append(held_bytes(optimizer))
        size = sum(4 * p.numel() for p in params)
        yield Row(
            f"{what}: memory beside AdamW's", "copies of the parameters",
            max(held) / size - 2, 1.0, "one gradient, or one copy", limit=1.001, readme=False,
        )  # fmt: skip


def held_bytes(optimizer: Any) -> int:
    """Return the bytes of the tensors of state and buffers, but for the steps."""
    tensors = [v for own in optimizer.state.values() for k, v in own.items() if k != "step"]
    tensors += optimizer._update._buffers.values()
    return sum(t.untyped_storage().nbytes() for t in tensors)
