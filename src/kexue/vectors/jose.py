"""JoSE: vectors of words and documents, trained together on the unit sphere."""

from __future__ import annotations

import difflib
import hashlib
import itertools
import json
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from kexue._core import (
    InputError,
    atomic_path,
    check_choice,
    check_float,
    check_int,
    check_seed,
    effective_jobs,
    thread_map,
)
from kexue.vectors import _jose_kernels as kernels
from kexue.vectors._jose_training import (
    POWER,
    Settings,
    Tables,
    alias_table,
    read_tensors,
    train,
    write_tensors,
)
from kexue.vectors._token_lists import TokenLists, number_tokens, split_ids

if TYPE_CHECKING:
    import gensim.models

FORMAT = "kexue-jose-1"


class WordSimilarity(NamedTuple):
    """How cosines of words agree with people's judgements.

    Attributes
    ----------
    spearman : float
        Rank correlation over the pairs of known words; NaN of less than two.
    known : int
        Pairs of which both words are in the vocabulary.
    asked : int
        All pairs.
    """

    spearman: float
    known: int
    asked: int


class JoSE(TransformerMixin, BaseEstimator):
    r"""Vectors of words and documents on the unit sphere, from tokenized text.

    Every word has two vectors, u as a centre and v as a context, every document one, d. For each
    token and each neighbour in its window, and for words u' drawn at random, two hinges are made
    smaller, one of words and one of documents:

    .. math:: \max(0, m - u v + u' v) \quad \max(0, m - u d + u' d)

    by steps on the sphere, so that all vectors keep norm 1 and their cosines are what was trained.
    The documents are read in another order in every epoch: in file order, words drift with the
    topic under way, and documents that stand together in the file come out alike.

    Parameters
    ----------
    n_components : int
        Dimension of the vectors.
    window : int
        Largest distance of a neighbour; for each token a distance from 1 to this is drawn.
    negative : int
        Words drawn for each neighbour, by their counts to the power of 0.75.
    margin : float
        m, as a cosine.
    epochs : int
        Passes over the text.
    learning_rate : float
        At the beginning; it falls in a straight line to nearly 0.
    min_count : int
        Rarer words are left out.
    sample : float
        Words more frequent than this share are thinned out; 0 keeps all.
    objective : {"split", "joint"}
        ``"joint"`` is the paper's one loss, ``max(0, m - (u - u') (v + d))``.
    step : {"code", "paper"}
        The step of the authors' code, or that of the paper, for ``"split"``; the first pushes u'
        by twice its cosine with v.
    shuffle : bool
        False reads the documents in the order given, in every epoch.
    deterministic : bool
        The same bits for one seed, whatever `n_jobs`: the text is divided in up to 4 parts that
        are trained side by side on tables of their own, which are merged again and again. Otherwise
        threads share one table without locks, and only one thread gives the same bits again.
    n_jobs : int or None
        Threads: None means 1, -1 all processors.
    random_state : None, int, RandomState or Generator
    checkpoint : path, optional
        A file that receives the state after every epoch. If it is there, training goes on from it,
        if text, parameters and seed are the same; with `deterministic` or one thread to the bits
        of a run without a break. Needs an integer `random_state`. It is removed at the end.

    Attributes
    ----------
    words_ : list of str, or int64 array of token ids after `fit_ids`
        The vocabulary, most frequent first.
    vocabulary_ : dict
        Word to row.
    counts_ : int64 array of shape (n_words,)
    word_vectors_, context_vectors_ : float32 arrays of shape (n_words, n_components)
        u and v.
    doc_vectors_ : float32 array of shape (n_documents, n_components)
    empty_docs_ : bool array of shape (n_documents,)
        Documents without a word of the vocabulary; they have the mean direction of the others.
    loss_curve_ : list of float
        Mean hinge of every epoch.
    words_per_second_ : float
        Tokens read per second of training, all threads together.

    References
    ----------
    Meng et al., Spherical text embedding, NeurIPS 2019. kexue.fm, archives/7063.

    Examples
    --------
    >>> text = [["sun", "moon", "star"], ["bread", "wine", "salt"]] * 200
    >>> model = JoSE(16, random_state=0).fit(text)
    >>> sorted(word for word, _ in model.most_similar("sun", 2))
    ['moon', 'star']
    """

    words_: Any
    counts_: np.ndarray
    empty_docs_: np.ndarray
    loss_curve_: list[float]
    _seed: int

    def __init__(
        self,
        n_components: int = 100,
        *,
        window: int = 5,
        negative: int = 2,
        margin: float = 0.15,
        epochs: int = 10,
        learning_rate: float = 0.04,
        min_count: int = 5,
        sample: float = 1e-3,
        objective: Literal["split", "joint"] = "split",
        step: Literal["code", "paper"] = "code",
        shuffle: bool = True,
        deterministic: bool = False,
        n_jobs: int | None = None,
        random_state: Any = None,
        checkpoint: str | os.PathLike[str] | None = None,
    ) -> None:
        self.n_components = n_components
        self.window = window
        self.negative = negative
        self.margin = margin
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.min_count = min_count
        self.sample = sample
        self.objective = objective
        self.step = step
        self.shuffle = shuffle
        self.deterministic = deterministic
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.checkpoint = checkpoint

    def fit(self, documents: Any, y: None = None) -> JoSE:
        """Learn vectors from tokenized documents.

        Parameters
        ----------
        documents : iterable of sequences of str, pathlib.Path or Texts
            The tokens of each document. A path is a file of one document per line, its tokens
            parted by blanks; anything `kexue.corpus.read_texts` reads is divided so.
        y : None
            Ignored.

        Raises
        ------
        InputError
            On a bad parameter, or if less than three words occur `min_count` times.
        TypeError
            If a document is a string, or a token is none.
        """
        self._check_parameters()
        numbers: dict[str, int] = {}
        lists = number_tokens(documents, numbers)
        lists, rows = self._choose_words(lists, len(numbers))
        spelled = list(numbers)
        return self._fit(lists, [spelled[row] for row in rows.tolist()])

    def fit_ids(self, token_ids: Any, *, names: Sequence[str] | None = None) -> JoSE:
        """Learn vectors from token ids.

        Parameters
        ----------
        token_ids : integer array of shape (n,)
            Ids from 0, a negative one after every document.
        names : sequence of str, optional
            The words that the ids stand for, for `words_`; without them it holds ids.
        """
        self._check_parameters()
        lists = split_ids(token_ids)
        most = int(lists.ids.max()) + 1 if lists.ids.size else 0
        if names is not None and len(names) < most:
            raise InputError(f"names must hold a word for each of {most} ids, got {len(names)}")
        lists, rows = self._choose_words(lists, most)
        return self._fit(lists, rows if names is None else [names[row] for row in rows.tolist()])

    def partial_fit(self, documents: Any, y: None = None) -> JoSE:
        """Read more documents once, with the learning rate as it is at the beginning.

        The vocabulary is that of the first call, or of `fit`; other words are left out. The
        vectors of the documents are added to `doc_vectors_`, those of words go on from where they
        are, those of earlier documents stay. `checkpoint` is not used.

        Parameters
        ----------
        documents : as for `fit`
        y : None
            Ignored.
        """
        self._check_parameters()
        new = not hasattr(self, "word_vectors_")
        if new:
            numbers: dict[str, int] = {}
            lists, rows = self._choose_words(number_tokens(documents, numbers), len(numbers))
            spelled = list(numbers)
            self._begin(lists, [spelled[row] for row in rows.tolist()])
            self.loss_curve_, calls = [], 0
        else:
            lists = number_tokens(documents, self.vocabulary_, grow=False)
            self.counts_ = self.counts_ + lists.counts(len(self.words_))
            calls = len(self.loss_curve_)
        rng = np.random.default_rng([self._seed, calls])
        tables = Tables.random(len(self.words_), len(lists), self.n_components, rng)
        if not new:
            tables.centres, tables.contexts = self.word_vectors_, self.context_vectors_
        settings = replace(self._settings(), epochs=1, before=calls)
        began = time.perf_counter()
        losses = train(lists, self.counts_, self.sample, tables, settings)
        self.words_per_second_ = lists.ids.size / (time.perf_counter() - began)
        self.loss_curve_ = [*self.loss_curve_, *losses]
        empty = np.diff(lists.offsets) == 0
        self.empty_docs_ = empty if new else np.append(self.empty_docs_, empty)
        if not new:
            tables.documents = np.concatenate((self.doc_vectors_, tables.documents))
        self._keep(tables)
        return self

    def fit_transform(self, documents: Any, y: None = None) -> np.ndarray:
        """Learn vectors and return those of the documents."""
        return self.fit(documents).doc_vectors_

    def transform(self, documents: Any) -> np.ndarray:
        """Return vectors of other documents, the words standing still.

        Begins where the words of a document point, less where words drawn at random do, and
        trains on from there. A document's vector does not depend on the others.

        Parameters
        ----------
        documents : as for `fit`

        Returns
        -------
        float32 array of shape (n_documents, n_components)
            Rows of norm 1. A document without a known word has the mean direction of those that
            were learned from.
        """
        check_is_fitted(self, "word_vectors_")
        return self._infer(number_tokens(documents, self.vocabulary_, grow=False))

    def most_similar(
        self, word: Any, topn: int = 10, *, vectors: Literal["words", "documents"] = "words"
    ) -> list[tuple[Any, float]]:
        """Return the words, or the documents' indices, whose vectors have the largest cosines.

        Parameters
        ----------
        word : str, token id after `fit_ids`, or array of shape (n_components,)
            A word itself is left out of the answer.
        topn : int
        vectors : {"words", "documents"}

        Raises
        ------
        KeyError
            If the word is not in the vocabulary; names the words that are spelled most alike.
        """
        check_int("topn", topn, minimum=0)
        check_choice("vectors", vectors, ("words", "documents"))
        own = -1
        if isinstance(word, np.ndarray) and word.ndim:
            query = _unit(np.asarray(word, np.float32))
            if query.shape != (self.word_vectors_.shape[1],):
                raise InputError(
                    f"a vector must have shape ({self.word_vectors_.shape[1]},), got {query.shape}"
                )
        else:
            own = self._row(word)
            query = self.word_vectors_[own]
        table = self.word_vectors_ if vectors == "words" else self.doc_vectors_
        cosines = table @ query
        if vectors == "words" and own >= 0:
            cosines[own] = -np.inf
        best = np.argsort(-cosines, kind="stable")[: min(topn, cosines.size - (own >= 0))]
        names = self.words_ if vectors == "words" else range(len(table))
        return [(names[k], float(cosines[k])) for k in best.tolist()]

    def word_vector(self, word: Any) -> np.ndarray:
        """Return the vector of a word, float32 of shape (n_components,)."""
        return self.word_vectors_[self._row(word)]

    def word_similarity(self, pairs: Iterable[tuple[Any, Any, float]]) -> WordSimilarity:
        """Compare cosines with people's judgements of how similar words are.

        Parameters
        ----------
        pairs : iterable of (word, word, similarity)
            Those of unknown words are left out, which the result says.
        """
        from scipy.stats import spearmanr

        check_is_fitted(self, "word_vectors_")
        asked = list(pairs)
        known = [p for p in asked if p[0] in self.vocabulary_ and p[1] in self.vocabulary_]
        if len(known) < 2:
            return WordSimilarity(float("nan"), len(known), len(asked))
        first, second = (self.word_vectors_[[self._row(p[k]) for p in known]] for k in (0, 1))
        cosines = np.einsum("ij,ij->i", first, second)
        rank = float(spearmanr(cosines, [p[2] for p in known]).statistic)
        return WordSimilarity(rank, len(known), len(asked))

    def score(self, pairs: Iterable[tuple[Any, Any, float]], y: None = None) -> float:
        """Return Spearman's correlation of `word_similarity`."""
        return self.word_similarity(pairs).spearman

    def export(self, path: str | os.PathLike[str]) -> None:
        """Write the word vectors in the text format of word2vec, atomically.

        gensim reads it by ``KeyedVectors.load_word2vec_format``.

        Raises
        ------
        InputError
            If a word holds white space, which the format cannot hold.
        """
        check_is_fitted(self, "word_vectors_")
        for word in self.words_:
            if str(word).split() != [str(word)]:
                raise InputError(
                    f"word2vec's format cannot hold the word {word!r}: a blank is in it"
                )
        with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
            file.write("{} {}\n".format(*self.word_vectors_.shape))
            for word, vector in zip(self.words_, self.word_vectors_, strict=True):
                file.write(f"{word} {' '.join(map(repr, vector.astype(float).tolist()))}\n")

    def to_gensim(self) -> gensim.models.KeyedVectors:
        """Return the word vectors as gensim's `KeyedVectors`."""
        from gensim.models import KeyedVectors

        check_is_fitted(self, "word_vectors_")
        keyed = KeyedVectors(self.word_vectors_.shape[1])
        keyed.add_vectors(list(map(str, self.words_)), self.word_vectors_)
        return keyed

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted model as one file of safetensors, atomically."""
        check_is_fitted(self, "word_vectors_")
        about = {
            "format": FORMAT,
            "parameters": {
                name: value
                for name, value in self.get_params().items()
                if name not in ("random_state", "checkpoint")
            },
            "loss_curve": self.loss_curve_,
            "words_per_second": self.words_per_second_,
            "seed": self._seed,
        }
        spelled = json.dumps(self._plain(self.words_))
        tensors = {
            "words": np.frombuffer(spelled.encode(), np.uint8),
            "counts": self.counts_,
            "word_vectors": self.word_vectors_,
            "context_vectors": self.context_vectors_,
            "doc_vectors": self.doc_vectors_,
            "empty_docs": self.empty_docs_,
        }
        write_tensors(Path(path), about, tensors)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> JoSE:
        """Read a model that `save` wrote.

        Raises
        ------
        InputError
            If the file is no such model.
        """
        about, tensors = read_tensors(path, FORMAT)
        model = cls(**about["parameters"])
        words = json.loads(tensors["words"].tobytes())
        integers = bool(words) and isinstance(words[0], int)
        model.words_ = np.array(words, np.int64) if integers else words
        model.vocabulary_ = {word: row for row, word in enumerate(words)}
        model.counts_ = tensors["counts"]
        model.word_vectors_ = tensors["word_vectors"]
        model.context_vectors_ = tensors["context_vectors"]
        model.doc_vectors_ = tensors["doc_vectors"]
        model.empty_docs_ = tensors["empty_docs"]
        model.loss_curve_ = about["loss_curve"]
        model.words_per_second_ = about["words_per_second"]
        model._seed = about["seed"]
        return model

    def _fit(self, lists: TokenLists, words: Any) -> JoSE:
        """Train on documents whose ids are places in `words`."""
        self._begin(lists, words)
        tables = Tables.random(
            len(words), len(lists), self.n_components, np.random.default_rng(self._seed)
        )
        checkpoint = None if self.checkpoint is None else Path(self.checkpoint)
        fingerprint = "" if checkpoint is None else self._fingerprint(lists)
        began = time.perf_counter()
        self.loss_curve_ = train(
            lists, self.counts_, self.sample, tables, self._settings(), checkpoint, fingerprint
        )
        seconds = time.perf_counter() - began
        self.words_per_second_ = lists.ids.size * self.epochs / seconds
        self.empty_docs_ = np.diff(lists.offsets) == 0
        self._keep(tables)
        return self

    def _begin(self, lists: TokenLists, words: Any) -> None:
        self.words_ = words
        self.vocabulary_ = {word: row for row, word in enumerate(self._plain(words))}
        self.counts_ = lists.counts(len(words))
        self._seed = check_seed(self.random_state)

    def _settings(self) -> Settings:
        return Settings(
            window=self.window,
            negative=self.negative,
            epochs=self.epochs,
            margin=self.margin,
            rate=self.learning_rate,
            joint=self.objective == "joint",
            paper=self.step == "paper",
            shuffle=self.shuffle,
            deterministic=self.deterministic,
            seed=self._seed,
            n_jobs=effective_jobs(self.n_jobs),
        )

    def _keep(self, tables: Tables) -> None:
        self.word_vectors_ = tables.centres
        self.context_vectors_ = tables.contexts
        self.doc_vectors_ = tables.documents
        self.doc_vectors_[self.empty_docs_] = self._mean_direction()

    @property
    def _n_features_out(self) -> int:
        return int(self.word_vectors_.shape[1])

    def _choose_words(self, lists: TokenLists, n: int) -> tuple[TokenLists, np.ndarray]:
        """Return the documents in numbers of the words that are frequent enough, and these."""
        counts = lists.counts(n)
        if not lists.ids.size:
            raise InputError("there is no token in the documents")
        order = np.argsort(-counts, kind="stable")
        chosen = order[counts[order] >= self.min_count]
        if chosen.size < 3:
            raise InputError(
                f"{chosen.size} words occur min_count={self.min_count} times, and 3 are needed; "
                f"{np.count_nonzero(counts) - chosen.size} were dropped: lower min_count or give "
                "more text"
            )
        new = np.full(n, -1, np.int32)
        new[chosen] = np.arange(chosen.size)
        return lists.renumbered(new), chosen

    def _infer(self, lists: TokenLists) -> np.ndarray:
        vectors = self.word_vectors_
        n, dim = len(lists), vectors.shape[1]
        weights = self.counts_**POWER
        drawn = (weights @ vectors / weights.sum()).astype(np.float32)
        found = np.empty((n, dim), np.float32)
        share, alias = alias_table(self.counts_)
        epochs = max(self.epochs, 1)
        rates = (self.learning_rate * (1 - np.arange(epochs) / epochs)).astype(np.float32)
        seed = np.uint64(self._seed << 32)

        def part(bounds: tuple[int, int]) -> None:
            for k in range(*bounds):
                rows = lists.ids[lists.offsets[k] : lists.offsets[k + 1]]
                if rows.size:
                    found[k] = _unit(vectors[rows].mean(axis=0) - drawn)
            kernels.infer_documents(
                lists.ids, lists.offsets, *bounds, rates, share, alias, vectors,
                dim, self.negative, np.float32(self.margin), seed, found,
            )  # fmt: skip

        jobs = effective_jobs(self.n_jobs)
        edges = np.linspace(0, n, jobs + 1).astype(int).tolist()
        thread_map(part, itertools.pairwise(edges), jobs)
        found[np.diff(lists.offsets) == 0] = self._mean_direction()
        return found

    def _mean_direction(self) -> np.ndarray:
        # a product, since a selection would be a copy of the documents
        return _unit((~self.empty_docs_).astype(np.float32) @ self.doc_vectors_)

    def _row(self, word: Any) -> int:
        check_is_fitted(self, "word_vectors_")
        if isinstance(word, np.generic):
            word = word.item()
        row = self.vocabulary_.get(word)
        if row is None:
            known = [name for name in self.vocabulary_ if isinstance(name, str)]
            near = difflib.get_close_matches(str(word), known, 3) if len(known) < 10**6 else []
            hint = f"; near it: {', '.join(near)}" if near else ""
            raise KeyError(f"{word!r} is not in the vocabulary of {len(self.words_):,} words{hint}")
        return int(row)

    @staticmethod
    def _plain(words: Any) -> list[Any]:
        return words if isinstance(words, list) else words.tolist()

    def _fingerprint(self, lists: TokenLists) -> str:
        """Return what tells whether a checkpoint belongs to this text and these parameters."""
        ignored = ("checkpoint", "n_jobs", "random_state")
        own = {name: value for name, value in self.get_params().items() if name not in ignored}
        digest = hashlib.sha256(json.dumps([own, self._seed], sort_keys=True).encode())
        for values in (lists.offsets, lists.ids):
            digest.update(np.ascontiguousarray(values).data)
        return digest.hexdigest()

    def _check_parameters(self) -> None:
        check_int("n_components", self.n_components, minimum=1)
        check_int("window", self.window, minimum=1)
        check_int("negative", self.negative, minimum=1)
        check_float("margin", self.margin, minimum=0, maximum=2)
        check_int("epochs", self.epochs, minimum=0)
        check_float("learning_rate", self.learning_rate, minimum=0, maximum=1)
        check_int("min_count", self.min_count, minimum=1)
        check_float("sample", self.sample, minimum=0)
        check_choice("objective", self.objective, ("split", "joint"))
        check_choice("step", self.step, ("code", "paper"))
        effective_jobs(self.n_jobs)
        check_seed(self.random_state)
        if self.checkpoint is not None and not isinstance(self.random_state, int | np.integer):
            raise InputError(
                "checkpoint needs an integer random_state, since a run can only go on with the "
                f"seed it began with; got {self.random_state!r}"
            )


def _unit(vector: np.ndarray) -> np.ndarray:
    norm = np.linalg.norm(vector)
    return vector / norm if norm else vector
