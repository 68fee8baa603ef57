"""Sentences of a segmented text, and few that show many words."""

from __future__ import annotations

import numpy as np

from kexue.corpus.texts import decode_codes
from kexue.words.tokens import Tokens

ENDS = "。！？"
ENDS_BEFORE_BLANK = ".!?"  # an abbreviation or a number has a character after its dot


def sentence_bounds(tokens: Tokens, shortest: int, longest: int) -> np.ndarray:
    """Return the sentences of a length in characters, blanks before them left out.

    Returns
    -------
    int64 array of shape (n_sentences, 2)
        First token, and the token after the last.
    """
    kinds = np.zeros(tokens.first.size, np.int8)
    for number, spelled in enumerate(tokens.spellings):
        if spelled == "" or spelled in ENDS:
            kinds[number] = 2
        elif spelled in ENDS_BEFORE_BLANK:
            kinds[number] = 1
    kind = kinds[tokens.ids]
    blank = tokens.blank[tokens.ids]
    before_blank = np.append(blank[1:] | (kind[1:] == 2), True)
    stops = np.flatnonzero((kind == 2) | ((kind == 1) & before_blank)) + 1
    begins = np.concatenate(([0], stops[:-1])).astype(np.int64)
    # the next token that is not blank, for each token
    place = np.where(blank, blank.size, np.arange(blank.size))
    following = np.minimum.accumulate(place[::-1])[::-1]
    begins = np.minimum(following[begins], stops) if begins.size else begins
    if tokens.end_id is not None:  # the end of a document is no part of its last sentence
        stops = stops - (tokens.ids[stops - 1] == tokens.end_id)
    length = tokens.starts[stops] - tokens.starts[begins]
    chosen = (stops > begins) & (length >= shortest) & (length <= longest)
    return np.column_stack((begins[chosen], stops[chosen]))


def spelled(tokens: Tokens, bounds: np.ndarray) -> list[str]:
    """Return the text of each sentence."""
    edges = tokens.starts[bounds]
    return [decode_codes(tokens.codes[a:b]) for a, b in edges.tolist()]


def examples(
    tokens: Tokens, types: np.ndarray, most_characters: int
) -> tuple[np.ndarray, np.ndarray]:
    """Choose sentences that show words, one after the other, as long as there is room.

    Parameters
    ----------
    tokens : Tokens
    types : int64 array of shape (n_words,)
        The words, those that matter most first.
    most_characters : int
        Of all sentences together.

    Returns
    -------
    bounds : int64 array of shape (n_sentences, 2)
        As of `sentence_bounds`, of 8 to 60 characters.
    example : int64 array of shape (n_words,)
        The sentence of each word, or -1.
    """
    bounds = sentence_bounds(tokens, 8, 60)
    sizes = np.diff(bounds, axis=1).ravel()
    sentence = np.repeat(np.arange(len(bounds)), sizes)
    offset = np.cumsum(sizes) - sizes
    inside = np.arange(sentence.size) - offset[sentence] + bounds[sentence, 0]
    first = np.full(tokens.first.size, -1, np.int64)
    first[tokens.ids[inside][::-1]] = sentence[::-1]  # the last to be written is the first
    shown = np.full(tokens.first.size, -1, np.int64)
    chosen: list[int] = []
    room = most_characters
    for kind in types.tolist():
        where = int(first[kind])
        if shown[kind] >= 0 or where < 0:
            continue
        a, b = bounds[where].tolist()
        room -= int(tokens.starts[b] - tokens.starts[a])
        if room < 0:
            break
        here = tokens.ids[a:b]
        shown[here[shown[here] < 0]] = len(chosen)
        chosen.append(where)
    return bounds[chosen], shown[types]
