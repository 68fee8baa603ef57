"""Word counting as one writes it in Python: one dictionary, local dictionaries, processes.

What spawned processes import is the standard library alone, so that they start at once.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice

ORDER = 4
Tokens = Callable[[str], list[str]]
Counts = dict[str, int]

_spans = re.compile(r"\w+").findall


def ngrams(line: str) -> list[str]:
    """Return the n-grams of orders 1 to 4 of the runs of letters of a line."""
    return [
        span[i : i + order]
        for span in _spans(line)
        for order in range(1, ORDER + 1)
        for i in range(len(span) - order + 1)
    ]


def count_one(lines: Iterable[str], tokens: Tokens) -> Counts:
    """Count with one dictionary."""
    counts: Counts = {}
    for line in lines:
        for token in tokens(line):
            counts[token] = counts.get(token, 0) + 1
    return counts


def merge(total: Counts, part: Iterable[tuple[str, int]]) -> None:
    """Add the entries of a local dictionary to the one of all."""
    for token, count in part:
        total[token] = total.get(token, 0) + count


def batches(lines: Iterable[str], size: int) -> Iterator[list[str]]:
    """Yield lists of `size` lines."""
    iterator = iter(lines)
    while batch := list(islice(iterator, size)):
        yield batch


def count_batched(lines: Iterable[str], tokens: Tokens, size: int) -> Counts:
    """Count every `size` lines with a local dictionary, in this process."""
    total: Counts = {}
    for batch in batches(lines, size):
        merge(total, count_one(batch, tokens).items())
    return total


def pack(counts: Counts) -> tuple[str, bytes]:
    """Return a dictionary as two flat pieces: pickled itself, it takes ten times as long."""
    return "\n".join(counts), array("q", counts.values()).tobytes()


def unpack(packed: tuple[str, bytes]) -> Iterator[tuple[str, int]]:
    """Return the entries of a packed dictionary."""
    counts = array("q")
    counts.frombytes(packed[1])
    return zip(packed[0].split("\n"), counts, strict=True)


def count_and_pack(lines: list[str], tokens: Tokens) -> tuple[str, bytes]:
    """Count with a local dictionary, in a worker."""
    return pack(count_one(lines, tokens))


def count_in_processes(lines: Iterable[str], tokens: Tokens, size: int, workers: int) -> Counts:
    """Count every `size` lines in another process; merge here."""
    from kexue.corpus import parallel_apply

    total: Counts = {}
    function = partial(count_and_pack, tokens=tokens)
    for packed in parallel_apply(function, batches(lines, size), workers, batch_size=1):
        merge(total, unpack(packed))
    return total
