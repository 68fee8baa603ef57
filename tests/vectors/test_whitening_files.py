"""A fitted whitening leaves the process and comes back as it was."""

import subprocess
import sys

import joblib
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from kexue._core import InputError
from kexue.vectors import Whitening


def rows(d=12):
    rng = np.random.default_rng(0)
    return rng.normal(size=(1000, d)) @ rng.normal(size=(d, d)) + rng.normal(size=d)


@pytest.mark.parametrize("parameters", [{}, {"n_components": "auto", "shrinkage": "ledoit_wolf"}])
def test_a_file_holds_every_bit(tmp_path, parameters):
    X = rows()
    model = Whitening(**parameters).partial_fit(X[:300])
    model.save(tmp_path / "w.safetensors")
    again = Whitening.load(tmp_path / "w.safetensors")
    assert again.get_params() == model.get_params()
    for one in (model, again):
        one.partial_fit(X[300:])
    for name in ("kernel_", "bias_", "mean_", "eigenvalues_"):
        assert getattr(again, name).tobytes() == getattr(model, name).tobytes()
    again.save(tmp_path / "v.safetensors")
    solved = Whitening.load(tmp_path / "v.safetensors")
    assert solved.transform(X).tobytes() == model.transform(X).tobytes()
    assert (solved.rank_, solved.n_samples_seen_) == (12, 1000)


KILLED = """
import os, signal, sys
import numpy as np
from kexue.vectors import Whitening
X = np.load(sys.argv[1])
model = Whitening()
for start in range(0, 1000, 100):
    model.partial_fit(X[start : start + 100])
    if start == 400:
        model.save(sys.argv[2])
    if start == 600:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_resumes_after_a_kill(tmp_path):
    X = rows()
    np.save(tmp_path / "x.npy", X)
    file = tmp_path / "w.safetensors"
    run = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "x.npy", file], check=False)
    assert run.returncode == -9
    resumed, straight = Whitening.load(file), Whitening()
    for start in range(0, 1000, 100):
        straight.partial_fit(X[start : start + 100])
        if start >= resumed.n_samples_seen_:
            resumed.partial_fit(X[start : start + 100])
    assert resumed.kernel_.tobytes() == straight.kernel_.tobytes()


def test_names_of_columns_are_kept(tmp_path):
    polars = pytest.importorskip("polars")
    X = rows(3)
    table = polars.DataFrame(X, schema=["a", "b", "c"])
    Whitening(2).fit(table).save(tmp_path / "w.safetensors")
    model = Whitening.load(tmp_path / "w.safetensors")
    assert model.feature_names_in_.tolist() == ["a", "b", "c"]
    assert Whitening().merge(model).feature_names_in_.tolist() == ["a", "b", "c"]
    assert model.get_feature_names_out().tolist() == ["whitening0", "whitening1"]
    with pytest.raises(ValueError, match="feature names should match"):
        model.transform(table.rename({"a": "z"}))


def test_a_model_that_joblib_maps(tmp_path):
    X = rows()
    model = Whitening(shrinkage="ledoit_wolf").fit(X)
    joblib.dump(model, tmp_path / "model.joblib")
    mapped = joblib.load(tmp_path / "model.joblib", mmap_mode="r")
    np.testing.assert_array_equal(mapped.transform(X), model.transform(X))
    mapped.partial_fit(X[:9]), model.partial_fit(X[:9])
    np.testing.assert_array_equal(mapped.kernel_, model.kernel_)


def test_a_damaged_file(tmp_path):
    path = tmp_path / "w.safetensors"
    Whitening(2).fit(rows(3)).save(path)
    with safe_open(path, "np") as file:
        arrays, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    bad = arrays["0.scatter"].copy()
    bad[0, 0] = np.nan
    lacking = {name: array for name, array in arrays.items() if not name.startswith("0.")}
    odd = metadata["description"].replace('"gamma"', '"delta"')
    for tensors, about, message in (
        (lacking, metadata, "is damaged: a part of it is missing"),
        (arrays | {"0.scatter": np.eye(2)}, metadata, "is damaged"),
        (arrays | {"0.scatter": bad}, metadata, "is damaged"),
        (arrays, {"format": metadata["format"]}, "is damaged"),
        (arrays, metadata | {"description": odd}, "has other parameters: .*delta"),
    ):
        save_file(tensors, path, about)
        with pytest.raises(InputError, match=message):
            Whitening.load(path)
    with pytest.raises(InputError, match=r"is not a file of Whitening.save"):
        Whitening.load(tmp_path)
    with pytest.raises(FileNotFoundError):
        Whitening.load(tmp_path / "nowhere")


def test_a_layer_of_torch():
    torch = pytest.importorskip("torch", reason="extra `torch`")
    X = rows().astype(np.float32)
    model = Whitening(5, normalize=False).fit(X)
    with torch.no_grad():
        found = model.to_linear()(torch.from_numpy(X)).numpy()
    assert np.abs(found - model.transform(X)).max() < 1e-5
