"""The methods of word discovery, each against a plain program of its definition."""

import math
from collections import Counter
from itertools import combinations, pairwise

import numpy as np
import pytest
from polars.testing import assert_frame_equal

from kexue._core import InputError
from kexue.corpus import as_texts, count_ngrams
from kexue.corpus.texts import DOCUMENT_END
from kexue.words import WordDiscoverer, charlm, nvbe, solidity
from kexue.words.pair import without_redundant
from kexue.words.pricing import balanced_price, description_lengths
from kexue.words.tokenizer import token_cuts

RNG = np.random.default_rng(0)
WORDS = ["春", "花秋", "月何时", "了", "往事知", "多少"]
TEXT = ["".join(WORDS[i] for i in RNG.integers(0, 6, 12)) for _ in range(40)] + ["，。", "了，了"]
JOINING = nvbe.joining_characters("auto")


@pytest.fixture(scope="module")
def text():
    codes = as_texts(TEXT).codes()
    return codes, token_cuts(codes, "auto")


def pieces(codes, begins):
    starts = np.append(np.flatnonzero(begins), codes.size)
    return ["".join(map(chr, codes[a:b])) for a, b in pairwise(starts) if codes[a] < DOCUMENT_END]


def plain_solidity(counts, word):
    n = counts.total
    return min(
        (
            math.log(n * counts[word] / (counts[word[:j]] * counts[word[j:]]))
            for j in range(1, len(word))
        ),
        default=math.inf,
    )


@pytest.fixture(scope="module")
def counts():
    return count_ngrams(TEXT, 4)


def test_solidity(counts):
    for order, found in enumerate(solidity.solidity(counts, 4, dict(counts.suffix_links())), 1):
        names = counts.to_polars(order)["ngram"]
        np.testing.assert_allclose(found, [plain_solidity(counts, w) for w in names], rtol=1e-12)


@pytest.mark.parametrize(("longest", "least"), [(2, (0, 1.0)), (4, (0, 1, 1.5, 2))])
def test_the_union_of_accepted_ngrams(text, counts, longest, least):
    codes, cuts = text
    accepted = solidity.accept(codes, JOINING, longest, 3, least)
    found = pieces(codes, accepted.segment(codes, cuts))
    expected = []
    for line in TEXT:
        joined = set()
        for i in range(len(line)):
            for size in range(2, longest + 1):
                word = line[i : i + size]
                frequent = len(word) == size and counts.count(word) >= 3
                if frequent and plain_solidity(counts, word) >= least[size - 1]:
                    joined |= set(range(i + 1, i + size))
        edges = [i for i in range(len(line)) if i not in joined] + [len(line)]
        expected += [line[a:b] for a, b in pairwise(edges)]
    assert found == expected
    assert max(map(len, found)) > longest
    assert min(map(len, found)) == 1


def test_pieces_are_checked_against_what_made_them(text, counts):
    codes, _ = text
    accepted = solidity.accept(codes, JOINING, 3, 3, (0, 1, 2))
    words = sorted(
        {line[i : i + n] for line in TEXT[:5] for n in (1, 2, 3, 4, 5) for i in range(20)}
    )
    words = [w for w in words if w]
    kept = spelled(accepted.checked(as_spans(Counter(words))))
    good = {
        w for w in counts.to_polars(3)["ngram"] if counts[w] >= 3 and plain_solidity(counts, w) >= 2
    }
    expected = {
        w for w in words if len(w) < 3 or all(w[i : i + 3] in good for i in range(len(w) - 2))
    }
    assert set(kept) == expected
    assert 0 < len(expected) < len(words)


def as_spans(words):
    symbols = as_texts(["".join(words)]).codes()[:-1]
    offsets = np.concatenate(([0], np.cumsum([len(w) for w in words])))
    return symbols, offsets, np.array(list(words.values()))


def spelled(words):
    symbols, offsets, counts = words
    text = "".join(map(chr, symbols))
    return {text[a:b]: n for (a, b), n in zip(pairwise(offsets.tolist()), counts, strict=True)}


def segmentations(word):
    for k in range(len(word)):
        for inner in combinations(range(1, len(word)), k):
            yield [word[a:b] for a, b in pairwise((0, *inner, len(word)))]


