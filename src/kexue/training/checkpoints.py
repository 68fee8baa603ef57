"""Checkpoints: a folder of safetensors and JSON, written beside and renamed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from kexue._core import InputError
from kexue.training import _trees

_FORMAT = "kexue-training-1"
_PREFIX, _PART = "step-", ".part"


def checkpoints(workdir: Path) -> list[Path]:
    """Return the whole checkpoints of a folder, oldest first."""
    if not workdir.is_dir():
        return []
    # a folder has this name only once all of it is on disk
    return sorted(
        path
        for path in workdir.iterdir()
        if path.name.startswith(_PREFIX) and (path / "state.json").is_file()
    )


def write_checkpoint(
    workdir: Path,
    step: int,
    *,
    module: torch.nn.Module,
    states: dict[str, Any],
    random: dict[str, torch.Tensor],
    process: int,
    barrier: Callable[[], None],
    keep: int,
) -> Path:
    """Write the state after `step` updates, and remove all but the last `keep` checkpoints.

    Parameters
    ----------
    states : dict
        What fits into JSON, with tensors anywhere in it.
    random : dict of tensor
        Random state of this process; each process writes its own.
    process, barrier
        Number of this process, and a function that waits for all.

    Raises
    ------
    OSError
        Where the disk is full, or the folder cannot be written; what was there is untouched.
    """
    target = workdir / f"{_PREFIX}{step:010d}"
    part = workdir / f".{target.name}{_PART}"
    if process == 0:
        _clear(workdir)
        part.mkdir(parents=True)
    barrier()
    try:
        _write(part / f"random-{process}.safetensors", save(random))
        if process == 0:
            _write(part / "model.safetensors", save(_module_tensors(module)))
            tree, tensors = _trees.split(states)
            _write(part / "state.safetensors", save(tensors))
            # last, because it makes the folder a checkpoint
            content = {"format": _FORMAT, "state": tree}
            _write(part / "state.json", json.dumps(content).encode())
    except BaseException:
        if process == 0:
            shutil.rmtree(part, ignore_errors=True)
        raise
    barrier()
    if process == 0:
        if target.exists():
            shutil.rmtree(target)
        part.rename(target)
        _sync(workdir)
        for old in checkpoints(workdir)[:-keep]:
            shutil.rmtree(old)
    barrier()
    return target


def read_checkpoint(
    path: Path, process: int
) -> tuple[dict[str, Any], dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Return the states, the random state of a process and the weights, all of them or none.

    Raises
    ------
    InputError
        If it is no checkpoint, or a damaged one.
    """
    try:
        content = json.loads((path / "state.json").read_text(encoding="utf-8"))
        if content["format"] != _FORMAT:
            raise InputError(f"{path} is of the format {content['format']!r}, not {_FORMAT!r}")
        states = _trees.join(content["state"], load_file(path / "state.safetensors"))
        random = load_file(path / f"random-{process}.safetensors")
        weights = load_file(path / "model.safetensors")
        missing = {"settings", "steps", "history", "optimizer"} - states.keys()
        missing |= {"torch", "numpy", "python"} - random.keys()
        if missing:
            raise KeyError(", ".join(sorted(missing)))
    except InputError:
        raise
    except (OSError, KeyError, TypeError, ValueError, AttributeError, SafetensorError) as error:
        raise InputError(
            f"{path} is no checkpoint that can be read ({error}); remove it to go on from the one "
            "before"
        ) from error
    return states, random, weights


def load_module(path: Path, module: torch.nn.Module, found: dict[str, torch.Tensor]) -> None:
    """Load the weights of a checkpoint into a module.

    Raises
    ------
    InputError
        If the module has other parameters; the differing names are listed.
    """
    own = module.state_dict()
    first = _first_names(own)
    expected = set(first.values())
    differing = sorted(expected ^ found.keys()) + sorted(
        name
        for name in expected & found.keys()
        if (own[name].shape, own[name].dtype) != (found[name].shape, found[name].dtype)
    )
    if differing:
        raise InputError(
            f"the module has other parameters than the checkpoint {path}: {', '.join(differing)}"
        )
    module.load_state_dict({name: found[first[name]] for name in own})


def write_module(path: Path, module: torch.nn.Module) -> None:
    """Write the weights alone, atomically."""
    from kexue._core import write_bytes

    write_bytes(path, save(_module_tensors(module)))


def _module_tensors(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    state = module.state_dict()
    return {
        name: state[name].detach().cpu().clone(memory_format=torch.contiguous_format)
        for name in set(_first_names(state).values())
    }


def _first_names(state: dict[str, Any]) -> dict[str, str]:
    """Map each name to the first one of the same memory: tied weights are kept once."""
    seen: dict[tuple[Any, ...], str] = {}
    first = {}
    for name, tensor in state.items():
        if not isinstance(tensor, torch.Tensor):
            raise TypeError(f"state {name!r} of the module must be a tensor to be written")
        place = (tensor.data_ptr(), tensor.shape, tensor.stride())
        # tensors without elements share the address 0
        first[name] = seen.setdefault(place, name) if tensor.numel() else name
    return first


def _clear(workdir: Path) -> None:
    """Remove what a killed write has left."""
    if workdir.is_dir():
        for path in workdir.iterdir():
            if path.name.startswith(f".{_PREFIX}") and path.name.endswith(_PART):
                shutil.rmtree(path)


def _write(path: Path, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """Make a rename in a folder outlast a power cut, where the system can."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
