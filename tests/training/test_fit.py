"""The loop: the same bits after a kill, the same numbers on any processes, nothing lost."""

import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from kexue._core import InputError
from kexue.optim import Lazy, Lookahead, WeightDecay, derive
from kexue.training import IndexedData, TrainingConfig, fit
from kexue.training._random import random_state

RUNS = Path(__file__).with_name("runs.py")
F = torch.nn.functional


def linear(seed=0):
    torch.manual_seed(seed)
    return torch.nn.Linear(4, 2)


@pytest.fixture
def rows():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(50, 4, generator=generator), torch.randint(0, 2, (50,), generator=generator)


def cross_entropy(module, batch):
    x, y = batch
    return F.cross_entropy(module(x), y)


def parameters(module):
    return torch.cat([p.detach().reshape(-1) for p in module.parameters()])


def python(*arguments, **options):
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        **options,
    )


def test_is_the_loop_that_one_would_write_by_hand(rows):
    module, twin = linear(), linear()
    config = TrainingConfig(epochs=3, batch_size=16, lr=0.01, log_every=1)
    result = fit(module, rows, cross_entropy, config)
    data = IndexedData.of(rows)
    optimizer = torch.optim.AdamW(twin.parameters(), lr=0.01)
    losses = []
    for epoch in range(3):
        order = data.order(0, epoch)
        for begin in range(0, 50, 16):
            loss = cross_entropy(twin, data.collate(order[begin : begin + 16]))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
    assert torch.equal(parameters(module), parameters(twin))
    assert result.history["loss"] == losses
    assert result.steps == 12
    assert result.history["step"] == list(range(1, 13))


def test_a_killed_run_ends_with_the_same_bits(tmp_path):
    found = python(RUNS, "killed", tmp_path)
    assert found.returncode == 0, found.stderr
    lines = found.stdout.splitlines()
    assert len(lines) == 60
    assert all(line.endswith("same") for line in lines), found.stdout


def test_two_processes_are_one(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])

    def start(world, rank):
        variables = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        variables |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world)}
        variables |= {"OMP_NUM_THREADS": "1"}
        environment = {**os.environ, **(variables if world > 1 else {})}
        command = [sys.executable, str(RUNS), "share", str(tmp_path / str(world))]
        return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)

    for world in (1, 2):
        (tmp_path / str(world)).mkdir()
        running = [start(world, rank) for rank in range(world)]
        for process in running:
            _, errors = process.communicate(timeout=120)
            assert process.returncode == 0, errors
    told = {
        key: json.loads((tmp_path / key[0] / f"{key}.json").read_text())
        for key in ("1-0", "2-0", "2-1")
    }
    one, first, second = (
        load_file(tmp_path / key[0] / f"{key}.safetensors") for key in ("1-0", "2-0", "2-1")
    )
    for name in one:
        assert torch.equal(first[name], second[name])
        torch.testing.assert_close(first[name], one[name], rtol=0, atol=1e-6)
    np.testing.assert_allclose(
        told["2-0"]["history"]["loss"], told["1-0"]["history"]["loss"], rtol=1e-6
    )
    # one for each update, however many parts it has; none for a process alone
    assert told["2-0"]["reduces"] == told["2-0"]["steps"] == 12
    assert told["1-0"]["reduces"] == 0


