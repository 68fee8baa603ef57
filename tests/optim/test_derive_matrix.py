"""Every stack of add-ons on six bases, under all that wraps, copies and stores optimizers."""

import copy
import itertools
import pickle
import warnings

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adafactor, Adagrad, Adam, AdamW, RMSprop
from torch.optim.lr_scheduler import (
    LinearLR,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)

from kexue.optim import (
    Accumulate,
    LayerAdaptation,
    Lazy,
    Lookahead,
    PiecewiseLinear,
    WeightDecay,
    derive,
)

BASES = {
    "SGD": lambda p: SGD(p, lr=0.1, momentum=0.9),
    "Adam": lambda p: Adam(p, lr=0.05),
    "AdamW": lambda p: AdamW(p, lr=0.05, fused=True),
    "RMSprop": lambda p: RMSprop(p, lr=0.02),
    "Adagrad": lambda p: Adagrad(p, lr=0.2),
    "Adafactor": lambda p: Adafactor(p, lr=0.1),
}
ROW_RULES = ("SGD", "Adam", "AdamW")
SUBSETS = list(itertools.product([False, True], repeat=6))
SCHEDULERS = {
    "StepLR": lambda o: StepLR(o, 4, 0.9),
    "OneCycleLR": lambda o: OneCycleLR(o, max_lr=0.1, total_steps=100, cycle_momentum=False),
    "ReduceLROnPlateau": lambda o: ReduceLROnPlateau(o, patience=1),
    "SequentialLR": lambda o: SequentialLR(o, [LinearLR(o, 0.5), StepLR(o, 5)], [3]),
}


class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(8, 3)
        self.body = nn.Linear(3, 2)
        self.late = nn.Linear(2, 2)

    def forward(self, rows):
        return self.late(self.body(self.table(rows)))


def stack(chosen, base, model):
    mode = "deferred" if base in ROW_RULES else "masked"
    everything = [
        WeightDecay(0.01), LayerAdaptation(), PiecewiseLinear({2: 1, 50: 0.5}), Accumulate(2),
        Lookahead(3), Lazy([model.table], mode),
    ]  # fmt: skip
    return [addon for addon, wanted in zip(everything, chosen, strict=True) if wanted]


def make(base, chosen, model):
    early = [pair for pair in model.named_parameters() if "late" not in pair[0]]
    return derive(
        BASES[base]([p for _, p in early]), *stack(chosen, base, model), named_parameters=early
    )


ROWS, LABELS = torch.arange(8), torch.arange(8) % 2


def loss_of(model):
    return nn.functional.cross_entropy(model(ROWS), LABELS)


def train(model, optimizer, n, scheduler=None):
    for _ in range(n):
        optimizer.zero_grad()
        loss = loss_of(model)
        loss.backward()
        optimizer.step()
        if isinstance(scheduler, ReduceLROnPlateau):
            scheduler.step(loss.detach())
        elif scheduler is not None:
            scheduler.step()


@pytest.fixture(scope="module")
def accelerator():
    from accelerate import Accelerator

    return Accelerator(cpu=True)


def weights(model, optimizer):
    optimizer.flush()
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()])


@pytest.mark.parametrize("chosen", SUBSETS, ids=lambda c: "".join(str(int(x)) for x in c))
@pytest.mark.parametrize("base", BASES)
def test_every_stack(base, chosen, accelerator):
    from torch.distributed.checkpoint.state_dict import (
        get_optimizer_state_dict,
        set_optimizer_state_dict,
    )

    i = int("".join(str(int(x)) for x in chosen), 2)
    torch.manual_seed(i)
    model = Tiny()
    optimizer = make(base, chosen, model)
    assert isinstance(optimizer, torch.optim.Optimizer)
    assert len(repr(optimizer).splitlines()) == 1 + sum(chosen)
    # each scheduler in turn; together with the subsets each base meets each of them 16 times
    scheduler = SCHEDULERS[list(SCHEDULERS)[i % 4]](optimizer)
    calls = []
    optimizer.register_step_pre_hook(lambda *_: calls.append(0))
    optimizer.register_step_post_hook(lambda *_: calls.append(1))
    first = loss_of(model).item()
    with warnings.catch_warnings():
        # torch: the scheduler is stepped while the first window is not full
        warnings.filterwarnings("ignore", "Detected call of")
        train(model, optimizer, 3, scheduler)
        assert calls == [0, 1] * 3
        optimizer.add_param_group({"params": list(model.late.named_parameters())})
        names = [name for name, _ in model.named_parameters()]
        stored = get_optimizer_state_dict(model, optimizer)
        assert sorted(n for group in stored["param_groups"] for n in group["params"]) == sorted(
            names
        )
        wrapped = accelerator.prepare(optimizer)
        train(model, wrapped, 9)
    # into a fresh optimizer, by the names that torch.distributed.checkpoint gives
    saved = copy.deepcopy(get_optimizer_state_dict(model, optimizer))
    twin = Tiny()
    twin.load_state_dict(model.state_dict())
    fresh = make(base, chosen, twin)
    fresh.add_param_group({"params": list(twin.late.named_parameters())})
    set_optimizer_state_dict(twin, fresh, saved)
    pairs = [
        (twin, fresh),
        copy.deepcopy((model, optimizer)),
        pickle.loads(pickle.dumps((model, optimizer))),
    ]
    train(model, optimizer, 5)
    for other_model, other in pairs:
        train(other_model, other, 5)
        assert other.updates == optimizer.updates
        assert torch.equal(weights(other_model, other), weights(model, optimizer))
    train(model, optimizer, 10)
    assert loss_of(model).item() < first - 0.01
