"""What a process spawned by `kexue.corpus.parallel_apply` does.

It imports nothing heavy, so that it starts at once.
"""

import multiprocessing
import os
import pickle
import signal
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

# A pickled exception; its notes, which not every exception takes along; its traceback
Failure = tuple[bytes, list[str], str]

_task: bytes | Callable[[Any], Any] = b""


def start_worker(task: bytes) -> None:
    global _task  # noqa: PLW0603
    _task = task
    # an interrupt from the keyboard reaches workers too, and none is to print a traceback
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _load_task(task: bytes) -> Callable[[Any], Any]:
    """Return the function, after the initializer was called."""
    try:
        func, initializer, initargs = pickle.loads(task)
    except Exception as error:
        raise TypeError(
            f"func cannot be loaded in another process ({error}); define it at the top level of "
            "a module that can be imported, or use n_jobs=1"
        ) from error
    if initializer is not None:
        initializer(*initargs)
    loaded: Callable[[Any], Any] = func
    return loaded


def run_batch(first: int, data: bytes) -> tuple[bytes, Failure | None, float]:
    """Return pickled results, of the items before the first failure, the failure, and the time."""
    global _task  # noqa: PLW0603
    results: list[Any] = []
    failure = None
    start = time.perf_counter()
    try:
        if isinstance(_task, bytes):
            _task = _load_task(_task)
            start = time.perf_counter()
        for item in pickle.loads(data):
            try:
                results.append(_task(item))
            except BaseException as error:
                error.add_note(place(first + len(results)))
                raise
    except BaseException as error:
        failure = _pack_failure(error)
    try:
        packed = dumps(results)
    except Exception:
        index, reason = first_unsendable(results)
        packed = dumps(results[:index])
        failure = _pack_failure(
            TypeError(
                f"results must be picklable, that of item {first + index} is not ({reason}); "
                "use n_jobs=1"
            )
        )
    return packed, failure, time.perf_counter() - start


def _pack_failure(error: BaseException) -> Failure:
    text = "".join(traceback.format_exception(error))
    notes = list(getattr(error, "__notes__", ()))
    try:
        packed = dumps(error)
        pickle.loads(packed)
    except Exception:
        packed = dumps(RuntimeError(f"{type(error).__name__}: {error}"))
    return packed, notes, text


def place(index: int) -> str:
    return f"raised for item {index} of the iterable given to parallel_apply"


def dumps(value: Any) -> bytes:
    return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)


def first_unsendable(values: list[Any]) -> tuple[int, Exception]:
    """Return the first value that cannot be pickled, and why."""
    for index, value in enumerate(values):
        try:
            dumps(value)
        except Exception as error:
            return index, error
    raise AssertionError("each value can be pickled, and together they cannot")
