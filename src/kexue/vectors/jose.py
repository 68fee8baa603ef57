"""JoSE: vectors of words and documents, trained together on the unit sphere."""

from __future__ import annotations

import difflib
import os
import time
from collections.abc import Hashable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from kexue._core import (
    InputError,
    check_choice,
    check_float,
    check_int,
    check_seed,
    effective_jobs,
    require,
)
from kexue.vectors import _jose_files as model_files
from kexue.vectors._jose_inference import infer, unit
from kexue.vectors._jose_training import Settings, Tables, fingerprint, train
from kexue.vectors._nearest import nearest_rows
from kexue.vectors._token_lists import TokenLists, choose_words, number_tokens, split_ids
from kexue.vectors.files import write_word2vec
from kexue.vectors.word_similarity import JudgedPairs, WordSimilarity, agreement

if TYPE_CHECKING:
    import gensim.models


class JoSE(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
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
        In the order of the documents, whatever the order of training.
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
        lists, rows = choose_words(lists, len(numbers), self.min_count)
        spelled = list(numbers)
        return self._fit(lists, [spelled[row] for row in rows.tolist()])

    def fit_ids(self, token_ids: Any, *, names: Sequence[str] | None = None) -> JoSE:
        """Learn vectors from token ids.

        Parameters
        ----------
        token_ids : integer array of shape (n,)
            Ids from 0 and less than 2**31, a negative one after every document. Memory goes by
            the largest.
        names : sequence of str, optional
            The words that the ids stand for, for `words_`; without them it holds ids.

        Raises
        ------
        InputError
            As `fit` does, for other arrays and larger ids, and for names that are too few or of
            which two are the same.
        TypeError
            If a name is no string.
        """
        self._check_parameters()
        lists = split_ids(token_ids)
        most = int(lists.ids.max()) + 1 if lists.ids.size else 0
        if names is not None and len(names) < most:
            raise InputError(f"names must hold a word for each of {most} ids, got {len(names)}")
        lists, rows = choose_words(lists, most, self.min_count)
        if names is None:
            return self._fit(lists, rows)
        words = [names[row] for row in rows.tolist()]
        for row, word in zip(rows.tolist(), words, strict=True):
            if not isinstance(word, str):
                raise TypeError(f"names must be str, got {word!r} for id {row}")
        if len(set(words)) < len(words):
            twice = next(word for k, word in enumerate(words) if word in words[:k])
            raise InputError(f"names must differ, got {twice!r} for more than one id")
        return self._fit(lists, words)

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

        Raises
        ------
        InputError, TypeError
            As `fit` does, and if `n_components` is no longer what it was.
        """
        self._check_parameters()
        new = not hasattr(self, "word_vectors_")
        if not new and self.n_components != self._n_features_out:
            raise InputError(
                f"n_components must stay {self._n_features_out}, the length of the vectors that "
                f"partial_fit goes on with, got {self.n_components}; fit begins anew"
            )
        if new:
            numbers: dict[str, int] = {}
            lists = number_tokens(documents, numbers)
            lists, rows = choose_words(lists, len(numbers), self.min_count)
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
            # joblib may have mapped them from a file, to be read only
            tables.centres = np.require(self.word_vectors_, np.float32, ["C", "W"])
            tables.contexts = np.require(self.context_vectors_, np.float32, ["C", "W"])
        settings = replace(self._settings(), epochs=1, before=calls)
        began = time.perf_counter()
        losses, _ = train(lists, self.counts_, self.sample, tables, settings)
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
            were learned from. Of documents that were learned from, not the rows of
            `doc_vectors_`, but near them: compare vectors of one kind.

        Raises
        ------
        TypeError
            As `fit` does; after `fit_ids` without names, tokens are ids.
        """
        check_is_fitted(self, "word_vectors_")
        lists = number_tokens(documents, self.vocabulary_, grow=False)
        found = infer(lists, self.word_vectors_, self.counts_, self._settings())
        found[np.diff(lists.offsets) == 0] = self._mean_direction()
        return found

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
        InputError
            For a vector of another length, of zeros, and for NaN or infinity.
        """
        check_int("topn", topn, minimum=0)
        check_choice("vectors", vectors, ("words", "documents"))
        check_is_fitted(self, "word_vectors_")
        own = -1
        if isinstance(word, np.ndarray) and word.ndim:
            query = np.asarray(word, np.float32)
            if query.shape != (self._n_features_out,):
                raise InputError(
                    f"a vector must have shape ({self._n_features_out},), got {query.shape}"
                )
            if not np.isfinite(query).all():
                raise InputError("a vector must be finite, got NaN or infinity")
            if not query.any():
                raise InputError("a vector must point somewhere, got zeros")
        else:
            own = self._row(word)
            query = self.word_vectors_[own]
        if vectors == "documents":
            return nearest_rows(self.doc_vectors_, query, topn)
        found = nearest_rows(self.word_vectors_, query, topn, own)
        return [(self.words_[row], cosine) for row, cosine in found]

    def word_vector(self, word: Any) -> np.ndarray:
        """Return the vector of a word, float32 of shape (n_components,)."""
        row = self._row(word)
        return self.word_vectors_[row]

    def word_similarity(self, pairs: JudgedPairs) -> WordSimilarity:
        """Compare cosines with people's judgements of how similar words are.

        Parameters
        ----------
        pairs : iterable of (word, word, similarity)
            A similarity is a number, or a string that spells one, as files have it. Those of
            unknown words are left out, which the result says.

        Raises
        ------
        InputError
            For what is no such triple, and for a similarity that is not finite.
        TypeError
            If `pairs` is a string.
        """
        check_is_fitted(self, "word_vectors_")
        return agreement(self.word_vectors_, self.vocabulary_, pairs)

    def score(self, pairs: JudgedPairs, y: None = None) -> float:
        """Return Spearman's correlation of `word_similarity`."""
        return self.word_similarity(pairs).spearman

    def export(self, path: str | os.PathLike[str]) -> None:
        """Write the word vectors in the text format of word2vec, atomically.

        gensim reads it by ``KeyedVectors.load_word2vec_format``.

        Raises
        ------
        InputError
            If a word is empty, holds white space, or is no Unicode, which the format cannot hold.
        """
        check_is_fitted(self, "word_vectors_")
        write_word2vec(path, self.words_, self.word_vectors_)

    def to_gensim(self) -> gensim.models.KeyedVectors:
        """Return the word vectors as gensim's `KeyedVectors`.

        Raises
        ------
        ImportError
            Without gensim, which is in the extra ``bench``.
        """
        models = require("gensim.models", extra="bench", purpose="JoSE.to_gensim")
        check_is_fitted(self, "word_vectors_")
        keyed = models.KeyedVectors(self.word_vectors_.shape[1])
        keyed.add_vectors(list(map(str, self.words_)), self.word_vectors_)
        return keyed

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted model as one file of safetensors, atomically."""
        check_is_fitted(self, "word_vectors_")
        about = {
            "parameters": {
                name: value
                for name, value in self.get_params().items()
                if name not in ("random_state", "checkpoint")
            },
            "loss_curve": self.loss_curve_,
            "words_per_second": self.words_per_second_,
            "seed": self._seed,
        }
        tensors = {
            "counts": self.counts_,
            "word_vectors": self.word_vectors_,
            "context_vectors": self.context_vectors_,
            "doc_vectors": self.doc_vectors_,
            "empty_docs": self.empty_docs_,
        }
        model_files.write_model(path, about, self._plain(self.words_), tensors)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> JoSE:
        """Read a model that `save` wrote.

        Raises
        ------
        InputError
            If the file is no such model, or damaged.
        """
        about, words, tensors = model_files.read_model(path)
        try:
            model = cls(**about["parameters"])
        except TypeError as error:
            raise InputError(f"{os.fspath(path)} has other parameters: {error}") from error
        model._check_parameters()
        model.words_ = np.array(words, np.int64) if isinstance(words[0], int) else words
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
        own = "" if checkpoint is None else fingerprint(self.get_params(), self._seed, lists)
        began = time.perf_counter()
        self.loss_curve_, epochs = train(
            lists, self.counts_, self.sample, tables, self._settings(), checkpoint, own
        )
        seconds = time.perf_counter() - began
        self.words_per_second_ = lists.ids.size * epochs / seconds
        self.empty_docs_ = np.diff(lists.offsets) == 0
        self._keep(tables)
        return self

    def _begin(self, lists: TokenLists, words: Any) -> None:
        # vectors of an earlier fit are not those of the words of one that is interrupted
        self.__dict__.pop("word_vectors_", None)
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

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        return tags

    @property
    def _n_features_out(self) -> int:
        return int(self.word_vectors_.shape[1])

    def _mean_direction(self) -> np.ndarray:
        # a product, since a selection would be a copy of the documents
        return unit((~self.empty_docs_).astype(np.float32) @ self.doc_vectors_)

    def _row(self, word: Any) -> int:
        check_is_fitted(self, "word_vectors_")
        if isinstance(word, np.generic):
            word = word.item()
        row = self.vocabulary_.get(word) if isinstance(word, Hashable) else None
        if row is None:
            known = [name for name in self.vocabulary_ if isinstance(name, str)]
            near = difflib.get_close_matches(str(word), known, 3) if len(known) < 10**6 else []
            hint = f"; near it: {', '.join(near)}" if near else ""
            raise KeyError(f"{word!r} is not in the vocabulary of {len(self.words_):,} words{hint}")
        return int(row)

    @staticmethod
    def _plain(words: Any) -> list[Any]:
        return words if isinstance(words, list) else words.tolist()

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
