"""Find the wrong labels among training data: self-influence along the path beside the final loss.

Data: load_digits of scikit-learn, 1,000 images, a tenth of the labels made wrong.
Score, five seeds: precision of the first tenth 0.942 and area under the ROC curve 0.997, ranked by
`PathKernel.self_influence`; by the loss after training (the baseline) 0.906 and 0.995.

    python examples/diagnose_mislabelled.py
"""

import argparse

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score

from kexue.diagnose import PathKernel, PathRecorder

EPOCHS, BATCH, LR, EVERY = 15, 50, 0.5, 20


def spoiled(seed):
    """Return images, labels of which a tenth is wrong, and which these are."""
    X, y = load_digits(return_X_y=True)
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(X))[:1000]
    labels = y[chosen]
    wrong = np.arange(1000) < 100
    labels[wrong] = (labels[wrong] + rng.integers(1, 10, 100)) % 10
    return torch.tensor(X[chosen] / 16).float(), torch.tensor(labels), wrong


def scores(X, y, seed):
    """Return self-influence and final loss of each row."""
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Tanh(), torch.nn.Linear(64, 10))
    loss = torch.nn.functional.cross_entropy
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    with PathRecorder(model, optimizer, every=EVERY) as recorder:
        for _ in range(EPOCHS):
            for rows in torch.randperm(len(X)).split(BATCH):
                recorder.batch(rows, X[rows], y[rows])
                loss(model(X[rows]), y[rows]).backward()
                optimizer.step()
                optimizer.zero_grad()
    kernel = PathKernel(model, loss, recorder, (X, y), method="tracin")
    with torch.no_grad():
        final = loss(model(X), y, reduction="none").numpy()
    return kernel.self_influence(), final


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    torch.set_num_threads(1)
    found = {"self-influence": [], "final loss": []}
    for seed in range(parser.parse_args().seeds):
        X, y, wrong = spoiled(seed)
        for name, values in zip(found, scores(X, y, seed), strict=True):
            precision = wrong[np.argsort(-values)[:100]].mean()
            found[name].append((precision, roc_auc_score(wrong, values)))
    for name, pairs in found.items():
        precision, area = (np.array(column) for column in zip(*pairs, strict=True))
        print(
            f"{name}: precision {precision.mean():.3f} ± {precision.std():.3f}, "
            f"area under the curve {area.mean():.3f} ± {area.std():.3f}"
        )


if __name__ == "__main__":
    main()
