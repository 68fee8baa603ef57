"""The atlas of the demo corpus beside the pipeline that people build today.

jieba's words (a dictionary of Chinese), gensim's Word2Vec of the same dimension, igraph's Infomap
on the nearest neighbours, found and thresholded as ours, UMAP on the same neighbours. All sides may
use both cores and are timed by the clock.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measuring import Row
from kexue.atlas import Atlas
from kexue.atlas.demo import load_demo
from kexue.atlas.layout import MOST_LAID_OUT, lay_out, umap_plane
from kexue.atlas.placing import (
    find_communities,
    nearest_words,
    similarity_network,
    word_vectors,
)
from kexue.corpus import as_texts
from kexue.words import WordDiscoverer


def measure(data: Path) -> Iterator[Row]:
    """Yield the steps that both sides have, then the whole."""
    import igraph
    import jieba
    from gensim.models import Word2Vec

    lines = ["".join(words) for words in load_demo()]
    with tempfile.TemporaryDirectory() as folder:
        Atlas(random_state=0, n_jobs=2).fit(lines[:2000])  # compiles
        start = time.perf_counter()
        atlas = Atlas(random_state=0, n_jobs=2).fit(lines)
        atlas.write(Path(folder) / "atlas")
        ours_whole = time.perf_counter() - start
        taken, levels = our_steps(lines)
        ours = sum(taken)

        jieba.initialize()
        words_seconds, texts = clocked(lambda: [jieba.lcut(line) for line in lines])
        # its documentation has it for several cores: lines of one text, in processes
        jieba.enable_parallel(2)
        parallel_seconds, _ = clocked(lambda: jieba.lcut("\n".join(lines)))
        jieba.disable_parallel()
        words_seconds = min(words_seconds, parallel_seconds)
        path = Path(folder) / "words.txt"
        path.write_text("\n".join(map(" ".join, texts)), encoding="utf-8")
        vectors_seconds, model = clocked(
            lambda: Word2Vec(corpus_file=str(path), vector_size=100, min_count=5, workers=2, seed=1)
        )
    vectors = np.asarray(model.wv.vectors)
    near_seconds, nearest = clocked(lambda: nearest_words(vectors, 2))
    links = similarity_network(nearest).tocoo()

    def communities() -> Any:
        graph = igraph.Graph(
            n=len(vectors), edges=np.column_stack((links.row, links.col)), directed=True
        )
        return graph.community_infomap(edge_weights=links.data, trials=1)

    communities_seconds, found = clocked(communities)
    uses = [model.wv.get_vecattr(word, "count") for word in model.wv.index_to_key]
    layout_seconds, _ = clocked(lambda: lay_out(vectors, nearest, np.array(uses), 0, umap_plane))
    theirs = words_seconds + vectors_seconds + communities_seconds
    peer = f"jieba {jieba.__version__}, gensim, igraph {igraph.__version__}"
    steps = (
        f"Ours: words {taken[0]:.1f}, vectors {taken[1]:.1f}, communities in {levels} levels "
        f"{taken[2]:.1f} s, two threads where a step has them. Theirs: jieba {words_seconds:.1f}, "
        "the better of one process and two, Word2Vec (five epochs, two threads, from a file) "
        f"{vectors_seconds:.1f}, Infomap (one trial, two levels, {len(found)} communities) "
        f"{communities_seconds:.1f} s."
    )
    yield Row(
        "demo, 2 cores: words, vectors, communities", "s", ours, theirs, peer, 5.0,
        note=f"Without the search for neighbours and the layout, which are the same. {steps}",
    )  # fmt: skip
    whole = theirs + near_seconds + layout_seconds
    yield Row(
        "demo, 2 cores: the whole job", "s", ours_whole, whole, f"{peer}, umap-learn", None,
        note="Ours with exchange, ledger, two compressors, page and tables; theirs with neighbours "
        f"{near_seconds:.1f} and UMAP of {min(len(vectors), MOST_LAID_OUT):,} words "
        f"{layout_seconds:.1f} s, and no page.",
    )  # fmt: skip


def our_steps(lines: list[str]) -> tuple[list[float], int]:
    """Time words, vectors and communities one after the other, as the atlas has them."""
    codes = as_texts(lines).codes()

    def discovered() -> Any:
        return WordDiscoverer(n_jobs=2).fit_codes(codes).tokens_

    words_seconds, tokens = clocked(discovered)
    vectors_seconds, (vectors, _) = clocked(
        lambda: word_vectors(tokens, kind="ppmi", n_components=100, min_count=5, seed=0, n_jobs=2)
    )
    network = similarity_network(nearest_words(vectors, 2))
    communities_seconds, (paths, *_) = clocked(
        lambda: find_communities(network, flow="directed", seed=0, n_jobs=2)
    )
    return [words_seconds, vectors_seconds, communities_seconds], max(map(len, paths))


def clocked(function: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds of a call, and its result."""
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result
