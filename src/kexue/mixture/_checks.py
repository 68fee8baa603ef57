"""Whether what a mixture was given can be worked on."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from kexue._core import InputError, check_choice, check_float, check_int

FAMILIES = (
    "gaussian_full", "gaussian_tied", "gaussian_diag", "gaussian_spherical",
    "gaussian_tied_spherical", "bernoulli", "multinomial", "categorical",
)  # fmt: skip
INITS = ("k-means++", "random", "anneal")
_ROWS = 4096


def check_parameters(model: Any) -> None:
    """Refuse parameters of a `Mixture` that are not allowed."""
    check_int("n_components", model.n_components, minimum=1)
    check_family(model.family)
    if isinstance(model.init, str):
        check_choice("init", model.init, INITS)
    elif not hasattr(model.init, "__array__") and not isinstance(model.init, list):
        raise TypeError(
            "init must be 'k-means++', 'random', 'anneal' or responsibilities of shape (n, K), "
            f"got {model.init!r}"
        )
    check_int("n_init", model.n_init, minimum=1)
    check_int("max_iter", model.max_iter, minimum=1)
    check_float("tol", model.tol, minimum=0)
    check_float("reg_covar", model.reg_covar, minimum=0)
    if model.prior is not None:
        check_choice("prior", model.prior, ("map",))
    for name in ("accelerate", "hard", "warm_start"):
        if not isinstance(getattr(model, name), bool | np.bool_):
            raise TypeError(f"{name} must be a bool, got {getattr(model, name)!r}")
    if model.batch_size is not None:
        check_int("batch_size", model.batch_size, minimum=1)
    if model.callback is not None and not callable(model.callback):
        raise TypeError(f"callback must be None or callable, got {model.callback!r}")
    fixed_weights(model.fixed_weights, int(model.n_components))


def check_family(family: Any) -> None:
    """Refuse a family, or blocks of columns, that do not exist."""
    if not isinstance(family, dict):
        check_choice("family", family, FAMILIES)
        return
    if not family:
        raise InputError("family must name at least one block of columns, got {}")
    for name, columns in family.items():
        check_choice("family", name, FAMILIES)
        for column in columns:
            check_int(f"a column of family {name!r}", column, minimum=0)
    used = [int(column) for columns in family.values() for column in columns]
    if sorted(used) != list(range(len(used))):
        raise InputError(
            "the blocks of family must hold each column once, from 0 on, "
            f"got columns {sorted(used)}"
        )


def fixed_weights(given: Any, k: int) -> np.ndarray | None:
    """Return weights that are not to be learned, or None."""
    if given is None or given is False:
        return None
    if given is True:
        return np.full(k, 1 / k)
    weights = np.asarray(given, dtype=float)
    if weights.shape != (k,) or not (weights > 0).all() or not np.isfinite(weights).all():
        raise InputError(
            f"fixed_weights must be a bool or {k} numbers > 0, one for each component, "
            f"got {given!r}"
        )
    return np.asarray(weights / weights.sum())


def check_weights(given: Any, n: int) -> np.ndarray | None:
    """Return weights of the rows as float64, None where all are 1."""
    if given is None:
        return None
    weights = np.asarray(given, dtype=np.float64)
    if weights.ndim == 0:
        weights = np.full(n, float(weights))
    if weights.shape != (n,):
        raise InputError(f"sample_weight must have shape ({n},), got {weights.shape}")
    bad = np.flatnonzero(~(weights >= 0) | np.isinf(weights))
    if len(bad):
        raise InputError(
            f"sample_weight must be finite and >= 0, got {weights[bad[0]]} at row {bad[0]}"
        )
    if not weights.any():
        raise InputError("sample_weight must not be all zero")
    return None if (weights == 1).all() else weights


def check_labels(given: Any, n: int, k: int) -> np.ndarray | None:
    """Return known components as int64, or None."""
    if given is None:
        return None
    labels = np.asarray(given)
    if labels.shape != (n,) or labels.dtype.kind not in "iu":
        raise InputError(
            f"labels must be ints of shape ({n},), got shape {labels.shape}, dtype {labels.dtype}"
        )
    bad = np.flatnonzero((labels < -1) | (labels >= k))
    if len(bad):
        raise InputError(
            f"labels must be -1 for unknown or in [0, {k - 1}], got {labels[bad[0]]} at row "
            f"{bad[0]}"
        )
    return labels.astype(np.int64)


def check_responsibilities(given: Any, n: int, k: int) -> np.ndarray:
    """Return responsibilities to begin with."""
    r = np.asarray(given, dtype=np.float64)
    if r.shape != (n, k):
        raise InputError(f"init must have shape ({n}, {k}), got {r.shape}")
    if not (r >= 0).all() or not np.allclose(r.sum(1), 1):
        raise InputError("init must hold responsibilities >= 0 that sum to 1 in each row")
    return r


def check_values(
    x: Any, family: Any, *, reset: bool, levels: dict[int, int] | None = None
) -> np.ndarray | None:
    """Refuse values that the family has no density for; return rows without any value.

    Parameters
    ----------
    x : array of shape (n, d) or CSR
    family : str or dict
    reset : bool
        Whether the columns are to be learned from, and so must not be empty.
    levels : dict, optional
        Number of known codes of categorical columns.

    Returns
    -------
    int array or None
        Indices of rows of nothing but NaN; None without holes.
    """
    blocks = family if isinstance(family, dict) else {family: range(x.shape[1])}
    width = sum(len(columns) for columns in blocks.values())
    if width != x.shape[1]:
        raise InputError(f"family describes {width} columns, X has {x.shape[1]}")
    if sparse.issparse(x):
        _check_block(x.data, next(iter(blocks)), lambda i: _place(x, i), None)
        return None
    empty_rows: list[np.ndarray] = []
    seen = np.zeros(x.shape[1], bool)
    for begin in range(0, x.shape[0], _ROWS):
        part = x[begin : begin + _ROWS]
        for name, columns in blocks.items():
            chosen = part if not isinstance(family, dict) else part[:, list(columns)]
            names = list(columns)

            def place(i: int, begin: int = begin, names: list[int] = names) -> tuple[int, int]:
                return begin + i // len(names), names[i % len(names)]

            _check_block(chosen.ravel(), name, place, levels)
        if part.dtype.kind == "f":
            here = ~np.isnan(part)
            seen |= here.any(0)
            empty_rows.append(begin + np.flatnonzero(~here.any(1)))
        else:
            seen[:] = True
    if reset and not seen.all():
        raise InputError(
            f"X must have a value in each column, got only NaN in column {int(seen.argmin())}; "
            "leave it out"
        )
    empty = np.concatenate(empty_rows) if empty_rows else np.zeros(0, np.int64)
    return empty if len(empty) else None


def _check_block(values: np.ndarray, name: str, place: Any, levels: Any) -> None:
    def refuse(bad: np.ndarray, rule: str) -> None:
        if bad.any():
            i = int(bad.argmax())
            row, column = place(i)
            raise InputError(f"X must {rule}, got {values[i]} at row {row}, column {column}")

    floats = values.dtype.kind == "f"
    if floats:
        refuse(np.isinf(values), "be finite or NaN")
    if name == "bernoulli" and values.dtype.kind != "b":
        refuse(
            ~((values == 0) | (values == 1) | (values != values)), "be 0, 1 or NaN for bernoulli"
        )
    elif name == "multinomial":
        if floats:
            refuse(np.isnan(values), "have no NaN for multinomial")
        refuse(values < 0, "hold counts >= 0 for multinomial")
    elif name == "categorical":
        whole = (values >= 0) & (values == np.floor(values))
        refuse(~(whole | (values != values)), "hold codes 0, 1, ... or NaN for categorical")
        if levels:
            # values lie row by row
            width = len({place(i)[1] for i in range(min(len(values), len(levels)))})
            limit = np.resize([levels[place(i)[1]] for i in range(width)], len(values))
            refuse(values >= limit, "hold codes that were fitted for categorical")


def _place(x: Any, i: int) -> tuple[int, int]:
    return int(np.searchsorted(x.indptr, i, side="right") - 1), int(x.indices[i])
