"""The figure of docs/words/discovery.md: the price of a word, and the ledger as a staircase.

``python -m benchmarks.words.figure [out.png]`` needs the extras ``demo`` and ``plot`` and a minute;
it prints the numbers that it draws. The text is the newspaper of January 1998.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NamedTuple

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
from benchmarks.words.choosing import N_GOLD, f1
from kexue.atlas import Atlas
from kexue.atlas.demo import load_demo
from kexue.corpus.texts import as_texts
from kexue.words import TemplateFinder, nvbe
from kexue.words.pricing import PRICES, description_lengths
from kexue.words.tokenizer import token_cuts
from kexue.words.tokens import Tokens

SMALL = 600  # lines, beside as many with gold words
MAX_LENGTH = 4
# The two codes, and how far above the first of which point their names stand
CODES = (
    ("every word listed", (0, 32), BLUE, "s", "-"),
    ("words used once escaped", (1, 9), ORANGE, "^", (0, (5, 1.5))),
)
SUBTITLES = (
    "shaded: between the best prices of the two codes",
    'dotted: the price midway, which "mdl" takes',
)
COMPRESSOR = "xz -9"


class Curves(NamedTuple):
    """One text under every price, each array of shape (n_prices,)."""

    n_characters: int
    f1: np.ndarray
    lengths: tuple[np.ndarray, np.ndarray]


class Step(NamedTuple):
    """A row of the ledger, bits per character."""

    name: str
    text: float
    code: float
    held_out: float | None


def main(path: Path) -> None:
    lines = load_demo()
    curves = [price_curves(lines, n) for n in (SMALL, len(lines))]
    steps, compressed = staircase(lines)
    with styled() as plt:
        figure = plt.figure(figsize=(9.6, 5.2), facecolor=PAPER)
        grid = figure.add_gridspec(2, 3, width_ratios=(1, 1, 1.6), height_ratios=(1, 1.25))
        for column, some in enumerate(curves):
            upper, lower = (figure.add_subplot(grid[row, column]) for row in (0, 1))
            draw_scores(upper, some, named=column == 0)
            draw_lengths(lower, some, named=column == 0)
        draw_steps(figure.add_subplot(grid[:, 2]), steps, compressed)
        figure.subplots_adjust(0.058, 0.095, 0.99, 0.875, wspace=0.24, hspace=0.12)
        figure.savefig(path, dpi=200)


# --- measuring


def price_curves(lines: list[list[str]], n: int) -> Curves:
    """Return F1 and both code lengths of the segmentation at every price, before EM."""
    order = np.random.default_rng(0).permutation(len(lines))  # as benchmarks.words.choosing
    gold = [lines[i] for i in order[:N_GOLD][:n]]
    rest = [lines[i] for i in order[N_GOLD:][:n]]
    codes = as_texts(["".join(words) for words in (*gold, *rest)]).codes()
    lattice = nvbe.lattice(
        codes, token_cuts(codes, "auto"), nvbe.joining_characters("auto"), max_length=MAX_LENGTH
    )
    rows = []
    for price in PRICES.tolist():
        starts = np.append(np.flatnonzero(lattice.segment(price)), codes.size)
        rows.append((100 * f1(starts, codes, gold), *description_lengths(codes, starts)))
        print(
            f"{codes.size:,} characters, price {price:+.0f}: F1 {rows[-1][0]:.2f}, "
            f"bits {rows[-1][1]:.3f} and {rows[-1][2]:.3f}",
            flush=True,
        )
    scores, listed, escaped = np.transpose(rows)
    return Curves(codes.size, scores, (listed, escaped))


def staircase(lines: list[list[str]]) -> tuple[list[Step], float]:
    """Return the steps of the ledger, and what the compressor takes for the same text."""
    atlas = Atlas(random_state=0).fit(["".join(words) for words in lines])
    steps = {
        row.name: Step(row.name, row.in_sample, row.model, row.held_out) for row in atlas.ledger_
    }
    words = steps["words"]
    rows = dict(TemplateFinder().fit(documents(atlas.train_)).ledger_)
    # the same text, characters and ends of documents: only then may the rows stand side by side
    assert np.isclose(rows["words"], words.text, rtol=1e-9)
    # its entries are in the figure; what the words are is stated besides
    templates = Step("templates", rows["templates"], words.code, None)
    for step in (found := [steps["characters"], words, templates, steps["communities"]]):
        held_out = "" if step.held_out is None else f", held out {step.held_out:.3f}"
        print(f"{step.name}: in sample {step.text:.3f}, code {step.code:.3f}{held_out}")
    print(f"phrases alone: in sample {rows['phrases']:.3f}")
    print(COMPRESSOR, f"{atlas.references_[COMPRESSOR]:.3f}")
    return found, atlas.references_[COMPRESSOR]


def documents(tokens: Tokens) -> list[list[str]]:
    """Return the tokens of every document."""
    ends = np.flatnonzero(tokens.ids == tokens.end_id)
    spelled = [tokens.spellings[i] for i in tokens.ids.tolist()]
    starts = [0, *(ends + 1).tolist()]
    return [spelled[a:b] for a, b in zip(starts, ends.tolist(), strict=False)]


# --- drawing


def draw_scores(axes: Any, curves: Curves, *, named: bool) -> None:
    """Draw F1 by price, the best marked."""
    middle = bracket(axes, curves)
    axes.plot(PRICES, curves.f1, "o-", color=GREEN, ms=4.5, lw=1.6)
    best = int(np.argmax(curves.f1))
    axes.plot(PRICES[best], curves.f1[best], "o", ms=10, mfc="none", mec=INK, mew=1.3)
    axes.annotate(
        f"best {curves.f1[best]:.1f}", (PRICES[best], curves.f1[best]), (0, 9),
        textcoords="offset points", fontweight="bold",
        ha="right" if PRICES[best] > middle else "left",
    )  # fmt: skip
    span = np.ptp(curves.f1)
    axes.set_ylim(curves.f1.min() - 0.12 * span, curves.f1.max() + 0.3 * span)
    dress(axes)
    axes.tick_params(labelbottom=False)
    if named:
        axes.set_ylabel("F1 of words (%)")
    millions = curves.n_characters / 1e6
    heading(axes, f"{millions:.2f} million characters", SUBTITLES[not named])


def draw_lengths(axes: Any, curves: Curves, *, named: bool) -> None:
    """Draw what text and lexicon take under the two codes, the least of each marked."""
    bracket(axes, curves)
    span = np.ptp(np.concatenate(curves.lengths))
    for bits, (name, place, colour, marker, line) in zip(curves.lengths, CODES, strict=True):
        axes.plot(PRICES, bits, marker=marker, ls=line, color=colour, ms=4.5, lw=1.6)
        least = int(np.argmin(bits))
        axes.plot(PRICES[least], bits[least], marker, ms=10, mfc="none", mec=INK, mew=1.3)
        if named:
            point, height = place
            axes.annotate(
                name, (PRICES[point], bits[point]), (0, height), textcoords="offset points",
                color=colour, fontweight="bold",
            )  # fmt: skip
    low, high = min(map(np.min, curves.lengths)), max(map(np.max, curves.lengths))
    axes.set_ylim(low - 0.1 * span, high + 0.12 * span)
    dress(axes)
    axes.set_xlabel("price of a word (nats)")
    if named:
        axes.set_ylabel("text and lexicon (bits per character)")


def bracket(axes: Any, curves: Curves) -> float:
    """Shade the prices between those that the two codes ask for; draw and return the middle."""
    first, second = (float(PRICES[np.argmin(bits)]) for bits in curves.lengths)
    axes.axvspan(first, second, color=LINE, alpha=0.45, lw=0, zorder=0)
    middle = (first + second) / 2
    axes.axvline(middle, color=INK, lw=1, ls=":", zorder=1)
    return middle


def dress(axes: Any) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_facecolor(PAPER)
    axes.set_xlim(0.4, PRICES.min() - 0.4)
    axes.set_xticks(PRICES[::2], [f"{price:.0f}".replace("-", "\u2212") for price in PRICES[::2]])
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.grid(axis="y", color=LINE, lw=0.5)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def draw_steps(axes: Any, steps: list[Step], compressed: float) -> None:
    """Draw the ledger: the text in sample, what stating the code adds, and held-out text."""
    for place, step in enumerate(steps):
        ends, top = [place + 0.06, place + 0.94], step.text + step.code
        band = axes.fill_between(ends, step.text, top, color=BLUE, alpha=0.2, lw=0)
        (line,) = axes.plot(ends, [step.text] * 2, color=BLUE, lw=3, solid_capstyle="butt")
        axes.annotate(
            f"{step.text:.2f}", (place + 0.5, step.text), (0, -12), textcoords="offset points",
            ha="center", color=BLUE, fontweight="bold",
        )  # fmt: skip
        if step.held_out is not None:
            unseen = axes.plot(place + 0.86, step.held_out, "D", color=RED, ms=6, mec=PAPER)[0]
    # templates and communities both begin from the words, neither from the other
    for place, origin in ((1, 0), (2, 1), (3, 1)):
        top, bottom = steps[origin].text, steps[place].text
        axes.plot([origin + 0.94, place + 0.3], [top, top], color=SOFT, lw=1, ls=":", zorder=1)
        axes.annotate(
            "", (place + 0.3, bottom), (place + 0.3, top),
            arrowprops={"arrowstyle": "->", "color": SOFT, "lw": 1, "shrinkA": 0, "shrinkB": 1},
        )  # fmt: skip
        axes.annotate(
            f"\u2212{top - bottom:.2f}", (place + 0.3, (top + bottom) / 2), (4, 0),
            textcoords="offset points", va="center", color=SOFT,
        )  # fmt: skip
    axes.legend(
        [line, band, unseen],
        ["the text, in sample", "stating the code", "held-out text"],
        frameon=False, loc="upper right", bbox_to_anchor=(1, 0.99),
    )  # fmt: skip
    axes.axhline(compressed, color=SOFT, lw=1, ls="--", zorder=0)
    axes.annotate(
        f"{COMPRESSOR}  {compressed:.2f}", (0.06, compressed), (0, 4),
        textcoords="offset points", color=SOFT,
    )  # fmt: skip
    axes.set_facecolor(PAPER)
    axes.set_xlim(0, len(steps))
    axes.set_ylim(min(step.text for step in steps) - 0.2, steps[0].text + 0.25)
    axes.set_xticks(np.arange(len(steps)) + 0.5, [step.name for step in steps])
    axes.tick_params(axis="x", length=0)
    axes.set_ylabel("bits per character")
    axes.grid(axis="y", color=LINE, lw=0.5)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    heading(axes, "The ledger of the large text", "nine tenths to learn from, the last held out")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "words" / "discovery.png")
