"""A stream through processes: order, bounds, errors, deaths and interrupts."""

import importlib
import itertools
import json
import multiprocessing
import operator
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool

import pytest

from kexue._core import InputError
from kexue.corpus import parallel_apply
from kexue.corpus.parallel import (
    BATCH_SECONDS,
    MAX_BATCH,
    WorkerTraceback,
    _Batches,
    in_flight,
    read_ahead,
)

BOTH = pytest.mark.parametrize("n_jobs", [1, 2])

# Spawned processes must be able to import what they run
FUNCTIONS = """
import os, time

class Odd(Exception):
    def __init__(self, text, number):
        super().__init__(text)

def refuse(item):
    if item == 7:
        raise Odd("seven", 7)
    return item

def after(pair):
    time.sleep(pair[0])
    return pair[1]

def tell_and_sleep(path):
    with open(path, "a") as file:
        file.write(f"{os.getpid()}\\n")
    time.sleep(60)
"""
SCRIPT = """
import itertools, sys
import functions_of_test_parallel as functions
from kexue.corpus import parallel_apply

if __name__ == "__main__":
    results = parallel_apply(functions.tell_and_sleep, itertools.repeat(sys.argv[1]), 2)
    print(next(results))
"""


@pytest.fixture(scope="module")
def functions(tmp_path_factory):
    folder = tmp_path_factory.mktemp("functions")
    (folder / "functions_of_test_parallel.py").write_text(FUNCTIONS)
    sys.path.insert(0, str(folder))  # which spawned processes are given, too
    yield importlib.import_module("functions_of_test_parallel")
    sys.path.remove(str(folder))


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def seconds_until(condition, limit=20.0):
    start = time.perf_counter()
    while not condition():
        assert time.perf_counter() - start < limit
        time.sleep(0.01)
    return time.perf_counter() - start


def no_children():
    """Wait for the children that are on record, at most two seconds: they are dead already."""
    return seconds_until(lambda: not multiprocessing.active_children(), 2.0) < 2.0


# --- results


@BOTH
@pytest.mark.parametrize("batch_size", ["auto", 7])
def test_results(n_jobs, batch_size):
    items = list(range(100))
    expected = [-item for item in items]
    for ordered in (True, False):
        found = list(
            parallel_apply(operator.neg, items, n_jobs, batch_size=batch_size, ordered=ordered)
        )
        assert (found if ordered else sorted(found, reverse=True)) == expected
    assert no_children()


@BOTH
def test_nothing_in_nothing_out(n_jobs):
    assert list(parallel_apply(operator.neg, [], n_jobs)) == []


def test_order(functions):
    items = [(1.5, "late"), (0, "soon"), (0, "then")]
    for ordered, first in ((True, "late"), (False, "soon")):
        results = parallel_apply(functions.after, items, 2, batch_size=1, ordered=ordered)
        assert next(results) == first
        assert sorted(results) == sorted({"late", "soon", "then"} - {first})


def test_one_job_stays_in_this_process():
    calls = []
    mark = object()  # equal to nothing but itself
    results = parallel_apply(
        lambda item: (item, mark), iter([1, 2]), None, initializer=calls.append, initargs=(3,)
    )
    assert calls == []  # nothing happens before the first result is asked for
    assert list(results) == [(1, mark), (2, mark)]
    assert calls == [3]


@BOTH
def test_the_initializer_runs_first(n_jobs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "inside").mkdir()
    results = parallel_apply(
        os.path.abspath, ["x"] * 4, n_jobs, initializer=os.chdir, initargs=[tmp_path / "inside"]
    )
    assert list(results) == [str(tmp_path / "inside" / "x")] * 4


# --- how far ahead the stream is read


@pytest.mark.parametrize(("batch_size", "max_queue"), [(1, 3), (5, 2), (4, None)])
def test_an_endless_stream_is_read_no_further_than_the_queue(batch_size, max_queue):
    read = 0

    def numbers():
        nonlocal read
        while True:
            yield read
            read += 1

    results = parallel_apply(
        operator.neg, numbers(), 2, batch_size=batch_size, max_queue=max_queue, ordered=True
    )
    for taken in range(1, 60):
        assert next(results) == 1 - taken
        if taken in (1, 30):
            time.sleep(0.2)  # time enough to read ahead
        # the batches on their way, and what is left of the one being taken
        assert read <= taken + batch_size * ((max_queue or 4) + 1)
    results.close()
    assert no_children()


