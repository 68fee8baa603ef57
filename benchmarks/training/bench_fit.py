"""What the training loop costs beside one written by hand with nothing in it but the training.

The same module, batches, loss and optimizer; updates of a small MLP and of a transformer of two
layers. One thread, CPU time, both sides in turn.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.measuring import Row
from kexue.training import TrainingConfig, fit

F = torch.nn.functional
ROUNDS = 9


def measure(data: Path) -> Iterator[Row]:
    """Yield the comparisons."""
    torch.set_num_threads(1)
    digits = (torch.randn(64_000, 64), torch.randint(0, 10, (64_000,)))
    tokens = (torch.randint(0, 500, (3200, 32)), torch.randint(0, 10, (3200,)))
    for name, make, rows, batch_size in (
        ("MLP 64-128-10", mlp, digits, 64),
        ("transformer, two layers of width 64", Transformer, tokens, 16),
    ):
        config = TrainingConfig(epochs=1, batch_size=batch_size)
        ours = with_fit(make, rows, config)
        by_hand = hand_written(make, rows, batch_size)
        ours(), by_hand()
        pairs = [(seconds(ours), seconds(by_hand)) for _ in range(ROUNDS)]
        # the middle ratio of neighbouring runs: what else the machine does meets both
        ratio = statistics.median(mine / bare for mine, bare in pairs)
        bare = statistics.median(bare for _, bare in pairs)
        yield Row(
            f"training loop, {name}", "CPU s", ratio * bare, bare, "a loop by hand", 1 / 1.05,
            note=f"{len(rows[0]) // batch_size:,} updates of {batch_size} rows, AdamW",
            readme=False,
        )  # fmt: skip


def with_fit(make: Callable[[], Any], rows: Any, config: TrainingConfig) -> Callable[[], None]:
    """Return what trains by `fit`."""

    def run() -> None:
        fit(make(), rows, cross_entropy, config)

    return run


def hand_written(make: Callable[[], Any], rows: Any, batch_size: int) -> Callable[[], None]:
    """Return the loop that everybody writes."""

    def run() -> None:
        module = make()
        optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3)
        order = torch.randperm(len(rows[0]))
        total = 0.0
        for begin in range(0, len(order), batch_size):
            index = order[begin : begin + batch_size]
            loss = cross_entropy(module, [part[index] for part in rows])
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            total += loss.item()

    return run


def cross_entropy(module: Any, batch: Any) -> torch.Tensor:
    """Return the mean loss of a batch."""
    x, y = batch
    return F.cross_entropy(module(x), y)


def mlp() -> torch.nn.Module:
    """Return a small classifier."""
    return torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))


class Transformer(torch.nn.Module):
    """Two layers over tokens, averaged."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(500, 64)
        layer = torch.nn.TransformerEncoderLayer(64, 4, 128, batch_first=True)
        self.layers = torch.nn.TransformerEncoder(layer, 2)
        self.output = torch.nn.Linear(64, 10)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return logits, (B, 10), of tokens, (B, S)."""
        return self.output(self.layers(self.embedding(tokens)).mean(1))


def seconds(function: Callable[[], None]) -> float:
    """Return the CPU time of a call."""
    start = time.process_time()
    function()
    return time.process_time() - start
