"""Sentence templates: against brute force, and the code that they shorten against its decoder."""

import itertools
import lzma
import math
import random
import time
from collections import Counter

import mpmath
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

from kexue._core import InputError
from kexue.words import TemplateFinder, WordDiscoverer
from kexue.words import _template_kernels as kernels
from kexue.words.sentences import Sentences, split_sentences
from kexue.words.templates import code_length_change, spell_template, strong_pairs

NOUNS = [f"n{i}" for i in range(300)]


def lines(path):
    with lzma.open(path, "rt", encoding="utf-8") as file:
        return [line for line in file.read().splitlines() if line.strip()]


@pytest.fixture(scope="module")
def novel(data):
    texts = lines(data("zh-novels/hongloumeng.txt.xz"))
    return split_sentences(WordDiscoverer().fit(texts).transform(texts))


# What a merge changes


def code_length(symbols):
    """T = f(N) - sum f(N_w), nats, to 40 digits."""
    with mpmath.workdps(40):
        counts = Counter(symbols).values()
        return sum(counts) * mpmath.log(sum(counts)) - sum(n * mpmath.log(n) for n in counts)


def merge(symbols, parts):
    """Replace what can be found of `parts`, from the left and without overlap, by one symbol."""
    merged, i = [], 0
    while i < len(symbols):
        if symbols[i : i + len(parts)] == parts:
            merged.append(tuple(parts))
            i += len(parts)
        else:
            merged.append(symbols[i])
            i += 1
    return merged


@pytest.mark.parametrize("parts", ["ab", "aa", "abc", "aba", "aaa", "abba"])
def test_change_of_code_length_is_exact(parts):
    """200 random merges for each kind of template, repeated words among them."""
    parts = list(parts)
    for seed in range(200):
        draw = random.Random(seed)
        symbols = draw.choices("abcde", k=draw.randint(1, 300)) + parts
        merged = merge(symbols, parts)
        joined = merged.count(tuple(parts))
        counts = Counter(symbols)
        change = code_length_change(
            len(symbols),
            np.array([[counts[w] for w in parts]]),
            np.array([[parts.count(w) for w in parts]]),
            np.array([joined]),
        )[0]
        exact = float(code_length(merged) - code_length(symbols))
        assert change == pytest.approx(exact, rel=1e-9, abs=1e-12)


def test_a_pair_pays_from_one_nat_on():
    counts = np.array([[900, 1500]] * 3)
    change = code_length_change(10**6, counts, np.ones_like(counts), np.array([3, 4, 5]))
    assert change[0] > 0 > change[1]
    assert change[2] == pytest.approx(-1.569, abs=5e-4)


# Links and paths


def test_strong_pairs_by_brute_force():
    draw = random.Random(1)
    sentences = [draw.choices("abcdef", weights=[9, 5, 3, 2, 1, 1], k=8) for _ in range(60)]
    pairs = Counter(
        (s[i], s[j]) for s in sentences for i in range(8) for j in range(i + 1, min(8, i + 4))
    )
    left, right = Counter(), Counter()
    for (a, b), n in pairs.items():
        left[a] += n
        right[b] += n
    expected = {}
    for (a, b), n in pairs.items():
        pmi = math.log(n * pairs.total() / (left[a] * right[b]))
        if n >= 3 and pmi > 0.05:
            expected[a, b] = pmi
    text = Sentences.read(sentences)
    found = strong_pairs(text, 3, 3, 0.05).tocoo()
    words = text.spellings
    assert len(expected) > 5
    assert {
        (words[a], words[b]): pmi
        for a, b, pmi in zip(found.row, found.col, found.data, strict=True)
    } == pytest.approx(expected)


def best_nested_paths(words, weights, window):
    """Return the links of the nested paths, every path of every region tried one by one."""
    links = {}

    def paths(region, i):
        """Yield weight and places of all paths within the region that end at place i."""
        yield 0, [i]
        for j in region:
            if i - window <= j < i and (words[j], words[i]) in weights:
                for total, path in paths(region, j):
                    yield total + weights[words[j], words[i]], [*path, i]

    def search(region):
        found = [path for i in region for path in paths(region, i) if path[0] > 0]
        if not found:
            return
        # the heaviest, which ends first, whose last word is nearest, and so on
        _, best = max(found, key=lambda path: (path[0], -path[1][-1], path[1][::-1]))
        for a, b in itertools.pairwise(best):
            links[a] = b - a
            search([i for i in region if a < i < b])
        search([i for i in region if i not in best and not any(
            a < i < b for a, b in itertools.pairwise(best))])  # fmt: skip

    search(range(len(words)))
    return [links.get(i, 0) for i in range(len(words))]