def test_one_job_reads_nothing_ahead():
    numbers = itertools.count()
    results = parallel_apply(operator.neg, numbers)
    assert list(itertools.islice(results, 5)) == [0, -1, -2, -3, -4]
    assert next(numbers) == 5


@pytest.mark.parametrize("ordered", [True, False])
def test_no_more_than_the_limit_are_in_flight(ordered):
    """Futures that are done only when waited for, the last one first if it may be."""
    open_futures = []

    def submit(task):
        future = Future()
        future.task = task
        open_futures.append(future)
        return future

    def wait_any(futures):
        assert len(open_futures) <= 3
        futures[-1].set_result(None)
        open_futures.remove(futures[-1])

    taken = [future.task for future in in_flight(submit, wait_any, range(7), 3, ordered)]
    assert taken == (list(range(7)) if ordered else [2, 3, 4, 5, 6, 1, 0])


def test_what_is_done_is_given_before_more_is_read():
    read = []

    def tasks():
        for task in range(3):
            read.append(task)
            yield task

    def submit(task):
        future = Future()
        future.set_result(task)
        return future

    for future in in_flight(submit, None, tasks(), 10):
        assert read[-1] == future.result()


def test_batches_aim_at_a_length_in_time():
    batches = _Batches(itertools.count(), "auto")
    lengths = []
    for first, items in itertools.islice(batches, 12):
        assert items == list(range(first, first + len(items)))
        lengths.append(len(items))
        batches.learn(len(items), 1e-5 * len(items))
    assert lengths[:3] == [1, 4, 16]
    assert lengths[-1] == pytest.approx(BATCH_SECONDS / 1e-5, abs=1)
    batches.learn(1000, 1000 * BATCH_SECONDS)  # the work became heavy
    assert len(next(iter(batches))[1]) == 1
    for _ in range(20):  # and then nothing
        batches.learn(batches._size, 0.0)
    assert batches._size == MAX_BATCH


# --- errors


@BOTH
def test_an_error_comes_with_its_place_and_its_traceback(n_jobs):
    documents = ["1", "2", "[3", "4"]
    results = parallel_apply(json.loads, documents, n_jobs, batch_size=2, ordered=True)
    assert [next(results), next(results)] == [1, 2]
    with pytest.raises(json.JSONDecodeError, match="delimiter") as caught:
        next(results)
    assert caught.value.__notes__ == ["raised for item 2 of the iterable given to parallel_apply"]
    if n_jobs > 1:
        assert isinstance(caught.value.__cause__, WorkerTraceback)
        assert "in raw_decode" in str(caught.value.__cause__)
    assert next(results, None) is None
    assert no_children()


def test_an_error_that_cannot_travel_is_told(functions):
    results = parallel_apply(functions.refuse, range(9), 2, batch_size=4, ordered=True)
    assert [next(results) for _ in range(7)] == list(range(7))
    with pytest.raises(RuntimeError, match=r"^Odd: seven\n") as caught:
        next(results)
    assert "for item 7 " in caught.value.__notes__[0]
    assert "in refuse" in str(caught.value.__cause__)


@BOTH
def test_an_error_in_the_stream_comes_after_the_results_before_it(n_jobs):
    def stream():
        yield from range(5)
        raise OSError("the disk is gone")

    results = parallel_apply(operator.neg, stream(), n_jobs, batch_size=3, ordered=True)
    assert [next(results) for _ in range(5)] == [0, -1, -2, -3, -4]
    with pytest.raises(OSError, match="the disk is gone"):
        next(results)
    assert no_children()


