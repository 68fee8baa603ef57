"""Nested states as JSON and tensors apart, so that nothing needs to be pickled."""

from __future__ import annotations

from typing import Any

import torch

_TENSOR, _TUPLE, _PAIRS = "tensor", "tuple", "pairs"


def split(tree: Any) -> tuple[Any, dict[str, torch.Tensor]]:
    """Return what JSON can hold of a nested state, and its tensors by the names in there.

    Raises
    ------
    TypeError
        For a value that is neither a tensor nor plain.
    """
    tensors: dict[str, torch.Tensor] = {}
    return _split(tree, tensors), tensors


def join(tree: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """Undo `split`."""
    if isinstance(tree, list):
        return [join(item, tensors) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if _TENSOR in tree:
        return tensors[tree[_TENSOR]]
    if _TUPLE in tree:
        return tuple(join(item, tensors) for item in tree[_TUPLE])
    return {key: join(item, tensors) for key, item in tree[_PAIRS]}


def _split(tree: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(tree, torch.Tensor):
        name = str(len(tensors))
        # a copy of its own: safetensors refuses views and shared memory
        tensors[name] = tree.detach().cpu().clone(memory_format=torch.contiguous_format)
        return {_TENSOR: name}
    if isinstance(tree, dict):
        if not all(isinstance(key, str | int) for key in tree):
            raise TypeError(f"keys of a state must be str or int, got {list(tree)}")
        return {_PAIRS: [[key, _split(item, tensors)] for key, item in tree.items()]}
    if isinstance(tree, list):
        return [_split(item, tensors) for item in tree]
    if isinstance(tree, tuple):
        return {_TUPLE: [_split(item, tensors) for item in tree]}
    if tree is None or isinstance(tree, bool | int | float | str):
        return tree
    raise TypeError(
        "a state must be made of tensors, numbers, strings, lists, tuples and dicts to be "
        f"written without pickle, got {type(tree).__name__}"
    )
