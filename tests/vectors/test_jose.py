"""JoSE: what training may hang on, and what users do with vectors."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import joblib
import numpy as np
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.exceptions import NotFittedError
from sklearn.metrics import normalized_mutual_info_score
from sklearn.neighbors import KNeighborsClassifier

from kexue._core import InputError
from kexue.vectors import JoSE, _jose_files, _jose_training

# Two topics: words of one never stand with words of the other
TOPICS = [
    ["sun", "moon", *(f"star{k}" for k in range(18))],
    ["bread", "wine", *(f"spice{k}" for k in range(18))],
]


def topical(n=300, seed=0, size=40):
    rng = np.random.default_rng(seed)
    return [[TOPICS[k % 2][i] for i in rng.integers(0, 20, size)] for k in range(n)]


@pytest.fixture(scope="module")
def model():
    return JoSE(16, epochs=8, sample=0, random_state=0).fit(topical())


@pytest.mark.parametrize("deterministic", [False, True])
def test_rows_stay_on_the_sphere(deterministic):
    found = JoSE(10, epochs=20, deterministic=deterministic, random_state=0).fit(topical())
    for rows in (found.word_vectors_, found.context_vectors_, found.doc_vectors_):
        assert rows.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(rows.astype(float), axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"objective": "joint"}, {"step": "paper"}])
def test_documents_of_a_topic_come_together(options):
    found = JoSE(16, epochs=8, sample=0, random_state=0, **options).fit(topical())
    first, second = found.doc_vectors_[::2], found.doc_vectors_[1::2]
    assert (first @ first.T).mean() > 0.15
    assert (first @ second.T).mean() < -0.15


def test_words_of_a_topic_come_together(model):
    for topic in TOPICS:
        for word in topic:
            near = {name for name, _ in model.most_similar(word, 19)}
            assert near == set(topic) - {word}
    assert model.loss_curve_[-1] < model.loss_curve_[0]
    assert model.words_per_second_ > 0


def test_the_vocabulary(model):
    counted = Counter(token for document in topical() for token in document)
    assert model.vocabulary_ == {word: k for k, word in enumerate(model.words_)}
    assert dict(zip(model.words_, model.counts_.tolist(), strict=True)) == counted
    assert sorted(model.counts_.tolist(), reverse=True) == model.counts_.tolist()


def test_rare_words_are_left_out():
    documents = [*topical(100), ["rare", "sun"], [], ["rare"]]
    found = JoSE(8, epochs=2, random_state=0).fit(documents)
    assert "rare" not in found.vocabulary_
    assert np.flatnonzero(found.empty_docs_).tolist() == [101, 102]
    mean = found.doc_vectors_[:101].mean(axis=0)
    np.testing.assert_allclose(found.doc_vectors_[102], mean / np.linalg.norm(mean), atol=1e-6)


def test_same_words_in_ids_lists_lines_and_chunks(tmp_path, monkeypatch):
    documents = [*topical(60), ["rare"], [], ["sun", "rare", "moon"]]
    options = {"n_components": 8, "epochs": 2, "random_state": 5}
    found = JoSE(**options).fit(documents)
    numbers = {word: k for k, word in enumerate(dict.fromkeys(w for d in documents for w in d))}
    ids = [k for d in documents for k in [*(numbers[w] for w in d), -1]]
    by_ids = JoSE(**options).fit_ids(np.array(ids))
    np.testing.assert_array_equal(by_ids.doc_vectors_, found.doc_vectors_)
    assert [list(numbers)[k] for k in by_ids.words_] == found.words_
    assert JoSE(**options).fit_ids(np.array(ids), names=list(numbers)).words_ == found.words_
    with pytest.raises(InputError, match="names must hold a word for each of 41 ids, got 1"):
        JoSE(**options).fit_ids(np.array(ids), names=["one"])
    monkeypatch.setattr("kexue.vectors._token_lists._HELD", 7)
    streamed = JoSE(**options).fit(iter(documents))
    np.testing.assert_array_equal(streamed.doc_vectors_, found.doc_vectors_)
    path = tmp_path / "lines.txt"
    path.write_text("\n".join(" ".join(d) for d in documents if d), "utf-8")
    by_lines = JoSE(**options).fit(path)
    np.testing.assert_array_equal(
        by_lines.counts_, found.counts_, "the empty document is no line, the rest is the same"
    )


def test_one_seed_one_result():
    one = JoSE(8, epochs=2, random_state=3).fit(topical(50))
    again = clone(one).fit(topical(50))
    other = JoSE(8, epochs=2, random_state=4).fit(topical(50))
    np.testing.assert_array_equal(one.word_vectors_, again.word_vectors_)
    assert not np.array_equal(one.word_vectors_, other.word_vectors_)


@pytest.fixture
def small_rounds(monkeypatch):
    monkeypatch.setattr(_jose_training, "ROUND_TOKENS", 500)
    monkeypatch.setattr(_jose_training, "ROUND_WORDS", 0)


@pytest.mark.usefixtures("small_rounds")
def test_the_same_bits_for_any_number_of_threads():
    found = [
        JoSE(16, epochs=8, sample=0, deterministic=True, random_state=0, n_jobs=jobs).fit(topical())
        for jobs in (1, 2, 4)
    ]
    for other in found[1:]:
        np.testing.assert_array_equal(other.word_vectors_, found[0].word_vectors_)
        np.testing.assert_array_equal(other.context_vectors_, found[0].context_vectors_)
        np.testing.assert_array_equal(other.doc_vectors_, found[0].doc_vectors_)
        assert other.loss_curve_ == found[0].loss_curve_
    first, second = found[0].doc_vectors_[::2], found[0].doc_vectors_[1::2]
    assert (first @ first.T).mean() > 0.15 > -0.15 > (first @ second.T).mean()


def test_threads_on_one_table_learn_as_much(model):
    found = JoSE(16, epochs=8, sample=0, random_state=0, n_jobs=2).fit(topical())
    # what is learned in all is 0.002
    assert found.loss_curve_[-1] == pytest.approx(model.loss_curve_[-1], abs=0.0007)
    for topic in TOPICS:
        near = {name for name, _ in found.most_similar(topic[0], 19)}
        assert len(near & set(topic)) > 16


RESUMED = """
import json, os, signal, sys
import numpy as np
from kexue.vectors import JoSE, _jose_training
sys.path.insert(0, sys.argv[1])
from test_jose import topical
_jose_training.ROUND_TOKENS, _jose_training.ROUND_WORDS = 500, 0
if len(sys.argv) > 4:
    write = _jose_training._write
    def kill(*arguments):
        write(*arguments)
        if len(arguments[-1]) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
    _jose_training._write = kill
