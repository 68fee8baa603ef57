"""The rows of a data set, read block by block, and one pass over them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from scipy import sparse

from kexue._core import thread_map
from kexue.mixture._evaluators import Family, Params, Sums

_BLOCK_BYTES = 2**19  # what the features of a block take: half of a second-level cache
_SMALL_PRODUCT = 990_000  # multiplications; OpenBLAS has a way for these that is twice as fast
_MOST_GROUPS = 16  # that are summed apart, so that threads change nothing
_GROUP_BYTES = 2**26  # for all their sums
Block = tuple[slice | np.ndarray, Any, np.ndarray | None]


class Rows:
    """Rows with their weights and known classes; nothing of the size of `x` is made.

    Parameters
    ----------
    x : array of shape (n, d) or CSR
        NaN where a value is missing.
    weight : float64 array of shape (n,) or None
    labels : int array of shape (n,) or None
        Known component, or -1.
    n_components : int
    patterns : bool
        Whether blocks are to hold rows of one pattern of holes each.
    columns : int array or None
        To read only these.
    """

    def __init__(
        self, x: Any, weight: np.ndarray | None = None, labels: np.ndarray | None = None, *,
        n_components: int = 1, patterns: bool = False, columns: np.ndarray | None = None,
    ) -> None:  # fmt: skip
        self.x, self.weight, self.labels = x, weight, labels
        self.n_components, self.columns = n_components, columns
        self.n = x.shape[0]
        self.d = x.shape[1] if columns is None else len(columns)
        self.masked = has_holes(x)
        self.patterns = patterns and self.masked
        self._cuts: dict[int, list[tuple[int, int, np.ndarray | None]]] = {}
        self.order: np.ndarray | None = None
        self.runs: list[tuple[int, int, np.ndarray | None]] = [(0, self.n, None)]
        if self.patterns:
            self._sort()

    def of(self, columns: np.ndarray) -> Rows:
        """Return the same rows, of some columns."""
        return Rows(
            self.x, self.weight, self.labels, n_components=self.n_components, columns=columns
        )

    def only(self, chosen: np.ndarray) -> Rows:
        """Return some of the rows."""
        weight = None if self.weight is None else self.weight[chosen]
        labels = None if self.labels is None else self.labels[chosen]
        return Rows(
            self.x[chosen], weight, labels, n_components=self.n_components, patterns=self.patterns
        )

    @property
    def total_weight(self) -> float:
        """Sum of the weights."""
        return float(self.n) if self.weight is None else float(self.weight.sum())

    def cut(self, width: int) -> list[tuple[int, int, np.ndarray | None]]:
        """Return blocks as first row, end and pattern; `width` numbers are made of each row."""
        if width not in self._cuts:
            self._cuts[width] = self._cut(max(width, 1))
        return self._cuts[width]

    def _cut(self, width: int) -> list[tuple[int, int, np.ndarray | None]]:
        size = min(_BLOCK_BYTES // 8, _SMALL_PRODUCT // self.n_components) // width
        size = min(max(size, 128), 2048)
        if sparse.issparse(self.x):  # so that adding up sums of all columns is the lesser part
            filled = max(self.x.nnz / max(self.n, 1), 1.0)
            size = int(np.clip(16 * width / filled, 2048, 65536))
        return [
            (start, min(start + size, end), pattern)
            for begin, end, pattern in self.runs
            for start in range(begin, end, size)
        ]

    def take(self, start: int, end: int) -> Block:
        """Return where rows are, the rows, and their weights."""
        where: slice | np.ndarray = (
            slice(start, end) if self.order is None else self.order[start:end]
        )
        x = self.x[where]
        if self.columns is not None:
            x = x[:, self.columns]
        return where, x, None if self.weight is None else self.weight[where]

    def blocks(self) -> Iterator[Block]:
        """Yield all rows."""
        for start, end, _ in self.cut(self.d):
            yield self.take(start, end)

    # --- sums that do not depend on parameters

    def means(self) -> np.ndarray:
        """Return the mean of what is observed of each column."""
        total, seen = np.zeros(self.d), np.zeros(self.d)
        for _, x, weight in self.blocks():
            ones = np.ones(x.shape[0]) if weight is None else weight
            if self.masked:
                here = ~np.isnan(x)
                total += ones @ np.where(here, x, 0.0)
                seen += ones @ here
            else:
                total += x.T @ ones
                seen += ones.sum()
        return total / np.maximum(seen, np.finfo(float).tiny)

    def squares(self, mean: np.ndarray, *, matrix: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return sums of squares about `mean`, and the weight of each column, shape (d,).

        The squares are a matrix (d, d) if asked for and there are no holes, else a vector (d,).
        """
        matrix = matrix and not self.masked
        squares = np.zeros((self.d, self.d) if matrix else self.d)
        seen = np.zeros(self.d)
        for _, x, weight in self.blocks():
            away = np.subtract(x, mean, dtype=np.float64)
            ones = np.ones(len(x)) if weight is None else weight
            if self.masked:
                here = ~np.isnan(away)
                seen += ones @ here
                squares += ones @ np.where(here, away, 0.0) ** 2
                continue
            seen += ones.sum()
            if matrix:
                away *= np.sqrt(ones)[:, None]
                squares += away.T @ away
            else:
                squares += ones @ away**2
        return squares, np.maximum(seen, np.finfo(float).tiny)

    def largest(self) -> np.ndarray:
        """Return the largest value of each column."""
        found = np.zeros(self.d)
        for _, x, _ in self.blocks():
            np.fmax(found, np.fmax.reduce(x, axis=0), out=found)
        return found

    def _sort(self) -> None:
        """Order rows by the pattern of their holes."""
        packed = np.concatenate(
            [np.packbits(np.isnan(self.x[a : a + 4096]), axis=1) for a in range(0, self.n, 4096)]
        )
        keys = np.ascontiguousarray(packed).view(np.dtype((np.void, packed.shape[1]))).ravel()
        _, first, which = np.unique(keys, return_index=True, return_inverse=True)
        self.order = np.argsort(which, kind="stable")
        ends = np.cumsum(np.bincount(which))
        self.runs = [
            (int(end - count), int(end), ~np.isnan(self.x[row]))
            for end, count, row in zip(ends, np.bincount(which), first, strict=True)
        ]


