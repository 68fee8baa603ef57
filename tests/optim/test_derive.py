"""Derived optimizers: identities with known optimizers, accumulation, traps, bad inputs."""

import copy
import pickle
import re
import warnings
from contextlib import suppress

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import SGD, Adagrad, Adam, AdamW, NAdam, RAdam, RMSprop

from kexue.optim import (
    Accumulate,
    LayerAdaptation,
    Lazy,
    Lookahead,
    PiecewiseLinear,
    PiecewiseLinearLR,
    WeightDecay,
    derive,
    piecewise_linear,
)
from kexue.optim._state import is_ours
from kexue.optim.lookahead import pull, pull_by_torch


def parameters(seed=0, shapes=((4, 3), (4,), (2, 4)), dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(s, generator=generator, dtype=dtype)) for s in shapes]


def run(optimizer, params, n=100, seed=1, stop=None):
    """Step through gradients that depend on the parameters, and on a seeded noise."""
    generator = torch.Generator().manual_seed(seed)
    for i in range(n):
        for p in params:
            noise = torch.randn(p.shape, generator=generator, dtype=torch.float64)
            p.grad = (noise + p.detach().double()).to(p.dtype)
        if stop is None or i >= stop:
            optimizer.step()
    return [p.detach().clone() for p in params]


def largest(a, b):
    return max(
        float((x.double() - y.double()).detach().abs().max()) for x, y in zip(a, b, strict=True)
    )


# --- identities


@pytest.mark.parametrize("kind", [{}, {"fused": True}, {"foreach": True}])
def test_decay_of_adam_is_adamw_bit_for_bit(kind):
    ours, theirs = parameters(), parameters()
    derived = derive(Adam(ours, lr=0.01, **kind), WeightDecay(0.1, exclude=None))
    plain = AdamW(theirs, lr=0.01, weight_decay=0.1, **kind)
    assert largest(run(derived, ours), run(plain, theirs)) == 0


@pytest.mark.parametrize(
    ("make", "kind"),
    [(SGD, {"momentum": 0.9}), (RMSprop, {}), (Adagrad, {}), (NAdam, {}), (RAdam, {})],
)
def test_decay_is_of_the_value_before_the_step(make, kind):
    ours, theirs = parameters(), parameters()
    rate, lr = 0.1, 0.01
    derived = derive(make(ours, lr=lr, **kind), WeightDecay(rate, exclude=None))
    plain = make(theirs, lr=lr, **kind)
    generator = torch.Generator().manual_seed(3)
    for _ in range(50):
        for p, q in zip(ours, theirs, strict=True):
            p.grad = torch.randn(p.shape, generator=generator, dtype=torch.float64)
            q.grad = p.grad.clone()
        before = [q.detach().clone() for q in theirs]
        derived.step()
        plain.step()
        with torch.no_grad():
            for q, old in zip(theirs, before, strict=True):
                q.sub_(lr * rate * old)
    # both decay the same value, in another order of rounding
    assert largest(ours, theirs) < 1e-13


class Quadratic(torch.optim.Optimizer):
    """A base of which `derive` knows nothing: its step reads the parameter, and lr squared."""

    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.sub_(group["lr"] ** 2 * p.grad * p.abs())


def test_an_unknown_base_is_measured_not_assumed():
    lr, rate, schedule = 0.3, 0.1, {3: 1, 9: 0.2}
    ours, theirs = parameters(), parameters()
    derived = derive(Quadratic(ours, lr), PiecewiseLinear(schedule), WeightDecay(rate, None))
    assert "scales the move" in repr(derived)
    assert "after the step" in repr(derived)
    generator = torch.Generator().manual_seed(3)
    for t in range(1, 13):
        m = piecewise_linear(t, schedule)
        for p, q in zip(ours, theirs, strict=True):
            p.grad = torch.randn(p.shape, generator=generator, dtype=torch.float64)
            move = lr**2 * p.grad * q.detach().abs()
            with torch.no_grad():
                q.sub_(m * (move + lr * rate * q.detach()))
        derived.step()
    assert largest(ours, theirs) < 1e-14


