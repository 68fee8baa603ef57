"""Word discovery on processes and on a cluster: the same bytes as on threads."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from typer.testing import CliRunner

from kexue._core import InputError
from kexue.cli.app import app
from kexue.corpus.executors import connected
from kexue.corpus.texts import as_texts
from kexue.words import UnigramTokenizer, WordDiscoverer
from kexue.words.discovery import segment_pieces

POEM = ["月下独酌花间一壶酒", "独酌无相亲", "花间一壶酒独酌", "举杯邀明月", "明月花间"]


@pytest.fixture(scope="module")
def client():
    """Two worker processes, as two machines would be."""
    distributed = pytest.importorskip("distributed", reason="needs the extra `cluster`")
    with (
        distributed.LocalCluster(
            n_workers=2, processes=True, threads_per_worker=1, dashboard_address="127.0.0.1:0"
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def sentences():
    from kexue.atlas.demo import load_demo

    return ["".join(words) for words in load_demo()[::4]]


def written(model, folder):
    """Return the bytes of what `kexue words` writes."""
    folder.mkdir()
    model.words_.write_parquet(folder / "words.parquet")
    model.tokenizer_.save(folder / "tokenizer.json")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def on_threads(sentences, tmp_path_factory):
    model = WordDiscoverer(n_jobs=2).fit(sentences)
    return written(model, tmp_path_factory.mktemp("words") / "thread")


def test_two_workers_write_the_same_bytes(client, sentences, on_threads, tmp_path):
    model = WordDiscoverer(executor=client, memory="20MB").fit(sentences)
    assert written(model, tmp_path / "cluster") == on_threads
    seen = client.run(lambda dask_worker: dask_worker.state.executed_count)
    assert len(seen) == 2
    assert min(seen.values()) > 0


def test_processes_write_the_same_bytes(sentences, tmp_path):
    threads, processes = (
        # every round starts its processes
        WordDiscoverer(executor=executor, n_jobs=2, max_rounds=0).fit(sentences)
        for executor in ("thread", "process")
    )
    assert written(processes, tmp_path / "process") == written(threads, tmp_path / "thread")


@pytest.mark.parametrize("method", ["nvbe", "ngram", "pair", "charlm"])
def test_every_method_counts_and_segments_there(client, monkeypatch, method):
    texts = [f"{line}, hello 12 " for line in POEM] * 9
    expected = WordDiscoverer(method).fit(texts)

    def fail(*_):
        pytest.fail("done here")

    monkeypatch.setattr("kexue.corpus._spilling.count_run", fail)
    monkeypatch.setattr("kexue.corpus.counting.count_run", fail)
    if method != "pair":  # it segments its lexicon here
        monkeypatch.setattr("kexue.words._lexicon.Lexicon.segment", fail)
    model = WordDiscoverer(method, executor=client).fit(texts)
    assert model.words_.equals(expected.words_)
    assert model.tokenizer_.words == expected.tokenizer_.words
    assert model.n_rounds_ == expected.n_rounds_


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.text("月下独ab 1,か\u3099"), min_size=1, max_size=9).filter(any),
    st.integers(1, 12),
    st.booleans(),
)
def test_pieces_of_any_size_make_the_same_segmentation(texts, piece, marked):
    """In this process: one job starts no other."""
    tokenizer = UnigramTokenizer({"月下": 3, "独": 1, "下独": 1})
    codes = as_texts(texts).codes()
    if not marked:  # the last document has no mark at its end
        codes = codes[:-1]
    whole = tokenizer.segment(codes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kexue.words.discovery.PIECE", piece)
        found = segment_pieces(tokenizer, codes, "process", 1)
    for name in ("starts", "labels", "edges"):
        np.testing.assert_array_equal(getattr(found, name), getattr(whole, name), name)


def test_one_cluster_for_all_rounds(monkeypatch):
    """Without a client of one's own ``"dask"`` starts a cluster, once, and ends it."""
    distributed = pytest.importorskip("distributed", reason="needs the extra `cluster`")
    started = []
    cluster = distributed.LocalCluster

    def start(*args, **kwargs):
        started.append(cluster(*args, **kwargs))
        return started[-1]

    monkeypatch.setattr(distributed, "LocalCluster", start)
    model = WordDiscoverer(executor="dask", n_jobs=1).fit(POEM * 9)
    assert model.words_.equals(WordDiscoverer().fit(POEM * 9).words_)
    assert [each.status.name for each in started] == ["closed"]


