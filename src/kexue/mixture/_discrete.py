"""Densities of binary columns, counts and categories."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import sparse
from scipy.special import expit, logit

from kexue.mixture._evaluators import Evaluator, LinearEvaluator, Params, Sums

_LEAST = 1e-12  # of a probability: what never happened may still happen
_START_SHARE = 0.05  # of the rows of a component, that are the average of all at the start


class Discrete:
    """What the three families share; sums are counts of weight, `n` of rows or of values.

    Parameters
    ----------
    prior : bool
        Whether each component is given one more row, the average of all.

    Attributes
    ----------
    average : array of shape (D,)
        Mean of each column of phi.
    """

    needs_patterns = False

    def __init__(self, prior: bool) -> None:
        self.prior = prior

    def settle(self, rows: Any) -> None:
        self.average = rows.means()

    def settle_again(self, rows: Any) -> None:
        """Nothing depends on the rows alone."""

    def forget_rows(self) -> None:
        """Nothing is kept of them."""

    def blank(self, n_components: int) -> Params:
        probs = np.repeat(self.average[None], n_components, axis=0)
        return {"probs": np.clip(probs, _LEAST, 1 - _LEAST)}

    def merged(self, one: Sums, other: Sums) -> Sums:
        return {name: one[name] + other[name] for name in one}

    def scaled(self, statistics: Sums, factor: float) -> Sums:
        return {name: value * factor for name, value in statistics.items()}

    def m_step(self, statistics: Sums) -> Params:
        return self._estimate(statistics, 1.0 if self.prior else 0.0)

    def start(self, statistics: Sums) -> Params:
        return self._estimate(statistics, _START_SHARE * self._rows(statistics))

    def broken(self, params: Params) -> np.ndarray:
        return np.asarray(~np.isfinite(params["probs"]).all(1))

    def _estimate(self, statistics: Sums, extra: float) -> Params:
        """Return probabilities with so many more rows, the average of all, in each component."""
        raise NotImplementedError

    def _rows(self, statistics: Sums) -> float:
        """Return how many rows a component has on average."""
        return float(statistics["first"].sum(1).mean() / max(self.average.sum(), _LEAST))

    def state(self) -> dict[str, np.ndarray]:
        return {"average": self.average}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        self.average = state["average"]

    def levels_of(self, columns: Sequence[int]) -> dict[int, int]:
        return {}

    def learned(self, params: Params) -> dict[str, Any]:
        return {"probs_": params["probs"]}


class Bernoulli(Discrete):
    """Independent binary columns."""

    def start_features(self, x: Any) -> Any:
        return x

    def evaluators(
        self, params: Params, *, masked: bool, patterns: bool, fitting: bool
    ) -> Callable[[], Evaluator]:
        p = params["probs"]
        on, off = logit(p), np.log1p(-p)
        if masked:
            theta = np.concatenate([on, off], axis=1)
            return lambda: MaskedEvaluator(theta, np.zeros(len(p)))
        constant = off.sum(1)
        return lambda: LinearEvaluator(on, constant, _as_numbers)

    def statistics(self, params: Params, sums: Sums, weight: np.ndarray) -> Sums:
        total, d = sums["total"], params["probs"].shape[1]
        n = total[:, d:] if total.shape[1] > d else weight[:, None]
        return {"n": n, "first": total[:, :d]}

    def _estimate(self, statistics: Sums, extra: float) -> Params:
        n = np.maximum(statistics["n"] + extra, np.finfo(float).tiny)
        p = (statistics["first"] + extra * self.average) / n
        return {"probs": np.clip(p, _LEAST, 1 - _LEAST)}

    def replaced(self, params: Params, k: int, row: np.ndarray) -> Params:
        probs = params["probs"].copy()
        mixed = (np.where(np.isnan(row), self.average, row) + self.average) / 2
        probs[k] = np.clip(mixed, _LEAST, 1 - _LEAST)
        return {"probs": probs}

    def log_prior(self, params: Params) -> float:
        if not self.prior:
            return 0.0
        p = params["probs"]
        return float((np.log(p) @ self.average + np.log1p(-p) @ (1 - self.average)).sum())

    def n_parameters(self, n_components: int) -> int:
        return n_components * len(self.average)

    def pack(self, params: Params) -> np.ndarray:
        return np.asarray(logit(params["probs"])).ravel()

    def unpack(self, vector: np.ndarray, like: Params) -> Params:
        p = expit(vector.reshape(like["probs"].shape))
        return {"probs": np.clip(p, _LEAST, 1 - _LEAST)}

    def sample(self, params: Params, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        p = params["probs"][labels]
        return (rng.random(p.shape) < p).astype(np.float64)

    def impute(
        self, params: Params, x: np.ndarray, r: np.ndarray, rng: np.random.Generator | None
    ) -> np.ndarray:
        p = r.T @ params["probs"]
        filled = p >= 0.5 if rng is None else rng.random(p.shape) < p
        return np.where(np.isnan(x), filled, x)


class MaskedEvaluator(LinearEvaluator):
    """Binary columns with holes: phi holds the columns, 0 in holes, and where they have a value."""

    # kept from block to block, for new pages each time would cost more than the products
    _buffer = np.empty((0, 0))

    def features(self, x: np.ndarray) -> np.ndarray:
        if len(self._buffer) < len(x):
            self._buffer = np.empty((len(x), self.theta.shape[1]))
        found, d = self._buffer[: len(x)], x.shape[1]
        hole = np.isnan(x)
        np.logical_not(hole, out=found[:, d:], casting="unsafe")
        columns = found[:, :d]
        columns[:] = x
        columns[hole] = 0.0
        return found


class Multinomial(Discrete):
    """Rows of counts whose sum is given."""

    def settle(self, rows: Any) -> None:
        super().settle(rows)
        if not self.average.sum() > 0:
            self.average = np.full(len(self.average), 1 / len(self.average))

    def start_features(self, x: Any) -> Any:
        """Return square roots of shares, so that distances are those of Hellinger."""
        total = np.maximum(np.asarray(x.sum(axis=1), float).reshape(-1, 1), _LEAST)
        if sparse.issparse(x):
            return (x.multiply(1 / total)).sqrt().tocsr()
        return np.sqrt(x / total)

    def evaluators(
        self, params: Params, *, masked: bool, patterns: bool, fitting: bool
    ) -> Callable[[], Evaluator]:
        theta = np.log(params["probs"])
        return lambda: LinearEvaluator(theta, np.zeros(len(theta)), _as_numbers)

    def statistics(self, params: Params, sums: Sums, weight: np.ndarray) -> Sums:
        return {"first": sums["total"]}

    def _estimate(self, statistics: Sums, extra: float) -> Params:
        counts = statistics["first"] + extra * self.average
        total = counts.sum(1, keepdims=True)
        # rows without any count say nothing
        share = np.where(total > 0, counts, self.average) / np.where(
            total > 0, total, self.average.sum()
        )
        return {"probs": _normalized(share)}

    def replaced(self, params: Params, k: int, row: np.ndarray) -> Params:
        probs = params["probs"].copy()
        share = self.average / self.average.sum()
        probs[k] = share if not row.sum() > 0 else (row / row.sum() + share) / 2
        return {"probs": _normalized(probs)}

    def log_prior(self, params: Params) -> float:
        return float((np.log(params["probs"]) @ self.average).sum()) if self.prior else 0.0

    def n_parameters(self, n_components: int) -> int:
        return n_components * (len(self.average) - 1)

    def pack(self, params: Params) -> np.ndarray:
        return np.log(params["probs"]).ravel()

    def unpack(self, vector: np.ndarray, like: Params) -> Params:
        logs = vector.reshape(like["probs"].shape)
        return {"probs": _normalized(np.exp(logs - logs.max(1, keepdims=True)))}

    def sample(self, params: Params, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return rows of as many counts as rows have on average."""
        trials = max(1, round(float(self.average.sum())))
        p = params["probs"]
        return rng.multinomial(trials, (p / p.sum(1, keepdims=True))[labels]).astype(np.float64)

    def impute(
        self, params: Params, x: np.ndarray, r: np.ndarray, rng: np.random.Generator | None
    ) -> np.ndarray:
        return x


