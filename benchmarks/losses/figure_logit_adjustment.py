"""The figure of docs/losses/logit_adjustment.md: recall from the head of a long tail to its end.

``python -m benchmarks.losses.figure_logit_adjustment [out.png [folder]]`` trains the networks of
examples/losses_cifar10_longtail.py, five seeds, some minutes a seed; logits that the example
kept in `folder` are not computed again. Needs the extras ``torch`` and ``plot``; prints what it
draws.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.drawing import BLUE, GREEN, LINE, ORANGE, PAPER, RED, ROOT, SOFT, heading, styled
from kexue.losses import logit_adjustment, long_tail_report

SEEDS, EPOCHS = 5, 8
STYLES = {
    "erm": (SOFT, "o"),
    "weights": (ORANGE, "^"),
    "post-hoc": (GREEN, "s"),
    "loss": (BLUE, "D"),
}
TAUS = np.arange(0, 2.01, 0.1)


def main(path: Path, folder: Path | None) -> None:
    example = load_example()
    torch.set_num_threads(1)
    train, test = example.read("train"), example.read("test")
    runs = [
        {
            kind: example.scores_of(kind, seed, train, test[0], EPOCHS, folder)
            for kind in example.FITS
        }
        for seed in range(SEEDS)
    ]
    counts = torch.bincount(train[1])
    reports = [example.reports(scores, train[1], test[1]) for scores in runs]
    errors = np.array(
        [
            [error(logit_adjustment(run["erm"], counts, tau), train[1], test[1]) for tau in TAUS]
            for run in runs
        ]
    )
    with styled() as plt:
        figure, axes = plt.subplots(
            1, 2, figsize=(9.6, 3.8), facecolor=PAPER, width_ratios=(1.9, 1)
        )
        draw_recall(axes[0], reports, counts.tolist(), example.NAMES)
        draw_strength(plt, axes[1], errors, reports)
        figure.subplots_adjust(0.06, 0.14, 0.99, 0.84, wspace=0.17)
        figure.savefig(path, dpi=200)


def load_example() -> Any:
    path = ROOT / "examples" / "losses_cifar10_longtail.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def error(logits: Any, y_train: Any, y_test: Any) -> float:
    return long_tail_report(y_test, logits.argmax(1), y_train).balanced_error


def draw_recall(axes: Any, reports: list[Any], counts: list[int], names: dict[str, str]) -> None:
    """Draw recall by class, one line for each way to treat the rare ones."""
    x = np.arange(len(counts))
    for name, (colour, marker) in STYLES.items():
        recall = 100 * np.array([report[name].recall for report in reports])
        balanced = 100 * np.array([report[name].balanced_error for report in reports])
        mean, spread = recall.mean(0), recall.std(0, ddof=1)
        label = f"{names[name]}: {balanced.mean():.1f} ± {balanced.std(ddof=1):.1f}"
        print(f"{label}; recall {np.round(mean, 1).tolist()}")
        axes.fill_between(x, mean - spread, mean + spread, color=colour, alpha=0.15, lw=0)
        axes.plot(x, mean, color=colour, marker=marker, ms=4, lw=1.6, label=label)
    axes.set_xticks(x, [f"{count:,}" for count in counts])
    axes.set_xlabel("training images of the class")
    axes.set_ylabel("recall (%)")
    axes.set_ylim(0, 100)
    axes.legend(frameon=False, loc="lower left", title="balanced error (%)", alignment="left")
    dress(axes)
    heading(
        axes, "The tail comes back", "CIFAR-10-LT, four convolutions, mean and spread of 5 seeds"
    )


def draw_strength(plt: Any, axes: Any, errors: np.ndarray, reports: list[Any]) -> None:
    """Draw balanced error over the strength of the adjustment after training."""
    mean, spread = 100 * errors.mean(0), 100 * errors.std(0, ddof=1)
    best = int(mean.argmin())
    print(f"post-hoc over tau: {dict(zip(TAUS.round(1).tolist(), mean.round(1), strict=True))}")
    axes.fill_between(TAUS, mean - spread, mean + spread, color=GREEN, alpha=0.15, lw=0)
    axes.plot(TAUS, mean, color=GREEN, lw=1.6)
    axes.plot(TAUS[best], mean[best], "o", color=RED, ms=5)
    axes.annotate(
        f"least {mean[best]:.1f}\nat $\\tau$ = {TAUS[best]:.1f}", (TAUS[best], mean[best]),
        (0, -20), textcoords="offset points", ha="center", va="top", color=RED,
    )  # fmt: skip
    for name, text in (("weights", "weights"), ("loss", "loss")):
        level = 100 * np.mean([report[name].balanced_error for report in reports])
        axes.axhline(level, color=STYLES[name][0], lw=1, ls="--", zorder=0)
        above = name == "weights"
        axes.annotate(
            text, (0, level), (2, 3 if above else -3), textcoords="offset points",
            va="bottom" if above else "top", color=STYLES[name][0],
        )  # fmt: skip
    axes.set_ylim(5 * np.floor(mean.min() / 5 - 0.5), 5 * np.ceil((mean + spread).max() / 5))
    axes.yaxis.set_major_locator(plt.MultipleLocator(5))
    axes.set_xlabel(r"strength $\tau$, after training")
    axes.set_ylabel("balanced error (%)")
    dress(axes)
    heading(axes, "Least error at strength 1", "of the network trained without a prior")


def dress(axes: Any) -> None:
    axes.set_facecolor(PAPER)
    axes.grid(axis="y", color=LINE, lw=0.5)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    main(
        Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs/losses/logit_adjustment.png",
        Path(sys.argv[2]) if len(sys.argv) > 2 else None,
    )
