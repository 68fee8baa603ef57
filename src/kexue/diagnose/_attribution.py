"""Going back along a training path: what each update moved an output by, example by example."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kexue._core import InputError
from kexue.diagnose import _gradients as gradients
from kexue.diagnose._flat import fingerprint
from kexue.diagnose._gradients import ExampleGradients, Factor
from kexue.diagnose._path_store import Batch, Step, TrainingPath

# The recorded and the recomputed gradient may differ by rounding, as a share of their length
_TOLERANCE = 1e-3
_DEEPEST = 24  # halvings of an update
_MOST = 1000  # halvings in all of one update
_ROUNDING = 64  # units in the last place of the outputs, which no halving takes away


@dataclass
class Sums:
    """What a sweep adds up, in float64.

    Attributes
    ----------
    contributions : tensor of shape (M, K, N)
    decay : tensor of shape (M, K)
    """

    contributions: Tensor
    decay: Tensor


class Replay:
    """The training side of a path: gradients of the rows of an update, as they were.

    Parameters
    ----------
    model : torch.nn.Module
        A copy of our own, whose parameters are overwritten.
    loss : callable
        ``loss(outputs, targets)``, the mean over a batch.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        path: TrainingPath,
        inputs: Tensor,
        targets: Tensor,
        loss: Callable[[Tensor, Tensor], Tensor],
    ) -> None:
        self.model, self.path, self.inputs, self.targets = model, path, inputs, targets
        self.loss = loss
        self.layout = path.header.layout
        self.examples = ExampleGradients(model, self.layout)
        by_name = dict(model.named_parameters())
        self.dtype = torch.float32
        for name in self.layout.names:
            self.dtype = torch.promote_types(self.dtype, by_name[name].dtype)
        if len(inputs):
            self.load(path.theta(0))
            self.examples.verify(inputs)
        self._mark = self.layout.mark()
        self._factors: dict[int, float] = {}
        self._seen: set[tuple[int, int]] = set()

    def load(self, theta: Tensor) -> None:
        """Give the model the parameters (P,)."""
        self.layout.load(self.model, theta.to(self.dtype))

    def rows(self, t: int) -> list[tuple[Tensor, Tensor, list[Factor]]]:
        """Return row numbers, weights and gradients of each batch of update `t`.

        The weights, (B,), are those in the gradient that the optimizer was given: mean over the
        batch, share of the batch in the update, and clipping, which is found by the length of the
        recorded gradient.
        """
        step = self.path.steps[t]
        self.load(self.path.theta(t))
        found = []
        whole = sum(batch.weight for batch in step.batches)
        for number, batch in enumerate(step.batches):
            rows = torch.tensor(batch.rows)
            self._check(t, number, batch, rows)
            weights = torch.full((len(rows),), batch.weight / whole / len(rows), dtype=self.dtype)
            found.append((rows, weights, self._gradients(batch, rows)))
        factor = self._factor(t, step, found)
        return [(rows, weights * factor, parts) for rows, weights, parts in found]

    def gradients(self, rows: Tensor) -> list[Factor]:
        """Return gradients of the losses of rows at the parameters that are loaded.

        The mean over a batch, times its size, has as its derivative by what goes out of a layer
        for one example that of this example's loss: no loss of a single one is computed.
        """
        y = self.targets[rows]

        def summed(out: Tensor) -> Tensor:
            return (self.loss(out, y) * len(rows)).reshape(1, 1)

        return self.examples(self.inputs[rows], summed)[1]

    def _gradients(self, batch: Batch, rows: Tensor) -> list[Factor]:
        if not batch.random:
            return self.gradients(rows)
        if self.examples.rest:
            raise NotImplementedError(
                f"dropout cannot be replayed for {self.examples.rest[0]}, whose gradients are "
                "computed for one example after the other; record without dropout"
            )
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(
                torch.frombuffer(bytearray.fromhex(batch.random), dtype=torch.uint8)
            )
            for module in self.model.modules():
                module.training = isinstance(module, torch.nn.modules.dropout._DropoutNd)
            try:
                return self.gradients(rows)
            finally:
                self.model.eval()

    def _check(self, t: int, number: int, batch: Batch, rows: Tensor) -> None:
        if (t, number) in self._seen:
            return
        if int(rows.max()) >= len(self.inputs) or batch.fingerprint not in (
            fingerprint(self.inputs[rows], self.targets[rows]),
            fingerprint(self.inputs[rows]),
        ):
            raise InputError(
                f"the data are not those of update {t + 1}: rows {batch.rows[:5]}... have another "
                "content; give the data set in the order in which it was recorded"
            )
        self._seen.add((t, number))

    def _factor(
        self, t: int, step: Step, found: list[tuple[Tensor, Tensor, list[Factor]]]
    ) -> float:
        """Return by what the gradient was scaled before the optimizer saw it."""
        if t not in self._factors:
            gradient = sum(
                gradients.summed(parts, weights, len(self.layout)).double()
                for _, weights, parts in found
            )
            assert isinstance(gradient, Tensor)
            length = gradient.norm().item()
            factor = step.norm / length if length else 0.0
            told = (gradient @ self._mark).item() * factor
            if abs(told - step.dot) > _TOLERANCE * step.norm * 4 + 1e-30:
                raise InputError(
                    f"the gradient of update {t + 1} is not the one that was recorded; give the "
                    "loss that was minimized, as a mean over each batch, and the model in the same "
                    "mode"
                )
            self._factors[t] = factor
        return self._factors[t]


