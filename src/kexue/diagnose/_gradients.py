"""Gradients of single examples in factors, and their inner products without writing them out.

A linear layer's gradient is the sum over positions of outer products of what comes in, a, and of
the derivative by what goes out, d. So two examples' gradients have the inner product (a.a')(d.d'),
and one has with a matrix S the product d'Sa.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from kexue._core import InputError
from kexue.diagnose._flat import Layout

_BUDGET = 1 << 22  # numbers in a temporary
_MIXED = (
    "the model has no gradients of single examples that can be computed: {}. The first axis of its "
    "input and output must be that of the examples, which must not mix"
)


@dataclass
class Outer:
    """Gradients of a weight and bias.

    Attributes
    ----------
    a : tensor of shape (B, S, I)
    d : tensor of shape (B, K, S, O)
        For each of K derived quantities.
    weight, bias : slice or None
        Their places in the vector of parameters.
    """

    a: Tensor
    d: Tensor
    weight: slice | None
    bias: slice | None

    def dot(self, other: Outer) -> Tensor:
        """Return inner products, (B, K, B', K')."""
        if self.a.shape[1] == other.a.shape[1] == 1:
            inputs = self.a[:, 0] @ other.a[:, 0].T  # (B, B')
            if self.weight is None:
                inputs = torch.zeros_like(inputs)
            if self.bias is not None:
                inputs = inputs + 1
            outputs = torch.tensordot(self.d[:, :, 0], other.d[:, :, 0], ([2], [2]))
            return outputs * inputs[:, None, :, None]
        mine, theirs = self.written(), other.written()
        return torch.tensordot(mine, theirs, ([2], [2]))

    def squares(self) -> Tensor:
        """Return squared lengths, (B, K)."""
        if self.a.shape[1] == 1:
            inputs = self.a[:, 0].square().sum(1) * (self.weight is not None)
            return self.d[:, :, 0].square().sum(2) * (inputs + (self.bias is not None))[:, None]
        return self.written().square().sum(2)

    def against(self, vectors: Tensor) -> Tensor:
        """Return products with parameter vectors (Q, P): (B, K, Q)."""
        found = torch.zeros(*self.d.shape[:2], len(vectors), dtype=self.d.dtype)
        if self.weight is not None:
            S = vectors[:, self.weight].view(len(vectors), self.d.shape[3], self.a.shape[2])
            seen = torch.einsum("bsi,qoi->bqso", self.a, S)
            found += torch.einsum("bkso,bqso->bkq", self.d, seen)
        if self.bias is not None:
            found += self.d.sum(2) @ vectors[:, self.bias].T
        return found

    def add_to(self, out: Tensor) -> None:
        """Add the gradients to vectors (B, K, P)."""
        if self.weight is not None:
            found = torch.einsum("bkso,bsi->bkoi", self.d, self.a)
            out[:, :, self.weight] += found.reshape(*found.shape[:2], -1)
        if self.bias is not None:
            out[:, :, self.bias] += self.d.sum(2)

    def summed(self, weights: Tensor, out: Tensor) -> None:
        """Add the sum of the first quantity's gradients, weighed by (B,), to a vector (P,)."""
        d = self.d[:, 0] * weights[:, None, None]
        if self.weight is not None:
            out[self.weight] += torch.einsum("bso,bsi->oi", d, self.a).reshape(-1)
        if self.bias is not None:
            out[self.bias] += d.sum((0, 1))

    def written(self) -> Tensor:
        """Return the gradients of this layer, (B, K, weight and bias)."""
        parts = []
        if self.weight is not None:
            parts.append(torch.einsum("bkso,bsi->bkoi", self.d, self.a).flatten(2))
        if self.bias is not None:
            parts.append(self.d.sum(2))
        return torch.cat(parts, 2)

    def sketch(self, generator: torch.Generator, width: int) -> Tensor:
        """Return (B, K, width), whose inner products are those of the gradients on average."""
        ones = [] if self.bias is None else [torch.ones_like(self.a[:, :, :1])]
        a = torch.cat([*([] if self.weight is None else [self.a]), *ones], 2)
        left = _signs((self.d.shape[3], width), generator, self.d)
        right = _signs((a.shape[2], width), generator, self.d)
        seen = (a @ right)[:, None] * (self.d @ left)  # (B, K, S, width)
        return seen.sum(2) / math.sqrt(width)


