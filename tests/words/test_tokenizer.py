"""The unigram tokenizer: lossless, and the best of all segmentations."""

import json
import math
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kexue._core import InputError
from kexue.corpus.scripts import DIGIT, EXTENDING, JOINING, LETTER, character_classes, fold_table
from kexue.words import UnigramTokenizer

CLASSES = character_classes()
FOLD = fold_table()


def fold(text):
    return "".join(chr(FOLD[ord(c)]) for c in text)


def cuts(text, atoms):
    kinds = [CLASSES[ord(c)] for c in text]

    def allowed(i):
        if i in (0, len(text)):
            return True
        if kinds[i] == EXTENDING and kinds[i - 1] in (JOINING, EXTENDING):
            return False
        return atoms == "character" or kinds[i] != kinds[i - 1] or kinds[i] not in (LETTER, DIGIT)

    return [i for i in range(len(text) + 1) if allowed(i)]


def all_paths(text, tokenizer):
    """Yield every segmentation allowed, as (cost in units, tokens, lengths)."""
    words = tokenizer.words
    places = cuts(text, tokenizer.atoms)

    def cost(count):
        return round(-math.log2(count / tokenizer.total) * 2**24)

    def walk(begin):
        if begin == len(text):
            yield 0, []
            return
        following = [p for p in places if p > begin]
        for end in following:
            piece = fold(text[begin:end])
            # one atom is matched by one atom, several by a word of several
            compound = len(cuts(piece, tokenizer.atoms)) > 2
            if piece in words and (end == following[0] or compound):
                price = cost(words[piece])
            elif end == following[0]:
                price = cost(0.5)
            else:
                continue
            for rest, tail in walk(end):
                yield price + rest, [text[begin:end], *tail]

    return walk(0)


PIECES = st.text("红楼梦ab 1２!④\u3099", min_size=1, max_size=3)


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(PIECES, st.integers(1, 9), min_size=1, max_size=8),
    st.text("红楼梦ab 1２!④\u3099", max_size=9),
    st.sampled_from(["auto", "character"]),
)
def test_finds_the_best_of_all_segmentations(words, text, atoms):
    tokenizer = UnigramTokenizer(words, atoms=atoms)
    # least cost, then fewer words, then the longer first word, and so on
    best = min(
        all_paths(text, tokenizer),
        key=lambda path: (path[0], len(path[1]), [-len(t) for t in path[1]]),
    )
    assert tokenizer.tokenize(text) == best[1]
    known = tokenizer.words
    bits = sum(-math.log2(known.get(fold(t), 0.5) / tokenizer.total) for t in best[1])
    assert tokenizer.bits(text) == pytest.approx(bits, abs=1e-9)


@settings(max_examples=1000, deadline=None)
@given(st.text(st.characters(), max_size=60))
def test_round_trip_of_any_text(text):
    tokenizer = UnigramTokenizer({"红楼": 3, "the": 9, "a b": 2, "😀": 1})
    assert "".join(tokenizer.tokenize(text)) == text
    edges = tokenizer.offsets(text)
    assert [text[a:b] for a, b in edges] == tokenizer.tokenize(text)
    assert all(a < b for a, b in edges)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(st.characters() | st.sampled_from("红楼梦ab\0\u3099"), max_size=8)))
def test_many_texts_are_tokenized_as_each_alone(texts):
    tokenizer = UnigramTokenizer({"红楼": 3, "楼梦": 2, "ab": 9, "\0": 2})
    assert tokenizer.transform(texts) == [tokenizer.tokenize(text) for text in texts]


def test_batches_do_not_show(monkeypatch):
    texts = ["红楼梦", "", "梦红楼"] * 5
    tokenizer = UnigramTokenizer({"红楼": 3, "梦": 2})
    whole = tokenizer.transform(texts)
    monkeypatch.setattr("kexue.words.tokenizer.BATCH", 7)
    assert tokenizer.transform(texts) == whole == tokenizer.transform(iter(texts))


def test_runs_are_whole_and_scripts_apart():
    tokenizer = UnigramTokenizer({"年": 5, "the": 2, "t": 90, "h": 90, "e": 90})
    assert tokenizer.tokenize("the café１２年٣x2\u200b") == [
        "the", " ", "café", "１２", "年", "٣", "x", "2", "\u200b",
    ]  # fmt: skip


def test_a_run_is_not_characters_that_fold_to_its_spelling():
    tokenizer = UnigramTokenizer({"41": 9, "abcdef4年": 1})
    assert tokenizer.tokenize("④１") == ["④", "１"]
    assert tokenizer.tokenize("４１") == ["４１"]


