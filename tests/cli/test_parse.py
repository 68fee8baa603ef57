"""``kexue parse``: from raw text to templates and trees."""

import json
import re

import pytest
from typer.testing import CliRunner

from kexue.cli.app import app
from kexue.words import UnigramTokenizer

LINES = [
    line
    for a in "123456789"
    for b in "123456789"
    for line in (f"from {a} to {b}.", f"neither {a} nor {b}, by and large!")
]


def call(*arguments, stdin=None):
    return CliRunner().invoke(app, [str(a) for a in arguments], input=stdin)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    path = tmp_path_factory.mktemp("parse") / "corpus.txt"
    path.write_text("\n".join(LINES) + "\n", encoding="utf-8")
    return path


def test_list_of_templates(corpus):
    result = call("parse", corpus, "--list", "--min-pmi", 0.9)
    assert result.exit_code == 0, result.output
    header, *rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert header == ["template", "count", "pmi", "bits_saved"]
    assert {(row[0], row[1]) for row in rows} == {
        ("from [X] to [X]", "81"),
        ("neither [X] nor [X]", "81"),
    }
    assert all(len(number.split(".")[1]) == 3 for row in rows for number in row[2:])
    ledger = re.fullmatch(
        r"bits per character: words (\S+), phrases (\S+), templates (\S+)\n", result.stderr
    )
    words, phrases, templates = map(float, ledger.groups())
    assert words > phrases > templates


def test_trees_of_standard_input(corpus):
    result = call("parse", "--learn", corpus, "--min-pmi", 0.9, stdin="from 3 to the sea. By!\n")
    assert result.exit_code == 0, result.output
    assert result.stdout == "from [X] to [X]\n├─ 3\n└─ the sea\n\nBy\n\n"


def test_a_text_is_its_own_corpus(corpus):
    result = call("parse", corpus, "--min-pmi", 0.9, "--json")
    assert result.exit_code == 0, result.output
    trees = [json.loads(line) for line in result.stdout.splitlines()]
    # of every second line the comma makes two sentences
    assert len(trees) == 3 * len(LINES) // 2
    assert [tree["template"] for tree in trees[:3]] == [
        "from [X] to [X]", "neither [X] nor [X]", "by and large",
    ]  # fmt: skip
    assert trees[0]["words"] == ["from", "1", "to", "1"]
    piped = call("parse", "--min-pmi", 0.9, "--json", stdin="\n".join(LINES))
    assert piped.stdout == result.stdout


def test_tables_to_learn_from(corpus, tmp_path):
    table = tmp_path / "corpus.csv"
    table.write_text("id,text\n" + "".join(f'1,"{line}"\n' for line in LINES), encoding="utf-8")
    arguments = ["parse", "-l", table, "--column", "text", "--min-pmi", 0.9]
    assert call(*arguments, stdin="from a to b").stdout == "from [X] to [X]\n├─ a\n└─ b\n\n"
    assert call(*arguments, "--list").stdout == call(
        "parse", corpus, "--list", "--min-pmi", 0.9
    ).stdout  # fmt: skip


def test_words_of_a_tokenizer(tmp_path):
    path = tmp_path / "tokenizer.json"
    UnigramTokenizer({"越说": 1, "越气": 1, "从": 9, "到": 9}).save(path)
    text = tmp_path / "text.txt"
    digits = "一二三四五六七八九"
    lines = [f"从{a}到{b}。又{a}又{b}。连{a}也{b}" for a in digits for b in digits]
    text.write_text("\n".join(lines), encoding="utf-8")
    arguments = ["parse", "-l", text, "-m", path, "--min-pmi", 0.6]
    result = call(*arguments, stdin="从越说到越气")
    assert result.exit_code == 0, result.output
    assert result.stdout == "从 [X] 到 [X]\n├─ 越说\n└─ 越气\n\n"
    assert call(*arguments, "--list").stdout.splitlines()[1].startswith("从 [X] 到 [X]\t81\t")


@pytest.mark.parametrize(
    ("arguments", "stdin", "message"),
    [
        (["--window", 0], "a", "--window must be an int >= 1, got 0"),
        (["--min-count", 0], "a", "--min-count must be an int >= 1, got 0"),
        (["--min-pmi", -1], "a", "--min-pmi must be a finite number >= 0, got -1.0"),
        ([], "one two three", "no template occurs --min-count=5 times and saves bits; learn"),
        ([], ".,", "sentences hold no words (0 sentences, all empty); give lists of words"),
        (["-m", "absent.json"], "a", "absent.json: No such file or directory"),
        (["absent.txt"], None, "absent.txt"),
        (["-l", "absent.txt"], "a", "absent.txt"),
    ],
)
def test_bad_input_exits_with_2(arguments, stdin, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = call("parse", *arguments, stdin=stdin)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("kexue: error: ")
    assert message in result.stderr
