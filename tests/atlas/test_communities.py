"""Paths of communities, and the exchange of words between them."""

import itertools

import numpy as np
import pytest

from kexue.atlas import exchange as exchanging
from kexue.atlas import ledger
from kexue.atlas.exchange import exchange
from kexue.atlas.ledger import END, RARE, Classes, class_information, class_pairs
from kexue.atlas.levels import communities_at, numbered_by_use, path_array, spelled_paths
from kexue.corpus.texts import as_texts
from kexue.words.tokens import Tokens


def test_numbers_go_by_use_among_siblings_and_lone_words_come_last():
    paths = [(1, 1), (1, 1), (1, 0), (1, 0), (0,), (0,), (2,), (1, 2)]
    uses = np.array([1, 1, 5, 5, 40, 40, 1000, 99])
    found = numbered_by_use(paths, uses)
    # top: 1 has 111 uses, 0 has 80, 2 is one word; inside 1: 0 has 10, 1 has 2, 2 is one word
    expected = [(0, 1), (0, 1), (0, 0), (0, 0), (1, -1), (1, -1), (2, -1), (0, 2)]
    assert found.tolist() == [list(path) for path in expected]
    assert communities_at(found, 1).tolist() == [0, 0, 0, 0, 1, 1, 2, 0]
    assert communities_at(found, 2).tolist() == [1, 1, 0, 0, 3, 3, 4, 2]
    assert communities_at(found, 9).tolist() == communities_at(found, 2).tolist()
    assert spelled_paths(found, 2) == ["1:2", "1:2", "1:1", "1:1", "2", "2", "3", "1:3"]


def test_numbering_keeps_the_partition_of_every_level():
    rng = np.random.default_rng(0)
    paths = [tuple(rng.integers(0, 3, 2 + (rng.integers(3) > 0)).tolist()) for _ in range(200)]
    # a module holds words or modules: drop the words of inner ones
    inner = {path[:k] for path in paths for k in range(1, len(path))}
    paths = [path for path in paths if path not in inner]
    found = numbered_by_use(paths, rng.integers(1, 100, len(paths)))
    given = path_array(paths)
    for level in (1, 2, 3):
        before = communities_at(given, level)
        after = communities_at(found, level)
        assert len(set(zip(before.tolist(), after.tolist(), strict=True))) == before.max() + 1
    assert numbered_by_use([], np.zeros(0)).shape == (0, 1)
    assert communities_at(np.zeros((0, 1), np.int64), 1).size == 0


def random_tokens(seed, n_types, n_tokens, n_documents):
    rng = np.random.default_rng(seed)
    weights = 1.0 / np.arange(1, n_types + 1)
    # a chain with memory, so that classes have something to predict
    words = [int(rng.choice(n_types, p=weights / weights.sum()))]
    for _ in range(n_tokens - 1):
        step = rng.choice(n_types, p=weights / weights.sum())
        words.append(int((words[-1] * 7 + 3) % n_types if rng.random() < 0.5 else step))
    texts = ["".join(chr(0x4E00 + w) for w in part) for part in np.array_split(words, n_documents)]
    codes = as_texts(texts).codes()
    return Tokens.from_starts(codes, np.arange(codes.size + 1))


def moved_one_by_one(tokens, classes):
    """Return classes by the same rule, each move judged by the whole mutual information."""
    of_type = classes.of_type.copy()
    movable = np.flatnonzero(of_type > END)
    movable = movable[np.argsort(-tokens.counts[movable], kind="stable")]
    before = class_information(tokens, classes)
    for _ in range(exchanging.MOST_ROUNDS):
        start = class_information(tokens, Classes(of_type, classes.n_classes, classes.n_placed))
        for word in movable:
            home = of_type[word]
            best, most = home, -np.inf
            for c in [home, *range(END + 1, classes.n_classes)]:
                of_type[word] = c
                trial = Classes(of_type, classes.n_classes, classes.n_placed)
                bits = class_information(tokens, trial)
                if bits > most + 1e-9:
                    best, most = c, bits
            of_type[word] = best
        end = class_information(tokens, Classes(of_type, classes.n_classes, classes.n_placed))
        if end - start < exchanging.LEAST_GAIN * tokens.ids.size:
            break
    assert end >= before
    return of_type


