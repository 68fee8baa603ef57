"""The optimal map and the geodesic."""

import numpy as np
import pytest

from kexue._core import InputError
from kexue.gaussian import Gaussian, geodesic, transport_map, wasserstein2

REGULAR = ("full", "diagonal", "factor", "isotropic", "diagonal + low rank")
FORMS = (*REGULAR, "thin factor")


@pytest.mark.parametrize("first", REGULAR)
@pytest.mark.parametrize("second", FORMS)
def test_the_map_takes_p_to_q_at_the_least_cost(make, first, second):
    p, q = make(first, seed=1), make(second, seed=2)
    move = transport_map(p, q)
    matrix, cov = np.asarray(move.matrix), np.asarray(p.cov)
    scale = abs(np.asarray(q.cov)).max()
    # a square factor has a condition of 5e3 here
    np.testing.assert_allclose(matrix @ cov @ matrix, q.cov, atol=1e-10 * scale)
    np.testing.assert_allclose(move(p.mean), q.mean, atol=1e-13)
    np.testing.assert_array_equal(matrix, matrix.T)
    assert np.linalg.eigvalsh(matrix).min() > -1e-12 * abs(matrix).max()
    # E |x - T x|^2, which of all symmetric maps is the distance
    apart = np.eye(12) - matrix
    cost = np.trace(apart @ cov @ apart) + np.sum((np.asarray(q.mean) - np.asarray(p.mean)) ** 2)
    assert float(wasserstein2(p, q, squared=True)) == pytest.approx(cost, rel=1e-10)


@pytest.mark.peer
def test_pot_has_the_same_map(make):
    ot = pytest.importorskip("ot")
    p, q = make("full", seed=9), make("full", seed=10)
    theirs, _ = ot.gaussian.bures_wasserstein_mapping(p.mean, q.mean, p.cov, q.cov)
    np.testing.assert_allclose(transport_map(p, q).matrix, theirs, atol=1e-10)


def test_points_go_where_the_map_takes_them(make):
    p, q = make("full", seed=3), make("full", seed=4)
    move = transport_map(p, q)
    points = p.sample(20_000, random_state=0)
    moved = np.asarray(move(points))
    assert moved.shape == (20_000, 12)
    np.testing.assert_allclose(move(points[7]), moved[7], atol=1e-13)
    cov = np.asarray(q.cov)
    error = 5 * np.sqrt((np.outer(np.diag(cov), np.diag(cov)) + cov**2) / 20_000)
    assert (abs(np.cov(moved.T) - cov) <= error).all()


def test_points_take_the_type_of_the_map(library):
    zero = np.zeros(2, np.float32)
    forms = (
        Gaussian.full(library(zero), library(np.eye(2, dtype=np.float32))),
        Gaussian.diag(library(zero), library(zero + 1)),
    )
    for gaussian in forms:
        move = transport_map(gaussian, gaussian)
        for points in (np.ones((3, 2)), np.ones((3, 2), np.int64)):
            found = move(library(points))
            assert found.dtype == gaussian.mean.dtype
            np.testing.assert_allclose(found, points, rtol=1e-6)


def test_diagonals_have_a_diagonal_map():
    move = transport_map(Gaussian.diag([0.0, 0.0], [1.0, 0.0]), Gaussian.diag([1, 2], [4.0, 0.0]))
    assert move.linear.tolist() == [2, 0]
    assert move([[1.0, 0.0]]).tolist() == [[3, 2]]


def test_within_a_plane(make):
    plane = np.linalg.qr(np.random.default_rng(0).normal(size=(9, 2)))[0]
    inner = np.random.default_rng(1).normal(size=(2, 2, 2))
    p, q = (Gaussian.from_factor(np.zeros(9), plane @ factor) for factor in inner)
    matrix = transport_map(p, q).matrix
    np.testing.assert_allclose(matrix @ p.cov @ matrix, q.cov, atol=1e-12)


@pytest.mark.parametrize("first", FORMS)
@pytest.mark.parametrize("second", FORMS)
def test_the_geodesic_is_a_straight_line(make, first, second):
    p, q = make(first, seed=5), make(second, seed=6)
    distance = float(wasserstein2(p, q))
    for t in (0.0, 0.25, 0.5, 1.0):
        middle = geodesic(p, q, t)
        assert float(wasserstein2(p, middle)) == pytest.approx(t * distance, rel=1e-9, abs=1e-6)
        assert float(wasserstein2(middle, q)) == pytest.approx(
            (1 - t) * distance, rel=1e-9, abs=1e-6
        )
    if first != "thin factor":
        matrix = np.asarray(transport_map(p, q).matrix)
        half = (np.eye(12) + matrix) / 2
        np.testing.assert_allclose(
            geodesic(p, q, 0.5).cov, half @ np.asarray(p.cov) @ half, atol=1e-9
        )


def test_batches(make):
    p, q = make("full", seed=7, batch=(3,)), make("full", seed=8)
    move, middle = transport_map(p, q), geodesic(p, q, 0.5)
    assert tuple(move.matrix.shape) == (3, 12, 12)
    assert middle.batch_shape == (3,)
    points = p.sample(5, random_state=0)
    points = points.swapaxes(0, 1)
    np.testing.assert_allclose(move(points)[1], transport_map(p[1], q)(points[1]), atol=1e-11)
    np.testing.assert_allclose(middle[2].cov, geodesic(p[2], q, 0.5).cov, atol=1e-12)


def test_bad_input_is_named(make):
    line, plane = Gaussian.diag([0.0, 0.0], [1.0, 0.0]), Gaussian.diag([0.0, 0.0], [1.0, 1.0])
    full, flat = Gaussian.full([0.0] * 2, line.cov), Gaussian.diag([0.0, 0.0], [1.0, 1e-12])
    for p, q in ((line, plane), (full, plane), (full, flat)):
        with pytest.raises(InputError, match="q must lie within the range of p, which is singular"):
            transport_map(p, q)
    with pytest.raises(InputError, match=r"t must be a finite number in \[0, 1\], got 1.5"):
        geodesic(line, plane, 1.5)
    with pytest.raises(InputError, match=r"X must be of shape \(..., N, 2\), got \(3,\)"):
        transport_map(plane, line)(np.zeros(3))
    with pytest.raises(TypeError, match="q must be a Gaussian, got int"):
        transport_map(plane, 3)
