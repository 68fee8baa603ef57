"""The page of `kexue atlas`: one self-contained HTML file that explains a corpus."""

import html
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any
from xml.etree import ElementTree as ET

from kexue._core import InputError
from kexue._core.html import markup, render, tag
from kexue.atlas.ledger import LedgerRow

PALETTE = 10  # communities with a style of their own, as in page.js; the rest share a neutral one
SOFT_HYPHENS = {"characters": "char\u00adacters", "communities": "commu\u00adnities"}


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
    """

    word: Sequence[str]
    count: Sequence[int]
    cohesion: Sequence[float]
    freedom: Sequence[float]
    bits_saved: Sequence[float]
    bits_net: Sequence[float]
    community: Sequence[int]
    neighbours: Sequence[Sequence[int]]

    def __post_init__(self) -> None:
        n = len(self.word)
        lengths = {f.name: len(getattr(self, f.name)) for f in fields(self)}
        if set(lengths.values()) != {n}:
            raise InputError(f"columns of a WordTable must have one length, got {lengths}")
        for word, row in zip(self.word, self.neighbours, strict=True):
            if any(not 0 <= j < n for j in row):
                raise InputError(f"neighbours must be in [0, {n}), got {list(row)} for {word!r}")


@dataclass(frozen=True)
class Community:
    """A group of words of the similarity network.

    Parameters
    ----------
    index, size, uses : int
        Its number in `WordTable.community`, >= 0; how many words it has; how many tokens of
        the text they are.
    label : sequence of str
        Its most frequent words, the name it goes by on the page.
    share : float
        Share in [0, 1] of the running text that its words make up.
    members : sequence of int
        Indices into the word table by falling count; the page draws the first dozen.
    """

    index: int
    label: Sequence[str]
    share: float
    uses: int
    size: int
    members: Sequence[int]


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
        Rows alphabet, characters, words, communities, in this order.
    references : dict of str to float
        Bits per character of the same text under general compressors.
    notes : sequence of str
        Sentences in plain words: what was learned, what was not, losses.
    words : WordTable
    communities : sequence of Community
        In the order in which the page numbers them 1, 2, ...
    samples : sequence of sequences of (str, int)
        Sentences as (token, community or -1).
    gold : dict or None
        ``precision``, ``recall`` and ``f1`` in [0, 1] where the true words are known.
    methods, facts : sequence of (str, str, str), of (str, str)
        Stage, one sentence, reference; and versions, arguments, seed by name.
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
        for c in self.communities:
            drawn = sum(int(self.words.count[i]) for i in c.members)
            if drawn > c.uses:
                raise InputError(
                    f"uses of community {c.index} must be at least the {drawn} of its members, "
                    f"got {c.uses}"
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
        title=page.title,
        data=_data(page),
        library=get_plotlyjs(),
        headline=_headline(page, before, after),
        spared=_spared(before, after),
        staircase=_staircase(page),
        ledger=markup(*_ledger(page)),
        losses=_losses(page),
        rule=html.escape(page.held_out_rule),
        notes=markup(*(tag("li", note) for note in page.notes)),
        legend=markup(*_legend(page)),
        reading=_reading(page),
        samples=markup(*_samples(page)),
        methods=markup(*(part for method in page.methods for part in _method(*method))),
        facts=markup(*(tag("tr", tag("th", k), tag("td", v)) for k, v in page.facts)),
    )


def _ranks(page: Page) -> dict[int, int]:
    """Return the place on the page, from 0, of every `Community.index`; -1 stays -1."""
    return {-1: -1} | {int(c.index): rank for rank, c in enumerate(page.communities)}


def _data(page: Page) -> dict[str, Any]:
    words, rank = page.words, _ranks(page)
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
        },
        "communities": [
            {
                "label": list(c.label),
                "share": float(c.share),
                "uses": int(c.uses),
                "size": int(c.size),
                "members": [int(j) for j in c.members[:12]],
            }
            for c in page.communities
        ],
        "samples": [[[token, rank[int(c)]] for token, c in sample] for sample in page.samples],
    }


def _rounded(value: float) -> float | None:
    return round(float(value), 3) if math.isfinite(value) else None


def _bits(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _share(side: str, share: float) -> str:
    return f"{side}:{max(share, 0.0):.3%}"


def _headline(page: Page, before: LedgerRow, after: LedgerRow) -> str:
    nouns = {"document": page.documents, "character": page.characters, "word": page.words_found}
    sizes = (f"*{n:,}* {noun}{'' if n == 1 else 's'}" for noun, n in nouns.items())
    sentence = "From {} and {}, with no dictionary at hand, {}: ".format(*sizes)
    prices = f"*{_bits(before.in_sample)}*", f"*{_bits(after.in_sample)}*"
    if after.in_sample < before.in_sample:
        sentence += "they bring the price of a character from {} bits down to {}.".format(*prices)
    else:
        sentence += "they make no character cheaper, {} bits before, {} after.".format(*prices)
    parts = (tag("b", part) if k % 2 else part for k, part in enumerate(sentence.split("*")))
    return markup(tag("p", *parts, class_="headline"))


def _spared(before: LedgerRow, after: LedgerRow) -> str:
    if before.held_out is None or after.held_out is None:
        return ""
    prices = f"{_bits(before.held_out)} to {_bits(after.held_out)}"
    return f"On text kept back, from which nothing was learned, the step leads from {prices}."


def _staircase(page: Page) -> str:
    """Return the ledger as steps, their heights in per cent of the tallest mark."""
    marks = [row.held_out for row in page.ledger if row.held_out is not None]
    marks += [row.in_sample + row.model for row in page.ledger]
    top = max(*marks, *page.references.values())
    parts = []
    for k, row in enumerate(page.ledger):
        price = tag("div", tag("span", _bits(row.in_sample), class_="value"), class_="price")
        price.set("style", _share("height", row.in_sample / top))
        if k:
            change = row.in_sample - page.ledger[k - 1].in_sample
            price.append(tag("span", f"{change:+.2f}".replace("-", "\u2212"), class_="change"))
        model = tag("div", class_="model", style=_share("height", row.model / top))
        step = tag("div", price, model, class_="step")
        if row.held_out is not None:
            style = _share("bottom", row.held_out / top)
            step.append(tag("div", tag("span", _bits(row.held_out)), class_="held", style=style))
        step.append(tag("span", SOFT_HYPHENS.get(row.name, row.name), class_="name"))
        parts.append(step)
    place = -1.0
    for name, value in sorted(page.references.items(), key=lambda item: item[1]):
        place = max(value / top, place + 0.075)  # so that two labels never share a line
        label = (tag("span", name), " ", tag("b", _bits(value)))
        parts.append(tag("div", class_="reference", style=_share("bottom", value / top)))
        parts.append(tag("span", *label, class_="tag", style=_share("bottom", place)))
    summary = "; ".join(f"{row.name} {_bits(row.in_sample)}" for row in page.ledger)
    chart = tag("div", tag("div", *parts, class_="steps"), role="img")
    chart.set("aria-label", f"Bits per character, step by step: {summary}")
    chart.set("class", "staircase" if page.references else "staircase bare")
    return markup(chart)


def _ledger(page: Page) -> Iterator[ET.Element]:
    for k, row in enumerate(page.ledger):
        held = tag("td", _bits(row.held_out))
        model = tag("td", f"+ {_bits(row.model)}")
        if k:
            above = page.ledger[k - 1]
            _mark_rise(model, row.in_sample + row.model, above.in_sample + above.model)
            _mark_rise(held, row.held_out, above.held_out)
        name = tag("th", row.name, tag("small", row.code), scope="row")
        yield tag("tr", name, tag("td", _bits(row.in_sample)), model, held)
    for reference, value in page.references.items():
        name = tag("th", reference, tag("small", "a general compressor"), scope="row")
        yield tag("tr", name, tag("td", _bits(value)), tag("td"), tag("td"))


def _losses(page: Page) -> str:
    """Explain the mark of `_mark_rise` where there is one."""
    if not any(cell.get("class") == "rise" for row in _ledger(page) for cell in row):
        return ""
    text = "▲ marks a price above the row before: there the step did not pay."
    return markup(tag("p", text, class_="caption"))


def _mark_rise(cell: ET.Element, value: float | None, above: float | None) -> None:
    if value is not None and above is not None and value > above:
        cell.set("class", "rise")
        cell.append(tag("span", " ▲", aria_hidden="true"))
        cell.append(tag("span", " dearer than the row above", class_="unseen"))


def _legend(page: Page) -> Iterator[ET.Element]:
    for rank, community in enumerate(page.communities[:PALETTE]):
        parts = (
            tag("span", rank + 1, class_=f"number c{rank}"),
            tag("span", " · ".join(community.label[:4]), lang=page.lang, dir="auto", class_="name"),
            tag("span", f"{community.share:.1%}", class_="share"),
        )
        yield tag("li", tag("button", *parts, type="button", data_community=rank))


def _reading(page: Page) -> str:
    sentence = (
        f"The text learned from reads as {page.tokens:,} tokens in a row; the table holds the "
        f"{len(page.words.word):,} different words, single characters included, that save most. "
        "Click a word for its neighbours."
    )
    if page.gold is None:
        return sentence
    precision, recall, f1 = (f"{page.gold[key]:.1%}" for key in ("precision", "recall", "f1"))
    return (
        f"{sentence} Beside the words that people marked in the same text: {precision} of the "
        f"words cut here are theirs (precision), {recall} of theirs are cut here (recall), F1 {f1}."
    )


def _samples(page: Page) -> Iterator[ET.Element]:
    rank = _ranks(page)
    for sample in page.samples:
        parts: list[Any] = []
        before, entry = "", 0  # one stop of the tab key per sentence; arrow keys move within
        for token, community in sample:
            # words of unspaced scripts stay whole, and punctuation stays with its word
            if before[-1:].isalnum() and token[:1].isalnum():
                parts.append(tag("wbr"))
            before = token
            place = rank[int(community)]
            if not token.strip():
                parts.append(token)
            elif place < 0:
                parts.append(tag("span", token, class_="w"))
            else:
                word = tag("span", token, role="button", tabindex=entry, data_community=place)
                word.set("class", f"w c{min(place, PALETTE)}")
                parts.append(word)
                entry = -1
        yield tag("li", *parts, lang=page.lang, dir="auto")


def _method(stage: str, sentence: str, reference: str) -> tuple[ET.Element, ET.Element]:
    return tag("dt", stage), tag("dd", sentence, " ", tag("cite", reference))
