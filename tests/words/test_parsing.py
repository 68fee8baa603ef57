"""The parser: the best of all nestings, each of them tried, and a tree that says so."""

import itertools
import json
import math
import time
from functools import cache
from xml.etree import ElementTree as ET

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import NotFittedError

from kexue._core import InputError
from kexue.words import SentenceParser, TemplateFinder
from kexue.words.parsing import COST_UNIT
from kexue.words.trees import SentenceTree

SVG = "{http://www.w3.org/2000/svg}"


def all_parses(sentence, templates, null_score, max_span):
    """Return score and summed spans of every parse of a sentence, from the definition."""
    total = sum(templates.values())
    # a slot at an end may be empty
    variants = {
        (items[begin : len(items) - end], math.log(count / total))
        for items, count in templates.items()
        for begin in ((0, 1) if items[0] is None else (0,))
        for end in ((0, 1) if items[-1] is None else (0,))
    }

    def fillings(items, i, j):
        """Yield the spans of the slots for every way to lay items over the words i to j."""
        if not items:
            if i == j:
                yield []
        elif items[0] is not None:
            if i < j and sentence[i] == items[0]:
                yield from fillings(items[1:], i + 1, j)
        else:
            for k in range(i + 1, j + 1):
                for rest in fillings(items[1:], k, j):
                    yield [(i, k), *rest]

    @cache
    def blocks(i, j):
        found = {(0.0, 0)} if j - i == 1 else set()
        if j - i <= max_span:
            for items, score in variants:
                for spans in fillings(items, i, j):
                    for parts in itertools.product(*(rows(*span) for span in spans)):
                        found.add((
                            round(score + sum(p[0] for p in parts), 9),
                            j - i + sum(p[1] for p in parts),
                        ))  # fmt: skip
        return found

    @cache
    def rest(i, j):
        found = set(blocks(i, j))
        for k in range(i + 1, j):
            for one, others in itertools.product(blocks(i, k), rest(k, j)):
                found.add((round(one[0] + null_score + others[0], 9), one[1] + others[1]))
        return found

    @cache
    def rows(i, j):
        found = set(blocks(i, j))
        for k in range(i + 1, j):
            for one, others in itertools.product(blocks(i, k), rest(k, j)):
                size = one[1] + others[1] + j - i
                found.add((round(one[0] + null_score + others[0], 9), size))
        return found

    return rows(0, len(sentence))


def spans(tree):
    """Return the words under all templates and rows of several blocks, in sum."""
    return (tree.template is not None or len(tree.children) > 1) * len(tree.words) + sum(
        spans(child) for child in tree.children if isinstance(child, SentenceTree)
    )


def check_tree(tree, sentence, templates, null_score, max_span):
    """The tree covers the sentence, obeys its templates, and its scores are what it says."""
    assert tree.words == tuple(sentence[tree.begin : tree.begin + len(tree.words)])
    covered = []
    score = 0.0
    shape = []
    for child in tree.children:
        if isinstance(child, str):
            covered.append(child)
            shape.append(child)
        else:
            assert child.begin == tree.begin + len(covered)
            check_tree(child, sentence, templates, null_score, max_span)
            covered += child.words
            score += child.score
            shape.append(None)
    assert tuple(covered) == tree.words
    if tree.template is None:
        score += null_score * (len(tree.children) - 1)
        assert all(c.template for c in tree.children if isinstance(c, SentenceTree))
        assert len(tree.children) > 1 or isinstance(tree.children[0], str)
    else:
        assert len(tree.words) <= max_span
        score += math.log(templates[tree.template] / sum(templates.values()))
        items = list(tree.template)
        allowed = [items[a : len(items) - b] for a, b in itertools.product((0, 1), repeat=2)
                   if (not a or items[0] is None) and (not b or items[-1] is None)]  # fmt: skip
        assert shape in allowed
    assert tree.score == pytest.approx(score, abs=1e-9)


WORDS = "abc"
ITEMS = st.lists(st.sampled_from([*WORDS, None]), min_size=1, max_size=4).map(
    lambda items: tuple(
        item for i, item in enumerate(items) if item is not None or i == 0 or items[i - 1]
    )
)
TEMPLATES = st.dictionaries(ITEMS.filter(any), st.integers(1, 9), min_size=1, max_size=4)


@settings(max_examples=300, deadline=None)
@given(
    TEMPLATES,
    st.lists(st.sampled_from("abcx"), min_size=1, max_size=5),
    st.sampled_from([-20.0, -2.0, -0.5, 0.0]),
    st.integers(1, 6),
)
def test_finds_the_best_of_all_parses(templates, sentence, null_score, max_span):
    tree = SentenceParser(templates, null_score=null_score, max_span=max_span).parse(sentence)
    check_tree(tree, sentence, templates, null_score, max_span)
    parses = all_parses(sentence, templates, null_score, max_span)
    best = max(score for score, _ in parses)
    # costs are rounded to a unit each
    near = 2 * len(sentence) * COST_UNIT
    assert tree.score == pytest.approx(best, abs=near)
    if len(sentence) <= max_span:
        fewest = min(size for score, size in parses if score > best - near)
        assert spans(tree) == fewest


