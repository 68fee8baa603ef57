"""Reading texts: what a document is, whatever the file, the compression and the chunks."""

import gzip
import hashlib
import io
import json
import logging
import lzma
import os
import sys
import threading
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kexue._core import InputError
from kexue.corpus.texts import (
    DOCUMENT_END,
    Texts,
    as_texts,
    decode_codes,
    encode_text,
    read_texts,
)

COMPRESS = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress, ".xz": lzma.compress}
POEM = ["牀前明月光", "疑是地上霜", "舉頭望明月", "低頭思故鄉"]


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write files, by name and content, into the folder that the test runs in."""
    monkeypatch.chdir(tmp_path)

    def write(name, content):
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return name

    return write


# Text in which everything that could go wrong at a block border is common
nasty_text = st.text(
    st.one_of(
        st.sampled_from("\r\n\r\n\n \tab字\u0301\ufeff\u2028\x85\x0b\x00😀𠀀"),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=60,
)


def lines_of(text):
    return [line for line in text.replace("\r", "\n").split("\n") if line]


def documents_or_none(texts):
    try:
        return list(texts)
    except InputError as error:
        if "all documents are empty" not in str(error):
            raise
        return []


# --- code points


@given(st.text(st.characters()))
def test_codes_and_text_are_inverse(text):
    codes = encode_text(text)
    assert codes.dtype == np.uint32
    assert codes.tolist() == [ord(character) for character in text]
    assert decode_codes(codes) == text
    assert codes.flags.writeable


# --- documents of plain text


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    nasty_text.map(lambda text: text.replace("\x00", "")).filter(bool),
    st.integers(1, 64),
    st.sampled_from(["utf-8", "utf-16", "utf-32-be", "gb18030"]),
    st.sampled_from(list(COMPRESS)),
)
def test_chunks_never_change_the_documents(tmp_path, text, chunk_bytes, encoding, suffix):
    path = tmp_path / f"text.txt{suffix}"
    path.write_bytes(COMPRESS[suffix](text.encode(encoding)))
    options = {"encoding": encoding, "chunk_bytes": chunk_bytes}
    text = text.removeprefix("\ufeff")
    assert documents_or_none(read_texts(path, **options)) == lines_of(text)
    whole = text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")
    documents = documents_or_none(read_texts(path, documents="files", **options))
    assert documents == ([whole] if whole else [])


@given(st.lists(nasty_text), st.integers(1, 64))
def test_collections_keep_their_documents(documents, chunk_bytes):
    texts = as_texts(documents)
    small = Texts(texts._sources, chunk_bytes)
    expected = [document for document in documents if document]
    assert documents_or_none(texts) == documents_or_none(small) == expected
    for chunk in small.chunks() if expected else ():
        assert chunk.codes[-1] == DOCUMENT_END
    if expected:
        assert texts.fingerprint() == small.fingerprint()
        codes = np.concatenate([[*map(ord, document), DOCUMENT_END] for document in expected])
        assert np.array_equal(texts.codes(), codes)
        assert texts.fingerprint() == hashlib.sha256(codes.astype("<u4").tobytes()).hexdigest()


@pytest.mark.parametrize(
    ("content", "documents"),
    [
        ("一\n二\n", ["一", "二"]),
        ("一\r\n\r\n二", ["一", "二"]),
        ("一\r二\r", ["一", "二"]),
        ("\n\n一\n \n", ["一", " "]),
        ("只有一行", ["只有一行"]),
        ("\ufeff一\n\ufeff二", ["一", "\ufeff二"]),
        ("a\u2028b\x0bc\x85d", ["a\u2028b\x0bc\x85d"]),
        (b"ok\n" * 30000 + b"late\x00nul\n", ["ok"] * 30000 + ["late\x00nul"]),
    ],
)
def test_lines(write, content, documents):
    name = write("a.txt", content)
    assert list(read_texts(name)) == list(read_texts(name, documents="lines")) == documents


def test_one_document_a_file(write):
    names = [write("a.txt", "一\r\n\r\r二\r"), write("b.txt", "三\n\n"), write("c.txt", "\r\r\n")]
    assert list(read_texts(names, documents="files")) == ["一\n\n\n二", "三"]


def test_chunks_hold_whole_documents_and_small_files_share_one(write):
    for number in range(9):
        write(f"small/{number}.txt", f"{number}" * 10)
    write("small/big.txt", "long " * 100 + "\nx\n")
    chunks = list(read_texts("small", chunk_bytes=80).chunks())
    assert [chunk.source for chunk in chunks[:3]] == [
        f"{Path('small', '0.txt')} to {Path('small', '1.txt')}",
        f"{Path('small', '2.txt')} to {Path('small', '3.txt')}",
        f"{Path('small', '4.txt')} to {Path('small', '5.txt')}",
    ]
    assert all(chunk.codes[-1] == DOCUMENT_END for chunk in chunks)
    assert max(chunk.codes.size for chunk in chunks) > 500
    assert sum((chunk.codes == DOCUMENT_END).sum() for chunk in chunks) == 11
    assert all(chunk.codes.flags.writeable for chunk in chunks)


def test_texts_can_be_read_again_and_at_once(write):
    texts = read_texts(write("a.txt", "\n".join(POEM)), chunk_bytes=7)
    assert list(zip(texts, texts, strict=True)) == [(line, line) for line in POEM]


def test_fingerprint_is_of_the_documents_alone(write):
    plain = write("a/x.txt", "\n".join(POEM))
    same = [
        write("b/y.txt.gz", gzip.compress("\r\n\r\n".join(POEM).encode())),
        write("c.txt", "\n".join(POEM).encode("utf-16")),
        write("d.jsonl", "".join(json.dumps({"text": line}) + "\n" for line in POEM)),
    ]
    prints = {
        read_texts(plain).fingerprint(),
        read_texts(plain, chunk_bytes=3).fingerprint(),
        read_texts(same[0]).fingerprint(),
        read_texts(same[1], encoding="utf-16").fingerprint(),
        read_texts(same[2]).fingerprint(),
        as_texts(POEM).fingerprint(),
    }
    assert len(prints) == 1
    assert as_texts(POEM[::-1]).fingerprint() not in prints
    assert as_texts(["".join(POEM)]).fingerprint() not in prints


# --- paths


def test_patterns_and_folders_are_sorted_and_files_read_once(write):
    for name in ("d/b.txt", "d/a.TXT", "d/sub/c.md.gz", "d/skip.py", "d/.hidden/e.txt", "z.log"):
        content = f"in {name}"
        write(name, gzip.compress(content.encode()) if name.endswith(".gz") else content)
    write("d/empty.txt", "")
    expected = ["in d/a.TXT", "in d/b.txt", "in d/sub/c.md.gz"]
    assert list(read_texts("d")) == expected
    assert list(read_texts(["z.log", "d", "d/b.txt", Path("d/../z.log")])) == [
        "in z.log",
        *expected,
    ]
    assert list(read_texts(["d/*.txt", "d/**/*.gz"])) == ["in d/b.txt", "in d/sub/c.md.gz"]
    assert read_texts("d").sources[0] == str(Path("d", "a.TXT"))
    assert repr(read_texts("d/*.txt")) == f"Texts({Path('d', 'b.txt')})"


def test_a_file_whose_name_looks_like_a_pattern(write):
    assert list(read_texts(write("a[1].txt", "here"))) == ["here"]


def test_standard_input_is_read_once_and_kept(monkeypatch):
    content = "\n".join(POEM).encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    texts = read_texts("-", chunk_bytes=5)
    assert list(texts) == list(texts) == POEM
    assert texts.sources == ("<stdin>",)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_read_once_and_kept(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("\n".join(POEM), "utf-8"), daemon=True)
    writer.start()
    texts = read_texts(pipe)
    assert list(texts) == list(texts) == POEM


# --- compression


@pytest.mark.parametrize("suffix", list(COMPRESS))
@pytest.mark.parametrize("twice", [False, True])
def test_compressed_files_of_one_and_several_streams(write, suffix, twice):
    stream = COMPRESS[suffix](("\n".join(POEM) + "\n").encode() * 3000)
    texts = read_texts(write(f"a.txt{suffix}", stream + stream if twice else stream))
    assert list(texts) == POEM * 3000 * (1 + twice)


@pytest.mark.parametrize("suffix", [".gz", ".zst", ".xz"])
@pytest.mark.parametrize("damage", ["cut", "changed", "other"])
def test_damaged_compressed_files(write, suffix, damage):
    rng = np.random.default_rng(0)
    stream = COMPRESS[suffix](rng.integers(97, 123, 200_000, np.uint8).tobytes())
    content = {
        "cut": stream[:-9],
        "changed": stream[:5] + bytes(90) + stream[95:],
        "other": b"plain",
    }[damage]
    with pytest.raises(InputError, match=rf"a\.txt\{suffix} is no whole \w+ file, it is damaged"):
        list(read_texts(write(f"a.txt{suffix}", content)))


# --- tables


def table_file(write, format, compression, rows):
    frame = pl.DataFrame(rows)
    buffer = io.BytesIO()
    if format == "parquet":
        frame.write_parquet(buffer)
    elif format == "tsv":
        frame.write_csv(buffer, separator="\t", quote_style="never")
    elif format == "csv":
        frame.write_csv(buffer)
    else:
        frame.write_ndjson(buffer)
    return write(f"t.{format}{compression}", COMPRESS[compression](buffer.getvalue()))


@pytest.mark.parametrize("format", ["jsonl", "ndjson", "json", "csv", "tsv", "parquet"])
@pytest.mark.parametrize("compression", ["", ".gz"])
@pytest.mark.parametrize("text", ["text", "content"])
def test_records_of_tables(write, format, compression, text):
    documents = ["牀前,明月光", "two\nlines", 'a "quoted" one', "tab\there", " "]
    if format == "tsv":  # no quotes, so a mark alone opens nothing, and no field holds a tab
        documents = ["牀前,明月光", '"one', 'a "quoted" one', '"', " "]
    rows = {"id": range(7), text: [*documents, None, ""]}
    name = table_file(write, format, compression, rows)
    assert list(read_texts(name)) == documents
    assert list(read_texts(name, documents="records", column=text, chunk_bytes=3)) == documents


def test_column_is_chosen_by_name(write):
    name = write("a.csv", "title,body,n\nt,b,1\n")
    assert list(read_texts(name, column="body")) == ["b"]


def test_long_tables(write):
    documents = [f"第{number}行" for number in range(5000)]
    for format in ("csv", "jsonl", "parquet"):
        name = table_file(write, format, "", {"n": ["1"] * 5000, "text": documents})
        assert list(read_texts(name, chunk_bytes=100)) == documents


def test_csv_types_come_from_its_first_records_but_hold_nobody_up(write):
    name = write("a.csv", "text,n\n" + "a,1\n" * 2000 + "7,seven\n")
    assert list(read_texts(name)) == ["a"] * 2000 + ["7"]


def test_tables_in_other_encodings(write):
    for name in ("a.csv", "a.jsonl"):
        content = "text\n月\n" if name == "a.csv" else '{"text": "月"}\n'
        write(name, content.encode("gb18030"))
        assert list(read_texts(name, encoding="gb18030")) == ["月"]
        write(name, "\ufeff" + content)
        assert list(read_texts(name)) == ["月"]


def test_json_lines_keep_what_json_allows(write):
    content = '{"text": "\\ud800 \u2028"}\r\n\n{"other": 1}\n{"text": null}\n{"text": "z"}'
    texts = read_texts(write("a.jsonl", content))
    assert list(texts) == ["\ufffd \u2028", "z"]
    assert texts.replaced == 1


def test_plain_text_and_tables_together(write):
    names = [write("a.txt", "一\n二"), write("b.jsonl", '{"text": "三"}')]
    assert list(read_texts(names, column="text")) == ["一", "二", "三"]


# --- undecodable bytes


@pytest.mark.parametrize("chunk_bytes", [1, 2, 3, 5, 1000])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_undecodable_bytes_are_found_across_blocks(write, chunk_bytes, suffix):
    good = "月光\n".encode() * 7
    for bad, offset in ((b"\xff", 0), (b"\xe6\x9c", 0), (b"ab\xc3(", 2)):
        name = write(f"notes.txt{suffix}", COMPRESS[suffix](good + bad + b"\n" + good))
        place = rf"in file {name} at byte {len(good) + offset}; give the encoding or errors="
        with pytest.raises(UnicodeDecodeError, match=place):
            list(read_texts(name, chunk_bytes=chunk_bytes))


def test_a_character_cut_by_the_end_of_the_file(write):
    with pytest.raises(
        UnicodeDecodeError, match=r"unexpected end of data in file a\.txt at byte 3"
    ):
        list(read_texts(write("a.txt", "月光".encode()[:5])))


@pytest.mark.parametrize("chunk_bytes", [1, 4, 1000])
def test_replaced_bytes_are_counted_and_logged_once(write, chunk_bytes, caplog):
    content = "\ufffd月".encode() + b"\xff\xfe" + "光".encode()[:2]
    texts = read_texts(write("a.txt", content), errors="replace", chunk_bytes=chunk_bytes)
    assert texts.replaced == 0
    with caplog.at_level(logging.WARNING, "kexue"):
        expected = [content.decode(errors="replace")]
        assert list(texts) == list(texts) == expected == ["\ufffd月\ufffd\ufffd\ufffd"]
    assert texts.replaced == 3
    assert caplog.messages == ["a.txt: replaced 3 undecodable sequences by U+FFFD"]


# --- collections


def test_collections_of_every_kind(write):
    assert list(as_texts(Path(write("a.txt", "一\n二")))) == ["一", "二"]
    documents = ["一", "", "二"]
    for kind in (list, tuple, np.array, pl.Series):
        texts = as_texts(kind(documents))
        assert list(texts) == list(texts) == ["一", "二"]
    generated = as_texts(document for document in documents)
    assert list(generated) == list(generated) == ["一", "二"]
    assert as_texts(generated) is generated
    assert generated.sources == ("<memory>",)


def test_a_callable_is_called_for_every_pass():
    calls = []

    def produce():
        calls.append(1)
        return (document for document in POEM)

    texts = as_texts(produce)
    assert list(texts) == list(texts) == POEM
    assert len(calls) == 2


# --- bad inputs


BAD_FILES = {
    "empty.txt": b"",
    "empty.txt.gz": gzip.compress(b""),
    "blank.txt": b"\n\r\n\n",
    "nul.txt": b"text\x00",
    "wide.txt": "月光\n".encode("utf-16"),
    "hidden.txt": gzip.compress(b"text"),
    "paper.txt": b"%PDF-1.7\n",
    "ok.txt": b"one\ntwo\n",
    "latin.txt": "é".encode("latin-1"),
    "two.csv": b"a,b,n\nx,y,1\n",
    "numbers.csv": b"text,n\n1,2\n",
    "ragged.csv": b'text,n\n"two\nlines",1\nhello, world,2\n',
    "quote.csv": b'text,n\n"open,1\n',
    "latin.csv": b"text\nok\n\xe9\n",
    "header.csv": b"text,n\n",
    "bad.jsonl": b'{"text": "a"}\n\n{"text": \n',
    "array.json": b'[{"text": "a"}]',
    "number.jsonl": b'{"text": "a"}\n{"text": 3}\n',
    "bad.parquet": b"no parquet at all",
    "empty.parquet": b"",
    "folder/readme.py": b"x",
}


@pytest.mark.parametrize(
    ("paths", "options", "error", "message"),
    [
        ("none.txt", {}, FileNotFoundError, "no such file or folder: 'none.txt'"),
        (["ok.txt", "none.txt"], {}, FileNotFoundError, "none.txt"),
        ("*.log", {}, InputError, r"the pattern '\*\.log' holds no file that is not empty"),
        ("folder", {}, InputError, r"the folder 'folder' holds no file with a name in \.txt, "),
        ([], {}, InputError, "paths must name at least one file"),
        (b"ok.txt", {}, TypeError, "paths must be a path or several of them, got b'ok.txt'"),
        ([3], {}, TypeError, "paths must be str or path-like, got 3"),
        ("empty.txt", {}, InputError, "empty.txt is empty"),
        ("empty.txt.gz", {}, InputError, "empty.txt.gz is empty"),
        ("empty.parquet", {}, InputError, "empty.parquet is empty"),
        ("blank.txt", {}, InputError, "no text in blank.txt: all documents are empty"),
        ("blank.txt", {"documents": "files"}, InputError, "no text in blank.txt"),
        ("header.csv", {}, InputError, "no text in header.csv"),
        ("nul.txt", {}, InputError, r"looks like a binary file \(NUL byte at offset 4\)"),
        ("nul.txt", {"encoding": "gb18030"}, InputError, "looks like a binary file"),
        ("wide.txt", {}, InputError, r'begins like UTF-16: give encoding="utf-16"'),
        ("hidden.txt", {}, InputError, "hidden.txt is no text: it looks like gzip, but its name"),
        ("paper.txt", {}, InputError, "it looks like a PDF document; extract its text first"),
        ("latin.txt", {}, UnicodeDecodeError, "in file latin.txt at byte 0"),
        ("ok.txt", {"encoding": "utf-16"}, InputError, "ok.txt is not in the encoding given"),
        ("ok.txt", {"encoding": "klingon"}, InputError, "encoding must be .*, got 'klingon'"),
        ("ok.txt", {"encoding": "hex"}, InputError, "encoding must be .*, got 'hex'"),
        ("ok.txt", {"errors": "ignore"}, InputError, "errors must be one of 'strict', 'replace'"),
        ("ok.txt", {"documents": "words"}, InputError, "documents must be one of 'auto', 'lines'"),
        ("ok.txt", {"chunk_bytes": 0}, InputError, "chunk_bytes must be an int >= 1, got 0"),
        ("ok.txt", {"column": "text"}, InputError, "column='text' is for tables"),
        ("ok.txt", {"documents": "records"}, InputError, "'records' is for tables and ok.txt is"),
        ("two.csv", {"documents": "files"}, InputError, "'files' is for plain text and two.csv is"),
        ("two.csv", {"documents": "lines"}, InputError, "'lines' is for plain text and two.csv is"),
        (
            "two.csv",
            {},
            InputError,
            "no column 'text' and 2 columns of .* are 'a', 'b', 'n'",
        ),
        (
            "two.csv",
            {"column": "c"},
            InputError,
            "two.csv has no column 'c', its columns are 'a'",
        ),
        ("two.csv", {"column": "n"}, InputError, "column 'n' of two.csv does not hold strings"),
        ("numbers.csv", {}, InputError, "column 'text' of numbers.csv does not hold strings"),
        (
            "ragged.csv",
            {},
            InputError,
            "ragged.csv, line 4: no valid csv file .*; quote texts",
        ),
        ("quote.csv", {}, InputError, "quote.csv: no valid csv file"),
        ("latin.csv", {}, UnicodeDecodeError, "in file latin.csv at byte 8"),
        ("bad.jsonl", {}, InputError, r"bad\.jsonl, line 3: no valid JSON \(Expecting value"),
        ("array.json", {}, InputError, r"array\.json, line 1: must be a JSON object, got list"),
        ("number.jsonl", {}, InputError, "number.jsonl, line 2: column 'text' must hold a string"),
        ("bad.jsonl", {"column": "t"}, InputError, "line 3"),
        ("bad.parquet", {}, InputError, r"bad\.parquet: no valid parquet file \("),
    ],
)
def test_bad_files_are_answered_by_their_message(write, paths, options, error, message):
    for name, content in BAD_FILES.items():
        write(name, content)
    with pytest.raises(error, match=message):
        list(read_texts(paths, **options))


@pytest.mark.parametrize(
    ("texts", "error", "message"),
    [
        ("one text", TypeError, "texts must be an iterable of str, got one str"),
        (b"one text", TypeError, "got one bytes"),
        (7, TypeError, "texts must be Texts, a pathlib.Path, .* got 7"),
        (["a", None], TypeError, r"texts\[1\] must be str, got NoneType"),
        ([], InputError, "no text in <memory>: all documents are empty"),
        (["", ""], InputError, "no text in <memory>"),
        (Path("none.txt"), FileNotFoundError, "none.txt"),
    ],
)
def test_bad_collections_are_answered_by_their_message(texts, error, message):
    with pytest.raises(error, match=message):
        list(as_texts(texts))


def test_codes_that_are_no_characters():
    with pytest.raises(InputError, match=r"below 0x110000 .* got 1114112 at index 1"):
        decode_codes(np.array([97, DOCUMENT_END], np.uint32))


# --- real text


def test_song_poems_are_read_whole(data):
    path = data("song-poems-raw/song_poems_130k.txt.xz")
    content = lzma.decompress(path.read_bytes())
    codes = read_texts(path).codes()
    lines = lines_of(content.decode())
    assert (codes == DOCUMENT_END).sum() == len(lines)
    codes[codes == DOCUMENT_END] = ord("\n")
    assert decode_codes(codes) == "\n".join([*lines, ""])
