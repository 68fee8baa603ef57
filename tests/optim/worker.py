"""What the tests of derived optimizers run in other processes."""

import contextlib
import json
import os
import signal
import sys
from pathlib import Path

import torch
from torch import nn

from kexue.optim import (
    Accumulate,
    Lazy,
    Lookahead,
    PiecewiseLinear,
    StepSizeTuner,
    WeightDecay,
    derive,
)

N_STEPS = 60


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(12, 4, sparse=True)
        self.body = nn.Linear(4, 3)

    def forward(self, rows):
        return self.body(self.table(rows))


def build(mode="masked"):
    torch.manual_seed(0)
    model = Model().double()
    optimizer = derive(
        torch.optim.Adam(model.parameters(), lr=0.05),
        *(WeightDecay(0.01), PiecewiseLinear({5: 1, 15: 0.1}), Accumulate(3), Lookahead(4)),
        *(Lazy([model.table], mode), StepSizeTuner(0.05, 0.05)),
        named_parameters=model.named_parameters(),
    )
    return model, optimizer


def train_step(model, optimizer, i):
    generator = torch.Generator().manual_seed(i)
    rows = torch.randint(12, (2 + i % 3,), generator=generator)
    labels = torch.randint(3, rows.shape, generator=generator)
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(rows), labels).backward()
    optimizer.step(weight=len(rows))


def unbroken(mode="masked"):
    model, optimizer = build(mode)
    for i in range(N_STEPS):
        train_step(model, optimizer, i)
    return model


def killed(path, stop):
    """Train and store every step; be killed at step `stop`, or go on to the end."""
    model, optimizer = build()
    start = 0
    if Path(path).exists():
        saved = torch.load(path, weights_only=True)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        start = saved["step"]
    for i in range(start, N_STEPS):
        if i == int(stop):
            os.kill(os.getpid(), signal.SIGKILL)
        train_step(model, optimizer, i)
        saved = {
            "model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": i + 1,
        }  # fmt: skip
        torch.save(saved, f"{path}.new")
        os.replace(f"{path}.new", path)


# --- two processes


def joint_batches():
    generator = torch.Generator().manual_seed(3)
    return torch.randn(24, 8, 4, generator=generator, dtype=torch.float64)


def parallel_model():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2)).double()


def parallel_stack(model):
    return derive(
        torch.optim.Adam(model.parameters(), lr=0.05),
        *(WeightDecay(0.1, exclude=None), Accumulate(3), Lookahead(2)),
    )


def parallel(rank, folder, views):
    """Train one of two processes on its half of every batch; write weights and reductions."""
    import torch.distributed as dist
    from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
    from torch.nn.parallel import DistributedDataParallel

    rank, views = int(rank), int(views)
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2)
    model = DistributedDataParallel(parallel_model(), gradient_as_bucket_view=bool(views))
    optimizer = parallel_stack(model.module)
    reductions = []

    def counting(state, bucket):
        reductions.append(optimizer.updates)
        return allreduce_hook(state, bucket)

    model.register_comm_hook(None, counting)
    for batch in joint_batches():
        half = batch[4 * rank : 4 * rank + 4]
        with contextlib.nullcontext() if optimizer.will_step else model.no_sync():
            model(half).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    flat = torch.cat([p.detach().reshape(-1) for p in model.parameters()])
    report = {"weights": flat.tolist(), "reductions": reductions, "updates": optimizer.updates}
    Path(folder, f"{rank}.json").write_text(json.dumps(report), encoding="utf-8")
    dist.destroy_process_group()


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
