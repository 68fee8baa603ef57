"""Gaussian distances against POT, SciPy's sqrtm and torch: CPU time, relative error, memory.

Errors are against 60-digit arithmetic for 20 dimensions, and for 768 against 80-bit arithmetic.
Memory is the growth of a fresh process to the highest resident set, from ``/proc``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.gaussian import exact
from benchmarks.measuring import Row
from kexue.gaussian import Gaussian, bhattacharyya, fid, kl, pairwise_distances, wasserstein2

ROOT = Path(__file__).resolve().parents[2]
REPEATS = 5
CALLS = 100  # of what takes a fraction of a millisecond
CASES = ((1e2, None), (1e2, 1e-6), (1e8, None), (1e8, 1e-3), (1e8, 1e-6))
LARGE = 768
FEW = 180  # samples, fewer than a quarter of the dimensions
MOST_ERROR = 1e-10
K, DIMENSIONS = 5000, 100  # of all pairs of diagonals
ROWS_OF_PEER = 250  # of K, times twenty
CHUNK = 1  # rows of torch's broadcasting, the fastest of 1, 2, 4, 8, 16
STATUS = Path("/proc/self/status")
HIGH_WATER = Path("/proc/self/clear_refs")
PAIRWISE = {"bhattacharyya": 3.0, "kl": 1.0, "wasserstein2": 1.0}  # bars


def measure(data: Path) -> Iterator[Row]:
    """Yield rows on 20 dimensions, on 768, and on all pairs; the data sets are not needed."""
    import torch

    torch.set_num_threads(1)
    yield from small()
    yield from large()
    yield from few_samples()
    for metric, bar in PAIRWISE.items():
        yield all_pairs(metric, bar)
    yield kl_by_products()
    if HIGH_WATER.exists():
        for metric in PAIRWISE:
            yield memory(metric)


def versions() -> dict[str, str]:
    from importlib.metadata import version

    return {name: f"{name} {version(name)}" for name in ("POT", "scipy", "torch", "numpy")}


# --- 20 dimensions


def small() -> Iterator[Row]:
    """Yield time and error of single pairs, near and far, well and ill conditioned."""
    mean = np.zeros(20)
    for condition, change in CASES:
        first, second = exact.pair(condition, change)
        kind = "unrelated" if change is None else f"changed by {change:g}"
        case = f"n = 20, condition {condition:g}, {kind}"
        ours = our_ways(mean, first, second)
        truth = {
            "KL": exact.kl(mean, first, mean, second),
            "Bhattacharyya": exact.bhattacharyya(mean, first, mean, second),
            "W2^2": exact.wasserstein2_squared(mean, first, mean, second),
        }
        for name, peer_name, peer in peers(mean, first, second):
            times, values = alternate(ours[name], peer, CALLS)
            yield Row(
                name=f"{name}, {case}",
                unit="CPU s",
                ours=times[0],
                peer=times[1],
                peer_name=peer_name,
                bar=0,
                quality="relative error",
                quality_ours=exact.relative_error(values[0], truth[name]),
                quality_peer=exact.relative_error(values[1], truth[name]),
                note=(
                    "n = 20: float64, from mean and matrix to the number, checks and "
                    "factorisations included; errors against 60 digits"
                ),
                readme=condition == 1e8 and change == 1e-6 and name != "Bhattacharyya",
            )


def our_ways(
    mean: np.ndarray, first: np.ndarray, second: np.ndarray
) -> dict[str, Callable[[], Any]]:
    """Return the three distances of one pair, from its matrices on."""

    def pair() -> tuple[Gaussian, Gaussian]:
        return Gaussian.full(mean, first), Gaussian.full(mean, second)

    return {
        "KL": lambda: kl(*pair()),
        "Bhattacharyya": lambda: bhattacharyya(*pair()),
        "W2^2": lambda: wasserstein2(*pair(), squared=True),
    }


def peers(
    mean: np.ndarray, first: np.ndarray, second: np.ndarray
) -> Iterator[tuple[str, str, Callable[[], Any]]]:
    """Yield what each of the others computes of one pair."""
    import torch
    from torch.distributions import MultivariateNormal, kl_divergence

    names = versions()
    m, s1, s2 = map(torch.from_numpy, (mean, first, second))
    yield (
        "KL",
        f"{names['torch']} distributions",
        lambda: kl_divergence(MultivariateNormal(m, s1), MultivariateNormal(m, s2)),
    )
    yield "Bhattacharyya", f"{names['numpy']} slogdet", lambda: three_determinants(first, second)
    yield "W2^2", names["POT"], lambda: pot_distance(mean, first, second)
    yield "W2^2", f"{names['scipy']} sqrtm", lambda: by_sqrtm(first, second)


def three_determinants(first: np.ndarray, second: np.ndarray) -> float:
    logs = [np.linalg.slogdet(cov)[1] for cov in ((first + second) / 2, first, second)]
    return (logs[0] - (logs[1] + logs[2]) / 2) / 2


def pot_distance(mean: np.ndarray, first: np.ndarray, second: np.ndarray) -> float:
    import ot

    return ot.gaussian.bures_wasserstein_distance(mean, mean, first, second) ** 2


def by_sqrtm(first: np.ndarray, second: np.ndarray) -> float:
    from scipy.linalg import sqrtm

    return np.trace(first) + np.trace(second) - 2 * np.trace(sqrtm(first @ second).real)


# --- 768 dimensions


def large() -> Iterator[Row]:
    """Yield rows on full matrices of the size of features."""
    import torch
    from torch.distributions import MultivariateNormal, kl_divergence

    rng = np.random.default_rng(0)
    scale = np.linspace(0.5, 2, LARGE)
    factors = [
        np.linalg.cholesky(np.cov(rng.normal(size=(2 * LARGE, LARGE)).T * s[:, None]))
        for s in (scale, scale[::-1])
    ]
    first, second = (exact.square(factor) for factor in factors)
    truth = exact.wasserstein2_squared_in_80_bits(*factors)
    mean, names = np.zeros(LARGE), versions()

    def ours() -> float:
        return wasserstein2(Gaussian.full(mean, first), Gaussian.full(mean, second), squared=True)

    for peer_name, peer in (
        (names["POT"], lambda: pot_distance(mean, first, second)),
        (f"{names['scipy']} sqrtm", lambda: by_sqrtm(first, second)),
    ):
        yield with_error(f"W2^2 of full matrices, n = {LARGE}", ours, peer_name, peer, truth, 3.0)
    m, s1, s2 = map(torch.from_numpy, (mean, first, second))
    times, values = alternate(
        lambda: kl(Gaussian.full(mean, first), Gaussian.full(mean, second)),
        lambda: kl_divergence(MultivariateNormal(m, s1), MultivariateNormal(m, s2)).item(),
    )
    if abs(values[0] - values[1]) > MOST_ERROR * values[1]:
        raise RuntimeError(f"KL of one pair: we have {values[0]}, torch {values[1]}")
    yield Row(
        name=f"KL of full matrices, n = {LARGE}",
        unit="CPU s",
        ours=times[0],
        peer=times[1],
        peer_name=f"{names['torch']} distributions",
        readme=False,
        note="KL: far apart, where both are equal to 1e-10",
    )


def few_samples() -> Iterator[Row]:
    """Yield rows on FID of fewer samples than dimensions."""
    rng = np.random.default_rng(1)
    X, Y = rng.normal(size=(FEW, LARGE)), 1.2 * rng.normal(size=(FEW, LARGE)) + 0.1
    step = X.mean(0) - Y.mean(0)
    factors = [(Z - Z.mean(0)).T / (FEW - 1) ** 0.5 for Z in (X, Y)]
    truth = exact.wasserstein2_squared_in_80_bits(*factors) + step @ step
    names = versions()

    def fitted() -> tuple[np.ndarray, ...]:
        return X.mean(0), Y.mean(0), np.cov(X.T), np.cov(Y.T)

    def pot() -> float:
        import ot

        return ot.gaussian.bures_wasserstein_distance(*fitted()) ** 2

    def sqrtm() -> float:
        m1, m2, s1, s2 = fitted()
        return by_sqrtm(s1, s2) + (m1 - m2) @ (m1 - m2)

    for peer_name, peer in ((names["POT"], pot), (f"{names['scipy']} sqrtm", sqrtm)):
        name = f"FID of {FEW} samples, n = {LARGE}"
        yield with_error(name, lambda: fid(X, Y), peer_name, peer, truth, 20.0)


def with_error(
    name: str,
    ours: Callable[[], Any],
    peer_name: str,
    peer: Callable[[], Any],
    truth: Any,
    bar: float,
) -> Row:
    times, values = alternate(ours, peer)
    errors = [exact.relative_error(value, truth) for value in values]
    if errors[0] > MOST_ERROR:
        raise RuntimeError(f"{name}: relative error {errors[0]:.1e}, allowed {MOST_ERROR:g}")
    return Row(
        name=name,
        unit="CPU s",
        ours=times[0],
        peer=times[1],
        peer_name=peer_name,
        bar=bar,
        quality="relative error",
        quality_ours=errors[0],
        quality_peer=errors[1],
        note=(
            f"n = {LARGE}: of mean and matrix, or of samples, to the number; errors against "
            f"80-bit arithmetic, ours at most {MOST_ERROR:g}"
        ),
    )


# --- all pairs of diagonals


def diagonals(k: int = K) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    return rng.normal(size=(k, DIMENSIONS)), rng.uniform(0.2, 3, (k, DIMENSIONS))


def torch_pairs(metric: str, mean: np.ndarray, var: np.ndarray, n_rows: int) -> Any:
    """Return the first rows of torch's matrix, by broadcasting in chunks, or by cdist."""
    import torch

    m, v = torch.from_numpy(mean), torch.from_numpy(var)
    if metric == "wasserstein2":
        points = torch.cat([m, v.sqrt()], 1)
        return torch.cdist(points[:n_rows], points)
    out = torch.empty(n_rows, len(m), dtype=m.dtype)
    for start in range(0, n_rows, CHUNK):
        rows = slice(start, min(start + CHUNK, n_rows))
        step, a = m[rows, None] - m, v[rows, None]
        if metric == "kl":
            terms = (a / v - 1 - torch.log(a / v) + step**2 / v) / 2
        else:
            both = a + v
            terms = step**2 / both / 4 + torch.log(both / (2 * torch.sqrt(a * v))) / 2
        out[rows] = terms.sum(-1)
    return out


