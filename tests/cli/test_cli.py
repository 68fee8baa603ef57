"""The command line: what a new user types, and every mistake with its exit code."""

import gzip
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
import typer
from typer.testing import CliRunner

from kexue.cli.app import app
from kexue.graph import Infomap

POEM = "月下独酌花间一壶酒\n独酌无相亲\n花间一壶酒独酌\n举杯邀明月\n明月花间\n" * 9
TRIANGLES = "0 1\n1 2\n0 2\n2 3\n3 4\n4 5\n3 5\n"


def call(*arguments, stdin=None):
    return CliRunner().invoke(app, [str(a) for a in arguments], input=stdin)


@pytest.fixture
def poem(tmp_path):
    path = tmp_path / "poem.txt"
    path.write_text(POEM, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    path = folder / "poem.txt"
    path.write_text(POEM, encoding="utf-8")
    result = call("atlas", path, "-o", folder / "out")
    assert result.exit_code == 0, result.output
    return folder / "out", result


def test_atlas_prints_the_ledger_and_where_the_page_is(atlas):
    folder, result = atlas
    for word in ("alphabet", "characters", "words", "communities", "xz -9", "atlas.html"):
        assert word in result.stdout
    assert (folder / "atlas.html").exists()
    assert call("atlas", folder.parent / "poem.txt", "-o", folder, "--quiet").stdout == ""


def test_default_folder_is_the_name_of_the_input(poem, monkeypatch):
    monkeypatch.chdir(poem.parent)
    (poem.parent / "poem.txt.gz").write_bytes(gzip.compress(POEM.encode()))
    assert call("atlas", "poem.txt.gz").exit_code == 0
    assert (poem.parent / "poem-atlas" / "run.json").exists()


def test_demo_scores_its_words(tmp_path):
    result = call("atlas", "--demo", "-o", tmp_path / "demo")
    assert result.exit_code == 0, result.output
    score = float(result.stdout.split("F1 ")[1].split(",")[0])
    assert score > 77
    ledger = json.loads((tmp_path / "demo" / "ledger.json").read_text(encoding="utf-8"))
    rows = {row["name"]: row for row in ledger["rows"]}
    assert rows["words"]["in_sample"] - rows["communities"]["in_sample"] >= 0.3
    assert rows["words"]["held_out"] > rows["communities"]["held_out"]
    assert ledger["gold"]["f1"] * 100 == pytest.approx(score, abs=0.05)


def test_info(atlas):
    folder, _ = atlas
    result = call("info", folder)
    assert result.exit_code == 0
    for text in ("held out", "random_state", "kexue", "communities"):
        assert text in result.stdout


def test_words_to_every_format(poem):
    printed = call("words", poem)
    assert printed.exit_code == 0
    header, first = printed.stdout.splitlines()[:2]
    assert header.split("\t") == [
        "word", "count", "pmi", "left_entropy", "right_entropy", "bits_saved", "bits_net",
    ]  # fmt: skip
    assert all(len(number.split(".")[1]) == 3 for number in first.split("\t")[2:])
    assert not any(line.startswith(("\t", '"')) for line in printed.stdout.splitlines())
    assert len(first.split("\t")[0]) > 1
    tables = []
    for suffix, read in ((".parquet", pl.read_parquet), (".csv", pl.read_csv)):
        path = poem.with_suffix(suffix)
        assert call("words", poem, "-o", path).exit_code == 0
        tables.append(read(path)["count"].to_list())
    assert tables[0] == tables[1]


def test_segment_files_and_pipes(atlas):
    folder, _ = atlas
    piped = call("segment", "--model", folder, "--sep", "/", stdin="独酌花间\n明月\n")
    assert piped.exit_code == 0
    assert piped.stdout == "独酌/花间\n明月\n"
    lone = call("segment", folder.parent / "poem.txt", "--model", folder / "tokenizer.json")
    assert lone.stdout.replace(" ", "") == POEM


def test_communities(tmp_path):
    path = tmp_path / "graph.txt"
    path.write_text(TRIANGLES)
    result = call("communities", path)
    assert result.exit_code == 0
    assert "2 communities, 2.32073" in result.stderr
    assert '1:1 0.214285714286 "' in result.stdout
    assert call("communities", path, "-o", tmp_path / "graph.clu").exit_code == 0
    modules = [line.split()[1] for line in (tmp_path / "graph.clu").read_text().splitlines()[1:]]
    assert modules[0] == modules[1] == modules[2] != modules[3] == modules[4] == modules[5]


NINE = "".join(
    [
        *(f"{3 * i + a} {3 * i + b}\n" for i in range(9) for a, b in ((0, 1), (1, 2), (0, 2))),
        "1 3\n4 6\n7 0\n10 12\n13 15\n16 9\n19 21\n22 24\n25 18\n2 14\n11 23\n20 5\n",
    ]
)


def test_communities_in_levels_and_files(tmp_path):
    path = tmp_path / "nine.txt"
    path.write_text(NINE)
    names = [tmp_path / f"nine.{suffix}" for suffix in ("tree", "clu", "json", "html")]
    outputs = [argument for name in names for argument in ("-o", name)]
    result = call("communities", path, "--trials", 20, *outputs)
    assert result.exit_code == 0
    assert result.stdout == ""
    assert "27 nodes, 39 undirected links\n" in result.stderr
    assert "5 communities in 3 levels (9 innermost), 3.462273 bits per step" in result.stderr
    assert "\n1:1:1 " in names[0].read_text()
    assert json.loads(names[2].read_text())["codelength"] == pytest.approx(3.462273, abs=1e-6)
    assert "<title>nine.txt" in names[3].read_text(encoding="utf-8")
    flat = call("communities", path, "--levels", 2, "--trials", 20)
    assert "communities, 3.564422 bits" in flat.stderr
    again = call("communities", path, "--initial", names[0], "--quiet")
    assert again.stderr == ""
    assert again.stdout.startswith("# codelength 3.46227")


def test_communities_from_a_pipe(tmp_path):
    assert "2 communities, 2.32073" in call("communities", "-", stdin=TRIANGLES).stderr
    pajek = "*Vertices 6\n*Edges\n" + "".join(
        f"{int(a) + 1} {int(b) + 1}\n" for a, b in map(str.split, TRIANGLES.splitlines())
    )
    result = call("communities", "-", "-o", tmp_path / "piped.html", stdin=pajek)
    assert "2 communities, 2.32073" in result.stderr
    assert "<title>standard input" in (tmp_path / "piped.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "walk",
    [
        {"flow": "recorded"},
        {"flow": "directed", "teleport": 0.5},
        {"flow": "rawdir"},
        {"markov_time": 3.0},
        {"quality": "best"},
    ],
    ids=str,
)
def test_walks_of_communities(walk):
    links = [tuple(map(int, line.split())) for line in NINE.splitlines()]
    bits = Infomap(random_state=0, **walk).fit(links).codelength_
    options = [word for name, v in walk.items() for word in ("--" + name.replace("_", "-"), v)]
    assert f"{bits:.6f} bits" in call("communities", "-", *options, stdin=NINE).stderr


def test_what_the_walk_does_not_visit():
    pajek = "*Vertices 4\n*Edges\n1 2\n2 3\n1 3\n"
    said = call("communities", "-", stdin=pajek).stderr.splitlines()
    assert said[0] == "4 nodes, 3 undirected links"
    assert said[1].startswith("1 community, 1.584963 bits")
    assert said[2] == "1 node is never visited"
    assert "0.0 % saved" in call("communities", "-", stdin="a a\n").stderr
    arcs = call("communities", "-", stdin="*Vertices 2\n*Arcs\n1 2\n").stderr
    assert "pass --flow directed" in arcs


def test_chance_is_no_community():
    assert (
        "1 community, 2.575767" in call("communities", "-", "--regularized", stdin=TRIANGLES).stderr
    )


@pytest.mark.skipif(os.name == "nt", reason="signals are different there")
def test_an_interrupt_writes_the_best_trial(tmp_path):
    path = tmp_path / "links.txt"
    ends = random.Random(0)
    path.write_text(
        "".join(f"{ends.randrange(9000)} {ends.randrange(9000)}\n" for _ in range(90000))
    )
    out = tmp_path / "links.clu"
    command = [sys.executable, "-m", "kexue", "communities", str(path), "--trials", "100000"]
    call("communities", "-", stdin=TRIANGLES)  # compiled kernels
    process = subprocess.Popen([*command, "-o", str(out)], stderr=subprocess.PIPE, text=True)
    time.sleep(6.0)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert re.search(r"interrupted: kept the best of \d+ finished searches of 100000", said)
    assert len(out.read_text().splitlines()) == 9001  # with the heading


def test_names_of_folders_and_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("news.2019.txt", "news.2020.txt.gz", os.fsdecode(b"\xff.txt")):
        data = POEM.encode()
        Path(name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
        result = call("atlas", name, "--quiet")
        assert result.exit_code == 0, result.output
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {
        "news.2019-atlas", "news.2020-atlas", os.fsdecode(b"\xff-atlas"),
    }  # fmt: skip
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert call("atlas", "../news.2019.txt", "-o", ".", "--quiet").exit_code == 0
    assert "<title>here" in Path("atlas.html").read_text(encoding="utf-8")


def test_halves_of_characters_are_replaced(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "\\ud83d cut emoji tweets tweets"}\n' * 9)
    assert call("words", path).exit_code == 0
    assert call("atlas", path, "-o", tmp_path / "out").exit_code == 0
    assert call("segment", path, "-m", tmp_path / "out").stdout.startswith("\ufffd")


def test_a_header_of_names_is_no_link(tmp_path):
    path = tmp_path / "people.csv"
    path.write_text("person,friend\nalice,bob\nbob,carol\nalice,carol\n")
    assert '"person"' in call("communities", path).stdout
    assert '"person"' not in call("communities", path, "--header").stdout


@pytest.mark.parametrize("option", ["--help", "-h", "--version"])
def test_help_and_version(option):
    result = call(option)
    assert result.exit_code == 0
    assert "kexue" in result.stdout


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


BAD = {
    "missing file": (lambda d: ["atlas", d / "no.txt"], "no.txt: no such file or folder"),
    "empty file": (lambda d: ["atlas", write(d / "a.txt", "")], "a.txt is empty"),
    "blank lines": (lambda d: ["atlas", write(d / "a.txt", "\n\n")], "all documents are empty"),
    "binary file": (
        lambda d: ["atlas", write(d / "a.txt", b"abc\0def")],
        "a.txt looks like a binary file (NUL byte at offset 3)",
    ),
    "undecodable byte": (
        lambda d: ["atlas", write(d / "a.txt", "汉字".encode() * 50_000 + b"\xff")],
        "a.txt at byte 300000",
    ),
    "missing column": (
        lambda d: ["atlas", write(d / "a.csv", "title\nabc\n"), "--column", "body"],
        "a.csv has no column 'body', its columns are 'title'",
    ),
    "bad json": (
        lambda d: ["atlas", write(d / "a.jsonl", '{"text": "a"}\n{"text"\n')],
        "a.jsonl, line 2: no valid JSON",
    ),
    "nothing repeats": (
        lambda d: ["atlas", write(d / "a.txt", "abcdef\n"), "-o", d / "out"],
        "nothing repeats: no two neighbouring characters occur twice",
    ),
    "foreign folder": (
        lambda d: [
            "atlas", write(d / "a.txt", POEM), "-o", write(d / "out.d", "x").parent
        ],
        "holds something else",
    ),
    "folder is a file": (
        lambda d: ["atlas", write(d / "a.txt", POEM), "-o", write(d / "out", "x")],
        "is a file; name a folder",
    ),
    "no input": (lambda d: ["atlas"], "give either files to read or --demo"),
    "both inputs": (
        lambda d: ["atlas", write(d / "a.txt", POEM), "--demo"],
        "give either files to read or --demo",
    ),
    "bad memory": (
        lambda d: ["atlas", write(d / "a.txt", POEM), "-o", d / "out", "--memory", "lots"],
        "--memory must be a size such as '500MB'",
    ),
    "bad length": (
        lambda d: ["words", write(d / "a.txt", POEM), "--max-length", "9"],
        "--max-length must be an int in [1, 8], got 9",
    ),
    "bad encoding": (
        lambda d: ["words", write(d / "a.txt", POEM), "--encoding", "latin-99"],
        "--encoding must be the name of a text encoding",
    ),
    "words to where": (
        lambda d: ["words", write(d / "a.txt", POEM), "-o", d / "words.xlsx"],
        "-o must name a .parquet, .csv, .tsv or .jsonl file",
    ),
    "no model": (
        lambda d: ["segment", write(d / "a.txt", POEM), "--model", d / "none"],
        "none: No such file",
    ),
    "model is some folder": (
        lambda d: ["segment", write(d / "a.txt", POEM), "--model", d],
        "is not an atlas",
    ),
    "blank text": (
        lambda d: ["atlas", write(d / "a.txt", "  \n\n \n   \n"), "-o", d / "out"],
        "nothing repeats",
    ),
    "another corpus's atlas": (
        lambda d: [
            call("atlas", write(d / "b.txt", POEM), "-o", d / "out") and "atlas",
            write(d / "a.txt", POEM + "又一句"), "-o", d / "out",
        ],
        "holds the atlas of another text",
    ),
    "bad seed": (
        lambda d: ["atlas", write(d / "a.txt", POEM), "-o", d / "out", "--seed", "-1"],
        "--seed must be",
    ),
    "bad jobs": (
        lambda d: ["words", write(d / "a.txt", POEM), "--jobs", "0"],
        "--jobs must be an int >= 1, or negative",
    ),
    "not a model": (
        lambda d: ["segment", write(d / "a.txt", POEM), "--model", write(d / "m.json", "{}")],
        "m.json is not a tokenizer",
    ),
    "graph with nan": (
        lambda d: ["communities", write(d / "g.txt", "0 1 1\n1 2 nan\n")],
        "g.txt, line 2: node ids must be >= 0 and weights finite and >= 0, got '1 2 nan'",
    ),
    "graph with negative weight": (
        lambda d: ["communities", write(d / "g.txt", "0 1 1\n1 2 -3\n")],
        "g.txt, line 2: node ids must be >= 0 and weights finite and >= 0, got '1 2 -3'",
    ),
    "graph with half a link": (
        lambda d: ["communities", write(d / "g.txt", "0 1 1\n1\n")],
        "g.txt, line 2",
    ),
    "empty graph": (lambda d: ["communities", write(d / "g.txt", "")], "g.txt: no links found"),
    "graph to where": (
        lambda d: ["communities", write(d / "g.txt", TRIANGLES), "-o", d / "g.xml"],
        "-o must name a .tree, .clu, .json or .html file",
    ),
    "not an atlas": (lambda d: ["info", d], "is not an atlas"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_answered_by_its_message_and_exit_code_2(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments, message = BAD[case]
    result = call(*arguments(tmp_path))
    assert result.exit_code == 2, (result.output, result.exception)
    assert result.stderr.startswith("kexue: error: ")
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("arguments", [["atlas", "--sed", "1"], ["segment", "x"], ["nonsense"]])
def test_bad_usage_is_exit_code_2(arguments):
    result = call(*arguments)
    assert result.exit_code == 2
    assert "Usage" in result.stderr


def test_a_failure_is_exit_code_1(poem, monkeypatch):
    from kexue.atlas import files

    def full(*_):
        raise OSError(28, "No space left on device", "atlas.html")

    monkeypatch.setattr(files, "write_text", full)
    result = call("atlas", poem, "-o", poem.parent / "out")
    assert result.exit_code == 1
    assert result.stderr == "kexue: failed: atlas.html: No space left on device\n"
    assert (poem.parent / "out" / ".stages").exists()


def test_a_closed_pipe_is_no_error(poem):
    command = f"{sys.executable} -m kexue words {poem} | head -1"
    result = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert result.stderr == ""
    assert result.stdout.startswith("word\t")


def test_an_interrupt_behind_other_errors_is_one():
    from kexue.cli.console import exit_codes

    try:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as error:
            raise SystemError("a kernel") from error
    except SystemError as error:
        outer = SystemError("another kernel")
        outer.__cause__ = error
    with pytest.raises(typer.Exit) as leaving, exit_codes():
        raise outer
    assert leaving.value.exit_code == 130


def test_words_with_quotation_marks_are_read_by_others(tmp_path):
    import polars as pl

    text = tmp_path / "a.txt"
    text.write_text('say "yes" or "no"\n' * 9, encoding="utf-8")
    table = tmp_path / "a.tsv"
    result = CliRunner().invoke(app, ["words", str(text), "-o", str(table), "--penalty", "mdl"])
    assert result.exit_code == 0, result.output
    assert '"' in pl.read_csv(table, separator="\t")["word"].to_list()
    result = CliRunner().invoke(app, ["words", str(text), "--penalty", "much"])
    assert result.exit_code == 2
    assert "--penalty must be a number or mdl, got 'much'" in result.stderr
