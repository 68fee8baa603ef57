"""Classes of characters: which scripts join into words, and which come as whole words."""

import unicodedata
from functools import cache

import numpy as np

OTHER, JOINING, LETTER, DIGIT, EXTENDING = 0, 1, 2, 3, 4

_N_CODES = 0x110001  # every code point and `DOCUMENT_END`

# Blocks of the scripts that are written without blanks between words, first and last code
# point. Only letters and marks join: punctuation, symbols and digits inside a block do not.
_JOINING_BLOCKS = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x3000, 0x312F),  # CJK marks (々 〆), Hiragana, Katakana, Bopomofo
    (0x31A0, 0x31BF),  # Bopomofo extended
    (0x31F0, 0x31FF),  # Katakana phonetic extensions
    (0x3400, 0x4DBF),  # CJK extension A
    (0x4E00, 0x9FFF),  # CJK unified ideographs
    (0xA9E0, 0xA9FF),  # Myanmar extended-B
    (0xAA60, 0xAA7F),  # Myanmar extended-A
    (0xF900, 0xFAFF),  # CJK compatibility ideographs
    (0xFF66, 0xFF9F),  # half-width Katakana
    (0x116D0, 0x116FF),  # Myanmar extended-C
    (0x1AFF0, 0x1B16F),  # Kana: extended-A and -B, supplement, small extension
)
# What joins although its category is no letter's: radicals, which stand for characters in
# text taken from PDF files; 〇, and ○ in its place, with which Chinese writes zero among Han
# digits (二○○八年); the two ideographic planes, whole, so that the class of a rare character
# does not hang on the Unicode version of the interpreter; the selectors of its variants.
_JOINING_ANYWAY = (
    (0x25CB, 0x25CB),
    (0x2E80, 0x2FDF),
    (0x3007, 0x3007),
    (0x20000, 0x3FFFF),
    (0xE0100, 0xE01EF),
)


@cache
def character_classes() -> np.ndarray:
    """Return the class of every code point: one of the five constants of this module.

    - `JOINING`: letters of the scripts written without blanks (Han, Kana, Bopomofo, Thai,
      Lao, Khmer, Myanmar), which word discovery joins; also ○ and 〇 and Han radicals.
    - `EXTENDING`: marks of these scripts and ideographic variation selectors, which belong
      to the letter before them.
    - `LETTER`: letters and marks of all other scripts, where a run of them is a word as it
      stands; also the zero-width joiner and non-joiner, which Persian, Sinhala and
      Malayalam write inside words (between emoji, a run of one stands alone all the same).
    - `DIGIT`: decimal digits of any script.
    - `OTHER`: all else, each standing alone: punctuation, symbols, blanks, controls, other
      numerals, variation selectors 1 to 16 (they style emoji), unassigned code points.

    Returns
    -------
    numpy.ndarray of shape (0x110001,), uint8, read-only
        Indexed by code point; `kexue.corpus.texts.DOCUMENT_END` is `OTHER`.

    Examples
    --------
    >>> character_classes()[[ord(character) for character in "字k7,"]].tolist()
    [1, 2, 3, 0]
    """
    # Beyond the second plane no letter follows that is not named above
    categories = "".join(map(unicodedata.category, map(chr, range(0x20000))))
    pairs = np.frombuffer(categories.encode("ascii"), np.uint8).reshape(-1, 2)
    classes = np.full(_N_CODES, OTHER, np.uint8)
    letter = np.zeros(_N_CODES, bool)
    letter[:0x20000] = (pairs[:, 0] == ord("L")) | (pairs[:, 0] == ord("M"))
    classes[letter] = LETTER
    classes[[0x200C, 0x200D]] = LETTER
    for first, last in _JOINING_BLOCKS:
        block = slice(first, last + 1)
        classes[block][letter[block]] = JOINING
    for first, last in _JOINING_ANYWAY:
        classes[first : last + 1] = JOINING
    classes[0xFE00:0xFE10] = OTHER
    mark = np.zeros(_N_CODES, bool)
    mark[:0x20000] = pairs[:, 0] == ord("M")
    mark[0xE0100:0xE01F0] = True
    classes[mark & (classes == JOINING)] = EXTENDING
    classes[:0x20000][(pairs == np.frombuffer(b"Nd", np.uint8)).all(axis=1)] = DIGIT
    classes.setflags(write=False)
    return classes


@cache
def fold_table() -> np.ndarray:
    """Return the one-character compatibility form (NFKC) of every code point.

    A code point whose form is longer than one character, or itself, stands for itself, so
    that ``fold_table()[codes]`` keeps every position. Full-width Latin letters, half-width
    Katakana, Han radicals and compatibility ideographs fold to their usual forms. For
    look-up only: folded text is not what was written.

    Returns
    -------
    numpy.ndarray of shape (0x110001,), uint32, read-only
        Indexed by code point; `kexue.corpus.texts.DOCUMENT_END` stands for itself.

    Examples
    --------
    >>> "".join(map(chr, fold_table()[[ord(character) for character in "Ａ１ｶ…"]]))
    'A1カ…'
    """
    table = np.arange(_N_CODES, dtype=np.uint32)
    for character in map(chr, range(0x40000)):  # none beyond decomposes
        if unicodedata.decomposition(character):
            form = unicodedata.normalize("NFKC", character)
            if len(form) == 1:
                table[ord(character)] = ord(form)
    table.setflags(write=False)
    return table
