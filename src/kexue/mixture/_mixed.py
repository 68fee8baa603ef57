"""Blocks of columns, each of its own family, independent within a component."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kexue.mixture._evaluators import Evaluator, Params, Sums


class Mixed:
    """Families side by side; names of parameters and sums begin with the number of the block."""

    def __init__(self, blocks: Sequence[tuple[Any, np.ndarray]]) -> None:
        self.blocks = blocks
        self.needs_patterns = any(family.needs_patterns for family, _ in blocks)

    def settle(self, rows: Any) -> None:
        for family, columns in self.blocks:
            family.settle(rows.of(columns))

    def settle_again(self, rows: Any) -> None:
        for family, columns in self.blocks:
            family.settle_again(rows.of(columns))

    def forget_rows(self) -> None:
        for family, _ in self.blocks:
            family.forget_rows()

    def start_features(self, x: np.ndarray) -> np.ndarray:
        parts = [family.start_features(x[:, columns]) for family, columns in self.blocks]
        return np.concatenate(parts, axis=1)

    def blank(self, n_components: int) -> Params:
        return _joined([family.blank(n_components) for family, _ in self.blocks])

    def evaluators(
        self, params: Params, *, masked: bool, patterns: bool, fitting: bool
    ) -> Callable[[], Evaluator]:
        makers = [
            family.evaluators(
                part, masked=masked, patterns=patterns and family.needs_patterns, fitting=fitting
            )
            for (family, _), part in zip(self.blocks, self._parts(params), strict=True)
        ]
        columns = [columns for _, columns in self.blocks]
        return lambda: MixedEvaluator([make() for make in makers], columns)

    def statistics(self, params: Params, sums: Sums, weight: np.ndarray) -> Sums:
        parts = zip(self.blocks, self._parts(params), self._parts(sums), strict=True)
        return _joined([family.statistics(p, s, weight) for (family, _), p, s in parts])

    def merged(self, one: Sums, other: Sums) -> Sums:
        parts = zip(self.blocks, self._parts(one), self._parts(other), strict=True)
        return _joined([family.merged(a, b) for (family, _), a, b in parts])

    def scaled(self, statistics: Sums, factor: float) -> Sums:
        return _joined([family.scaled(s, factor) for family, s in self._each(statistics)])

    def m_step(self, statistics: Sums) -> Params:
        return _joined([family.m_step(s) for family, s in self._each(statistics)])

    def start(self, statistics: Sums) -> Params:
        return _joined([family.start(s) for family, s in self._each(statistics)])

    def broken(self, params: Params) -> np.ndarray:
        return np.any([family.broken(p) for family, p in self._each(params)], axis=0)

    def replaced(self, params: Params, k: int, row: np.ndarray) -> Params:
        parts = zip(self.blocks, self._parts(params), strict=True)
        return _joined([family.replaced(p, k, row[columns]) for (family, columns), p in parts])

    def log_prior(self, params: Params) -> float:
        return float(sum(family.log_prior(p) for family, p in self._each(params)))

    def n_parameters(self, n_components: int) -> int:
        return sum(family.n_parameters(n_components) for family, _ in self.blocks)

    def pack(self, params: Params) -> np.ndarray:
        return np.concatenate([family.pack(p) for family, p in self._each(params)])

    def unpack(self, vector: np.ndarray, like: Params) -> Params:
        parts, place = [], 0
        for family, p in self._each(like):
            size = len(family.pack(p))
            parts.append(family.unpack(vector[place : place + size], p))
            place += size
        return _joined(parts)

    def sample(self, params: Params, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        width = sum(len(columns) for _, columns in self.blocks)
        out = np.empty((len(labels), width))
        for (family, columns), p in zip(self.blocks, self._parts(params), strict=True):
            out[:, columns] = family.sample(p, labels, rng)
        return out

    def impute(
        self, params: Params, x: np.ndarray, r: np.ndarray, rng: np.random.Generator | None
    ) -> np.ndarray:
        out = np.array(x, float)
        for (family, columns), p in zip(self.blocks, self._parts(params), strict=True):
            out[:, columns] = family.impute(p, out[:, columns], r, rng)
        return out

    def learned(self, params: Params) -> dict[str, Any]:
        """Return, by name, a list with an entry for each block, None where it has no such thing."""
        each = [family.learned(p) for family, p in self._each(params)]
        names = dict.fromkeys(name for found in each for name in found)
        return {name: [found.get(name) for found in each] for name in names}

    def levels_of(self, columns: Sequence[int]) -> dict[int, int]:
        found: dict[int, int] = {}
        for family, chosen in self.blocks:
            found |= family.levels_of(chosen.tolist())
        return found

    def state(self) -> dict[str, np.ndarray]:
        return _joined([family.state() for family, _ in self.blocks])

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        for family, part in self._each(state):
            family.set_state(part)

    def _each(self, found: dict[str, np.ndarray]) -> list[tuple[Any, dict[str, np.ndarray]]]:
        parts = self._parts(found)
        return [(family, part) for (family, _), part in zip(self.blocks, parts, strict=True)]

    def _parts(self, found: dict[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
        parts: list[dict[str, np.ndarray]] = [{} for _ in self.blocks]
        for name, value in found.items():
            number, rest = name.split(".", 1)
            parts[int(number)][rest] = value
        return parts


class MixedEvaluator:
    """Evaluators of blocks of columns, whose log densities add."""

    def __init__(self, inner: list[Evaluator], columns: list[np.ndarray]) -> None:
        self.inner, self.columns = inner, columns
        self.width = sum(evaluator.width for evaluator in inner)

    def read(self, x: Any, observed: np.ndarray | None) -> None:
        for evaluator, columns in zip(self.inner, self.columns, strict=True):
            evaluator.read(x[:, columns], None if observed is None else observed[columns])

    def log_joint(self, log_weights: np.ndarray) -> np.ndarray:
        found = self.inner[0].log_joint(log_weights)
        for evaluator in self.inner[1:]:
            found += evaluator.log_joint(np.zeros_like(log_weights))
        return found

    def add(self, r: np.ndarray) -> None:
        for evaluator in self.inner:
            evaluator.add(r)

    def sums(self) -> Sums:
        return _joined([evaluator.sums() for evaluator in self.inner])


def _joined(parts: list[dict[str, Any]]) -> dict[str, Any]:
    return {f"{i}.{name}": value for i, part in enumerate(parts) for name, value in part.items()}