def nested_paths(sentences, weights, window, stretch=256):
    ids = np.array([w for s in sentences for w in s], np.int32)
    bounds = np.cumsum([0, *map(len, sentences)])
    pairs = sorted(weights)
    indptr = np.searchsorted([a for a, _ in pairs], np.arange(int(ids.max(initial=0)) + 9))
    partners = np.array([b for _, b in pairs], np.int32)
    values = np.array([weights[pair] for pair in pairs], np.int64)
    following = np.full(ids.size, 7, np.int32)
    strength = np.full(ids.size, 7, np.int64)
    kernels.nested_paths(
        ids, bounds, indptr, partners, values, window, stretch, following, strength
    )
    return following, strength


PAIRS = st.tuples(st.integers(0, 3), st.integers(0, 3))


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 3), max_size=9), min_size=1, max_size=3),
    st.dictionaries(PAIRS, st.integers(1, 4), max_size=8),
    st.integers(1, 4),
)
def test_nested_paths_are_the_best_of_all_paths(sentences, weights, window):
    following, strength = nested_paths(sentences, weights, window)
    expected = [best_nested_paths(s, weights, window) for s in sentences]
    assert following.tolist() == [d for links in expected for d in links]
    words = [w for s in sentences for w in s]
    for i, d in enumerate(following.tolist()):
        assert strength[i] == (weights[words[i], words[i + d]] if d else 0)


@given(st.lists(st.integers(0, 2), max_size=40), st.integers(2, 9))
@settings(max_examples=50, deadline=None)
def test_a_long_sentence_is_linked_stretch_by_stretch(words, stretch):
    weights = {(0, 1): 3, (1, 2): 2, (2, 0): 2, (0, 0): 1}
    whole, _ = nested_paths([words], weights, 2, stretch)
    parts = [words[i : i + stretch] for i in range(0, len(words), stretch)]
    pieces, _ = nested_paths(parts, weights, 2)
    assert whole.tolist() == pieces.tolist()


@given(
    st.lists(st.lists(st.integers(0, 3), max_size=30), min_size=1, max_size=3),
    st.dictionaries(PAIRS, st.integers(1, 4), max_size=8),
)
@settings(max_examples=100, deadline=None)
def test_spans_are_the_innermost_gaps(sentences, weights):
    following, _ = nested_paths(sentences, weights, 4)
    bounds = np.cumsum([0, *map(len, sentences)])
    begins, ends = np.empty((2, following.size), np.int64)
    kernels.enclosing_spans(bounds, following, begins, ends)
    gaps = [(i + 1, i + d) for i, d in enumerate(following.tolist()) if d > 1]
    for place in range(following.size):
        around = [(a, b) for a, b in gaps if a <= place < b]
        sentence = int(np.searchsorted(bounds, place, "right"))
        around.append((bounds[sentence - 1], bounds[sentence]))
        assert (begins[place], ends[place]) == min(around, key=lambda gap: gap[1] - gap[0])


# Templates


def family(*patterns, uses=40, others=400):
    """Fill the slots of templates with nouns, among other sentences of nouns."""
    draw = random.Random(0)
    patterns = [*list(patterns) * uses, *["_ _ _ _ _ _"] * others]
    return [
        [draw.choice(NOUNS) if word == "_" else word for word in pattern.split()]
        for pattern in patterns
    ]


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["_ of _ is _", "from _ to _", "why _ ?", "if _ then _"],
         {"[X] of [X] is [X]": 40, "from [X] to [X]": 40, "why [X] ?": 40, "if [X] then [X]": 40}),
        (["the _ of the _ is old", "a _ or so", "_ over and _ over again", "so _ that _"],
         {"the [X] of the [X] is old": 40, "[X] over and [X] over again": 40,
          "so [X] that [X]": 40, "a [X] or so": 40}),
        (["either _ _ _ or _", "_ as _ as _", "on _ hand and _"],
         {"either [X] or [X]": 40, "[X] as [X] as [X]": 40, "on [X] hand and [X]": 40}),
        (["both from _ to _ and _", "why _ ?", "the more _ the _"],
         {"both from [X] to [X] and [X]": 40, "why [X] ?": 40, "the more [X] the [X]": 40}),
    ],
)  # fmt: skip
def test_families_are_found(patterns, expected):
    finder = TemplateFinder(min_count=10).fit(family(*patterns))
    assert dict(finder.templates_.select("template", "count").rows()) == expected
    assert finder.phrases_.height == 0
    ledger = dict(finder.ledger_)
    assert ledger["templates"] < ledger["words"]


