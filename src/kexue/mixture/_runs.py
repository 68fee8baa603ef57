"""Runs of EM as the parameters of a `Mixture` ask for them, and the best of these."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from kexue._core import InputError, check_seed, effective_jobs
from kexue.mixture._checks import fixed_weights
from kexue.mixture._evaluators import Family
from kexue.mixture._fitting import Fitting, Theta, make_family
from kexue.mixture._online import first_pass
from kexue.mixture._rows import Rows
from kexue.mixture._starts import start
from kexue.mixture.engine import Acceleration, EMResult, Progress

if TYPE_CHECKING:
    from kexue.mixture.mixture import Mixture

_FIRST_STEPS = 20  # on the first batch of a stream
_COLLAPSED = 1e-5  # of the columns' variances


def best_run(model: Mixture, rows: Rows, init: Any, *, going_on: bool) -> tuple[Family, EMResult]:
    """Return the settled family and the best of `n_init` runs, or the run that goes on."""
    family = make_family(model.family, model.reg_covar, model.prior)
    if going_on:
        return family, _run_on(model, rows, family)
    family.settle(rows)
    rng = np.random.default_rng(check_seed(model.random_state))
    runs = []
    for _ in range(int(model.n_init)):
        theta = Theta(*start(rows, family, init, rng))
        if model.batch_size is not None:
            size = int(model.batch_size)
            theta = first_pass(
                rows, family, theta, size, rng, lambda rows, family: fitting_of(model, rows, family)
            )
        runs.append(_run(model, rows, family, theta, bool(model.accelerate)))
    # a density without bound is no merit
    return family, min(runs, key=lambda run: (_collapsed(family, run.theta), run.free_energy))


def beginning(model: Mixture, rows: Rows, family: Family) -> Theta:
    """Return what a few sweeps over the first batch of a stream find."""
    rng = np.random.default_rng(check_seed(model.random_state))
    init = model.init if isinstance(model.init, str) else "k-means++"
    theta = Theta(*start(rows, family, init, rng))
    fitting = fitting_of(model, rows, family)
    found = fitting.run(theta, max_iter=_FIRST_STEPS, tol=model.tol, accelerate=False)
    family.forget_rows()
    return Theta(*found.theta)


def fitting_of(model: Mixture, rows: Rows, family: Family) -> Fitting:
    """Return the two steps as the model asks for them."""
    fixed = fixed_weights(model.fixed_weights, rows.n_components)
    n_jobs = effective_jobs(model.n_jobs)
    return Fitting(rows, family, hard=bool(model.hard), fixed=fixed, n_jobs=n_jobs)


def _run_on(model: Mixture, rows: Rows, family: Family) -> EMResult:
    k = len(model._theta.weights)
    if k != rows.n_components:
        raise InputError(
            f"warm_start needs n_components={k} as it was fitted, got {model.n_components}"
        )
    family.set_state(model._family.state())
    family.settle_again(rows)
    state: bool | Acceleration = bool(model.accelerate)
    before = getattr(model, "_acceleration", None)
    if state and before is not None:
        state = before
    return _run(model, rows, family, model._theta, state)


def _run(
    model: Mixture, rows: Rows, family: Family, theta: Theta, state: bool | Acceleration
) -> EMResult:
    return fitting_of(model, rows, family).run(
        theta, max_iter=int(model.max_iter), tol=model.tol, accelerate=state,
        callback=None if model.callback is None else _teller(model, rows, family),
    )  # fmt: skip


def _teller(model: Mixture, rows: Rows, family: Family) -> Callable[[Progress], Any]:
    """Return a callback of the engine that tells the user's of the model."""

    def tell(progress: Progress) -> Any:
        model._family = family
        model._learn(progress.theta)
        model._acceleration = progress.acceleration
        model.n_iter_, model.converged_ = progress.n_iter, False
        model.log_likelihood_ = -progress.free_energy * rows.total_weight
        assert model.callback is not None
        return model.callback(model)

    return tell


def _collapsed(family: Family, theta: Theta) -> bool:
    variances = getattr(family, "smallest_variances", None)
    return variances is not None and bool((variances(theta.params) < _COLLAPSED).any())
