"""Counting all character n-grams of orders 1 to 4 of 130,000 Song poems (25 MB).

Every side starts from the same list of str, one poem each, leaves out n-grams across anything
that is neither letter, mark nor digit, and ends with all counts of all four orders; the numbers
of distinct n-grams must agree. One thread each, CPU time. Warm rows are medians in one process;
in a fresh process memory is touched for the first time, which costs every side more.
"""

from __future__ import annotations

import lzma
import re
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.measuring import Row, cpu_seconds, first_call_seconds
from kexue.corpus import count_ngrams
from kexue.corpus.scripts import OTHER, character_classes

ORDER = 4
FRESH_RUNS = 5


def measure(data: Path) -> Iterator[Row]:
    """Yield the comparisons."""
    poems = read_poems(data)
    compile_seconds = first_call_seconds(lambda: count_ours(poems[:100]))
    ours, counts = cpu_seconds(lambda: count_ours(poems))
    distinct = [counts.n_distinct(order) for order in range(1, ORDER + 1)]
    what = f"orders 1-{ORDER}, 25 MB of verse, one thread"
    polars = f"polars {pl.__version__}"
    first = f"Our first call, compiling or loading kernels: {compile_seconds:.1f} s."

    seconds, tables = cpu_seconds(lambda: count_polars(poems))
    assert [table.height for table in tables] == distinct
    yield Row(
        f"{what}, shifted columns", "CPU s", ours, seconds, polars, bar=4,
        note=f"polars: code points as a column, shifted, `group_by` per order. {first}",
    )  # fmt: skip
    seconds, tables = cpu_seconds(lambda: count_polars_packed(poems))
    assert [table.height for table in tables] == distinct
    yield Row(
        f"{what}, keys packed by hand", "CPU s", ours, seconds, polars,
        note="polars, packed: dense ids of 16 bits packed into one 64-bit key, `value_counts`.",
    )  # fmt: skip
    yield Row(
        f"{what}, keys packed by hand, fresh process", "CPU s",
        fresh_seconds("count_ours", data), fresh_seconds("count_polars_packed", data), polars,
        note=f"fresh process: median of {FRESH_RUNS} processes, each after one call on 100 poems.",
    )  # fmt: skip
    seconds, counters = cpu_seconds(lambda: count_counter(poems))
    assert [len(counter) for counter in counters] == distinct
    yield Row(
        what, "CPU s", ours, seconds, "collections.Counter", bar=20,
        note="Counter: one per order, `update` with the slices of each span.",
    )  # fmt: skip


def read_poems(data: Path) -> list[str]:
    """Return the poems."""
    path = data / "song-poems-raw" / "song_poems_130k.txt.xz"
    with lzma.open(path, "rt", encoding="utf-8") as file:
        return file.read().splitlines()


def fresh_seconds(function: str, data: Path) -> float:
    """Return the median CPU time of the first large call of a function in a process."""
    command = [sys.executable, "-m", __name__, function, str(data)]
    runs = [subprocess.run(command, capture_output=True, check=True) for _ in range(FRESH_RUNS)]
    return statistics.median(float(run.stdout) for run in runs)


def count_ours(poems: list[str]) -> Any:
    """Count with kexue."""
    return count_ngrams(poems, ORDER, n_jobs=1)


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


def letters(poems: list[str]) -> np.ndarray:
    """Return the code points of all poems, 0 at boundaries."""
    codes = np.frombuffer("\n".join(poems).encode("utf-32-le"), np.uint32)
    return np.where(character_classes()[codes] == OTHER, 0, codes)


def count_polars(poems: list[str]) -> list[pl.DataFrame]:
    """Count with polars' own grouping."""
    first = pl.Series("c0", letters(poems))
    frame = pl.DataFrame(
        [first, *(first.shift(-k).fill_null(0).alias(f"c{k}") for k in range(1, ORDER))]
    )
    tables = []
    for order in range(1, ORDER + 1):
        columns = [f"c{k}" for k in range(order)]
        frame = frame.filter(pl.col(columns[-1]) != 0)
        tables.append(frame.group_by(columns).len())
    return tables


def count_polars_packed(poems: list[str]) -> list[pl.DataFrame]:
    """Count with polars after our own trick: n-grams as 64-bit numbers."""
    codes = letters(poems)
    table = np.zeros(0x110000, np.uint64)
    alphabet = np.flatnonzero(np.bincount(codes, minlength=1)[1:]) + 1
    table[alphabet] = np.arange(1, alphabet.size + 1)
    ids = pl.Series("key", table[codes])
    frame = pl.DataFrame({"key": ids, "next": ids})
    tables = []
    for order in range(1, ORDER + 1):
        if order > 1:
            frame = frame.with_columns(next=pl.col("next").shift(-1).fill_null(0)).with_columns(
                key=pl.when((pl.col("key") != 0) & (pl.col("next") != 0))
                .then(pl.col("key") * 65536 + pl.col("next"))
                .otherwise(0)
            )
        tables.append(frame.filter(pl.col("key") != 0)["key"].value_counts())
    return tables


def main() -> None:
    """Print the CPU seconds of one call of a function in this process."""
    functions: dict[str, Callable[[list[str]], Any]] = {
        f.__name__: f for f in (count_ours, count_polars_packed)
    }
    function, poems = functions[sys.argv[1]], read_poems(Path(sys.argv[2]))
    function(poems[:100])
    start = time.process_time()
    function(poems)
    print(time.process_time() - start)


if __name__ == "__main__":
    main()
