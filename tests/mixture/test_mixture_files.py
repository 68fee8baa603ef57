"""A fitted mixture leaves the process and comes back as it was; a killed run goes on."""

import subprocess
import sys

import joblib
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from kexue._core import InputError
from kexue.mixture import BernoulliMixture, GaussianMixture, Mixture

FAMILIES = [
    "gaussian_full", "gaussian_tied", "gaussian_diag", "gaussian_spherical",
    "gaussian_tied_spherical", "bernoulli", "multinomial", "categorical",
    {"gaussian_tied_spherical": [0], "gaussian_full": [1, 2], "categorical": [3]},
]  # fmt: skip


def rows(family, n=200):
    rng = np.random.default_rng(0)
    z = rng.integers(2, size=(n, 1))
    if isinstance(family, str) and family.startswith("gaussian"):
        return rng.normal(size=(n, 4)) + 2 * z
    return np.concatenate([(rng.random((n, 3)) < 0.2 + 0.5 * z), z], axis=1).astype(float)


def learned(model):
    params = model._theta.params
    return [model.weights_.tobytes(), *(params[name].tobytes() for name in sorted(params))]


@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_a_file_holds_every_bit(tmp_path, family):
    X = rows(family)
    model = Mixture(2, family, random_state=1, reg_covar=1e-3).fit(X)
    model.save(tmp_path / "m.safetensors")
    again = Mixture.load(tmp_path / "m.safetensors")
    assert again.get_params() == model.get_params()
    assert learned(again) == learned(model)
    assert again.score_samples(X).tobytes() == model.score_samples(X).tobytes()
    assert again.sample(3)[0].tobytes() == model.sample(3)[0].tobytes()
    assert again.bic(X) == model.bic(X)
    for name in ("n_iter_", "converged_", "log_likelihood_", "n_features_in_", "restarts_"):
        assert getattr(again, name) == getattr(model, name)
    assert again.log_likelihood_path_.tobytes() == model.log_likelihood_path_.tobytes()


@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_a_stream_goes_on_from_a_file(tmp_path, family):
    X = rows(family)
    straight, model = (Mixture(2, family, random_state=1, prior="map") for _ in range(2))
    for part in np.split(X, 4):
        straight.partial_fit(part)
    for part in np.split(X, 4)[:2]:
        model.partial_fit(part)
    model.save(tmp_path / "m.safetensors")
    model = Mixture.load(tmp_path / "m.safetensors")
    for part in np.split(X, 4)[2:]:
        model.partial_fit(part)
    assert learned(model) == learned(straight)


KILLED = """
import os, signal, sys
import numpy as np
from kexue.mixture import Mixture

def keep(model):
    model.save(sys.argv[2])
    if model.n_iter_ > 20:
        os.kill(os.getpid(), signal.SIGKILL)

X = np.load(sys.argv[1])
Mixture(3, sys.argv[3], tol=1e-7, random_state=0, callback=keep).fit(X)
"""


@pytest.mark.parametrize("family", ["gaussian_full", "gaussian_tied", "bernoulli"])
def test_a_killed_run_goes_on_to_the_same_bytes(tmp_path, family):
    """Also in the midst of accelerated steps."""
    X = rows(family, 400)
    np.save(tmp_path / "x.npy", X)
    file = tmp_path / "m.safetensors"
    command = [sys.executable, "-c", KILLED, tmp_path / "x.npy", file, family]
    assert subprocess.run(command, check=False).returncode == -9
    straight = Mixture(3, family, tol=1e-7, random_state=0).fit(X)
    resumed = Mixture.load(file)
    assert 20 < resumed.n_iter_ < straight.n_iter_
    assert not resumed.converged_
    resumed.set_params(warm_start=True).fit(X)
    assert resumed.n_iter_ < straight.n_iter_
    assert resumed.log_likelihood_ == straight.log_likelihood_
    assert learned(resumed) == learned(straight)


def test_a_converged_model_stays_where_it_is():
    X = rows("gaussian_full")
    model = Mixture(2, random_state=0, warm_start=True).fit(X)
    before = model.log_likelihood_
    model.fit(X)
    assert model.n_iter_ <= 3
    assert model.log_likelihood_ == pytest.approx(before, abs=1e-3)


def test_names_of_columns_and_classes_are_kept(tmp_path):
    polars = pytest.importorskip("polars")
    table = polars.DataFrame(rows("gaussian_full"), schema=["a", "b", "c", "d"])
    path = tmp_path / "m.safetensors"
    GaussianMixture(2, covariance_type="diag", random_state=0).fit(table).save(path)
    model = GaussianMixture.load(path)
    assert (model.covariance_type, model.family) == ("diag", "gaussian_diag")
    assert model.feature_names_in_.tolist() == ["a", "b", "c", "d"]
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(table.rename({"a": "z"}))
    with pytest.raises(InputError, match=r"holds a GaussianMixture; read it by GaussianMixture.l"):
        BernoulliMixture.load(path)


def test_what_cannot_be_written_is_left_out(tmp_path):
    X = rows("gaussian_full", 20)
    model = Mixture(
        2, init=np.eye(2)[np.arange(20) % 2], random_state=np.random.default_rng(0),
        callback=lambda model: False, fixed_weights=np.array([1.0, 3.0]), prior="map",
    ).fit(X)  # fmt: skip
    model.save(tmp_path / "m.safetensors")
    again = Mixture.load(tmp_path / "m.safetensors")
    assert (again.init, again.callback, again.random_state) == ("k-means++", None, None)
    assert again.fixed_weights == [1.0, 3.0]
    assert learned(again) == learned(model)


def test_a_model_that_joblib_maps(tmp_path):
    X = rows("gaussian_full")
    model = Mixture(2, random_state=0).fit(X)
    joblib.dump(model, tmp_path / "model.joblib")
    mapped = joblib.load(tmp_path / "model.joblib", mmap_mode="r")
    np.testing.assert_array_equal(mapped.predict_proba(X), model.predict_proba(X))


def test_a_damaged_file(tmp_path):
    path = tmp_path / "m.safetensors"
    Mixture(2, random_state=0).fit(rows("gaussian_full")).save(path)
    with safe_open(path, "np") as file:
        arrays, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    lacking = {name: array for name, array in arrays.items() if name != "weights"}
    odd = metadata["description"].replace('"hard"', '"soft"')
    bad = arrays | {"params.means": np.full((2, 4), np.nan)}
    for tensors, about, message in (
        (lacking, metadata, "is damaged: a part of it is missing"),
        (bad, metadata, "is damaged"),
        (arrays, {"format": metadata["format"]}, "is damaged"),
        (arrays, metadata | {"description": odd}, "is damaged"),
        (arrays, {"format": "other"}, "is not a file of Mixture.save"),
    ):
        save_file(tensors, path, about)
        with pytest.raises(InputError, match=message):
            Mixture.load(path)
    path.write_bytes(b"not this")
    with pytest.raises(InputError, match=r"m.safetensors is not a file of Mixture.save"):
        Mixture.load(path)
    with pytest.raises(FileNotFoundError):
        Mixture.load(tmp_path / "nowhere")
