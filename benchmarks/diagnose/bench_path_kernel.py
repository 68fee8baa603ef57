"""Path kernel: Gauss nodes beside many equidistant ones; TracIn beside captum's; self-influence.

One thread, CPU time. The exact sum is that of a network trained by AdamW on digits in float64, as
far as the quadrature goes; both rules run through the same code.
"""

from __future__ import annotations

import copy
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits

from benchmarks.measuring import Row, cpu_seconds
from kexue.diagnose import PathKernel, PathRecorder, _attribution

F = torch.nn.functional
EQUIDISTANT = 100
CHECKPOINTS = 5


def measure(data: Path) -> Iterator[Row]:
    """Yield the comparisons."""
    torch.set_num_threads(1)
    yield from exact_rows()
    yield from tracin_rows()


def exact_rows() -> Iterator[Row]:
    """Yield the exact sum at two to four nodes beside 100 equidistant ones."""
    X, y = digits(torch.float64)
    model = mlp(32).double()
    recorder = trained(model, torch.optim.AdamW(model.parameters(), lr=0.01), X, y, steps=40)
    queries = X[-10:]

    def explain(nodes: int) -> Any:
        kernel = PathKernel(model, F.cross_entropy, recorder, (X, y), nodes=nodes, tol=float("inf"))
        return kernel.explain(queries)

    explain(1)
    peer, many = cpu_seconds(lambda: equidistant(lambda: explain(1)))
    for nodes in (2, 3, 4):
        ours, few = cpu_seconds(lambda: explain(nodes))  # noqa: B023
        note = "40 updates of 50 rows by AdamW, ten queries, ten outputs"
        yield Row(
            f"exact sum, {nodes} Gauss nodes an update", "evaluations of a query",
            few.evaluations, many.evaluations, f"{EQUIDISTANT} equidistant nodes",
            15 if nodes == 3 else None, quality="largest residual",
            quality_ours=float(np.abs(few.residual).max()),
            quality_peer=float(np.abs(many.residual).max()), note=note, readme=nodes == 3,
        )  # fmt: skip
        yield Row(
            f"exact sum, {nodes} Gauss nodes an update, time", "CPU s", ours, peer,
            f"{EQUIDISTANT} equidistant nodes", note=note, readme=False,
        )  # fmt: skip


def tracin_rows() -> Iterator[Row]:
    """Yield TracIn and self-influence beside captum's, which must be equal."""
    import captum
    from captum.influence import TracInCP

    peer_name = f"captum {captum.__version__} TracInCP"
    X, y = digits(torch.float32)
    tokens = torch.randint(1, 2000, (1000, 20), generator=torch.Generator().manual_seed(0))
    labels = tokens[:, 0] % 2
    with tempfile.TemporaryDirectory() as folder:
        for name, model, inputs, targets, each in (
            ("MLP 64-256-10", mlp(256), X, y, True),
            ("bag of embeddings", Bag(), tokens, labels, False),
        ):
            kernel, peer = sides(model, inputs, targets, Path(folder), each, TracInCP)
            asked = inputs[:50], targets[:50]
            theirs, expected = cpu_seconds(lambda: peer.influence(asked).numpy())  # noqa: B023
            ours, found = cpu_seconds(lambda: kernel.explain(*asked))  # noqa: B023
            error = np.abs(found.contributions[:, 0] + expected).max() / np.abs(expected).max()
            assert error < 1e-4, error
            yield Row(
                f"TracIn, {name}, 1,000 rows, 50 queries, {CHECKPOINTS} checkpoints", "CPU s",
                ours, theirs, peer_name, 15, note="equal scores (1e-4 of the largest)",
            )  # fmt: skip
        wide = torch.randn(10_000, 64, generator=torch.Generator().manual_seed(1))
        classes = wide[:, :10].argmax(1)
        kernel, peer = sides(mlp(1340), wide, classes, Path(folder), True, TracInCP)
        ours, found = cpu_seconds(kernel.self_influence)
        theirs, expected = cpu_seconds(
            lambda: peer.self_influence(show_progress=False).numpy(), repeats=1
        )
        assert np.abs(found - expected).max() < 1e-3 * np.abs(expected).max()
        yield Row(
            f"self-influence, 10,000 rows, {CHECKPOINTS} checkpoints, 100,510 parameters",
            "CPU s", ours, theirs, peer_name, limit=5.0, note="equal scores; bar: 5 s",
            readme=False,
        )  # fmt: skip


def sides(
    model: torch.nn.Module,
    X: torch.Tensor,
    y: torch.Tensor,
    folder: Path,
    each: bool,
    peer: Any,
) -> tuple[PathKernel, Any]:
    """Return a path of a few checkpoints as both sides know it."""
    lr = 0.1
    recorder = trained(model, torch.optim.SGD(model.parameters(), lr=lr), X, y, CHECKPOINTS)
    names = []
    for t in range(CHECKPOINTS):
        kept = copy.deepcopy(model)
        recorder.layout.load(kept, recorder.path.theta(t))
        names.append(str(folder / f"{len(X)}-{len(recorder.layout)}-{t}.pt"))
        torch.save(kept.state_dict(), names[-1])

    def load(module: torch.nn.Module, name: str) -> float:
        module.load_state_dict(torch.load(name, weights_only=True))
        return lr

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = peer(
            copy.deepcopy(model), torch.utils.data.TensorDataset(X, y), names,
            checkpoints_load_func=load, batch_size=256, sample_wise_grads_per_batch=each,
            loss_fn=torch.nn.CrossEntropyLoss(reduction="sum" if each else "none"),
        )  # fmt: skip
    ours = PathKernel(model, F.cross_entropy, recorder, (X, y), method="tracin", outputs="loss")
    return ours, theirs


def trained(
    model: torch.nn.Module, optimizer: Any, X: torch.Tensor, y: torch.Tensor, steps: int
) -> PathRecorder:
    """Return the recorded path of some updates of 50 rows."""
    generator = torch.Generator().manual_seed(0)
    with PathRecorder(model, optimizer) as recorder:
        for _ in range(steps):
            rows = torch.randint(0, len(X), (50,), generator=generator)
            recorder.batch(rows, X[rows], y[rows])
            F.cross_entropy(model(X[rows]), y[rows]).backward()
            optimizer.step()
            optimizer.zero_grad()
    return recorder


def equidistant(function: Callable[[], Any], count: int = EQUIDISTANT) -> Any:
    """Call with equidistant nodes in the middle of their parts in place of Gauss's."""
    rule = _attribution.gauss

    def many(nodes: int) -> tuple[np.ndarray, np.ndarray]:
        return (np.arange(count) + 0.5) / count, np.full(count, 1 / count)

    _attribution.gauss = many
    try:
        return function()
    finally:
        _attribution.gauss = rule


def digits(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Return 1,000 digits."""
    X, y = load_digits(return_X_y=True)
    return torch.tensor(X[:1000] / 16, dtype=dtype), torch.tensor(y[:1000])


def mlp(width: int) -> torch.nn.Module:
    """Return a network of one hidden layer."""
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(64, width), torch.nn.Tanh(), torch.nn.Linear(width, 10)
    )


class Bag(torch.nn.Module):
    """The mean of words' vectors, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = torch.nn.Embedding(2000, 32)
        self.out = torch.nn.Linear(32, 2)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return logits, (B, 2), of tokens, (B, S)."""
        return self.out(self.table(tokens).mean(1))