def textbook_lamb(params, gradients, m, v, t, lr, rate, decayed, bounds=None, eta=1.0):
    with torch.no_grad():
        for i, (p, g) in enumerate(zip(params, gradients, strict=True)):
            m[i] = 0.9 * m[i] + 0.1 * g
            v[i] = 0.999 * v[i] + 0.001 * g * g
            d = m[i] / (1 - 0.9**t) / ((v[i] / (1 - 0.999**t)).sqrt() + 1e-8)
            if i in decayed:
                d = d + rate * p
            x, y = p.norm(), d.norm()
            r = 1.0
            if x > 0 and y > 0:
                x = x.clamp(*bounds) if bounds else x
                r = eta * x / y
            p.sub_(lr * r * d)


@pytest.mark.parametrize("bounds", [None, (0.5, 2.0)])
@pytest.mark.parametrize("decayed", [{0, 1, 2}, {0, 2}])
def test_adaptation_of_adamw_is_lamb(decayed, bounds):
    ours, theirs = parameters(), parameters()
    with torch.no_grad():
        ours[1].zero_()
        theirs[1].zero_()
    names = ["a.weight", "a.bias", "b.weight"]
    exclude = None if len(decayed) == 3 else "bias"
    derived = derive(
        Adam(ours, lr=0.01), LayerAdaptation(None, clip=bounds), WeightDecay(0.1, exclude),
        named_parameters=zip(names, ours, strict=True),
    )  # fmt: skip
    m, v = ([torch.zeros_like(p) for p in theirs] for _ in range(2))
    generator = torch.Generator().manual_seed(5)
    for t in range(1, 30):
        gradients = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in ours]
        for p, g in zip(ours, gradients, strict=True):
            p.grad = g.clone()
        derived.step()
        textbook_lamb(theirs, gradients, m, v, t, 0.01, 0.1, decayed, bounds)
    assert largest(ours, theirs) < 1e-12


def test_adaptation_of_sgd_is_lars():
    p = nn.Parameter(torch.tensor([3.0, 4.0], dtype=torch.float64))
    derived = derive(SGD([p], lr=2.0), LayerAdaptation(None, eta=0.001), WeightDecay(0.5, None))
    p.grad = torch.tensor([1.5, 2.0], dtype=torch.float64)
    derived.step()
    # d = (3, 4): r = 0.001 * 5 / 5
    np.testing.assert_allclose(p.detach(), np.array([3, 4]) * (1 - 0.002), rtol=1e-14)


@pytest.mark.parametrize(("k", "alpha"), [(1, 0.5), (5, 0.5), (3, 0.8), (4, 0.0), (2, 1.0)])
def test_lookahead_is_the_loop(k, alpha):
    ours, theirs = parameters(), parameters()
    derived = derive(SGD(ours, lr=0.1, momentum=0.9), Lookahead(k, alpha))
    inner = SGD(theirs, lr=0.1, momentum=0.9)
    slow = [q.detach().clone() for q in theirs]

    class Loop:
        n = 0

        def step(self):
            inner.step()
            self.n += 1
            if self.n % k == 0:
                for phi, q in zip(slow, theirs, strict=True):
                    phi.copy_(phi + alpha * (q.detach() - phi))
                    q.data.copy_(phi)

    assert largest(run(derived, ours, 23), run(Loop(), theirs, 23)) == 0


def test_alpha_of_one_is_the_base():
    ours, theirs = parameters(), parameters()
    derived = derive(Adam(ours, lr=0.1), Lookahead(3, 1.0))
    # theta = phi + (theta - phi) up to rounding
    assert largest(run(derived, ours), run(Adam(theirs, lr=0.1), theirs)) < 1e-13


@pytest.mark.parametrize("momentum", ["reset", "pullback"])
def test_momentum_of_lookahead(momentum):
    p = nn.Parameter(torch.zeros(1))
    derived = derive(SGD([p], lr=1.0, momentum=0.5), Lookahead(2, 0.5, momentum))
    seen = []
    for _ in range(4):
        p.grad = torch.ones(1)
        derived.step()
        seen.append(derived.state[p]["momentum_buffer"].item())
    # 1, 1.5, then anew; or 1, 1.5 kept as slow, 1.75, (1.5 + 1.875) / 2
    assert seen == ([1, 0, 1, 0] if momentum == "reset" else [1, 1.5, 1.75, 1.6875])