def test_uncovered_words_cost_a_joint_each():
    tree = SentenceParser({"a [X] b": 1}).parse(["c", "d", "e", "f"])
    assert tree.score == -60
    assert tree.children == ("c", "d", "e", "f")
    assert SentenceParser({"a": 1}).parse(["c"]).score == 0
    # what no template covers as a whole keeps the templates in it
    tree = SentenceParser({"a [X] b": 1}, null_score=-3).parse(["c", "a", "d", "b"])
    assert tree.score == -3
    assert tree.children[0] == "c"
    assert tree.children[1].template == ("a", None, "b")


def test_ends_may_be_empty_and_gaps_may_not():
    parser = SentenceParser({"[X] of [X]": 1, ("by", None, "day"): 1})
    assert parser.parse(["of"]).template is None  # one word scores 0
    assert parser.parse(["of", "x"]).template == (None, "of", None)
    assert parser.parse(["x", "of"]).template == (None, "of", None)
    assert parser.parse(["by", "day"]).template is None
    assert parser.parse(["by", "x", "day"]).template == ("by", None, "day")


def test_fillers_are_short():
    """The score is blind to the order of nesting; balance is preferred."""
    parser = SentenceParser({"[X] is [X]": 4, "[X] of [X]": 4, "the [X]": 4})
    tree = parser.parse(["the", "cat", "is", "the", "son", "of", "the", "king"])
    assert tree.template == (None, "is", None)
    assert [len(child.words) for child in tree.children if isinstance(child, SentenceTree)] == [
        2,
        5,
    ]
    assert spans(tree) == 8 + 2 + 5 + 2 + 2


def test_templates_in_every_form():
    text = SentenceParser({"[X] of [X] [X]": 3, "a b": 1})
    items = SentenceParser({(None, "of", None): 3, ("a", "b"): 1})
    assert text.templates == items.templates == {(None, "of", None): 3, ("a", "b"): 1}
    table = pl.DataFrame({"words": [[None, "of", None], ["a", "b"]], "count": [3, 1]})
    assert SentenceParser(table).templates == text.templates
    # a word may look like a slot, or hold a blank, if it is given as an item
    assert SentenceParser({("[X]", "a b"): 1}).parse(["[X]", "a b"]).template == ("[X]", "a b")
    assert repr(text) == "SentenceParser(2 templates)"


def test_learned_templates_parse_what_they_were_learned_from():
    digits = "123456789"
    sentences = [["from", a, "to", b] for a in digits for b in digits]
    sentences += [["neither", a, "nor", b] for a in digits for b in digits]
    sentences += [["by", "and", "large", a] for a in digits] * 5
    finder = TemplateFinder(min_pmi=0.8).fit(sentences)
    parser = SentenceParser(finder)
    assert finder.templates_.height == 2
    assert finder.phrases_.height == 1
    assert len(parser.templates) == finder.templates_.height + finder.phrases_.height
    tree = parser.parse(sentences[0])
    assert tree.template == ("from", None, "to", None)
    assert tree.score > -1.5
    with pytest.raises(NotFittedError):
        SentenceParser(TemplateFinder())
    # phrases alone will do
    finder = TemplateFinder(min_pmi=1.2).fit(sentences)
    assert finder.templates_.is_empty()
    assert SentenceParser(finder).templates == {("by", "and", "large", None): 45}


def test_long_sentences_take_linear_time():
    templates = {"a [X] b": 3, "[X] a [X] a [X]": 3, "a": 1, "[X] a [X] b [X] a [X] b [X]": 4}
    parser = SentenceParser(templates)
    parser.parse(["a", "b"] * 5)
    sentence = ["a", "b"] * 2500
    start = time.perf_counter()
    tree = parser.parse(sentence)
    assert time.perf_counter() - start < 0.9
    assert tree.words == tuple(sentence)
    check_tree(tree, sentence, parser.templates, -20.0, 64)


def test_the_largest_costs_fit():
    sentence = ["x"] * 30_000
    parser = SentenceParser({"a": 1}, null_score=-1000, max_span=3)
    assert parser.parse(sentence).score == -1000.0 * 29_999
    wide = SentenceParser({"[X] x": 1, "y": 10**9}, null_score=-1000, max_span=1024)
    tree = wide.parse(["z", *["x"] * 300])
    assert tree.template == (None, "x")
    assert tree.score == pytest.approx(300 * math.log(1 / (10**9 + 1)))


# The tree


@pytest.fixture
def tree():
    parser = SentenceParser({"[X] of [X] is [X]": 3, "the [X]": 9})
    return parser.parse(["and", "the", "cat", "of", "the", "<king>", "is", "old", "&", "grey"])


