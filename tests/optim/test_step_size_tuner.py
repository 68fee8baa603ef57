"""The step size that learns itself: its gradient, its fixed points, and where it ends."""

import copy
import math
import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, RMSprop

from kexue.optim import (
    Accumulate,
    ExponentiatedGradient,
    LayerAdaptation,
    Lazy,
    Lookahead,
    PiecewiseLinear,
    StepSizeTuner,
    WeightDecay,
    derive,
)

BASES = {
    "SGD": lambda p: SGD(p, lr=0.02),
    "SGD, momentum": lambda p: SGD(p, lr=0.02, momentum=0.9),
    "Adam": lambda p: Adam(p, lr=0.02),
    "AdamW": lambda p: AdamW(p, lr=0.02, weight_decay=0.3),
}
RAW = {"rate": 1e-3, "normalize": False}


def parameters(seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = ((4, 3), (4,))
    return [nn.Parameter(torch.randn(s, generator=generator, dtype=torch.float64)) for s in shapes]


def loss_of(params):
    return sum((p.square() * (i + 1) + p.sin()).sum() for i, p in enumerate(params))


def step(optimizer, params):
    optimizer.zero_grad()
    loss_of(params).backward()
    optimizer.step()


@pytest.mark.parametrize("base", BASES)
def test_the_scale_s_gradient_is_that_of_finite_differences(base):
    """The change of log s, over the rate, is minus the derivative of the new loss by s."""
    params = parameters()
    optimizer = derive(BASES[base](params), StepSizeTuner(**RAW))
    for _ in range(5):
        step(optimizer, params)
    before = [p.detach().clone() for p in params]
    for p in params:
        p.grad = None
    loss_of(params).backward()
    gradients = [p.grad.clone() for p in params]
    optimizer.step()
    scale, after = optimizer.scale, [p.detach().clone() for p in params]
    group = optimizer.param_groups[0]
    decay = group["lr"] * scale * group["weight_decay"] if base == "AdamW" else 0.0
    moves = [(b * (1 - decay) - a) / scale for a, b in zip(after, before, strict=True)]
    h, losses = 1e-6, []
    for sign in (1, -1):
        moved = [a - sign * h * m for a, m in zip(after, moves, strict=True)]
        losses.append(float(loss_of(moved)))
    expected = -(losses[0] - losses[1]) / (2 * h)
    step(optimizer, params)
    found = math.log(optimizer.scale / scale) / 1e-3
    assert found == pytest.approx(expected, rel=1e-6)
    assert gradients[0].abs().max() > 0


def test_the_gains_gradient_is_the_paper_s_product():
    """p <- p exp(rate m g), with m the running mean of the gradients before."""
    params = parameters()
    optimizer = derive(
        SGD(params, lr=0.01), StepSizeTuner(rate=0.0, gain_rate=0.01, beta=0.8, normalize=False)
    )
    plain = [p.detach().clone() for p in params]
    mean, gain = ([torch.zeros_like(p) for p in plain] for _ in range(2))
    for _ in range(20):
        step(optimizer, params)
        for i, p in enumerate(plain):
            q = p.clone().requires_grad_()
            (g,) = torch.autograd.grad((q.square() * (i + 1) + q.sin()).sum(), q)
            gain[i] = gain[i] + 0.01 * mean[i] * g
            mean[i] = 0.8 * mean[i] + 0.2 * g
            plain[i] = p - 0.01 * gain[i].exp() * g
    for p, q, log_gain in zip(params, plain, gain, strict=True):
        torch.testing.assert_close(p.detach(), q, rtol=1e-12, atol=1e-13)
        torch.testing.assert_close(optimizer.gains(p), log_gain.exp(), rtol=1e-12, atol=0)


@pytest.mark.parametrize("base", [*BASES, "RMSprop"])
def test_a_rate_of_zero_is_the_base_bit_for_bit(base):
    make = BASES.get(base, lambda p: RMSprop(p, lr=0.01))
    ours, theirs = parameters(), parameters()
    tuned, plain = derive(make(ours), StepSizeTuner(rate=0.0)), make(theirs)
    for _ in range(50):
        step(tuned, ours)
        step(plain, theirs)
    assert all(torch.equal(p, q) for p, q in zip(ours, theirs, strict=True))
    assert tuned.scale == 1


@pytest.mark.parametrize("gain_rate", [0.0, 0.01])
@pytest.mark.parametrize(
    "make",
    [
        lambda p, unit: SGD(p, lr=0.01 / unit, momentum=0.5),
        lambda p, unit: Adam(p, lr=0.01, eps=0),
    ],
    ids=["SGD", "Adam"],
)
def test_the_unit_of_the_loss_does_not_matter(make, gain_rate):
    paths = []
    for unit in (1.0, 1e6):
        params = parameters()
        optimizer = derive(make(params, unit), StepSizeTuner(0.05, gain_rate))
        path = []
        for _ in range(60):
            optimizer.zero_grad()
            (unit * loss_of(params)).backward()
            optimizer.step()
            path.append(optimizer.scale)
        paths.append(path)
    np.testing.assert_allclose(paths[0], paths[1], rtol=1e-9)
    assert max(paths[0]) > 1.5


def test_scales_stay_within_their_bounds():
    p = nn.Parameter(torch.zeros(1))
    optimizer = derive(SGD([p], lr=1e-3), StepSizeTuner(1.0, bounds=(0.1, 7.0)))
    for sign, end in ((1, 7.0), (-1, 0.1)):
        for i in range(30):
            p.grad = torch.tensor([1.0 if sign > 0 else (-1.0) ** i])
            optimizer.step()
        assert optimizer.scale == pytest.approx(end)
    gains = derive(SGD([p], lr=1e-3), StepSizeTuner(0.0, gain_rate=1.0))
    for _ in range(30):
        p.grad = torch.ones(1)
        gains.step()
    assert gains.gains(p).item() == 100


def test_decay_has_no_part_in_the_move():
    """Without a gradient in sight of the parameters, decay alone moves them: no alignment."""
    for make in (lambda p: AdamW(p, lr=0.1), lambda p: SGD(p, lr=0.1)):
        params = parameters()
        optimizer = derive(make(params), WeightDecay(0.5, None), StepSizeTuner(0.1))
        for _ in range(5):
            for p in params:
                p.grad = torch.zeros_like(p)
            optimizer.step()
        for p in params:
            p.grad = p.detach().clone()
        optimizer.step()
        assert optimizer.scale == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("adaptation", [False, True])
@pytest.mark.parametrize("gain_rate", [0.0, 0.02])
def test_the_move_is_what_was_moved(adaptation, gain_rate):
    params = parameters()
    addons = [LayerAdaptation(None)] if adaptation else []
    optimizer = derive(
        Adam(params, lr=0.01), StepSizeTuner(0.1, gain_rate), WeightDecay(0.2, None), *addons
    )
    for _ in range(5):
        before = [p.detach().clone() for p in params]
        step(optimizer, params)
    lr = 0.01 * optimizer.scale
    for p, old in zip(params, before, strict=True):
        own = optimizer.state[p]
        first = own["exp_avg"] / (1 - 0.9**5)
        base = first / ((own["exp_avg_sq"] / (1 - 0.999**5)).sqrt() + 1e-8)
        gain = optimizer.gains(p)
        whole = lr * gain * (base + 0.2 * old)
        ratio = lr * old.norm() / whole.norm() if adaptation else 1.0
        torch.testing.assert_close(old - p.detach(), ratio * whole, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(own["move"], ratio * lr * gain * base, rtol=1e-8, atol=1e-12)


def test_only_updates_count_and_pulls_are_no_moves():
    """Windows of one gradient four times, and Lookahead with alpha 1: as the tuner alone."""
    scales = []
    for addons, times in (
        ([], 1),
        ([Accumulate(4)], 4),
        ([Lookahead(2, 1.0)], 1),
        ([PiecewiseLinear({1: 1})], 1),
    ):
        params = parameters()
        optimizer = derive(SGD(params, lr=0.01), StepSizeTuner(0.05), *addons)
        for _ in range(30):
            for _ in range(times):
                step(optimizer, params)
        scales.append(optimizer.scale)
    np.testing.assert_allclose(scales, scales[0], rtol=1e-9)
    pulled = derive(SGD(parameters(), lr=0.01), StepSizeTuner(0.05), Lookahead(1, 0.0))
    params = [p for group in pulled.param_groups for p in group["params"]]
    for _ in range(10):  # never leaves the start; the moves are downhill all the same
        step(pulled, params)
    assert pulled.scale == pytest.approx(math.exp(9 * 0.05))


def test_a_scale_for_each_group():
    slow, fast = parameters()[1], parameters(1)[1]
    optimizer = derive(
        SGD([{"params": [slow], "lr": 1e-4}, {"params": [fast], "lr": 3.0}]),
        StepSizeTuner(0.05, per_group=True),
    )
    for _ in range(40):
        optimizer.zero_grad()
        (slow.square().sum() + fast.square().sum()).backward()
        optimizer.step()
    assert optimizer.scales_[0] > 2
    assert optimizer.scales_[1] < 0.8


def test_gradients_that_are_not_finite_skip_the_update():
    params = parameters()
    optimizer = derive(Adam(params, lr=0.1), StepSizeTuner(0.1), Accumulate(2))
    for _ in range(6):
        step(optimizer, params)
    before, scale = [p.detach().clone() for p in params], optimizer.scale
    for value in (float("nan"), 1.0):
        for p in params:
            p.grad = torch.full_like(p, value)
        optimizer.step()
    assert all(torch.equal(p, q) for p, q in zip(params, before, strict=True))
    assert (optimizer.scale, optimizer.skipped_, optimizer.updates) == (scale, 1, 3)
    for _ in range(2):
        step(optimizer, params)
    assert optimizer.updates == 4
    first = derive(Adam(parameters(), lr=0.1), StepSizeTuner())
    p = first.param_groups[0]["params"][0]
    p.grad = torch.full_like(p, float("inf"))
    first.step()
    assert first.skipped_ == 1


def test_going_on_from_a_state():
    params, others = parameters(), parameters(5)
    addons = [StepSizeTuner(0.05, 0.05), Lookahead(3), Accumulate(2), WeightDecay(0.1, None)]
    one, other = derive(Adam(params, lr=0.01), *addons), derive(Adam(others, lr=0.01), *addons)
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


def test_narrow_parameters_keep_wide_gains():
    p = nn.Parameter(torch.ones(8, dtype=torch.bfloat16))
    optimizer = derive(SGD([p], lr=0.1), StepSizeTuner(0.1, 0.1))
    for _ in range(5):
        p.grad = p.detach().clone()
        optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
    assert optimizer.gains(p).dtype == torch.float32
    assert 0 < p.mean() < 1


def test_lazy_tables_are_scaled_but_do_not_vote():
    table = nn.Embedding(5, 2, sparse=True)
    body = nn.Parameter(torch.ones(2))
    optimizer = derive(SGD([table.weight, body], lr=0.01), StepSizeTuner(0.1), Lazy([table]))
    for _ in range(10):
        optimizer.zero_grad()
        before = table.weight.detach().clone()
        (table(torch.tensor([1])) * 3 + body.square()).sum().backward()
        optimizer.step()
    assert optimizer.scale > 2
    moved = (before - table.weight.detach())[1, 0].item()
    assert moved == pytest.approx(0.03 * optimizer.scale, rel=1e-4)
    assert "move" not in optimizer.state[table.weight]


# --- where it ends


@pytest.mark.parametrize("factor", [1e-4, 1e-2, 1.0, 3.0])
@pytest.mark.parametrize("condition", [10.0, 100.0])
def test_quadratics(condition, factor):
    """From any start, three times the best fixed step with it, which alone diverges."""
    curvature = torch.logspace(0, math.log10(condition), 20, dtype=torch.float64)
    best = 2 / (1 + condition)
    torch.manual_seed(0)
    p = nn.Parameter(torch.randn(20, dtype=torch.float64))
    start = float(p.detach().norm())
    optimizer = derive(SGD([p], lr=factor * best), StepSizeTuner(0.01))
    steps = []
    for _ in range(3000):
        optimizer.zero_grad()
        (0.5 * curvature * p.square()).sum().backward()
        optimizer.step()
        steps.append(optimizer.scale * factor)
    assert 0.4 <= np.median(steps[1500:]) <= 1.5
    assert float(p.detach().norm()) < 1e-6 * start


@pytest.fixture(scope="module")
def digits():
    from sklearn.datasets import load_digits

    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    x = torch.from_numpy(data.data[order] / 16).float()
    y = torch.from_numpy(data.target[order]).long()
    return x, y


def train_digits(digits, lr, tuner, n_steps, seed=0):
    """Train an MLP of 64-64-10; return its optimizer and its loss on all digits."""
    x, y = digits
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = derive(SGD(model.parameters(), lr=lr), *([tuner] if tuner else []))
    generator = torch.Generator().manual_seed(seed)
    for _ in range(n_steps):
        rows = torch.randint(len(x), (64,), generator=generator)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
        optimizer.step()
    with torch.no_grad():
        return optimizer, float(nn.functional.cross_entropy(model(x), y))


def test_the_scale_finds_its_way_on_digits(digits):
    """Up where the rate is too small and down where it is too large; losses below plain ones."""
    small, loss_small = train_digits(digits, 0.001, StepSizeTuner(0.01), 500)
    large, _ = train_digits(digits, 1.0, StepSizeTuner(0.01), 500)
    assert small.scale > 5
    assert large.scale < 0.6
    _, plain = train_digits(digits, 0.001, None, 500)
    assert loss_small < plain
    _, with_gains = train_digits(digits, 0.001, StepSizeTuner(0.01, 0.01), 500)
    assert with_gains < plain


# --- bad inputs


@pytest.mark.parametrize(
    ("error", "message", "make"),
    [
        (ValueError, "rate must be a finite number >= 0, got -1", lambda: StepSizeTuner(-1)),
        (ValueError, "gain_rate must be a finite number", lambda: StepSizeTuner(gain_rate=-1)),
        (ValueError, "beta must be a number in [0, 1), got 1", lambda: StepSizeTuner(beta=1)),
        (TypeError, "normalize must be a bool, got 1", lambda: StepSizeTuner(normalize=1)),
        (TypeError, "bounds must be two numbers, got 3", lambda: StepSizeTuner(bounds=3)),
        (ValueError, "0 < low <= 1 <= high, got (2, 3)", lambda: StepSizeTuner(bounds=(2, 3))),
    ],
)
def test_bad_inputs(error, message, make):
    with pytest.raises(error, match=re.escape(message)):
        make()


def test_gradients_that_it_does_not_take():
    table = nn.Embedding(3, 2, sparse=True)
    optimizer = derive(SGD(table.parameters(), lr=0.1), StepSizeTuner())
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(TypeError, match="StepSizeTuner does not take sparse gradients"):
        optimizer.step()
    p = nn.Parameter(torch.ones(2, dtype=torch.complex64))
    optimizer = derive(SGD([p], lr=0.1), StepSizeTuner())
    p.grad = torch.ones(2, dtype=torch.complex64)
    with pytest.raises(TypeError, match="does not take complex gradients"):
        optimizer.step()


def test_what_needs_the_tuner():
    params = parameters()
    optimizer = derive(SGD(params, lr=0.1))
    for use in (
        lambda: optimizer.scale,
        lambda: optimizer.skipped_,
        lambda: optimizer.gains(params[0]),
    ):
        with pytest.raises(ValueError, match="needs the add-on StepSizeTuner"):
            use()
    with pytest.raises(ValueError, match="no StepSizeTuner fits it"):
        derive(torch.optim.LBFGS(params), StepSizeTuner())


def test_gains_of_tiny_gradients_are_those_of_larger_ones():
    found = []
    for size in (1.0, 1e-22):
        p = torch.nn.Parameter(torch.ones(3))
        optimizer = derive(torch.optim.SGD([p], lr=0.1), StepSizeTuner(gain_rate=0.1))
        for _ in range(4):
            p.grad = torch.tensor([1.0, -1.0, 0.0]) * size
            optimizer.step()
        assert bool(torch.isfinite(p).all())
        found.append(optimizer.gains(p))
    torch.testing.assert_close(*found)


def test_an_exponentiated_base_stays_in_its_domain():
    p = torch.nn.Parameter(torch.ones(2))
    optimizer = derive(ExponentiatedGradient([p], lr=0.1), StepSizeTuner(rate=0.5))
    for _ in range(40):
        p.grad = torch.tensor([1.0, -1.0])
        optimizer.step()
    assert optimizer.scale > 10
    assert bool((p > 0).all())
