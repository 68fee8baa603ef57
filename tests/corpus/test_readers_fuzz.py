"""Readers against plain Python readings: any text in any file, and files that are damaged.

A damaged file is answered by an error that names it, or by what a plain reading finds in it.
"""

import csv
import gzip
import io
import json
import lzma
import os
import random
import re
import signal
import subprocess
import sys
import threading
from functools import partial

import polars as pl
import pytest
import zstandard
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from kexue._core import InputError
from kexue.corpus.texts import read_texts

# With checksums, as gzip and xz have them: without, damage cannot be told from text
COMPRESS = {
    "": bytes,
    ".gz": gzip.compress,
    ".zst": zstandard.ZstdCompressor(write_checksum=True).compress,
    ".xz": lzma.compress,
}
FORMATS = ["txt", "jsonl", "csv", "tsv", "parquet"]
# Stateful ones, with one, two and four bytes to a character, with and without a mark
ENCODINGS = [
    "utf-8", "utf-8-sig", "utf-7", "utf-16", "utf-16-be", "utf-32", "gb18030", "gbk", "hz",
    "big5", "big5hkscs", "shift_jis", "euc_jp", "euc_kr", "iso2022_jp", "koi8-r", "latin-1",
]  # fmt: skip
LETTERS = "字月光abc,;\"' \t\r\n\\{}😀𠀀\u0301\u2028\x85\x0b\ufeff"
LONE_RETURN = re.compile("\r(?!\n|\\Z)")
# What takes longer hangs
SECONDS = 60
SEEDS = [
    pytest.param(range(200), id="short"),
    pytest.param(range(200, 4000), id="long", marks=pytest.mark.slow),
]

any_text = st.text(
    st.one_of(st.sampled_from(LETTERS + "\x00"), st.characters(exclude_categories=["Cs"])),
    max_size=40,
)


