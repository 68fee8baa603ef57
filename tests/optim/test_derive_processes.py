"""Derived optimizers across processes: after a kill, and two at a time; and compiled."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from kexue.optim import Accumulate, Lookahead, PiecewiseLinear, WeightDecay, derive

WORKER = Path(__file__).with_name("worker.py")
_spec = importlib.util.spec_from_file_location("optim_worker", WORKER)
worker = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(worker)


def start(*arguments):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(WORKER), *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def test_killed_and_resumed_is_the_unbroken_run(tmp_path):
    """Killed inside a window of 3 micro-batches, which lies inside one of 4 updates."""
    expected = worker.unbroken()
    path = tmp_path / "state.pt"
    for stop in (41, -1):
        process = start("killed", path, stop)
        _, errors = process.communicate(timeout=120)
        assert process.returncode == (-9 if stop > 0 else 0), errors
        saved = torch.load(path, weights_only=True)
        group = saved["optimizer"]["param_groups"][0]
        if stop > 0:
            assert group["micro_steps"] == 2
            assert group["updates"] % 4
    assert saved["step"] == worker.N_STEPS
    for name, p in expected.state_dict().items():
        assert torch.equal(saved["model"][name], p), name


@pytest.mark.parametrize("views", [0, 1])
def test_two_processes_are_one_on_the_joint_batch(views, tmp_path):
    processes = [start("parallel", rank, tmp_path, views) for rank in range(2)]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    reports = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    model = worker.parallel_model()
    optimizer = worker.parallel_stack(model)
    for batch in worker.joint_batches():
        optimizer.zero_grad()
        model(batch).square().mean().backward()
        optimizer.step()
    expected = torch.cat([p.detach().reshape(-1) for p in model.parameters()])
    for report in reports:
        np.testing.assert_allclose(report["weights"], expected, rtol=0, atol=1e-12)
        assert report["updates"] == 8
        assert report["reductions"] == list(range(8))  # one for each update


class Simulated:
    """A process group of two, as far as `Reduction` asks."""

    def __init__(self, monkeypatch):
        monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
        monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)


def test_weights_under_data_parallelism_must_be_announced(monkeypatch):
    Simulated(monkeypatch)
    p = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = derive(torch.optim.SGD([p], lr=1.0), Accumulate(2))
    seen = []
    for factor, weight in ((1.0, 1), (5.0, 3)):
        optimizer.announce(weight)
        (factor * p).sum().backward()
        seen.append(p.grad.item())
        optimizer.step(weight=weight)
    assert seen == [1, 4]  # what would be reduced: the second one holds the whole window
    assert p.item() == -4
    for _ in range(2):
        p.sum().backward()
        if optimizer.will_step:
            with pytest.raises(ValueError, match=r"call announce\(3\)"):
                optimizer.step(weight=3)
        else:
            optimizer.step()


def test_several_backward_passes_in_the_last_micro_batch(monkeypatch):
    Simulated(monkeypatch)
    p = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = derive(torch.optim.SGD([p], lr=1.0), Accumulate(2))
    for _ in range(3):
        for factors in ((1.0,), (2.0, 3.0)):
            optimizer.zero_grad()
            if len(factors) == 2:  # one that is given up
                (7 * p).sum().backward()
                optimizer.zero_grad()
            for factor in factors:
                (factor * p).sum().backward()
            optimizer.step()
    assert p.item() == -9


def test_a_scaler_under_data_parallelism_is_refused(monkeypatch):
    Simulated(monkeypatch)
    p = nn.Parameter(torch.zeros(1))
    optimizer = derive(torch.optim.SGD([p], lr=1.0), Accumulate(2))
    scaler = torch.amp.GradScaler("cpu")
    scaler.scale(p.sum()).backward()
    scaler.step(optimizer)
    scaler.update()
    scaler.scale(p.sum()).backward()
    scaler.step(optimizer)
    scaler.update()
    scaler.scale(p.sum()).backward()
    scaler.step(optimizer)
    scaler.update()
    with pytest.raises(RuntimeError, match="cannot mix gradients that a GradScaler"):
        scaler.scale(p.sum()).backward()


def test_distributed_checkpoint_on_disk(tmp_path):
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint.state_dict import (
        get_optimizer_state_dict,
        set_optimizer_state_dict,
    )

    def fresh(seed):
        torch.manual_seed(seed)
        model = nn.Linear(3, 2)
        optimizer = derive(
            torch.optim.Adam(model.parameters(), lr=0.1), Accumulate(2), Lookahead(2)
        )
        return model, optimizer

    def train(model, optimizer, n):
        for _ in range(n):
            optimizer.zero_grad()
            model(torch.ones(4, 3)).square().mean().backward()
            optimizer.step()

    model, optimizer = fresh(0)
    train(model, optimizer, 5)
    state = {"model": model.state_dict(), "optim": get_optimizer_state_dict(model, optimizer)}
    dcp.save(state, checkpoint_id=tmp_path, no_dist=True)
    other, twin = fresh(1)
    loaded = {"model": other.state_dict(), "optim": get_optimizer_state_dict(other, twin)}
    assert twin.updates == 0
    dcp.load(loaded, checkpoint_id=tmp_path, no_dist=True)
    other.load_state_dict(loaded["model"])
    set_optimizer_state_dict(other, twin, loaded["optim"])
    assert (twin.updates, twin.will_step) == (2, True)
    train(model, optimizer, 6)
    train(other, twin, 6)
    assert torch.equal(model.weight, other.weight)


def sgd(params, lr):
    return torch.optim.SGD(params, lr=lr, momentum=0.9)


@pytest.mark.parametrize("rate", [0.1, torch.tensor(0.1)], ids=["float", "tensor"])
@pytest.mark.parametrize(
    # compiled, torch's Adam computes its bias corrections in float32
    ("base", "tolerance"),
    [(sgd, 1e-12), (torch.optim.Adam, 1e-3)],
    ids=["SGD", "Adam"],
)
def test_compiled_steps(base, tolerance, rate):
    """At most three graphs, and none once all kinds of steps were seen."""
    from torch._dynamo.testing import CompileCounter

    torch._dynamo.reset()
    models = [nn.Linear(3, 2).double() for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    # a rate that changes must be a tensor, as for the schedulers of torch
    addons = [WeightDecay(0.1, None), Accumulate(2), Lookahead(3)]
    if isinstance(rate, torch.Tensor):
        addons.append(PiecewiseLinear({100: 1.0}))
    counter = CompileCounter()
    results = []
    for model, compiled in zip(models, (False, True), strict=True):
        optimizer = derive(base(model.parameters(), lr=rate), *addons)
        step = torch.compile(optimizer.step, backend=counter) if compiled else optimizer.step
        for i in range(100):
            optimizer.zero_grad()
            model(torch.ones(2, 3).double() * (i % 7)).square().mean().backward()
            step()
            if compiled and i == 49:
                early = counter.frame_count
        results.append(torch.cat([p.detach().reshape(-1) for p in model.parameters()]))
    assert 0 < early <= 3
    assert counter.frame_count == early
    torch.testing.assert_close(*results, rtol=tolerance, atol=tolerance / 100)
