"""EM: sweeps and whole fits beside scikit-learn and stepmix, ten seeds; memory of large data.

One thread on both sides, CPU time. Both sides of a row begin with the same responsibilities, and
nothing is added to variances, so that both walk along the same path.
"""

from __future__ import annotations

import ctypes
import gc
import json
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.drawing import ROOT
from benchmarks.measuring import Row, first_call_seconds
from benchmarks.vectors.bench_whitening import anonymous
from kexue.mixture import Mixture

SEEDS = 10
N, D, K = 50_000, 20, 10
STEPS = 10
DIGITS_STEPS = 100
LARGE = 1_000_000
MEGABYTES = 50
SPARSE_N, SPARSE_FILLED, SPARSE_K = 100_000, 10**7, 20


class Case(NamedTuple):
    """Rows, and responsibilities to begin with."""

    X: np.ndarray
    r: np.ndarray


def measure(data: Path) -> Iterator[Row]:
    """Yield the comparisons."""
    import sklearn

    warnings.filterwarnings("ignore", module="sklearn|kexue|benchmarks")
    warnings.simplefilter("ignore")
    peer = f"scikit-learn {sklearn.__version__} GaussianMixture"
    seconds = first_call_seconds(lambda: Mixture(2).fit(np.random.default_rng(0).random((99, 3))))
    note = f"First call, loading kernels: {seconds:.1f} s."
    for kind, d, bar in (
        ("full", D, 3), ("full", 2, None), ("full", 100, None), ("tied", D, None),
        ("diag", D, None), ("spherical", D, None),
    ):  # fmt: skip
        n = N if d <= D else N // 5
        yield sweeps(kind, n, d, peer, bar, note)
    yield from to_the_same_likelihood(peer)
    yield from beside_stepmix()
    yield memory_of_rows(peer)
    yield memory_of_counts()


# --- sweeps


def sweeps(kind: str, n: int, d: int, peer: str, bar: float | None, note: str) -> Row:
    """Compare the time of a plain EM step, and the parameters after some."""
    k = K if d == D else 5
    case = groups(n, d, k, seed=0, apart=2.0)
    times: list[tuple[float, float]] = []
    for _ in range(5):
        mine, theirs = [], []
        for steps in (2, 2 + STEPS):
            theirs.append(cpu(lambda: peer_model(kind, case, steps).fit(case.X)))  # noqa: B023
            mine.append(cpu(lambda: our_model(kind, case, steps).fit(case.X)))  # noqa: B023
        times.append(((mine[1] - mine[0]) / STEPS, (theirs[1] - theirs[0]) / STEPS))
    # their last step is an M-step, ours an E-step: one more gives the same parameters
    ours = our_model(kind, case, STEPS + 1).fit(case.X)
    other = peer_model(kind, case, STEPS).fit(case.X)
    difference = max(
        np.abs(ours.means_ - other.means_).max(),
        np.abs(ours.covariances_ - other.covariances_).max(),
        np.abs(ours.weights_ - other.weights_).max(),
    )
    if difference > 1e-6:
        raise RuntimeError(f"parameters differ by {difference:.2g} after {STEPS} steps")
    first, second = (statistics.median(side) for side in zip(*times, strict=True))
    return Row(
        f"a sweep, {kind}, {n:,} x {d}, {k} components", "CPU s", first, second, peer, bar,
        quality="difference of parameters after 10 sweeps", quality_ours=float(difference),
        note=f"n, d and K as given, overlapping; from the same start. {note}",
        readme=bar is not None,
    )  # fmt: skip


def groups(n: int, d: int, k: int, *, seed: int, apart: float) -> Case:
    """Return normal rows about centres `apart` deviations from each other, and a start."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) + apart * rng.normal(size=(k, d))[rng.integers(k, size=n)]
    centres = X[rng.choice(n, k, replace=False)]
    nearest = np.stack([((X - centre) ** 2).sum(1) for centre in centres]).argmin(0)
    return Case(X, np.eye(k)[nearest])


def our_model(kind: str, case: Case, max_iter: int, **parameters: Any) -> Mixture:
    return Mixture(
        case.r.shape[1], f"gaussian_{kind}", init=case.r, max_iter=max_iter, reg_covar=0,
        **{"tol": 0.0, "accelerate": False, **parameters},
    )  # fmt: skip


def peer_model(kind: str, case: Case, max_iter: int, tol: float = 0.0) -> Any:
    """Return scikit-learn's model with the parameters that the responsibilities give."""
    from sklearn.mixture import GaussianMixture

    k = case.r.shape[1]
    start = our_model(kind, case, 1).fit(case.X)
    inverse = start.precisions_cholesky_
    precisions = inverse**2 if kind in ("diag", "spherical") else inverse @ np.swapaxes(
        inverse, -1, -2
    )  # fmt: skip
    return GaussianMixture(
        k, covariance_type=kind, tol=tol, reg_covar=0, max_iter=max_iter,
        weights_init=start.weights_, means_init=start.means_, precisions_init=precisions,
    )  # fmt: skip