@pytest.fixture(autouse=True)
def never_a_hang(monkeypatch, tmp_path):
    """Work in a folder of one's own, and break off what does not come to an end."""
    monkeypatch.chdir(tmp_path)
    if not hasattr(signal, "SIGALRM"):
        yield
        return

    def late(*_):
        raise TimeoutError(f"not done after {SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS * 20 if "long" in os.environ.get("PYTEST_CURRENT_TEST", "") else SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def put(name, content):
    with open(name, "wb") as file:
        file.write(content)
    return name


def file_content(format, documents, rng):
    """Return a file of `documents` as a str, bytes if it is Parquet, by Python's own writers."""
    if format == "parquet":
        buffer = io.BytesIO()
        pl.DataFrame({"n": range(len(documents)), "text": documents}).write_parquet(buffer)
        return buffer.getvalue()
    end = rng.choice(["\n", "\r\n"])
    if format == "txt":
        return "".join(document + end for document in documents)
    if format == "jsonl":
        ascii_only = rng.random() < 0.5
        records = [{"n": n, "text": document} for n, document in enumerate(documents)]
        return "".join(json.dumps(record, ensure_ascii=ascii_only) + end for record in records)
    if format == "tsv":
        rows = [("n", "text"), *((str(n), document) for n, document in enumerate(documents))]
        return "".join("\t".join(row) + end for row in rows)
    buffer = io.StringIO(newline="")
    quoting = rng.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
    writer = csv.writer(buffer, lineterminator=end, quoting=quoting)
    writer.writerows([("n", "text"), *enumerate(documents)])
    return buffer.getvalue()


def plain_reading(format, content, encoding="utf-8"):
    """Return the documents of a file by nothing but Python; raise if it is no such file."""
    text = content.decode(encoding).removeprefix("\ufeff")
    if format == "txt":
        return [line for line in text.replace("\r", "\n").split("\n") if line]
    if format == "jsonl":
        records = [json.loads(line) for line in text.split("\n") if line.strip()]
        found = [record.get("text") for record in records]
        if not all(text is None or isinstance(text, str) for text in found):
            raise ValueError("a text that is no string")
        found = [re.sub("[\ud800-\udfff]", "\ufffd", text or "") for text in found]
    else:
        # To the csv module every "\r" is a line end, in our tables only one before "\n" is
        lines = io.StringIO(LONE_RETURN.sub("\ue000", text), newline="")
        tabs = {"delimiter": "\t", "quoting": csv.QUOTE_NONE}
        reader = csv.reader(lines, strict=True, **(tabs if format == "tsv" else {}))
        header, *rows = (row for row in reader if row)
        if any(len(row) > len(header) for row in rows):
            raise ValueError("too many fields")
        place = header.index("text")
        found = [row[place].replace("\ue000", "\r") for row in rows if len(row) > place]
    return [text for text in found if text]


def reading(name, **options):
    """Return the documents, or the error that says what is wrong with the file of this name."""
    try:
        return list(read_texts(name, **options))
    except (InputError, UnicodeDecodeError) as error:
        named = (name if isinstance(name, str) else name[0]) in str(error)
        return error if named else f"an error without the name of the file: {error}"


# --- any text in any file


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(any_text, max_size=8),
    st.sampled_from(FORMATS[1:]),
    st.sampled_from(list(COMPRESS)),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32-be", "gb18030"]),
    st.integers(1, 300),
    st.randoms(use_true_random=False),
)
@example(["a\r\nb", '"', "", '""', "\ufeff"], "csv", ".gz", "utf-16", 1, random.Random(0))
def test_any_text_comes_back_from_any_table(documents, format, suffix, encoding, chunk_bytes, rng):
    if format == "csv":
        documents = [document.replace("\x00", "") for document in documents]
    elif format == "tsv":  # a field has no quotes to hold these
        documents = [re.sub("[\t\r\n\x00]", "", document) for document in documents]
    # A column of numbers is no column of texts, and a file needs some text
    documents = ["first", *documents]
    content = file_content(format, documents, rng)
    kept = [document for document in documents if document]
    if format != "parquet":
        content = content.encode(encoding)
        assert plain_reading(format, content, encoding) == kept
    name = put(f"t.{format}{suffix}", COMPRESS[suffix](content))
    assert list(read_texts(name, encoding=encoding, chunk_bytes=chunk_bytes)) == kept


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.one_of(any_text, st.binary(max_size=40)),
    st.sampled_from(ENCODINGS),
    st.integers(1, 50),
)
@example(b"\xef\xbb", "utf-8-sig", 1)
def test_any_bytes_are_text_of_an_encoding_or_an_error(content, encoding, chunk_bytes):
    if isinstance(content, str):
        content = content.encode(encoding, "ignore")
    name = put("a.txt", content or b"-")
    put("b.txt", "ok\n".encode(encoding))
    found = reading([name, "b.txt"], encoding=encoding, chunk_bytes=chunk_bytes)
    try:
        expected = [*plain_reading("txt", content or b"-", encoding), "ok"]
    except UnicodeDecodeError:
        assert not isinstance(found, list)
        return
    if isinstance(found, list):
        assert found == expected
    else:  # NUL, the first bytes of an archive, UTF-16 without its mark, half an escape sequence
        assert re.search("looks like|is not in the encoding given", str(found))


# --- damage


def damaged(content, rng):
    """Return `content` cut, changed, with bytes put in, taken out or repeated."""
    content = bytearray(content)
    for _ in range(rng.choice([1, 1, 2])):
        place = rng.randrange(len(content) + 1)
        piece = content[place : place + rng.randrange(1, 12)]
        kind = rng.choice(["cut", "flip", "nul", "mark", "other", "lose", "repeat"])
        if kind == "cut":
            del content[place:]
        elif kind == "flip" and piece:
            content[place] ^= 1 << rng.randrange(8)
        elif kind == "nul":
            content[place:place] = bytes(rng.randrange(1, 4))
        elif kind == "mark":
            content[place:place] = rng.choice([b'"', b"\n", b"\r", b",", b"\t", b" ", b"{", b"\\"])
        elif kind == "other":
            encoding = rng.choice(["gb18030", "utf-16", "utf-16-le", "utf-8", "utf-8-sig"])
            content[place:place] = "\n月光\n".encode(encoding)
        elif kind == "lose":
            del content[place : place + len(piece)]
        else:
            content[place:place] = piece
    return bytes(content)


