"""Exponentiated gradient for functions of NumPy arrays, in the manner of SciPy."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import OptimizeResult

from kexue._core import InputError, check_choice, check_float, check_int

_LOG_BOUND = 80.0
_MEMORY = 10  # values among which the largest is to be undercut: spectral steps are not monotone
_DECREASE = 1e-4
_HALVINGS = 40
_RATES = (1e-30, 1e30)


def eg_minimize(
    fun: Callable[..., Any],
    x0: ArrayLike,
    jac: Callable[..., Any] | bool | None = None,
    *,
    args: tuple[Any, ...] = (),
    geometry: Literal["positive", "simplex", "signed"] = "positive",
    lr: float | Literal["backtracking"] = "backtracking",
    beta: float = 1.0,
    max_log_step: float = 1.0,
    tol: float | None = 1e-8,
    max_iter: int = 10_000,
    callback: Callable[[Any], Any] | None = None,
    **unused: Any,
) -> OptimizeResult:
    r"""Minimise a smooth function of positive numbers, of a distribution, or of any numbers.

    .. math:: x \leftarrow x \odot \exp(-\eta \nabla f(x))

    on the simplex followed by normalisation; "signed" takes the difference of two such vectors,
    :math:`x = 2\beta \sinh u, \; u \leftarrow u - \eta \nabla f(x)`.

    Parameters
    ----------
    fun : callable
        ``fun(x, *args) -> float``, or (float, array of shape (d,)) with ``jac=True``.
    x0 : array-like of shape (d,)
        The start: positive; on the simplex with the sum 1. What starts small, stays small long.
    jac : callable or True
        ``jac(x, *args) -> array of shape (d,)``, the gradient.
    args : tuple
        Passed on.
    geometry : {"positive", "simplex", "signed"}
    lr : float > 0 or "backtracking"
        The rate :math:`\eta`, or found: the spectral rate of the last step, halved until the
        value lies below the largest of the last ten.
    beta : float > 0
        Of "signed": steps are as those of gradient descent well below it, and in proportion to
        the coordinate above.
    max_log_step : float > 0
        Largest change of log x (of u) in one step.
    tol : float >= 0
        Stop when no coordinate violates the conditions of an optimum by more; see `kkt` below.
        None is 1e-8.
    max_iter : int >= 0
    callback : callable, optional
        Called with x after each step; `StopIteration` ends the search. Through
        ``scipy.optimize.minimize``, with what that documents.
    **unused
        What ``scipy.optimize.minimize`` passes to each method. Bounds and constraints are not
        taken.

    Returns
    -------
    OptimizeResult
        `x`, `fun`, `jac`, `nit`, `nfev`, `njev`, `success`, `status` (0 converged, 1 `max_iter`,
        2 no step lowers the value, 99 stopped by the callback), `message`, and `kkt`, the largest
        of :math:`|\min(x, g)|`; on the simplex of
        :math:`|\min(x, g - \langle x, g \rangle)|`; for "signed" of :math:`|g|`.

    Raises
    ------
    InputError
        For a start outside the geometry, a value or gradient at the start that is not finite, a
        gradient of another shape, bounds or constraints, or a bad parameter.

    Notes
    -----
    It is mirror descent with the entropy: steps need no projection and coordinates never become
    zero, but only ever smaller, down to exp(-80).

    Examples
    --------
    The distribution nearest to a point, in squares:

    >>> target = np.array([0.5, 0.9, -0.4])
    >>> found = eg_minimize(
    ...     lambda x: 0.5 * np.sum((x - target) ** 2),
    ...     np.full(3, 1 / 3),
    ...     lambda x: x - target,
    ...     geometry="simplex",
    ... )
    >>> np.round(found.x, 6)
    array([0.3, 0.7, 0. ])

    As a method of SciPy:

    >>> from scipy.optimize import minimize
    >>> found = minimize(
    ...     lambda x: np.sum((x - target) ** 2), np.ones(3), jac=lambda x: 2 * (x - target),
    ...     method=eg_minimize,
    ... )
    >>> np.round(found.x, 6)
    array([0.5, 0.9, 0. ])

    References
    ----------
    Kivinen and Warmuth, Exponentiated gradient versus gradient descent for linear predictors,
    Information and Computation 132, 1997. Ghai, Hazan and Singer, Exponentiated gradient meets
    gradient descent, ALT 2020. Barzilai and Borwein, Two-point step size gradient methods, IMA
    Journal of Numerical Analysis 8, 1988. kexue.fm, archives/8968.
    """
    tol = 1e-8 if tol is None else check_float("tol", tol, minimum=0)
    max_iter = check_int("max_iter", unused.pop("maxiter", max_iter), minimum=0)
    _check_unused(unused)
    _check_positive("max_log_step", max_log_step)
    _check_positive("beta", beta)
    if lr != "backtracking":
        _check_positive("lr", lr)
    mirror = _Mirror(check_choice("geometry", geometry, ("positive", "simplex", "signed")), beta)
    x = _check_start(x0, geometry)
    problem = _Problem(fun, jac, args)
    return _search(problem, mirror, x, lr, max_log_step, tol, max_iter, callback)


_MESSAGES = {
    0: "no coordinate violates the conditions of an optimum by more than tol",
    1: "max_iter steps were taken",
    2: "no step lowers the value any more",
    99: "the callback has stopped the search",
}


def _search(
    problem: _Problem,
    mirror: _Mirror,
    x: np.ndarray,
    lr: float | str,
    max_log_step: float,
    tol: float,
    max_iter: int,
    callback: Any,
) -> OptimizeResult:
    value, gradient = problem(x)
    if not (np.isfinite(value) and np.isfinite(gradient).all()):
        raise InputError(f"fun and jac must be finite at x0, got the value {value!r}")
    u = mirror.dual(x)
    recent = deque([value], maxlen=_MEMORY)
    found = lr == "backtracking"
    rate = max_log_step / max(np.abs(gradient).max(), 1e-300) if found else float(lr)
    status, n_iter = 1, 0
    while status == 1:
        kkt = mirror.violation(x, gradient)
        if kkt <= tol:
            status = 0
        if status == 0 or n_iter == max_iter:
            break
        for _ in range(_HALVINGS if found else 1):
            new_u = mirror.move(u, x, gradient, rate, max_log_step)
            new_x = mirror.primal(new_u)
            new_value, new_gradient = problem(new_x)
            # below the rounding of the value, it cannot tell good steps from bad ones
            bound = max(recent) + _DECREASE * gradient @ (new_x - x) + 1e-13 * abs(value)
            if not found or (new_value <= bound and np.isfinite(new_gradient).all()):
                break
            rate /= 2
        else:
            status = 2
            break
        if found:
            rate = _spectral_rate(new_x - x, new_u - u, new_gradient - gradient, rate)
        u, x, value, gradient = new_u, new_x, new_value, new_gradient
        recent.append(value)
        n_iter += 1
        if callback is not None and _told_to_stop(callback, x, value):
            status = 99
    return OptimizeResult(
        x=x, fun=value, jac=gradient, nit=n_iter, nfev=problem.calls, njev=problem.calls,
        kkt=mirror.violation(x, gradient), success=status == 0, status=status,
        message=_MESSAGES[status],
    )  # fmt: skip


def _spectral_rate(dx: np.ndarray, du: np.ndarray, dg: np.ndarray, rate: float) -> float:
    """Return the rate that would have been exact for the last step, were `fun` quadratic in u."""
    bend = float(dx @ dg)
    # along a line that does not curve, or curves down, nothing says how far to go
    wanted = float(dx @ du) / bend if bend > 0 else 2 * rate
    return min(max(wanted, _RATES[0]), _RATES[1])


class _Mirror:
    """The geometry: what is additive in it, and where a step leads."""

    def __init__(self, name: str, beta: float) -> None:
        self.name = name
        self.beta = beta

    def dual(self, x: np.ndarray) -> np.ndarray:
        if self.name == "signed":
            return np.arcsinh(x / (2 * self.beta))
        return np.log(x)

    def primal(self, u: np.ndarray) -> np.ndarray:
        return 2 * self.beta * np.sinh(u) if self.name == "signed" else np.exp(u)

    def move(
        self, u: np.ndarray, x: np.ndarray, gradient: np.ndarray, rate: float, most: float
    ) -> np.ndarray:
        # a constant added to the gradient changes nothing on the simplex, nor may it by the clip
        slope = gradient - x @ gradient if self.name == "simplex" else gradient
        moved = u - np.clip(rate * slope, -most, most)
        if self.name == "simplex":
            moved -= moved.max()
            moved -= np.log(np.exp(moved).sum())
        return np.clip(moved, -_LOG_BOUND, _LOG_BOUND)

    def violation(self, x: np.ndarray, gradient: np.ndarray) -> float:
        if self.name == "signed":
            return float(np.abs(gradient).max())
        slope = gradient - x @ gradient if self.name == "simplex" else gradient
        return float(np.abs(np.minimum(x, slope)).max())


class _Problem:
    """Value and gradient, counted and checked."""

    def __init__(self, fun: Any, jac: Any, args: tuple[Any, ...]) -> None:
        if not callable(fun):
            raise TypeError(f"fun must be a function, got {fun!r}")
        if jac is not True and not callable(jac):
            raise TypeError(
                "jac must be a function that returns the gradient, or True where fun returns "
                f"both, got {jac!r}"
            )
        self.fun, self.jac, self.args = fun, jac, args
        self.calls = 0

    def __call__(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        self.calls += 1
        if self.jac is True:
            value, found = self.fun(x, *self.args)
        else:
            value, found = self.fun(x, *self.args), self.jac(x, *self.args)
        gradient = np.asarray(found, dtype=np.float64)
        if gradient.shape != x.shape:
            raise InputError(
                f"the gradient must have the shape of x0, {x.shape}, got {gradient.shape}"
            )
        return float(value), gradient


def _check_start(x0: ArrayLike, geometry: str) -> np.ndarray:
    x = np.array(x0, dtype=np.float64)
    if x.ndim != 1 or not x.size:
        raise InputError(f"x0 must be an array of shape (d,), got shape {x.shape}")
    if not np.isfinite(x).all():
        raise InputError(f"x0 must be finite, got {x[~np.isfinite(x)][0]}")
    if geometry == "signed":
        return x
    if not (x > 0).all():
        worst = int(np.argmax(x <= 0))
        raise InputError(
            f"x0 must be positive, for what is 0 stays 0, got {x[worst]} at index {worst}"
        )
    if geometry == "simplex" and abs(x.sum() - 1) > 1e-4:
        raise InputError(f"x0 must sum to 1 on the simplex, got the sum {x.sum():.6g}")
    return x / x.sum() if geometry == "simplex" else x


def _check_positive(name: str, value: Any) -> None:
    if not check_float(name, value, minimum=0) > 0:
        raise InputError(f"{name} must be > 0, got {value!r}")


def _check_unused(unused: dict[str, Any]) -> None:
    for name, value in unused.items():
        empty = value is None or (hasattr(value, "__len__") and len(value) == 0)
        if name in ("bounds", "constraints") and not empty:
            raise InputError(f"eg_minimize takes no {name}: the geometry is the constraint")
        if name not in ("bounds", "constraints", "hess", "hessp"):
            raise TypeError(f"eg_minimize() got an unexpected keyword argument {name!r}")


def _told_to_stop(callback: Any, x: np.ndarray, value: float) -> bool:
    try:
        # SciPy's wrapper, known by this mark, unpacks a result
        wrapped = hasattr(callback, "stop_iteration")
        callback(OptimizeResult(x=x, fun=value) if wrapped else x.copy())
    except StopIteration:
        return True
    return False
