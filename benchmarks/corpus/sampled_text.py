"""A text of any size, sampled from the words and letters of newsgroup posts.

Word of rank r is drawn with a probability proportional to ``(r + 2.7) ** (-4 / 3)``, without a
last rank, so that the vocabulary grows as Heaps' law says, with an exponent of 3/4: in 5 million
words of the posts it is 390,000. The first ranks are spelled as the words of the posts in the
order of their frequency, all others by a model of three letters learned from these. Draws are
independent; real texts repeat a word within a document, so their batches hold fewer distinct
words and gain more.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl

EXPONENT, OFFSET = 4 / 3, 2.7
WORDS_PER_LINE = 400
BLOCK = 2500 * WORDS_PER_LINE  # words
_SHORTEST, _LONGEST = 5, 14  # letters of a word that the model spells


def write_text(path: Path, data: Path, n_words: int, seed: int = 0) -> int:
    """Write `n_words` words, rounded up to whole lines, a document each; return the bytes."""
    posts = pl.read_parquet(data / "newsgroups" / "20news_bydate.parquet")["text"]
    found = Counter(word for post in posts for word in re.findall("[a-z]+", post.lower()))
    real = [word for word, _ in found.most_common()]
    seeds = np.random.SeedSequence(seed).spawn(-(-n_words // BLOCK) + 1)
    # drawn twice, to find out which words there are before one is written
    distinct = np.zeros(0, np.int64)
    for block in seeds[1:]:
        distinct = np.union1d(distinct, sample_ranks(block))
    spelled = spell(distinct, real, np.random.default_rng(seeds[0]))
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        for block in seeds[1:]:
            words = spelled[np.searchsorted(distinct, sample_ranks(block))].tolist()
            for start in range(0, min(BLOCK, n_words), WORDS_PER_LINE):
                file.write(" ".join(words[start : start + WORDS_PER_LINE]) + "\n")
            n_words -= BLOCK
    return path.stat().st_size


def sample_ranks(seed: np.random.SeedSequence) -> np.ndarray:
    """Draw the ranks of a block, from 0 on, by inversion of the continuous law."""
    uniform = 1.0 - np.random.default_rng(seed).random(BLOCK)
    ranks = (OFFSET + 0.5) * (uniform ** (-1 / (EXPONENT - 1)) - 1)
    return ranks.clip(max=2.0**62).astype(np.int64)


def spell(ranks: np.ndarray, real: list[str], rng: np.random.Generator) -> np.ndarray:
    """Return the spelling of every rank, an object array."""
    words = np.empty(ranks.size, object)
    is_real = ranks < len(real)
    words[is_real] = [real[rank] for rank in ranks[is_real]]
    n = int(np.count_nonzero(~is_real))
    model = letter_model(real)
    letters = np.zeros((n, _LONGEST + 2), np.uint8)  # two before the first; 0 is none
    going = np.ones(n, bool)
    for k in range(2, _LONGEST + 2):
        chances = np.cumsum(model[letters[:, k - 2], letters[:, k - 1]], axis=1)
        floor = chances[:, 0] if k - 2 < _SHORTEST else 0.0  # no end yet
        drawn = floor + rng.random(n) * (chances[:, -1] - floor)
        letters[:, k] = (drawn[:, None] >= chances).sum(axis=1)
        letters[~going, k] = 0
        going &= letters[:, k] > 0
    flat = np.where(letters[:, 2:] > 0, letters[:, 2:] + ord("a") - 1, ord(" ")).astype(np.uint8)
    text = flat.tobytes().decode("ascii")
    words[~is_real] = [text[i : i + _LONGEST].rstrip() for i in range(0, len(text), _LONGEST)]
    return words


def letter_model(words: list[str]) -> np.ndarray:
    """Return the counts of every letter, 0 being the end, after every two, (27, 27, 27)."""
    text = "".join(f"``{word}`" for word in words)  # ` comes before a
    ids = np.frombuffer(text.encode("ascii"), np.uint8) - np.uint8(ord("`"))
    model = np.zeros((27, 27, 27))
    np.add.at(model, (ids[:-2], ids[1:-1], ids[2:]), 1.0)
    model[0, 0, 0] = 0.0
    return model + 1e-3
