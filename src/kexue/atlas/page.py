"""The page of `kexue atlas`: one self-contained HTML file that explains a corpus."""

import html
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from kexue._core import InputError
from kexue._core.html import markup, render, tag
from kexue.atlas._map import frame, grid, map_section, places
from kexue.atlas._sections import (
    headline,
    ledger_rows,
    legend_rows,
    losses,
    method_rows,
    number_of,
    parts_of,
    path_of,
    reading,
    sample_rows,
    spared,
    staircase,
)
from kexue.atlas.ledger import LedgerRow


@dataclass(frozen=True)
class WordTable:
    """The words as columns of one length n; bits are totals over the text, not per character.

    Parameters
    ----------
    word, count : sequence of str, of int
    cohesion, freedom : sequence of float
        Bits: how much more often its parts stand together than chance would have it, and
        the entropy of the neighbouring character on its poorer side. NaN where undefined.
    bits_saved, bits_net : sequence of float
        Bits: the word's share of the fall of the ledger, and the same less the price of its
        entry in the lexicon.
    community : sequence of int
        `Community.index`, or -1 for a word too rare to be placed.
    neighbours : sequence of sequences of int
        Up to ten indices of the most similar words, nearest first.
    x, y : sequence of (float or None)
        Place on the map, in any unit, y upwards; both None for a word that has none. Without a
        single place the page has no map.
    example : sequence of int
        Index into `Page.sentences` of a sentence that holds the word, or -1.

    Raises
    ------
    InputError
        If the columns differ in length, a neighbour is no row, a place is half given or not
        finite.
    """

    word: Sequence[str]
    count: Sequence[int]
    cohesion: Sequence[float]
    freedom: Sequence[float]
    bits_saved: Sequence[float]
    bits_net: Sequence[float]
    community: Sequence[int]
    neighbours: Sequence[Sequence[int]]
    x: Sequence[float | None]
    y: Sequence[float | None]
    example: Sequence[int]

    def __post_init__(self) -> None:
        n = len(self.word)
        lengths = {f.name: len(getattr(self, f.name)) for f in fields(self)}
        if set(lengths.values()) != {n}:
            raise InputError(f"columns of a WordTable must have one length, got {lengths}")
        for word, row in zip(self.word, self.neighbours, strict=True):
            if any(not 0 <= j < n for j in row):
                raise InputError(f"neighbours must be in [0, {n}), got {list(row)} for {word!r}")
        for word, *place in zip(self.word, self.x, self.y, strict=True):
            given = [value is not None for value in place]
            if any(given) and not all(v is not None and math.isfinite(v) for v in place):
                raise InputError(
                    f"a place must be two finite numbers or two None, got {tuple(place)} "
                    f"for {word!r}"
                )


@dataclass(frozen=True)
class Community:
    """A group of words of the similarity network, a leaf of the hierarchy.

    Parameters
    ----------
    index, size, uses : int
        Its number in `WordTable.community`, >= 0; how many words it has; how many tokens of
        the text they are.
    path : sequence of int
        Its place in the hierarchy from the top, numbers from 1 at every level; (3, 1) is shown
        as 3.1. Within a level numbers go by falling use of the words, lone words last.
    label : sequence of str
        Its most frequent words, the name it goes by on the page.
    share : float
        Share in [0, 1] of the running text that its words make up.
    members : sequence of int
        Indices into the word table by falling count; the page draws the first dozen.
    """

    index: int
    path: Sequence[int]
    label: Sequence[str]
    share: float
    uses: int
    size: int
    members: Sequence[int]


@dataclass(frozen=True)
class Module:
    """A group of communities, an inner node of the hierarchy.

    Parameters
    ----------
    path : sequence of int
        As of a `Community`; the communities inside have longer paths that begin with this one.
    label : sequence of str
        Its most frequent words.
    share : float
        Share in [0, 1] of the running text that its words make up.
    size : int
        How many words it has.
    """

    path: Sequence[int]
    label: Sequence[str]
    share: float
    size: int


