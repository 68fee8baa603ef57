"""Compiled loops of Gaussian mixtures: the powers of the columns, row by row."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
def products(x: np.ndarray, shift: np.ndarray, out: np.ndarray) -> None:
    """Write 1, the columns less `shift`, and the products of two of them.

    Parameters
    ----------
    x : float64 array of shape (m, d)
    shift : float64 array of shape (d,)
    out : float64 array of shape (m, 1 + d + d (d + 1) / 2)
        The products are ordered as ``numpy.tril_indices(d)``.
    """
    m, d = x.shape
    for n in range(m):
        to = out[n]
        to[0] = 1.0
        for i in range(d):
            to[1 + i] = x[n, i] - shift[i]
        place = d + 1
        for i in range(d):
            value = to[1 + i]
            for j in range(i + 1):
                to[place + j] = value * to[1 + j]
            place += i + 1


@numba.njit(cache=True, nogil=True)
def squares(x: np.ndarray, shift: np.ndarray, out: np.ndarray) -> None:
    """Write the columns less `shift`, their squares and, if `out` has the place, where they are.

    Parameters
    ----------
    x : float64 array of shape (m, d)
    shift : float64 array of shape (d,)
    out : float64 array of shape (m, 2 d) or (m, 3 d)
        In 3 d columns NaN is written as three times 0.
    """
    m, d = x.shape
    for n in range(m):
        for i in range(d):
            value = x[n, i] - shift[i]
            out[n, i] = value
            out[n, d + i] = value * value
        if out.shape[1] > 2 * d:
            for i in range(d):
                here = out[n, i] == out[n, i]
                out[n, 2 * d + i] = 1.0 if here else 0.0
                if not here:
                    out[n, i] = out[n, d + i] = 0.0
