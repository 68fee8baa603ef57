"""A function over a stream in several processes, never far ahead of what was taken."""

import pickle
import signal
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import (
    BrokenExecutor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any, Literal, TypeVar

from kexue._core import check_choice, check_int, effective_jobs
from kexue._core.worker import dumps, first_unsendable, place, run_batch, start_worker

T = TypeVar("T")

# A batch of this length makes what a trip through the pipe costs, about 0.1 ms, small
BATCH_SECONDS = 0.03
MAX_BATCH = 1 << 16
# Signals are looked at so often, since they may wake another thread than the one that waits
_POLL_SECONDS = 0.1
# What a stopped worker may take to end before it is killed
_PATIENCE = 1.0

# joblib, which scikit-learn brings along, was tried first. With return_as="generator" its
# pre_dispatch bounds what is queued and not what is read: one result taken and two seconds of
# waiting, and joblib 1.6 had read 8,576 items of an endless iterable. Hence the pool of the
# standard library.


def parallel_apply(
    func: Callable[[Any], Any],
    iterable: Iterable[Any],
    n_jobs: int | None = None,
    *,
    batch_size: int | Literal["auto"] = "auto",
    ordered: bool = False,
    max_queue: int | None = None,
    initializer: Callable[..., Any] | None = None,
    initargs: Sequence[Any] = (),
) -> Iterator[Any]:
    """Yield ``func(item)`` for every item of a stream, computed in several processes.

    Items travel in batches, so that a cheap function is worth a process, and only so many
    batches travel at once, so that the stream may be endless. Processes are spawned, never
    forked. They end when the last result is taken, when the generator is closed, on an error
    or interrupt, and with this process, however it ends.

    Parameters
    ----------
    func : callable of one argument
        Must be picklable with more than one job: defined at the top level of a module.
    iterable : iterable
        Read in this thread, as results are taken. An error in it is raised after the results
        of the items before it.
    n_jobs : int or None
        Processes: None or 1 means this one, without any pool; -1 all processors.
    batch_size : int >= 1 or "auto"
        Items sent at once. ``"auto"`` aims at 30 ms of work by the time that batches took.
    ordered : bool
        Yield results in the order of the items; otherwise in the order in which batches
        finish.
    max_queue : int >= 1 or None
        Batches that may be on their way: read, and their results not yet taken. None means
        twice the number of jobs.
    initializer : callable, optional
        Called with `initargs` once in every process before its first item.
    initargs : sequence

    Yields
    ------
    object
        One result per item.

    Raises
    ------
    TypeError
        If `func`, an item or a result cannot be sent to another process.
    BrokenProcessPool
        If a process died, for instance killed for lack of memory; a ``RuntimeError``.
    Exception
        Whatever `func` raises; a note names the item by its index, and ``__cause__`` holds
        the traceback of the other process.

    Notes
    -----
    A script that uses processes guards its start by ``if __name__ == "__main__":``, because
    every spawned process imports it. To stop early, close the generator:
    ``with contextlib.closing(parallel_apply(...)) as results:``.

    References
    ----------
    kexue.fm, archives/7031.

    Examples
    --------
    >>> list(parallel_apply(abs, [-1, 2, -3], n_jobs=1))
    [1, 2, 3]
    """
    jobs = effective_jobs(n_jobs)
    if not callable(func):
        raise TypeError(f"func must be callable, got {func!r}")
    if not isinstance(iterable, Iterable):
        raise TypeError(f"iterable must be iterable, got {iterable!r}")
    if initializer is not None and not callable(initializer):
        raise TypeError(f"initializer must be callable or None, got {initializer!r}")
    if isinstance(batch_size, str):
        check_choice("batch_size", batch_size, ("auto",))
    else:
        check_int("batch_size", batch_size, minimum=1)
    limit = 2 * jobs if max_queue is None else check_int("max_queue", max_queue, minimum=1)
    if jobs == 1:
        return _apply_here(func, iterable, initializer, initargs)
    try:
        task = dumps((func, initializer, tuple(initargs)))
    except Exception as error:
        raise TypeError(
            f"func, initializer and initargs must be picklable for n_jobs={jobs}, got {func!r} "
            f"({error}); define functions at the top level of a module, or use n_jobs=1"
        ) from error
    batches = _Batches(iterable, batch_size)
    return _apply_in_processes(task, batches, jobs, ordered, limit)


def in_flight(
    submit: Callable[[Any], Any],
    wait_any: Callable[[list[Any]], Any],
    tasks: Iterable[Any],
    limit: int,
    ordered: bool = False,
) -> Iterator[Any]:
    """Submit tasks and yield their finished futures, with at most `limit` not yet yielded.

    Parameters
    ----------
    submit : callable
        Returns the future of a task.
    wait_any : callable
        Returns when at least one of the futures that it is given is done.
    tasks : iterable
        Read one at a time; what is done already is yielded before more is read.
    limit : int >= 1
    ordered : bool
        Yield in the order of the tasks.
    """
    pending: list[Any] = []

    def take(must: bool) -> Iterator[Any]:
        candidates = pending[:1] if ordered else pending
        if must:
            wait_any(candidates)
        for future in candidates:
            if future.done():
                pending.remove(future)
                yield future
                return

    for task in tasks:
        pending.append(submit(task))
        yield from take(must=len(pending) == limit)
    while pending:
        yield from take(must=True)


def read_ahead(items: Iterable[T], n_jobs: int = 2) -> Generator[T]:
    """Yield `items`, the next of which is made on another thread while one is worked on.

    With one job it is made when it is asked for.
    """
    if n_jobs == 1:
        yield from items
        return
    iterator, end = iter(items), object()
    with ThreadPoolExecutor(1) as pool:
        coming: Future[Any] = pool.submit(next, iterator, end)
        while (item := coming.result()) is not end:
            coming = pool.submit(next, iterator, end)
            yield item


def wait_for_any(futures: list[Future[Any]]) -> None:
    """Wait for one of several futures of this machine, hearing interrupts meanwhile."""
    while not wait(futures, timeout=_POLL_SECONDS, return_when="FIRST_COMPLETED").done:
        pass


def _apply_here(
    func: Callable[[Any], Any],
    iterable: Iterable[Any],
    initializer: Callable[..., Any] | None,
    initargs: Sequence[Any],
) -> Iterator[Any]:
    if initializer is not None:
        initializer(*initargs)
    for index, item in enumerate(iterable):
        try:
            result = func(item)
        except Exception as error:
            error.add_note(place(index))
            raise
        yield result


def _apply_in_processes(
    task: bytes, batches: "_Batches", jobs: int, ordered: bool, limit: int
) -> Iterator[Any]:
    context = _RecordingContext()
    pool = ProcessPoolExecutor(jobs, context, initializer=start_worker, initargs=(task,))
    sent: dict[Future[Any], range] = {}
    done = False

    def submit(batch: tuple[int, list[Any]]) -> Future[Any]:
        first, items = batch
        data = _pack_items(first, items)
        with _deaths_named(context, sent):
            future = pool.submit(run_batch, first, data)
        sent[future] = range(first, first + len(items))
        return future

    def wait_any(futures: list[Future[Any]]) -> None:
        while not wait(futures, timeout=_POLL_SECONDS, return_when="FIRST_COMPLETED").done:
            if any(process.exitcode is not None for process in context.started):
                context.end_reading()

    try:
        for future in in_flight(submit, wait_any, batches, limit, ordered):
            with _deaths_named(context, sent):
                data, failure, seconds = future.result()
            batches.learn(len(sent.pop(future)), seconds)
            yield from pickle.loads(data)
            if failure is not None:
                raise _unpack_error(*failure)
        done = True
    finally:
        _stop(pool, context, at_once=not done)
    if batches.failure is not None:
        raise batches.failure


class _Batches:
    """Cuts a stream into batches, of the length that their times suggest.

    Attributes
    ----------
    failure : Exception or None
        What reading the stream raised; the stream ends there.
    """

    def __init__(self, iterable: Iterable[Any], size: int | Literal["auto"]) -> None:
        self.failure: Exception | None = None
        self._iterable = iterable
        self._adapts = size == "auto"
        self._size = 1 if size == "auto" else size

    def __iter__(self) -> Iterator[tuple[int, list[Any]]]:
        """Yield (index of the first item, items)."""
        first = 0
        iterator: Iterator[Any] = iter(())
        while self.failure is None:
            batch: list[Any] = []
            try:
                if not first:
                    iterator = iter(self._iterable)
                # an item at a time, so that none is lost that comes before an error
                for item in islice(iterator, self._size):
                    batch.append(item)
            except Exception as error:
                self.failure = error
            if not batch:
                return
            yield first, batch
            first += len(batch)

    def learn(self, count: int, seconds: float) -> None:
        """Note that a batch of `count` items took so long."""
        if self._adapts:
            wanted = int(BATCH_SECONDS * count / max(seconds, 1e-9))
            # fourfold at most: the first items often differ from the rest
            most = min(max(4 * count, self._size), MAX_BATCH)
            self._size = max(1, min(wanted, most))


class _RecordingContext(SpawnContext):
    """Spawns processes and remembers them: the pool does not tell which are its own."""

    def __init__(self) -> None:
        super().__init__()
        self._spawned: list[SpawnProcess] = []

    def Process(self, *args: Any, **kwargs: Any) -> SpawnProcess:  # type: ignore[override]
        process = SpawnProcess(*args, **kwargs)
        self._spawned.append(process)
        return process

    def SimpleQueue(self) -> Any:
        self._results: Any = super().SimpleQueue()
        return self._results

    def end_reading(self) -> None:
        """Let the thread of the pool see that a result will not come to its end.

        It waits for the rest of what a dead worker was sending as long as anyone could write it.
        """
        for process in self.started:
            process.terminate()
        self._results._writer.close()

    @property
    def started(self) -> list[SpawnProcess]:
        """Those that came to life."""
        return [process for process in self._spawned if process.pid is not None]


def _stop(pool: ProcessPoolExecutor, context: _RecordingContext, *, at_once: bool) -> None:
    """End the processes of a pool: when they are done, or at once."""
    pool.shutdown(wait=not at_once, cancel_futures=True)
    if not at_once:
        return
    context.end_reading()
    deadline = time.monotonic() + _PATIENCE
    for process in context.started:
        process.join(max(0.0, deadline - time.monotonic()))
        if process.is_alive():
            process.kill()


@contextmanager
def _deaths_named(context: _RecordingContext, sent: dict[Future[Any], range]) -> Iterator[None]:
    """Say of a dead worker what ended it and what was in work."""
    try:
        yield
    except BrokenExecutor as error:
        # the pool itself terminates the workers that are left; its thread may be about to take
        # down how they ended
        deadline = time.monotonic() + _PATIENCE
        for process in context.started:
            process.join(_PATIENCE)
            while process.exitcode is None and time.monotonic() < deadline:
                time.sleep(0.001)
        codes = {process.exitcode or 0 for process in context.started} - {0}
        code = min(codes - {-signal.SIGTERM} or codes, default=None)
        if code is None:
            reason = str(error)
        elif code < 0:
            reason = f"killed by {signal.Signals(-code).name}"
            reason += ", often for lack of memory" if code == -9 else ""
        else:
            reason = f"exit code {code}"
        lost = [index for span in sent.values() for index in span] or [0]
        raise BrokenProcessPool(
            f"a worker process died ({reason}) while items {min(lost)} to {max(lost)} were on "
            "their way; if it died at its start, guard the start of your script by "
            'if __name__ == "__main__"'
        ) from error


class WorkerTraceback(Exception):
    """The traceback of another process, as text."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def _pack_items(first: int, items: list[Any]) -> bytes:
    try:
        return dumps(items)
    except Exception:
        index, error = first_unsendable(items)
        raise TypeError(
            f"items must be picklable, item {first + index} is not ({error}); use n_jobs=1"
        ) from error


def _unpack_error(packed: bytes, notes: list[str], text: str) -> BaseException:
    error: BaseException = pickle.loads(packed)
    if notes:
        error.__notes__ = notes
    error.__cause__ = WorkerTraceback(text)
    return error
