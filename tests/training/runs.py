"""Training runs in processes of their own, for the tests that kill or multiply them.

``python runs.py killed FOLDER`` kills runs at random places and compares what they end with;
``python runs.py share FOLDER`` is one process of several, told apart by torch's variables;
``python runs.py full FOLDER`` runs on a disk that is full after some updates.
"""

import json
import os
import random
import resource
import signal
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from kexue.training import TrainingConfig, fit


def model(dropout=0.0, seed=0):
    torch.manual_seed(seed)
    return torch.nn.Sequential(
        torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Dropout(dropout), torch.nn.Linear(8, 3)
    )


def rows(n=60):
    generator = torch.Generator().manual_seed(1)
    X = torch.randn(n, 6, generator=generator)
    y = X[:, :3].argmax(1)
    return X, y, torch.randint(1, 9, (n,), generator=generator).float()


def weighted_loss(module, batch):
    x, y, w = batch
    losses = torch.nn.functional.cross_entropy(module(x), y, reduction="none")
    return {"loss": (w * losses).sum() / w.sum(), "weight": w.sum()}


def derived(parameters):
    from kexue.optim import Accumulate, Lookahead, WeightDecay, derive

    base = torch.optim.Adam(parameters, lr=0.01)
    return derive(base, Lookahead(3), Accumulate(2), WeightDecay(0.01, exclude=None))


OPTIMIZERS = {
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "derived": derived,
}
CONFIG = TrainingConfig(
    epochs=4,
    batch_size=8,
    accumulate=3,
    schedule={9: 1.0, 25: 0.1},
    clip_norm=1.0,
    checkpoint_every=5,
    log_every=4,
)


def run(name, workdir=None, die_at=None):
    """Train, and return all that must be the same in bits; die in the `die_at`-th loss."""
    calls = 0

    def loss(module, batch):
        nonlocal calls
        calls += 1
        if calls == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return weighted_loss(module, batch)

    module = model(dropout=0.3)
    result = fit(
        module,
        rows(),
        loss,
        CONFIG,
        optimizer=OPTIMIZERS[name],
        evaluate=lambda m: m(rows()[0]).square().mean(),
        workdir=workdir,
    )
    history = {key: column for key, column in result.history.items() if key != "seconds"}
    parameters = {key: p.tolist() for key, p in module.state_dict().items()}
    return {"history": history, "parameters": parameters, "evaluations": result.evaluations}


def killed(folder):
    torch.set_num_threads(1)  # so that forking is safe
    chance = random.Random(0)
    calls = 4 * (7 * 3 + 3)  # of the loss: eight updates an epoch, the last of four rows
    for name in OPTIMIZERS:
        unbroken = json.dumps(run(name))
        for trial in range(20):
            workdir = folder / f"{name}-{trial}"
            child = os.fork()
            if child == 0:
                run(name, workdir, die_at=chance.randint(1, calls))
                os._exit(0)
            _, status = os.waitpid(child, 0)
            assert os.WIFSIGNALED(status), f"{name} {trial} was not killed"
            again = run(name, workdir)
            print(name, trial, "same" if json.dumps(again) == unbroken else "DIFFERS")


def share(folder):
    from accelerate import PartialState

    reduces = 0
    reduce = torch.distributed.all_reduce

    def counted(*arguments, **options):
        nonlocal reduces
        reduces += 1
        return reduce(*arguments, **options)

    torch.distributed.all_reduce = counted
    process = PartialState(cpu=True)
    module = model(seed=process.process_index)  # the first one's is everybody's
    config = TrainingConfig(epochs=3, batch_size=16, accumulate=2, schedule={5: 1.0}, lr=0.01)
    result = fit(module, rows(), weighted_loss, config, optimizer=derived, workdir=folder / "work")
    rank = process.process_index
    save_file(module.state_dict(), folder / f"{process.num_processes}-{rank}.safetensors")
    told = {"reduces": reduces, "steps": result.steps, "history": result.history}
    (folder / f"{process.num_processes}-{rank}.json").write_text(json.dumps(told))
    process.destroy_process_group()


def full(folder):
    def fill(told):
        if told.step == 7:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))

    config = TrainingConfig(max_steps=40, batch_size=8, checkpoint_every=5)
    fit(model(), rows(), weighted_loss, config, callbacks=[fill], workdir=folder)


if __name__ == "__main__":
    {"killed": killed, "share": share, "full": full}[sys.argv[1]](Path(sys.argv[2]))
