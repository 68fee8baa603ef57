"""What a terminal is told while it waits."""

import pytest

from kexue.cli.console import STAGE_SHARES, _time_left


def test_the_shares_of_the_stages_are_of_the_whole():
    assert sum(STAGE_SHARES.values()) == pytest.approx(1.0)


def test_the_time_left_follows_from_the_time_taken():
    done = {"read": 1.0}
    assert _time_left(done, True) == ""  # reading alone tells nothing
    done["words"] = 8.0
    assert _time_left(done, True) == "about 91 s left"
    assert _time_left(done, False) == "about 29 s left"
    done["words"] = 89.0
    assert _time_left(done, True) == "about 15 min left"
    assert _time_left({"read": 0.1, "words": 0.0}, True) == ""  # kept from an earlier run
    everything = {stage: 10 * share for stage, share in STAGE_SHARES.items()}
    assert _time_left(everything, True) == "about 0 s left"
