"""The loss against cross-entropy of the sum, and what torch asks of a module."""

import copy
import io

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression

from kexue._core import InputError
from kexue.losses import LogitAdjustedLoss, _fused, fold_prior
from kexue.losses._fused import cross_entropy_of_sum

COUNTS = np.array([500, 120, 33, 8, 1])
K = COUNTS.size


@pytest.fixture(autouse=True)
def of_any_size(monkeypatch):
    """Send small arrays, too, where large ones go."""
    monkeypatch.setattr(_fused, "_SMALL", 0)


def log_prior(dtype=torch.float64):
    return torch.log(torch.tensor(COUNTS / COUNTS.sum(), dtype=dtype))


def batch(n=40, dtype=torch.float64, seed=0, scale=3.0):
    generator = torch.Generator().manual_seed(seed)
    logits = (torch.randn(n, K, generator=generator, dtype=torch.float64) * scale).to(dtype)
    return logits.requires_grad_(), torch.randint(0, K, (n,), generator=generator)


def value_and_gradient(function, logits, target):
    f = logits.detach().clone().requires_grad_()
    value = function(f, target)
    value.sum().backward()
    return value.detach(), f.grad


# --- what it computes


@pytest.mark.parametrize("tau", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize(("dtype", "digits"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"reduction": "sum"},
        {"reduction": "none"},
        {"weight": torch.arange(1.0, K + 1)},
        {"weight": torch.arange(1.0, K + 1), "reduction": "none"},
        {"label_smoothing": 0.1},
        {"label_smoothing": 0.1, "weight": torch.arange(1.0, K + 1)},
        {"ignore_index": 2},
        {"ignore_index": 2, "weight": torch.arange(1.0, K + 1)},
    ],
    ids=str,
)
def test_it_is_cross_entropy_of_the_sum(tau, dtype, digits, more):
    logits, target = batch(dtype=dtype)
    theirs = dict(more)
    if "weight" in more:
        theirs["weight"] = more["weight"].to(dtype)
    bias = tau * log_prior(dtype)
    expected = value_and_gradient(
        lambda f, y: F.cross_entropy(f + bias, y, **theirs), logits, target
    )
    found = value_and_gradient(LogitAdjustedLoss(COUNTS, tau, **more), logits, target)
    for mine, other in zip(found, expected, strict=True):
        assert mine.dtype == dtype
        assert mine.shape == other.shape
        assert (mine - other).abs().max() < digits * max(1.0, float(other.abs().max()))


def test_pairwise_form():
    logits, y = batch()
    margins = log_prior()[None, :] - log_prior()[:, None]  # row y, column j
    differences = margins[y] + logits - logits.gather(1, y[:, None])
    others = torch.exp(differences) * (1 - F.one_hot(y, K))
    expected = torch.log1p(others.sum(1))
    found = LogitAdjustedLoss(COUNTS, reduction="none")(logits, y)
    assert (found - expected).abs().max() < 1e-10


def test_a_uniform_prior_is_plain_cross_entropy():
    logits, target = batch()
    found = LogitAdjustedLoss([7] * K)(logits, target)
    assert abs((found - F.cross_entropy(logits, target)).item()) < 1e-12


def test_two_classes_as_one_sigmoid():
    """What docs/losses/logit_adjustment.md says of many labels, each with a sigmoid."""
    f = torch.randn(20, dtype=torch.float64)
    y = (torch.arange(20) % 3 == 0).long()
    share = torch.tensor(0.07, dtype=torch.float64)
    expected = F.binary_cross_entropy_with_logits(f + torch.logit(share), y.double())
    found = LogitAdjustedLoss([1 - share, share])(torch.stack([0 * f, f], 1), y)
    assert found.item() == pytest.approx(expected.item(), abs=1e-12)


def test_gradient_check():
    logits, target = batch(6)
    for loss in (
        LogitAdjustedLoss(COUNTS),
        LogitAdjustedLoss(COUNTS, 1.3, reduction="none", weight=torch.arange(1.0, K + 1)),
        LogitAdjustedLoss(COUNTS, ignore_index=int(target[0]), reduction="sum"),
    ):
        assert torch.autograd.gradcheck(lambda f: loss(f, target), (logits,))  # noqa: B023


