"""Multiplicative steps: their closed forms, their bounds, and what they leave alone."""

import copy
import math
import re

import numpy as np
import pytest
import torch
from torch import nn

from kexue.optim import ExponentiatedGradient

GEOMETRIES = {
    "positive": {"geometry": "positive"},
    "simplex": {"geometry": "simplex"},
    "simplex, columns": {"geometry": "simplex", "dim": 0},
    "signed": {"geometry": "signed", "beta": 0.3},
    "signed, mass": {"geometry": "signed", "mass": 2.0},
    "signed, mass, columns": {"geometry": "signed", "mass": 3.0, "dim": -2},
}


def start(settings, shape=(4, 5), dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    value = torch.rand(shape, generator=generator, dtype=torch.float64) + 0.1
    dim = settings.get("dim", -1)
    if settings["geometry"] == "simplex":
        value /= value.sum(dim, keepdim=True)
    if settings["geometry"] == "signed":
        value = (value - 0.6) / 3
    return nn.Parameter(value.to(dtype))


def gradients(n, shape=(4, 5), seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((n, *shape), generator=generator, dtype=torch.float64)


def steps(optimizer, p, given):
    for g in given:
        p.grad = g.to(p.dtype).clone()
        optimizer.step()
    return p.detach()


# --- closed forms, for linear losses


def test_positive_is_the_exponential_of_the_sum():
    p = start({"geometry": "positive"})
    before, given = p.detach().clone(), gradients(50)
    found = steps(ExponentiatedGradient([p], lr=0.1), p, given)
    torch.testing.assert_close(found, before * torch.exp(-0.1 * given.sum(0)), rtol=1e-12, atol=0)


@pytest.mark.parametrize("dim", [-1, 0])
def test_simplex_is_the_softmax_of_the_sum(dim):
    p = start({"geometry": "simplex", "dim": dim})
    before, given = p.detach().clone(), gradients(50)
    found = steps(ExponentiatedGradient([p], lr=0.1, geometry="simplex", dim=dim), p, given)
    expected = torch.softmax(before.log() - 0.1 * given.sum(0), dim)
    assert (found - expected).abs().max() < 1e-12


@pytest.mark.parametrize("beta", [1.0, 0.03])
def test_signed_is_the_hyperbolic_sine_of_the_sum(beta):
    p, given = nn.Parameter(torch.zeros(4, 5, dtype=torch.float64)), gradients(50)
    found = steps(ExponentiatedGradient([p], lr=0.1, geometry="signed", beta=beta), p, given)
    expected = 2 * beta * torch.sinh(-0.1 * given.sum(0))
    assert ((found - expected).abs() <= 1e-10 * expected.abs().clamp_min(1)).all()


def test_signed_is_the_difference_of_two_positive_ones():
    p = start({"geometry": "signed"})
    plus, minus = (nn.Parameter(torch.empty_like(p)) for _ in range(2))
    root = (p.detach().square() + 4 * 0.3**2).sqrt()
    plus.data, minus.data = (root + p.data) / 2, (root - p.data) / 2
    pair = ExponentiatedGradient([plus, minus], lr=0.1)
    signed = ExponentiatedGradient([p], lr=0.1, geometry="signed", beta=0.3)
    for g in gradients(50):
        p.grad, plus.grad, minus.grad = g, g, -g
        signed.step()
        pair.step()
    torch.testing.assert_close(p.detach(), plus.detach() - minus.detach(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dim", [-1, 0])
def test_a_mass_makes_it_a_simplex_of_both_signs(dim):
    """With the 2 d weights of +-mass at the corners of a cross: Hedge on 2 d experts."""
    p, mass = start({"geometry": "signed"}), 4.0
    given = gradients(50)
    rest = (mass - p.detach().abs().sum(dim, keepdim=True)) / (2 * p.shape[dim])
    log = torch.cat([p.detach().clamp_min(0) + rest, (-p.detach()).clamp_min(0) + rest], dim).log()
    optimizer = ExponentiatedGradient([p], lr=0.1, geometry="signed", mass=mass, dim=dim)
    before = p.detach().clone()
    steps(optimizer, p, torch.zeros(1, 4, 5))
    torch.testing.assert_close(p.detach(), before, rtol=0, atol=1e-14)
    found = steps(optimizer, p, given)
    total = given.sum(0)
    parts = mass * torch.softmax(log - 0.1 * torch.cat([total, -total], dim), dim)
    plus, minus = parts.chunk(2, dim)
    torch.testing.assert_close(found, plus - minus, rtol=0, atol=1e-12)
    assert (found.abs().sum(dim) < mass).all()


@pytest.mark.parametrize("lr", [0.01, 0.1, 0.5])
def test_the_regret_bound(lr):
    """Hedge: at most log d / lr + lr T G^2 / 2 worse than the best coordinate in hindsight."""
    d, T, G = 10, 400, 1.0
    rng = np.random.default_rng(0)
    alternating = np.zeros((T, d))
    alternating[:, 0], alternating[::2, 0] = 1.0, -1.0
    for losses in (rng.uniform(-G, G, (T, d)), np.sign(rng.normal(size=(T, d))), alternating):
        p = nn.Parameter(torch.full((d,), 1 / d, dtype=torch.float64))
        optimizer = ExponentiatedGradient([p], lr=lr, geometry="simplex", max_log_step=10)
        suffered = 0.0
        for loss in losses:
            suffered += float(p.detach().numpy() @ loss)
            p.grad = torch.from_numpy(loss.copy())
            optimizer.step()
        assert suffered - losses.sum(0).min() <= math.log(d) / lr + lr * T * G**2 / 2


def test_momentum_is_that_of_sgd_on_the_logarithm():
    p = start({"geometry": "positive"})
    log = nn.Parameter(p.detach().log())
    ours = ExponentiatedGradient([p], lr=0.05, momentum=0.9)
    sgd = torch.optim.SGD([log], lr=0.05, momentum=0.9)
    for g in gradients(40) / 10:
        p.grad, log.grad = g, g
        ours.step()
        sgd.step()
    torch.testing.assert_close(p.detach(), log.detach().exp(), rtol=1e-12, atol=0)


def test_steps_are_bounded_and_constants_are_none_on_the_simplex():
    p = nn.Parameter(torch.ones(3, dtype=torch.float64))
    found = steps(ExponentiatedGradient([p], lr=1.0), p, [torch.tensor([5.0, -1e30, 0.5])])
    np.testing.assert_allclose(found.log(), [-1, 1, -0.5])
    p, q = (start({"geometry": "simplex"}) for _ in range(2))
    given = gradients(5)
    for one, shift in ((p, 0.0), (q, 1000.0)):
        steps(ExponentiatedGradient([one], lr=0.1, geometry="simplex"), one, given + shift)
    torch.testing.assert_close(p, q, rtol=1e-9, atol=0)


def test_non_negative_least_squares():
    from scipy.optimize import nnls

    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 8))
    y = X @ np.maximum(rng.normal(size=8), 0) + 0.1 * rng.normal(size=40)
    A, b = torch.from_numpy(X), torch.from_numpy(y)
    p = nn.Parameter(torch.ones(8, dtype=torch.float64))
    optimizer = ExponentiatedGradient([p], lr=0.5)
    for _ in range(5000):
        p.grad = A.T @ (A @ p.detach() - b) / 40
        optimizer.step()
    # coordinates that end at 0 go there geometrically
    np.testing.assert_allclose(p.detach().numpy(), nnls(X, y)[0], atol=1e-3)


# --- what cannot happen


@pytest.mark.parametrize(
    ("dtype", "momentum", "n_steps"),
    [(torch.float32, 0.0, 10_000), (torch.float32, 0.9, 1000), (torch.bfloat16, 0.0, 1000)],
    ids=str,
)
@pytest.mark.parametrize("name", GEOMETRIES)
def test_nothing_overflows_or_leaves(name, dtype, momentum, n_steps):
    """Gradients of 1e30 of both signs, the largest there are, zeros and denormals."""
    settings = GEOMETRIES[name]
    p = start(settings, dtype=dtype)
    optimizer = ExponentiatedGradient([p], lr=0.7, momentum=momentum, init="project", **settings)
    rng = np.random.default_rng(0)
    largest = torch.finfo(dtype).max
    kinds = torch.tensor([1e30, -1e30, largest, -largest, 0.0, 1e-42, -1e-42, 1.0], dtype=dtype)
    draws = torch.from_numpy(rng.integers(len(kinds), size=(n_steps, 4, 5)))
    draws[:500, 0] = 0  # long enough one way to meet the bound
    draws[:500, 1] = 1
    extremes = torch.zeros(2, dtype=torch.float32)
    for i, draw in enumerate(draws):
        p.grad = kinds[draw]
        optimizer.step()
        if i % 20:
            continue
        low, high = optimizer.state[p]["logarithm"].aminmax()
        extremes[0], extremes[1] = torch.minimum(extremes[0], low), torch.maximum(extremes[1], high)
    value = p.detach()
    assert torch.isfinite(value).all()
    assert extremes.abs().max() <= 80
    assert extremes[0] < -75
    if settings["geometry"] != "signed":
        assert (value > 0).all()
    if settings["geometry"] == "simplex":
        # of bfloat16, the rounding of five numbers
        off = (value.float().sum(settings.get("dim", -1)) - 1).abs().max()
        assert off < (1e-6 if dtype == torch.float32 else 0.01)
    if "mass" in settings:
        sums = value.float().abs().sum(settings.get("dim", -1))
        assert (sums <= settings["mass"] * (1.001 if dtype == torch.float32 else 1.01)).all()


def test_from_the_bound_there_is_a_way_back():
    p = nn.Parameter(torch.ones(2))
    optimizer = ExponentiatedGradient([p], lr=1.0)
    steps(optimizer, p, [torch.tensor([1e30, -1e30])] * 200)
    np.testing.assert_allclose(p.detach().log(), [-80, 80], rtol=1e-6)
    steps(optimizer, p, [torch.tensor([-1e30, 1e30])] * 80)
    np.testing.assert_allclose(p.detach(), [1, 1], rtol=1e-4)


def test_narrow_parameters_lose_no_small_steps():
    p = nn.Parameter(torch.ones(1, dtype=torch.bfloat16))
    steps(ExponentiatedGradient([p], lr=1e-4), p, [torch.ones(1)] * 5000)
    assert float(p.detach()) == pytest.approx(math.exp(-0.5), rel=1e-2)
    half = nn.Parameter(torch.ones(1, dtype=torch.float16))
    steps(ExponentiatedGradient([half], lr=1.0), half, [-torch.ones(1)] * 100)
    assert torch.isfinite(half).all()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_gradients_that_are_not_finite_skip_the_step(bad):
    p, q = start({"geometry": "positive"}), nn.Parameter(torch.ones(2))
    optimizer = ExponentiatedGradient([p, q], lr=0.1, momentum=0.5)
    steps(optimizer, p, gradients(3))
    before = p.detach().clone()
    p.grad, q.grad = torch.ones_like(p), torch.tensor([1.0, bad])
    optimizer.step()
    assert torch.equal(p, before)
    assert torch.equal(q, torch.ones(2))
    assert optimizer.skipped_ == 1


# --- as any optimizer of torch


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", GEOMETRIES)
def test_going_on_from_a_state(name, dtype):
    settings = GEOMETRIES[name]
    p = start(settings, dtype=dtype)
    q = nn.Parameter(p.detach().clone())
    one, other = (
        ExponentiatedGradient([x], lr=0.01, momentum=0.5, init="project", **settings)
        for x in (p, q)
    )
    given = gradients(60)
    steps(one, p, given[:30])
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    q.data.copy_(p.data)
    assert torch.equal(steps(one, p, given[30:]), steps(other, q, given[30:]))


@pytest.mark.parametrize("name", GEOMETRIES)
def test_a_value_from_outside_is_taken_over(name):
    settings = GEOMETRIES[name]
    p, other = start(settings), start(settings, seed=7)
    optimizer = ExponentiatedGradient([p], lr=0.01, **settings)
    given = gradients(20)
    steps(optimizer, p, given[:10])
    p.data.copy_(other.data)
    fresh = steps(ExponentiatedGradient([other], lr=0.01, **settings), other, given[10:])
    assert torch.equal(steps(optimizer, p, given[10:]), fresh)


def test_a_value_outside_the_geometry_is_brought_in():
    p = nn.Parameter(torch.ones(3))
    optimizer = ExponentiatedGradient([p], lr=0.1)
    steps(optimizer, p, [torch.zeros(3)])
    p.data.copy_(torch.tensor([-5.0, 0.0, 2.0]))
    found = steps(optimizer, p, [torch.zeros(3)])
    torch.testing.assert_close(found, torch.tensor([1e-12, 1e-12, 2.0]), rtol=1e-5, atol=0)


def test_groups_closures_and_schedules():
    weights = nn.Parameter(torch.full((4,), 0.25))
    widths = nn.Parameter(torch.ones(4))
    optimizer = ExponentiatedGradient(
        [{"params": [weights], "geometry": "simplex"}, {"params": [widths], "lr": 0.5}], lr=0.1
    )
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 10, 0.5)

    def closure():
        optimizer.zero_grad()
        loss = (weights * torch.arange(4.0)).sum() + (widths - 2).square().sum()
        loss.backward()
        return loss

    first = closure().item()
    for _ in range(30):
        last = optimizer.step(closure)
        schedule.step()
    assert last < first
    assert weights.sum().item() == pytest.approx(1, abs=1e-6)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.0125)
    optimizer.add_param_group({"params": [nn.Parameter(torch.ones(1))]})
    with pytest.raises(ValueError, match="must be positive"):
        optimizer.add_param_group({"params": [nn.Parameter(-torch.ones(1))]})
    assert len(optimizer.param_groups) == 3