def cpu(function: Callable[[], Any]) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


# --- whole fits


def to_the_same_likelihood(peer: str) -> Iterator[Row]:
    """Compare the time until the likelihood is that at which scikit-learn stops."""
    for name, n, d, k, apart, bar in (
        ("slow: components overlap", 10_000, 4, 5, 1.0, 4.0),
        ("easy: components apart", 10_000, 4, 5, 5.0, 1.0),
    ):
        found = []
        for seed in range(SEEDS):
            case = groups(n, d, k, seed=seed, apart=apart)
            model = peer_model("full", case, 5000, tol=1e-6)
            theirs = cpu(lambda: model.fit(case.X))  # noqa: B023
            target = model.score(case.X) * n
            ours = our_model(
                "full", case, 5000, accelerate=True, tol=1e-9,
                callback=lambda m: m.log_likelihood_ >= target,  # noqa: B023
            )  # fmt: skip
            mine = cpu(lambda: ours.fit(case.X))  # noqa: B023
            print(
                f"    {name}, seed {seed}: ours {mine:.3f} s, {ours.n_iter_} sweeps, "
                f"{ours.log_likelihood_:.3f}; scikit-learn {theirs:.3f} s, {model.n_iter_} steps, "
                f"{target:.3f}"
            )
            found.append((mine, theirs, ours.log_likelihood_ / n, target / n, model.n_iter_))
        mine, theirs, ours_l, peer_l, steps = np.array(found).T
        wins, reached = int((mine < theirs).sum()), int((ours_l >= peer_l).sum())
        yield Row(
            f"to the same likelihood, {name}", "CPU s", float(np.median(mine)),
            float(np.median(theirs)), peer, bar, quality="median nats per row",
            quality_ours=float(np.median(ours_l)), quality_peer=float(np.median(peer_l)),
            better="higher",
            note=(
                f"{n:,} x {d}, {k} full covariances, {SEEDS} seeds, scikit-learn with tol=1e-6 "
                f"took {int(steps.min())} to {int(steps.max())} steps (median "
                f"{int(np.median(steps))}); ours until its likelihood, with SQUAREM; faster in "
                f"{wins} of {SEEDS}, there in {reached}, ratios {(theirs / mine).min():.1f} to "
                f"{(theirs / mine).max():.1f}"
            ),
        )  # fmt: skip