def test_target_prior_and_smoothing():
    logits, target = batch()
    q = torch.tensor([1.0, 2, 3, 4, 5], dtype=torch.float64)
    bias = log_prior() - torch.log(q / q.sum())
    found = LogitAdjustedLoss(COUNTS, target_prior=q)(logits, target)
    assert abs((found - F.cross_entropy(logits + bias, target)).item()) < 1e-12
    smoothed = LogitAdjustedLoss([3, 0, 1], smoothing=1)
    assert smoothed.log_prior.exp().tolist() == pytest.approx([4 / 7, 1 / 7, 2 / 7])


def test_soft_labels():
    logits, target = batch()
    hard = F.one_hot(target, K).double()
    mixed = 0.7 * hard + 0.3 * hard.flip(0)
    loss = LogitAdjustedLoss(COUNTS)
    assert abs((loss(logits, hard) - loss(logits, target)).item()) < 1e-12
    expected = 0.7 * loss(logits, target) + 0.3 * loss(logits, target.flip(0))
    assert abs((loss(logits, mixed) - expected).item()) < 1e-12


@pytest.mark.parametrize("n", [0, 1, 3000])
def test_blocks_of_rows(n):
    """More rows than a block holds; not contiguous; extreme logits."""
    K = 500
    f = torch.randn(K, n, generator=torch.Generator().manual_seed(0)).T * 1e3
    target = torch.arange(n) % K
    bias = torch.linspace(-20, 0, K)
    found = value_and_gradient(
        lambda f, y: cross_entropy_of_sum(f, bias, y, reduction="sum"), f, target
    )
    expected = value_and_gradient(
        lambda f, y: F.cross_entropy(f + bias, y, reduction="sum"), f, target
    )
    assert torch.allclose(found[0], expected[0], rtol=1e-5)
    assert torch.allclose(found[1], expected[1], atol=1e-5)


def test_leading_axes():
    logits, target = batch(24)
    loss = LogitAdjustedLoss(COUNTS, reduction="none")
    shaped = loss(logits.reshape(2, 3, 4, K), target.reshape(2, 3, 4))
    assert shaped.shape == (2, 3, 4)
    assert torch.equal(shaped.flatten(), loss(logits, target))
    assert loss(logits[0], target[0]).shape == ()


def test_only_ignored_rows():
    logits, _ = batch(3)
    target = torch.full((3,), -100)
    assert LogitAdjustedLoss(COUNTS)(logits, target).isnan()  # as torch has it
    assert LogitAdjustedLoss(COUNTS, reduction="sum")(logits, target) == 0


def test_ignored_rows_may_hold_anything():
    logits = torch.full((2, K), torch.nan)
    logits[0] = 0
    loss = LogitAdjustedLoss(COUNTS)(logits.requires_grad_(), torch.tensor([0, -100]))
    assert loss.item() == pytest.approx(-float(log_prior()[0]), rel=1e-6)


# --- as a module of torch


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    logits, target = batch(dtype=dtype)
    value, gradient = value_and_gradient(LogitAdjustedLoss(COUNTS), logits, target)
    exact, slope = value_and_gradient(LogitAdjustedLoss(COUNTS), logits.float(), target)
    assert value.dtype == torch.float32
    assert gradient.dtype == dtype
    assert abs(float(value - exact)) < 1e-6
    assert (gradient - slope).abs().max() <= torch.finfo(dtype).eps * slope.abs().max()


def test_under_autocast():
    layer = torch.nn.Linear(8, K)
    x, target = torch.randn(16, 8), torch.arange(16) % K
    for more in ({}, {"label_smoothing": 0.1}):
        layer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = LogitAdjustedLoss(COUNTS, **more)(layer(x), target)
        assert loss.dtype == torch.float32
        loss.backward()
        assert layer.weight.grad.dtype == torch.float32


def test_compiled_in_one_graph():
    loss = LogitAdjustedLoss(COUNTS)
    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
    logits, target = batch()
    found = value_and_gradient(compiled, logits, target)
    expected = value_and_gradient(loss, logits, target)
    for mine, other in zip(found, expected, strict=True):
        assert (mine - other).abs().max() < 1e-12


