"""Word counts against a Counter, the same whoever counts, and what their table promises."""

import functools
import lzma
import operator
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kexue._core import InputError
from kexue.corpus import WordCounts, _tally, count_words, read_texts
from kexue.corpus import _word_kernels as kernels
from kexue.corpus._documents import PackedCounts
from kexue.corpus._span_kernels import EMPTY, hash_spans
from kexue.corpus.scripts import DIGIT, EXTENDING, JOINING, LETTER, character_classes
from kexue.corpus.texts import DOCUMENT_END, encode_text

CLASSES = character_classes()
# letters, marks and digits of scripts with and without blanks, astral, variation selectors
ALPHABET = "abé1２ ,_-\n中文\U00020000あก็ก\u0301กิ\u094dहि\ufe0f\U000e0100’"
DOCUMENTS = st.lists(st.text(ALPHABET, max_size=30), min_size=1, max_size=8)


def words_of(document):
    """Return the words of a document, letter by letter."""
    words = []
    before = None
    for character in document:
        kind = CLASSES[ord(character)]
        if kind == EXTENDING:
            joins = before in (JOINING, EXTENDING)
        else:
            joins = kind in (LETTER, DIGIT) and before in (LETTER, DIGIT)
        if joins:
            words[-1] += character
        elif kind in (JOINING, EXTENDING, LETTER, DIGIT):
            words.append(character)
        before = kind
    return words


def in_order(counter, min_count=1):
    kept = [(word, n) for word, n in counter.items() if n >= min_count]
    return sorted(kept, key=lambda pair: (-pair[1], pair[0]))


def rows(counts):
    return list(zip(counts.words, counts.counts.tolist(), strict=True))


class Halves:
    """A tokenizer that cuts every document into pieces of two characters."""

    def token_starts(self, codes):
        ends = np.flatnonzero(codes == DOCUMENT_END)
        begin, starts = 0, []
        for end in ends.tolist():
            starts += [*range(begin, end, 2), end]
            begin = end + 1
        return np.array([*starts, codes.size])

    def __call__(self, document):
        return [document[i : i + 2] for i in range(0, len(document), 2)]


# --- what a word is


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("Don't stop, 3.14!", ["Don", "t", "stop", "3", "14"]),
        ("covid19 utf8 2x", ["covid19", "utf8", "2x"]),
        ("naïve cafe\u0301 Straße", ["naïve", "cafe\u0301", "Straße"]),
        ("snake_case", ["snake", "case"]),
        ("红楼梦120回", ["红", "楼", "梦", "120", "回"]),
        ("用Python写", ["用", "Python", "写"]),
        ("กินข้าว", ["กิ", "น", "ข้", "า", "ว"]),
        ("हिन्दी", ["हिन्दी"]),
        ("\u0e34x", ["\u0e34", "x"]),
        ("葛\U000e0100城", ["葛\U000e0100", "城"]),
        ("نمی\u200cخواهم", ["نمی\u200cخواهم"]),
    ],
)
def test_words(document, words):
    assert words_of(document) == words
    assert rows(count_words([document])) == in_order(Counter(words))


@settings(max_examples=200, deadline=None)
@given(DOCUMENTS, st.integers(1, 3))
def test_counts_equal_a_counter(documents, min_count):
    expected = Counter(word for document in documents for word in words_of(document))
    if not expected:
        return
    counts = count_words(documents, min_count=min_count)
    assert rows(counts) == in_order(expected, min_count)
    assert counts.total == expected.total()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(st.characters(), max_size=12), min_size=1, max_size=5))
def test_a_tokenizer_and_a_callable_agree(documents):
    documents = [*documents, "x"]
    halves = Halves()
    clean = [re.sub("[\ud800-\udfff]", "\ufffd", document) for document in documents]
    expected = in_order(Counter(word for document in clean for word in halves(document)))
    assert rows(count_words(documents, halves)) == expected
    assert rows(count_words(documents, halves.__call__)) == expected


# --- the same, whoever counts


@pytest.fixture(scope="module")
def novel(data):
    with lzma.open(data("zh-novels/hongloumeng.txt.xz"), "rt", encoding="utf-8") as file:
        return [line for line in file.read()[:200_000].split("\n") if line]