@dataclass
class Lookup:
    """Gradients of the rows of an embedding.

    Attributes
    ----------
    rows : int64 tensor of shape (B, S)
    d : tensor of shape (B, K, S, O)
    weight : slice
    """

    rows: Tensor
    d: Tensor
    weight: slice

    def dot(self, other: Lookup) -> Tensor:
        """Return inner products, (B, K, B', K')."""
        # words meet only where both examples have them: go through these meetings alone
        theirs, order = other.rows.reshape(-1).sort()
        mine = self.rows.reshape(-1)
        begin = torch.searchsorted(theirs, mine)
        counts = torch.searchsorted(theirs, mine, right=True) - begin
        left = torch.repeat_interleave(torch.arange(len(mine)), counts)
        first = torch.repeat_interleave(begin - (counts.cumsum(0) - counts), counts)
        right = order[first + torch.arange(len(left))]
        d = self.d.transpose(1, 2).flatten(0, 1)  # (B S, K, O)
        e = other.d.transpose(1, 2).flatten(0, 1)
        size = len(self.rows), len(other.rows)
        out = torch.zeros(size[0] * size[1], d.shape[1], e.shape[1], dtype=d.dtype)
        width = max(1, _BUDGET // (d.shape[1] * e.shape[1] + d[0].numel() + e[0].numel()))
        for i, j in zip(left.split(width), right.split(width), strict=True):
            pair = i // self.rows.shape[1] * size[1] + j // other.rows.shape[1]
            out.index_add_(0, pair, d[i] @ e[j].transpose(1, 2))
        return out.view(*size, *out.shape[1:]).transpose(1, 2)

    def squares(self) -> Tensor:
        """Return squared lengths, (B, K)."""
        same = self.rows[:, :, None] == self.rows[:, None, :]
        products = self.d @ self.d.transpose(2, 3)
        return (products * same[:, None]).sum((2, 3))

    def against(self, vectors: Tensor) -> Tensor:
        """Return products with parameter vectors (Q, P): (B, K, Q)."""
        table = vectors[:, self.weight].view(len(vectors), -1, self.d.shape[3])
        return torch.einsum("bkso,qbso->bkq", self.d, table[:, self.rows])

    def add_to(self, out: Tensor) -> None:
        """Add the gradients to vectors (B, K, P)."""
        table = out[:, :, self.weight].view(*out.shape[:2], -1, self.d.shape[3])
        index = self.rows[:, None, :, None].expand_as(self.d)
        table.scatter_add_(2, index, self.d)

    def summed(self, weights: Tensor, out: Tensor) -> None:
        """Add the sum of the first quantity's gradients, weighed by (B,), to a vector (P,)."""
        d = self.d[:, 0] * weights[:, None, None]
        table = out[self.weight].view(-1, d.shape[2])
        table.index_add_(0, self.rows.reshape(-1), d.reshape(-1, d.shape[2]))

    def sketch(self, generator: torch.Generator, width: int) -> Tensor:
        """Return (B, K, width), whose inner products are those of the gradients on average."""
        count = (self.weight.stop - self.weight.start) // self.d.shape[3]
        left = _signs((self.d.shape[3], width), generator, self.d)
        right = _signs((count, width), generator, self.d)
        seen = right[self.rows][:, None] * (self.d @ left)
        return seen.sum(2) / math.sqrt(width)


@dataclass
class Dense:
    """Gradients written out.

    Attributes
    ----------
    g : tensor of shape (B, K, n)
    place : slice
    """

    g: Tensor
    place: slice

    def dot(self, other: Dense) -> Tensor:
        """Return inner products, (B, K, B', K')."""
        return torch.tensordot(self.g, other.g, ([2], [2]))

    def squares(self) -> Tensor:
        """Return squared lengths, (B, K)."""
        return self.g.square().sum(2)

    def against(self, vectors: Tensor) -> Tensor:
        """Return products with parameter vectors (Q, P): (B, K, Q)."""
        return self.g @ vectors[:, self.place].T

    def add_to(self, out: Tensor) -> None:
        """Add the gradients to vectors (B, K, P)."""
        out[:, :, self.place] += self.g

    def summed(self, weights: Tensor, out: Tensor) -> None:
        """Add the sum of the first quantity's gradients, weighed by (B,), to a vector (P,)."""
        out[self.place] += weights @ self.g[:, 0]

    def sketch(self, generator: torch.Generator, width: int) -> Tensor:
        """Return (B, K, width), whose inner products are those of the gradients on average."""
        return self.g @ _signs((self.g.shape[2], width), generator, self.g) / math.sqrt(width)


Factor = Outer | Lookup | Dense


class ExampleGradients:
    """Computes gradients of single examples of a model, in factors.

    Parameters
    ----------
    model : torch.nn.Module
        Linear, embedding and ungrouped convolution layers are taken in factors, all else through
        `torch.func`. The first axis of input, output and hidden values is that of the examples.
    layout : Layout
    """

    def __init__(self, model: nn.Module, layout: Layout) -> None:
        self.model, self.layout = model, layout
        self.slices = layout.slices()
        self.layers: dict[nn.Module, dict[str, slice]] = {}
        owners: dict[int, int] = {}
        for module in model.modules():
            for p in module.parameters(recurse=False):
                owners[id(p)] = owners.get(id(p), 0) + 1
        self.rest: list[str] = []
        for path, module in model.named_modules():
            own = {
                name: self.slices[f"{path}.{name}" if path else name]
                for name, _ in module.named_parameters(recurse=False)
                if (f"{path}.{name}" if path else name) in self.slices
            }
            alone = all(owners[id(p)] == 1 for p in module.parameters(recurse=False))
            if own and alone and _is_factored(module):
                self.layers[module] = own
            else:
                self.rest += [f"{path}.{name}" if path else name for name in own]

    def __call__(
        self, x: Tensor, quantities: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, list[Factor]]:
        """Return quantities (B, K) of the examples, and the factors of their gradients.

        Parameters
        ----------
        x : tensor of shape (B, ...)
        quantities : callable
            Takes the model's output to (B, K), or to (1, K): their sums over the examples.
        """
        with self._captured() as captured:
            out = self.model(x)
            found = quantities(out)
        *derivatives, cotangents = _derivatives(found, [*(z for _, _, z in captured), out])
        factors: list[Factor] = []
        for (module, a, _), d in zip(captured, derivatives, strict=True):
            factors.append(_factor(module, a, d, self.layers[module]))
        if self.rest:
            factors += self._rest(x, cotangents)
        return found.detach(), _joined(factors)

    def verify(self, x: Tensor) -> None:
        """Check that examples have gradients of their own and that factors give them.

        A layer whose factors do not, because its weight is used elsewhere too or because its first
        axis is not that of the examples, is given to `torch.func` instead.

        Raises
        ------
        InputError
            If the gradients of single examples cannot be had: where examples mix.
        """
        x = x[: min(len(x), 3)]
        parameters = [dict(self.model.named_parameters())[name] for name in self.layout.names]
        with torch.no_grad():
            width = self.model(x[:1]).numel()
            together = self.model(x).reshape(-1, width)
            alone = torch.cat([self.model(row[None]).reshape(1, width) for row in x])
        if len(together) != len(x) or not torch.allclose(together, alone, rtol=1e-3, atol=1e-5):
            raise InputError(_MIXED.format("outputs differ for an example alone and among others"))
        generator = torch.Generator().manual_seed(width)
        mark = torch.randn(width, generator=generator).to(parameters[0].dtype)

        def quantity(out: Tensor) -> Tensor:
            return out.reshape(-1, width) @ mark[:, None]

        single = []
        for i in range(len(x)):
            found = torch.autograd.grad(
                quantity(self.model(x[i : i + 1])).sum(), parameters, allow_unused=True
            )
            single.append(self.layout.gather(found, parameters[0].dtype))
        expected = torch.stack(single)
        tolerance = 100 * torch.finfo(expected.dtype).eps ** 0.75 * expected.norm(dim=1)
        reason = ""
        for _ in range(3):
            try:
                together = written(self(x, quantity)[1], len(self.layout))[:, 0]
            except (RuntimeError, ValueError, IndexError, TypeError) as error:
                reason = str(error).splitlines()[0]
                self._give_up(list(self.layers))
                continue
            off = {
                name: bool(((together - expected)[:, place].norm(dim=1) > tolerance).any())
                for name, place in self.slices.items()
            }
            bad = [name for name, wrong in off.items() if wrong]
            if not bad:
                return
            reason = f"that of {bad[0]} depends on the other examples of a batch"
            layers = [m for m, own in self.layers.items() if any(off[n] for n in self._names(own))]
            self._give_up(layers)
        raise InputError(_MIXED.format(reason))

    def _names(self, own: dict[str, slice]) -> list[str]:
        by_begin = {place.start: name for name, place in self.slices.items()}
        return [by_begin[place.start] for place in own.values()]

    def _give_up(self, layers: list[nn.Module]) -> None:
        """Let `torch.func` take the gradients of some layers."""
        for layer in layers:
            self.rest += self._names(self.layers.pop(layer))

    @contextmanager
    def _captured(self) -> Iterator[list[tuple[nn.Module, Tensor, Tensor]]]:
        captured: list[tuple[nn.Module, Tensor, Tensor]] = []

        def note(
            module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any], out: Tensor
        ) -> Tensor:
            given = arguments[0] if arguments else next(iter(named.values()))
            captured.append((module, given.detach(), out))
            return out.clone()  # what comes after may change it in place

        # before hooks of the user's, which may replace the output
        hooks = [
            module.register_forward_hook(note, prepend=True, with_kwargs=True)
            for module in self.layers
        ]
        try:
            with torch.enable_grad():
                yield captured
        finally:
            for hook in hooks:
                hook.remove()

    def _rest(self, x: Tensor, cotangents: Tensor) -> list[Factor]:
        """Write out gradients of what has no factors; cotangents are (B, K, ...)."""
        model = self.model
        everything = dict(model.named_parameters())
        chosen = {name: everything[name].detach() for name in self.rest}

        def one(parameters: dict[str, Tensor], example: Tensor, cotangent: Tensor) -> Tensor:
            out = torch.func.functional_call(model, parameters, (example[None],))
            return (out[0] * cotangent).sum()

        each = torch.func.vmap(torch.func.grad(one), (None, 0, 0))
        found = [each(chosen, x, cotangents[:, k]) for k in range(cotangents.shape[1])]
        return [
            Dense(torch.stack([g[name].detach().flatten(1) for g in found], 1), self.slices[name])
            for name in self.rest
        ]


