"""Lazy tables: of an embedding only the rows that a batch touches are updated."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import nn

from kexue._core import InputError, check_choice


@dataclass(frozen=True, eq=False)
class Lazy:
    r"""Update only the rows of embedding tables that have a gradient.

    Parameters
    ----------
    tables : list of nn.Embedding and nn.EmbeddingBag, or str
        The layers; or a regular expression found in names of parameters, whose gradients must
        then be sparse.
    mode : {"masked", "frozen", "deferred"}
        What becomes of the other rows. "masked": they stay, and their moments decay. "frozen":
        their moments stay too, as with ``torch.optim.SparseAdam``. "deferred": they move as the
        base moves them, by its momentum and weight decay, but only when they are next read.

    Notes
    -----
    A step costs what the touched rows cost, with Adam, AdamW and SGD as base. "masked" takes any
    other base at the full cost; the two other modes do not. Touched rows are those of sparse
    gradients (``nn.Embedding(sparse=True)``, which Adam takes here), else those that the layers
    have read on the way to the loss. A table that gets gradients by another way too, as the
    weight of a softmax, is updated whole, with a warning.

    "masked" and "frozen" decay the weights of touched rows only. "deferred" sums a row's missed
    moves in closed form, with the base's epsilon as 0 in these: it differs from the dense base by
    some epsilon. The layers bring rows up to date when they read them, and the whole table when
    their ``state_dict`` is taken; ``Derived.flush`` does so before the weight is read by other
    ways.

    Examples
    --------
    >>> import torch
    >>> from kexue.optim import derive
    >>> table = torch.nn.Embedding(4, 2, sparse=True)
    >>> _ = torch.nn.init.zeros_(table.weight)
    >>> optimizer = derive(torch.optim.Adam(table.parameters(), lr=0.5), Lazy([table]))
    >>> for rows in ([0, 2], [2]):
    ...     table(torch.tensor(rows)).sum().backward()
    ...     optimizer.step()
    ...     optimizer.zero_grad()
    >>> table.weight.data[:, 0]
    tensor([-0.5000,  0.0000, -1.0000,  0.0000])

    References
    ----------
    kexue.fm, archives/6869.
    """

    tables: Sequence[nn.Module] | str
    mode: Literal["masked", "frozen", "deferred"] = "masked"

    def __post_init__(self) -> None:
        check_choice("mode", self.mode, ("masked", "frozen", "deferred"))
        if isinstance(self.tables, str):
            try:
                re.compile(self.tables)
            except re.error as error:
                raise InputError(
                    f"tables must be layers or a regular expression, got {self.tables!r}: {error}"
                ) from error
            if self.mode == "deferred":
                raise InputError(
                    "mode='deferred' must see what the layers read, so tables must be a list of "
                    f"nn.Embedding or nn.EmbeddingBag, got the regular expression {self.tables!r}"
                )
            return
        tables = [self.tables] if isinstance(self.tables, nn.Module) else list(self.tables)
        for table in tables:
            if not isinstance(table, nn.Embedding | nn.EmbeddingBag):
                raise TypeError(
                    "tables must be nn.Embedding or nn.EmbeddingBag layers, "
                    f"got {type(table).__name__}"
                )
        if not tables:
            raise InputError("tables must have at least one layer, got none")
        object.__setattr__(self, "tables", tables)

    def __repr__(self) -> str:
        """Return the call, with the number of tables."""
        tables = repr(self.tables) if isinstance(self.tables, str) else f"{len(self.tables)} tables"
        return f"Lazy({tables}, mode={self.mode!r})"