@pytest.fixture
def small_tables(monkeypatch):
    monkeypatch.setattr(_tally, "LOCAL_WORDS", 64)


@pytest.fixture
def files(novel, tmp_path):
    """The novel in two files."""
    for name, lines in (("a", novel[:300]), ("b", novel[300:])):
        (tmp_path / f"{name}.txt").write_text("\n".join(lines), encoding="utf-8")
    return [tmp_path / "a.txt", tmp_path / "b.txt"]


split = operator.methodcaller("split", "，")


@pytest.mark.parametrize("tokenize", [None, Halves(), split], ids=["None", "tokenizer", "callable"])
def test_threads_chunks_and_files_do_not_matter(novel, files, tokenize, small_tables):
    function = {None: words_of, split: split}.get(tokenize, tokenize)
    expected = in_order(Counter(word for line in novel for word in function(line)))
    for n_jobs, chunk_bytes, paths in ((1, 1 << 23, files), (2, 4096, files[::-1]), (4, 99, files)):
        texts = read_texts(paths, chunk_bytes=chunk_bytes)
        assert rows(count_words(texts, tokenize, n_jobs=n_jobs, executor="thread")) == expected


@pytest.mark.parametrize("tokenize", [None, split], ids=["None", "callable"])
def test_processes_count_the_same(novel, files, tokenize):
    texts = read_texts(files, chunk_bytes=1 << 17)
    expected = count_words(novel, tokenize)
    seen = []
    counts = count_words(texts, tokenize, n_jobs=2, executor="process", progress=seen.append)
    assert rows(counts) == rows(expected)
    assert seen == sorted(seen)
    assert len(seen) > 2
    assert seen[-1] == texts.codes().size


def test_a_callable_goes_to_processes_unless_told_otherwise(novel):
    with pytest.raises(TypeError, match="tokenize must be picklable to go to other processes"):
        count_words(novel, lambda line: [line], n_jobs=2)
    counts = count_words(novel, lambda line: [line], n_jobs=2, executor="thread")
    assert counts == Counter(novel)


def test_processes_for_a_callable_start_light():
    code = """
import sys
import kexue.corpus._documents, kexue._core.worker
print(sorted({"numpy", "numba", "polars", "scipy"} & set(sys.modules)))
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_dask_counts_the_same(novel, files):
    distributed = pytest.importorskip("distributed", reason="needs the extra `cluster`")
    texts = read_texts(files, chunk_bytes=1 << 17)
    with (
        distributed.LocalCluster(
            2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        for executor, tokenize in ((client, None), ("dask", split), (client, lambda s: [s[::2]])):
            counts = count_words(texts, tokenize, executor=executor)
            assert rows(counts) == rows(count_words(novel, tokenize))
        with pytest.raises(TypeError, match="tokenize must return an iterable of str, got 7 in it"):
            count_words(texts, lambda line: [7], executor=client)


def test_an_iterator_is_read_once_and_not_held(monkeypatch):
    alive = []

    def stream():
        for number in range(40):
            alive.append(number)
            yield f"a{number} " * 20_000

    done = []

    def progress(n_codes):
        done.append((n_codes, len(alive)))

    counts = count_words(stream(), progress=progress)
    assert counts["a7"] == 20_000
    assert done[0][1] < 40  # counted before all was read


MEASURED = """
import sys
from pathlib import Path
from kexue.corpus import count_words


def peak():  # not ru_maxrss, which begins with what the parent had
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))


count_words(["a b"], n_jobs=2)  # loads what is compiled
before = peak()
counts = count_words(Path(sys.argv[1]), memory="100MB", n_jobs=2)
print(peak() - before, len(counts))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_kept(tmp_path):
    """A table that nearly fills it, and the words of the result made of it."""
    letters = np.random.default_rng(0).integers(97, 113, (500_000, 9))
    letters[:, 8] = ord(" ")
    letters[::9, 8] = ord("\n")
    (tmp_path / "words.txt").write_bytes(letters.astype(np.uint8).tobytes())
    (tmp_path / "measure.py").write_text(MEASURED)
    found = subprocess.run(
        [sys.executable, tmp_path / "measure.py", tmp_path / "words.txt"],
        capture_output=True,
        text=True,
        check=True,
    )
    growth, distinct = map(int, found.stdout.split())
    assert distinct > 499_000
    assert growth * 1024 < 115e6


