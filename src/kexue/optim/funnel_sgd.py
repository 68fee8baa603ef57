"""Gradient descent with momentum whose scale and gains learn themselves, as the paper has it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.optim import Optimizer

from kexue._core import InputError, check_float
from kexue.optim._state import GAIN, LOG_SCALE, MOVE, SKIPPED, restore
from kexue.optim.step_size_tuner import StepSizeTuner, learn, scale_of


class FunnelSGD(Optimizer):
    r"""SGD with momentum, a learned scale of the rate and a learned gain for every coordinate.

    .. math::
        p_t &= p_{t-1} \odot \exp(\gamma_p \, m_{t-1} \odot g_t), \quad
        s_t = s_{t-1} \exp(\gamma_s \langle h_{t-1}, g_t \rangle) \\
        m_t &= \beta m_{t-1} + (1 - \beta) g_t, \quad
        h_t = \mu h_{t-1} + \eta p_t \odot g_t, \quad
        \theta_t = \theta_{t-1} - s_t h_t

    with all products normalised unless asked otherwise (see `StepSizeTuner`). Gains act on the
    gradient before the momentum; in ``derive(SGD(momentum=...), StepSizeTuner(gain_rate=...))``
    they act on the move after it, and the base may be any optimizer.

    Parameters
    ----------
    params : iterable of Tensor, of (name, Tensor) or of dict
        As for any optimizer of torch.
    lr : float >= 0
        :math:`\eta`.
    momentum : float in [0, 1)
        :math:`\mu`.
    beta : float in [0, 1)
        Of the running mean m.
    rate, gain_rate : float >= 0
        :math:`\gamma_s` and :math:`\gamma_p`. Both 0, it is SGD.
    normalize : bool
        Take the cosine of h and g, and m and g in units of their largest entries.
    bounds : (float, float)
        Within which the scale stays. Gains stay within 0.01 and 100.
    per_group : bool
        A scale for each parameter group rather than one for all.

    Attributes
    ----------
    scale : float
        Of the first group.
    scales_ : list of float
    skipped_ : int
        Number of steps that were skipped for a gradient that was not finite.

    Raises
    ------
    InputError, TypeError
        For a bad setting; in ``step``, for sparse or complex gradients.

    Examples
    --------
    >>> p = torch.nn.Parameter(torch.ones(2))
    >>> optimizer = FunnelSGD([p], lr=0.001, rate=0.1)
    >>> for _ in range(100):
    ...     p.grad = p.detach().clone()
    ...     optimizer.step()
    >>> optimizer.scale > 5, bool(p.detach().norm() < 0.1)
    (True, True)

    References
    ----------
    Amid, Anil, Fifty and Warmuth, Step-size adaptation using exponentiated gradient updates,
    arXiv 2202.00145. kexue.fm, archives/8968.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float = 0.9,
        beta: float = 0.9,
        rate: float = 0.01,
        gain_rate: float = 0.01,
        normalize: bool = True,
        *,
        bounds: tuple[float, float] = (1e-4, 1e4),
        per_group: bool = False,
    ) -> None:
        self._tuner = StepSizeTuner(rate, gain_rate, beta, normalize, bounds, per_group)
        defaults = {"lr": lr, "momentum": momentum, LOG_SCALE: 0.0, SKIPPED: 0}
        _check_group(defaults)
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, as for any optimizer of torch."""
        super().add_param_group(param_group)
        try:
            _check_group(self.param_groups[-1])
        except (TypeError, ValueError):
            self.param_groups.pop()
            raise

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take a step; return the loss if a `closure` that computes it anew is given."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        groups = self.param_groups
        moving = [[p for p in group["params"] if p.grad is not None] for group in groups]
        for params in moving:
            for p in params:
                if p.grad.is_sparse or p.grad.is_complex():
                    kind = "sparse" if p.grad.is_sparse else "complex"
                    raise TypeError(f"FunnelSGD does not take {kind} gradients")
        before = [group[LOG_SCALE] for group in groups]
        if not learn(self._tuner, groups, moving, self.state):
            for group in groups:
                group[SKIPPED] += 1
            return loss
        for group, params, old in zip(groups, moving, before, strict=True):
            # the state keeps s h, which is what was moved
            keep = group["momentum"] * math.exp(group[LOG_SCALE] - old)
            lr = group["lr"] * math.exp(group[LOG_SCALE])
            for p in params:
                own = self.state[p]
                pushed = p.grad * own[GAIN] if GAIN in own else p.grad
                if MOVE not in own:
                    own[MOVE] = torch.zeros_like(p)
                own[MOVE].mul_(keep).add_(pushed, alpha=lr)
                p.sub_(own[MOVE])
        return loss

    @property
    def scale(self) -> float:
        """Learned scale of the rate, of the first group."""
        return self.scales_[0]

    @property
    def scales_(self) -> list[float]:
        """Learned scale of each group."""
        return [scale_of(group) for group in self.param_groups]

    @property
    def skipped_(self) -> int:
        """Number of steps that were skipped for a gradient that was not finite."""
        return int(self.param_groups[0][SKIPPED])

    def gains(self, p: torch.Tensor) -> torch.Tensor:
        """Return the gains of a parameter, of its shape: 1 before its first step."""
        found = self.state.get(p, {}).get(GAIN)
        return torch.ones_like(p) if found is None else found

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state; gains keep their type, which torch would make the parameter's."""
        super().load_state_dict(state_dict)
        restore(self, state_dict)


def _check_group(group: dict[str, Any]) -> None:
    check_float("lr", group["lr"], minimum=0)
    if not check_float("momentum", group["momentum"], minimum=0) < 1:
        raise InputError(f"momentum must be a number in [0, 1), got {group['momentum']!r}")
