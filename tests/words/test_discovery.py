"""Word discovery on text whose words are known."""

import lzma
import re
import unicodedata
import warnings

import numpy as np
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from kexue._core import InputError
from kexue.corpus import count_ngrams
from kexue.words import UnigramTokenizer, WordDiscoverer, nvbe, segmentation_score
from kexue.words.nvbe import word_scores

POEM = ["月下独酌花间一壶酒", "独酌无相亲", "花间一壶酒独酌", "举杯邀明月", "明月花间"]


def lines(path):
    with lzma.open(path, "rt", encoding="utf-8") as file:
        return [line for line in file.read().splitlines() if line.strip()]


@pytest.fixture(scope="module")
def january():
    from kexue.atlas.demo import load_demo

    return load_demo()


@pytest.fixture(scope="module")
def novel(data):
    return WordDiscoverer().fit(lines(data("zh-novels/hongloumeng.txt.xz")))


def test_bakeoff_floor(data, january):
    """Trained on the 1998 text and both raw test texts, no gold seen: 78.0 F1 on each."""
    gold = {
        name: [line.split() for line in lines(data(f"cws-bakeoff-2005/{name}_test_gold.txt.xz"))]
        for name in ("pku", "msr")
    }
    raw = ["".join(words) for part in (january, *gold.values()) for words in part]
    model = WordDiscoverer().fit(raw)
    for name, words in gold.items():
        found = model.transform("".join(sentence) for sentence in words)
        assert segmentation_score(found, words)["f1"] >= 0.78, name


def test_names_of_the_novel(novel):
    names = ["宝玉", "王夫人", "凤姐", "老太太", "贾母", "黛玉", "薛姨妈", "宝钗", "袭人", "刘姥姥"]
    best = [word for word in novel.words_["word"] if len(word) > 1][:30]
    assert set(names) <= set(best)


def test_bits_saved_are_the_fall_of_the_ledger(novel):
    ledger = dict(novel.ledger_)
    characters = novel.tokens_.codes.size
    fall = (ledger["characters"] - ledger["words"]) * characters
    assert novel.words_["bits_saved"].sum() == pytest.approx(fall, rel=1e-9)
    assert ledger["alphabet"] > ledger["characters"] > ledger["words"]
    longer = novel.words_.filter(novel.words_["word"].str.len_chars() > 1)
    assert (longer["bits_net"] < longer["bits_saved"]).all()
    assert novel.words_["bits_saved"].is_sorted(descending=True)


def test_ledger_by_hand():
    model = WordDiscoverer(max_rounds=0, max_length=1).fit(["ab", "ab"])
    # tokens ab, end, ab, end of 6 characters; letters a a b b and two ends
    assert model.ledger_ == [
        ("alphabet", pytest.approx(np.log2(3))),
        ("characters", pytest.approx(np.log2(3))),
        ("words", pytest.approx(4 * 1 / 6)),
    ]
    table = {row["word"]: row for row in model.words_.iter_rows(named=True)}
    assert table["ab"]["count"] == table[""]["count"] == 2
    assert table["ab"]["pmi"] == pytest.approx(2 * np.log2(3) - 1)
    assert table["ab"]["bits_net"] == pytest.approx(2 * (2 * np.log2(3) - 1) - 2 * np.log2(3) - 3)


def test_every_character_is_coded(novel):
    tokens = novel.tokens_
    assert tokens.counts @ tokens.lengths == tokens.codes.size
    assert novel.words_["count"].sum() == tokens.ids.size


def brute_force_path(text, counts, price):
    """Return the best segmentation of one span by plain dynamic programming."""
    score = {}
    for order, scores in enumerate(word_scores(counts, 4, dict(counts.suffix_links())), 1):
        names = counts.to_polars(order)["ngram"].to_list()
        score.update(zip(names, scores, strict=True))
    best = [(0.0, [])]
    for end in range(1, len(text) + 1):
        best.append(
            max(
                (best[b][0] + score[text[b:end]] + price, [*best[b][1], text[b:end]])
                for b in range(max(0, end - 4), end)
            )
        )
    return best[-1]


def test_learning_in_parts_is_learning_from_all():
    first, second = POEM[:2], [*POEM[2:], *POEM]
    model = WordDiscoverer(penalty=-1.0).partial_fit(first)
    alone = model.words_.to_dicts()
    model.partial_fit(iter(second))
    whole = WordDiscoverer(penalty=-1.0).fit(first + second)
    assert model.words_.to_dicts() == whole.words_.to_dicts() != alone
    assert model.ledger_ == whole.ledger_
    assert model.tokenizer_.words == whole.tokenizer_.words
    assert model.fit(first).words_.to_dicts() == alone


