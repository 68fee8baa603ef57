"""PPMI vectors against the matrices they are made of."""

import itertools

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone

from kexue._core import InputError
from kexue.vectors import PPMI, positive_pmi

DOCUMENTS = [["a", "b", "c", "a"], ["b", "c", "d"], ["a", "b", "d", "d"]]


def test_positive_pmi_by_definition():
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 4, (6, 9)).astype(float)
    p = counts / counts.sum()
    with np.errstate(divide="ignore"):
        pmi = np.log(p / np.outer(p.sum(1), p.sum(0)))
    found = positive_pmi(sparse.csr_array(counts)).toarray()
    assert np.abs(found - np.maximum(pmi, 0)).max() < 1e-12


def test_full_rank_keeps_all_inner_products():
    """With as many components as words and exponent 1, vectors have the matrix's Gram matrix."""
    model = PPMI(4, window=1, min_count=1, exponent=1.0).fit(DOCUMENTS)
    ids = {word: i for i, word in enumerate(model.words_)}
    counts = np.zeros((4, 8))
    for document in DOCUMENTS:
        for left, right in itertools.pairwise(document):
            counts[ids[right], ids[left]] += 1
            counts[ids[left], 4 + ids[right]] += 1
    matrix = positive_pmi(sparse.csr_array(counts)).toarray()
    # vectors are float32
    assert np.abs(model.vectors_ @ model.vectors_.T - matrix @ matrix.T).max() < 1e-5


def test_direction_is_kept():
    """Words that precede and words that follow the same word are told apart."""
    documents = [[a, "x", b] for a in "abc" for b in "def"] * 5
    model = PPMI(3, window=1, min_count=1).fit(documents)
    unit = model.vectors_ / np.linalg.norm(model.vectors_, axis=1, keepdims=True)
    of = {word: unit[i] for i, word in enumerate(model.words_)}
    assert of["a"] @ of["b"] > 0.99
    assert of["a"] @ of["d"] < 0.01


@pytest.mark.parametrize("n_components", [2, 3, 5, 7, 100])
@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_words_in_the_same_company_have_the_same_vector(n_components, exponent):
    """Whatever the rank: directions in which the matrix is zero must not count."""
    documents = [["x", "a", "y"], ["x", "b", "y"], ["y", "c", "z"], ["z", "d", "x"]] * 5
    model = PPMI(n_components, window=1, exponent=exponent).fit(documents)
    a, b = model.words_.index("a"), model.words_.index("b")
    assert model.vectors_[a] == pytest.approx(model.vectors_[b], abs=1e-5)
    assert model.vectors_.shape[1] == model.singular_values_.size <= 7


def test_truncated_agrees_with_dense_svd():
    rng = np.random.default_rng(1)
    ids = rng.zipf(1.5, 20_000) % 400
    model = PPMI(20, min_count=1, random_state=0, exponent=1.0).fit_ids(ids)
    full = PPMI(400, min_count=1, random_state=0).fit_ids(ids)
    # the randomised SVD comes close from below; a spectrum of mere noise, as here, is its
    # hardest case
    assert model.singular_values_[:5] == pytest.approx(full.singular_values_[:5], rel=0.01)
    assert np.all(model.singular_values_ <= full.singular_values_[:20] * (1 + 1e-6))


def test_one_seed_one_result():
    ids = np.random.default_rng(2).zipf(1.4, 5000) % 300
    first, again, other = (PPMI(30, random_state=s).fit_ids(ids).vectors_ for s in (3, 3, 4))
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()


def test_boundaries_and_rare_words():
    model = PPMI(2, min_count=2).fit(DOCUMENTS)
    assert model.words_ == ["a", "b", "d", "c"]
    assert PPMI(2, min_count=3).fit(DOCUMENTS).words_ == ["a", "b", "d"]
    assert clone(model).get_params() == model.get_params()


@pytest.mark.parametrize(
    ("parameters", "documents", "error", "message"),
    [
        ({}, "abc", TypeError, "documents must be an iterable of str, got one str"),
        ({}, ["abc"], TypeError, "each document must be an iterable of str, got one str"),
        ({"min_count": 9}, DOCUMENTS, InputError, "no word occurs min_count=9 times among 11"),
        ({}, [], InputError, "there is no token in the documents"),
        ({}, [[], []], InputError, "there is no token in the documents"),
        ({"n_components": 0}, DOCUMENTS, InputError, "n_components must be an int >= 1, got 0"),
        ({"window": 0}, DOCUMENTS, InputError, "window must be an int >= 1, got 0"),
        ({"min_count": 1}, [["a"], ["b"]], InputError, "no two words are neighbours more often"),
        ({"smoothing": 2}, DOCUMENTS, InputError, r"smoothing must be a finite number in \[0, 1\]"),
    ],
)
def test_bad_input_is_answered_by_its_message(parameters, documents, error, message):
    with pytest.raises(error, match=message):
        PPMI(**parameters).fit(documents)
