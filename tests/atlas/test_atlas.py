"""The main job: on a novel, on small and odd texts, killed and resumed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from kexue._core import InputError
from kexue.atlas import Atlas, files
from kexue.atlas.demo import load_demo
from kexue.atlas.ledger import Classes, HeldOut, held_out_class_bits
from kexue.atlas.levels import communities_at
from kexue.atlas.splitting import split_corpus
from kexue.corpus.texts import DOCUMENT_END, as_texts
from kexue.words import UnigramTokenizer

FILES = {
    "atlas.html", "communities.tree", "ledger.json", "run.json", "timings.json",
    "tokenizer.json", "vectors.safetensors", "words.parquet",
}  # fmt: skip
POEM = ["月下独酌花间一壶酒", "独酌无相亲", "花间一壶酒独酌", "举杯邀明月", "明月花间"]


def rows(atlas):
    return {row.name: row for row in atlas.ledger_}


def contents(folder):
    """Return the bytes of every file that must not differ between equal runs."""
    return {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if path.is_file() and path.name != "timings.json"
    }


def test_communities_of_the_novel(novel):
    atlas, _ = novel
    label = dict(zip(atlas.placed_words_, atlas.labels_.tolist(), strict=True))
    people = {label[name] for name in ("宝玉", "黛玉", "宝钗")}
    assert len(people) == 1
    assert not people & {label[particle] for particle in "的了着"}
    sizes = np.bincount(atlas.labels_)
    assert sizes.size >= 20
    assert sizes.max() <= sizes.sum() / 3
    words, communities = rows(atlas)["words"], rows(atlas)["communities"]
    assert words.in_sample - communities.in_sample >= 0.2
    assert words.held_out - communities.held_out > 0
    assert "黛玉" in [word for word, _ in atlas.similar("宝钗", 20)]
    assert "宝玉" in atlas.community("黛玉")


def test_ledger_of_the_novel_recomputed(novel, novel_lines, recompute_ledger):
    atlas, folder = novel
    assert max(recompute_ledger.differences(folder, novel_lines).values()) < 1e-9
    in_sample = [row.in_sample for row in atlas.ledger_]
    assert in_sample == sorted(in_sample, reverse=True)
    fall = rows(atlas)["characters"].in_sample - rows(atlas)["words"].in_sample
    assert atlas.words_["bits_saved"].sum() / atlas.train_.codes.size == pytest.approx(
        fall, rel=1e-9
    )


def test_ledger_of_the_demo_recomputed(recompute_ledger, tmp_path):
    """A newspaper holds what a novel does not: enclosed digits, full-width letters, tables."""
    texts = ["".join(words) for words in load_demo()]
    Atlas(random_state=0).fit(texts).write(tmp_path / "demo")
    assert max(recompute_ledger.differences(tmp_path / "demo", texts).values()) < 1e-9


def test_the_communities_row_is_the_words_row_less_mutual_information(novel):
    atlas, _ = novel
    label = dict(zip(atlas.placed_words_, (atlas.labels_ + 2).tolist(), strict=True))
    of_type = np.array([label.get(w, 0) if w else 1 for w in atlas.train_.spellings])
    walk = of_type[atlas.train_.ids]
    before = np.roll(walk, 1)
    joint = np.zeros((walk.max() + 1,) * 2)
    np.add.at(joint, (before, walk), 1 / walk.size)
    outer = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0)
    seen = joint > 0
    information = np.sum(joint[seen] * np.log2(joint[seen] / outer[seen]))
    per_character = information * walk.size / atlas.train_.codes.size
    expected = rows(atlas)["words"].in_sample - per_character
    assert rows(atlas)["communities"].in_sample == pytest.approx(expected, abs=1e-9)


def test_the_level_of_the_ledger_is_the_one_that_codes_held_out_text_best(novel):
    atlas, _ = novel
    held_out = HeldOut.read(atlas.train_, atlas.held_out_)
    bits = []
    for level in range(1, atlas.paths_.shape[1] + 1):
        labels = communities_at(atlas.paths_, level)
        classes = Classes.from_communities(atlas.train_, atlas.placed_types_, labels)
        bits.append(held_out_class_bits(atlas.train_, classes, held_out))
    assert len(set(bits)) > 1
    assert bits[atlas.level_ - 1] == min(bits)


def test_files_are_for_other_tools(novel):
    atlas, folder = novel
    assert {path.name for path in folder.iterdir()} == FILES
    table = pl.read_parquet(folder / "words.parquet")
    assert table.equals(atlas.words_)
    assert load_file(folder / "vectors.safetensors")["vectors"].shape == atlas.vectors_.shape
    tokenizer = UnigramTokenizer.load(folder / "tokenizer.json")
    text = "黛玉听了宝玉的话"
    assert tokenizer.tokenize(text) == atlas.tokenizer_.tokenize(text)
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert run["format"] == "kexue-atlas-2"
    assert len(run["held_out"]["drawn"]) == run["held_out"]["of"] // 10
    assert (folder / "atlas.html").stat().st_size < 8e6
    seconds = json.loads((folder / "timings.json").read_text())["seconds"]
    assert set(seconds) == {
        "read", "words", "vectors", "communities", "exchange", "map", "ledger",
    }  # fmt: skip


@pytest.mark.peer
def test_the_tree_is_read_by_infomap(novel):
    infomap = pytest.importorskip("infomap")
    atlas, folder = novel
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 2.16 announces the interface of 3.0
        assert peer_length(infomap, atlas, folder) == pytest.approx(atlas.codelength_, abs=1e-9)


def peer_length(infomap, atlas, folder):
    """Return the length that infomap computes for the written tree, bits."""
    peer = infomap.Infomap(silent=True, directed=True, no_infomap=True,
                           cluster_data=str(folder / "communities.tree"))  # fmt: skip
    for node in range(atlas.similarity_.shape[0]):
        peer.add_node(node)
    links = atlas.similarity_.tocoo()
    peer.add_links(np.stack([links.row, links.col, links.data], axis=1))
    peer.run()
    return peer.codelength


@pytest.fixture(scope="module")
def excerpt(data, tmp_path_factory):
    """Return a file with the first chapters of a novel: several seconds of work."""
    import lzma

    path = tmp_path_factory.mktemp("excerpt") / "sanguo.txt"
    with lzma.open(data("zh-novels/sanguo.txt.xz"), "rt", encoding="utf-8") as file:
        path.write_text(file.read(200_000), encoding="utf-8")
    return path


def run_command(folder, path, *options):
    command = [sys.executable, "-m", "kexue", "atlas", str(path), "-o", str(folder), *options]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=True)


def test_same_bytes_for_any_jobs_and_other_bytes_for_another_seed(excerpt, tmp_path):
    one = run_command(tmp_path / "one", excerpt, "--jobs", "1")
    run_command(tmp_path / "two", excerpt, "--jobs", "2")
    run_command(tmp_path / "other", excerpt, "--seed", "1", "--no-map")
    first, second, other = (contents(tmp_path / name) for name in ("one", "two", "other"))
    # the page and the files name the corpus by the folder; all else is equal
    first["atlas.html"] = first["atlas.html"].replace(b"one", b"two")
    second["atlas.html"] = second["atlas.html"].replace(b"one", b"two")
    assert first == second
    assert first["ledger.json"] != other["ledger.json"]
    assert pl.read_parquet(tmp_path / "one" / "words.parquet")["x"].is_finite().sum() > 1000
    assert "communities" in one.stdout
    assert one.stderr == ""  # no progress where there is no terminal


@pytest.mark.parametrize(
    "stage", ["words", "vectors", "communities", "exchange", "map", "compressors", "page"]
)
def test_killed_in_any_stage_and_resumed_to_the_same_bytes(excerpt, tmp_path, stage):
    whole, killed = tmp_path / "atlas", tmp_path / "killed" / "atlas"
    options = ["--jobs", "1", "--map" if stage == "map" else "--no-map"]
    run_command(whole, excerpt, *options)
    # kill the run when the stage has been written but not yet given its name
    code = f"""
