"""``kexue words``: the table of words, to a file, a pipe or a terminal."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

from kexue._core import InputError, atomic_path

if TYPE_CHECKING:
    import polars as pl

SUFFIXES = (".parquet", ".csv", ".tsv", ".jsonl")
# As many rows as a terminal shows without scrolling
SHOWN = 20
# Quoted where a word is a tab or a quotation mark, as other programs read it
_TSV: dict[str, Any] = {"separator": "\t", "float_precision": 3}


def check_output(output: Path | None, tokenizer: Path | None) -> None:
    """Refuse files that cannot be written, before any work.

    Raises
    ------
    InputError
        If a name has another suffix than those that are known.
    """
    if output is not None and output.suffix not in SUFFIXES:
        raise InputError(f"-o must name a .parquet, .csv, .tsv or .jsonl file, got {output}")
    if tokenizer is not None and tokenizer.suffix != ".json":
        raise InputError(f"--tokenizer must name a .json file, got {tokenizer}")


def read_penalty(text: str) -> float | Literal["mdl"]:
    """Return the price of a word that an option gives."""
    if text == "mdl":
        return "mdl"
    try:
        return float(text)
    except ValueError:
        raise InputError(f"--penalty must be a number or mdl, got {text!r}") from None


def write_words(table: pl.DataFrame, output: Path | None) -> None:
    """Write the table, to standard output if there is no file; a terminal gets its first rows."""
    if output is not None:
        with atomic_path(output) as temporary, open(temporary, "wb") as file:
            if output.suffix == ".parquet":
                table.write_parquet(file)
            elif output.suffix == ".jsonl":
                table.write_ndjson(file)
            else:
                table.write_csv(
                    file, **(_TSV if output.suffix == ".tsv" else {"float_precision": 3})
                )
        typer.echo(f"{table.height:,} words: {output}", err=True)
    if sys.stdout.isatty():
        _show(table)
    elif output is None:
        sys.stdout.write(table.write_csv(**_TSV))


def _show(table: pl.DataFrame) -> None:
    from rich.console import Console
    from rich.table import Table

    shown = Table(box=None, padding=(0, 2, 0, 0))
    for name in table.columns:
        shown.add_column(name, justify="left" if name == "word" else "right")
    for word, count, *numbers in table.head(SHOWN).iter_rows():
        # what a word of the text says is no markup
        name = word.replace("[", r"\[")
        shown.add_row(name, f"{count:,}", *(f"{number:,.2f}" for number in numbers))
    console = Console()
    console.print(shown)
    if table.height > SHOWN:
        console.print(f"the first {SHOWN} of {table.height:,} words; -o or a pipe gets them all")
