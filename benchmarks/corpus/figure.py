"""The figure of docs/corpus/parallel-counting.md: throughput by workers, and cost by table size.

``python -m benchmarks.corpus.figure [out.png]`` needs the extra ``plot`` and some minutes. Times
are wall times of the run, compiled, the median of three.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.corpus.loops import count_batched, count_in_processes, count_one
from benchmarks.corpus.sampled_text import WORDS_PER_LINE, spell, write_text
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
    data_folder,
    heading,
    styled,
)
from benchmarks.measuring import first_call_seconds

N_WORDS = 20_000_000
LINES_PER_BATCH = 250  # 100,000 tokens
REPEATS = 3
LEAST_UPDATES = 1 << 20
SIZES = [1 << k for k in range(8, 20)]  # distinct words of a table
STYLES = ((RED, "o"), (ORANGE, "s"), (BLUE, "o"), (GREEN, "^"))
# slots, entry, and the cache line of the spelling
ENTRY_BYTES = 2 * 4 + 32 + 64
POWERS = {k: f"{2 ** (k % 10)}{'k' if k >= 10 else ''}" for k in range(20)}
LINE_POINTS = 12
Curve = dict[int, float]


def main(path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        curves = throughputs(Path(folder) / "words.txt", data_folder())
    costs = update_costs()
    with styled() as plt:
        figure, (left, right) = plt.subplots(1, 2, figsize=(9.6, 4.6), facecolor=PAPER)
        draw_throughputs(left, curves)
        draw_costs(right, costs)
        figure.subplots_adjust(0.062, 0.115, 0.985, 0.86, wspace=0.2)
        figure.savefig(path, dpi=200)


# --- measuring


def counters() -> dict[str, Callable[[Path, int], Any]]:
    """Return what is drawn in the left panel: functions of a file and a number of workers."""
    from kexue.corpus import count_ngrams, count_words

    def one(path: Path, workers: int) -> Any:
        with open(path, encoding="utf-8") as file:
            return count_one(file, str.split)

    def batched(path: Path, workers: int) -> Any:
        with open(path, encoding="utf-8") as file:
            if workers == 1:
                return count_batched(file, str.split, LINES_PER_BATCH)
            return count_in_processes(file, str.split, LINES_PER_BATCH, workers)

    return {
        "one dictionary": one,
        "batched dictionaries": batched,
        "count_words": lambda path, workers: count_words(path, n_jobs=workers),
        "count_ngrams, orders 1-4": lambda path, workers: count_ngrams(
            path, 4, n_jobs=workers, memory="8GB"
        ),
    }


def throughputs(path: Path, data: Path) -> dict[str, Curve]:
    """Return MB/s by number of workers, for every counter."""
    size = write_text(path, data, N_WORDS)
    small = path.with_name("small.txt")
    write_text(small, data, 1)
    workers = range(1, len(os.sched_getaffinity(0)) + 1)
    curves: dict[str, Curve] = {}
    for name, count in counters().items():
        first_call_seconds(partial(count, small, 1))  # compiles
        curves[name] = {
            w: size / 1e6 / median_seconds(partial(count, path, w))
            for w in (workers if name != "one dictionary" else [1])
        }
        print(name, {w: f"{speed:.1f} MB/s" for w, speed in curves[name].items()}, flush=True)
    return curves


def median_seconds(function: Callable[[], Any]) -> float:
    return float(np.median([first_call_seconds(function) for _ in range(REPEATS)]))


def update_costs() -> dict[str, Curve]:
    """Return nanoseconds per update by the number of words in a table, drawn uniformly."""
    rng = np.random.default_rng(0)
    words = list(dict.fromkeys(spell(np.arange(2 * SIZES[-1]), ["stem", "leaf"], rng)))
    costs: dict[str, Curve] = {"Python's dict": {}, "count_words' table": {}}
    for size in SIZES:
        n = max(LEAST_UPDATES, 8 * size)
        drawn = np.concatenate([np.arange(size), rng.integers(0, size, n - size)])
        costs["Python's dict"][size] = dict_cost(words, drawn)
        costs["count_words' table"][size] = table_cost(words[:size], drawn)
        print(size, {name: f"{curve[size]:.1f} ns" for name, curve in costs.items()}, flush=True)
    return costs


def dict_cost(words: list[str], drawn: np.ndarray) -> float:
    # fresh strings, as from str.split: the hash of a known one would be at hand
    lines = [
        " ".join([words[k] for k in part.tolist()])
        for part in np.array_split(drawn, drawn.size // WORDS_PER_LINE)
    ]
    split = median_seconds(lambda: sum(len(line.split()) for line in lines))
    return 1e9 * (median_seconds(lambda: count_one(lines, str.split)) - split) / drawn.size


def table_cost(words: list[str], drawn: np.ndarray) -> float:
    from kexue.corpus._span_kernels import EMPTY, hash_spans
    from kexue.corpus._word_kernels import count_spans
    from kexue.corpus.texts import encode_text

    chosen = [words[k] for k in drawn.tolist()]
    codes = encode_text("".join(chosen))
    starts = np.cumsum([0, *map(len, chosen)], dtype=np.int64)
    hashes = hash_spans(codes, starts)
    entries = np.empty((len(words), 4), np.int64)
    slots = np.empty(2 * len(words), np.int32)

    def count() -> tuple[int, int]:
        slots[:] = EMPTY
        return count_spans(codes, starts[:-1], starts[1:], hashes, 0, slots, entries, 0)

    assert count() == (drawn.size, len(words))
    return 1e9 * median_seconds(count) / drawn.size


def caches() -> dict[str, int]:
    """Return the bytes of the data caches by level, where the system tells."""
    found = {}
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = (
            (folder / name).read_text().strip() for name in ("level", "type", "size")
        )
        if kind != "Instruction":
            found[f"L{level}"] = int(size.rstrip("KM")) << (20 if size.endswith("M") else 10)
    return found


# --- drawing


def draw_throughputs(axes: Any, curves: dict[str, Curve]) -> None:
    """Draw speed by workers; above the dashed line a worker does more than one dictionary."""
    most = max(max(curve) for curve in curves.values())
    (base,) = curves["one dictionary"].values()
    ends = np.array([1, most])
    axes.plot(ends, base * ends, "--", color=SOFT, lw=1.1, zorder=1)
    labels = [("slope one", most, base * most, SOFT)]
    for (name, curve), (colour, marker) in zip(curves.items(), STYLES, strict=True):
        workers, speed = list(curve), list(curve.values())
        axes.plot(workers, speed, marker=marker, color=colour, ms=6, lw=1.6, mec=PAPER, mew=0.6)
        labels.append((name, workers[-1], speed[-1], colour))
    speeds = [base * most, *(speed for curve in curves.values() for speed in curve.values())]
    axes.set_xscale("log", base=2)
    axes.set_xlim(0.9, most * (most / 0.9) ** 0.85)  # names need four tenths of the width
    axes.set_yscale("log")
    axes.set_ylim(min(speeds) / 1.35, max(speeds) * 1.35)
    write_apart(axes, labels)
    ticks = [t for t in (5, 10, 20, 30, 50, 100, 200, 300, 500) if min(speeds) / 1.35 < t]
    ticks = [t for t in ticks if t < 1.35 * max(speeds)]
    dress(axes, ticks)
    workers = [2**k for k in range(most.bit_length())]
    axes.set_xticks(workers, [str(w) for w in workers])
    axes.set_xlabel("workers")
    axes.set_ylabel("MB of text per second")
    cores = len(os.sched_getaffinity(0))
    heading(
        axes, f"Counting {N_WORDS / 1e6:.0f} million words, on {cores} cores",
        "above the dashed line a worker does more than one dictionary does alone",
    )  # fmt: skip


def write_apart(axes: Any, labels: list[tuple[str, int, float, str]]) -> None:
    """Write names beside their points, from below, none into the one under it."""
    height = axes.get_window_extent().height * 72 / axes.get_figure().dpi  # points
    scale = height / np.log(axes.get_ylim()[1] / axes.get_ylim()[0])
    free: dict[int, float] = {}
    for name, x, y, colour in sorted(labels, key=lambda label: label[2]):
        place = max(scale * np.log(y), free.get(x, -np.inf))
        free[x] = place + LINE_POINTS
        axes.annotate(
            name, (x, y), (8, place - scale * np.log(y)), textcoords="offset points",
            va="center", color=colour, fontweight="normal" if colour == SOFT else "bold",
        )  # fmt: skip


def draw_costs(axes: Any, costs: dict[str, Curve]) -> None:
    """Draw the cost of an update by table size, the caches and the table that was chosen."""
    from kexue.corpus._tally import LOCAL_WORDS

    values = [value for curve in costs.values() for value in curve.values()]
    low, high = min(values) / 1.7, max(values) * 1.6
    for (name, curve), colour in zip(costs.items(), (RED, BLUE), strict=True):
        axes.plot(list(curve), list(curve.values()), "o-", color=colour, ms=4.5, lw=1.6)
        axes.annotate(
            name, (min(curve), curve[min(curve)]), (0, 14), textcoords="offset points",
            color=colour, fontweight="bold",
        )  # fmt: skip
    for level, size in caches().items():
        words = size / ENTRY_BYTES
        axes.axvline(words, color=LINE, lw=1, zorder=0)
        axes.text(words * 1.06, low * 1.08, f"{level} {size_text(size)}", color=SOFT, fontsize=8)
    chosen = costs["count_words' table"][LOCAL_WORDS]
    axes.plot([LOCAL_WORDS], [chosen], "o", ms=11, mfc="none", mec=INK, mew=1.4)
    axes.annotate(
        f"chosen: {LOCAL_WORDS:,} words", (LOCAL_WORDS, chosen), (-10, 12),
        textcoords="offset points", ha="right", fontweight="bold",
    )  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlim(min(SIZES) / 1.4, max(SIZES) * 2.2)
    axes.set_ylim(low, high)
    ticks = [t for t in (10, 20, 50, 100, 200, 500, 1000) if low < t < high]
    dress(axes, ticks)
    powers = range(8, int(np.log2(max(SIZES))) + 1, 2)
    axes.set_xticks([2**k for k in powers], [POWERS[k] for k in powers])
    axes.set_xlabel("distinct words in the table")
    axes.set_ylabel("ns per update")
    heading(
        axes, "One update, by the size of the table",
        f"words drawn uniformly, the worst case; caches at {ENTRY_BYTES} bytes a word of our table",
    )  # fmt: skip


def size_text(size: int) -> str:
    return f"{size >> 20} MB" if size >= 1 << 20 else f"{size >> 10} KB"


def dress(axes: Any, ticks: list[int]) -> None:
    from matplotlib.ticker import NullFormatter

    axes.set_facecolor(PAPER)
    axes.set_yticks(ticks, [f"{t:g}" for t in ticks])
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(which="minor", length=0)
    axes.grid(axis="y", color=LINE, lw=0.5)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    out = ROOT / "docs" / "corpus" / "parallel-counting.png"
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else out)
