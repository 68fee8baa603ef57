"""What every benchmark shares: how time is taken, and what a row of results holds."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

LONG_RUN = 10.0  # seconds


@dataclass
class Row:
    """One comparison.

    Attributes
    ----------
    name : str
        What was done, on which data.
    unit : str
        Of `ours` and `peer`: less is better.
    ours, peer : float
    peer_name : str
        Package and version.
    bar : float or None
        Least allowed ``peer / ours``; None asks nothing, 0 only that the quality is no worse.
    quality : str
        What the two quality figures are; "" where both results are checked to be equal.
    quality_ours, quality_peer : float or None
    better : {"lower", "higher"}
        Which way quality is better. With a bar or limit, ours must be at least as good.
    note : str
        Settings that a reader needs to repeat the peer's run.
    limit : float or None
        Most allowed `ours`; None asks nothing.
    readme : bool
        Whether the README shows the row too.
    """

    name: str
    unit: str
    ours: float
    peer: float
    peer_name: str
    bar: float | None = None
    quality: str = ""
    quality_ours: float | None = None
    quality_peer: float | None = None
    better: str = "lower"
    note: str = ""
    limit: float | None = None
    readme: bool = True

    @property
    def ratio(self) -> float:
        """How many times less ours takes."""
        return self.peer / self.ours

    @property
    def passed(self) -> bool | None:
        """Whether bar and limit are met; None without either."""
        if self.bar is None and self.limit is None:
            return None
        fast = self.bar is None or self.ratio >= self.bar
        return fast and (self.limit is None or self.ours <= self.limit) and self.no_worse

    @property
    def no_worse(self) -> bool:
        """Whether our quality is at least the peer's, to within 1e-9."""
        if self.quality_ours is None or self.quality_peer is None:
            return True
        gain = self.quality_peer - self.quality_ours
        return (gain if self.better == "lower" else -gain) >= -1e-9


def cpu_seconds(function: Callable[[], Any], repeats: int = 5) -> tuple[float, Any]:
    """Return the median CPU time, of all threads, of warm calls, and the last result.

    Five calls; three of what takes longer than ten seconds.
    """
    seconds: list[float] = []
    while len(seconds) < repeats:
        start = time.process_time()
        result = function()
        seconds.append(time.process_time() - start)
        if seconds[0] > LONG_RUN:
            repeats = min(repeats, 3)
    return statistics.median(seconds), result


def first_call_seconds(function: Callable[[], Any]) -> float:
    """Return the wall time of a first call, which compiles or loads compiled kernels."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start
