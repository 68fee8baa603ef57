"""Exponentiated gradient: parameters that stay positive, or on a simplex, by multiplying."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim import Optimizer

from kexue._core import InputError, check_choice, check_float, check_int

_LOG_BOUND = 80.0  # e^-80 and e^80 are ordinary numbers of float32 and bfloat16
_FLOOR = 1e-12
_LOG, _MOMENTUM, _BUFFER = "logarithm", "momentum", "momentum_buffer"
_GEOMETRIES = ("positive", "simplex", "signed")


class ExponentiatedGradient(Optimizer):
    r"""Steps that multiply: no projection, no clipping, sparse solutions.

    .. math:: \theta \leftarrow \theta \odot \exp(-\eta g)

    keeps what is positive positive. On the simplex the rows are divided by their sum:
    :math:`\theta \leftarrow \mathrm{softmax}(\log\theta - \eta g)`. Numbers of either sign are the
    difference of two positive ones: :math:`\theta = 2\beta \sinh u, \; u \leftarrow u - \eta g`,
    or, of fixed total mass U, :math:`\theta^\pm \leftarrow \theta^\pm \odot \exp(\mp\eta g)`,
    rescaled so that :math:`\sum \theta^+ + \theta^- = U`.

    Parameters
    ----------
    params : iterable of Tensor, of (name, Tensor) or of dict
        As for any optimizer of torch; each group may have its own settings.
    lr : float >= 0
        :math:`\eta`: relative change of a coordinate per unit of its gradient.
    geometry : {"positive", "simplex", "signed"}
    mass : float > 0, optional
        Of "signed": U, of each row; the sums of the absolute values stay below it.
    dim : int
        Along which rows lie, with "simplex" or a `mass`.
    beta : float > 0
        Of "signed" without `mass`: coordinates well below it move as in gradient descent with
        the rate :math:`2\beta\eta`, those above in proportion to themselves.
    max_log_step : float > 0
        Largest change of the logarithm (of u) in one step; on the simplex, of gradients less
        their mean under :math:`\theta`, so that a constant added to them changes nothing.
    momentum : float in [0, 1)
        Of the gradient, as in ``torch.optim.SGD``: :math:`m \leftarrow \mu m + g`.
    init : {"strict", "project"}
        What happens to parameters outside the geometry: they are refused, or brought in (floored
        at 1e-12, on the simplex then divided by their sum; with a `mass`, scaled below it).

    Attributes
    ----------
    skipped_ : int
        Number of steps that were skipped for a gradient that was not finite.

    Raises
    ------
    InputError
        For a parameter outside the geometry, which is named, or a bad setting.
    TypeError
        For complex parameters, and in ``step`` for sparse gradients.

    Notes
    -----
    The state is the logarithm, of float32 or wider and within ±80, so that nothing overflows and
    narrow parameters lose no small steps. A value that is written to a parameter from outside is
    taken over at the next step; so is, floored at 1e-12, what add-ons of `derive` that stretch
    moves (a scale above 1 does) have brought out of the geometry. A coordinate never becomes
    zero, and one that is very small needs many steps to return.

    Examples
    --------
    >>> p = torch.nn.Parameter(torch.full((3,), 1 / 3))
    >>> optimizer = ExponentiatedGradient([p], lr=0.5, geometry="simplex")
    >>> for _ in range(20):
    ...     p.grad = torch.tensor([1.0, 0.0, 2.0])
    ...     optimizer.step()
    >>> p.data.round(decimals=3)
    tensor([0., 1., 0.])

    References
    ----------
    Kivinen and Warmuth, Exponentiated gradient versus gradient descent for linear predictors,
    Information and Computation 132, 1997. Ghai, Hazan and Singer, Exponentiated gradient meets
    gradient descent, ALT 2020. kexue.fm, archives/8968.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        *,
        geometry: Literal["positive", "simplex", "signed"] = "positive",
        mass: float | None = None,
        dim: int = -1,
        beta: float = 1.0,
        max_log_step: float = 1.0,
        momentum: float = 0.0,
        init: Literal["strict", "project"] = "strict",
    ) -> None:
        self._init = check_choice("init", init, ("strict", "project"))
        defaults = {
            "lr": lr, "geometry": geometry, "mass": mass, "dim": dim, "beta": beta,
            "max_log_step": max_log_step, _MOMENTUM: momentum, "skipped": 0,
        }  # fmt: skip
        _check_group(defaults)
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, as for any optimizer of torch."""
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        try:
            _check_group(group)
            for i, p in enumerate(group["params"]):
                names = group.get("param_names")
                name = names[i] if names else f"{i} of group {len(self.param_groups) - 1}"
                _check_parameter(name, p, group, strict=self._init == "strict")
        except (TypeError, ValueError):
            self.param_groups.pop()
            raise
        if self._init == "project":
            with torch.no_grad():
                for p in group["params"]:
                    p.copy_(_value(_begin(p, group), group))

    @property
    def skipped_(self) -> int:
        """Number of steps that were skipped for a gradient that was not finite."""
        return int(self.param_groups[0]["skipped"])

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take a step; return the loss if a `closure` that computes it anew is given."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        moving = [
            (p, group) for group in self.param_groups for p in group["params"] if p.grad is not None
        ]
        for p, _ in moving:
            if p.grad.is_sparse:
                raise TypeError("ExponentiatedGradient does not take sparse gradients")
        if moving and not bool(torch.stack([_is_finite(p.grad) for p, _ in moving]).all()):
            for group in self.param_groups:
                group["skipped"] += 1
            return loss
        for p, group in moving:
            self._move(p, group)
        return loss

    def _move(self, p: Tensor, group: dict[str, Any]) -> None:
        own = self.state[p]
        # what was written from outside is taken over
        if _LOG not in own or not torch.equal(p, _value(own[_LOG], group).to(p.dtype)):
            own[_LOG] = _begin(p, group)
        log = own[_LOG]
        gradient = p.grad.to(log.dtype)  # type: ignore[union-attr]
        if group[_MOMENTUM] > 0:
            if _BUFFER not in own:
                own[_BUFFER] = torch.zeros_like(gradient)
            most = torch.finfo(log.dtype).max
            gradient = own[_BUFFER].mul_(group[_MOMENTUM]).add_(gradient).clamp_(-most, most)
        change = _change(log, gradient, group)
        log.sub_(change)
        _normalise(log, group)
        top = min(_LOG_BOUND, math.log(torch.finfo(p.dtype).max) - 0.1)
        log.clamp_(-_LOG_BOUND, top - max(math.log(group["beta"]), 0.0))
        p.copy_(_value(log, group))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state; logarithms keep their type, which torch would make the parameter's."""
        super().load_state_dict(state_dict)
        indices = (i for group in state_dict["param_groups"] for i in group["params"])
        params = (p for group in self.param_groups for p in group["params"])
        for i, p in zip(indices, params, strict=True):
            for key, value in state_dict["state"].get(i, {}).items():
                self.state[p][key] = value.detach().to(p.device, copy=True)


