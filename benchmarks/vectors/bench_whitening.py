"""Whitening: fitting, chunks and transforming beside scikit-learn's PCA; memory of a large map.

Random float32 rows of width 768 with a mean, variances over two orders of magnitude. One thread,
CPU time; the memory of fresh processes.
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
from typing import Any

import numpy as np

from benchmarks.drawing import ROOT
from benchmarks.measuring import Row, first_call_seconds
from kexue.vectors import Whitening

N, D, K = 50_000, 768, 256
N_SHORT = 10_000  # rows for the slow peers
BATCH = 1000
LARGE, LARGE_D = 2_000_000, 384
MEGABYTES_OVER_MAP = 300
STATUS = Path("/proc/self/status")


def measure(data: Path) -> Iterator[Row]:
    """Yield the comparisons."""
    import sklearn
    from sklearn.decomposition import PCA, IncrementalPCA
    from sklearn.preprocessing import normalize

    version = sklearn.__version__
    X = random_rows(N, D)
    seconds = first_call_seconds(lambda: Whitening(2).fit_transform(X[:3000, :8]))
    note = (
        f"{N:,} x {D} float32, {K} components; quality: the largest entry by which the covariance "
        f"after whitening, in float64, is off I. First call, loading kernels: {seconds:.1f} s."
    )
    exact = Whitening(K, normalize=False).fit(X)
    pca = PCA(K, whiten=True).fit(X)
    for precision, bar in (("float32", 1.0), ("float64", 0.5)):
        ours = Whitening(K, normalize=False, precision=precision)
        mine, theirs = alternating(lambda: ours.fit(X), lambda: pca.fit(X))  # noqa: B023
        yield Row(
            f"fit, {precision} sums", "CPU s", mine, theirs, f"scikit-learn {version} PCA", bar,
            quality="largest error of the whitened covariance",
            quality_ours=covariance_error(X, ours.kernel_),
            quality_peer=covariance_error(X, pca_kernel(pca)), note=note,
            readme=precision == "float32",
        )  # fmt: skip

    chunks = np.split(X[:N_SHORT], N_SHORT // BATCH)

    def parts(model: Any) -> Callable[[], Any]:
        def fit() -> Any:
            fresh = type(model)(**model.get_params())
            for chunk in chunks:
                fresh.partial_fit(chunk)
            return fresh

        return fit

    stream, incremental = Whitening(K, normalize=False), IncrementalPCA(K, whiten=True)
    mine, theirs = alternating(parts(stream), parts(incremental))
    fitted, approximate = parts(stream)(), parts(incremental)()
    yield Row(
        "partial_fit in chunks of 1,000", "CPU s", mine, theirs,
        f"scikit-learn {version} IncrementalPCA", 8,
        quality="largest error of the whitened covariance",
        quality_ours=covariance_error(X[:N_SHORT], fitted.kernel_),
        quality_peer=covariance_error(X[:N_SHORT], pca_kernel(approximate)),
        note=f"{N_SHORT:,} rows; ours without the map itself, which is computed once at the end",
    )  # fmt: skip

    unit = Whitening(K).merge(exact)
    mine, theirs = alternating(lambda: unit.transform(X), lambda: normalize(pca.transform(X)))
    product, _ = alternating(lambda: X @ unit.kernel_.astype(np.float32), lambda: None)
    yield Row(
        "transform and lengths of 1", "CPU s", mine, theirs,
        f"scikit-learn {version} PCA and normalize", 1.3,
        note=f"the product of the two matrices alone, which nobody can save: {product:.3f} s",
    )  # fmt: skip

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.npy"
        write_map(path)
        ours_bytes = in_new_process("kexue", path)
        peer_bytes = in_new_process("scikit-learn", path)
    yield Row(
        "memory beyond a map of 2 M x 384 float16, fit", "MB", ours_bytes / 1e6, peer_bytes / 1e6,
        f"scikit-learn {version} PCA", limit=MEGABYTES_OVER_MAP,
        note=(
            "anonymous memory of a fresh process, its most while fitting less that before; pages "
            "of the mapped file do not count. scikit-learn copies float16 to float64."
        ),
    )  # fmt: skip


def random_rows(n: int, d: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d), dtype=np.float32)
    X *= np.logspace(0, -1, d, dtype=np.float32)
    X += rng.standard_normal(d, dtype=np.float32)
    return X


def alternating(ours: Callable[[], Any], theirs: Callable[[], Any]) -> tuple[float, float]:
    """Return the median CPU seconds of both of five warm calls each, taken in turns."""
    ours(), theirs()
    seconds = np.empty((5, 2))
    for row in seconds:
        for side, function in enumerate((ours, theirs)):
            start = time.process_time()
            function()
            row[side] = time.process_time() - start
    first, second = np.median(seconds, axis=0).tolist()
    return first, second


def pca_kernel(model: Any) -> np.ndarray:
    n = model.n_samples_seen_ if hasattr(model, "n_samples_seen_") else model.n_samples_
    variances = model.explained_variance_ * (n - 1) / n  # they divide by N - 1
    return (model.components_ / np.sqrt(variances)[:, None]).T


def covariance_error(X: np.ndarray, kernel: np.ndarray) -> float:
    wide = X.astype(np.float64)
    Y = (wide - wide.mean(0)) @ kernel
    return float(np.abs(Y.T @ Y / len(Y) - np.eye(Y.shape[1])).max())


def write_map(path: Path) -> None:
    block = random_rows(LARGE // 20, LARGE_D).astype(np.float16)
    out = np.lib.format.open_memmap(path, "w+", np.float16, (LARGE, LARGE_D))
    for start in range(0, LARGE, len(block)):
        out[start : start + len(block)] = block
    out.flush()


def in_new_process(side: str, path: Path) -> int:
    """Return what `report` prints about this side."""
    command = [sys.executable, "-m", "benchmarks.vectors.bench_whitening", side, str(path)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return int(json.loads(done.stdout.splitlines()[-1]))


def report(side: str, path: str) -> None:
    """Print the most bytes of anonymous memory that fitting adds to this process."""
    import threading

    from sklearn.decomposition import PCA

    model = Whitening() if side == "kexue" else PCA(whiten=True)
    warm = random_rows(3000, LARGE_D)
    model.fit(warm)
    X = np.load(path, mmap_mode="r")
    gc.collect()
    # memory that the warm-up left to the allocator would hide growth
    ctypes.CDLL(None).malloc_trim(0)
    before = most = anonymous()
    done = threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(0.005):
            most = max(most, anonymous())

    watcher = threading.Thread(target=watch)
    watcher.start()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X)
    done.set()
    watcher.join()
    print(json.dumps(most - before))


def anonymous() -> int:
    """Return the bytes of this process that belong to no file."""
    for line in STATUS.read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"{STATUS} has no RssAnon")


if __name__ == "__main__":
    report(*sys.argv[1:])