def test_templates_lie_in_the_slots_of_others():
    """Words around a path are linked across it; slots at its ends are those of the gap."""
    sentences = family("if _ then _", "from _ to")
    # nothing but "from ... to" in the gap, whose path is weaker and taken later
    sentences += [["if", "from", noun, "to", "then", noun] for noun in NOUNS[:9]]
    finder = TemplateFinder(min_count=10).fit(sentences)
    counts = dict(finder.templates_.select("template", "count").rows())
    assert counts == {"if [X] then [X]": 49, "from [X] to": 49}


def test_phrases_have_no_slot_between_words():
    finder = TemplateFinder(min_count=10).fit(family("_ by and large _", "from _ to _"))
    assert finder.phrases_["template"].to_list() == ["[X] by and large [X]"]
    assert finder.templates_["template"].to_list() == ["from [X] to [X]"]
    assert finder.phrases_["words"].to_list() == [[None, "by", "and", "large", None]]
    assert finder.phrases_.columns == ["template", "words", "count", "pmi", "bits_saved"]


def test_what_is_rare_is_cut_at_its_weakest_link():
    # "from ... to" and "and so on" are close, but the two together are few
    rare = [["from", noun, "to", noun, "and", "so", "on"] for noun in NOUNS[:9]]
    common = family("from _ to _", "_ and so on", others=3000)
    finder = TemplateFinder(min_count=9, min_pmi=1.0).fit(common + rare)
    table = finder.templates_.select("template", "count").rows()
    assert table == [("from [X] to [X]", 40), ("from [X] to [X] and so on", 9)]
    finder = TemplateFinder(min_count=10, min_pmi=1.0).fit(common + rare)
    assert finder.templates_.select("template", "count").rows() == [("from [X] to [X]", 49)]
    assert finder.phrases_.select("template", "count").rows() == [("[X] and so on", 49)]


def test_lone_words_and_repeated_words():
    assert TemplateFinder(min_pmi=0.0).fit([["a"]] * 50).templates_.is_empty()
    finder = TemplateFinder(min_count=10).fit(family("_ upon _", "_ again and again _"))
    assert finder.templates_.is_empty()
    assert finder.phrases_["template"].to_list() == ["[X] again and again [X]"]


def occurrences(finder, sentences):
    """Run the steps of `fit` and return the text and its links."""
    text = Sentences.read(sentences)
    following, strength = finder._link(text)
    finder._prune(text, following, strength)
    return text, following


def encode(words, following):
    """Write a sentence from left to right: symbols, and the lengths of slots after a template."""
    stream, written = [], set()
    for i in range(len(words)):
        if i in written:
            continue
        places = [i]
        while following[places[-1]]:
            places.append(places[-1] + following[places[-1]])
        if len(places) == 1:
            stream.append(words[i])
            continue
        gaps = [b - a - 1 for a, b in itertools.pairwise(places)]
        stream.append((tuple(words[p] for p in places), tuple(gap > 0 for gap in gaps)))
        stream += [gap for gap in gaps if gap]
        written |= set(places)
    return [*stream, None]


def decode(stream):
    """Read sentences; every symbol says how to read on."""
    stream = iter(stream)
    sentence, reserved, i = {}, 0, 0
    for symbol in stream:
        while i in sentence:
            i += 1
        if symbol is None:
            yield [sentence[k] for k in range(len(sentence))]
            sentence, i = {}, 0
        elif isinstance(symbol, str):
            sentence[i] = symbol
        else:
            words, slots = symbol
            place = i
            sentence[place] = words[0]
            for word, slot in zip(words[1:], slots, strict=True):
                place += 1 + (next(stream) if slot else 0)
                assert place not in sentence
                sentence[place] = word
    assert reserved == 0


