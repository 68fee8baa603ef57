"""Vectors of the 20 Newsgroups: how well they tell groups apart and agree with people.

The settings of `bench_jose`, but with a window, epochs and subsampling that suit documents, on both
sides.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measuring import Row
from benchmarks.vectors.bench_jose import doc2vec, train_gensim, written
from benchmarks.vectors.newsgroups import (
    Newsgroups,
    latent_semantics,
    read_newsgroups,
    scores,
    word_pairs,
)
from kexue.vectors import JoSE

SETTINGS = {"window": 10, "epochs": 20}
# thinned out as by default, and more, by which documents are told apart better; on both sides
SAMPLES = {"1e-3": 1e-3, "1e-4": 1e-4}
SEEDS = range(3)


def measure(data: Path) -> Iterator[Row]:
    """Yield the comparisons; times are CPU seconds, of all threads."""
    import gensim

    news = read_newsgroups(data).shuffled(0)
    gensim_name = f"gensim {gensim.__version__}"
    for name in SAMPLES:
        yield from _beside(name, data, news, gensim_name)


def _beside(name: str, data: Path, news: Newsgroups, gensim_name: str) -> Iterator[Row]:
    judged = word_pairs(data, "wordsim353")
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder), news.documents)
        start = time.process_time()
        peer = train_gensim(doc2vec, path, 2, **SETTINGS, sample=SAMPLES[name])[0]
        theirs = time.process_time() - start
    found, seconds = [], []
    for seed in SEEDS:
        start = time.process_time()
        model = JoSE(**SETTINGS, sample=SAMPLES[name], random_state=seed, n_jobs=2).fit(
            news.documents
        )
        seconds.append(time.process_time() - start)
        agreed = model.word_similarity(judged)
        found.append({**scores(model.doc_vectors_, news), "wordsim": agreed.spearman})
    ours = statistics.mean(seconds)
    start = time.process_time()
    semantic = latent_semantics(news)
    reduced = time.process_time() - start
    told = {
        gensim_name: (theirs, scores(_unit(peer.dv.vectors), news), 1.0),
        "TF-IDF + LSA (sklearn)": (reduced, scores(semantic, news), 0.0),
    }
    means = {key: statistics.mean(one[key] for one in found) for key in found[0]}
    note = (
        "window 10, 20 epochs, sample {name}, two threads, CPU seconds, reading included; cosines. "
        "Ours: mean of {n} seeds, least and most {low:.1f} and {high:.1f}; peers: one. F1: micro, "
        "3 nearest neighbours, train to test; NMI: k-means, 20 clusters; LSA: logarithmic counts, "
        "100 singular vectors."
    )
    for quality, key in (("F1", "f1"), ("NMI", "nmi")):
        spread = sorted(100 * one[key] for one in found)
        said = note.format(name=name, n=len(found), low=spread[0], high=spread[-1])
        for peer_name, (time_taken, score, bar) in told.items():
            yield Row(
                f"20 Newsgroups, sample {name}, {quality}", "s", ours, time_taken, peer_name, bar,
                quality, 100 * means[key], 100 * score[key], "higher", said,
                readme=peer_name == gensim_name,
            )  # fmt: skip
    agreement = 100 * _word_agreement(peer.wv, judged)
    yield Row(
        f"WordSim-353 from 20 Newsgroups, sample {name}", "s", ours, theirs, gensim_name, None,
        "Spearman, %", 100 * means["wordsim"], agreement, "higher",
        f"{agreed.known} of {agreed.asked} pairs known; window 10, 20 epochs, CPU seconds",
        readme=False,
    )  # fmt: skip


def _word_agreement(vectors: Any, judged: list[tuple[str, str, float]]) -> float:
    from scipy.stats import spearmanr

    known = [(a, b, score) for a, b, score in judged if a in vectors and b in vectors]
    cosines = [vectors.similarity(a, b) for a, b, _ in known]
    return float(spearmanr(cosines, [score for _, _, score in known]).statistic)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
