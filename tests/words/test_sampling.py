"""Random and best segmentations: against all of them, listed one by one."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from kexue._core import InputError
from kexue.corpus.scripts import DIGIT, EXTENDING, JOINING, LETTER, character_classes, fold_table
from kexue.words import UnigramTokenizer

NOVEL = {
    "红": 5,
    "楼": 4,
    "梦": 6,
    "红楼": 9,
    "楼梦": 3,
    "红楼梦": 2,
    "梦红": 2,
    "12": 3,
    "一梦红": 1,
}
ANY = st.characters() | st.sampled_from("红楼梦a1 \0\u3099\ud800😀e\u0301")


def cuts(text, atoms):
    kinds = [character_classes()[ord(c)] for c in text]
    places = [0]
    for i in range(1, len(text)):
        mark = kinds[i] == EXTENDING and kinds[i - 1] in (JOINING, EXTENDING)
        run = atoms == "auto" and kinds[i] == kinds[i - 1] and kinds[i] in (LETTER, DIGIT)
        if not (mark or run):
            places.append(i)
    return [*places, len(text)] if text else [0]


def segmentations(text, tokenizer):
    """Return every segmentation with its cost in units, as a dict."""
    words, places = tokenizer.words, cuts(text, tokenizer.atoms)
    units = {word: round(-math.log2(n / tokenizer.total) * 2**24) for word, n in words.items()}

    def ways(k):
        if k == len(places) - 1:
            yield 0, ()
            return
        for end in range(k + 1, len(places)):
            token = text[places[k] : places[end]]
            folded = "".join(chr(fold_table()[ord(c)]) for c in token)
            is_word = folded in words
            if end > k + 1 and not (is_word and len(cuts(folded, tokenizer.atoms)) > 2):
                continue
            cost = units[folded] if is_word else round(math.log2(2 * tokenizer.total) * 2**24)
            for rest, tail in ways(end):
                yield cost + rest, (token, *tail)

    return {tokens: cost for cost, tokens in ways(0)}


PIECES = st.text("红楼梦ab 1２!④\u3099", min_size=1, max_size=3)
LEXICA = st.dictionaries(PIECES, st.integers(1, 9), min_size=1, max_size=8)
TEXTS = st.text("红楼梦ab 1２!④\u3099", max_size=8)


@settings(max_examples=200, deadline=None)
@given(LEXICA, TEXTS, st.integers(1, 300), st.sampled_from(["auto", "character"]))
def test_nbest_are_the_first_of_all_in_order(words, text, k, atoms):
    tokenizer = UnigramTokenizer(words, atoms=atoms)
    found = segmentations(text, tokenizer)
    # least cost, then fewer words, then the longer first word, and so on
    ordered = sorted(found, key=lambda t: (found[t], len(t), [-len(token) for token in t]))
    best = tokenizer.nbest(text, k)
    assert [tuple(tokens) for tokens, _ in best] == ordered[:k]
    # costs are rounded to 2**-25 bit a token
    expected = [found[tokens] / 2**24 for tokens in ordered[:k]]
    assert [bits for _, bits in best] == pytest.approx(expected, abs=1e-6)
    assert best[0][0] == tokenizer.tokenize(text)
    assert best[0][1] == tokenizer.bits(text)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0, 1.5])
def test_samples_are_as_frequent_as_they_are_probable(alpha):
    tokenizer = UnigramTokenizer(NOVEL)
    text = "红楼梦红楼"
    paths = segmentations(text, tokenizer)
    weights = {tokens: 2.0 ** (-alpha * cost / 2**24) for tokens, cost in paths.items()}
    total = sum(weights.values())
    drawn = Counter(map(tuple, tokenizer.sample(text, alpha, random_state=0, size=100_000)))
    assert set(drawn) <= set(paths)
    assert len(paths) > 8
    expected = np.array([100_000 * weights[tokens] / total for tokens in paths])
    assert expected.min() > 5  # where the test's distribution holds
    observed = np.array([drawn[tokens] for tokens in paths])
    assert chisquare(observed, expected).pvalue > 0.01
    # the same test tells a wrong exponent
    wrong = np.array([2.0 ** (-(alpha + 0.05) * cost / 2**24) for cost in paths.values()])
    assert chisquare(observed, 100_000 * wrong / wrong.sum()).pvalue < 1e-6


@settings(max_examples=300, deadline=None)
@given(LEXICA, TEXTS, st.floats(0, 4), st.integers(0, 9))
def test_samples_are_segmentations(words, text, alpha, seed):
    tokenizer = UnigramTokenizer(words)
    paths = segmentations(text, tokenizer)
    drawn = tokenizer.sample(text, alpha, seed, size=5)
    assert all(tuple(tokens) in paths for tokens in drawn)
    assert drawn == tokenizer.sample(text, alpha, seed, size=5)
    assert drawn[0] == tokenizer.sample(text, alpha, seed)


@settings(max_examples=300, deadline=None)
@given(st.text(ANY, max_size=40))
def test_no_character_is_lost(text):
    tokenizer = UnigramTokenizer({"红楼": 3, "the": 9, "a b": 2, "😀": 1, "e\u0301": 1})
    for tokens in tokenizer.sample(text, 0.1, 0, size=3):
        assert "".join(tokens) == text
    for tokens, _ in tokenizer.nbest(text, 3):
        assert "".join(tokens) == text


def test_large_alpha_is_the_best_and_infinity_is_too():
    tokenizer = UnigramTokenizer(NOVEL)
    text = "红楼梦一梦红12楼" * 50
    best = tokenizer.tokenize(text)
    assert tokenizer.sample(text, math.inf, 0) == best
    assert tokenizer.sample(text, 1e6, 0) == best
    assert tokenizer.sample(text, 1.0, 0) != best
    assert tokenizer.sample(text, math.inf, 0, size=2) == [best, best]


@pytest.mark.parametrize("alpha", [0.0, 1.0, 50.0])
def test_long_texts_neither_overflow_nor_underflow(alpha):
    tokenizer = UnigramTokenizer(NOVEL)
    n = 60_000
    tokens = tokenizer.sample("红楼梦" * n, alpha, random_state=3)
    assert "".join(tokens) == "红楼梦" * n
    # from here on every stretch of three characters has the same law, up to its two ends
    stretch = Counter(tokens)
    if alpha == 50.0:
        assert set(stretch) == set(tokenizer.tokenize("红楼梦" * 9))
    else:
        assert min(stretch[word] for word in ("红", "楼", "梦", "红楼", "梦红")) > n / 100


def test_uniform_is_uniform_over_paths_not_over_words():
    # one word or three: two ways, each half of the time
    tokenizer = UnigramTokenizer({"红楼梦": 1, "红": 9, "楼": 9, "梦": 9})
    drawn = tokenizer.sample("红楼梦", 0.0, 1, size=10_000)
    # four standard deviations
    assert abs(sum(len(tokens) == 1 for tokens in drawn) - 5_000) < 200


def test_generators_go_on():
    tokenizer = UnigramTokenizer(NOVEL)
    rng = np.random.default_rng(0)
    draws = [tokenizer.sample("红楼梦" * 9, 0.1, rng) for _ in range(5)]
    assert any(a != b for a, b in itertools.pairwise(draws))


def test_of_nothing_there_is_one_segmentation():
    tokenizer = UnigramTokenizer(NOVEL)
    assert tokenizer.sample("") == []
    assert tokenizer.sample("", size=2) == [[], []]
    assert tokenizer.sample("红", size=0) == []
    assert tokenizer.nbest("", 3) == [([], 0.0)]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda t: t.sample("a", -1.0), InputError, "alpha must be a finite number >= 0.0, got -1"),
        (lambda t: t.sample("a", math.nan), InputError, "alpha must be a finite number"),
        (lambda t: t.sample("a", size=-1), InputError, "size must be an int >= 0, got -1"),
        (lambda t: t.sample(b"a"), TypeError, "text must be a str, got bytes"),
        (lambda t: t.sample("a", 1.0, -1), InputError, "random_state must be None"),
        (lambda t: t.nbest("a", 0), InputError, "k must be an int >= 1, got 0"),
        (lambda t: t.nbest("a", 1.5), TypeError, "k must be an int >= 1, got 1.5"),
        (lambda t: t.nbest(None, 1), TypeError, "text must be a str, got NoneType"),
    ],
)
def test_bad_input_is_answered_by_its_message(call, error, message):
    with pytest.raises(error, match=message):
        call(UnigramTokenizer(NOVEL))