def test_the_first_window_of_lookahead_is_averaged_from_the_start():
    p = nn.Parameter(torch.tensor([10.0]))
    derived = derive(SGD([p], lr=1.0), Lookahead(2, 0.5))
    with torch.no_grad():
        p.fill_(8.0)  # weights loaded after the optimizer was built
    for _ in range(2):
        p.grad = torch.ones(1)
        derived.step()
    assert p.item() == 7


# --- schedule


def test_multipliers():
    times, schedule = [1, 10, 15, 20, 99], {10: 1, 20: 0.1}
    expected = [0.1, 1, 0.55, 0.1, 0.1]
    np.testing.assert_allclose(piecewise_linear(times, schedule), expected, rtol=1e-15)
    p, q = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    derived = derive(SGD([p], lr=1.0), PiecewiseLinear(schedule))
    plain = SGD([q], lr=1.0)
    scheduler = PiecewiseLinearLR(plain, schedule)
    moves = {}
    for t in range(1, 100):
        before = p.item(), q.item()
        p.grad, q.grad = torch.ones(1), torch.ones(1)
        derived.step()
        plain.step()
        scheduler.step()
        moves[t] = before[0] - p.item(), before[1] - q.item()
    for t, m in zip(times, expected, strict=True):
        assert moves[t] == pytest.approx((m, m), abs=1e-5)
    assert derived.param_groups[0]["lr"] == 1.0


def test_offset_and_beginning():
    schedule = {10: 1, 20: 0.1}
    assert PiecewiseLinear(schedule, offset=0).multiplier(0) == 0
    assert PiecewiseLinear(schedule, from_zero=False).multiplier(0) == 1
    assert PiecewiseLinear({0: 0.5, 2: 1}).multiplier(0) == 0.75


def test_rate_is_restored_when_the_base_raises():
    p = nn.Parameter(torch.zeros(1))
    base = SGD([p], lr=0.5)
    derived = derive(base, PiecewiseLinear({10: 1}))

    def fail(*_):
        assert base.param_groups[0]["lr"] == pytest.approx(0.05)
        raise RuntimeError("no")

    base.register_step_pre_hook(fail)
    p.grad = torch.ones(1)
    with pytest.raises(RuntimeError, match="no"):
        derived.step()
    assert base.param_groups[0]["lr"] == 0.5
    assert derived.updates == 0


# --- accumulation


@pytest.mark.parametrize("make", [lambda p: SGD(p, lr=0.1, momentum=0.9), lambda p: Adam(p, 0.01)])
@pytest.mark.parametrize("scaled", [False, True])
def test_weighted_micro_batches_are_the_whole_batch(make, scaled):
    torch.manual_seed(0)
    model = nn.Linear(5, 2).double()
    other = copy.deepcopy(model)
    ours, theirs = derive(make(model.parameters()), Accumulate(4)), make(other.parameters())
    scaler = torch.amp.GradScaler("cpu", enabled=scaled, init_scale=2.0**10)
    for _ in range(10):
        x, y = torch.randn(20, 5).double(), torch.randn(20, 2).double()
        for part in torch.split(torch.arange(20), [3, 9, 1, 7]):
            loss = nn.functional.mse_loss(model(x[part]), y[part])
            scaler.scale(loss).backward()
            if scaled:
                scaler.step(ours, weight=len(part))
                scaler.update()
            else:
                ours.step(weight=len(part))
            ours.zero_grad()
        other.zero_grad()
        nn.functional.mse_loss(other(x), y).backward()
        theirs.step()
    assert ours.updates == 10
    assert largest(model.parameters(), other.parameters()) < 1e-12


def test_a_step_that_the_scaler_skips_does_not_count():
    p = nn.Parameter(torch.ones(2))
    derived = derive(SGD([p], lr=1.0, fused=True), Accumulate(2))
    assert derived._step_supports_amp_scaling is False
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    for factor in (1.0, float("inf"), 3.0):
        assert derived.will_step == (factor != 1)
        scaler.scale((factor * p).sum()).backward()
        scaler.step(derived)
        scaler.update()
        derived.zero_grad()
    assert derived.updates == 1
    np.testing.assert_allclose(p.detach(), 1 - 2.0)


