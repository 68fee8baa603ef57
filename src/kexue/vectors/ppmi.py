"""Word vectors from counts: positive pointwise mutual information, truncated SVD."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.decomposition import TruncatedSVD
from threadpoolctl import threadpool_limits

from kexue._core import InputError, check_float, check_int, check_seed, check_texts_argument
from kexue.corpus import count_pairs

NOISE = 1e-5  # of the longest row: what float32 leaves of a row that should be zero


class PPMI(BaseEstimator):
    r"""Word vectors from the company that words keep on either side.

    Neighbours to the left and to the right are counted apart, since what may precede a word
    says more of its kind than mere nearness does. With pair counts :math:`N_{wc}` the matrix

    .. math:: M_{wc} = \max(0, \log \frac{N_{wc} N}{N_w N_c^{\alpha} / Z})

    (positive pointwise mutual information, nats; contexts smoothed by :math:`\alpha`) is
    reduced by a truncated SVD :math:`M \approx U \Sigma V^T`, and the vectors are the rows of
    :math:`U \Sigma^p`.

    Parameters
    ----------
    n_components : int
        Dimension of the vectors; fewer if the matrix has a lower rank.
    window : int
        Largest distance of a neighbour, in tokens.
    min_count : int
        Words seen less often get no vector, but are neighbours like all others.
    smoothing : float in [0, 1]
        :math:`\alpha`.
    exponent : float
        p, the weight of the singular values.
    n_iter : int
        Power iterations of the randomized SVD: more tell close singular values apart better.
    random_state : None, int, RandomState or Generator

    Attributes
    ----------
    vectors_ : float32 array of shape (n_words, n_components)
        Zero for a word that the leading directions do not reach.
    words_ : list of str, or int64 array of token ids after `fit_ids`
        The words that have vectors, most frequent first.
    singular_values_ : float64 array of shape (n_components,)

    References
    ----------
    Levy, Goldberg and Dagan, Improving distributional similarity with lessons learned from
    word embeddings, TACL 3, 2015.
    """

    words_: Any

    def __init__(
        self,
        n_components: int = 100,
        *,
        window: int = 2,
        min_count: int = 5,
        smoothing: float = 1.0,
        exponent: float = 0.5,
        n_iter: int = 5,
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.window = window
        self.min_count = min_count
        self.smoothing = smoothing
        self.exponent = exponent
        self.n_iter = n_iter
        self.random_state = random_state

    def fit(self, documents: Iterable[Sequence[str]], y: None = None) -> PPMI:
        """Learn vectors from tokenized documents.

        Parameters
        ----------
        documents : iterable of sequences of str
            The tokens of each document; no pair crosses a document's end.
        y : None
            Ignored.

        Raises
        ------
        InputError
            On a bad parameter, if there is no token, or if no word occurs `min_count` times.
        """
        self._check_parameters()
        check_texts_argument(documents, name="documents")
        numbers: dict[str, int] = {}
        ids: list[int] = []
        for document in documents:
            check_texts_argument(document, name="each document")
            ids.extend(numbers.setdefault(token, len(numbers)) for token in document)
            ids.append(-1)
        if not numbers:
            raise InputError("there is no token in the documents")
        self.fit_ids(np.array(ids, np.int64), len(numbers))
        spelled = list(numbers)
        self.words_ = [spelled[i] for i in self.words_]
        return self

    def fit_ids(self, token_ids: np.ndarray, n_tokens: int | None = None) -> PPMI:
        """Learn vectors from token ids.

        Parameters
        ----------
        token_ids : integer array of shape (n,)
            Ids from 0; negative ids are boundaries that no pair crosses.
        n_tokens : int or None
            Size of the vocabulary; None means the largest id + 1.
        """
        self._check_parameters()
        ids = np.asarray(token_ids)
        following = count_pairs(ids, self.window, symmetric=False, n_tokens=n_tokens)
        occurrences = np.bincount(ids[ids >= 0], minlength=following.shape[0])
        order = np.argsort(-occurrences, kind="stable")
        chosen = order[occurrences[order] >= self.min_count]
        if not chosen.size:
            raise InputError(
                f"no word occurs min_count={self.min_count} times among "
                f"{int(occurrences.sum()):,} tokens; lower min_count or give more text"
            )
        matrix = sparse.hstack([following.T.tocsr()[chosen], following[chosen]], format="csr")
        ppmi = positive_pmi(matrix, self.smoothing).astype(np.float32) if matrix.nnz else matrix
        if not ppmi.nnz:
            raise InputError(
                "no two words are neighbours more often than chance would have it, so there is "
                "nothing to make vectors of; give more text"
            )
        vectors, self.singular_values_ = _truncated_svd(
            ppmi, self.n_components, self.n_iter, check_seed(self.random_state)
        )
        # a row that is nothing but rounding has no direction
        lengths = np.linalg.norm(vectors, axis=1)
        vectors[lengths < NOISE * lengths.max()] = 0.0
        self.vectors_ = (vectors * self.singular_values_**self.exponent).astype(np.float32)
        self.words_ = chosen
        return self

    def _check_parameters(self) -> None:
        check_int("n_components", self.n_components, minimum=1)
        check_int("window", self.window, minimum=1)
        check_int("min_count", self.min_count, minimum=1)
        check_float("smoothing", self.smoothing, minimum=0, maximum=1)
        check_float("exponent", self.exponent)
        check_int("n_iter", self.n_iter, minimum=0)


def positive_pmi(counts: sparse.csr_array, smoothing: float = 1.0) -> sparse.csr_array:
    r"""Return the positive pointwise mutual information of pair counts, nats.

    Parameters
    ----------
    counts : sparse array of shape (n_rows, n_columns)
        Non-negative.
    smoothing : float
        Column frequencies are raised to this power and normalised again.
    """
    matrix = sparse.csr_array(counts, dtype=np.float64)
    rows = np.asarray(matrix.sum(axis=1)).ravel()
    columns = np.asarray(matrix.sum(axis=0)).ravel() ** smoothing
    with np.errstate(divide="ignore"):
        log_rows = np.log(rows)
        log_columns = np.log(columns) - np.log(columns.sum())
    row_of = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    values = np.log(matrix.data) - log_rows[row_of] - log_columns[matrix.indices]
    matrix.data = np.maximum(values, 0.0)
    matrix.eliminate_zeros()
    return matrix


def _truncated_svd(
    matrix: sparse.csr_array, n_components: int, n_iter: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the leading left singular vectors and singular values, largest first.

    Directions in which the matrix is zero but for rounding are left out: they hold nothing
    but noise, which a small exponent would blow up. On one thread of BLAS, whose sums depend
    on the number of threads.
    """
    n = matrix.shape[0]
    with threadpool_limits(1, user_api="blas"):
        if n <= 2 * n_components or matrix.shape[1] <= n_components:
            # the Gram matrix is small however many columns there are
            squares, left = np.linalg.eigh((matrix @ matrix.T).toarray().astype(np.float64))
            values = np.sqrt(np.maximum(squares[::-1], 0.0))
            left = left[:, ::-1]
            # squaring halves the digits of small values
            noise = np.sqrt(n * np.finfo(np.float64).eps)
        else:
            svd = TruncatedSVD(n_components, n_iter=n_iter, random_state=seed)
            scaled = svd.fit_transform(matrix)
            values = svd.singular_values_.astype(np.float64)
            left = scaled / np.maximum(values, np.finfo(np.float32).tiny)
            noise = max(matrix.shape) * np.finfo(np.float32).eps
    kept = np.flatnonzero(values[:n_components] > noise * values[0])
    return left[:, kept], values[kept]
