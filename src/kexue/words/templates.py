"""Sentence templates: words that keep company across gaps, where naming them saves bits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse
from scipy.special import xlog1py, xlogy
from sklearn.base import BaseEstimator

from kexue._core import check_float, check_int
from kexue.corpus import _span_kernels as spans
from kexue.corpus import count_pairs
from kexue.words import _template_kernels as kernels
from kexue.words.sentences import Sentences
from kexue.words.tokens import length_bits

if TYPE_CHECKING:
    import polars as pl

SLOT = "[X]"
# No path of links is longer, in words, so that the work grows linearly with a sentence.
STRETCH = 256
# Links are whole multiples of 2**-24 nat: sums and ties are exact and the same everywhere.
LINK_UNIT = 2.0**-24


class TemplateFinder(BaseEstimator):
    r"""Find the templates of sentences, such as ``[X] of [X] is [X]``.

    Two words at most `window` apart, in this order, are a pair. A pair is strong if it occurs
    `min_count` times and its

    .. math:: \mathrm{PMI}_{ab} = \log \frac{N_{ab} N}{N_{a \cdot} N_{\cdot b}}

    with the totals of the pairs themselves, is above `min_pmi`. Strong pairs link the words of a
    sentence to words on their right. The path of links with the greatest sum of PMI is taken
    out; then the best path of what it leaves around it, and in each of its gaps, until no link
    is left. So paths are maximal, share no word and do not cross, and the work per word is
    bounded, however many paths there are. A gap becomes the slot ``[X]``; there is one at an end
    too, if the path ever has words beyond that end, in the sentence or in the gap that it lies
    in.

    A path is kept if it occurs `min_count` times and makes the text cheaper to write, with its
    own entry paid for (`bits_saved`). Longest first, one that does not is cut at its weakest link
    and its uses go to the parts; lone words are dropped. What remains is a template if it has a
    slot between words, else a phrase.

    Parameters
    ----------
    window : int
        Largest distance of two words in a pair.
    min_count : int
        Least occurrences of a pair, and of a template.
    min_pmi : float
        PMI above which a pair is strong, nats.

    Attributes
    ----------
    templates_, phrases_ : polars.DataFrame
        Most bits saved first. ``template``: text. ``words``: list, null for a slot. ``count``:
        occurrences, which share no words. ``pmi``: bits by which the template is likelier than
        its words one by one. ``bits_saved``: by how much it alone shortens the code, see
        `kexue.words.templates.bits_saved`.
    ledger_ : list of (str, float)
        Bits per character of the sentences, the end of a sentence being one: written by their
        words; with phrases, too; with phrases and templates. Phrases and templates are charged
        for their entries.

    Examples
    --------
    >>> pairs = [(str(a), str(b)) for a in range(1, 10) for b in range(1, 10)]
    >>> sentences = [["from", a, "to", b] for a, b in pairs]
    >>> sentences += [["neither", a, "nor", b] for a, b in pairs]
    >>> finder = TemplateFinder(min_pmi=0.5).fit(sentences)
    >>> finder.templates_.select("template", "count").rows()
    [('from [X] to [X]', 81), ('neither [X] nor [X]', 81)]

    References
    ----------
    kexue.fm, third article on the minimum entropy principle (2018). Its code, nlp-zero,
    enumerates all paths. One path at a time, the nesting and the price of an entry are kexue's.
    """

    def __init__(self, window: int = 5, *, min_count: int = 5, min_pmi: float = 2.0) -> None:
        self.window = window
        self.min_count = min_count
        self.min_pmi = min_pmi

    def fit(self, sentences: Iterable[Sequence[str]], y: None = None) -> TemplateFinder:
        """Learn the templates of tokenized sentences.

        Parameters
        ----------
        sentences : iterable of sequences of str
            The words of each sentence, read once. `kexue.words.sentences.split_sentences`
            makes sentences of tokenized documents.
        y : None
            Ignored.

        Raises
        ------
        InputError
            On a bad parameter, or if there is no word.
        """
        check_int("window", self.window, minimum=1)
        check_int("min_count", self.min_count, minimum=1)
        check_float("min_pmi", self.min_pmi, minimum=0)
        text = Sentences.read(sentences)
        following, strength = self._link(text)
        self._prune(text, following, strength)
        outer = _outer_slots(text, following)
        found = [self._worth(text, places, outer) for places in _by_length(following).values()]
        self.templates_ = template_table(text, found, slotted=True)
        self.phrases_ = template_table(text, found, slotted=False)
        self.ledger_ = template_ledger(text, found, self.window)
        return self

    def _link(self, text: Sentences) -> tuple[np.ndarray, np.ndarray]:
        """Return the distance of each word to the next of its path, and the link's weight."""
        links = strong_pairs(text, self.window, self.min_count, self.min_pmi)
        following = np.zeros(text.ids.size, np.int32)
        strength = np.zeros(text.ids.size, np.int64)
        kernels.nested_paths(
            text.ids,
            text.bounds,
            links.indptr.astype(np.int64),
            links.indices.astype(np.int32),
            np.round(links.data / LINK_UNIT).astype(np.int64),
            min(self.window, STRETCH),
            STRETCH,
            following,
            strength,
        )
        return following, strength

    def _prune(self, text: Sentences, following: np.ndarray, strength: np.ndarray) -> None:
        """Cut templates that do not pay at their weakest link, longest first."""
        waiting = {length: [places] for length, places in _by_length(following).items()}
        for length in range(max(waiting, default=1), 1, -1):
            if length not in waiting:
                continue
            places = np.concatenate(waiting[length])
            found = self._worth(text, places)
            cut = places[~found.kept[found.types]]
            weakest = np.argmin(strength[cut[:, :-1]], axis=1)
            following[cut[np.arange(cut.shape[0]), weakest]] = 0
            for last in np.unique(weakest).tolist():
                for part in np.split(cut[weakest == last], [last + 1], axis=1):
                    if part.shape[1] > 1:
                        waiting.setdefault(part.shape[1], []).append(part)

    def _worth(self, text: Sentences, places: np.ndarray, outer: np.ndarray | None = None) -> Found:
        """Number the paths of one length, and say which are worth their price."""
        inner = np.diff(places, axis=1) > 1
        keys = np.column_stack((text.ids[places], np.packbits(inner, axis=1)))
        starts = np.arange(0, keys.size + 1, keys.shape[1])
        types, first = spans.encode_spans(keys.astype(np.uint32).ravel(), starts)
        counts = np.bincount(types, minlength=first.size)
        words = text.ids[places[first]]
        slots = np.zeros((first.size, places.shape[1] + 1), bool)
        slots[:, 1:-1] = inner[first]
        saved = bits_saved(text, words, slots, counts, self.window)
        if outer is not None:
            np.logical_or.at(slots[:, 0], types, outer[places[:, 0], 0])
            np.logical_or.at(slots[:, -1], types, outer[places[:, -1], 1])
        return Found(types, words, slots, counts, saved, (counts >= self.min_count) & (saved > 0))


