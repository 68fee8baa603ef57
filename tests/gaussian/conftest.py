"""Gaussians of every form, as NumPy arrays and as tensors, and distances in 60 digits."""

import importlib
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from kexue.gaussian import Gaussian

ROOT = Path(__file__).resolve().parents[2]
FORMS = ("full", "diagonal", "factor", "thin factor", "isotropic", "diagonal + low rank")


@pytest.fixture(scope="session")
def exact():
    # pytest imports by path and leaves sys.path alone; the benchmarks are no part of the package
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)
        return importlib.import_module("benchmarks.gaussian.exact")


@pytest.fixture(scope="session")
def truth(exact):
    """A function of a distance's name and the arguments of `exact.pair`; it remembers."""

    @cache
    def of_pair(name, condition, change):
        first, second = exact.pair(condition, change)
        return getattr(exact, name)(np.zeros(20), first, np.zeros(20), second)

    return of_pair


@pytest.fixture(params=["numpy", "torch"])
def library(request):
    """A function that makes an array of either library of a NumPy array."""
    if request.param == "numpy":
        return np.asarray
    return pytest.importorskip("torch").as_tensor


@pytest.fixture(params=FORMS)
def form(request):
    return request.param


@pytest.fixture
def make(library):
    """A function that makes a random Gaussian of a form; near ones by the same seed."""
    return maker(library)


@pytest.fixture
def make_tensors():
    """`make`, of tensors alone."""
    return maker(pytest.importorskip("torch").as_tensor)


def maker(library):
    def of_form(form, seed, n=12, change=0.0, batch=(), dtype=np.float64):
        rng, noise = np.random.default_rng(seed), np.random.default_rng(seed + 1000)

        def array(*shape):
            values = rng.normal(size=(*batch, *shape))
            values = values * (1 + change * noise.normal(size=values.shape))
            return library(values.astype(dtype))

        mean = array(n)
        if form == "full":
            factor = array(n, n)
            cov = factor @ factor.mT / n + library(np.eye(n, dtype=dtype)) / 4
            return Gaussian.full(mean, (cov + cov.mT) / 2)
        if form == "diagonal":
            return Gaussian.diag(mean, array(n) ** 2 + 0.25)
        if form == "factor":
            return Gaussian.from_factor(mean, array(n, n))
        if form == "thin factor":
            return Gaussian.from_factor(mean, array(n, 3))
        if form == "isotropic":
            return Gaussian.lowrank(mean, array(1) ** 2 + 0.25, array(n, 3))
        return Gaussian.lowrank(mean, array(n) ** 2 + 0.25, array(n, 3))

    return of_form


@pytest.fixture
def dense():
    """A function that gives a Gaussian the form of a full matrix."""

    def as_full(gaussian):
        cov = gaussian.cov
        return Gaussian.full(gaussian.mean, (cov + cov.mT) / 2)

    return as_full
