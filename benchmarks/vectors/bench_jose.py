"""Word and document vectors of the 20 Newsgroups: speed and quality beside gensim and LSA.

Full messages, lower-cased, in a shuffled file: the file's own order tells the group. Doc2Vec is
set to what we do: skip-grams of words and documents trained together (`dm=0, dbow_words=1`), the
same window, negatives, subsampling, vocabulary and epochs; it reads lines of a file, as its
documentation advises for speed, in its compiled loop.
"""

from __future__ import annotations

import tempfile
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
        f"{len(news.documents):,} messages, dimension 100, window 5, one epoch each; our reading "
        "of the lists is left out, theirs of the file is not; quality is in the rows below. First "
        f"call, compiling or loading kernels: {compile_seconds:.1f} s."
    )
    one = _words_per_second(lambda: JoSE(epochs=1, random_state=0), news.documents)
    two = _words_per_second(lambda: JoSE(epochs=1, random_state=0, n_jobs=2), news.documents)
    same = _words_per_second(
        lambda: JoSE(epochs=1, random_state=0, deterministic=True), news.documents
    )
    same_two = _words_per_second(
        lambda: JoSE(epochs=1, random_state=0, deterministic=True, n_jobs=2), news.documents
    )
    with tempfile.TemporaryDirectory() as folder:
        path = _written(Path(folder), news.documents)
        peer_one, peer_two = (max(_doc2vec(path, n, 5, 1)[1] for _ in range(3)) for n in (1, 2))
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

    with tempfile.TemporaryDirectory() as folder:
        path = _written(Path(folder), news.documents)
        start = time.perf_counter()
        vectors = _doc2vec(path, 2, **SETTINGS)[0].dv.vectors
        theirs = time.perf_counter() - start
    start = time.perf_counter()
    model = JoSE(**SETTINGS, random_state=0, n_jobs=2).fit(news.documents)
    ours = time.perf_counter() - start
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


def _written(folder: Path, documents: list[list[str]]) -> Path:
    path = folder / "messages.txt"
    path.write_text("\n".join(map(" ".join, documents)) + "\n", encoding="utf-8")
    return path


def _doc2vec(path: Path, workers: int, window: int, epochs: int) -> tuple[Any, float]:
    """Return Doc2Vec of a file of lines, and the words of the vocabulary it read per second.

    A file, since gensim's documentation has it for speed: lists pass through one thread.
    """
    from gensim.models.doc2vec import Doc2Vec

    model = Doc2Vec(
        vector_size=100, window=window, negative=2, sample=1e-3, min_count=5, dm=0, dbow_words=1,
        hs=0, seed=1, workers=workers, epochs=epochs,
    )  # fmt: skip
    model.build_vocab(corpus_file=str(path))
    start = time.perf_counter()
    model.train(
        corpus_file=str(path), total_examples=model.corpus_count,
        total_words=model.corpus_total_words, epochs=epochs,
    )  # fmt: skip
    seconds = time.perf_counter() - start
    kept = sum(model.wv.get_vecattr(word, "count") for word in model.wv.index_to_key)
    return model, epochs * kept / seconds


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
