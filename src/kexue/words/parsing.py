"""The parse of a sentence by nested templates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from kexue._core import InputError, check_float, check_int
from kexue.words import _parsing_kernels as kernels
from kexue.words.sentences import check_words
from kexue.words.templates import SLOT, TemplateFinder
from kexue.words.trees import SentenceTree

if TYPE_CHECKING:
    import polars as pl

Items = tuple[str | None, ...]
# Costs are whole multiples of 2**-20 nat, so that ties are exact and the same everywhere. Below
# these bits of an int64 there is room for the words under all templates and rows of a span.
COST_UNIT = 2.0**-20
TIE_BITS = 20
WIDEST = 2 ** (TIE_BITS // 2)


class SentenceParser:
    r"""Lay nested templates over a sentence, so that their joint probability is greatest.

    A stretch of words is a row of blocks; a block is one word, or a template t with
    probability :math:`p_t = N_t / \sum N` whose slots are filled by stretches again. The best
    parse of the words i to j scores, in nats,

    .. math:: \mathrm{block}(i, j) = \max_t \Big[\log p_t + \sum_{\text{slots}}
        \mathrm{best}(\text{slot})\Big], \qquad
        \mathrm{best}(i, j) = \max_{\text{rows}} \sum_{\text{blocks}} \mathrm{block} +
        \text{null\_score} \cdot (\text{blocks} - 1),

    and one word scores 0, so that a stretch of n words that no template touches scores
    ``null_score * (n - 1)``. Every stretch is solved once, never a parse listed.

    Many parses score the same, since the score does not see which template lies in which. Among
    them it is the one whose templates and rows of several blocks stretch over the fewest words in
    sum: what fills a slot is short.

    Parameters
    ----------
    templates : TemplateFinder, polars.DataFrame or mapping of templates to int
        A fitted finder stands for its templates and phrases, a table has the columns ``words``
        and ``count``. In a mapping a template is text with blanks between words and ``[X]`` for
        slots, or a tuple with None for slots. A slot at either end may be empty, one between
        words holds a word at least.
    null_score : float
        Price of a joint between two blocks, nats, in [-1000, 0].
    max_span : int
        Most words that a template may stretch over, at most 1024: the parse is the best of all
        in sentences up to that length, and the best of those that obey it in longer ones. For a
        sentence of n words n * max_span stretches are solved.

    Raises
    ------
    InputError
        If there is no template, one has no word, or a count is not a positive integer.

    Examples
    --------
    >>> parser = SentenceParser({"[X] of [X] is [X]": 3, "the [X]": 9})
    >>> tree = parser.parse("the cat of the king is old".split())
    >>> print(tree)
    [X] of [X] is [X]
    ├─ the [X]
    │  └─ cat
    ├─ the [X]
    │  └─ king
    └─ old
    >>> round(tree.score, 3)  # log(3 / 12) + 2 log(9 / 12)
    -1.962

    References
    ----------
    kexue.fm, third article on the minimum entropy principle (2018). There a stretch that no
    template covers as a whole falls apart into words; the row of blocks is kexue's.
    """

    def __init__(
        self,
        templates: TemplateFinder | pl.DataFrame | Mapping[str | Items, int],
        *,
        null_score: float = -20.0,
        max_span: int = 64,
    ) -> None:
        self.null_score = check_float("null_score", null_score, minimum=-1000, maximum=0)
        self.max_span = check_int("max_span", max_span, minimum=1, maximum=WIDEST)
        self.templates = read_templates(templates)
        self._joint = round(-self.null_score / COST_UNIT) << TIE_BITS
        self._build()

    def parse(self, tokens: Sequence[str]) -> SentenceTree:
        """Return the best parse of the words of a sentence.

        Raises
        ------
        InputError
            If there are no words.
        """
        check_words("tokens", tokens)
        sentence = tuple(tokens)
        for index, token in enumerate(sentence):
            if not isinstance(token, str):
                raise TypeError(f"tokens[{index}] must be str, got {type(token).__name__}")
        if not sentence:
            raise InputError("tokens must hold at least one word, got none")
        return _Chart(self, sentence).tree()

    def _build(self) -> None:
        """Make the tree of items; each optional slot at an end makes two paths of one."""
        self.numbers: dict[str, int] = {}
        self.items: list[np.ndarray] = []
        self.owners: list[int] = []
        children: list[dict[int, int]] = [{}]
        ends: dict[int, tuple[int, int]] = {}
        self.patterns = list(self.templates)
        counts = np.fromiter(self.templates.values(), np.float64, len(self.templates))
        self.log_probabilities: list[float] = np.log(counts / counts.sum()).tolist()
        for owner, items in enumerate(self.patterns):
            cost = round(-self.log_probabilities[owner] / COST_UNIT) << TIE_BITS
            coded = [
                -1 if item is None else self.numbers.setdefault(item, len(self.numbers))
                for item in items
            ]
            for begin in (0, 1)[: 1 + (coded[0] < 0)]:
                for end in (0, 1)[: 1 + (coded[-1] < 0)]:
                    path = coded[begin : len(coded) - end]
                    node = 0
                    for item in path:
                        following = children[node].setdefault(item, len(children))
                        if following == len(children):
                            children.append({})
                        node = following
                    # of templates that may be the same stretch the likelier one stays
                    if node not in ends or cost < ends[node][0]:
                        ends[node] = (cost, len(self.items))
                    self.items.append(np.array(path, np.int32))
                    self.owners.append(owner)
        self._flatten(children, ends)

    def _flatten(self, children: list[dict[int, int]], ends: dict[int, tuple[int, int]]) -> None:
        words = [sorted((w, node) for w, node in edges.items() if w >= 0) for edges in children]
        sizes = [len(edges) for edges in words]
        flat = np.array([edge for edges in words for edge in edges], np.int32).reshape(-1, 2)
        self._edges = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
        self._edge_words = np.ascontiguousarray(flat[:, 0])
        self._targets = np.ascontiguousarray(flat[:, 1])
        self._slot_target = np.array([edges.get(-1, -1) for edges in children], np.int32)
        self._node_cost = np.full(len(children), kernels.NEVER)
        self._node_path = np.full(len(children), -1, np.int32)
        for node, (cost, path) in ends.items():
            self._node_cost[node], self._node_path[node] = cost, path

    def __repr__(self) -> str:
        return f"SentenceParser({len(self.templates):,} templates)"


class _Chart:
    """The best way to write every stretch of one sentence."""

    def __init__(self, parser: SentenceParser, sentence: tuple[str, ...]) -> None:
        self.parser, self.sentence = parser, sentence
        n = len(sentence)
        self.words = np.array([parser.numbers.get(word, -1) for word in sentence], np.int32)
        self.width = min(parser.max_span, n)
        nodes, edges, edge_words, targets, slot_target = kernels.restrict(
            self.words,
            len(parser.numbers),
            parser._edges,
            parser._edge_words,
            parser._targets,
            parser._slot_target,
        )
        self.best = np.zeros((n + 1, self.width + 1), np.int64)
        self.first = np.zeros((n + 1, self.width + 1), np.int32)
        self.next_first = np.zeros((n + 1, self.width + 1), np.int32)
        self.node = np.full((n + 1, self.width + 1), -1, np.int32)
        kernels.cheapest_spans(
            self.words,
            self.width,
            parser._joint,
            edges,
            edge_words,
            targets,
            slot_target,
            parser._node_cost[nodes],
            self.best,
            self.first,
            self.next_first,
            self.node,
        )
        self.path = np.append(parser._node_path[nodes], -1)

    def tree(self) -> SentenceTree:
        """Return the best parse of the sentence."""
        n = len(self.sentence)
        pieces = [(0, n)] if n == self.width else self._pieces()
        return self._row(0, n, [block for piece in pieces for block in self._blocks(*piece)])

    def _pieces(self) -> list[tuple[int, int]]:
        """Return begin and length of stretches, none too long, into which the sentence falls."""
        n, width = len(self.sentence), self.width
        # without the bits for ties, which a long sentence would overflow
        best, joint = self.best >> TIE_BITS, self.parser._joint >> TIE_BITS
        cost = np.zeros(n + 1, np.int64)
        size = np.zeros(n, np.int64)
        for i in range(n - 1, -1, -1):
            m = min(width, n - i)
            totals = best[i, 1 : m + 1] + cost[i + 1 : i + m + 1] + joint
            if i + m == n:
                totals[-1] -= joint
            # the last of the least
            size[i] = m - int(np.argmin(totals[::-1]))
            cost[i] = totals[size[i] - 1]
        pieces = []
        begin = 0
        while begin < n:
            pieces.append((begin, int(size[begin])))
            begin += int(size[begin])
        return pieces

    def _stretch(self, begin: int, length: int) -> SentenceTree:
        return self._row(begin, length, self._blocks(begin, length))

    def _blocks(self, begin: int, length: int) -> list[str | SentenceTree]:
        """Return the blocks of the best row over a stretch."""
        blocks: list[str | SentenceTree] = []
        while length:
            size = int((self.next_first if blocks else self.first)[begin, length])
            if self.node[begin, size] < 0:
                blocks.append(self.sentence[begin])
            else:
                blocks.append(self._template(begin, size))
            begin, length = begin + size, length - size
        return blocks

    def _row(self, begin: int, length: int, blocks: list[str | SentenceTree]) -> SentenceTree:
        if len(blocks) == 1 and not isinstance(blocks[0], str):
            return blocks[0]
        score = sum(block.score for block in blocks if not isinstance(block, str))
        score += self.parser.null_score * (len(blocks) - 1)
        words = self.sentence[begin : begin + length]
        return SentenceTree(begin, words, None, tuple(blocks), score)

    def _template(self, begin: int, length: int) -> SentenceTree:
        """Return the best template over a stretch, and what fills its slots."""
        path = self.path[self.node[begin, length]]
        items = self.parser.items[path]
        ends = np.empty(items.size, np.int32)
        kernels.place_items(items, self.words, begin, length, self.best, ends)
        children: list[str | SentenceTree] = []
        start = 0
        for item, end in zip(items.tolist(), ends.tolist(), strict=True):
            slot = item < 0
            children.append(
                self._stretch(begin + start, end - start) if slot else self.sentence[begin + start]
            )
            start = end
        score = self.parser.log_probabilities[self.parser.owners[path]]
        score += sum(child.score for child in children if not isinstance(child, str))
        template = self.parser.patterns[self.parser.owners[path]]
        words = self.sentence[begin : begin + length]
        return SentenceTree(begin, words, template, tuple(children), score)


def read_templates(
    templates: TemplateFinder | pl.DataFrame | Mapping[str | Items, int],
) -> dict[Items, int]:
    """Return items and counts of templates given as `SentenceParser` takes them."""
    if isinstance(templates, TemplateFinder):
        check_is_fitted(templates, "templates_")
        templates = templates.templates_.vstack(templates.phrases_)
    pairs: Iterable[tuple[Any, Any]]
    if isinstance(templates, Mapping):
        pairs = templates.items()
    elif {"words", "count"} <= set(getattr(templates, "columns", ())):
        pairs = zip(templates["words"].to_list(), templates["count"].to_list(), strict=True)
    else:
        raise TypeError(
            "templates must be a fitted TemplateFinder, a table with columns words and count, or "
            f"a mapping of templates to counts, got {type(templates).__name__}"
        )
    found: dict[Items, int] = {}
    for template, count in pairs:
        items = _items(template)
        if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 1:
            raise InputError(f"the count of {template!r} must be an int >= 1, got {count!r}")
        found[items] = found.get(items, 0) + int(count)
    if not found:
        raise InputError("templates must hold at least one template, got none")
    return found


def _items(template: Any) -> Items:
    """Return the items of a template, neighbouring slots merged."""
    given = template.split() if isinstance(template, str) else template
    if not isinstance(given, list | tuple) or not all(
        item is None or isinstance(item, str) for item in given
    ):
        raise TypeError(
            f"a template must be text with {SLOT} for slots, or a tuple of str and None, "
            f"got {template!r}"
        )
    items: list[str | None] = []
    for item in given:
        slot = item is None or (isinstance(template, str) and item == SLOT)
        if not slot:
            items.append(item)
        elif not items or items[-1] is not None:
            items.append(None)
    if not any(item is not None for item in items):
        raise InputError(f"a template must have a word, got {template!r}")
    return tuple(items)
