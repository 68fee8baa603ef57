"""Graphs from arrays: CPU time of loading, and memory of loading and searching, against infomap.

Memory is the growth of a fresh process from the loaded array to the highest resident set while
the graph is read and searched, everything imported and every kernel called once before. It is
read from ``/proc``, so there are no such rows except on Linux.

``python -m benchmarks.graph.bench_loading quick`` leaves out the graph of 10 M links.
"""

from __future__ import annotations

import ctypes
import gc
import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.graph.lfr import lfr_graph
from benchmarks.measuring import Row
from kexue.graph import Infomap, as_network

ROOT = Path(__file__).resolve().parents[2]
REPEATS = 5
MU = 0.4
BYTES_PER_LINK = 60.0
GIB_OF_LARGE = 2.0
TINY = np.array([(2, 3), (0, 1), (1, 2), (0, 2)])
STATUS = Path("/proc/self/status")
HIGH_WATER = Path("/proc/self/clear_refs")


def measure(data: Path, large: bool = True) -> Iterator[Row]:
    """Yield the row on time, then those on memory; the data sets are not needed."""
    import infomap

    peer = f"infomap {infomap.__version__}"
    links = lfr_graph(100_000, MU, seed=1)[0].astype(np.int64)
    yield loading_time(links, peer)
    if not HIGH_WATER.exists():
        return
    yield from memory(links, peer)
    if large:
        yield from memory(lfr_graph(1_000_000, MU, seed=1)[0].astype(np.int64), peer, total=True)


def loading_time(links: np.ndarray, peer_name: str) -> Row:
    as_network(TINY, directed=False)  # compiles
    ours, peer = [], []
    for _ in range(REPEATS):
        gc.collect()
        start = time.process_time()
        network = as_network(links, directed=False)
        ours.append(time.process_time() - start)
        engine = new_peer()
        start = time.process_time()
        engine.add_links(links)
        peer.append(time.process_time() - start)
        if not network.n_links == engine.network.numLinks() == len(links):
            raise RuntimeError(
                f"{len(links)} links were given, we have {network.n_links} and infomap "
                f"{engine.network.numLinks()}"
            )
    return Row(
        name=f"load {million(links)} links",
        unit="CPU s",
        ours=median(ours),
        peer=median(peer),
        peer_name=peer_name,
        bar=5.0,
        note=(
            f"an int64 array of shape (E, 2) of an LFR graph of mixing {MU:g} in random order: "
            "as_network, which gives a sorted list of links without duplicates, against "
            "add_links, which gives a map of links; what each search builds from that is timed "
            "with the search"
        ),
    )


def memory(links: np.ndarray, peer_name: str, total: bool = False) -> Iterator[Row]:
    """Yield the rows on memory for these links, with the whole process if `total`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "links.npy"
        np.save(path, links)
        peer = in_new_process("infomap", path)
        for side in ("two-level", "auto"):
            ours = in_new_process(side, path)
            name = f"memory of {side} search, {million(links)} links"
            yield Row(
                name=name,
                unit="bytes per link",
                ours=ours["growth"] / len(links),
                peer=peer["growth"] / len(links),
                peer_name=peer_name,
                limit=BYTES_PER_LINK,
                note=(
                    "growth of a fresh process beyond the loaded int64 array; infomap: add_links "
                    "and run, two_level, num_trials=1, num_threads=1, in both rows"
                ),
            )
            if total:
                yield Row(
                    name=f"{name}, whole process",
                    unit="GiB",
                    ours=ours["peak"] / 2**30,
                    peer=peer["peak"] / 2**30,
                    peer_name=peer_name,
                    limit=GIB_OF_LARGE,
                    note="whole process: interpreter, packages and array included",
                )


def million(links: np.ndarray) -> str:
    return f"{len(links) / 1e6:.0f} M"


def in_new_process(side: str, path: Path) -> dict[str, int]:
    """Return what `report` prints about this side."""
    command = [sys.executable, "-m", "benchmarks.graph.bench_loading", side, str(path)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def report(side: str, path: str) -> None:
    """Print the bytes that a search adds to this process, and the most it ever held."""
    search = SIDES[side]
    search(TINY)
    links = np.load(path)
    gc.collect()
    # memory that the warm-up left to the allocator would hide growth
    ctypes.CDLL(None).malloc_trim(0)
    before_all = resident("VmHWM")
    HIGH_WATER.write_text("5")  # sets VmHWM back to what is resident now
    before, mark = resident("VmRSS"), resident("VmHWM")
    if mark > before + 2**22:
        raise RuntimeError(f"VmHWM stays at {mark} with {before} bytes resident: no growth to read")
    search(links)
    peak = resident("VmHWM")
    print(json.dumps({"growth": peak - before, "peak": max(peak, before_all)}))


def resident(field: str) -> int:
    """Return VmRSS or VmHWM of this process in bytes."""
    for line in STATUS.read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"{STATUS} has no {field}")


def new_peer() -> Any:
    import infomap

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 2.16 announces the interface of 3.0
        return infomap.Infomap(silent=True, two_level=True, num_trials=1, num_threads=1, seed=1)


def search_peer(links: np.ndarray) -> None:
    engine = new_peer()
    engine.add_links(links)
    engine.run()


def search_with(levels: Any) -> Callable[[np.ndarray], Any]:
    return lambda links: Infomap(levels=levels, n_jobs=1, random_state=1).fit(links)


SIDES = {"two-level": search_with(2), "auto": search_with("auto"), "infomap": search_peer}


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in SIDES:
        report(*sys.argv[1:])
    else:
        from benchmarks.__main__ import describe

        for row in measure(ROOT, large=sys.argv[1:2] != ["quick"]):
            print(f"{describe(row)}\n    {row.note}", flush=True)
