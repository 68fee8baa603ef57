"""The path kernel: sums that are exact, and what they are good for."""

import copy
import math
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score

from kexue._core import InputError
from kexue.diagnose import PathKernel, PathRecorder
from kexue.optim import Accumulate, Lookahead, PiecewiseLinear, WeightDecay, derive

F = torch.nn.functional
N, BATCH = 40, 8


def rows_of(n=N, width=5, classes=3, seed=1):
    generator = torch.Generator().manual_seed(seed)
    X = torch.randn(n, width, generator=generator, dtype=torch.float64)
    return X, torch.randint(0, classes, (n,), generator=generator)


def mlp(activation=torch.nn.Tanh, seed=0, width=5, classes=3):
    torch.manual_seed(seed)
    layers = torch.nn.Linear(width, 7), activation(), torch.nn.Linear(7, classes)
    return torch.nn.Sequential(*layers).double()


OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.2),
    "sgd, coupled decay": lambda p: torch.optim.SGD(p, lr=0.2, weight_decay=0.05),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, dampening=0.3),
    "momentum, coupled decay": lambda p: torch.optim.SGD(
        p, lr=0.05, momentum=0.9, weight_decay=0.03
    ),
    "nesterov": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.02),
    "amsgrad": lambda p: torch.optim.Adam(p, lr=0.01, amsgrad=True),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.2),
    "lookahead, momentum": lambda p: derive(
        torch.optim.SGD(p, lr=0.05, momentum=0.9), Lookahead(5, 0.3)
    ),
    "lookahead, nesterov": lambda p: derive(
        torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True), Lookahead(3)
    ),
    "lookahead": lambda p: derive(torch.optim.SGD(p, lr=0.1), Lookahead(4, 0.5)),
    "everything": lambda p: derive(
        torch.optim.Adam(p, lr=0.02),
        WeightDecay(0.1, exclude=None),
        PiecewiseLinear({4: 1.0, 12: 0.2}),
        Accumulate(2),
        Lookahead(5, 0.5),
    ),
    "decay before the step": lambda p: derive(
        torch.optim.SGD(p, lr=0.05, momentum=0.9), WeightDecay(0.1, exclude=None)
    ),
}


def train(model, make, data, *, steps=23, clip=None, loss=F.cross_entropy, seed=3, **options):
    """Train with the recorder on; the last batches are smaller."""
    optimizer = make(model.parameters())
    generator = torch.Generator().manual_seed(seed)
    X, y = data
    with PathRecorder(model, optimizer, **options) as recorder:
        for step in range(steps):
            rows = torch.randint(0, len(X), (BATCH if step < 20 else 3,), generator=generator)
            recorder.batch(rows, X[rows], y[rows])
            loss(model(X[rows]), y[rows]).backward()
            if clip is not None:
                torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            optimizer.zero_grad()
    return recorder


def gap(found):
    """Return by how much the sum misses the prediction."""
    return np.abs(found.initial + found.contributions.sum(-1) + found.decay - found.total).max()


# 1. Closed form


def test_linear_regression_is_its_closed_form():
    X, _ = rows_of(20)
    y = X @ torch.arange(5.0).double()[:, None] + 1
    model = torch.nn.Linear(5, 1).double()
    start = copy.deepcopy(model)
    lr, steps = 0.05, 30
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    expected = torch.zeros(4, 20, dtype=torch.float64)
    Q = rows_of(4, seed=9)[0]
    products = Q @ X.T + 1  # the bias is an input that is always 1
    with PathRecorder(model, optimizer) as recorder:
        for _ in range(steps):
            residuals = (model(X) - y).detach()[:, 0] * 2 / 20
            expected -= lr * residuals * products
            recorder.batch(torch.arange(20), X, y)
            F.mse_loss(model(X), y).backward()
            optimizer.step()
            optimizer.zero_grad()
    kernel = PathKernel(model, F.mse_loss, recorder, (X, y), nodes=1)
    found = kernel.explain(Q)
    np.testing.assert_allclose(found.contributions[:, 0], expected, atol=1e-12)
    np.testing.assert_allclose(found.initial, start(Q).detach(), atol=1e-14)
    assert gap(found) < 1e-12


