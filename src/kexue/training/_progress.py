"""A line of progress on a terminal, at most four times a second."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_PAUSE = 0.25  # seconds; drawing costs more than a small update


@contextmanager
def progress(todo: range, shown: bool) -> Iterator[Callable[[int, float], None]]:
    """Yield ``advance(step, loss)``; it does nothing where nobody looks."""
    if not shown or not sys.stderr.isatty():
        yield lambda step, loss: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("loss {task.fields[loss]}"))
    with Progress(*columns, Remaining(), console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=todo.stop, completed=todo.start, loss="")
        due = time.perf_counter()

        def advance(step: int, loss: float) -> None:
            nonlocal due
            now = time.perf_counter()
            if now >= due or step == todo.stop:
                due = now + _PAUSE
                bar.update(task, completed=step, loss=f"{loss:.4g}")

        yield advance
