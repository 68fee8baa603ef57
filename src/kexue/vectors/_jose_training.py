"""The training of JoSE: what is drawn, in what order, by which threads, and what is kept."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kexue._core import InputError, interruptible, thread_map
from kexue.vectors import _jose_kernels as kernels
from kexue.vectors._jose_files import as_json, check_array, read_tensors, write_tensors
from kexue.vectors._token_lists import TokenLists

CHECKPOINT = "kexue-jose-training-1"
POWER = 0.75  # of the counts, by which negatives are drawn
LEAST_RATE = 1e-4  # of the learning rate, at the end
# Copies of the tables, each trained on a part of the text: at most so many, of so many bytes, and
# merged after so many tokens, which are at least so many times the words. None of it hangs on the
# number of threads.
MOST_COPIES = 4
COPY_BYTES = 1 << 28
ROUND_TOKENS = 1 << 17
ROUND_WORDS = 4
NOTHING = np.empty((2, 0), np.uint32)


@dataclass
class Settings:
    """What a training run hangs on, beside the text.

    Attributes
    ----------
    window, negative, epochs, seed, n_jobs : int
    margin, rate : float
    joint, paper, shuffle, deterministic : bool
    before : int or None
        Of a part of the text that others came before, how many did; then the rate does not fall.
    """

    window: int
    negative: int
    epochs: int
    margin: float
    rate: float
    joint: bool
    paper: bool
    shuffle: bool
    deterministic: bool
    seed: int
    n_jobs: int
    before: int | None = None


@dataclass
class Tables:
    """The vectors: float32 arrays of one row for each word, or document, all of norm 1."""

    centres: np.ndarray
    contexts: np.ndarray
    documents: np.ndarray

    @classmethod
    def random(cls, n_words: int, n_documents: int, dim: int, rng: np.random.Generator) -> Tables:
        """Return rows of random directions."""
        return cls(*(_directions(n, dim, rng) for n in (n_words, n_words, n_documents)))


def alias_table(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what words are drawn from with probabilities proportional to ``counts**0.75``.

    Column k of n equal ones is divided between word k and one other.

    Returns
    -------
    share : uint32 array of shape (n_words,)
        What of column k is word k's, times 2**32.
    alias : uint32 array of shape (n_words,)
        Whose the rest is.

    References
    ----------
    Walker, An efficient method for generating discrete random variables with general
    distributions, ACM TOMS 3, 1977.
    """
    weights = counts.astype(float) ** POWER
    height = (weights * (weights.size / weights.sum())).tolist()
    alias = list(range(weights.size))
    low = [k for k, h in enumerate(height) if h < 1]
    high = [k for k, h in enumerate(height) if h >= 1]
    while low and high:
        small, large = low.pop(), high[-1]
        alias[small] = large
        height[large] -= 1 - height[small]
        if height[large] < 1:
            low.append(high.pop())
    for k in (*low, *high):
        height[k] = 1.0
    share = np.minimum(np.array(height) * 2.0**32, 2.0**32 - 1).astype(np.uint32)
    return share, np.array(alias, np.uint32)


def keep_probabilities(counts: np.ndarray, sample: float) -> np.ndarray:
    """Return how likely an occurrence of each word is kept, times 2**32, uint32."""
    if not sample:
        return np.full(counts.size, 2**32 - 1, np.uint32)
    often = counts / (sample * counts.sum())
    kept = (np.sqrt(often) + 1) / often
    return (np.minimum(kept, 1.0) * (2**32 - 1)).astype(np.uint32)


def train(
    lists: TokenLists,
    counts: np.ndarray,
    sample: float,
    tables: Tables,
    settings: Settings,
    checkpoint: Path | None = None,
    fingerprint: str = "",
) -> tuple[list[float], int]:
    """Train the tables; return the mean hinge of every epoch, and how many were trained now.

    With a `checkpoint` goes on from there, if it has this `fingerprint`.
    """
    losses = _resume(checkpoint, fingerprint, tables)
    known = len(losses)
    draws = (keep_probabilities(counts, sample), *alias_table(counts))
    sizes = np.diff(lists.offsets)
    for epoch in range(len(losses), settings.epochs):
        number = epoch + (settings.before or 0)
        rng = np.random.default_rng([settings.seed, number])
        n = len(lists)
        order = rng.permutation(n) if settings.shuffle else np.arange(n)
        before = np.concatenate(([0], np.cumsum(sizes[order])))
        done = (epoch + before[:-1] / max(before[-1], 1)) / settings.epochs
        left = np.maximum(1.0 - done, LEAST_RATE) if settings.before is None else np.ones(n)
        rates = (settings.rate * left).astype(np.float32)
        run = _Epoch(lists, order, before, rates, draws, tables, settings, number)
        found = run.in_rounds() if settings.deterministic else run.shared()
        loss, number = np.sum(found, axis=0)
        losses.append(float(loss / max(number, 1)))
        if checkpoint is not None and epoch + 1 < settings.epochs:
            _write(checkpoint, fingerprint, tables, losses)
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    return losses, len(losses) - known