def test_windows_may_differ_and_end_early():
    p = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    derived = derive(SGD([p], lr=1.0), Accumulate(lambda n: n + 1))
    will, values = [], []
    for g in (1.0, 2.0, 4.0, 3.0):
        p.grad = torch.tensor([g], dtype=torch.float64)
        will.append(derived.will_step)
        derived.step()
        values.append(p.item())
    assert will == [True, False, True, False]
    assert values == [-1, -1, -4, -4]
    assert derived.finish_window() is True
    assert derived.finish_window() is False
    assert (p.item(), derived.updates) == (-7, 3)


def test_gradients_that_are_missing_count_as_zero():
    p, q, r = (nn.Parameter(torch.zeros(1, dtype=torch.float64)) for _ in range(3))
    derived = derive(SGD([p, q, r], lr=1.0), Accumulate(3))
    one = torch.ones(1, dtype=torch.float64)
    for i in range(3):
        p.grad = one.clone() if i == 0 else None
        q.grad = 3 * one if i == 1 else None
        derived.step(weight=i + 1)
    assert (p.item(), q.item()) == (pytest.approx(-1 / 6), pytest.approx(-1))
    assert r.grad is None


def test_micro_batches_without_weight_are_left_out():
    p = nn.Parameter(torch.zeros(1))
    derived = derive(SGD([p], lr=1.0), Accumulate(3))
    for g, w in ((float("nan"), 0), (2.0, 5), (float("nan"), 0)):
        p.grad = torch.tensor([g])
        derived.step(weight=w)
    assert p.item() == -2
    for _ in range(3):
        p.grad = torch.full((1,), float("nan"))
        derived.step(weight=0)
    assert (p.item(), derived.updates) == (-2, 2)


def test_views_are_copied_and_tensors_are_taken():
    p, q = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))
    derived = derive(SGD([p, q], lr=1.0), Accumulate(2))
    bucket, own = torch.ones(4), torch.ones(2)
    p.grad, q.grad = bucket[:2], own
    derived.step()
    bucket.fill_(9)
    assert derived.state[p]["accumulated"].tolist() == [1, 1]
    assert derived.state[q]["accumulated"].data_ptr() == own.data_ptr()


@pytest.mark.parametrize("lazy", [False, True])
def test_sparse_gradients_accumulate(lazy):
    torch.manual_seed(0)
    tables = [nn.Embedding(6, 2, sparse=True).double() for _ in range(2)]
    tables[1].load_state_dict(tables[0].state_dict())
    addons = [Lazy([tables[0]])] if lazy else []
    derived = derive(SGD(tables[0].parameters(), lr=0.5), Accumulate(3), *addons)
    plain = SGD(tables[1].parameters(), lr=0.5)
    for rows in ([0, 2], [2, 2], [5, 0]):
        tables[0](torch.tensor(rows)).square().sum().backward()
        derived.step()
        derived.zero_grad()
        (tables[1](torch.tensor(rows)).square().sum() / 3).backward()
    kinds = [value for key, value in derived.state[tables[0].weight].items()]
    assert not any(isinstance(v, torch.Tensor) and v.is_sparse for v in kinds)
    plain.step()
    assert largest(tables[0].parameters(), tables[1].parameters()) < 1e-15


def test_closures():
    p = nn.Parameter(torch.tensor([2.0], dtype=torch.float64))
    derived = derive(SGD([p], lr=0.25), Accumulate(2), Lookahead(1, 0.5))

    def closure():
        derived.zero_grad()
        loss = p.square().sum()
        loss.backward()
        return loss

    assert [derived.step(closure).item() for _ in range(3)] == [4, 4, 2.25]


def test_lbfgs_keeps_its_closure():
    p = nn.Parameter(torch.tensor([2.0, 1.0], dtype=torch.float64))
    base = torch.optim.LBFGS([p], lr=1.0, max_iter=20)
    derived = derive(base, Lookahead(2, 1.0), WeightDecay(0.0, exclude=None))

    def closure():
        derived.zero_grad()
        loss = (p * torch.tensor([1.0, 10.0])).square().sum()
        loss.backward()
        return loss

    assert derived.step(closure).item() == 104
    for _ in range(5):
        derived.step(closure)
    assert p.detach().abs().max() < 1e-5  # where LBFGS itself stops


