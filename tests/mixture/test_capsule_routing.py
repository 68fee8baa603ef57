"""Routing: its identities, its fixed points, and the softmax over the right axis."""

import numpy as np
import pytest
import torch

from kexue._core import InputError
from kexue.mixture import capsule_routing, squash
from kexue.mixture.capsule_routing import UPDATES
from kexue.mixture.squash import KINDS

LENGTHS = {
    "hinton": lambda n: n**2 / (1 + n**2),
    "su": lambda n: n**2 / (0.5 + n**2),
    "tanh": np.tanh,
    "exp": lambda n: 1 - np.exp(-n),
    None: lambda n: n,
}


def proposals(seed, shape=(3, 20, 4, 5), scale=1.0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(shape, generator=generator, dtype=dtype)


def routed_by_hand(u_hat, n_iter, update, kind, beta, axis=1):
    """Return centres and couplings of one sample (N, K, D), loop by loop."""
    n, k, d = u_hat.shape
    b = np.zeros((n, k))
    for t in range(n_iter):
        c = np.exp(b) / np.exp(b).sum(axis, keepdims=True)
        s = np.zeros((k, d))
        for i in range(n):
            for j in range(k):
                s[j] += c[i, j] * u_hat[i, j]
        length = np.linalg.norm(s, axis=1, keepdims=True)
        out = LENGTHS[kind](length) * s / length
        if t < n_iter - 1:
            v = s / length if update == "replace" else out
            agreement = beta * np.array([[u_hat[i, j] @ v[j] for j in range(k)] for i in range(n)])
            b = agreement if update == "replace" else b + agreement
    return out, c


# --- squash


@pytest.mark.parametrize("kind", KINDS)
def test_squash_keeps_direction_and_bounds_length(kind):
    s = proposals(0, (50, 3), scale=2.0)
    v = squash(s, kind=kind)
    n = s.norm(dim=1).numpy()
    np.testing.assert_allclose(v.norm(dim=1).numpy(), LENGTHS[kind](n), rtol=1e-5)
    torch.testing.assert_close((v * s).sum(1), v.norm(dim=1) * s.norm(dim=1))
    torch.testing.assert_close(squash(s.T, dim=0, kind=kind), v.T)
    if kind is not None:
        assert (v.norm(dim=1) < 1).all()
        assert squash(1e4 * s, kind=kind).norm(dim=1).min() > 0.99


@pytest.mark.parametrize("kind", KINDS)
def test_squash_has_a_gradient_at_zero(kind):
    s = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: squash(x, kind=kind), s)
    assert squash(s, kind=kind).abs().max() == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_squash_in_half_precision_does_not_overflow(dtype):
    v = squash(torch.full((2, 4), 3e4, dtype=dtype))
    assert v.dtype == dtype
    assert v.float().norm(dim=1).numpy() == pytest.approx(1, abs=1e-2)


# --- routing


@pytest.mark.parametrize("update", UPDATES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_iter", [1, 2, 5])
def test_is_the_loop_as_written(update, kind, n_iter):
    u_hat = proposals(1, scale=0.5)
    v, c = capsule_routing(u_hat, n_iter, update, kind, beta=0.7, return_coupling=True)
    for sample in range(len(u_hat)):
        out, coupling = routed_by_hand(u_hat[sample].numpy(), n_iter, update, kind, 0.7)
        np.testing.assert_allclose(v[sample], out, atol=1e-6)
        np.testing.assert_allclose(c[sample], coupling, atol=1e-6)


@pytest.mark.parametrize("update", UPDATES)
def test_one_iteration_is_a_mean(update):
    u_hat = proposals(2)
    v, c = capsule_routing(u_hat, 1, update, squash=None, return_coupling=True)
    torch.testing.assert_close(v, u_hat.mean(1) * 20 / 4, rtol=1e-13, atol=1e-13)
    assert (c == 0.25).all()


def test_each_input_shares_itself_out():
    u_hat = proposals(3)
    _, c = capsule_routing(u_hat, return_coupling=True)
    torch.testing.assert_close(c.sum(2), torch.ones(3, 20, dtype=torch.float64))
    assert (c.sum(1) - c.sum(1).mean()).abs().max() > 0.1
    # what many published layers do: the softmax over the inputs
    _, wrong = routed_by_hand(u_hat[0].numpy(), 3, "replace", "su", 1.0, axis=0)
    np.testing.assert_allclose(wrong.sum(0), 1)
    assert np.abs(wrong.sum(1) - 1).max() > 0.5


def test_converges_to_the_fixed_point():
    u_hat = proposals(4, (30, 40, 5, 6), scale=0.5)
    v, c = capsule_routing(u_hat, 500, squash=None, return_coupling=True)
    centres = v / v.norm(dim=2, keepdim=True)
    again = torch.einsum("bnkd,bkd->bnk", u_hat, centres).softmax(2)
    s = torch.einsum("bnk,bnkd->bkd", again, u_hat)
    torch.testing.assert_close(s / s.norm(dim=2, keepdim=True), centres, rtol=0, atol=1e-6)
    assert c.amax(2).mean() < 0.7  # and stays soft


def test_accumulating_hardens():
    u_hat = proposals(5, (30, 20, 5, 8))
    largest = []
    for n_iter in (3, 20, 200):
        _, c = capsule_routing(u_hat, n_iter, "accumulate", return_coupling=True)
        largest.append(c.amax(2).median().item())
    assert largest[0] < largest[1] < largest[2]
    assert largest[2] > 0.999
    assert (c.amax(2) > 0.99).double().mean() > 0.99


@pytest.mark.parametrize("update", UPDATES)
def test_order_does_not_matter(update):
    u_hat = proposals(7)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        capsule_routing(u_hat, update=update), capsule_routing(u_hat[:, order], update=update)
    )
    # a sample knows nothing of the others
    torch.testing.assert_close(
        capsule_routing(u_hat, update=update)[1:], capsule_routing(u_hat[1:], update=update)
    )


