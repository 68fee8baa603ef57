"""A tokenizer of greatest probability under a unigram model of words."""

from __future__ import annotations

import gc
import itertools
import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from kexue._core import (
    InputError,
    check_choice,
    check_float,
    check_int,
    check_seed,
    check_texts_argument,
    effective_jobs,
    write_text,
)
from kexue.corpus.scripts import fold_table
from kexue.corpus.texts import DOCUMENT_END, as_texts, encode_text
from kexue.words import _sampling_kernels as sampling
from kexue.words._lexicon import Lexicon, Segmentation
from kexue.words._reading import Atoms, objects, token_cuts
from kexue.words._vocabulary import Vocabulary

if TYPE_CHECKING:
    import tokenizers

__all__ = ["Atoms", "UnigramTokenizer", "token_cuts"]

# Counts pass through float64 on their way to costs
MAX_TOTAL = 2**53
BATCH = 1 << 16  # characters
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
    vocabulary : list of str
        What `encode` numbers; the 256 bytes come after it.

    Raises
    ------
    InputError
        If there is no word, a word is empty or longer than 8,192 characters, or a count is not
        a positive integer.

    Examples
    --------
    >>> tokenizer = UnigramTokenizer({"红楼": 3, "梦": 2, "红": 1, "楼": 1})
    >>> tokenizer.tokenize("红楼梦, 1791年")
    ['红楼', '梦', ',', ' ', '1791', '年']
    >>> tokenizer.offsets("红楼梦")
    [(0, 2), (2, 3)]
    >>> tokenizer.decode(tokenizer.encode("红楼梦"))
    '红楼梦'

    References
    ----------
    Kudo, Subword regularization: improving neural network translation models with multiple
    subword candidates, ACL 2018. kexue.fm, archives/3956.
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
        codes = encode_text("".join(words))
        ends = np.cumsum([len(word) for word in words])
        starts = np.concatenate(([0], ends)).astype(np.int64)
        counts = np.fromiter(words.values(), np.int64, len(words))
        codes = fold_table()[codes] if self.normalize else codes
        self._lexicon = Lexicon(codes, starts, counts, self.atoms, self.normalize)

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
        tokenizer._lexicon = Lexicon(symbols, offsets, counts, atoms, normalize)
        return tokenizer

    @property
    def lexicon(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The arguments of `from_spans` that make this tokenizer again."""
        return self._lexicon.symbols, self._lexicon.offsets, self._lexicon.counts

    @property
    def total(self) -> int:
        """Sum of the counts."""
        return self._lexicon.total

    @property
    def words(self) -> dict[str, int]:
        """The lexicon, most frequent words first; ties by code points."""
        counts = self._lexicon.counts[self._lexicon.order].tolist()
        return dict(zip(self._lexicon.ordered(), counts, strict=True))

    @property
    def vocabulary(self) -> list[str]:
        """The words in the order of `words`, then other characters of theirs, by code point."""
        return self._vocabulary.entries

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        characters = set(map(chr, self._lexicon.alphabet.tolist()))
        return Vocabulary(self._lexicon.ordered(), characters)

    def tokenize(self, text: str) -> list[str]:
        """Return the tokens of `text`; joined, they are `text` again."""
        return [text[begin:end] for begin, end in self.offsets(text)]

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """Return begin and end of every token of `text`, in characters."""
        return list(itertools.pairwise(self._lexicon.segment(_codes_of(text)).starts.tolist()))

    def transform(self, texts: Iterable[str], *, n_jobs: int | None = None) -> list[list[str]]:
        """Return the tokens of every text.

        Parameters
        ----------
        texts : iterable of str
            Or whatever else `kexue.corpus.as_texts` takes.
        n_jobs : int or None
            Threads for the search, None meaning 1, -1 all processors. Making the strings takes
            about as long and is one thread's work.
        """
        jobs = effective_jobs(n_jobs)
        tokens: list[list[str]] = []
        for batch in _batches(texts, jobs):
            joined = "".join(batch)
            codes = encode_text(joined)
            found = self._lexicon.segment(codes, _bounds(batch), jobs)
            edges = found.edges.tolist()
            with _no_garbage_collection():
                strings = self._lexicon.strings(joined, codes, found)
                tokens += [strings[a:b].tolist() for a, b in itertools.pairwise(edges)]
        return tokens

    def encode(self, text: str) -> np.ndarray:
        """Return the ids of the tokens of `text`, int32 of shape (n_ids,).

        An id is an index into `vocabulary`. A token that is not in it is spelled in UTF-8, byte b
        having the id ``len(vocabulary) + b``.
        """
        codes = _codes_of(text)
        return self._encode(codes, np.array([0, codes.size]), 1)[0]

    def encode_batch(self, texts: Iterable[str], *, n_jobs: int | None = None) -> list[np.ndarray]:
        """Return what `encode` does for every text; parameters as in `transform`."""
        jobs = effective_jobs(n_jobs)
        ids: list[np.ndarray] = []
        for batch in _batches(texts, jobs):
            ids += self._encode(encode_text("".join(batch)), _bounds(batch), jobs)
        return ids

    def _encode(self, codes: np.ndarray, bounds: np.ndarray, n_jobs: int) -> list[np.ndarray]:
        found = self._lexicon.segment(codes, bounds, n_jobs, labels=self._node_ids)
        ids, edges = found.labels, found.edges
        unknown = np.flatnonzero(ids < 0)
        if unknown.size:
            spelled = [
                self._vocabulary.spell(
                    self._lexicon.spell(codes[found.starts[k] : found.starts[k + 1]])
                )
                for k in unknown
            ]
            sizes = np.ones(ids.size, np.int64)
            sizes[unknown] = list(map(len, spelled))
            begins = np.concatenate(([0], np.cumsum(sizes)))
            ids = np.repeat(ids, sizes)
            ids[ids < 0] = list(itertools.chain.from_iterable(spelled))
            edges = begins[edges]
        return [ids[a:b] for a, b in itertools.pairwise(edges.tolist())]

    @cached_property
    def _node_ids(self) -> np.ndarray:
        """The id of the word at every node of the trie, -1 for none."""
        ranks = np.full(len(self) + 1, -1, np.int32)  # also of word -1
        ranks[self._lexicon.order] = np.arange(len(self))
        return ranks[self._lexicon.nodes]

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """Return the text of `ids`.

        ``decode(encode(text))`` is `text`; with ``normalize="nfkc"``, `text` with every character
        in the form by which it was looked up. Bytes that are no UTF-8 become U+FFFD.

        Raises
        ------
        InputError
            If `ids` are not integers from 0 to ``len(vocabulary) + 255``.
        """
        return self._vocabulary.decode(ids)

    def bits(self, text: str) -> float:
        """Return the code length of `text` under the unigram model, in bits.

        A token that is no word costs ``log2(2 N)``; how it is spelled is not charged.
        """
        return self._bits(self._lexicon.segment(_codes_of(text)).labels)

    @overload
    def sample(
        self, text: str, alpha: float = 1.0, random_state: Any = None, *, size: None = None
    ) -> list[str]: ...

    @overload
    def sample(
        self, text: str, alpha: float = 1.0, random_state: Any = None, *, size: int
    ) -> list[list[str]]: ...

    def sample(
        self,
        text: str,
        alpha: float = 1.0,
        random_state: Any = None,
        *,
        size: int | None = None,
    ) -> list[str] | list[list[str]]:
        r"""Return a random segmentation of `text`.

        A segmentation into the words w has a probability proportional to
        :math:`\prod_w p_w^\alpha`, exactly: the sums over all ways to go on from each position
        are known before the first word is drawn.

        Parameters
        ----------
        text : str
        alpha : float >= 0
            0 makes all segmentations equally likely, ``inf`` returns that of `tokenize`.
        random_state : None, int, numpy.random.RandomState or numpy.random.Generator
        size : int, optional
            How many to draw, independently.

        Returns
        -------
        list of str, or a list of `size` such lists if `size` is given.

        Examples
        --------
        >>> tokenizer = UnigramTokenizer({"红楼": 3, "梦": 2, "红": 1, "楼": 1})
        >>> tokenizer.sample("红楼梦", alpha=0.2, random_state=1, size=3)
        [['红楼', '梦'], ['红楼', '梦'], ['红', '楼', '梦']]
        """
        codes = _codes_of(text)
        if alpha != math.inf:
            check_float("alpha", alpha, minimum=0.0)
        number = 1 if size is None else check_int("size", size, minimum=0)
        rng = np.random.default_rng(check_seed(random_state))
        if alpha == math.inf:
            drawn = [self.tokenize(text) for _ in range(number)]
        else:
            begins, first, ends, words = self._lexicon.edges(codes)
            paths = sampling.draw_paths(first, ends, alpha * self._lexicon.log2(words), number, rng)
            drawn = _token_lists(text, begins, first, ends, *paths)
        return drawn[0] if size is None else drawn

    def nbest(self, text: str, k: int) -> list[tuple[list[str], float]]:
        """Return the `k` most probable segmentations of `text`, each with its bits, best first.

        The first is that of `tokenize`, and ties are broken in the same way; where there are
        fewer than `k`, all are returned. Takes memory for `k` ways to go on from each character.

        Examples
        --------
        >>> tokenizer = UnigramTokenizer({"红楼": 3, "梦": 2, "红": 1, "楼": 1})
        >>> [(tokens, round(bits, 2)) for tokens, bits in tokenizer.nbest("红楼梦", 2)]
        [(['红楼', '梦'], 3.03), (['红', '楼', '梦'], 7.42)]
        """
        codes = _codes_of(text)
        check_int("k", k, minimum=1)
        begins, first, ends, words = self._lexicon.edges(codes)
        edges, offsets = sampling.best_paths(first, ends, self._lexicon.cost(words), k)
        tokens = _token_lists(text, begins, first, ends, edges, offsets)
        bounds = itertools.pairwise(offsets.tolist())
        bits = [self._bits(words[edges[begin:end]]) for begin, end in bounds]
        return list(zip(tokens, bits, strict=True))

    def token_starts(self, codes: np.ndarray) -> np.ndarray:
        """Return where tokens begin, and last the length, int64 of shape (n_tokens + 1,).

        Parameters
        ----------
        codes : uint32 array of shape (n,)
            Code points; `kexue.corpus.texts.DOCUMENT_END` ends a document and is a token.
        """
        return self.segment(codes).starts

    def segment(self, codes: np.ndarray, *, n_jobs: int | None = None) -> Segmentation:
        """Return where tokens begin and the word of each, of `lexicon`; as `token_starts`."""
        if codes.size and codes.max() > DOCUMENT_END:
            raise InputError(f"codes must be code points or DOCUMENT_END, got {codes.max()}")
        bounds = np.append(0, np.flatnonzero(codes == DOCUMENT_END) + 1)
        if bounds[-1] != codes.size:  # the last document has no mark at its end
            bounds = np.append(bounds, codes.size)
        return self._lexicon.segment(codes, bounds, effective_jobs(n_jobs))

    def to_hf(self) -> tokenizers.Tokenizer:
        """Return a tokenizer of Hugging Face's `tokenizers` that does the same.

        Its ids are those of `encode`, its limits on the page about this class
        (docs/words/tokenizer.md). Needs the extra ``language``.
        """
        from kexue.words._hugging_face import as_hugging_face

        return as_hugging_face(self)

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
        return int(self._lexicon.counts.size)

    def __repr__(self) -> str:
        return f"UnigramTokenizer({len(self):,} words, atoms={self.atoms!r})"

    def _bits(self, words: np.ndarray) -> float:
        known = words[words >= 0]
        unknown = words.size - known.size
        log_total = np.log2(self.total)
        bits = np.sum(log_total - np.log2(self._lexicon.counts[known]))
        return float(bits + unknown * (log_total + 1))


def _codes_of(text: str) -> np.ndarray:
    if not isinstance(text, str):
        raise TypeError(f"text must be a str, got {type(text).__name__}")
    return encode_text(text)


def _batches(texts: Iterable[str], n_jobs: int) -> Iterator[list[str]]:
    """Yield some texts at a time; a call of the kernel costs more than a short text."""
    check_texts_argument(texts)
    if isinstance(texts, Path):
        texts = as_texts(texts)
    elif callable(texts):
        texts = texts()
    batch: list[str] = []
    size = index = 0
    iterator = iter(texts)
    while some := list(itertools.islice(iterator, 64)):
        if set(map(type, some)) != {str}:
            for place, text in enumerate(some, index):
                if not isinstance(text, str):
                    raise TypeError(f"texts[{place}] must be str, got {type(text).__name__}")
        batch += some
        index += len(some)
        size += sum(map(len, some))
        if size >= BATCH * n_jobs:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _bounds(batch: list[str]) -> np.ndarray:
    return np.cumsum([0, *map(len, batch)], dtype=np.int64)


def _token_lists(
    text: str,
    begins: np.ndarray,
    first: np.ndarray,
    ends: np.ndarray,
    edges: np.ndarray,
    offsets: np.ndarray,
) -> list[list[str]]:
    """Return the tokens of paths through a lattice."""
    starts = begins[np.repeat(np.arange(first.size - 1), np.diff(first))]
    used = np.unique(edges)
    strings = np.empty(ends.size, object)
    pairs = zip(starts[used].tolist(), begins[ends[used]].tolist(), strict=True)
    strings[used] = objects([text[begin:end] for begin, end in pairs])
    tokens = strings[edges]
    return [tokens[a:b].tolist() for a, b in itertools.pairwise(offsets.tolist())]


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Keep the collector from visiting lists again and again while they grow: none is garbage."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