def test_an_initializer_that_fails(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        list(parallel_apply(abs, [1], 2, initializer=os.chdir, initargs=[tmp_path / "none"]))
    assert "in _load_task" in str(caught.value.__cause__)
    assert no_children()


def test_what_cannot_be_sent():
    with pytest.raises(
        TypeError, match=r"must be picklable for n_jobs=2, got <function .*n_jobs=1"
    ):
        parallel_apply(lambda item: item, [], 2)
    with pytest.raises(TypeError, match="items must be picklable, item 3 is not"):
        list(parallel_apply(abs, [1, 2, 3, lambda: 4], 2, batch_size=2))
    results = parallel_apply(open, [os.devnull], 2)
    with pytest.raises(TypeError, match="results must be picklable, that of item 0 is not"):
        list(results)
    assert no_children()


def test_a_function_that_the_other_process_does_not_find(monkeypatch):
    def hidden(item):
        return item

    hidden.__module__, hidden.__qualname__ = "__main__", "hidden"
    monkeypatch.setattr(sys.modules["__main__"], "hidden", hidden, raising=False)
    with pytest.raises(TypeError, match=r"func cannot be loaded in another process .*hidden"):
        list(parallel_apply(hidden, [1], 2))


@pytest.mark.parametrize(
    ("function", "item", "reason"),
    [
        (signal.raise_signal, signal.SIGKILL, "killed by SIGKILL, often for lack of memory"),
        (os._exit, 3, "exit code 3"),
    ],
)
def test_a_worker_that_dies_is_told_and_not_waited_for(function, item, reason):
    results = parallel_apply(function, [item], 2)
    message = rf"a worker process died \({reason}\) while items 0 to 0 were on their way"
    with pytest.raises(BrokenProcessPool, match=message):
        list(results)
    assert no_children()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"func": 3}, TypeError, "func must be callable, got 3"),
        ({"iterable": 3}, TypeError, "iterable must be iterable, got 3"),
        ({"n_jobs": 0}, InputError, "n_jobs must be an int >= 1, or negative"),
        ({"batch_size": 0}, InputError, "batch_size must be an int >= 1, got 0"),
        ({"batch_size": "big"}, InputError, "batch_size must be one of 'auto', got 'big'"),
        ({"max_queue": 0}, InputError, "max_queue must be an int >= 1, got 0"),
        ({"initializer": 3}, TypeError, "initializer must be callable or None, got 3"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        parallel_apply(**({"func": abs, "iterable": [1]} | arguments))


# --- stopping early


def test_closing_ends_workers_in_the_middle_of_their_work(functions):
    results = parallel_apply(functions.after, [(0, "a"), *[(60, "b")] * 5], 2, batch_size=1)
    assert next(results) == "a"
    start = time.perf_counter()
    results.close()
    assert no_children()
    assert time.perf_counter() - start < 2.0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_program_leaves_no_process(functions, tmp_path, number):
    """SIGINT to the parent alone, as from a program, and SIGKILL, which no parent hears."""
    script, pids = tmp_path / "script.py", tmp_path / "pids"
    script.write_text(SCRIPT)
    folder = os.path.dirname(functions.__file__)
    process = subprocess.Popen(
        [sys.executable, str(script), str(pids)],
        env={**os.environ, "PYTHONPATH": folder},
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    seconds_until(lambda: pids.exists() and len(pids.read_text().split()) == 2)
    workers = [int(pid) for pid in pids.read_text().split()]
    assert all(map(is_alive, workers))
    process.send_signal(number)
    assert seconds_until(lambda: not any(map(is_alive, workers))) < 2.0
    _, errors = process.communicate(timeout=2.0)
    if number == signal.SIGINT:
        assert errors.rstrip().endswith(b"KeyboardInterrupt")
        assert errors.count(b"Traceback") == 1  # none from a worker


LARGE = """
import contextlib, itertools, sys
from kexue.corpus import parallel_apply

def large(n):
    return bytes(50_000_000)

if __name__ == "__main__":
    with contextlib.closing(parallel_apply(large, itertools.count(), 2, batch_size=1)) as results:
        next(results)
    print("closed", flush=True)
"""


def test_closing_while_large_results_are_sent(tmp_path):
    """A worker that dies in the middle of a result must not be waited for."""
    script = tmp_path / "large.py"
    script.write_text(LARGE)
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, script], capture_output=True, text=True, timeout=60, check=True
        )
        assert done.stdout == "closed\n"


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_reading_ahead_keeps_order_and_errors(n_jobs):
    def items():
        yield from range(5)
        raise LookupError("the sixth")

    seen = []
    with pytest.raises(LookupError, match="the sixth"):
        seen.extend(read_ahead(items(), n_jobs))
    taken = read_ahead(items(), n_jobs)
    assert [next(taken), next(taken)] == [0, 1]
    taken.close()  # waits for what is under way, and no more


def test_the_next_item_is_made_meanwhile():
    """With two threads alone; both sides would wait for ever if they took turns."""
    made, going_on = threading.Event(), threading.Event()

    def items():
        yield 1
        assert going_on.wait(20)
        made.set()
        yield 2

    for item in read_ahead(items()):
        if item == 1:
            going_on.set()
            assert made.wait(20)