def test_inside_a_distributed_model(tmp_path):
    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.loss = torch.nn.Linear(3, K), LogitAdjustedLoss(COUNTS)

        def forward(self, x, target):
            return self.loss(self.layer(x), target)

    model = Model()
    x, target = torch.randn(8, 3), torch.arange(8) % K
    expected = torch.autograd.grad(model(x, target), model.layer.weight)[0]
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        parallel = torch.nn.parallel.DistributedDataParallel(model)
        parallel(x, target).backward()
        assert torch.allclose(model.layer.weight.grad, expected)
        assert "module.loss.log_prior" in parallel.state_dict()
    finally:
        torch.distributed.destroy_process_group()


def test_a_second_backward_gives_the_same():
    logits, target = batch()
    loss = 3 * LogitAdjustedLoss(COUNTS)(logits, target)
    loss.backward(retain_graph=True)
    once = logits.grad.clone()
    logits.grad.mul_(5)
    loss.backward()
    assert torch.equal(logits.grad, 5 * once + once)
    plain = LogitAdjustedLoss(COUNTS)(logits, target)
    logits.grad = None
    plain.backward(retain_graph=True)
    logits.grad.zero_()  # must not be the array that the graph keeps
    plain.backward()
    assert torch.allclose(logits.grad * 3, once)


def test_one_array_is_kept():
    f, target = torch.randn(64, 1000, requires_grad=True), torch.arange(64)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: kept.append(t.numel()) or t, lambda t: t
    ):
        LogitAdjustedLoss(np.ones(1000))(f, target)
    assert [numel for numel in kept if numel > 1000] == [64_000]


def test_second_derivatives_are_refused():
    logits, target = batch()
    loss = LogitAdjustedLoss(COUNTS)
    value = loss(logits, target)
    with pytest.raises(RuntimeError, match=r"cannot be differentiated twice; .*loss\.bias\(\)"):
        torch.autograd.grad(value, logits, create_graph=True)
    # what the message advises
    (slope,) = torch.autograd.grad(
        F.cross_entropy(logits + loss.bias(), target), logits, create_graph=True
    )
    slope.square().sum().backward()
    assert logits.grad.abs().max() > 0


def test_small_arrays_take_the_short_way(monkeypatch):
    logits, target = batch()
    loss = LogitAdjustedLoss(COUNTS, 1.3)
    expected = value_and_gradient(loss, logits, target)
    monkeypatch.undo()
    found = value_and_gradient(loss, logits, target)
    for mine, other in zip(found, expected, strict=True):
        assert (mine - other).abs().max() < 1e-12
    assert torch.autograd.gradgradcheck(lambda f: loss(f, target[:3]), (logits[:3],))
    large = torch.randn(300, 1000, requires_grad=True)
    value = LogitAdjustedLoss(np.ones(1000))(large, torch.zeros(300, dtype=torch.long))
    with pytest.raises(RuntimeError, match="cannot be differentiated twice"):
        torch.autograd.grad(value, large, create_graph=True)


