"""The family of pairwise margins against its formula, term by term."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from kexue._core import InputError
from kexue.losses import LogitAdjustedLoss, PairwiseMarginLoss

COUNTS = np.array([500, 120, 33, 8])
K = COUNTS.size
PRESETS = ["erm", "class_balanced", "ldam", "equalised", "logit_adjusted"]


def batch(n=30):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(n, K, generator=generator, dtype=torch.float64) * 3
    return logits.requires_grad_(), torch.randint(0, K, (n,), generator=generator)


def by_definition(logits, target, margins, alpha):
    """The formula of the class, one row and one rival at a time."""
    losses = []
    for f, y in zip(logits.tolist(), target.tolist(), strict=True):
        total = sum(np.exp(margins[y, j] + f[j] - f[y]) for j in range(K) if j != y)
        losses.append(alpha[y] * np.log1p(total))
    return losses


def margins_and_weights(name, tau=1.0, beta=0.9999, max_margin=0.5):
    """Section by section as the papers have them."""
    pi, n = COUNTS / COUNTS.sum(), COUNTS.astype(float)
    zero, ones = np.zeros((K, K)), np.ones(K)
    if name == "class_balanced":
        alpha = (1 - beta) / (1 - beta**n)
        return zero, alpha / alpha.mean()
    if name == "ldam":
        C = max_margin * n.min() ** 0.25
        return np.tile((C * n**-0.25)[:, None], K), ones
    if name == "equalised":
        return np.tile(tau * np.log(pi), (K, 1)), ones
    if name == "logit_adjusted":
        return tau * np.log(pi[None, :] / pi[:, None]), ones
    return zero, ones


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("tau", [0.5, 1.0])
def test_presets_by_definition(name, tau):
    logits, target = batch()
    margins, alpha = margins_and_weights(name, tau)
    expected = by_definition(logits, target, margins, alpha)
    preset = PairwiseMarginLoss.preset(name, COUNTS, tau=tau, reduction="none")
    general = PairwiseMarginLoss(margins, alpha, reduction="none")
    for loss in (preset, general):
        assert loss(logits, target).tolist() == pytest.approx(expected, abs=1e-10)


def test_members_that_have_names_elsewhere():
    logits, target = batch()
    erm = PairwiseMarginLoss.preset("erm", COUNTS)
    assert erm(logits, target).item() == pytest.approx(F.cross_entropy(logits, target).item())
    adjusted = PairwiseMarginLoss.preset("logit_adjusted", COUNTS, tau=1.4)
    expected = LogitAdjustedLoss(COUNTS, 1.4)(logits, target).item()
    assert adjusted(logits, target).item() == pytest.approx(expected, abs=1e-12)


def test_consistent_members_share_their_minimiser():
    """One point, classes by their prior: margins and weights of the rule leave f = 0 at a minimum.

    What minimises the expected loss at a point where p(x|y) is the same for all y must not
    prefer a class. LDAM and equalised margins do.
    """
    pi = torch.tensor(COUNTS / COUNTS.sum())
    weights = torch.tensor([0.3, 2.0, 1.0, 5.0], dtype=torch.float64)
    products = torch.log(weights * pi)
    for loss, level in (
        (PairwiseMarginLoss((products, products), weights, reduction="none"), True),
        (PairwiseMarginLoss.preset("logit_adjusted", COUNTS, reduction="none"), True),
        (PairwiseMarginLoss((np.zeros(K), np.zeros(K)), 1 / pi, reduction="none"), True),
        (PairwiseMarginLoss.preset("ldam", COUNTS, reduction="none"), False),
        (PairwiseMarginLoss.preset("equalised", COUNTS, reduction="none"), False),
        (PairwiseMarginLoss.preset("erm", COUNTS, reduction="none"), False),
    ):
        f = torch.zeros(K, dtype=torch.float64, requires_grad=True)
        (pi * loss(f.expand(K, K), torch.arange(K))).sum().backward()
        assert (float(f.grad.abs().max()) < 1e-12) == level


@pytest.mark.parametrize("name", PRESETS)
def test_gradients_and_ignored_rows(name):
    logits, target = batch(6)
    loss = PairwiseMarginLoss.preset(name, COUNTS, ignore_index=-1)
    assert torch.autograd.gradcheck(lambda f: loss(f, target), (logits,))
    marked = torch.cat([target, torch.tensor([-1, -1])])
    more = torch.cat([logits, torch.full((2, K), torch.nan)])
    assert loss(more, marked).item() == pytest.approx(loss(logits, target).item(), abs=1e-12)
    apart = PairwiseMarginLoss.preset(name, COUNTS, reduction="none")
    assert apart(logits.reshape(2, 3, K), target.reshape(2, 3)).shape == (2, 3)


def test_state_dict_half_and_one_graph():
    loss = PairwiseMarginLoss.preset("ldam", COUNTS)
    other = PairwiseMarginLoss.preset("ldam", [5, 4, 3, 2])
    other.load_state_dict(loss.state_dict())
    logits, target = batch()
    assert torch.equal(other(logits, target), loss(logits, target))
    assert loss(logits.half(), target).dtype == torch.float32
    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
    assert compiled(logits, target).item() == pytest.approx(loss(logits, target).item())


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: PairwiseMarginLoss(np.zeros((2, 3))), InputError, r"shape \(K, K\), got \(2, 3\)"),
        (lambda: PairwiseMarginLoss(([0.0], [0.0, 1.0])), InputError, "alike, got 1 and 2"),
        (lambda: PairwiseMarginLoss(([0.0],)), InputError, r"a pair \(rival, own\), got 1"),
        (lambda: PairwiseMarginLoss(["a"]), TypeError, "margins must hold numbers"),
        (lambda: PairwiseMarginLoss([[np.nan]]), InputError, "margins must be finite"),
        (lambda: PairwiseMarginLoss(np.eye(2), [1, -1]), InputError, "alpha must be 2 weights"),
        (lambda: PairwiseMarginLoss.preset("focal", COUNTS), InputError, "name must be one of"),
        (lambda: PairwiseMarginLoss.preset("erm", [1, 0]), InputError, "counts must be > 0"),
        (
            lambda: PairwiseMarginLoss.preset("class_balanced", [0.5, 0.5]),
            InputError,
            "counts >= 1, rows rather than shares",
        ),
        (
            lambda: PairwiseMarginLoss(np.eye(2))(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]])),
            TypeError,
            "target must be class numbers",
        ),
        (
            lambda: PairwiseMarginLoss(np.eye(2))(torch.zeros(1, 2), torch.tensor([2])),
            InputError,
            r"class numbers in \[0, 2\)",
        ),
    ],
)
def test_bad_input(make, error, message):
    with pytest.raises(error, match=message):
        make()
