"""A fitted mixture on disk: one file of safetensors, from which nothing is ever run."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from kexue._core import InputError, atomic_path
from kexue.mixture._checks import check_parameters
from kexue.mixture._fitting import Theta, make_family
from kexue.mixture._online import Stream
from kexue.mixture.engine import Acceleration

if TYPE_CHECKING:
    from kexue.mixture.mixture import Mixture

_FORMAT = "kexue.Mixture 1"
_ARRAYS = ("counts_", "log_likelihood_path_")
_NUMBERS = ("log_likelihood_", "n_iter_", "converged_", "restarts_", "n_features_in_")


def write(path: str | os.PathLike[str], model: Mixture) -> None:
    """Write a model atomically; what `read` gives is bit for bit the same."""
    arrays = {"weights": model._theta.weights}
    arrays |= {f"params.{name}": value for name, value in model._theta.params.items()}
    arrays |= {f"state.{name}": value for name, value in model._family.state().items()}
    arrays |= {name: getattr(model, name) for name in _ARRAYS if hasattr(model, name)}
    numbers = {name: getattr(model, name) for name in _NUMBERS if hasattr(model, name)}
    stream = getattr(model, "_stream", None)
    if stream is not None:
        arrays["stream.weight"] = stream.weight
        arrays |= {f"statistics.{name}": value for name, value in stream.statistics.items()}
        numbers |= {"seen": stream.seen, "steps": stream.steps, "last": stream.log_likelihood}
    names = getattr(model, "feature_names_in_", None)
    description = {
        "class": type(model).__name__,
        "parameters": {name: _plain(name, value) for name, value in model.get_params().items()},
        "feature_names": None if names is None else [str(name) for name in names],
        "acceleration": getattr(model, "_acceleration", None),
        "numbers": numbers,
    }
    metadata = {"format": _FORMAT, "description": json.dumps(description)}
    with atomic_path(path) as temporary:
        # safetensors writes the bytes as they lie
        contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        save_file(contiguous, temporary, metadata)


def read(path: str | os.PathLike[str], kind: type[Mixture]) -> Mixture:
    """Return the model of a file.

    Raises
    ------
    InputError
        If it is no such file, or of another class.
    """
    try:
        with safe_open(path, "np") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != _FORMAT:
                raise InputError(f"{os.fspath(path)} is not a file of Mixture.save")
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise
    except (SafetensorError, OSError) as error:
        raise InputError(f"{os.fspath(path)} is not a file of Mixture.save: {error}") from error
    try:
        description = json.loads(metadata["description"])
        if description["class"] != kind.__name__:
            name = description["class"]
            raise InputError(f"{os.fspath(path)} holds a {name}; read it by {name}.load")
        return _model(kind, description, arrays)
    except InputError:
        raise
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise InputError(f"{os.fspath(path)} is damaged: a part of it is missing") from error


def _model(kind: type[Mixture], description: Any, arrays: dict[str, np.ndarray]) -> Mixture:
    model = kind(**description["parameters"])
    check_parameters(model)
    shaped = {
        name: array.reshape(()) if array.size == 1 and _is_scalar(model, name) else array
        for name, array in arrays.items()
    }
    family = make_family(model.family, model.reg_covar, model.prior)
    family.set_state(_under("state.", shaped))
    model._family = family
    theta = Theta(shaped["weights"], _under("params.", shaped))
    if not all(np.isfinite(value).all() for value in (theta.weights, *theta.params.values())):
        raise ValueError("parameters that are not finite")
    model._learn(theta)
    numbers = description["numbers"]
    for name in _NUMBERS:
        if name in numbers:
            setattr(model, name, numbers[name])
    for name in _ARRAYS:
        if name in shaped:
            setattr(model, name, shaped[name])
    state = description["acceleration"]
    model._acceleration = None if state is None else Acceleration(*state)
    if "steps" in numbers:
        stream = Stream(family, theta)
        stream.weight, stream.statistics = shaped["stream.weight"], _under("statistics.", shaped)
        stream.seen, stream.steps = numbers["seen"], numbers["steps"]
        stream.log_likelihood = numbers["last"]
        model._stream = stream
    if description["feature_names"] is not None:
        model.feature_names_in_ = np.array(description["feature_names"], dtype=object)
    return model


def _under(prefix: str, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}


def _is_scalar(model: Mixture, name: str) -> bool:
    """Whether an array that was written is the one deviation of all components and columns."""
    if isinstance(model.family, Mapping):
        names = list(model.family)
        part = name.removeprefix("params.").split(".")
        return name.endswith(".cholesky") and names[int(part[0])] == "gaussian_tied_spherical"
    return name == "params.cholesky" and model.family == "gaussian_tied_spherical"


def _plain(name: str, value: Any) -> Any:
    """Return a parameter as JSON can hold it."""
    if name == "callback":
        return None
    if name == "init" and not isinstance(value, str):
        return "k-means++"
    if name == "random_state" and not isinstance(value, int | np.integer):
        return None
    if isinstance(value, Mapping):
        return {key: [int(column) for column in columns] for key, columns in value.items()}
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value.item() if isinstance(value, np.generic) else value