def test_a_clone_uses_the_current_client(client, monkeypatch):
    from distributed import LocalCluster

    monkeypatch.setattr(LocalCluster, "__init__", lambda *_, **__: pytest.fail("started"))
    with client.as_current():
        model = clone(WordDiscoverer(executor="dask")).fit(POEM * 9)
    assert model.words_.equals(WordDiscoverer().fit(POEM * 9).words_)


def test_learning_in_parts_and_an_address(client):
    with connected(client.scheduler.address) as other:
        model = WordDiscoverer(executor=other).partial_fit(POEM * 2).partial_fit(POEM * 7)
    assert other.status == "closed"
    assert model.words_.equals(WordDiscoverer().fit(POEM * 9).words_)
    with pytest.raises(InputError, match=r"must be a running distributed\.Client, got one that"):
        model.fit(POEM)


def test_a_scheduler_without_workers():
    distributed = pytest.importorskip("distributed", reason="needs the extra `cluster`")
    with (
        distributed.LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0") as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        message = r"executor must have workers, but the scheduler at tcp://.* has none; start one"
        with pytest.raises(InputError, match=message):
            WordDiscoverer(executor=client).fit(lambda: pytest.fail("read"))
        with pytest.raises(InputError, match=message), connected(cluster.scheduler_address):
            pass


def test_the_command_through_a_scheduler(client, sentences, on_threads, tmp_path):
    (tmp_path / "news.txt").write_text("\n".join(sentences), encoding="utf-8")
    runner = CliRunner()
    for name in ("thread", client.scheduler.address):
        folder = tmp_path / name[:6]
        folder.mkdir()
        output = ["-o", folder / "words.tsv", "--tokenizer", folder / "tokenizer.json"]
        call = ["words", tmp_path / "news.txt", *output, "--executor", name, "-j", 1]
        assert runner.invoke(app, list(map(str, call))).exit_code == 0
    for file in ("words.tsv", "tokenizer.json"):
        assert (tmp_path / "thread" / file).read_bytes() == (tmp_path / "tcp:/" / file).read_bytes()


@pytest.mark.parametrize(
    ("executor", "message"),
    [
        ("cluster", "--executor must be one of 'thread', 'process', 'dask', 'tcp://HOST:PORT'"),
        ("tcp://127.0.0.1:1", "no Dask scheduler answers at tcp://127.0.0.1:1"),
    ],
)
@pytest.mark.parametrize("command", ["words", "atlas"])
def test_a_bad_executor_is_answered_before_the_text_is_read(command, executor, message, tmp_path):
    (tmp_path / "bad.txt").write_bytes(b"\xff\xff")
    options = ["-o", str(tmp_path / "new")] if command == "atlas" else []
    found = CliRunner().invoke(
        app, [command, str(tmp_path / "bad.txt"), "--executor", executor, *options]
    )
    assert found.exit_code == 2
    assert message in found.stderr


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "tcp://127.0.0.1", "tcp://", "tcp://a:b"])
def test_an_address_where_nothing_answers(address):
    pytest.importorskip("distributed", reason="needs the extra `cluster`")
    message = f"no Dask scheduler answers at {address} .*start one, `dask scheduler`, and give"
    with pytest.raises(InputError, match=message), connected(address):
        pass


def test_without_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(
        ImportError, match=r'distributed is needed .* pip install "kexue\[cluster\]"'
    ):
        WordDiscoverer(executor="dask").fit(lambda: pytest.fail("read"))
