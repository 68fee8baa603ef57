"""The path kernel: a prediction as an exact sum over the examples that the model was trained on."""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from kexue._core import InputError, check_choice, check_float, check_int
from kexue.diagnose import _gradients as gradients
from kexue.diagnose._attribution import Queries, Replay, attribute
from kexue.diagnose._path_store import StoredPath, TrainingPath
from kexue.diagnose.path_recorder import PathRecorder

_METHODS = ("exact", "tracin", "tangent", "projected")
_BLOCK = 1024  # training rows whose gradients are held at a time


@dataclass(repr=False)
class Explanation:
    """M predictions taken apart.

    Attributes
    ----------
    contributions : array of shape (M, K, N), or (M, K, top_k)
        What each training example has added to each of K outputs.
    rows : None or int array of shape (M, K, top_k)
        With `top_k`: which examples they are, largest amount first.
    initial, total : float64 arrays of shape (M, K)
        The outputs before and after training.
    decay : float64 array of shape (M, K)
        What weight decay has added.
    residual : float64 array of shape (M, K)
        What is left: ``initial + contributions.sum(-1) + decay + residual == total``. For an
        approximate method it is no certificate.
    evaluations : int
        Forward passes of single queries that it took.
    """

    contributions: np.ndarray
    rows: np.ndarray | None
    initial: np.ndarray
    decay: np.ndarray
    residual: np.ndarray
    total: np.ndarray
    evaluations: int = 0

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.contributions.shape))
        largest = np.abs(self.residual).max()
        return f"Explanation(contributions {shape}, largest residual {largest:.2g})"


