"""The entropy ledger: what one and the same text costs under codes that know more and more.

Every code writes every character of the text and one symbol for the end of each document, so
the rows can be compared. *In sample*: the text that the codes were learned from. *Model*: the
price of stating the code. *Held out*: text that nothing was learned from.
"""

from __future__ import annotations

import lzma
from dataclasses import dataclass
from threading import Event
from typing import Any

import numpy as np
import zstandard
from scipy import sparse

from kexue.corpus.texts import DOCUMENT_END, decode_codes
from kexue.words.tokens import Tokens, character_bits, length_bits, spelling_bits

RARE, END = 0, 1
N_CODE_POINTS = 0x110000
COMPRESS_BLOCK = 1 << 20


@dataclass(frozen=True)
class LedgerRow:
    """One complete code for the text; all figures in bits per character.

    Attributes
    ----------
    name : str
        ``"alphabet"``, ``"characters"``, ``"words"`` or ``"communities"``.
    code : str
        One phrase: how this code writes the text.
    in_sample : float
        Price of the text that the code was learned from.
    model : float
        Price of stating the code itself (alphabet, lexicon, partition), per character of that
        text. Frequencies are not charged here; held-out text shows what they are worth.
    held_out : float or None
        Price of text that nothing was learned from; None if none was kept back.
    """

    name: str
    code: str
    in_sample: float
    model: float
    held_out: float | None


@dataclass(frozen=True, eq=False)
class Classes:
    """A partition of the token types of a text.

    Attributes
    ----------
    of_type : int64 array of shape (n_types,)
        `RARE` for words outside the similarity network, `END` for the end of a document,
        from 2 on the communities.
    n_classes : int
    n_placed : int
        Number of types in the network.
    """

    of_type: np.ndarray
    n_classes: int
    n_placed: int

    @classmethod
    def from_communities(cls, tokens: Tokens, placed: np.ndarray, labels: np.ndarray) -> Classes:
        """Make classes of the communities `labels` of the types `placed`."""
        of_type = np.full(tokens.first.size, RARE, np.int64)
        of_type[placed] = labels + 2
        if tokens.end_id is not None:
            of_type[tokens.end_id] = END
        return cls(of_type, 2 + int(labels.max(initial=-1)) + 1, int(placed.size))


def entropy_ledger(train: Tokens, classes: Classes, held_out: Tokens | None) -> list[LedgerRow]:
    """Return the rows alphabet, characters, words and communities.

    Parameters
    ----------
    train : Tokens
        The text that words and classes were learned from.
    classes : Classes
        Of the types of `train`.
    held_out : Tokens or None
        Other text, segmented into the same words.
    """
    characters = train.codes.size
    alphabet = np.unique(train.codes).size
    words = float(train.counts @ (np.log2(train.ids.size) - np.log2(train.counts)))
    in_sample = [
        float(np.log2(alphabet)),
        float(character_bits(train.codes).sum()) / characters,
        words / characters,
        (words - _pair_information(class_pairs(train, classes))) / characters,
    ]
    written = train.lengths > 1
    lexicon = float((spelling_bits(train) + length_bits(train.lengths))[written].sum())
    partition = classes.n_placed * float(np.log2(max(1, classes.n_classes - 2)))
    stated = np.cumsum([alphabet * np.log2(N_CODE_POINTS), 0.0, lexicon, partition]) / characters
    codes = [
        "every character equally likely",
        "each character by how often it occurs",
        "each word by how often it occurs",
        "each word through the community of the word before it",
    ]
    unseen = _held_out_bits(train, classes, held_out) if held_out else [None] * 4
    names = ["alphabet", "characters", "words", "communities"]
    rows = zip(names, codes, in_sample, stated.tolist(), unseen, strict=True)
    return [LedgerRow(*row) for row in rows]


def class_pairs(tokens: Tokens, classes: Classes) -> sparse.csr_array:
    """Count the classes of neighbouring tokens, float64 of shape (n_classes, n_classes).

    The walk is closed, last token to first, so that both margins are the class counts.
    """
    walk = classes.of_type[tokens.ids]
    pairs = np.roll(walk, 1) * classes.n_classes + walk
    distinct, counts = np.unique(pairs, return_counts=True)
    return sparse.csr_array(
        (counts.astype(np.float64), np.divmod(distinct, classes.n_classes)),
        shape=(classes.n_classes, classes.n_classes),
    )


