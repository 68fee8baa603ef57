"""``kexue vectors`` and ``kexue similar``: word vectors of a text, and the words near a word."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import typer

from kexue._core import InputError
from kexue.cli.segmenting import load_model
from kexue.corpus import Texts
from kexue.vectors import JoSE
from kexue.vectors._nearest import nearest_rows
from kexue.vectors.files import read_word_vectors
from kexue.words import WordDiscoverer
from kexue.words.tokens import Tokens

SUFFIXES = (".safetensors", ".txt", ".vec")


def check_output(output: Path) -> None:
    """Refuse a name of another suffix than those that are known, before any work."""
    if output.suffix not in SUFFIXES:
        raise InputError(
            f"-o must name a .safetensors file (words, contexts and documents) or a .txt or .vec "
            f"one (words, in word2vec's format), got {output}"
        )


def write_vectors(
    texts: Texts,
    output: Path,
    *,
    model: Path | None,
    blanks: bool,
    jobs: int,
    options: dict[str, Any],
) -> JoSE:
    """Learn the vectors of a text and write them.

    Parameters
    ----------
    texts : Texts
    output : pathlib.Path
    model : pathlib.Path or None
        The tokenizer, a file or the folder of an atlas; None means that words are discovered.
    blanks : bool
        Tokens are what stands between blanks.
    jobs : int
    options : dict
        For `JoSE`.
    """
    jose = JoSE(n_jobs=jobs, **options)
    if blanks:
        jose.fit(texts)
    else:
        codes = texts.codes()
        if model is None:
            tokens = WordDiscoverer(n_jobs=jobs).fit_codes(codes).tokens_
        else:
            tokens = Tokens.from_starts(codes, load_model(model).token_starts(codes))
        ids = np.where(tokens.ids == tokens.end_id, -1, tokens.ids)
        jose.fit_ids(ids[~tokens.blank[tokens.ids]], names=tokens.spellings)
    if output.suffix == ".safetensors":
        jose.save(output)
    else:
        jose.export(output)
    return jose


def write_similar(path: Path, asked: list[str], n: int) -> None:
    """Print the words of largest cosine with each of those asked for."""
    words, vectors = read_word_vectors(path)
    rows = {word: row for row, word in enumerate(words)}
    for word in asked:
        if word not in rows:
            near = difflib.get_close_matches(word, words, 3)
            hint = f"; near it: {', '.join(near)}" if near else ""
            raise InputError(f"{word!r} is not among the {len(words):,} words of {path}{hint}")
    for place, word in enumerate(asked):
        if len(asked) > 1:
            sys.stdout.write(f"{'' if place == 0 else chr(10)}{word}\n")
        own = rows[word]
        for row, cosine in nearest_rows(vectors, vectors[own], n, own):
            sys.stdout.write(f"{words[row]}\t{cosine:.3f}\n")


def report(jose: JoSE, output: Path) -> None:
    """Say what was written and how fast it was learned."""
    n, dim = jose.word_vectors_.shape
    typer.echo(
        f"{n:,} words and {len(jose.doc_vectors_):,} documents, {dim} dimensions, "
        f"{jose.words_per_second_:,.0f} words a second: {output}",
        err=True,
    )
