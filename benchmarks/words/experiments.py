"""What was tried to find better words: ``python -m benchmarks.words.experiments``.

Prints F1 on 2,000 lines of the January 1998 newspaper, whose gold words are used for choosing, as
in `benchmarks.words.choosing`; the text of all lines is learned from. The bakeoff's test sets have
no part in this. docs/words/experiments.md shows the figures.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
from numba import njit

from benchmarks.words.choosing import N_GOLD, f1
from kexue.atlas.demo import load_demo
from kexue.corpus.counting import count_code_points, encode_ids
from kexue.corpus.texts import DOCUMENT_END, as_texts
from kexue.words import WordDiscoverer, nvbe
from kexue.words._tries import flat_trie
from kexue.words.solidity import SOLID, solidity
from kexue.words.tokenizer import token_cuts

LONGEST = 4
PRICES = (-2.0, -3.0, -4.0, -5.0, -6.0)
Score = Callable[[int], np.ndarray]


def main() -> None:
    """Print the table of docs/words/experiments.md."""
    lines = load_demo()
    order = np.random.default_rng(0).permutation(len(lines))
    gold = [lines[i] for i in order[:N_GOLD]]
    rest = [lines[i] for i in order[N_GOLD:]]
    text = Text(gold, rest)
    print("scores of words: best price, F1 before EM, F1 after one round of EM")
    for name, score in variants(text.statistics):
        text.report(name, score)
    print("a second look at the segmentation found")
    text.report_learned_boundaries()
    print("numbers as one symbol")
    digits = "[0-9０-９]+"
    for name, pattern, symbol in (
        ("runs of digits as one joining symbol", digits, "\u9fff"),
        ("numbers with point and per cent as one token", f"{digits}(?:[．.·]{digits})*[％%]?", "0"),
        ("the same as one joining symbol", f"{digits}(?:[．.·]{digits})*[％%]?", "\u9fff"),
    ):
        changed = [[re.sub(pattern, symbol, word) for word in words] for words in gold]
        others = [[re.sub(pattern, symbol, "".join(words))] for words in rest]
        numbers = Text(changed, others)
        model = WordDiscoverer().fit_codes(numbers.codes)
        print(f"  {name}: {numbers.f1(model.tokens_.starts):.2f}", flush=True)


class Statistics:
    """Counts, entropies and solidity of all n-grams, by order."""

    def __init__(self, codes: np.ndarray, joining: np.ndarray) -> None:
        self.table = count_code_points([codes], LONGEST + 1, boundary=lambda d: ~joining[d])
        orders = range(1, LONGEST + 1)
        self.counts = {o: self.table.levels[o].counts for o in orders}
        self.suffixes = dict(self.table.suffix_links())
        self.right = {o: self.table.entropy("right", o) for o in orders}
        self.left = {o: self.table.entropy("left", o) for o in orders}
        self.solidity = dict(enumerate(solidity(self.table, LONGEST, self.suffixes), 1))

    def deltas(self, order: int, correction: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """Return by how much entropy rises at both ends, each less its mean over types."""
        right, left = self.right[order], self.left[order]
        if correction:
            right = right + correction * self.surprise(order, "right")
            left = left + correction * self.surprise(order, "left")
        if order > 1:
            shorter = self.right[order - 1], self.left[order - 1]
            if correction:
                shorter = tuple(
                    entropy + correction * self.surprise(order - 1, side)
                    for entropy, side in zip(shorter, ("right", "left"), strict=True)
                )
            right = right - shorter[0][self.table.parents(order)]
            left = left - shorter[1][self.suffixes[order]]
        return right - right.mean(), left - left.mean()

    def surprise(self, order: int, side: str) -> np.ndarray:
        """Return Miller and Madow's correction, (distinct continuations - 1) / (2 N)."""
        counts, longer = self.counts[order], self.table.levels[order + 1].counts
        links = self.table.parents(order + 1) if side == "right" else self.suffixes[order + 1]
        continued = np.bincount(links, longer, minlength=counts.size)
        kinds = np.bincount(links, minlength=counts.size) + counts - continued
        return (kinds - 1) / (2 * counts)

    def autonomy(self, order: int) -> np.ndarray:
        """Return the sum of both."""
        return sum(self.deltas(order))

    def inside(self, order: int) -> np.ndarray:
        """Return by how much the solidity is above what chance leaves; 0 for characters."""
        if order == 1:
            return np.zeros(self.counts[1].size)
        return self.solidity[order] - SOLID[order - 1]


def variants(s: Statistics) -> list[tuple[str, Score]]:
    """Return the scores tried, by name."""

    def held(order: int, prior: float) -> np.ndarray:
        return s.counts[order] / (s.counts[order] + prior)

    def standardised(order: int) -> np.ndarray:
        return order * sum(delta / delta.std() for delta in s.deltas(order))

    found: list[tuple[str, Score]] = [
        ("autonomy (Magistry and Sagot)", lambda o: o * s.autonomy(o)),
        ("autonomy, divided by standard deviations", standardised),
        ("twice the smaller side", lambda o: 2 * o * np.minimum(*s.deltas(o))),
        ("entropies corrected (Miller and Madow)", lambda o: o * sum(s.deltas(o, 1.0))),
        ("autonomy + 0.3 log count", lambda o: o * s.autonomy(o) + 0.3 * np.log(s.counts[o])),
    ]
    for power in (0.8, 1.2):
        found.append((f"length to the {power}", lambda o, p=power: o**p * s.autonomy(o)))
    for prior in (0.3, 1.0, 3.0):
        name = f"autonomy, N / (N + {prior:g})"
        found.append((name, lambda o, k=prior: o * s.autonomy(o) * held(o, k)))
    for weight in (0.5, 1.0, 1.5):
        name = f"autonomy + {weight:g} solidity"
        found.append((name, lambda o, w=weight: o * s.autonomy(o) + w * s.inside(o)))
    for prior in (1.0, 2.0, 3.0):
        for weight in (1.0, 1.5, 2.0, 3.0):
            found.append(
                (
                    f"(autonomy + {weight:g} solidity) N / (N + {prior:g})",
                    lambda o, w=weight, k=prior: (o * s.autonomy(o) + w * s.inside(o)) * held(o, k),
                )
            )
    found.append(("3 solidity alone, N / (N + 2)", lambda o: 3 * s.inside(o) * held(o, 2.0)))
    return found


