"""Routing: soft k-means of each sample's vectors, unrolled for a few steps and differentiable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from kexue._core import InputError, check_choice, check_float, check_int
from kexue.mixture.squash import KINDS, unit
from kexue.mixture.squash import squash as squashed

UPDATES = ("replace", "accumulate")


class Steps(NamedTuple):
    """The two sums of a routing step.

    Attributes
    ----------
    pool : callable
        From couplings c (B, K, N) to s (B, K, D), the sums of what the inputs propose.
    agree : callable
        From v (B, K, D) to inner products with what the inputs propose, (B, K, N). In this order
        of the axes the softmax over K runs along N at a time.
    """

    pool: Callable[[Tensor], Tensor]
    agree: Callable[[Tensor], Tensor]


def capsule_routing(
    u_hat: Tensor,
    n_iter: int = 3,
    update: str = "replace",
    squash: str | None = "su",
    beta: float = 1.0,
    mask: Tensor | None = None,
    detach_routing: bool = False,
    return_coupling: bool = False,
) -> Any:
    r"""Send N vectors to K centres, each input sharing itself out over the centres.

    From :math:`b = 0`, `n_iter` times,

    .. math:: c_{ij} = \mathrm{softmax}_j(b_{ij}), \quad s_j = \sum_i c_{ij} \hat u_{ij}, \quad
        b_{ij} = \beta \langle \hat u_{ij}, s_j / |s_j| \rangle,

    then squash(s). This is soft k-means with unit centres and the distance
    :math:`-\langle u, v \rangle`, in which centre j sees its own view of the inputs.

    Parameters
    ----------
    u_hat : tensor of shape (B, N, K, D)
        What each input proposes to each centre.
    n_iter : int >= 1
        1 is a mean, times N / K.
    update : {"replace", "accumulate"}
        "accumulate" adds :math:`\beta \langle \hat u, \mathrm{squash}(s) \rangle` to b, as the
        original paper does. Its limit is a hard assignment, so that n_iter acts as a temperature.
    squash : {"su", "hinton", "tanh", "exp", None}
        As `kind` of `squash`.
    beta : float > 0
        Sharpness. Large inner products make the softmax hard, which a small beta undoes.
    mask : bool tensor of shape (B, N), optional
        True where an input counts. What the others hold, NaN included, changes nothing.
    detach_routing : bool
        Let gradients flow through the last sum only, not through c.
    return_coupling : bool
        Return c of the last sum too.

    Returns
    -------
    tensor of shape (B, K, D)
        And with `return_coupling` c (B, N, K), whose sums over K are 1, or 0 where masked.

    Raises
    ------
    InputError, TypeError
        For a bad parameter or shape, a sample without a valid input, or values that are not
        finite; the first sample is named. Compiled code leaves out the last two.

    Examples
    --------
    >>> u_hat = torch.randn(2, 50, 3, 8, generator=torch.Generator().manual_seed(0))
    >>> v, c = capsule_routing(u_hat, return_coupling=True)
    >>> v.shape, bool((c.sum(2) - 1).abs().max() < 1e-6), bool((v.norm(dim=2) < 1).all())
    (torch.Size([2, 3, 8]), True, True)

    References
    ----------
    kexue.fm, archives/5112. Sabour, Frosst and Hinton, Dynamic routing between capsules,
    arXiv 1710.09829.
    """
    check_routing(n_iter, update, squash, beta)
    if u_hat.dim() != 4 or not u_hat.is_floating_point():
        raise InputError(
            "u_hat must be a floating tensor of shape (B, N, K, D), "
            f"got {u_hat.dtype} of shape {tuple(u_hat.shape)}"
        )
    check_mask(mask, u_hat.shape[:2])
    if mask is not None:
        u_hat = u_hat.masked_fill(~mask[:, :, None, None], 0)
    v, c = route(
        views, u_hat, (*u_hat.shape[:3],), n_iter, update, squash, beta, detach_routing
    )  # fmt: skip
    check_finite("u_hat", u_hat, v)
    if not return_coupling:
        return v
    return v, c if mask is None else c * mask[:, :, None]


def views(u_hat: Tensor) -> Steps:
    """Return the two sums where each pair of an input and a centre has its own vector."""
    return Steps(
        lambda c: torch.einsum("bkn,bnkd->bkd", c, u_hat),
        lambda v: torch.einsum("bnkd,bkd->bkn", u_hat, v),
    )


def shared_views(u: Tensor, weight: Tensor) -> Steps:
    """Return the two sums where the views are ``u @ weight[:, k]``, without making them.

    ``<W_k u, v_k> = <u, W_k^T v_k>``, and the sum of ``c W_k u`` is ``W_k`` times that of ``c u``.

    Parameters
    ----------
    u : tensor of shape (B, N, I)
    weight : tensor of shape (I, K, D)
    """

    def pool(c: Tensor) -> Tensor:
        return torch.einsum("bki,ikd->bkd", c @ u, weight)

    def agree(v: Tensor) -> Tensor:
        return torch.einsum("ikd,bkd->bki", weight, v) @ u.transpose(1, 2)

    return Steps(pool, agree)


def route(
    make: Callable[..., Steps],
    tensors: Tensor | tuple[Tensor, ...],
    shape: tuple[int, int, int],
    n_iter: int,
    update: str,
    squash: str | None,
    beta: float,
    detach_routing: bool,
) -> tuple[Tensor, Tensor]:
    """Return the squashed centres (B, K, D) and the couplings (B, N, K).

    Parameters
    ----------
    make : callable
        From `tensors` to `Steps`.
    shape : (B, N, K)
    """
    n_samples, n, k = shape
    tensors = (tensors,) if isinstance(tensors, Tensor) else tensors
    steps = make(*tensors)
    inner = make(*(t.detach() for t in tensors)) if detach_routing else steps
    c = tensors[0].new_full((n_samples, k, n), 1 / k)
    b: Tensor | None = None
    for _ in range(n_iter - 1):
        s = inner.pool(c)
        v = unit(s) if update == "replace" else squashed(s, kind=squash)
        agreement = beta * inner.agree(v)
        b = agreement if b is None or update == "replace" else b + agreement
        c = b.softmax(1)
    return squashed(steps.pool(c), kind=squash), c.transpose(1, 2)


def check_routing(n_iter: Any, update: Any, squash: Any, beta: Any) -> None:
    """Refuse parameters of a routing that are not allowed."""
    check_int("n_iter", n_iter, minimum=1)
    check_choice("update", update, UPDATES)
    check_choice("squash", squash, KINDS)
    if check_float("beta", beta) <= 0:
        raise InputError(f"beta must be > 0, got {beta!r}")


def check_mask(mask: Tensor | None, shape: torch.Size) -> None:
    """Refuse a mask that is none, or leaves a sample nothing."""
    if mask is None:
        return
    if mask.dtype != torch.bool:
        raise TypeError(f"mask must be a bool tensor, got {mask.dtype}")
    if mask.shape != shape:
        raise InputError(f"mask must have shape {tuple(shape)}, got {tuple(mask.shape)}")
    if not torch.compiler.is_compiling():
        empty = ~mask.any(1)
        if empty.any():
            raise InputError(
                "mask must leave each sample a valid input, got none in row "
                f"{int(empty.int().argmax())}"
            )


def check_finite(name: str, given: Tensor, v: Tensor) -> None:
    """Refuse input that is not finite, which shows in the much smaller output."""
    if torch.compiler.is_compiling() or v.isfinite().all():
        return
    bad = ~given.flatten(1).isfinite().all(1)
    if bad.any():  # else it is the weights, or an overflow
        raise InputError(
            f"{name} must be finite, got NaN or infinity in row {int(bad.int().argmax())}"
        )