class Queries:
    """The query side: quantities whose change along an update is integrated.

    Parameters
    ----------
    replay : Replay
    inputs : tensor of shape (M, ...)
    quantities : callable
        ``quantities(outputs, rows)`` returns (B, K) of the queries with these numbers.
    sums : callable
        As `quantities`, or their sums (1, K), which give the same gradients.
    nodes : int
        Of the Gauss-Legendre rule on a piece.
    """

    def __init__(
        self,
        replay: Replay,
        inputs: Tensor,
        quantities: Callable[[Tensor, Tensor], Tensor],
        sums: Callable[[Tensor, Tensor], Tensor],
        nodes: int,
    ) -> None:
        self.replay, self.inputs, self.quantities, self.sums = replay, inputs, quantities, sums
        self.points, self.weights = gauss(nodes)
        self.evaluations = 0

    def values(self, theta: Tensor, rows: Tensor | None = None) -> Tensor:
        """Return the quantities at parameters (P,): (B, K)."""
        rows = torch.arange(len(self.inputs)) if rows is None else rows
        self.replay.load(theta)
        self.evaluations += len(rows)
        with torch.no_grad():
            return self.quantities(self.replay.model(self.inputs[rows]), rows)

    def gradients(self, theta: Tensor, rows: Tensor) -> list[Factor]:
        """Return the gradients of the quantities at parameters (P,)."""
        self.replay.load(theta)
        self.evaluations += len(rows)
        return self.replay.examples(self.inputs[rows], lambda out: self.sums(out, rows))[1]

    def pieces(
        self, theta: Tensor, move: Tensor, tolerance: float
    ) -> Iterator[tuple[Tensor, float, list[Factor]]]:
        r"""Yield queries, weights and gradients whose weighed sum is :math:`\int \nabla f ds`.

        A piece of the update is halved for those queries whose values at its ends differ from the
        integral by more than `tolerance` times its length.
        """
        whole = torch.arange(len(self.inputs))
        todo = [(whole, 0.0, 1.0, 0)]
        spent = 0
        while todo:
            rows, begin, end, depth = todo.pop()
            length = end - begin
            found = [
                (weight * length, self.gradients(theta + (begin + point * length) * move, rows))
                for point, weight in zip(self.points, self.weights, strict=True)
            ]
            halved = torch.zeros(len(rows), dtype=torch.bool)
            if depth < _DEEPEST and spent < _MOST and math.isfinite(tolerance):
                straight = sum(w * gradients.against(g, move[None])[:, :, 0] for w, g in found)
                before, after = (self.values(theta + s * move, rows) for s in (begin, end))
                error = (after - before - straight).abs()
                noise = _ROUNDING * torch.finfo(error.dtype).eps * after.abs().max()
                halved = (error > tolerance * length + noise).any(1)
                spent += int(halved.any())
            if not halved.any():
                for weight, parts in found:
                    yield rows, weight, parts
                continue
            middle = (begin + end) / 2
            todo += [
                (rows[halved], begin, middle, depth + 1),
                (rows[halved], middle, end, depth + 1),
            ]
            if not halved.all():
                rest = rows[~halved]
                for weight, parts in found:
                    yield rest, weight, _taken(parts, ~halved)