def test_clipping_the_whole_gradient():
    p = nn.Parameter(torch.zeros(1))
    derived = derive(SGD([p], lr=1.0), Accumulate(2))
    norms = []
    derived.base.register_step_pre_hook(
        lambda *_: norms.append(nn.utils.clip_grad_norm_([p], 1.0).item())
    )
    for g in (6.0, 2.0):
        p.grad = torch.tensor([g])
        derived.step()
    assert norms == [4]
    assert p.item() == pytest.approx(-1)


# --- slow weights


def test_slow_weights():
    params = parameters(shapes=((3,),))
    derived = derive(SGD(params, lr=0.1), Lookahead(5))
    start = params[0].detach().clone()
    fast = run(derived, params, 3)[0]
    with derived.slow_weights():
        assert torch.equal(params[0], start)
        with pytest.raises(RuntimeError, match="would be lost"):
            derived.step()
    assert torch.equal(params[0], fast)
    with suppress(ZeroDivisionError), derived.slow_weights():
        assert torch.equal(params[0], start)
        raise ZeroDivisionError
    assert torch.equal(params[0], fast)
    with pytest.raises(ValueError, match="needs the add-on Lookahead"):
        derive(SGD(params, lr=0.1)).slow_weights().__enter__()


def test_slow_weights_of_narrow_parameters_stay_wide():
    params = parameters(dtype=torch.bfloat16)
    derived = derive(SGD(params, lr=0.01), Lookahead(3))
    run(derived, params, 4)
    others = parameters(dtype=torch.bfloat16)
    other = derive(SGD(others, lr=0.01), Lookahead(3))
    other.load_state_dict(derived.state_dict())
    for p, q in zip(params, others, strict=True):
        slow = other.state[q]["slow"]
        assert slow.dtype == torch.float32
        assert torch.equal(slow, derived.state[p]["slow"])
        assert not torch.equal(slow, slow.bfloat16().float())


# --- exclusion


def test_excluded_parameters():
    model = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
    names = dict(model.named_parameters())
    base = AdamW(model.parameters(), lr=0.1, weight_decay=0.3)
    derived = derive(base, WeightDecay(0.1, r"bias|^1\."), named_parameters=names)
    kept = [[names_of(names, p) for p in group["params"]] for group in derived.param_groups]
    assert kept == [["0.weight"], ["0.bias", "1.weight", "1.bias"]]
    assert [group["weight_decay"] for group in base.param_groups] == [0.1, 0]
    by_rule = derive(SGD(model.parameters(), lr=0.1), LayerAdaptation(lambda name, p: p.dim() < 2))
    before = {name: p.detach().clone() for name, p in names.items()}
    for p in names.values():
        p.grad = torch.full_like(p, 1e3)
    by_rule.step()
    assert float((names["0.bias"] - before["0.bias"]).detach().norm()) > 100
    moved = (names["0.weight"] - before["0.weight"]).detach().norm()
    assert float(moved) == pytest.approx(0.1 * float(before["0.weight"].norm()), rel=1e-5)


def names_of(names, wanted):
    return next(name for name, p in names.items() if p is wanted)


def test_names_of_torch_serve():
    model = nn.Linear(2, 2)
    derived = derive(Adam(model.named_parameters(), lr=0.1), WeightDecay(0.1))
    assert [group["param_names"] for group in derived.param_groups] == [["weight"], ["bias"]]


