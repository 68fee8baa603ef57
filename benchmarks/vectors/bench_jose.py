"""Word and document vectors of the 20 Newsgroups: speed and quality beside gensim and LSA.

Full messages, lower-cased, in a shuffled file: the file's own order tells the group. Doc2Vec is
set to what we do: skip-grams of words and documents trained together (`dm=0, dbow_words=1`), the
same window, negatives, subsampling, vocabulary and epochs; it reads lines of a file, as its
documentation advises for speed, in its compiled loop. Word2Vec is set likewise; it has no
documents to train, we train them too.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measuring import Row, first_call_seconds
from benchmarks.vectors.newsgroups import (
    Newsgroups,
    latent_semantics,
    read_newsgroups,
    scores,
    word_pairs,
)
from kexue.vectors import JoSE

# thinned out more than by default, on both sides: documents are told apart better by it
SETTINGS = {"window": 10, "epochs": 20, "sample": 1e-4}
SEEDS = range(5)


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
        peers = {
            (make, n): max(_gensim(make, path, n, 5, 1)[1] for _ in range(3))
            for make in (_doc2vec, _word2vec)
            for n in (1, 2)
        }
    unit = "us per word"
    both, words = "Doc2Vec: words and documents", "Word2Vec: words, ours with documents"
    yours, mine = gensim_name, "kexue, 1 thread"
    doc_one, doc_two = peers[_doc2vec, 1], peers[_doc2vec, 2]
    rows = [
        (f"{both}, 1 thread", one, doc_one, yours, 1.0, True),
        (f"{both}, 2 threads", two, doc_two, yours, 1.0, True),
        (f"{words}, 1 thread", one, peers[_word2vec, 1], yours, None, False),
        (f"{words}, 2 threads", two, peers[_word2vec, 2], yours, None, False),
        (f"{both}, deterministic, 1 thread", same, doc_one, yours, None, False),
        (f"{both}, deterministic, 2 threads", same_two, doc_two, yours, None, False),
        ("2 threads against 1", two, one, mine, 1.8, False),
        ("2 threads against 1, deterministic", same_two, same, mine, None, False),
    ]
    for name, ours, peer, peer_name, bar, readme in rows:
        yield Row(name, unit, 1e6 / ours, 1e6 / peer, peer_name, bar, note=note, readme=readme)
    yield from _quality(data, news, gensim_name)


def _quality(data: Path, news: Newsgroups, gensim_name: str) -> Iterator[Row]:
    """Yield how well vectors tell groups apart and agree with people, five seeds of ours."""
    judged = word_pairs(data, "wordsim353")
    with tempfile.TemporaryDirectory() as folder:
        path = _written(Path(folder), news.documents)
        start = time.process_time()
        documents = _gensim(_doc2vec, path, 2, **SETTINGS)[0]
        theirs = time.process_time() - start
        start = time.process_time()
        words = _gensim(_word2vec, path, 2, **SETTINGS)[0]
        words_only = time.process_time() - start
    found, seconds = [], []
    for seed in SEEDS:
        start = time.process_time()
        model = JoSE(**SETTINGS, random_state=seed, n_jobs=2).fit(news.documents)
        seconds.append(time.process_time() - start)
        agreed = model.word_similarity(judged)
        found.append({**scores(model.doc_vectors_, news), "wordsim": agreed.spearman})
    ours = statistics.mean(seconds)
    start = time.process_time()
    semantic = latent_semantics(news)
    reduced = time.process_time() - start
    told = {
        gensim_name: (theirs, scores(_unit(documents.dv.vectors), news), 1.0),
        "TF-IDF + LSA (sklearn)": (reduced, scores(semantic, news), 0.0),
    }
    means = {key: statistics.mean(one[key] for one in found) for key in found[0]}
    note = (
        "window 10, 20 epochs, sample 1e-4, two threads, CPU seconds, reading included; cosines. "
        "Ours: mean of {n} seeds, least and most {low:.1f} and {high:.1f}; peers: one. F1: micro, "
        "3 nearest neighbours, train to test; NMI: k-means, 20 clusters; LSA: logarithmic counts, "
        "100 singular vectors."
    )
    for quality, key in (("F1", "f1"), ("NMI", "nmi")):
        spread = sorted(100 * one[key] for one in found)
        said = note.format(n=len(found), low=spread[0], high=spread[-1])
        for peer_name, (time_taken, score, bar) in told.items():
            yield Row(
                f"20 Newsgroups, shuffled, {quality}", "s", ours, time_taken, peer_name, bar,
                quality, 100 * means[key], 100 * score[key], "higher", said,
                readme=peer_name == gensim_name,
            )  # fmt: skip
    for name, peer, taken in (("Doc2Vec", documents, theirs), ("Word2Vec", words, words_only)):
        agreement = 100 * _word_agreement(peer.wv, judged)
        yield Row(
            f"WordSim-353 from 20 Newsgroups, {name}", "s", ours, taken, gensim_name, None,
            "Spearman, %", 100 * means["wordsim"], agreement, "higher",
            f"{agreed.known} of {agreed.asked} pairs known; window 10, 20 epochs, sample 1e-4, CPU "
            f"seconds; ours mean of {len(found)} seeds, with documents.",
            readme=False,
        )  # fmt: skip


def _words_per_second(make: Callable[[], JoSE], documents: list[list[str]]) -> float:
    return max(make().fit(documents).words_per_second_ for _ in range(3))


def _written(folder: Path, documents: list[list[str]]) -> Path:
    path = folder / "messages.txt"
    path.write_text("\n".join(map(" ".join, documents)) + "\n", encoding="utf-8")
    return path


def _doc2vec(**settings: Any) -> Any:
    from gensim.models.doc2vec import Doc2Vec

    return Doc2Vec(dm=0, dbow_words=1, **settings)


def _word2vec(**settings: Any) -> Any:
    from gensim.models import Word2Vec

    return Word2Vec(sg=1, **settings)


def _gensim(
    make: Callable[..., Any],
    path: Path,
    workers: int,
    window: int,
    epochs: int,
    sample: float = 1e-3,
) -> tuple[Any, float]:
    """Return a model of a file of lines, and the words of the vocabulary it read per second.

    A file, since gensim's documentation has it for speed: lists pass through one thread.
    """
    model = make(
        vector_size=100, window=window, negative=2, sample=sample, min_count=5, hs=0, seed=1,
        workers=workers, epochs=epochs,
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


def _word_agreement(vectors: Any, judged: list[tuple[str, str, float]]) -> float:
    from scipy.stats import spearmanr

    known = [(a, b, score) for a, b, score in judged if a in vectors and b in vectors]
    cosines = [vectors.similarity(a, b) for a, b, _ in known]
    return float(spearmanr(cosines, [score for _, _, score in known]).statistic)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