def test_state_dict_keeps_the_prior():
    loss = LogitAdjustedLoss(COUNTS, target_prior=[1, 2, 3, 4, 5])
    file = io.BytesIO()
    torch.save(loss.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    assert state["log_prior"].exp().tolist() == pytest.approx((COUNTS / COUNTS.sum()).tolist())
    frequencies = COUNTS / COUNTS.sum()
    LogitAdjustedLoss(frequencies, target_prior=[1, 2, 3, 4, 5]).load_state_dict(state)
    again = copy.deepcopy(loss)
    logits, target = batch()
    assert torch.equal(again(logits, target), loss(logits, target))


@pytest.mark.parametrize(
    ("counts", "more", "message"),
    [
        (COUNTS[::-1].copy(), {}, r"prior of the checkpoint is another one: 0\.75\d+ for class 0"),
        (COUNTS, {"target_prior": COUNTS}, "target prior of the checkpoint is another one"),
        (COUNTS[:4], {}, r"size mismatch for 0\.log_prior"),
    ],
)
def test_resuming_with_other_counts_is_refused(counts, more, message):
    state = torch.nn.ModuleList([LogitAdjustedLoss(COUNTS)]).state_dict()
    other = torch.nn.ModuleList([LogitAdjustedLoss(counts, **more)])
    before = copy.deepcopy(other.state_dict())
    with pytest.raises(RuntimeError, match=message):
        other.load_state_dict(state)
    for name, values in other.state_dict().items():
        assert torch.equal(values, before[name])


def test_the_prior_is_not_rounded_with_the_model():
    loss = LogitAdjustedLoss(COUNTS)
    before = loss.log_prior.clone()
    assert torch.equal(loss.half().log_prior, before)
    assert torch.equal(loss.to(torch.bfloat16).log_prior, before)
    assert loss.to("meta").log_prior.is_meta


def test_trainable_tau():
    loss = LogitAdjustedLoss(COUNTS, 0.8, trainable_tau=True)
    logits, target = batch()
    tau = torch.tensor(0.8, requires_grad=True)
    value = loss(logits, target)
    value.backward()
    F.cross_entropy(logits + tau * log_prior(), target).backward()
    assert float(loss.tau.grad) == pytest.approx(float(tau.grad), rel=1e-6)
    assert "tau" in loss.state_dict()
    with torch.no_grad():
        loss.tau.fill_(-3)
    plain = F.cross_entropy(logits, target)
    assert loss(logits, target).item() == pytest.approx(plain.item())


def test_repr():
    assert repr(LogitAdjustedLoss(COUNTS, 1.5)) == "LogitAdjustedLoss(n_classes=5, tau=1.5)"


def test_from_labels():
    y = np.repeat(np.arange(K), COUNTS)
    expected = LogitAdjustedLoss(COUNTS).log_prior
    assert torch.equal(LogitAdjustedLoss.from_labels(y).log_prior, expected)
    tensor = torch.from_numpy(np.append(y, [-100, -100])).reshape(2, -1)
    assert torch.equal(LogitAdjustedLoss.from_labels(tensor).log_prior, expected)
    void = LogitAdjustedLoss.from_labels(np.append(y, 255), ignore_index=255)
    assert torch.equal(void.log_prior, expected)
    more = LogitAdjustedLoss.from_labels(y, 7, smoothing=1)
    assert more.log_prior.numel() == 7


@pytest.mark.parametrize(
    ("y", "more", "error", "message"),
    [
        (["cat", "dog"], {}, TypeError, r"y must hold class numbers, got <U3; number the labels"),
        ([0.0, 1.0], {}, TypeError, "y must hold class numbers, got float64"),
        ([-1, -100], {}, InputError, "class numbers >= 0 or ignore_index -100, got -1"),
        ([-100, -100], {}, InputError, "ignore_index -100, got no other"),
        ([0, 7], {"n_classes": 5}, InputError, r"class numbers in \[0, 5\), got 7"),
        ([0, 2], {}, InputError, "prior must be > 0 for every class, got 0 for class 1"),
        ([0, 1], {"n_classes": 3}, InputError, "got 0 for class 2"),
    ],
)
def test_labels_that_cannot_be_counted(y, more, error, message):
    with pytest.raises(error, match=message):
        LogitAdjustedLoss.from_labels(y, **more)


@pytest.mark.parametrize(
    ("shape", "target", "error", "message"),
    [
        ((2, 4), [0, 1], InputError, r"logits must be of shape \(\.\.\., 5\)"),
        ((2, K), [0, K], InputError, r"class numbers in \[0, 5\) or ignore_index -100, got 5"),
        ((2, K), [0, -1], InputError, r"class numbers in \[0, 5\) or ignore_index -100, got -1"),
        ((2, K), [0, 1, 2], InputError, r"shape \(2,\) for logits of shape \(2, 5\), got \(3,\)"),
        ((2, K), [0.0, 1.0], InputError, r"of probabilities must be of shape \(2, 5\)"),
        ((1, K), [[0.5, 0, 0, 0, 0]], InputError, "rows that sum to 1"),
        ((1, K), [[1.5, -0.5, 0, 0, 0]], InputError, "rows that sum to 1"),
        ((2, K), [True, False], TypeError, r"class numbers or probabilities, got torch\.bool"),
    ],
)
def test_bad_input(shape, target, error, message):
    with pytest.raises(error, match=message):
        LogitAdjustedLoss(COUNTS)(torch.zeros(shape), torch.tensor(target))


def test_bad_parameters():
    with pytest.raises(TypeError, match=r"logits must be floating-point numbers, got torch\.int64"):
        LogitAdjustedLoss(COUNTS)(torch.zeros(2, K, dtype=torch.int64), torch.tensor([0, 1]))
    for more, message in (
        ({"reduction": "max"}, "reduction must be one of 'mean', 'sum', 'none', got 'max'"),
        ({"tau": -1}, "tau must be a finite number >= 0, got -1"),
        ({"label_smoothing": 2}, "label_smoothing must be a finite number in"),
        ({"smoothing": -1}, "smoothing must be a finite number >= 0, got -1"),
        ({"weight": torch.ones(3)}, r"weight must be of shape \(5,\), got shape \(3,\)"),
        ({"target_prior": [1, 1, 1, 1, 0]}, "target_prior must be > 0 for every class"),
    ):
        with pytest.raises(InputError, match=message):
            LogitAdjustedLoss(COUNTS, **more)


def test_one_class_and_many():
    assert LogitAdjustedLoss([5])(torch.zeros(3, 1), torch.zeros(3, dtype=torch.long)) == 0
    many = np.arange(1, 100_001)
    f = torch.zeros(2, many.size, requires_grad=True)
    value = LogitAdjustedLoss(many)(f, torch.tensor([0, 99_999]))
    expected = np.log(many.sum()) - np.log([1, 100_000]).mean()
    assert value.item() == pytest.approx(expected, rel=1e-5)
    value.backward()
    assert f.grad.sum(1).abs().max() < 1e-6


# --- what it learns


def gaussians(n, share, seed):
    """Points around ±(1, 1); class 1, around (1, 1), has this share."""
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < share).astype(np.int64)
    return rng.normal(size=(n, 2)) + np.where(y, 1, -1)[:, None], y