def some_documents(rng, format):
    documents = [
        "".join(rng.choices("字a月,\"\n\r 😀'\\\t", k=rng.randrange(1, 9)))
        for _ in range(rng.randrange(1, 6))
    ]
    forbidden = {"txt": "[\r\n]", "tsv": "[\t\r\n]"}.get(format, "(?!)")
    return ["first", *(re.sub(forbidden, "", document) for document in documents)]


@pytest.mark.parametrize("seeds", SEEDS)
@pytest.mark.parametrize("format", ["txt", "jsonl", "csv", "tsv"])
def test_damaged_text_is_read_as_it_stands_or_refused(format, seeds):
    outcomes = {"same": 0, "refused": 0}
    for seed in seeds:
        rng = random.Random(seed)
        content = damaged(file_content(format, some_documents(rng, format), rng).encode(), rng)
        column = None if format == "txt" else "text"
        name = put(f"a.{format}", content)
        found = reading(name, column=column, chunk_bytes=rng.randrange(1, 60))
        try:
            expected = plain_reading(format, content)
        except (ValueError, csv.Error) as error:
            expected = error
        if isinstance(found, list) and isinstance(expected, csv.Error):
            # polars takes a mark inside a field for a letter, as csv does when it is not strict
            assert "expected after" in str(expected), (seed, content)
            text = content.decode().replace('"', "")
            assert all(document.replace('"', "") in text for document in found), (seed, content)
        elif isinstance(found, list):
            assert found == expected, (seed, content)
        elif format in ("txt", "jsonl") and isinstance(expected, list) and expected:
            assert "looks like" in str(found), (seed, content)
        outcomes["same" if isinstance(found, list) else "refused"] += 1
    assert min(outcomes.values()) > len(seeds) / 20


@pytest.mark.parametrize("n_lines", [3, 3000])
@pytest.mark.parametrize("other", ["gb18030", "utf-16", "utf-16-le", "utf-32", "latin-1"])
@pytest.mark.parametrize("first", ["utf-8", "other"])
def test_lines_of_two_encodings_are_refused_at_the_first_wrong_byte(n_lines, other, first):
    lines = ["é 月光\n" if other != "latin-1" else "é\n"] * n_lines
    parts = ["".join(lines).encode("utf-8"), "".join(lines).encode(other)]
    content = b"".join(parts if first == "utf-8" else parts[::-1])
    with pytest.raises(UnicodeDecodeError) as error:
        content.decode()
    found = reading(put("a.txt", content))
    if b"\0" in content[: 1 << 16]:
        assert f"NUL byte at offset {content.index(0)}" in str(found)
    else:
        assert f"in file a.txt at byte {error.value.start};" in str(found)


@pytest.mark.parametrize("seeds", SEEDS)
@pytest.mark.parametrize("suffix", [".gz", ".zst", ".xz"])
def test_damaged_streams_never_lose_text_in_silence(suffix, seeds):
    for seed in seeds:
        rng = random.Random(seed)
        lines = ["".join(rng.choices("字abc月光 😀", k=20)) for _ in range(rng.randrange(2, 30))]
        parts = [lines[:k] for k in [rng.randrange(1, len(lines))]] if seed % 2 else [lines]
        parts += [lines[len(parts[0]) :]] if seed % 2 else []
        streams = [COMPRESS[suffix]("".join(f"{x}\n" for x in part).encode()) for part in parts]
        whole = b"".join(streams)
        content = damaged(whole, rng)
        while content in (b"", whole, streams[0]):  # no damage, or none that can be seen
            content = damaged(whole, rng)
        found = reading(put(f"a.txt{suffix}", content), chunk_bytes=rng.choice([1, 100, 1 << 20]))
        if isinstance(found, list):  # a time stamp, zeros between streams, a stream repeated
            assert found[: len(lines)] == lines, (seed, content)