def test_groups_added_later_follow_the_rules():
    model, late = nn.Linear(2, 2), nn.Linear(2, 3)
    derived = derive(
        Adam(model.named_parameters(), lr=0.1), WeightDecay(0.1), Accumulate(2), Lookahead(2)
    )
    everything = [*model.parameters(), *late.parameters()]
    run(derived, list(model.parameters()), 3)
    derived.add_param_group(
        {"params": [(f"late.{n}", p) for n, p in late.named_parameters()], "lr": 0.2}
    )
    assert [group["weight_decay"] for group in derived.param_groups] == [0.1, 0, 0.1, 0]
    assert [group["updates"] for group in derived.param_groups] == [1] * 4
    assert [group["micro_steps"] for group in derived.param_groups] == [1] * 4
    before = [p.detach().clone() for p in late.parameters()]
    run(derived, everything, 3)
    assert largest(before, late.parameters()) > 0.01
    with pytest.raises(ValueError, match="param groups should be with/without names"):
        derived.add_param_group({"params": [nn.Parameter(torch.zeros(1))]})
    unnamed = derive(SGD(model.parameters(), lr=0.1), WeightDecay(0.1),
                     named_parameters=model.named_parameters())  # fmt: skip
    with pytest.raises(ValueError, match="1 of 3 parameters have none"):
        unnamed.add_param_group({"params": [nn.Parameter(torch.zeros(1))]})
    assert len(unnamed.param_groups) == 1
    unnamed.add_param_group({"params": [("late.bias", nn.Parameter(torch.zeros(1)))]})


# --- hooks, copies, files


def test_hooks():
    p = nn.Parameter(torch.zeros(1))
    derived = derive(SGD([p], lr=1.0), Accumulate(2))
    calls = []
    derived.register_step_pre_hook(lambda *_: calls.append("pre"))
    derived.register_step_post_hook(lambda *_: calls.append("post"))
    derived.base.register_step_post_hook(lambda *_: calls.append("base"))
    derived.register_state_dict_pre_hook(lambda *_: calls.append("save"))
    derived.register_state_dict_post_hook(lambda _, found: {**found, "extra": 1})
    derived.register_load_state_dict_pre_hook(
        lambda _, given: {key: given[key] for key in ("state", "param_groups")}
    )
    derived.register_load_state_dict_post_hook(lambda *_: calls.append("loaded"))
    for _ in range(2):
        p.grad = torch.ones(1)
        derived.step()
    saved = derived.state_dict()
    assert saved["extra"] == 1
    derived.load_state_dict(saved)
    assert calls == ["pre", "post", "pre", "base", "post", "save", "loaded"]


def test_state_and_groups_are_the_base_s_own():
    base = Adam(parameters(), lr=0.1)
    derived = derive(base, Lookahead(2))
    assert derived.state is base.state
    assert derived.param_groups is base.param_groups
    assert isinstance(derived, torch.optim.Optimizer)
    derived.load_state_dict(derived.state_dict())
    assert derived.state is base.state
    assert derived.param_groups is base.param_groups


def test_a_bare_base_reads_the_state_and_the_other_way(tmp_path):
    params, others = parameters(), parameters()
    derived = derive(Adam(params, lr=0.1), Accumulate(2), Lookahead(2))
    run(derived, params, 7)
    torch.save(derived.state_dict(), tmp_path / "state.pt")
    saved = torch.load(tmp_path / "state.pt", weights_only=True)
    bare = Adam(others, lr=0.1)
    bare.load_state_dict(saved)
    for p, q in zip(params, others, strict=True):
        assert torch.equal(derived.state[p]["exp_avg"], bare.state[q]["exp_avg"])
    run(bare, others, 3)
    fresh = derive(Adam(parameters(), lr=0.1), Accumulate(2), Lookahead(2))
    fresh.load_state_dict(bare.state_dict())
    plain = Adam(others, lr=0.1)
    run(plain, others, 2)
    never = derive(Adam(others, lr=0.1), Accumulate(2), Lookahead(2))
    never.load_state_dict(plain.state_dict())
    assert never.updates == 0
    run(never, others, 4)
    assert never.updates == 2


@pytest.mark.parametrize(
    "how", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))], ids=["copy", "pickle"]
)
def test_copies_go_on_alike(how):
    model = nn.Linear(3, 2).double()
    derived = derive(
        Adam(model.parameters(), lr=0.1),
        *(WeightDecay(0.1), PiecewiseLinear({3: 1}), Accumulate(2), Lookahead(2)),
        named_parameters=model.named_parameters(),
    )
    run(derived, list(model.parameters()), 5)
    other_model, other = how((model, derived))
    assert repr(other) == repr(derived)
    params, others = list(model.parameters()), list(other_model.parameters())
    assert largest(params, others) == 0
    assert largest(run(derived, params, 6), run(other, others, 6)) == 0
    assert other.updates == derived.updates == 5