def plain_removal(words, least):
    counts = words + Counter(set("".join(words)))
    for length in sorted({len(w) for w in counts if len(w) > 1}, reverse=True):
        total = sum(counts.values())
        judged = {}
        for word in [w for w in counts if len(w) == length]:
            ways = (
                parts
                for parts in segmentations(word)
                if len(parts) > 1 and all(p in counts for p in parts)
            )
            best = max(ways, key=lambda ps: sum(math.log(counts[p] / total) for p in ps))
            explained = sum(math.log(counts[p] / total) for p in best)
            if math.log(counts[word] / total) - explained < (length - 1) * least:
                judged[word] = best
        for word, parts in judged.items():
            for part in parts:
                counts[part] += counts[word]
        for word in judged:
            del counts[word]
    return dict(counts)


@pytest.mark.parametrize("least", [1.0, 2.0, 2.5])
def test_words_that_their_parts_explain(least):
    rng = np.random.default_rng(1)
    # primes as counts, so that no two segmentations are equally good
    primes = [p for p in range(2, 2000) if all(p % d for d in range(2, 45) if d < p)]
    words = Counter()
    for size in (1, 2, 2, 2, 3, 3, 4, 5) * 8:
        word = "".join(chr(0x4E00 + i) for i in rng.integers(0, 6, size))
        words[word] = int(rng.choice(primes)) * (30 if size == 1 else 1)
    expected = plain_removal(words, least)
    found = spelled(without_redundant(as_spans(words), least=least, min_share=0.0))
    assert found == expected
    assert len(expected) < len(words)


def test_states_of_a_character_model(text, counts):
    codes, cuts = text
    n = 3
    begins = charlm.segment(codes, cuts, JOINING, max_length=n)

    def log_given(word):
        return math.log(counts[word] / (counts[word[:-1]] if len(word) > 1 else counts.total))

    def score(line, states):
        return sum(log_given(line[i - s : i + 1]) for i, s in enumerate(states))

    def best(line):
        paths = {0: (log_given(line[0]), [0])}
        for i in range(1, len(line)):
            following = {}
            for state, (value, path) in paths.items():
                for to in {0, min(state + 1, n - 1)}:
                    total = value + log_given(line[i - to : i + 1])
                    if to not in following or total > following[to][0]:
                        following[to] = (total, [*path, to])
            paths = following
        return max(value for value, _ in paths.values())

    start = 0
    for line in TEXT[:40]:
        states, state = [], 0
        for i in range(len(line)):
            state = 0 if begins[start + i] else min(state + 1, n - 1)
            states.append(state)
        assert score(line, states) == pytest.approx(best(line), rel=1e-12)
        start += len(line) + 1


def test_word_scores(counts):
    """The formula, written out, of some n-grams of every order."""
    found = nvbe.word_scores(counts, 3, dict(counts.suffix_links()))
    names = {o: counts.to_polars(o)["ngram"].to_list() for o in (1, 2, 3)}
    entropy = {
        (side, o): dict(zip(names[o], counts.entropy(side, o).tolist(), strict=True))
        for side in ("left", "right")
        for o in (1, 2, 3)
    }

    def rise(side, word):
        inner = word[:-1] if side == "right" else word[1:]
        return entropy[side, len(word)][word] - (entropy[side, len(inner)][inner] if inner else 0.0)

    for order in (1, 2, 3):
        means = {s: np.mean([rise(s, w) for w in names[order]]) for s in ("left", "right")}
        for row, word in enumerate(names[order][::7]):
            autonomy = sum(rise(s, word) - means[s] for s in means)
            inside = plain_solidity(counts, word) - 2 * (order - 1) if order > 1 else 0.0
            number = counts[word]
            expected = (order * autonomy + 1.5 * inside) * number / (number + 2)
            assert found[order - 1][7 * row] == pytest.approx(expected, abs=1e-12)


def test_the_price_lies_between_two_codes(monkeypatch, text):
    codes, cuts = text
    lattice = nvbe.lattice(codes, cuts, JOINING, max_length=4)
    lengths = iter([(5.0, 9.0), (4.0, 8.0), (6.0, 7.0), (7.0, 3.0), *[(9.0, 9.0)] * 5])
    monkeypatch.setattr("kexue.words.pricing.description_lengths", lambda *_: next(lengths))
    assert balanced_price(lattice, codes) == -2.0  # midway between -1 and -3


