"""The same tokenizer in Hugging Face's library: the same tokens, ids and text on real text."""

import lzma
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kexue._core import InputError
from kexue.corpus.scripts import fold_table
from kexue.words import UnigramTokenizer
from kexue.words._hugging_face import MARK, character_map, code_class

hf = pytest.importorskip("tokenizers", reason="extra `language`")

WORDS = {
    "红楼": 30, "楼梦": 7, "梦": 20, "红": 9, "楼": 4, "葡萄": 5, ",": 50, "。": 50, "!": 3,
    " ": 40, "the": 90, "cat": 20, "a": 60, "t": 10, "1": 9, "12": 5, "年": 8, "é": 1, "カ": 2,
}  # fmt: skip


def spans_of(encoding):
    """Return the stretches of text of all tokens; the bytes of one token have one stretch."""
    return list(dict.fromkeys(encoding.offsets))


def as_spelled(text, tokenizer):
    """Return a text with the characters that words have, in the form in which words have them."""
    letters = set("".join(tokenizer.vocabulary))
    return folded(text, letters)


def folded(text, letters):
    forms = (chr(fold_table()[ord(c)]) for c in text)
    return "".join(f if f in letters else c for f, c in zip(forms, text, strict=True))


@pytest.mark.parametrize(
    "text",
    [
        "红楼梦",
        "the cat, at 12年 cats",
        "Ａ ａ, ａ１２！ 葡萄葡 萄",
        "x x2x 2x2 éa éé",
        "鱻鱻！鱻 \U0001f600\U0001f600",
        "",
        "\n\t\r\n",
        "①1②12 ㍿カｶ",
    ],
)
@pytest.mark.parametrize("normalize", ["nfkc", None])
@pytest.mark.parametrize("atoms", ["auto", "character"])
def test_same_tokens_and_text(text, atoms, normalize):
    tokenizer = UnigramTokenizer(WORDS, atoms=atoms, normalize=normalize)
    theirs = tokenizer.to_hf()
    encoding = theirs.encode(text)
    assert spans_of(encoding) == tokenizer.offsets(text)
    decoded = theirs.decode(encoding.ids)
    assert decoded == tokenizer.decode(tokenizer.encode(text))
    assert decoded == (as_spelled(text, tokenizer) if normalize else text)


@settings(max_examples=300, deadline=None)
@given(st.text("红楼梦葡萄,。! theca1２年é鱻Ｘ④", max_size=12))
def test_same_tokens_of_random_text(text):
    tokenizer, theirs = _pair()
    encoding = theirs.encode(text)
    best = tokenizer.nbest(text, 2)
    # of segmentations that cost the same, theirs is any
    if len(best) == 1 or best[1][1] - best[0][1] > 1e-6:
        assert spans_of(encoding) == tokenizer.offsets(text)
    assert theirs.decode(encoding.ids) == as_spelled(text, tokenizer)


_kept = {}


def _pair():
    if not _kept:
        tokenizer = UnigramTokenizer(WORDS)
        _kept["pair"] = tokenizer, tokenizer.to_hf()
    return _kept["pair"]


def test_same_tokens_of_a_novel(data):
    with lzma.open(data("zh-novels/hongloumeng.txt.xz"), "rt", encoding="utf-8") as file:
        lines = [line for line in file.read(150_000).splitlines() if line]
    counts = Counter(
        line[i : i + n] for line in lines[::2] for n in (1, 2, 3) for i in range(len(line) - n + 1)
    )
    # punctuation inside words, and rare characters that are no words, too
    tokenizer = UnigramTokenizer({word: n for word, n in counts.items() if n > 3})
    words, letters = tokenizer.words, set("".join(tokenizer.vocabulary))
    theirs = tokenizer.to_hf()
    unseen = lines[1::2]
    same = total = 0
    for line, encoding in zip(unseen, theirs.encode_batch(unseen), strict=True):
        ours, spans = tokenizer.offsets(line), spans_of(encoding)
        same += len(set(ours) & set(spans))
        total += len(ours)
        spelled = folded(line, letters)
        counts = np.array([words.get(spelled[a:b], 0.5) for a, b in spans])
        # where tokens differ, both segmentations are best
        bits = np.log2(tokenizer.total / counts).sum()
        assert bits == pytest.approx(tokenizer.bits(line), abs=1e-6)
        ids = tokenizer.encode(line)
        unknown_runs = any(c.isalpha() and c < "\u2e80" for c in line)
        assert encoding.ids == ids.tolist() or spans != ours or unknown_runs
        assert theirs.decode(encoding.ids) == tokenizer.decode(ids) == spelled
    assert total > 30_000
    assert same / total > 0.997


def test_saved_by_their_library_it_is_the_same(tmp_path):
    tokenizer, theirs = _pair()
    theirs.save(str(tmp_path / "tokenizer.json"))
    again = hf.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    text = "the cat, ａ１２！ 葡萄葡 鱻"
    assert again.encode(text).ids == theirs.encode(text).ids
    assert theirs.get_vocab_size() == len(tokenizer.vocabulary) + 257


def test_words_that_hold_runs_and_more():
    tokenizer = UnigramTokenizer({"New York": 9, "T恤": 4, "New": 2, "恤": 1, " ": 8, "in": 2})
    theirs = tokenizer.to_hf()
    for text in ("in New York", "New Yorker", "T恤 T恤", "Te恤", "in New in"):
        assert spans_of(theirs.encode(text)) == tokenizer.offsets(text)


def test_table_of_characters_is_read_as_it_was_written():
    codes = np.flatnonzero(fold_table() != np.arange(fold_table().size))
    table = hf.normalizers.Precompiled(character_map(codes, fold_table()[codes]))
    text = "".join(chr(c) for c in range(0x30000) if not 0xD800 <= c < 0xE000)
    # one by one, because their table is asked for whole clusters of characters
    for part in (text[i : i + 1] for i in range(0, len(text), 13)):
        assert table.normalize_str(part) == chr(fold_table()[ord(part)])
    for code in codes.tolist():
        assert table.normalize_str(chr(code)) == chr(fold_table()[code])


def test_class_of_code_points():
    holds = np.zeros(0x110001, bool)
    holds[[65, 66, 67, 0xD800, 0x10FFFF, 0x110000]] = True
    assert code_class(holds) == r"[\x{41}-\x{43}\x{10FFFF}-\x{10FFFF}]"


def test_what_cannot_be_exported_is_refused(monkeypatch):
    with pytest.raises(InputError, match="lone surrogates cannot be exported"):
        UnigramTokenizer({"\ud800": 1}).to_hf()
    with pytest.raises(InputError, match="must not be named like a byte"):
        UnigramTokenizer({"<0x00>": 1}, atoms="character").to_hf()
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ImportError, match=r'pip install "kexue\[language\]"'):
        UnigramTokenizer({"a": 1}).to_hf()


def test_their_known_limits():
    # a mark of a script without blanks is parted from a letter that is a word
    tokenizer = UnigramTokenizer({"ท": 5, "ม": 5})
    text = "ที่ม"
    assert tokenizer.tokenize(text) == ["ที่", "ม"]
    assert len(spans_of(tokenizer.to_hf().encode(text))) > 2
    # the code point that marks runs is lost
    theirs = _pair()[1]
    assert theirs.decode(theirs.encode(f"红{MARK}楼").ids) == "红楼"
