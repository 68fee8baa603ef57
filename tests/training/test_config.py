"""Settings: their ranges, and their way through JSON."""

import pytest

from kexue._core import InputError
from kexue.training import TrainingConfig


@pytest.mark.parametrize(
    "settings",
    [
        {"max_steps": 5},
        {"epochs": 2, "schedule": {0: 0.5, 10: 1.0}, "clip_norm": 1.0, "precision": "bf16"},
        {"epochs": 2, "checkpoint_every": 7, "eval_every": 3},
    ],
)
def test_through_json(settings):
    config = TrainingConfig(**settings)
    assert TrainingConfig.from_json(config.to_json()) == config


@pytest.mark.parametrize(
    ("every", "expected"),
    [(7, (7, None)), ("60s", (None, 60)), ("1.5 min", (None, 90)), ("2h", (None, 7200))],
)
def test_time_between_checkpoints(every, expected):
    assert TrainingConfig(epochs=1, checkpoint_every=every).checkpoint_interval() == expected


def test_the_last_update_of_an_epoch_counts():
    assert TrainingConfig(epochs=3, batch_size=8).steps(17) == 9
    assert TrainingConfig(max_steps=3, batch_size=8).steps(17) == 3


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({}, InputError, "exactly one of max_steps and epochs"),
        ({"epochs": 1, "max_steps": 1}, InputError, "exactly one"),
        ({"epochs": 0}, InputError, "epochs must be an int >= 1, got 0"),
        ({"epochs": 1, "batch_size": 2.5}, TypeError, "batch_size must be an int"),
        ({"epochs": 1, "accumulate": 0}, InputError, "accumulate must be"),
        ({"epochs": 1, "lr": -1}, InputError, "lr must be"),
        ({"epochs": 1, "clip_norm": 0}, InputError, "clip_norm must be > 0"),
        ({"epochs": 1, "precision": "fp8"}, InputError, "precision must be one of"),
        ({"epochs": 1, "checkpoint_every": "soon"}, InputError, "such as '60s'"),
        ({"epochs": 1, "checkpoint_every": 0}, InputError, "checkpoint_every must be an int >= 1"),
        ({"epochs": 1, "schedule": "cosine"}, TypeError, "schedule must be None or a dict"),
        ({"epochs": 1, "schedule": {-1: 1}}, InputError, "a knot of schedule must be"),
        ({"epochs": 1, "schedule": {1: -1}}, InputError, r"schedule\[1\] must be"),
    ],
)
def test_bad_settings_are_named(settings, error, message):
    with pytest.raises(error, match=message):
        TrainingConfig(**settings)


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "must be JSON"), ('{"epoch": 1}', r"got \['epoch'\]"), ("[1]", r"got \[1\]")],
)
def test_bad_json_is_named(text, message):
    with pytest.raises(InputError, match=message):
        TrainingConfig.from_json(text)
