"""The entropy ledger: what one and the same text costs under codes that know more and more.

Every code writes every character of the text and one symbol for the end of each document, so
the rows can be compared. *In sample*: the text that the codes were learned from. *Model*: the
price of stating the code. *Held out*: text that nothing was learned from.
"""

from __future__ import annotations

import lzma
from dataclasses import dataclass
from functools import cached_property
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
MOST_CELLS = 1 << 24  # pairs of classes that are counted in a dense table


@dataclass(frozen=True)
class LedgerRow:
    """One complete code for the text; all figures in bits per character.

    Attributes
    ----------
    name : str
        ``"alphabet"``, ``"characters"``, ``"words"``, ``"communities"`` or ``"exchange"``.
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


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Text that nothing was learned from, segmented into the words that were.

    Attributes
    ----------
    tokens : Tokens
    types : int64 array of shape (n_tokens,)
        The type of each token in the training part; -1 for words never seen there.
    character_bits : float64 arrays of shape (n_characters,)
        What each character costs by the alphabet's and by the characters' code.
    """

    tokens: Tokens
    types: np.ndarray
    character_bits: tuple[np.ndarray, np.ndarray]

    @classmethod
    def read(cls, train: Tokens, tokens: Tokens) -> HeldOut:
        """Find the tokens of a text among the types of another."""
        seen = {word: index for index, word in enumerate(train.spellings)}
        types = np.array([seen.get(word, -1) for word in tokens.spellings], np.int64)
        return cls(tokens, types[tokens.ids], _held_out_characters(train.codes, tokens.codes))

    @cached_property
    def spelled(self) -> np.ndarray:
        """Bits of each token, spelled: its length and its characters."""
        starts = self.tokens.starts
        summed = np.concatenate(([0.0], np.cumsum(self.character_bits[1])))
        return np.diff(summed[starts]) + length_bits(np.diff(starts))


def entropy_ledger(
    train: Tokens, classes: Classes, exchanged: Classes, held_out: HeldOut | None
) -> list[LedgerRow]:
    """Return the rows alphabet, characters, words, communities and exchange.

    Parameters
    ----------
    train : Tokens
        The text that words and classes were learned from.
    classes, exchanged : Classes
        Of the types of `train`: the communities, and what `kexue.atlas.exchange` made of them.
    held_out : HeldOut or None
        Other text.
    """
    characters = train.codes.size
    alphabet = np.unique(train.codes).size
    words = float(train.counts @ (np.log2(train.ids.size) - np.log2(train.counts)))
    in_sample = [
        float(np.log2(alphabet)),
        float(character_bits(train.codes).sum()) / characters,
        words / characters,
        *((words - class_information(train, c)) / characters for c in (classes, exchanged)),
    ]
    written = train.lengths > 1
    lexicon = float((spelling_bits(train) + length_bits(train.lengths))[written].sum())
    spelled = alphabet * np.log2(N_CODE_POINTS)
    stated = [spelled, spelled, spelled + lexicon]
    stated += [spelled + lexicon + partition_bits(c) for c in (classes, exchanged)]
    unseen: list[float | None] = [None] * 5
    if held_out is not None:
        bits = [
            *(float(each.sum()) for each in held_out.character_bits),
            _held_out_words(train, held_out),
            *(held_out_class_bits(train, c, held_out) for c in (classes, exchanged)),
        ]
        unseen = [total / held_out.tokens.codes.size for total in bits]
    codes = [
        "every character equally likely",
        "each character by how often it occurs",
        "each word by how often it occurs",
        "each word through the community of the word before it",
        "the same, words moved to where they predict their neighbours best",
    ]
    names = ["alphabet", "characters", "words", "communities", "exchange"]
    model = [float(bits) / characters for bits in stated]
    rows = zip(names, codes, in_sample, model, unseen, strict=True)
    return [LedgerRow(*row) for row in rows]