import contextlib, os, signal, sys
import kexue._core.atomic as atomic
from kexue.atlas import files, stages
real = atomic.atomic_path
@contextlib.contextmanager
def deadly(path):
    with real(path) as temporary:
        yield temporary
        name = os.path.basename(path)
        if name.startswith({stage!r}) or ({stage!r} == "page" and name == "words.parquet"):
            os.kill(os.getpid(), signal.SIGKILL)
stages.atomic_path = files.atomic_path = deadly
from kexue.cli import main
sys.argv = ["kexue", "atlas", {str(excerpt)!r}, "-o", {str(killed)!r}, *{options!r}]
main()
"""
    dead = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert dead.returncode == -signal.SIGKILL
    assert not (killed / "run.json").exists()
    run_command(killed, excerpt, *options)
    assert contents(killed) == contents(whole)
    assert not list(killed.rglob("*.part*"))


def test_an_atlas_that_is_being_overwritten_is_none(tmp_path, monkeypatch):
    folder = tmp_path / "atlas"
    Atlas(random_state=0).fit(POEM * 8).write(folder)
    assert files.is_atlas(folder)
    other = Atlas(random_state=0).fit(["the cat sat", "the cat"] * 30)
    with monkeypatch.context() as patch:
        patch.setattr(files, "write_bytes", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
        with pytest.raises(OSError, match="full"):
            other.write(folder)
    assert not files.is_atlas(folder)
    (folder / ".words.parquet.abcdefgh.part.parquet").write_bytes(b"left by a kill")
    other.write(folder)
    assert {path.name for path in folder.iterdir()} == FILES


def test_the_page_counts_the_whole_corpus(novel, novel_lines, tmp_path):
    atlas, folder = novel
    assert atlas.n_documents_ == len(novel_lines)
    assert atlas.n_characters_ == sum(map(len, novel_lines))
    assert f"{atlas.n_characters_:,}" in (folder / "atlas.html").read_text(encoding="utf-8")


def test_the_key_of_a_stage_is_that_of_the_text_it_was_made_of(tmp_path):
    """A callable may return something else the second time it is asked."""
    answers = iter([POEM * 8, ["the cat sat", "the cat"] * 30])
    atlas = Atlas(random_state=0).fit(lambda: next(answers))
    assert atlas.fingerprint_ == as_texts(POEM * 8).fingerprint()


def test_small_vocabularies_have_communities_or_say_so(tmp_path):
    nouns, verbs = "猫狗马牛羊猪鸡鸭", "跑跳叫吃看睡"
    rng = np.random.default_rng(0)
    texts = [f"{rng.choice(list(nouns))},{rng.choice(list(verbs))}." for _ in range(400)]
    atlas = Atlas(random_state=0).fit(texts)
    label = dict(zip(atlas.placed_words_, atlas.labels_.tolist(), strict=True))
    assert len({label[noun] for noun in nouns}) == 1
    assert len({label[verb] for verb in verbs}) == 1
    assert label["猫"] != label["跑"]
    lonely = Atlas(random_state=0, min_count=10**6).fit(texts)
    lonely.write(tmp_path / "lonely")
    page = (tmp_path / "lonely" / "atlas.html").read_text(encoding="utf-8")
    assert "no communities to speak of" in page


def test_a_kill_at_a_random_moment(excerpt, tmp_path):
    whole, killed = tmp_path / "atlas", tmp_path / "killed" / "atlas"
    start = time.perf_counter()
    run_command(whole, excerpt)
    seconds = time.perf_counter() - start
    command = [sys.executable, "-m", "kexue", "atlas", str(excerpt), "-o", str(killed)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(float(np.random.default_rng(os.getpid()).uniform(0.3, 0.9)) * seconds)
    process.kill()
    process.wait()
    run_command(killed, excerpt)
    assert contents(killed) == contents(whole)


@pytest.mark.parametrize("seconds", [1.0, 1.3, 1.6, 2.0])
def test_an_interrupt_ends_without_a_traceback(excerpt, tmp_path, seconds):
    command = [sys.executable, "-m", "kexue", "atlas", str(excerpt), "-o", str(tmp_path / "out")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    # done before the signal, interrupted, or hit while the interpreter itself was closing
    assert process.returncode in (0, 130, -signal.SIGINT)
    assert "Traceback" not in errors


def test_finished_stages_are_used_and_fresh_ones_are_not(excerpt, tmp_path, monkeypatch):
    atlas = Atlas(random_state=0, workdir=tmp_path, layout=False)
    atlas.fit(excerpt)
    from kexue import words

    monkeypatch.setattr(words.WordDiscoverer, "fit_codes", lambda *_: pytest.fail("fitted again"))
    again = clone(atlas).fit(excerpt)
    assert again.words_.equals(atlas.words_)
    with pytest.raises(pytest.fail.Exception):
        clone(atlas).fit(excerpt, fresh=True)


def test_a_damaged_stage_is_computed_again(tmp_path):
    texts = POEM * 30
    first = Atlas(random_state=0, workdir=tmp_path).fit(texts)
    for path in (tmp_path / ".stages").iterdir():
        path.write_bytes(path.read_bytes()[:50])
    assert Atlas(random_state=0, workdir=tmp_path).fit(texts).words_.equals(first.words_)


def test_few_long_documents_are_split_in_blocks(recompute_ledger, novel_lines, tmp_path):
    texts = ["\n".join(novel_lines[:400]), "\n".join(novel_lines[400:700])]
    atlas = Atlas(random_state=3).fit(texts)
    assert atlas.split_.unit == "blocks"
    assert atlas.split_.drawn.size == atlas.split_.n_units // 10 > 0
    atlas.write(tmp_path / "blocks")
    assert max(recompute_ledger.differences(tmp_path / "blocks", texts).values()) < 1e-9


@pytest.mark.parametrize(
    "lengths", [[7] * 25, [30_000, 5000], [45_000], [100] * 3, [1999] * 15, [2000] * 15]
)
def test_a_split_loses_nothing(lengths):
    rng = np.random.default_rng(0)
    texts = ["".join(chr(0x4E00 + i) for i in rng.integers(0, 50, n)) for n in lengths]
    codes = as_texts(texts).codes()
    split = split_corpus(codes, 1)
    assert split.drawn.size == split.n_units // 10
    ends = sum(np.count_nonzero(part == DOCUMENT_END) for part in (split.train, split.held_out))
    assert split.train.size + split.held_out.size - ends == sum(lengths)
    for part in (split.train, split.held_out):
        assert not part.size or part[-1] == DOCUMENT_END
        end = part == DOCUMENT_END
        assert not np.any(end[1:] & end[:-1])
    if split.unit == "documents":
        held = list(as_texts([t for i, t in enumerate(texts) if i in split.drawn]).codes())
        assert split.held_out.tolist() == held


@pytest.mark.parametrize(
    ("n_documents", "unit", "n_units", "drawn"),
    [(18, "blocks", 18, 1), (19, "blocks", 19, 1), (20, "documents", 20, 2), (9, "blocks", 9, 0)],
)
def test_a_tenth_is_kept_back(n_documents, unit, n_units, drawn):
    split = split_corpus(as_texts(["a text"] * n_documents).codes(), 0)
    assert (split.unit, split.n_units, split.drawn.size) == (unit, n_units, drawn)
    kept = sorted([*split.train_documents.tolist(), *split.held_out_documents.tolist()])
    assert kept == list(range(n_documents))


@pytest.mark.parametrize(
    "texts",
    [
        ["ab ab"],
        POEM * 8,
        ["the cat sat on the mat", "the dog sat on the cat"] * 20,
        ["hello 你好 مرحبا สวัสดี 😀👍🏽 123", "你好 hello مرحبا"] * 12,
        ["word " * 300],
    ],
    ids=["five characters", "poem", "english", "mixed scripts", "one word"],
)
def test_small_and_odd_texts(texts, tmp_path, recompute_ledger):
    atlas = Atlas(random_state=0).fit(texts)
    in_sample = [row.in_sample for row in atlas.ledger_]
    assert in_sample[1:] == sorted(in_sample[1:], reverse=True)
    atlas.write(tmp_path / "atlas")
    assert max(recompute_ledger.differences(tmp_path / "atlas", texts).values()) < 1e-9


def test_words_used_once_that_have_communities(recompute_ledger, tmp_path):
    """With min_count=1 no word is rare, and all that is new still has a probability below 1."""
    rng = np.random.default_rng(0)
    names = [a + b for a in "abcdefgh" for b in "abcdefgh"]
    texts = [" ".join(names[k] for k in rng.zipf(1.3, 8) % 64) for _ in range(25)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        atlas = Atlas(random_state=0, layout=False, min_count=1).fit(texts)
    assert np.count_nonzero(atlas.train_.counts[atlas.placed_types_] == 1) > 5
    atlas.write(tmp_path / "atlas")
    assert max(recompute_ledger.differences(tmp_path / "atlas", texts).values()) < 1e-9
    classes = Classes.from_communities(atlas.train_, atlas.placed_types_, atlas.labels_)
    new = SimpleNamespace(types=np.array([-1]), spelled=np.array([20.0]))
    # the class of rare words, which is empty, then an even chance to be new, then the spelling
    expected = np.log2(atlas.train_.ids.size + 1) + 1 + 20
    assert held_out_class_bits(atlas.train_, classes, new) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("texts", [["ab cd"] * 30, ["ab"] * 30], ids=["two words", "one word"])
@pytest.mark.parametrize("vectors", ["ppmi", "jose"])
def test_few_words_make_an_atlas_that_is_read_again(texts, vectors, tmp_path):
    atlas = Atlas(random_state=0, layout=False, vectors=vectors, succession=True).fit(texts)
    again = Atlas.load(atlas.write(tmp_path / "atlas"))
    assert again.placed_words_ == atlas.placed_words_
    assert again.paths_.tolist() == atlas.paths_.tolist()
    assert again.words_.equals(atlas.words_)
    assert np.array_equal(again.transform(texts), atlas.transform(texts))


@pytest.fixture(scope="module")
def poem(tmp_path_factory):
    """Return an atlas without a map, and its folder."""
    atlas = Atlas(random_state=0, layout=False).fit(POEM * 9)
    return atlas, atlas.write(tmp_path_factory.mktemp("poem") / "atlas")


@pytest.mark.parametrize("how", ["missing", "cut", "garbage", "other"])
@pytest.mark.parametrize("name", sorted(FILES - {"atlas.html"}))
def test_a_damaged_atlas_is_refused_by_the_name_of_the_file(poem, tmp_path, name, how):
    folder = tmp_path / "atlas"
    shutil.copytree(poem[1], folder)
    path = folder / name
    if how == "missing":
        path.unlink()
    else:
        whole = path.read_bytes()
        path.write_bytes(
            {"cut": whole[: len(whole) // 2], "garbage": b"\xff\0", "other": b"{}"}[how]
        )
    with pytest.raises(InputError, match=name.replace(".", r"\.")):
        Atlas.load(folder)


def test_an_atlas_of_other_parameters_is_refused(poem, tmp_path):
    folder = tmp_path / "atlas"
    shutil.copytree(poem[1], folder)
    run = json.loads((folder / "run.json").read_text())
    run["arguments"]["colour"] = "red"
    (folder / "run.json").write_text(json.dumps(run))
    with pytest.raises(InputError, match=r"run\.json is damaged, or of another version"):
        Atlas.load(folder)
    with pytest.raises(InputError, match="an atlas that was loaded is in its folder"):
        Atlas.load(poem[1]).write(tmp_path / "copy")


def test_transform_gives_each_text_a_row(poem):
    atlas, folder = poem
    texts = ["", "明月花间", "zzz", "", "独酌"]
    for each in (atlas, Atlas.load(folder)):
        found = each.transform(texts)
        assert found.shape == (5, atlas.vectors_.shape[1])
        assert np.linalg.norm(found, axis=1) == pytest.approx([0, 1, 0, 0, 1], abs=1e-6)
        assert np.array_equal(each.transform(iter(texts)), found)
        assert np.array_equal(each.transform(lambda: texts), found)
        assert np.array_equal(found[[1, 4]], each.transform([texts[1], texts[4]]))
        assert each.transform([""]).tolist() == [[0.0] * found.shape[1]]
        assert each.transform([]).shape == (0, found.shape[1])


@pytest.mark.parametrize("n_documents", [7, 40])
def test_document_vectors_are_in_the_order_of_the_documents(n_documents):
    rng = np.random.default_rng(0)
    # with the blank four characters, so that no block of 2,000 begins inside a word
    names = np.array([3 * letter for letter in "abcdefghijklmnopqrst"])
    sizes = 30_000 // n_documents
    texts = [" ".join(names[(rng.zipf(1.5, sizes) + k) % 20]) for k in range(n_documents)]
    atlas = Atlas(random_state=0, layout=False).fit(texts)
    assert atlas.split_.unit == ("blocks" if n_documents < 20 else "documents")
    assert atlas.split_.drawn.size
    assert atlas.document_vectors_ == pytest.approx(atlas.transform(texts), abs=1e-6)


def test_a_folder_keeps_no_tree_of_an_earlier_atlas(poem, tmp_path):
    Atlas(random_state=0, layout=False, succession=True).fit(POEM * 9).write(tmp_path / "atlas")
    assert (tmp_path / "atlas" / "succession.tree").exists()
    poem[0].write(tmp_path / "atlas")
    assert {path.name for path in (tmp_path / "atlas").iterdir()} == FILES


def test_a_second_fit_forgets_the_map_of_the_first(poem):
    atlas = clone(poem[0])
    atlas.positions_ = np.zeros((3, 2))
    atlas.fit(POEM * 9)
    assert not hasattr(atlas, "positions_")


def test_english(data):
    """Newsgroups end to end: blanks delimit words, and their communities save bits."""
    texts = pl.read_parquet(data("newsgroups/20news_bydate.parquet"))["text"].head(1500).to_list()
    atlas = Atlas(random_state=0).fit(texts)
    words, communities = rows(atlas)["words"], rows(atlas)["communities"]
    assert rows(atlas)["characters"].held_out > words.held_out > communities.held_out
    label = dict(zip(atlas.placed_words_, atlas.labels_.tolist(), strict=True))
    assert label["he"] == label["she"]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Atlas().fit("text"), TypeError, "texts must be an iterable of str, got one str"),
        (lambda: Atlas().fit(["abc", "def"]), InputError, "nothing repeats: no two neighbouring"),
        (lambda: Atlas().fit([]), InputError, "all documents are empty"),
        (lambda: Atlas().fit(Path("absent.txt")), FileNotFoundError, "absent.txt"),
        (lambda: Atlas(layout="no").fit(POEM), TypeError, "layout must be True or False, got 'no'"),
        (lambda: Atlas(vectors="glove").fit(POEM), InputError, "vectors must be one of 'ppmi'"),
        (lambda: Atlas(min_count=0).fit(POEM), InputError, "min_count must be an int >= 1, got 0"),
        (
            lambda: Atlas(max_length=9).fit(POEM),
            InputError,
            r"max_length must be an int in \[1, 8\]",
        ),
        (lambda: Atlas(memory="x").fit(POEM), InputError, "memory must be a size"),
        (lambda: Atlas(random_state=-1).fit(POEM), InputError, "random_state must be None, an int"),
        (lambda: Atlas().similar("宝玉"), NotFittedError, "not fitted"),
        (lambda: Atlas().write("x"), NotFittedError, "not fitted"),
        (
            lambda: Atlas().fit(POEM * 9).similar("宝玉"),
            InputError,
            "'宝玉' has no vector: words used at least min_count=5 times",
        ),
    ],
)
def test_bad_input_is_answered_by_its_message(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_where_words_are_found_changes_no_byte(monkeypatch, tmp_path):
    options = {"random_state": 0, "layout": False}
    atlas = Atlas(**options, workdir=tmp_path / "work").fit(POEM * 9)
    expected = contents(atlas.write(tmp_path / "thread" / "poem"))
    other = Atlas(**options, n_jobs=2, executor="process").fit(POEM * 9)
    assert contents(other.write(tmp_path / "process" / "poem")) == expected
    # a stage that was kept serves any executor
    monkeypatch.setattr("kexue.words.WordDiscoverer.fit_codes", lambda *_: pytest.fail("again"))
    kept = Atlas(**options, workdir=tmp_path / "work", executor="process").fit(POEM * 9)
    assert kept.words_.equals(atlas.words_)
    with pytest.raises(InputError, match="executor must be one of 'thread', 'process', 'dask'"):
        Atlas(executor="cluster").fit(lambda: pytest.fail("read"))


def test_an_atlas_of_another_version_says_so(tmp_path):
    folder = Atlas(random_state=0, layout=False).fit(POEM * 9).write(tmp_path / "poem")
    run = (folder / "run.json").read_text(encoding="utf-8")
    (folder / "run.json").write_text(run.replace(files.FORMAT, "kexue-atlas-1"), encoding="utf-8")
    with pytest.raises(InputError, match="of another version of kexue; make it anew"):
        Atlas.load(folder)
