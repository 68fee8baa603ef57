"""Segmentation scores by hand."""

import pytest

from kexue._core import InputError
from kexue.words import segmentation_score


def test_a_score_by_hand():
    pred = [["中国", "人民"], ["a"]]
    gold = [["中国", "人", "民"], ["a"]]
    score = segmentation_score(pred, gold, vocabulary={"中国", "a"})
    assert score["precision"] == 2 / 3
    assert score["recall"] == 2 / 4
    assert score["f1"] == 2 * 2 / 7
    assert score["boundary_f1"] == 2 * 1 / 3
    assert score["oov_recall"] == 0


def test_perfect_and_empty():
    assert segmentation_score([["a", "b"]], [["a", "b"]])["f1"] == 1
    assert segmentation_score([[]], [[]])["f1"] == 0


@pytest.mark.parametrize(
    ("pred", "gold", "message"),
    [
        ([["a"]], [], "pred has 1 texts and gold has 0"),
        ([["a", ""]], [["a"]], "text 0: tokens must not be empty"),
        ([["a"], ["bc"]], [["a"], ["bd"]], "text 1: pred and gold spell different characters"),
    ],
)
def test_bad_input_is_answered_by_its_message(pred, gold, message):
    with pytest.raises(InputError, match=message):
        segmentation_score(pred, gold)


def test_a_text_is_no_list_of_tokens():
    with pytest.raises(TypeError, match="each text of gold must be"):
        segmentation_score([["ab"]], ["ab"])
