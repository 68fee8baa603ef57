"""The tree of a parsed sentence: as text, as data, as a picture."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree as ET

from kexue._core.html import tag
from kexue.words.templates import spell_template

# Pixels of the picture
FONT, BLANK, LEVEL, MARGIN = 16, 14, 22, 16
# A style in a picture inside a page is a style of the page: hence the class. Colours are those of
# `_core/page.css` that are dark, or light, enough for thin lines
STYLE = """
.kexue-tree { color-scheme: light dark; --paper: #fdfcf9; --ink: #1d1b18; --soft: #b9b2a4;
  --c0: #1f61b1; --c1: #bd8156; --c2: #008565; --c3: #c5502e; --c4: #834085; }
@media (prefers-color-scheme: dark) { .kexue-tree {
  --paper: #171613; --ink: #efebe2; --soft: #5d574d;
  --c0: #5c9cca; --c1: #f0af45; --c2: #3cc29e; --c3: #f36f44; --c4: #d7da8b; } }
.kexue-tree rect { fill: var(--paper); }
.kexue-tree text { fill: var(--ink); text-anchor: middle;
  font: 16px "Noto Sans", "Liberation Sans", "PingFang SC", "Microsoft YaHei",
    "Noto Sans CJK SC", Arial, sans-serif; }
.kexue-tree path { fill: none; stroke-width: 2; stroke-linecap: round; }
.kexue-tree .slot { stroke: var(--soft); stroke-width: 1; }
"""


@dataclass(frozen=True)
class SentenceTree:
    """A stretch of a sentence: a template and what fills its slots, or a row of blocks.

    Attributes
    ----------
    begin : int
        Place of the first word in the sentence.
    words : tuple of str
        All words of the stretch.
    template : tuple of (str or None), or None
        Its items, None for a slot; None for a row.
    children : tuple of (str or SentenceTree)
        From left to right. Of a template: its own words, and the trees that fill its slots. Of a
        row: words that no template covers, and templates.
    score : float
        Log probability, nats.
    """

    begin: int
    words: tuple[str, ...]
    template: tuple[str | None, ...] | None
    children: tuple[str | SentenceTree, ...]
    score: float

    def to_dict(self) -> dict[str, Any]:
        """Return the tree as what JSON can hold.

        Keys: ``begin``, ``words``, ``template`` as text or None, ``score`` in nats, and
        ``children``, strings and such dictionaries.
        """
        return {
            "begin": self.begin,
            "words": list(self.words),
            "template": None if self.template is None else spell_template(self.template),
            "score": self.score,
            "children": [c if isinstance(c, str) else c.to_dict() for c in self.children],
        }

    def to_svg(self) -> str:
        """Return the tree as a picture: an SVG document that needs nothing else.

        Over the words, each template is a line with a tick at each of its words; it is thin
        where slots are.
        """
        edges = _edges(self.words)
        centres = [(a + b - BLANK) / 2 for a, b in itertools.pairwise(edges)]
        height = MARGIN + LEVEL * _height(self) + FONT * 2
        width = edges[-1] - BLANK + MARGIN
        root = tag(
            "svg",
            tag("title", _printable(" ".join(self.words))),
            tag("style", STYLE),
            tag("rect", width=f"{width:g}", height=height),
            class_="kexue-tree",
            xmlns="http://www.w3.org/2000/svg",
            viewBox=f"0 0 {width:g} {height:g}",
            width=f"{width:g}",
            height=height,
            role="img",
        )
        floor = height - FONT * 2
        for depth, node in _templates(self):
            top = height - FONT * 2 - LEVEL * _height(node)
            own = [centres[place - self.begin] for place in _own_places(node)]
            left = edges[node.begin - self.begin]
            right = edges[node.begin - self.begin + len(node.words)] - BLANK
            group = tag("g", tag("title", _printable(spell_template(node.template or ()))))
            group.append(tag("path", class_="slot", d=f"M{left:g} {top:g}H{right:g}"))
            ticks = "".join(f"M{x:g} {floor:g}V{top:g}" for x in own)
            beams = f"M{own[0]:g} {top:g}H{own[-1]:g}"
            group.append(tag("path", d=ticks + beams, style=f"stroke:var(--c{depth % 5})"))
            root.append(group)
        for word, x in zip(self.words, centres, strict=True):
            root.append(tag("text", _printable(word), x=f"{x:g}", y=height - MARGIN))
        return ET.tostring(root, encoding="unicode")

    def _repr_svg_(self) -> str:
        return self.to_svg()

    def __str__(self) -> str:
        """Return a line per template, without empty slots, and per stretch of other words."""
        return "\n".join(_lines(self))


def _lines(tree: SentenceTree, lead: str = "", follow: str = "") -> Iterator[str]:
    """Yield a line per template and per uncovered stretch, slots indented under their template."""
    if tree.template is not None:
        yield lead + spell_template(c if isinstance(c, str) else None for c in tree.children)
        blocks: list[SentenceTree | str] = [c for c in tree.children if not isinstance(c, str)]
    else:
        blocks = _runs(tree.children)
        if len(blocks) == 1 and isinstance(blocks[0], str):
            yield lead + blocks[0]
            return
        yield lead + "+"
    for block in blocks:
        corner, bar = ("└─ ", "   ") if block is blocks[-1] else ("├─ ", "│  ")
        if isinstance(block, str):
            yield follow + corner + block
        else:
            yield from _lines(block, follow + corner, follow + bar)


def _runs(children: tuple[str | SentenceTree, ...]) -> list[SentenceTree | str]:
    """Join the uncovered words that stand next to each other."""
    blocks: list[SentenceTree | str] = []
    for child in children:
        if isinstance(child, str) and blocks and isinstance(blocks[-1], str):
            blocks[-1] += " " + child
        else:
            blocks.append(child)
    return blocks


def _templates(tree: SentenceTree, depth: int = 0) -> Iterator[tuple[int, SentenceTree]]:
    """Yield every template of the tree with its depth."""
    if tree.template is not None:
        yield depth, tree
        depth += 1
    for child in tree.children:
        if not isinstance(child, str):
            yield from _templates(child, depth)


def _height(tree: SentenceTree) -> int:
    """Return how many templates lie above one another."""
    below = [_height(child) for child in tree.children if not isinstance(child, str)]
    return max(below, default=0) + (tree.template is not None)


def _own_places(tree: SentenceTree) -> Iterator[int]:
    """Yield where the template's own words stand in the sentence."""
    place = tree.begin
    for child in tree.children:
        if isinstance(child, str):
            yield place
            place += 1
        else:
            place += len(child.words)


def _edges(words: tuple[str, ...]) -> list[float]:
    """Return where each word begins in the picture and, last, where the next would."""
    edges = [float(MARGIN)]
    for word in words:
        kinds = [unicodedata.east_asian_width(c) for c in word if not unicodedata.combining(c)]
        edges.append(edges[-1] + sum(1.0 if k in "WF" else 0.6 for k in kinds) * FONT + BLANK)
    return edges


def _printable(text: str) -> str:
    """Replace what XML cannot hold."""
    return re.sub("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)
