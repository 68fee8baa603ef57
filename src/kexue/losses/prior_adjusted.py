"""Any classifier of scikit-learn, moved from the prior of its training data to another one."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import log_softmax, softmax
from sklearn.base import BaseEstimator, ClassifierMixin, clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.metrics import check_scoring
from sklearn.model_selection import check_cv, cross_val_predict
from sklearn.utils import get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d

from kexue._core import InputError, check_choice
from kexue.losses._priors import as_prior, strength
from kexue.losses.logit_adjustment import logit_adjustment
from kexue.losses.prior_estimation import estimate_prior

_TARGETS = ("balanced", "train", "estimate")
_TAUS = np.linspace(0, 3, 61)
_METHODS = ("predict_log_proba", "predict_proba", "decision_function")


class PriorAdjustedClassifier(ClassifierMixin, BaseEstimator):
    r"""Let every class count the same, or as it does in use, without training anew.

    The estimator learns the posterior under the prior :math:`\pi` of its training data; scores
    :math:`f = \log p(y|x)` are then moved to the target prior `q`,

    .. math:: g_y = f_y - \tau (\log \pi_y - \log q_y),

    so that probabilities stay probabilities, which weighted or resampled training spoils: the
    softmax of `g` is the posterior under `q`.

    Parameters
    ----------
    estimator : classifier
        With `predict_proba` or, worse, `decision_function`. Trained on the data as they are: no
        class weights, no resampling. A trained one is given as
        ``sklearn.frozen.FrozenEstimator(model)``, and to `fit` the labels that it was trained on.
    target_prior : {"balanced", "train", "estimate"}, array-like of shape (K,), or dict
        All classes the same; as in training, which changes nothing; to be found by `adapt` from
        rows without labels; numbers in the order of `classes_`; or a number for each label. Counts
        and costs will do.
    tau : float >= 0 or "cv"
        Strength: 1 for calibrated probabilities, more for over-confident ones; "cv", the one with
        the best score out of fold.
    scoring : str or callable
        What "cv" makes largest, as in scikit-learn. A score that frequent classes dominate, such as
        "accuracy", takes the adjustment back.
    cv : int, splitter or iterable
        Folds for "cv". Each is fitted once, whatever the number of strengths tried.

    Attributes
    ----------
    estimator_ : classifier
    classes_ : array of shape (K,)
    prior_, target_prior_ : float64 arrays of shape (K,)
    tau_ : float
    tau_candidates_, tau_scores_ : float64 arrays
        With "cv": the strengths tried, 0 to 3, and the score of each out of fold.
    n_features_in_ : int
        If the estimator has it.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> rng = np.random.default_rng(0)
    >>> y = (rng.random(2000) < 0.05).astype(int)
    >>> X = rng.normal(size=(2000, 2)) + np.where(y, 1, -1)[:, None]
    >>> model = PriorAdjustedClassifier(LogisticRegression()).fit(X, y)
    >>> for found in (model.estimator_.predict(X), model.predict(X)):
    ...     print(f"{found[y == 1].mean():.2f} of the rare class found")
    0.61 of the rare class found
    0.87 of the rare class found

    References
    ----------
    Menon, Jayasumana, Rawat, Jain, Veit and Kumar, Long-tail learning via logit adjustment, arXiv
    2007.07314. Saerens, Latinne and Decaestecker, Neural Computation 14, 2002. kexue.fm,
    archives/7615.
    """

    def __init__(
        self,
        estimator: Any,
        *,
        target_prior: Literal["balanced", "train", "estimate"]
        | ArrayLike
        | Mapping[Any, float] = "balanced",
        tau: float | Literal["cv"] = 1.0,
        scoring: Any = "balanced_accuracy",
        cv: Any = 5,
    ) -> None:
        self.estimator = estimator
        self.target_prior = target_prior
        self.tau = tau
        self.scoring = scoring
        self.cv = cv

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> PriorAdjustedClassifier:
        """Fit the estimator, count the prior, and settle the strength.

        Parameters
        ----------
        X : whatever the estimator takes
        y : array-like of shape (N,)
            Labels of any kind.
        sample_weight : array-like of shape (N,), optional
            Handed on, and counted in the prior.

        Raises
        ------
        TypeError, InputError
            For a bad parameter, or an estimator that gives no scores.

        Warns
        -----
        UserWarning
            If the estimator weights classes itself: its scores are then under another prior.
        """
        self._check_parameters()
        labels = column_or_1d(y, warn=True)
        check_classification_targets(labels)
        classes, numbers = np.unique(labels, return_inverse=True)
        fit_params = {}
        if sample_weight is not None:
            sample_weight = np.asarray(sample_weight, np.float64)
            if sample_weight.shape != labels.shape:
                raise InputError(
                    f"sample_weight must be of shape {labels.shape}, got {sample_weight.shape}"
                )
            if not sample_weight.any():
                raise InputError("sample_weight must not be zero for all rows")
            fit_params["sample_weight"] = sample_weight
        prior = as_prior("prior", np.bincount(numbers, weights=sample_weight))
        target = self._target(classes, prior)
        model = clone(self.estimator).fit(X, labels, **fit_params)
        if not np.array_equal(model.classes_, classes):
            raise InputError(
                f"y must hold the classes that the estimator knows, {model.classes_!r}, "
                f"got {classes!r}"
            )
        if self.tau == "cv":
            found = self._tune(X, labels, numbers, classes, prior, target, fit_params)
            self.tau_candidates_, self.tau_scores_, self.tau_ = found
        else:
            self.tau_ = strength(self.tau)
        self.estimator_, self.classes_, self.prior_ = model, classes, prior
        if target is not None:
            self.target_prior_ = target
        elif hasattr(self, "target_prior_"):
            del self.target_prior_
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(model, name):
                setattr(self, name, getattr(model, name))
        return self

    @available_if(
        lambda self: isinstance(self.target_prior, str) and self.target_prior == "estimate"
    )
    def adapt(self, X: Any) -> PriorAdjustedClassifier:
        """Find the target prior from rows without labels, drawn as those in use are.

        Parameters
        ----------
        X : whatever the estimator takes

        See Also
        --------
        kexue.losses.estimate_prior
        """
        check_is_fitted(self, "estimator_")
        proba = softmax(self._scores(X), axis=1)
        self.target_prior_ = np.asarray(estimate_prior(proba, self.prior_))
        return self

    def decision_function(self, X: Any) -> np.ndarray:
        """Return adjusted scores in nats, shape (N, K); for two classes their difference, (N,)."""
        g = self._adjusted(X)
        return np.asarray(g[:, 1] - g[:, 0]) if g.shape[1] == 2 else g

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the posterior under the target prior, shape (N, K)."""
        return np.asarray(softmax(self._adjusted(X), axis=1))

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Return logarithms of the posterior under the target prior, in nats, shape (N, K)."""
        return np.asarray(log_softmax(self._adjusted(X), axis=1))

    def predict(self, X: Any) -> np.ndarray:
        """Return the label with the largest adjusted score, shape (N,)."""
        g = self._adjusted(X)
        return np.asarray(self.classes_[g.argmax(axis=1)])

    def __sklearn_tags__(self) -> Any:
        """Take what the estimator takes."""
        tags = super().__sklearn_tags__()
        inner = get_tags(self.estimator)
        tags.input_tags = inner.input_tags
        tags.classifier_tags = inner.classifier_tags
        return tags

    def _check_parameters(self) -> None:
        if not is_classifier(self.estimator) or not hasattr(self.estimator, "fit"):
            raise TypeError(
                f"estimator must be a classifier of scikit-learn, got {self.estimator!r}"
            )
        if isinstance(self.target_prior, str):
            check_choice("target_prior", self.target_prior, _TARGETS)
        if isinstance(self.tau, str):
            check_choice("tau", self.tau, ("cv",))
        else:
            strength(self.tau)
        if not any(hasattr(self.estimator, name) for name in _METHODS):
            raise TypeError(
                "estimator must give scores by predict_proba or decision_function, "
                f"got {self.estimator!r}"
            )
        weights = {k: v for k, v in self.estimator.get_params().items() if "class_weight" in k}
        weighted = [k for k, v in weights.items() if v is not None]
        if weighted:
            warnings.warn(
                f"estimator weights classes ({weighted[0]}={weights[weighted[0]]!r}): its scores "
                "are under another prior than that of y, and adjusting them does it twice",
                UserWarning,
                stacklevel=3,
            )

    def _target(self, classes: np.ndarray, prior: np.ndarray) -> np.ndarray | None:
        """Return the target prior, None if it is to be estimated."""
        wanted: Any = self.target_prior
        if isinstance(wanted, str):
            uniform = np.full(classes.size, 1 / classes.size)
            return {"balanced": uniform, "train": prior, "estimate": None}[wanted]
        if isinstance(wanted, Mapping):
            labels = classes.tolist()
            if set(wanted) != set(labels):
                raise InputError(
                    f"target_prior must have the labels of y, {labels}, as keys, got {[*wanted]}"
                )
            wanted = [wanted[label] for label in labels]
        q = as_prior("target_prior", wanted, zeros=True)
        if q.size != classes.size:
            raise InputError(
                f"target_prior must have one number for each of the {classes.size} classes of y, "
                f"got {q.size}"
            )
        return q

    def _tune(
        self,
        X: Any,
        y: Any,
        numbers: np.ndarray,
        classes: np.ndarray,
        prior: np.ndarray,
        target: np.ndarray | None,
        fit_params: dict[str, Any],
    ) -> tuple[np.ndarray, np.ndarray, float]:
        """Return strengths, their scores on rows that a fold left out, and the best strength."""
        method = self._method(self.estimator)
        folds = check_cv(self.cv, numbers, classifier=True)
        with np.errstate(divide="ignore"):
            left_out = cross_val_predict(
                self.estimator, X, y, cv=folds, method=method, params=fit_params
            )
        scores = as_logits(left_out, method)
        shown = _Shown(classes)
        scorer = check_scoring(shown, scoring=self.scoring)
        found = np.array(
            [scorer(shown, logit_adjustment(scores, prior, tau, target), y) for tau in _TAUS]
        )
        best = _TAUS[found == found.max()]
        return _TAUS, found, float(best[np.abs(best - 1).argmin()])

    def _adjusted(self, X: Any) -> np.ndarray:
        check_is_fitted(self, "estimator_")
        if not hasattr(self, "target_prior_"):
            raise NotFittedError(
                "target_prior='estimate' needs rows without labels first: call adapt(X)"
            )
        scores = self._scores(X)
        if np.array_equal(self.prior_, self.target_prior_):
            return scores
        return np.asarray(logit_adjustment(scores, self.prior_, self.tau_, self.target_prior_))

    def _scores(self, X: Any) -> np.ndarray:
        method = self._method(self.estimator_)
        with np.errstate(divide="ignore"):
            return as_logits(getattr(self.estimator_, method)(X), method)

    @staticmethod
    def _method(estimator: Any) -> str:
        return next(name for name in _METHODS if hasattr(estimator, name))


class _Shown(ClassifierMixin, BaseEstimator):
    """A classifier that is shown scores instead of rows, for scorers."""

    def __init__(self, classes_: np.ndarray) -> None:
        self.classes_ = classes_

    def fit(self, X: Any, y: Any) -> _Shown:
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        return np.asarray(self.classes_[X.argmax(axis=1)])

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        return np.asarray(softmax(X, axis=1))

    def decision_function(self, X: np.ndarray) -> np.ndarray:
        return np.asarray(X[:, 1] - X[:, 0]) if X.shape[1] == 2 else X


def as_logits(scores: Any, method: str) -> np.ndarray:
    """Return what a method of scikit-learn gives as scores of shape (N, K), in nats."""
    values = np.asarray(scores, np.float64)
    if method == "predict_proba":
        with np.errstate(divide="ignore"):
            return np.log(values)
    if values.ndim == 1:  # two classes: the score of the second over the first
        return np.stack([np.zeros_like(values), values], axis=1)
    return values
