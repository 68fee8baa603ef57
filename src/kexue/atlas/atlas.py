"""From raw text to its words, their vectors, their communities and what each is worth."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any, Literal

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from kexue._core import (
    InputError,
    check_choice,
    check_int,
    check_seed,
    effective_jobs,
    parse_memory,
    run_beside,
)
from kexue.atlas.ledger import Classes, LedgerRow, compressor_bits, entropy_ledger
from kexue.atlas.splitting import split_corpus
from kexue.atlas.stages import Arrays, StageCache
from kexue.corpus.texts import DOCUMENT_END, as_texts
from kexue.words.tokens import Tokens, word_table

N_NEIGHBORS = 25
MIN_SIMILARITY = 0.3
# The words right beside a word tell classes apart best: on the January 1998 newspaper the
# communities row saves 0.56 bits per character with a window of 1, 0.52 with 2 and 0.36 with 5.
WINDOW = 1
# Vectors are directions: weights of Sigma**0.5 save 0.005 less, of Sigma 0.06 less. Both figures
# come from `python -m benchmarks.atlas.choosing`.
EXPONENT = 0.0

# With as many dimensions as words every word resembles only itself. More dimensions save more
# bits at any size, but below four words for each they do so by leaving words alone.
WORDS_PER_DIMENSION = 4

Progress = Callable[[str, float, int], None]


class Atlas(BaseEstimator):
    """Learn the words of a corpus, how they group, and what each grouping is worth in bits.

    A tenth of the text is kept back. On the rest words are discovered
    (`kexue.words.WordDiscoverer`), given vectors by the company they keep
    (`kexue.vectors.PPMI`), joined to their nearest neighbours and grouped by the map equation
    (`kexue.graph.Infomap`, two levels). The ledger states what the text costs after each step.

    Parameters
    ----------
    max_length : int in [1, 8]
        Longest word to be found in scripts without blanks.
    min_count : int
        Words used less often have no vector and no community.
    vectors : {"ppmi"}
    n_components : int
        Dimension of the vectors; at most a quarter of the number of words.
    random_state : None, int, RandomState or Generator
        Draws the held-out part, the SVD's start and Infomap's order of visits.
    n_jobs : int or None
        Threads: None means 1, -1 all processors. The result is the same for any number.
    memory : int or str
        Most bytes for counting, see `kexue.corpus.count_ngrams`.
    workdir : path or None
        Folder where finished stages are kept; a later `fit` on the same text with the same
        parameters and versions takes them from there. For one run at a time.

    Attributes
    ----------
    words_ : polars.DataFrame
        Every token type of the learned text, columns as in `kexue.words.word_table` and
        ``community`` (int32, from 1; null outside of the network).
    tokenizer_ : UnigramTokenizer
    vectors_ : float32 array of shape (n_placed, n_components)
        White space, which is skipped when neighbours are counted, has the zero vector.
    placed_types_, placed_words_ : int64 array, list of str
        The types of `train_` that have vectors, most frequent first, and their spellings.
    similarity_ : scipy.sparse.csr_array of shape (n_placed, n_placed)
        Cosines of each word's nearest neighbours.
    labels_ : int64 array of shape (n_placed,)
        Community of each of these words; those that make up most of the text first, and
        last the words, such as the comma, that resemble no other and stand alone. One less
        than the number in tables, in the tree and on the page.
    word_flow_ : float64 array of shape (n_placed,)
        Share of an endless walk on `similarity_` spent at each word.
    codelength_ : float
        Bits per step of that walk under the two-level map equation.
    ledger_ : list of LedgerRow
    references_ : dict of str to float
        Bits per character of the learned text under general compressors.
    train_, held_out_ : Tokens
        The two parts, segmented; `held_out_` is None if the text was too short.
    split_ : Split
    n_documents_, n_characters_ : int
        Of the whole corpus.
    fingerprint_ : str
        SHA-256 of the corpus, see `kexue.corpus.Texts.fingerprint`.
    timings_ : dict of str to float
        Seconds of each stage.

    Examples
    --------
    >>> from pathlib import Path
    >>> atlas = Atlas(random_state=0).fit(Path("novel.txt"))  # doctest: +SKIP
    >>> atlas.write("novel-atlas")  # doctest: +SKIP
    """

    def __init__(
        self,
        max_length: int = 4,
        min_count: int = 5,
        vectors: Literal["ppmi"] = "ppmi",
        n_components: int = 100,
        random_state: Any = None,
        n_jobs: int | None = None,
        memory: int | str = "2GB",
        workdir: str | os.PathLike[str] | None = None,
    ) -> None:
        self.max_length = max_length
        self.min_count = min_count
        self.vectors = vectors
        self.n_components = n_components
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.memory = memory
        self.workdir = workdir

    def fit(
        self, texts: Any, y: None = None, *, fresh: bool = False, progress: Progress | None = None
    ) -> Atlas:
        """Learn from `texts`.

        Parameters
        ----------
        texts : Texts, pathlib.Path, iterable of str or callable returning one
        y : None
            Ignored.
        fresh : bool
            Do not use stages kept in `workdir`.
        progress : callable or None
            Called after each stage with its name, its seconds and the number of characters.

        Raises
        ------
        InputError
            On a bad parameter, or if nothing in the text repeats.
        """
        self._check_parameters()
        seed = check_seed(self.random_state)
        jobs = effective_jobs(self.n_jobs)
        folder = None if self.workdir is None else Path(self.workdir) / ".stages"
        clock = _Clock(progress)

        codes = as_texts(texts).codes()
        check_repeats(codes)
        self.fingerprint_ = hashlib.sha256(np.ascontiguousarray(codes, "<u4").data).hexdigest()
        self.n_documents_ = int(np.count_nonzero(codes == DOCUMENT_END))
        self.n_characters_ = codes.size - self.n_documents_
        self.split_ = split_corpus(codes, seed)
        clock.lap("read", codes.size)

        self._cache = cache = StageCache(folder, fresh=fresh)
        depends = [self.fingerprint_, seed]
        # the compressors take as long as all the rest, on one thread
        with run_beside(lambda stop: self._compress(cache, depends, stop), jobs) as references:
            self._find_words(cache, [*depends, self.max_length], jobs)
            clock.lap("words", codes.size)
            self._place_words(cache, [*depends, *self._settings()], seed)
            clock.lap("vectors", codes.size)
            self._find_communities(cache, [*depends, *self._settings()], seed, jobs)
            clock.lap("communities", codes.size)
            classes = Classes.from_communities(self.train_, self.placed_types_, self.labels_)
            self.ledger_: list[LedgerRow] = entropy_ledger(self.train_, classes, self.held_out_)
            self.references_ = references()
        self.words_ = self._word_table(classes)
        clock.lap("ledger", codes.size)
        self.seed_ = seed
        self.timings_ = clock.laps
        return self

    def similar(self, word: str, k: int = 10) -> list[tuple[str, float]]:
        """Return the `k` words nearest to `word` by the cosine of their vectors.

        Raises
        ------
        InputError
            If `word` has no vector.
        """
        check_is_fitted(self, "vectors_")
        check_int("k", k, minimum=1)
        index = self._place(word)
        lengths = np.linalg.norm(self.vectors_, axis=1)
        cosine = self.vectors_ @ self.vectors_[index] / np.maximum(lengths * lengths[index], 1e-30)
        cosine[index] = -np.inf
        best = np.argsort(-cosine, kind="stable")[: min(k, cosine.size - 1)]
        return [(self.placed_words_[i], float(cosine[i])) for i in best]

    def community(self, word: str) -> list[str]:
        """Return the words of the community of `word`, by falling flow."""
        check_is_fitted(self, "labels_")
        members = np.flatnonzero(self.labels_ == self.labels_[self._place(word)])
        ranked = members[np.argsort(-self.word_flow_[members], kind="stable")]
        return [self.placed_words_[i] for i in ranked]

    def write(self, folder: str | os.PathLike[str], *, title: str | None = None) -> Path:
        """Write page, tables and models to `folder`, each file atomically; return the folder."""
        from kexue.atlas.files import write_atlas

        check_is_fitted(self, "ledger_")
        return write_atlas(self, Path(folder), title or Path(folder).resolve().name)

    def forget_other_stages(self) -> None:
        """Remove from `workdir` the stages of other texts and parameters."""
        self._cache.prune()

    def _place(self, word: str) -> int:
        try:
            return self.placed_words_.index(word)
        except ValueError:
            raise InputError(
                f"{word!r} has no vector: words used at least min_count={self.min_count} times "
                "in the learned text have one"
            ) from None

    def _settings(self) -> list[Any]:
        return [self.max_length, self.min_count, self.vectors, self.n_components]

    def _compress(self, cache: StageCache, depends: list[Any], stop: Event) -> dict[str, float]:
        names = ("xz -9", "zstd -19")

        def compute() -> Arrays:
            bits = compressor_bits(self.split_.train, stop)
            return {"bits": np.array([bits[name] for name in names])}

        bits = cache.run("compressors", depends, compute)["bits"]
        return dict(zip(names, bits.tolist(), strict=True))

    def _find_words(self, cache: StageCache, depends: list[Any], jobs: int) -> None:
        from kexue.words import UnigramTokenizer, WordDiscoverer

        def compute() -> Arrays:
            found = WordDiscoverer(max_length=self.max_length, memory=self.memory, n_jobs=jobs)
            found.fit_codes(self.split_.train)
            symbols, offsets, counts = found.tokenizer_.lexicon
            starts = found.tokens_.starts
            return {"starts": starts, "symbols": symbols, "offsets": offsets, "counts": counts}

        found = cache.run("words", depends, compute)
        self.train_ = Tokens.from_starts(self.split_.train, found["starts"])
        self.tokenizer_ = UnigramTokenizer.from_spans(
            found["symbols"], found["offsets"], found["counts"]
        )
        self.held_out_ = None
        if self.split_.held_out.size:
            starts = self.tokenizer_.token_starts(self.split_.held_out)
            self.held_out_ = Tokens.from_starts(self.split_.held_out, starts)

    def _place_words(self, cache: StageCache, depends: list[Any], seed: int) -> None:
        from kexue.vectors import PPMI

        tokens = self.train_

        def compute() -> Arrays:
            ids = tokens.ids.astype(np.int64)
            ids[ids == tokens.end_id] = -1
            # words have words for company, not the blanks between them
            walk = ids[~tokens.blank[tokens.ids]]
            blanks = np.flatnonzero(tokens.blank & (tokens.counts >= self.min_count))
            vectors = np.zeros((blanks.size, self.n_components), np.float32)
            frequent = np.bincount(walk[walk >= 0], minlength=1) >= self.min_count
            if np.count_nonzero(frequent) < 2:
                return {"vectors": vectors, "placed": blanks}
            n_words = int(np.count_nonzero(frequent))
            model = PPMI(
                min(self.n_components, max(2, n_words // WORDS_PER_DIMENSION)),
                window=WINDOW,
                exponent=EXPONENT,
                min_count=self.min_count,
                random_state=seed,
            ).fit_ids(walk, tokens.first.size)
            placed = np.concatenate((model.words_, blanks))
            filled = np.pad(model.vectors_, ((0, blanks.size), (0, 0)))
            order = np.argsort(-tokens.counts[placed], kind="stable")
            return {"vectors": filled[order], "placed": placed[order]}

        found = cache.run("vectors", depends, compute)
        self.vectors_ = found["vectors"]
        self.placed_types_ = found["placed"]
        self.placed_words_ = [self.train_.spellings[i] for i in self.placed_types_]

    def _find_communities(
        self, cache: StageCache, depends: list[Any], seed: int, jobs: int
    ) -> None:
        from kexue.graph import Infomap, knn_graph

        n = self.vectors_.shape[0]

        def compute() -> Arrays:
            if n < 2:
                return _graph_arrays(sparse.csr_array((n, n)), np.arange(n), np.zeros(n), 0.0)
            graph = knn_graph(
                self.vectors_,
                n_neighbors=min(N_NEIGHBORS, n - 1),
                min_similarity=MIN_SIMILARITY,
                n_jobs=jobs,
            )
            model = Infomap(levels=2, flow="directed", random_state=seed, n_jobs=jobs).fit(graph)
            labels = by_use(model.labels_, self.train_.counts[self.placed_types_])
            return _graph_arrays(graph, labels, model.flow_, model.codelength_)

        found = cache.run("communities", depends, compute)
        self.similarity_ = sparse.csr_array(
            (found["data"], found["indices"], found["indptr"]), shape=(n, n)
        )
        self.labels_ = found["labels"]
        self.word_flow_ = found["flow"]
        self.codelength_ = float(found["codelength"][0])

    def _word_table(self, classes: Classes) -> Any:
        import polars as pl

        table = word_table(self.train_)
        number = classes.of_type - 1
        community = pl.DataFrame(
            {
                "word": self.train_.spellings,
                "community": pl.Series(number, dtype=pl.Int32).set(pl.Series(number < 1), None),
            }
        )
        return table.join(community, on="word", how="left", maintain_order="left")

    def _check_parameters(self) -> None:
        check_int("max_length", self.max_length, minimum=1, maximum=8)
        check_int("min_count", self.min_count, minimum=1)
        check_choice("vectors", self.vectors, ("ppmi",))
        check_int("n_components", self.n_components, minimum=1)
        parse_memory(self.memory)


def check_repeats(codes: np.ndarray) -> None:
    """Raise `InputError` unless some two neighbouring characters occur twice."""
    blank = np.zeros(DOCUMENT_END + 1, bool)
    blank[[DOCUMENT_END, *(c for c in range(0x3001) if chr(c).isspace())]] = True
    for size in (10**5, codes.size):  # almost every text repeats itself within its first pages
        left, right = codes[:size][:-1], codes[:size][1:]
        inside = ~blank[left] & ~blank[right]
        pairs = np.sort(left[inside].astype(np.uint64) << np.uint64(32) | right[inside])
        if np.any(pairs[1:] == pairs[:-1]):
            return
    raise InputError(
        f"nothing repeats: no two neighbouring characters occur twice in the {codes.size:,} "
        "characters given, blanks apart, so there is no structure to learn; give more text"
    )


def by_use(labels: np.ndarray, uses: np.ndarray) -> np.ndarray:
    """Number communities by how much of the text their words make up, lone words last.

    Not by flow: on a graph of nearest neighbours that gathers at odd words which happen to be
    near many others.
    """
    size, use = np.bincount(labels), np.bincount(labels, uses)
    order = np.lexsort((np.arange(size.size), -use, size == 1))
    number = np.empty(size.size, np.int64)
    number[order] = np.arange(size.size)
    return number[labels]


class _Clock:
    """Seconds between the stages."""

    def __init__(self, progress: Progress | None) -> None:
        self.laps: dict[str, float] = {}
        self._progress = progress
        self._last = time.perf_counter()

    def lap(self, name: str, characters: int) -> None:
        now = time.perf_counter()
        self.laps[name] = now - self._last
        self._last = now
        if self._progress is not None:
            self._progress(name, self.laps[name], characters)


def _graph_arrays(
    graph: sparse.csr_array, labels: np.ndarray, flow: np.ndarray, codelength: float
) -> Arrays:
    return {
        "data": np.asarray(graph.data, np.float64),
        "indices": np.asarray(graph.indices, np.int32),
        "indptr": np.asarray(graph.indptr, np.int64),
        "labels": np.asarray(labels, np.int64),
        "flow": np.asarray(flow, np.float64),
        "codelength": np.array([codelength]),
    }
