"""Classes of characters and the folding table, against Python's own Unicode data."""

import time
import unicodedata

import numpy as np
import pytest

from kexue.corpus.scripts import (
    DIGIT,
    EXTENDING,
    JOINING,
    LETTER,
    OTHER,
    character_classes,
    fold_table,
)
from kexue.corpus.texts import DOCUMENT_END


@pytest.mark.parametrize(
    ("characters", "expected"),
    [
        ("字々〆〇○㐀﨑𠀀𪜶𰀀⼀⺀", JOINING),
        ("ひらがなカタカナーｶｰㇰㄅㆠゞ", JOINING),
        ("กำกໆကខ\U000323b0", JOINING),
        ("\u0e48\u0e31\u0eb4\u103c\u17c6\u3099\U000e0100", EXTENDING),
        ("aéßЖαعक्한ㄱא", LETTER),
        ("\u0301\u200c\u200d", LETTER),
        ("07０٣३๔໕၉០", DIGIT),
        ("，。、・「」…-—,.!?¥฿", OTHER),
        (" \t\n\u3000\xa0\u200b\ufeff", OTHER),
        ("Ⅷ½①〡㈠㎏", OTHER),
        ("😀🏽❤\ufe0f\ufe0e\ue000\uffff", OTHER),
    ],
)
def test_classes_by_example(characters, expected):
    classes = character_classes()
    assert {character: classes[ord(character)] for character in characters} == dict.fromkeys(
        characters, expected
    )


def test_classes_cover_every_code_point_and_the_document_end():
    classes = character_classes()
    assert classes.shape == (DOCUMENT_END + 1,)
    assert classes.dtype == np.uint8
    assert classes[DOCUMENT_END] == OTHER
    assert character_classes() is classes
    with pytest.raises(ValueError, match="read-only"):
        classes[0] = 1


def test_digits_are_exactly_the_decimal_digits():
    digits = [unicodedata.category(chr(code)) == "Nd" for code in range(0x20000)]
    assert np.array_equal(character_classes()[:0x20000] == DIGIT, digits)


def test_letters_and_marks_of_the_first_planes_are_never_other():
    exceptions = set(range(0xFE00, 0xFE10))
    classes = character_classes()
    for code in set(range(0x20000)) - exceptions:
        if unicodedata.category(chr(code))[0] in "LM":
            assert classes[code] in (JOINING, LETTER, EXTENDING), hex(code)


def test_ideographs_join_by_their_name():
    classes = character_classes()
    for code in range(0x40000):
        if unicodedata.name(chr(code), "").startswith(("CJK UNIFIED", "CJK COMPATIBILITY IDEO")):
            assert classes[code] == JOINING, hex(code)


@pytest.mark.parametrize("script", ["HIRAGANA", "KATAKANA", "BOPOMOFO", "THAI", "LAO", "KHMER"])
def test_letters_of_scripts_without_blanks_join_by_their_name(script):
    classes = character_classes()
    for code in range(0x20000):
        name = unicodedata.name(chr(code), "")
        if name.startswith(f"{script} LETTER") or name.startswith(f"{script} VOWEL"):
            mark = unicodedata.category(chr(code))[0] == "M"
            assert classes[code] == (EXTENDING if mark else JOINING), name


def test_fold_table_is_nfkc_where_that_is_one_character():
    table = fold_table()
    assert table.shape == (DOCUMENT_END + 1,)
    assert table.dtype == np.uint32
    assert not table.flags.writeable
    assert table[DOCUMENT_END] == DOCUMENT_END
    for code in range(0x110000):
        form = unicodedata.normalize("NFKC", chr(code))
        assert table[code] == (ord(form) if len(form) == 1 else code), hex(code)


@pytest.mark.parametrize("build", [character_classes, fold_table])
def test_tables_are_quick_to_build(build):
    seconds = []
    for _ in range(3):
        start = time.process_time()
        build.__wrapped__()
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.15