# --- kernels


def spelled(tally):
    words = tally.words()
    text = "".join(map(chr, words.codes.tolist()))
    return {text[begin:end]: count for begin, end, _, count in words.entries.tolist()}


def packed(counter):
    lengths = np.array(list(map(len, counter)), np.int64)
    counts = np.array(list(counter.values()), np.int64)
    return PackedCounts("".join(counter), lengths.tobytes(), counts.tobytes())


@given(st.lists(st.text("ab", max_size=3), max_size=40), st.integers(1, 8))
def test_a_small_table_is_counted_until_it_is_full(words, room):
    codes = encode_text("".join(words))
    starts = np.cumsum([0, *map(len, words)], dtype=np.int64)
    hashes = hash_spans(codes, starts)
    slots = np.empty(16, np.int32)
    entries = np.empty((room, 4), np.int64)
    spans = (codes, starts[:-1], starts[1:], hashes)
    found = Counter()
    k = 0
    while k < len(words):
        before = k
        slots[:] = EMPTY
        k, n = kernels.count_spans(*spans, k, slots, entries, 0)
        text = "".join(words)
        part = Counter({text[begin:end]: count for begin, end, _, count in entries[:n].tolist()})
        assert part == Counter(words[before:k])
        assert n == room or k == len(words)
        found += part
    assert found == Counter(words)