class Text:
    """A text whose first documents have gold words."""

    def __init__(self, gold: list[list[str]], rest: list[list[str]]) -> None:
        self.gold = gold
        self.codes = as_texts(["".join(words) for words in (*gold, *rest)]).codes()
        self.cuts = token_cuts(self.codes, "auto")
        self.joining = nvbe.joining_characters("auto")
        self.statistics = Statistics(self.codes, self.joining)
        table = self.statistics.table
        self.ids = encode_ids(self.codes, table.alphabet)
        self.last, self.children, self.bases = flat_trie(table, LONGEST)

    def f1(self, starts: np.ndarray) -> float:
        """Return the F1 of a segmentation, per cent."""
        return 100 * f1(starts, self.codes, self.gold)

    def report(self, name: str, score: Score) -> None:
        """Print the best price of a score, and what comes of it."""
        scores = np.concatenate([score(order) for order in range(1, LONGEST + 1)])
        lattice = nvbe.Lattice(self.ids, self.cuts, self.last, self.children, scores, self.bases)
        tried = []
        for price in PRICES:
            starts = np.append(np.flatnonzero(lattice.segment(price)), self.codes.size)
            tried.append((self.f1(starts), price, starts))
        best, price, starts = max(tried, key=lambda one: one[0])
        after = self.f1(self.one_round(starts))
        print(f"  {name}: {price:+.0f}, {best:.2f}, {after:.2f}", flush=True)

    def one_round(self, starts: np.ndarray) -> np.ndarray:
        """Return the segmentation by the words of a segmentation that are used twice."""
        model = WordDiscoverer()
        tokenizer = model._tokenizer(self.codes, starts, self.joining, 2, lambda words: words)
        return tokenizer.token_starts(self.codes)

    def report_learned_boundaries(self) -> None:
        """Print what a classifier of boundaries makes of documents that it was not trained on."""
        model = WordDiscoverer().fit_codes(self.codes)
        begins = np.zeros(self.codes.size, bool)
        begins[model.tokens_.starts[:-1]] = True
        ids = self.ids.astype(np.int64)
        gaps = self.cuts.copy()
        gaps[0] = False
        gaps[1:] &= (ids[1:] > 0) & (ids[:-1] > 0)
        places = np.flatnonzero(gaps)
        fold = np.cumsum(self.codes == DOCUMENT_END)[places] % 2
        margins = np.empty(places.size)
        for k in (0, 1):
            weights = train(ids, places[fold != k], begins[places[fold != k]].astype(np.float64))
            margins[fold == k] = predict(ids, places[fold == k], weights)
        learned = begins.copy()
        learned[places] = margins > 0
        before, after = (
            self.f1(np.append(np.flatnonzero(b), self.codes.size)) for b in (begins, learned)
        )
        print(
            f"  as found {before:.2f}; by logistic regression on the characters around {after:.2f}"
        )


TABLE_BITS = 22
N_FEATURES = 9


@njit(cache=True)
def features(ids, i, out):
    """Write the places, in a table of weights, of the characters and n-grams around a gap."""
    n = ids.size
    a = ids[i - 2] if i > 1 else 0
    b, c = ids[i - 1], ids[i]
    d = ids[i + 1] if i + 1 < n else 0
    values = (a, b, c, d, a << 16 | b, b << 16 | c, c << 16 | d, (a << 32) | (b << 16) | c,
              (b << 32) | (c << 16) | d)  # fmt: skip
    for k in range(N_FEATURES):
        mixed = np.uint64(values[k] + 1) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(k)
        mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
        out[k] = np.int64(mixed >> np.uint64(64 - TABLE_BITS))


@njit(cache=True)
def train(ids, places, labels):
    """Return the weights of a logistic regression, trained by two rounds of AdaGrad."""
    weights = np.zeros(1 << TABLE_BITS)
    squares = np.full(1 << TABLE_BITS, 1e-3)
    found = np.empty(N_FEATURES, np.int64)
    for _ in range(2):
        for q in range(places.size):
            features(ids, places[q], found)
            error = 1 / (1 + np.exp(-weights[found].sum())) - labels[q]
            for place in found:
                step = error + 1e-3 * weights[place]
                squares[place] += step * step
                weights[place] -= 0.3 * step / np.sqrt(squares[place])
    return weights


@njit(cache=True)
def predict(ids, places, weights):
    """Return the log odds of a boundary."""
    found = np.empty(N_FEATURES, np.int64)
    margins = np.empty(places.size)
    for q in range(places.size):
        features(ids, places[q], found)
        margins[q] = weights[found].sum()
    return margins


if __name__ == "__main__":
    main()