def beside_stepmix() -> Iterator[Row]:
    """Compare 100 steps on binary digits, and where both end from ten random starts."""
    import stepmix
    from sklearn.datasets import load_digits

    peer = f"stepmix {stepmix.__version__}"
    X = (load_digits().data > 7).astype(float)
    holed = X.copy()
    holed[np.random.default_rng(0).random(X.shape) < 0.2] = np.nan

    def theirs(rows: np.ndarray, seed: int, kind: str, **parameters: Any) -> Any:
        return stepmix.StepMix(
            10, measurement=kind, random_state=seed, progress_bar=0, verbose=0, **parameters
        ).fit(rows)

    def ours(rows: np.ndarray, seed: int, **parameters: Any) -> Mixture:
        r = np.random.default_rng(seed).random((len(rows), 10))  # as stepmix begins
        return Mixture(10, "bernoulli", init=r / r.sum(1, keepdims=True), **parameters).fit(rows)

    plain = {"max_iter": DIGITS_STEPS, "abs_tol": 0, "rel_tol": 0}
    for name, rows, kind in (
        ("binary digits", X, "binary"), ("binary digits, a fifth missing", holed, "binary_nan")
    ):  # fmt: skip
        mine, other = [], []
        for seed in range(3):
            other.append(cpu(lambda: theirs(rows, seed, kind, **plain)))  # noqa: B023
            mine.append(
                cpu(lambda: ours(rows, seed, max_iter=DIGITS_STEPS, tol=0, accelerate=False))  # noqa: B023
            )
        yield Row(
            f"{DIGITS_STEPS} plain sweeps, {name}", "CPU s", statistics.median(mine),
            statistics.median(other), peer, 5,
            note="1,797 x 64, 10 Bernoulli components, random starts, no acceleration",
        )  # fmt: skip
    found = []
    for seed in range(SEEDS):
        start = time.process_time()
        model = ours(X, seed)
        middle = time.process_time()
        # its tolerance is on the mean log-likelihood too
        other_model = theirs(X, seed, "binary", max_iter=2000, abs_tol=1e-6, rel_tol=0)
        end = time.process_time()
        likelihoods = model.log_likelihood_, other_model.score(X) * len(X)
        print(
            f"    digits, seed {seed}: ours {middle - start:.3f} s, {likelihoods[0]:.1f}; "
            f"stepmix {end - middle:.3f} s, {likelihoods[1]:.1f}"
        )
        found.append((middle - start, end - middle, *likelihoods))
    mine, other, ours_l, peer_l = np.array(found).T
    yield Row(
        "until converged, binary digits", "CPU s", float(np.median(mine)),
        float(np.median(other)), peer, 5,
        quality="", note=(
            f"{SEEDS} random starts each, tolerance 1e-6 nats per row; log-likelihood, mean and "
            f"spread: ours {ours_l.mean():.0f} +- {ours_l.std():.0f}, best {ours_l.max():.0f}; "
            f"stepmix {peer_l.mean():.0f} +- {peer_l.std():.0f}, best {peer_l.max():.0f}"
        ),
    )  # fmt: skip


# --- memory


def memory_of_rows(peer: str) -> Row:
    ours, theirs = (in_new_process(side) for side in ("kexue", "scikit-learn"))
    return Row(
        f"memory beyond X, {LARGE:,} x {D}, {K} components", "MB", ours / 1e6, theirs / 1e6, peer,
        limit=MEGABYTES,
        note="anonymous memory of a fresh process, its most in three sweeps less that before",
    )  # fmt: skip


def memory_of_counts() -> Row:
    found = in_new_process("sparse")
    dense = SPARSE_N**2 * 8
    return Row(
        f"sparse {SPARSE_N:,} x {SPARSE_N:,}, {SPARSE_FILLED:,} filled, {SPARSE_K} components",
        "MB", found / 1e6, dense / 1e6, "a dense X", limit=2048 * 1.048576,
        note="all anonymous memory of a process that makes the rows and fits three sweeps",
    )  # fmt: skip


def in_new_process(side: str) -> int:
    """Return what `report` prints about this side."""
    command = [sys.executable, "-m", "benchmarks.mixture.bench_em", side]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return int(json.loads(done.stdout.splitlines()[-1]))


def report(side: str) -> None:
    """Print the most bytes of anonymous memory that fitting takes."""
    import threading

    from scipy import sparse
    from sklearn.mixture import GaussianMixture

    warnings.simplefilter("ignore")
    rng = np.random.default_rng(0)
    if side == "sparse":
        model: Any = Mixture(SPARSE_K, "bernoulli", max_iter=3, random_state=0)
        starts = np.arange(0, SPARSE_FILLED + 1, SPARSE_FILLED // SPARSE_N)
        columns = rng.integers(SPARSE_N, size=SPARSE_FILLED, dtype=np.int32)
        X: Any = sparse.csr_array(
            (np.ones(SPARSE_FILLED), columns, starts), (SPARSE_N, SPARSE_N)
        )  # fmt: skip
        X.sum_duplicates()
        X.data[:] = 1.0
        before = 0
    else:
        model = (
            Mixture(K, init="random", max_iter=3, tol=0, random_state=0)
            if side == "kexue"
            else GaussianMixture(K, init_params="random_from_data", max_iter=3, tol=0)
        )
        X = rng.normal(size=(LARGE, D))
        model.fit(X[:3000])
        gc.collect()
        # memory that the warm-up left to the allocator would hide growth
        ctypes.CDLL(None).malloc_trim(0)
        before = anonymous()
    most = anonymous()
    done = threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(0.005):
            most = max(most, anonymous())

    watcher = threading.Thread(target=watch)
    watcher.start()
    model.fit(X)
    done.set()
    watcher.join()
    print(json.dumps(most - before))


if __name__ == "__main__":
    report(*sys.argv[1:])
