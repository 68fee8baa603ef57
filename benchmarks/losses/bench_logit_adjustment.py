"""Logit adjustment: the loss, the prior in a bias, and the classifier, beside what is used else.

Losses: 512 rows of 10,000 classes, float32, forward and backward, one thread, CPU time.
Classifiers: logistic regression on tf-idf of words and pairs of words, balanced test sets.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from benchmarks.measuring import Row
from kexue.losses import PriorAdjustedClassifier, logit_adjustment, longtail_subset

B, K, WIDTH = 512, 10_000, 256
GRID = (10.0, 100.0, 1000.0)  # C of logistic regression
TIE = 0.5  # points of balanced error
TAUS = 20


class Intents(NamedTuple):
    """Sentences of a long tail, and a balanced test set."""

    name: str
    texts: list[str]
    labels: np.ndarray
    test_texts: list[str]
    truth: np.ndarray


def measure(data: Path) -> Iterator[Row]:
    """Yield the comparisons."""
    yield from losses()
    sets = read_sets(data)
    for intents in sets:
        yield from beside_weights(intents)
    yield tuning(sets[-1])


# --- losses


def losses() -> Iterator[Row]:
    import torch
    import torch.nn.functional as F

    from kexue.losses import LogitAdjustedLoss, fold_prior

    torch.set_num_threads(1)
    torch.manual_seed(0)
    f = torch.randn(B, K, requires_grad=True)
    y = torch.randint(0, K, (B,))
    counts = np.arange(1, K + 1)
    loss = LogitAdjustedLoss(counts)
    bias = loss.bias()

    def step(value: Callable[[], Any]) -> Callable[[], Any]:
        def run() -> Any:
            f.grad = None
            value().backward()
            return f.grad

        return run

    ours = step(lambda: loss(f, y))
    naive = step(lambda: F.cross_entropy(f + bias, y))
    plain = step(lambda: F.cross_entropy(f, y))
    away = float((ours() - naive()).abs().max() / naive().abs().max())
    if away > 1e-5:
        raise AssertionError(f"gradients differ by {away:.2g} of the largest")
    mine, theirs, without = alternating(ours, naive, plain)
    note = f"{B} x {K:,} logits, leaf tensor; results checked to be equal"
    torch_version = f"torch {torch.__version__}"
    yield Row(
        "LogitAdjustedLoss beside F.cross_entropy(f + b)", "CPU s", mine, theirs,
        torch_version, 1.0, note=note,
    )  # fmt: skip
    yield Row(
        "LogitAdjustedLoss beside cross-entropy without a prior", "CPU s", mine, without,
        torch_version, 1 / 1.1, note=note,
    )  # fmt: skip

    x = torch.randn(B, WIDTH)
    layers = [torch.nn.Linear(WIDTH, K) for _ in range(2)]
    layers[1].weight = layers[0].weight  # the same place in memory
    fold_prior(layers[0], counts)

    def train(layer: Any) -> Callable[[], Any]:
        def run() -> None:
            layer.zero_grad()
            F.cross_entropy(layer(x), y).backward()

        return run

    mine, theirs = alternating(train(layers[0]), train(layers[1]), repeats=31)
    yield Row(
        "fold_prior on the last layer beside the bare layer", "CPU s", mine, theirs,
        torch_version, 1 / 1.02, note=f"nn.Linear({WIDTH}, {K}) and F.cross_entropy",
    )  # fmt: skip


def alternating(*functions: Callable[[], Any], repeats: int = 15) -> list[float]:
    """Return the median CPU seconds of each of some functions, called in turns after a warm-up."""
    seconds = np.empty((repeats, len(functions)))
    for function in functions:
        function()
    for row in seconds:
        for side, function in enumerate(functions):
            start = time.process_time()
            function()
            row[side] = time.process_time() - start
    return np.median(seconds, axis=0).tolist()


# --- classifiers


def read_sets(data: Path) -> list[Intents]:
    """Return CLINC150, Banking77, and Banking77 cut to 100 ... 2 rows a class."""
    table = pl.read_parquet(data / "intents-longtail" / "intents.parquet")
    sets = []
    for name, title in (("clinc150_imbalanced", "CLINC150"), ("banking77", "Banking77")):
        rows = table.filter(pl.col("set") == name)
        train, test = (rows.filter(pl.col("split") == split) for split in ("train", "test"))
        sets.append(
            Intents(
                title, train["text"].to_list(), train["label"].to_numpy(),
                test["text"].to_list(), test["label"].to_numpy(),
            )
        )  # fmt: skip
    whole = sets[-1]
    _, present = np.unique(whole.labels, return_counts=True)
    rank = np.argsort(np.argsort(-present, kind="stable"))
    counts = np.floor(100 * 0.02 ** (rank / 76) + 1e-9).astype(int)
    kept = longtail_subset(whole.labels, np.minimum(counts, present), rng=0)
    texts = [whole.texts[i] for i in kept]
    return [*sets, whole._replace(name="Banking77 cut", texts=texts, labels=whole.labels[kept])]


def features(intents: Intents) -> tuple[Any, Any]:
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    return vectorizer.fit_transform(intents.texts), vectorizer.transform(intents.test_texts)


def beside_weights(intents: Intents) -> Iterator[Row]:
    """Yield balanced error and log-loss of the adjusted classifier beside a weighted one.

    The C of either is what cross-validation finds by the log-loss in which classes count alike.
    """
    import sklearn
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import balanced_accuracy_score, log_loss
    from sklearn.model_selection import GridSearchCV

    X, test = features(intents)
    searches = {
        "ours": GridSearchCV(
            PriorAdjustedClassifier(LogisticRegression(max_iter=2000)), {"estimator__C": GRID},
            scoring=balanced_log_likelihood, cv=3,
        ),
        "peer": GridSearchCV(
            LogisticRegression(max_iter=2000, class_weight="balanced"), {"C": GRID},
            scoring=balanced_log_likelihood, cv=3,
        ),
    }  # fmt: skip
    errors, surprise, settings = {}, {}, []
    for side, search in searches.items():
        search.fit(X, intents.labels)
        surprise[side] = log_loss(intents.truth, search.predict_proba(test))
        errors[side] = 100 * (1 - balanced_accuracy_score(intents.truth, search.predict(test)))
        settings.append(f"{next(iter(search.best_params_.values())):g}")
    plain = searches["ours"].best_estimator_.estimator_.predict(test)
    erm = 100 * (1 - balanced_accuracy_score(intents.truth, plain))
    peer = f"scikit-learn {sklearn.__version__} class_weight='balanced'"
    note = (
        f"{intents.name}: {len(intents.texts):,} rows; C = {' and '.join(settings)} by "
        f"cross-validation; neither adjusted nor weighted, error {erm:.2f} %"
    )
    yield Row(
        f"balanced error, {intents.name}", "%", errors["ours"], errors["peer"], peer,
        limit=errors["peer"] + TIE, note=note,
    )  # fmt: skip
    yield Row(
        f"log-loss under the target prior, {intents.name}", "nats", surprise["ours"],
        surprise["peer"], peer, 1.0, note=note, readme=False,
    )  # fmt: skip


def balanced_log_likelihood(model: Any, X: Any, y: np.ndarray) -> float:
    """Return the mean over classes of the mean log-likelihood; what a fold lacks is left out."""
    places = np.searchsorted(model.classes_, y).clip(max=len(model.classes_) - 1)
    known = model.classes_[places] == y
    own = model.predict_log_proba(X)[np.arange(len(y)), places]
    return float(np.mean([own[known & (y == label)].mean() for label in np.unique(y[known])]))


def tuning(intents: Intents) -> Row:
    """Return the time to find tau from one fit a fold, beside one from one fit a fold and tau."""
    import sklearn
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.model_selection import GridSearchCV

    X, test = features(intents)
    base = LogisticRegression(C=GRID[0], max_iter=1000)
    grid = GridSearchCV(
        PriorAdjustedClassifier(base), {"tau": np.linspace(0.1, 2, TAUS)},
        scoring="balanced_accuracy", cv=5,
    )  # fmt: skip
    ours = PriorAdjustedClassifier(base, tau="cv", cv=5)
    seconds, found = {}, {}
    for side, model in (("ours", ours), ("peer", grid)):
        start = time.process_time()
        model.fit(X, intents.labels)
        seconds[side] = time.process_time() - start
        predicted = model.predict(test)
        found[side] = 100 * (1 - balanced_accuracy_score(intents.truth, predicted))
    scores = ours.estimator_.predict_log_proba(test)
    predicted = [
        ours.classes_[logit_adjustment(scores, ours.prior_, tau).argmax(1)]
        for tau in ours.tau_candidates_
    ]
    best = min(100 * (1 - balanced_accuracy_score(intents.truth, some)) for some in predicted)
    return Row(
        f"tau by cross-validation, {intents.name}", "CPU s", seconds["ours"], seconds["peer"],
        f"scikit-learn {sklearn.__version__} GridSearchCV", 10,
        note=(
            f"5 folds; {len(predicted)} strengths for ours, {TAUS} for the grid; tau "
            f"{ours.tau_:.2f} and {grid.best_params_['tau']:.2f}, balanced error on the test set "
            f"{found['ours']:.2f} and {found['peer']:.2f} %, at the best tau {best:.2f} %"
        ),
    )  # fmt: skip
