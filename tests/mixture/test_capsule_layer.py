"""The layer: its fast path is the plain one, and a torch module like any other."""

import copy
import itertools

import pytest
import torch
from torch.func import functional_call

from kexue._core import InputError
from kexue.mixture import CapsuleLayer, PrimaryCapsules, capsule_routing, margin_loss, squash
from kexue.mixture.capsule_routing import UPDATES
from kexue.mixture.squash import KINDS


def inputs(seed=0, shape=(3, 30, 6), dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.fixture(params=[True, False], ids=["shared", "unshared"])
def layer(request):
    torch.manual_seed(0)
    n = None if request.param else 30
    return CapsuleLayer(n, 6, 4, 5, shared=request.param)


@pytest.mark.parametrize(
    ("update", "kind", "n_iter"), list(itertools.product(UPDATES, KINDS, (1, 3)))
)
def test_the_fast_path_is_the_plain_one(update, kind, n_iter):
    torch.manual_seed(0)
    layer = CapsuleLayer(
        None, 6, 4, 5, shared=True, update=update, squash=kind, n_iter=n_iter, return_coupling=True
    )
    u, mask = inputs(), inputs(1)[:, :, 0] > -1
    weight = layer.weight
    u_hat = torch.stack(
        [torch.stack([u[:, i] @ weight[:, j] for j in range(4)], 1) for i in range(30)], 1
    )
    torch.testing.assert_close(layer.views(u), u_hat)
    for chosen in (None, mask):
        v, c = capsule_routing(u_hat, n_iter, update, kind, mask=chosen, return_coupling=True)
        torch.testing.assert_close(layer(u, chosen), v, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(layer.coupling_, c, rtol=1e-5, atol=1e-5)
    double = copy.deepcopy(layer).double()
    u = u.double()
    plain = capsule_routing(double.views(u), n_iter, update, kind)
    for fast, slow in zip(
        torch.autograd.grad(double(u).square().sum(), double.weight),
        torch.autograd.grad(plain.square().sum(), double.weight),
        strict=True,
    ):
        torch.testing.assert_close(fast, slow, rtol=1e-8, atol=1e-8)


def test_the_unshared_path_is_the_plain_one():
    torch.manual_seed(0)
    layer = CapsuleLayer(30, 6, 4, 5)
    u = inputs()
    u_hat = torch.stack(
        [torch.einsum("bi,ikd->bkd", u[:, n], layer.weight[n]) for n in range(30)], 1
    )
    torch.testing.assert_close(layer(u), capsule_routing(u_hat))


def test_order_does_not_matter(layer):
    u = inputs()
    order = torch.randperm(30, generator=torch.Generator().manual_seed(0))
    moved = copy.deepcopy(layer)
    if not layer.shared:
        moved.weight.data = layer.weight.data[order]
    torch.testing.assert_close(layer(u), moved(u[:, order]), rtol=1e-5, atol=1e-5)


def test_masking_is_deleting(layer):
    u = inputs()
    mask = torch.zeros(3, 30, dtype=torch.bool)
    mask[:, 10:25] = True
    cut = copy.deepcopy(layer)
    if not layer.shared:
        cut.weight.data, cut.in_capsules = layer.weight.data[10:25], 15
    spoilt = u.masked_fill(~mask[:, :, None], float("nan"))
    torch.testing.assert_close(layer(spoilt, mask), cut(u[:, 10:25]), rtol=1e-5, atol=1e-6)


def test_gradients(layer):
    double = copy.deepcopy(layer).double()
    u = inputs(shape=(2, 30, 6), dtype=torch.float64)
    for begin in (u, torch.zeros_like(u)):
        assert torch.autograd.gradcheck(double, begin.clone().requires_grad_(), fast_mode=True)
        weight = double.weight.detach().clone().requires_grad_()
        assert torch.autograd.gradcheck(
            lambda w, at=begin: functional_call(double, {"weight": w}, (at,)),
            weight,
            fast_mode=True,
        )


def test_is_a_module(layer):
    u = inputs()
    again = CapsuleLayer(layer.in_capsules, 6, 4, 5, shared=layer.shared)
    again.load_state_dict(layer.state_dict())
    assert torch.equal(again(u), layer(u))
    assert set(layer.state_dict()) == {"weight"}
    assert copy.deepcopy(layer).double()(u.double()).dtype == torch.float64
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = layer(u)
    torch.testing.assert_close(half.float(), layer(u), rtol=0, atol=0.05)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(u), layer(u))
    assert "n_iter=3" in repr(layer)
    assert layer.coupling_ is None


def test_any_number_of_inputs():
    layer = CapsuleLayer(None, 6, 4, 5, shared=True)
    for n in (1, 7, 100):
        assert layer(inputs(shape=(2, n, 6))).shape == (2, 4, 5)


def test_begins_with_a_soft_softmax():
    torch.manual_seed(0)
    layer = CapsuleLayer(1152, 8, 10, 16, return_coupling=True)
    layer(squash(inputs(shape=(2, 1152, 8))))
    c = layer.coupling_
    entropy = -(c * c.log()).sum(2).mean()
    assert entropy > 0.9 * torch.tensor(10.0).log()


def test_primary_capsules():
    torch.manual_seed(0)
    first = PrimaryCapsules(3, n_types=4, dim=5, kernel=3, stride=2)
    x = torch.randn(2, 3, 9, 9)
    u = first(x)
    assert u.shape == (2, 4 * 16, 5)
    maps = first.conv(x)
    torch.testing.assert_close(u[1, 2 * 16 + 7], squash(maps[1, 10:15, 1, 3]))
    assert (u.norm(dim=2) < 1).all()


def test_margin_loss_by_hand():
    lengths = torch.tensor([[0.8, 0.3, 0.05], [0.95, 0.2, 0.5]])
    first = 0.1**2 + 0.5 * 0.2**2
    torch.testing.assert_close(margin_loss(lengths[:1], torch.tensor([0])), torch.tensor(first))
    both = torch.tensor([[1, 0, 0], [1, 0, 1]])
    second = 0.4**2 + 0.5 * 0.1**2
    torch.testing.assert_close(margin_loss(lengths, both), torch.tensor((first + second) / 2))
    perfect = torch.tensor([[0.95, 0.05]])
    assert margin_loss(perfect, torch.tensor([0])) == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: CapsuleLayer(None, 6, 4, 5), "in_capsules must be an int >= 1 unless shared=True"),
        (lambda: CapsuleLayer(0, 6, 4, 5), "in_capsules must be an int >= 1, got 0"),
        (lambda: CapsuleLayer(3, 6, 4, 5, n_iter=0), "n_iter must be an int >= 1, got 0"),
        (lambda: CapsuleLayer(3, 6, 4, 5, beta=-1.0), "beta must be > 0, got -1.0"),
        (
            lambda: CapsuleLayer(20, 6, 4, 5)(inputs()),
            r"u must have shape \(B, 20, 6\), got \(3, 30, 6\)",
        ),
        (
            lambda: CapsuleLayer(None, 7, 4, 5, shared=True)(inputs()),
            r"u must have shape \(B, N, 7\), got \(3, 30, 6\)",
        ),
        (
            lambda: CapsuleLayer(30, 6, 4, 5)(inputs(), torch.arange(3)[:, None].expand(3, 30) > 0),
            "got none in row 0",
        ),
        (
            lambda: CapsuleLayer(30, 6, 4, 5)(inputs().index_fill(0, torch.tensor(1), torch.nan)),
            "u must be finite, got NaN or infinity in row 1",
        ),
        (lambda: PrimaryCapsules(3, dim=0), "dim must be an int >= 1"),
        (lambda: squash(inputs(), kind="relu"), "kind must be one of"),
        (lambda: squash(inputs(), eps=0), "eps must be"),
        (lambda: margin_loss(inputs(), torch.zeros(3)), r"lengths must have shape \(B, K\)"),
        (
            lambda: margin_loss(torch.zeros(2, 3), torch.tensor([0, 3])),
            r"target must be in \[0, 2\], got 3",
        ),
        (
            lambda: margin_loss(torch.zeros(2, 3), torch.tensor([0])),
            r"target must hold ints of shape \(2,\)",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()