# --- the three geometries; with a mass, the state has a first dimension: plus, minus


def _begin(p: Tensor, group: dict[str, Any]) -> Tensor:
    """Return the state whose value is nearest to `p`."""
    value = p.detach().to(torch.promote_types(p.dtype, torch.float32))
    if group["geometry"] == "signed":
        if group["mass"] is None:
            return torch.asinh(value / (2 * group["beta"]))
        return _split(value, group["mass"], _along(group))
    log = torch.where(value > 0, value, _FLOOR).log_()
    _normalise(log, group)
    return log.clamp_(-_LOG_BOUND, _LOG_BOUND)


def _value(log: Tensor, group: dict[str, Any]) -> Tensor:
    if group["geometry"] != "signed":
        return log.exp()
    if group["mass"] is None:
        return log.sinh().mul_(2 * group["beta"])
    plus, minus = log.exp().unbind()
    return plus - minus


def _change(log: Tensor, gradient: Tensor, group: dict[str, Any]) -> Tensor:
    """Return what is subtracted from the state."""
    lr, most = group["lr"], group["max_log_step"]
    if group["geometry"] == "simplex":
        # in halves: two finite numbers may lie further apart than the largest
        half = 0.5 * gradient
        gradient = half - (log.exp() * half).sum(group["dim"], keepdim=True)
        lr = 2 * lr
    change = (lr * gradient).clamp_(-most, most)
    return torch.stack([change, -change]) if group["mass"] is not None else change


