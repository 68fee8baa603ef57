"""JoSE on disk: models and checkpoints as files of safetensors, from which nothing is ever run."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from kexue._core import InputError, atomic_path

MODEL = "kexue-jose-1"
_ABOUT = {"parameters": dict, "loss_curve": list, "words_per_second": float | int, "seed": int}


def write_model(
    path: str | os.PathLike[str],
    about: dict[str, Any],
    words: list[Any],
    tensors: dict[str, np.ndarray],
) -> None:
    """Write a fitted model; `read_model` gives the same."""
    spelled = np.frombuffer(json.dumps(words).encode(), np.uint8)
    write_tensors(Path(path), {"format": MODEL, **about}, {"words": spelled, **tensors})


def read_model(
    path: str | os.PathLike[str],
) -> tuple[dict[str, Any], list[Any], dict[str, np.ndarray]]:
    """Return what `write_model` was given.

    Raises
    ------
    InputError
        If it is no such file, or its parts do not fit together, by which kernels would read
        beyond their arrays.
    """
    about, tensors = read_tensors(path, MODEL)
    try:
        words = json.loads(tensors.pop("words").tobytes())
        kinds = {type(word) for word in words}
        n, dim = tensors["word_vectors"].shape
        n_documents = len(tensors["doc_vectors"])
        known = all(isinstance(about[name], kind) for name, kind in _ABOUT.items())
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(f"{os.fspath(path)} is damaged: a part of it is missing") from error
    if not known or len(words) != n or kinds not in ({str}, {int}):
        raise InputError(f"{os.fspath(path)} is damaged: its words are not those of its vectors")
    expected = {
        "counts": ((n,), np.int64),
        "word_vectors": ((n, dim), np.float32),
        "context_vectors": ((n, dim), np.float32),
        "doc_vectors": ((n_documents, dim), np.float32),
        "empty_docs": ((n_documents,), np.bool_),
    }
    for name, (shape, dtype) in expected.items():
        check_array(path, tensors, name, shape, dtype)
    return about, words, tensors


def write_tensors(path: Path, about: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
    """Write arrays and a description as one file of safetensors, atomically."""
    from safetensors.numpy import save_file

    with atomic_path(path) as temporary:
        save_file(tensors, temporary, {"kexue": as_json(about)})


def read_tensors(
    path: str | os.PathLike[str], format: str
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read what `write_tensors` wrote.

    Raises
    ------
    InputError
        If the file is none of this format.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as file:
            about: dict[str, Any] = json.loads((file.metadata() or {})["kexue"])
            if about["format"] != format:
                raise KeyError("format")
            return about, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{os.fspath(path)} is no file of the format {format!r}") from error


def check_array(
    path: str | os.PathLike[str],
    tensors: dict[str, np.ndarray],
    name: str,
    shape: tuple[int, ...],
    dtype: Any = np.float32,
) -> None:
    """Raise `InputError` unless there is an array of finite numbers of this shape and type."""
    found = tensors.get(name)
    # a sum is finite if all are, and needs no table of what is
    fits = found is not None and found.shape == shape and found.dtype == dtype
    if found is None or not fits or not np.isfinite(found.sum()):
        raise InputError(
            f"{os.fspath(path)} is damaged: {name} must be finite numbers of shape {shape}"
        )


def as_json(value: Any) -> str:
    """Return JSON with the keys in order; NumPy's numbers are written as Python's."""
    return json.dumps(value, sort_keys=True, default=lambda number: number.item())