def gauss(nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the points and weights of the Gauss-Legendre rule on [0, 1]."""
    points, weights = np.polynomial.legendre.leggauss(nodes)
    return (points + 1) / 2, weights / 2


def attribute(replay: Replay, queries: Queries, tolerance: float, count: int) -> Sums:
    r"""Return what each of `count` rows has added to the queries' quantities, and the decay.

    Backwards, with the momentum's adjoint :math:`M_t = p D \phi_t + b_{t+1} M_{t+1}` and the
    gradient's :math:`A_t = c M_t + q D \phi_t`, row i has added :math:`-\langle g_i, A_t\rangle`.
    """
    path = replay.path
    steps = path.steps
    outputs = len(queries.inputs), queries.values(path.theta(0)).shape[1]
    sums = Sums(
        torch.zeros(*outputs, count, dtype=torch.float64), torch.zeros(outputs, dtype=torch.float64)
    )
    tolerance = tolerance / max(len(steps), 1)
    plain = not any(step.momentum or step.pull is not None for step in steps)
    sweep = _plain_sweep if plain and not path.header.scaled else _adjoint_sweep
    sweep(replay, queries, tolerance, sums)
    return sums


def _plain_sweep(replay: Replay, queries: Queries, tolerance: float, sums: Sums) -> None:
    """Gradient descent without memory: inner products of factors, no vector of parameters."""
    path, layout = replay.path, replay.layout
    for t, step in enumerate(path.steps):
        theta, move = _segment(path, t, replay.dtype)
        batches = replay.rows(t)
        single = len(set(step.rate)) == 1
        rates = layout.spread(step.rate, replay.dtype)
        pull = layout.spread(_decays(step), replay.dtype) * theta
        for chosen, weight, parts in queries.pieces(theta, move, tolerance):
            for rows, weights, mine in batches:
                if single:
                    found = gradients.dot(parts, mine)[:, :, :, 0] * step.rate[0]
                else:
                    vectors = gradients.written(mine, len(layout))[:, 0] * rates
                    found = gradients.against(parts, vectors)
                _add(sums.contributions, chosen, rows, -weight * found * weights)
            if bool(pull.any()):
                moved = gradients.against(parts, pull[None])[:, :, 0]
                sums.decay[chosen] -= weight * moved.double()


def _adjoint_sweep(replay: Replay, queries: Queries, tolerance: float, sums: Sums) -> None:
    path, layout, dtype = replay.path, replay.layout, replay.dtype
    shape = *sums.decay.shape, len(layout)
    adjoint = torch.zeros(shape, dtype=dtype)  # of the momentum
    back: Tensor | None = None  # what the next pull of Lookahead takes from earlier moves
    later = 0.0  # momentum of the update after
    for t in range(len(path.steps) - 1, -1, -1):
        step = path.steps[t]
        theta, move = _segment(path, t, dtype)
        phi = torch.zeros(shape, dtype=dtype)
        for chosen, weight, parts in queries.pieces(theta, move, tolerance):
            phi[chosen] += weight * gradients.written(parts, len(layout))
        if step.pull is not None:
            back = (1 - step.pull) * phi
        if back is not None:
            phi = phi - back
        scaled = phi * _scale(path, t, dtype)
        adjoint = step.through * scaled + later * adjoint
        later = step.momentum
        full = step.intake * adjoint + step.direct * scaled
        sums.decay -= (phi @ (layout.spread(step.decay, dtype) * theta)).double()
        if any(step.coupled):
            sums.decay -= (full @ (layout.spread(step.coupled, dtype) * theta)).double()
        everyone = torch.arange(shape[0])
        for rows, weights, mine in replay.rows(t):
            found = gradients.against(mine, full.flatten(0, 1))[:, 0]  # (B, M K)
            found = found.T.reshape(shape[0], shape[1], -1)
            _add(sums.contributions, everyone, rows, -found * weights)


def _segment(path: TrainingPath, t: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    theta = path.theta(t).to(dtype)
    return theta, path.theta(t + 1).to(dtype) - theta


def _scale(path: TrainingPath, t: int, dtype: torch.dtype) -> Tensor:
    rates = path.header.layout.spread(path.steps[t].rate, dtype)
    scale = path.scale(t)
    return rates if scale is None else rates * scale.to(dtype)


def _decays(step: Step) -> list[float]:
    """Return the share of itself that each parameter loses, without momentum."""
    return [
        decay + rate * coupled
        for decay, rate, coupled in zip(step.decay, step.rate, step.coupled, strict=True)
    ]


def _add(contributions: Tensor, chosen: Tensor, rows: Tensor, found: Tensor) -> None:
    """Add (B, K, R) to the chosen queries' entries of these rows, which may repeat."""
    whole = torch.zeros(len(chosen), *contributions.shape[1:], dtype=torch.float64)
    whole.index_add_(2, rows, found.double())
    contributions[chosen] += whole


def _taken(parts: list[Factor], mask: Tensor) -> list[Factor]:
    """Return the factors of some of the examples."""
    found: list[Any] = []
    for part in parts:
        values = dict(vars(part))
        for name, value in values.items():
            if isinstance(value, Tensor):
                values[name] = value[mask]
        found.append(type(part)(**values))
    return found
