"""Counting the words of 200 MB: how much faster per worker than with one dictionary, and why.

The text is written by `sampled_text` into a temporary folder; every side reads it from there and
ends with the counts of all words, which must be equal. Wall time, since processes take part;
medians. The counter-example counts character n-grams of poems with the same loops.
"""

from __future__ import annotations

import os
import pickle
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.corpus.bench_counting import read_poems
from benchmarks.corpus.loops import (
    Tokens,
    batches,
    count_batched,
    count_in_processes,
    count_one,
    merge,
    ngrams,
    pack,
    unpack,
)
from benchmarks.corpus.sampled_text import WORDS_PER_LINE, write_text
from benchmarks.measuring import Row, first_call_seconds
from kexue.corpus import count_words

N_WORDS = 45_000_000
N_POEM_LINES = 13_000
WORKERS = 2
REPEATS = 3
# Tokens of a batch that were tried; the article's loops are given the best one
BATCHES = (4_000, 20_000, 100_000, 400_000, 1_600_000)
TRIED_WORDS = 9_000_000


@dataclass
class Costs:
    """What counting costs, in seconds per token unless said otherwise.

    Attributes
    ----------
    batch : float
        Tokens of a batch.
    read : float
        To read the text as lines.
    split : float
        To cut lines into tokens.
    big, small : float
        c_G and c_L: one update of the one dictionary, and of a local one.
    merge : float
        c_M, per entry merged.
    distinct : float
        r: distinct tokens of a batch over its tokens.
    send, receive : float
        To pack and unpack, for the pipe, in the parent: batches out, dictionaries in.
    load, dump : float
        The same in a worker.
    """

    batch: float
    read: float
    split: float
    big: float
    small: float
    merge: float
    distinct: float
    send: float
    receive: float
    load: float
    dump: float

    def article(self, workers: int) -> float:
        """Return the efficiency per worker by the article's model."""
        return self.big / max(self.small, workers * self.distinct * self.merge)

    @property
    def one(self) -> float:
        """One dictionary."""
        return self.read + self.split + self.big

    @property
    def batched(self) -> float:
        """Local dictionaries in one process."""
        return self.read + self.split + self.small + self.distinct * self.merge

    @property
    def worker(self) -> float:
        """What a worker does."""
        return self.load + self.split + self.small + self.dump

    @property
    def parent(self) -> float:
        """What the parent does."""
        return self.read + self.send + self.receive + self.distinct * self.merge

    def extended(self, workers: int, cores: int, start: float) -> float:
        """Return the efficiency per worker with reading, splitting, pipes and few cores.

        `start` is what the start of the processes takes, shared by all tokens.
        """
        both = (self.worker + self.parent) / cores
        return self.one / (workers * (max(self.worker / workers, self.parent, both) + start))


def measure_costs(
    lines: Callable[[], Iterable[str]], tokens: Tokens, size: int, one: float | None = None
) -> Costs:
    """Take the time of every part of the loops by itself, in batches of `size` lines.

    `one` is what one dictionary takes, in seconds, if known.
    """
    read = seconds(lambda: sum(1 for _ in lines()))[0]
    n = sum(len(tokens(line)) for line in lines())
    if one is None:
        one = seconds(lambda: count_one(lines(), tokens))[0]
    clock = time.perf_counter
    parts = dict.fromkeys(("split", "send", "load", "small", "dump", "receive", "merge"), 0.0)
    merged: dict[str, int] = {}
    entries = n_batches = 0
    for batch in batches(lines(), size):
        marks = [clock()]
        for line in batch:
            tokens(line)
        marks.append(clock())
        data = pickle.dumps(batch, pickle.HIGHEST_PROTOCOL)
        marks.append(clock())
        batch = pickle.loads(data)
        marks.append(clock())
        part = count_one(batch, tokens)
        marks.append(clock())
        data = pickle.dumps(pack(part), pickle.HIGHEST_PROTOCOL)
        marks.append(clock())
        pairs = unpack(pickle.loads(data))
        marks.append(clock())
        merge(merged, pairs)
        marks.append(clock())
        for name, begin, end in zip(parts, marks[:-1], marks[1:], strict=True):
            parts[name] += end - begin
        entries += len(part)
        n_batches += 1
    split = parts["split"] / n
    return Costs(
        batch=n / n_batches,
        read=read / n,
        split=split,
        big=(one - read) / n - split,
        small=parts["small"] / n - split,
        merge=parts["merge"] / entries,
        distinct=entries / n,
        **{name: parts[name] / n for name in ("send", "receive", "load", "dump")},
    )


