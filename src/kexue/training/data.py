"""Training data by row number, in an order that is computed and never stored."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from kexue._core import InputError, check_int


class IndexedData:
    """Rows that are fetched by number, in an order that follows from the seed and the epoch.

    The order has no state: that of any epoch is sorting the rows by a hash of seed, epoch and
    key. So it is the same for any number of workers and processes, and a run that was killed has
    nothing to restore.

    Parameters
    ----------
    n : int
        Number of rows.
    collate : callable
        ``collate(rows)``, rows an int64 array, returns a batch: a tensor, or lists, tuples and
        dicts of them. With ``random=True``, ``collate(rows, rng)``.
    key : callable, optional
        ``key(rows)`` returns 64-bit integers, all different, by which rows are known instead of
        their numbers: with it the order does not depend on how the data happen to be stored.
    random : bool
        Whether `collate` draws random numbers. It is handed a numpy Generator that follows from
        seed, epoch and rows: those of a part, so that with it the number of parts matters.
    num_workers : int
        Processes that collate in advance; 0, none.

    Raises
    ------
    InputError
        For no rows; for keys that are not all different.

    Examples
    --------
    >>> letters = np.array(list("abcde"))
    >>> data = IndexedData(5, lambda rows: "".join(letters[rows]))
    >>> [data.collate(rows) for rows in np.array_split(data.order(seed=0, epoch=1), 2)]
    ['dab', 'ce']
    """

    def __init__(
        self,
        n: int,
        collate: Callable[..., Any],
        *,
        key: Callable[[np.ndarray], np.ndarray] | None = None,
        random: bool = False,
        num_workers: int = 0,
    ) -> None:
        check_int("n", n)
        if n < 1:
            raise InputError(f"data must have at least one row, got {n}")
        self.n = n
        self.collate = collate
        self.random = random
        self.num_workers = check_int("num_workers", num_workers, minimum=0)
        rows = np.arange(n)
        keys = rows if key is None else np.asarray(key(rows))
        if keys.shape != (n,) or keys.dtype.kind not in "iu":
            raise InputError(
                f"key must return {n} integers, got shape {keys.shape}, dtype {keys.dtype}"
            )
        self._keys = keys.astype(np.uint64)
        if key is not None and len(np.unique(self._keys)) < n:
            raise InputError("key must return integers that are all different")

    @classmethod
    def of(cls, data: IndexedData | Dataset | torch.Tensor | Sequence[Any]) -> IndexedData:
        """Return `data` as rows by number.

        Parameters
        ----------
        data : IndexedData, torch Dataset with a length, tensor, or sequence of tensors or arrays
            Several tensors are cut alike along their first axis, and a batch is the tuple of the
            parts.
        """
        if isinstance(data, cls):
            return data
        if isinstance(data, torch.Tensor | np.ndarray) and data.ndim > 0:
            only = torch.as_tensor(data)
            return cls(len(only), lambda rows: only.index_select(0, torch.from_numpy(rows)))
        if isinstance(data, Dataset):
            if not hasattr(data, "__len__"):
                raise TypeError("a Dataset must have a length; an iterable one has no rows to name")
            dataset: Any = data
            return cls(len(dataset), lambda rows: default_collate([dataset[int(i)] for i in rows]))
        if isinstance(data, tuple | list) and data:
            tensors = [torch.as_tensor(part) for part in data]
            lengths = [len(tensor) for tensor in tensors]
            if len(set(lengths)) > 1:
                raise InputError(f"tensors must have the same number of rows, got {lengths}")

            def cut(rows: np.ndarray) -> tuple[torch.Tensor, ...]:
                index = torch.from_numpy(rows)
                return tuple([tensor.index_select(0, index) for tensor in tensors])

            return cls(len(tensors[0]), cut)
        raise TypeError(
            "data must be an IndexedData, a torch Dataset, a tensor or a sequence of tensors, "
            f"got {type(data).__name__}"
        )

    def order(self, seed: int, epoch: int) -> np.ndarray:
        """Return the rows, int64 of shape (n,), in the order of an epoch."""
        stream = _mixed(np.array([seed], np.uint64))
        stream = _mixed(stream ^ np.array([epoch], np.uint64))
        return np.argsort(_mixed(self._keys ^ stream), kind="stable")

    def parts(
        self, seed: int, batch_size: int, steps: range, parts: int, mine: range
    ) -> Iterator[list[tuple[np.ndarray, Any]]]:
        """Yield, for each update, rows and batch of each part that is not empty.

        Parameters
        ----------
        seed, batch_size : int
        steps : range
            Numbers of the updates, from 0.
        parts : int
            In how many parts an update is cut.
        mine : range
            Which of them.
        """
        plan = _Plan(self, seed, batch_size, steps, parts, mine)
        if not self.num_workers:
            for rows in plan:
                yield [(r, self._batch(seed, e, r)) for e, r in rows]
            return
        loader = DataLoader(
            _Collated(self, seed),
            batch_size=None,
            sampler=plan,
            num_workers=self.num_workers,
            collate_fn=_as_it_is,
            # the loader draws a number from it that would else come from the model's
            generator=torch.Generator().manual_seed(seed),
            worker_init_fn=_ignore_interrupts,
        )
        yield from loader

    def _batch(self, seed: int, epoch: int, rows: np.ndarray) -> Any:
        if not self.random:
            return self.collate(rows)
        return self.collate(rows, np.random.default_rng([seed, epoch, *rows.tolist()]))


class _Plan:
    """Iterable over updates: for each, the epoch and the rows of every part."""

    def __init__(
        self,
        data: IndexedData,
        seed: int,
        batch_size: int,
        steps: range,
        parts: int,
        mine: range,
    ) -> None:
        self.data, self.seed, self.batch_size = data, seed, batch_size
        self.steps, self.cuts, self.mine = steps, parts, mine

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[list[tuple[int, np.ndarray]]]:
        per_epoch = -(-self.data.n // self.batch_size)
        epoch, order = -1, np.empty(0, np.int64)
        for step in self.steps:
            if step // per_epoch != epoch:
                epoch = step // per_epoch
                order = self.data.order(self.seed, epoch)
            begin = step % per_epoch * self.batch_size
            rows = order[begin : begin + self.batch_size]
            if self.cuts == 1:
                yield [(epoch, rows)]
                continue
            cut = np.array_split(rows, self.cuts)
            yield [(epoch, cut[part]) for part in self.mine if len(cut[part])]


class _Collated(Dataset):
    """What workers hold: fetches the parts of one update."""

    def __init__(self, data: IndexedData, seed: int) -> None:
        self.data, self.seed = data, seed

    def __getitem__(self, rows: list[tuple[int, np.ndarray]]) -> list[tuple[np.ndarray, Any]]:
        return [(r, self.data._batch(self.seed, e, r)) for e, r in rows]


def _ignore_interrupts(worker: int) -> None:
    # Ctrl-C reaches the whole group; the process that trains decides when to stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _as_it_is(batch: Any) -> Any:
    return batch


def _mixed(x: np.ndarray) -> np.ndarray:
    """Return a bijective hash of 64-bit numbers (the finalizer of SplitMix64)."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
