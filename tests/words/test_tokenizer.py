"""The unigram tokenizer: lossless, and the best of all segmentations."""

import gc
import itertools
import json
import lzma
import math
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kexue._core import InputError
from kexue.corpus.scripts import DIGIT, EXTENDING, JOINING, LETTER, character_classes, fold_table
from kexue.corpus.texts import decode_codes, encode_text
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

    def atoms_of(piece):
        return [piece[a:b] for a, b in itertools.pairwise(cuts(piece, tokenizer.atoms))]

    def walk(begin):
        if begin == len(text):
            yield 0, []
            return
        following = [p for p in places if p > begin]
        for end in following:
            piece = text[begin:end]
            # a word is found where its atoms are
            if fold(piece) in words and list(map(fold, atoms_of(piece))) == atoms_of(fold(piece)):
                price = cost(words[fold(piece)])
            elif end == following[0]:
                price = cost(0.5)
            else:
                continue
            for rest, tail in walk(end):
                yield price + rest, [piece, *tail]

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


@pytest.mark.parametrize(
    ("words", "text", "tokens"),
    [
        ({"12梦": 5}, "１２梦", ["１２梦"]),
        ({"12梦": 5}, "①２梦", ["①", "２", "梦"]),  # ① is no digit: not the atom 12
        ({"4红": 5}, "④红", ["④红"]),
    ],
)
def test_a_word_is_found_where_its_atoms_are(words, text, tokens):
    assert UnigramTokenizer(words).tokenize(text) == tokens


def test_a_word_may_not_be_endless():
    longest = "红" * (1 << 13)
    assert UnigramTokenizer({longest: 1}).tokenize(longest + "红") == [longest, "红"]
    with pytest.raises(InputError, match=r"at most 8,192 characters, got 8,193"):
        UnigramTokenizer({longest + "楼": 1})


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(PIECES, st.integers(1, 9), min_size=1, max_size=8),
    st.text("红楼梦ab 1２!④。\u3099", max_size=60),
    st.sampled_from(["auto", "character"]),
)
def test_blocks_of_a_long_text_do_not_show(words, text, atoms):
    tokenizer = UnigramTokenizer(words, atoms=atoms)
    whole = tokenizer.tokenize(text)
    many = tokenizer.transform([text, "", *text])
    for block in (1, 7):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("kexue.words._lexicon.BLOCK", block)
            patch.setattr("kexue.words._lexicon.PART", 2 * block)
            assert tokenizer.tokenize(text) == whole
            assert tokenizer.transform([text, "", *text]) == many


ANYTHING = st.text(
    st.characters() | st.sampled_from("红楼梦a1１ \0\t\u2028\u3099\ud800😀e\u0301\u200d"),
    max_size=40,
)
MIXED = {"红楼": 3, "the": 9, "a b": 2, "😀": 1, "e\u0301": 1, "\0": 2, "\ud800": 1, "1": 4}


@settings(max_examples=1000, deadline=None)
@given(
    st.lists(ANYTHING, min_size=10, max_size=10),
    st.sampled_from(["auto", "character"]),
    st.sampled_from(["nfkc", None]),
)
def test_round_trip_of_ten_thousand_texts(texts, atoms, normalize):
    tokenizer = UnigramTokenizer(MIXED, atoms=atoms, normalize=normalize)
    many = tokenizer.transform(texts)
    ids = tokenizer.encode_batch(texts)
    for text, tokens, numbers in zip(texts, many, ids, strict=True):
        assert "".join(tokens) == text
        edges = tokenizer.offsets(text)
        assert [text[a:b] for a, b in edges] == tokens == tokenizer.tokenize(text)
        assert all(a < b for a, b in edges)
        assert numbers.tolist() == tokenizer.encode(text).tolist()
        decoded = tokenizer.decode(numbers)
        assert decoded == text if normalize is None else fold(decoded) == fold(text)


def test_ids_are_words_then_characters_then_bytes():
    tokenizer = UnigramTokenizer({"红楼": 3, "梦": 3, "abc": 5, "x梦": 1})
    assert tokenizer.vocabulary == ["abc", "梦", "红楼", "x梦", *"abcx楼红"]
    n = len(tokenizer.vocabulary)
    assert tokenizer.encode("红楼梦").tolist() == [2, 1]
    assert tokenizer.encode("楼").tolist() == [8]
    assert tokenizer.encode("é").tolist() == [n + 0xC3, n + 0xA9]
    # looked up as it is spelled in the lexicon, and decoded so
    assert tokenizer.decode(tokenizer.encode("ＡｂｃＹ, ａｂｃ")) == "ＡbcＹ, abc"
    assert tokenizer.encode("").dtype == np.int32
    assert tokenizer.decode([]) == ""
    assert tokenizer.decode([n + 0xE6, n + 0xA2, 1]) == "\ufffd梦"
    again = UnigramTokenizer(dict(reversed(tokenizer.words.items())))
    assert again.vocabulary == tokenizer.vocabulary


@pytest.mark.parametrize("n_jobs", [2, 3, -1])
def test_threads_do_not_show(n_jobs, monkeypatch):
    tokenizer = UnigramTokenizer({"红楼": 3, "梦": 2, "ab": 1})
    texts = ["红楼梦ab楼", "", "x", "梦" * 50, "红楼ｘ"] * 9
    alone = tokenizer.transform(texts)
    assert tokenizer.transform(texts, n_jobs=n_jobs) == alone
    assert [ids.tolist() for ids in tokenizer.encode_batch(texts, n_jobs=n_jobs)] == [
        tokenizer.encode(text).tolist() for text in texts
    ]
    monkeypatch.setattr("kexue.words.tokenizer.BATCH", 3)
    assert tokenizer.transform(texts, n_jobs=n_jobs) == alone
    assert tokenizer.transform([], n_jobs=n_jobs) == []


