"""The map of the page of an atlas: where its words stand, and the section that shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kexue._core.html import markup, tag
from kexue.atlas._sections import number_of, parts_of

if TYPE_CHECKING:
    from kexue.atlas.page import Page, WordTable

GRID = 10_000  # steps along the longer side of the map: finer than any screen


def map_section(page: Page) -> str:
    """Return the section of the map, empty if no word has a place."""
    placed = len(places(page.words))
    if not placed:
        return ""
    largest = "; ".join(
        f"{number_of(group)}, {' '.join(group.label[:4])}, {group.share:.1%} of the text"
        for group in parts_of(page)
    )
    scene = f"{placed:,} words as points. The largest communities: {largest}."
    field = tag("input", type="text", id="seek", role="combobox", autocomplete="off")
    for name, value in {
        "spellcheck": "false",
        "aria-autocomplete": "list",
        "aria-expanded": "false",
        "aria-controls": "hits",
        "aria-describedby": "found",
    }.items():
        field.set(name, value)
    hits = tag("ul", id="hits", role="listbox", aria_label="Words", hidden="")
    tools = [
        tag("button", sign, type="button", id=name, aria_label=label, title=label)
        for name, sign, label in (
            ("closer", "+", "Closer"),
            ("farther", "\u2212", "Farther"),
            ("whole", "All", "The whole map"),
        )
    ]
    chart = tag(
        "div",
        tag("canvas", id="points", role="img", aria_label=scene, lang=page.lang),
        tag("div", id="names", aria_hidden="true"),
        tag("p", "Two fingers move the map", id="fingers", aria_hidden="true"),
        tag("div", *tools, id="tools"),
        tag("div", id="card", tabindex=-1, aria_live="polite", hidden=""),
        id="chart",
        style=f"--aspect:{aspect(page.words):.3f}",
        role="group",
        tabindex=0,
        aria_label="Map of the words: arrow keys move it, plus and minus zoom, 0 shows all of it",
    )
    caption = tag(
        "figcaption",
        "The more often a word is used, the larger its point. Only closeness means something, not "
        "up or down; words far apart need not be unlike. Point at a word or tap it; choose a name "
        "to see its words alone. ",
        tag("span", "Scroll to zoom, drag to move, double click to see all.", class_="fine"),
        tag("span", "Pinch to zoom.", class_="coarse"),
        tag("span", id="plain"),
    )
    return markup(
        tag(
            "section",
            tag("h2", "Where the words stand", id="map-title"),
            tag(
                "p",
                f"Each of these {placed:,} points is a word, and words that are used in like "
                "surroundings stand close together. Colours tell the ten largest communities of "
                "several words, parts of a community where one is much of the text; more names "
                "appear as you come closer.",
                class_="lede",
            ),
            tag(
                "div",
                tag("label", "Find a word on the map", for_="seek"),
                field,
                hits,
                tag("p", id="found", class_="caption", role="status"),
                class_="finder",
            ),
            tag("figure", chart, caption),
            id="map",
            aria_labelledby="map-title",
        )
    )


def places(words: WordTable) -> list[int]:
    """Return the rows of the words that have a place."""
    return [i for i, x in enumerate(words.x) if x is not None]


def grid(words: WordTable) -> dict[str, list[int | None]]:
    """Return the places as whole steps of a grid whose y points downwards, as on a screen."""
    x: list[int | None] = [None] * len(words.word)
    y = x.copy()
    if placed := places(words):
        xs = [float(words.x[i] or 0) for i in placed]
        ys = [-float(words.y[i] or 0) for i in placed]
        left, top = min(xs), min(ys)
        # all words in one place are a map, if a poor one
        step = max(max(xs) - left, max(ys) - top) / GRID or 1.0
        for i, across, down in zip(placed, xs, ys, strict=True):
            x[i], y[i] = round((across - left) / step), round((down - top) / step)
    return {"x": x, "y": y}


def frame(steps: dict[str, list[int | None]]) -> dict[str, list[int]]:
    """Return the span of either axis that holds the middle 99 % of the places.

    A few words that resemble no other can lie far out, and would make the rest small.
    """
    spans = {}
    for axis, column in steps.items():
        values = sorted(value for value in column if value is not None)
        cut = len(values) // 200
        inner = values[cut : len(values) - cut] or [0]
        spans[axis] = [inner[0], inner[-1]]
    return spans


def aspect(words: WordTable) -> float:
    """Return the height of the map over its width, between a half and two."""
    wide, high = (last - first for first, last in frame(grid(words)).values())
    return min(max(high / max(wide, 1), 0.5), 2.0)
