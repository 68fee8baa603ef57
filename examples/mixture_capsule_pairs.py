"""Task: read pairs of digits, having seen single ones only. Data: MNIST.

Trained on single digits, tested on two different ones side by side (28 x 56), read as the two
classes of largest output. Score: share of pairs read right, five seeds:
capsules 0.717 +- 0.124, capsules without routing (one step) 0.637 +- 0.104, average pooling 0.319
+- 0.081. Single digits: 0.976 +- 0.003, 0.976 +- 0.003, 0.926 +- 0.009. The second length of
the capsules is above 1/2 in nearly all these pairs; the second probability never.

    python examples/mixture_capsule_pairs.py [--seeds 5] [--epochs 6] [--digits 10000]

All have the same convolutions (of half the channels of kexue.fm, archives/5112) and as many
updates, and read the same pairs. Nothing is chosen on the pairs. A quarter of an hour on one core.
"""

from __future__ import annotations

import argparse
import gzip
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from kexue.mixture import CapsuleLayer, margin_loss
from kexue.training import TrainingConfig, fit

DATA = Path(os.environ.get("KEXUE_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
N_PAIRS = 2000
N_SINGLE = 2000
HEADS = {"capsules": 3, "capsules, 1 step": 1, "average pooling": 0}  # and steps of routing


def main() -> None:
    """Train, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--digits", type=int, default=10_000)
    parser.add_argument("--channels", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    images, labels = read("train")
    test_images, test_labels = read("t10k")
    right: dict[str, list[list[float]]] = {head: [] for head in HEADS}
    for seed in range(arguments.seeds):
        rng = np.random.default_rng(seed)
        chosen = torch.from_numpy(rng.permutation(len(images))[: arguments.digits])
        pairs, both = side_by_side(test_images, test_labels, rng)
        for head in HEADS:
            start = time.process_time()
            model = trained(head, images[chosen], labels[chosen], arguments, seed)
            found = [
                single(model, test_images[:N_SINGLE], test_labels[:N_SINGLE]),
                *scores(model, pairs, both),
            ]
            right[head].append(found)
            print(
                f"seed {seed}, {head}: single digits {found[0]:.4f}, pairs {found[1]:.4f}, "
                f"both above 1/2 {found[2]:.4f}; {time.process_time() - start:.0f} CPU s",
                flush=True,
            )
    print(f"\n{arguments.seeds} seeds, mean ± spread: single digits, pairs, both above 1/2")
    for head, those in right.items():
        mean = np.mean(those, 0)
        spread = np.std(those, 0, ddof=1) if len(those) > 1 else np.zeros(3)
        parts = [f"{m:.4f} ± {s:.4f}" for m, s in zip(mean, spread, strict=True)]
        print(f"{head:17} {', '.join(parts)}")


def read(part: str) -> tuple[Tensor, Tensor]:
    """Return images in [0, 1], (N, 1, 28, 28), and labels, (N,)."""
    folder = DATA / "mnist"
    if not folder.exists():
        sys.exit(f"data set mnist not found at {folder}; set KEXUE_DATA")
    with gzip.open(folder / f"{part}-images-idx3-ubyte.gz") as file:
        pixels = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 1, 28, 28)
    with gzip.open(folder / f"{part}-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8)
    return torch.from_numpy(pixels.astype(np.float32) / 255), torch.from_numpy(
        labels.astype(np.int64)
    )


def side_by_side(images: Tensor, labels: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Return pairs of different digits, (P, 1, 28, 56), and which classes they hold, (P, 10)."""
    left, right = torch.from_numpy(rng.integers(len(images), size=(2, 3 * N_PAIRS)))
    different = (labels[left] != labels[right]).nonzero()[:N_PAIRS, 0]
    left, right = left[different], right[different]
    both = nn.functional.one_hot(labels[left], 10) + nn.functional.one_hot(labels[right], 10)
    return torch.cat([images[left], images[right]], 3), both


class Network(nn.Module):
    """Four convolutions, and a length for each class from vectors anywhere on the image."""

    def __init__(self, head: str, channels: int) -> None:
        super().__init__()
        c = channels
        self.body = nn.Sequential(
            nn.Conv2d(1, c, 3), nn.ReLU(), nn.Conv2d(c, c, 3), nn.ReLU(), nn.AvgPool2d(2),
            nn.Conv2d(c, 2 * c, 3), nn.ReLU(), nn.Conv2d(2 * c, 2 * c, 3), nn.ReLU(),
        )  # fmt: skip
        self.head = head
        self.out: nn.Module = nn.Linear(2 * c, 10)
        if HEADS[head]:
            self.out = CapsuleLayer(None, 2 * c, 10, 16, shared=True, n_iter=HEADS[head])

    def forward(self, x: Tensor) -> Tensor:
        """Return lengths of capsules, or probabilities after average pooling, (B, 10)."""
        tokens = self.body(x).flatten(2).transpose(1, 2)  # (B, N, 2 c)
        if HEADS[self.head]:
            return self.out(tokens).square().sum(2).add(1e-12).sqrt()
        return self.out(tokens.mean(1)).softmax(1)


def trained(head: str, images: Tensor, labels: Tensor, arguments: argparse.Namespace, seed: int):
    """Return a network that has seen single digits."""
    torch.manual_seed(seed)
    model = Network(head, arguments.channels)

    def loss(network: nn.Module, batch: list[Tensor]) -> Tensor:
        x, y = batch
        found = network(x)
        if HEADS[head]:
            return margin_loss(found, y, lam=0.25)
        return nn.functional.nll_loss(found.clamp_min(1e-12).log(), y)

    config = TrainingConfig(epochs=arguments.epochs, batch_size=32, seed=seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    fit(model, (images, labels), loss, config, optimizer=optimizer)
    return model.eval()


@torch.no_grad()
def lengths(model: nn.Module, images: Tensor) -> Tensor:
    return torch.cat([model(part) for part in images.split(200)])


def single(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the share of single digits read right."""
    return (lengths(model, images).argmax(1) == labels).double().mean().item()


def scores(model: nn.Module, pairs: Tensor, both: Tensor) -> list[float]:
    """Return the share of pairs read right, and of those with both outputs above 1/2."""
    found = lengths(model, pairs)
    top = found.topk(2)
    right = both.gather(1, top.indices).sum(1) == 2
    sure = top.values[:, 1] > 0.5
    return [right.double().mean().item(), (right & sure).double().mean().item()]


if __name__ == "__main__":
    main()
