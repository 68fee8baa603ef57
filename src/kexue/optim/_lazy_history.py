"""What a row has missed since it was last touched: one number for each past step."""

from __future__ import annotations

import math

import numpy as np

from kexue._core import InputError

_NEGLIGIBLE = 1e-14
_LONGEST = 1 << 20


class History:
    r"""Sums over the steps of a table since it was last brought up to date as a whole.

    For a row last touched at step s, at the end of step t,

    .. math:: E(s, t) = \sum_{j=s+1}^{t} \rho^{j-s} c_j \prod_{i>j} \delta_i, \quad
        E(s, j) = \delta_j E(s, j-1) + \rho^{j-s} c_j,

    is how far it should have gone along its direction, and the product of all
    :math:`\delta_j = 1 - \gamma_j \lambda` what its value is multiplied by. New terms are added
    for the last `reach` values of s only, after which :math:`\rho^{t-s}` is rounding; older sums
    are carried by the product alone.

    Parameters
    ----------
    start : int
        Step at which every row is up to date.
    ratio : float in [0, 1)
        :math:`\rho`.
    """

    def __init__(self, start: int, ratio: float) -> None:
        self.start = start
        self.ratio = ratio
        self.reach = 1
        if ratio > 0:
            reach = math.ceil(math.log(_NEGLIGIBLE) / math.log(ratio))
            self.reach = min(max(1, reach), _LONGEST)
        self.length = 0  # steps taken since `start`
        # at index s - start: E, without its decay since s + reach; log of the product of delta
        self.sums = np.zeros(1024)
        self.logs = np.zeros(1024)
        self._powers = ratio ** np.arange(self.reach, 0, -1.0)

    def append(self, coefficient: float, decay: float) -> None:
        """Add a step: its c, and its rate times weight decay."""
        if not decay < 1:
            raise InputError(f"lr times weight decay must be < 1, got {decay:g}")
        n = self.length
        if n + 2 > self.sums.size:
            self.sums = np.concatenate([self.sums, np.zeros_like(self.sums)])
            self.logs = np.concatenate([self.logs, np.zeros_like(self.logs)])
        first = max(0, n + 1 - self.reach)
        recent = self.sums[first : n + 1]
        recent *= 1 - decay
        recent += coefficient * self._powers[self.reach - recent.size :]
        self.logs[n + 1] = self.logs[n] + math.log1p(-decay)
        self.length = n + 1

    def missed(self, last: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the product and E of rows last touched at the steps `last`."""
        since = last - self.start
        logs = self.logs
        keep = np.exp(logs[self.length] - logs[since])
        frozen = np.minimum(since + self.reach, self.length)
        return keep, self.sums[since] * np.exp(logs[self.length] - logs[frozen])