@pytest.mark.parametrize("room", [1, 2, 3])
@given(st.lists(st.text("ab字\u0301 ,", max_size=9), min_size=1, max_size=9))
def test_words_are_found_a_few_at_a_time(room, texts):
    """Whatever there is room for, and counted in one table all the same."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("kexue.corpus.word_counts.SPANS", room)
        try:
            counts = count_words(texts)
        except InputError:
            counts = {}
    assert counts == Counter(word for text in texts for word in words_of(text))


def test_equal_hashes_are_told_apart():
    """All hashes the same: only the letters differ."""
    words = ["a", "b", "ab", "a", "ba", "b", "a"]
    codes = encode_text("".join(words))
    starts = np.cumsum([0, *map(len, words)], dtype=np.int64)
    hashes = np.full(len(words), 7, np.uint64)
    tally = _tally.Tally()
    for _ in range(2):
        tally.count(codes, [(starts[:-1], starts[1:], hashes)])
    found = spelled(tally)
    assert found == {word: 2 * n for word, n in Counter(words).items()}


def test_counts_beyond_32_bits():
    tally = _tally.Tally()
    for _ in range(2):
        tally.add_packed(packed(Counter({"字": 2**31 + 10, "word": 1})))
    assert spelled(tally) == {"字": 2**32 + 20, "word": 2}


def test_a_table_grows_with_many_and_with_long_words():
    words = {f"{number:x}" * (1 + number % 50): number for number in range(1, 50_000)}
    tally = _tally.Tally()
    tally.add_packed(packed(Counter(words)))
    tally.add_packed(packed(Counter(words)))
    found = spelled(tally)
    assert found == {word: 2 * number for word, number in words.items()}
    assert tally.nbytes > sum(map(len, words)) * 4


# --- the table


@pytest.fixture(scope="module")
def counts():
    return count_words(["b \ufb01 a c", "b \U00020000 é"])


def test_order_is_falling_count_then_code_points(counts):
    # U+20000 comes last, unlike in UTF-16
    assert counts.words == ["b", "a", "c", "é", "\ufb01", "\U00020000"]


def test_a_table_is_a_mapping(counts):
    assert counts["b"] == 2
    assert counts.get("nothing", 0) == 0
    assert "a" in counts
    assert "nothing" not in counts
    assert dict(counts) == {word: n for word, n in rows(counts)}
    assert len(counts) == len(counts.words) == counts.counts.size
    assert counts.counts.dtype == np.int64
    assert counts.top(2) == [("b", 2), ("a", 1)]
    assert counts.total == counts.counts.sum()
    assert counts.to_polars().schema == {"word": pl.String, "count": pl.Int64}
    assert repr(count_words(["a a b"])) == "WordCounts(total=3, distinct=2)"
    with pytest.raises(KeyError, match="nothing"):
        counts["nothing"]


@settings(deadline=None)
@given(DOCUMENTS, DOCUMENTS)
def test_merging_is_counting_both(some, more):
    some, more = [*some, "a"], [*more, "b"]
    merged = count_words(some).merge(count_words(more))
    whole = count_words([*some, *more])
    assert rows(merged) == rows(whole)
    assert merged.total == whole.total


def test_what_was_pruned_is_not_merged():
    whole = count_words(["a a b"])
    pruned = count_words(["a a b"], min_count=2)
    assert rows(pruned) == rows(whole.pruned(2)) == [("a", 2)]
    assert pruned.total == whole.pruned(2).total == 3
    assert whole.pruned(3).words == []
    for pair in ((whole, pruned), (pruned, whole)):
        with pytest.raises(InputError, match="words rarer than min_count=2 were dropped"):
            pair[0].merge(pair[1])
    with pytest.raises(TypeError, match="other must be WordCounts, got dict"):
        whole.merge({"a": 1})


def test_saved_and_loaded(tmp_path):
    path = tmp_path / "words.parquet"
    for counts in (
        count_words(['b\n b ,\0 "q" 字'], str.split),
        count_words(["a a b"], min_count=2),
    ):
        counts.save(path)
        again = WordCounts.load(path)
        assert rows(again) == rows(counts)
        assert (again.total, again.min_count) == (counts.total, counts.min_count)
    assert pl.read_parquet(path).columns == ["word", "count"]
    assert [file.name for file in tmp_path.iterdir()] == ["words.parquet"]


@pytest.mark.parametrize("content", [b"", b"no table", "another table"])
def test_what_was_not_saved_is_not_loaded(tmp_path, content):
    path = tmp_path / "words.parquet"
    if isinstance(content, str):
        pl.DataFrame({"word": ["a"], "count": [1]}).write_parquet(path)
    else:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"words\.parquet holds no counts written by WordCounts"):
        WordCounts.load(path)
    with pytest.raises(FileNotFoundError):
        WordCounts.load(tmp_path / "absent.parquet")


# --- bad input


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"texts": "one text"}, TypeError, "texts must be an iterable of str, got one str"),
        ({"texts": [" ,."]}, InputError, "there is nothing to count: the texts hold no word"),
        ({"texts": [""]}, InputError, "all documents are empty"),
        ({"tokenize": 3}, TypeError, "tokenize must be None, a callable .* got 3"),
        ({"min_count": 0}, InputError, "min_count must be an int >= 1, got 0"),
        ({"memory": "much"}, InputError, "memory must be a size such as .* got 'much'"),
        ({"n_jobs": 0}, InputError, "n_jobs must be an int >= 1, or negative"),
        ({"executor": "gpu"}, InputError, "executor must be one of 'auto', .*Client', got 'gpu'"),
        ({"memory": 9}, InputError, r"memory=9 B does not hold .* distinct words .* \(.* so far\)"),
        ({"tokenize": lambda s: s}, TypeError, "must return an iterable of str, got the str 'to'"),
        ({"tokenize": lambda s: [s, 7]}, TypeError, "must return an iterable of str, got 7 in it"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        count_words(**({"texts": ["to"]} | arguments))


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_an_error_names_the_file(files, n_jobs):
    tokenize = functools.partial(re.split, "(")
    with pytest.raises(re.error, match="unterminated") as caught:
        count_words(read_texts(files), tokenize, n_jobs=n_jobs)
    assert "raised while the words of " in caught.value.__notes__[0]
    assert str(files[0]) in caught.value.__notes__[0]
    assert isinstance(files[0], Path)


def test_a_function_that_cannot_travel():
    with pytest.raises(TypeError, match="tokenize must be picklable to go to other processes"):
        count_words(["a b"], lambda text: text.split(), n_jobs=2)
    with pytest.raises(TypeError, match="must return an iterable of str, got None"):
        count_words(["a b"], lambda text: None)


def test_every_character_there_is():
    everything = "".join(map(chr, range(0xD800)))
    assert count_words([everything], list).total == 0xD800
    assert count_words(["a\nb", "c"], str.split)["b"] == 1
