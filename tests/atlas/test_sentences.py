"""Sentences of a segmented text and the few that show many words."""

import numpy as np
import pytest

from kexue.atlas.sentences import examples, sentence_bounds, spelled
from kexue.corpus.texts import as_texts
from kexue.words import UnigramTokenizer
from kexue.words.tokens import Tokens


def tokens_of(texts):
    codes = as_texts(texts).codes()
    letters = sorted({c for text in texts for c in text})
    tokenizer = UnigramTokenizer(dict.fromkeys(letters, 1))
    return Tokens.from_starts(codes, tokenizer.token_starts(codes))


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["他来了。她走了！谁？"], ["他来了。", "她走了！", "谁？"]),
        (["One is 3.5 here. Two? No end"], ["One is 3.5 here.", "Two?", "No end"]),
        (["a. b", " c.", "\n"], ["a.", "b", "c."]),
        (["没有句号"], ["没有句号"]),
    ],
)
def test_sentences(texts, expected):
    tokens = tokens_of(texts)
    assert spelled(tokens, sentence_bounds(tokens, 1, 100)) == expected


def test_only_sentences_of_a_length():
    tokens = tokens_of(["短。这是长一点的句子。" + "长" * 50 + "。"])
    for shortest, longest in ((5, 20), (9, 9)):
        bounds = sentence_bounds(tokens, shortest, longest)
        assert spelled(tokens, bounds) == ["这是长一点的句子。"]
    assert not len(sentence_bounds(tokens, 10, 20))
    assert not len(sentence_bounds(tokens, 5, 8))


def test_examples_hold_their_words_and_are_few():
    texts = ["甲乙丙丁戊己庚辛。", "甲乙壬癸子丑寅卯。", "甲乙丙丁戊己庚辛辰。", "短巳。"]
    tokens = tokens_of(texts)
    number = {word: k for k, word in enumerate(tokens.spellings)}
    words = "甲乙丙壬子辰巳"
    bounds, example = examples(tokens, np.array([number[w] for w in words]), 10**6)
    sentences = spelled(tokens, bounds)
    for word, at in zip(words, example.tolist(), strict=True):
        assert at == -1 if word == "巳" else word in sentences[at]
    assert len(sentences) == 3
    _, some = examples(tokens, np.array([number[w] for w in words]), 10)
    assert some.tolist() == [0, 0, 0, -1, -1, -1, -1]


def test_room_for_examples_is_in_characters():
    texts = ["one two three four.", "five six seven eight."]
    codes = as_texts(texts).codes()
    tokens = Tokens.from_starts(codes, UnigramTokenizer({"one": 1}).token_starts(codes))
    number = {word: k for k, word in enumerate(tokens.spellings)}
    types = np.array([number["one"], number["five"]])
    for room, expected in ((18, [-1, -1]), (19, [0, -1]), (39, [0, -1]), (40, [0, 1])):
        assert examples(tokens, types, room)[1].tolist() == expected
