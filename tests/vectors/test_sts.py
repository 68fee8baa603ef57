"""Correlations of similarity, and the three ways to join them."""

import gzip

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from kexue._core import InputError
from kexue.vectors import evaluate_sts, read_pairs

HEADER = "split\tsubset\tscore\tsentence1\tsentence2\n"
LINES = "test\tnews\t5\ta\tb\ntest\tnews\t1.5\ta\tc\ndev\tforum\t0\tb\tc\ntest\tforum\t2\tb\ta\n"


def example(sizes=(30, 70), seed=0):
    """Subsets of pairs, and the vectors of the sentences."""
    rng = np.random.default_rng(seed)
    subsets, vectors = {}, {}
    for s, size in enumerate(sizes):
        first, second = rng.normal(size=(2, size, 4)) + s
        names = [(f"{s} {i}", f"{s} {i}'") for i in range(size)]
        for side, rows in enumerate((first, second)):
            vectors |= {name[side]: row for name, row in zip(names, rows, strict=True)}
        lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
        # rounded, so that there are ties
        gold = np.round(2 * (first * second).sum(1) / lengths + rng.normal(size=size))
        subsets[str(s)] = [(*name, g) for name, g in zip(names, gold.tolist(), strict=True)]
    return subsets, vectors


def cosines_of(pairs, vectors):
    sides = [np.array([vectors[pair[i]] for pair in pairs]) for i in (0, 1)]
    lengths = [np.linalg.norm(side, axis=1) for side in sides]
    return (sides[0] * sides[1]).sum(1) / lengths[0] / lengths[1], [pair[2] for pair in pairs]


@pytest.mark.parametrize(("metric", "theirs"), [("spearman", spearmanr), ("pearson", pearsonr)])
def test_by_definition(metric, theirs):
    subsets, vectors = example()
    report = evaluate_sts(vectors, subsets, metric)
    values = [theirs(*cosines_of(pairs, vectors))[0] for pairs in subsets.values()]
    assert [row[:2] for row in report.rows] == [("0", 30), ("1", 70)]
    assert [row[2] for row in report.rows] == pytest.approx(values, abs=1e-12)
    everything = [pair for pairs in subsets.values() for pair in pairs]
    assert report.all == pytest.approx(theirs(*cosines_of(everything, vectors))[0], abs=1e-12)
    assert report.mean == pytest.approx(sum(values) / 2)
    assert report.wmean == pytest.approx(0.3 * values[0] + 0.7 * values[1])
    assert len({report.mean, report.wmean, report.all}) == 3
    for aggregate in ("wmean", "mean", "all"):
        assert evaluate_sts(vectors, subsets, metric, aggregate).score == getattr(report, aggregate)
    assert report.score == report.wmean


def test_every_way_to_give_vectors():
    subsets, vectors = example((20,))
    pairs = subsets["0"]
    expected = evaluate_sts(vectors, pairs)

    class Encoder:
        def encode(self, texts):
            return np.array([vectors[text] for text in texts])

    arrays = tuple(np.array([vectors[pair[i]] for pair in pairs]) for i in (0, 1))
    for given in (Encoder(), Encoder().encode, arrays):
        assert evaluate_sts(given, pairs).score == expected.score


def test_a_sentence_is_encoded_once():
    asked = []

    def encode(texts):
        asked.extend(texts)
        return np.eye(len(texts))

    evaluate_sts(encode, [("a", "a", 1), ("a", "b", 0)])
    assert asked == ["a", "b"]


@pytest.mark.parametrize("metric", ["spearman", "pearson"])
def test_cosines_that_are_all_the_same_say_nothing(metric):
    assert evaluate_sts(lambda texts: np.ones((len(texts), 2)), PAIRS, metric).score == 0


def test_the_table_has_all_three():
    subsets, vectors = example()
    report = evaluate_sts(vectors, subsets)
    lines = [line.split() for line in str(report).splitlines()]
    assert lines[0] == ["subset", "pairs", "spearman", "x", "100"]
    assert [line[0] for line in lines[1:]] == ["0", "1", "wmean", "mean", "all"]
    assert lines[3] == ["wmean", "100", f"{100 * report.wmean:.2f}"]
    assert lines[5] == ["all", "100", f"{100 * report.all:.2f}"]


