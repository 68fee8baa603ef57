"""A unigram tokenizer as one of Hugging Face's `tokenizers`.

Their model is the same dynamic programme, over all pieces that its vocabulary holds. What else a
tokenizer of ours knows is said to it in other words:

- A run of letters or digits is one token or none of its parts is. The normalizer writes a mark
  after the first character of each run and after its last one, and so does the vocabulary: no
  word then matches a part of a run. The marks follow what they belong to, because offsets of
  inserted characters are those of the character before.
- Characters are looked up by another form: a table in the format of sentencepiece.
- Unknown characters that stand together are one token to their model: the pre-tokenizer parts
  what is in no word from all else.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from kexue._core import InputError, require
from kexue.corpus.scripts import DIGIT, LETTER, character_classes, fold_table
from kexue.words._reading import changed_codes, token_cuts

if TYPE_CHECKING:
    import tokenizers

    from kexue.words.tokenizer import UnigramTokenizer

# Of the code points set aside for a program's own use, which no text is to hold
MARK = "\ufdd0"


def as_hugging_face(tokenizer: UnigramTokenizer) -> tokenizers.Tokenizer:
    """Return the same tokenizer for their library; see `UnigramTokenizer.to_hf`."""
    hf: Any = require("tokenizers", extra="language", purpose="to_hf()")
    entries = tokenizer.vocabulary
    if any(0xD800 <= ord(character) < 0xE000 for character in "".join(entries)):
        raise InputError("words with lone surrogates cannot be exported, tokenizers has UTF-8 only")
    whole_runs = tokenizer.atoms == "auto"
    counts = tokenizer.words.values()
    unknown = math.log(0.5 / tokenizer.total)
    scores = [math.log(count / tokenizer.total) for count in counts]
    scores += [unknown] * (len(entries) - len(scores))
    n_words = len(scores)
    pieces = [marked(entry) for entry in entries] if whole_runs else list(entries)
    pieces += [f"<0x{byte:02X}>" for byte in range(256)] + ["<unk>"]
    # the six characters of a byte's name are never it
    scores += [7 * unknown] * (len(pieces) - n_words)
    if len(set(pieces)) < len(pieces):
        raise InputError("words must not be named like a byte, '<0x00>', or '<unk>'")
    result = hf.Tokenizer(
        hf.models.Unigram(
            list(zip(pieces, scores, strict=True)), unk_id=len(pieces) - 1, byte_fallback=True
        )
    )
    normalizers = []
    if whole_runs:
        letter, digit = (code_class(character_classes() == kind) for kind in (LETTER, DIGIT))
        normalizers += [
            hf.normalizers.Replace(hf.Regex(pattern), MARK) for pattern in run_edges(letter, digit)
        ]
    alphabet = np.unique([ord(character) for character in "".join(entries)])
    if tokenizer.normalize:
        changed = changed_codes()
        changed = changed[np.isin(fold_table()[changed], alphabet)]
        if changed.size:
            forms = fold_table()[changed]
            normalizers.append(hf.normalizers.Precompiled(character_map(changed, forms)))
    if normalizers:
        result.normalizer = hf.normalizers.Sequence(normalizers)
    result.pre_tokenizer = hf.pre_tokenizers.Split(
        hf.Regex(lone_tokens(alphabet, entries if whole_runs else None)), "isolated"
    )
    decoders = hf.decoders
    result.decoder = decoders.Sequence(
        [decoders.ByteFallback(), decoders.Fuse(), decoders.Replace(MARK, "")]
    )
    return result


def marked(word: str) -> str:
    """Return a word with the marks at the runs of it."""
    kinds = character_classes()[[ord(character) for character in word]].tolist()
    pieces = []
    for kind, group in itertools.groupby(zip(kinds, word, strict=True), lambda pair: pair[0]):
        run = "".join(character for _, character in group)
        pieces.append(run[0] + MARK + run[1:] + MARK if kind in (LETTER, DIGIT) else run)
    return "".join(pieces)


def joins_runs(word: str) -> bool:
    """Return whether a word holds a run and something else."""
    codes = np.array([ord(character) for character in word])
    kinds = character_classes()[codes]
    compound = np.count_nonzero(token_cuts(codes, "auto")) > 1
    return bool(compound and np.isin(kinds, (LETTER, DIGIT)).any())


def run_edges(letter: str, digit: str) -> tuple[str, str]:
    """Return patterns of what is after the first and, with that mark there, after the last."""
    first = "|".join(f"(?<={kind})(?<!{kind}{kind})" for kind in (letter, digit))
    last = "|".join(f"(?<={k}|{k}{MARK})(?!{k}|{MARK})" for k in (letter, digit))
    return first, last


def lone_tokens(alphabet: np.ndarray, words: list[str] | None) -> str:
    """Return the pattern of what is parted from all else: runs, and characters of no word.

    Runs are not parted where words hold them together with something else; `words` is None if
    runs are nothing apart.
    """
    strange = np.ones(character_classes().size, bool)
    strange[alphabet] = False
    strange[ord(MARK)] = False
    if words is None:
        return code_class(strange)
    if any(joins_runs(word) for word in words):
        return code_class(strange & ~np.isin(character_classes(), (LETTER, DIGIT)))
    return f"[^{MARK}]{MARK}[^{MARK}]*{MARK}|{code_class(strange)}"


def code_class(holds: np.ndarray) -> str:
    """Return the regular expression of one character out of those for which `holds` is true."""
    holds = holds[:0x110000].copy()
    holds[0xD800:0xE000] = False
    edges = np.flatnonzero(np.diff(np.concatenate(([False], holds, [False])).astype(np.int8)))
    ranges = (f"\\x{{{a:X}}}-\\x{{{b - 1:X}}}" for a, b in edges.reshape(-1, 2).tolist())
    return f"[{''.join(ranges)}]"


def character_map(codes: np.ndarray, forms: np.ndarray) -> bytes:
    """Return a table from characters to characters, in the format of sentencepiece.

    The size of a double array over the bytes of UTF-8, the array, and the forms, each closed by a
    zero byte. A unit of the array holds the byte that leads to it in bits 0 to 7, whether a value
    belongs to it in bit 8, and from bit 10 on what takes its own place to that of its children by
    exclusive or: a child lies at that place, exclusive or its byte. The value lies where the child
    by byte 0 would, and has bit 31 set; here it is where the form begins.
    """
    keys = [chr(code).encode() for code in codes.tolist()]
    places: dict[bytes, int] = {b"": 0}
    children: dict[bytes, list[int]] = {b"": []}
    for key in keys:
        for end in range(1, len(key) + 1):
            stem, last = key[: end - 1], key[end - 1]
            if key[:end] not in children:
                children[key[:end]] = []
                children[stem].append(last)
    values: dict[bytes, int] = {}
    text = b""
    for key, form in zip(keys, forms.tolist(), strict=True):
        values[key] = len(text)
        text += chr(form).encode() + b"\0"
    units = {0: 0}
    block = 0
    # shorter keys come first, so that parents have their places before their children
    for key in sorted(children, key=lambda key: (len(key), key)):
        place = places[key]
        labels = children[key] + ([0] if key in values else [])
        if labels == [0]:
            continue
        block += 256
        offset = place ^ block
        units[place] |= offset << 10
        for label in labels:
            places[key + bytes([label])] = block ^ label
            units[block ^ label] = label
    # values alone are packed
    lone = block + 256
    for key, value in values.items():
        place = places[key]
        units[place] |= 1 << 8
        if not children[key]:
            units[place] |= (place ^ lone) << 10
            units[lone] = value | 1 << 31
            lone += 1
        else:
            units[places[key + b"\0"]] = value | 1 << 31
    array = np.zeros(-(-lone // 256) * 256, "<u4")
    array[list(units)] = list(units.values())
    return np.array([array.nbytes], "<u4").tobytes() + array.tobytes() + text