@pytest.mark.parametrize("accumulate", [2, 3, 7, 40])
def test_parts_weighed_by_tokens_are_the_whole(rows, accumulate):
    tokens = torch.arange(50.0) % 7  # some rows have none
    data = (*rows, tokens)

    def loss(module, batch):
        x, y, w = batch
        each = F.cross_entropy(module(x.double()), y, reduction="none")
        return {"loss": (w * each).sum() / w.sum(), "weight": w.sum()}

    modules = [linear().double() for _ in range(2)]
    histories = [
        fit(
            module,
            data,
            loss,
            TrainingConfig(epochs=2, batch_size=20, accumulate=parts, log_every=1),
            optimizer=lambda p: torch.optim.SGD(p, lr=0.3),
        ).history["loss"]
        for module, parts in zip(modules, (1, accumulate), strict=True)
    ]
    torch.testing.assert_close(*map(parameters, modules), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(*histories, rtol=1e-12)


def test_rows_weigh_the_same_where_parts_have_unequal_numbers(rows):
    modules = [linear(), linear()]
    for module, parts in zip(modules, (1, 3), strict=True):
        config = TrainingConfig(epochs=2, batch_size=20, accumulate=parts)
        fit(module, rows, cross_entropy, config, optimizer=lambda p: torch.optim.SGD(p, lr=0.3))
    torch.testing.assert_close(*map(parameters, modules), rtol=0, atol=1e-6)


def test_the_schedule_multiplies_the_rate_of_each_group(rows):
    module = linear()
    groups = [{"params": [module.weight]}, {"params": [module.bias], "lr": 0.5}]
    optimizer = torch.optim.SGD(groups, lr=1.0)
    seen = []
    config = TrainingConfig(max_steps=20, batch_size=10, schedule={10: 1, 20: 0.1}, log_every=1)
    fit(
        module,
        rows,
        cross_entropy,
        config,
        optimizer=optimizer,
        callbacks=[lambda told: seen.append([g["lr"] for g in told.optimizer.param_groups])],
    )
    rates = np.array(seen)
    np.testing.assert_allclose(rates[[0, 9, 14, 19], 0], [0.1, 1, 0.55, 0.1])
    np.testing.assert_allclose(rates[:, 1], rates[:, 0] / 2)


def test_a_run_can_be_made_longer(rows, tmp_path):
    def train(steps, workdir):
        module = linear()
        config = TrainingConfig(max_steps=steps, batch_size=8, log_every=3, checkpoint_every=4)
        return module, fit(module, rows, cross_entropy, config, workdir=workdir)

    train(10, tmp_path / "a")
    longer, result = train(25, tmp_path / "a")
    at_once, expected = train(25, None)
    assert torch.equal(parameters(longer), parameters(at_once))
    # but for the row that the shorter run's end had added
    assert result.history["step"][-5:] == expected.history["step"][-5:] == [15, 18, 21, 24, 25]
    again, _ = train(25, tmp_path / "a")
    assert torch.equal(parameters(again), parameters(at_once))
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == ["step-0000000024", "step-0000000025"]


@pytest.mark.parametrize("derived", [False, True])
def test_a_run_can_be_made_longer_with_the_same_objects(rows, tmp_path, derived):
    def make(module):
        base = torch.optim.Adam(module.parameters(), lr=0.1)
        return derive(base, Lookahead(3), WeightDecay(0.1, exclude=None)) if derived else base

    def train(module, optimizer, steps, workdir=None):
        config = TrainingConfig(max_steps=steps, batch_size=8, schedule={5: 1.0, 20: 0.5})
        fit(module, rows, cross_entropy, config, optimizer=optimizer, workdir=workdir)

    module, other = linear(), linear()
    optimizer = make(module)
    train(module, optimizer, 7, tmp_path)
    train(module, optimizer, 15, tmp_path)
    train(other, make(other), 15)
    assert torch.equal(parameters(module), parameters(other))


def test_the_random_numbers_of_the_caller_are_left_alone(rows):
    before = random_state()
    module = torch.nn.Sequential(torch.nn.Dropout(0.5), linear())
    torch.set_rng_state(before["torch"])
    fit(module, rows, cross_entropy, TrainingConfig(max_steps=3))
    after = random_state()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_evaluation_is_in_evaluation_mode_and_the_best_is_kept(rows, tmp_path):
    module = torch.nn.Sequential(torch.nn.Dropout(0.5), linear())
    values = iter([3.0, 1.0, 2.0, math.nan])
    weights = []

    def evaluate(m):
        assert not m.training
        assert not torch.is_grad_enabled()
        weights.append(parameters(m).clone())
        return next(values)

    config = TrainingConfig(epochs=4, batch_size=25)
    result = fit(module, rows, cross_entropy, config, evaluate=evaluate, workdir=tmp_path)
    assert module.training
    assert result.evaluations["step"] == [2, 4, 6, 8]
    assert result.best == {"step": 4, "value": 1.0, "weights": tmp_path / "best.safetensors"}
    best = torch.nn.Sequential(torch.nn.Dropout(0.5), linear(1))
    best.load_state_dict(load_file(result.best["weights"]))
    assert torch.equal(parameters(best), weights[1])


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_learns_and_leaves_parameters_whole(rows, precision, tmp_path):
    X, _ = rows
    y = (X[:, 0] > 0).long()
    module = linear()
    config = TrainingConfig(epochs=30, batch_size=10, lr=0.05, precision=precision)
    seen = set()

    def loss(m, batch):
        out = m(batch[0])
        seen.add(out.dtype)
        return F.cross_entropy(out.float(), batch[1])

    result = fit(module, (X, y), loss, config, workdir=tmp_path)
    assert seen == {torch.bfloat16 if precision == "bf16" else torch.float16}
    assert module.weight.dtype == torch.float32
    assert result.history["loss"][-1] < 0.2


def test_gradients_from_before_are_not_taken_in(rows):
    module, clean = linear(), linear()
    config = TrainingConfig(max_steps=2)
    cross_entropy(module, rows).backward()
    fit(module, rows, cross_entropy, config, optimizer=torch.optim.SGD([module.weight], lr=1.0))
    fit(clean, rows, cross_entropy, config, optimizer=torch.optim.SGD([clean.weight], lr=1.0))
    assert torch.equal(parameters(module), parameters(clean))
    assert all(p.grad is None for p in module.parameters())


def test_lazy_rows_are_up_to_date_where_they_are_looked_at():
    tokens = torch.arange(20)

    def loss(module, batch):
        return module(batch).square().mean()

    seen = []
    tables = []
    for lazy in (False, True):
        torch.manual_seed(0)
        table = torch.nn.Embedding(20, 3, sparse=lazy).double()
        base = torch.optim.Adam(table.parameters(), lr=0.1)
        optimizer = derive(base, Lazy([table], "deferred")) if lazy else base
        config = TrainingConfig(max_steps=7, batch_size=4, eval_every=3)
        result = fit(
            table, tokens, loss, config, optimizer=optimizer,
            evaluate=lambda m: m.weight.square().sum(),
        )  # fmt: skip
        seen.append(result.evaluations["value"])
        tables.append(table.weight.detach())
    np.testing.assert_allclose(*seen, rtol=1e-6)
    torch.testing.assert_close(*tables, rtol=0, atol=1e-6)


def test_half_precision_goes_on_to_the_same_bits(rows, tmp_path):
    def train(steps, workdir):
        module = linear()
        config = TrainingConfig(max_steps=steps, batch_size=10, precision="fp16", log_every=1)
        result = fit(module, rows, cross_entropy, config, workdir=workdir)
        return parameters(module), result.history["loss"]

    train(4, tmp_path)
    (once, losses), (again, more) = train(12, None), train(12, tmp_path)
    assert torch.equal(once, again)
    assert losses == more


def test_a_best_that_is_nan_gives_way(rows):
    values = iter([math.nan, 3.0, 3.0, 1.0])
    config = TrainingConfig(max_steps=4, eval_every=1)
    result = fit(linear(), rows, cross_entropy, config, evaluate=lambda m: next(values))
    assert (result.best["step"], result.best["value"]) == (4, 1.0)


def test_layers_in_evaluation_mode_stay_so(rows):
    module = torch.nn.Sequential(torch.nn.BatchNorm1d(4), linear())
    module[0].eval()
    fit(module, rows, cross_entropy, TrainingConfig(max_steps=3), evaluate=lambda m: 0.0)
    assert module[0].running_mean.tolist() == [0] * 4
    assert not module[0].training
    assert module.training


def test_a_loss_that_is_not_finite_stops_before_the_update(rows, tmp_path):
    module = linear()
    before = []

    def loss(m, batch):
        if 7 in batch[2]:
            before.append(parameters(m).clone())
            return cross_entropy(m, batch[:2]) * math.inf
        return cross_entropy(m, batch[:2])

    data = (*rows, torch.arange(50))
    config = TrainingConfig(epochs=1, batch_size=5, checkpoint_every=1, accumulate=2)
    with pytest.raises(FloatingPointError) as caught:
        fit(module, data, loss, config, workdir=tmp_path)
    update, names = re.search(
        r"loss of update (\d+) is inf \(rows ([\d, ]+)\); .* goes on from", str(caught.value)
    ).groups()
    assert 7 in map(int, names.split(", "))
    assert len(names.split(", ")) in (2, 3)  # of the part, not of the update
    assert torch.equal(parameters(module), before[0])
    last = sorted(tmp_path.iterdir())[-1]
    assert last.name == f"step-{int(update) - 1:010d}"
    assert str(last) in str(caught.value)


def test_parameters_that_are_not_finite_are_not_kept(rows, tmp_path):
    module = linear()

    def spoil(told):
        if told.step == 4:
            with torch.no_grad():
                told.module.weight[0, 0] = math.nan

    config = TrainingConfig(max_steps=9, checkpoint_every=2)
    with pytest.raises(FloatingPointError, match=r"after update 4.*step-0000000002"):
        fit(module, rows, cross_entropy, config, callbacks=[spoil], workdir=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["step-0000000002"]


def test_ctrl_c_completes_the_update_and_goes_on_later(rows, tmp_path):
    calls = 0

    def loss(module, batch):
        nonlocal calls
        calls += 1
        if calls == 7:
            os.kill(os.getpid(), signal.SIGINT)
        return cross_entropy(module, batch)

    handler = signal.getsignal(signal.SIGINT)
    config = TrainingConfig(max_steps=20, batch_size=8)
    with pytest.raises(KeyboardInterrupt, match=r"stopped after update 7.*goes on from .*0007$"):
        fit(linear(), rows, loss, config, workdir=tmp_path)
    assert signal.getsignal(signal.SIGINT) is handler
    module, unbroken = linear(5), linear()
    result = fit(module, rows, cross_entropy, config, workdir=tmp_path)
    fit(unbroken, rows, cross_entropy, config)
    assert result.steps == 20
    assert torch.equal(parameters(module), parameters(unbroken))


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path):
    found = python(RUNS, "full", tmp_path)
    assert found.returncode == 1
    assert "OSError" in found.stderr
    assert "the checkpoint of update 10 could not be written" in found.stderr
    assert f"goes on from {tmp_path / 'step-0000000005'}" in found.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["step-0000000005"]


def test_a_callback_stops(rows):
    result = fit(
        linear(),
        rows,
        cross_entropy,
        TrainingConfig(max_steps=50),
        callbacks=[lambda told: told.step == 6],
    )
    assert result.steps == 6


def test_tied_weights_are_kept_once(tmp_path, rows):
    class Tied(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)
            self.b.weight = self.a.weight

        def forward(self, x):
            return self.b(self.a(x))

    config = TrainingConfig(max_steps=5)
    module = Tied()
    result = fit(module, rows, cross_entropy, config, workdir=tmp_path)
    assert set(load_file(result.checkpoint / "model.safetensors")) == {
        "a.weight",
        "a.bias",
        "b.bias",
    }
    other = Tied()
    fit(other, rows, cross_entropy, config, workdir=tmp_path)
    assert torch.equal(parameters(other), parameters(module))
    assert other.b.weight is other.a.weight


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 9}, "batch_size was 8 and is 9"),
        ({"seed": 1, "clip_norm": 2.0}, "clip_norm was None and is 2.0; seed was 0 and is 1"),
        (
            {"optimizer": lambda p: torch.optim.SGD(p, lr=1e-3)},
            "AdamW' and is 'torch.*SGD",
        ),
        (
            {"optimizer": lambda p: torch.optim.AdamW(p, weight_decay=0.5)},
            "optimizer group 0, weight_decay was 0.01 and is 0.5",
        ),
        (
            {"optimizer": lambda p: derive(torch.optim.AdamW(p), Lookahead(3))},
            r"Derived of torch.*Lookahead\(k=3",
        ),
        ({"rows": 40}, "rows was 50 and is 40"),
        ({"module": torch.nn.Linear(4, 2, bias=False)}, "other parameters than .*: bias"),
        ({"module": torch.nn.Linear(4, 3)}, "other parameters than .*: bias, weight"),
        ({"resume": False}, "holds checkpoints of another run"),
        ({"damage": "state.safetensors"}, "no checkpoint that can be read"),
        ({"damage": "model.safetensors"}, "no checkpoint that can be read"),
        ({"damage": "state.json"}, "no checkpoint that can be read"),
        ({"module": torch.nn.Linear(4, 2).double()}, "other parameters than .*: bias, weight"),
    ],
)
def test_a_checkpoint_of_another_configuration_is_refused(rows, tmp_path, change, message):
    change = dict(change)
    fit(linear(), rows, cross_entropy, TrainingConfig(max_steps=4, batch_size=8), workdir=tmp_path)
    n = change.pop("rows", 50)
    if "damage" in change:
        file = tmp_path / "step-0000000004" / change.pop("damage")
        file.write_bytes(file.read_bytes()[:-5])
    options = {name: change.pop(name) for name in ("optimizer", "resume") if name in change}
    module = change.pop("module", linear())
    config = TrainingConfig(**{"max_steps": 6, "batch_size": 8, **change})
    before = parameters(module).clone()
    with pytest.raises(InputError, match=message):
        fit(module, [r[:n] for r in rows], cross_entropy, config, workdir=tmp_path, **options)
    assert torch.equal(parameters(module), before)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda r: fit(3, r, cross_entropy, ONE), TypeError, "module must be a torch.nn.Module"),
        (lambda r: fit(linear(), r, None, ONE), TypeError, "loss must be callable, got None"),
        (
            lambda r: fit(linear(), r, cross_entropy, ONE, evaluate=5),
            TypeError,
            "evaluate must be callable",
        ),
        (
            lambda r: fit(linear(), r, cross_entropy, ONE, callbacks=[3]),
            TypeError,
            "callbacks must be callable",
        ),
        (lambda r: fit(torch.nn.ReLU(), r, cross_entropy, ONE), InputError, "require a gradient"),
        (lambda r: fit(linear(), (r[0][:0], r[1][:0]), cross_entropy, ONE), InputError, "one row"),
        (lambda r: fit(linear(), (r[0], r[1][:9]), cross_entropy, ONE), InputError, "same number"),
        (lambda r: fit(linear(), 3, cross_entropy, ONE), TypeError, "data must be an IndexedData"),
        (lambda r: fit(linear(), r, cross_entropy, {}), TypeError, "config must be a Training"),
        (lambda r: fit(linear(), r, lambda m, b: 1.0, ONE), TypeError, "scalar tensor.* got float"),
        (lambda r: fit(linear(), r, lambda m, b: m(b[0]), ONE), TypeError, r"got \(32, 2\)"),
        (lambda r: fit(linear(), r, lambda m, b: {"loss": 1}, ONE), InputError, "keys 'loss'"),
        (
            lambda r: fit(linear(), r, lambda m, b: {"loss": m(b[0]).sum(), "weight": -1}, ONE),
            InputError,
            "finite number >= 0, got -1",
        ),
        (
            lambda r: fit(linear(), r, cross_entropy, ONE, optimizer="adam"),
            TypeError,
            "got str",
        ),
        (
            lambda r: fit(
                linear(), r, cross_entropy, ONE, optimizer=torch.optim.SGD(linear().parameters())
            ),
            InputError,
            "one with others",
        ),
    ],
)
def test_bad_input_is_named(rows, call, error, message):
    with pytest.raises(error, match=message):
        call(rows)


ONE = TrainingConfig(max_steps=1)