@pytest.mark.parametrize("suffix", [".tsv", ".tsv.gz"])
def test_files(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    with (gzip.open if suffix.endswith("gz") else open)(path, "wt", encoding="utf-8") as file:
        file.write(HEADER + LINES)
    assert read_pairs(path) == {
        "news": [("a", "b", 5.0), ("a", "c", 1.5)],
        "forum": [("b", "c", 0.0), ("b", "a", 2.0)],
    }
    assert read_pairs(path, "dev") == {"forum": [("b", "c", 0.0)]}
    vectors = {"a": [1, 0], "b": [1, 0.1], "c": [0, 1]}
    assert [row[0] for row in evaluate_sts(vectors, path).rows] == ["news", "forum"]


def test_quotes_are_characters(tmp_path):
    path = tmp_path / "x.tsv"
    path.write_text(HEADER + 'test\ts\t1\t"a\tb"\u2028c\n', encoding="utf-8")
    assert read_pairs(path) == {"s": [('"a', 'b"\u2028c', 1.0)]}


def test_every_file_is_read(data):
    shapes = {
        "stsb_en": (8628, 9), "sts12_en": (2358, 4), "sickr_en": (9927, 1), "stsb_zh": (8050, 1),
        "lcqmc_zh": (21302, 1), "pawsx_zh": (3976, 1),
    }  # fmt: skip
    for name, shape in shapes.items():
        subsets = read_pairs(data(f"sts/{name}.tsv.gz"))
        assert (sum(map(len, subsets.values())), len(subsets)) == shape


PAIRS = [("a", "b", 1.0), ("a", "a", 2.0)]


@pytest.mark.parametrize(
    ("vectors", "dataset", "options", "error", "message"),
    [
        ({}, PAIRS, {}, InputError, "2 sentences have no vector, the first is 'a'"),
        (np.eye(2), PAIRS, {}, TypeError, "or be two arrays, got ndarray"),
        (3, PAIRS, {}, TypeError, "must have encode, be callable, map .* got int"),
        (lambda t: [1, 2], PAIRS, {}, InputError, r"have vectors of shape \(2, k\), got shape"),
        (lambda t: [[1], [np.nan]], PAIRS, {}, InputError, "must be finite, got NaN .* for pair 0"),
        (([[1]], [[1]]), PAIRS, {}, InputError, r"2 pairs must have vectors of shape \(2, k\) on"),
        ({}, PAIRS[:1], {}, InputError, "subset 'pairs' must hold at least 2 pairs, got 1"),
        ({}, {}, {}, InputError, "dataset must hold at least one subset"),
        ({}, {"s": ["ab", "cd"]}, {}, InputError, "must hold .*score., got 'ab' for pair 0 of 's'"),
        (len, [(*p[:2], 1) for p in PAIRS], {}, InputError, r"must have vectors of shape"),
        ({}, [*PAIRS, ("a", "b", np.nan)], {}, InputError, "numbers, got nan for pair 2 of 'p"),
        ({}, {"s": [*PAIRS, ("a", "b", None)]}, {}, InputError, "got None for pair 2 of 's'"),
        ({}, [*PAIRS, ("a", "b", "x")], {}, InputError, "numbers, got 'x' for pair 2 of 'pairs'"),
        ({}, PAIRS, {"split": "dev"}, InputError, "split='dev' can only choose from a file"),
        ({}, PAIRS, {"metric": "tau"}, InputError, "metric must be one of 'spearman', 'pearson'"),
        ({}, PAIRS, {"aggregate": "max"}, InputError, "aggregate must be one of 'wmean', 'mean'"),
        (
            {"a": [1], "b": [2]}, [("a", "b", 1), ("a", "a", 1)], {}, InputError,
            "scores must differ, got 2 pairs that all have 1",
        ),
    ],
)  # fmt: skip
def test_bad_input_is_answered_by_its_message(vectors, dataset, options, error, message):
    with pytest.raises(error, match=message):
        evaluate_sts(vectors, dataset, **options)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a\tb\n", "must have columns score, sentence1, sentence2, its header is"),
        (HEADER + LINES + "test\ts\tx\ta\tb\n", "line 6: must have 5 cells and a finite score"),
        (HEADER + "test\ts\t1\ta\n", "line 2: must have 5 cells"),
        (HEADER + LINES, "has no pairs of split 'train'; its splits: dev, test"),
    ],
)
def test_bad_files_are_answered_by_their_line(tmp_path, content, message):
    path = tmp_path / "x.tsv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        evaluate_sts({}, path, split="train" if "train" in message else None)


GOOD = gzip.compress((HEADER + LINES).encode())


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("latin.tsv", (HEADER + LINES).encode() + b"test\ts\t1\tcaf\xe9\tb\n"),
        ("binary.tsv", b"\x80\x00\xff" * 9),
        ("plain.tsv.gz", (HEADER + LINES).encode()),
        ("cut.tsv.gz", GOOD[:-12]),
        ("damaged.tsv.gz", GOOD[:20] + b"\xff" * 9 + GOOD[29:]),
    ],
)
def test_what_is_no_text_is_answered_by_its_name(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"{name} must be tab-separated values in UTF-8, by gzip"):
        read_pairs(path)
