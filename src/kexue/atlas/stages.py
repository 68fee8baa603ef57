"""Stages: what they took, and results on disk, so that a killed run goes on where it was."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from kexue import __version__
from kexue._core import atomic_path

PACKAGES = (
    "numpy",
    "scipy",
    "numba",
    "scikit-learn",
    "polars",
    "plotly",
    "umap-learn",
    "safetensors",
    "zstandard",
)
Arrays = dict[str, np.ndarray]
Progress = Callable[[str, float | None, int], None]


class StageCache:
    """Keeps the arrays of each stage under a key of everything that they depend on.

    Parameters
    ----------
    folder : Path or None
        Where files are kept; None keeps nothing.
    fresh : bool
        Compute everything anew, and replace what is kept.
    """

    def __init__(self, folder: Path | None, *, fresh: bool = False) -> None:
        self.folder = folder
        self.fresh = fresh
        self._used: set[Path] = set()

    def run(self, name: str, depends_on: Any, compute: Callable[[], Arrays]) -> Arrays:
        """Return the arrays of stage `name`, from disk if it was finished before.

        Parameters
        ----------
        name : str
        depends_on : JSON-serialisable
            The inputs and settings that determine the result.
        compute : callable returning a dict of arrays
        """
        if self.folder is None:
            return compute()
        from safetensors import SafetensorError
        from safetensors.numpy import load_file, save_file

        path = self._path(name, depends_on)
        self._used.add(path)
        if path.exists() and not self.fresh:
            try:
                return dict(load_file(path))
            except (SafetensorError, OSError):
                path.unlink()  # damaged on disk: as good as not there
        arrays = {key: np.ascontiguousarray(value) for key, value in compute().items()}
        with atomic_path(path) as temporary:
            save_file(arrays, temporary)
        return arrays

    def has(self, name: str, depends_on: Any) -> bool:
        """Return whether `run` would find stage `name` on disk."""
        return self.folder is not None and not self.fresh and self._path(name, depends_on).exists()

    def _path(self, name: str, depends_on: Any) -> Path:
        assert self.folder is not None
        return self.folder / f"{name}-{stage_key(name, depends_on)[:16]}.safetensors"

    def prune(self) -> None:
        """Remove the files of other inputs and settings, and what killed runs left."""
        if self.folder is not None and self.folder.exists():
            for path in self.folder.iterdir():
                if path.is_file() and path not in self._used:
                    path.unlink()


def stage_key(name: str, depends_on: Any) -> str:
    """Return a digest of a stage and all it depends on, the versions of packages included."""
    text = json.dumps([versions(), name, depends_on], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def versions() -> dict[str, str]:
    """Return the versions of all packages that results may depend on."""
    return {
        "kexue": __version__,
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
    }


class Clock:
    """Seconds of each stage."""

    def __init__(self, progress: Progress | None) -> None:
        self.laps: dict[str, float] = {}
        self.characters = 0
        self._progress = progress

    @contextmanager
    def stage(self, name: str) -> Iterator[Clock]:
        """Time what is done inside."""
        if self._progress is not None:
            self._progress(name, None, self.characters)
        begin = time.perf_counter()
        yield self
        self.laps[name] = time.perf_counter() - begin
        if self._progress is not None:
            self._progress(name, self.laps[name], self.characters)