def _normalise(log: Tensor, group: dict[str, Any]) -> None:
    if group["geometry"] == "simplex":
        log.sub_(log.logsumexp(group["dim"], keepdim=True))
    elif group["mass"] is not None:
        total = log.logsumexp((0, _along(group)), keepdim=True)
        log.sub_(total).add_(math.log(group["mass"]))


def _along(group: dict[str, Any]) -> int:
    """Return the dimension of the rows in a state with plus and minus in front."""
    dim: int = group["dim"]
    return dim if dim < 0 else dim + 1


def _split(value: Tensor, mass: float, along: int) -> Tensor:
    """Return the logarithms of two positive parts, what `value` leaves of `mass` spread evenly."""
    parts = torch.stack([value.clamp_min(0), (-value).clamp_min(0)])
    total = parts.sum((0, along), keepdim=True)
    parts = parts * (0.999 * mass / total).clamp_max(1)
    rest = (mass - parts.sum((0, along), keepdim=True)) / (2 * parts.shape[along])
    return (parts + rest).log_()


# --- checks


def _is_finite(gradient: Tensor) -> Tensor:
    return torch.isfinite(gradient).all().cpu()


def _check_group(group: dict[str, Any]) -> None:
    check_float("lr", group["lr"], minimum=0)
    check_choice("geometry", group["geometry"], _GEOMETRIES)
    if group["mass"] is not None:
        _check_positive("mass", group["mass"])
        if group["geometry"] != "signed":
            raise InputError(f"mass is for geometry='signed', got it with {group['geometry']!r}")
    check_int("dim", group["dim"])
    _check_positive("beta", group["beta"])
    _check_positive("max_log_step", group["max_log_step"])
    if not check_float(_MOMENTUM, group[_MOMENTUM], minimum=0) < 1:
        raise InputError(f"momentum must be a number in [0, 1), got {group[_MOMENTUM]!r}")


def _check_positive(name: str, value: Any) -> None:
    if not check_float(name, value, minimum=0) > 0:
        raise InputError(f"{name} must be > 0, got {value!r}")


def _check_parameter(name: str, p: Tensor, group: dict[str, Any], *, strict: bool) -> None:
    if not p.is_floating_point():
        raise TypeError(f"parameter {name} must be real and floating-point, got {p.dtype}")
    value = p.detach()
    if not bool(torch.isfinite(value).all()):
        raise InputError(f"parameter {name} must be finite")
    rows = group["geometry"] == "simplex" or group["mass"] is not None
    if rows and not -p.ndim <= group["dim"] < p.ndim:
        raise InputError(
            f"dim must be a dimension of parameter {name}, of shape {tuple(p.shape)}, "
            f"got {group['dim']}"
        )
    if not strict or not p.numel():
        return
    way_out = "give other values, or init='project'"
    if group["geometry"] != "signed" and not bool((value > 0).all()):
        raise InputError(
            f"parameter {name} must be positive, for what is 0 stays 0, "
            f"got {float(value.min()):.6g}; {way_out}"
        )
    if not rows:
        return
    sums = value.abs().sum(group["dim"], dtype=torch.promote_types(p.dtype, torch.float32))
    if group["mass"] is None:
        worst = float(sums.reshape(-1)[(sums - 1).abs().argmax()])
        if abs(worst - 1) > 1e-4:
            raise InputError(
                f"parameter {name} must have rows along dim {group['dim']} that sum to 1, "
                f"got the sum {worst:.6g}; {way_out}"
            )
    elif float(sums.max()) >= group["mass"]:
        raise InputError(
            f"parameter {name} must have rows along dim {group['dim']} whose absolute values sum "
            f"to less than the mass {group['mass']}, got {float(sums.max()):.6g}; {way_out}"
        )
