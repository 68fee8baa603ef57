"""The figure of docs/gaussian/distances.md: three ways between two normals, and lost digits.

``python -m benchmarks.gaussian.figure [out.png]`` needs the extras ``plot`` and ``bench`` and half
a minute. Errors are against 60-digit arithmetic, the median of five pairs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
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
    SOFT,
    heading,
    styled,
)
from benchmarks.gaussian import exact
from benchmarks.gaussian.bench_distances import our_ways, peers
from kexue.gaussian import Gaussian, geodesic

CONDITION = 1e4
CHANGES = np.geomspace(1e-8, 10**-0.5, 16)
SEEDS = range(5)
FLOOR = 2.0**-53  # of a relative error: what is less is drawn there
TIMES = (0.0, 0.25, 0.5, 0.75, 1.0)
SKY = "#67b3de"
# name in the panel: distance, part of the peer's name, colour, marker
CURVES = {
    "W2², SciPy's sqrtm": ("W2^2", "sqrtm", RED, "s"),
    "W2², POT": ("W2^2", "POT", ORANGE, "^"),
    "KL, torch": ("KL", "torch", GREEN, "D"),
    "W2², kexue": ("W2^2", "", SKY, "o"),
    "KL, kexue": ("KL", "", BLUE, "o"),
}
P = Gaussian.full([-1.9, -2.7], [[1.0, 0.0], [0.0, 0.07]])
Q = Gaussian.full([2.5, 2.1], [[0.07, 0.0], [0.0, 1.0]])
EXTENT = (-4.2, 4.2, -5.1, 5.1)


def main(path: Path) -> None:
    curves = errors()
    with styled() as plt:
        figure = plt.figure(figsize=(9.6, 4.3), facecolor=PAPER)
        left = figure.add_gridspec(
            3, 5, left=0.075, right=0.545, bottom=0.075, top=0.845, wspace=0.06, hspace=0.09
        )
        draw_ways(figure, left)
        right = figure.add_axes((0.635, 0.125, 0.35, 0.72))
        draw_errors(right, curves)
        figure.savefig(path, dpi=200)


# --- measuring


def errors() -> dict[str, list[float]]:
    """Return the median relative error by size of the change, for every curve."""
    curves: dict[str, list[float]] = {name: [] for name in CURVES}
    for change in CHANGES:
        tried = [dict(errors_of_pair(change, seed)) for seed in SEEDS]
        for name, curve in curves.items():
            curve.append(float(np.median([one[name] for one in tried])))
    for name, curve in curves.items():
        print(name, " ".join(f"{error:.1e}" for error in curve))
    return curves


def errors_of_pair(change: float, seed: int) -> Iterator[tuple[str, float]]:
    first, second = exact.pair(CONDITION, float(change), seed=seed)
    mean = np.zeros(len(first))
    truth = {
        "KL": exact.kl(mean, first, mean, second),
        "W2^2": exact.wasserstein2_squared(mean, first, mean, second),
    }
    ours = our_ways(mean, first, second)
    others = list(peers(mean, first, second))
    for name, (distance, peer, *_) in CURVES.items():
        ways = [call for kind, label, call in others if kind == distance and peer in label]
        call = ways[0] if peer else ours[distance]
        yield name, max(exact.relative_error(call(), truth[distance]), FLOOR)


# --- drawing


def draw_ways(figure: Any, grid: Any) -> None:
    """Draw the density on the way from p to q, five times, for each of three ways."""
    ways = {"Wasserstein": geodesic, "KL barycenter": log_linear, "mixture": None}
    x, y = np.meshgrid(np.linspace(*EXTENT[:2], 168), np.linspace(*EXTENT[2:], 204))
    points = np.stack([x.ravel(), y.ravel()], 1)
    shades = colours()
    for row, (name, way) in enumerate(ways.items()):
        for column, t in enumerate(TIMES):
            axes = figure.add_subplot(grid[row, column])
            if way is None:
                parts = [np.exp(g.score_samples(points)) for g in (P, Q)]
                density = (1 - t) * parts[0] + t * parts[1]
            else:
                density = np.exp(way(P, Q, t).score_samples(points))
            # one scale for all cells: what is spread out is pale
            axes.imshow(
                density.reshape(x.shape) ** 0.6, extent=EXTENT, origin="lower", cmap=shades,
                vmin=0, vmax=PEAK**0.6, interpolation="bilinear", aspect="auto",
            )  # fmt: skip
            for g in (P, Q):
                outline(axes, g)
            axes.set_xticks([])
            axes.set_yticks([])
            for spine in axes.spines.values():
                spine.set_color(LINE)
            if column == 0:
                axes.set_ylabel(name, color=INK, fontweight="bold", labelpad=5)
            if row == 2:
                axes.set_xlabel(f"t = {t:g}" if column else "t = 0 (p)", labelpad=4)
            if row == 2 and column == 4:
                axes.set_xlabel("t = 1 (q)", labelpad=4)
            if row == column == 0:
                heading(
                    axes, "Three ways from one normal to another",
                    "densities in the plane, on one scale; "
                    "outlined, p and q at two standard deviations",
                )  # fmt: skip


PEAK = float(np.exp(P.score_samples(np.asarray(P.mean)[None])[0]))


def log_linear(p: Gaussian, q: Gaussian, t: float) -> Gaussian:
    """Return the Gaussian at the least ``(1 - t) KL(. || p) + t KL(. || q)``."""
    a, b = (1 - t) * np.linalg.inv(p.cov), t * np.linalg.inv(q.cov)
    cov = np.linalg.inv(a + b)
    return Gaussian.full(cov @ (a @ p.mean + b @ q.mean), (cov + cov.T) / 2)


def outline(axes: Any, gaussian: Gaussian) -> None:
    angle = np.linspace(0, 2 * np.pi, 200)
    circle = np.stack([np.cos(angle), np.sin(angle)])
    ring = gaussian.mean[:, None] + 2 * gaussian.factor @ circle
    axes.plot(*ring, color=SOFT, lw=0.7)


def colours() -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("blue", ["#ffffff", "#9cc3e6", BLUE, "#0f2f55"])


def draw_errors(axes: Any, curves: dict[str, list[float]]) -> None:
    """Draw relative errors by the size of the change."""
    axes.set_facecolor(PAPER)
    for name, curve in curves.items():
        _, peer, colour, marker = CURVES[name]
        axes.plot(
            CHANGES, curve, marker=marker, color=colour, ms=4.2, lw=1.6, mec=PAPER, mew=0.5,
            zorder=3 if peer else 4,
        )  # fmt: skip
    axes.axhline(1, color=SOFT, lw=0.9, ls="--", zorder=1)
    axes.text(1.3, 1.6, "no digit left", color=SOFT, ha="right", va="bottom")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(CHANGES[0] / 2, CHANGES[-1] * 2)
    axes.set_xticks([1e-8, 1e-6, 1e-4, 1e-2, 1])
    axes.set_ylim(3e-18, 1e5)
    axes.set_yticks([1e-16, 1e-12, 1e-8, 1e-4, 1, 1e4])
    axes.minorticks_off()
    axes.grid(axis="y", color=LINE, lw=0.5)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("relative change of the covariance")
    axes.set_ylabel("relative error of the distance")
    heading(
        axes, "What near normals leave of the digits",
        f"20 dimensions, condition 10⁴, float64; median of {len(SEEDS)} pairs",
    )  # fmt: skip
    for name, (x, dx, dy, side) in LABELS.items():
        place = int(np.argmin(abs(np.log(CHANGES / x))))
        axes.annotate(
            name, (CHANGES[place], curves[name][place]), (dx, dy), textcoords="offset points",
            color=CURVES[name][2], fontweight="bold", ha=side, va="center",
        )  # fmt: skip


# where a curve's name stands: at this change, so many points aside
LABELS = {
    "W2², SciPy's sqrtm": (1e-8, 8, 3, "left"),
    "W2², POT": (1e-7, 8, 5, "left"),
    "KL, torch": (1e-6, -6, -9, "right"),
    "W2², kexue": (1e-4, 0, -12, "center"),
    "KL, kexue": (1e-4, 0, 12, "center"),
}


if __name__ == "__main__":
    out = ROOT / "docs" / "gaussian" / "distances.png"
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else out)