def dot(left: list[Factor], right: list[Factor]) -> Tensor:
    """Return inner products of two sets of gradients, (B, K, B', K')."""
    return _total(a.dot(b) for a, b in zip(left, right, strict=True))  # type: ignore[arg-type]


def squares(factors: list[Factor]) -> Tensor:
    """Return squared lengths of gradients, (B, K)."""
    return _total(factor.squares() for factor in factors)


def against(factors: list[Factor], vectors: Tensor) -> Tensor:
    """Return products of gradients with parameter vectors (Q, P): (B, K, Q)."""
    return _total(factor.against(vectors) for factor in factors)


def written(factors: list[Factor], width: int) -> Tensor:
    """Return gradients as vectors, (B, K, P)."""
    d = factors[0].g if isinstance(factors[0], Dense) else factors[0].d
    out = torch.zeros(*d.shape[:2], width, dtype=d.dtype)
    for factor in factors:
        factor.add_to(out)
    return out


def summed(factors: list[Factor], weights: Tensor, width: int) -> Tensor:
    """Return the weighed sum of the first quantity's gradients, (P,)."""
    out = torch.zeros(width, dtype=weights.dtype)
    for factor in factors:
        factor.summed(weights, out)
    return out


def sketch(factors: list[Factor], width: int, seed: int) -> Tensor:
    """Return projections of gradients, (B, K, width); equal seeds make them comparable."""
    generator = torch.Generator().manual_seed(seed)
    return _total(factor.sketch(generator, width) for factor in factors)


