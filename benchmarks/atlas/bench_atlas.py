"""The whole job: the demo corpus with nothing compiled, and how time grows with the text."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.measuring import Row

SIZES = (5, 25, 100)  # megabytes
COLD_LIMIT = 60.0


def measure(data: Path) -> Iterator[Row]:
    """Yield the comparisons."""
    yield cold_start()
    yield from growth(data)


def cold_start() -> Row:
    """Time ``kexue atlas --demo`` with nothing compiled."""
    with tempfile.TemporaryDirectory() as folder:
        cache = {**os.environ, "NUMBA_CACHE_DIR": f"{folder}/cache"}
        command = [sys.executable, "-m", "kexue", "atlas", "--demo", "-q"]
        seconds = []
        for name in ("cold", "warm"):
            start = time.perf_counter()
            subprocess.run([*command, "-o", f"{folder}/{name}"], check=True, env=cache)
            seconds.append(time.perf_counter() - start)
    return Row(
        "kexue atlas --demo, nothing compiled", "s", seconds[0], seconds[1],
        "the same, compiled", None, limit=COLD_LIMIT, readme=False,
        note="One process from its start to its end, two cores; page, tables and map written.",
    )  # fmt: skip


def growth(data: Path) -> Iterator[Row]:
    """Yield how time grows with the text, without the layout, each size in its own process."""
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        for size in SIZES:
            path = Path(folder) / f"verse-{size}.txt"
            write_verse(path, data, size * 1_000_000)
            command = [sys.executable, "-m", "kexue", "atlas", str(path), "--no-map", "-q"]
            output = Path(folder) / f"atlas-{size}"
            subprocess.run([*command, "-o", str(output)], check=True)
            timings = json.loads((output / "timings.json").read_text())["seconds"]
            seconds.append(sum(timings.values()))
    exponent = math.log(seconds[-1] / seconds[0]) / math.log(SIZES[-1] / SIZES[0])
    listed = ", ".join(f"{n} MB {s:.0f} s" for n, s in zip(SIZES, seconds, strict=True))
    yield Row(
        f"growth from {SIZES[0]} to {SIZES[-1]} MB, without the map", "exponent", exponent, 1.0,
        "linear", None, limit=1.1, readme=False,
        note=f"Verse sampled from a model of two characters of the Song poems: {listed}.",
    )  # fmt: skip


def write_verse(path: Path, data: Path, n_bytes: int) -> None:
    """Write lines of a text sampled from the pairs of characters of the Song poems."""
    from kexue.corpus import read_texts

    rng = np.random.default_rng(0)
    codes = read_texts(data / "song-poems-raw").codes()
    alphabet, ids = np.unique(codes, return_inverse=True)
    order = np.argsort(ids[:-1], kind="stable")
    followers = ids[1:][order]
    begin = np.searchsorted(ids[:-1][order], np.arange(alphabet.size + 1))
    n = n_bytes // 3
    # many walks side by side; each line of the file is one of them
    width = 100
    walks = rng.choice(ids[:-1], n // width)
    lines = np.empty((walks.size, width), np.uint32)
    for step in range(width):
        lines[:, step] = alphabet[walks]
        size = begin[walks + 1] - begin[walks]
        walks = followers[begin[walks] + (rng.random(walks.size) * size).astype(np.int64)]
    lines[lines > 0x10FFFF] = ord("。")  # the end of a document
    text = lines.astype("<u4").tobytes().decode("utf-32-le").replace("\n", "。")
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        for start in range(0, len(text), width):
            file.write(text[start : start + width] + "\n")
