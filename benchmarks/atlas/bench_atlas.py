"""The whole job on the demo corpus: beside a glue pipeline, cold, and as the text grows.

The pipeline is what people build today: jieba's words (a dictionary of Chinese), gensim's Word2Vec
of the same dimension, igraph's Infomap on the same nearest neighbours, UMAP on the same
neighbours. All sides may use both cores and are timed by the clock.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
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

SIZES = (5, 25, 100)  # megabytes
COLD_LIMIT = 60.0


def measure(data: Path) -> Iterator[Row]:
    """Yield the comparisons."""
    lines = ["".join(words) for words in load_demo()]
    yield cold_start()
    yield from beside_a_pipeline(lines)
    yield from growth(data)


def cold_start() -> Row:
    """Time ``kexue atlas --demo`` with nothing compiled."""
    with tempfile.TemporaryDirectory() as folder:
        cache = {**os.environ, "NUMBA_CACHE_DIR": f"{folder}/cache"}
        command = [sys.executable, "-m", "kexue", "atlas", "--demo", "-q"]
        seconds = []
        for name in ("cold", "warm"):
            start = time.perf_counter()
            subprocess.run([*command, "-o", f"{folder}/{name}"], check=True, env=cache)
            seconds.append(time.perf_counter() - start)
    return Row(
        "kexue atlas --demo, nothing compiled", "s", seconds[0], seconds[1],
        "the same, compiled", None, limit=COLD_LIMIT, readme=False,
        note="One process from its start to its end, two cores; page, tables and map written.",
    )  # fmt: skip


def beside_a_pipeline(lines: list[str]) -> Iterator[Row]:
    """Yield the steps that both sides have, then the whole."""
    import igraph
    import jieba
    from gensim.models import Word2Vec

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
        f"Word2Vec (five epochs, two threads, from a file) {vectors_seconds:.1f}, Infomap (one "
        f"trial, two levels, {len(found)} communities) {communities_seconds:.1f} s."
    )
    yield Row(
        "demo: words, vectors, communities", "s", ours, theirs, peer, 5.0,
        note=f"Without the search for neighbours and the layout, which are the same. {steps}",
    )  # fmt: skip
    whole = theirs + near_seconds + layout_seconds
    yield Row(
        "demo: the whole job", "s", ours_whole, whole, f"{peer}, umap-learn", None,
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


def growth(data: Path) -> Iterator[Row]:
    """Yield how time grows with the text, without the layout, each size in its own process."""
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        for size in SIZES:
            path = Path(folder) / f"verse-{size}.txt"
            write_verse(path, data, size * 1_000_000)
            command = [sys.executable, "-m", "kexue", "atlas", str(path), "--no-map", "-q"]
            output = Path(folder) / f"atlas-{size}"
            subprocess.run([*command, "-o", str(output)], check=True)
            timings = json.loads((output / "timings.json").read_text())["seconds"]
            seconds.append(sum(timings.values()))
    exponent = math.log(seconds[-1] / seconds[0]) / math.log(SIZES[-1] / SIZES[0])
    listed = ", ".join(f"{n} MB {s:.0f} s" for n, s in zip(SIZES, seconds, strict=True))
    yield Row(
        f"growth from {SIZES[0]} to {SIZES[-1]} MB, without the map", "exponent", exponent, 1.0,
        "linear", None, limit=1.1, readme=False,
        note=f"Verse sampled from a model of two characters of the Song poems: {listed}.",
    )  # fmt: skip


def write_verse(path: Path, data: Path, n_bytes: int) -> None:
    """Write lines of a text sampled from the pairs of characters of the Song poems."""
    from kexue.corpus import read_texts

    rng = np.random.default_rng(0)
    codes = read_texts(data / "song-poems-raw").codes()
    alphabet, ids = np.unique(codes, return_inverse=True)
    order = np.argsort(ids[:-1], kind="stable")
    followers = ids[1:][order]
    begin = np.searchsorted(ids[:-1][order], np.arange(alphabet.size + 1))
    n = n_bytes // 3
    # many walks side by side; each line of the file is one of them
    width = 100
    walks = rng.choice(ids[:-1], n // width)
    lines = np.empty((walks.size, width), np.uint32)
    for step in range(width):
        lines[:, step] = alphabet[walks]
        size = begin[walks + 1] - begin[walks]
        walks = followers[begin[walks] + (rng.random(walks.size) * size).astype(np.int64)]
    lines[lines > 0x10FFFF] = ord("。")  # the end of a document
    text = lines.astype("<u4").tobytes().decode("utf-32-le").replace("\n", "。")
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        for start in range(0, len(text), width):
            file.write(text[start : start + width] + "\n")


def clocked(function: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds of a call, and its result."""
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result
