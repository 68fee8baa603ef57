"""The random numbers of a process: seeded for a run, saved with it, given back after it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

# Users' code draws from numpy's global generator, whatever we think of it: hence the exceptions
# to rule NPY002


@contextmanager
def seeded(seed: int, process: int) -> Iterator[None]:
    """Seed the generators of Python, numpy and torch, and put them back afterwards."""
    before = random_state()
    mixed = int(np.random.SeedSequence([seed, process]).generate_state(1)[0])
    random.seed(mixed)
    np.random.seed(mixed)  # noqa: NPY002
    torch.manual_seed(mixed)
    try:
        yield
    finally:
        restore_random_state(before)


def random_state() -> dict[str, torch.Tensor]:
    """Return the state of the generators of Python, numpy and torch on all devices."""
    name, keys, position, has_gauss, gauss = np.random.get_state()  # noqa: NPY002
    assert name == "MT19937"
    _, python, python_gauss = random.getstate()
    state = {
        "torch": torch.get_rng_state(),
        "numpy": torch.from_numpy(np.append(keys, position).astype(np.int64)),
        "numpy_gauss": torch.tensor([has_gauss, gauss], dtype=torch.float64),
        "python": torch.tensor(python, dtype=torch.int64),
        "python_gauss": torch.tensor(
            [] if python_gauss is None else [python_gauss], dtype=torch.float64
        ),
    }
    if torch.cuda.is_available():
        for device, found in enumerate(torch.cuda.get_rng_state_all()):
            state[f"cuda{device}"] = found
    return state


def restore_random_state(state: dict[str, torch.Tensor]) -> None:
    """Undo everything drawn since `random_state` returned `state`."""
    torch.set_rng_state(state["torch"])
    numbers = state["numpy"].numpy()
    has_gauss, gauss = state["numpy_gauss"].tolist()
    keys, position = numbers[:-1].astype(np.uint32), int(numbers[-1])
    np.random.set_state(("MT19937", keys, position, int(has_gauss), gauss))  # noqa: NPY002
    python_gauss = state["python_gauss"].tolist()
    random.setstate((3, tuple(state["python"].tolist()), python_gauss[0] if python_gauss else None))
    devices = sorted(name for name in state if name.startswith("cuda"))
    if devices:
        torch.cuda.set_rng_state_all([state[f"cuda{i}"] for i in range(len(devices))])