@pytest.mark.parametrize("name", [name for name in GEOMETRIES if not name.startswith("signed")])
def test_projected_starts(name):
    settings = GEOMETRIES[name]
    p = nn.Parameter(torch.tensor([[0.0, 2.0], [-1.0, 2.0]]))
    ExponentiatedGradient([p], lr=0.1, init="project", **settings)
    assert (p > 0).all()
    if settings["geometry"] == "simplex":
        torch.testing.assert_close(p.detach().sum(settings.get("dim", -1)), torch.ones(2))
    else:
        expected = torch.tensor([[1e-12, 2.0], [1e-12, 2.0]])
        torch.testing.assert_close(p.detach(), expected, rtol=1e-5, atol=0)


# --- bad inputs


@pytest.mark.parametrize(
    ("error", "message", "value", "settings"),
    [
        (ValueError, "parameter 0 of group 0 must be positive, for what is 0 stays 0, got 0;",
         [1.0, 0.0], {}),
        (ValueError, "must be positive, for what is 0 stays 0, got -2; give other values, or init",
         [1.0, -2.0], {}),
        (ValueError, "must have rows along dim -1 that sum to 1, got the sum 0.9;", [0.5, 0.4],
         {"geometry": "simplex"}),
        (ValueError, "must be positive", [1.0, 0.0], {"geometry": "simplex"}),
        (ValueError, "absolute values sum to less than the mass 1.0, got 1.5;", [-1.0, 0.5],
         {"geometry": "signed", "mass": 1.0}),
        (ValueError, "dim must be a dimension of parameter 0 of group 0, of shape (2,), got 1",
         [0.5, 0.5], {"geometry": "simplex", "dim": 1}),
        (ValueError, "must be finite", [1.0, float("nan")], {}),
        (TypeError, "must be real and floating-point, got torch.complex64", [1j], {}),
        (ValueError, "lr must be a finite number >= 0, got -1", [1.0], {"lr": -1}),
        (ValueError, "geometry must be one of 'positive', 'simplex', 'signed', got 'ball'", [1.0],
         {"geometry": "ball"}),
        (ValueError, "mass is for geometry='signed', got it with 'positive'", [1.0], {"mass": 1.0}),
        (ValueError, "mass must be > 0, got 0", [1.0], {"geometry": "signed", "mass": 0}),
        (TypeError, "dim must be an int, got 0.5", [1.0], {"dim": 0.5}),
        (ValueError, "beta must be > 0, got 0", [1.0], {"beta": 0}),
        (ValueError, "max_log_step must be > 0, got 0", [1.0], {"max_log_step": 0}),
        (ValueError, "momentum must be a number in [0, 1), got 1", [1.0], {"momentum": 1}),
        (ValueError, "init must be one of 'strict', 'project', got 'clip'", [1.0],
         {"init": "clip"}),
    ],
)  # fmt: skip
def test_bad_inputs(error, message, value, settings):
    p = nn.Parameter(torch.tensor(value))
    with pytest.raises(error, match=re.escape(message)):
        ExponentiatedGradient([p], **{"lr": 0.1, **settings})


def test_parameters_are_named_where_names_are_known():
    layer = nn.Linear(2, 2)
    nn.init.constant_(layer.weight, -1)
    with pytest.raises(ValueError, match="parameter weight must be positive"):
        ExponentiatedGradient(layer.named_parameters(), lr=0.1)


def test_sparse_gradients_are_refused():
    table = nn.Embedding(3, 2, sparse=True)
    nn.init.ones_(table.weight)
    optimizer = ExponentiatedGradient(table.parameters(), lr=0.1)
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(TypeError, match="ExponentiatedGradient does not take sparse gradients"):
        optimizer.step()
