"""What the command line says: errors with their exit codes, progress, the ledger."""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer

if TYPE_CHECKING:
    from kexue.atlas import LedgerRow
    from kexue.graph import Infomap

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130
# The library speaks of its parameters; at the command line they are options.
OPTIONS = {
    "n_jobs": "--jobs",
    "random_state": "--seed",
    "n_init": "--trials",
    "n_components": "--components",
    **{
        name: "--" + name.replace("_", "-")
        for name in (
            "column", "documents", "encoding", "epochs", "errors", "executor", "flow",
            "initial", "levels", "markov_time", "max_length", "memory", "min_count", "penalty",
            "quality", "regularized", "teleport", "window",
        )
    },
}  # fmt: skip

# Of the time of an atlas, warm, on the demo corpus; what comes after depends on it
STAGE_SHARES = {
    "read": 0.01, "words": 0.08, "vectors": 0.08, "communities": 0.07, "exchange": 0.07,
    "map": 0.62, "ledger": 0.07,
}  # fmt: skip


@contextmanager
def exit_codes() -> Iterator[None]:
    """Turn exceptions into one line on standard error: 2 for bad input, 1 for a failure.

    With ``KEXUE_TRACEBACK=1`` in the environment the exception goes on its way.
    """
    from kexue._core import InputError

    try:
        yield
    except (InputError, FileNotFoundError, IsADirectoryError, UnicodeDecodeError) as error:
        _leave(error, BAD_INPUT)
    except ImportError as error:
        _leave(error, INTERRUPTED if _from_interrupt(error) else BAD_INPUT)
    except BrokenPipeError:
        # the reader of a pipe has seen enough; flushing at exit would complain again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None
    except KeyboardInterrupt:
        _interrupted()
    except typer.Exit:
        raise
    except Exception as error:
        # a compiled kernel that is interrupted says so in a roundabout way
        _leave(error, INTERRUPTED if _from_interrupt(error) else FAILED)


@contextmanager
def stage_lines(
    quiet: bool, layout: bool = True
) -> Iterator[Callable[[str, float | None, int], None] | None]:
    """Show on a terminal what is done, how fast, and about how long the rest will take.

    Log files stay clean: only a terminal gets progress.
    """
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console

    console = Console(stderr=True)
    done: dict[str, float] = {}
    with console.status("") as status:

        def line(stage: str, seconds: float | None, characters: int) -> None:
            if seconds is None:
                status.update(f"{stage} [dim]{_time_left(done, layout)}[/dim]")
                return
            done[stage] = seconds
            rate = characters / max(seconds, 1e-9) / 1e6
            console.print(
                f"[dim]{stage:<12}{seconds:7.2f} s {rate:9.2f} M characters/s[/dim]",
                highlight=False,
            )

        yield line


def _time_left(done: dict[str, float], layout: bool) -> str:
    """Return about how long the other stages will take, by how long the first ones did.

    Nothing where they took no time: then they were kept from an earlier run and tell nothing.
    """
    share = sum(STAGE_SHARES.get(stage, 0.0) for stage in done)
    spent = sum(done.values())
    if share < STAGE_SHARES["words"] or spent < 1.0:
        return ""
    whole = sum(STAGE_SHARES.values()) - (0.0 if layout else STAGE_SHARES["map"])
    left = spent * max(0.0, whole - share) / share
    return f"about {left:,.0f} s left" if left < 100 else f"about {left / 60:,.0f} min left"