model = JoSE(12, epochs=6, deterministic=True, random_state=0, checkpoint=sys.argv[2])
model.fit(topical())
words, documents = model.word_vectors_, model.doc_vectors_
np.savez(sys.argv[3], words=words, documents=documents, loss=model.loss_curve_)
"""


def test_a_killed_run_goes_on_to_the_same_bits(tmp_path):
    checkpoint, out = tmp_path / "state.safetensors", tmp_path / "out.npz"

    def run(*more):
        arguments = [str(Path(__file__).parent), str(checkpoint), str(out), *more]
        return subprocess.run([sys.executable, "-c", RESUMED, *arguments], check=False).returncode

    assert run("kill") == -signal.SIGKILL
    assert checkpoint.exists()
    assert not out.exists()
    assert run() == 0
    assert not checkpoint.exists()
    resumed = np.load(out)
    unbroken = tmp_path / "whole.npz"
    out = unbroken
    assert run() == 0
    whole = np.load(unbroken)
    for name in ("words", "documents", "loss"):
        np.testing.assert_array_equal(resumed[name], whole[name])


def test_a_checkpoint_of_something_else_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "state.safetensors"

    def interrupt(*arguments):
        write(*arguments)
        raise KeyboardInterrupt

    write = _jose_training._write
    monkeypatch.setattr(_jose_training, "_write", interrupt)
    options = {"n_components": 8, "epochs": 3, "random_state": 0, "checkpoint": path}
    with pytest.raises(KeyboardInterrupt):
        JoSE(**options).fit(topical(20))
    monkeypatch.undo()
    with pytest.raises(InputError, match="a checkpoint of other text"):
        JoSE(**options).fit(topical(21))
    with pytest.raises(InputError, match="a checkpoint of other text"):
        JoSE(**options, window=4).fit(topical(20))
    numbers = {**options, "n_components": np.int64(8), "epochs": np.int64(3)}
    saved = _jose_files.read_tensors(path, _jose_training.CHECKPOINT)
    about, tensors = saved
    broken = {
        "centres": [(about, {**tensors, "centres": tensors["centres"][:1].copy()}),
                    (about, {**tensors, "centres": tensors["centres"] * np.float32("nan")}),
                    (about, {"contexts": tensors["contexts"]})],
        "it does not say how far": [({**about, "losses": None}, tensors)],
    }  # fmt: skip
    for message, files in broken.items():
        for file in files:
            _jose_files.write_tensors(path, *file)
            with pytest.raises(InputError, match=f"is damaged: {message}"):
                JoSE(**options).fit(topical(20))
    _jose_files.write_tensors(path, *saved)
    JoSE(**numbers).fit(topical(20))
    assert not path.exists()


def test_vectors_of_other_documents(model):
    documents = topical()
    found = model.transform(documents)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    order = np.random.default_rng(0).permutation(len(documents))
    again = model.transform([documents[k] for k in order])
    np.testing.assert_array_equal(again, found[order])
    np.testing.assert_array_equal(clone_with(model, n_jobs=2).transform(documents), found)
    odd = model.transform([["nothing", "known"], ["sun", "unknown"], []])
    np.testing.assert_array_equal(odd[0], odd[2])
    np.testing.assert_array_equal(odd[1], model.transform([["sun"]])[0])
    assert model.transform([]).shape == (0, 16)


def test_documents_are_found_again(data):
    table = pl.read_parquet(data("newsgroups/20news_bydate.parquet"))
    texts = table.sample(2000, seed=0)["text"]
    documents = [re.findall("[a-z]+", text.partition("\n\n")[2].lower()) for text in texts]
    model = JoSE(random_state=0, n_jobs=2).fit(documents)
    found = model.transform(documents)
    kept = ~model.empty_docs_
    cosines = np.einsum("ij,ij->i", found, model.doc_vectors_)
    assert cosines[kept].mean() > 0.8
    nearest = np.argmax(found @ model.doc_vectors_.T, axis=1)
    assert np.mean(nearest == np.arange(2000)) > 0.95


def test_tokens_of_another_type_are_refused(model):
    for odd in (3, None, ["moon"], b"moon"):
        with pytest.raises(TypeError, match=r"tokens must be str, got another in \['sun', "):
            model.transform([["moon"], ["sun", odd]])
        with pytest.raises(TypeError, match="tokens must be str, got another in"):
            clone_with(model).partial_fit([["sun", odd]])
    by_ids = JoSE(4, epochs=1, min_count=1).fit_ids(np.array([0, 3, 5, -1] * 9))
    assert by_ids.transform([[3, 7], np.array([0, 9])]).shape == (2, 4)
    with pytest.raises(TypeError, match="tokens must be int, as the words are, got another in"):
        by_ids.transform([["3"]])


def clone_with(model, **parameters):
    from copy import copy

    other = copy(model)
    return other.set_params(**parameters)


def test_documents_in_parts():
    documents = topical(400)
    found = JoSE(16, sample=0, random_state=0)
    for part in range(4):
        found.partial_fit([*documents[100 * part : 100 * part + 100], ["new", "sun"]])
        assert len(found.doc_vectors_) == len(found.empty_docs_) == 101 * (part + 1)
        if part == 0:
            first = found.doc_vectors_.copy()
    np.testing.assert_array_equal(found.doc_vectors_[:101], first)
    assert len(found.loss_curve_) == 4
    assert found.loss_curve_[-1] < found.loss_curve_[0]
    assert "new" not in found.vocabulary_
    counted = Counter(token for document in documents for token in document)
    assert found.counts_[found.vocabulary_["moon"]] == counted["moon"]
    near = {name for name, _ in found.most_similar("sun", 19)}
    assert len(near & set(TOPICS[0])) > 15
    again = JoSE(16, epochs=1, sample=0, random_state=0).fit(documents).partial_fit(documents)
    assert len(again.doc_vectors_) == 800


def test_every_part_has_draws_of_its_own(monkeypatch):
    jose, seen = sys.modules["kexue.vectors.jose"], []

    def watched(lists, counts, sample, tables, settings):
        seen.append((settings.before, tables.documents.copy()))
        return train(lists, counts, sample, tables, settings)

    train = jose.train
    monkeypatch.setattr(jose, "train", watched)
    model = JoSE(8, random_state=0)
    for _ in range(3):
        model.partial_fit(topical(20))
    numbers, begun = zip(*seen, strict=True)
    assert numbers == (0, 1, 2)
    assert np.abs(np.sum(begun[0] * begun[1], axis=1)).mean() < 0.6
    assert np.abs(np.sum(begun[1] * begun[2], axis=1)).mean() < 0.6


def test_word_similarity(model):
    pairs = [
        ("sun", "moon", 9.0),
        ("sun", "bread", 1.0),
        ("wine", "bread", 8.0),
        ("sun", "gone", 5),
    ]
    found = model.word_similarity(pairs)
    assert (found.known, found.asked) == (3, 4)
    assert found.spearman == model.score(pairs) > 0.4
    assert np.isnan(model.word_similarity(pairs[3:]).spearman)
    # as a file has them; as text, "10" would come before "9"
    spelled = [(a, b, {9.0: "10", 8.0: "9"}.get(s, str(s))) for a, b, s in pairs]
    assert model.score(spelled) == found.spearman


def test_most_similar(model):
    (name, cosine), *_ = model.most_similar("sun", 1)
    assert cosine == pytest.approx(model.word_vector("sun") @ model.word_vector(name), abs=1e-6)
    by_vector = model.most_similar(model.word_vector("sun"), 2)
    assert by_vector[0] == ("sun", pytest.approx(1, abs=1e-6))
    assert len(model.most_similar("sun", 99)) == 39
    nearest = model.most_similar("bread", 5, vectors="documents")
    assert all(index % 2 == 1 for index, _ in nearest)
    with pytest.raises(
        KeyError, match=r"'mon' is not in the vocabulary of 40 words; near it: moon"
    ):
        model.most_similar("mon")
    with pytest.raises(InputError, match=r"shape \(16,\), got \(3,\)"):
        model.most_similar(np.ones(3))


def test_all_documents_can_be_asked_for(model):
    found = model.most_similar("sun", 10**6, vectors="documents")
    assert sorted(index for index, _ in found) == list(range(300))


def test_what_is_no_word_or_vector(model):
    with pytest.raises(NotFittedError):
        JoSE().most_similar(np.ones(3))
    with pytest.raises(KeyError, match=r"\['sun'\] is not in the vocabulary"):
        model.most_similar(["sun"])
    with pytest.raises(InputError, match="a vector must be finite, got NaN or infinity"):
        model.most_similar(np.full(16, np.nan))
    with pytest.raises(InputError, match="a vector must point somewhere, got zeros"):
        model.most_similar(np.zeros(16))
    good = ("sun", "moon", 9)
    for pair in (("sun", "moon"), "sun", (*good, 1)):
        with pytest.raises(
            InputError, match=r"must hold \(word, word, similarity\), .* for pair 1"
        ):
            model.word_similarity([good, pair])
    for judged in (np.nan, "high", None, "inf"):
        with pytest.raises(InputError, match=r"must be a finite number, got .* for pair 1"):
            model.word_similarity([good, ("sun", "moon", judged)])
    with pytest.raises(InputError, match="a word cannot be a list, got one in pair 0"):
        model.score([(["sun"], "moon", 1)])
    with pytest.raises(TypeError, match=r"pairs must hold \(word, word, similarity\), got one str"):
        model.score("sun")
    alike = [("sun", "moon", 1), ("sun", "bread", 1)]
    assert np.isnan(model.word_similarity(alike).spearman)


def test_vectors_of_one_length_for_life(model):
    """Kernels would write beyond the rows."""
    other = clone_with(model, n_components=5)
    with pytest.raises(InputError, match=r"n_components must stay 16, .* got 5; fit begins anew"):
        other.partial_fit(topical(9))
    assert len(other.doc_vectors_) == 300


def test_a_model_that_joblib_maps(tmp_path):
    model = JoSE(8, epochs=1, random_state=0).fit(topical(50))
    joblib.dump(model, tmp_path / "model.joblib")
    mapped = joblib.load(tmp_path / "model.joblib", mmap_mode="r")
    assert not mapped.word_vectors_.flags.writeable
    np.testing.assert_array_equal(mapped.transform(topical(3)), model.transform(topical(3)))
    mapped.partial_fit(topical(20)), model.partial_fit(topical(20))
    np.testing.assert_array_equal(mapped.word_vectors_, model.word_vectors_)


def test_an_interrupted_fit_leaves_no_other_words(monkeypatch):
    model = JoSE(8, epochs=1, random_state=0).fit(topical(20))
    # the room has a class of nearly that name
    monkeypatch.setattr(sys.modules["kexue.vectors.jose"], "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.fit([[word + "s" for word in document] for document in topical(20)])
    with pytest.raises(NotFittedError):
        model.word_vector("suns")


def interrupted(*arguments):
    raise KeyboardInterrupt


def test_save_and_load(model, tmp_path):
    path = tmp_path / "model.safetensors"
    model.save(path)
    loaded = JoSE.load(path)
    for name in ("word_vectors_", "context_vectors_", "doc_vectors_", "counts_", "empty_docs_"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(model, name))
    assert loaded.words_ == model.words_
    assert loaded.loss_curve_ == model.loss_curve_
    documents = topical(9, seed=9)
    np.testing.assert_array_equal(loaded.transform(documents), model.transform(documents))
    path.write_bytes(b"anything")
    with pytest.raises(InputError, match="is no file of the format 'kexue-jose-1'"):
        JoSE.load(path)
    numbers = {"n_components": np.int64(4), "epochs": np.int32(1), "margin": np.float32(0.25)}
    by_ids = JoSE(**numbers, min_count=1, random_state=0).fit_ids(np.array([0, 3, 5, -1] * 9))
    by_ids.save(path)
    loaded = JoSE.load(path)
    assert loaded.most_similar(3, 1)[0][0] in (0, 5)
    assert (loaded.n_components, loaded.margin) == (4, 0.25)


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("words", None, "a part of it is missing"),
        ("words", np.frombuffer(b"[1", np.uint8), "a part of it is missing"),
        ("words", np.frombuffer(b'["a"]', np.uint8), "its words are not those of its vectors"),
        ("word_vectors", np.zeros((3, 16), np.float32), "its words are not those of its vectors"),
        ("word_vectors", None, "a part of it is missing"),
        ("context_vectors", np.zeros((3, 16), np.float32), r"context_vectors must .* \(40, 16\)"),
        ("doc_vectors", np.full((300, 16), np.nan, np.float32), r"doc_vectors must be finite"),
        ("counts", np.zeros(40, np.int32), r"counts must be .* of shape \(40,\)"),
        ("empty_docs", np.zeros(2, bool), r"empty_docs must be .* of shape \(300,\)"),
    ],
)
def test_a_damaged_model(model, tmp_path, part, change, message):
    path = tmp_path / "model.safetensors"
    model.save(path)
    about, tensors = _jose_files.read_tensors(path, _jose_files.MODEL)
    tensors[part] = change
    kept = {name: array for name, array in tensors.items() if array is not None}
    _jose_files.write_tensors(path, about, kept)
    with pytest.raises(InputError, match=f"is damaged: {message}"):
        JoSE.load(path)


def test_a_model_of_other_parameters(model, tmp_path):
    path = tmp_path / "model.safetensors"
    model.save(path)
    about, tensors = _jose_files.read_tensors(path, _jose_files.MODEL)
    about["parameters"]["colour"] = "red"
    _jose_files.write_tensors(path, about, tensors)
    with pytest.raises(InputError, match=r"has other parameters: .*colour"):
        JoSE.load(path)
    _jose_files.write_tensors(path, {"format": _jose_files.MODEL}, tensors)
    with pytest.raises(InputError, match="a part of it is missing"):
        JoSE.load(path)


def test_word2vec_text(model, tmp_path):
    path = tmp_path / "vectors.txt"
    model.export(path)
    head, *lines = path.read_text("utf-8").splitlines()
    assert head == "40 16"
    names = [line.split(" ")[0] for line in lines]
    values = np.array([line.split(" ")[1:] for line in lines], np.float32)
    assert names == model.words_
    np.testing.assert_array_equal(values, model.word_vectors_)
    for word, wrong in (("a b", "a blank is in it"), ("", "empty"), ("\ud800", "no Unicode")):
        odd = JoSE(4, epochs=1, random_state=0).fit([[word, "c", "d"]] * 9)
        with pytest.raises(
            InputError, match=f"cannot hold the word {re.escape(repr(word))}: .*{wrong}"
        ):
            odd.export(path)


@pytest.mark.peer
def test_gensim_reads_it(model, tmp_path):
    keyed = pytest.importorskip("gensim.models").KeyedVectors
    model.export(tmp_path / "vectors.txt")
    read = keyed.load_word2vec_format(tmp_path / "vectors.txt")
    made = model.to_gensim()
    for found in (read, made):
        assert found.index_to_key == model.words_
        np.testing.assert_array_equal(found.vectors, model.word_vectors_)
        theirs = [name for name, _ in found.most_similar("sun", topn=3)]
        assert theirs == [name for name, _ in model.most_similar("sun", 3)]


def test_without_gensim(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "gensim.models", None)
    with pytest.raises(ImportError, match=r'needed for JoSE.to_gensim .* "kexue\[bench\]"'):
        model.to_gensim()


@pytest.mark.parametrize(
    ("options", "documents", "error", "message"),
    [
        ({}, [], InputError, "there is no token in the documents"),
        ({}, [[], []], InputError, "there is no token in the documents"),
        ({"min_count": 9}, [["a", "b", "c"]] * 5, InputError, "0 words occur .*; 3 were dropped"),
        ({"min_count": 1}, [["a", "b"]], InputError, "2 words occur min_count=1 times, and 3 are"),
        ({"negative": 0}, topical(9), InputError, "negative must be an int >= 1"),
        ({"window": 0}, topical(9), InputError, "window must be an int >= 1"),
        ({"n_components": 0}, topical(9), InputError, "n_components must be an int >= 1"),
        ({"objective": "both"}, topical(9), InputError, "objective must be"),
        ({"step": "c"}, topical(9), InputError, "step must be"),
        ({"checkpoint": "x"}, topical(9), InputError, "checkpoint needs an integer random_state"),
        ({}, "text", TypeError, "documents must be"),
        ({}, ["text", "more"], TypeError, "each document must be"),
        ({}, [["a", 1, "b"]] * 9, TypeError, "tokens must be str, got 1"),
        ({}, [["a", ["b"]]] * 9, TypeError, "tokens must be str, got another in"),
        ({}, 5, TypeError, "documents must be an iterable"),
    ],
)
def test_bad_input(options, documents, error, message):
    with pytest.raises(error, match=message):
        JoSE(**options).fit(documents)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (np.zeros((2, 2), int), "1-d integer array"),
        (np.zeros(3), "1-d integer array"),
        (np.array([0, 2**31]), r"token_ids must be less than 2\*\*31, got 2147483648"),
        (np.array([0, 2**32 + 1, -1]), r"less than 2\*\*31, got 4294967297"),
    ],
)
def test_bad_ids(ids, message):
    with pytest.raises(InputError, match=message):
        JoSE().fit_ids(ids)


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        (["a", "b", "a"], InputError, "names must differ, got 'a' for more than one id"),
        (["a", "b", 1.5], TypeError, "names must be str, got 1.5 for id 2"),
    ],
)
def test_bad_names(names, error, message):
    with pytest.raises(error, match=message):
        JoSE(4, min_count=1).fit_ids(np.array([0, 1, 2, -1]), names=names)


def test_an_interrupt_is_heard(tmp_path):
    code = (
        "from kexue.vectors import JoSE\n"
        "JoSE(epochs=10**6, min_count=1).fit([['a', 'b', 'c'] * 50] * 2000)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    time.sleep(4)
    os.kill(child.pid, signal.SIGINT)
    _, message = child.communicate(timeout=5)
    assert "KeyboardInterrupt" in message


def test_a_pipeline_and_parameters():
    from sklearn.pipeline import make_pipeline

    pipeline = make_pipeline(
        JoSE(8, epochs=4, sample=0, random_state=0), KMeans(2, n_init=3, random_state=0)
    )
    found = pipeline.fit_predict(topical(100))
    assert len(set(found[::2])) == len(set(found[1::2])) == 1
    assert found[0] != found[1]
    assert json.dumps(JoSE().get_params(), default=str)
    framed = JoSE(3, epochs=1, random_state=0).set_output(transform="polars")
    assert framed.fit_transform(topical(9)).columns == ["jose0", "jose1", "jose2"]
    assert framed.get_feature_names_out().tolist() == ["jose0", "jose1", "jose2"]


LARGE = """
import sys
from pathlib import Path
from kexue.vectors import JoSE