@dataclass(frozen=True, eq=False)
class Found:
    """The distinct templates of k words that were found.

    Attributes
    ----------
    types : int32 array of shape (n_occurrences,)
    words : int32 array of shape (n_templates, k)
    slots : bool array of shape (n_templates, k + 1)
        Whether there is a slot before each word, and after the last.
    counts : int64 array of shape (n_templates,)
    saved : float64 array of shape (n_templates,)
        Bits.
    kept : bool array of shape (n_templates,)
    """

    types: np.ndarray
    words: np.ndarray
    slots: np.ndarray
    counts: np.ndarray
    saved: np.ndarray
    kept: np.ndarray

    @property
    def slotted(self) -> np.ndarray:
        """Whether there is a slot between words, bool of shape (n_templates,)."""
        return np.any(self.slots[:, 1:-1], axis=1)


def strong_pairs(text: Sentences, window: int, min_count: int, min_pmi: float) -> sparse.csr_array:
    """Return the PMI of the strong pairs, nats, float64 of shape (n_words, n_words)."""
    # the ends of sentences stand between the words as boundaries
    walk = np.insert(text.ids.astype(np.int64), text.bounds[1:], -1)
    pairs = count_pairs(walk, window, symmetric=False, n_tokens=len(text.spellings))
    pairs = sparse.coo_array(pairs)
    before = np.asarray(pairs.sum(axis=1)).ravel()
    after = np.asarray(pairs.sum(axis=0)).ravel()
    pmi = np.log(pairs.data * pairs.data.sum() / (before[pairs.row] * after[pairs.col]))
    strong = (pairs.data >= min_count) & (pmi > min_pmi)
    found = sparse.csr_array(
        (pmi[strong], (pairs.row[strong], pairs.col[strong])), shape=pairs.shape
    )
    found.sort_indices()
    return found