# 2. Completeness


@pytest.mark.parametrize("activation", [torch.nn.Tanh, torch.nn.GELU])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_sums_are_complete(name, activation):
    data = rows_of()
    model = mlp(activation)
    recorder = train(model, OPTIMIZERS[name], data)
    kernel = PathKernel(model, F.cross_entropy, recorder, data, nodes=4, tol=math.inf)
    queries = rows_of(6, seed=2)[0]
    found = kernel.explain(queries)
    np.testing.assert_allclose(found.total, model(queries).detach(), atol=1e-12)
    assert np.abs(found.total - found.initial).max() > 0.05
    assert gap(found) < 1e-10
    np.testing.assert_allclose(found.residual, 0, atol=1e-10)
    assert ("decay" in name or name in ("adam", "adamw", "everything")) == bool(
        np.abs(found.decay).max() > 1e-6
    )


@pytest.mark.parametrize("clip", [0.05, 0.5])
@pytest.mark.parametrize("name", ["sgd", "momentum", "adamw"])
def test_clipping_is_undone(name, clip):
    data = rows_of()
    model = mlp()
    recorder = train(model, OPTIMIZERS[name], data, clip=clip)
    found = PathKernel(model, F.cross_entropy, recorder, data, nodes=4).explain(data[0][:3])
    assert gap(found) < 1e-10


def test_batches_of_an_update_weigh_as_they_were_told():
    data = rows_of()
    X, y = data
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.5)
    with PathRecorder(model, optimizer) as recorder:
        for step in range(10):
            for rows in (torch.arange(step, step + 6), torch.arange(30, 32)):
                recorder.batch(rows, X[rows], y[rows], weight=len(rows))
                (F.cross_entropy(model(X[rows]), y[rows]) * len(rows) / 8).backward()
            optimizer.step()
            optimizer.zero_grad()
    found = PathKernel(model, F.cross_entropy, recorder, data, nodes=4).explain(X[:3])
    assert gap(found) < 1e-10


def test_kinks_are_halved_until_the_residual_is_small_and_the_rest_is_told():
    data = rows_of()
    model = mlp(torch.nn.ReLU)
    recorder = train(model, OPTIMIZERS["sgd"], data, steps=30)
    queries = rows_of(8, seed=2)[0]

    def explain(tol):
        kernel = PathKernel(model, F.cross_entropy, recorder, data, nodes=2, tol=tol)
        return kernel.explain(queries)

    rough, fine = explain(math.inf), explain(1e-6)
    assert np.abs(rough.residual).max() > 1e-4
    assert np.abs(fine.residual).max() <= 1e-6
    assert fine.evaluations > rough.evaluations
    for found in (rough, fine):
        np.testing.assert_allclose(
            found.initial + found.contributions.sum(-1) + found.decay + found.residual,
            found.total,
            atol=1e-13,
        )


class Sentences(torch.nn.Module):
    """Every kind of layer: embedding, convolution, normalization, a layer used twice."""

    def __init__(self):
        super().__init__()
        self.table = torch.nn.Embedding(12, 6, padding_idx=0)
        self.mix = torch.nn.Conv1d(6, 5, 3, padding=2, stride=2, dilation=2)
        self.norm = torch.nn.LayerNorm(5)
        self.again = torch.nn.Linear(5, 5)
        self.out = torch.nn.Linear(5, 2, bias=False)

    def forward(self, tokens):
        x = self.mix(self.table(tokens).transpose(1, 2)).transpose(1, 2)  # (B, S, 5)
        x = torch.tanh(self.again(self.norm(x)))
        return self.out(torch.tanh(self.again(x)).mean(1))


class Images(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = torch.nn.Conv2d(2, 3, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2))
        self.grouped = torch.nn.Conv2d(3, 3, 1, groups=3)
        self.out = torch.nn.LazyLinear(2)

    def forward(self, x):
        return self.out(torch.tanh(self.grouped(torch.tanh(self.first(x)))).flatten(1))


