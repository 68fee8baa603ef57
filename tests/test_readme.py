"""The README keeps its word: its commands are the ones that CI runs, its examples run."""

import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import sparse

ROOT = Path(__file__).resolve().parents[1]
READMES = ("README.md", "README.zh.md")
COMMANDS = [
    'python3 -m venv .venv && . .venv/bin/activate && pip install -c constraints.txt ".[demo]" '
    "&& kexue atlas --demo",
    'python3 -m venv .venv && . .venv/bin/activate && pip install -c constraints.txt ".[test]" '
    "&& pytest",
]


def blocks(name, language):
    text = (ROOT / name).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("name", READMES)
def test_two_commands_do_all_the_set_up(name):
    commands = [line for block in blocks(name, "") for line in block.splitlines()]
    assert [line for line in commands if line.startswith("python3")] == COMMANDS


def test_ci_runs_the_commands_of_the_readme():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    body = re.search(r"^readme_command\(\) \{.*?^\}", script, re.DOTALL | re.MULTILINE)[0]
    for number, command in enumerate(COMMANDS, 1):
        found = subprocess.run(
            ["bash", "-c", f"{body}\nreadme_command {number}"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        assert found.stdout.strip() == command
        assert f'"$(readme_command {number})"' in script


@contextmanager
def terminals(lines):
    """Run the lines that start a cluster, each by itself."""
    commands = [line.split()[1:] for line in lines if line.startswith("dask ")]
    assert [command[0] for command in commands] == ["scheduler", "worker", "worker"]
    running = [
        subprocess.Popen([sys.executable, "-m", "dask", *command], stderr=subprocess.DEVNULL)
        for command in commands
    ]
    try:
        yield
    finally:
        for process in running[::-1]:
            process.terminate()
        for process in running:
            process.wait(30)


@pytest.mark.parametrize("name", READMES)
def test_the_examples_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    texts = ["word by word the words of the world", "the world of words, word for word"] * 20
    (tmp_path / "novel.txt").write_text("\n".join(texts), encoding="utf-8")
    import gzip

    (tmp_path / "a.txt.gz").write_bytes(gzip.compress("的的确确是的".encode()))
    (tmp_path / "news").mkdir()
    (tmp_path / "news" / "a.jsonl").write_text('{"text": "真的"}\n', encoding="utf-8")
    normal = np.random.default_rng(0).normal(size=(60, 3))
    names = {
        "texts": texts,
        "adjacency": sparse.csr_array(np.ones((6, 6)) - np.eye(6)),
        "tokenized_documents": [text.split() for text in texts],
        "other_documents": [["a", "word"]],
        "rows_with_holes": np.where(np.arange(180).reshape(60, 3) % 7 == 0, np.nan, normal),
        "X": torch.from_numpy(normal),
        "y": torch.arange(60) % 3,
        "network": torch.nn.Linear(3, 3).double(),
    }
    examples = blocks(name, "python")
    assert len(examples) == 10
    with terminals([line for block in blocks(name, "") for line in block.splitlines()]):
        for example in examples:
            exec(example, names)
    assert names["counts"]["真"] == 1
    assert (tmp_path / "novel-atlas" / "atlas.html").exists()


def test_every_link_leads_somewhere():
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
            assert target.startswith("https://") or (page.parent / target).exists(), (page, target)
