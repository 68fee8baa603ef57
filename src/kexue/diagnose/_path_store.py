"""A training path: parameters before and after every update, and what each update was made of."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from kexue._core import InputError, write_text
from kexue.diagnose._flat import Layout

_FORMAT = "kexue-path-1"


@dataclass
class Batch:
    """Rows that took part in an update.

    Attributes
    ----------
    rows : list of int
    weight : float
        Of the mean loss of these rows among the batches of the update.
    fingerprint : str
        Hash of their inputs and targets.
    random : str
        State of torch's generator before the forward pass, in base 16; "" where nothing is drawn.
    """

    rows: list[int]
    weight: float
    fingerprint: str
    random: str = ""


@dataclass
class Step:
    r"""One update :math:`\theta' = \theta - D (p m + q g) - \delta\theta` and what follows it.

    Here :math:`m \leftarrow b m + c g` and :math:`g` is the gradient plus :math:`\lambda\theta`.

    Attributes
    ----------
    batches : list of Batch
    norm, dot : float
        Of the gradient, and of its product with the vector by which gradients are recognised.
    rate : list of float
        D of each parameter; a factor of what is stored for each entry, where something is.
    momentum, intake : float
        b and c.
    through, direct : float
        p and q.
    coupled, decay : list of float
        Weight decay of each parameter: :math:`\lambda` and :math:`\delta`.
    pull : None or float
        :math:`\alpha`, if after this update Lookahead went back to that part of the way since
        the last time it did.
    known : bool
        Whether the update was found to be of this form.
    """

    batches: list[Batch]
    norm: float = 0.0
    dot: float = 0.0
    rate: list[float] = field(default_factory=list)
    momentum: float = 0.0
    intake: float = 1.0
    through: float = 1.0
    direct: float = 0.0
    coupled: list[float] = field(default_factory=list)
    decay: list[float] = field(default_factory=list)
    pull: float | None = None
    known: bool = False


@dataclass
class Header:
    """What all updates of a path share."""

    layout: Layout
    dtype: torch.dtype
    every: int
    scaled: bool

    def to_json(self) -> str:
        """Return it as JSON."""
        found = {"format": _FORMAT, **asdict(self), "dtype": str(self.dtype).removeprefix("torch.")}
        return json.dumps(found, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Header:
        """Undo `to_json`."""
        try:
            found = json.loads(text)
        except ValueError as error:
            raise InputError(f"path.json cannot be read: {error}") from None
        if not isinstance(found, dict) or found.get("format") != _FORMAT:
            raise InputError(f"a path must be of the format {_FORMAT!r}, got {text[:60]!r}")
        layout = found["layout"]
        return cls(
            Layout(
                tuple(layout["names"]), tuple(map(tuple, layout["shapes"])), tuple(layout["begins"])
            ),
            getattr(torch, found["dtype"]),
            found["every"],
            found["scaled"],
        )


class TrainingPath:
    """A path in memory; `steps[t]` lies between `theta(t)` and `theta(t + 1)`."""

    def __init__(self, header: Header) -> None:
        self.header = header
        self.steps: list[Step] = []
        self._theta: list[Tensor] = []
        self._scale: list[Tensor] = []

    def begin(self, theta: Tensor) -> None:
        """Take in the parameters before the first update."""
        self._theta = [theta]

    def append(self, step: Step, theta: Tensor, scale: Tensor | None) -> None:
        """Take in an update and the parameters after it."""
        self.steps.append(step)
        self._theta.append(theta)
        if scale is not None:
            self._scale.append(scale)

    def cut(self, length: int) -> None:
        """Forget all updates but the first `length`."""
        del self.steps[length:], self._theta[length + 1 :], self._scale[length:]

    def theta(self, t: int) -> Tensor:
        """Return the parameters before update `t`, shape (P,)."""
        return self._theta[t]

    def scale(self, t: int) -> Tensor | None:
        """Return D of update `t` up to the rate, shape (P,), if it differs between entries."""
        return self._scale[t] if self.header.scaled else None

    @property
    def started(self) -> bool:
        """Whether the parameters at the beginning are known."""
        return bool(self._theta)


class StoredPath(TrainingPath):
    """A path in a folder: `path.json`, `theta.bin`, `scale.bin`, `steps.jsonl`.

    A line of `steps.jsonl` is written last, so that what a kill has cut off is known.
    """

    def __init__(self, folder: Path, header: Header | None = None) -> None:
        self.folder = folder
        file = folder / "path.json"
        if header is None:
            if not file.is_file():
                raise InputError(f"{folder} holds no path: there is no path.json")
            header = Header.from_json(file.read_text(encoding="utf-8"))
        super().__init__(header)
        folder.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            write_text(file, header.to_json())
        elif Header.from_json(file.read_text(encoding="utf-8")) != header:
            raise InputError(f"{folder} holds the path of another model; give another folder")
        self._width = len(header.layout) * header.dtype.itemsize
        self.steps = self._read_steps()

    def _read_steps(self) -> list[Step]:
        file = self.folder / "steps.jsonl"
        lines = file.read_bytes().splitlines(keepends=True) if file.exists() else []
        whole = [line for line in lines if line.endswith(b"\n")]
        most = min(
            self._count("theta.bin") - 1,
            self._count("scale.bin") if self.header.scaled else len(whole),
        )
        found = [json.loads(line) for line in whole[: max(most, 0)]]
        return [
            Step(**{**step, "batches": [Batch(**b) for b in step["batches"]]}) for step in found
        ]

    def _count(self, name: str) -> int:
        file = self.folder / name
        return file.stat().st_size // self._width if file.exists() else 0

    @property
    def started(self) -> bool:
        return self._count("theta.bin") > 0

    def begin(self, theta: Tensor) -> None:
        self._write("theta.bin", theta, 0)

    def append(self, step: Step, theta: Tensor, scale: Tensor | None) -> None:
        t = len(self.steps)
        self._write("theta.bin", theta, t + 1)
        if scale is not None:
            self._write("scale.bin", scale, t)
        with open(self.folder / "steps.jsonl", "ab") as file:
            file.write(json.dumps(asdict(step)).encode() + b"\n")
        self.steps.append(step)

    def cut(self, length: int) -> None:
        """Forget all updates but the first `length`, and what a kill has left of another."""
        self.steps = self.steps[:length]
        lines = b"".join(json.dumps(asdict(step)).encode() + b"\n" for step in self.steps)
        write_text(self.folder / "steps.jsonl", lines.decode())
        for name, rows in (("theta.bin", length + 1), ("scale.bin", length)):
            if (self.folder / name).exists():
                os.truncate(self.folder / name, rows * self._width)

    def theta(self, t: int) -> Tensor:
        return self._read("theta.bin", t)

    def scale(self, t: int) -> Tensor | None:
        return self._read("scale.bin", t) if self.header.scaled else None

    def _write(self, name: str, vector: Tensor, row: int) -> None:
        with open(self.folder / name, "r+b" if (self.folder / name).exists() else "wb") as file:
            file.seek(row * self._width)
            file.write(vector.contiguous().view(torch.uint8).numpy().tobytes())

    def _read(self, name: str, row: int) -> Tensor:
        with open(self.folder / name, "rb") as file:
            file.seek(row * self._width)
            content = bytearray(file.read(self._width))
        found = torch.frombuffer(content, dtype=self.header.dtype)
        if not bool(torch.isfinite(found).all()):
            raise InputError(f"{self.folder / name} is damaged: row {row} is not finite")
        return found