def seconds(function: Callable[[], Any], repeats: int = 1) -> tuple[float, Any]:
    """Return the median wall time of calls, and the last result."""
    times = []
    for _ in range(repeats):
        result = None  # freed before the next call, not during it
        start = time.perf_counter()
        result = function()
        times.append(time.perf_counter() - start)
    return statistics.median(times), result


def measure(data: Path) -> Iterator[Row]:
    """Yield the comparisons."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "words.txt"
        write_text(path, data, N_WORDS)
        yield from measure_words(path)
        path = Path(folder) / "poems.txt"
        path.write_text("\n".join(read_poems(data)[:N_POEM_LINES]) + "\n", encoding="utf-8")
        yield from measure_ngrams(path)


def measure_words(path: Path) -> Iterator[Row]:
    """Yield the rows of the claim, of our counter and of its peers."""
    what = f"words of {path.stat().st_size / 1e6:.0f} MB"
    loop = "one dict, Python"
    size = choose_batch(path)
    naive, total = seconds(lambda: count_one(lines_of(path), str.split), REPEATS)
    costs = measure_costs(lambda: lines_of(path), str.split, size, naive)
    print_costs([costs])
    what += f", {len(total) / 1e6:.2f} M distinct"
    yield from claim(what, path, str.split, size, costs, naive, total)
    first = first_call_seconds(lambda: count_words(["a text"]))
    ours, counts = seconds(lambda: count_words(path), REPEATS)
    assert counts == total
    del counts
    note = f"Our first call, compiling or loading kernels: {first:.1f} s."
    yield Row(f"{what}, count_words, 1 thread", "s", ours, naive, loop, bar=1, note=note)
    both, counts = seconds(lambda: count_words(path, n_jobs=WORKERS), REPEATS)
    yield Row(
        f"{what}, count_words, {WORKERS} threads, per worker", "s x workers",
        WORKERS * both, naive, loop, bar=1, note=note,
    )  # fmt: skip
    yield Row(
        f"{what}, count_words, {WORKERS} threads, per worker", "s x workers", WORKERS * both,
        ours, "count_words, 1 thread", readme=False,
        note="the best serial program is ours with one thread; above one would be magic",
    )  # fmt: skip
    slow, counts = seconds(
        lambda: count_words(path, str.split, n_jobs=WORKERS, executor="process"), REPEATS
    )
    yield Row(
        f"{what}, count_words(str.split), {WORKERS} processes, per worker", "s x workers",
        WORKERS * slow, naive, loop, bar=1,
    )  # fmt: skip
    del total
    peer, frame = seconds(lambda: count_polars(path), REPEATS)
    assert frame.height == len(counts)
    yield Row(
        f"{what}, count_words, 1 thread", "s", ours, peer, f"polars {pl.__version__}",
        note="polars: lines by `read_csv`, `str.split`, `explode`, `value_counts`; sorted as ours.",
    )  # fmt: skip
    peer, counter = seconds(lambda: count_counter(path), REPEATS)
    assert len(counter) == len(counts)
    yield Row(
        f"{what}, count_words, 1 thread", "s", ours, peer, "collections.Counter",
        note="Counter: `update` with the words of each line.",
    )  # fmt: skip


def measure_ngrams(path: Path) -> Iterator[Row]:
    """Yield the counter-example: so many distinct tokens in a batch that merging is the work."""
    # 20,000 tokens, as in the largest batches that the article's loops were tried with
    per_line = sum(len(ngrams(line)) for line in lines_of(path)) / N_POEM_LINES
    size = max(1, round(20_000 / per_line))
    naive, total = seconds(lambda: count_one(lines_of(path), ngrams), REPEATS)
    costs = measure_costs(lambda: lines_of(path), ngrams, size, naive)
    print_costs([costs])
    what = f"character 1-4-grams of {path.stat().st_size / 1e6:.1f} MB"
    yield from claim(what, path, ngrams, size, costs, naive, total)


def claim(
    what: str,
    path: Path,
    tokens: Tokens,
    size: int,
    costs: Costs,
    naive: float,
    total: dict[str, int],
) -> Iterator[Row]:
    """Yield what local dictionaries gain per worker, beside what the models say."""
    loop = "one dict, Python"
    local, counts = seconds(lambda: count_batched(lines_of(path), tokens, size), REPEATS)
    assert counts == total
    yield Row(
        f"{what}, local dictionaries, 1 process", "s", local, naive, loop, readme=False,
        quality="speed-up: measured, the model's", better="higher",
        quality_ours=naive / local, quality_peer=costs.one / costs.batched,
    )  # fmt: skip
    cores = len(os.sched_getaffinity(0))
    # a line for each worker: nothing but their start and their end
    start, _ = seconds(lambda: count_in_processes(["a"] * WORKERS, tokens, 1, WORKERS), REPEATS)
    shared = start / sum(total.values())
    wall, counts = seconds(
        lambda: count_in_processes(lines_of(path), tokens, size, WORKERS), REPEATS
    )
    assert counts == total
    yield Row(
        f"{what}, local dictionaries, {WORKERS} processes", "s x workers",
        WORKERS * wall, naive, loop, readme=False, better="higher",
        quality="efficiency per worker: measured, the model's",
        quality_ours=naive / (WORKERS * wall), quality_peer=costs.extended(WORKERS, cores, shared),
        note=f"{what}, {WORKERS} processes: c_G / max(c_L, w r c_M) alone would say "
        f"{costs.article(WORKERS):.2f}; the model quoted adds reading, splitting, pipes, the start "
        f"of the processes ({start:.2f} s) and that there are {cores} cores.",
    )  # fmt: skip


def lines_of(path: Path) -> Iterator[str]:
    """Yield the lines of a file."""
    with open(path, encoding="utf-8") as file:
        yield from file


def choose_batch(path: Path) -> int:
    """Return the lines of the batch that is cheapest on the first words of the text."""
    n_lines = TRIED_WORDS // WORDS_PER_LINE
    tried = {
        tokens // WORDS_PER_LINE: measure_costs(
            lambda: islice(lines_of(path), n_lines), str.split, tokens // WORDS_PER_LINE
        )
        for tokens in BATCHES
    }
    print_costs(list(tried.values()))
    return min(tried, key=lambda size: tried[size].worker + tried[size].parent)


def print_costs(rows: list[Costs]) -> None:
    """Print costs in nanoseconds, as a Markdown table."""
    names = [field.name for field in fields(Costs)]
    print("\n| " + " | ".join(names) + " |\n" + "|---" * len(names) + "|")
    for row in rows:
        cells = [
            f"{value:.3f}"
            if name == "distinct"
            else f"{value * (1 if name == 'batch' else 1e9):,.0f}"
            for name, value in asdict(row).items()
        ]
        print("| " + " | ".join(cells) + " |", flush=True)


def count_counter(path: Path) -> Counter[str]:
    """Count with the standard library."""
    counter: Counter[str] = Counter()
    for line in lines_of(path):
        counter.update(line.split())
    return counter


def count_polars(path: Path) -> pl.DataFrame:
    """Count with polars."""
    lines = pl.read_csv(
        path, has_header=False, separator="\x01", quote_char=None, new_columns=["line"]
    )
    words = lines["line"].str.split(" ").explode().value_counts(name="count")
    return words.sort(["count", "line"], descending=[True, False])
