"""Capsules as torch modules: a layer that pools by routing, and one that makes its inputs."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from kexue._core import InputError, check_choice, check_int
from kexue.mixture.capsule_routing import (
    check_finite,
    check_mask,
    check_routing,
    route,
    shared_views,
    views,
)
from kexue.mixture.squash import KINDS, squash


class CapsuleLayer(nn.Module):
    r"""Pool a set of vectors into K capsules by `capsule_routing` of :math:`W_{ij} u_i`.

    Parameters
    ----------
    in_capsules : int or None
        N. None, any number; then `shared` must be True.
    in_dim, out_capsules, out_dim : int
        I, K and D.
    n_iter, update, squash, beta, detach_routing :
        As of `capsule_routing`.
    shared : bool
        Use one :math:`W_j` for all inputs, of any number and order. Nothing of size N K D is made:
        :math:`\langle W_j u_i, v_j \rangle = \langle u_i, W_j^T v_j \rangle`.
    return_coupling : bool
        Keep the couplings of the last call as `coupling_`.

    Attributes
    ----------
    weight : Parameter of shape (I, K, D), or (N, I, K, D) if not shared
        Begins as Glorot's uniform numbers of an I x K D matrix: with larger ones the softmax is
        hard from the start, and nothing is learned.
    coupling_ : tensor of shape (B, N, K) or None
        Detached.

    Examples
    --------
    >>> layer = CapsuleLayer(None, 16, 10, 8, shared=True)
    >>> lengths = torch.tensor([[30], [5], [9], [1]])
    >>> layer(torch.randn(4, 30, 16), mask=torch.arange(30) < lengths).shape
    torch.Size([4, 10, 8])

    References
    ----------
    As of `capsule_routing`.
    """

    coupling_: Tensor | None

    def __init__(
        self,
        in_capsules: int | None,
        in_dim: int,
        out_capsules: int,
        out_dim: int,
        *,
        n_iter: int = 3,
        shared: bool = False,
        update: str = "replace",
        squash: str | None = "su",
        beta: float = 1.0,
        detach_routing: bool = False,
        return_coupling: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if in_capsules is not None:
            check_int("in_capsules", in_capsules, minimum=1)
        elif not shared:
            raise InputError("in_capsules must be an int >= 1 unless shared=True, got None")
        check_int("in_dim", in_dim, minimum=1)
        check_int("out_capsules", out_capsules, minimum=1)
        check_int("out_dim", out_dim, minimum=1)
        check_routing(n_iter, update, squash, beta)
        self.in_capsules, self.in_dim = in_capsules, in_dim
        self.out_capsules, self.out_dim = out_capsules, out_dim
        self.n_iter, self.shared, self.update = n_iter, bool(shared), update
        self.squash, self.beta = squash, beta
        self.detach_routing, self.return_coupling = detach_routing, return_coupling
        shape: tuple[int, ...] = (in_dim, out_capsules, out_dim)
        if not shared:
            assert in_capsules is not None
            shape = (in_capsules, *shape)
        self.weight = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        self.coupling_ = None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights anew."""
        bound = math.sqrt(6 / (self.in_dim + self.out_capsules * self.out_dim))
        nn.init.uniform_(self.weight, -bound, bound)

    def forward(self, u: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the capsules.

        Parameters
        ----------
        u : tensor of shape (B, N, I)
        mask : bool tensor of shape (B, N), optional
            True where an input counts.

        Returns
        -------
        tensor of shape (B, K, D)

        Raises
        ------
        InputError, TypeError
            As of `capsule_routing`.
        """
        n = "N" if self.in_capsules is None else self.in_capsules
        fits = u.dim() == 3 and u.shape[2] == self.in_dim
        if not fits or (self.in_capsules is not None and u.shape[1] != self.in_capsules):
            raise InputError(f"u must have shape (B, {n}, {self.in_dim}), got {tuple(u.shape)}")
        check_mask(mask, u.shape[:2])
        if mask is not None:
            u = u.masked_fill(~mask[:, :, None], 0)
        shape = (u.shape[0], u.shape[1], self.out_capsules)
        options = (self.n_iter, self.update, self.squash, self.beta, self.detach_routing)
        if self.shared:
            v, c = route(shared_views, (u, self.weight), shape, *options)
        else:
            v, c = route(views, self.views(u), shape, *options)
        check_finite("u", u, v)
        if self.return_coupling:
            c = c.detach()
            self.coupling_ = c if mask is None else c * mask[:, :, None]
        return v

    def views(self, u: Tensor) -> Tensor:
        """Return what each input proposes to each capsule, (B, N, K, D)."""
        if self.shared:
            return torch.einsum("bni,ikd->bnkd", u, self.weight)
        n = self.weight.shape[0]
        found = torch.bmm(u.transpose(0, 1), self.weight.reshape(n, self.in_dim, -1))
        return found.view(n, len(u), self.out_capsules, self.out_dim).transpose(0, 1)

    def extra_repr(self) -> str:
        """Return the sizes, for printing."""
        return (
            f"{self.in_capsules}, {self.in_dim}, {self.out_capsules}, {self.out_dim}, "
            f"n_iter={self.n_iter}, shared={self.shared}, update={self.update!r}, "
            f"squash={self.squash!r}, beta={self.beta}"
        )


class PrimaryCapsules(nn.Module):
    """Turn feature maps into capsules: a convolution, cut into vectors, squashed.

    Parameters
    ----------
    in_channels : int
    n_types, dim : int
        The convolution has ``n_types * dim`` channels.
    kernel, stride : int
    squash : {"hinton", "su", "tanh", "exp", None}

    Examples
    --------
    >>> PrimaryCapsules(256)(torch.zeros(1, 256, 20, 20)).shape
    torch.Size([1, 1152, 8])

    References
    ----------
    Sabour, Frosst and Hinton, Dynamic routing between capsules, arXiv 1710.09829.
    """

    def __init__(
        self,
        in_channels: int,
        n_types: int = 32,
        dim: int = 8,
        kernel: int = 9,
        stride: int = 2,
        *,
        squash: str | None = "hinton",
    ) -> None:
        super().__init__()
        for name, value in (
            ("in_channels", in_channels), ("n_types", n_types), ("dim", dim),
            ("kernel", kernel), ("stride", stride),
        ):  # fmt: skip
            check_int(name, value, minimum=1)
        check_choice("squash", squash, KINDS)
        self.n_types, self.dim, self.squash = n_types, dim, squash
        self.conv = nn.Conv2d(in_channels, n_types * dim, kernel, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return capsules (B, n_types H W, dim) of maps (B, in_channels, h, w)."""
        found = self.conv(x)
        parts = found.view(len(x), self.n_types, self.dim, -1)
        return squash(parts.transpose(2, 3).reshape(len(x), -1, self.dim), kind=self.squash)