@dataclass
class _Epoch:
    lists: TokenLists
    order: np.ndarray
    before: np.ndarray  # tokens of the documents before each in order, and of all
    rates: np.ndarray
    draws: tuple[np.ndarray, np.ndarray, np.ndarray]
    tables: Tables
    settings: Settings
    number: int

    def shared(self) -> list[tuple[float, int]]:
        """Let all threads train one table, each on a stretch of the documents."""
        jobs = self.settings.n_jobs
        parts = self._divided(0, self.order.size, jobs)
        centres, contexts = self.tables.centres, self.tables.contexts

        def work(stop: bytearray) -> list[tuple[float, int]]:
            return thread_map(
                lambda part: self._train(part, centres, contexts, NOTHING, stop), parts, jobs
            )

        return interruptible(work)

    def in_rounds(self) -> list[tuple[float, int]]:
        """Train copies of the tables on parts of the documents, and merge them, round by round."""
        tables, n_words = self.tables, len(self.tables.centres)
        room = COPY_BYTES // (tables.centres.nbytes + tables.contexts.nbytes)
        copies = max(1, min(MOST_COPIES, room))
        if copies == 1:
            whole = slice(0, self.order.size)
            own = (tables.centres, tables.contexts, NOTHING)
            return [interruptible(lambda stop: self._train(whole, *own, stop))]
        tokens = copies * max(ROUND_TOKENS, ROUND_WORDS * n_words)
        rounds = self._divided(0, self.order.size, max(1, round(self.before[-1] / tokens)))
        own_centres = np.empty((copies, *tables.centres.shape), np.float32)
        own_contexts = np.empty_like(own_centres)

        def work(stop: bytearray) -> list[tuple[float, int]]:
            found: list[tuple[float, int]] = []
            for documents in rounds:
                found += self._round(documents, own_centres, own_contexts, stop)
                if stop[0]:
                    break
            return found

        return interruptible(work)

    def _round(
        self,
        documents: slice,
        own_centres: np.ndarray,
        own_contexts: np.ndarray,
        stop: bytearray,
    ) -> list[tuple[float, int]]:
        tables, copies = self.tables, len(own_centres)
        jobs = min(self.settings.n_jobs, copies)
        parts = self._divided(documents.start, documents.stop, copies)
        touched = np.zeros((copies, 2, len(tables.centres)), np.uint32)

        def train_copy(copy: int) -> tuple[float, int]:
            own_centres[copy], own_contexts[copy] = tables.centres, tables.contexts
            own = (own_centres[copy], own_contexts[copy], touched[copy])
            return self._train(parts[copy], *own, stop)

        found = thread_map(train_copy, range(copies), jobs)
        rate = float(self.rates[documents.start]) if documents.start < self.rates.size else 0.0
        edges = np.linspace(0, len(tables.centres), jobs + 1).astype(int).tolist()

        def merge(rows: tuple[int, int]) -> None:
            kernels.merge_rows(tables.centres, own_centres, touched[:, 0], rate, *rows)
            kernels.merge_rows(tables.contexts, own_contexts, touched[:, 1], rate, *rows)

        thread_map(merge, itertools.pairwise(edges), jobs)
        return found

    def _divided(self, begin: int, end: int, n: int) -> list[slice]:
        """Divide a stretch of the order into `n` of about as many tokens each."""
        aims = np.linspace(self.before[begin], self.before[end], n + 1)[1:-1]
        edges = [begin, *np.clip(np.searchsorted(self.before, aims), begin, end).tolist(), end]
        return [slice(a, b) for a, b in itertools.pairwise(edges)]

    def _train(
        self,
        part: slice,
        centres: np.ndarray,
        contexts: np.ndarray,
        touched: np.ndarray,
        stop: bytearray,
    ) -> tuple[float, int]:
        settings = self.settings
        result: tuple[float, int] = kernels.train_documents(
            self.lists.ids,
            self.lists.offsets,
            self.order[part],
            self.rates[part],
            *self.draws,
            centres.reshape(-1),
            contexts.reshape(-1),
            self.tables.documents.reshape(-1),
            centres.shape[1],
            settings.window,
            settings.negative,
            np.float32(settings.margin),
            int(settings.joint),
            int(settings.paper),
            np.uint64((settings.seed << 32) + self.number),
            touched,
            np.frombuffer(stop, np.uint8),
        )
        return result


def fingerprint(parameters: dict[str, Any], seed: int, lists: TokenLists) -> str:
    """Return what tells whether a checkpoint belongs to this text and these parameters."""
    ignored = ("checkpoint", "n_jobs", "random_state")
    own = {name: value for name, value in parameters.items() if name not in ignored}
    digest = hashlib.sha256(as_json([own, seed]).encode())
    for values in (lists.offsets, lists.ids):
        digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()


def _directions(n: int, dim: int, rng: np.random.Generator) -> np.ndarray:
    rows = rng.standard_normal((n, dim), np.float32)
    rows /= np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
    return rows


def _resume(checkpoint: Path | None, fingerprint: str, tables: Tables) -> list[float]:
    """Fill the tables from a checkpoint, if there is one; return the losses so far."""
    if checkpoint is None or not checkpoint.exists():
        return []
    about, tensors = read_tensors(checkpoint, CHECKPOINT)
    losses: Any = about.get("losses")
    if about.get("fingerprint") != fingerprint:
        raise InputError(
            f"{checkpoint} is a checkpoint of other text, parameters or another seed; remove it or "
            "choose another path"
        )
    if not isinstance(losses, list):
        raise InputError(f"{checkpoint} is damaged: it does not say how far it came")
    for name, table in vars(tables).items():
        check_array(checkpoint, tensors, name, table.shape)
        table[:] = tensors[name]
    return losses


def _write(checkpoint: Path, fingerprint: str, tables: Tables, losses: list[float]) -> None:
    about = {"format": CHECKPOINT, "fingerprint": fingerprint, "losses": losses}
    write_tensors(checkpoint, about, vars(tables))
