"""Counting beyond memory: runs on disk, executors, resuming, tables that stay on disk."""

import gc
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kexue._core import InputError
from kexue.corpus import NGramCounts, count_ngrams, read_texts
from kexue.corpus._levels import levels_in_memory
from kexue.corpus._runs import ColumnWriter, Keys, Run, count_run, merge


def contents(counts):
    return [counts.alphabet.tobytes()] + [
        values.tobytes() for level in counts.levels[1:] for _, values in level.columns()
    ]


@pytest.fixture(scope="module")
def shuihu(data):
    path = data("zh-novels/shuihu.txt.xz")
    return path, contents(count_ngrams(path, 4))


def test_a_table_on_disk_answers_like_one_in_memory(data, tmp_path):
    path = data("zh-novels/shuihu.txt.xz")
    memory = count_ngrams(path, 3)
    disk = count_ngrams(path, 3, memory="20MB", workdir=tmp_path)
    assert isinstance(disk.levels[3].counts, np.memmap)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ngrams"]
    assert contents(disk) == contents(memory)
    for order in (1, 2, 3):
        assert disk.top(order, 20) == memory.top(order, 20)
    assert disk.entropy("left", 2).tolist() == memory.entropy("left", 2).tolist()
    loaded = NGramCounts.load(tmp_path / "ngrams", mmap=False)
    assert contents(loaded.pruned(5)) == contents(count_ngrams(path, 3, min_count=5))


@pytest.mark.parametrize("executor", ["process", "dask"])
def test_same_tables_from_other_executors(shuihu, executor):
    path, reference = shuihu
    counts = count_ngrams(path, 4, memory="20MB", n_jobs=2, executor=executor)
    assert contents(counts) == reference


def test_a_client_of_ones_own(shuihu):
    from distributed import Client, LocalCluster

    path, reference = shuihu
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        counts = count_ngrams(path, 4, memory="20MB", executor=client)
    assert contents(counts) == reference


CHILD = """
import sys, time
from pathlib import Path
from kexue.corpus import count_ngrams
if __name__ == "__main__":
    count_ngrams(
        Path(sys.argv[1]), 4, memory="8MB", workdir=sys.argv[2], executor=sys.argv[3], n_jobs=2,
        progress=lambda done, total: time.sleep(0.05),
    )
"""


def runs_of(work):
    return [p for p in (work / ".ngram-runs").glob("run-*") if p.suffix != ".part"]