@pytest.mark.parametrize("suffix", [".gz", ".zst", ".xz"])
def test_every_cut_of_a_compressed_file_is_seen(suffix):
    stream = COMPRESS[suffix]("牀前明月光\n疑是地上霜\n".encode() * 3)
    for size in range(len(stream)):
        found = reading(put(f"a.txt{suffix}", stream[:size]))
        assert re.search("is empty" if not size else "damaged or cut short", str(found))
        found = reading(put(f"a.txt{suffix}", stream + stream[:size]))
        assert (len(found) == 6) if not size else "damaged or cut short" in str(found)


@pytest.mark.parametrize("suffix", [".gz", ".zst", ".xz"])
@pytest.mark.parametrize("rest", [b"garbage", b"\x00\x00\x00\x00garbage", b"\xfd7zXZ", b"\x1f"])
def test_what_follows_a_stream_is_not_passed_over(suffix, rest):
    found = reading(put(f"a.txt{suffix}", COMPRESS[suffix](b"text\n" * 100) + rest))
    assert f"a.txt{suffix} is no whole " in str(found)


@pytest.mark.parametrize("suffix", [".gz", ".xz"])
def test_zeros_pad_streams(suffix):
    stream = COMPRESS[suffix](b"text\n")
    name = put(f"a.txt{suffix}", stream + bytes(8) + stream + bytes(4))
    assert reading(name) == ["text", "text"]


def test_frames_of_zstd_may_be_empty_or_skippable():
    skippable = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"aside"
    frames = [skippable, COMPRESS[".zst"](b"one\n"), COMPRESS[".zst"](b""), skippable]
    assert reading(put("a.txt.zst", b"".join([*frames, COMPRESS[".zst"](b"two")]))) == [
        "one",
        "two",
    ]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('text,n\n"a",1\n"b ""quoted"" text",2\n', ["a", 'b "quoted" text']),
        ('n,text\n1,a\n2,"b ""', None),
        ('text\n"a""', None),
        ('text\n"a""\n', None),
    ],
)
def test_a_csv_file_cut_after_a_doubled_mark(content, expected):
    found = reading(put("a.csv", content.encode()))
    assert (
        found == expected
        if expected
        else "may be cut short" in str(found) or "no valid" in str(found)
    )


def test_undecodable_bytes_in_the_header_of_a_table():
    found = reading(put("a.csv", b"\xe9t\xe9,text\n1,a\n"))
    assert "in file a.csv at byte 0; give the encoding" in str(found)


@pytest.mark.parametrize("compression", ["zstd", "gzip"])
def test_damaged_parquet_files(compression):
    """In a process of its own, which a native reader might take down."""
    code = """
import io, random, sys
import polars as pl
from kexue._core import InputError
from kexue.corpus.texts import read_texts

documents = [f"第{k}行" * (k % 7) for k in range(200)]
buffer = io.BytesIO()
pl.DataFrame({"text": documents, "n": range(200)}).write_parquet(buffer, compression=sys.argv[1])
whole = buffer.getvalue()
for seed in range(200):
    rng = random.Random(seed)
    content = bytearray(whole[: rng.randrange(1, len(whole))] if seed % 2 else whole)
    if not seed % 2:
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    with open("a.parquet", "wb") as file:
        file.write(content)
    try:
        found = list(read_texts("a.parquet"))
    except InputError as error:
        assert "a.parquet" in str(error)
    else:
        assert not seed % 2, "a cut file was read as if it were whole"
        try:
            expected = pl.read_parquet("a.parquet")["text"].drop_nulls().to_list()
        except pl.exceptions.PolarsError:
            continue  # damage in the column that is not asked for
        assert found == [text for text in expected if text]
"""
    subprocess.run([sys.executable, "-c", code, compression], check=True, timeout=SECONDS)


def test_a_panic_of_polars_is_told_as_damage(monkeypatch):
    def collect(*_, **__):
        raise pl.exceptions.PanicException("index out of bounds")

    name = put("a.parquet", file_content("parquet", ["text"], random.Random(0)))
    monkeypatch.setattr(pl.LazyFrame, "collect", collect)
    assert "a.parquet: no valid parquet file (index out of bounds)" in str(reading(name))