def test_tree_as_text():
    parser = SentenceParser({"[X] of [X] is [X]": 3, "the [X]": 9, "so on": 2})
    assert str(
        parser.parse(["the", "cat", "of", "the", "king", "is", "old", "and", "grey", "so", "on"])
    ) == (
        "[X] of [X] is [X]\n"
        "├─ the [X]\n"
        "│  └─ cat\n"
        "├─ the [X]\n"
        "│  └─ king\n"
        "└─ +\n"
        "   ├─ old and grey\n"
        "   └─ so on"
    )
    assert str(parser.parse(["old", "cat"])) == "old cat"
    # empty slots at the ends are not printed
    assert str(SentenceParser({"[X] so on [X]": 1}).parse(["so", "on"])) == "so on"
    assert str(SentenceParser({"[X] so on [X]": 1}).parse(["a", "so", "on"])) == "[X] so on\n└─ a"


def test_tree_as_data(tree):
    data = json.loads(json.dumps(tree.to_dict()))
    assert data["template"] == "[X] of [X] is [X]"
    assert data["words"] == ["and", "the", "cat", "of", "the", "<king>", "is", "old", "&", "grey"]
    assert data["begin"] == 0
    assert [c if isinstance(c, str) else c["words"] for c in data["children"]] == [
        ["and", "the", "cat"], "of", ["the", "<king>"], "is", ["old", "&", "grey"],
    ]  # fmt: skip
    assert data["children"][2]["template"] == "the [X]"
    assert data["children"][2]["begin"] == 4
    assert data["children"][4]["template"] is None


def test_tree_as_picture(tree):
    source = tree.to_svg()
    root = ET.fromstring(source)
    assert tree._repr_svg_() == source
    assert [node.text for node in root.iter(f"{SVG}text")] == list(tree.words)
    titles = [node.find(f"{SVG}title").text for node in root.iter(f"{SVG}g")]
    assert titles == ["[X] of [X] is [X]", "the [X]", "the [X]"]
    # a tick for each of the template's own words, and the beam
    ticks = [node.findall(f"{SVG}path")[1].get("d") for node in root.iter(f"{SVG}g")]
    assert [d.count("V") for d in ticks] == [2, 1, 1]
    assert "prefers-color-scheme: dark" in source
    assert "<king>" not in source
    assert "http" not in source.replace("http://www.w3.org/2000/svg", "")
    width = float(root.get("width"))
    places = [float(node.get("x")) for node in root.iter(f"{SVG}text")]
    assert places == sorted(places)
    assert 0 < places[0] < places[-1] < width


@given(st.lists(st.text(min_size=1, max_size=3), min_size=1, max_size=4))
def test_pictures_of_any_words_are_well_formed(words):
    picture = SentenceParser({tuple(words): 1}).parse(words).to_svg()
    root = ET.fromstring(picture.encode("utf-8"))
    assert len(list(root.iter(f"{SVG}text"))) == len(words)


# Bad input


@pytest.mark.parametrize(
    ("templates", "error", "message"),
    [
        ({}, InputError, "templates must hold at least one template, got none"),
        ({"[X]": 1}, InputError, r"a template must have a word, got '\[X\]'"),
        ({"": 1}, InputError, "a template must have a word, got ''"),
        ({"a": 0}, InputError, "the count of 'a' must be an int >= 1, got 0"),
        ({"a": True}, InputError, "the count of 'a' must be an int >= 1, got True"),
        ({("a", 3): 1}, TypeError, "a template must be text with .* or a tuple of str and None"),
        ("a [X]", TypeError, "templates must be a fitted TemplateFinder, a table .* got str"),
        (["a [X]"], TypeError, "templates must be a fitted TemplateFinder, a table .* got list"),
    ],
)
def test_bad_templates(templates, error, message):
    with pytest.raises(error, match=message):
        SentenceParser(templates)


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"null_score": 1}, InputError, r"null_score must be a finite number in \[-1000, 0\]"),
        ({"null_score": math.nan}, InputError, "null_score must be a finite number"),
        ({"max_span": 0}, InputError, r"max_span must be an int in \[1, 1024\], got 0"),
        ({"max_span": 2.0}, TypeError, r"max_span must be an int in \[1, 1024\], got 2.0"),
    ],
)
def test_bad_parameters(parameters, error, message):
    with pytest.raises(error, match=message):
        SentenceParser({"a": 1}, **parameters)


@pytest.mark.parametrize(
    ("tokens", "error", "message"),
    [
        ("a b", TypeError, "tokens must be a list of words, got one str; tokenize it first"),
        ([], InputError, "tokens must hold at least one word, got none"),
        (["a", None], TypeError, r"tokens\[1\] must be str, got NoneType"),
    ],
)
def test_bad_sentences(tokens, error, message):
    with pytest.raises(error, match=message):
        SentenceParser({"a": 1}).parse(tokens)