def test_the_order_of_the_arguments_does_not_matter():
    addons = [WeightDecay(0.1, None), LayerAdaptation(None), PiecewiseLinear({9: 1}),
              Accumulate(2), Lookahead(2)]  # fmt: skip
    ours, theirs = parameters(), parameters()
    one, other = derive(Adam(ours, 0.1), *addons), derive(Adam(theirs, 0.1), *addons[::-1])
    assert repr(one) == repr(other)
    assert largest(run(one, ours, 20), run(other, theirs, 20)) == 0


def test_state_is_plain():
    """Tensors, and what JSON knows: so any format of checkpoints can hold it."""
    params = parameters()
    derived = derive(Adam(params, lr=0.1), Accumulate(2), Lookahead(2), WeightDecay(0.1, None))
    run(derived, params, 5)

    def check(value):
        if isinstance(value, dict):
            assert all(isinstance(key, str | int) for key in value)
            for item in value.values():
                check(item)
        elif isinstance(value, list | tuple):
            for item in value:
                check(item)
        else:
            assert value is None or isinstance(value, torch.Tensor | int | float | str | bool)

    check(derived.state_dict())


# --- bad inputs


@pytest.mark.parametrize(
    ("error", "message", "make"),
    [
        (ValueError, "rate must be a finite number >= 0, got -1", lambda: WeightDecay(-1)),
        (ValueError, "k must be an int >= 1, got 0", lambda: Lookahead(0)),
        (ValueError, "alpha must be a finite number in [0, 1], got 1.5", lambda: Lookahead(5, 1.5)),
        (ValueError, "momentum must be one of 'keep', 'reset'", lambda: Lookahead(momentum="no")),
        (ValueError, "steps must be an int >= 1, got 0", lambda: Accumulate(0)),
        (TypeError, "steps must be an int >= 1, got 2.5", lambda: Accumulate(2.5)),
        (ValueError, "schedule must have increasing steps, got [20, 10]",
         lambda: PiecewiseLinear({20: 1, 10: 0})),
        (ValueError, "schedule step must be an int >= 0, got -1",
         lambda: PiecewiseLinear({-1: 1})),
        (ValueError, "schedule multiplier must be a finite number >= 0, got -0.5",
         lambda: PiecewiseLinear({1: -0.5})),
        (ValueError, "at least one knot", lambda: PiecewiseLinear({})),
        (TypeError, "schedule must be a dict", lambda: PiecewiseLinear([(1, 1)])),
        (TypeError, "from_zero must be a bool", lambda: PiecewiseLinear({1: 1}, from_zero=1)),
        (ValueError, "eta must be > 0, got 0", lambda: LayerAdaptation(eta=0)),
        (ValueError, "low < high, got (2, 1)", lambda: LayerAdaptation(clip=(2, 1))),
        (TypeError, "clip must be None or two numbers", lambda: LayerAdaptation(clip=3)),
        (ValueError, "exclude must be a regular expression, got '('", lambda: WeightDecay(0, "(")),
        (TypeError, "exclude must be None, a regular expression or", lambda: WeightDecay(0, 3)),
        (ValueError, "mode must be one of 'masked'", lambda: Lazy([nn.Embedding(2, 2)], "lazy")),
        (TypeError, "tables must be nn.Embedding or", lambda: Lazy([nn.Linear(2, 2)])),
        (ValueError, "tables must have at least one layer", lambda: Lazy([])),
        (ValueError, "must see what the layers read", lambda: Lazy("table", "deferred")),
        (ValueError, "tables must be layers or a regular", lambda: Lazy("(")),
    ],
)  # fmt: skip
def test_bad_add_ons(error, message, make):
    with pytest.raises(error, match=re.escape(message)):
        make()


def sgd(**kind):
    return SGD(parameters(), lr=0.1, **kind)


