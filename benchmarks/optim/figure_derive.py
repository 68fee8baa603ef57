"""The figure of docs/optim/derive.md: the cost of a step by the size of a table, add-ons at work.

``python -m benchmarks.optim.figure_derive [out.png]`` needs the extras ``torch`` and ``plot`` and
a minute; it prints the numbers that it draws.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import Adam, SparseAdam

from benchmarks.drawing import (
    BLUE,
    GREEN,
    INK,
    LINE,
    ORANGE,
    PAPER,
    RED,
    ROOT,
    SOFT,
    heading,
    styled,
)
from kexue.optim import (
    Accumulate,
    LayerAdaptation,
    Lazy,
    Lookahead,
    PiecewiseLinear,
    StepSizeTuner,
    WeightDecay,
    derive,
)

SIZES = [2**k for k in range(11, 18)]
WIDTH, TOUCHED = 128, 1000
TABLES = {
    "Adam, dense": (ORANGE, "s", lambda t: Adam(t.parameters(), fused=True)),
    "SparseAdam": (RED, "^", lambda t: SparseAdam(t.parameters())),
    "masked": (SOFT, "v", lambda t: derive(Adam(t.parameters()), Lazy([t], "masked"))),
    "frozen": (GREEN, "D", lambda t: derive(Adam(t.parameters()), Lazy([t], "frozen"))),
    "deferred": (BLUE, "o", lambda t: derive(Adam(t.parameters()), Lazy([t], "deferred"))),
}
N_UPDATES, LR, K = 300, 0.5, 20
STACKS = {
    "SGD": (INK, "-", []),
    "+ WeightDecay": (SOFT, "--", [WeightDecay(0.001, exclude=None)]),
    "+ PiecewiseLinear": (GREEN, "-", [PiecewiseLinear({50: 1, N_UPDATES: 0})]),
    "+ Accumulate(4)": (ORANGE, "-", [Accumulate(4)]),
    "+ LayerAdaptation": (RED, "-", [LayerAdaptation(None, eta=0.05)]),
    "+ StepSizeTuner": ("#8b5fbf", "-", [StepSizeTuner()]),
}


def main(path: Path) -> None:
    torch.set_num_threads(1)
    with styled() as plt:
        figure, axes = plt.subplots(1, 3, figsize=(9.6, 3.5), facecolor=PAPER)
        draw_costs(axes[0])
        draw_stacks(axes[1])
        draw_lookahead(axes[2])
        figure.subplots_adjust(0.06, 0.14, 0.985, 0.83, wspace=0.28)
        figure.savefig(path, dpi=200)


# --- cost by size


def milliseconds(n_rows: int, make: Callable[[nn.Embedding], Any], *, sparse: bool) -> float:
    """Return the median CPU time of a step that touches some rows of a table."""
    torch.manual_seed(0)
    table = nn.Embedding(n_rows, WIDTH, sparse=sparse)
    optimizer = make(table)
    seconds = []
    for i in range(25):
        rows = torch.randint(n_rows, (TOUCHED,))
        optimizer.zero_grad()
        table(rows).sum().backward()
        start = time.process_time()
        optimizer.step()
        seconds.append(time.process_time() - start)
        if i == 0:
            # the first touch of a page of the state is not what a step costs
            for held in optimizer.state[table.weight].values():
                if isinstance(held, torch.Tensor):
                    held.add_(0)
    return 1000 * statistics.median(seconds[5:])


def draw_costs(axes: Any) -> None:
    for name, (colour, marker, make) in TABLES.items():
        ms = [milliseconds(n, make, sparse="dense" not in name) for n in SIZES]
        print(name, *(f"{n}: {value:.3f} ms" for n, value in zip(SIZES, ms, strict=True)))
        axes.plot(SIZES, ms, color=colour, marker=marker, ms=4, lw=1.5, label=name)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("rows of the table")
    axes.set_ylabel("CPU ms a step, one thread")
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    dress(axes)
    heading(axes, "Lazy rows", f"{TOUCHED} rows of width {WIDTH} touched a step")


# --- digits


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    from sklearn.datasets import load_digits

    data = load_digits()
    return torch.from_numpy(data.data / 16).float(), torch.from_numpy(data.target).long()


def losses(addons: list[Any], n: int = N_UPDATES, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return the loss on all digits after each micro-batch, of fast and of slow weights."""
    x, y = digits()
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = derive(torch.optim.SGD(model.parameters(), lr=LR), *addons)
    generator = torch.Generator().manual_seed(seed)

    @torch.no_grad()
    def loss() -> float:
        return float(nn.functional.cross_entropy(model(x), y))

    fast, slow = [loss()], [loss()]
    for _ in range(n):
        rows = torch.randint(len(x), (16,), generator=generator)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
        optimizer.step()
        fast.append(loss())
        if any(isinstance(addon, Lookahead) for addon in addons):
            with optimizer.slow_weights():
                slow.append(loss())
    return np.array(fast), np.array(slow)


def draw_stacks(axes: Any) -> None:
    for name, (colour, style, addons) in STACKS.items():
        paths = np.array([losses(addons, seed=seed)[0] for seed in range(3)])
        middle = np.median(paths, axis=0)
        smooth = np.exp(np.convolve(np.log(middle), np.ones(15) / 15, "valid"))
        print(name, f"loss after {N_UPDATES} micro-batches: {smooth[-1]:.3f}")
        axes.plot(np.arange(len(smooth)) + 7, smooth, color=colour, ls=style, lw=1.4, label=name)
    axes.set_yscale("log")
    axes.set_xlabel("micro-batches of 16")
    axes.set_ylabel("training loss (nats)")
    axes.legend(frameon=False, fontsize=7.5, loc="upper right", borderaxespad=0)
    dress(axes)
    heading(axes, "SGD and one add-on", "digits, median of three seeds, running mean of 15")


def draw_lookahead(axes: Any) -> None:
    plain, _ = losses([], n=200)
    fast, slow = losses([Lookahead(K, 0.5)], n=200)
    steps = np.arange(len(fast))
    axes.plot(steps, plain, color=LINE, lw=1.2, label="SGD")
    axes.plot(steps, fast, color=BLUE, lw=1, label=f"fast, Lookahead({K})")
    axes.step(steps, slow, color=ORANGE, lw=2, where="post", label="slow")
    print(f"Lookahead: plain {plain[-20:].mean():.3f}, fast {fast[-20:].mean():.3f}, "
          f"slow {slow[-20:].mean():.3f}, means of the last 20")  # fmt: skip
    axes.set_yscale("log")
    axes.set_xlabel("updates")
    axes.legend(frameon=False, fontsize=8, loc="upper right")
    dress(axes)
    heading(axes, "Lookahead", "digits: slow weights wait for each pull")


def dress(axes: Any) -> None:
    axes.set_facecolor(PAPER)
    axes.grid(color=LINE, lw=0.5, alpha=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "optim" / "derive.png")
