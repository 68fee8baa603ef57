"""Where work on batches of text is done: threads, processes, or the workers of a Dask cluster.

``"thread"`` works batch after batch here, its kernels on several threads. ``"process"`` starts
processes. ``"dask"`` uses the current `distributed.Client`, or starts a cluster on this machine
for the call; a `distributed.Client` of your own is used as it is. Whatever it is, batches are
read as they are needed, at most two per worker ahead, and results come back in order.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeVar

from kexue._core import check_choice, require
from kexue.corpus.parallel import in_flight, parallel_apply

Executor = Literal["thread", "process", "dask"] | Any
T = TypeVar("T")
R = TypeVar("R")


def check_executor(executor: Executor) -> None:
    """Refuse what is neither the name of an executor nor a `distributed.Client`."""
    if not (hasattr(executor, "submit") and hasattr(executor, "nthreads")):
        check_choice("executor", executor, ("thread", "process", "dask", "a distributed.Client"))
    if executor == "dask":
        _distributed()


def n_workers(executor: Executor, n_jobs: int) -> int:
    """Return how many batches are worked on at the same time."""
    if executor == "thread":
        return 1
    return n_jobs if isinstance(executor, str) else max(1, sum(executor.nthreads().values()))


def apply_batches(
    function: Callable[[T], R], batches: Iterable[T], executor: Executor, n_jobs: int
) -> Generator[R]:
    """Yield ``function(batch)`` of every batch, in order.

    Parameters
    ----------
    function : callable
        Must be picklable, as must batches and results, unless they stay on threads.
    batches : iterable
    executor : {"thread", "process", "dask"} or distributed.Client
    n_jobs : int
        Processes, or workers of a cluster that is started here.

    Notes
    -----
    Close the generator (`contextlib.closing`), so that no process is left behind an error.
    """
    if executor == "thread":
        yield from map(function, batches)
    elif executor == "process":
        yield from parallel_apply(
            function, batches, n_jobs, batch_size=1, ordered=True, max_queue=2 * n_jobs
        )
    else:
        with _client(executor, n_jobs) as client:
            yield from _apply_on(client, function, batches)


def _apply_on(client: Any, function: Callable[[T], R], batches: Iterable[T]) -> Iterator[R]:
    wait = _distributed().wait

    def submit(batch: T) -> Any:
        # equal batches are not one task; and arrays need not be hashed for a name
        return client.submit(function, batch, pure=False)

    def wait_any(futures: list[Any]) -> None:
        wait(futures, return_when="FIRST_COMPLETED")

    for future in in_flight(submit, wait_any, batches, 2 * n_workers(client, 1), ordered=True):
        yield future.result()


@contextmanager
def _client(executor: Executor, n_jobs: int) -> Iterator[Any]:
    if executor != "dask":
        yield executor
        return
    distributed = _distributed()
    try:
        client = distributed.get_client()
    except ValueError:
        with (
            distributed.LocalCluster(
                n_workers=n_jobs, threads_per_worker=1, dashboard_address=None
            ) as cluster,
            distributed.Client(cluster) as client,
        ):
            yield client
    else:
        yield client


def _distributed() -> Any:
    return require("distributed", extra="cluster", purpose="counting on a Dask cluster")
