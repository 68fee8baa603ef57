"""The figure of docs/diagnose/path_kernel.md: one digit taken apart, and the error of the sum.

``python -m benchmarks.diagnose.figure_path_kernel [out.png]`` needs the extras ``torch`` and
``plot`` and a minute.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits

from benchmarks.diagnose.bench_path_kernel import equidistant, mlp, trained
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
from kexue.diagnose import PathKernel, PathRecorder, _attribution

F = torch.nn.functional
SHOWN = 8
NODES = (1, 2, 3, 4, 5)
EQUIDISTANT = (1, 2, 5, 10, 30, 100)


def main(path: Path) -> None:
    """Draw it."""
    torch.set_num_threads(1)
    X, y = load_digits(return_X_y=True)
    X, y = torch.tensor(X / 16), torch.tensor(y)
    train, labels, test, truth = X[:1000], y[:1000], X[1000:], y[1000:]
    model = mlp(32).double()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)
    recorder = epochs(model, optimizer, train, labels)
    # the mistake of which the model is surest: the predicted class against the right one
    with torch.no_grad():
        out = model(test)
    lead = out.max(1).values - out[torch.arange(len(out)), truth]
    query = int(lead.argmax())
    first, second = int(out[query].argmax()), int(truth[query])

    def difference(out: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        return out[:, first] - out[:, second]

    kernel = PathKernel(
        model, F.cross_entropy, recorder, (train, labels), nodes=4, outputs=difference
    )
    found = kernel.explain(test[query : query + 1], truth[query : query + 1])
    with styled() as plt:
        figure = plt.figure(figsize=(11, 5.2), facecolor=PAPER, dpi=160)
        grid = figure.add_gridspec(
            1, 3, width_ratios=(1.6, 0.9, 1), left=0.02, right=0.985, top=0.88, bottom=0.14,
            wspace=0.22,
        )  # fmt: skip
        names = f"{first} and not {second}"
        examples(figure, grid[0], found, train, labels, test[query], names)
        waterfall(figure.add_subplot(grid[1]), found, labels.numpy(), first, second)
        errors(figure.add_subplot(grid[2]))
        figure.savefig(path, facecolor=PAPER)


def epochs(model: Any, optimizer: Any, X: torch.Tensor, y: torch.Tensor) -> PathRecorder:
    """Train for five epochs with the recorder on."""
    generator = torch.Generator().manual_seed(0)
    with PathRecorder(model, optimizer) as recorder:
        for _ in range(5):
            for rows in torch.randperm(len(X), generator=generator).split(50):
                recorder.batch(rows, X[rows], y[rows])
                F.cross_entropy(model(X[rows]), y[rows]).backward()
                optimizer.step()
                optimizer.zero_grad()
    return recorder


def examples(
    figure: Any, place: Any, found: Any, X: torch.Tensor, y: torch.Tensor, query: Any, names: str
) -> None:
    """Draw the digit, its strongest supporters and opponents, and their amounts."""
    amounts = found.contributions[0, 0]
    order = np.argsort(amounts)
    inner = place.subgridspec(
        SHOWN + 1, 5, width_ratios=(2.4, 1, 2.5, 1, 2.5), height_ratios=(0.35, *[1] * SHOWN),
        wspace=0.05, hspace=0.16,
    )  # fmt: skip
    big = figure.add_subplot(inner[3:7, 0])
    picture(big, query)
    big.set_title(f"why {names}?", fontsize=10, loc="left")
    top = figure.add_subplot(inner[:, :])
    top.axis("off")
    heading(
        top,
        "A decision and its examples",
        "the mistake on 797 test digits that the network is surest of",
    )
    largest = np.abs(amounts).max()
    for column, chosen, colour, title in (
        (1, order[::-1][:SHOWN], BLUE, "for"), (3, order[:SHOWN], RED, "against"),
    ):  # fmt: skip
        for row, i in enumerate(chosen):
            small = figure.add_subplot(inner[row + 1, column])
            picture(small, X[i])
            bar = figure.add_subplot(inner[row + 1, column + 1])
            bar.barh(0, abs(amounts[i]), height=0.5, color=colour)
            bar.set_xlim(0, largest * 2.25)
            bar.set_ylim(-0.6, 0.6)
            bar.axis("off")
            text = f"{amounts[i]:+.3f}, a {int(y[i])}".replace("-", "−")
            bar.text(abs(amounts[i]) + largest * 0.06, 0, text, va="center", fontsize=8)
            if row == 0:
                small.set_title(title, fontsize=9, color=colour, loc="left")


def picture(axes: Any, image: torch.Tensor) -> None:
    """Draw a digit."""
    axes.imshow(image.reshape(8, 8), cmap="Greys")
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_color(LINE)


def waterfall(axes: Any, found: Any, labels: np.ndarray, first: int, second: int) -> None:
    """Draw the way from the initial to the final output, examples gathered by class."""
    amounts = found.contributions[0, 0]
    initial, decay, total = (
        float(part[0, 0]) for part in (found.initial, found.decay, found.total)
    )
    others = (labels != first) & (labels != second)
    parts = [
        ("at the start", initial, SOFT),
        (f"{(labels == first).sum()} examples of {first}", amounts[labels == first].sum(), BLUE),
        (f"{(labels == second).sum()} of {second}", amounts[labels == second].sum(), RED),
        (f"{others.sum()} others", amounts[others].sum(), ORANGE),
        ("weight decay", decay, SOFT),
    ]
    level = 0.0
    most = 0.0
    for i, (_, amount, colour) in enumerate(parts):
        axes.bar(i, amount, bottom=level, color=colour, width=0.62)
        top = max(level, level + amount)
        most = max(most, top)
        level += amount
        axes.plot([i - 0.31, i + 1.31], [level, level], color=SOFT, linewidth=0.7)
        axes.annotate(
            f"{amount:+.2f}".replace("-", "−"), (i, top), (0, 3), textcoords="offset points",
            ha="center", fontsize=8,
        )  # fmt: skip
    axes.bar(len(parts), total, color=GREEN, width=0.62)
    axes.annotate(
        f"{total:.2f}", (len(parts), total), (0, 3), textcoords="offset points", ha="center",
        fontsize=8,
    )  # fmt: skip
    axes.axhline(0, color=INK, linewidth=0.8)
    names = [*(name for name, _, _ in parts), "prediction"]
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right", fontsize=8)
    axes.set_ylabel(f"logit of {first} minus that of {second}")
    axes.set_ylim(top=most * 1.08)
    tidy(axes)
    heading(axes, "The parts add up", f"sum {level:.10f}, output {total:.10f}")


def errors(axes: Any) -> None:
    """Draw the largest error of the sum over the evaluations that it takes."""
    X, y = load_digits(return_X_y=True)
    X, y = torch.tensor(X[:1000] / 16), torch.tensor(y[:1000])
    model = mlp(32).double()
    recorder = trained(model, torch.optim.AdamW(model.parameters(), lr=0.01), X, y, steps=40)
    kernel = PathKernel(model, F.cross_entropy, recorder, (X, y), tol=float("inf"))

    def point(nodes: int) -> tuple[float, float]:
        kernel.nodes = nodes
        found = kernel.explain(X[-10:])
        return nodes, float(np.abs(found.residual).max())

    lines = {"Gauss nodes": [point(n) for n in NODES], "equidistant nodes": []}
    rule = _attribution.gauss
    for count in EQUIDISTANT:
        lines["equidistant nodes"].append((count, equidistant(lambda: point(1), count)[1]))
    assert _attribution.gauss is rule
    for (name, points), colour, marker in zip(lines.items(), (BLUE, RED), ("o", "s"), strict=True):
        axes.loglog(*zip(*points, strict=True), color=colour, marker=marker, markersize=4)
        x, error = points[-1]
        shift = (10, -2) if name.startswith("Gauss") else (4, -16)
        axes.annotate(
            name, (x, error), shift, textcoords="offset points", color=colour,
            ha="left" if name.startswith("Gauss") else "right",
        )  # fmt: skip
        print(name, [(x, f"{e:.1e}") for x, e in points])
    axes.set_xlabel("nodes on each update")
    axes.set_ylabel("largest error of the sum")
    axes.set_xticks([1, 2, 5, 10, 30, 100], ["1", "2", "5", "10", "30", "100"])
    axes.minorticks_off()
    axes.set_ylim(1e-16, 1)
    axes.set_xlim(0.8, 190)
    axes.grid(color=LINE, linewidth=0.6)
    tidy(axes)
    heading(axes, "Few nodes do", "40 updates by AdamW, ten queries, ten outputs")


def tidy(axes: Any) -> None:
    """Leave the lines that are needed."""
    axes.set_facecolor(PAPER)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


if __name__ == "__main__":
    default = ROOT / "docs" / "diagnose" / "path_kernel.png"
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else default)
