"""Mixtures of any family, fitted by EM: clusters, densities, samples, and values for holes."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from scipy.special import gammaln
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted, validate_data

from kexue._core import InputError, check_int, check_seed
from kexue.mixture import _checks as checks
from kexue.mixture import _mixture_files as files
from kexue.mixture._evaluators import Family
from kexue.mixture._fitting import Theta, log_joint, make_family
from kexue.mixture._online import Stream
from kexue.mixture._rows import Rows, posterior
from kexue.mixture._runs import beginning, best_run, fitting_of
from kexue.mixture._threads import one_thread_each
from kexue.mixture.engine import Acceleration, EMResult


class Mixture(DensityMixin, BaseEstimator):
    r"""A mixture :math:`p(x) = \sum_k \pi_k f_k(x)`, fitted by EM, for rows with holes.

    Each sweep reads a row once, with no table of the size of the data, and gives the sums from
    which the likeliest parameters follow; every third one tries a longer step (SQUAREM).

    Parameters
    ----------
    n_components : int
        K.
    family : str or dict
        "gaussian_full", "gaussian_tied" (one covariance), "gaussian_diag", "gaussian_spherical",
        "gaussian_tied_spherical"; "bernoulli" (columns of 0 and 1), "multinomial" (rows of
        counts), "categorical" (columns of codes 0, 1, ...); or a dict from these to lists of
        columns, which are independent between blocks within a component.
    init : {"k-means++", "random", "anneal"} or array of shape (n, K)
        Centres spread out and settled by a few steps of k-means; rows drawn at random; the first
        with a posterior that cools down from nearly uniform; or responsibilities.
    n_init : int
        Starts, of which the best is kept: first those in which no component has collapsed.
    max_iter : int
        Most sweeps of a start.
    tol : float
        Converged when a sweep gains less than this, in nats per row.
    reg_covar : float
        Added to variances, as if every value were known only to within this variance.
    prior : None or "map"
        "map" keeps covariances off zero by the inverse Wishart prior of Fraley and Raftery, and
        probabilities by one more row in each component, the average of all.
    accelerate : bool
        Whether to extrapolate.
    batch_size : None or int
        If given, the first pass over the data is online EM on batches of so many rows.
    hard : bool
        Give each row to its likeliest component only. With ``family="gaussian_tied_spherical"``
        and ``fixed_weights=True`` this is k-means.
    fixed_weights : bool or array of shape (K,)
        Weights that are not learned; True: all equal.
    n_jobs : None or int
        Threads; the result does not depend on it.
    random_state : None, int, RandomState or Generator
    warm_start : bool
        Whether `fit` goes on from what was learned.
    callback : callable, optional
        Called with the model before each sweep from which a run could go on, with what has been
        learned so far; it stops fitting by returning True. A model that it saves and
        ``warm_start`` take up gives the result of the run that was not interrupted.

    Attributes
    ----------
    weights_ : array of shape (K,)
    means_ : array of shape (K, d)
        Gaussian families only.
    covariances_, precisions_cholesky_ : arrays
        As in scikit-learn: (K, d, d), (d, d), (K, d), (K,) or (); factors W with W W' the inverse
        of the covariance, or inverse deviations.
    probs_ : array of shape (K, d), or list of arrays of shape (K, C_j)
        Discrete families only. For a dict of families, all these are lists with an entry for each
        block, None where it has no such thing.
    counts_ : array of shape (K,)
        Weight of the rows of each component.
    smallest_variances_ : array of shape (K,)
        Least eigenvalue of each covariance, of columns scaled to variance 1; Gaussian families.
    log_likelihood_ : float
        Sum over rows of weight times log p(x), in nats.
    log_likelihood_path_ : array
        What was maximised, sweep by sweep: the log-likelihood, with the log prior, and less what
        `reg_covar` takes.
    restarts_ : list of int
        Places in the path where a component that had died began anew; it may fall there.
    n_iter_ : int
        Sweeps.
    converged_ : bool
    n_features_in_ : int

    Notes
    -----
    Missing values are NaN, and missing at random. Full and tied covariances are estimated from
    the conditional means and covariances of what is missing, pattern by pattern; the other
    families leave out what is not there. Rows without any value have no influence.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = np.concatenate([rng.normal(0, 1, (300, 2)), rng.normal(6, 1, (100, 2))])
    >>> X[::7, 0] = np.nan
    >>> model = Mixture(2, random_state=0).fit(X)
    >>> sorted(model.weights_.round(2).tolist())
    [0.25, 0.75]
    >>> filled = model.impute(X)
    >>> bool(np.isnan(filled).any()), bool(abs(filled[350, 0] - 6) < 2)
    (False, True)

    References
    ----------
    Dempster, Laird and Rubin, Maximum likelihood from incomplete data via the EM algorithm, JRSS B
    39, 1977. Ghahramani and Jordan, Supervised learning from incomplete data via an EM approach,
    NIPS 6, 1994. Varadhan and Roland, Simple and globally convergent methods for accelerating the
    convergence of any EM algorithm, Scandinavian Journal of Statistics 35, 2008. Cappé and
    Moulines, On-line expectation-maximization algorithm for latent data models, JRSS B 71, 2009.
    Fraley and Raftery, Bayesian regularization for normal mixture estimation and model-based
    clustering, Journal of Classification 24, 2007. kexue.fm, archives/5239.
    """

    weights_: np.ndarray
    log_likelihood_: float
    log_likelihood_path_: np.ndarray
    counts_: np.ndarray
    restarts_: list[int]
    n_iter_: int
    converged_: bool
    n_features_in_: int
    _theta: Theta
    _family: Family
    _acceleration: Acceleration | None
    _stream: Stream

    def __init__(
        self,
        n_components: int = 1,
        family: str | Mapping[str, Sequence[int]] = "gaussian_full",
        *,
        init: Literal["k-means++", "random", "anneal"] | ArrayLike = "k-means++",
        n_init: int = 1,
        max_iter: int = 500,
        tol: float = 1e-6,
        reg_covar: float = 1e-6,
        prior: Literal["map"] | None = None,
        accelerate: bool = True,
        batch_size: int | None = None,
        hard: bool = False,
        fixed_weights: bool | ArrayLike = False,
        n_jobs: int | None = None,
        random_state: Any = None,
        warm_start: bool = False,
        callback: Callable[[Mixture], Any] | None = None,
    ) -> None:
        self.n_components = n_components
        self.family = family
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.reg_covar = reg_covar
        self.prior = prior
        self.accelerate = accelerate
        self.batch_size = batch_size
        self.hard = hard
        self.fixed_weights = fixed_weights
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.warm_start = warm_start
        self.callback = callback

    # --- learning

    def fit(
        self,
        X: ArrayLike | sparse.spmatrix,
        y: None = None,
        sample_weight: ArrayLike | None = None,
        labels: ArrayLike | None = None,
    ) -> Mixture:
        """Learn the mixture.

        Parameters
        ----------
        X : array-like of shape (n, d), or sparse for binary columns and counts
            NaN where a value is missing.
        y : None
            Ignored.
        sample_weight : array-like of shape (n,), optional
            A row of weight 2 counts as two.
        labels : int array of shape (n,), optional
            Component of a row where it is known, else -1.

        Raises
        ------
        InputError
            For fewer rows than components, values that the family does not have, a column without
            any value, bad weights, labels or parameters, and for components that collapse again
            and again.

        Warns
        -----
        ConvergenceWarning
            If `max_iter` was too few, and where a component has died and begins anew.
        """
        checks.check_parameters(self)
        going_on = self.warm_start and hasattr(self, "_theta")
        rows = self._rows(X, sample_weight, labels, reset=not going_on)
        k = rows.n_components
        if rows.n < k:
            raise InputError(f"X must have at least {k} rows for {k} components, got {rows.n}")
        init = self.init
        if not isinstance(init, str):
            init = checks.check_responsibilities(init, rows.n, k)
        with one_thread_each():
            self._family, best = best_run(self, rows, init, going_on=going_on)
            self._take(best, rows)
        if not best.converged and best.n_iter >= self.max_iter:
            warnings.warn(
                f"EM has not converged after max_iter={self.max_iter} sweeps; raise max_iter, or "
                f"tol={self.tol}",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    def fit_predict(
        self, X: ArrayLike, y: None = None, sample_weight: ArrayLike | None = None
    ) -> np.ndarray:
        """Learn the mixture, and return the likeliest component of each row, shape (n,)."""
        return self.fit(X, sample_weight=sample_weight).predict(X)

    def partial_fit(
        self, X: ArrayLike, y: None = None, sample_weight: ArrayLike | None = None
    ) -> Mixture:
        """Learn from one more batch of rows by a step of online EM.

        The first batch sets the scale, and is to have some rows to each component; categorical
        columns are to show all their codes in it. Parameters as for `fit`.
        """
        checks.check_parameters(self)
        first = not hasattr(self, "_stream")
        rows = self._rows(X, sample_weight, None, reset=first)
        if first and rows.n < rows.n_components:
            raise InputError(
                f"the first batch must have at least {rows.n_components} rows for as many "
                f"components, got {rows.n}"
            )
        with one_thread_each():
            if first:
                family = make_family(self.family, self.reg_covar, self.prior)
                family.settle(rows)
                self._stream = Stream(family, beginning(self, rows, family))
            self._family = self._stream.family
            self._stream.step(rows, fitting_of(self, rows, self._family))
            self._learn(self._stream.theta)
        self.counts_ = self._stream.weight * self._stream.seen
        self.log_likelihood_ = self._stream.log_likelihood
        self.n_iter_, self.converged_ = self._stream.steps, False
        return self

    # --- asking

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Return the likeliest component of each row, shape (n,)."""
        rows = self._asked(X)
        out = np.empty(rows.n, dtype=np.int64)
        for where, logs in self._joint(rows):
            out[where] = logs.argmax(0)
        return out

    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """Return the posterior of the components, shape (n, K)."""
        rows = self._asked(X)
        out = np.empty((rows.n, rows.n_components))
        for where, logs in self._joint(rows):
            posterior(logs)
            out[where] = logs.T
        return out

    def score_samples(self, X: ArrayLike, *, coefficient: bool = False) -> np.ndarray:
        """Return log p(x) of what is observed of each row, in nats, shape (n,).

        With `coefficient`, that of the multinomial, which no parameter changes, is counted in.
        """
        rows = self._asked(X)
        out = np.empty(rows.n)
        for where, logs in self._joint(rows):
            out[where] = posterior(logs)
        if coefficient:
            if self.family != "multinomial":
                raise InputError(f"coefficient needs family='multinomial', got {self.family!r}")
            for where, x, _ in rows.blocks():
                counts = x.astype(np.float64)
                out[where] += gammaln(np.asarray(counts.sum(1)).ravel() + 1)
                if sparse.issparse(counts):
                    counts.data = gammaln(counts.data + 1)
                else:
                    counts = gammaln(counts + 1)
                out[where] -= np.asarray(counts.sum(1)).ravel()
        return out

    def score(self, X: ArrayLike, y: None = None, sample_weight: ArrayLike | None = None) -> float:
        """Return the mean of `score_samples`, in nats per row."""
        return float(np.average(self.score_samples(X), weights=_plain(sample_weight)))

    def sample(self, n_samples: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Return rows drawn from the mixture, shape (n_samples, d), and their components.

        Rows of counts have as many as those that were fitted on average.
        """
        check_is_fitted(self, "weights_")
        check_int("n_samples", n_samples, minimum=1)
        rng = np.random.default_rng(check_seed(self.random_state))
        labels = rng.choice(len(self.weights_), size=n_samples, p=self.weights_)
        return self._family.sample(self._theta.params, labels, rng), labels

    def impute(self, X: ArrayLike, sample: bool = False) -> np.ndarray:
        """Return rows with a value for each NaN, float64 of shape (n, d).

        Parameters
        ----------
        X : array-like of shape (n, d)
        sample : bool
            Draw values from their distribution given what is observed; else numbers are expected
            values, and binary values and codes the likeliest.
        """
        rows = self._asked(X)
        if sparse.issparse(rows.x):
            raise TypeError("impute needs a dense X, for a sparse one has no NaN")
        rng = np.random.default_rng(check_seed(self.random_state)) if sample else None
        out = np.array(rows.x, dtype=np.float64)
        for where, logs in self._joint(rows):
            part = out[where]
            holes = np.isnan(part).any(1)
            if not holes.any():
                continue
            r = np.ascontiguousarray(logs[:, holes])
            posterior(r)
            if rng is not None:
                drawn = (r.cumsum(0) < rng.random(r.shape[1])).sum(0).clip(max=len(r) - 1)
                r = (np.arange(len(r))[:, None] == drawn).astype(np.float64)
            part[holes] = self._family.impute(self._theta.params, part[holes], r, rng)
            out[where] = part
        return out

    def bic(self, X: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Return -2 L + P log n, less for a better model; n is the sum of the weights."""
        total, log_likelihood = self._totals(X, sample_weight)
        return -2 * log_likelihood + self._n_parameters() * float(np.log(total))

    def aic(self, X: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Return -2 L + 2 P."""
        return -2 * self._totals(X, sample_weight)[1] + 2 * self._n_parameters()

    def icl(self, X: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Return `bic` plus twice the entropy of the posterior: clusters that overlap cost more."""
        r = self.predict_proba(X)
        entropy = -np.where(r > 0, r * np.log(np.maximum(r, 1e-300)), 0.0).sum(1)
        weights = np.ones(len(r)) if sample_weight is None else np.asarray(sample_weight, float)
        return self.bic(X, sample_weight) + 2 * float(weights @ entropy)

    # --- files

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write what was learned as one file of safetensors, atomically."""
        check_is_fitted(self, "weights_")
        files.write(path, self)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Mixture:
        """Return the model of a file of `save`, bit for bit the same.

        A callback, and responsibilities to begin with, are not kept.
        """
        return files.read(path, cls)

    # --- scikit-learn

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        discrete = self.family in ("bernoulli", "multinomial")
        tags.input_tags.sparse = discrete
        tags.input_tags.allow_nan = self.family != "multinomial"
        tags.input_tags.positive_only = self.family in ("multinomial", "categorical", "bernoulli")
        return tags

    def _n_parameters(self) -> int:
        k = len(self.weights_)
        free = k - 1 if checks.fixed_weights(self.fixed_weights, k) is None else 0
        return free + self._family.n_parameters(k)

    def _totals(self, X: ArrayLike, sample_weight: ArrayLike | None) -> tuple[float, float]:
        densities = self.score_samples(X)
        weights = checks.check_weights(sample_weight, len(densities))
        if weights is None:
            return float(len(densities)), float(densities.sum())
        return float(weights.sum()), float(weights @ densities)

    # --- how

    def _rows(self, X: Any, sample_weight: Any, labels: Any, *, reset: bool) -> Rows:
        """Return checked rows."""
        allowed = "csr" if self.family in ("bernoulli", "multinomial") else False
        x = validate_data(
            self, X, reset=reset, accept_sparse=allowed, dtype="numeric", ensure_all_finite=False
        )
        if sparse.issparse(x):
            x.sum_duplicates()
        n, k = x.shape[0], int(self.n_components)
        weights = checks.check_weights(sample_weight, n)
        known = checks.check_labels(labels, n, k)
        levels = {} if reset else self._family.levels_of(range(x.shape[1]))
        empty = checks.check_values(x, self.family, reset=reset, levels=levels)
        if empty is not None:
            weights = np.ones(n) if weights is None else weights.copy()
            weights[empty] = 0.0  # they would only slow the others down
        family = make_family(self.family, self.reg_covar, self.prior)
        return Rows(x, weights, known, n_components=k, patterns=family.needs_patterns)

    def _asked(self, X: Any) -> Rows:
        check_is_fitted(self, "weights_")
        rows = self._rows(X, None, None, reset=False)
        rows.n_components = len(self.weights_)
        return rows

    def _joint(self, rows: Rows) -> Any:
        with one_thread_each():
            yield from log_joint(rows, self._family, self._theta)

    def _learn(self, theta: Theta) -> None:
        self._theta = theta
        self.weights_ = theta.weights
        for name, value in self._family.learned(theta.params).items():
            setattr(self, name, value)
        if hasattr(self._family, "smallest_variances"):
            self.smallest_variances_ = self._family.smallest_variances(theta.params)

    def _take(self, found: EMResult, rows: Rows) -> None:
        """Learn the result of a run."""
        self._learn(found.theta)
        total = rows.total_weight
        self.log_likelihood_path_ = -found.path * total
        self.restarts_ = found.restarts
        self.n_iter_, self.converged_ = found.n_iter, found.converged
        self.counts_ = found.statistics.weight
        self._acceleration = found.acceleration
        blurred = self.reg_covar > 0 and "gaussian" in str(self.family)
        if self.hard or self.prior is not None or blurred:
            # what was maximised is not the likelihood alone
            self.log_likelihood_ = 0.0
            for where, logs in log_joint(rows, self._family, self._theta):
                evidence = posterior(logs)
                part = evidence if rows.weight is None else rows.weight[where] * evidence
                self.log_likelihood_ += float(part.sum())
        else:
            self.log_likelihood_ = -found.free_energy * total
        self._family.forget_rows()


def _plain(weights: ArrayLike | None) -> np.ndarray | None:
    return None if weights is None else np.asarray(weights, dtype=np.float64)
