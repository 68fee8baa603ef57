"""Word and document vectors of the 20 Newsgroups: speed beside gensim.

Full messages, lower-cased, in a shuffled file: the file's own order tells the group. Doc2Vec is
set to what we do: skip-grams of words and documents trained together (`dm=0, dbow_words=1`), the
same window, negatives, subsampling, vocabulary and epochs; it reads lines of a file, as its
documentation advises for speed, in its compiled loop. Word2Vec is set likewise; it has no
documents to train, we train them too.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.measuring import Row, first_call_seconds
from benchmarks.vectors.newsgroups import read_newsgroups
from kexue.vectors import JoSE


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
        "of the lists is left out, theirs of the file is not; quality is in the rows of "
        f"vectors.jose_quality. First call, compiling or loading kernels: {compile_seconds:.1f} s."
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
        path = written(Path(folder), news.documents)
        peers = {
            (make, n): max(train_gensim(make, path, n, 5, 1)[1] for _ in range(3))
            for make in (doc2vec, word2vec)
            for n in (1, 2)
        }
    unit = "us per word"
    both, words = "Doc2Vec: words and documents", "Word2Vec: words, ours with documents"
    yours, mine = gensim_name, "kexue, 1 thread"
    doc_one, doc_two = peers[doc2vec, 1], peers[doc2vec, 2]
    rows = [
        (f"{both}, 1 thread", one, doc_one, yours, 1.0, True),
        (f"{both}, 2 threads", two, doc_two, yours, 1.0, True),
        (f"{words}, 1 thread", one, peers[word2vec, 1], yours, None, False),
        (f"{words}, 2 threads", two, peers[word2vec, 2], yours, None, False),
        (f"{both}, deterministic, 1 thread", same, doc_one, yours, None, False),
        (f"{both}, deterministic, 2 threads", same_two, doc_two, yours, None, False),
        ("2 threads against 1", two, one, mine, 1.8, False),
        ("2 threads against 1, deterministic", same_two, same, mine, None, False),
    ]
    for name, ours, peer, peer_name, bar, readme in rows:
        yield Row(name, unit, 1e6 / ours, 1e6 / peer, peer_name, bar, note=note, readme=readme)


def _words_per_second(make: Callable[[], JoSE], documents: list[list[str]]) -> float:
    return max(make().fit(documents).words_per_second_ for _ in range(3))


def written(folder: Path, documents: list[list[str]]) -> Path:
    path = folder / "messages.txt"
    path.write_text("\n".join(map(" ".join, documents)) + "\n", encoding="utf-8")
    return path


def doc2vec(**settings: Any) -> Any:
    from gensim.models.doc2vec import Doc2Vec

    return Doc2Vec(dm=0, dbow_words=1, **settings)


def word2vec(**settings: Any) -> Any:
    from gensim.models import Word2Vec

    return Word2Vec(sg=1, **settings)


def train_gensim(
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
