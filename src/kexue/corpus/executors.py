"""Where work on batches of text is done: threads, processes, or the workers of a Dask cluster.

``"thread"`` works here: batch after batch, its kernels on several threads, while the next batch
is read and the result before is taken; or on several batches side by side. ``"process"`` starts
processes. ``"dask"`` uses the current `distributed.Client`, or starts a cluster on this machine
for the call; a `distributed.Client` of your own is used as it is. Whatever it is, batches are
read as they are needed, at most two per worker ahead.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

from kexue._core import InputError, check_choice, require
from kexue.corpus.parallel import in_flight, parallel_apply, read_ahead, wait_for_any

Executor = Literal["thread", "process", "dask"] | Any
T = TypeVar("T")
R = TypeVar("R")
_PATIENCE = 10.0  # seconds that a scheduler may take to answer, or its first worker to come


def check_executor(executor: Executor, *others: str) -> None:
    """Refuse what is neither the name of an executor, of `others`, nor a `distributed.Client`.

    A client that is closed or has no workers is refused too: work would wait there in vain.
    """
    if hasattr(executor, "submit") and hasattr(executor, "nthreads"):
        _check_client(executor)
        return
    names = (*others, "thread", "process", "dask", "a distributed.Client")
    check_choice("executor", executor, names)
    if executor == "dask":
        _distributed()


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Yield a client of the Dask scheduler at an address, and close it afterwards.

    Parameters
    ----------
    address : str
        Such as ``"tcp://127.0.0.1:8786"``.

    Raises
    ------
    InputError
        If nothing answers there, or the scheduler has no workers.
    ImportError
        Without the extra ``cluster``.
    """
    distributed = _distributed()
    try:
        parts = urlsplit(address)
        # a client that finds no scheduler keeps trying, also while the program ends
        with socket.create_connection((parts.hostname, parts.port or 0), _PATIENCE):
            pass
        client = distributed.Client(address, timeout=_PATIENCE)
    except (OSError, ValueError) as error:
        raise InputError(
            f"no Dask scheduler answers at {address} ({error}); start one, `dask scheduler`, and "
            "give the address that it prints, such as tcp://127.0.0.1:8786"
        ) from error
    with client:
        _check_client(client)
        yield client


def n_workers(executor: Executor, n_jobs: int, *, side_by_side: bool = False) -> int:
    """Return how many batches are worked on at the same time."""
    if executor == "thread" and not side_by_side:
        return 1
    return n_jobs if isinstance(executor, str) else max(1, sum(executor.nthreads().values()))


def apply_batches(
    function: Callable[[T], R],
    batches: Iterable[T],
    executor: Executor,
    n_jobs: int,
    *,
    ordered: bool = True,
    side_by_side: bool = False,
) -> Generator[R]:
    """Yield ``function(batch)`` of every batch.

    Parameters
    ----------
    function : callable
        Must be picklable, as must batches and results, unless they stay on threads.
    batches : iterable
    executor : {"thread", "process", "dask"} or distributed.Client
    n_jobs : int
        Threads, processes, or workers of a cluster that is started here.
    ordered : bool
        Yield results in the order of the batches; otherwise as they come.
    side_by_side : bool
        Whether each thread has a batch of its own.

    Notes
    -----
    Close the generator (`contextlib.closing`), so that no process is left behind an error.
    """
    if executor == "thread" and side_by_side and n_jobs > 1:
        yield from _apply_on_threads(function, batches, n_jobs, ordered)
    elif executor == "thread":
        yield from read_ahead(map(function, read_ahead(batches, n_jobs)), n_jobs)
    elif executor == "process":
        yield from parallel_apply(
            function, batches, n_jobs, batch_size=1, ordered=ordered, max_queue=2 * n_jobs
        )
    else:
        with open_executor(executor, n_jobs) as client:
            yield from _apply_on(client, function, batches, ordered)


def _apply_on_threads(
    function: Callable[[T], R], batches: Iterable[T], n_jobs: int, ordered: bool
) -> Iterator[R]:
    pool = ThreadPoolExecutor(n_jobs)
    try:

        def submit(batch: T) -> Future[R]:
            return pool.submit(function, batch)

        for future in in_flight(submit, wait_for_any, batches, 2 * n_jobs, ordered):
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _apply_on(
    client: Any, function: Callable[[T], R], batches: Iterable[T], ordered: bool
) -> Iterator[R]:
    wait = _distributed().wait
    # once to every worker, not with every batch
    shared = client.scatter(function, broadcast=True, hash=False)
    pending = set()

    def submit(batch: T) -> Any:
        # large arrays are no part of a task; equal batches are not one task, so nothing is hashed
        data = client.scatter(batch, hash=False)
        future = client.submit(_call, shared, data, pure=False)
        pending.add(future)
        return future

    def wait_any(futures: list[Any]) -> None:
        with client.as_current():  # it need not be the default one
            wait(futures, return_when="FIRST_COMPLETED")

    try:
        for future in in_flight(submit, wait_any, batches, 2 * n_workers(client, 1), ordered):
            yield future.result()
            pending.discard(future)
    finally:
        for future in pending:
            future.cancel()


def _call(function: Callable[[T], R], batch: T) -> R:
    return function(batch)


@contextmanager
def open_executor(executor: Executor, n_jobs: int) -> Iterator[Any]:
    """Yield an executor for several calls: a client in place of ``"dask"``, others as they are."""
    if executor != "dask":
        yield executor
        return
    distributed = _distributed()
    try:
        client = distributed.get_client()
    except ValueError:
        with (
            distributed.LocalCluster(
                n_workers=n_jobs, threads_per_worker=1, dashboard_address="127.0.0.1:0"
            ) as cluster,
            distributed.Client(cluster) as client,
        ):
            yield client
    else:
        yield client


def _check_client(client: Any) -> None:
    if client.status != "running":
        raise InputError(
            f"executor must be a running distributed.Client, got one that is {client.status}"
        )
    with suppress(TimeoutError):  # workers that have just been started take a moment
        client.wait_for_workers(1, timeout=_PATIENCE)
    if not client.nthreads():
        address = client.scheduler.address
        raise InputError(
            f"executor must have workers, but the scheduler at {address} has none; "
            f"start one: dask worker {address}"
        )


def _distributed() -> Any:
    return require("distributed", extra="cluster", purpose="counting on a Dask cluster")
