"""How many components, and of which family: the model that is cheapest to write down."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import clone

from kexue._core import InputError, check_choice, check_int
from kexue.mixture.mixture import Mixture


@dataclass
class Selection:
    """What `select_components` found.

    Attributes
    ----------
    model : Mixture
        Fitted; the one with the least criterion.
    n_components : int
    family : str or dict
    table : list of dict
        For each model "family", "n_components", "log_likelihood" (nats), "n_parameters" and the
        criterion, in the order in which they were fitted.
    """

    model: Mixture
    n_components: int
    family: Any
    table: list[dict[str, Any]]


def select_components(
    X: ArrayLike,
    n_components: Iterable[int] = range(1, 10),
    *,
    families: Iterable[Any] | None = None,
    model: Mixture | None = None,
    criterion: Literal["bic", "aic", "icl"] = "bic",
    sample_weight: ArrayLike | None = None,
) -> Selection:
    """Fit mixtures of several sizes, and families, and take the one with the least criterion.

    Families are compared by densities of the same columns: compare normal densities with each
    other, and not with those of transformed or rounded columns.

    Parameters
    ----------
    X : array-like of shape (n, d)
    n_components : iterable of int
    families : iterable of str or dict, optional
        That of `model` alone if left out.
    model : Mixture, optional
        Its other parameters are taken; not changed.
    criterion : {"bic", "aic", "icl"}
    sample_weight : array-like of shape (n,), optional

    Returns
    -------
    Selection

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = np.concatenate([rng.normal(0, 1, (200, 2)), rng.normal(5, 1, (100, 2))])
    >>> found = select_components(X, range(1, 4), model=Mixture(random_state=0))
    >>> found.n_components
    2

    References
    ----------
    Biernacki, Celeux and Govaert, Assessing a mixture model for clustering with the integrated
    completed likelihood, IEEE Transactions on Pattern Analysis and Machine Intelligence 22, 2000.
    """
    check_choice("criterion", criterion, ("bic", "aic", "icl"))
    sizes = [check_int("n_components", k, minimum=1) for k in n_components]
    if not sizes:
        raise InputError("n_components must hold at least one number")
    base = Mixture() if model is None else model
    kinds = [base.family] if families is None else list(families)
    if not kinds:
        raise InputError("families must hold at least one family")
    models: list[Mixture] = []
    table: list[dict[str, Any]] = []
    for family in kinds:
        for k in sizes:
            fitted = clone(base).set_params(n_components=k)
            if families is not None:
                fitted.set_params(family=family)
            fitted.fit(X, sample_weight=sample_weight)
            value = getattr(fitted, criterion)(X, sample_weight=sample_weight)
            table.append(
                {
                    "family": family,
                    "n_components": k,
                    "log_likelihood": fitted.log_likelihood_,
                    "n_parameters": fitted._n_parameters(),
                    criterion: value,
                }
            )
            models.append(fitted)
    best = models[int(np.argmin([row[criterion] for row in table]))]
    return Selection(best, int(best.n_components), best.family, table)
