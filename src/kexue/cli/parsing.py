"""``kexue parse``: templates learned from a corpus, and the trees of sentences."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from kexue._core import InputError, check_float, check_int
from kexue.cli.segmenting import load_model
from kexue.corpus import read_texts
from kexue.words import SentenceParser, TemplateFinder, WordDiscoverer
from kexue.words.sentences import split_sentences


def parse_texts(
    paths: list[str],
    *,
    learn: list[str],
    model: Path | None,
    window: int,
    min_count: int,
    min_pmi: float,
    listed: bool,
    as_json: bool,
    jobs: int,
    options: dict[str, Any],
) -> Iterator[str]:
    """Yield the tree of each sentence, or a table of templates.

    Parameters
    ----------
    paths : list of str
        What to parse.
    learn : list of str
        What to learn templates from; nothing means from `paths`.
    model : pathlib.Path or None
        The tokenizer, a file or the folder of an atlas; None means that the words are
        discovered in what templates are learned from.
    window, min_count, min_pmi
        Of `TemplateFinder`.
    listed : bool
        Yield the templates in place of trees.
    as_json : bool
        Yield each tree as a line of JSON.
    jobs : int
    options : dict
        For `read_texts`.
    """
    if listed and as_json:
        raise InputError("--list prints a table and --json trees; give one of them")
    check_int("--window", window, minimum=1)
    check_int("--min-count", min_count, minimum=1)
    check_float("--min-pmi", min_pmi, minimum=0)
    corpus = list(read_texts(learn or paths, **options))
    if learn and paths == ["-"]:
        # the column is that of the table to learn from
        options = {**options, "column": None}
    # standard input can be read once
    texts = list(read_texts(paths, **options)) if learn and not listed else corpus
    if model is None:
        tokenizer = WordDiscoverer(n_jobs=jobs).fit(corpus).tokenizer_
    else:
        tokenizer = load_model(model)
    finder = TemplateFinder(window, min_count=min_count, min_pmi=min_pmi)
    finder.fit(split_sentences(tokenizer.transform(corpus)))
    if listed:
        ledger = ", ".join(f"{name} {bits:.3f}" for name, bits in finder.ledger_)
        typer.echo(f"bits per character: {ledger}", err=True)
        table = finder.templates_.drop("words")
        yield table.write_csv(separator="\t", float_precision=3)[:-1]
        return
    if finder.templates_.is_empty() and finder.phrases_.is_empty():
        raise InputError(
            f"no template occurs --min-count={min_count} times and saves bits; "
            "learn from more text, or lower --min-count or --min-pmi"
        )
    parser = SentenceParser(finder)
    for tokens in tokenizer.transform(texts):
        for sentence in split_sentences([tokens]):
            tree = parser.parse(sentence)
            yield json.dumps(tree.to_dict(), ensure_ascii=False) if as_json else f"{tree}\n"


def write_trees(**arguments: Any) -> None:
    """Write what `parse_texts` yields to standard output."""
    for text in parse_texts(**arguments):
        sys.stdout.write(text.encode("utf-8", "replace").decode("utf-8") + "\n")
