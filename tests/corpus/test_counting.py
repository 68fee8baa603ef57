"""n-gram counts against a Counter, and the identities that bind them together."""

import lzma
import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kexue._core import InputError
from kexue.corpus import NGramCounts, count_ngrams, read_texts
from kexue.corpus.scripts import OTHER, character_classes

CLASSES = character_classes()


def spans(document):
    """Return the stretches of a document between boundaries."""
    marked = "".join(c if CLASSES[ord(c)] != OTHER else "\0" for c in document)
    return [span for span in marked.split("\0") if span]


def brute_force(documents, order):
    counts = [Counter() for _ in range(order + 1)]
    for document in documents:
        for span in spans(document):
            for o in range(1, order + 1):
                counts[o].update(span[i : i + o] for i in range(len(span) - o + 1))
    return counts


def brute_entropies(documents, order, side):
    """Return {ngram: entropy in nats}, span ends being continuations of their own."""
    follow = defaultdict(Counter)
    for number, document in enumerate(documents):
        for k, span in enumerate(spans(document)):
            text = span if side == "right" else span[::-1]
            for i in range(len(text) - order + 1):
                end = i + order
                successor = text[end] if end < len(text) else (number, k)
                ngram = text[i:end] if side == "right" else text[i:end][::-1]
                follow[ngram][successor] += 1
    return {
        ngram: -sum(n / after.total() * math.log(n / after.total()) for n in after.values())
        for ngram, after in follow.items()
    }


def as_dict(counts, order):
    table = counts.to_polars(order)
    return dict(zip(table["ngram"].to_list(), table["count"].to_list(), strict=True))


# few letters, so that n-grams repeat; boundaries, astral plane, marks, line ends, BOM
ALPHABET = "ab中文 ,\n\r\ufeff\U00020000\u0301１"
DOCUMENTS = st.lists(st.text(ALPHABET, max_size=30), min_size=1, max_size=8)


@settings(max_examples=150, deadline=None)
@given(DOCUMENTS, st.integers(1, 8))
def test_counts_equal_a_counter(documents, order):
    expected = brute_force(documents, order)
    if not expected[1]:
        return
    counts = count_ngrams(documents, order)
    for o in range(1, order + 1):
        assert as_dict(counts, o) == dict(expected[o])
    assert counts.total == expected[1].total()
    assert len(counts) == sum(len(expected[o]) for o in range(1, order + 1))


@settings(max_examples=100, deadline=None)
@given(DOCUMENTS)
def test_entropies_equal_a_dictionary(documents):
    if not brute_force(documents, 1)[1]:
        return
    counts = count_ngrams(documents, 4, entropies=True)
    for order in (1, 2, 3):
        names = counts.to_polars(order)["ngram"].to_list()
        for side in ("left", "right"):
            expected = brute_entropies(documents, order, side)
            found = dict(zip(names, counts.entropy(side, order), strict=True))
            assert found.keys() == expected.keys()
            # both are sums of at most 30 logarithms of small integers
            assert all(abs(found[w] - expected[w]) < 1e-12 for w in expected)


@pytest.fixture(scope="module")
def chapter(data):
    with lzma.open(data("zh-novels/hongloumeng.txt.xz"), "rt", encoding="utf-8") as file:
        return file.read()[:30_000].split("\n")


def test_a_novel_chapter(chapter):
    counts = count_ngrams(chapter, 8, entropies=True)
    expected = brute_force(chapter, 8)
    for order in range(1, 9):
        assert as_dict(counts, order) == dict(expected[order])
    for order in range(1, 8):
        names = counts.to_polars(order)["ngram"].to_list()
        for side in ("left", "right"):
            reference = brute_entropies(chapter, order, side)
            found = counts.entropy(side, order)
            assert np.abs(found - [reference[w] for w in names]).max() < 1e-12


def test_prefix_identity(chapter):
    """What follows an n-gram, and the span ends after it, add up to its count."""
    counts = count_ngrams(chapter, 3)
    ends = Counter(
        span[-o:] for d in chapter for span in spans(d) for o in (1, 2) if len(span) >= o
    )
    for order in (1, 2):
        followed = Counter()
        for ngram, count in as_dict(counts, order + 1).items():
            followed[ngram[:-1]] += count
        for ngram, count in as_dict(counts, order).items():
            assert followed[ngram] + ends[ngram] == count


