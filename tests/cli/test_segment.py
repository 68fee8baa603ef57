"""``kexue segment`` in a pipe, and what ``kexue words`` leaves for it."""

import io
import json
import lzma
import os
import select
import subprocess
import sys
import time

import polars as pl
import pytest
from typer.testing import CliRunner

from kexue.cli.app import app
from kexue.cli.segmenting import stream_lines, words_of
from kexue.corpus.texts import DOCUMENT_END
from kexue.words import UnigramTokenizer

POEM = "月下独酌花间一壶酒\n独酌无相亲\n花间一壶酒独酌\n举杯邀明月\n明月花间\n" * 9
WORDS = {"独酌": 9, "花间": 5, "明月": 4, "abc": 2, "月": 3}
COMMAND = [sys.executable, "-m", "kexue", "segment"]


def call(*arguments, stdin=None):
    return CliRunner().invoke(app, [str(a) for a in arguments], input=stdin)


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "tokenizer.json"
    UnigramTokenizer(WORDS).save(path)
    return path


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("独酌花间\n明月\n", "独酌/花间\n明月\n"),
        ("独酌花间\n\n\n明月\n", "独酌/花间\n\n\n明月\n"),
        ("独酌花间\r\n\r\n明月\r\n", "独酌/花间\n\n明月\n"),
        ("独酌\r明月\r", "独酌\n明月\n"),
        ("\n独酌明月", "\n独酌/明月\n"),
        ("", ""),
        ("\n", "\n"),
        ("\ufeff明月 独酌", "明月/ /独酌\n"),
        ("明月\u2028独酌\t𝒳\n", "明月/\u2028/独酌/\t/𝒳\n"),
    ],
)
def test_a_line_in_is_a_line_out(given, written, model):
    result = call("segment", "-m", model, "--sep", "/", stdin=given)
    assert result.exit_code == 0, result.output
    assert result.stdout_bytes.decode() == written


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_blocks_do_not_show(size, model):
    text = "独酌花间\r\n\r\n明月é\r独\r\r酌\n末"

    pipe = io.BytesIO(text.encode())
    render = words_of(UnigramTokenizer(WORDS), "/")
    chunks = list(stream_lines(lambda _: pipe.read(size), "utf-8", "strict"))
    assert all(codes[-1] == DOCUMENT_END for codes in chunks)
    written = b"".join(map(render, chunks)).decode()
    assert written == "独酌/花间\n\n明月/é\n独\n\n酌\n末\n"


@pytest.mark.parametrize("separator", ["", " ", "/", " | ", "\t"])
def test_separators(separator, model):
    tokens = UnigramTokenizer(WORDS).tokenize("独酌花间,x1 明月")
    result = call("segment", "-m", model, "--separator", separator, stdin="独酌花间,x1 明月\n")
    assert result.stdout_bytes.decode() == separator.join(tokens) + "\n"


def test_ids_are_those_of_encode(model):
    tokenizer = UnigramTokenizer(WORDS)
    result = call("segment", "-m", model, "--ids", stdin="独酌花间\n\n明鱻\n")
    lines = [list(map(int, line.split())) for line in result.stdout.splitlines()]
    assert lines == [tokenizer.encode(text).tolist() for text in ("独酌花间", "", "明鱻")]


def test_tables_and_files(model, tmp_path):
    table = tmp_path / "a.jsonl"
    table.write_text('{"text": "独酌\\n花间"}\n{"text": "明月"}\n', encoding="utf-8")
    assert call("segment", table, "-m", model).stdout == "独酌   花间\n明月\n"
    plain = tmp_path / "a.txt"
    plain.write_text("独酌花间\n\n明月\n", encoding="utf-8")
    assert call("segment", plain, "-m", model).stdout == "独酌 花间\n明月\n"
    assert call("segment", plain, "-m", model, "--documents", "files").stdout.count("\n") == 1


