"""The trained parameters of a module as one vector."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """Where each parameter lies in the vector.

    Attributes
    ----------
    names : tuple of str
    shapes : tuple of tuple of int
    begins : tuple of int
        The first entry of each, and the length of the vector at the end.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    begins: tuple[int, ...]

    @classmethod
    def of(cls, module: torch.nn.Module, trained: Iterable[Tensor]) -> Layout:
        """Return the layout of the parameters of `module` that are among `trained`."""
        chosen = set(map(id, trained))
        found = [(n, p) for n, p in module.named_parameters() if id(p) in chosen]
        begins = [0]
        for _, p in found:
            begins.append(begins[-1] + p.numel())
        return cls(
            tuple(n for n, _ in found), tuple(tuple(p.shape) for _, p in found), tuple(begins)
        )

    def __len__(self) -> int:
        return self.begins[-1]

    def slices(self) -> dict[str, slice]:
        """Return the place of each parameter by its name."""
        return {
            name: slice(begin, end)
            for name, begin, end in zip(self.names, self.begins[:-1], self.begins[1:], strict=True)
        }

    def gather(self, tensors: Iterable[Tensor | None], dtype: torch.dtype) -> Tensor:
        """Return tensors in the order of `names` as one vector, zeros for None."""
        parts = [
            torch.zeros(end - begin, dtype=dtype)
            if tensor is None
            else tensor.detach().to_dense().reshape(-1).to("cpu", dtype)
            for tensor, begin, end in zip(tensors, self.begins[:-1], self.begins[1:], strict=True)
        ]
        return torch.cat(parts)

    def spread(self, values: Iterable[float], dtype: torch.dtype) -> Tensor:
        """Return one value per parameter as a vector."""
        lengths = torch.tensor(self.begins).diff()
        return torch.tensor(list(values), dtype=dtype).repeat_interleave(lengths)

    def mark(self) -> Tensor:
        """Return a vector of chance, float64 (P,), by its product with which one is recognised."""
        generator = torch.Generator().manual_seed(len(self))
        return torch.randn(len(self), dtype=torch.float64, generator=generator)

    def load(self, module: torch.nn.Module, vector: Tensor) -> None:
        """Write the vector into the module's parameters."""
        parameters = dict(module.named_parameters())
        with torch.no_grad():
            for name, place in self.slices().items():
                p = parameters[name]
                p.copy_(vector[place].view_as(p))


def fingerprint(*tensors: Any) -> str:
    """Return a hash of the bytes of tensors."""
    digest = hashlib.blake2b(digest_size=8)
    for tensor in tensors:
        array = torch.as_tensor(tensor).detach().cpu().contiguous()
        digest.update(str((array.dtype, tuple(array.shape))).encode())
        digest.update(array.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