@pytest.mark.parametrize("texts", [["你好 hello"], ["กิ่"], ["!!"], ["春"], ["3.14 кот 春花"]])
@pytest.mark.parametrize("method", ["nvbe", "ngram", "pair", "charlm"])
def test_plain_and_little_texts(method, texts):
    model = WordDiscoverer(method, max_length=3).fit(texts)
    assert ["".join(words) for words in model.transform(texts)] == texts


def test_rare_pieces_are_dropped_at_once():
    words = as_spans(Counter({"春花": 1, "秋月": 1000, "春": 5000, "花": 5000}))
    assert "春花" not in spelled(without_redundant(words, least=-99.0, min_share=1e-3))
    assert "春花" in spelled(without_redundant(words, least=-99.0, min_share=0.0))


def test_another_method_forgets_the_price():
    model = WordDiscoverer().fit(TEXT)
    assert model.penalty_ == -5.0
    assert not hasattr(model.set_params(method="pair").fit(TEXT), "penalty_")
    with_array = WordDiscoverer("ngram", min_pmi=np.array([0.0, 2.0, 4.0, 6.0])).fit(TEXT)
    assert with_array.words_.equals(WordDiscoverer("ngram").fit(TEXT).words_)


def test_description_lengths(text):
    codes, cuts = text
    starts = np.append(
        np.flatnonzero(nvbe.lattice(codes, cuts, JOINING, max_length=4).segment(-4.0)), codes.size
    )
    tokens = [tuple(codes[a:b].tolist()) for a, b in pairwise(starts)]
    uses, letters = Counter(tokens), Counter(codes.tolist())
    n, size = len(tokens), codes.size
    entry = {w: 3 + sum(-math.log2(letters[c] / size) for c in w) for w in uses}
    listed = sum(-k * math.log2(k / n) for k in uses.values()) + sum(entry.values())
    once = [w for w, k in uses.items() if k == 1]
    assert once
    escaped = sum(-k * math.log2(k / n) for k in uses.values() if k > 1) + sum(entry.values())
    escaped -= len(once) * math.log2(len(once) / n)
    found = description_lengths(codes, starts)
    assert found == pytest.approx((listed / size, escaped / size), rel=1e-12)


def test_the_price_from_the_text(text):
    codes, cuts = text
    model = WordDiscoverer(penalty="mdl").fit(TEXT)
    lattice = nvbe.lattice(codes, cuts, JOINING, max_length=4)
    assert model.penalty_ == balanced_price(lattice, codes)
    assert -8.0 <= model.penalty_ <= 0.0
    assert WordDiscoverer(penalty=-3).fit(TEXT).penalty_ == -3.0


@pytest.mark.parametrize("method", ["nvbe", "ngram", "pair", "charlm"])
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_every_method_loses_nothing(method, n_jobs):
    model = WordDiscoverer(method, n_jobs=n_jobs).fit(TEXT)
    assert ["".join(words) for words in model.transform(TEXT)] == TEXT
    again = WordDiscoverer(method).fit(TEXT[::-1]).words_
    # sums of the same numbers in another order
    assert_frame_equal(model.words_, again, abs_tol=1e-12, rel_tol=1e-12, check_exact=False)
    assert [name for name, _ in model.ledger_] == ["alphabet", "characters", "words"]
    bits = [value for _, value in model.ledger_]
    assert bits == sorted(bits, reverse=True)


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"penalty": "bits"}, TypeError, "penalty must be a finite number"),
        (
            {"method": "charlm", "max_length": 1},
            InputError,
            r"max_length must be an int in \[2, 8\]",
        ),
        ({"min_pmi": "entropy"}, InputError, "min_pmi must be one of 'auto', got 'entropy'"),
        (
            {"method": "ngram", "min_pmi": (0, 1)},
            InputError,
            r"min_pmi must hold a number for each length up to max_length=4 .*, got \(0, 1\)",
        ),
    ],
)
def test_bad_parameters(parameters, error, message):
    with pytest.raises(error, match=message):
        WordDiscoverer(**parameters).fit(TEXT)
