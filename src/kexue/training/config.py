"""What a training run depends on, apart from the model, the data and the loss."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from kexue._core import InputError, check_choice, check_float, check_int

# What may change between a run and the one that goes on from it
_FREE = ("max_steps", "epochs", "checkpoint_every", "keep")


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Settings of `fit`, to be kept as JSON beside the result.

    Parameters
    ----------
    max_steps, epochs : int
        How long to train, in updates or in passes over the data. One of the two.
    batch_size : int
        Rows of one update, over all processes and parts together; the last update of an epoch has
        what is left.
    lr : float
        Of AdamW, the optimizer that is made where none is given. An optimizer that is given keeps
        its own.
    accumulate : int
        In how many parts a process computes its rows of an update: less memory, the same result.
    schedule : None or dict of int to float
        Knots of a piecewise linear multiplier of the learning rate, by the number of the update,
        the first being 1. It rises from 0 to the first knot and is constant after the last.
    clip_norm : None or float
        Greatest norm of the gradient.
    precision : {"no", "bf16", "fp16"}
        In which the loss is computed (autocast); parameters stay as they are.
    seed : int
        Of the order of rows, and of the random numbers of every process.
    checkpoint_every : int or str
        In updates, or in time: "60s", "5min". Only with a `workdir`.
    keep : int
        How many checkpoints are kept.
    eval_every : None or int
        Updates between evaluations; None, after each epoch.
    log_every : int
        Updates to a row of the history.

    Raises
    ------
    InputError, TypeError
        For a setting out of its range; for none or both of `max_steps` and `epochs`.

    Examples
    --------
    >>> config = TrainingConfig(epochs=3, batch_size=64, schedule={100: 1.0, 1000: 0.0})
    >>> TrainingConfig.from_json(config.to_json()) == config
    True
    """

    max_steps: int | None = None
    epochs: int | None = None
    batch_size: int = 32
    lr: float = 1e-3
    accumulate: int = 1
    schedule: dict[int, float] | None = None
    clip_norm: float | None = None
    precision: Literal["no", "bf16", "fp16"] = "no"
    seed: int = 0
    checkpoint_every: int | str = "60s"
    keep: int = 2
    eval_every: int | None = None
    log_every: int = 50

    def __post_init__(self) -> None:
        if (self.max_steps is None) == (self.epochs is None):
            raise InputError(
                "exactly one of max_steps and epochs must be given, "
                f"got max_steps={self.max_steps!r}, epochs={self.epochs!r}"
            )
        found: dict[str, Any] = {}
        for name in ("batch_size", "accumulate", "keep", "log_every"):
            found[name] = check_int(name, getattr(self, name), minimum=1)
        for name in ("max_steps", "epochs", "eval_every"):
            if getattr(self, name) is not None:
                found[name] = check_int(name, getattr(self, name), minimum=1)
        found["seed"] = check_int("seed", self.seed, minimum=0, maximum=2**32 - 1)
        found["lr"] = check_float("lr", self.lr, minimum=0)
        if self.clip_norm is not None:
            found["clip_norm"] = check_float("clip_norm", self.clip_norm, minimum=0)
            if found["clip_norm"] == 0:
                raise InputError("clip_norm must be > 0 or None, got 0")
        check_choice("precision", self.precision, ("no", "bf16", "fp16"))
        self.checkpoint_interval()
        found["schedule"] = _checked_schedule(self.schedule)
        if not isinstance(self.checkpoint_every, str):
            found["checkpoint_every"] = int(self.checkpoint_every)
        for name, value in found.items():
            object.__setattr__(self, name, value)  # numpy's numbers as Python's, for JSON

    def checkpoint_interval(self) -> tuple[int | None, float | None]:
        """Return the updates, or the seconds, between checkpoints; the other is None."""
        every = self.checkpoint_every
        if not isinstance(every, str):
            return check_int("checkpoint_every", every, minimum=1), None
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|min|h)", every.strip())
        if not found:
            raise InputError(
                "checkpoint_every must be an int >= 1 or a time such as '60s', '5min' or '1h', "
                f"got {every!r}"
            )
        return None, float(found[1]) * {"s": 1, "min": 60, "h": 3600}[found[2]]

    def steps(self, n: int) -> int:
        """Return the number of updates on `n` rows."""
        if self.max_steps is not None:
            return self.max_steps
        assert self.epochs is not None
        return self.epochs * -(-n // self.batch_size)

    def to_json(self) -> str:
        """Return all settings as JSON."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> TrainingConfig:
        """Return the settings that `to_json` wrote.

        Raises
        ------
        InputError
            For text that is no such JSON, or for settings that are not known.
        """
        try:
            found = json.loads(text)
        except json.JSONDecodeError as error:
            raise InputError(f"a TrainingConfig must be JSON: {error}") from None
        known = {field.name for field in fields(cls)}
        if not isinstance(found, dict) or not found.keys() <= known:
            unknown = sorted(found.keys() - known) if isinstance(found, dict) else found
            raise InputError(f"a TrainingConfig has the settings {sorted(known)}, got {unknown}")
        schedule = found.get("schedule")
        if isinstance(schedule, dict) and all(knot.isdecimal() for knot in schedule):
            found["schedule"] = {int(knot): value for knot, value in schedule.items()}
        return cls(**found)

    def decisive(self) -> dict[str, Any]:
        """Return the settings that a run must share with the checkpoint from which it goes on."""
        found = json.loads(self.to_json())
        return {name: value for name, value in found.items() if name not in _FREE}


def _checked_schedule(schedule: object) -> dict[int, float] | None:
    if schedule is None:
        return None
    if not isinstance(schedule, dict) or not schedule:
        raise TypeError(
            f"schedule must be None or a dict of update to multiplier, got {schedule!r}"
        )
    return {
        check_int("a knot of schedule", knot, minimum=0): check_float(
            f"schedule[{knot}]", multiplier, minimum=0
        )
        for knot, multiplier in schedule.items()
    }