def code_length_change(
    total: int, counts: np.ndarray, multiplicities: np.ndarray, joined: np.ndarray
) -> np.ndarray:
    r"""Return by how much the code length changes when words are joined to one symbol, nats.

    The code length of N symbols is :math:`T = f(N) - \sum_w f(N_w)` with
    :math:`f(x) = x \log x`. Where `joined` occurrences that share no word become one symbol,

    .. math:: \Delta T = f(N - (k - 1) N_t) - f(N) - f(N_t)
        - \sum_w [f(N_w - m_w N_t) - f(N_w)]

    for the distinct words w of the k joined, each of them :math:`m_w` times.

    Parameters
    ----------
    total : int
        N, before.
    counts, multiplicities : arrays of shape (n, k)
        :math:`N_w` and :math:`m_w` of each of the k words; a word that is there twice is given
        twice.
    joined : array of shape (n,)
        :math:`N_t`.
    """

    def change(count: np.ndarray, taken: np.ndarray) -> np.ndarray:
        """Return f(count - taken) - f(count) without loss of digits."""
        return xlog1py(count - taken, -taken / count) - taken * np.log(count)

    taken = multiplicities * joined[:, None]
    words = (change(counts, taken) / multiplicities).sum(axis=1)
    fewer = (counts.shape[1] - 1) * joined
    return change(np.array(total, np.float64), fewer) - xlogy(joined, joined) - words


def bits_saved(
    text: Sentences, words: np.ndarray, slots: np.ndarray, counts: np.ndarray, window: int
) -> np.ndarray:
    """Return what each template alone saves, bits, float64 of shape (n_templates,).

    A sentence is written from left to right, each symbol by how often it occurs: words,
    templates, the end of the sentence. A template stands where its first word would; next come
    the lengths of its inner slots, each equally likely from 1 to ``window - 1``, and so it is
    known where its other words are, and they are not written again. A template is stated once:
    the number of its words and that of its uses (Elias's gamma code), each word by how often it
    occurs, and one bit for each place where there may be a slot. That is all a reader needs who
    knows how often each word occurs.

    Parameters
    ----------
    text : Sentences
    words : int array of shape (n_templates, k)
    slots : bool array of shape (n_templates, k + 1)
    counts : int array of shape (n_templates,)
    window : int
    """
    multiplicities = np.zeros(words.shape, np.int64)
    for place in range(words.shape[1]):
        multiplicities += words == words[:, [place]]
    change = code_length_change(text.n_symbols, text.counts[words], multiplicities, counts)
    lengths = counts * slot_bits(slots, window)
    return -change / np.log(2) - lengths - entry_bits(text, words, counts)


def slot_bits(slots: np.ndarray, window: int) -> np.ndarray:
    """Return what the lengths of the inner slots of a template cost, bits, (n_templates,)."""
    return np.count_nonzero(slots[:, 1:-1], axis=1) * np.log2(max(1, window - 1))


