"""``kexue vectors`` and ``kexue similar``: files of word vectors, and what is near in them."""

import numpy as np
import pytest
from typer.testing import CliRunner

from kexue._core import InputError
from kexue.cli.app import app
from kexue.vectors import JoSE
from kexue.vectors.files import read_word_vectors

LINES = [line for _ in range(60) for line in ("sun moon star sky sun", "bread, wine and salt!")]


def call(*arguments, stdin=None):
    return CliRunner().invoke(app, [str(a) for a in arguments], input=stdin)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    path = tmp_path_factory.mktemp("vectors") / "corpus.txt"
    path.write_text("\n".join(LINES) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module", params=["model.safetensors", "model.vec"])
def written(request, corpus):
    path = corpus.with_name(request.param)
    result = call("vectors", corpus, "-o", path, "--components", 12, "--epochs", 20, "-j", 1)
    assert result.exit_code == 0, result.output
    assert "9 words and 120 documents, 12 dimensions" in result.stderr.replace(
        "10 words", "9 words"
    )
    return path


def test_words_are_discovered(written):
    words, vectors = read_word_vectors(written)
    assert {"sun", "moon", "bread", "wine", "!"} < set(words)
    assert not any(word.isspace() or not word for word in words)
    assert vectors.shape == (len(words), 12)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_similar(written):
    result = call("similar", written, "sun", "wine", "-n", 2)
    assert result.exit_code == 0, result.output
    first, second = (part.splitlines() for part in result.stdout.split("\n\n"))
    words, vectors = read_word_vectors(written)
    for name, *lines in (first, second):
        cosines = vectors @ vectors[words.index(name)]
        best = [k for k in np.argsort(-cosines) if words[k] != name][:2]
        assert lines == [f"{words[k]}\t{cosines[k]:.3f}" for k in best]
    result = call("similar", written, "moan")
    assert result.exit_code == 2
    assert "'moan' is not among the" in result.stderr
    assert "near it: moon" in result.stderr


def test_tokens_between_blanks(corpus, tmp_path):
    path = tmp_path / "blanks.safetensors"
    result = call("vectors", corpus, "-o", path, "--blanks", "--components", 4, "-q", "-j", 1)
    assert result.exit_code == 0, result.output
    assert not result.stderr
    assert {"bread,", "salt!"} < set(JoSE.load(path).words_)


def test_the_words_of_a_tokenizer(corpus, tmp_path):
    tokenizer = tmp_path / "tokenizer.json"
    assert call("words", corpus, "--tokenizer", tokenizer).exit_code == 0
    path = tmp_path / "model.safetensors"
    result = call("vectors", corpus, "-o", path, "-m", tokenizer, "--components", 4, "-j", 1)
    assert result.exit_code == 0, result.output
    assert {"bread", "salt"} < set(JoSE.load(path).words_)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "out.bin"], "-o must name a .safetensors file"),
        (["-o", "out.vec", "--window", "0"], "--window must be an int >= 1, got 0"),
        (["-o", "out.vec", "--components", "0"], "--components must be an int >= 1, got 0"),
        (["-o", "out.vec", "--blanks", "-m", "x.json"], "give one of them"),
        (["-o", "out.vec", "--min-count", "999"], "lower --min-count or give more text"),
    ],
)
def test_bad_options(corpus, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    result = call("vectors", corpus, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr.replace("\n", " ")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("end", [b"\n", b" \n", b"\r\n"])
def test_ends_of_lines(tmp_path, end):
    """word2vec's own program writes a blank after every number."""
    path = tmp_path / "other.vec"
    path.write_bytes(end.join([b"2 3", b"a 1 2 3", b"\xc3\xa9 4 5 6", b""]))
    words, vectors = read_word_vectors(path)
    assert words == ["a", "\u00e9"]
    assert vectors.tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"2 3\na 1 2 3\nb 1 2\n", "line 3: no text of word2vec's format"),
        (b"\n", "line 1: no text of word2vec's format"),
        (b"nothing of the kind\n", "line 1: no text of word2vec's format"),
        (b"99 3\na 1 2 3\n", "line 3: no text of word2vec's format"),
        (b"2 0\na\nb\n", "line 1: no text of word2vec's format"),
        (b"-1 3\na 1 2 3\n", "line 1: no text of word2vec's format"),
        (b"1 3\na 1\n", "line 2: no text of word2vec's format"),
        (b"1 3\na 1 2 nan\n", "line 2: no text of word2vec's format"),
        (b"1 3\na 1 2 3 4\n", "line 2: no text of word2vec's format"),
        (b"1 3\na 1 2 3\nb 1 2 3\n", "line 3: no text of word2vec's format"),
    ],
)
def test_no_word_vectors(tmp_path, content, message):
    path = tmp_path / "bad.vec"
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        read_word_vectors(path)
    assert message in str(error.value)
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match="holds no word vectors of kexue"):
        read_word_vectors(path)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_word_vectors(tmp_path / "nowhere")
