"""Soft k-means: its hard limit beside scikit-learn's KMeans, a soft step beside one of EM.

One thread, CPU time, both sides from the same centres.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measuring import Row, first_call_seconds
from kexue.mixture import SoftKMeans

ROUNDS = 9
STEPS = 10


def measure(data: Path) -> Iterator[Row]:
    """Yield the comparisons."""
    import sklearn
    from threadpoolctl import threadpool_limits

    warnings.filterwarnings("ignore", category=UserWarning)
    peer = f"scikit-learn {sklearn.__version__}"
    seconds = first_call_seconds(
        lambda: SoftKMeans(2, beta=np.inf).fit(np.random.default_rng(0).random((99, 3)))
    )
    note = f"First call, loading kernels: {seconds:.1f} s."
    with threadpool_limits(1):
        for n, d, k in ((50_000, 20, 10), (20_000, 64, 50), (100_000, 2, 8)):
            yield hard(n, d, k, peer, note)
            yield soft(n, d, k, peer)


def hard(n: int, d: int, k: int, peer: str, note: str) -> Row:
    """Compare whole runs of Lloyd's algorithm."""
    from sklearn.cluster import KMeans

    X, start = groups(n, d, k)
    ours = SoftKMeans(k, beta=np.inf, init=start)
    theirs = KMeans(k, init=start, n_init=1)
    first, second = in_turns(lambda: ours.fit(X), lambda: theirs.fit(X))
    return Row(
        f"k-means, {n:,} x {d}, {k} clusters", "CPU s", first, second, f"{peer} KMeans", 1 / 1.2,
        quality="inertia per row", quality_ours=ours.inertia_ / n,
        quality_peer=theirs.inertia_ / n,
        note=f"{ours.n_iter_} and {theirs.n_iter_} iterations. {note}",
    )  # fmt: skip


def soft(n: int, d: int, k: int, peer: str) -> Row:
    """Compare the time of a step of normal clusters of one fixed variance with EM's."""
    from sklearn.mixture import GaussianMixture

    X, start = groups(n, d, k)

    def ours(steps: int) -> Any:
        return SoftKMeans(k, beta=0.5, init=start, tol=0, max_iter=steps).fit(X)

    def theirs(steps: int) -> Any:
        return GaussianMixture(
            k, covariance_type="spherical", tol=0, max_iter=steps, weights_init=np.full(k, 1 / k),
            means_init=start, precisions_init=np.ones(k),
        ).fit(X)  # fmt: skip

    warnings.simplefilter("ignore")
    short = in_turns(lambda: ours(2), lambda: theirs(2))
    long = in_turns(lambda: ours(2 + STEPS), lambda: theirs(2 + STEPS))
    # their first step, of weights and variances that are those of ours, gives the same means
    difference = float(np.abs(ours(1).cluster_centers_ - theirs(1).means_).max())
    if difference > 1e-8:
        raise RuntimeError(f"centres differ by {difference:.2g} after a step")
    first, second = ((b - a) / STEPS for a, b in zip(short, long, strict=True))
    return Row(
        f"a soft step, {n:,} x {d}, {k} clusters", "CPU s", first, second,
        f"{peer} GaussianMixture, spherical", 3,
        note="ours with variances and weights fixed; the centres after the first step are equal",
    )  # fmt: skip


def in_turns(ours: Callable[[], Any], theirs: Callable[[], Any]) -> tuple[float, float]:
    """Return median CPU seconds of both, taken in turns."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for call, to in zip((ours, theirs), seconds, strict=True):
            start = time.process_time()
            call()
            to.append(time.process_time() - start)
    return statistics.median(seconds[0]), statistics.median(seconds[1])


def groups(n: int, d: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return normal rows about centres two deviations from each other, and a start."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, d)) + 2 * rng.normal(size=(k, d))[rng.integers(k, size=n)]
    return X, X[rng.choice(n, k, replace=False)]
