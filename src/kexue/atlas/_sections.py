"""The sections of the page of an atlas, as markup."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from kexue._core.html import markup, tag
from kexue.atlas.ledger import LedgerRow

if TYPE_CHECKING:
    from kexue.atlas.page import Community, Module, Page

PALETTE = 10  # parts with a style of their own, as in page.js; the rest share another
LARGE_PART = 0.2  # of what the top communities make up
SOFT_HYPHENS = {"characters": "char\u00adacters", "communities": "commu\u00adnities"}


def path_of(group: Community | Module) -> tuple[int, ...]:
    """Return the place of a group in the hierarchy as plain ints."""
    return tuple(int(k) for k in group.path)


def number_of(group: Community | Module) -> str:
    """Return its number as shown: 3.1."""
    return ".".join(str(k) for k in path_of(group))


def parts_of(page: Page) -> list[Community | Module]:
    """Return the ten groups that colours tell apart, the largest first.

    Of the top level, but a group of more than a fifth of what they make up together is opened, as
    long as it holds others: one colour for half of the text would tell nothing. Lone words are
    left out.
    """
    every: list[Community | Module] = [*page.communities, *page.modules]
    groups = [g for g in every if g.size > 1]
    parts = [g for g in groups if len(path_of(g)) == 1]
    total = sum(g.share for g in parts)
    while True:
        parts.sort(key=lambda g: (-g.share, path_of(g)))
        for largest in parts:
            at = path_of(largest)
            inner = [g for g in groups if path_of(g)[:-1] == at]
            if largest.share > LARGE_PART * total and len(inner) > 1:
                parts = [g for g in parts if g is not largest] + inner
                break
        else:
            return parts[:PALETTE]


def style_of(group: Community | Module, parts: list[Community | Module]) -> int:
    """Return the place in the palette of the part that a group is in; `PALETTE` means neutral."""
    path = path_of(group)
    inside = (k for k, part in enumerate(parts) if path[: len(path_of(part))] == path_of(part))
    return next(inside, PALETTE)


def _bits(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def headline(page: Page, before: LedgerRow, after: LedgerRow) -> str:
    """Return what was found, and what it saves, in one sentence."""
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


def spared(before: LedgerRow, after: LedgerRow) -> str:
    """Return what the same step saves on text kept back."""
    if before.held_out is None or after.held_out is None:
        return ""
    prices = f"{_bits(before.held_out)} to {_bits(after.held_out)}"
    return f"On text kept back, from which nothing was learned, the step leads from {prices}."


def _share(side: str, share: float) -> str:
    return f"{side}:{max(share, 0.0):.3%}"


def staircase(page: Page) -> str:
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


def ledger_rows(page: Page) -> Iterator[ET.Element]:
    """Yield the rows of the table of the ledger, a mark where a step did not pay."""
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


def losses(page: Page) -> str:
    """Explain the mark of `_mark_rise` where there is one."""
    if not any(cell.get("class") == "rise" for row in ledger_rows(page) for cell in row):
        return ""
    text = "▲ marks a price above the row before: there the step did not pay."
    return markup(tag("p", text, class_="caption"))


def _mark_rise(cell: ET.Element, value: float | None, above: float | None) -> None:
    if value is not None and above is not None and value > above:
        cell.set("class", "rise")
        cell.append(tag("span", " ▲", aria_hidden="true"))
        cell.append(tag("span", " dearer than the row above", class_="unseen"))


def legend_rows(page: Page) -> Iterator[ET.Element]:
    """Yield the parts that colours tell apart."""
    for style, group in enumerate(parts_of(page)):
        parts = (
            tag("span", number_of(group), class_=f"number c{style}"),
            tag("span", " · ".join(group.label[:4]), lang=page.lang, dir="auto", class_="name"),
            tag("span", f"{group.share:.1%}", class_="share"),
        )
        yield tag("li", tag("button", *parts, type="button", data_group=number_of(group)))


def reading(page: Page) -> str:
    """Return what the table of words holds, and how it compares with known words."""
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


def sample_rows(page: Page) -> Iterator[ET.Element]:
    """Yield sentences as words that wear the style of their part."""
    group = {int(c.index): c for c in page.communities}
    coloured = parts_of(page)
    for sample in page.samples:
        parts: list[Any] = []
        before, entry = "", 0  # one stop of the tab key per sentence; arrow keys move within
        for token, community in sample:
            # words of unspaced scripts stay whole, and punctuation stays with its word
            if before[-1:].isalnum() and token[:1].isalnum():
                parts.append(tag("wbr"))
            before = token
            if not token.strip():
                parts.append(token)
            elif community < 0:
                parts.append(tag("span", token, class_="w"))
            else:
                place = group[int(community)]
                word = tag(
                    "span", token, role="button", tabindex=entry, data_group=number_of(place)
                )
                word.set("class", f"w c{style_of(place, coloured)}")
                parts.append(word)
                entry = -1
        yield tag("li", *parts, lang=page.lang, dir="auto")


def method_rows(stage: str, sentence: str, reference: str) -> tuple[ET.Element, ET.Element]:
    """Return one method as a term and what it means."""
    return tag("dt", stage), tag("dd", sentence, " ", tag("cite", reference))