@pytest.mark.parametrize("window", [1, 2, 5])
def test_the_code_of_the_ledger_can_be_read_again(window):
    draw = random.Random(3)
    sentences = family("_ of _ is _", "from _ to _", "by and large _", "if _ then _", uses=30)
    sentences += [draw.choices(["of", "to", "is", "by", *NOUNS[:5]], k=12) for _ in range(50)]
    sentences.append([])
    finder = TemplateFinder(window, min_pmi=0.5).fit(sentences)
    text, following = occurrences(finder, sentences)
    stream = []
    for words, begin in zip(sentences, text.bounds.tolist(), strict=False):
        stream += encode(words, following[begin : begin + len(words)].tolist())
    assert list(decode(stream)) == sentences

    symbols = Counter(s for s in stream if not isinstance(s, int))
    bits = float(code_length(list(symbols.elements()))) / math.log(2)
    bits += sum(isinstance(s, int) for s in stream) * math.log2(max(1, window - 1))
    counts = Counter(w for s in sentences for w in s)
    total = counts.total() + len(sentences)
    entries = [s for s in symbols if isinstance(s, tuple)]
    assert entries
    for words, slots in entries:
        bits += 2 * int(math.log2(symbols[words, slots])) + 1
        bits += sum(math.log2(total / counts[w]) for w in words)
        bits += 2 * int(math.log2(len(words))) + 1 + len(words) + 1
    bits += 2 * int(math.log2(len(entries) + 1)) + 1
    characters = sum(len(w) for s in sentences for w in s) + len(sentences)
    assert dict(finder.ledger_)["templates"] == pytest.approx(bits / characters, rel=1e-12)
    plain = [w for s in sentences for w in [*s, None]]
    words = float(code_length(plain)) / math.log(2) / characters
    assert dict(finder.ledger_)["words"] == pytest.approx(words, rel=1e-12)


def test_bits_saved_is_what_one_template_alone_saves():
    """With one template and nothing else, the fall of the ledger is its `bits_saved`."""
    sentences = family("if _ then _", uses=60)
    finder = TemplateFinder(min_count=20).fit(sentences)
    (row,) = finder.templates_.rows(named=True)
    assert row["template"] == "if [X] then [X]"
    characters = sum(len(w) for s in sentences for w in s) + len(sentences)
    ledger = dict(finder.ledger_)
    # the ledger also says that there is one entry, which takes 3 bits
    fall = (ledger["words"] - ledger["templates"]) * characters
    assert fall + 3 == pytest.approx(row["bits_saved"], rel=1e-9)
    n = sum(map(len, sentences)) + len(sentences)
    assert row["pmi"] == pytest.approx(-math.log2(60 / n))


def test_the_order_of_sentences_does_not_matter():
    sentences = family("_ of _ is _", "from _ to _", "why _ ?", "by and large _", "if _ then _")
    first = TemplateFinder(min_pmi=0.5).fit(sentences)
    for seed in range(3):
        random.Random(seed).shuffle(sentences)
        again = TemplateFinder(min_pmi=0.5).fit(iter(sentences))
        assert again.templates_.equals(first.templates_)
        assert again.phrases_.equals(first.phrases_)
        assert again.ledger_ == first.ledger_


@pytest.mark.parametrize("words", [["a"], ["a", "b"], ["a", "b", "c", "d", "e"]])
def test_time_grows_linearly_where_paths_grow_exponentially(words):
    """In 5,000 strong words there are about 2**5000 paths."""
    TemplateFinder(min_pmi=0.0).fit([words * 2])
    sentence = (words * 5000)[:5000]
    text = Sentences.read([sentence])
    weights = {(a, b): 1 for a in range(len(words)) for b in range(len(words))}
    nested_paths([text.ids.tolist()], weights, 5)
    start = time.perf_counter()
    following, _ = nested_paths([text.ids.tolist()], weights, 5)
    TemplateFinder(min_pmi=0.0, min_count=1).fit([sentence])
    assert time.perf_counter() - start < 0.9
    assert np.count_nonzero(following) > 4900


