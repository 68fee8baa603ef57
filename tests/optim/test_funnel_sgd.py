"""The paper's recurrences, step by step, and SGD where nothing is learned."""

import copy
import re

import numpy as np
import pytest
import torch
from torch import nn

from kexue.optim import FunnelSGD


def parameters(seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    shapes = ((4, 3), (4,))
    return [
        nn.Parameter(torch.randn(s, generator=generator, dtype=torch.float64).to(dtype))
        for s in shapes
    ]


def slopes(params):
    """Gradients of quadratics and sines, the same for tensors and arrays."""
    return [
        2 * (i + 1) * p + (p.cos() if isinstance(p, torch.Tensor) else np.cos(p))
        for i, p in enumerate(params)
    ]


def step(optimizer, params, unit=1.0):
    for p, g in zip(params, slopes([p.detach() for p in params]), strict=True):
        p.grad = unit * g
    optimizer.step()


def reference(params, n_steps, lr, mu, beta, rate, gain_rate, normalize):
    """Section 3 of the method's card, term by term."""
    theta = [p.detach().numpy().copy() for p in params]
    m, h = ([np.zeros_like(x) for x in theta] for _ in range(2))
    p, s = [np.ones_like(x) for x in theta], 1.0
    path = []
    for _ in range(n_steps):
        g = slopes(theta)
        for i in range(len(theta)):
            product = m[i] * g[i]
            size = np.abs(m[i]).max() * np.abs(g[i]).max() if normalize else 1.0
            p[i] = p[i] * np.exp(gain_rate * product / (size if size > 0 else 1.0))
        inner = sum((a * b).sum() for a, b in zip(h, g, strict=True))
        if normalize:
            lengths = [np.sqrt(sum((a**2).sum() for a in x)) for x in (h, g)]
            inner = inner / np.prod(lengths) if all(lengths) else 0.0
        s = s * np.exp(rate * inner)
        for i in range(len(theta)):
            m[i] = beta * m[i] + (1 - beta) * g[i]
            h[i] = mu * h[i] + lr * p[i] * g[i]
            theta[i] = theta[i] - s * h[i]
        path.append(s)
    return theta, p, path


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize(("rate", "gain_rate"), [(0.02, 0.03), (0.02, 0.0), (0.0, 0.03)])
@pytest.mark.parametrize("mu", [0.0, 0.9])
def test_the_recurrences_of_the_paper(mu, rate, gain_rate, normalize):
    params = parameters()
    theta, gains, path = reference(params, 60, 0.01, mu, 0.8, rate, gain_rate, normalize)
    optimizer = FunnelSGD(params, 0.01, mu, 0.8, rate, gain_rate, normalize)
    found = []
    for _ in range(60):
        step(optimizer, params)
        found.append(optimizer.scale)
    np.testing.assert_allclose(found, path, rtol=1e-10)
    for p, expected, gain in zip(params, theta, gains, strict=True):
        np.testing.assert_allclose(p.detach(), expected, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(optimizer.gains(p), gain, rtol=1e-9)
    assert rate == 0 or max(abs(np.log(path))) > 0.01


def test_with_nothing_to_learn_it_is_sgd():
    ours, theirs = parameters(), parameters()
    optimizer = FunnelSGD(ours, lr=0.02, rate=0.0, gain_rate=0.0)
    sgd = torch.optim.SGD(theirs, lr=0.02, momentum=0.9)
    for _ in range(50):
        step(optimizer, ours)
        step(sgd, theirs)
    for p, q in zip(ours, theirs, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-14)
    assert optimizer.scale == 1


def test_the_unit_of_the_loss_does_not_matter():
    """With the rate divided by the same factor."""
    paths = []
    for unit in (1.0, 1e6):
        params = parameters()
        optimizer = FunnelSGD(params, lr=0.01 / unit, rate=0.05, gain_rate=0.05)
        path = []
        for _ in range(60):
            step(optimizer, params, unit)
            path.append(optimizer.scale)
        paths.append(path)
    np.testing.assert_allclose(paths[0], paths[1], rtol=1e-8)
    assert np.ptp(paths[0]) > 0.1


@pytest.mark.parametrize(("lr", "momentum"), [(1e-4, 0.0), (1e-4, 0.9), (0.3, 0.0)])
def test_the_scale_finds_its_way_on_a_quadratic(lr, momentum):
    """Curvatures 1 to 10, best fixed step 2 / 11 = 0.18: up from far below, down from above."""
    curvature = torch.logspace(0, 1, 20, dtype=torch.float64)
    torch.manual_seed(0)
    p = nn.Parameter(torch.randn(20, dtype=torch.float64))
    optimizer = FunnelSGD([p], lr, momentum)
    for _ in range(3000):
        p.grad = curvature * p.detach()
        optimizer.step()
        if float(p.detach().norm()) < 1e-30:
            break
    assert float(p.detach().norm()) < 1e-4
    assert optimizer.scale > 10 if lr < 0.1 else optimizer.scale < 1


def test_gradients_that_are_not_finite_skip_the_step():
    params = parameters()
    optimizer = FunnelSGD(params, lr=0.01, rate=0.1)
    for _ in range(5):
        step(optimizer, params)
    before, scale = [p.detach().clone() for p in params], optimizer.scale
    for p, value in zip(params, (1.0, float("nan")), strict=True):
        p.grad = torch.full_like(p, value)
    optimizer.step()
    assert all(torch.equal(p, q) for p, q in zip(params, before, strict=True))
    assert (optimizer.scale, optimizer.skipped_) == (scale, 1)
    step(optimizer, params)
    assert optimizer.skipped_ == 1
    assert not torch.equal(params[0], before[0])


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_going_on_from_a_state(dtype):
    params, others = parameters(dtype=dtype), parameters(5, dtype=dtype)
    one, other = (FunnelSGD(p, lr=0.01, rate=0.05, gain_rate=0.05) for p in (params, others))
    for _ in range(13):
        step(one, params)
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    with torch.no_grad():
        for p, q in zip(params, others, strict=True):
            q.copy_(p)
    for _ in range(20):
        step(one, params)
        step(other, others)
    assert one.scale == other.scale != 1
    for p, q in zip(params, others, strict=True):
        assert torch.equal(p, q)
        assert torch.equal(one.gains(p), other.gains(q))
        assert one.gains(p).dtype != torch.bfloat16


def test_a_scale_for_each_group():
    slow, fast = parameters()[1], parameters(1)[1]
    optimizer = FunnelSGD(
        [{"params": [slow], "lr": 1e-4}, {"params": [fast]}], lr=0.9, momentum=0.0, per_group=True
    )
    for _ in range(100):
        for p in (slow, fast):
            p.grad = 2 * p.detach()
        optimizer.step()
    assert optimizer.scales_[0] > 2
    assert optimizer.scales_[1] < 0.8


# --- bad inputs


@pytest.mark.parametrize(
    ("error", "message", "settings"),
    [
        (ValueError, "lr must be a finite number >= 0, got -1", {"lr": -1}),
        (ValueError, "momentum must be a number in [0, 1), got 1", {"momentum": 1}),
        (ValueError, "beta must be a number in [0, 1), got 1.0", {"beta": 1.0}),
        (ValueError, "rate must be a finite number >= 0, got -1", {"rate": -1}),
        (ValueError, "gain_rate must be a finite number >= 0, got -1", {"gain_rate": -1}),
        (TypeError, "normalize must be a bool, got 1", {"normalize": 1}),
        (ValueError, "0 < low <= 1 <= high, got (2, 3)", {"bounds": (2, 3)}),
    ],
)
def test_bad_inputs(error, message, settings):
    with pytest.raises(error, match=re.escape(message)):
        FunnelSGD(parameters(), **{"lr": 0.1, **settings})


def test_bad_groups_are_not_added():
    optimizer = FunnelSGD(parameters(), lr=0.1)
    with pytest.raises(ValueError, match="momentum must be"):
        optimizer.add_param_group({"params": parameters(1), "momentum": 2})
    assert len(optimizer.param_groups) == 1


def test_gradients_that_it_does_not_take():
    table = nn.Embedding(3, 2, sparse=True)
    optimizer = FunnelSGD(table.parameters(), lr=0.1)
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(TypeError, match="FunnelSGD does not take sparse gradients"):
        optimizer.step()
    p = nn.Parameter(torch.ones(2, dtype=torch.complex64))
    p.grad = torch.ones(2, dtype=torch.complex64)
    with pytest.raises(TypeError, match="FunnelSGD does not take complex gradients"):
        FunnelSGD([p], lr=0.1).step()