def compressor_bits(codes: np.ndarray, stop: Event | None = None) -> dict[str, float]:
    """Return bits per character of the text under ``xz -9`` and ``zstd -19``.

    Between blocks of a megabyte it looks whether `stop` is set, and then leaves off.
    """
    text = decode_codes(np.where(codes == DOCUMENT_END, ord("\n"), codes))
    data = memoryview(text.encode("utf-8", "surrogatepass"))
    compressors: dict[str, Any] = {
        "xz -9": lzma.LZMACompressor(preset=9),
        "zstd -19": zstandard.ZstdCompressor(level=19).compressobj(size=len(data)),
    }
    bits = {}
    for name, compressor in compressors.items():
        size = 0
        for begin in range(0, len(data), COMPRESS_BLOCK):
            if stop is not None and stop.is_set():
                return {}
            size += len(compressor.compress(data[begin : begin + COMPRESS_BLOCK]))
        bits[name] = 8 * (size + len(compressor.flush())) / codes.size
    return bits


def _pair_information(pairs: sparse.csr_array) -> float:
    """Return the mutual information of neighbouring classes, bits, summed over the walk."""
    margin = pairs.sum(axis=0)
    total = float(margin.sum())

    def plogp(x: np.ndarray) -> float:
        x = x[x > 0]
        return float(x @ np.log2(x))

    return plogp(pairs.data) + total * float(np.log2(total)) - 2 * plogp(margin)


def _held_out_bits(train: Tokens, classes: Classes, held_out: Tokens) -> list[float | None]:
    """Return the price of held-out text under the four codes, bits per character.

    What was never seen follows an escape symbol whose probability is the share of symbols
    used once, ``(n_1 + 1) / (N + 2)``, where the ones keep it inside (0, 1): a character as
    one of the code points that are not in the alphabet, a word as its length and characters.
    Class pairs are interpolated with class frequencies after Witten and Bell.
    """
    uniform, coded = _held_out_characters(train.codes, held_out.codes)
    seen = {word: index for index, word in enumerate(train.spellings)}
    types = np.array([seen.get(word, -1) for word in held_out.spellings])
    ids = types[held_out.ids]
    known = ids >= 0
    summed = np.concatenate(([0.0], np.cumsum(coded)))
    spelled = np.diff(summed[held_out.starts]) + length_bits(np.diff(held_out.starts))
    counts = train.counts
    once = np.count_nonzero(counts == 1)
    frequency = np.log2(np.where(known, counts[ids], 1))

    escape = (once + 1) / (train.ids.size + 2)
    known_bits = np.log2(train.ids.size) - np.log2(1 - escape) - frequency
    words = np.where(known, known_bits, spelled - np.log2(escape)).sum()

    pairs = class_pairs(train, classes)
    size = pairs.sum(axis=1)
    followers = np.diff(pairs.indptr)
    share = (size + (np.arange(size.size) == RARE)) / (size.sum() + 1)
    walk = np.where(known, classes.of_type[ids], RARE)
    before = np.roll(walk, 1)
    # a class that training never visited has no followers: its successors are as frequent
    # as everywhere
    weight = np.maximum(followers, 1)[before]
    seen_together = np.asarray(pairs[before, walk]).ravel()
    chance = (seen_together + weight * share[walk]) / (size[before] + weight)
    escape = (once + 1) / (size[RARE] + 2)
    rarer = np.where(walk == RARE, np.log2(1 - escape), 0.0)
    inside = np.log2(np.maximum(size[walk], 1)) - rarer - frequency
    communities = (np.where(known, inside, spelled - np.log2(escape)) - np.log2(chance)).sum()
    bits = [uniform.sum(), coded.sum(), words, communities]
    return [float(total) / held_out.codes.size for total in bits]


def _held_out_characters(train: np.ndarray, held_out: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the bits of each held-out character under the alphabet's and characters' code."""
    counts = np.bincount(train, minlength=DOCUMENT_END + 1)
    alphabet = np.count_nonzero(counts)
    new = np.log2(N_CODE_POINTS + 1 - alphabet)
    known = counts[held_out] > 0
    uniform = np.log2(alphabet + 1) + np.where(known, 0.0, new)
    escape = (np.count_nonzero(counts == 1) + 1) / (train.size + 2)
    frequency = np.log2(np.maximum(counts[held_out], 1))
    coded = np.where(
        known,
        np.log2(train.size) - np.log2(1 - escape) - frequency,
        new - np.log2(escape),
    )
    return uniform, coded