class PathKernel:
    r"""What each training example has added to a model's predictions.

    Along one update from :math:`\theta` by :math:`\Delta`, an output moves by exactly
    :math:`\langle \int_0^1 \nabla f(x; \theta + s\Delta) ds, \Delta\rangle`, and :math:`\Delta` is
    linear in the gradients of the examples. Summed over all updates, with momentum followed
    backwards, this gives one number per example; the numbers, the output at the start and weight
    decay's share add up to the prediction.

    Parameters
    ----------
    model : torch.nn.Module
        Of the kind that was trained; it is copied and put into evaluation mode. Its output's first
        axis is that of the examples.
    loss : callable
        ``loss(outputs, targets)`` of a batch: a mean, as ``torch.nn.functional.cross_entropy``.
    path : PathRecorder, TrainingPath or path
        What was recorded, or the folder that it was recorded to.
    data : (inputs, targets)
        Tensors of the training examples, in the order of the recorded rows.
    method : {"exact", "tracin", "tangent", "projected"}
        The exact sum; inner products of loss gradients at the recorded parameters, each times the
        learning rate (TracIn); those at the end alone; or TracIn on gradients projected to `width`
        dimensions.
    nodes : int >= 1
        Of the Gauss-Legendre rule on each update.
    tol : float
        Updates are halved until the residual of each output is below this, or rounding, which
        in float32 leaves some 1e-6; ``inf`` never does. Smooth activations do not need it, kinks
        do.
    outputs : {"logits", "loss"} or callable
        What is explained: each output; the loss of each query, or ``callable(outputs, targets)``,
        (M,) or (M, K), targets None where `explain` is given none.
    chunk : int
        Queries worked on at a time: memory grows with it, and not with their number.
    width : int
        Of the projection.

    Raises
    ------
    InputError
        For bad parameters; when explaining, for data or a loss other than the recorded ones.
    NotImplementedError
        For the exact sum where an update is not linear in past gradients, or not every one was
        recorded.

    Notes
    -----
    What the gradients are divided by (Adam's denominators) and the clipping factor are taken as
    given, not attributed. Contributions to single logits mean something up to a constant only:
    softmax does not see it. Sums are float64, gradients of the model's type.

    Examples
    --------
    >>> from kexue.diagnose import PathRecorder
    >>> _ = torch.manual_seed(0)
    >>> X, y = torch.randn(20, 3).double(), torch.randint(0, 2, (20,))
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2)).double()
    >>> loss = torch.nn.functional.cross_entropy
    >>> optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
    >>> with PathRecorder(model, optimizer) as recorder:
    ...     for step in range(30):
    ...         rows = torch.randint(0, 20, (8,))
    ...         recorder.batch(rows, X[rows], y[rows])
    ...         loss(model(X[rows]), y[rows]).backward()
    ...         optimizer.step()
    ...         optimizer.zero_grad()
    >>> kernel = PathKernel(model, loss, recorder, (X, y), nodes=4)
    >>> found = kernel.explain(X[:2])
    >>> found.contributions.shape
    (2, 2, 20)
    >>> whole = found.initial + found.contributions.sum(-1) + found.decay
    >>> bool(np.abs(whole - model(X[:2]).detach().numpy()).max() < 1e-12)
    True

    References
    ----------
    Domingos, Every model learned by gradient descent is approximately a kernel machine, arXiv
    2012.00152. Bell, Geyer, Glickenstein, Fernandez and Moore, An exact kernel equivalence for
    finite classification models, arXiv 2308.00824. Pruthi, Liu, Kale and Sundararajan, Estimating
    training data influence by tracing gradient descent, NeurIPS 2020. kexue.fm, archives/8009.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        loss: Callable[[Tensor, Tensor], Tensor],
        path: PathRecorder | TrainingPath | str | os.PathLike[str],
        data: tuple[Tensor, Tensor],
        *,
        method: Literal["exact", "tracin", "tangent", "projected"] = "exact",
        nodes: int = 2,
        tol: float = 1e-4,
        outputs: Literal["logits", "loss"] | Callable[[Tensor, Tensor], Tensor] = "logits",
        chunk: int = 64,
        width: int = 512,
    ) -> None:
        self.method = check_choice("method", method, _METHODS)
        self.nodes = check_int("nodes", nodes, minimum=1)
        self.tol = tol if tol == float("inf") else check_float("tol", tol, minimum=0)
        self.chunk = check_int("chunk", chunk, minimum=1)
        self.width = check_int("width", width, minimum=1)
        if not callable(outputs):
            check_choice("outputs", outputs, ("logits", "loss"))
        self.outputs = outputs
        self.loss = loss
        self._additive: bool | None = None
        self.path = _path(path)
        if not self.path.started or not self.path.steps:
            raise InputError("the path has no updates yet; record before explaining")
        inputs, targets = (torch.as_tensor(part) for part in data)
        if len(inputs) != len(targets):
            raise InputError(
                f"data must be inputs and targets of one length, got {len(inputs)}, {len(targets)}"
            )
        own = copy.deepcopy(getattr(model, "_orig_mod", model)).cpu().eval()
        for p in own.parameters():
            p.requires_grad_(True)
        end = self.path.theta(len(self.path.steps))
        layout = self.path.header.layout
        known = dict(own.named_parameters())
        if all(name in known for name in layout.names):
            now = layout.gather((known[name] for name in layout.names), end.dtype)
            if not torch.equal(now, end):
                warnings.warn(
                    "the model's parameters are not those at the end of the path; explained is the "
                    "model that the path ends with",
                    UserWarning,
                    stacklevel=2,
                )
        self._replay = Replay(own, self.path, inputs, targets, loss)
        if method == "exact":
            self._check_exact()
        elif method == "projected" and any(len(set(s.rate)) > 1 for s in self.path.steps):
            raise InputError("method='projected' needs one rate for all parameters; take 'tracin'")

    def explain(self, x: Any, y: Any = None, top_k: int | None = None) -> Explanation:
        """Take predictions apart.

        Parameters
        ----------
        x : tensor of shape (M, ...)
        y : tensor of shape (M, ...), optional
            Targets of the queries, where `outputs` needs them.
        top_k : int, optional
            Keep the examples with the largest amounts only, for each query and output.

        Returns
        -------
        Explanation
        """
        x = torch.as_tensor(x)
        if len(x) == 0:
            raise InputError("x must have at least one query, got none")
        y = None if y is None else torch.as_tensor(y)
        if y is not None and len(y) != len(x):
            raise InputError(f"y must be as long as x, {len(x)}, got {len(y)}")
        if self.outputs == "loss" and y is None:
            raise InputError(f"outputs={self.outputs!r} needs the targets y of the queries")
        if top_k is not None:
            check_int("top_k", top_k, minimum=1, maximum=len(self._replay.inputs))
        parts = [
            self._explain(
                x[i : i + self.chunk], None if y is None else y[i : i + self.chunk], top_k
            )
            for i in range(0, len(x), self.chunk)
        ]
        arrays = {
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in ("contributions", "initial", "decay", "residual", "total")
        }
        kept = None if top_k is None else np.concatenate([part.rows for part in parts])
        return Explanation(**arrays, rows=kept, evaluations=sum(p.evaluations for p in parts))

    def kernel(self, A: Any, B: Any) -> np.ndarray:
        r"""Return :math:`\sum_t \gamma_t \sum_k \langle \nabla f_k(a), \nabla f_k(b)\rangle`.

        Parameters
        ----------
        A, B : tensors of shape (M, ...) and (M', ...)

        Returns
        -------
        float64 array of shape (M, M')
            The path kernel of gradient flow, symmetric and positive semidefinite.
        """
        self._needs_logits("kernel")
        found = np.zeros((len(A), len(B)))
        for t, rates in self._checkpoints():
            found += self._tangent(A, B, self.path.theta(t), rates)
        return found

    def tangent_kernel(self, A: Any, B: Any, at: int = -1) -> np.ndarray:
        r"""Return :math:`\sum_k \langle \nabla f_k(a), \nabla f_k(b)\rangle` at one place.

        Parameters
        ----------
        A, B : tensors of shape (M, ...) and (M', ...)
        at : int
            Which parameters: 0 before the first update, -1 after the last.
        """
        self._needs_logits("tangent_kernel")
        count = len(self.path.steps) + 1
        check_int("at", at, minimum=-count, maximum=count - 1)
        return self._tangent(A, B, self.path.theta(at % count), [1.0])

    def self_influence(self) -> np.ndarray:
        r"""Return :math:`\sum_t \gamma_t \|\nabla l_i\|^2` for each training example, shape (N,).

        High where an example speaks mostly for itself: mislabelled ones come first.
        """
        found = torch.zeros(len(self._replay.inputs), dtype=torch.float64)
        for t, rates in self._checkpoints():
            self._replay.load(self.path.theta(t))
            for rows in torch.arange(len(found)).split(self._block(rates)):
                factors = self._given(rows)
                if len(set(rates)) == 1:
                    squared = rates[0] * gradients.squares(factors)[:, 0]
                else:
                    squared = self._written(factors)[:, 0].square() @ self._spread(rates)
                found[rows] += squared.double()
        return found.numpy()

    def _needs_logits(self, name: str) -> None:
        if self.outputs != "logits":
            raise InputError(f"{name}() is of the outputs themselves: it needs outputs='logits'")

    def _given(self, rows: Tensor) -> list[Any]:
        """Return gradients of the loss of each training row at the parameters that are loaded."""
        inputs, y = self._replay.inputs[rows], self._replay.targets[rows]
        return self._replay.examples(inputs, lambda out: self._sum(out, y))[1]

    def _sum(self, out: Tensor, y: Tensor) -> Tensor:
        """Return the sum of the losses of single examples, (1, 1)."""
        if self._additive is None:
            # known then, and cheaper: the mean over a batch as the mean of its losses
            with torch.no_grad():
                each, whole = self._each(out, y).mean(), self.loss(out, y)
            self._additive = len(y) > 1 and bool(torch.isclose(each, whole, rtol=1e-5))
        summed = self.loss(out, y) * len(y) if self._additive else self._each(out, y).sum()
        return summed.reshape(1, 1)

    def _block(self, rates: list[float]) -> int:
        """Return how many gradients are held at a time, which are written out for many rates."""
        return _BLOCK if len(set(rates)) == 1 else 64

    def _written(self, factors: list[Any]) -> Tensor:
        return gradients.written(factors, len(self.path.header.layout))

    def _spread(self, rates: list[float]) -> Tensor:
        return self.path.header.layout.spread(rates, self._replay.dtype)

    def _dot(self, left: list[Any], right: list[Any], rates: list[float]) -> Tensor:
        """Return inner products, each parameter's part times its rate, (B, K, B', K')."""
        if len(set(rates)) == 1:
            return rates[0] * gradients.dot(left, right)
        scaled = self._written(right) * self._spread(rates)
        found = gradients.against(left, scaled.flatten(0, 1))
        return found.view(*found.shape[:2], *scaled.shape[:2])

    def _each(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each example."""
        one = torch.func.vmap(lambda o, y: self.loss(o[None], y[None]))
        return one(outputs, targets)

    def _quantities(self, y: Tensor | None) -> Callable[[Tensor, Tensor], Tensor]:
        def quantities(out: Tensor, rows: Tensor) -> Tensor:
            if self.outputs == "logits":
                return out.reshape(len(rows), -1)
            function: Any = self._each if self.outputs == "loss" else self.outputs
            found = function(out, None if y is None else y[rows])
            return found[:, None] if found.ndim == 1 else found

        return quantities

    def _explain(self, x: Tensor, y: Tensor | None, top_k: int | None) -> Explanation:
        quantities = self._quantities(y)
        sums = quantities
        if self.outputs == "loss":

            def sums(out: Tensor, rows: Tensor) -> Tensor:
                assert y is not None
                return self._sum(out, y[rows])

        queries = Queries(self._replay, x, quantities, sums, self.nodes)
        steps = self.path.steps
        initial = queries.values(self.path.theta(0)).double()
        total = queries.values(self.path.theta(len(steps))).double()
        if self.method == "exact":
            swept = attribute(self._replay, queries, self.tol, len(self._replay.inputs))
            found, decay = swept.contributions, swept.decay
        else:
            found, decay = self._approximate(queries), torch.zeros_like(initial)
        residual = total - initial - found.sum(2) - decay
        rows = None
        if top_k is not None:
            rows = found.abs().topk(top_k, dim=2).indices
            found = found.gather(2, rows)
        return Explanation(
            found.numpy(), None if rows is None else rows.numpy(), initial.numpy(), decay.numpy(),
            residual.numpy(), total.numpy(), queries.evaluations,
        )  # fmt: skip

    def _approximate(self, queries: Queries) -> Tensor:
        """Return minus the rate times inner products of gradients, over checkpoints."""
        replay = self._replay
        whole = torch.arange(len(queries.inputs))
        found = torch.zeros(
            *queries.values(self.path.theta(0)).shape, len(replay.inputs), dtype=torch.float64
        )
        for t, rates in self._checkpoints():
            asked = queries.gradients(self.path.theta(t), whole)
            for rows in torch.arange(len(replay.inputs)).split(self._block(rates)):
                given = self._given(rows)
                if self.method == "projected":
                    left = gradients.sketch(asked, self.width, t)
                    right = gradients.sketch(given, self.width, t)[:, 0]
                    products = rates[0] * (left @ right.T)
                else:
                    products = self._dot(asked, given, rates)[:, :, :, 0]
                found[:, :, rows] -= products.double()
        return found

    def _checkpoints(self) -> list[tuple[int, list[float]]]:
        """Return the recorded parameters that approximate methods use, and their rates."""
        steps = self.path.steps
        if self.method == "tangent":
            return [(len(steps), [1.0])]
        return [(t, step.rate) for t, step in enumerate(steps)]

    def _tangent(self, A: Any, B: Any, theta: Tensor, rates: list[float]) -> np.ndarray:
        self._replay.load(theta)
        left, right = (
            self._replay.examples(x, lambda out: out.reshape(len(out), -1))[1]
            for x in map(torch.as_tensor, (A, B))
        )
        return self._dot(left, right, rates).diagonal(dim1=1, dim2=3).sum(-1).double().numpy()

    def _check_exact(self) -> None:
        header = self.path.header
        if header.every > 1:
            raise NotImplementedError(
                f"an exact sum needs every update, and only one in {header.every} was recorded; "
                "take method='tracin', or record with every=1"
            )
        for t, step in enumerate(self.path.steps):
            if not step.known:
                raise NotImplementedError(
                    f"update {t + 1} is not linear in past gradients in a way that is known (SGD, "
                    "Adam, AdamW, with schedule, decay, accumulation, clipping, Lookahead); take "
                    "method='tracin'"
                )


def _path(given: Any) -> TrainingPath:
    if isinstance(given, PathRecorder):
        return given.path
    if isinstance(given, TrainingPath):
        return given
    return StoredPath(Path(given))
