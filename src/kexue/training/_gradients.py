"""One gradient of many parts: weighed, added up over parts and processes in one all-reduce."""

from __future__ import annotations

import torch
from accelerate import PartialState
from accelerate.utils import reduce

from kexue._core import InputError


class GradientSum:
    r"""The gradient of :math:`\sum w_i l_i / \sum w_i` over the parts i of an update.

    The mean of means is another thing where weights differ, as they do with tokens. So parts
    contribute :math:`w_i l_i`, and the sum is divided once. All processes add theirs to one flat
    buffer together with the sums of losses and weights, and with what one process wants all to
    know: one all-reduce an update.

    Parameters
    ----------
    parameters : list of Parameter
    process : accelerate.PartialState
    single : bool
        Whether an update has one part; then nothing needs to be weighed.
    scaler : GradScaler or None
    """

    def __init__(
        self,
        parameters: list[torch.nn.Parameter],
        process: PartialState,
        single: bool,
        scaler: torch.amp.GradScaler | None,
    ) -> None:
        self.parameters = parameters
        self.many = process.num_processes > 1
        self.single = single and not self.many
        self.device = process.device
        self.scaler = scaler
        self.parts: list[tuple[torch.Tensor, float]] = []
        dtypes = {p.dtype for p in parameters}
        self.dtype = torch.float64 if torch.float64 in dtypes else torch.float32

    def add(self, loss: torch.Tensor, weight: float) -> None:
        """Add the gradient of a part, whose mean loss is `loss`."""
        self.parts.append((loss.detach(), weight))
        # without weight the mean is 0 / 0
        if weight:
            weighed = loss if self.single else loss * weight
            (weighed if self.scaler is None else self.scaler.scale(weighed)).backward()

    def finish(self, *requests: bool) -> tuple[float, float, tuple[bool, ...]]:
        """Leave the gradient in the parameters; return loss, weight and the requests of all."""
        loss = weight = 0.0
        for value, w in self.parts:
            if w:
                # here and not in `add`, so that a device works on while parts are handed to it
                loss += value.item() * w
                weight += w
        if self.many:
            loss, weight, requests = self._reduce(loss, weight, requests)
        if not self.single and weight:
            gradients = [p.grad for p in self.parameters if p.grad is not None]
            if any(g.is_sparse for g in gradients):
                for gradient in gradients:
                    gradient.div_(weight)
            else:
                torch._foreach_div_(gradients, weight)
        return (loss / weight if weight else 0.0), weight, requests

    def clear(self) -> None:
        """Forget the parts of an update."""
        self.parts.clear()

    def _reduce(
        self, loss: float, weight: float, requests: tuple[bool, ...]
    ) -> tuple[float, float, tuple[bool, ...]]:
        """Add up gradients, losses, weights and requests over all processes."""
        present = [p.grad is not None for p in self.parameters]
        numbers = [loss, weight, *requests, *present]
        # two float32 for one float64, so that sums of many tokens keep their digits
        exact = torch.tensor(numbers, dtype=torch.float64)
        high = exact.to(self.dtype)
        low = (exact - high.double()).to(self.dtype)
        pieces = [high.to(self.device), low.to(self.device)]
        for p in self.parameters:
            if p.grad is not None and p.grad.is_sparse:
                raise InputError("sparse gradients need one process; embeddings with sparse=False")
            gradient = torch.zeros_like(p) if p.grad is None else p.grad
            pieces.append(gradient.detach().reshape(-1).to(self.dtype))
        flat = reduce(torch.cat(pieces), "sum")
        count = len(numbers)
        total = (flat[:count].double() + flat[count : 2 * count].double()).tolist()
        anywhere = total[2 + len(requests) :]
        begin = 2 * count
        for p, there in zip(self.parameters, anywhere, strict=True):
            summed = flat[begin : begin + p.numel()]
            begin += p.numel()
            # None where no process has one: an optimizer leaves such parameters alone
            p.grad = summed.view_as(p).to(p.dtype) if there else None
        return total[0], total[1], tuple(value > 0 for value in total[2 : 2 + len(requests)])