def test_words_may_span_runs():
    tokenizer = UnigramTokenizer({"New York": 9, "New": 1, "York": 1, " ": 1})
    assert tokenizer.tokenize("in New York!") == ["in", " ", "New York", "!"]


def test_full_and_half_width_are_one_word():
    tokenizer = UnigramTokenizer({"ＡＢＣ": 2, "ABC": 3, "x": 1})
    assert tokenizer.words == {"ABC": 5, "x": 1}
    assert tokenizer.bits("ＡＢＣ") == tokenizer.bits("ABC") == pytest.approx(math.log2(6 / 5))
    assert len(UnigramTokenizer({"ＡＢＣ": 2, "ABC": 3}, normalize=None)) == 2


@pytest.mark.parametrize("atoms", ["auto", "character"])
def test_save_and_load(tmp_path, atoms):
    path = tmp_path / "tokenizer.json"
    tokenizer = UnigramTokenizer({"红楼": 3, '"': 2, "\ud800": 1, "\\": 4}, atoms=atoms)
    tokenizer.save(path)
    again = UnigramTokenizer.load(path)
    assert again.words == tokenizer.words
    assert again.atoms == atoms
    assert again.tokenize('红楼"\ud800') == ["红楼", '"', "\ud800"]
    tokenizer.save(tmp_path / "twice.json")
    assert path.read_bytes() == (tmp_path / "twice.json").read_bytes()


def test_one_long_word_does_not_slow_all_others_down():
    text = "a " * 50_000
    seconds = []
    for words in ({"a": 1, " ": 1}, {"a": 1, " ": 1, "a" * 200_000: 1}):
        tokenizer = UnigramTokenizer(words)
        tokenizer.tokenize(text)
        start = time.perf_counter()
        assert len(tokenizer.offsets(text)) == 100_000
        seconds.append(time.perf_counter() - start)
    # trying all lengths up to the longest word made this a thousand times slower
    assert seconds[1] < 20 * seconds[0]


def test_a_long_line_without_a_break():
    tokenizer = UnigramTokenizer({"红楼": 3, "楼梦": 2, "梦": 1})
    text = "红楼梦" * 200_000
    assert tokenizer.tokenize(text)[:2] == ["红楼", "梦"]
    assert len(tokenizer.offsets(text)) == 400_000


def _bad_file(tmp_path, content):
    path = tmp_path / "tokenizer.json"
    path.write_text(content, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda _: UnigramTokenizer({}), InputError, "words must hold at least one word, got none"),
        (lambda _: UnigramTokenizer(["a"]), TypeError, "words must map str to int, got list"),
        (lambda _: UnigramTokenizer({"": 1}), InputError, "non-empty strings, got ''"),
        (lambda _: UnigramTokenizer({"a": 0}), InputError, "count of 'a' must be an int >= 1"),
        (lambda _: UnigramTokenizer({"a": 1.5}), InputError, "count of 'a' must be an int >= 1"),
        (lambda _: UnigramTokenizer({"a": 2**53}), InputError, "must sum to less than 2"),
        (lambda _: UnigramTokenizer({"a": 1}, atoms="x"), InputError, "atoms must be one of"),
        (
            lambda _: UnigramTokenizer({"a": 1}).tokenize(b"a"),
            TypeError,
            "must be a str, got bytes",
        ),
        (lambda _: UnigramTokenizer({"a": 1}).transform([1]), TypeError, r"texts\[0\] must be str"),
        (lambda _: UnigramTokenizer({"a": 1}).transform("a"), TypeError, "got one str"),
        (lambda _: UnigramTokenizer.load(Path("absent.json")), FileNotFoundError, "absent.json"),
        (lambda t: UnigramTokenizer.load(_bad_file(t, "{}")), InputError, "is not a tokenizer"),
        (lambda t: UnigramTokenizer.load(_bad_file(t, "\x80")), InputError, "is not a tokenizer"),
        (
            lambda t: UnigramTokenizer.load(
                _bad_file(
                    t,
                    '{"format": "kexue-unigram-1", "words": [1], "atoms": "auto", '
                    '"normalize": null}',
                )
            ),
            InputError,
            "is not a tokenizer",
        ),
        (
            lambda t: UnigramTokenizer.load(_bad_file(t, json.dumps({"format": "x"}))),
            InputError,
            "is not a tokenizer written by UnigramTokenizer.save",
        ),
    ],
)
def test_bad_input_is_answered_by_its_message(call, error, message, tmp_path):
    with pytest.raises(error, match=message):
        call(tmp_path)
