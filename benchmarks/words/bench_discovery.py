"""Finding words and segmenting: the January 1998 newspaper and the bakeoff test texts.

Nobody sees gold words here but jieba, whose dictionary was made by people; our price per word was
chosen on gold words of the newspaper (docs/words/discovery.md), sentencepiece's vocabulary is the
best of three on the test sets themselves. One thread each, CPU time.
F1 by the bakeoff's rule: every token counts.
"""

from __future__ import annotations

import collections
import collections.abc
import io
import logging
import lzma
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

from benchmarks.measuring import Row, cpu_seconds, first_call_seconds
from kexue.atlas.demo import load_demo
from kexue.words import WordDiscoverer, segmentation_score

VOCABULARIES = (10_000, 20_000, 40_000)


def measure(data: Path) -> Iterator[Row]:
    """Yield the comparisons."""
    import jieba
    import sentencepiece

    gold = {name: read_gold(data, name) for name in ("pku", "msr")}
    train = ["".join(words) for part in (load_demo(), *gold.values()) for words in part]
    compile_seconds = first_call_seconds(lambda: WordDiscoverer(n_jobs=1).fit(train[:50]))
    fit_ours, model = cpu_seconds(lambda: WordDiscoverer(n_jobs=1).fit(train))
    spm = f"sentencepiece {sentencepiece.__version__}"
    f1_ours = {name: f1(model.transform, words) for name, words in gold.items()}
    trained = [train_and_score(sentencepiece, train, gold, size) for size in VOCABULARIES]
    vocabulary, fit_peer, _, f1_peer = max(trained, key=lambda found: sum(found[3].values()))
    note = (
        f"sentencepiece: unigram, vocabulary {vocabulary:,} (best F1 of {VOCABULARIES}), one "
        "training run of each, character_coverage 1, identity "
        f"normalization, no dummy prefix, 1 thread. Our first call, compiling or loading kernels: "
        f"{compile_seconds:.1f} s."
    )
    for name in gold:
        yield Row(
            f"learn 2.2 M characters, F1 on {name.upper()}", "CPU s", fit_ours, fit_peer, spm,
            bar=5.0, quality="F1", quality_ours=100 * f1_ours[name],
            quality_peer=100 * f1_peer[name], better="higher", note=note,
        )  # fmt: skip
    segment_ours, _ = cpu_seconds(lambda: model.transform(train))
    fit_zero, tokenize = cpu_seconds(lambda: train_nlp_zero(train), 1)
    for name, words in gold.items():
        yield Row(
            f"learn 2.2 M characters, F1 on {name.upper()}", "CPU s", fit_ours, fit_zero,
            f"nlp-zero {version('nlp-zero')}", bar=5.0, quality="F1",
            quality_ours=100 * f1_ours[name],
            quality_peer=100 * f1(lambda texts: [tokenize(text) for text in texts], words),
            better="higher",
            note="nlp-zero: Word_Finder(1e-6, 2), the best F1 of three settings; its import is "
            "given the `collections.Iterable` that Python took away.",
        )  # fmt: skip
    jieba.setLogLevel(logging.ERROR)
    jieba.initialize()
    segment_jieba, _ = cpu_seconds(lambda: [jieba.lcut(text) for text in train])
    f1_jieba = {
        name: f1(lambda texts: [jieba.lcut(t) for t in texts], w) for name, w in gold.items()
    }
    for name in gold:
        yield Row(
            f"segment 2.2 M characters into lists, F1 on {name.upper()}", "CPU s", segment_ours,
            segment_jieba, f"jieba {jieba.__version__}", quality="F1",
            quality_ours=100 * f1_ours[name], quality_peer=100 * f1_jieba[name], better="higher",
            note="jieba: `lcut`, HMM on, its own dictionary of 349,046 words: not unsupervised.",
        )  # fmt: skip


def train_nlp_zero(texts: list[str]) -> Callable[[str], list[str]]:
    """Return the tokenizer of the words that nlp-zero finds."""
    collections.Iterable = collections.abc.Iterable  # type: ignore[attr-defined]
    from nlp_zero import Word_Finder

    finder = Word_Finder(min_proba=1e-6, min_pmi=2)
    finder.train(texts)
    finder.find(texts, remove_weak_pairs=False)  # which would empty its counts
    return finder.export_tokenizer().tokenize


def read_gold(data: Path, name: str) -> list[list[str]]:
    """Return the gold words of a bakeoff test set, line by line."""
    path = data / "cws-bakeoff-2005" / f"{name}_test_gold.txt.xz"
    with lzma.open(path, "rt", encoding="utf-8") as file:
        return [line.split() for line in file if line.strip()]


def train_and_score(sentencepiece, texts: list[str], gold: dict, vocabulary: int):
    """Return vocabulary, CPU seconds, model and F1 of one training run."""
    seconds, model = cpu_seconds(lambda: train_sentencepiece(sentencepiece, texts, vocabulary), 1)
    scores = {name: f1(lambda texts: pieces(model, texts), words) for name, words in gold.items()}
    return vocabulary, seconds, model, scores


def train_sentencepiece(sentencepiece, texts: list[str], vocabulary: int):
    """Return a unigram model of the texts."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=model,
        model_type="unigram",
        vocab_size=vocabulary,
        character_coverage=1.0,
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        num_threads=1,
        max_sentence_length=1 << 20,
        minloglevel=2,
    )
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def pieces(processor, texts: list[str]) -> list[list[str]]:
    """Return the surface forms of the pieces of each text."""
    return processor.encode(list(texts), out_type=str, num_threads=1)


def f1(segment, gold: list[list[str]]) -> float:
    """Return the F1 of a segmenter on gold words."""
    found = segment(["".join(words) for words in gold])
    restored = [[token.replace("\u2581", " ") for token in tokens] for tokens in found]
    return segmentation_score(restored, gold)["f1"]