@pytest.mark.parametrize("encoding", ["idna", "punycode"])
def test_encodings_of_names_cannot_be_read_in_blocks(encoding):
    with pytest.raises(InputError, match=f"encoding must be .* got '{encoding}'"):
        read_texts(put("a.txt", b"text\n"), encoding=encoding)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("format", ["csv", "tsv", "parquet", "jsonl"])
@pytest.mark.parametrize("suffix", ["", ".gz", ".zst", ".xz"])
def test_tables_through_a_pipe(format, suffix):
    name = f"pipe.{format}{suffix}"
    content = file_content(format, ["first", "月光"], random.Random(0))
    content = COMPRESS[suffix](content if format == "parquet" else content.encode())
    os.mkfifo(name)
    writer = threading.Thread(target=put, args=(name, content), daemon=True)
    writer.start()
    found = []

    def read():
        texts = read_texts(name)
        found.extend([list(texts), list(texts)])

    reader = threading.Thread(target=read, daemon=True)  # native code hears no alarm
    reader.start()
    reader.join(SECONDS / 4)
    assert found == [["first", "月光"]] * 2


# --- size


CHILD = """
import sys
from kexue.corpus.texts import DOCUMENT_END, read_texts
name, n = sys.argv[1], int(sys.argv[2])
list(read_texts("small" + name))  # what is imported is no growth
def peak():  # not ru_maxrss, which begins with what the parent had
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))


before = peak()
longest = count = 0
for chunk in read_texts(name).chunks():
    ends = (chunk.codes == DOCUMENT_END).nonzero()[0]
    count += ends.size
    longest = max(longest, int(ends[0]), *(ends[1:] - ends[:-1] - 1)[:9])
    del chunk, ends
print(longest, count, (peak() - before) * 1024 / n)
"""


def grown(name, n_bytes):
    """Return the longest document, how many there are, and the growth of memory per byte read."""
    run = subprocess.run(
        [sys.executable, "-c", CHILD, name, str(n_bytes)],
        check=True, timeout=SECONDS, stdout=subprocess.PIPE,
    )  # fmt: skip
    longest, count, growth = run.stdout.split()
    return int(longest), int(count), float(growth)


OPEN = {
    "": open,
    ".gz": partial(gzip.open, compresslevel=1),
    ".zst": zstandard.open,
    ".xz": partial(lzma.open, preset=0),
}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    "name",
    [
        "a.txt.gz",
        "a.jsonl",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("a.txt", "a.txt.zst", "a.txt.xz", "a.jsonl.gz", "a.csv")
        ),
    ],
)
def test_a_line_of_100_megabytes(name):
    head, tail = {"jsonl": ('{"text": "', '"}'), "csv": ("text\n", "\nend")}.get(
        name.split(".")[1], ("", "\nend")
    )
    megabyte = b"abcd efgh " * 100_000
    suffix = os.path.splitext(name)[1]
    for prefix, n in (("small", 1), ("", 100)):
        with OPEN.get(suffix, open)(prefix + name, "wb") as file:
            file.write(head.encode())
            for _ in range(n):
                file.write(megabyte)
            file.write(tail.encode())
    longest, count, growth = grown(name, 100_000_000)
    assert (longest, count) == (100_000_000, 1 if "jsonl" in name else 2)
    # code points are four bytes: the pieces of the line, the line, and for tables its str
    assert growth < 17, f"{growth:.1f} bytes of memory for each byte"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    "suffix", [".zst", *(pytest.param(suffix, marks=pytest.mark.slow) for suffix in (".gz", ".xz"))]
)
def test_a_small_file_of_much_text_is_unpacked_piece_by_piece(suffix):
    name = f"a.txt{suffix}"
    for prefix, n in (("small", 1), ("", 100)):
        with OPEN[suffix](prefix + name, "wb") as file:
            for _ in range(n):
                file.write(b"a\n" * 500_000)
    n_bytes = 100_000_000
    _, count, growth = grown(name, n_bytes)
    assert count == n_bytes // 2
    assert growth * n_bytes < 150e6