def _total(parts: Any) -> Tensor:
    found = list(parts)
    for part in found[1:]:
        found[0] += part
    return found[0]


def _is_factored(module: nn.Module) -> bool:
    if isinstance(module, nn.Conv1d | nn.Conv2d):
        return module.groups == 1 and module.padding_mode == "zeros" and _numeric(module.padding)
    if isinstance(module, nn.Embedding):
        return module.max_norm is None and not module.scale_grad_by_freq
    return type(module) is nn.Linear


def _numeric(padding: Any) -> bool:
    return not isinstance(padding, str)


def _derivatives(quantities: Tensor, outs: list[Tensor]) -> list[Tensor]:
    """Return for each captured output the derivatives (B, K, *shape of an example)."""
    count = quantities.shape[1]
    found: list[list[Tensor]] = [[] for _ in outs]
    for k in range(count):
        parts = torch.autograd.grad(
            quantities[:, k].sum(), outs, retain_graph=k + 1 < count, allow_unused=True
        )
        for kept, part, out in zip(found, parts, outs, strict=True):
            kept.append(torch.zeros_like(out) if part is None else part)
    return [parts[0][:, None] if count == 1 else torch.stack(parts, 1) for parts in found]


def _factor(module: nn.Module, a: Tensor, d: Tensor, own: dict[str, slice]) -> Factor:
    batch, count = d.shape[:2]
    weight, bias = own.get("weight"), own.get("bias")
    if isinstance(module, nn.Embedding):
        assert weight is not None
        rows = a.reshape(batch, -1)
        d = d.reshape(batch, count, -1, module.embedding_dim)
        if module.padding_idx is not None:
            d = d * (rows != module.padding_idx)[:, None, :, None]
        return Lookup(rows, d, weight)
    if isinstance(module, nn.Conv1d | nn.Conv2d):
        if isinstance(module, nn.Conv1d):
            a, sizes = a[:, :, None], [(1, n[0]) for n in _geometry(module)]
            sizes[2] = (0, sizes[2][1])
        else:
            sizes = _geometry(module)
        kernel, stride, padding, dilation = sizes
        a = nn.functional.unfold(a, kernel, dilation, padding, stride).transpose(1, 2)
        d = d.flatten(3).transpose(2, 3)
        return Outer(a, d, weight, bias)
    a = a.reshape(batch, -1, a.shape[-1])
    return Outer(a, d.reshape(batch, count, -1, d.shape[-1]), weight, bias)


