"""Online EM: running sums over a stream of batches, and the optimum of these sums."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kexue._core import InputError
from kexue.mixture._evaluators import Family, Sums
from kexue.mixture._fitting import Fitting, Theta
from kexue.mixture._rows import Rows

_FORGETTING = 0.7  # how fast steps grow shorter


class Stream:
    """What has been learned of the batches so far.

    Parameters
    ----------
    family : Family
        Settled, and relying on no rows.
    theta : Theta
        To begin with.

    Attributes
    ----------
    statistics : dict
        Running sums, for a total weight of 1.
    weight : array of shape (K,)
        Running shares of the components.
    seen : float
        Weight of all rows.
    steps : int
    log_likelihood : float
        Of the last batch, before it was learned from.
    """

    def __init__(self, family: Family, theta: Theta) -> None:
        self.family, self.theta = family, theta
        self.statistics: Sums = {}
        self.weight = theta.weights
        self.seen, self.steps, self.log_likelihood = 0.0, 0, 0.0

    def step(self, rows: Rows, fitting: Fitting) -> None:
        """Move the sums towards those of one batch, and take their optimum."""
        found, f = fitting.e_step(self.theta)
        if found is None:
            raise InputError(
                "the parameters have no density any more; fit anew with a larger reg_covar"
            )
        family, total = self.family, rows.total_weight
        self.seen += total
        gain = (self.steps + 2.0) ** -_FORGETTING if self.steps else 1.0
        sums, weight = family.scaled(found.statistics, gain / total), found.weight * (gain / total)
        if self.steps:
            sums = family.merged(family.scaled(self.statistics, 1 - gain), sums)
            weight = weight + (1 - gain) * self.weight
        self.statistics, self.weight = sums, weight
        self.steps += 1
        self.log_likelihood = -f * total
        params = family.m_step(family.scaled(sums, self.seen))
        # else the next rows may mend it
        if not family.broken(params).any() and (weight > 0).all():
            weights = weight / weight.sum() if fitting.fixed is None else fitting.fixed
            self.theta = Theta(weights, params)


def first_pass(
    rows: Rows, family: Family, theta: Theta, batch_size: int, rng: np.random.Generator,
    fitting: Callable[[Rows, Family], Fitting],
) -> Theta:  # fmt: skip
    """Return what one pass over batches of rows in random order learns."""
    order = rng.permutation(rows.n)
    family.forget_rows()
    stream = Stream(family, theta)
    for begin in range(0, rows.n, batch_size):
        batch = rows.only(np.sort(order[begin : begin + batch_size]))
        if batch.total_weight > 0:
            stream.step(batch, fitting(batch, family))
    family.settle_again(rows)
    return stream.theta