def start(tmp_path, path, executor):
    script = tmp_path / "count.py"
    script.write_text(CHILD)
    work = tmp_path / "work"
    # a group of its own, so that the signal of one child does not reach this process
    child = subprocess.Popen(
        [sys.executable, script, path, work, executor],
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while len(runs_of(work)) < 3:
        assert child.poll() is None, "finished before it could be stopped"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return child, work


@pytest.mark.parametrize("wait", [0.0, 0.03, 0.2])
def test_a_killed_count_goes_on(shuihu, tmp_path, wait):
    path, reference = shuihu
    child, work = start(tmp_path, path, "thread")
    time.sleep(wait)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    left = {p: p.stat().st_mtime_ns for p in runs_of(work)}
    used = []
    counts = count_ngrams(
        path,
        4,
        memory="8MB",
        workdir=work,
        progress=lambda done, total: used.append(
            sum(p.exists() and p.stat().st_mtime_ns == t for p, t in left.items())
        ),
    )
    assert contents(counts) == reference
    assert len(left) >= 3
    assert used[-1] == len(left)  # none was counted again


def test_what_another_text_left_is_not_used(shuihu, data, tmp_path):
    path, _ = shuihu
    child, work = start(tmp_path, path, "thread")
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    other = data("zh-novels/sanguo.txt.xz")
    counts = count_ngrams(other, 4, memory="8MB", workdir=work)
    assert contents(counts) == contents(count_ngrams(other, 4))


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_an_interrupt_leaves_no_child(shuihu, tmp_path, executor):
    child, _ = start(tmp_path, shuihu[0], executor)
    os.kill(child.pid, signal.SIGINT)
    deadline = time.monotonic() + 2
    child.wait(timeout=2)
    while time.monotonic() < deadline and alive(child.pid):
        time.sleep(0.01)
    assert not alive(child.pid)


def alive(group):
    """Return the processes of a group; a dead one that nobody has waited for yet is none."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except (ProcessLookupError, psutil.NoSuchProcess):
            pass
    return found


LETTERS = ["".join(chr(0x4E00 + i) for i in np.random.default_rng(0).integers(0, 9, 4000))] * 2


class Stop(Exception):
    pass


def stop_after(batches):
    def progress(done, total):
        seen.append(done)
        if len(seen) == batches:
            raise Stop

    seen = []
    return progress


def interrupted(work, batches=2, **options):
    """Leave the runs of so many batches."""
    with pytest.raises(Stop):
        count_ngrams(LETTERS, 3, workdir=work, progress=stop_after(batches), **options)
    return runs_of(work)


@pytest.mark.parametrize(
    "changed", [{"memory": 41_000}, {"order": 5}, {"boundary": lambda codes: codes == 0x4E00}]
)
def test_runs_of_another_count_are_not_used(tmp_path, changed):
    assert interrupted(tmp_path, memory=40_000)
    options = {"memory": 40_000, "order": 3} | changed
    counts = count_ngrams(LETTERS, workdir=tmp_path, **options)
    options["memory"] = "2GB"
    assert contents(counts) == contents(count_ngrams(LETTERS, **options))


def test_the_same_ids_cut_elsewhere_are_another_run(tmp_path, monkeypatch):
    """Near the end of a text, batches of several lengths have the same ids, as context."""
    text = ["abcdefgh" * 25]
    reference = contents(count_ngrams(text, 8))
    sizes = iter([195, 198])
    monkeypatch.setattr("kexue.corpus.counting._batch_size", lambda *_: next(sizes))
    with pytest.raises(Stop):
        count_ngrams(text, 8, workdir=tmp_path, progress=stop_after(1))
    assert contents(count_ngrams(text, 8, workdir=tmp_path)) == reference


def test_without_resuming_all_is_counted_again(tmp_path):
    left = {run: run.stat().st_mtime_ns for run in interrupted(tmp_path, memory=40_000)}
    fresh = []
    counts = count_ngrams(
        LETTERS,
        3,
        memory=40_000,
        workdir=tmp_path,
        resume=False,
        progress=lambda done, total: fresh.append(
            all(not run.exists() or run.stat().st_mtime_ns != t for run, t in left.items())
        ),
    )
    assert contents(counts) == contents(count_ngrams(LETTERS, 3))
    assert fresh[-1]


def test_a_finished_table_is_used_again(tmp_path, monkeypatch):
    count_ngrams(LETTERS, 3, memory=40_000, workdir=tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr("kexue.corpus._spilling.count_run", lambda *_: pytest.fail("counted"))
        again = count_ngrams(LETTERS, 3, memory=30_000, workdir=tmp_path, min_count=2)
    assert contents(again) == contents(count_ngrams(LETTERS, 3, min_count=2))


@pytest.mark.parametrize(
    ("changed", "options"),
    [
        ([LETTERS[0], LETTERS[1][::-1]], {}),
        (LETTERS, {"order": 2}),
        (LETTERS, {"boundary": lambda codes: codes == 0x4E00}),
        (LETTERS, {"resume": False}),
    ],
)
def test_a_finished_table_of_another_count_is_not_used(tmp_path, monkeypatch, changed, options):
    count_ngrams(LETTERS, 3, memory=40_000, workdir=tmp_path)
    counted = []
    monkeypatch.setattr(
        "kexue.corpus._spilling.count_run", lambda *a: counted.append(1) or count_run(*a)
    )
    options = {"order": 3} | options
    found = count_ngrams(changed, memory=40_000, workdir=tmp_path, **options)
    assert counted
    assert contents(found) == contents(count_ngrams(changed, **options))


def test_progress_covers_merging(tmp_path, monkeypatch):
    """It is complete when the table is there, not before, and never goes back."""
    monkeypatch.setattr("kexue.corpus._spilling.FAN_IN", 3)
    seen = []

    def progress(done, total):
        seen.append((done, total, (tmp_path / "ngrams").exists()))

    count_ngrams(LETTERS, 3, memory=40_000, workdir=tmp_path, progress=progress)
    size = sum(len(document) + 1 for document in LETTERS)
    assert {total for _, total, _ in seen} == {2 * size}
    done = [done for done, _, _ in seen]
    assert done == sorted(done)
    assert done[-1] == 2 * size
    assert [there for _, _, there in seen].index(True) == len(seen) - 1
    assert len([d for d in done if size < d < 2 * size]) > 3
    seen.clear()
    count_ngrams(LETTERS, 3, progress=progress)
    assert [(done, total) for done, total, _ in seen] == [(2 * size, 2 * size)]


def test_files_of_others_are_left_alone(tmp_path):
    (tmp_path / "run-2026").mkdir()
    (tmp_path / "run-2026" / "results.csv").write_text("1")
    count_ngrams(LETTERS, 3, memory=40_000, workdir=tmp_path)
    assert (tmp_path / "run-2026" / "results.csv").read_text() == "1"
    shutil.rmtree(tmp_path / "ngrams")
    (tmp_path / "ngrams").mkdir()
    with pytest.raises(InputError, match="ngrams exists and is not a table of n-grams"):
        count_ngrams(lambda: pytest.fail("read"), 3, workdir=tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="workdir must be a folder"):
        count_ngrams(LETTERS, 3, workdir=tmp_path / "file")


def test_a_folder_in_use(tmp_path):
    messages = []

    def progress(done, total):
        if done == total:  # the table is there
            return
        with pytest.raises(InputError, match="is in use by another process") as caught:
            count_ngrams(LETTERS, 3, memory=40_000, workdir=tmp_path)
        messages.append(str(caught.value))

    count_ngrams(LETTERS, 3, memory=40_000, workdir=tmp_path, progress=progress)
    assert len(messages) > 2


@pytest.mark.parametrize("full", ["counts.npy", "word-00.npy", "last-2.npy"])
def test_a_full_disk(tmp_path, monkeypatch, full):
    """What is half written never has a name that would be believed."""
    write = ColumnWriter.append

    def fail(self, values):
        if self._file.name.endswith(full) and self.size:
            raise OSError(28, "No space left on device")
        write(self, values)

    with monkeypatch.context() as patched:
        patched.setattr(ColumnWriter, "append", fail)
        patched.setattr("kexue.corpus._runs.count_run", count_in_parts)
        patched.setattr("kexue.corpus._spilling.count_run", count_in_parts)
        with pytest.raises(OSError, match="No space left"):
            count_ngrams(LETTERS, 3, memory=40_000, workdir=tmp_path)
    assert not (tmp_path / "ngrams").exists()
    if not full.startswith("last"):
        assert not runs_of(tmp_path)
    counts = count_ngrams(LETTERS, 3, memory=40_000, workdir=tmp_path)
    assert contents(counts) == contents(count_ngrams(LETTERS, 3))


def count_in_parts(ids, n, keys, n_jobs):
    """As count_run, in several parts, so that a file is written in several steps."""
    (run,) = count_run(ids, n, keys)
    half = run.size // 2
    return [run.part(0, half), run.part(half)]


def test_a_text_that_changes_between_its_readings():
    texts = iter([["one two"], ["one two three"]])
    with pytest.raises(InputError, match="the texts changed while they were counted"):
        count_ngrams(lambda: next(texts), 2, memory=100)


def test_many_runs_are_merged_in_steps(monkeypatch, tmp_path):
    monkeypatch.setattr("kexue.corpus._spilling.FAN_IN", 3)
    counts = count_ngrams(LETTERS, 3, memory=20_000, workdir=tmp_path)
    assert contents(counts) == contents(count_ngrams(LETTERS, 3))


@pytest.mark.parametrize("integer", [np.int64, np.uint8])
def test_numpy_integers(tmp_path, integer):
    counts = count_ngrams(LETTERS, integer(3), memory=40_000, min_count=integer(2))
    counts.save(tmp_path / "table")
    assert contents(counts) == contents(count_ngrams(LETTERS, 3, min_count=2))


def test_a_table_without_a_folder_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    counts = count_ngrams(LETTERS, 3, memory=40_000)
    assert list(tmp_path.iterdir())
    del counts
    gc.collect()
    assert not list(tmp_path.iterdir())


DOCUMENTS = st.lists(st.text("ab中文 \U00020000", max_size=20), min_size=1, max_size=6)


@settings(max_examples=80, deadline=None)
@given(DOCUMENTS, DOCUMENTS, st.integers(1, 8))
def test_merging_is_counting_both(first, second, order):
    if not ("".join(first).strip() and "".join(second).strip()):
        return
    merged = count_ngrams(first, order).merge(count_ngrams(second, order))
    together = count_ngrams(first + second, order)
    assert contents(merged) == contents(together)
    assert merged.total == together.total


def test_counts_beyond_32_bits():
    """More positions than an int32 can number, of which a run holds the sums."""
    keys = Keys(3, 2)
    words = np.array([[4 << 60, 5 << 60, 6 << 60]], np.uint64)  # two bits for each symbol
    many = Run(words, np.array([2**31, 9, 2**31 + 1], np.int64))
    levels = levels_in_memory([merge([many, many])], keys)
    assert levels[1].counts.tolist() == [2 * (2**32 + 10)]
    assert levels[2].counts.tolist() == [18, 2**32 + 2]


def test_files_in_any_order(data, tmp_path):
    paths = [data("zh-novels/shuihu.txt.xz"), data("zh-novels/sanguo.txt.xz")]
    forth, back = (
        count_ngrams(read_texts(order), 4, memory="20MB") for order in (paths, paths[::-1])
    )
    assert contents(forth) == contents(back)


def test_save_and_load(tmp_path):
    counts = count_ngrams(["红楼梦红楼人"], 3, entropies=True)
    for _ in range(2):  # over what is there
        counts.save(tmp_path / "table")
    loaded = NGramCounts.load(tmp_path / "table")
    assert contents(loaded) == contents(counts)
    assert loaded.total == 6
    assert [p.name for p in tmp_path.iterdir()] == ["table"]
    (tmp_path / "notes").mkdir()
    with pytest.raises(InputError, match="exists and is not a table of n-grams"):
        counts.save(tmp_path / "notes")


@pytest.mark.parametrize("save", ["save", "count"])
def test_a_table_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch, save):
    synced, renamed = set(), []
    sync, rename = os.fsync, type(tmp_path).rename

    def note_sync(handle):
        synced.add(os.fstat(handle).st_ino)
        sync(handle)

    def note_rename(path, target):
        if target.name == "ngrams":
            renamed.append({p.name for p in [path, *path.iterdir()] if p.stat().st_ino in synced})
            renamed.append({path.name, *(p.name for p in path.iterdir())})
            synced.clear()
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(type(tmp_path), "rename", note_rename)
    if save == "save":
        count_ngrams(LETTERS, 3).save(tmp_path / "ngrams")
    else:
        count_ngrams(LETTERS, 3, memory=40_000, workdir=tmp_path)
    assert len(renamed) == 2
    assert renamed[0] == renamed[1]
    assert tmp_path.stat().st_ino in synced  # the name too


def test_a_damaged_table(tmp_path):
    counts = count_ngrams(["红楼梦红楼人"], 3)
    counts.save(tmp_path / "table")
    (tmp_path / "table" / "last-2.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(InputError, match="is not a table of n-grams"):
        NGramCounts.load(tmp_path / "table")


MEASURED = """
import sys
from pathlib import Path
from kexue.corpus import count_ngrams, read_texts


def peak():  # not ru_maxrss, which begins with what the parent had
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))


