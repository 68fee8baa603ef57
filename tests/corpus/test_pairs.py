"""Pair counts against a double loop."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kexue._core import InputError
from kexue.corpus import count_pairs


def brute_force(ids, window, symmetric, weight, n):
    matrix = np.zeros((n, n))
    for i, left in enumerate(ids):
        for distance in range(1, window + 1):
            if i + distance >= len(ids) or min(ids[i : i + distance + 1]) < 0:
                break
            value = 1 / distance if weight == "harmonic" else 1
            matrix[left, ids[i + distance]] += value
            if symmetric:
                matrix[ids[i + distance], left] += value
    return matrix


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(-1, 5), max_size=40),
    st.integers(1, 6),
    st.booleans(),
    st.sampled_from(["flat", "harmonic"]),
)
def test_equals_a_double_loop(ids, window, symmetric, weight):
    found = count_pairs(
        np.array(ids, np.int32), window, symmetric=symmetric, weight=weight, n_tokens=6
    )
    expected = brute_force(ids, window, symmetric, weight, 6)
    assert np.abs(found.toarray() - expected).max() < 1e-12
    assert found.has_sorted_indices


def same(first, second):
    return all(
        getattr(first, name).tobytes() == getattr(second, name).tobytes()
        for name in ("indptr", "indices", "data")
    )


IDS = np.where(np.arange(30_000) % 97 == 96, -1, np.random.default_rng(0).zipf(1.3, 30_000) % 500)


@pytest.mark.parametrize(
    ("executor", "n_jobs"), [("thread", 1), ("thread", 3), ("process", 2), ("dask", 2)]
)
def test_same_matrix_whoever_counts(executor, n_jobs):
    reference = count_pairs(IDS, 5, weight="harmonic")
    options = {"executor": executor, "n_jobs": n_jobs, "memory": 500_000}
    assert same(count_pairs(IDS, 5, weight="harmonic", **options), reference)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-1, 5), max_size=40), st.integers(1, 6), st.integers(1, 3000))
def test_same_matrix_from_short_stretches(ids, window, memory):
    for weight in ("flat", "harmonic"):
        whole = count_pairs(np.array(ids, int), window, weight=weight, n_tokens=6)
        parts = count_pairs(
            np.array(ids, int), window, weight=weight, n_tokens=6, memory=memory, n_jobs=2
        )
        assert same(whole, parts)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: count_pairs([0, 1], 0), "window must be an int >= 1, got 0"),
        (lambda: count_pairs([0.5]), "token_ids must be a 1-D integer array, got float64"),
        (lambda: count_pairs([[0]]), r"of shape \(1, 1\)"),
        (lambda: count_pairs([7], n_tokens=5), "token_ids must be below n_tokens=5, got 7"),
        (lambda: count_pairs([0], executor="gpu"), "executor must be one of 'thread', 'process'"),
        (lambda: count_pairs([0], memory="x"), "memory must be a size"),
        (lambda: count_pairs([0], n_jobs=0), "n_jobs must be an int >= 1"),
        (lambda: count_pairs([0], weight="x"), "weight must be one of 'flat', 'harmonic'"),
    ],
)
def test_bad_input_is_answered_by_its_message(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_nothing_and_too_much():
    assert count_pairs([]).shape == (0, 0)
    assert count_pairs([], n_tokens=3).nnz == 0
    with pytest.raises(InputError, match=r"below 2\*\*31, got 1000000000000"):
        count_pairs([0, 10**12])


def test_ids_beyond_all_integers():
    with pytest.raises(InputError, match=f"got {2**64 - 1}"):
        count_pairs(np.array([0, 2**64 - 1, 1], np.uint64))
