"""Mixtures by the name of their family."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np  # noqa: F401 (the examples use it)
from numpy.typing import ArrayLike

from kexue.mixture.mixture import Mixture


class GaussianMixture(Mixture):
    """`Mixture` of normal densities, with scikit-learn's name for the kind of covariance.

    Parameters
    ----------
    n_components : int
    covariance_type : {"full", "tied", "diag", "spherical", "tied_spherical"}
    **others
        As for `Mixture`.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(50, 2))
    >>> GaussianMixture(2, covariance_type="diag", random_state=0).fit(X).covariances_.shape
    (2, 2)
    """

    def __init__(
        self,
        n_components: int = 1,
        *,
        covariance_type: str = "full",
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
        super().__init__(
            n_components, init=init, n_init=n_init, max_iter=max_iter, tol=tol,
            reg_covar=reg_covar, prior=prior, accelerate=accelerate, batch_size=batch_size,
            hard=hard, fixed_weights=fixed_weights, n_jobs=n_jobs, random_state=random_state,
            warm_start=warm_start, callback=callback,
        )  # fmt: skip
        self.covariance_type = covariance_type

    @property
    def family(self) -> str:
        """Name of the family of the kind of covariance."""
        return f"gaussian_{self.covariance_type}"

    @family.setter
    def family(self, value: Any) -> None:
        """Do nothing: it follows from the kind of covariance."""


class _Discrete(Mixture):
    """A mixture of one family that has no variances."""

    _name = ""

    def __init__(
        self,
        n_components: int = 1,
        *,
        init: Literal["k-means++", "random", "anneal"] | ArrayLike = "k-means++",
        n_init: int = 1,
        max_iter: int = 500,
        tol: float = 1e-6,
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
        super().__init__(
            n_components, init=init, n_init=n_init, max_iter=max_iter, tol=tol, prior=prior,
            accelerate=accelerate, batch_size=batch_size, hard=hard, fixed_weights=fixed_weights,
            n_jobs=n_jobs, random_state=random_state, warm_start=warm_start, callback=callback,
        )  # fmt: skip

    @property
    def family(self) -> str:
        """Name of the family."""
        return self._name

    @family.setter
    def family(self, value: Any) -> None:
        """Do nothing: it goes with the class."""


class BernoulliMixture(_Discrete):
    """`Mixture` of independent columns of 0 and 1; parameters as there.

    Examples
    --------
    >>> X = (np.random.default_rng(0).random((50, 3)) < [0.1, 0.5, 0.9]).astype(float)
    >>> BernoulliMixture().fit(X).probs_.round(1)
    array([[0.1, 0.4, 0.8]])
    """

    _name = "bernoulli"


class MultinomialMixture(_Discrete):
    """`Mixture` of rows of counts; parameters as there.

    Examples
    --------
    >>> MultinomialMixture().fit([[3, 1, 0], [1, 2, 1]]).probs_
    array([[0.5  , 0.375, 0.125]])
    """

    _name = "multinomial"