@pytest.mark.parametrize("block", [1, 7])
def test_blocks_of_positions_do_not_show(monkeypatch, block):
    whole = WordDiscoverer(penalty=-1.0, max_rounds=0).fit(POEM * 3)
    monkeypatch.setattr("kexue.words.nvbe.BLOCK", block)
    again = WordDiscoverer(penalty=-1.0, max_rounds=0).fit(POEM * 3)
    assert again.tokenizer_.words == whole.tokenizer_.words


@pytest.mark.parametrize("price", [0.0, -4.0])
def test_segmentation_is_the_best_by_plain_dynamic_programming(price):
    texts = POEM * 3
    counts = count_ngrams(texts, 5, entropies=True)
    model = WordDiscoverer(penalty=price, max_rounds=0)
    from kexue.corpus.texts import as_texts
    from kexue.words.tokenizer import token_cuts

    codes = as_texts(texts).codes()
    cuts, joining = token_cuts(codes, "auto"), nvbe.joining_characters("auto")
    begins = nvbe.lattice(codes, cuts, joining, max_length=4).segment(model.penalty)
    ends = np.flatnonzero(begins)
    edges = iter(zip(ends, [*ends[1:], codes.size], strict=True))
    for text in texts:
        tokens = []
        while sum(map(len, tokens)) < len(text):
            a, b = next(edges)
            tokens.append("".join(map(chr, codes[a:b])))
        next(edges)  # the end of the document
        score, words = brute_force_path(text, counts, price)
        total = brute_force_score(tokens, counts, price)
        assert total == pytest.approx(score, abs=1e-9)
        assert tokens == words


def brute_force_score(tokens, counts, price):
    scores = word_scores(counts, 4, dict(counts.suffix_links()))
    total = 0.0
    for token in tokens:
        row = counts.to_polars(len(token))["ngram"].to_list().index(token)
        total += scores[len(token) - 1][row] + price
    return total


def test_words_without_blanks_and_atoms():
    text = ["thecatsatonthemat", "thecatsawthedog", "thedogsatonthecat"] * 50
    model = WordDiscoverer(atoms="character").fit(text)
    assert len(model.transform(["thecat"])[0]) > 1
    assert WordDiscoverer().fit(text).transform(["thecat"]) == [["thecat"]]


def test_same_result_for_any_threads_and_order_of_documents():
    model = WordDiscoverer(n_jobs=1).fit(POEM * 9)
    for other in (
        WordDiscoverer(n_jobs=2).fit(POEM * 9),
        WordDiscoverer().fit((POEM * 9)[::-1]),
    ):
        assert other.words_.equals(model.words_)
        assert other.tokenizer_.words == model.tokenizer_.words


def test_mixed_scripts_and_texts_without_words():
    model = WordDiscoverer().fit(["hello, world! 你好世界 مرحبا สวัสดี 😀👍🏽", "hello 你好"] * 3)
    assert isinstance(model.tokenizer_, UnigramTokenizer)
    assert model.transform(["hello你好😀"]) == [["hello", "你好", "😀"]]
    assert WordDiscoverer().fit(["!!", "!"]).transform(["!"]) == [["!"]]


@pytest.mark.parametrize("atoms", ["auto", "character"])
def test_marks_stay_with_their_letters(atoms):
    text = ["ยืนยันตัวเพื่อยอมรับ", "เพื่อตัวยืนยัน", "ยอมรับเพื่อน", "か\u3099\u3099\u3099\u3099\u3099き"] * 9
    model = WordDiscoverer(atoms=atoms).fit(text)
    words = [word for tokens in model.transform(text) for word in tokens]
    assert "".join(words) == "".join(text)
    assert not [word for word in words if unicodedata.category(word[0])[0] == "M"]
    assert model.tokens_.counts @ model.tokens_.lengths == model.tokens_.codes.size


def test_characters_that_never_stand_side_by_side():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = WordDiscoverer().fit(["中,国,中,a"] * 3)
    assert model.transform(["中国"]) == [["中", "国"]]


def test_estimator():
    model = clone(WordDiscoverer(penalty=-3.0, max_length=3))
    assert model.get_params()["penalty"] == -3.0
    with pytest.raises(NotFittedError):
        model.transform(["红楼"])
    assert model.fit(iter(POEM * 2)) is model
    assert model.fit_transform(POEM * 2) == model.transform(POEM * 2)


