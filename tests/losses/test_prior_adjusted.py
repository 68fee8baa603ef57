"""The adjusted classifier: one of scikit-learn's own, and right about probabilities."""

import subprocess
import sys

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import balanced_accuracy_score, log_loss
from sklearn.model_selection import StratifiedKFold, cross_val_predict, train_test_split
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC
from sklearn.utils.estimator_checks import parametrize_with_checks

from kexue._core import InputError
from kexue.losses import (
    PriorAdjustedClassifier,
    estimate_prior,
    logit_adjustment,
    longtail_counts,
    longtail_subset,
)


@parametrize_with_checks(
    [
        PriorAdjustedClassifier(LogisticRegression()),
        PriorAdjustedClassifier(LogisticRegression(), tau="cv", cv=2),
    ]
)
def test_scikit_learn_takes_it_for_one_of_its_own(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def digits():
    """Digits cut to a long tail, and a balanced test set."""
    X, y = load_digits(return_X_y=True)
    X, test, y, truth = train_test_split(X / 16, y, test_size=0.5, random_state=0, stratify=y)
    rows = longtail_subset(y, longtail_counts(80, 10, 20), rng=0)
    return X[rows], y[rows], test, truth


def model(**more):
    return PriorAdjustedClassifier(LogisticRegression(max_iter=1000), **more)


# --- what it computes


@pytest.mark.parametrize("base", [LogisticRegression(max_iter=1000), GaussianNB(), LinearSVC()])
@pytest.mark.parametrize("classes", [2, 10])
def test_it_is_the_post_hoc_rule(digits, base, classes):
    X, y, test, _ = digits
    X, y = X[y < classes], y[y < classes]
    names = np.array([f"digit {k}" for k in range(10)])
    found = PriorAdjustedClassifier(base, tau=0.7).fit(X, names[y])
    alone = clone(base).fit(X, y)
    if hasattr(alone, "predict_log_proba"):
        scores = alone.predict_log_proba(test)
    else:
        scores = alone.decision_function(test)
        scores = np.stack([0 * scores, scores], 1) if classes == 2 else scores
    expected = logit_adjustment(scores, np.bincount(y), 0.7)
    assert (found.predict(test) == names[expected.argmax(1)]).all()
    shares = np.exp(expected - np.logaddexp.reduce(expected, axis=1, keepdims=True))
    assert found.predict_proba(test) == pytest.approx(shares, abs=1e-9)
    assert np.exp(found.predict_log_proba(test)) == pytest.approx(shares, abs=1e-9)
    decision = found.decision_function(test)
    if classes == 2:
        assert decision == pytest.approx(expected[:, 1] - expected[:, 0], rel=1e-9, abs=1e-9)
    assert decision.shape == ((len(test),) if classes == 2 else (len(test), 10))
    assert found.prior_ == pytest.approx(np.bincount(y) / len(y))


def test_rare_classes_are_found_more_often(digits):
    X, y, test, truth = digits
    found = model().fit(X, y)
    before = balanced_accuracy_score(truth, found.estimator_.predict(test))
    assert balanced_accuracy_score(truth, found.predict(test)) > before + 0.02
    # under the target prior, which is that of the test set
    assert log_loss(truth, found.predict_proba(test)) < log_loss(
        truth, found.estimator_.predict_proba(test)
    )


@pytest.mark.parametrize("target", ["train", "counts"])
def test_the_training_prior_gives_back_the_estimator(digits, target):
    X, y, test, _ = digits
    prior = "train" if target == "train" else np.bincount(y)
    found = model(target_prior=prior, tau=1.9).fit(X, y)
    assert (found.predict(test) == found.estimator_.predict(test)).all()
    assert found.predict_proba(test) == pytest.approx(
        found.estimator_.predict_proba(test), abs=1e-12
    )


def test_targets_by_label(digits):
    X, y, test, _ = digits
    names = np.array(list("zyxwvutsrq"))
    q = np.arange(1.0, 11)
    by_name = model(target_prior=dict(zip(names.tolist(), q, strict=True))).fit(X, names[y])
    by_place = model(target_prior=q[::-1]).fit(X, names[y])  # classes_ is ascending
    assert (by_name.classes_ == np.sort(names)).all()
    assert (by_name.predict_proba(test) == by_place.predict_proba(test)).all()


def test_estimated_target(digits):
    X, y, test, truth = digits
    q = np.random.default_rng(3).dirichlet(np.ones(10))
    rows = np.random.default_rng(0).choice(len(test), 1500, p=q[truth] / np.bincount(truth)[truth])
    found = PriorAdjustedClassifier(
        LogisticRegression(C=30, max_iter=1000), target_prior="estimate"
    ).fit(X, y)
    with pytest.raises(NotFittedError, match=r"needs rows without labels first: call adapt\(X\)"):
        found.predict(test)
    found.adapt(test[rows])
    proba = found.estimator_.predict_proba(test[rows])
    assert found.target_prior_ == pytest.approx(
        np.asarray(estimate_prior(proba, np.bincount(y))), abs=1e-9
    )
    right = (found.predict(test[rows]) == truth[rows]).mean()
    assert right > (found.estimator_.predict(test[rows]) == truth[rows]).mean()
    with pytest.raises(NotFittedError, match="call adapt"):
        found.fit(X, y).predict(test)
    assert not hasattr(model(), "adapt")


def test_tau_by_cross_validation_is_that_of_the_long_way(digits):
    X, y, _, _ = digits
    folds = StratifiedKFold(3)
    found = model(tau="cv", cv=folds).fit(X, y)
    scores = cross_val_predict(
        LogisticRegression(max_iter=1000), X, y, cv=folds, method="predict_log_proba"
    )
    by_hand = [
        balanced_accuracy_score(y, logit_adjustment(scores, np.bincount(y), tau).argmax(1))
        for tau in found.tau_candidates_
    ]
    assert found.tau_scores_ == pytest.approx(by_hand)
    assert by_hand[list(found.tau_candidates_).index(found.tau_)] == max(by_hand)


def test_the_score_settles_the_strength(digits):
    """One in twenty of two overlapping classes: accuracy wants no adjustment."""
    rng = np.random.default_rng(0)
    y = (rng.random(8000) < 0.05).astype(int)
    X = rng.normal(size=(8000, 2)) + np.where(y, 1, -1)[:, None]
    taus = {score: model(tau="cv", scoring=score, cv=3).fit(X, y).tau_ for score in
            ("accuracy", "balanced_accuracy")}  # fmt: skip
    assert taus["accuracy"] < 0.4
    assert 0.7 < taus["balanced_accuracy"] < 1.3
    X, y, _, _ = digits
    same = model(tau="cv", scoring="neg_log_loss", target_prior="train", cv=3).fit(X, y)
    assert np.ptp(same.tau_scores_) == 0  # no shift, whatever tau
    assert same.tau_ == 1


def test_estimators_are_fitted_once_a_fold(digits):
    X, y, _, _ = digits

    class Counted(LogisticRegression):
        fits = 0

        def fit(self, X, y, sample_weight=None):
            Counted.fits += 1
            return super().fit(X, y, sample_weight)

    PriorAdjustedClassifier(Counted(max_iter=200), tau="cv", cv=4).fit(X, y)
    assert Counted.fits == 5


def test_texts_pipelines_frozen_models(digits):
    texts, labels = ["good day"] * 9 + ["bad day"] * 3, ["+"] * 9 + ["-"] * 3
    pipe = make_pipeline(TfidfVectorizer(), LogisticRegression())
    found = PriorAdjustedClassifier(pipe).fit(texts, labels)
    assert found.predict(["a day"])[0] == "-"  # of neither, and the rarer has the smaller prior
    assert found.estimator_.predict(["a day"])[0] == "+"
    assert not hasattr(found, "n_features_in_")
    X, y, test, _ = digits
    trained = LogisticRegression(max_iter=1000).fit(X, y)
    frozen = PriorAdjustedClassifier(FrozenEstimator(trained)).fit(X, y)
    assert (frozen.predict(test) == model().fit(X, y).predict(test)).all()
    assert frozen.n_features_in_ == 64
    with pytest.raises(InputError, match="y must hold the classes that the estimator knows"):
        frozen.fit(X[y < 5], y[y < 5])


def test_probabilities_of_zero(digits):
    X, y, test, _ = digits
    forest = RandomForestClassifier(5, random_state=0)
    found = PriorAdjustedClassifier(forest, tau="cv", cv=3).fit(X, y)
    proba = found.predict_proba(test)
    assert np.isfinite(proba).all()
    assert (proba[found.estimator_.predict_proba(test) == 0] == 0).all()


def test_weights_count_in_the_prior(digits):
    X, y, test, _ = digits
    weights = np.random.default_rng(0).integers(1, 4, len(y))
    weighted = model().fit(X, y, sample_weight=weights)
    repeated = model().fit(np.repeat(X, weights, axis=0), np.repeat(y, weights))
    assert weighted.prior_ == pytest.approx(repeated.prior_)
    assert weighted.predict_proba(test) == pytest.approx(repeated.predict_proba(test), abs=1e-3)


def test_one_class():
    found = PriorAdjustedClassifier(DummyClassifier()).fit([[0], [1]], ["only", "only"])
    assert found.predict([[5]])[0] == "only"
    assert found.predict_proba([[5]]).tolist() == [[1.0]]


def test_without_torch():
    code = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name.split('.')[0] == 'torch': raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "import kexue.losses as room\n"
        "from kexue.losses import PriorAdjustedClassifier, estimate_prior, logit_adjustment\n"
        "from kexue.losses import long_tail_report, longtail_counts, longtail_subset\n"
        "assert logit_adjustment([[0.0, 0.0]], [9, 1]).argmax() == 1\n"
        "try: room.LogitAdjustedLoss\n"
        "except ImportError as error: assert 'kexue[torch]' in str(error), error\n"
        "else: raise AssertionError\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_names_are_no_modules():
    code = (
        "import types, kexue.losses as room\n"
        "for name in room.__all__ * 2:\n"
        "    assert not isinstance(getattr(room, name), types.ModuleType), name\n"
        "assert set(room._HOMES) == set(room.__all__)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- what it refuses


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        ({"target_prior": "uniform"}, InputError, "must be one of 'balanced', 'train', 'estimate'"),
        ({"target_prior": [1, 2]}, InputError, "one number for each of the 10 classes of y, got 2"),
        ({"target_prior": {0: 1.0}}, InputError, r"as keys, got \[0\]"),
        ({"target_prior": [-1.0] * 10}, InputError, "target_prior must be finite and >= 0"),
        ({"tau": "auto"}, InputError, "tau must be one of 'cv', got 'auto'"),
        ({"tau": -1}, InputError, "tau must be a finite number >= 0, got -1"),
        ({"tau": None}, TypeError, "tau must be a finite number >= 0, got None"),
    ],
)
def test_bad_parameters(digits, more, error, message):
    X, y, _, _ = digits
    with pytest.raises(error, match=message):
        model(**more).fit(X, y)


def test_bad_estimators_and_weights(digits):
    X, y, _, _ = digits
    with pytest.raises(TypeError, match="estimator must be a classifier of scikit-learn"):
        PriorAdjustedClassifier(LinearRegression()).fit(X, y)
    with pytest.warns(UserWarning, match=r"weights classes \(class_weight='balanced'\)"):
        PriorAdjustedClassifier(LogisticRegression(class_weight="balanced", max_iter=1000)).fit(
            X, y
        )
    with pytest.raises(InputError, match=r"sample_weight must be of shape \(\d+,\), got \(3,\)"):
        model().fit(X, y, sample_weight=[1, 1, 1])
    with pytest.raises(InputError, match="got 0 for class 9"):
        model().fit(X, y, sample_weight=(y != 9).astype(float))