def peak(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024


JoSE(8, epochs=1, random_state=0).fit([["a", "b", "c"]] * 9)
before = peak("VmRSS")
model = JoSE(epochs=1, random_state=0, n_jobs=2).fit(Path(sys.argv[1]))
vectors = sum(a.nbytes for a in (model.word_vectors_, model.context_vectors_, model.doc_vectors_))
print(len(model.doc_vectors_), peak("VmHWM") - before - vectors)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_a_million_documents_from_disk(tmp_path):
    path = tmp_path / "documents.txt"
    rng = np.random.default_rng(0)
    names = np.array([f"w{k}" for k in range(50_000)])
    with open(path, "w", encoding="utf-8") as file:
        for _ in range(100):
            rows = names[np.minimum(rng.zipf(1.3, (10_000, 50)), 50_000) - 1]
            file.writelines(" ".join(row) + "\n" for row in rows.tolist())
    found = subprocess.run(
        [sys.executable, "-c", LARGE, str(path)], check=True, capture_output=True, text=True
    )
    documents, beyond = map(int, found.stdout.split())
    assert documents == 10**6
    assert beyond < 300e6


def newsgroups(data):
    table = pl.read_parquet(data("newsgroups/20news_bydate.parquet"))
    documents = [re.findall("[a-z]+|[0-9]+", text.lower()) for text in table["text"]]
    return documents, table["label"].to_numpy(), (table["split"] == "train").to_numpy()


def scores(vectors, labels, train):
    """Return NMI of 20 clusters, and micro F1 of 3 nearest neighbours."""
    clusters = KMeans(20, n_init=10, random_state=0).fit_predict(vectors)
    nearest = KNeighborsClassifier(3).fit(vectors[train], labels[train])
    right = nearest.predict(vectors[~train]) == labels[~train]
    return normalized_mutual_info_score(labels, clusters), right.mean()


@pytest.mark.slow
def test_the_order_of_the_file(data):
    """As the authors' program on a file sorted by group; by default the order does not matter."""
    documents, labels, train = newsgroups(data)
    options = {"epochs": 4, "random_state": 0}
    leak = JoSE(shuffle=False, **options).fit(documents).doc_vectors_
    nmi, f1 = scores(leak, labels, train)
    assert nmi == pytest.approx(0.777, abs=0.03)
    assert f1 == pytest.approx(0.744, abs=0.015)
    order = np.random.default_rng(1).permutation(len(documents))
    found = []
    for places in (np.arange(len(documents)), order):
        model = JoSE(n_jobs=2, **options).fit([documents[k] for k in places])
        found.append(scores(model.doc_vectors_, labels[places], train[places])[0])
    assert found[0] == pytest.approx(found[1], abs=0.03)
    assert max(found) < nmi - 0.2
