"""A tokenizer of greatest probability under a unigram model of words."""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from kexue._core import InputError, check_choice, check_texts_argument, write_text
from kexue.corpus import _span_kernels as spans
from kexue.corpus.scripts import DIGIT, EXTENDING, JOINING, LETTER, character_classes, fold_table
from kexue.corpus.texts import DOCUMENT_END, as_texts, decode_codes, encode_text
from kexue.words import _lattice_kernels as kernels

Atoms = Literal["auto", "character"]
# Costs are whole multiples of 2**-24 bit: sums and ties are exact and the same everywhere,
# and 2**38 bits of text fit into an int64.
COST_UNIT = 2.0**-24
# Counts pass through float64 on their way to costs
MAX_TOTAL = 2**53
BATCH = 1 << 20  # characters
FORMAT = "kexue-unigram-1"


class UnigramTokenizer:
    r"""Segment text into the most probable words, without losing a character.

    Every word has the probability :math:`p_w = N_w / N`; a segmentation is chosen by dynamic
    programming for the least :math:`-\sum_w \log p_w`. A token that is no word counts as
    half an occurrence. Ties go to fewer words, then to the longer first word.

    Parameters
    ----------
    words : mapping of str to int
        Words and how often they occur, at least once each.
    atoms : {"auto", "character"}
        ``"auto"``: a run of letters and marks of a script written with blanks, or of
        digits, is one token whatever the words say. ``"character"``: words alone decide. A
        mark of a script without blanks is never parted from its letter.
    normalize : {"nfkc", None}
        Look words up by the NFKC form of each character where that is one character, so
        that full-width and half-width forms are the same word. Tokens keep their spelling.

    Attributes
    ----------
    words : dict of str to int
        The lexicon as it is looked up; words that only differ in form are added up.
    total : int
        Sum of the counts.

    Raises
    ------
    InputError
        If there is no word, a word is empty, or a count is not a positive integer.

    Examples
    --------
    >>> tokenizer = UnigramTokenizer({"红楼": 3, "梦": 2, "红": 1, "楼": 1})
    >>> tokenizer.tokenize("红楼梦, 1791年")
    ['红楼', '梦', ',', ' ', '1791', '年']
    >>> tokenizer.offsets("红楼梦")
    [(0, 2), (2, 3)]
    """

    def __init__(
        self,
        words: Mapping[str, int],
        *,
        atoms: Atoms = "auto",
        normalize: Literal["nfkc"] | None = "nfkc",
    ) -> None:
        self.atoms: Atoms = check_choice("atoms", atoms, ("auto", "character"))
        self.normalize = check_choice("normalize", normalize, ("nfkc", None))
        if not isinstance(words, Mapping):
            raise TypeError(f"words must map str to int, got {type(words).__name__}")
        if not words:
            raise InputError("words must hold at least one word, got none")
        for word, count in words.items():
            if not isinstance(word, str) or not word:
                raise InputError(f"words must be non-empty strings, got {word!r}")
            if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 1:
                raise InputError(f"the count of {word!r} must be an int >= 1, got {count!r}")
        if sum(map(int, words.values())) >= MAX_TOTAL:
            raise InputError("the counts of words must sum to less than 2**53")
        spelled = encode_text("".join(words))
        ends = np.cumsum([len(word) for word in words])
        starts = np.concatenate(([0], ends)).astype(np.int64)
        counts = np.fromiter(words.values(), np.int64, len(words))
        self._learn(self._fold(spelled), starts, counts)

    @classmethod
    def from_spans(
        cls,
        symbols: np.ndarray,
        offsets: np.ndarray,
        counts: np.ndarray,
        *,
        atoms: Atoms = "auto",
        normalize: Literal["nfkc"] | None = "nfkc",
    ) -> UnigramTokenizer:
        """Make a tokenizer of words given as stretches of code points.

        Parameters
        ----------
        symbols : uint32 array of shape (n_symbols,)
            Spellings after one another, as they are to be looked up.
        offsets : int64 array of shape (n_words + 1,)
            Word k is ``symbols[offsets[k]:offsets[k + 1]]``.
        counts : int64 array of shape (n_words,)
        """
        tokenizer = cls.__new__(cls)
        tokenizer.atoms, tokenizer.normalize = atoms, normalize
        tokenizer._learn(symbols, offsets, counts)
        return tokenizer

    @property
    def lexicon(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The arguments of `from_spans` that make this tokenizer again."""
        return self._symbols, self._offsets, self._counts

    def _learn(self, codes: np.ndarray, starts: np.ndarray, counts: np.ndarray) -> None:
        ids, first = spans.encode_spans(codes, starts)
        self._counts = np.bincount(ids, counts).astype(np.int64)
        self.total = int(self._counts.sum())
        self._symbols, self._offsets = spans.gather_spans(codes, starts, first)
        self._hashes = spans.hash_spans(self._symbols, self._offsets)
        capacity = 1 << max(4, int(4 * first.size - 1).bit_length())
        self._slots = spans.index_hashes(self._hashes, capacity)
        cuts = token_cuts(self._symbols, self.atoms)
        self._compound = kernels.find_compounds(self._offsets, cuts)
        self._longest = kernels.longest_by_first(
            self._symbols, self._offsets, self._compound, 2**16
        )
        bits = -np.log2(self._counts / self.total)
        self._costs = np.round(bits / COST_UNIT).astype(np.int64)
        self._unknown = round(np.log2(2 * self.total) / COST_UNIT)

    @property
    def words(self) -> dict[str, int]:
        """The lexicon, most frequent words first; ties by code points."""
        text = decode_codes(self._symbols)
        offsets = self._offsets.tolist()
        spelled = [text[a:b] for a, b in itertools.pairwise(offsets)]
        pairs = zip(spelled, self._counts.tolist(), strict=True)
        return dict(sorted(pairs, key=lambda pair: (-pair[1], pair[0])))

    def tokenize(self, text: str) -> list[str]:
        """Return the tokens of `text`; joined, they are `text` again."""
        return [text[begin:end] for begin, end in self.offsets(text)]

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """Return begin and end of every token of `text`, in characters."""
        if not isinstance(text, str):
            raise TypeError(f"text must be a str, got {type(text).__name__}")
        starts = self.token_starts(encode_text(text)).tolist()
        return list(itertools.pairwise(starts))

    def transform(self, texts: Iterable[str]) -> list[list[str]]:
        """Return the tokens of every text; `texts` may be what `as_texts` takes, too."""
        check_texts_argument(texts)
        if callable(texts) or isinstance(texts, Path):
            texts = as_texts(texts)
        tokens: list[list[str]] = []
        batch: list[str] = []
        size = 0
        for index, text in enumerate(texts):
            if not isinstance(text, str):
                raise TypeError(f"texts[{index}] must be str, got {type(text).__name__}")
            batch.append(text)
            size += len(text) + 1
            if size >= BATCH:
                tokens += self._tokenize_batch(batch)
                batch, size = [], 0
        return tokens + self._tokenize_batch(batch)

    def _tokenize_batch(self, texts: list[str]) -> list[list[str]]:
        """Tokenize many texts in one call of the kernel; a call costs more than a short text."""
        joined = "".join(f"{text}\0" for text in texts)
        ends = np.cumsum([len(text) + 1 for text in texts], dtype=np.int64) - 1
        codes = encode_text(joined)
        codes[ends] = DOCUMENT_END
        starts = self.token_starts(codes)
        pieces = [joined[begin:end] for begin, end in itertools.pairwise(starts.tolist())]
        closing = np.searchsorted(starts, ends).tolist()
        return [pieces[a + 1 : b] for a, b in itertools.pairwise([-1, *closing])]

    def bits(self, text: str) -> float:
        """Return the code length of `text` under the unigram model, in bits.

        A token that is no word costs ``log2(2 N)``; how it is spelled is not charged.
        """
        if not isinstance(text, str):
            raise TypeError(f"text must be a str, got {type(text).__name__}")
        words = self._path(encode_text(text))
        known = words[words >= 0]
        unknown = int(np.count_nonzero(words == -1))
        log_total = np.log2(self.total)
        return float(np.sum(log_total - np.log2(self._counts[known])) + unknown * (log_total + 1))

    def token_starts(self, codes: np.ndarray) -> np.ndarray:
        """Return where tokens begin, and last the length, int64 of shape (n_tokens + 1,).

        Parameters
        ----------
        codes : uint32 array of shape (n,)
            Code points; `kexue.corpus.texts.DOCUMENT_END` ends a document and is a token.
        """
        return kernels.token_starts(self._path(codes))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the tokenizer as JSON, atomically."""
        content = {
            "format": FORMAT,
            "atoms": self.atoms,
            "normalize": self.normalize,
            "words": self.words,
        }
        text = json.dumps(content, ensure_ascii=False, indent=0)
        # a lone surrogate has no UTF-8; JSON's escape keeps it
        escaped = re.sub("[\ud800-\udfff]", lambda match: f"\\u{ord(match[0]):04x}", text)
        write_text(path, escaped + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> UnigramTokenizer:
        """Read a tokenizer that `save` wrote.

        Raises
        ------
        InputError
            If the file is not such a tokenizer.
        """
        try:
            content: Any = json.loads(Path(path).read_text(encoding="utf-8"))
            if content["format"] != FORMAT:
                raise KeyError("format")
            words, atoms, normalize = (content[key] for key in ("words", "atoms", "normalize"))
            return cls(words, atoms=atoms, normalize=normalize)
        except (UnicodeDecodeError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{os.fspath(path)} is not a tokenizer written by UnigramTokenizer.save "
                f"(format {FORMAT!r})"
            ) from error

    def __len__(self) -> int:
        """Return the number of words."""
        return int(self._counts.size)

    def __repr__(self) -> str:
        return f"UnigramTokenizer({len(self):,} words, atoms={self.atoms!r})"

    def _fold(self, codes: np.ndarray) -> np.ndarray:
        return fold_table()[codes] if self.normalize else codes

    def _path(self, codes: np.ndarray) -> np.ndarray:
        """Return the word of each token at its first position, -1 unknown, -2 elsewhere."""
        words = np.empty(codes.size, np.int32)
        kernels.cheapest_path(
            self._fold(codes),
            token_cuts(codes, self.atoms),
            np.uint32(DOCUMENT_END),
            self._slots,
            self._hashes,
            self._symbols,
            self._offsets,
            self._compound,
            self._longest,
            self._costs,
            self._unknown,
            words,
        )
        return words


def token_cuts(codes: np.ndarray, atoms: Atoms) -> np.ndarray:
    """Return where tokens may begin, bool of shape (n,).

    Not before a mark of a script without blanks, such as a Thai vowel sign, nor, unless
    `atoms` is "character", inside a run of letters or digits.
    """
    cuts = np.empty(codes.size, bool)
    classes = character_classes()[codes]
    kernels.mark_cuts(classes, LETTER, DIGIT, JOINING, EXTENDING, atoms == "auto", cuts)
    return cuts