@pytest.mark.parametrize("optimizer", ["sgd", "momentum"])
@pytest.mark.parametrize("kind", [Sentences, Images])
def test_layers_of_every_kind(kind, optimizer):
    torch.manual_seed(0)
    X = torch.randint(0, 12, (N, 9)) if kind is Sentences else torch.randn(N, 2, 5, 6).double()
    y = torch.randint(0, 2, (N,))
    model = kind().double()
    model(X[:1])
    recorder = train(model, OPTIMIZERS[optimizer], (X, y), steps=8)
    kernel = PathKernel(model, F.cross_entropy, recorder, (X, y), nodes=5, tol=math.inf)
    found = kernel.explain(X[:4])
    assert np.abs(found.total - found.initial).max() > 0.01
    assert gap(found) < 1e-9
    # inner products without writing gradients out are those of the gradients
    names = [name for name, _ in model.named_parameters()]
    jacobians = torch.func.vmap(
        torch.func.jacrev(
            lambda p, x: torch.func.functional_call(model, p, (x[None],))[0], argnums=0
        ),
        (None, 0),
    )(dict(model.named_parameters()), X[:5])
    flat = torch.cat([jacobians[name].flatten(2) for name in names], 2).detach()
    products = torch.einsum("akp,bkp->ab", flat, flat)
    np.testing.assert_allclose(kernel.tangent_kernel(X[:5], X[:5]), products, rtol=1e-10)


def test_dropout_is_replayed():
    data = rows_of()
    X, _ = data
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(5, 16), torch.nn.Tanh(), torch.nn.Dropout(0.5), torch.nn.Linear(16, 3)
    ).double()
    recorder = train(model, OPTIMIZERS["adamw"], data)
    before = torch.get_rng_state()
    found = PathKernel(model, F.cross_entropy, recorder, data, nodes=4).explain(X[:3])
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_allclose(found.total, model.eval()(X[:3]).detach(), atol=1e-12)
    assert gap(found) < 1e-10


def test_dropout_beside_other_layers_is_refused():
    data = rows_of()
    layers = torch.nn.Linear(5, 4), torch.nn.PReLU(), torch.nn.Dropout(0.5), torch.nn.Linear(4, 3)
    model = torch.nn.Sequential(*layers).double()
    recorder = train(model, OPTIMIZERS["sgd"], data, steps=2)
    with pytest.raises(NotImplementedError, match=r"dropout cannot be replayed for 1\.weight"):
        PathKernel(model, F.cross_entropy, recorder, data).explain(data[0][:2])


def test_recurrent_layers_are_refused():
    class Recurrent(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.gru, self.out = torch.nn.GRU(5, 4, batch_first=True), torch.nn.Linear(4, 3)

        def forward(self, x):
            return self.out(self.gru(x[:, None])[0][:, -1])

    data = rows_of()
    model = Recurrent().double()
    recorder = train(model, OPTIMIZERS["sgd"], data, steps=2)
    with pytest.raises(InputError, match="no gradients of single examples"):
        PathKernel(model, F.cross_entropy, recorder, data)


# 3. Order


def test_the_error_falls_with_the_fourth_power_of_the_rate():
    data = rows_of()
    errors = []
    for lr in (0.4, 0.2, 0.1):
        model = mlp()
        recorder = train(model, lambda p, lr=lr: torch.optim.SGD(p, lr=lr), data, steps=20)
        kernel = PathKernel(model, F.cross_entropy, recorder, data, nodes=2, tol=math.inf)
        errors.append(np.abs(kernel.explain(data[0][:10]).residual).max())
    assert errors[0] / errors[1] > 2**3.5
    assert errors[1] / errors[2] > 2**3.5


# 4. A peer


@pytest.mark.peer
def test_tracin_is_captums(tmp_path):
    captum = pytest.importorskip("captum.influence")
    data = rows_of()
    X, y = (data[0].float(), data[1])
    model = mlp().float()
    recorder = train(model, OPTIMIZERS["sgd"], (X, y), steps=4)
    names = []
    for t in range(4):
        kept = copy.deepcopy(model)
        recorder.layout.load(kept, recorder.path.theta(t))
        names.append(str(tmp_path / f"{t}.pt"))
        torch.save(kept.state_dict(), names[-1])

    def load(module, name):
        module.load_state_dict(torch.load(name, weights_only=True))
        return 0.2

    peer = captum.TracInCP(
        copy.deepcopy(model), torch.utils.data.TensorDataset(X, y), names,
        checkpoints_load_func=load, loss_fn=torch.nn.CrossEntropyLoss(reduction="sum"),
        batch_size=16, sample_wise_grads_per_batch=True,
    )  # fmt: skip
    expected = peer.influence((X[:6], y[:6])).numpy()
    kernel = PathKernel(model, F.cross_entropy, recorder, (X, y), method="tracin", outputs="loss")
    found = -kernel.explain(X[:6], y[:6]).contributions[:, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


# 5. and 6. What it is good for


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(X))
    X, y = torch.tensor(X[order] / 16).float(), torch.tensor(y[order])
    return X[:1000], y[:1000], X[1000:]


def digits_model(seed):
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Tanh(), torch.nn.Linear(64, 10))


