"""Long-tailed images: the orders of methods that were measured, on Fashion-MNIST and CIFAR-10."""

import gzip
import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from kexue.losses import (
    LogitAdjustedLoss,
    PairwiseMarginLoss,
    logit_adjustment,
    long_tail_report,
    longtail_counts,
    longtail_subset,
)

FASHION = Path(os.environ.get("KEXUE_FASHION_MNIST", "/usr/share/datasets/fashion-mnist"))
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "losses_cifar10_longtail.py"
COUNTS = longtail_counts(6000, 10, 100)


@pytest.fixture(scope="module")
def fashion():
    """The long-tailed training set of 14,886 images, and the whole test set."""
    if not (FASHION / "train-images-idx3-ubyte.gz").exists():
        pytest.skip(
            f"Fashion-MNIST not found at {FASHION}; install Debian's dataset-fashion-mnist or set "
            "KEXUE_FASHION_MNIST"
        )
    parts = []
    for part in ("train", "t10k"):
        pixels = gzip.decompress((FASHION / f"{part}-images-idx3-ubyte.gz").read_bytes())[16:]
        labels = gzip.decompress((FASHION / f"{part}-labels-idx1-ubyte.gz").read_bytes())[8:]
        X = np.frombuffer(pixels, np.uint8).reshape(-1, 784).astype(np.float32) / 255
        parts.append((torch.from_numpy(X), torch.tensor(np.frombuffer(labels, np.uint8)).long()))
    (X, y), test = parts
    rows = longtail_subset(y, COUNTS, rng=0)
    return X[rows], y[rows], *test


def fashion_scores(loss, fashion, seed, epochs=8):
    """Logits of the test images by an MLP 784-128-10."""
    X, y, test, _ = fashion
    torch.manual_seed(seed)
    model = torch.nn.Sequential(
        torch.nn.Linear(784, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10)
    )
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, foreach=True)
    for _ in range(epochs):
        for rows in torch.randperm(len(X)).split(128):
            optimizer.zero_grad()
            loss(model(X[rows]), y[rows]).backward()
            optimizer.step()
    with torch.no_grad():
        return model(test)


def error(scores, fashion):
    return long_tail_report(fashion[3], scores.argmax(1), fashion[1]).balanced_error


def test_fashion_mnist(fashion):
    """ERM > post-hoc > loss; adjusted twice, or with the wrong sign, worse than not at all."""
    found = {name: [] for name in ("erm", "post-hoc", "loss", "twice", "wrong sign")}
    for seed in range(2):
        erm = fashion_scores(torch.nn.CrossEntropyLoss(), fashion, seed)
        adjusted = fashion_scores(LogitAdjustedLoss(COUNTS), fashion, seed)
        for name, scores in (
            ("erm", erm),
            ("post-hoc", logit_adjustment(erm, COUNTS)),
            ("loss", adjusted),
            ("twice", logit_adjustment(adjusted, COUNTS)),
            ("wrong sign", logit_adjustment(erm, 1 / COUNTS)),
        ):
            found[name].append(error(scores, fashion))
    mean = {name: np.mean(errors) for name, errors in found.items()}
    print(mean)
    assert mean["loss"] <= 0.19
    assert mean["loss"] < mean["post-hoc"] < mean["erm"] < mean["twice"] < mean["wrong sign"]


@pytest.mark.slow
def test_fashion_mnist_beside_other_remedies(fashion):
    """Weights do as well here: training is short, and its loss far from zero."""
    torch.set_num_threads(1)
    n = torch.from_numpy(COUNTS).float()
    losses = {
        "inverse-frequency weights": torch.nn.CrossEntropyLoss(n.sum() / (10 * n)),
        **{
            f"loss, tau {tau:g}": LogitAdjustedLoss(COUNTS, tau) for tau in (0.5, 1, 1.5)
        },
        **{
            name: PairwiseMarginLoss.preset(name, COUNTS)
            for name in ("class_balanced", "ldam", "equalised")
        },
    }  # fmt: skip
    mean = {
        name: np.mean([error(fashion_scores(loss, fashion, seed), fashion) for seed in range(2)])
        for name, loss in losses.items()
    }
    erm = [fashion_scores(torch.nn.CrossEntropyLoss(), fashion, seed) for seed in range(2)]
    for tau in (0, 0.5, 1, 1.5, 2):
        mean[f"post-hoc, tau {tau:g}"] = np.mean(
            [error(logit_adjustment(scores, COUNTS, tau), fashion) for scores in erm]
        )
    print("\n" + "\n".join(f"{name:28} {value:.4f}" for name, value in mean.items()))
    best = min(value for name, value in mean.items() if not name.startswith("loss"))
    assert mean["loss, tau 1"] < best + 0.01
    assert mean["ldam"] > mean["loss, tau 1"] + 0.02


@pytest.mark.slow
def test_cifar10(data):
    """A convolutional network: at least eight points of balanced error, rare classes found."""
    data("cifar10-lt-jpeg/train.parquet")
    spec = importlib.util.spec_from_file_location("losses_cifar10_longtail", EXAMPLE)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    torch.set_num_threads(1)
    train, test = example.read("train"), example.read("test")
    scores = {
        kind: example.scores_of(kind, 0, train, test[0], epochs=8, keep=None)
        for kind in ("erm", "loss")
    }
    found = example.reports({**scores, "weights": scores["erm"]}, train[1], test[1])
    for name in ("erm", "post-hoc", "loss"):
        print(f"{name:10} {example.line([found[name]])}")
    for name in ("post-hoc", "loss"):
        assert found["erm"].balanced_error - found[name].balanced_error >= 0.08
        assert found[name].few >= 0.25
    assert found["erm"].few < 0.2