folder = Path(sys.argv[1])
small = folder.parent / "small.txt"
count_ngrams(small, 4, memory=10_000)  # loads what is compiled
before = peak()
counts = count_ngrams(folder, 4, memory="200MB", n_jobs=2, workdir=folder.parent / "work")
after = peak()
print(after - before, counts.n_distinct(4), counts.total)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_kept(data, tmp_path):
    """Twenty copies of the poems, half a gigabyte, in 200 MB."""
    texts = tmp_path / "texts"
    texts.mkdir()
    (tmp_path / "small.txt").write_text("红楼梦红楼人\n" * 2000, encoding="utf-8")
    lines = "\n".join(read_texts(data("song-poems-raw/song_poems_130k.txt.xz")))
    (texts / "00.txt").write_text(lines, encoding="utf-8")
    for k in range(1, 20):
        os.link(texts / "00.txt", texts / f"{k:02d}.txt")
    (tmp_path / "measure.py").write_text(MEASURED)
    found = subprocess.run(
        [sys.executable, tmp_path / "measure.py", texts], capture_output=True, text=True, check=True
    )
    growth, distinct, total = map(int, found.stdout.split())
    single = count_ngrams(texts / "00.txt", 4)
    assert (distinct, total) == (single.n_distinct(4), 20 * single.total)
    assert growth * 1024 < 230e6