@dataclass(frozen=True)
class Page:
    """Everything that the page shows.

    Parameters
    ----------
    title, lang : str
        Name of the corpus and its BCP 47 language: ``"zh"``, ``"en"``, ``"und"``, ...
    documents, characters, tokens, words_found : int
        Size of the corpus; tokens are words in running text, words found are entries of the
        lexicon of two or more characters (or runs).
    held_out_rule : str
        The sentences that the page shows: which part was kept back, how unseen words are paid
        for.
    ledger : sequence of LedgerRow
        Rows alphabet, characters, words, communities and, where it was tried, exchange, in this
        order.
    references : dict of str to float
        Bits per character of the same text under general compressors.
    notes : sequence of str
        Sentences in plain words: what was learned, what was not, losses.
    words : WordTable
    communities : sequence of Community
        In the order of their paths.
    modules : sequence of Module
        What lies above the communities; empty if each stands alone.
    sentences : sequence of str
        What `WordTable.example` points to.
    samples : sequence of sequences of (str, int)
        Sentences as (token, community or -1).
    gold : dict or None
        ``precision``, ``recall`` and ``f1`` in [0, 1] where the true words are known.
    methods, facts : sequence of (str, str, str), of (str, str)
        Stage, one sentence, reference; and versions, arguments, seed by name.

    Raises
    ------
    InputError
        If the parts do not fit together: a community or sentence that is named and not there,
        paths that are no hierarchy, words used more often than their community.
    """

    title: str
    documents: int
    characters: int
    tokens: int
    words_found: int
    held_out_rule: str
    ledger: Sequence[LedgerRow]
    references: dict[str, float]
    notes: Sequence[str]
    words: WordTable
    communities: Sequence[Community]
    modules: Sequence[Module]
    sentences: Sequence[str]
    samples: Sequence[Sequence[tuple[str, int]]]
    gold: dict[str, float] | None
    methods: Sequence[tuple[str, str, str]]
    facts: Sequence[tuple[str, str]]
    lang: str

    def __post_init__(self) -> None:
        if len(self.ledger) < 2:
            raise InputError(f"ledger must have at least 2 rows, got {len(self.ledger)}")
        used = {int(c) for c in self.words.community}
        used.update(int(c) for sample in self.samples for _, c in sample)
        if unknown := sorted(used - set(_ranks(self))):
            raise InputError(
                f"words and samples name communities {unknown[:5]} that are not in `communities`"
            )
        top = len(self.sentences)
        if unknown := sorted({int(i) for i in self.words.example if not -1 <= i < top}):
            raise InputError(f"examples must be in [-1, {top}), got {unknown[:5]}")
        _check_paths(self)
        for c in self.communities:
            drawn = sum(int(self.words.count[i]) for i in c.members)
            if drawn > c.uses:
                raise InputError(
                    f"uses of community {c.index} must be at least the {drawn} of its members, "
                    f"got {c.uses}"
                )


def _check_paths(page: Page) -> None:
    paths = [path_of(c) for c in page.communities]
    for path in paths:
        if not path or min(path) < 1:
            raise InputError(f"path of a community must be one or more ints >= 1, got {path}")
    for before, after in itertools.pairwise(paths):
        if not before < after:
            raise InputError(
                "communities must stand in the order of their paths, each once, "
                f"got {after} after {before}"
            )
    inner = {path[:depth] for path in paths for depth in range(1, len(path))}
    modules = sorted(path_of(m) for m in page.modules)
    if modules != sorted(inner) or inner & set(paths):
        raise InputError(
            "modules must be the beginnings of the paths of communities, each once: "
            f"{sorted(inner)[:5]}, got {modules[:5]}"
        )


def render_page(page: Page) -> str:
    """Return the page as one HTML document that asks no host for anything.

    The same `page` gives the same text, byte for byte. Text of the corpus reaches the
    document only as escaped text nodes or as JSON; a content security policy lists the
    two scripts by their hash, so nothing else on the page can run or call out.
    """
    # slow to import, and of use to nobody who only wants the dataclasses
    from plotly.offline import get_plotlyjs

    # the bare alphabet as the start would flatter us
    before = next((row for row in page.ledger if row.name == "characters"), page.ledger[0])
    after = page.ledger[-1]
    return render(
        "kexue.atlas",
        scripts=("points.js", "map.js", "page.js"),
        title=page.title,
        data=_data(page),
        library=get_plotlyjs(),
        headline=headline(page, before, after),
        spared=spared(before, after),
        staircase=staircase(page),
        ledger=markup(*ledger_rows(page)),
        losses=losses(page),
        rule=html.escape(page.held_out_rule),
        notes=markup(*(tag("li", note) for note in page.notes)),
        link=' <a href="#map">Map</a>' if places(page.words) else "",
        map=map_section(page),
        legend=markup(*legend_rows(page)),
        reading=reading(page),
        samples=markup(*sample_rows(page)),
        methods=markup(*(part for method in page.methods for part in method_rows(*method))),
        facts=markup(*(tag("tr", tag("th", k), tag("td", v)) for k, v in page.facts)),
    )


def _ranks(page: Page) -> dict[int, int]:
    """Return the place on the page, from 0, of every `Community.index`; -1 stays -1."""
    return {-1: -1} | {int(c.index): rank for rank, c in enumerate(page.communities)}


def _data(page: Page) -> dict[str, Any]:
    words, rank = page.words, _ranks(page)
    steps = grid(words)
    bits = ("cohesion", "freedom", "bits_saved", "bits_net")
    return {
        "lang": page.lang,
        "words": {
            "word": list(words.word),
            "count": [int(x) for x in words.count],
            # three decimals are more than a reader can use and half the bytes of sixteen
            **{name: [_rounded(x) for x in getattr(words, name)] for name in bits},
            "community": [rank[int(c)] for c in words.community],
            "neighbours": [[int(j) for j in row[:10]] for row in words.neighbours],
            **steps,
            "example": [int(i) for i in words.example],
        },
        "frame": frame(steps),
        "parts": [number_of(part) for part in parts_of(page)],
        "sentences": list(page.sentences),
        "modules": [
            {
                "path": path_of(m),
                "label": list(m.label),
                "share": float(m.share),
                "size": int(m.size),
            }
            for m in page.modules
        ],
        "communities": [
            {
                "path": path_of(c),
                "label": list(c.label),
                "share": float(c.share),
                "uses": int(c.uses),
                "size": int(c.size),
                "members": [int(j) for j in c.members[:12]],
            }
            for c in page.communities
        ],
    }


def _rounded(value: float) -> float | None:
    return round(float(value), 3) if math.isfinite(value) else None
