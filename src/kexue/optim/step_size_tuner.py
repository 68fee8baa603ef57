"""A step size that learns itself, by exponentiated gradient on the loss."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kexue._core import InputError, check_float
from kexue.optim._dense_kernels import is_native, products_kernel
from kexue.optim._state import GAIN, GAIN_MEAN, LOG_SCALE, MOVE

_GAIN_BOUNDS = (0.01, 100.0)


@dataclass(frozen=True)
class StepSizeTuner:
    r"""Learn one scale of the rate, and a gain for every coordinate, while training.

    A step is :math:`\theta_t = \theta_{t-1} - s_t h_t`. The derivative of the next loss by the
    scale is :math:`-\langle g_{t+1}, h_t \rangle`, so exponentiated gradient makes the scale grow
    while moves go on to be downhill, and shrink where they overshoot:

    .. math:: s_t = s_{t-1} \exp(\gamma_s \cos(h_{t-1}, g_t)), \quad
        p_t = p_{t-1} \odot \exp\left(\gamma_p \frac{m_{t-1}}{|m_{t-1}|_\infty} \odot
        \frac{g_t}{|g_t|_\infty}\right)

    with m the running mean of the gradients. Gains multiply moves coordinate by coordinate.

    Parameters
    ----------
    rate : float >= 0
        :math:`\gamma_s`. The scale changes by at most this factor's exponential a step: from one
        that is off by 100, it takes 460 steps of 0.01 at least.
    gain_rate : float >= 0
        :math:`\gamma_p`; 0 keeps no gains.
    beta : float in [0, 1)
        Of the running mean m.
    normalize : bool
        Take the cosine and the largest entries out, as above, so that the unit of the loss does
        not matter. False takes the products as they are, :math:`\langle h, g \rangle` and
        :math:`m \odot g`: the derivatives themselves, of the unit of the loss or its square.
    bounds : (float, float)
        Within which the scale stays. Gains stay within 0.01 and 100.
    per_group : bool
        A scale for each parameter group rather than one for all.

    Notes
    -----
    The scale multiplies the rates together with the schedule; gains act on the base's move and
    the decay. Decay itself is left out of h. h is the last move of whatever base; it costs one
    buffer, gains two more. Under `Accumulate` an update counts once; the pull of `Lookahead` is
    no move. Lazy tables that are updated row by row are scaled with the rest, but do not vote.
    An update with a gradient that is not finite is skipped and counted in ``Derived.skipped_``.

    Examples
    --------
    A rate a hundred times too small for :math:`\theta^2 / 2`:

    >>> from kexue.optim import derive
    >>> p = torch.nn.Parameter(torch.ones(1))
    >>> optimizer = derive(torch.optim.SGD([p], lr=0.01), StepSizeTuner(rate=0.1))
    >>> for _ in range(60):
    ...     p.grad = p.detach().clone()
    ...     optimizer.step()
    >>> optimizer.scale > 30, abs(p.item()) < 1e-3
    (True, True)

    References
    ----------
    Amid, Anil, Fifty and Warmuth, Step-size adaptation using exponentiated gradient updates,
    arXiv 2202.00145. kexue.fm, archives/8968.
    """

    rate: float = 0.01
    gain_rate: float = 0.0
    beta: float = 0.9
    normalize: bool = True
    bounds: tuple[float, float] = (1e-4, 1e4)
    per_group: bool = False

    def __post_init__(self) -> None:
        check_float("rate", self.rate, minimum=0)
        check_float("gain_rate", self.gain_rate, minimum=0)
        if not check_float("beta", self.beta, minimum=0) < 1:
            raise InputError(f"beta must be a number in [0, 1), got {self.beta!r}")
        for name in ("normalize", "per_group"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} must be a bool, got {getattr(self, name)!r}")
        if not isinstance(self.bounds, tuple | list) or len(self.bounds) != 2:
            raise TypeError(f"bounds must be two numbers, got {self.bounds!r}")
        low, high = (check_float("bounds", bound, minimum=0) for bound in self.bounds)
        if not 0 < low <= 1 <= high:
            raise InputError(
                f"bounds must be (low, high) with 0 < low <= 1 <= high, got {self.bounds!r}"
            )


def learn(
    tuner: StepSizeTuner, groups: list[dict[str, Any]], moving: list[list[Tensor]], state: Any
) -> bool:
    """Learn scale and gains from the gradients; return False, and nothing, if one is not finite.

    All tensors see the scale of the same step: products are summed before any is changed.
    """
    for params in moving:
        for p in params:
            gradient = p.grad
            if gradient is not None and (gradient.is_sparse or gradient.is_complex()):
                kind = "sparse" if gradient.is_sparse else "complex"
                raise TypeError(f"StepSizeTuner does not take {kind} gradients")
    sums = torch.stack([_products(params, state) for params in moving])
    if not bool(torch.isfinite(sums).all()):
        return False
    totals = sums if tuner.per_group else sums.sum(0, keepdim=True).expand_as(sums)
    low, high = (math.log(bound) for bound in tuner.bounds)
    for group, (dot, move, slope) in zip(groups, totals.tolist(), strict=True):
        scale = group[LOG_SCALE]
        if tuner.normalize:
            size = math.sqrt(move) * math.sqrt(slope)
            change = dot / size if size > 0 else 0.0
        else:
            change = dot / math.exp(scale)  # h is the move before it was scaled
        group[LOG_SCALE] = min(max(scale + tuner.rate * change, low), high)
    if tuner.gain_rate > 0:
        for params in moving:
            for p in params:
                _learn_gains(tuner, p, state[p])
    return True


def prepare(tuner: StepSizeTuner, params: list[Tensor], state: Any) -> None:
    """Make the tensors that steps would make."""
    for p in params:
        if p.grad is not None:
            state[p][MOVE] = torch.zeros_like(p)
            if tuner.gain_rate > 0:
                _learn_gains(tuner, p, state[p])


def scale_of(group: dict[str, Any]) -> float:
    """Return the scale of a group."""
    return math.exp(group[LOG_SCALE])


def remember(p: Tensor, own: dict[str, Any], decay: Any) -> None:
    """Make the value before the step the move, less what was `decay` times that value."""
    before = own[MOVE]
    if isinstance(decay, Tensor) or decay:
        before.mul_(1 - decay * own[GAIN] if GAIN in own else 1 - decay)
    before.sub_(p)


def _products(params: list[Tensor], state: Any) -> Tensor:
    """Return the sums of move x gradient, move squared and gradient squared, in float64."""
    native, parts = [0.0, 0.0, 0.0], []
    for p in params:
        move, gradient = state[p].get(MOVE), p.grad
        if gradient is None:
            continue
        # without a move yet, only whether the gradient is finite counts
        known = move is not None
        move = move if known else gradient
        if is_native(move, gradient):
            found = products_kernel(move.view(-1).numpy(), gradient.view(-1).numpy())
            native = [a + (b if known else 0 * b) for a, b in zip(native, found, strict=True)]
            continue
        wide = torch.float32 if p.dtype.itemsize < 4 else p.dtype
        a, b = move.reshape(-1).to(wide), gradient.reshape(-1).to(wide)
        triple = torch.stack([torch.dot(a, b), torch.dot(a, a), torch.dot(b, b)]).double()
        parts.append(triple if known else 0 * triple)
    total = torch.tensor(native, dtype=torch.float64)
    return total + torch.stack(parts).sum(0).cpu() if parts else total


def _learn_gains(tuner: StepSizeTuner, p: Tensor, own: dict[str, Any]) -> None:
    assert p.grad is not None
    gradient = p.grad.float() if p.grad.dtype.itemsize < 4 else p.grad
    if GAIN not in own:
        own[GAIN] = torch.ones_like(gradient)
        own[GAIN_MEAN] = torch.zeros_like(gradient)
    mean, gain = own[GAIN_MEAN], own[GAIN]
    # each by its own largest entry first: the product of two small ones is none
    change = _unit(mean) * _unit(gradient) if tuner.normalize else mean * gradient
    change.mul_(tuner.gain_rate)
    gain.mul_(change.exp_()).clamp_(*_GAIN_BOUNDS)
    mean.lerp_(gradient, 1 - tuner.beta)


def _unit(tensor: Tensor) -> Tensor:
    """Return a tensor whose largest entry is 1 or -1; zeros stay."""
    largest = tensor.abs().amax()
    return torch.where(largest > 0, tensor / largest, 0.0)
