"""``kexue segment``: a stream of lines in, the same lines with their words apart out."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from kexue._core import check_choice
from kexue.corpus import read_texts
from kexue.corpus._decoding import (
    DOCUMENT_END,
    HEAD_BYTES,
    TextDecoder,
    check_encoding,
    check_head,
    decode_codes,
    encode_text,
)
from kexue.words import UnigramTokenizer

# A reader of a pipe gets what is there, at most so much
BLOCK_BYTES = 1 << 20
_LINE_FEED, _CARRIAGE_RETURN, _BLANK = 0x0A, 0x0D, 0x20


def segment_stream(
    paths: list[str],
    model: Path,
    separator: str,
    *,
    ids: bool,
    options: dict[str, Any],
) -> None:
    """Write texts with their words apart to standard output, as soon as they have been read.

    Parameters
    ----------
    paths : list of str
        ``"-"`` alone is standard input, of which every line is a line of output.
    model : pathlib.Path
        A file of `UnigramTokenizer.save`, or the folder of an atlas.
    separator : str
        Between words.
    ids : bool
        Write the ids of `UnigramTokenizer.encode` in place of the words.
    options : dict
        For `read_texts`.
    """
    tokenizer = load_model(model)
    render = ids_of(tokenizer, separator) if ids else words_of(tokenizer, separator)
    output = sys.stdout.buffer
    if paths == ["-"] and options["column"] is None and options["documents"] in ("auto", "lines"):
        chunks = stream_lines(
            sys.stdin.buffer.read1,  # type: ignore[union-attr]  # it is a buffered reader
            options["encoding"],
            options["errors"],
        )
    else:
        chunks = (chunk.codes for chunk in read_texts(paths, **options).chunks())
    for codes in chunks:
        output.write(render(codes))
        output.flush()


def load_model(path: Path) -> UnigramTokenizer:
    """Return the tokenizer of a file or of an atlas."""
    from kexue.atlas.files import check_atlas

    if path.is_dir():
        check_atlas(path)
        path = path / "tokenizer.json"
    return UnigramTokenizer.load(path)


def stream_lines(read: Callable[[int], bytes], encoding: str, errors: str) -> Iterator[np.ndarray]:
    """Yield the lines of a stream as code points, whatever has come of them; empty ones too.

    `DOCUMENT_END` closes every line. ``read(n)`` returns at most n bytes, no more than are there.
    """
    check_encoding(encoding)
    check_choice("errors", errors, ("strict", "replace"))
    decoder = TextDecoder("<stdin>", encoding, errors)
    newlines = io.IncrementalNewlineDecoder(None, translate=True)
    pending: list[str] = []
    for text in decoder.decode(_blocks(read, encoding)):
        text = newlines.decode(text)
        cut = text.rfind("\n") + 1
        if cut:
            yield _closed("".join([*pending, text[:cut]]))
            pending = []
        if cut < len(text):
            pending.append(text[cut:])
    rest = "".join([*pending, newlines.decode("", final=True)])
    if rest:
        yield _closed(rest if rest.endswith("\n") else rest + "\n")
    if decoder.replaced:
        logging.getLogger("kexue").warning(
            "<stdin>: replaced %d undecodable sequences by U+FFFD", decoder.replaced
        )


def _blocks(read: Callable[[int], bytes], encoding: str) -> Iterator[bytes]:
    first = True
    while block := read(BLOCK_BYTES):
        if first:
            check_head(block[:HEAD_BYTES], "<stdin>", encoding)
            first = False
        yield block


def _closed(text: str) -> np.ndarray:
    codes = encode_text(text)
    codes[codes == _LINE_FEED] = DOCUMENT_END
    return codes


def words_of(tokenizer: UnigramTokenizer, separator: str) -> Callable[[np.ndarray], bytes]:
    """Return a function from documents, each closed by `DOCUMENT_END`, to lines of words."""
    between = encode_text(separator)

    def render(codes: np.ndarray) -> bytes:
        begins = tokenizer.token_starts(codes)[:-1]
        # none before the first token of a line, nor before its end
        ends = codes == DOCUMENT_END
        inner = begins[begins > 0]
        inner = inner[~ends[inner] & ~ends[inner - 1]]
        # a line end inside a document would make two lines of it
        breaks = (codes == _LINE_FEED) | (codes == _CARRIAGE_RETURN)
        shown = np.where(breaks, _BLANK, np.where(ends, _LINE_FEED, codes)).astype(np.uint32)
        if between.size:
            apart = np.insert(shown, np.repeat(inner, between.size), np.tile(between, inner.size))
        else:
            apart = shown
        return decode_codes(apart).encode("utf-8", "surrogatepass")

    return render


def ids_of(tokenizer: UnigramTokenizer, separator: str) -> Callable[[np.ndarray], bytes]:
    """Return a function from documents, each closed by `DOCUMENT_END`, to lines of ids."""

    def render(codes: np.ndarray) -> bytes:
        text = decode_codes(np.where(codes == DOCUMENT_END, _LINE_FEED, codes))
        ends = np.flatnonzero(codes == DOCUMENT_END).tolist()
        documents = [text[a:b] for a, b in _spans(ends)]
        lines = (
            separator.join(map(str, ids.tolist())) for ids in tokenizer.encode_batch(documents)
        )
        return "".join(f"{line}\n" for line in lines).encode()

    return render


def _spans(ends: Iterable[int]) -> Iterator[tuple[int, int]]:
    begin = 0
    for end in ends:
        yield begin, end
        begin = end + 1
