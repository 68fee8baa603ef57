"""Counting all character n-grams of orders 1 to 4 of 130,000 Song poems (25 MB).

Every side starts from the same list of str, one poem each, leaves out n-grams across anything
that is neither letter, mark nor digit, and ends with all counts of all four orders; the numbers
of distinct n-grams must agree. One thread each, CPU time.
"""

from __future__ import annotations

import lzma
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.measuring import Row, cpu_seconds, first_call_seconds
from kexue.corpus import count_ngrams
from kexue.corpus.scripts import OTHER, character_classes

ORDER = 4


def measure(data: Path) -> Iterator[Row]:
    """Yield the comparisons."""
    path = data / "song-poems-raw" / "song_poems_130k.txt.xz"
    with lzma.open(path, "rt", encoding="utf-8") as file:
        poems = file.read().splitlines()
    compile_seconds = first_call_seconds(lambda: count_ngrams(poems[:100], ORDER))
    ours, counts = cpu_seconds(lambda: count_ngrams(poems, ORDER, n_jobs=1))
    distinct = [counts.n_distinct(order) for order in range(1, ORDER + 1)]
    what = f"orders 1-{ORDER}, 25 MB of verse, one thread"
    first = f"our first call, compiling or loading kernels: {compile_seconds:.1f} s"

    seconds, tables = cpu_seconds(lambda: count_polars(poems))
    assert [table.height for table in tables] == distinct
    yield Row(
        what, "CPU s", ours, seconds, f"polars {pl.__version__}", bar=4,
        note=f"polars: code points as a column, shifted, `group_by` per order. {first}.",
    )  # fmt: skip
    seconds, counters = cpu_seconds(lambda: count_counter(poems))
    assert [len(counter) for counter in counters] == distinct
    yield Row(
        what, "CPU s", ours, seconds, "collections.Counter", bar=20,
        note="Counter: one per order, `update` with the slices of each span.",
    )  # fmt: skip


def count_counter(poems: list[str]) -> list[Counter[str]]:
    """Count with the standard library."""
    classes = character_classes()
    cut = [c for c in set().union(*poems) if classes[ord(c)] == OTHER]
    boundary = re.compile(f"[{re.escape(''.join(cut))}]+")
    counters: list[Counter[str]] = [Counter() for _ in range(ORDER)]
    for poem in poems:
        for span in boundary.split(poem):
            for order, counter in enumerate(counters, 1):
                counter.update([span[i : i + order] for i in range(len(span) - order + 1)])
    return counters


def count_polars(poems: list[str]) -> list[pl.DataFrame]:
    """Count with polars' own grouping."""
    codes = np.frombuffer("\n".join(poems).encode("utf-32-le"), np.uint32)
    letters = np.where(character_classes()[codes] == OTHER, 0, codes)
    first = pl.Series("c0", letters)
    frame = pl.DataFrame(
        [first, *(first.shift(-k).fill_null(0).alias(f"c{k}") for k in range(1, ORDER))]
    )
    tables = []
    for order in range(1, ORDER + 1):
        columns = [f"c{k}" for k in range(order)]
        frame = frame.filter(pl.col(columns[-1]) != 0)
        tables.append(frame.group_by(columns).len())
    return tables