@dataclass
class Sweep:
    """What one pass found.

    Attributes
    ----------
    log_likelihood : float
        Sum over rows of weight times log density, in nats.
    weight : float64 array of shape (K,)
        Sum of weighted responsibilities.
    statistics : dict
        Of the family.
    """

    log_likelihood: float
    weight: np.ndarray
    statistics: Sums


def sweep(
    rows: Rows, family: Family, log_weights: np.ndarray, params: Params, *,
    hard: bool = False, heat: float = 1.0, given: np.ndarray | None = None, n_jobs: int = 1,
) -> Sweep:  # fmt: skip
    """Do one E-step and sum up what the M-step needs, reading each row once.

    Parameters
    ----------
    rows : Rows
    family : Family
    log_weights : array of shape (K,)
    params : dict
    hard : bool
        Give each row to one component.
    heat : float
        Power of the posterior that responsibilities follow.
    given : array of shape (n, K), optional
        Responsibilities to take in place of the posterior.
    n_jobs : int
    """
    make = family.evaluators(params, masked=rows.masked, patterns=rows.patterns, fitting=True)
    k = len(log_weights)
    example = make()
    blocks = rows.cut(example.width)

    def group(part: list[tuple[int, int, np.ndarray | None]]) -> tuple[float, np.ndarray, Sums]:
        evaluator = make()
        total, weights = 0.0, np.zeros(k)
        for start, end, pattern in part:
            where, x, weight = rows.take(start, end)
            evaluator.read(x, pattern)
            if given is None:
                r = evaluator.log_joint(log_weights)
                labels = None if rows.labels is None else rows.labels[where]
                logs = posterior(r, hard=hard, heat=heat, labels=labels)
                total += float(np.add.reduce(logs) if weight is None else weight @ logs)
            else:
                r = np.array(given[where].T, np.float64, order="C")
            if weight is not None:
                r *= weight
            weights += np.add.reduce(r, axis=1)
            evaluator.add(r)
        return total, weights, evaluator.sums()

    size = sum(value.nbytes for value in example.sums().values())
    n_groups = min(max(_GROUP_BYTES // max(size, 1), 1), _MOST_GROUPS, 1 + len(blocks) // 4)
    bounds = [len(blocks) * i // n_groups for i in range(n_groups + 1)]
    parts = [blocks[a:b] for a, b in pairwise(bounds)]
    found = thread_map(group, parts, min(n_jobs, len(parts)))
    log_likelihood = sum(one[0] for one in found)
    weights = np.sum([one[1] for one in found], axis=0)
    sums = {}
    for name, value in found[0][2].items():
        if "once.log_density" in name:
            log_likelihood += float(value)
        elif "once." in name:
            sums[name.replace("once.", "")] = value
        elif name.endswith("reference"):
            sums[name] = value
        else:
            sums[name] = value.copy()
            for one in found[1:]:
                sums[name] += one[2][name]
    return Sweep(log_likelihood, weights, family.statistics(params, sums, weights))


def posterior(
    logs: np.ndarray, *, hard: bool = False, heat: float = 1.0, labels: np.ndarray | None = None
) -> np.ndarray:
    """Turn log joint densities of shape (K, m) into responsibilities; return the evidence (m,).

    With `hard`, the evidence is the largest of the joint densities.
    """
    if labels is not None:
        known = np.flatnonzero(labels >= 0)
        others = np.arange(len(logs))[:, None] != labels[known]
        logs[:, known] = np.where(others, -np.inf, logs[:, known])
    if hard:
        best = logs.argmax(0)
        columns = np.arange(logs.shape[1])
        evidence = logs[best, columns].copy()
        logs[:] = 0.0
        logs[best, columns] = 1.0
        return evidence
    top = np.maximum.reduce(logs)  # half the time of the method, where K is small
    logs -= top
    if heat != 1.0:
        logs *= heat
    np.exp(logs, out=logs)
    total = np.add.reduce(logs)
    logs *= 1 / total  # K divisions less to a row
    np.log(total, out=total)
    total += top
    return np.asarray(total)


def has_holes(x: Any) -> bool:
    """Whether an array holds NaN."""
    if sparse.issparse(x) or x.dtype.kind != "f":
        return False
    return any(np.isnan(x[a : a + 4096]).any() for a in range(0, len(x), 4096))
