"""The bare engine: what F is, that it falls, and that a run can be taken up where it stood."""

import numpy as np
import pytest

from kexue._core import InputError
from kexue.mixture import Acceleration, Restart, expectation_maximization, free_energy


def toy(seed=0, values=6, states=3):
    """A discrete world: p~(x), any q(z|x), any p(x, z)."""
    rng = np.random.default_rng(seed)
    joint = rng.dirichlet(np.ones(values * states)).reshape(values, states)
    return rng.dirichlet(np.ones(values)), rng.dirichlet(np.ones(states), values), joint


@pytest.mark.parametrize("seed", range(5))
def test_free_energy_is_the_divergence_of_the_joint_distributions(seed):
    data, q, joint = toy(seed)
    divergence = (data[:, None] * q * np.log(data[:, None] * q / joint)).sum()
    entropy = -(data * np.log(data)).sum()
    f = free_energy(q, np.log(joint), data)
    assert f - entropy == pytest.approx(divergence, abs=1e-12)
    # F less the gap is the negative log-likelihood, whatever q
    evidence = joint.sum(1)
    gap = (data[:, None] * q * np.log(q * evidence[:, None] / joint)).sum()
    assert gap > 0.01
    assert divergence - gap == pytest.approx(-data @ np.log(evidence) - entropy, abs=1e-12)
    assert f - gap == pytest.approx(-data @ np.log(evidence), abs=1e-12)


def test_free_energy_of_certainty():
    assert free_energy([[1.0, 0.0]], [[-2.0, -np.inf]]) == 2.0
    with pytest.raises(InputError, match=r"one shape \(n, K\), got \(2,\) and \(2,\)"):
        free_energy([1, 0], [1, 0])


def linear(rate):
    """A map with the fixed point 0 that shrinks by `rate`, along which F falls."""
    calls = []

    def e_step(theta):
        calls.append(theta)
        return theta, float((theta**2).sum())

    return e_step, lambda theta: rate * theta, calls


def test_plain_steps_are_those_of_the_map():
    e_step, m_step, calls = linear(np.array([0.5]))
    result = expectation_maximization(
        m_step, e_step, np.array([1.0]), max_iter=4, tol=0, accelerate=False
    )
    assert np.ravel(calls).tolist() == [1, 0.5, 0.25, 0.125]
    assert result.path.tolist() == [1, 0.25, 0.0625, 0.015625]
    assert (result.n_iter, result.converged, result.acceleration) == (4, False, None)


def test_one_extrapolation_solves_what_shrinks_at_one_rate():
    e_step, m_step, calls = linear(np.array([0.9, 0.9]))
    result = expectation_maximization(
        m_step, e_step, np.array([3.0, -1.0]), tol=1e-12, accelerate=Acceleration(0, 100.0)
    )
    assert np.abs(result.theta).max() < 1e-12
    assert len(calls) < 6


@pytest.mark.parametrize("seed", range(3))
def test_acceleration_needs_fewer_steps_and_never_rises(seed):
    rates = np.append(np.random.default_rng(seed).uniform(0.3, 0.99, 7), 0.997)
    steps = {}
    for accelerate in (False, True):
        e_step, m_step, _ = linear(rates)
        result = expectation_maximization(
            m_step, e_step, np.ones(8), max_iter=20_000, tol=1e-12, accelerate=accelerate
        )
        assert result.converged
        assert (np.diff(result.path) <= 0).all()
        steps[accelerate] = result.n_iter
    assert steps[True] < steps[False] / 5


def test_extrapolations_that_fail_are_taken_back():
    """F is without bound where only an extrapolation gets to."""
    e_step, m_step, _ = linear(np.array([0.9, 0.1]))
    tried = []

    def walled(theta):
        tried.append(theta)
        found, f = e_step(theta)
        return found, f if len(tried) % 3 else np.inf

    result = expectation_maximization(
        m_step, walled, np.ones(2), tol=0, max_iter=30, accelerate=Acceleration(0, 4.0)
    )
    assert np.isfinite(result.path).all()
    assert (np.diff(result.path) <= 0).all()
    assert result.free_energy == result.path[-1] == pytest.approx((result.theta**2).sum())


def test_a_run_goes_on_from_what_its_callback_was_told():
    rates = np.array([0.99, 0.9, 0.5])

    def run(theta, state, callback=None):
        e_step, m_step, _ = linear(rates)
        return expectation_maximization(
            m_step, e_step, theta, tol=1e-14, accelerate=state, callback=callback
        )

    told = []
    whole = run(np.ones(3), True, lambda progress: told.append(progress) and False)
    assert len(told) > 10
    for progress in told[::3]:
        again = run(progress.theta, progress.acceleration)
        assert again.theta.tobytes() == whole.theta.tobytes()
    stopped = run(np.ones(3), True, lambda progress: progress.n_iter > 8)
    assert 8 < stopped.n_iter < whole.n_iter
    assert not stopped.converged


def test_a_restart_may_rise():
    e_step, m_step, _ = linear(np.array([0.5]))
    n = iter(range(100))
    result = expectation_maximization(
        lambda theta: Restart(np.array([5.0])) if next(n) == 2 else m_step(theta),
        e_step, np.array([1.0]), tol=1e-6,
    )  # fmt: skip
    assert result.restarts == [3]
    assert result.path[3] == 25
    assert result.converged
    assert (np.diff(result.path[3:]) <= 0).all()


def test_parameters_of_any_kind_are_packed():
    e_step, m_step, _ = linear(np.array([0.9]))
    result = expectation_maximization(
        lambda found: {"x": m_step(found)}, lambda theta: e_step(theta["x"]), {"x": np.ones(1)},
        pack=lambda theta: theta["x"], unpack=lambda vector: {"x": vector},
    )  # fmt: skip
    assert abs(result.theta["x"][0]) < 1e-3


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"max_iter": 0}, InputError, "max_iter must be an int >= 1, got 0"),
        ({"tol": -1}, InputError, "tol must be a finite number >= 0, got -1"),
        ({"accelerate": 1}, TypeError, "accelerate must be a bool or an Acceleration, got 1"),
        ({"pack": np.asarray}, InputError, "pack and unpack must be given together"),
        ({"theta0": {}}, InputError, "acceleration needs theta0 as an array, or pack and unpack"),
        ({"theta0": np.full(1, np.nan)}, InputError, "F must be finite at theta0, got nan"),
    ],
)
def test_bad_arguments(arguments, error, message):
    e_step, m_step, _ = linear(np.array([0.9]))
    arguments = {"m_step": m_step, "e_step": e_step, "theta0": np.ones(1)} | arguments
    with pytest.raises(error, match=message):
        expectation_maximization(**arguments)