class Categorical(Discrete):
    """Independent columns of codes 0, 1, ...; each has a table of probabilities."""

    levels: np.ndarray  # number of codes of each column

    def settle(self, rows: Any) -> None:
        self.levels = rows.largest().astype(np.int64) + 1
        counts = np.zeros(int(self.levels.sum()))
        for _, x, weight in rows.blocks():
            phi = self._indicators(x)
            counts += phi.sum(0) if weight is None else weight @ phi
        self.average = counts / np.repeat(self._sums(counts[None])[0], self.levels)

    def start_features(self, x: np.ndarray) -> np.ndarray:
        found = self._indicators(x)
        found[np.repeat(np.isnan(x), self.levels, axis=1)] = np.nan
        return found

    def evaluators(
        self, params: Params, *, masked: bool, patterns: bool, fitting: bool
    ) -> Callable[[], Evaluator]:
        theta = np.log(params["probs"])
        return lambda: LinearEvaluator(theta, np.zeros(len(theta)), self._indicators)

    def statistics(self, params: Params, sums: Sums, weight: np.ndarray) -> Sums:
        return {"first": sums["total"]}

    def _estimate(self, statistics: Sums, extra: float) -> Params:
        counts = statistics["first"] + extra * self.average
        total = np.repeat(self._sums(counts), self.levels, axis=1)
        share = np.where(total > 0, counts / np.where(total > 0, total, 1.0), self.average)
        return {"probs": self._shares(share)}

    def replaced(self, params: Params, k: int, row: np.ndarray) -> Params:
        probs = params["probs"].copy()
        here = self._indicators(row[None])[0]
        known = np.repeat(~np.isnan(row), self.levels)
        probs[k] = np.where(known, (here + self.average) / 2, self.average)
        return {"probs": self._shares(probs)}

    def log_prior(self, params: Params) -> float:
        return float((np.log(params["probs"]) @ self.average).sum()) if self.prior else 0.0

    def n_parameters(self, n_components: int) -> int:
        return n_components * int((self.levels - 1).sum())

    def pack(self, params: Params) -> np.ndarray:
        return np.log(params["probs"]).ravel()

    def unpack(self, vector: np.ndarray, like: Params) -> Params:
        logs = vector.reshape(like["probs"].shape)
        top = np.maximum.reduceat(logs, self._starts(), axis=1)
        return {"probs": self._shares(np.exp(logs - np.repeat(top, self.levels, axis=1)))}

    def sample(self, params: Params, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return self._drawn(params["probs"][labels], rng)

    def impute(
        self, params: Params, x: np.ndarray, r: np.ndarray, rng: np.random.Generator | None
    ) -> np.ndarray:
        p = r.T @ params["probs"]
        if rng is not None:
            filled = self._drawn(p, rng)
        else:
            columns = np.split(p, self._starts()[1:], axis=1)
            filled = np.stack([column.argmax(1) for column in columns], axis=1)
        return np.where(np.isnan(x), filled, x)

    def learned(self, params: Params) -> dict[str, Any]:
        return {"probs_": np.split(params["probs"], self._starts()[1:], axis=1)}

    def state(self) -> dict[str, np.ndarray]:
        return {"average": self.average, "levels": self.levels}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        self.average, self.levels = state["average"], state["levels"]

    def levels_of(self, columns: Sequence[int]) -> dict[int, int]:
        return dict(zip(columns, self.levels.tolist(), strict=True))

    def _starts(self) -> np.ndarray:
        return np.concatenate([[0], np.cumsum(self.levels)[:-1]])

    def _sums(self, tables: np.ndarray) -> np.ndarray:
        return np.add.reduceat(tables, self._starts(), axis=1)

    def _shares(self, tables: np.ndarray) -> np.ndarray:
        tables = np.maximum(tables, _LEAST)
        return tables / np.repeat(self._sums(tables), self.levels, axis=1)

    def _indicators(self, x: np.ndarray) -> np.ndarray:
        found = np.zeros((len(x), int(self.levels.sum())))
        n, j = np.nonzero(~np.isnan(x))
        found[n, self._starts()[j] + np.asarray(x[n, j], np.int64)] = 1.0
        return found

    def _drawn(self, tables: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        columns = np.split(tables, self._starts()[1:], axis=1)
        u = rng.random((len(tables), len(columns)))
        drawn = [
            np.minimum((column.cumsum(1) < u[:, j, None]).sum(1), column.shape[1] - 1)
            for j, column in enumerate(columns)
        ]
        return np.stack(drawn, axis=1).astype(np.float64)


def _as_numbers(x: Any) -> Any:
    return x.astype(np.float64, copy=False)


def _normalized(share: np.ndarray) -> np.ndarray:
    share = np.maximum(share, _LEAST)
    return np.asarray(share / share.sum(1, keepdims=True))
