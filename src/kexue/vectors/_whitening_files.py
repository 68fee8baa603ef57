"""A fitted whitening on disk: one file of safetensors, from which nothing is ever run."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from kexue._core import InputError, atomic_path
from kexue.vectors._moments import Moments
from kexue.vectors._spectrum import Solution

_FORMAT = "kexue.Whitening 1"
_SUMS = ("mean", "scatter", "cubic")
_MAP = "map."


def write(
    path: str | os.PathLike[str],
    parameters: dict[str, Any],
    names: np.ndarray | None,
    halves: list[Moments],
    solution: Solution | None,
) -> None:
    """Write a model atomically; what `read` gives is bit for bit the same."""
    arrays: dict[str, np.ndarray] = {}
    for i, half in enumerate(halves):
        found = {name: getattr(half, name) for name in _SUMS}
        arrays |= {f"{i}.{name}": value for name, value in found.items() if value is not None}
        arrays[f"{i}.n"] = np.array([half.n])
        arrays[f"{i}.quartic"] = np.array([half.quartic])
    if solution is not None:
        arrays |= {f"{_MAP}{name}": np.asarray(v) for name, v in vars(solution).items()}
    description = {
        "parameters": {name: _plain(value) for name, value in parameters.items()},
        "feature_names": None if names is None else [str(name) for name in names],
    }
    metadata = {"format": _FORMAT, "description": json.dumps(description)}
    with atomic_path(path) as temporary:
        # safetensors writes the bytes as they lie
        contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        save_file(contiguous, temporary, metadata)


def read(
    path: str | os.PathLike[str],
) -> tuple[dict[str, Any], list[str] | None, list[Moments], Solution | None]:
    """Return parameters, names of the columns, sums and, if it was known, the map.

    Raises
    ------
    InputError
        If it is no such file.
    """
    try:
        with safe_open(path, "np") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != _FORMAT:
                raise InputError(f"{os.fspath(path)} is not a file of Whitening.save")
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise
    except (SafetensorError, OSError) as error:
        raise InputError(f"{os.fspath(path)} is not a file of Whitening.save: {error}") from error
    try:
        description = json.loads(metadata["description"])
        parameters, names = description["parameters"], description["feature_names"]
        halves = [_moments(arrays, i) for i in range(2) if i == 0 or f"{i}.n" in arrays]
        known = {name: a if a.ndim else a.item() for name, a in arrays.items()}
        found = {name.removeprefix(_MAP): a for name, a in known.items() if name.startswith(_MAP)}
        solution = Solution(**found) if found else None
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise InputError(f"{os.fspath(path)} is damaged: a part of it is missing") from error
    return parameters, names, halves, solution


def _moments(arrays: dict[str, np.ndarray], i: int) -> Moments:
    n, quartic = (arrays[f"{i}.{name}"][0].item() for name in ("n", "quartic"))
    mean, scatter = arrays[f"{i}.mean"], np.asfortranarray(arrays[f"{i}.scatter"])
    if (
        scatter.shape != (mean.size, mean.size)
        or not np.isfinite([mean.sum(), scatter.sum()]).all()
    ):
        raise ValueError("sums of other shapes, or not finite")
    return Moments(n, mean, scatter, arrays.get(f"{i}.cubic"), quartic)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
