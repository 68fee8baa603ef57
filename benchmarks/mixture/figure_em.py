"""The figure of docs/mixture/em.md: Old Faithful with holes, and how F falls.

``python -m benchmarks.mixture.figure_em [out.png]`` needs the extra ``plot`` and takes seconds; it
prints the numbers that it draws.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.drawing import (
    BLUE,
    GREEN,
    LINE,
    ORANGE,
    PAPER,
    ROOT,
    SOFT,
    data_folder,
    heading,
    styled,
)
from kexue.mixture import Mixture, free_energy

DELETED = 0.3
STAIRS = 8  # E-steps that are drawn
CURVES = 3  # components that overlap


def main(path: Path) -> None:
    warnings.simplefilter("ignore")
    X = np.loadtxt(data_folder() / "old-faithful" / "faithful.csv", delimiter=",", skiprows=1)
    holed = X.copy()
    holed[np.random.default_rng(0).random(X.shape) < DELETED] = np.nan
    with styled() as plt:
        figure, axes = plt.subplots(1, 3, figsize=(9.6, 3.5), facecolor=PAPER)
        draw_ellipses(axes[0], X, holed)
        draw_stairs(axes[1], X)
        draw_paths(axes[2], holed)
        for ax in axes:
            ax.set_facecolor(PAPER)
            ax.spines[["top", "right"]].set_visible(False)
        figure.subplots_adjust(0.06, 0.14, 0.99, 0.83, wspace=0.27)
        figure.savefig(path, dpi=200)


def draw_ellipses(ax: Any, X: np.ndarray, holed: np.ndarray) -> None:
    """Draw what is left of the rows, and the two normal densities from all and from the rest."""
    whole, rest = (
        Mixture(2, reg_covar=0, tol=1e-9, random_state=0).fit(rows) for rows in (X, holed)
    )
    seen = ~np.isnan(holed)
    both, first, second = seen.all(1), seen[:, 0] & ~seen[:, 1], seen[:, 1] & ~seen[:, 0]
    ax.set_xlim(1.1, 5.6)
    ax.set_ylim(36, 103)
    ax.plot(*holed[both].T, "o", color=SOFT, ms=2.2, alpha=0.6, mew=0)
    bottom, left = ax.get_ylim()[0], ax.get_xlim()[0]
    ax.vlines(holed[first, 0], bottom, bottom + 2.2, color=ORANGE, lw=0.7)
    ax.hlines(holed[second, 1], left, left + 0.13, color=ORANGE, lw=0.7)
    for model, colour, style, name in (
        (whole, GREEN, "--", "fit to all values"), (rest, BLUE, "-", "fit to what is left")
    ):  # fmt: skip
        for k in range(2):
            ax.plot(
                *ellipse(model.means_[k], model.covariances_[k]), style, color=colour, lw=1.5,
                label=name if k == 0 else None,
            )  # fmt: skip
        print(name, model.weights_.round(3), model.means_.round(3).tolist(), model.n_iter_)
    print(f"rows: {both.sum()} whole, {first.sum()} and {second.sum()} with one value")
    ax.set_xlabel("eruption (minutes)")
    ax.set_ylabel("waiting (minutes)", labelpad=2)
    ax.legend(frameon=False, loc="upper left", borderaxespad=0.1)
    heading(
        ax, "30% of the values deleted", "ticks: rows of which one value is left; ellipses: 90%"
    )


def ellipse(mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Return the outline that holds 90% of a normal density."""
    angle = np.linspace(0, 2 * np.pi, 200)
    radius = np.sqrt(-2 * np.log(0.1))
    circle = radius * np.stack([np.cos(angle), np.sin(angle)])
    return mean[:, None] + np.linalg.cholesky(covariance) @ circle


def draw_stairs(ax: Any, X: np.ndarray) -> None:
    """Draw F after each half of a step of plain EM, on all values."""
    joints: list[np.ndarray] = []

    def note(model: Mixture) -> bool:
        r = model.predict_proba(X)
        joints.append(np.log(np.maximum(r, 1e-300)) + model.score_samples(X)[:, None])
        return len(joints) > STAIRS

    # centres at random rows of one group, for there to be something to do
    start = np.argsort(X[:, 0])[[180, 260]]
    r = (((X[:, None] - X[start]) / X.std(0)) ** 2).sum(2).argmin(1)
    Mixture(2, init=0.5 * np.eye(2)[r] + 0.25, reg_covar=0, accelerate=False, tol=0,
            callback=note).fit(X)  # fmt: skip
    value, kinds = [], []
    for t, joint in enumerate(joints[:-1]):
        q = np.exp(joint - np.logaddexp.reduce(joint, axis=1)[:, None])
        value += [free_energy(q, joint), free_energy(q, joints[t + 1])]
        kinds += ["E", "M"]
    place = list(range(len(value)))
    print("F:", np.round(value, 4).tolist())
    ax.step(place, value, where="post", color=LINE, lw=1.2, zorder=1)
    for kind, colour in (("E", BLUE), ("M", ORANGE)):
        chosen = [i for i, name in enumerate(kinds) if name == kind]
        ax.plot(
            chosen, [value[i] for i in chosen], "o", color=colour, ms=4,
            label=f"after an {kind}-step", zorder=2,
        )  # fmt: skip
    ax.set_xticks(place[::2], [str(i // 2 + 1) for i in place[::2]])
    ax.set_xlabel("step")
    ax.set_ylabel("F (nats per row)", labelpad=2)
    ax.legend(frameon=False, loc="lower left")
    heading(
        ax, "Each half of a step lowers F", "plain EM, all values; after an E-step, F is -L / n"
    )


def draw_paths(ax: Any, holed: np.ndarray) -> None:
    """Draw how far F is from its least value, by plain and by accelerated EM."""
    paths = {}
    for accelerate in (False, True):
        told: list[tuple[int, float]] = []

        def note(model: Mixture, told: list[tuple[int, float]] = told) -> None:
            told.append((model.n_iter_, -model.log_likelihood_))

        model = Mixture(
            CURVES, "gaussian_tied", reg_covar=0, tol=1e-13, max_iter=3000, random_state=0,
            accelerate=accelerate, callback=note,
        ).fit(holed)  # fmt: skip
        told.append((model.n_iter_, -model.log_likelihood_))
        paths[accelerate] = np.array(told)
        print(f"accelerate={accelerate}: {model.n_iter_} sweeps, {model.log_likelihood_:.6f}")
    least = min(path[-1, 1] for path in paths.values())
    n = int((~np.isnan(holed)).any(1).sum())
    for accelerate, colour, name in ((False, SOFT, "plain EM"), (True, BLUE, "SQUAREM")):
        sweeps, f = paths[accelerate].T
        gap = (f - least) / n
        keep = gap > 1e-9
        ax.semilogy(sweeps[keep], gap[keep], "o-", color=colour, ms=2.4, lw=1.2, label=name)
        print(name, "first within 1e-6:", int(sweeps[gap < 1e-6][0]))
    ax.set_xlabel("sweeps over the rows")
    ax.set_ylabel("F less its least (nats per row)", labelpad=2)
    ax.legend(frameon=False, loc="upper right")
    heading(ax, "Longer steps where EM is slow", "with holes, three components, one covariance")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "mixture" / "em.png")