def all_pairs(metric: str, bar: float) -> Row:
    mean, var = diagonals()
    ps = Gaussian.diag(mean, var)
    n_rows = K if metric == "wasserstein2" else ROWS_OF_PEER
    pairwise_distances(ps[:3], metric=metric)  # compiles
    times, values = alternate(
        lambda: pairwise_distances(ps, metric=metric),
        lambda: torch_pairs(metric, mean, var, n_rows),
    )
    # cdist leaves some 1e-8 of a point from itself
    np.testing.assert_allclose(values[0][:n_rows], values[1], rtol=1e-8, atol=1e-6)
    way = (
        "cdist"
        if metric == "wasserstein2"
        else "broadcasting row by row, the fastest size of a chunk"
    )
    note = "" if n_rows == K else f"; the time of {n_rows} rows, times {K // n_rows}"
    return Row(
        name=f"all pairs of {K} diagonals, d = {DIMENSIONS}, {metric}",
        unit="CPU s",
        ours=times[0],
        peer=times[1] * K / n_rows,
        peer_name=versions()["torch"],
        bar=bar,
        note=f"{metric}: torch by {way}{note}",
    )


def kl_by_products() -> Row:
    """Return the row on what somebody who knows the products would write in torch."""
    import torch

    mean, var = diagonals()
    ps = Gaussian.diag(mean, var)
    m, v = torch.from_numpy(mean), torch.from_numpy(var)

    def products() -> Any:
        left, right = torch.cat([v + m**2, m], 1), torch.cat([1 / v, -2 * m / v], 1)
        logs = v.log().sum(1)
        out = left @ right.T
        out += (m**2 / v).sum(1) + logs
        out -= logs[:, None] + DIMENSIONS
        return out.div_(2)

    times, _ = alternate(lambda: pairwise_distances(ps, metric="kl"), products)
    return Row(
        name=f"all pairs of {K} diagonals, d = {DIMENSIONS}, kl, by products",
        unit="CPU s",
        ours=times[0],
        peer=times[1],
        peer_name=f"{versions()['torch']} by hand",
        readme=False,
        note="by products: the same sums in torch, without the care for near pairs",
    )


