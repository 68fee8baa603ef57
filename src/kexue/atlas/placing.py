"""Vectors of words and documents, and the network of words that are alike."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from kexue.words.tokens import Tokens

N_NEIGHBORS = 25
MIN_SIMILARITY = 0.3
# The words right beside a word tell classes apart best, vectors are directions, and few power
# iterations do as well: by `python -m benchmarks.atlas.choosing`, as does the choice of PPMI.
WINDOW = 1
EXPONENT = 0.0
N_ITER = 3
JOSE_WINDOW = 5
# With as many dimensions as words every word resembles only itself. More dimensions save more
# bits at any size, but below four words for each they do so by leaving words alone.
WORDS_PER_DIMENSION = 4
# All words are compared with each other, so that their number is what bounds the time
MOST_PLACED = 50_000
FEWEST = {"ppmi": 2, "jose": 3}  # words that such vectors take
# Of Arora, Liang and Ma, A simple but tough-to-beat baseline for sentence embeddings, ICLR 2017
SMOOTHING = 1e-3


def word_vectors(
    tokens: Tokens, *, kind: str, n_components: int, min_count: int, seed: int, n_jobs: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return vectors of the frequent words of a text, and their types, most frequent first.

    Parameters
    ----------
    tokens : Tokens
    kind : {"ppmi", "jose"}
    n_components : int
        At most a quarter of the number of words.
    min_count : int
        Least uses of a word; of more than 50,000 such words those used most.
    seed, n_jobs : int

    Returns
    -------
    vectors : float32 array of shape (n_placed, n_components)
        White space has the zero vector.
    placed : int64 array of shape (n_placed,)
    """
    counts = tokens.counts
    words = ~tokens.blank
    if tokens.end_id is not None:
        words[tokens.end_id] = False
    frequent = np.sort(counts[words & (counts >= min_count)])[::-1]
    least = min_count
    if frequent.size > MOST_PLACED:
        least = int(frequent[MOST_PLACED]) + 1
    blanks = np.flatnonzero(tokens.blank & (counts >= min_count))
    n_words = int(np.count_nonzero(words & (counts >= least)))
    if n_words < FEWEST[kind]:
        return np.zeros((blanks.size, n_components), np.float32), blanks
    # words have words for company, not the blanks between them
    walk = np.where(tokens.ids == tokens.end_id, -1, tokens.ids.astype(np.int64))
    walk = walk[~tokens.blank[tokens.ids]]
    dimension = min(n_components, max(2, n_words // WORDS_PER_DIMENSION))
    if kind == "jose":
        found, vectors = _jose(walk, dimension, least, seed, n_jobs)
    else:
        found, vectors = _ppmi(walk, counts.size, dimension, least, seed)
    placed = np.concatenate((found, blanks))
    filled = np.pad(vectors, ((0, blanks.size), (0, 0)))
    order = np.argsort(-counts[placed], kind="stable")
    return filled[order], placed[order]


def _ppmi(
    walk: np.ndarray, n_types: int, dimension: int, least: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    from kexue.vectors import PPMI

    model = PPMI(
        dimension,
        window=WINDOW,
        exponent=EXPONENT,
        n_iter=N_ITER,
        min_count=least,
        random_state=seed,
    ).fit_ids(walk, n_types)
    return model.words_, model.vectors_


def _jose(
    walk: np.ndarray, dimension: int, least: int, seed: int, n_jobs: int
) -> tuple[np.ndarray, np.ndarray]:
    from kexue.vectors import JoSE

    model = JoSE(
        dimension,
        window=JOSE_WINDOW,
        min_count=least,
        deterministic=True,
        random_state=seed,
        n_jobs=n_jobs,
    ).fit_ids(walk)
    return np.asarray(model.words_), model.word_vectors_


def nearest_words(vectors: np.ndarray, n_jobs: int) -> sparse.csr_array:
    """Return the cosines of each word's 25 nearest neighbours, above 0."""
    from kexue.graph import knn_graph

    n = len(vectors)
    if n < 2:
        return sparse.csr_array((n, n))
    return knn_graph(
        vectors, n_neighbors=min(N_NEIGHBORS, n - 1), min_similarity=0.0, n_jobs=n_jobs
    )


def similarity_network(nearest: sparse.csr_array) -> sparse.csr_array:
    """Return the links of cosine 0.3 or more."""
    graph = nearest.copy()
    graph.data = np.where(graph.data >= MIN_SIMILARITY, graph.data, 0.0)
    graph.eliminate_zeros()
    return graph


def find_communities(
    graph: sparse.csr_array, *, flow: str, seed: int, n_jobs: int
) -> tuple[list[tuple[int, ...]], np.ndarray, float, float]:
    """Return paths of communities, flow, and bits per step with and without communities."""
    from kexue.graph import Infomap

    if not graph.nnz:
        n = graph.shape[0]
        return [(k,) for k in range(n)], np.zeros(n), 0.0, 0.0
    model: Any = Infomap(flow=flow, random_state=seed, n_jobs=n_jobs).fit(graph)
    return model.paths_, model.flow_, model.codelength_, model.one_level_codelength_


def document_vectors(
    rows: np.ndarray,
    documents: np.ndarray,
    n_documents: int,
    vectors: np.ndarray,
    shares: np.ndarray,
) -> np.ndarray:
    """Return the direction of each document: the mean of its words, frequent ones counting less.

    Parameters
    ----------
    rows : int64 array of shape (n_tokens,)
        The row of `vectors` of each token; negative for words without one.
    documents : int64 array of shape (n_tokens,)
    n_documents : int
    vectors : float32 array of shape (n_words, n_components)
    shares : float64 array of shape (n_words,)
        Share p of each word in the text learned from; it weighs 0.001 / (0.001 + p).

    Returns
    -------
    float32 array of shape (n_documents, n_components)
        Rows of norm 1, or zero where no word has a vector.
    """
    known = rows >= 0
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-30)
    weights = (SMOOTHING / (SMOOTHING + shares)).astype(np.float32)
    uses = sparse.csr_array(
        (weights[rows[known]], (documents[known], rows[known])), shape=(n_documents, len(vectors))
    )
    sums = np.asarray(uses @ unit)
    return sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-30)
