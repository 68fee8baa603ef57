"""Vectors of words and documents, and which words are placed."""

import numpy as np
import pytest
from scipy import sparse

from kexue.atlas import placing
from kexue.atlas.placing import document_vectors, similarity_network, word_vectors
from kexue.corpus.texts import as_texts
from kexue.words.tokens import Tokens


def characters(texts):
    """Return texts with every character a word."""
    codes = as_texts(texts).codes()
    return Tokens.from_starts(codes, np.arange(codes.size + 1))


@pytest.mark.parametrize("kind", ["ppmi", "jose"])
@pytest.mark.parametrize(("most", "n_placed"), [(12, 12), (11, 9), (10, 9), (9, 9), (8, 6)])
def test_of_too_many_words_those_used_most_are_placed(monkeypatch, kind, most, n_placed):
    """Words used equally often are placed together or not at all."""
    rng = np.random.default_rng(0)
    uses = np.repeat([40, 30, 20, 10], 3)
    walk = rng.permutation(np.repeat(list("abcdefghijkl"), uses))
    tokens = characters(["".join(walk) + " "] * 2)
    monkeypatch.setattr(placing, "MOST_PLACED", most)
    vectors, placed = word_vectors(
        tokens, kind=kind, n_components=50, min_count=2, seed=0, n_jobs=1
    )
    spelled = [tokens.spellings[word] for word in placed]
    assert sorted(spelled) == [" ", *"abcdefghijkl"[:n_placed]]  # the blank is one more
    assert vectors.shape == (n_placed + 1, max(2, n_placed // 4))
    assert np.flatnonzero(~vectors.any(axis=1)).tolist() == [spelled.index(" ")]
    assert np.all(np.diff(tokens.counts[placed]) <= 0)


def test_links_are_of_cosine_at_least_three_tenths():
    nearest = sparse.csr_array(np.array([[0, 0.3, 0.29], [0.9, 0, 0], [0.1, 0.31, 0]]))
    expected = [[0, 0.3, 0], [0.9, 0, 0], [0, 0.31, 0]]
    found = similarity_network(nearest)
    assert found.toarray().tolist() == expected
    assert found.nnz == 3
    assert nearest.nnz == 5


def test_a_document_points_where_its_rarer_words_do():
    vectors = np.array([[2.0, 0.0], [0.0, 5.0]], np.float32)
    rows, documents = np.array([0, 1, 0, 0, -1, 1, -1]), np.array([0, 0, 1, 1, 1, 3, 2])
    found = document_vectors(rows, documents, 4, vectors, np.array([0.1, 0.001]))
    first = np.array([0.001 / 0.101, 0.5])
    expected = [first / np.linalg.norm(first), [1, 0], [0, 0], [0, 1]]
    assert found == pytest.approx(np.array(expected), abs=1e-6)
    assert found.dtype == np.float32