def test_the_longest_spans_have_no_boundary():
    text = "".join(chr(0x4E00 + i) for i in np.random.default_rng(0).integers(0, 9, 50_000))
    assert contents(count_ngrams([text], 8, memory=100_000)) == contents(count_ngrams([text], 8))


def test_what_a_count_killed_at_its_end_has_left_is_removed(tmp_path):
    texts = ["红楼梦", "西游记"] * 50

    def end(done, total):
        if done == total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        count_ngrams(texts, 3, memory=1, workdir=tmp_path, progress=end)
    (tmp_path / ".ngram-runs.removed").mkdir(exist_ok=True)
    counts = count_ngrams(texts, 3, memory=1, workdir=tmp_path)
    assert counts.count("红楼梦") == 50
    assert [file.name for file in tmp_path.iterdir()] == ["ngrams"]


def test_keys_of_several_words_are_merged_on_disk(tmp_path):
    rng = np.random.default_rng(0)
    texts = ["".join(map(chr, 0x4E00 + rng.integers(0, 40, 60))) + "。红" for _ in range(60)]
    texts += [text[:30] + text[31:] for text in texts]
    whole = count_ngrams(texts, 8)
    spilled = count_ngrams(texts, 8, memory=1, workdir=tmp_path)
    for order in range(1, 9):
        assert spilled.to_polars(order).equals(whole.to_polars(order))