def balanced_error(predicted, y):
    return np.mean([(predicted[y == k] != k).mean() for k in (0, 1)])


def trained(loss, X, y):
    model = torch.nn.Linear(2, 2)
    torch.nn.init.zeros_(model.weight)
    torch.nn.init.zeros_(model.bias)
    X, y = torch.from_numpy(X).float(), torch.from_numpy(y)
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=50, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        value = loss(model(X), y)
        value.backward()
        return value

    optimizer.step(closure)
    difference = (model.weight[1] - model.weight[0]).detach(), model.bias[1] - model.bias[0]
    return difference[0].numpy(), difference[1].item()


def test_two_gaussians():
    """One in twenty, a million points: the boundary passes the origin, and the error is Bayes'."""
    X, y = gaussians(1_000_000, 0.05, 0)
    # for each class: the mean ± (1, 1) misses the origin's line by Phi(-sqrt 2)
    bayes, erm_rule = 0.0786496, 0.1808
    fit_X, fit_y = gaussians(100_000, 0.05, 1)
    for tau, expected, within in ((1.0, bayes, 0.002), (0.0, erm_rule, 0.004)):
        w, intercept = trained(LogitAdjustedLoss.from_labels(fit_y, tau=tau), fit_X, fit_y)
        found = balanced_error((X @ w + intercept > 0).astype(int), y)
        assert abs(found - expected) < within
        assert (abs(intercept) < 0.05) == (tau == 1)
    # the same line by the post-hoc rule on logistic regression
    model = LogisticRegression(C=np.inf).fit(fit_X, fit_y)
    share = fit_y.mean()
    assert abs(model.intercept_[0] - np.log(share / (1 - share))) < 0.05
    assert abs(model.intercept_[0]) > 2


def test_bias_form_learns_the_same():
    X, y = gaussians(2000, 0.1, 2)
    X, y = torch.from_numpy(X).float(), torch.from_numpy(y)
    counts = torch.bincount(y)
    results = []
    for fold in (False, True):
        torch.manual_seed(0)
        layer = torch.nn.Linear(2, 2)
        if fold:
            fold_prior(layer, counts)
        loss = torch.nn.CrossEntropyLoss() if fold else LogitAdjustedLoss(counts)
        optimizer = torch.optim.SGD(layer.parameters(), 0.5)
        for _ in range(50):
            optimizer.zero_grad()
            loss(layer(X), y).backward()
            optimizer.step()
        results.append(layer.eval()(X).detach())
    assert torch.allclose(*results, atol=1e-4)