def test_tokenizing_leaves_the_collector_as_it_was():
    tokenizer = UnigramTokenizer({"红楼": 3})
    for turn in (gc.disable, gc.enable):
        turn()
        before = gc.isenabled()
        tokenizer.transform(["红楼梦"])
        assert gc.isenabled() is before


@pytest.mark.parametrize(("size", "letters"), [(3000, 2), (3000, 40), (500, 4000)])
def test_every_word_of_a_large_lexicon_is_found(size, letters):
    rng = np.random.default_rng(0)
    words = {
        "".join(map(chr, 0x4E00 + rng.integers(0, letters, rng.integers(1, 9)))): 1
        for _ in range(size)
    }
    tokenizer = UnigramTokenizer(words)
    symbols, offsets, _ = tokenizer.lexicon
    lattice = tokenizer._lexicon
    for word in words:
        # a word as a text: the longest token from its start is the whole
        _, first, ends, found = lattice.edges(encode_text(word))
        here = slice(first[0], first[1])
        assert ends[here][-1] == len(word)
        k = found[here][-1]
        assert decode_codes(symbols[offsets[k] : offsets[k + 1]]) == word
        inside = {word[:end] for end in ends[here][found[here] >= 0]}
        assert inside == {word[:end] for end in range(1, len(word) + 1) if word[:end] in words}


def test_agrees_with_a_plain_search_on_a_novel(data):
    with lzma.open(data("zh-novels/hongloumeng.txt.xz"), "rt", encoding="utf-8") as file:
        lines = file.read(60_000).splitlines()
    grams = Counter(
        line[i : i + n] for n in range(1, 5) for line in lines for i in range(len(line))
    )
    words = {gram: n for gram, n in grams.items() if n > 2 or len(gram) == 1}
    tokenizer = UnigramTokenizer(words, atoms="character")
    bits = {word: -math.log2(n / tokenizer.total) for word, n in tokenizer.words.items()}
    longest = max(map(len, bits))
    total = 0.0
    for line in lines:
        best = [0.0]
        for end in range(1, len(line) + 1):
            ways = ((end - k, fold(line[end - k : end])) for k in range(1, min(longest, end) + 1))
            best.append(min(best[i] + bits.get(w, math.inf) for i, w in ways))
        assert tokenizer.bits(line) == pytest.approx(best[-1], abs=1e-6)
        total += best[-1]
    assert total > 50_000
    # line ends are in no word, so one text of all lines has the tokens of each
    ended = UnigramTokenizer({**words, "\n": 1}, atoms="character")
    tokens = [token for line in lines for token in (*ended.tokenize(line), "\n")]
    assert ended.tokenize("".join(f"{line}\n" for line in lines)) == tokens


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
        (
            lambda _: UnigramTokenizer({"a": 1}).transform(["a"], n_jobs=0),
            InputError,
            "n_jobs must be an int >= 1",
        ),
        (lambda _: UnigramTokenizer({"a": 1}).encode(1), TypeError, "text must be a str, got int"),
        (
            lambda _: UnigramTokenizer({"a": 1}).decode([0, 257]),
            InputError,
            r"ids must be in \[0, 256\], got 257 at index 1",
        ),
        (lambda _: UnigramTokenizer({"a": 1}).decode([-1]), InputError, "got -1 at index 0"),
        (lambda _: UnigramTokenizer({"a": 1}).decode([0.5]), InputError, "a sequence of int"),
        (lambda _: UnigramTokenizer({"a": 1}).decode([[0]]), InputError, r"shape \(1, 1\)"),
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


def test_small_blocks_of_a_long_text_do_not_show(monkeypatch):
    """Words of a few letters everywhere, so that every edge of a block is under some."""
    rng = np.random.default_rng(0)
    words = {
        "".join(rng.choice(list("红楼梦"), n)): int(rng.integers(1, 99)) for n in (1, 2, 3, 4) * 9
    }
    tokenizer = UnigramTokenizer(words)
    text = "".join(rng.choice(list("红楼梦"), 5000))
    whole = tokenizer.tokenize(text)
    for block in (3, 64, 1000):
        monkeypatch.setattr("kexue.words._lexicon.BLOCK", block)
        assert tokenizer.tokenize(text) == whole


def test_tokens_keep_the_form_of_every_character():
    tokenizer = UnigramTokenizer({"12": 3, "红楼": 2})
    assert tokenizer.transform(["1２, 红楼", "１2"]) == [["1２", ",", " ", "红楼"], ["１2"]]


def test_starts_of_nothing_and_of_a_text_without_an_end():
    tokenizer = UnigramTokenizer({"红楼": 2})
    assert tokenizer.token_starts(np.empty(0, np.uint32)).tolist() == [0]
    assert tokenizer.token_starts(encode_text("红楼红楼红")).tolist() == [0, 2, 4, 5]
    with pytest.raises(InputError, match="codes must be code points"):
        tokenizer.token_starts(np.array([0x110001], np.uint32))


def test_a_callable_is_asked_for_its_texts():
    tokenizer = UnigramTokenizer({"红": 2})
    texts = ["红", "", "\ud800"]
    assert tokenizer.transform(lambda: texts) == tokenizer.transform(texts)
