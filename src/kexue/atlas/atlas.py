"""From raw text to its words, their vectors, their communities and what each is worth."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
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
from kexue.atlas.exchange import exchange
from kexue.atlas.layout import Plane, lay_out, plane_beside
from kexue.atlas.ledger import (
    END,
    Classes,
    HeldOut,
    LedgerRow,
    class_price,
    compressor_bits,
    entropy_ledger,
)
from kexue.atlas.levels import communities_at, numbered_by_use, spelled_paths
from kexue.atlas.placing import (
    document_vectors,
    find_communities,
    nearest_words,
    similarity_network,
    word_vectors,
)
from kexue.atlas.splitting import check_repeats, split_corpus
from kexue.atlas.stages import Arrays, Clock, Progress, StageCache
from kexue.atlas.succession import Succession, closed_walk, succession_network
from kexue.corpus.executors import Executor, check_executor
from kexue.corpus.texts import DOCUMENT_END, as_texts
from kexue.words.tokens import Tokens, bits_saved, word_table


class Atlas(BaseEstimator):
    """Learn the words of a corpus, how they group, and what each grouping is worth in bits.

    A tenth of the text is kept back. On the rest words are discovered
    (`kexue.words.WordDiscoverer`), given vectors by the company they keep (`kexue.vectors`),
    joined to their nearest neighbours and grouped by the map equation in as many levels as it
    takes (`kexue.graph.Infomap`). The ledger states what the text costs after each step.

    Parameters
    ----------
    max_length : int in [1, 8]
        Longest word to be found in scripts without blanks.
    min_count : int
        Words used less often have no vector and no community.
    vectors : {"ppmi", "jose"}
        Vectors of the words right before and after (`kexue.vectors.PPMI`), whose communities
        are of words that can stand for each other and code text best; or of a wider company
        (`kexue.vectors.JoSE`), whose communities are of words of one topic.
    n_components : int
        Dimension of the vectors; at most a quarter of the number of words.
    succession : bool
        Look for communities in the network of which word follows which, too: in logs and other
        text by templates there are some.
    layout : bool
        Place the words on a map.
    random_state : None, int, RandomState or Generator
        Draws the held-out part, the SVD's start, Infomap's order of visits and the layout's start.
    n_jobs : int or None
        Threads: None means 1, -1 all processors. The result is the same for any number.
    memory : int or str
        Most bytes for counting, see `kexue.corpus.count_ngrams`.
    workdir : path or None
        Folder where finished stages are kept; a later `fit` on the same text with the same
        parameters and versions takes them from there. For one run at a time.
    executor : {"thread", "process", "dask"} or distributed.Client
        Where words are discovered, see `kexue.words.WordDiscoverer`; all else is done here. The
        result is the same.

    Attributes
    ----------
    words_ : polars.DataFrame
        Every token type of the learned text, columns as in `kexue.words.word_table` and
        ``community``, the path of its community at `level_` as in a tree file, such as
        ``"3:1"``; ``class``, its class in the last row of the ledger, from 1; ``flow``, as in
        `word_flow_`; ``x`` and ``y``, its place on the map. Null for words that have none.
    tokenizer_ : UnigramTokenizer
    vectors_ : float32 array of shape (n_placed, n_components)
        White space, which is skipped when neighbours are counted, has the zero vector, and so has
        a word whose company tells it apart from no other.
    placed_words_ : list of str
        The words that have vectors, most frequent first.
    paths_ : int64 array of shape (n_placed, depth)
        The community of each of these words at every level from the top: its place among its
        siblings, -1 below the innermost. Those that make up most of the text first, and last the
        words, such as the comma, that joined no community and stand alone. One less than the
        numbers in tables, in the tree and on the page.
    level_ : int
        The level, from 1, whose communities code the held-out text best.
    labels_ : int64 array of shape (n_placed,)
        The communities at that level, numbered along the paths.
    word_flow_ : float64 array of shape (n_placed,)
        Share of an endless walk on `similarity_` spent at each word.
    codelength_ : float
        Bits per step of that walk under the map equation.
    positions_ : float32 array of shape (n_placed, 2)
        Places on the map; NaN where there is none.
    similarity_ : scipy.sparse.csr_array of shape (n_placed, n_placed)
        Cosines of each word's nearest neighbours.
    succession_ : Succession or None
        With `succession`: which token type follows which, and the communities of that network.
    ledger_ : list of LedgerRow
    references_ : dict of str to float
        Bits per character of the learned text under general compressors.
    train_, held_out_ : Tokens
        The two parts, segmented; `held_out_` is None if the text was too short.
    placed_types_ : int64 array of shape (n_placed,)
        The types of `train_` that have vectors.
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
    >>> Atlas.load("novel-atlas").similar("word")  # doctest: +SKIP
    """

    def __init__(
        self,
        max_length: int = 4,
        min_count: int = 5,
        vectors: Literal["ppmi", "jose"] = "ppmi",
        succession: bool = False,
        n_components: int = 100,
        random_state: Any = None,
        n_jobs: int | None = None,
        memory: int | str = "2GB",
        workdir: str | os.PathLike[str] | None = None,
        *,
        layout: bool = True,
        executor: Executor = "thread",
    ) -> None:
        self.max_length = max_length
        self.min_count = min_count
        self.vectors = vectors
        self.succession = succession
        self.n_components = n_components
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.memory = memory
        self.workdir = workdir
        self.layout = layout
        self.executor = executor

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
            Called as ``progress(stage, seconds, characters)``: when a stage begins with
            ``seconds=None``, after it with the seconds it took.

        Raises
        ------
        InputError
            On a bad parameter, or if nothing in the text repeats.
        """
        self._check_parameters()
        seed = check_seed(self.random_state)
        jobs = effective_jobs(self.n_jobs)
        folder = None if self.workdir is None else Path(self.workdir) / ".stages"
        clock = Clock(progress)
        self.__dict__.pop("positions_", None)  # of an earlier fit, should there be no map this time

        with clock.stage("read") as lap:
            codes = as_texts(texts).codes()
            check_repeats(codes)
            self.fingerprint_ = hashlib.sha256(np.ascontiguousarray(codes, "<u4").data).hexdigest()
            self.n_documents_ = int(np.count_nonzero(codes == DOCUMENT_END))
            self.n_characters_ = codes.size - self.n_documents_
            self.split_ = split_corpus(codes, seed)
            lap.characters = codes.size

        self._cache = cache = StageCache(folder, fresh=fresh)
        given = [self.fingerprint_, seed]
        placed = [*given, self.max_length, self.min_count, self.vectors, self.n_components]
        beside = jobs > 1 and self.layout and not cache.has("map", placed)
        # the compressors take as long as all the rest, on one thread
        with (
            run_beside(lambda stop: self._compress(cache, given, stop), jobs) as references,
            plane_beside(beside) as plane,
        ):
            with clock.stage("words"):
                self._find_words(cache, [*given, self.max_length], jobs)
                held_out = HeldOut.read(self.train_, self.held_out_) if self.held_out_ else None
            with clock.stage("vectors"):
                self._place_words(cache, placed, seed, jobs)
            with clock.stage("communities"):
                self._find_communities(cache, placed, seed, jobs)
            with clock.stage("exchange"):
                classes, exchanged = self._exchange(cache, placed, held_out)
            if self.layout:
                with clock.stage("map"):
                    self._lay_out(cache, placed, seed, plane)
            self.succession_: Succession | None = None
            if self.succession:
                with clock.stage("succession"):
                    self._find_succession(cache, [*given, self.max_length], seed, jobs)
            with clock.stage("ledger"):
                self.ledger_: list[LedgerRow] = entropy_ledger(
                    self.train_, classes, exchanged, held_out
                )
                self.words_ = self._word_table(exchanged)
                self.references_ = references()
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
        from kexue.vectors._nearest import nearest_rows

        check_is_fitted(self, "vectors_")
        check_int("k", k, minimum=1)
        own = self._place(word)
        if not self.vectors_[own].any():
            raise InputError(f"{word!r} has no direction: it keeps no company that tells it apart")
        found = nearest_rows(self.vectors_, self.vectors_[own], k, own)
        return [(self.placed_words_[row], cosine) for row, cosine in found]

    def community(self, word: str) -> list[str]:
        """Return the words of the community of `word`, by falling flow."""
        check_is_fitted(self, "labels_")
        members = np.flatnonzero(self.labels_ == self.labels_[self._place(word)])
        ranked = members[np.argsort(-self.word_flow_[members], kind="stable")]
        return [self.placed_words_[i] for i in ranked]

    def transform(self, texts: Any) -> np.ndarray:
        """Return vectors of texts: the mean of their words' vectors, frequent words weighing less.

        Parameters
        ----------
        texts : Texts, pathlib.Path, iterable of str or callable returning one

        Returns
        -------
        float32 array of shape (n_texts, n_components)
            Rows of norm 1, or zero where no word has a vector, as in an empty text. In files there
            are no empty documents.
        """
        check_is_fitted(self, "vectors_")
        if isinstance(texts, Iterator):
            texts = list(texts)
        elif callable(texts):
            texts = list(texts())
        given = as_texts(texts)
        filled = None if given is texts or isinstance(texts, Path) else [t != "" for t in texts]
        if filled is not None and not any(filled):
            return np.zeros((len(filled), self.vectors_.shape[1]), np.float32)
        codes = given.codes()
        tokens = Tokens.from_starts(codes, self.tokenizer_.token_starts(codes))
        ends = tokens.ids == tokens.end_id
        documents = np.arange(ends.sum()) if filled is None else np.flatnonzero(filled)
        parts = [(tokens, documents[np.cumsum(ends) - ends])]
        return self._document_vectors(parts, documents.size if filled is None else len(filled))

    @property
    def document_vectors_(self) -> np.ndarray:
        """Vectors of the documents learned from and kept back, in their order, as `transform`.

        Empty documents are left out.
        """
        check_is_fitted(self, "split_")
        parts = []
        for tokens, numbers in (
            (self.train_, self.split_.train_documents),
            (self.held_out_, self.split_.held_out_documents),
        ):
            if tokens is not None:
                ends = tokens.ids == tokens.end_id
                parts.append((tokens, numbers[np.cumsum(ends) - ends]))
        return self._document_vectors(parts, self.n_documents_)

    def _document_vectors(self, parts: list[tuple[Tokens, np.ndarray]], n: int) -> np.ndarray:
        row = {word: k for k, word in enumerate(self.placed_words_)}
        rows = [
            np.array([row.get(word, -1) for word in tokens.spellings], np.int64)[tokens.ids]
            for tokens, _ in parts
        ]
        documents = np.concatenate([numbers for _, numbers in parts])
        uses = self.words_.select("word", "count")
        count = dict(uses.iter_rows())
        shares = np.array([count[word] for word in self.placed_words_]) / uses["count"].sum()
        return document_vectors(np.concatenate(rows), documents, n, self.vectors_, shares)

    def write(self, folder: str | os.PathLike[str], *, title: str | None = None) -> Path:
        """Write page, tables and models to `folder`, each file atomically; return the folder."""
        from kexue.atlas.files import write_atlas

        check_is_fitted(self, "ledger_")
        if not hasattr(self, "train_"):
            raise InputError("an atlas that was loaded is in its folder; copy that")
        return write_atlas(self, Path(folder), title or Path(folder).resolve().name)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Atlas:
        """Return the atlas in a folder: its words, vectors, communities, map and ledger.

        The text is not in the folder, so what comes from it is not restored: `train_`,
        `held_out_`, `document_vectors_`, `similarity_`, `succession_`.

        Raises
        ------
        InputError
            If `folder` is not an atlas.
        """
        from kexue.atlas.files import read_atlas

        return read_atlas(cls, Path(folder))

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
            found = WordDiscoverer(
                max_length=self.max_length,
                memory=self.memory,
                n_jobs=jobs,
                executor=self.executor,
            ).fit_codes(self.split_.train)
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

    def _place_words(self, cache: StageCache, depends: list[Any], seed: int, jobs: int) -> None:
        def compute() -> Arrays:
            vectors, placed = word_vectors(
                self.train_,
                kind=self.vectors,
                n_components=self.n_components,
                min_count=self.min_count,
                seed=seed,
                n_jobs=jobs,
            )
            return {"vectors": vectors, "placed": placed}

        found = cache.run("vectors", depends, compute)
        self.vectors_ = found["vectors"]
        self.placed_types_ = found["placed"]
        self.placed_words_ = [self.train_.spellings[i] for i in self.placed_types_]

    def _find_communities(
        self, cache: StageCache, depends: list[Any], seed: int, jobs: int
    ) -> None:
        n = self.vectors_.shape[0]

        def compute() -> Arrays:
            nearest = nearest_words(self.vectors_, jobs)
            graph = similarity_network(nearest)
            paths, flow, bits, _ = find_communities(graph, flow="directed", seed=seed, n_jobs=jobs)
            return {
                "data": np.asarray(nearest.data, np.float64),
                "indices": np.asarray(nearest.indices, np.int32),
                "indptr": np.asarray(nearest.indptr, np.int64),
                "paths": numbered_by_use(paths, self.train_.counts[self.placed_types_]),
                "flow": np.asarray(flow, np.float64),
                "codelength": np.array([bits]),
            }

        found = cache.run("communities", depends, compute)
        self._nearest = sparse.csr_array(
            (found["data"], found["indices"], found["indptr"]), shape=(n, n)
        )
        self.similarity_ = similarity_network(self._nearest)
        self.paths_ = found["paths"]
        self.word_flow_ = found["flow"]
        self.codelength_ = float(found["codelength"][0])

    def _exchange(
        self, cache: StageCache, depends: list[Any], held_out: HeldOut | None
    ) -> tuple[Classes, Classes]:
        """Choose the level of the ledger, and move words between its communities."""

        def classes(level: int) -> Classes:
            labels = communities_at(self.paths_, level)
            return Classes.from_communities(self.train_, self.placed_types_, labels)

        def compute() -> Arrays:
            levels = range(1, self.paths_.shape[1] + 1)
            prices = [class_price(self.train_, classes(level), held_out) for level in levels]
            level = levels[int(np.argmin(prices))]
            moved = exchange(self.train_, classes(level))
            return {"level": np.array([level]), "classes": moved.of_type}

        found = cache.run("exchange", depends, compute)
        self.level_ = int(found["level"][0])
        self.labels_ = communities_at(self.paths_, self.level_)
        numbers = found["classes"][self.placed_types_] - END - 1
        moved = Classes.from_communities(self.train_, self.placed_types_, numbers)
        return classes(self.level_), moved

    def _lay_out(self, cache: StageCache, depends: list[Any], seed: int, plane: Plane) -> None:
        def compute() -> Arrays:
            worth = bits_saved(self.train_)[self.placed_types_]
            return {"positions": lay_out(self.vectors_, self._nearest, worth, seed, plane)}

        self.positions_ = cache.run("map", depends, compute)["positions"]

    def _find_succession(self, cache: StageCache, depends: list[Any], seed: int, jobs: int) -> None:
        def compute() -> Arrays:
            found = succession_network(self.train_, seed, jobs)
            return {"paths": found.paths, "bits": np.array([found.codelength, found.one_level])}

        found = cache.run("succession", depends, compute)
        self.succession_ = Succession(
            closed_walk(self.train_), found["paths"], *found["bits"].tolist()
        )

    def _word_table(self, exchanged: Classes) -> Any:
        import polars as pl

        table = word_table(self.train_)
        number = exchanged.of_type - END
        columns = {
            "word": pl.Series(self.placed_words_, dtype=pl.String),
            "community": pl.Series(spelled_paths(self.paths_, self.level_), dtype=pl.String),
            "class": pl.Series(number[self.placed_types_], dtype=pl.Int32),
            "flow": pl.Series(self.word_flow_, dtype=pl.Float64),
        }
        if self.layout:
            for name, places in zip("xy", self.positions_.T, strict=True):
                columns[name] = pl.Series(places, dtype=pl.Float32).fill_nan(None)
        return table.join(pl.DataFrame(columns), on="word", how="left", maintain_order="left")

    def _check_parameters(self) -> None:
        check_int("max_length", self.max_length, minimum=1, maximum=8)
        check_int("min_count", self.min_count, minimum=1)
        check_choice("vectors", self.vectors, ("ppmi", "jose"))
        check_int("n_components", self.n_components, minimum=1)
        for name in ("layout", "succession"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} must be True or False, got {getattr(self, name)!r}")
        parse_memory(self.memory)
        check_executor(self.executor)