def class_price(train: Tokens, classes: Classes, held_out: HeldOut | None) -> float:
    """Return what a partition is chosen by, less is better.

    Bits of the held-out text; without any, bits of the text learned from and of the partition,
    but for what every partition costs.
    """
    if held_out is not None:
        return held_out_class_bits(train, classes, held_out)
    return partition_bits(classes) - class_information(train, classes)


def partition_bits(classes: Classes) -> float:
    """Return the bits that say which community each word of the network is in."""
    return classes.n_placed * float(np.log2(max(1, classes.n_classes - END - 1)))


def class_pairs(tokens: Tokens, classes: Classes) -> sparse.csr_array:
    """Count the classes of neighbouring tokens, float64 of shape (n_classes, n_classes).

    The walk is closed, last token to first, so that both margins are the class counts.
    """
    walk = classes.of_type[tokens.ids]
    n = classes.n_classes
    pairs = np.roll(walk, 1) * n + walk
    if n * n <= MOST_CELLS:
        table = np.bincount(pairs, minlength=n * n).reshape(n, n)
        return sparse.csr_array(table.astype(np.float64))
    distinct, counts = np.unique(pairs, return_counts=True)
    return sparse.csr_array((counts.astype(np.float64), np.divmod(distinct, n)), shape=(n, n))


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


def class_information(tokens: Tokens, classes: Classes) -> float:
    """Return the mutual information of neighbouring classes, bits, summed over the walk."""
    pairs = class_pairs(tokens, classes)
    margin = pairs.sum(axis=0)
    total = float(margin.sum())

    def plogp(x: np.ndarray) -> float:
        x = x[x > 0]
        return float(x @ np.log2(x))

    return plogp(pairs.data) + total * float(np.log2(total)) - 2 * plogp(margin)


def _held_out_words(train: Tokens, held_out: HeldOut) -> float:
    """Return the price of held-out text by the words' code, bits.

    Like everything never seen, in all held-out codes, a new word follows an escape symbol whose
    probability is the share of symbols used once, ``(n_1 + 1) / (N + 2)``, where the ones keep it
    inside (0, 1): a word as its length and characters, a character as one of the code points
    that are not in the alphabet.
    """
    types, known = held_out.types, held_out.types >= 0
    escape = (np.count_nonzero(train.counts == 1) + 1) / (train.ids.size + 2)
    found = np.log2(train.ids.size) - np.log2(1 - escape) - np.log2(train.counts[types])
    return float(np.where(known, found, held_out.spelled - np.log2(escape)).sum())


def held_out_class_bits(train: Tokens, classes: Classes, held_out: HeldOut) -> float:
    """Return the price of held-out text with each word through its class, bits.

    Pairs of classes are interpolated with class frequencies after Witten and Bell.
    """
    types, known = held_out.types, held_out.types >= 0
    pairs = class_pairs(train, classes)
    size = pairs.sum(axis=1)
    followers = np.diff(pairs.indptr)
    share = (size + (np.arange(size.size) == RARE)) / (size.sum() + 1)
    walk = np.where(known, classes.of_type[types], RARE)
    before = np.roll(walk, 1)
    # a class that training never visited has no followers: its successors are as frequent
    # as everywhere
    weight = np.maximum(followers, 1)[before]
    seen_together = np.asarray(pairs[before, walk]).ravel()
    chance = (seen_together + weight * share[walk]) / (size[before] + weight)
    # with min_count=1 words used once have communities, and are no part of this class
    once = np.count_nonzero((train.counts == 1) & (classes.of_type == RARE))
    escape = (once + 1) / (size[RARE] + 2)
    rarer = np.where(walk == RARE, np.log2(1 - escape), 0.0)
    inside = np.log2(np.maximum(size[walk], 1)) - rarer - np.log2(train.counts[types])
    coded = np.where(known, inside, held_out.spelled - np.log2(escape))
    return float((coded - np.log2(chance)).sum())


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
