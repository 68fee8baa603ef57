"""Ctrl-C during a search: what has finished is kept, the rest stops at once."""

import os
import signal
import threading
import time

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from kexue.graph import Infomap


def interrupt_after(seconds):
    timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    return time.perf_counter() + seconds


def compiled():
    """Load the kernels first: their loading cannot be stopped."""
    Infomap(random_state=0).fit([(0, 1), (1, 2), (0, 2)])


@pytest.fixture(scope="module")
def long_search():
    return np.random.default_rng(0).integers(0, 60_000, (600_000, 2))


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_an_interrupt_keeps_the_best_finished_search(long_search, n_jobs):
    Infomap(random_state=0).fit(
        [(0, 1), (1, 2), (0, 2)]
    )  # compiled kernels, or their loading cannot be stopped
    sent = []

    def progress(done, n_init, length):
        assert n_init == 50
        assert length > 0.0
        if done == 2:
            sent.append(interrupt_after(0.2))

    model = Infomap(n_init=50, n_jobs=n_jobs, random_state=0)
    with pytest.warns(ConvergenceWarning, match=r"kept the best of \d+ finished searches of 50"):
        model.fit(long_search, progress=progress)
    assert time.perf_counter() - sent[0] < 1.0
    assert 2 <= model.codelengths_.size < 50
    assert model.codelength_ == model.codelengths_.min()


def test_an_interrupt_of_the_first_search(long_search):
    compiled()
    sent = interrupt_after(0.5)
    with pytest.raises(KeyboardInterrupt):
        Infomap(n_init=20, quality="best", random_state=0).fit(long_search)
    assert time.perf_counter() - sent < 1.0
