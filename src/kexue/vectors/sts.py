"""Semantic textual similarity: how well cosines of vectors agree with people's scores."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy.stats import rankdata

from kexue._core import InputError, check_choice

_COLUMNS = ("subset", "score", "sentence1", "sentence2")
_AGGREGATES = ("wmean", "mean", "all")

Pairs = Sequence[tuple[str, str, float]]


@dataclass(frozen=True)
class STSReport:
    """Correlations of cosines with scores, in [-1, 1]; printed times 100.

    Attributes
    ----------
    metric : str
    rows : tuple of (str, int, float)
        Name, number of pairs and correlation of every subset.
    wmean, mean : float
        Mean over subsets, weighted by their pairs or not.
    all : float
        Of all pairs as one list, in which scales that differ between subsets cost.
    score : float
        The one of the three that was asked for.
    """

    metric: str
    rows: tuple[tuple[str, int, float], ...]
    wmean: float
    mean: float
    all: float
    score: float

    def __str__(self) -> str:
        total = sum(n for _, n, _ in self.rows)
        last = [(name, total, getattr(self, name)) for name in _AGGREGATES]
        lines = [("subset", "pairs", f"{self.metric} x 100")]
        lines += [(name, f"{n:,}", f"{100 * value:.2f}") for name, n, value in [*self.rows, *last]]
        first, second, third = (max(map(len, column)) for column in zip(*lines, strict=True))
        return "\n".join(f"{a:<{first}}  {b:>{second}}  {c:>{third}}" for a, b, c in lines)


def evaluate_sts(
    vectors_or_encoder: Any,
    dataset: str | os.PathLike[str] | Pairs | Mapping[str, Pairs],
    metric: Literal["spearman", "pearson"] = "spearman",
    aggregate: Literal["wmean", "mean", "all"] = "wmean",
    *,
    split: str | None = None,
) -> STSReport:
    """Correlate cosines of pairs of sentences with the scores that people gave.

    Published figures for one data set differ by twenty points between the three ways to join
    subsets; all three are reported.

    Parameters
    ----------
    vectors_or_encoder : object with `encode`, callable, mapping, or pair of arrays
        What makes a list of sentences into an array of shape (N, k); or maps each sentence to its
        vector; or the vectors of the first and of the second sentences, in the data set's order.
    dataset : path, sequence of (sentence, sentence, score), or mapping of such by name
        A file is of tab-separated values in UTF-8, plain or ``.gz``, whose header names at least
        `score`, `sentence1` and `sentence2`; `subset` parts it, and `split` chooses.
    metric : {"spearman", "pearson"}
    aggregate : {"wmean", "mean", "all"}
        Which is `score`: mean over subsets weighted by their pairs (SentEval's ``wmean``), plain
        mean, or all pairs as one list.
    split : str or None
        The rows of a file with this `split`; None takes all.

    Returns
    -------
    STSReport
        ``print`` shows it as a table.

    Raises
    ------
    InputError
        For a bad parameter, a file with other columns (its line is named) or no text in UTF-8, a
        score that is not finite (its pair is named, from 0), a subset whose scores are all the
        same, or vectors of another shape.

    Examples
    --------
    >>> vectors = {"a cat": [1, 0], "a kitten": [1, 0.2], "a dog": [0.8, 0.6], "a law": [0, 1]}
    >>> pairs = [("a cat", "a kitten", 5), ("a cat", "a dog", 3), ("a cat", "a law", 0)]
    >>> print(evaluate_sts(vectors, pairs))
    subset  pairs  spearman x 100
    pairs       3          100.00
    wmean       3          100.00
    mean        3          100.00
    all         3          100.00

    References
    ----------
    Agirre et al., SemEval-2012 task 6: a pilot on semantic textual similarity, SemEval 2012.
    Conneau and Kiela, SentEval: an evaluation toolkit for universal sentence representations,
    LREC 2018. kexue.fm, archives/8321.
    """
    check_choice("metric", metric, ("spearman", "pearson"))
    check_choice("aggregate", aggregate, _AGGREGATES)
    subsets = _read_subsets(dataset, split)
    cosines = _cosines(vectors_or_encoder, [pair for pairs in subsets.values() for pair in pairs])
    gold = np.array([pair[2] for pairs in subsets.values() for pair in pairs], np.float64)
    ends = np.cumsum([len(pairs) for pairs in subsets.values()])
    rows = []
    for name, end in zip(subsets, ends.tolist(), strict=True):
        part = slice(end - len(subsets[name]), end)
        rows.append((name, len(subsets[name]), _correlation(metric, cosines[part], gold[part])))
    values, sizes = np.array([row[2] for row in rows]), np.array([row[1] for row in rows])
    joined = {
        "wmean": float(values @ sizes / sizes.sum()),
        "mean": float(values.mean()),
        "all": _correlation(metric, cosines, gold),
    }
    return STSReport(metric, tuple(rows), **joined, score=joined[aggregate])


def read_pairs(path: str | os.PathLike[str], split: str | None = None) -> dict[str, Pairs]:
    """Return the pairs of a file by subset; see `evaluate_sts`."""
    found: dict[str, list[tuple[str, str, float]]] = {}
    splits = set()
    lines = _lines(path)
    names = next(lines, "").rstrip("\r\n").split("\t")
    missing = [name for name in _COLUMNS[1:] if name not in names]
    if missing:
        raise InputError(f"{path} must have columns {', '.join(missing)}, its header is {names}")
    for number, line in enumerate(lines, 2):
        cells = line.rstrip("\r\n").split("\t")
        row = dict(zip(names, cells, strict=False))
        try:
            score = float(row["score"])
        except (KeyError, ValueError):
            score = float("nan")
        if len(cells) != len(names) or not np.isfinite(score):
            raise InputError(
                f"{path}, line {number}: must have {len(names)} cells and a finite score, "
                f"got {cells!r}"
            )
        splits.add(row.get("split"))
        if split is None or row.get("split") == split:
            pairs = found.setdefault(row.get("subset") or "pairs", [])
            pairs.append((row["sentence1"], row["sentence2"], score))
    if not found:
        known = ", ".join(sorted(filter(None, splits))) or "none"
        raise InputError(f"{path} has no pairs of split {split!r}; its splits: {known}")
    return dict(found)


def _lines(path: str | os.PathLike[str]) -> Iterator[str]:
    opened: Callable[..., Any] = gzip.open if Path(path).suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8", newline="\n") as file:
            yield from file
    except (UnicodeDecodeError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise InputError(
            f"{path} must be tab-separated values in UTF-8, by gzip if its name ends in .gz: "
            f"{error}"
        ) from error


def _read_subsets(dataset: Any, split: str | None) -> dict[str, Pairs]:
    if isinstance(dataset, str | os.PathLike):
        return read_pairs(dataset, split)
    if split is not None:
        raise InputError(f"split={split!r} can only choose from a file")
    subsets = dict(dataset) if isinstance(dataset, Mapping) else {"pairs": dataset}
    for name, pairs in subsets.items():
        subsets[name] = list(pairs)
        if len(subsets[name]) < 2:
            raise InputError(
                f"subset {name!r} must hold at least 2 pairs, got {len(subsets[name])}"
            )
        for number, pair in enumerate(subsets[name]):
            fits = isinstance(pair, list | tuple) and len(pair) == 3
            if not fits or not all(isinstance(text, str) for text in pair[:2]):
                raise InputError(
                    f"dataset must hold (sentence, sentence, score), got {pair!r} for pair "
                    f"{number} of {name!r}"
                )
            score = pair[2]
            if not isinstance(score, Real) or not np.isfinite(float(score)):
                raise InputError(
                    f"scores must be finite numbers, got {score!r} for pair {number} of {name!r}"
                )
    if not subsets:
        raise InputError("dataset must hold at least one subset")
    return subsets


def _cosines(vectors: Any, pairs: Pairs) -> np.ndarray:
    """Return the cosine of every pair, 0 where a vector is zero."""
    first, second = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    if isinstance(vectors, list | tuple) and len(vectors) == 2:
        sides = [np.asarray(side, np.float64) for side in vectors]
    else:
        # a sentence that occurs twice is encoded once
        texts = list(dict.fromkeys([*first, *second]))
        place = {text: i for i, text in enumerate(texts)}
        found = np.asarray(_encoded(vectors, texts), np.float64)
        if found.ndim != 2 or len(found) != len(texts):
            raise InputError(
                f"{len(texts)} sentences must have vectors of shape ({len(texts)}, k), "
                f"got shape {found.shape}"
            )
        sides = [found[[place[text] for text in side]] for side in (first, second)]
    shapes = [side.shape for side in sides]
    if shapes[0] != shapes[1] or len(shapes[0]) != 2 or shapes[0][0] != len(pairs):
        raise InputError(
            f"{len(pairs)} pairs must have vectors of shape ({len(pairs)}, k) on both sides, "
            f"got shapes {shapes[0]} and {shapes[1]}"
        )
    for side in sides:
        if not np.isfinite(side).all():
            row = int(np.argwhere(~np.isfinite(side))[0, 0])
            raise InputError(f"vectors must be finite, got NaN or infinity for pair {row}")
    lengths = np.linalg.norm(sides[0], axis=1) * np.linalg.norm(sides[1], axis=1)
    products = np.einsum("ij,ij->i", *sides)
    return np.divide(products, lengths, out=np.zeros(len(pairs)), where=lengths > 0)


def _encoded(vectors: Any, texts: list[str]) -> Any:
    if hasattr(vectors, "encode"):
        return vectors.encode(texts)
    if callable(vectors):
        return vectors(texts)
    if isinstance(vectors, np.ndarray) or not hasattr(vectors, "__getitem__"):
        raise TypeError(
            "vectors_or_encoder must have encode, be callable, map sentences to vectors, or be two "
            f"arrays, got {type(vectors).__name__}"
        )
    missing = [text for text in texts if text not in vectors]
    if missing:
        raise InputError(f"{len(missing)} sentences have no vector, the first is {missing[0]!r}")
    return [vectors[text] for text in texts]


def _correlation(metric: str, cosines: np.ndarray, gold: np.ndarray) -> float:
    if len(gold) < 2 or np.ptp(gold) == 0:
        raise InputError(f"scores must differ, got {len(gold)} pairs that all have {gold[0]}")
    if np.ptp(cosines) == 0:
        return 0.0
    if metric == "spearman":
        cosines, gold = rankdata(cosines), rankdata(gold)
    return float(np.corrcoef(cosines, gold)[0, 1])
