"""What every room leans on: messages, atomic files, sizes, seeds."""

import os
import signal
import threading
import time

import numpy as np
import pytest

from kexue._core import (
    InputError,
    atomic_path,
    check_choice,
    check_float,
    check_int,
    check_seed,
    check_texts_argument,
    effective_jobs,
    format_memory,
    interruptible,
    parse_memory,
    require,
    thread_map,
    write_text,
)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: check_int("n", 0, minimum=1), InputError, "n must be an int >= 1, got 0"),
        (
            lambda: check_int("n", 9, minimum=1, maximum=8),
            InputError,
            r"n must be an int in \[1, 8\], got 9",
        ),
        (lambda: check_int("n", True), TypeError, "n must be an int, got True"),
        (lambda: check_int("n", "4", maximum=3), TypeError, "n must be an int <= 3, got '4'"),
        (
            lambda: check_float("p", float("nan"), minimum=0),
            InputError,
            "p must be a finite number >= 0, got nan",
        ),
        (lambda: check_float("p", 2, maximum=1.5), InputError, "p must be a finite number <= 1.5"),
        (lambda: check_float("p", None), TypeError, "p must be a finite number, got None"),
        (
            lambda: check_choice("flow", "up", ("directed", "rawdir")),
            InputError,
            "flow must be one of 'directed', 'rawdir', got 'up'",
        ),
        (lambda: check_texts_argument("abc"), TypeError, "must be an iterable of str, got one str"),
        (lambda: check_texts_argument(b"abc"), TypeError, "got one bytes"),
        (lambda: parse_memory("2 apples"), InputError, "memory must be a size such as '500MB'"),
        (lambda: parse_memory(0), InputError, "got 0"),
        (lambda: parse_memory(1.5), TypeError, "got 1.5"),
        (lambda: effective_jobs(0), InputError, "n_jobs must be an int >= 1, or negative"),
        (
            lambda: check_seed(-1),
            InputError,
            r"random_state must be None, an int in \[0, 2\*\*32\)",
        ),
        (lambda: check_seed("x"), InputError, "got 'x'"),
        (
            lambda: require("kexue_absent", extra="demo", purpose="the demo"),
            ImportError,
            r'kexue_absent is needed for the demo .* pip install "kexue\[demo\]"',
        ),
    ],
)
def test_bad_values_are_answered_by_their_message(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(
    ("text", "size"),
    [("2GB", 2 * 10**9), ("1.5 GiB", 3 * 2**29), ("500mb", 5 * 10**8), (12, 12), ("7", 7)],
)
def test_memory_sizes(text, size):
    assert parse_memory(text) == size


def test_memory_for_people():
    assert [format_memory(x) for x in (12, 2e9, 1.5e13)] == ["12 B", "2.0 GB", "15.0 TB"]


def test_atomic_path_replaces_whole_files_or_nothing(tmp_path):
    target = tmp_path / "deep" / "result.json"
    write_text(target, "旧\n")

    def fail_half_way():
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError("disk")

    with pytest.raises(RuntimeError, match="disk"):
        fail_half_way()
    assert target.read_text(encoding="utf-8") == "旧\n"
    assert os.listdir(target.parent) == ["result.json"]
    with atomic_path(target) as temporary:
        assert temporary.suffix == ".json"
        temporary.write_text("new")
    assert target.read_text() == "new"
    assert target.stat().st_mode & 0o600 == 0o600


def test_seeds_repeat():
    assert check_seed(7) == 7
    assert check_seed(np.random.RandomState(3)) == check_seed(np.random.RandomState(3))
    assert check_seed(np.random.default_rng(3)) == check_seed(np.random.default_rng(3))
    assert check_seed(None) != check_seed(None)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_thread_map_keeps_order_and_errors(n_jobs):
    assert thread_map(lambda x: x * x, range(20), n_jobs) == [x * x for x in range(20)]
    with pytest.raises(ZeroDivisionError):
        thread_map(lambda x: 1 // x, [1, 0], n_jobs)


def test_jobs():
    everyone = effective_jobs(-1)
    assert everyone >= effective_jobs(None) == 1
    assert effective_jobs(-2) == max(1, everyone - 1)
    assert effective_jobs(3) == 3


def test_interruptible_returns_and_raises():
    assert interruptible(lambda stop: 3) == 3
    with pytest.raises(ZeroDivisionError):
        interruptible(lambda stop: 1 // 0)


def test_interruptible_hears_the_interrupt_before_the_function_ends():
    ended = []

    def work(stop):
        while not stop[0]:
            time.sleep(0.01)
        ended.append(True)

    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    start = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        interruptible(work)
    assert time.perf_counter() - start < 1.0
    time.sleep(0.2)
    assert ended == [True]


def test_lazy_names_load_on_first_use_and_name_the_missing_package(monkeypatch, tmp_path):
    room = tmp_path / "one_room"
    room.mkdir()
    (room / "__init__.py").write_text(
        "from kexue._core import lazy_names\n"
        "homes = {'method': 'method', 'other': 'method', 'gone': 'needs'}\n"
        "__getattr__, __dir__ = lazy_names(__name__, homes, extra='x')\n"
    )
    (room / "method.py").write_text("def method(): return 1\nother = 2\n")
    (room / "needs.py").write_text("import no_such_package\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import one_room

    assert dir(one_room) == ["gone", "method", "other"]
    assert one_room.other == 2
    # loading the module has not bound it over the function of the same name
    assert one_room.method() == 1
    with pytest.raises(AttributeError, match="module 'one_room' has no attribute 'none'"):
        _ = one_room.none
    with pytest.raises(
        ImportError, match=r'no_such_package is needed .*: pip install "kexue\[x\]"'
    ):
        _ = one_room.gone