@pytest.mark.parametrize("chunk_bytes", [1 << 12, 1 << 16, 64 << 20])
@pytest.mark.parametrize("n_jobs", [1, 2, 4])
@pytest.mark.parametrize("memory", ["20MB", "2GB"])
def test_same_tables_for_any_threads_chunks_and_memory(novel, n_jobs, chunk_bytes, memory):
    path, reference = novel
    again = count_ngrams(
        read_texts(path, chunk_bytes=chunk_bytes), 4, n_jobs=n_jobs, memory=memory, entropies=True
    )
    assert _bytes(again) == reference


@pytest.fixture(scope="module")
def novel(data):
    path = data("zh-novels/sanguo.txt.xz")
    return path, _bytes(count_ngrams(read_texts(path), 4, n_jobs=1, entropies=True))


@settings(max_examples=60, deadline=None)
@given(DOCUMENTS, st.integers(1, 8), st.integers(1, 2000))
def test_same_tables_from_many_small_batches(documents, order, memory):
    if brute_force(documents, 1)[1]:
        assert _bytes(count_ngrams(documents, order, memory=memory)) == _bytes(
            count_ngrams(documents, order)
        )


def test_same_tables_for_any_order_of_files(tmp_path):
    for name, text in (("a.txt", "红楼梦\n石头记"), ("b.txt", "梦中人\n石头人")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    first = read_texts([tmp_path / "a.txt", tmp_path / "b.txt"])
    second = read_texts([tmp_path / "b.txt", tmp_path / "a.txt"])
    assert _bytes(count_ngrams(first, 3)) == _bytes(count_ngrams(second, 3))


def _bytes(counts):
    parts = [counts.alphabet.tobytes()]
    for level in counts.levels[1:]:
        parts += [values.tobytes() for _, values in level.columns()]
    return parts


def test_an_alphabet_beyond_sixteen_bits():
    """Two words per position, ids of 17 bits."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0x10000, 0x10000 + 80_000, 300)
    text = "".join(map(chr, np.append(codes, np.arange(0x10000, 0x10000 + 80_000))))
    documents = [text, text[:200]]
    counts = count_ngrams(documents, 6, boundary=lambda codes: codes < 0)
    assert counts.alphabet.size == 80_000
    expected = Counter(d[i : i + 6] for d in documents for i in range(len(d) - 5))
    assert as_dict(counts, 6) == dict(expected)
    assert counts.counts([text[:5], text[7:9], "ab"]).tolist() == [2, 2, 0]


def test_more_than_sixteen_bits_of_positions_in_one_bucket():
    counts = count_ngrams(["a" * 100_000 + "b"], 5)
    assert counts["aaaaa"] == 99_996
    assert counts["aaaab"] == counts["b"] == 1


def test_queries():
    counts = count_ngrams(["to be or not to be"], 2)
    assert counts["to"] == 2
    assert counts.count("tx") == counts.count("tobe") == counts.count("é") == 0
    assert "be" in counts
    assert "eb" not in counts
    assert counts.counts(["t", "o", "q"]).tolist() == [3, 4, 0]
    assert counts.top(1, 2) == [("o", 4), ("t", 3)]
    assert list(counts) == [*as_dict(counts, 1), *as_dict(counts, 2)]
    assert repr(counts) == "NGramCounts(order=2, total=13, distinct=11)"
    with pytest.raises(KeyError):
        counts["eb"]


def test_a_mapping():
    counts = count_ngrams(["红楼梦红楼人", "abab"], 3)
    expected = as_dict(counts, 1) | as_dict(counts, 2) | as_dict(counts, 3)
    assert isinstance(counts, Mapping)
    assert dict(counts) == dict(counts.items()) == expected
    assert list(counts.keys()) == list(expected)
    assert list(counts.values()) == list(expected.values())
    assert counts == expected
    assert counts.get("楼红", 0) == 0
    assert ("红楼", 2) in counts.items()
    assert 3 not in counts


def test_entropies_are_measured_before_anything_is_dropped():
    text = ["abab" * 3 + "acac" + "adad" * 2] * 2
    full = count_ngrams(text, 3, entropies=True)
    kept = count_ngrams(text, 3, min_count=5, entropies=True)
    rows = [full.to_polars(1)["ngram"].to_list().index(w) for w in kept.to_polars(1)["ngram"]]
    for side in ("left", "right"):
        assert kept.entropy(side, 1).tolist() == full.entropy(side, 1)[rows].tolist()
        assert kept.n_distinct(2) < full.n_distinct(2)


def test_min_count_drops_rows_and_nothing_else():
    text = ["红楼梦红楼人"]
    full = count_ngrams(text, 3, entropies=True)
    kept = count_ngrams(text, 3, min_count=2, entropies=True)
    assert as_dict(kept, 2) == {"红楼": 2}
    assert kept.total == full.total == 6
    row = full.to_polars(2)["ngram"].to_list().index("红楼")
    assert (
        kept.entropy("right", 2)[0] == full.entropy("right", 2)[row] == pytest.approx(math.log(2))
    )


def test_a_boundary_of_ones_own():
    counts = count_ngrams(["ab,ab"], 2, boundary=lambda codes: codes == ord("b"))
    assert as_dict(counts, 2) == {",a": 1}
    assert as_dict(counts, 1) == {"a": 2, ",": 1}


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: count_ngrams("text"), TypeError, "texts must be an iterable of str, got one str"),
        (lambda: count_ngrams([1]), TypeError, r"texts\[0\] must be str, got int"),
        (lambda: count_ngrams(["ab"], 9), InputError, r"order must be an int in \[1, 8\], got 9"),
        (lambda: count_ngrams(["ab"], 0), InputError, r"order must be an int in \[1, 8\], got 0"),
        (lambda: count_ngrams(["ab"], min_count=0), InputError, "min_count must be an int >= 1"),
        (lambda: count_ngrams(["ab"], boundary="x"), InputError, "boundary must be one of 'auto'"),
        (
            lambda: count_ngrams(["ab"], boundary=lambda codes: codes),
            InputError,
            r"boundary must return a boolean array of the shape of its argument, \(2,\)",
        ),
        (lambda: count_ngrams(["ab"], memory="x"), InputError, "memory must be a size"),
        (lambda: count_ngrams([" , "]), InputError, "there is nothing to count"),
        (lambda: count_ngrams([]), InputError, "all documents are empty"),
        (lambda: count_ngrams(Path("absent.txt")), FileNotFoundError, "absent.txt"),
        (
            lambda: count_ngrams(["ab"], 2, min_count=2).entropy("left", 1),
            InputError,
            "call count_ngrams with order >= 2",
        ),
        (
            lambda: count_ngrams(["ab"], 2).entropy("left", 2),
            InputError,
            "call count_ngrams with order >= 3",
        ),
        (lambda: count_ngrams(["ab"]).top(5), InputError, r"order must be an int in \[1, 4\]"),
        (lambda: count_ngrams(["ab"]).count(3), TypeError, "an n-gram must be a str, got 3"),
        (
            lambda: count_ngrams(["ab"], executor="threads"),
            InputError,
            "executor must be one of 'thread', 'process', 'dask', 'a distributed.Client'",
        ),
        (
            lambda: count_ngrams(["ab"], 2).merge(count_ngrams(["ab"], 3)),
            InputError,
            "counts of order 2 and 3 cannot be merged",
        ),
        (
            lambda: count_ngrams(["ab"], 2).merge(count_ngrams(["aab"], 2, min_count=2)),
            InputError,
            "counts without their rare n-grams cannot be merged",
        ),
        (lambda: count_ngrams(["ab"], executor=print), InputError, "executor must be one of"),
        (lambda: count_ngrams(["ab"], progress=3), TypeError, "progress must be callable or None"),
        (lambda: count_ngrams(["ab"]).counts("ab"), TypeError, "ngrams must be an iterable of str"),
        (lambda: count_ngrams(["ab"]).top(1, -1), InputError, "k must be an int >= 0, got -1"),
        (lambda: count_ngrams(["ab"]).merge({}), TypeError, "other must be NGramCounts, got dict"),
        (
            lambda: NGramCounts.load("absent"),
            InputError,
            "absent is not a table of n-grams written by NGramCounts.save",
        ),
    ],
)  # fmt: skip
def test_bad_input_is_answered_by_its_message(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_table_is_kept_until_the_next_is_whole(tmp_path, monkeypatch):
    path = tmp_path / "table"
    count_ngrams(["红楼梦"], 2).save(path)
    (tmp_path / "link").symlink_to(path)

    def fail(*_):
        raise KeyboardInterrupt

    for name in ("kexue.corpus._runs._sync", "pathlib.Path.rename"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(name, fail)
            with pytest.raises(KeyboardInterrupt):
                count_ngrams(["西游记"], 2).save(path)
        assert NGramCounts.load(path).count("红楼") == 1
        assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".")] == []
    count_ngrams(["西游记"], 2).save(tmp_path / "link")
    assert NGramCounts.load(path).count("西游") == 1
    assert sorted(file.name for file in tmp_path.iterdir()) == ["link", "table"]
