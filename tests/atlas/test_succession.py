"""The network of succession: the text is the walk."""

import numpy as np
import pytest

from kexue.atlas.succession import closed_walk, succession_network
from kexue.corpus.texts import as_texts
from kexue.words.tokens import Tokens


def characters(texts):
    """Return texts with every character a word."""
    codes = as_texts(texts).codes()
    return Tokens.from_starts(codes, np.arange(codes.size + 1))


def random_texts(seed, n_texts):
    rng = np.random.default_rng(seed)
    return ["".join(chr(0x4E00 + k) for k in rng.zipf(1.5, 50) % 40) for _ in range(n_texts)]


@pytest.mark.parametrize(
    "texts",
    [
        ["甲"],
        ["甲甲甲甲"],
        ["甲乙"],
        ["甲乙丙甲乙丙丙", "丙乙"],
        *(random_texts(k, 9) for k in range(3)),
    ],
    ids=["one token", "one word", "two", "three", "random 0", "random 1", "random 2"],
)
def test_one_level_length_is_the_entropy_of_the_words(texts):
    tokens = characters(texts)
    found = succession_network(tokens, 0, 1)
    share = tokens.counts / tokens.ids.size
    assert found.one_level == pytest.approx(-(share @ np.log2(share)), abs=1e-9)
    assert found.codelength <= found.one_level + 1e-12
    assert len(found.paths) == tokens.first.size


def test_the_walk_is_closed():
    tokens = characters(["甲乙丙甲", "乙"])
    links = closed_walk(tokens).toarray()
    counted = np.zeros_like(links)
    for before, after in zip(np.roll(tokens.ids, 1), tokens.ids, strict=True):
        counted[before, after] += 1
    assert np.array_equal(links, counted)
    assert np.array_equal(links.sum(axis=0), links.sum(axis=1))


def test_templates_are_communities():
    """Lines of two kinds whose words never mix."""
    rng = np.random.default_rng(0)
    kinds = ["甲乙丙丁戊己", "一二三四五六"]
    # a page holds lines of one kind, so that the walk seldom goes from one to the other
    tokens = characters(["".join(rng.choice(list(kinds[page % 2]), 400)) for page in range(4)])
    found = succession_network(tokens, 0, 1)
    top = dict(zip(tokens.spellings, found.paths[:, 0].tolist(), strict=True))
    groups = [{top[word] for word in kind} for kind in kinds]
    assert len(groups[0]) == len(groups[1]) == 1
    assert groups[0] != groups[1]
    assert found.codelength < found.one_level