def train_digits(model, X, y, keep=None, epochs=10, **options):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    keep = torch.arange(len(X)) if keep is None else keep
    generator = torch.Generator().manual_seed(0)
    with PathRecorder(model, optimizer, **options) as recorder:
        for _ in range(epochs):
            order = torch.randperm(len(keep), generator=generator)
            for part in keep[order].split(50):
                recorder.batch(part, X[part], y[part])
                F.cross_entropy(model(X[part]), y[part]).backward()
                optimizer.step()
                optimizer.zero_grad()
    return recorder


@pytest.mark.parametrize("seed", [0, 1])
def test_mislabelled_digits_speak_for_themselves(digits, seed):
    X, y, _ = digits
    generator = torch.Generator().manual_seed(seed)
    flipped = torch.randperm(len(X), generator=generator)[: len(X) // 10]
    shown = y.clone()
    shown[flipped] = (y[flipped] + torch.randint(1, 10, (len(flipped),), generator=generator)) % 10
    wrong = torch.zeros(len(X), dtype=torch.bool)
    wrong[flipped] = True
    model = digits_model(seed)
    recorder = train_digits(model, X, shown, epochs=15, every=20)
    kernel = PathKernel(model, F.cross_entropy, recorder, (X, shown), method="tracin")
    score = kernel.self_influence()
    loss = F.cross_entropy(model(X), shown, reduction="none").detach().numpy()

    def judged(values):
        first = np.argsort(-values)[: len(flipped)]
        return wrong.numpy()[first].mean(), roc_auc_score(wrong.numpy(), values)

    precision, area = judged(score)
    assert precision >= 0.88
    assert area >= 0.99
    assert precision > judged(loss)[0]
    assert area > judged(loss)[1]


@pytest.mark.slow
def test_without_its_supporters_a_prediction_falls(digits):
    X, y, Q = digits
    model = digits_model(0)
    start = copy.deepcopy(model)
    recorder = train_digits(model, X, y)
    queries = Q[:20]
    kernel = PathKernel(model, F.cross_entropy, recorder, (X, y), tol=math.inf)
    found = kernel.explain(queries)
    predicted = found.total.argmax(1)
    count = len(X) // 20
    chance = torch.Generator().manual_seed(0)
    falls = 0
    for i, k in enumerate(predicted):
        margin = found.contributions[i, k] - found.contributions[i].mean(0)

        def logit(without, i=i, k=k):
            keep = torch.ones(len(X), dtype=torch.bool)
            keep[without] = False
            again = copy.deepcopy(start)
            train_digits(again, X, y, keep=torch.nonzero(keep)[:, 0])
            out = again(queries[i : i + 1])[0]
            return (out[k] - out.mean()).item()

        supporters = torch.as_tensor(np.argsort(-margin)[:count].copy())
        falls += logit(supporters) < logit(torch.randperm(len(X), generator=chance)[:count])
    assert falls >= 18


# 7. Which rows


def test_rows_that_never_took_part_add_nothing():
    data = rows_of()
    model = mlp()
    recorder = train(model, OPTIMIZERS["adamw"], data, steps=3)
    seen = {i for step in recorder.path.steps for batch in step.batches for i in batch.rows}
    assert len(seen) < N
    found = PathKernel(model, F.cross_entropy, recorder, data).explain(data[0][:3])
    absent = [i for i in range(N) if i not in seen]
    assert (found.contributions[:, :, absent] == 0).all()
    assert (found.contributions[:, :, sorted(seen)] != 0).all()


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_the_order_of_storage_does_not_matter_and_twins_get_equal_shares(name):
    X, y = rows_of()
    X[1], y[1] = X[0], y[0]
    order = torch.randperm(N, generator=torch.Generator().manual_seed(5))
    places = torch.argsort(order)
    found = []
    for data, number in (((X, y), torch.arange(N)), ((X[order], y[order]), places)):
        model = mlp()
        optimizer = OPTIMIZERS[name](model.parameters())
        with PathRecorder(model, optimizer) as recorder:
            for step in range(6):
                rows = torch.tensor([0, 1, *range(2 + step, 9 + step)])
                recorder.batch(number[rows], X[rows], y[rows])
                F.cross_entropy(model(X[rows]), y[rows]).backward()
                optimizer.step()
                optimizer.zero_grad()
        kernel = PathKernel(model, F.cross_entropy, recorder, data)
        found.append(kernel.explain(X[:3]).contributions)
    np.testing.assert_array_equal(found[0], found[1][:, :, places])
    np.testing.assert_allclose(found[0][:, :, 0], found[0][:, :, 1], rtol=1e-12)


# 8. Kernels


def test_the_kernel_of_the_flow_is_symmetric_and_semidefinite():
    data = rows_of()
    model = mlp()
    recorder = train(model, OPTIMIZERS["sgd"], data)
    kernel = PathKernel(model, F.cross_entropy, recorder, data)
    K = kernel.kernel(data[0][:12], data[0][:12])
    np.testing.assert_allclose(K, K.T, atol=1e-12)
    assert np.linalg.eigvalsh(K).min() >= -1e-10
    np.testing.assert_allclose(kernel.kernel(data[0][:3], data[0][5:9]), K[:3, 5:9], rtol=1e-12)


def test_projections_are_right_on_average():
    X, y = rows_of()
    data = X.float(), y
    model = mlp().float()
    recorder = train(model, OPTIMIZERS["sgd"], data, steps=5)

    def explain(**options):
        return PathKernel(model, F.cross_entropy, recorder, data, **options).explain(data[0][:5])

    exact = explain(method="tracin").contributions
    errors = [
        np.linalg.norm(explain(method="projected", width=width).contributions - exact)
        / np.linalg.norm(exact)
        for width in (64, 4096)
    ]
    assert errors[1] < 0.1
    assert errors[1] < errors[0] / 4  # eight times less is expected


# 9. Memory and storage


def test_a_store_is_the_same_as_memory_and_survives_a_kill(tmp_path):
    data = rows_of()
    expected = train(mlp(), OPTIMIZERS["adamw"], data).path
    code = f"""
import os, sys, signal
sys.path.insert(0, {str(os.path.dirname(__file__))!r})
import test_path_kernel as t
model, data = t.mlp(), t.rows_of()
append = t.PathRecorder.__dict__
import kexue.diagnose._path_store as store
write = store.StoredPath._write
calls = 0
def dying(self, name, vector, row):
    global calls
    calls += 1
    if calls == 28:
        with open(self.folder / name, "ab") as file:
            file.write(bytes(17))  # half a vector
        os.kill(os.getpid(), signal.SIGKILL)
    write(self, name, vector, row)
store.StoredPath._write = dying
t.train(model, t.OPTIMIZERS["adamw"], data, store={str(tmp_path)!r})
"""
    killed = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    model = mlp()
    kernel = PathKernel(model, F.cross_entropy, tmp_path, data, nodes=4)
    assert len(kernel.path.steps) == 13
    assert gap(kernel.explain(data[0][:3])) < 1e-10
    # the run begins again from its start: what was recorded then is cut off
    recorder = train(model, OPTIMIZERS["adamw"], data, store=tmp_path)
    assert len(recorder.path.steps) == 23
    again = PathKernel(model, F.cross_entropy, tmp_path, data, nodes=4)
    for t in range(24):
        assert torch.equal(again.path.theta(t), expected.theta(t))
    assert again.path.steps == expected.steps
    assert gap(again.explain(data[0][:3])) < 1e-10


@pytest.mark.parametrize("stored", [True, False])
def test_a_run_goes_on_from_the_middle(tmp_path, stored):
    data = rows_of()
    model = mlp()
    optimizer = OPTIMIZERS["lookahead, momentum"](model.parameters())

    one = PathRecorder(model, optimizer)

    def part(begin, end):
        with PathRecorder(model, optimizer, tmp_path) if stored else one as recorder:
            for step in range(begin, end):
                rows = torch.arange(step, step + 8)
                recorder.batch(rows, data[0][rows], data[1][rows])
                F.cross_entropy(model(data[0][rows]), data[1][rows]).backward()
                optimizer.step()
                optimizer.zero_grad()

    part(0, 7)
    kept = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    part(7, 12)
    model.load_state_dict(kept[0])
    optimizer.load_state_dict(kept[1])
    part(7, 19)
    kernel = PathKernel(model, F.cross_entropy, tmp_path if stored else one, data, nodes=4)
    assert len(kernel.path.steps) == 19
    assert gap(kernel.explain(data[0][:3])) < 1e-10


def test_queries_are_worked_on_in_chunks():
    data = rows_of()
    model = mlp()
    recorder = train(model, OPTIMIZERS["adamw"], data, steps=6)
    queries = rows_of(11, seed=2)[0]
    whole = PathKernel(model, F.cross_entropy, recorder, data).explain(queries)
    parts = PathKernel(model, F.cross_entropy, recorder, data, chunk=4)
    found = parts.explain(queries)
    np.testing.assert_allclose(found.contributions, whole.contributions, rtol=1e-9, atol=1e-14)
    few = parts.explain(queries, top_k=3)
    assert few.contributions.shape == few.rows.shape == (11, 3, 3)
    np.testing.assert_array_equal(
        np.take_along_axis(found.contributions, few.rows, 2), few.contributions
    )
    assert (np.diff(np.abs(few.contributions), axis=2) <= 0).all()


def test_explains_losses_and_functions():
    data = rows_of()
    model = mlp()
    recorder = train(model, OPTIMIZERS["momentum"], data)
    X, y = data[0][:5], data[1][:5]
    for outputs, expected in (
        ("loss", F.cross_entropy(model(X), y, reduction="none")),
        (lambda o, y: o.log_softmax(1)[:, :2], model(X).log_softmax(1)[:, :2]),
    ):
        kernel = PathKernel(
            model, F.cross_entropy, recorder, data, outputs=outputs, nodes=4, tol=math.inf
        )
        found = kernel.explain(X, y)
        np.testing.assert_allclose(found.total, expected.detach().reshape(5, -1), atol=1e-12)
        assert gap(found) < 1e-10


# What the factors must not miss


def jacobian_of_losses(model, X, y):
    """Return the gradient of each row's loss by the parameters, (N, P)."""
    rows = []
    for x, target in zip(X, y, strict=True):
        loss = F.cross_entropy(model(x[None]), target[None])
        found = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
        zeros = (torch.zeros_like(p) for p in model.parameters())
        parts = (z if g is None else g for g, z in zip(found, zeros, strict=True))
        rows.append(torch.cat([part.reshape(-1) for part in parts]))
    return torch.stack(rows)


class Tied(torch.nn.Module):
    """A table used twice, the second time outside of its layer; places of its own axis."""

    def __init__(self):
        super().__init__()
        self.table, self.places = torch.nn.Embedding(9, 4), torch.nn.Embedding(5, 4)

    def forward(self, tokens):
        h = self.table(tokens) + self.places(torch.arange(5))
        return torch.tanh(h).mean(1) @ self.table.weight.T


class Hooked(torch.nn.Module):
    """An activation in place, an input by its name, a hook that changes the output."""

    def __init__(self):
        super().__init__()
        self.a, self.b = torch.nn.Linear(5, 6), torch.nn.Linear(6, 3)
        self.act = torch.nn.LeakyReLU(0.3, inplace=True)
        self.b.register_forward_hook(lambda module, given, out: out * 2)

    def forward(self, x):
        return self.b(input=self.act(self.a(x)))


@pytest.mark.parametrize("kind", [Sentences, Tied, Hooked, mlp])
def test_scores_are_those_of_single_gradients_under_a_schedule(kind):
    torch.manual_seed(0)
    X, y = rows_of(12)
    if kind in (Sentences, Tied):
        X = torch.randint(0, 9, (12, 9 if kind is Sentences else 5))
        y = y % 2
    model = kind().double()
    optimizer = derive(torch.optim.SGD(model.parameters(), lr=0.1), PiecewiseLinear({1: 1, 4: 0.1}))
    with PathRecorder(model, optimizer) as recorder:
        for step in range(4):
            rows = torch.arange(step, step + 5)
            recorder.batch(rows, X[rows], y[rows])
            F.cross_entropy(model(X[rows]), y[rows]).backward()
            optimizer.step()
            optimizer.zero_grad()
    kernel = PathKernel(model, F.cross_entropy, recorder, (X, y), method="tracin", outputs="loss")
    expected = torch.zeros(12, 12, dtype=torch.float64)
    again = copy.deepcopy(model)
    for t, rate in enumerate((0.1, 0.07, 0.04, 0.01)):
        recorder.layout.load(again, recorder.path.theta(t))
        found = jacobian_of_losses(again, X, y)
        expected += rate * found @ found.T
    np.testing.assert_allclose(kernel.self_influence(), expected.diagonal(), rtol=1e-8)
    found = kernel.explain(X, y).contributions[:, 0]
    np.testing.assert_allclose(-found, expected, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("every", [1, 2])
def test_groups_have_rates_of_their_own(every, tmp_path):
    X, y = rows_of(12)
    model = mlp()
    weights = [p for p in model.parameters() if p.ndim == 2]
    biases = [p for p in model.parameters() if p.ndim == 1]
    groups = [{"params": weights}, {"params": biases, "lr": 0.7}]
    recorder = train(
        model, lambda _: torch.optim.Adam(groups, lr=0.01), (X, y), steps=4, every=every,
        store=tmp_path,
    )  # fmt: skip
    kernel = PathKernel(model, F.cross_entropy, tmp_path, (X, y), method="tracin")
    assert len(kernel.path.steps) == 4 // every
    rates = recorder.layout.spread(
        [0.01 if len(shape) == 2 else 0.7 for shape in recorder.layout.shapes], torch.float64
    )
    expected = torch.zeros(12, dtype=torch.float64)
    again = copy.deepcopy(model)
    for t in range(4 // every):
        recorder.layout.load(again, recorder.path.theta(t))
        expected += jacobian_of_losses(again, X, y).square() @ rates
    np.testing.assert_allclose(kernel.self_influence(), expected, rtol=1e-10)


def test_groups_and_frozen_weights_in_the_exact_sum():
    data = rows_of()
    model = mlp()
    model[0].weight.requires_grad_(False)
    groups = [{"params": [model[0].bias, model[2].weight]}, {"params": [model[2].bias], "lr": 0.9}]
    recorder = train(model, lambda _: torch.optim.SGD(groups, lr=0.1), data)
    found = PathKernel(model, F.cross_entropy, recorder, data, nodes=4).explain(data[0][:3])
    assert gap(found) < 1e-10


def test_examples_that_mix_are_refused():
    class Mixing(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.a = torch.nn.Linear(5, 3)

        def forward(self, x):
            out = self.a(x)
            return out - out.mean(0)

    data = rows_of()
    model = Mixing().double()
    recorder = train(model, OPTIMIZERS["sgd"], data, steps=2)
    with pytest.raises(InputError, match="no gradients of single examples"):
        PathKernel(model, F.cross_entropy, recorder, data)


def test_small_moves_in_single_precision_are_known():
    X, y = rows_of()
    model = mlp().float()
    recorder = train(model, lambda p: torch.optim.AdamW(p, lr=1e-6), (X.float(), y), steps=30)
    assert all(step.known for step in recorder.path.steps)


def test_a_momentum_from_before_the_path_is_noticed():
    data = rows_of()
    model = mlp()
    optimizer = OPTIMIZERS["momentum"](model.parameters())
    train(model, lambda _: optimizer, data, steps=3)
    later = train(model, lambda _: optimizer, data, steps=3)
    with pytest.raises(NotImplementedError, match="update 1 is not linear"):
        PathKernel(model, F.cross_entropy, later, data)


# Bad inputs


def test_batch_normalization_is_named():
    model = torch.nn.Sequential(torch.nn.Linear(5, 3), torch.nn.BatchNorm1d(3)).double()
    X, y = rows_of()
    recorder = PathRecorder(model, torch.optim.SGD(model.parameters()))
    with pytest.raises(InputError, match="1 normalizes over the batch"):
        recorder.batch(torch.arange(4), X[:4], y[:4])
    model.eval()
    recorder.batch(torch.arange(4), X[:4], y[:4])


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.RAdam(p, lr=0.01),
        lambda p: torch.optim.SGD(p, lr=0.01, maximize=True),
        lambda p: derive(
            torch.optim.SGD(p, lr=0.05, momentum=0.9), Lookahead(5, momentum="pullback")
        ),
    ],
    ids=["radam", "maximize", "pullback"],
)
def test_what_is_not_linear_in_past_gradients_is_refused(make):
    data = rows_of()
    model = mlp()
    recorder = train(model, make, data)
    with pytest.raises(NotImplementedError, match=r"update \d+ is not linear in past gradients"):
        PathKernel(model, F.cross_entropy, recorder, data)
    found = PathKernel(model, F.cross_entropy, recorder, data, method="tracin")
    assert np.isfinite(found.explain(data[0][:2]).contributions).all()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"loss": lambda o, y: F.cross_entropy(o, y) + o.square().mean()},
            InputError,
            "give the loss",
        ),
        ({"order": [1, 0, *range(2, N)]}, InputError, "have another content"),
        ({"order": range(5)}, InputError, "have another content"),
        ({"options": {"nodes": 0}}, InputError, "nodes must be an int >= 1"),
        ({"options": {"method": "magic"}}, InputError, "method must be one of"),
        ({"options": {"outputs": "probabilities"}}, InputError, "outputs must be one of"),
        ({"options": {"outputs": "loss"}}, InputError, "needs the targets"),
        ({"every": 2}, NotImplementedError, "only one in 2 was recorded"),
        ({"queries": slice(0)}, InputError, "at least one query"),
    ],
)
def test_bad_input_is_named(change, error, message):
    X, y = rows_of()
    model = mlp()
    recorder = train(model, OPTIMIZERS["sgd"], (X, y), every=change.get("every", 1))
    order = list(change.get("order", range(N)))
    with pytest.raises(error, match=message):
        PathKernel(
            model,
            change.get("loss", F.cross_entropy),
            recorder,
            (X[order], y[order]),
            **change.get("options", {}),
        ).explain(X[change.get("queries", slice(3))])