@pytest.mark.parametrize(
    ("error", "message", "make"),
    [
        (TypeError, "base must be a torch.optim.Optimizer, got list", lambda: derive([])),
        (TypeError, "give all add-ons to one derive()", lambda: derive(derive(sgd()))),
        (ValueError, "add-ons must be among Accumulate, PiecewiseLinear", lambda: derive(sgd(), 3)),
        (ValueError, "(give an instance)", lambda: derive(sgd(), Lookahead)),
        (ValueError, "Lookahead must be given at most once",
         lambda: derive(sgd(), Lookahead(), Lookahead(3))),
        (ValueError, "WeightDecay(exclude) needs names, and 3 of 3 parameters have none",
         lambda: derive(sgd(), WeightDecay())),
        (ValueError, "cannot Accumulate",
         lambda: derive(torch.optim.LBFGS(parameters()), Accumulate(2))),
        (ValueError, "the base has weight_decay=0.1 of its own",
         lambda: derive(sgd(weight_decay=0.1), WeightDecay(0.1, None))),
        (ValueError, "no row rule for RMSprop",
         lambda: derive(RMSprop(parameters()), Lazy([nn.Embedding(2, 2)], "frozen"))),
        (ValueError, "not among the parameters",
         lambda: derive(sgd(), Lazy([nn.Embedding(2, 2)]))),
        (ValueError, "weight must be a finite number >= 0, got -1",
         lambda: derive(sgd(), Accumulate(2)).step(weight=-1)),
        (ValueError, "what steps returns must be an int >= 1, got 0",
         lambda: derive(sgd(), Accumulate(lambda n: 0)).step()),
    ],
)  # fmt: skip
def test_bad_stacks(error, message, make):
    with pytest.raises(error, match=re.escape(message)):
        make()


def test_a_rule_that_matches_nothing_warns():
    model = nn.Linear(2, 2, bias=False)
    names = dict(model.named_parameters())
    with pytest.warns(UserWarning, match=r"WeightDecay\(exclude\) matches no parameter") as seen:
        derive(SGD(model.parameters(), lr=0.1), WeightDecay(), named_parameters=names)
    assert len(seen) == 1
    with pytest.warns(UserWarning, match=r"WeightDecay\(exclude\) matches no parameter") as seen:
        derive(Adam(model.parameters(), lr=0.1), WeightDecay(), named_parameters=names)
    assert len(seen) == 1
    assert seen[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        derive(SGD(model.parameters(), lr=0.1), WeightDecay(exclude=None), named_parameters=names)


def test_sparse_gradients_that_the_base_does_not_take_are_named():
    table = nn.Embedding(3, 2, sparse=True)
    derived = derive(Adam(table.named_parameters(), lr=0.1), WeightDecay(0.1, exclude=None))
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(RuntimeError, match="sparse gradients") as caught:
        derived.step()
    assert "weight; the add-on Lazy takes them" in caught.value.__notes__[0]


# --- cost


def held_bytes(optimizer):
    """Bytes that an optimizer holds beyond its base's own state, in copies of the parameters."""
    size = sum(p.numel() * p.element_size() for g in optimizer.param_groups for p in g["params"])
    own = [v for s in optimizer.state.values() for k, v in s.items() if is_ours(k)]
    own += optimizer._update._buffers.values()
    return sum(v.untyped_storage().nbytes() for v in own) / size


@pytest.mark.parametrize(
    ("addons", "copies"),
    [
        ([WeightDecay(0.1, None), PiecewiseLinear({5: 1}), Accumulate(3)], 1),
        ([WeightDecay(0.1, None), Lookahead(2)], 1),
        ([WeightDecay(0.1, None), PiecewiseLinear({5: 1})], 0),
        ([LayerAdaptation(None)], 1),
    ],
)
def test_memory_is_what_the_add_on_needs(addons, copies):
    params = parameters()
    optimizer = derive(Adam(params, lr=0.1), *addons)
    most = 0
    for _ in range(8):
        run(optimizer, params, 1)
        optimizer.zero_grad()
        most = max(most, held_bytes(optimizer))
    assert most == copies


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_native_pull_is_torch_s_bit_for_bit(dtype, alpha):
    fast, slow = (parameters(seed, dtype=dtype) for seed in (0, 1))
    twins = [[p.detach().clone() for p in tensors] for tensors in (fast, slow)]
    with torch.no_grad():
        pull(fast, [p.detach() for p in slow], alpha)
        pull_by_torch(list(zip(*twins, strict=True)), alpha)
    assert largest(fast, twins[0]) == largest(slow, twins[1]) == 0