@pytest.mark.parametrize(("seed", "n_types", "n_classes"), [(0, 12, 3), (1, 25, 5), (2, 9, 9)])
def test_each_move_is_the_one_that_raises_mutual_information_most(seed, n_types, n_classes):
    tokens = random_tokens(seed, n_types, 600, 4)
    rng = np.random.default_rng(seed)
    placed = np.flatnonzero(tokens.counts >= 3)
    placed = placed[placed != tokens.end_id]
    classes = Classes.from_communities(tokens, placed, rng.integers(0, n_classes, placed.size))
    expected = moved_one_by_one(tokens, classes)
    found = exchange(tokens, classes)
    same = set(zip(expected[placed].tolist(), found.of_type[placed].tolist(), strict=True))
    assert len(same) == len({a for a, _ in same}) == len({b for _, b in same})
    outside = np.setdiff1d(np.arange(n_types), np.append(placed, tokens.end_id))
    assert np.all(found.of_type[outside] == RARE)
    assert found.of_type[tokens.end_id] == END
    assert sorted(set(found.of_type[placed].tolist())) == list(range(2, found.n_classes))
    assert class_information(tokens, found) > class_information(tokens, classes)


def test_too_many_communities_begin_together(monkeypatch):
    tokens = random_tokens(3, 30, 900, 2)
    placed = np.flatnonzero(np.arange(tokens.first.size) != tokens.end_id)
    labels = np.random.default_rng(3).integers(0, 9, placed.size)
    monkeypatch.setattr(exchanging, "MOST_CLASSES", 8)
    found = exchange(tokens, Classes.from_communities(tokens, placed, labels))
    assert 2 < found.n_classes <= 8
    assert found.n_placed == placed.size
    # each word by itself tells most, and no classes of fewer can tell as much
    classes = Classes.from_communities(tokens, placed, np.arange(placed.size))
    assert exchange(tokens, classes) is classes
    # the most used words begin alone: five of them and the class of the others
    start = exchanging._starting_classes(classes, tokens.counts)
    alone = [c for c, n in enumerate(np.bincount(start)) if n == 1 and c > END]
    leading = placed[np.argsort(-tokens.counts[placed], kind="stable")[:5]]
    assert {int(start[w]) for w in leading} == set(alone)


@pytest.mark.parametrize("most", [2, 3, 4, 5, 8, 1024])
def test_information_is_never_lost(monkeypatch, most):
    """However many communities must begin as one."""
    tokens = random_tokens(4, 30, 900, 2)
    placed = np.flatnonzero(np.arange(tokens.first.size) != tokens.end_id)
    classes = Classes.from_communities(tokens, placed, np.arange(placed.size) % 15)
    monkeypatch.setattr(exchanging, "MOST_CLASSES", most)
    before = class_information(tokens, classes)
    assert class_information(tokens, exchange(tokens, classes)) >= before


def test_without_held_out_text_a_partition_is_chosen_by_all_its_bits():
    tokens = random_tokens(6, 20, 500, 2)
    placed = np.flatnonzero(np.arange(tokens.first.size) != tokens.end_id)
    classes = Classes.from_communities(tokens, placed, np.arange(placed.size) % 4)
    # two bits say which of four classes a word is in
    expected = 2 * placed.size - class_information(tokens, classes)
    assert ledger.class_price(tokens, classes, None) == pytest.approx(expected, abs=1e-9)


def test_what_is_tabled_changes_nothing(monkeypatch):
    """Large counts are beyond the table of logarithms, and many classes beyond a dense table."""
    tokens = random_tokens(5, 25, 800, 3)
    placed = np.flatnonzero(np.arange(tokens.first.size) != tokens.end_id)
    classes = Classes.from_communities(tokens, placed, np.arange(placed.size) % 6)
    expected = exchange(tokens, classes).of_type
    pairs = class_pairs(tokens, classes)
    for size in (2, 30, 200):
        monkeypatch.setattr(exchanging, "N_TABLED", size)
        assert exchange(tokens, classes).of_type.tolist() == expected.tolist()
    monkeypatch.setattr(ledger, "MOST_CELLS", 0)
    assert np.array_equal(class_pairs(tokens, classes).toarray(), pairs.toarray())
    assert not np.array_equal(pairs.toarray(), pairs.toarray().T)


def test_words_that_stand_for_each_other_are_brought_together():
    """Two kinds of words in turn, each begun in the wrong classes."""
    rng = np.random.default_rng(0)
    first, second = "甲乙丙丁戊", "一二三四五"
    text = "".join(rng.choice(list(first)) + rng.choice(list(second)) for _ in range(500))
    codes = as_texts([text]).codes()
    tokens = Tokens.from_starts(codes, np.arange(codes.size + 1))
    placed = np.flatnonzero(np.arange(tokens.first.size) != tokens.end_id)
    mixed = np.arange(placed.size) % 2
    found = exchange(tokens, Classes.from_communities(tokens, placed, mixed))
    kind = {tokens.spellings[w]: int(found.of_type[w]) for w in placed}
    assert len({kind[w] for w in first}) == len({kind[w] for w in second}) == 1
    for a, b in itertools.product(first, second):
        assert kind[a] != kind[b]
