"""Gradients: against differences, at p = q, with repeated eigenvalues, and in a training loop."""

import numpy as np
import pytest

from kexue.gaussian import (
    Gaussian,
    bhattacharyya,
    fid,
    geodesic,
    hellinger,
    jeffreys,
    kl,
    transport_map,
    wasserstein2,
)

torch = pytest.importorskip("torch")

SMOOTH = {
    "kl": kl,
    "bhattacharyya": bhattacharyya,
    "squared wasserstein2": lambda p, q: wasserstein2(p, q, squared=True),
    "squared hellinger": lambda p, q: hellinger(p, q, squared=True),
    "jeffreys": jeffreys,
}
ROOTS = {"wasserstein2": wasserstein2, "hellinger": hellinger}
# of the shapes of what a Gaussian is made of, and of how
FORMS = {
    "full": (((3,), (3, 3)), lambda m, a: Gaussian.full(m, a @ a.mT + torch.eye(3).to(a))),
    "diagonal": (((3,), (3,)), lambda m, a: Gaussian.diag(m, a**2 + 0.1)),
    "factor": (((3,), (3, 3)), Gaussian.from_factor),
    "cholesky": (
        ((3,), (3, 3)),
        lambda m, a: Gaussian.from_factor(m, a.tril(-1) + torch.diag_embed(a.diagonal().exp())),
    ),
    "thin factor": (((3,), (3, 2)), Gaussian.from_factor),
    "isotropic": (
        ((4,), (1,), (4, 1)),
        lambda m, d, a: Gaussian.lowrank(m, d**2 + 0.1, a),
    ),
    "diagonal + low rank": (
        ((4,), (4,), (4, 1)),
        lambda m, d, a: Gaussian.lowrank(m, d**2 + 0.1, a),
    ),
}


def arguments(form, seed):
    torch.manual_seed(seed)
    shapes, _ = FORMS[form]
    return [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]


