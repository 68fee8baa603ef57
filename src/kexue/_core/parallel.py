"""Threads for kernels that release the interpreter's lock."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from threading import Event
from typing import TypeVar

from kexue._core.errors import InputError
from kexue._core.validation import check_int

T = TypeVar("T")
R = TypeVar("R")


def effective_jobs(n_jobs: int | None) -> int:
    """Return the number of threads for `n_jobs`.

    As in scikit-learn: ``None`` means 1, ``-1`` every processor that this process may use,
    ``-2`` all but one.
    """
    if n_jobs is None:
        return 1
    jobs = check_int("n_jobs", n_jobs)
    if jobs == 0:
        raise InputError("n_jobs must be an int >= 1, or negative: -1 means all processors; got 0")
    if jobs > 0:
        return jobs
    processors = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    return max(1, processors + 1 + jobs)


def thread_map(function: Callable[[T], R], items: Iterable[T], n_jobs: int) -> list[R]:
    """Return ``[function(item) for item in items]``, computed on `n_jobs` threads, in order."""
    if n_jobs == 1:
        return [function(item) for item in items]
    with ThreadPoolExecutor(n_jobs) as pool:
        return list(pool.map(function, items))


def interruptible(function: Callable[[bytearray], R]) -> R:
    """Return ``function(stop)``, computed on another thread, so that this one hears an interrupt.

    A compiled kernel does not. After a keyboard interrupt ``stop[0]`` is 1, and the function is to
    return soon; nobody waits for it.
    """
    pool = ThreadPoolExecutor(1)
    stop = bytearray(1)  # which a kernel can look at
    try:
        future = pool.submit(function, stop)
        # not for ever, because the signal may wake another thread than this one
        while not wait([future], timeout=0.1).done:
            pass
        return future.result()
    except BaseException:
        stop[0] = 1
        raise
    finally:
        pool.shutdown(wait=False)


@contextmanager
def run_beside(function: Callable[[Event], R], n_jobs: int) -> Iterator[Callable[[], R]]:
    """Compute ``function(stop)`` on a thread of its own while the body runs.

    Yields a callable that waits for the result. With one job nothing runs beside: the work is
    done when its result is asked for. If the body raises, `stop` is set, and `function` is to
    return soon, whatever it returns.
    """
    stop = Event()
    if n_jobs == 1:
        yield lambda: function(stop)
        return
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(function, stop)
        try:
            yield future.result
        except BaseException:
            stop.set()
            raise
