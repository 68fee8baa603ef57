"""Words of a language found in raw text, without a dictionary."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from kexue._core import (
    InputError,
    check_choice,
    check_float,
    check_int,
    effective_jobs,
    parse_memory,
)
from kexue.corpus import _span_kernels as spans
from kexue.corpus.executors import (
    Executor,
    apply_batches,
    check_executor,
    n_workers,
    open_executor,
)
from kexue.corpus.scripts import fold_table
from kexue.corpus.texts import DOCUMENT_END, as_texts
from kexue.words import charlm, nvbe, solidity
from kexue.words._lexicon import Segmentation
from kexue.words.pair import without_redundant
from kexue.words.pricing import balanced_price
from kexue.words.solidity import Spans
from kexue.words.tokenizer import Atoms, UnigramTokenizer, token_cuts
from kexue.words.tokens import Tokens, character_bits, word_table

if TYPE_CHECKING:
    import polars as pl

# From so many characters on, words seen once are dropped from the lexicon: on held-out gold
# words of the January 1998 newspaper that lowers F1 by 0.6 at 0.38 M characters and by 0.2 at
# 0.77 M, and raises it by 0.1 at 1.86 M (docs/words/discovery.md).
LARGE_TEXT = 1_000_000
# Characters sent to a worker at once: some tenths of a second of work
PIECE = 1 << 20
Refine = Callable[[Spans], Spans]
PAIR_PMI = 1.0  # nats: to first order, a pair of more shortens the code of the text


class WordDiscoverer(TransformerMixin, BaseEstimator):
    r"""Find the words of raw text: the units that make it cheaper to write down.

    The text is segmented twice over. First by statistics of its n-grams, the normalised
    variation of branching entropy unless another method is chosen: a stretch of characters is
    a word so far as what precedes and follows it is free while its inside is not; each word
    costs a price, which keeps a segmentation from falling apart (`kexue.words.nvbe`). Then by
    hard EM of the unigram model: the text is segmented into its most probable words, those are
    counted, and again until nothing changes.

    Parameters
    ----------
    method : {"nvbe", "ngram", "pair", "charlm"}
        How the text is segmented first. ``"ngram"``: wherever no frequent, solid n-gram covers
        both sides (`kexue.words.solidity`). ``"pair"``: between characters that attract each
        other little; words that their parts explain are then taken apart
        (`kexue.words.pair`). ``"charlm"``: by the states of a character model
        (`kexue.words.charlm`). They are there to compare with; docs/words/experiments.md says
        how they did.
    max_length : int in [1, 8]
        Longest word to be found in scripts without blanks, in characters; of ``"ngram"`` and
        ``"charlm"`` the longest n-gram, at least 2; ``"pair"`` does not use it.
    min_count : int or "auto"
        A word of two or more joined characters must occur this often. ``"auto"``: 2 from
        1,000,000 characters on, else 1.
    min_pmi : float, sequence of float or "auto"
        Least mutual information, nats: of ``"pair"`` a number, 1 by default; of ``"ngram"``
        one for each length from 1 on, (0, 2, 4, 6, ...) by default. Not used by the others.
    penalty : float or "mdl"
        Price of a word in the first step of ``"nvbe"``, nats; lower values make longer words.
        ``"mdl"`` takes it from the text, between 0 and -8, see `kexue.words.pricing`. Documents
        that are there several times make it lower: drop them before.
    max_rounds : int
        Most rounds of EM.
    atoms : {"auto", "character"}
        ``"auto"``: characters join in scripts without blanks (Han, Kana, Thai, ...); a run of
        letters and marks of any other script, or of digits, is a word as it stands; every
        other character stands alone. ``"character"``: letters, marks and digits of all
        scripts join.
    normalize : {"nfkc", None}
        See `UnigramTokenizer`.
    memory : int or str
        Most bytes for counting, see `kexue.corpus.count_ngrams`.
    n_jobs : int or None
        Threads or processes: None means 1, -1 all processors. The result does not depend on it.
    executor : {"thread", "process", "dask"} or distributed.Client
        Where n-grams are counted and text is segmented, see `kexue.corpus.executors`; a cluster
        is started at most once. A client cannot be copied: to clone the estimator, say
        ``"dask"``, which is the client that is current. The result does not depend on it.

    Attributes
    ----------
    tokenizer_ : UnigramTokenizer
        Segments any text into the discovered words.
    tokens_ : Tokens
        The segmented text.
    words_ : polars.DataFrame
        Every token type of the text, also blanks and, as the empty word, the ends of documents;
        columns as in `kexue.words.word_table`. Made when it is first asked for.
    ledger_ : list of (str, float)
        Bits per character of the text, coded by the size of its alphabet, by its characters
        and by its words: every character and one symbol for the end of each document, in
        sample. The lexicon is not charged, so that ever longer words look ever cheaper: compare
        neither methods nor prices by it. `kexue.words.pricing.description_lengths` charges it.
    penalty_ : float
        The price per word that was used; of method ``"nvbe"``. NaN if it was to be found in a
        text without characters that join.
    n_rounds_ : int
        Rounds of EM until the segmentation stood still, or `max_rounds`.

    Examples
    --------
    >>> text = ["月下独酌花间一壶酒", "独酌无相亲", "花间一壶酒独酌", "举杯邀明月", "明月花间"] * 9
    >>> discoverer = WordDiscoverer().fit(text)
    >>> discoverer.transform(["独酌花间"])
    [['独酌', '花间']]

    References
    ----------
    Magistry and Sagot, Unsupervized word segmentation: the case for Mandarin Chinese,
    ACL 2012. The price per word is kexue's own.
    """

    def __init__(
        self,
        method: Literal["nvbe", "ngram", "pair", "charlm"] = "nvbe",
        *,
        max_length: int = 4,
        min_count: int | Literal["auto"] = "auto",
        min_pmi: float | Sequence[float] | Literal["auto"] = "auto",
        penalty: float | Literal["mdl"] = -5.0,
        max_rounds: int = 6,
        atoms: Atoms = "auto",
        normalize: Literal["nfkc"] | None = "nfkc",
        memory: int | str = "2GB",
        n_jobs: int | None = None,
        executor: Executor = "thread",
    ) -> None:
        self.method = method
        self.max_length = max_length
        self.min_count = min_count
        self.min_pmi = min_pmi
        self.penalty = penalty
        self.max_rounds = max_rounds
        self.atoms = atoms
        self.normalize = normalize
        self.memory = memory
        self.n_jobs = n_jobs
        self.executor = executor

    def fit(self, texts: Any, y: None = None) -> WordDiscoverer:
        """Learn the words of `texts`.

        Parameters
        ----------
        texts : Texts, pathlib.Path, iterable of str or callable returning one
            What `kexue.corpus.as_texts` takes.
        y : None
            Ignored.

        Raises
        ------
        InputError
            On a bad parameter, or if there is no text.
        """
        self._check_parameters()
        return self.fit_codes(as_texts(texts).codes())

    def fit_codes(self, codes: np.ndarray) -> WordDiscoverer:
        """Learn from code points, `DOCUMENT_END` after every document; see `fit`."""
        self._check_parameters()
        folded = fold_table()[codes] if self.normalize else codes
        with open_executor(self.executor, effective_jobs(self.n_jobs)) as executor:
            self.tokenizer_, starts, self.n_rounds_ = self._discover(codes, folded, executor)
        self.tokens_ = Tokens.from_starts(codes, starts)
        self.__dict__.pop("words_", None)  # of an earlier fit
        self.ledger_ = in_sample_ledger(self.tokens_)
        return self

    def partial_fit(self, texts: Any, y: None = None) -> WordDiscoverer:
        """Learn the words of `texts` and of all texts that were learned from before.

        The same as `fit` on all of them in this order, and as long: where a word ends depends on
        what else there is, so the text, which is kept in `tokens_`, is segmented anew.

        Parameters
        ----------
        texts : Texts, pathlib.Path, iterable of str or callable returning one
        y : None
            Ignored.

        Raises
        ------
        InputError
            As `fit`.

        Examples
        --------
        >>> discoverer = WordDiscoverer().fit(["独酌花间", "花间独酌"] * 5)
        >>> "无相亲" in discoverer.tokenizer_.words
        False
        >>> discoverer = discoverer.partial_fit(["独酌无相亲", "花间无相亲"] * 9)
        >>> "无相亲" in discoverer.tokenizer_.words
        True
        """
        self._check_parameters()
        codes = as_texts(texts).codes()
        if hasattr(self, "tokens_"):
            codes = np.concatenate((self.tokens_.codes, codes))
        return self.fit_codes(codes)

    @cached_property
    def words_(self) -> pl.DataFrame:
        """Every token type of the text; columns as in `kexue.words.word_table`."""
        check_is_fitted(self, "tokenizer_")
        return word_table(self.tokens_)

    def transform(self, texts: Any) -> list[list[str]]:
        """Return the words of each text."""
        check_is_fitted(self, "tokenizer_")
        return self.tokenizer_.transform(texts, n_jobs=self.n_jobs)

    def _discover(
        self, codes: np.ndarray, folded: np.ndarray, executor: Executor
    ) -> tuple[UnigramTokenizer, np.ndarray, int]:
        self.__dict__.pop("penalty_", None)  # of an earlier fit by another method
        if self.method == "nvbe":
            self.penalty_ = float("nan" if self.penalty == "mdl" else self.penalty)
        joining = nvbe.joining_characters(self.atoms)
        cuts = token_cuts(codes, self.atoms)
        min_count = self.min_count
        if min_count == "auto":
            min_count = 2 if codes.size >= LARGE_TEXT else 1
        begins, lexicon = cuts, cast("Refine", _whole)
        if np.any(joining[folded]):
            begins, lexicon = self._first_segmentation(
                folded, cuts, joining, int(min_count), executor
            )
        starts = np.append(np.flatnonzero(begins), codes.size)
        words = lexicon(enough(word_types(folded, starts), joining, int(min_count)))
        rounds = 0
        while True:
            tokenizer = UnigramTokenizer.from_spans(
                *words, atoms=self.atoms, normalize=self.normalize
            )
            found = segment_pieces(tokenizer, codes, executor, effective_jobs(self.n_jobs))
            if rounds == self.max_rounds:
                break
            rounds += 1
            if np.array_equal(found.starts, starts):
                break
            starts = found.starts
            types = used_words(folded, found, tokenizer)
            words = enough(types, joining, int(min_count))
        return tokenizer, found.starts, rounds

    def _first_segmentation(
        self,
        folded: np.ndarray,
        cuts: np.ndarray,
        joining: np.ndarray,
        min_count: int,
        executor: Executor,
    ) -> tuple[np.ndarray, Refine]:
        """Return where tokens begin, and what becomes of their first lexicon."""
        where: Any = {"memory": self.memory, "n_jobs": self.n_jobs, "executor": executor}
        if self.method == "charlm":
            begins = charlm.segment(folded, cuts, joining, max_length=self.max_length, **where)
            return begins, _whole
        if self.method == "nvbe":
            lattice = nvbe.lattice(folded, cuts, joining, max_length=self.max_length, **where)
            if self.penalty == "mdl":
                self.penalty_ = balanced_price(lattice, folded)
            return lattice.segment(self.penalty_), _whole
        longest: int = self.max_length
        given = not isinstance(self.min_pmi, str)
        least: Any = self.min_pmi if given else solidity.SOLID
        if self.method == "pair":
            longest, least = 2, (0.0, self.min_pmi if given else PAIR_PMI)
        # what is there once holds together by chance
        ngrams = solidity.accept(folded, joining, longest, max(min_count, 2), least, **where)
        refine = without_redundant if self.method == "pair" else ngrams.checked
        return ngrams.segment(folded, cuts), refine

    def _check_parameters(self) -> None:
        check_choice("method", self.method, ("nvbe", "ngram", "pair", "charlm"))
        shortest = 2 if self.method in ("ngram", "charlm") else 1
        check_int("max_length", self.max_length, minimum=shortest, maximum=8)
        if self.min_count != "auto":
            check_int("min_count", self.min_count, minimum=1)
        if self.penalty != "mdl":
            check_float("penalty", self.penalty)
        self._check_min_pmi()
        effective_jobs(self.n_jobs)
        check_int("max_rounds", self.max_rounds, minimum=0)
        check_choice("atoms", self.atoms, ("auto", "character"))
        check_choice("normalize", self.normalize, ("nfkc", None))
        parse_memory(self.memory)
        check_executor(self.executor)

    def _check_min_pmi(self) -> None:
        if isinstance(self.min_pmi, str):
            check_choice("min_pmi", self.min_pmi, ("auto",))
        elif self.method == "ngram":
            values = np.atleast_1d(np.asarray(self.min_pmi, float)).tolist()
            if len(values) < self.max_length:
                raise InputError(
                    "min_pmi must hold a number for each length up to max_length="
                    f"{self.max_length} with method='ngram', got {self.min_pmi!r}"
                )
            for value in values:
                check_float("min_pmi", value)
        else:
            check_float("min_pmi", self.min_pmi)


def segment_pieces(
    tokenizer: UnigramTokenizer, codes: np.ndarray, executor: Executor, n_jobs: int
) -> Segmentation:
    """Return what ``tokenizer.segment(codes)`` does, found by the workers of `executor`.

    They get the tokenizer once, and the text in pieces of whole documents.
    """
    if executor == "thread":
        return tokenizer.segment(codes, n_jobs=n_jobs)
    size = max(1, min(PIECE, -(-codes.size // n_workers(executor, n_jobs))))
    ends = np.append(np.flatnonzero(codes == DOCUMENT_END) + 1, codes.size)
    inner = ends[np.searchsorted(ends, np.arange(size, codes.size, size))]
    bounds = np.unique(np.concatenate(([0], inner, [codes.size])))
    pieces = (codes[begin:end] for begin, end in itertools.pairwise(bounds.tolist()))
    with closing(apply_batches(tokenizer.segment, pieces, executor, n_jobs)) as results:
        found = list(results)
    before = np.cumsum([0, *(part.labels.size for part in found)])
    starts = [part.starts[:-1] + begin for part, begin in zip(found, bounds, strict=False)]
    edges = [part.edges[:-1] + n for part, n in zip(found, before, strict=False)]
    return Segmentation(
        np.concatenate([*starts, bounds[-1:]]),
        np.concatenate([part.labels for part in found]),
        np.concatenate([*edges, before[-1:]]),
    )


def word_types(codes: np.ndarray, starts: np.ndarray) -> Spans:
    """Return the distinct tokens of a segmented text, without the end of a document."""
    ids, first = spans.encode_spans(codes, starts)
    real = np.flatnonzero(codes[starts[first]] != DOCUMENT_END)
    counts = np.bincount(ids, minlength=first.size)[real]
    return *spans.gather_spans(codes, starts, first[real]), counts


def enough(types: Spans, joining: np.ndarray, min_count: int) -> Spans:
    """Return the types that make a lexicon; single characters and whole runs all do."""
    symbols, offsets, counts = types
    joined = (np.diff(offsets) > 1) & joining[symbols[offsets[:-1]]]
    kept = np.flatnonzero(~joined | (counts >= min_count))
    if not kept.size:  # then their characters, since a lexicon cannot be empty
        return symbols, np.arange(symbols.size + 1), np.repeat(counts, np.diff(offsets))
    return *spans.gather_spans(symbols, offsets, kept), counts[kept]


def used_words(codes: np.ndarray, found: Segmentation, tokenizer: UnigramTokenizer) -> Spans:
    """Return what `word_types` does for the tokens that a tokenizer found.

    Those that are words need not be spelled, they are counted by their numbers.
    """
    symbols, offsets, _ = tokenizer.lexicon
    counts = np.bincount(found.labels + 1, minlength=offsets.size)[1:]
    used = np.flatnonzero(counts)
    known = *spans.gather_spans(symbols, offsets, used), counts[used]
    other = np.flatnonzero(found.labels < 0)
    new = word_types(*spans.gather_spans(codes, found.starts, other))
    return (
        np.concatenate((known[0], new[0])),
        np.concatenate((known[1], known[1][-1] + new[1][1:])),
        np.concatenate((known[2], new[2])),
    )


def _whole(words: Spans) -> Spans:
    return words


def in_sample_ledger(tokens: Tokens) -> list[tuple[str, float]]:
    """Return bits per character of the alphabet's, the characters' and the words' code."""
    characters = tokens.codes.size
    counts = tokens.counts
    word_bits = np.log2(tokens.ids.size) - np.log2(counts)
    return [
        ("alphabet", float(np.log2(np.count_nonzero(np.bincount(tokens.codes))))),
        ("characters", float(character_bits(tokens.codes).sum() / characters)),
        ("words", float(counts @ word_bits / characters)),
    ]
