"""The figure of the page about JoSE: newsgroups on a map, and what the order of a file is worth.

``python -m benchmarks.vectors.figure_jose [out.png]`` trains and draws; it takes some minutes.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.drawing import (
    BLUE,
    INK,
    LINE,
    PAPER,
    RED,
    ROOT,
    SOFT,
    data_folder,
    heading,
    styled,
)
from benchmarks.vectors.newsgroups import N_GROUPS, Newsgroups, read_newsgroups, scores
from kexue.vectors import JoSE

SHOWN = 4000  # documents on the map
EPOCHS = (1, 2, 4, 8)
# groups of one branch share a hue: comp, rec, sci, talk and religion, the market
FAMILIES = {
    "comp": "#1f5fa8",
    "rec": "#0e8a6a",
    "sci": "#e39a1f",
    "talk, religion": "#c9502b",
    "misc.forsale": "#7a3b8f",
}


def main(path: Path) -> None:
    data = data_folder()
    news = read_newsgroups(data)
    table = pl.read_parquet(data / "newsgroups" / "20news_bydate.parquet", columns=["group"])
    groups = table["group"].unique().sort().to_list()
    curves = leak(news)
    for name, values in curves.items():
        print(name, [round(value, 3) for value in values])
    model = JoSE(window=10, epochs=20, sample=1e-4, random_state=0, n_jobs=2).fit(news.documents)
    with styled() as plt:
        figure, (left, right) = plt.subplots(
            1, 2, figsize=(9.6, 5.6), width_ratios=(1.75, 1), facecolor=PAPER
        )
        draw_map(left, model, news, groups)
        draw_leak(right, curves)
        figure.subplots_adjust(left=0.02, right=0.985, bottom=0.1, top=0.88, wspace=0.14)
        figure.savefig(path, dpi=200, facecolor=PAPER)


def leak(news: Newsgroups) -> dict[str, list[float]]:
    """Return NMI after several numbers of epochs, in the order of the file and shuffled."""
    return {
        name: [
            scores(
                JoSE(epochs=n, shuffle=shuffle, random_state=0, n_jobs=2)
                .fit(news.documents)
                .doc_vectors_,
                news,
                n_init=3,
            )["nmi"]
            for n in EPOCHS
        ]
        for name, shuffle in (("sorted by group", False), ("shuffled", True))
    }


def family(group: str) -> str:
    branch = group.split(".", maxsplit=1)[0]
    if branch in ("alt", "soc", "talk"):
        return "talk, religion"
    return group if branch == "misc" else branch


def draw_map(axes: Any, model: JoSE, news: Newsgroups, groups: list[str]) -> None:
    """Draw documents in the plane, by t-SNE of their cosines, each group with its words."""
    from sklearn.manifold import TSNE

    chosen = np.random.default_rng(0).permutation(len(news.documents))[:SHOWN]
    vectors, labels = model.doc_vectors_[chosen], news.labels[chosen]
    places = TSNE(metric="cosine", perplexity=40, init="pca", random_state=0).fit_transform(vectors)
    hues = [FAMILIES[family(group)] for group in groups]
    axes.scatter(*places.T, s=3, c=[hues[k] for k in labels], alpha=0.45, lw=0)
    counts = model.counts_.astype(float)
    centres = [model.doc_vectors_[news.labels == k].mean(axis=0) for k in range(N_GROUPS)]
    spots = np.array([np.median(places[labels == k], axis=0) for k in range(N_GROUPS)])
    high = 0.04 * np.ptp(places[:, 1])
    wide = 0.2 * np.ptp(places[:, 0])
    for k, place in enumerate(apart(spots, wide, high)):
        words = near_words(model, centres[k], counts)
        print(groups[k], words)
        box = {"boxstyle": "round,pad=0.15", "fc": PAPER, "ec": hues[k], "lw": 0.8, "alpha": 0.9}
        axes.annotate(
            ", ".join(words), place, ha="center", va="center", fontsize=6.5, color=INK, bbox=box
        )
    for name, hue in FAMILIES.items():
        axes.scatter([], [], s=16, color=hue, label=name)
    axes.legend(frameon=False, loc="lower left", fontsize=7.5, handletextpad=0.1, borderpad=0)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_facecolor(PAPER)
    axes.spines[:].set_visible(False)
    heading(
        axes, "20 Newsgroups on the sphere",
        f"{SHOWN:,} messages by t-SNE of their cosines; words nearest to each group's centre",
    )  # fmt: skip


def apart(spots: np.ndarray, wide: float, high: float) -> np.ndarray:
    """Return the places of labels, moved up or down until none of a width and height overlap."""
    spots = spots.copy()
    for _ in range(200):
        across, up = (spots[:, None, axis] - spots[None, :, axis] for axis in (0, 1))
        near = (abs(across) < wide) & (abs(up) < high) & ~np.eye(len(spots), dtype=bool)
        if not near.any():
            break
        spots[:, 1] += 0.1 * (near * np.where(up >= 0, 1.0, -1.0) * (high - abs(up))).sum(axis=1)
    return spots


def near_words(model: JoSE, centre: np.ndarray, counts: np.ndarray, n: int = 3) -> list[str]:
    """Return the nearest of the words that are neither rare nor numbers."""
    order = np.argsort(-(model.word_vectors_ @ centre))
    names = [model.words_[k] for k in order[:400].tolist() if counts[k] >= 200]
    return [name for name in names if name.isalpha() and len(name) > 2][:n]


def draw_leak(axes: Any, curves: dict[str, list[float]]) -> None:
    for (name, values), hue, marker in zip(curves.items(), (RED, BLUE), "so", strict=True):
        axes.plot(EPOCHS, values, marker=marker, color=hue, lw=1.6, ms=5)
        axes.annotate(
            name, (EPOCHS[-1], values[-1]), (0, 9), textcoords="offset points", ha="right",
            color=hue, fontweight="bold",
        )  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set_xticks(EPOCHS, list(map(str, EPOCHS)))
    axes.set_ylim(0, 1)
    axes.set_xlabel("epochs")
    axes.set_ylabel("NMI of k-means with the groups")
    axes.grid(axis="y", color=LINE, lw=0.5)
    axes.set_axisbelow(True)
    axes.set_facecolor(PAPER)
    axes.tick_params(colors=SOFT, labelcolor=INK)
    axes.spines[["top", "right"]].set_visible(False)
    heading(axes, "What the order is worth", "the same messages, window 5")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "vectors" / "jose.png")