def entry_bits(text: Sentences, words: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the price of stating each template, bits, float64 of shape (n_templates,)."""
    spelled = (np.log2(text.n_symbols) - np.log2(text.counts[words])).sum(axis=1)
    numbers = length_bits(counts) + length_bits(np.array(words.shape[1]))
    return spelled + numbers + words.shape[1] + 1


def template_table(text: Sentences, found: Iterable[Found], *, slotted: bool) -> pl.DataFrame:
    """Return what was kept and has a slot between words, or has none, most bits saved first."""
    import polars as pl

    rows: dict[str, list] = {
        name: [] for name in ("template", "words", "count", "pmi", "bits_saved")
    }
    for some in found:
        listed = some.kept & (some.slotted == slotted)
        words, counts = some.words[listed], some.counts[listed]
        spelled = [
            _with_slots([text.spellings[i] for i in row], slots)
            for row, slots in zip(words.tolist(), some.slots[listed].tolist(), strict=True)
        ]
        likely = (np.log2(text.n_symbols) - np.log2(text.counts[words])).sum(axis=1)
        rows["template"] += [spell_template(items) for items in spelled]
        rows["words"] += spelled
        rows["count"] += counts.tolist()
        rows["pmi"] += (likely - np.log2(text.n_symbols) + np.log2(counts)).tolist()
        rows["bits_saved"] += some.saved[listed].tolist()
    schema: dict[str, Any] = {
        "template": pl.String,
        "words": pl.List(pl.String),
        "count": pl.Int64,
        "pmi": pl.Float64,
        "bits_saved": pl.Float64,
    }
    return pl.DataFrame(rows, schema=schema).sort(
        ["bits_saved", "template"], descending=[True, False]
    )


def template_ledger(text: Sentences, found: list[Found], window: int) -> list[tuple[str, float]]:
    """Return bits per character of the words' code, with phrases, and with templates as well.

    All of them write every word and the end of every sentence by how often it occurs. How words
    are spelled and how often they occur is charged in none of them; all that templates need
    besides is charged, see `bits_saved`.
    """
    ends = text.bounds.size - 1
    rows = [("words", symbol_bits(np.append(text.counts, ends)))]
    counts, used, price = text.counts.copy(), [np.array([ends])], list[float]()
    for name, slotted in (("phrases", False), ("templates", True)):
        for some in found:
            taken = some.kept & (some.slotted == slotted)
            words, uses = some.words[taken], some.counts[taken]
            np.subtract.at(counts, words.ravel(), np.repeat(uses, words.shape[1]))
            used.append(uses)
            price.extend(uses * slot_bits(some.slots[taken], window))
            price.extend(entry_bits(text, words, uses))
        # how many entries there are is stated, too
        entries = float(length_bits(np.array(sum(map(np.size, used)))))
        bits = symbol_bits(np.concatenate((counts, *used))) + math.fsum(price) + entries
        rows.append((name, bits))
    return [(name, bits / text.n_characters) for name, bits in rows]


def symbol_bits(counts: np.ndarray) -> float:
    """Return the length of a text whose symbols occur so often, in bits."""
    total = counts.sum()
    # a sum that does not hang on the order in which words appeared
    return (float(xlogy(total, total)) - math.fsum(xlogy(counts, counts))) / math.log(2)


def spell_template(items: Iterable[str | None]) -> str:
    """Return a template as text, with blanks between its words and ``[X]`` for slots."""
    return " ".join(SLOT if item is None else item for item in items)


def _with_slots(words: list[str], slots: list[bool]) -> list[str | None]:
    items: list[str | None] = []
    for word, slot in zip(words, slots, strict=False):
        items += [None, word] if slot else [word]
    return [*items, None] if slots[-1] else items


def _by_length(following: np.ndarray) -> dict[int, np.ndarray]:
    """Return the positions of the words of all paths, (n_paths, k) for each length k."""
    inside = np.zeros(following.size, bool)
    linked = np.flatnonzero(following)
    inside[linked + following[linked]] = True
    paths = linked[~inside[linked]][:, None]
    found = {}
    while paths.size:
        last = paths[:, -1]
        ended = following[last] == 0
        if np.any(ended):
            found[paths.shape[1]] = paths[ended]
        paths = np.column_stack((paths, last + following[last]))[~ended]
    return found


def _outer_slots(text: Sentences, following: np.ndarray) -> np.ndarray:
    """Return whether words stand before and after each, in the same gap, bool (n_tokens, 2)."""
    begins = np.empty(following.size, np.int64)
    ends = np.empty(following.size, np.int64)
    kernels.enclosing_spans(text.bounds, following, begins, ends)
    places = np.arange(following.size)
    return np.column_stack((begins < places, places + 1 < ends))