@pytest.mark.parametrize(
    ("form", "name"),
    # of two planes all else is infinite
    [
        (form, name)
        for form in FORMS
        for name in (*SMOOTH, *ROOTS)
        if form != "thin factor" or "wasserstein2" in name
    ],
)
def test_against_differences(form, name):
    distance, (_, make) = (SMOOTH | ROOTS)[name], FORMS[form]
    first, second = arguments(form, 0), arguments(form, 1)

    def value(*parts):
        return distance(make(*parts[: len(first)]), make(*parts[len(first) :]))

    assert torch.autograd.gradcheck(value, (*first, *second), eps=1e-6, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("form", ["full", "isotropic", "diagonal + low rank"])
@pytest.mark.parametrize("name", ["kl", "bhattacharyya"])
def test_against_differences_near_each_other(form, name):
    """Where the ways for near covariances are taken."""
    distance, (_, make) = SMOOTH[name], FORMS[form]
    first = arguments(form, 2)
    second = [(part.detach() * 1.01).requires_grad_() for part in first]

    def value(*parts):
        return distance(make(*parts[: len(first)]), make(*parts[len(first) :]))

    assert torch.autograd.gradcheck(value, (*first, *second), eps=1e-6, atol=1e-7, rtol=1e-4)


@pytest.mark.parametrize(
    ("forms", "name"),
    [
        (forms, name)
        for forms in (
            *((form, form) for form in FORMS),
            ("full", "diagonal"),
            ("diagonal", "factor"),
            ("thin factor", "cholesky"),
            ("isotropic", "diagonal + low rank"),
        )
        for name in SMOOTH
        if "thin factor" not in forms or "wasserstein2" in name
    ],
)
def test_second_derivatives_are_right_or_refused(forms, name):
    """A factor that is held fixed in the first derivative must not pass for a constant."""
    distance = SMOOTH[name]
    first, second = (arguments(form, seed) for seed, form in enumerate(forms))

    def value(*parts):
        p = FORMS[forms[0]][1](*parts[: len(first)])
        return distance(p, FORMS[forms[1]][1](*parts[len(first) :]))

    if forms == ("isotropic", "isotropic") or (
        "wasserstein2" in name and forms != ("diagonal", "diagonal")
    ):
        with pytest.raises(RuntimeError, match=r"create_graph=True asks .* can be differentiated"):
            torch.autograd.grad(value(*first, *second), first, create_graph=True)
    else:
        parts = (*first, *second)
        gradients = torch.autograd.grad(value(*parts), parts, create_graph=True)
        torch.manual_seed(2)
        step = [torch.randn_like(part) for part in parts]
        along = sum((g * s).sum() for g, s in zip(gradients, step, strict=True))
        found = torch.autograd.grad(along, parts)
        ends = []
        for size in (1e-5, -1e-5):
            moved = [
                (part.detach() + size * s).requires_grad_()
                for part, s in zip(parts, step, strict=True)
            ]
            ends.append(torch.autograd.grad(value(*moved), moved))
        expected = [(there - back) / 2e-5 for there, back in zip(*ends, strict=True)]
        torch.testing.assert_close(found, tuple(expected), rtol=1e-5, atol=1e-5)


def test_second_derivatives_of_one_dimension_are_refused():
    zero, four = torch.zeros(1).double(), torch.full((1, 1), 4.0).double()

    def square(matrix, make=Gaussian.full):
        return wasserstein2(make(zero, matrix), Gaussian.full(zero + 1, four), squared=True)

    for make in (Gaussian.full, Gaussian.from_factor):
        with pytest.raises(RuntimeError, match="create_graph=True asks for a second derivative: w"):
            torch.autograd.functional.hessian(lambda m, make=make: square(m, make), four / 2)

    def way(matrix):
        return geodesic(Gaussian.full(zero, matrix), Gaussian.full(zero, four), 0.5).cov

    with pytest.raises(RuntimeError, match="geodesic and transport_map can be differentiated once"):
        torch.autograd.functional.hessian(way, four / 2)


@pytest.mark.parametrize("var", [1.0, 1.05, 1.2])
@pytest.mark.parametrize(
    ("name", "share"),
    [
        ("kl", lambda v: v**-2 / 2),
        ("bhattacharyya", lambda v: v**-2 / 4 - (1 + v) ** -2 / 2),
    ],
)
def test_second_derivatives_with_repeated_eigenvalues(name, share, var):
    """Where those of eigenvectors do not exist: in every direction of unit length the same."""
    zero, one = torch.zeros(3, dtype=torch.float64), torch.eye(3, dtype=torch.float64)

    def value(cov):
        return SMOOTH[name](Gaussian.full(zero, (cov + cov.mT) / 2), Gaussian.full(zero, one))

    hessian = torch.autograd.functional.hessian(value, var * one)
    for direction in (torch.diag(one[0]), torch.ones_like(one) / 3):
        found = (hessian * direction[..., None, None] * direction).sum()
        assert found.item() == pytest.approx(share(var), rel=1e-12)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", [*SMOOTH, *ROOTS])
def test_zero_where_p_is_q(form, name):
    distance, (_, make) = (SMOOTH | ROOTS)[name], FORMS[form]
    first = arguments(form, 3)
    second = [part.detach().clone().requires_grad_() for part in first]
    value = distance(make(*first), make(*second))
    assert value.item() == 0
    for gradient in torch.autograd.grad(value, [*first, *second]):
        assert (gradient == 0).all()


@pytest.mark.parametrize("name", [*SMOOTH, *ROOTS])
@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_with_repeated_eigenvalues(name, scale):
    """S2 = s^2 I against I, of which all eigenvalues, relative and singular, are equal."""
    distance = (SMOOTH | ROOTS)[name]
    zero = torch.zeros(4, dtype=torch.float64)
    cov = (scale**2 * torch.eye(4, dtype=torch.float64)).requires_grad_()
    p = Gaussian.full(zero, torch.eye(4, dtype=torch.float64))
    (gradient,) = torch.autograd.grad(distance(p, Gaussian.full(zero, cov)), [cov])
    # the same in every direction: that of diagonals
    var = torch.full((4,), scale**2, dtype=torch.float64, requires_grad=True)
    diagonal = distance(Gaussian.diag(zero, zero + 1), Gaussian.diag(zero, var))
    (expected,) = torch.autograd.grad(diagonal, [var])
    torch.testing.assert_close(gradient, torch.diag(expected), rtol=1e-12, atol=1e-15)


def test_of_wasserstein_is_the_identity_less_the_map():
    parts = arguments("full", 4), arguments("full", 5)
    p, q = (FORMS["full"][1](*part) for part in parts)
    cov = p.cov.detach().requires_grad_()
    p = Gaussian.full(p.mean.detach(), cov)
    (gradient,) = torch.autograd.grad(wasserstein2(p, q, squared=True), [cov])
    expected = torch.eye(3, dtype=torch.float64) - transport_map(p, q).matrix
    torch.testing.assert_close(gradient, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("form", ["full", "factor", "cholesky", "thin factor"])
@pytest.mark.parametrize("t", [0.0, 0.3, 1.0])
def test_of_a_geodesic(form, t):
    first, second = arguments(form, 6), arguments(form, 7)
    make = FORMS[form][1]

    def middle(*parts):
        found = geodesic(make(*parts[: len(first)]), make(*parts[len(first) :]), t)
        return found.mean, found.cov

    assert torch.autograd.gradcheck(middle, (*first, *second), eps=1e-6, atol=1e-6, rtol=1e-5)


def test_of_a_geodesic_to_a_plane():
    """Of which the rotation is not unique, and the way is."""
    torch.manual_seed(10)
    square, thin = (torch.randn(5, r, dtype=torch.float64, requires_grad=True) for r in (5, 2))
    zero = torch.zeros(5, dtype=torch.float64)

    def middle(a, b):
        return geodesic(Gaussian.from_factor(zero, a), Gaussian.from_factor(zero, b), 0.3).cov

    assert torch.autograd.gradcheck(middle, (square, thin), eps=1e-6, atol=1e-6, rtol=1e-5)
    # the same plane by more columns than it has dimensions, whose singular values are rounding
    wide = thin.detach() @ torch.linalg.qr(torch.randn(5, 2, dtype=torch.float64))[0].T
    weights = torch.randn(5, 5, dtype=torch.float64)
    found, expected = (
        torch.autograd.grad((middle(square, b) * weights).sum(), [square])[0] for b in (wide, thin)
    )
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("form", ["full", "factor", "cholesky"])
def test_of_a_map(form):
    first, second = arguments(form, 8), arguments(form, 9)
    make = FORMS[form][1]

    def matrix(*parts):
        return transport_map(make(*parts[: len(first)]), make(*parts[len(first) :])).matrix

    with torch.no_grad():
        expected = matrix(*first, *second)
    torch.testing.assert_close(matrix(*first, *second), expected, rtol=1e-9, atol=1e-9)
    assert torch.autograd.gradcheck(matrix, (*first, *second), eps=1e-6, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_of_ways_between_equal_eigenvalues(scale):
    """Where the derivatives of singular vectors are not defined, and that of the way is."""
    zero, one = torch.zeros(3, dtype=torch.float64), torch.eye(3, dtype=torch.float64)
    cov = (scale**2 * one).requires_grad_()
    middle = geodesic(Gaussian.full(zero, one), Gaussian.full(zero, cov), 0.25).cov
    (gradient,) = torch.autograd.grad(middle.trace(), [cov])
    # of ((3 + s) / 4)^2 with s^2 the variance
    torch.testing.assert_close(gradient, (3 + scale) / 16 / scale * one)
    matrix = transport_map(Gaussian.full(zero, one), Gaussian.full(zero, cov)).matrix
    (gradient,) = torch.autograd.grad(matrix.trace(), [cov])
    torch.testing.assert_close(gradient, one / (2 * scale))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_near_equals_have_small_gradients(dtype):
    """Where the derivative of a singular value decomposition is infinite."""
    torch.manual_seed(0)
    factor = torch.linalg.qr(torch.randn(6, 6, dtype=dtype))[0].requires_grad_()
    zero = torch.zeros(6, dtype=dtype)
    standard = Gaussian.from_factor(zero, torch.eye(6, dtype=dtype))
    value = wasserstein2(Gaussian.from_factor(zero, factor), standard, squared=True)
    (gradient,) = torch.autograd.grad(value, [factor])
    assert gradient.abs().max() < 100 * torch.finfo(dtype).eps


def test_batches_share_gradients():
    mean = torch.zeros(3, dtype=torch.float64)
    shared = torch.randn(3, 3, dtype=torch.float64, requires_grad=True)
    many = torch.randn(7, 3, 3, dtype=torch.float64, requires_grad=True)
    one, batch = Gaussian.from_factor(mean, shared), Gaussian.from_factor(mean, many)
    wasserstein2(one, batch, squared=True).sum().backward()
    assert shared.grad.shape == (3, 3)
    alone = torch.zeros(3, 3, dtype=torch.float64)
    for k in range(7):
        piece = wasserstein2(one, Gaussian.from_factor(mean, many[k].detach()), squared=True)
        alone += torch.autograd.grad(piece, [shared])[0]
    torch.testing.assert_close(shared.grad, alone)


def test_training_ends_at_the_target():
    """Descent on W2^2 to where p = q, which is where other gradients become NaN."""
    torch.manual_seed(1)
    target = Gaussian.from_factor(torch.ones(4).double(), torch.randn(4, 2).double())
    mean = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    factor = torch.randn(4, 2, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([mean, factor], lr=0.2)
    for _ in range(200):
        optimizer.zero_grad()
        loss = wasserstein2(Gaussian.from_factor(mean, factor), target, squared=True)
        loss.backward()
        optimizer.step()
    assert loss.item() < 1e-25
    np.testing.assert_allclose((factor @ factor.T).detach(), target.cov, atol=1e-12)


def test_fid_has_a_gradient():
    torch.manual_seed(2)
    X = torch.randn(5, 8, dtype=torch.float64, requires_grad=True)
    Y = torch.randn(6, 8, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda X: fid(X, Y), (X,), atol=1e-6)
    X = torch.randn(12, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda X: fid(X, Y[:, :3]), (X,), atol=1e-6)