def test_a_model_that_went_on_is_noticed():
    data = rows_of()
    model = mlp()
    recorder = train(model, OPTIMIZERS["sgd"], data, steps=3)
    expected = model(data[0][:2]).detach()
    with torch.no_grad():
        model[0].weight += 1
    with pytest.warns(UserWarning, match="not those at the end of the path"):
        found = PathKernel(model, F.cross_entropy, recorder, data).explain(data[0][:2])
    np.testing.assert_allclose(found.total, expected, atol=1e-12)
    assert repr(found).startswith("Explanation(contributions 2 x 3 x 40, largest residual")


def test_bad_recording_is_named(tmp_path):
    X, y = rows_of()
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(InputError, match="holds no path"):
        PathKernel(model, F.cross_entropy, tmp_path, (X, y))
    with pytest.raises(InputError, match="none of them"):
        PathRecorder(mlp(), optimizer)
    with PathRecorder(model, optimizer, tmp_path) as recorder:
        F.cross_entropy(model(X), y).backward()
        with pytest.raises(InputError, match="no rows were told"):
            optimizer.step()
        with pytest.raises(InputError, match="rows must number the 5 examples"):
            recorder.batch([1, 2], X[:5])
    with pytest.raises(InputError, match="path of another model"):
        PathRecorder(other := mlp(width=6), torch.optim.SGD(other.parameters()), tmp_path)