@pytest.mark.parametrize(
    ("parameters", "texts", "error", "message"),
    [
        ({}, "红楼", TypeError, "texts must be an iterable of str, got one str"),
        ({}, [], InputError, "all documents are empty"),
        ({"method": "x"}, POEM, InputError, "method must be one of 'nvbe'"),
        ({"max_length": 9}, POEM, InputError, r"max_length must be an int in \[1, 8\], got 9"),
        ({"max_length": 2.0}, POEM, TypeError, r"max_length must be an int in \[1, 8\], got 2.0"),
        ({"min_count": 0}, POEM, InputError, "min_count must be an int >= 1, got 0"),
        ({"penalty": float("nan")}, POEM, InputError, "penalty must be a finite number, got nan"),
        ({"atoms": "words"}, POEM, InputError, "atoms must be one of 'auto', 'character'"),
        ({"normalize": "nfd"}, POEM, InputError, "normalize must be one of 'nfkc', None"),
        ({"n_jobs": 0}, POEM, InputError, "n_jobs must be an int >= 1, or negative"),
        ({"memory": "much"}, POEM, InputError, "memory must be a size"),
        (
            {"executor": "threads"},
            lambda: pytest.fail("read"),
            InputError,
            "executor must be one of 'thread', 'process', 'dask', 'a distributed.Client'",
        ),
    ],
)
def test_bad_input_is_answered_by_its_message(parameters, texts, error, message):
    with pytest.raises(error, match=message):
        WordDiscoverer(**parameters).fit(texts)


def read_treebank(path):
    """Return the words of each sentence of a CoNLL-U file."""
    sentences = []
    for line in lines(path):
        number, word, *_ = [*line.split("\t")[:2], ""]
        if number == "1":
            sentences.append([])
        if number.isdigit():
            sentences[-1].append(word)
    return sentences


@pytest.fixture(scope="module")
def gold(data):
    treebank = [
        sentence
        for part in ("dev", "test")
        for sentence in read_treebank(data(f"ud-chinese-gsdsimp/zh_gsdsimp-ud-{part}.conllu.xz"))
    ]
    bakeoff = {
        name: [line.split() for line in lines(data(f"cws-bakeoff-2005/{name}_test_gold.txt.xz"))]
        for name in ("pku", "msr")
    }
    return bakeoff | {"gsd": treebank}


@pytest.mark.parametrize("name", ["pku", "msr", "gsd", pytest.param("all", marks=pytest.mark.slow)])
def test_prices_are_near_the_best(gold, january, name):
    """The default within 0.8 F1 of the best price, that from the text within 2.0."""
    marked = [*gold["pku"], *gold["msr"]] if name == "all" else gold[name]
    raw = ["".join(words) for words in marked]
    more = ["".join(words) for words in january] if name == "all" else []

    def f1(penalty):
        model = WordDiscoverer(penalty=penalty).fit([*raw, *more])
        return segmentation_score(model.transform(raw), marked)["f1"]

    best = max(f1(price) for price in (-2.0, -3.0, -4.0, -5.0, -6.0, -7.0, -8.0))
    assert f1(WordDiscoverer().penalty) > best - 0.008
    assert f1("mdl") > best - 0.02


def test_english_without_blanks(data):
    """Redlich's experiment: words of letters alone, against every letter a word."""
    messages = pl.read_parquet(data("newsgroups/20news_bydate.parquet"), columns=["text"])["text"]
    sentences = [
        words
        for message in messages[:1500]
        for line in message.split("\n\n", 1)[-1].lower().split("\n")
        if len(words := re.findall("[a-z]+", line)) > 3
    ]
    raw = ["".join(words) for words in sentences]
    model = WordDiscoverer(atoms="character", max_length=8).fit(raw)
    found = segmentation_score(model.transform(raw[:3000]), sentences[:3000])
    letters = segmentation_score([list(text) for text in raw[:3000]], sentences[:3000])
    assert found["boundary_f1"] > 0.76
    assert letters["boundary_f1"] < 0.4


@pytest.mark.parametrize(("penalty", "expected"), [(-3.0, -3.0), ("mdl", np.nan)])
def test_a_price_without_anything_to_join(penalty, expected):
    np.testing.assert_equal(WordDiscoverer(penalty=penalty).fit(["the cat"]).penalty_, expected)


@pytest.mark.parametrize(
    ("options", "texts"),
    [
        ({"min_count": 5}, ["红楼梦"]),
        ({"penalty": "mdl", "min_count": 2}, ["红红红"]),
        ({"method": "charlm", "min_count": 2}, ["红楼"]),
    ],
)
def test_words_too_rare_leave_their_characters(options, texts):
    model = WordDiscoverer(**options).fit(texts)
    assert set(model.tokenizer_.words) == set("".join(texts))
