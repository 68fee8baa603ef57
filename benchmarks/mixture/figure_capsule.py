"""The figure of docs/mixture/capsule.md: softness of k-means, and who claims which pixel.

``python -m benchmarks.mixture.figure_capsule [out.png]`` needs the extra ``plot`` and MNIST, and
takes two minutes; it prints the numbers that it draws.
"""

from __future__ import annotations

import gzip
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.drawing import (
    BLUE,
    GREEN,
    INK,
    LINE,
    ORANGE,
    PAPER,
    RED,
    ROOT,
    data_folder,
    heading,
    styled,
)
from kexue.mixture import CapsuleClassifier, SoftKMeans

BETAS = (0.5, 2.0, 20.0)
STEPS = 60
N_DIGITS = 60_000
DIGITS = (7, 2)  # the first two test images


def main(path: Path) -> None:
    with styled() as plt:
        figure = plt.figure(figsize=(9.6, 5.4), facecolor=PAPER)
        top = figure.add_gridspec(1, 3, left=0.05, right=0.99, top=0.89, bottom=0.5, wspace=0.12)
        low = figure.add_gridspec(
            1, 3, left=0.05, right=0.99, top=0.33, bottom=0.05, wspace=0.12
        )  # fmt: skip
        X = points()
        for i, beta in enumerate(BETAS):
            draw_points(figure.add_subplot(top[i]), X, beta)
        draw_claims([figure.add_subplot(low[i]) for i in range(3)])
        figure.savefig(path, dpi=200)


def points() -> np.ndarray:
    rng = np.random.default_rng(4)
    centres = np.array([[-1.5, -0.7], [1.5, -0.7], [0.0, 1.2]])
    return np.concatenate([centre + 0.75 * rng.normal(size=(150, 2)) for centre in centres])


def draw_points(ax: Any, X: np.ndarray, beta: float) -> None:
    """Draw rows in the mixed colours of their shares, and the path of each centre."""
    from matplotlib.colors import to_rgb

    colours = np.array([to_rgb(colour) for colour in (BLUE, ORANGE, GREEN)])
    centres = np.array([[-0.5, -1.6], [0.4, -1.7], [-0.1, -1.1]])
    path = [centres]
    for _ in range(STEPS):
        model = SoftKMeans(3, beta=beta, init=path[-1], max_iter=1, tol=0).fit(X)
        path.append(model.cluster_centers_)
    shares = model.predict_proba(X)
    ax.scatter(*X.T, c=np.clip(shares @ colours, 0, 1), s=9, alpha=0.75, linewidths=0)
    for k, way in enumerate(np.swapaxes(path, 0, 1)):
        ax.plot(*way.T, "-", color=INK, lw=0.9)
        ax.plot(*way[0], "o", color=PAPER, mec=INK, ms=4)
        ax.plot(*way[-1], "o", color=colours[k], mec=INK, ms=8, zorder=3)
    ax.set(xlim=(-3.2, 3.2), ylim=(-2.4, 2.9), aspect="equal")
    ax.tick_params(labelsize=7)
    ax.set_facecolor(PAPER)
    ax.spines[["top", "right"]].set_visible(False)
    largest = shares.max(1).mean()
    print(f"beta {beta:g}: mean largest share {largest:.3f}", model.cluster_centers_.round(2))
    heading(ax, f"β = {beta:g}", f"largest share of a point: {largest:.2f} on average")


def draw_claims(axes: list[Any]) -> None:
    """Draw a pair of digits, the shares of its places, and the lengths of the capsules."""
    import torch
    from matplotlib.colors import to_rgb

    torch.set_num_threads(1)
    images, labels = read("train")
    model = CapsuleClassifier(epochs=1, batch_size=64, lr=3e-3, random_state=0)
    model.fit(images[:N_DIGITS], labels[:N_DIGITS])
    test, answers = read("t10k")
    assert tuple(answers[:2]) == DIGITS
    pair = np.concatenate(test[:2], 2)
    model.layer_.return_coupling = True
    lengths = model.lengths(pair[None])[0]
    c = model.layer_.coupling_[0].numpy()
    height = (28 - 4) // 2 - 4
    c = c.reshape(height, -1, 10)
    first, second = (int(k) for k in np.argsort(-lengths)[:2])
    first, second = sorted((first, second), key=lambda k: DIGITS.index(k) if k in DIGITS else 9)
    print("lengths", lengths.round(3), "mean c", c.mean((0, 1)).round(3))
    colours = {first: np.array(to_rgb(BLUE)), second: np.array(to_rgb(RED))}
    grey = np.array(to_rgb(LINE))
    # a place of the last maps looks at 14 pixels, of which these are the middle
    rows, columns = (
        np.clip((np.arange(n) - 5.5) // 2, 0, m - 1).astype(int)
        for n, m in zip(pair.shape[1:], c.shape[:2], strict=True)
    )
    at = c[rows][:, columns]
    ink = pair[0][..., None]
    paper = np.array(to_rgb(PAPER))
    wins = at[..., [first]] > at[..., [second]]
    claimed = np.where(wins, colours[first], colours[second])
    axes[0].imshow(paper * (1 - ink) + ink * np.array(to_rgb(INK)))
    axes[1].imshow(paper * (1 - ink) + ink * claimed)
    names = {first: f"capsule {first}", second: f"capsule {second}"}
    for (k, name), x in zip(names.items(), (0.02, 0.98), strict=True):
        axes[1].text(
            x, 0.9, name, color=tuple(colours[k]), fontsize=8, fontweight="bold",
            transform=axes[1].transAxes, ha="left" if x < 0.5 else "right",
        )  # fmt: skip
    for ax in axes[:2]:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_color(LINE)
    bars = axes[2].bar(range(10), lengths, color=[tuple(colours.get(k, grey)) for k in range(10)])
    axes[2].bar_label(bars, fmt="%.2f", fontsize=6.5, padding=1)
    axes[2].set_box_aspect(0.5)  # that of the pair
    axes[2].set(xticks=range(10), ylim=(0, 1.1), yticks=[0, 0.5, 1])
    axes[2].set_facecolor(PAPER)
    axes[2].tick_params(labelsize=7)
    axes[2].spines[["top", "right"]].set_visible(False)
    heading(axes[0], "Two digits", f"to a network that saw {N_DIGITS:,} single ones")
    heading(
        axes[1], "Who claims the ink", "which of the two longest has the larger share of a place"
    )
    heading(axes[2], "Lengths of the capsules", "of the classes 0 to 9")


def read(part: str) -> tuple[np.ndarray, np.ndarray]:
    """Return images in [0, 1], (n, 1, 28, 28), and labels."""
    folder = data_folder() / "mnist"
    with gzip.open(folder / f"{part}-images-idx3-ubyte.gz") as file:
        pixels = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 1, 28, 28)
    with gzip.open(folder / f"{part}-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8)
    return pixels.astype(np.float32) / 255, labels


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "mixture" / "capsule.png")
