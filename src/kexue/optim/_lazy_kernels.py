"""Loops over rows of a table, for Adam on a processor: what they missed, and a step."""

from __future__ import annotations

import numpy as np
from numba import njit

FROZEN, MASKED, DEFERRED = 0, 1, 2


@njit(cache=True, nogil=True, error_model="numpy")
def _missed(gap, since, length, reach, mode, betas, sums, logs):  # type: ignore[no-untyped-def]
    """Return what a row's value is multiplied by for `gap` missed steps, the multiple of its
    direction that is subtracted, and what its moments are multiplied by. See `History`."""  # noqa: D205, D209
    if gap == 0 or mode == FROZEN:
        return 1.0, 0.0, 1.0, 1.0
    keep_m, keep_v = betas[0] ** gap, betas[1] ** gap
    if mode == MASKED:
        return 1.0, 0.0, keep_m, keep_v
    frozen = min(since + reach, length)
    keep = np.exp(logs[length] - logs[since])
    return keep, sums[since] * np.exp(logs[length] - logs[frozen]), keep_m, keep_v


# a division that may raise would keep the loops from running side by side
@njit(cache=True, nogil=True, error_model="numpy")
def catch_up_rows(  # type: ignore[no-untyped-def]
    theta, m, v, row_step, rows, steps, start, reach, mode, betas, sums, logs
):
    """Make up for the steps that `rows` were not touched in."""
    kind, zero = theta.dtype.type, theta.dtype.type(0)
    for i in range(rows.size):
        r = rows[i]
        last = row_step[r]
        if last == steps:
            continue
        row_step[r] = steps
        factors = _missed(steps - last, last - start, steps - start, reach, mode, betas, sums, logs)
        keep, move = kind(factors[0]), kind(factors[1])
        keep_m, keep_v = kind(factors[2]), kind(factors[3])
        p, a, b = theta[r], m[r], v[r]
        for j in range(p.size):
            along = a[j] / np.sqrt(b[j])
            p[j] = keep * p[j] - move * (along if b[j] > 0 else zero)
            a[j] *= keep_m
            b[j] *= keep_v


@njit(cache=True, nogil=True, error_model="numpy")
def adam_rows(  # type: ignore[no-untyped-def]
    theta, m, v, row_step, rows, order, starts, gradients,
    steps, start, reach, mode, betas, sums, logs, constants,
):  # fmt: skip
    """Bring `rows` up to date and take the next step with them, by Adam.

    The gradients of row i are ``gradients[order[starts[i] : starts[i + 1]]]``, which are summed.
    `constants`, of the type of the table: 1 - beta1, 1 - beta2, step size, root of the second
    bias correction, epsilon, what values are multiplied by, the coupled weight decay, and the
    sign of the gradient.
    """
    kind, zero = theta.dtype.type, theta.dtype.type(0)
    gain_m, gain_v, size, root = constants[0], constants[1], constants[2], constants[3]
    eps, shrink, coupled, sign = constants[4], constants[5], constants[6], constants[7]
    total = np.empty(theta.shape[1], theta.dtype)
    for i in range(rows.size):
        r = rows[i]
        gap, since = 0, 0
        if mode != FROZEN:
            gap, since = steps - row_step[r], row_step[r] - start
            row_step[r] = steps + 1
        factors = _missed(gap, since, steps - start, reach, mode, betas, sums, logs)
        keep, move = kind(factors[0]), kind(factors[1])
        keep_m, keep_v = kind(factors[2]), kind(factors[3])
        p, a, b, g = theta[r], m[r], v[r], gradients[order[starts[i]]]
        if starts[i + 1] - starts[i] > 1:
            total[:] = g
            for k in range(starts[i] + 1, starts[i + 1]):
                total += gradients[order[k]]
            g = total
        for j in range(p.size):
            along = a[j] / np.sqrt(b[j])
            old = keep * p[j] - move * (along if b[j] > 0 else zero)
            slope = sign * g[j] + coupled * old
            first = keep_m * a[j]
            first += gain_m * (slope - first)
            second = keep_v * b[j]
            second += gain_v * (slope * slope - second)
            a[j] = first
            b[j] = second
            p[j] = shrink * old - size * first / (np.sqrt(second) / root + eps)
