"""The 20 Newsgroups as tokens, and how well document vectors tell the groups apart."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

N_GROUPS = 20


class Newsgroups(NamedTuple):
    """Messages in the order of the file, which is sorted by group.

    Attributes
    ----------
    documents : list of list of str
    labels : int array of shape (n_documents,)
    train : bool array of shape (n_documents,)
    """

    documents: list[list[str]]
    labels: np.ndarray
    train: np.ndarray

    def shuffled(self, seed: int) -> Newsgroups:
        """Return the messages in a random order."""
        order = np.random.default_rng(seed).permutation(len(self.documents))
        documents = [self.documents[k] for k in order]
        return Newsgroups(documents, self.labels[order], self.train[order])


def read_newsgroups(data: Path, *, headers: bool = True) -> Newsgroups:
    """Return the messages, lower-cased, as runs of letters or of digits.

    Headers tell the group, by sender and organization; without them, what follows the first
    empty line is read.
    """
    import polars as pl

    table = pl.read_parquet(data / "newsgroups" / "20news_bydate.parquet")
    texts = table["text"].to_list()
    if not headers:
        texts = [text.partition("\n\n")[2] for text in texts]
    documents = [re.findall("[a-z]+|[0-9]+", text.lower()) for text in texts]
    labels = table["label"].to_numpy().astype(int)
    return Newsgroups(documents, labels, (table["split"] == "train").to_numpy())


def word_pairs(data: Path, name: str) -> list[tuple[str, str, float]]:
    """Return pairs of words, lower-cased, and how much alike people found them."""
    rows = (data / "wordsim" / f"{name}.tsv").read_text(encoding="utf-8").splitlines()[1:]
    split = (row.split("\t") for row in rows)
    return [(row[0].lower(), row[1].lower(), float(row[-1])) for row in split]


def scores(vectors: np.ndarray, news: Newsgroups, n_init: int = 10) -> dict[str, float]:
    """Return NMI of k-means with 20 clusters, and micro F1 of 3 nearest neighbours."""
    from sklearn.cluster import KMeans
    from sklearn.metrics import f1_score, normalized_mutual_info_score
    from sklearn.neighbors import KNeighborsClassifier

    found = KMeans(N_GROUPS, n_init=n_init, random_state=0).fit_predict(vectors)
    nearest = KNeighborsClassifier(3).fit(vectors[news.train], news.labels[news.train])
    told = nearest.predict(vectors[~news.train])
    return {
        "nmi": float(normalized_mutual_info_score(news.labels, found)),
        "f1": float(f1_score(news.labels[~news.train], told, average="micro")),
    }


def latent_semantics(news: Newsgroups, n_components: int = 100) -> np.ndarray:
    """Return the peer that knows no order: TF-IDF, reduced by a truncated SVD, rows of norm 1."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import normalize

    weights = TfidfVectorizer(analyzer=lambda tokens: tokens, min_df=5, sublinear_tf=True)
    reduced = TruncatedSVD(n_components, random_state=0)
    vectors: np.ndarray = normalize(reduced.fit_transform(weights.fit_transform(news.documents)))
    return vectors