@contextmanager
def trial_bar(quiet: bool) -> Iterator[Callable[[int, int, float], None] | None]:
    """Show on a terminal how many trials are done, the best so far, and the time left."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("searching", total=None)

        def progress(done: int, n_init: int, length: float) -> None:
            text = f"searching, best so far {length:.6f} bits"
            bar.update(task, completed=done, total=n_init, description=text)

        yield progress


def say_compiling() -> None:
    """Say so if the search will be compiled now, because nobody expects to wait for that."""
    from kexue.graph._infomap_kernels import search

    cache: Any = search
    compiled = Path(cache._cache.cache_path).glob("_infomap_kernels.search-*.nbi")
    if not any(compiled):
        typer.echo("compiling the search, once for this installation: about 20 s", err=True)


def summary_of_communities(model: Infomap) -> Iterator[str]:
    """Yield what a network is, what its communities save, and what is left out of them."""
    import numpy as np

    network, flow = model.network_, model.flow_
    weighted = bool((network.weight != 1.0).any())
    yield (
        f"{network.n_nodes:,} nodes, {network.n_links:,} "
        f"{'directed' if network.directed else 'undirected'} links"
        f"{' with weights' if weighted else ''}"
    )
    visited = int(np.count_nonzero(np.bincount(model.labels_, flow)))
    inner = int(np.count_nonzero(np.bincount(model.leaf_labels_, flow)))
    levels = f" in {model.n_levels_} levels ({inner:,} innermost)" if model.n_levels_ > 2 else ""
    one = model.one_level_codelength_
    saved = max(0.0, 1.0 - model.codelength_ / one) if one > 0.0 else 0.0
    yield (
        f"{visited:,} {'community' if visited == 1 else 'communities'}{levels}, "
        f"{model.codelength_:.6f} bits per step ({one:.6f} without, {100 * saved:.1f} % saved)"
    )
    never = int(np.count_nonzero(flow == 0.0))
    if never:
        yield f"{never:,} {'node is' if never == 1 else 'nodes are'} never visited"


@contextmanager
def interrupt_notes() -> Iterator[list[str]]:
    """Gather what the library says when it was interrupted and kept what it had."""
    from sklearn.exceptions import ConvergenceWarning

    notes: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        yield notes
    for warning in caught:
        if issubclass(warning.category, ConvergenceWarning):
            notes.append(str(warning.message))
        else:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )


def print_ledger(rows: list[LedgerRow], references: dict[str, float]) -> None:
    """Print the ledger as a table, on standard output."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="bits per character", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for name, side in (("code", "left"), ("in sample", "right"), ("+ model", "right")):
        table.add_column(name, justify=side)  # type: ignore[arg-type]
    table.add_column("held out", justify="right")
    table.add_column("")
    for row in rows:
        held_out = "-" if row.held_out is None else f"{row.held_out:.3f}"
        table.add_row(row.name, f"{row.in_sample:.3f}", f"{row.model:.3f}", held_out, row.code)
    for name, bits in references.items():
        table.add_row(name, f"{bits:.3f}", "", "", "reference: a general compressor")
    Console().print(table)


def print_pairs(pairs: list[tuple[str, Any]]) -> None:
    """Print names and values in two columns."""
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        typer.echo(f"{name:<{width}}  {value}")


def _interrupted() -> NoReturn:
    typer.echo("kexue: interrupted", err=True)
    raise typer.Exit(INTERRUPTED) from None


def _from_interrupt(error: BaseException | None) -> bool:
    """Return whether an interrupt is anywhere behind the error."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _leave(error: BaseException, code: int) -> NoReturn:
    if code == INTERRUPTED:
        _interrupted()
    if os.environ.get("KEXUE_TRACEBACK") == "1":
        raise error
    label = "error" if code == BAD_INPUT else "failed"
    text = str(error)
    if isinstance(error, OSError) and error.strerror and error.filename:
        text = f"{error.filename}: {error.strerror}"
    text = text.replace("pass flow='directed' (or directed=True)", "pass --flow directed")
    text = text.replace("regularized=True", "regularized")
    for parameter, option in OPTIONS.items():
        text = re.sub(rf"(?<!-)\b{parameter}\b(?= must|=| or give more)", option, text)
    typer.echo(f"kexue: {label}: {text or type(error).__name__}", err=True)
    raise typer.Exit(code) from None
