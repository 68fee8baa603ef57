"""Long tails: counts as published, subsets that keep them, reports by hand."""

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, f1_score

from kexue._core import InputError
from kexue.losses import long_tail_report, longtail_counts, longtail_subset


def test_counts_that_are_published():
    cifar = [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
    assert longtail_counts(5000, 10, 100).tolist() == cifar
    assert longtail_counts(6000, 10, 100).sum() == 14_886
    assert longtail_counts(5000, 10, 100, "step").tolist() == [5000] * 5 + [50] * 5
    assert longtail_counts(500, 100, 100).sum() == 10_847  # CIFAR-100-LT


def test_counts_of_the_data_set(data):
    labels = pl.read_parquet(data("cifar10-lt-jpeg/train.parquet"))["label"].to_numpy()
    assert np.bincount(labels).tolist() == longtail_counts(5000, 10, 100).tolist()


@given(
    n_max=st.integers(1, 10**6),
    K=st.integers(1, 300),
    ratio=st.floats(1, 100),
    kind=st.sampled_from(["exp", "step", "pareto"]),
)
def test_counts_fall_from_most_to_least(n_max, K, ratio, kind):
    if n_max < ratio:
        n_max = 100
    counts = longtail_counts(n_max, K, ratio, kind)
    assert counts.shape == (K,)
    assert counts[0] == n_max
    assert (np.diff(counts) <= 0).all()
    if K > 1:
        assert counts[-1] == pytest.approx(n_max / ratio, abs=1)


@pytest.mark.parametrize("names", [None, np.array(["c", "a", "d", "b"])])
def test_subsets_keep_what_they_should(names):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, 1000)
    y = y if names is None else names[y]
    rows = longtail_subset(y, [100, 50, 3, 0], rng=7)
    kept = dict(zip(*np.unique(y[rows], return_counts=True), strict=True))
    assert [kept.get(label, 0) for label in np.unique(y)] == [100, 50, 3, 0]
    assert (np.diff(rows) > 0).all()
    assert (rows == longtail_subset(y, [100, 50, 3, 0], rng=7)).all()
    assert not np.array_equal(rows, longtail_subset(y, [100, 50, 3, 0], 8))


def test_every_row_is_as_likely():
    y = np.repeat([0, 1], [20, 10])
    drawn = np.zeros(30)
    for seed in range(2000):
        drawn[longtail_subset(y, [5, 5], rng=seed)] += 1
    # 2000 draws of a quarter and of a half: five standard deviations
    assert np.abs(drawn[:20] / 2000 - 0.25).max() < 5 * np.sqrt(0.25 * 0.75 / 2000)
    assert np.abs(drawn[20:] / 2000 - 0.5).max() < 5 * np.sqrt(0.25 / 2000)


def test_report_by_hand_and_as_scikit_learn_has_it():
    rng = np.random.default_rng(0)
    y_train = np.repeat(np.arange(4), [200, 100, 20, 3])
    y_true, y_pred = rng.integers(0, 4, (2, 500))
    report = long_tail_report(y_true, torch.from_numpy(y_pred), y_train)
    recall = [(y_pred[y_true == k] == k).mean() for k in range(4)]
    assert report.recall == pytest.approx(recall)
    assert report.counts.tolist() == [200, 100, 20, 3]
    assert (report.many, report.few) == pytest.approx((recall[0], recall[3]))
    assert report.medium == pytest.approx(np.mean(recall[1:3]))
    assert report.balanced_error == pytest.approx(1 - balanced_accuracy_score(y_true, y_pred))
    assert report.macro_f1 == pytest.approx(f1_score(y_true, y_pred, average="macro"))
    assert str(report).splitlines()[2].split() == ["0", "200", f"{recall[0]:.3f}"]


def test_classes_that_lack_rows():
    report = long_tail_report(["a", "b"], ["a", "x"], ["a", "b", "c"] * 30)
    assert report.classes.tolist() == ["a", "b", "c"]
    assert np.isnan(report.recall[2])
    assert report.balanced_error == 0.5
    assert np.isnan(report.many) and report.medium == 0.5  # noqa: PT018


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: longtail_counts(10, 5, 100), InputError, "n_max must be >= ratio = 100"),
        (lambda: longtail_counts(10, 0, 1), InputError, "n_classes must be an int >= 1, got 0"),
        (lambda: longtail_counts(10, 5, 0.5), InputError, "ratio must be a finite number >= 1"),
        (lambda: longtail_counts(10, 5, 2, "linear"), InputError, "kind must be one of 'exp'"),
        (lambda: longtail_counts(1.5, 5, 2), TypeError, "n_max must be an int >= 1, got 1.5"),
        (lambda: longtail_subset([0, 1, 1], [1, 3]), InputError, r"in \[0, 2\] for class 1, got 3"),
        (lambda: longtail_subset([0, 1], [1]), InputError, "each of the 2 classes of y"),
        (lambda: longtail_subset([0, 1], [0.5, 1]), TypeError, "counts must hold integers"),
        (lambda: longtail_subset([0, 1], [1, 1], "x"), InputError, "random_state must be"),
        (lambda: long_tail_report([0], [0, 1], [0]), InputError, "as many labels as y_true, 1"),
        (lambda: long_tail_report([], [], [0]), InputError, "y_true must be a row of labels"),
        (lambda: long_tail_report([0], [0], [0], (5, 9)), InputError, "with the first larger"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
