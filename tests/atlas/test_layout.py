"""The map: neighbours stay neighbours, here or in a process beside."""

import sys

import numpy as np
import pytest
from scipy import sparse

from kexue.atlas import layout
from kexue.atlas.layout import lay_out, nearest_lists, plane_beside, umap_plane
from kexue.atlas.placing import nearest_words


@pytest.fixture(scope="module")
def groups():
    """Return vectors of three tight groups of forty."""
    rng = np.random.default_rng(0)
    centres = np.repeat(np.eye(3, 20), 40, axis=0)
    return (centres + 0.1 * rng.standard_normal(centres.shape)).astype(np.float32)


def test_groups_stay_together_and_the_process_beside_gives_the_same(groups, monkeypatch, tmp_path):
    # whatever lies in the working directory, and whatever is printed when Python starts
    for name in ("here", "site"):
        (tmp_path / name).mkdir()
    for module in ("umap", "kexue", "numpy"):
        (tmp_path / "here" / f"{module}.py").write_text("raise SystemExit('the wrong one')")
    (tmp_path / "site" / "sitecustomize.py").write_text("print('hello')")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    nearest = nearest_words(groups, 1)
    worth = np.arange(120.0)
    here = lay_out(groups, nearest, worth, 7, umap_plane)
    with plane_beside(True) as plane:
        there = lay_out(groups, nearest, worth, 7, plane)
    assert np.array_equal(here, there)
    between = np.linalg.norm(here[:, None] - here[None], axis=2)
    np.fill_diagonal(between, np.inf)
    assert np.mean(between.argmin(axis=1) // 40 == np.arange(120) // 40) > 0.95


def test_words_of_less_worth_stand_between_their_neighbours(groups, monkeypatch):
    monkeypatch.setattr(layout, "MOST_LAID_OUT", 60)
    nearest = nearest_words(groups, 1)
    worth = np.where(np.arange(120) % 2, 2.0, 1.0)

    def line(vectors, indices, distances, seed):
        return np.column_stack((np.arange(len(vectors)), np.zeros(len(vectors)))).astype(np.float32)

    places = lay_out(groups, nearest, worth, 0, line)
    assert places[1::2, 0].tolist() == list(range(60))
    dense = nearest.toarray()
    for word in range(0, 120, 2):
        weight = dense[word, 1::2]
        assert places[word, 0] == pytest.approx(weight @ np.arange(60) / weight.sum(), rel=1e-5)


def test_a_word_that_umap_leaves_out_spoils_no_other(groups, monkeypatch):
    monkeypatch.setattr(layout, "MOST_LAID_OUT", 60)
    nearest = nearest_words(groups, 1)
    worth = np.where(np.arange(120) % 2, 2.0, 1.0)

    def all_but_one(vectors, indices, distances, seed):
        places = np.ones((len(vectors), 2), np.float32)
        places[7] = np.nan
        return places

    # the eighth of the words of odd number has a place between its neighbours then, as all have
    assert lay_out(groups, nearest, worth, 0, all_but_one) == pytest.approx(1.0)


def test_few_or_lonely_words_have_no_place(groups):
    few = groups[:40]
    assert np.isnan(lay_out(few, nearest_words(few, 1), np.ones(40), 0, umap_plane)).all()
    nearest = nearest_words(np.vstack((groups, np.zeros((1, 20), np.float32))), 1)
    vectors = np.vstack((groups, np.zeros((1, 20), np.float32)))

    def anywhere(vectors, indices, distances, seed):
        return np.zeros((len(vectors), 2), np.float32)

    for n, placed in ((49, False), (50, True)):
        some = groups[:n]
        places = lay_out(some, nearest_words(some, 1), np.ones(n), 0, anywhere)
        assert np.isfinite(places).all() == placed
    places = lay_out(vectors, nearest, np.ones(121), 0, anywhere)
    assert np.isnan(places[120]).all()
    assert not np.isnan(places[:120]).any()


def test_neighbour_lists_begin_with_the_word_itself():
    nearest = sparse.csr_array(np.array([[0, 0.5, 0.9], [0.5, 0, 0], [0, 0, 0]]))
    indices, distances = nearest_lists(nearest, 3)
    assert indices.tolist() == [[0, 2, 1], [1, 0, -1], [2, -1, -1]]
    expected = [[0, 0.1, 0.5], [0, 0.5, np.inf], [0, np.inf, np.inf]]
    assert distances == pytest.approx(np.array(expected), abs=1e-7)


def test_a_process_that_fails_says_why(groups, monkeypatch):
    nearest = nearest_words(groups, 1)
    with plane_beside(True) as plane, pytest.raises(RuntimeError, match="the layout of the map"):
        plane(groups, "no array", nearest, 0, "one too many")
    with plane_beside(True):
        pass  # never asked: it is ended