def test_masking_is_deleting():
    u_hat = proposals(8)
    mask = torch.ones(3, 20, dtype=torch.bool)
    mask[0, 5:] = False
    mask[1, :3] = False
    v, c = capsule_routing(u_hat, mask=mask, return_coupling=True)
    torch.testing.assert_close(v[:1], capsule_routing(u_hat[:1, :5]))
    torch.testing.assert_close(v[1:2], capsule_routing(u_hat[1:2, 3:]))
    torch.testing.assert_close(v[2:], capsule_routing(u_hat[2:]))
    torch.testing.assert_close(c.sum(2), mask.double())
    spoilt = u_hat.masked_fill(~mask[:, :, None, None], float("nan")).requires_grad_()
    found = capsule_routing(spoilt, mask=mask)
    assert torch.equal(found, v)
    found.sum().backward()
    assert spoilt.grad.isfinite().all()


@pytest.mark.parametrize("update", UPDATES)
@pytest.mark.parametrize("kind", ["su", "hinton", None])
def test_gradients(update, kind):
    u_hat = proposals(9, (2, 4, 3, 2)).requires_grad_()

    def routed(x):
        return capsule_routing(x, 3, update, kind)

    assert torch.autograd.gradcheck(routed, u_hat)
    # s = 0
    assert torch.autograd.gradcheck(routed, torch.zeros_like(u_hat).requires_grad_())
    pairs = torch.cat([u_hat, -u_hat], 1).detach().requires_grad_()
    assert capsule_routing(pairs, 1, squash=None).abs().max() < 1e-15
    assert torch.autograd.grad(routed(pairs).sum(), pairs)[0].isfinite().all()


def test_detached_routing_keeps_the_values():
    u_hat = proposals(10).requires_grad_()
    v, c = capsule_routing(u_hat, squash=None, detach_routing=True, return_coupling=True)
    torch.testing.assert_close(v, capsule_routing(u_hat, squash=None))
    (grad,) = torch.autograd.grad(v.sum(), u_hat)
    torch.testing.assert_close(grad, c[..., None].expand_as(u_hat))


def test_compiles():
    # without a compiler of C++ the graph is still made, and must be one
    compiled = torch.compile(capsule_routing, fullgraph=True, backend="aot_eager")
    u_hat, mask = proposals(11), torch.rand(3, 20) < 0.7
    mask[:, 0] = True
    torch.testing.assert_close(compiled(u_hat, mask=mask), capsule_routing(u_hat, mask=mask))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_follows_the_dtype(dtype):
    u_hat = proposals(12, dtype=torch.float32, scale=0.3)
    v = capsule_routing(u_hat.to(dtype))
    assert v.dtype == dtype
    np.testing.assert_allclose(v.float(), capsule_routing(u_hat), atol=0.05)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n_iter": 0}, InputError, "n_iter must be an int >= 1, got 0"),
        ({"n_iter": 1.5}, TypeError, "n_iter must be an int >= 1, got 1.5"),
        ({"update": "add"}, InputError, "update must be one of 'replace', 'accumulate', got 'add'"),
        (
            {"squash": "relu"},
            InputError,
            "squash must be one of 'su', 'hinton', 'tanh', 'exp', None",
        ),
        ({"beta": 0.0}, InputError, "beta must be > 0, got 0.0"),
        ({"mask": torch.ones(3, 20)}, TypeError, "mask must be a bool tensor, got torch.float32"),
        (
            {"mask": torch.ones(3, 19, dtype=torch.bool)},
            InputError,
            r"mask must have shape \(3, 20\), got \(3, 19\)",
        ),
        (
            {"mask": torch.tensor([[True], [False], [True]]).expand(3, 20)},
            InputError,
            "mask must leave each sample a valid input, got none in row 1",
        ),
    ],
)
def test_bad_parameters_are_named(options, error, message):
    with pytest.raises(error, match=message):
        capsule_routing(proposals(0), **options)


def test_bad_proposals_are_named():
    with pytest.raises(
        InputError, match=r"u_hat must be a floating tensor of shape \(B, N, K, D\)"
    ):
        capsule_routing(torch.zeros(2, 3, 4))
    u_hat = proposals(0)
    u_hat[2, 3, 1, 0] = float("nan")
    with pytest.raises(InputError, match="u_hat must be finite, got NaN or infinity in row 2"):
        capsule_routing(u_hat)
