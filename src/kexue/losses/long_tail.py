"""Long-tailed data: counts that fall from class to class, subsets cut to them, and a report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from kexue._core import InputError, check_choice, check_float, check_int, check_seed

_KINDS = ("exp", "step", "pareto")


def longtail_counts(
    n_max: int, n_classes: int, ratio: float, kind: Literal["exp", "step", "pareto"] = "exp"
) -> np.ndarray:
    """Return how many rows each class keeps, most first.

    Parameters
    ----------
    n_max : int >= 1
        Rows of the first class.
    n_classes : int >= 1
        K.
    ratio : float >= 1
        Rows of the first class over those of the last.
    kind : {"exp", "step", "pareto"}
        Class i keeps ``n_max * ratio ** (-i / (K - 1))``; the first half of the classes `n_max`
        and the others ``n_max / ratio``; or ``n_max * (i + 1) ** -a`` with the exponent that
        `ratio` demands.

    Returns
    -------
    int64 array of shape (K,)
        Rounded down.

    Raises
    ------
    TypeError, InputError
        For a bad argument, or where the last class would keep no row.

    Examples
    --------
    >>> longtail_counts(5000, 10, 100).tolist()
    [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
    """
    n_max = check_int("n_max", n_max, minimum=1)
    K = check_int("n_classes", n_classes, minimum=1)
    ratio = check_float("ratio", ratio, minimum=1)
    check_choice("kind", kind, _KINDS)
    i = np.arange(K)
    if kind == "step":
        shares = np.where(i < (K + 1) // 2, 1, 1 / ratio)
    elif kind == "exp":
        shares = ratio ** (-i / max(K - 1, 1))
    else:
        shares = (i + 1.0) ** -(np.log(ratio) / np.log(max(K, 2)))
    # 49.999999 is meant to be 50
    counts = np.floor(n_max * shares * (1 + 1e-12)).astype(np.int64)
    if counts[-1] == 0:
        raise InputError(
            f"n_max must be >= ratio = {ratio:g}, or the last class keeps no row, got {n_max}"
        )
    return counts


def longtail_subset(y: Any, counts: Any, rng: Any = None) -> np.ndarray:
    """Draw rows without replacement so that each class keeps as many as it should.

    Parameters
    ----------
    y : array-like of shape (N,)
        Labels of any kind.
    counts : array-like of K ints
        Rows to keep of each class, in the order of ``numpy.unique(y)``.
    rng : None, int, numpy.random.RandomState or numpy.random.Generator

    Returns
    -------
    int64 array
        Row numbers, ascending.

    Raises
    ------
    TypeError, InputError
        If `counts` does not fit the classes, or asks more of one than there is.

    Examples
    --------
    >>> y = np.repeat(["a", "b"], 50)
    >>> np.unique(y[longtail_subset(y, [10, 2], rng=0)], return_counts=True)[1]
    array([10,  2])
    """
    labels = one_dimensional("y", y)
    classes, numbers, present = np.unique(labels, return_inverse=True, return_counts=True)
    wanted = np.asarray(counts)
    if wanted.dtype.kind not in "iu":
        raise TypeError(f"counts must hold integers, got {wanted.dtype}")
    if wanted.shape != classes.shape:
        raise InputError(
            f"counts must have one number for each of the {classes.size} classes of y, "
            f"got shape {wanted.shape}"
        )
    bad = np.flatnonzero((wanted < 0) | (wanted > present))
    if bad.size:
        k = bad[0]
        raise InputError(
            f"counts must be in [0, {present[k]}] for class {classes[k]!s}, got {wanted[k]}"
        )
    generator = np.random.default_rng(check_seed(rng))
    order = generator.permutation(labels.size)
    # rows by class, within a class at random
    order = order[np.argsort(numbers[order], kind="stable")]
    ranks = np.arange(labels.size) - np.repeat(np.cumsum(present) - present, present)
    return np.sort(order[ranks < np.repeat(wanted, present)]).astype(np.int64)


@dataclass(frozen=True)
class LongTailReport:
    """Recall by class and by group of classes; printed, a table.

    Attributes
    ----------
    classes : array of shape (K,)
        All labels of the training and test rows, ascending.
    counts : int64 array of shape (K,)
        Training rows of each.
    recall : float64 array of shape (K,)
        Share of the test rows of a class that was found; NaN without test rows.
    many, medium, few : float
        Mean recall of classes with more than ``groups[0]`` training rows, of those between, and
        with less than ``groups[1]``; NaN for an empty group.
    balanced_error : float
        1 less the mean recall of all classes with test rows.
    macro_f1 : float
        Mean over the same classes.
    groups : tuple of two ints
    """

    classes: np.ndarray
    counts: np.ndarray
    recall: np.ndarray
    many: float
    medium: float
    few: float
    balanced_error: float
    macro_f1: float
    groups: tuple[int, int]

    def __str__(self) -> str:
        high, low = self.groups
        lines = [
            f"balanced error {self.balanced_error:.4f}, macro-F1 {self.macro_f1:.4f}",
            f"recall of classes with > {high} training rows {self.many:.3f}, "
            f"{low} to {high} {self.medium:.3f}, < {low} {self.few:.3f}",
        ]
        for k in np.argsort(-self.counts, kind="stable"):
            lines.append(f"  {self.classes[k]!s:>16} {self.counts[k]:8,} {self.recall[k]:6.3f}")
        return "\n".join(lines)


def long_tail_report(
    y_true: Any, y_pred: Any, y_train: Any, groups: tuple[int, int] = (100, 20)
) -> LongTailReport:
    """Say how well frequent and rare classes are recognised.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (M,)
        Labels of the test rows, and those that were predicted.
    y_train : array-like of shape (N,)
        Labels of the training rows.
    groups : (int, int)
        Training rows above which a class counts as frequent, and below which as rare; ImageNet-LT's
        by default.

    Returns
    -------
    LongTailReport

    Raises
    ------
    TypeError, InputError
        For labels of different lengths or none, or groups that do not descend.

    Examples
    --------
    >>> y_train = ["cat"] * 200 + ["lynx"] * 5
    >>> print(long_tail_report(["cat", "cat", "lynx", "lynx"], ["cat"] * 3 + ["lynx"], y_train))
    balanced error 0.2500, macro-F1 0.7333
    recall of classes with > 100 training rows 1.000, 20 to 100 nan, < 20 0.500
                   cat      200  1.000
                  lynx        5  0.500
    """
    truth, predicted = one_dimensional("y_true", y_true), one_dimensional("y_pred", y_pred)
    train = one_dimensional("y_train", y_train)
    if truth.shape != predicted.shape:
        raise InputError(
            f"y_pred must have as many labels as y_true, {truth.size}, got {predicted.size}"
        )
    high, low = (check_int("groups", group, minimum=0) for group in groups)
    if high < low:
        raise InputError(
            f"groups must be (more than, less than) with the first larger, got {groups}"
        )
    classes = np.unique(np.concatenate([truth, train]))
    counts, present = (_counts(labels, classes) for labels in (train, truth))
    found = _counts(truth[truth == predicted], classes)
    guessed = _counts(predicted, classes)
    with np.errstate(invalid="ignore"):
        recall = found / present
    tested = present > 0
    f1 = 2 * found[tested] / (present + guessed)[tested]

    def mean(rows: np.ndarray) -> float:
        rows &= tested
        return float(recall[rows].mean()) if rows.any() else float("nan")

    return LongTailReport(
        classes=classes,
        counts=counts,
        recall=recall,
        many=mean(counts > high),
        medium=mean((counts <= high) & (counts >= low)),
        few=mean(counts < low),
        balanced_error=1 - mean(tested),
        macro_f1=float(f1.mean()),
        groups=(high, low),
    )


def one_dimensional(name: str, labels: Any) -> np.ndarray:
    """Return labels as an array of shape (N,), N > 0."""
    array = np.asarray(labels.cpu() if hasattr(labels, "cpu") else labels)
    if array.ndim != 1 or not array.size:
        raise InputError(f"{name} must be a row of labels, at least one, got shape {array.shape}")
    return array


def _counts(labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return how often each class occurs; labels that are none of them are left out."""
    places = np.searchsorted(classes, labels).clip(max=classes.size - 1)
    return np.bincount(places[classes[places] == labels], minlength=classes.size)