def test_a_line_appears_as_soon_as_it_was_written(model):
    with subprocess.Popen(
        [*COMMAND, "-m", str(model)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        for _ in range(3):
            process.stdin.write("独酌花间\n".encode())
            process.stdin.flush()
            # the pipe is still open: nothing but the line itself can have brought it
            assert select.select([process.stdout], [], [], 30)[0]
            assert process.stdout.readline() == "独酌 花间\n".encode()
        process.stdin.close()
        assert process.wait(timeout=30) == 0


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs /proc")
def test_memory_does_not_grow_with_the_input(model):
    def peak(process):
        with open(f"/proc/{process.pid}/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))

    with subprocess.Popen(
        [*COMMAND, "-m", str(model)], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as process:
        block = ("独酌花间明月abc, " * 7 + "\n").encode() * 8000  # 1.4 MB
        peaks = []
        for _ in range(2):
            for _ in range(20):
                process.stdin.write(block)
            process.stdin.flush()
            peaks.append(peak(process))
        process.stdin.close()
        assert process.wait(timeout=60) == 0
    # KiB; the second 28 MB would be three times that much as code points and as text
    assert peaks[1] - peaks[0] < 8_000


def test_a_reader_that_has_seen_enough_is_no_error(model):
    command = f"yes 独酌花间 | {' '.join(COMMAND)} -m {model} | head -2"
    result = subprocess.run(command, shell=True, capture_output=True, check=False, timeout=60)
    assert result.stderr == b""
    assert result.stdout.decode() == "独酌 花间\n" * 2


def test_the_stream_is_at_least_half_as_fast_as_in_memory(data, model):
    with lzma.open(data("zh-novels/hongloumeng.txt.xz"), "rt", encoding="utf-8") as file:
        lines = file.read().splitlines()
    counts = {}
    for line in lines:
        for n in (1, 2):
            for i in range(0, len(line) - n + 1, n):
                counts[line[i : i + n]] = counts.get(line[i : i + n], 0) + 1
    tokenizer = UnigramTokenizer({word: n for word, n in counts.items() if n > 4})
    render = words_of(tokenizer, " ")
    raw = "".join(f"{line}\n" for line in lines).encode()

    def stream():
        chunks = stream_lines(io.BytesIO(raw).read1, "utf-8", "strict")
        return b"".join(map(render, chunks))

    def in_memory():
        return tokenizer.transform(lines)

    def seconds(function):
        best = []
        for _ in range(5):
            start = time.process_time()
            function()
            best.append(time.process_time() - start)
        return min(best)

    written = stream().decode().split("\n")[:-1]
    assert written == [" ".join(tokens) for tokens in in_memory()]
    assert seconds(stream) < 2 * seconds(in_memory)


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        (b"abc\0def", [], "<stdin> looks like a binary file (NUL byte at offset 3)"),
        (b"\x1f\x8b\x08", [], "<stdin> is no text: it looks like gzip"),
        ("汉字\n".encode() + b"\xff\n", [], "in file <stdin> at byte 7"),
        (b"a", ["--encoding", "latin-99"], "--encoding must be the name of a text encoding"),
        (b"a", ["--errors", "ignore"], "--errors must be one of 'strict', 'replace'"),
        (b"a", ["--column", "text"], "is for tables"),
        (b"a", ["--documents", "records"], "<stdin> is plain text"),
    ],
)
def test_bad_input_is_answered_by_its_message_and_exit_code_2(given, options, message, model):
    result = call("segment", "-m", model, *options, stdin=given)
    assert result.exit_code == 2, (result.output, result.exception)
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_undecodable_bytes_may_be_replaced(model):
    result = call("segment", "-m", model, "--errors", "replace", stdin=b"a\xffb\n")
    assert result.stdout == "a \ufffd b\n"
    encoded = call(
        "segment", "-m", model, "--encoding", "gb18030", stdin="明月独酌\n".encode("gb18030")
    )
    assert encoded.stdout == "明月 独酌\n"


def test_words_leave_a_tokenizer_for_segment(tmp_path):
    poem = tmp_path / "poem.txt"
    poem.write_text(POEM, encoding="utf-8")
    table, tokenizer = tmp_path / "words.jsonl", tmp_path / "own.json"
    result = call("words", poem, "-o", table, "--tokenizer", tokenizer)
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in table.read_text(encoding="utf-8").splitlines()]
    assert rows[0].keys() == pl.read_csv(
        call("words", poem).stdout_bytes, separator="\t", quote_char=None
    ).schema.keys()  # fmt: skip
    assert call("segment", "-m", tokenizer, stdin="独酌花间\n").stdout == "独酌 花间\n"


def test_a_terminal_gets_the_first_words(tmp_path, monkeypatch):
    from kexue.cli import words

    table = pl.DataFrame(
        {"word": ["[b]", *"abcdefghijklmnopqrstuvwxyz"], "count": range(27), "pmi": 0.5}
    )
    shown = []
    monkeypatch.setattr("rich.console.Console.print", lambda _, value: shown.append(value))
    monkeypatch.setattr(words.sys, "stdout", _Terminal())
    words.write_words(table, None)
    assert shown[0].row_count == words.SHOWN
    assert shown[1] == "the first 20 of 27 words; -o or a pipe gets them all"


class _Terminal:
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-o", "words.xlsx"], "-o must name a .parquet, .csv, .tsv or .jsonl file"),
        (["--tokenizer", "own.pickle"], "--tokenizer must name a .json file, got own.pickle"),
    ],
)
def test_words_to_where(options, message, tmp_path):
    result = call("words", tmp_path / "absent.txt", *options)
    assert result.exit_code == 2
    assert message in result.stderr
