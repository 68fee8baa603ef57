"""Capsules: the shared layer beside one that makes all views, routing beside the usual loop.

One thread, CPU time, forward and backward. No maintained package routes, so that the other sides
are written here: what tutorials and their repositories publish, with the softmax over the outputs.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.drawing import ROOT
from benchmarks.measuring import Row

B, N, K, D_IN, D_OUT, STEPS = 16, 1152, 10, 8, 16, 3
LARGE_B = 128
ROUNDS = 9


def measure(data: Path) -> Iterator[Row]:
    """Yield the comparisons."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield shared_beside_views()
    yield shared_beside_our_views()
    yield memory()
    yield unshared_beside_loop("accumulate", "hinton")
    yield unshared_beside_loop("replace", "su")


def shared_beside_views() -> Row:
    from kexue.mixture import CapsuleLayer

    layer = CapsuleLayer(None, D_IN, K, D_OUT, shared=True, n_iter=STEPS)
    u = vectors(B)
    ours, peer, difference = compare(layer, lambda x: by_views(x, layer.weight), u)
    return Row(
        f"shared capsule layer, {B} x {N} x {D_IN} to {K} x {D_OUT}", "CPU s", ours, peer,
        "einsum over all views", 5,
        note=f"forward and backward, {STEPS} iterations; outputs differ by {difference:.1g}",
    )  # fmt: skip


def shared_beside_our_views() -> Row:
    from kexue.mixture import CapsuleLayer, capsule_routing

    layer = CapsuleLayer(None, D_IN, K, D_OUT, shared=True, n_iter=STEPS)
    u = vectors(B)
    ours, peer, difference = compare(layer, lambda x: capsule_routing(layer.views(x)), u)
    return Row(
        f"shared capsule layer, {B} x {N} x {D_IN} to {K} x {D_OUT}", "CPU s", ours, peer,
        "capsule_routing of all views", readme=False,
        note=f"ours on both sides; outputs differ by {difference:.1g}",
    )  # fmt: skip


def unshared_beside_loop(update: str, kind: str) -> Row:
    from kexue.mixture import CapsuleLayer

    layer = CapsuleLayer(N, D_IN, K, D_OUT, n_iter=STEPS, update=update, squash=kind)
    # (K, N, D_IN, D_OUT), as is usual
    weight = layer.weight.detach().permute(2, 0, 1, 3).contiguous().requires_grad_()
    u = vectors(B)
    ours, peer, difference = compare(layer, lambda x: usual_loop(x, weight, update, kind), u)
    if difference > 1e-5:
        raise RuntimeError(f"outputs differ by {difference:.2g}")
    return Row(
        f"capsule layer, update={update}, {B} x {N} x {D_IN} to {K} x {D_OUT}", "CPU s", ours,
        peer, "loop as published", 2,
        note=f"forward and backward, {STEPS} iterations; outputs differ by {difference:.1g}",
    )  # fmt: skip


def compare(
    ours: Callable[[Any], Any], peer: Callable[[Any], Any], u: Any
) -> tuple[float, float, float]:
    """Return median seconds of both, taken in turns, and how much outputs differ."""
    difference = (ours(u) - peer(u)).abs().max().item()
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for call, to in zip((ours, peer), seconds, strict=True):
            x = u.clone().requires_grad_()
            start = time.process_time()
            call(x).square().sum().backward()
            to.append(time.process_time() - start)
    return statistics.median(seconds[0]), statistics.median(seconds[1]), difference


def vectors(n: int) -> Any:
    import torch

    return 0.3 * torch.randn(n, N, D_IN)


def by_views(u: Any, weight: Any) -> Any:
    """Return capsules of a shared layer, all its views being made."""
    import torch

    u_hat = torch.einsum("bni,ikd->bnkd", u, weight)
    b = u_hat.new_zeros(u_hat.shape[:3])
    for t in range(STEPS):
        s = torch.einsum("bnk,bnkd->bkd", b.softmax(2), u_hat)
        if t < STEPS - 1:
            b = torch.einsum("bnkd,bkd->bnk", u_hat, torch.nn.functional.normalize(s, dim=2))
    square = s.square().sum(2, keepdim=True)
    return s * square.sqrt() / (0.5 + square)


def usual_loop(u: Any, weight: Any, update: str, kind: str) -> Any:
    """Return capsules by products of whole arrays, summed."""
    import torch

    views = u[None, :, :, None, :] @ weight[:, None]  # (K, B, N, 1, D)
    logits = torch.zeros_like(views)
    for t in range(STEPS):
        s = (logits.softmax(0) * views).sum(2, keepdim=True)
        square = s.square().sum(-1, keepdim=True)
        out = s * square.sqrt() / ((1.0 if kind == "hinton" else 0.5) + square)
        if t < STEPS - 1:
            v = out if update == "accumulate" else s / square.sqrt()
            agreement = (views * v).sum(-1, keepdim=True)
            logits = logits + agreement if update == "accumulate" else agreement.expand_as(views)
    return out[:, :, 0, 0].transpose(0, 1)


# --- memory


def memory() -> Row:
    ours, views = (in_new_process(side) for side in ("layer", "views"))
    return Row(
        f"memory of the shared layer, {LARGE_B} x {N} x {D_IN} to {K} x {D_OUT}", "MB",
        ours / 1e6, views / 1e6, "einsum over all views", 4,
        note=(
            "forward and backward: most resident memory of a fresh process, less that before; all "
            f"views alone are {LARGE_B * N * K * D_OUT * 4 / 1e6:.0f} MB"
        ),
    )  # fmt: skip


def in_new_process(side: str) -> int:
    """Return what `report` prints about this side."""
    command = [sys.executable, "-m", "benchmarks.mixture.bench_capsule", side]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return int(json.loads(done.stdout.splitlines()[-1]))


def report(side: str) -> None:
    """Print by how many bytes the most resident memory grows in a forward and backward pass."""
    import torch

    from kexue.mixture import CapsuleLayer

    torch.set_num_threads(1)
    layer = CapsuleLayer(None, D_IN, K, D_OUT, shared=True, n_iter=STEPS)

    def once(u: Any) -> None:
        out = layer(u) if side == "layer" else by_views(u, layer.weight)
        out.square().sum().backward()

    once(vectors(1).requires_grad_())
    u = vectors(LARGE_B).requires_grad_()
    Path("/proc/self/clear_refs").write_text("5")  # the most begins anew at what is now
    before = status("VmRSS")
    once(u)
    print(json.dumps(status("VmHWM") - before))


def status(name: str) -> int:
    """Return bytes of memory that Linux reports about this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


if __name__ == "__main__":
    report(*sys.argv[1:])