def memory(metric: str) -> Row:
    ours, peer = (in_new_process(side, metric) for side in ("ours", "torch"))
    return Row(
        name=f"memory of all pairs of {K} diagonals, {metric}",
        unit="MB",
        ours=ours,
        peer=peer,
        peer_name=versions()["torch"],
        readme=False,
        note=f"memory: growth of a fresh process; the result alone is {8 * K**2 / 1e6:.0f} MB",
    )


def in_new_process(side: str, metric: str) -> float:
    command = [sys.executable, "-m", "benchmarks.gaussian.bench_distances", side, metric]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def report(side: str, metric: str) -> None:
    """Print the MB that all pairs add to this process."""
    import torch

    torch.set_num_threads(1)

    def run(k: int) -> Any:
        mean, var = diagonals(k)
        if side == "torch" and metric != "wasserstein2":
            # the chunks of the other rows would take no more memory
            return torch.ones(k, k, dtype=torch.float64), torch_pairs(
                metric, mean, var, min(k, ROWS_OF_PEER)
            )
        if side == "torch":
            return torch_pairs(metric, mean, var, k)
        return pairwise_distances(Gaussian.diag(mean, var), metric=metric)

    run(50)
    HIGH_WATER.write_text("5")  # sets VmHWM back to what is resident now
    before = resident("VmRSS")
    run(K)
    print(json.dumps((resident("VmHWM") - before) / 1e6))


def resident(field: str) -> int:
    """Return VmRSS or VmHWM of this process in bytes."""
    for line in STATUS.read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"{STATUS} has no {field}")


# --- taking time


def alternate(
    ours: Callable[[], Any], peer: Callable[[], Any], calls: int = 1
) -> tuple[tuple[float, float], tuple[Any, Any]]:
    """Return median CPU seconds of a call of each, in turns, and what they return."""
    values = ours(), peer()
    seconds: list[list[float]] = [[], []]
    for _ in range(REPEATS):
        for function, taken in zip((ours, peer), seconds, strict=True):
            start = time.process_time()
            for _ in range(calls):
                function()
            taken.append((time.process_time() - start) / calls)
    return (median(seconds[0]), median(seconds[1])), values


if __name__ == "__main__":
    if len(sys.argv) == 3:
        report(*sys.argv[1:])
    else:
        from benchmarks.__main__ import describe

        for row in measure(ROOT):
            print(describe(row), flush=True)
