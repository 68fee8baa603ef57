"""Word and document vectors of the 20 Newsgroups: speed and quality beside gensim and LSA.

Full messages, lower-cased, in a shuffled file: the file's own order tells the group. Doc2Vec is
set to what we do: skip-grams of words and documents trained together (`dm=0, dbow_words=1`), the
same window, negatives, subsampling, vocabulary and epochs; its Cython loop is compiled.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measuring import Row, first_call_seconds
from benchmarks.vectors.newsgroups import latent_semantics, read_newsgroups, scores
from kexue.vectors import JoSE

SETTINGS = {"window": 10, "epochs": 20}


def measure(data: Path) -> Iterator[Row]:
    """Yield the comparisons."""
    import gensim

    news = read_newsgroups(data).shuffled(0)
    gensim_name = f"gensim {gensim.__version__}"
    tiny = [["a", "b", "c"]] * 5
    compile_seconds = first_call_seconds(lambda: JoSE(8, epochs=1, random_state=0).fit(tiny))
    JoSE(8, epochs=1, deterministic=True, random_state=0).fit(tiny)
    note = (
        f"{len(news.documents):,} messages, dimension 100, window 5, one epoch each, reading of "
        "the lists left out on both sides; quality is in the rows below. First call, compiling or "
        f"loading kernels: {compile_seconds:.1f} s."
    )
    one = _words_per_second(lambda: JoSE(epochs=1, random_state=0), news.documents)
    two = _words_per_second(lambda: JoSE(epochs=1, random_state=0, n_jobs=2), news.documents)
    same = _words_per_second(
        lambda: JoSE(epochs=1, random_state=0, deterministic=True), news.documents
    )
    same_two = _words_per_second(
        lambda: JoSE(epochs=1, random_state=0, deterministic=True, n_jobs=2), news.documents
    )
    peer_one = _gensim_words_per_second(news.documents, 1)
    peer_two = _gensim_words_per_second(news.documents, 2)
    unit = "us per word"
    rows = [
        ("Doc2Vec: words and documents, 1 thread", one, peer_one, gensim_name, 1.0, True),
        ("Doc2Vec: words and documents, 2 threads", two, peer_two, gensim_name, 1.0, True),
        ("the same, deterministic, 1 thread", same, peer_one, gensim_name, None, False),
        ("the same, deterministic, 2 threads", same_two, peer_two, gensim_name, None, False),
        ("2 threads against 1", two, one, "kexue, 1 thread", 1.8, False),
        ("2 threads against 1, deterministic", same_two, same, "kexue, 1 thread", None, False),
    ]
    for name, ours, peer, peer_name, bar, readme in rows:
        yield Row(name, unit, 1e6 / ours, 1e6 / peer, peer_name, bar, note=note, readme=readme)

    start = time.perf_counter()
    model = JoSE(**SETTINGS, random_state=0, n_jobs=2).fit(news.documents)
    ours = time.perf_counter() - start
    start = time.perf_counter()
    vectors = _doc2vec(news.documents, 2, **SETTINGS).dv.vectors
    theirs = time.perf_counter() - start
    found, peer = scores(model.doc_vectors_, news), scores(_unit(vectors), news)
    start = time.process_time()
    semantic = latent_semantics(news)
    reduced = time.process_time() - start
    order_free = scores(semantic, news)
    note = (
        "window 10, 20 epochs, two threads, reading included; cosines of document vectors. "
        "F1: micro, 3 nearest neighbours, train to test; NMI: k-means, 20 clusters."
    )
    for quality, key in (("F1", "f1"), ("NMI", "nmi")):
        yield Row(
            f"20 Newsgroups, shuffled, {quality}", "s", ours, theirs, gensim_name, 1.0, quality,
            100 * found[key], 100 * peer[key], "higher", note,
        )  # fmt: skip
        yield Row(
            f"20 Newsgroups, shuffled, {quality}", "s", ours, reduced, "TF-IDF + LSA (sklearn)",
            0.0, quality, 100 * found[key], 100 * order_free[key], "higher",
            note="TF-IDF, logarithmic counts, 100 singular vectors; CPU seconds.", readme=False,
        )  # fmt: skip


def _words_per_second(make: Callable[[], JoSE], documents: list[list[str]]) -> float:
    return max(make().fit(documents).words_per_second_ for _ in range(3))


def _doc2vec(documents: list[list[str]], workers: int, **options: Any) -> Any:
    from gensim.models.doc2vec import Doc2Vec, TaggedDocument

    tagged = [TaggedDocument(tokens, [k]) for k, tokens in enumerate(documents)]
    settings = {"vector_size": 100, "negative": 2, "sample": 1e-3, "min_count": 5, **options}
    return Doc2Vec(tagged, dm=0, dbow_words=1, hs=0, seed=1, workers=workers, **settings)


def _gensim_words_per_second(documents: list[list[str]], workers: int) -> float:
    from gensim.models.doc2vec import Doc2Vec, TaggedDocument

    tagged = [TaggedDocument(tokens, [k]) for k, tokens in enumerate(documents)]
    best = 0.0
    for _ in range(3):
        model = Doc2Vec(
            vector_size=100, window=5, negative=2, sample=1e-3, min_count=5, dm=0, dbow_words=1,
            hs=0, seed=1, workers=workers, epochs=1,
        )  # fmt: skip
        model.build_vocab(tagged)
        start = time.perf_counter()
        model.train(tagged, total_examples=model.corpus_count, epochs=1)
        kept = sum(model.wv.get_vecattr(word, "count") for word in model.wv.index_to_key)
        best = max(best, kept / (time.perf_counter() - start))
    return best


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
