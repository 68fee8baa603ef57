"""Segmenting text into known words: ids against ids, strings against strings, a pipe.

The January 1998 newspaper and the bakeoff test texts, from which our lexicon and sentencepiece's
vocabulary were learned before. One thread each, CPU time, results freed outside of it.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measuring import Row, cpu_seconds, first_call_seconds
from benchmarks.words.bench_discovery import read_gold, train_sentencepiece
from kexue.atlas.demo import load_demo
from kexue.cli.segmenting import stream_lines, words_of
from kexue.corpus.texts import encode_text
from kexue.words import WordDiscoverer

# Their best F1 of three sizes on these texts, see words.discovery
VOCABULARY = 10_000


def measure(data: Path) -> Iterator[Row]:
    """Yield the comparisons."""
    import jieba
    import sentencepiece

    parts = (load_demo(), read_gold(data, "pku"), read_gold(data, "msr"))
    texts = ["".join(words) for part in parts for words in part]
    tokenizer = WordDiscoverer(n_jobs=1).fit(texts).tokenizer_
    piece = train_sentencepiece(sentencepiece, texts, VOCABULARY)
    spm = f"sentencepiece {sentencepiece.__version__}"
    compile_seconds = first_call_seconds(lambda: tokenizer.encode_batch(texts[:50]))
    tokenizer.transform(texts[:50])

    joined = "".join(f"{text}\n" for text in texts)
    megabytes = len(joined.encode()) / 1e6
    codes = encode_text(joined)
    search, _ = cpu_seconds(lambda: tokenizer.token_starts(codes))
    ids, _ = cpu_seconds(lambda: tokenizer.encode_batch(texts))
    ids_peer, _ = cpu_seconds(lambda: piece.encode(texts, out_type=int, num_threads=1))
    note = (
        f"{len(texts):,} texts, {megabytes:.1f} MB of UTF-8, {len(tokenizer):,} words against "
        f"{VOCABULARY:,} pieces; ids are our arrays against their lists. Our search alone: "
        f"{megabytes / search:.0f} MB per CPU second. First call, compiling or loading kernels: "
        f"{compile_seconds:.1f} s."
    )
    yield Row("2.2 M characters to ids", "CPU s", ids, ids_peer, spm, bar=5, note=note)
    lists, _ = cpu_seconds(lambda: [found.tolist() for found in tokenizer.encode_batch(texts)])
    yield Row("2.2 M characters to lists of ids", "CPU s", lists, ids_peer, spm, readme=False)
    strings, tokens = cpu_seconds(lambda: tokenizer.transform(texts))
    strings_peer, _ = cpu_seconds(lambda: piece.encode(texts, out_type=str, num_threads=1))
    yield Row("2.2 M characters to lists of strings", "CPU s", strings, strings_peer, spm, bar=5)
    jieba.setLogLevel(logging.ERROR)
    jieba.initialize()
    strings_jieba, _ = cpu_seconds(lambda: [jieba.lcut(text) for text in texts])
    yield Row(
        "2.2 M characters to lists of strings", "CPU s", strings, strings_jieba,
        f"jieba {jieba.__version__}", bar=50, note="jieba: `lcut`, HMM on, its own dictionary.",
    )  # fmt: skip

    raw = joined.encode()
    render = words_of(tokenizer, " ")

    def stream() -> bytes:
        return b"".join(map(render, stream_lines(io.BytesIO(raw).read1, "utf-8", "strict")))

    written = "".join(" ".join(words) + "\n" for words in tokens).encode()
    if stream() != written:
        raise AssertionError("the stream and transform differ")
    streamed, _ = cpu_seconds(stream)
    yield Row(
        "2.2 M characters through `kexue segment`", "CPU s", streamed, strings,
        "kexue, in memory", bar=0.5, readme=False,
        note="bytes in, bytes out, without the start of the process; in memory: `transform`",
    )  # fmt: skip
