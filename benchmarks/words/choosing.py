"""How the defaults of word discovery were chosen: ``python -m benchmarks.words.choosing``.

2,000 lines of the January 1998 newspaper, drawn at random, have their gold words used; the raw
text of these and of a growing number of other lines is learned from. Prints F1 on the gold lines
for each price per word before EM, for each `min_count` after it, and for the other methods. The
bakeoff's test sets have no part in this.
"""

from itertools import pairwise
from typing import Any

import numpy as np

from kexue.atlas.demo import load_demo
from kexue.corpus.texts import DOCUMENT_END, as_texts
from kexue.words import WordDiscoverer, nvbe
from kexue.words.tokenizer import token_cuts

N_GOLD = 2000
PENALTIES = (-2.0, -3.0, -4.0, -5.0, -6.0, -7.0)
MIN_COUNTS = (1, 2, 3, 5)
OTHERS: tuple[dict[str, Any], ...] = (
    {"penalty": "mdl"},
    {"method": "ngram"},
    {"method": "pair"},
    {"method": "pair", "min_pmi": 2.0},
    {"method": "charlm"},
    {"max_length": 6},
)


def main() -> None:
    """Print the tables of docs/words/discovery.md."""
    lines = load_demo()
    order = np.random.default_rng(0).permutation(len(lines))
    gold = [lines[i] for i in order[:N_GOLD]]
    rest = [lines[i] for i in order[N_GOLD:]]
    for n in (600, 2000, 6000, len(rest)):
        marked = gold[: min(n, N_GOLD)]
        codes = as_texts(["".join(words) for words in (*marked, *rest[:n])]).codes()
        print(f"{codes.size:,} characters")
        lattice = nvbe.lattice(
            codes, token_cuts(codes, "auto"), nvbe.joining_characters("auto"), max_length=4
        )
        for penalty in PENALTIES:
            starts = np.append(np.flatnonzero(lattice.segment(penalty)), codes.size)
            score = 100 * f1(starts, codes, marked)
            print(f"  penalty {penalty:+.0f}: {score:.2f}")
        for min_count in MIN_COUNTS:
            model = WordDiscoverer(min_count=min_count).fit_codes(codes)
            score = 100 * f1(model.tokens_.starts, codes, marked)
            print(f"  after EM, min_count {min_count}: {score:.2f}", flush=True)
        for options in OTHERS:
            model = WordDiscoverer(**options).fit_codes(codes)
            score = 100 * f1(model.tokens_.starts, codes, marked)
            price = f", price {model.penalty_:g}" if hasattr(model, "penalty_") else ""
            print(f"  {options}: {score:.2f}{price}", flush=True)


def f1(starts: np.ndarray, codes: np.ndarray, gold: list[list[str]]) -> float:
    """Return the F1 of the tokens of the first documents."""
    edges = [0]
    for words in gold:
        for size in (*map(len, words), 1):  # and the end of the document
            edges.append(edges[-1] + size)
    ours = starts[starts <= edges[-1]]
    found, true = (
        {(a, b) for a, b in pairwise(e) if codes[a] != DOCUMENT_END} for e in (ours.tolist(), edges)
    )
    return 2 * len(found & true) / (len(found) + len(true))


if __name__ == "__main__":
    main()
