"""The figure of docs/optim/exponentiated_gradient.md: rates that are wrong, and learned scales.

``python -m benchmarks.optim.figure_exponentiated_gradient [out.png]`` needs the extras ``torch``
and ``plot`` and five minutes; it prints the numbers that it draws.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

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
from kexue.optim import FunnelSGD, StepSizeTuner, derive

N_UPDATES, SHIFT, BATCH, SEEDS = 3000, 1500, 64, 3
RATES = [10 ** (k / 2) for k in range(-8, 3)]
STARTS = {1e-4: SOFT, 1e-2: BLUE, 1.0: RED}


class SGDHD(SGD):
    """Hypergradient descent, the additive rule of Baydin et al.: lr += beta <g, last g>."""

    def __init__(self, params: Any, lr: float, beta: float = 1e-3) -> None:
        super().__init__(params, lr=lr)
        self.beta, self.last = beta, None

    def step(self, closure: Any = None) -> None:
        """Learn the rate, then take the step."""
        now = torch.cat([p.grad.reshape(-1) for p in self.param_groups[0]["params"]])
        if self.last is not None:
            self.param_groups[0]["lr"] += self.beta * float(now @ self.last)
        self.last = now
        with torch.no_grad():
            for p in self.param_groups[0]["params"]:
                p.sub_(p.grad, alpha=self.param_groups[0]["lr"])


METHODS: dict[str, tuple[str, str, str, Callable[[Any, float], Optimizer]]] = {
    "SGD": (INK, "-", "o", lambda p, lr: SGD(p, lr=lr)),
    "SGD-HD": (ORANGE, "--", "^", SGDHD),
    "SGD, StepSizeTuner()": (
        BLUE, "-", "s", lambda p, lr: derive(SGD(p, lr=lr), StepSizeTuner()),
    ),
    "FunnelSGD": (GREEN, "-", "D", FunnelSGD),
}  # fmt: skip


def main(path: Path) -> None:
    torch.set_num_threads(1)
    with styled() as plt:
        figure, (top, bottom) = plt.subplots(2, 1, figsize=(7.2, 6.6), facecolor=PAPER)
        draw_losses(top)
        draw_scales(bottom)
        figure.subplots_adjust(0.1, 0.07, 0.98, 0.915, hspace=0.43)
        figure.savefig(path, dpi=200)


# --- digits


@cache
def digits() -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits

    data = load_digits()
    return torch.from_numpy(data.data / 16).float(), torch.from_numpy(data.target).long()


def train(
    make: Callable[[Any, float], Any], lr: float, seed: int, *, shift: int | None = None
) -> tuple[float, np.ndarray, np.ndarray]:
    """Return the loss on all digits at the end, and scales and batch losses after each update.

    At `shift` the ten labels change places.
    """
    x, y = digits()
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = make(model.parameters(), lr)
    generator = torch.Generator().manual_seed(seed)
    scales, losses = [], []
    for i in range(N_UPDATES):
        if i == shift:
            y = torch.roll(torch.arange(10), 1)[y]
        rows = torch.randint(len(x), (BATCH,), generator=generator)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
        loss.backward()
        optimizer.step()
        scales.append(getattr(optimizer, "scale", 1.0))
        losses.append(loss.detach())
    with torch.no_grad():
        end = float(nn.functional.cross_entropy(model(x), y))
    return end, np.array(scales), torch.stack(losses).numpy()


# --- drawing


def draw_losses(axes: Any) -> None:
    print(f"loss after {N_UPDATES} updates, median of {SEEDS} seeds, by rate")
    for name, (colour, style, marker, make) in METHODS.items():
        found = []
        for lr in RATES:
            ends = [train(make, lr, seed)[0] for seed in range(SEEDS)]
            found.append(float(np.median(np.nan_to_num(ends, nan=np.inf))))
        row = " ".join(f"{lr:.0e}: {loss:.2g}" for lr, loss in zip(RATES, found, strict=True))
        print(f"  {name}: {row}; worst {max(found):.2g}, best {min(found):.2g}", flush=True)
        axes.plot(
            RATES, found, color=colour, ls=style, marker=marker, ms=4, lw=1.5,
            label=name, clip_on=False,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("rate at the start")
    axes.set_ylabel("training loss at the end (nats)")
    axes.legend(frameon=False, fontsize=8, loc="lower left")
    dress(axes)
    heading(
        axes, "When the rate is wrong at the start",
        f"digits, {N_UPDATES:,} updates of {BATCH}, one hidden layer, median of {SEEDS} seeds",
    )  # fmt: skip


def draw_scales(axes: Any) -> None:
    steps = np.arange(1, N_UPDATES + 1)
    make = METHODS["SGD, StepSizeTuner()"][3]
    for lr, colour in STARTS.items():
        runs = [train(make, lr, seed, shift=SHIFT) for seed in range(SEEDS)]
        rates = np.median([lr * scales for _, scales, _ in runs], axis=0)
        losses = np.median([losses for _, _, losses in runs], axis=0)
        after = losses[SHIFT:]
        before = losses[SHIFT - 100 : SHIFT].mean()
        print(
            f"start {lr:g}: rate {rates[SHIFT - 1]:.3g} before the shift, "
            f"{rates[SHIFT:].max():.3g} at most and {rates[SHIFT:].min():.3g} at least after it, "
            f"{rates[-1]:.3g} at the end; batch loss {before:.3g}, {after[0]:.3g}, "
            f"{after[-100:].mean():.3g}"
        )
        axes.plot(steps, rates, color=colour, lw=1.5, label=f"rate {lr:g} at the start")
    axes.axvline(SHIFT, color=LINE, lw=1.5, zorder=0)
    axes.annotate(
        "the ten labels change places", (SHIFT, 1), (4, -10), ("data", "axes fraction"),
        "offset points", color=SOFT, fontsize=8,
    )  # fmt: skip
    axes.set_yscale("log")
    axes.set_xlabel("updates")
    axes.set_ylabel("rate times learned scale")
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    dress(axes)
    heading(axes, "The scale finds its way, and finds it again", "SGD, StepSizeTuner()")


def dress(axes: Any) -> None:
    axes.set_facecolor(PAPER)
    axes.grid(color=LINE, lw=0.5, alpha=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    default = ROOT / "docs" / "optim" / "exponentiated_gradient.png"
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else default)