def test_short_paths_in_a_long_sentence():
    """Every path has two words and all overlap: as many rounds as there can be."""
    words = [0, 0, 0, 1, 1, 1] * 833
    nested_paths([words], {(0, 1): 1}, 5)
    start = time.perf_counter()
    following, _ = nested_paths([words], {(0, 1): 1}, 5)
    assert time.perf_counter() - start < 0.5
    assert np.count_nonzero(following) > 2000


def test_templates_of_the_novel(novel):
    finder = TemplateFinder().fit(novel)
    bits = [bits for _, bits in finder.ledger_]
    assert [name for name, _ in finder.ledger_] == ["words", "phrases", "templates"]
    assert bits[0] > bits[1] > bits[2]
    best = finder.templates_["template"].to_list()[:100]
    for pattern in ("难道 [X] 不成", "岂有 [X] 之理", "越 [X] 越", "千 [X] 万", "连 [X] 都"):
        assert any(pattern in template for template in best), pattern
    table = pl.concat([finder.templates_, finder.phrases_])
    assert (table["bits_saved"] > 0).all()
    assert (table["count"] >= 5).all()
    assert finder.templates_["bits_saved"].is_sorted(descending=True)
    assert table["template"].is_unique().all()


# Sentences


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        (["I", " ", "came", ",", " ", "saw"], [["I", "came"], ["saw"]]),
        (["来", "了", "。", "”", "见", "了"], [["来", "了"], ["见", "了"]]),
        (["来", " ", "见"], [["来"], ["见"]]),
        (["来", "\u3000", "见"], [["来"], ["见"]]),
        (["one", " ", "见"], [["one"], ["见"]]),
        (["one", "\n", "two"], [["one"], ["two"]]),
        (["3", "月", "4", "日"], [["3", "月", "4", "日"]]),
        (["don", "'", "t"], [["don", "'", "t"]]),
        (["3", ".", "14", "."], [["3", ".", "14"]]),
        (["no", ".", " ", "3", "%", "的"], [["no"], ["3"], ["的"]]),
        (["来", "·", "见"], [["来"], ["见"]]),
        (["(", "a", ")", " ", "b"], [["a"], ["b"]]),
        (["น\u0e49", " ", "a"], [["น\u0e49"], ["a"]]),
        ([" ", "!", ""], []),
        ([], []),
    ],
)
def test_split_sentences(tokens, expected):
    assert split_sentences([tokens]) == expected


@given(st.lists(st.lists(st.text(max_size=3))))
def test_splitting_keeps_all_words_in_order(documents):
    words = [w for s in split_sentences(documents) for w in s]
    rest = iter(w for document in documents for w in document)
    assert all(word in rest for word in words)
    letters = [w for d in documents for w in d if any(c.isalpha() or c.isdecimal() for c in w)]
    assert set(letters) <= set(words)


# Bad input


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"window": 0}, InputError, "window must be an int >= 1, got 0"),
        ({"window": 2.5}, TypeError, "window must be an int >= 1, got 2.5"),
        ({"min_count": 0}, InputError, "min_count must be an int >= 1, got 0"),
        ({"min_pmi": -1}, InputError, "min_pmi must be a finite number >= 0, got -1"),
        ({"min_pmi": "2"}, TypeError, "min_pmi must be a finite number >= 0, got '2'"),
    ],
)
def test_bad_parameters(parameters, error, message):
    with pytest.raises(error) as caught:
        TemplateFinder(**parameters).fit(None)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("sentences", "error", "message"),
    [
        ("a b", TypeError, "sentences must be lists of words, got one str"),
        (["a b"], TypeError, r"sentences\[0\] must be a list of words, got one str; tokenize"),
        ([["a"], ["b", 3]], TypeError, r"sentences\[1\] must hold str, got int"),
        ([], InputError, r"sentences hold no words \(0 sentences"),
        ([[], []], InputError, r"sentences hold no words \(2 sentences"),
    ],
)
def test_bad_sentences(sentences, error, message):
    with pytest.raises(error, match=message):
        TemplateFinder().fit(sentences)


def test_is_an_estimator():
    finder = TemplateFinder(3, min_count=2, min_pmi=1.0)
    assert clone(finder).get_params() == {"window": 3, "min_count": 2, "min_pmi": 1.0}
    assert spell_template(("a", None)) == "a [X]"
