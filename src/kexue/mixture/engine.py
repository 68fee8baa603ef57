"""Expectation maximization for any model: two steps in turns, extrapolated where that helps."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from kexue._core import InputError, check_float, check_int

_GROWTH = 4.0  # of the longest step, after one of that length has gone well
_DETOUR = 100.0  # gains of a plain step that an extrapolation may cost before a step mends it


class Acceleration(NamedTuple):
    """Where an accelerated run stands; given back to the engine, it goes on as if never stopped.

    Attributes
    ----------
    plain_steps : int
        Plain steps still to do before the first extrapolation.
    longest : float
        Longest step that the next extrapolation may take; 1 is a plain step.
    """

    plain_steps: int = 5
    longest: float = 4.0


class Restart(NamedTuple):
    """What an M-step returns in place of parameters that do not continue the old ones.

    The engine takes `theta`, and does not ask that F falls there.
    """

    theta: Any


class Progress(NamedTuple):
    """What a callback is told.

    Attributes
    ----------
    n_iter : int
        E-steps done.
    free_energy : float
        F at `theta`.
    theta : object
    acceleration : Acceleration or None
        A run that begins with this and `theta` takes the same steps as this one.
    """

    n_iter: int
    free_energy: float
    theta: Any
    acceleration: Acceleration | None


@dataclass
class EMResult:
    """What `expectation_maximization` found.

    Attributes
    ----------
    theta : object
        The parameters at which F was least.
    free_energy : float
        F there.
    path : float64 array
        F after the E-steps whose parameters were accepted, falling.
    n_iter : int
        E-steps done, those of rejected extrapolations included.
    converged : bool
    restarts : list of int
        Indices into `path` at which an M-step asked for a restart.
    statistics : object
        Of the last accepted E-step.
    acceleration : Acceleration or None
    """

    theta: Any
    free_energy: float
    path: np.ndarray
    n_iter: int
    converged: bool
    restarts: list[int]
    statistics: Any
    acceleration: Acceleration | None


def expectation_maximization(
    m_step: Callable[[Any], Any],
    e_step: Callable[[Any], tuple[Any, float]],
    theta0: Any,
    *,
    max_iter: int = 500,
    tol: float = 1e-6,
    accelerate: bool | Acceleration = True,
    pack: Callable[[Any], np.ndarray] | None = None,
    unpack: Callable[[np.ndarray], Any] | None = None,
    callback: Callable[[Progress], Any] | None = None,
) -> EMResult:
    r"""Minimise :math:`F(q, \theta) = KL(\tilde p(x) q(z|x) \| p_\theta(x, z))` by turns.

    The E-step minimises over q, the M-step over :math:`\theta`; neither can raise F, which after
    an E-step is the mean negative log-likelihood (less the entropy of the data, a constant). After
    a few plain steps, each third step is an extrapolation of the last two by SQUAREM, which is
    taken back if F rises.

    Parameters
    ----------
    m_step : callable
        From the statistics of an E-step to parameters, or to a `Restart`.
    e_step : callable
        From parameters to ``(statistics, F)``, F in nats per sample. Not finite where the
        parameters are not allowed.
    theta0 : object
        Parameters to begin with.
    max_iter : int
        Most E-steps.
    tol : float
        Converged when a plain step lowers F by less than this.
    accelerate : bool or Acceleration
    pack, unpack : callable, optional
        From parameters to a vector of numbers that may each be any real number, and back. Needed
        for acceleration unless `theta0` is an array of such.
    callback : callable, optional
        Called with a `Progress` whenever a run could begin there anew; stops if it returns True.

    Returns
    -------
    EMResult

    Raises
    ------
    InputError
        For a bad parameter, or if F is not finite at `theta0`.

    Examples
    --------
    How often do two coins show heads, if nobody noted which was tossed?

    >>> heads, tosses = np.array([5, 9, 8, 4, 7]), 10
    >>> def e_step(p):
    ...     joint = heads[:, None] * np.log(p) + (tosses - heads[:, None]) * np.log(1 - p)
    ...     joint -= np.log(2)
    ...     evidence = np.logaddexp(*joint.T)
    ...     return np.exp(joint - evidence[:, None]), -evidence.mean()
    >>> result = expectation_maximization(
    ...     lambda q: heads @ q / (tosses * q.sum(0)), e_step, np.array([0.6, 0.5]),
    ...     accelerate=False,
    ... )
    >>> result.theta.round(2), bool((np.diff(result.path) <= 0).all())
    (array([0.8 , 0.52]), True)

    References
    ----------
    Neal and Hinton, A view of the EM algorithm that justifies incremental, sparse, and other
    variants, 1998. Varadhan and Roland, Simple and globally convergent methods for accelerating
    the convergence of any EM algorithm, Scandinavian Journal of Statistics 35, 2008. kexue.fm,
    archives/5239.
    """
    max_iter = check_int("max_iter", max_iter, minimum=1)
    tol = check_float("tol", tol, minimum=0)
    run = _Run(m_step, e_step, max_iter, tol, _acceleration(accelerate, theta0, pack, unpack))
    run.pack, run.unpack = pack or np.asarray, unpack or (lambda vector: vector)
    return run.go(theta0, callback)


def free_energy(
    q: ArrayLike, log_joint: ArrayLike, sample_weight: ArrayLike | None = None
) -> float:
    r"""Return F, the mean of :math:`\sum_z q(z|x) (\log q(z|x) - \log p(x, z))` in nats.

    It is the mean negative log-likelihood plus the mean divergence of q from the posterior.

    Parameters
    ----------
    q, log_joint : array-like of shape (n, K)
        Distributions over the hidden variable, and log p(x, z).
    sample_weight : array-like of shape (n,), optional

    Examples
    --------
    >>> joint = np.array([[0.1, 0.3]])
    >>> q = joint / joint.sum(1, keepdims=True)  # the posterior, at which the divergence is 0
    >>> bool(np.isclose(free_energy(q, np.log(joint)), -np.log(joint.sum())))
    True
    """
    share, joint = np.asarray(q, float), np.asarray(log_joint, float)
    if share.shape != joint.shape or share.ndim != 2:
        raise InputError(
            f"q and log_joint must have one shape (n, K), got {share.shape} and {joint.shape}"
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        # a state that q leaves out costs nothing, whatever its density
        terms = np.where(share > 0, share * (np.log(share) - joint), 0.0)
    weights = None if sample_weight is None else np.asarray(sample_weight, float)
    return float(np.average(terms.sum(1), weights=weights))


def _acceleration(given: Any, theta0: Any, pack: Any, unpack: Any) -> Acceleration | None:
    if (pack is None) != (unpack is None):
        raise InputError("pack and unpack must be given together")
    if isinstance(given, Acceleration):
        found: Acceleration | None = given
    elif isinstance(given, bool | np.bool_):
        found = Acceleration() if given else None
    else:
        raise TypeError(f"accelerate must be a bool or an Acceleration, got {given!r}")
    if found is not None and pack is None and not isinstance(theta0, np.ndarray):
        raise InputError(
            "acceleration needs theta0 as an array, or pack and unpack; got "
            f"{type(theta0).__name__}; give them, or accelerate=False"
        )
    return found


class _Point(NamedTuple):
    theta: Any
    statistics: Any
    f: float


class _Run:
    """One run; its methods share what has been counted so far."""

    pack: Callable[[Any], Any]
    unpack: Callable[[Any], Any]

    def __init__(
        self, m_step: Any, e_step: Any, max_iter: int, tol: float, state: Acceleration | None
    ) -> None:
        self.m_step, self.e_step = m_step, e_step
        self.max_iter, self.tol, self.state = max_iter, tol, state
        self.n_iter = 0
        self.path: list[float] = []
        self.restarts: list[int] = []

    def go(self, theta0: Any, callback: Callable[[Progress], Any] | None) -> EMResult:
        here = self.at(theta0)
        if not math.isfinite(here.f):
            raise InputError(f"F must be finite at theta0, got {here.f}")
        self.path.append(here.f)
        converged = False
        while not converged and self.n_iter < self.max_iter:
            if callback and callback(Progress(self.n_iter, here.f, here.theta, self.state)):
                break
            after = self.step(here)
            restarted = self.restarts[-1:] == [len(self.path) - 1]
            converged = not restarted and here.f - after.f < self.tol
            if converged and after.f > here.f:
                self.path.pop()  # rounding at the end of the path
                break
            if self.state is None or restarted or converged:
                here = after
            elif self.state.plain_steps > 0:
                here = after
                self.state = self.state._replace(plain_steps=self.state.plain_steps - 1)
            else:
                here = self.extrapolated(here, after)
        return EMResult(
            here.theta, here.f, np.array(self.path), self.n_iter, converged, self.restarts,
            here.statistics, self.state,
        )  # fmt: skip

    def at(self, theta: Any) -> _Point:
        statistics, f = self.e_step(theta)
        self.n_iter += 1
        return _Point(theta, statistics, float(f))

    def step(self, here: _Point) -> _Point:
        theta = self.m_step(here.statistics)
        if isinstance(theta, Restart):
            self.restarts.append(len(self.path))
            theta = theta.theta
        after = self.at(theta)
        self.path.append(after.f)
        return after

    def extrapolated(self, here: _Point, after: _Point) -> _Point:
        """Return a point further along the way of the last two steps, or `after` if that fails."""
        theta = self.m_step(after.statistics)
        assert self.state is not None
        if isinstance(theta, Restart):
            return after
        start, one, two = (np.asarray(self.pack(t)) for t in (here.theta, after.theta, theta))
        change, bend = one - start, two - 2 * one + start
        curvature = float(np.linalg.norm(bend))
        step = float(np.linalg.norm(change)) / curvature if curvature > 0 else 1.0
        if step <= 1 or self.n_iter >= self.max_iter:
            return after
        longest = self.state.longest
        step = min(step, longest)
        found = self.at(self.unpack(start + 2 * step * change + step**2 * bend))
        if not found.f <= after.f:
            found = self.settled(found, here, after)
        if not found.f <= after.f:
            # halfway to a plain step
            self.state = self.state._replace(longest=max((step + 1) / 2, 2.0))
            return after
        self.path.append(found.f)
        if step == longest:
            self.state = self.state._replace(longest=longest * _GROWTH)
        return found

    def settled(self, found: _Point, here: _Point, after: _Point) -> _Point:
        """Return a point one step on: an extrapolation may be good but for what a step mends."""
        worst = here.f + _DETOUR * (here.f - after.f)
        if not found.f < worst or self.n_iter >= self.max_iter:
            return found
        theta = self.m_step(found.statistics)
        return found if isinstance(theta, Restart) else self.at(theta)