def _geometry(module: nn.Conv1d | nn.Conv2d) -> list[Any]:
    return [module.kernel_size, module.stride, module.padding, module.dilation]


def _joined(factors: list[Factor]) -> list[Factor]:
    """Join the factors of a layer that was called several times: they add up like positions."""
    by_place: dict[Any, Factor] = {}
    for factor in factors:
        if isinstance(factor, Dense):
            by_place[factor.place.start] = factor
            continue
        key = (factor.weight or factor.bias).start  # type: ignore[union-attr]
        if key not in by_place:
            by_place[key] = factor
        elif isinstance(factor, Outer):
            first = by_place[key]
            assert isinstance(first, Outer)
            a, d = torch.cat([first.a, factor.a], 1), torch.cat([first.d, factor.d], 2)
            by_place[key] = Outer(a, d, factor.weight, factor.bias)
        else:
            earlier = by_place[key]
            assert isinstance(earlier, Lookup)
            rows, d = torch.cat([earlier.rows, factor.rows], 1), torch.cat([earlier.d, factor.d], 2)
            by_place[key] = Lookup(rows, d, factor.weight)
    return list(by_place.values())


def _signs(shape: tuple[int, int], generator: torch.Generator, like: Tensor) -> Tensor:
    return torch.randint(0, 2, shape, generator=generator).to(like.dtype).mul_(2).sub_(1)
