"""Task: fill holes. Data: iris of scikit-learn, 150 x 4, a fifth of the values deleted at random.

Score: root mean square error of what is filled in, in standard deviations of the columns, over five
seeds: mixture 0.466 +- 0.032, IterativeImputer 0.515 +- 0.059, column means 0.982 +- 0.039. On wine
(178 x 13) a single normal density makes 0.743 +- 0.023, IterativeImputer 0.755 +- 0.027.

    python examples/mixture_imputation.py [--seeds 5] [--share 0.2] [--data iris]
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable

import numpy as np
from sklearn import datasets
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer

from kexue.mixture import Mixture, select_components


def main() -> None:
    """Print the errors of each way to fill holes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", choices=("iris", "wine"), default="iris")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--share", type=float, default=0.2, help="of the values, deleted")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # of the baselines, which stop before they have converged
    X = getattr(datasets, f"load_{arguments.data}")().data
    X = (X - X.mean(0)) / X.std(0)
    ways: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "Mixture, one normal density": one_density,
        "Mixture, as many as BIC chooses": several_densities,
        "IterativeImputer": lambda rows: IterativeImputer(random_state=0).fit_transform(rows),
        "KNNImputer": lambda rows: KNNImputer().fit_transform(rows),
        "column means": lambda rows: SimpleImputer().fit_transform(rows),
    }
    for name, fill in ways.items():
        errors, start = [], time.process_time()
        for seed in range(arguments.seeds):
            gone = np.random.default_rng(seed).random(X.shape) < arguments.share
            filled = fill(np.where(gone, np.nan, X))
            errors.append(np.sqrt(((filled - X)[gone] ** 2).mean()))
        seconds = (time.process_time() - start) / arguments.seeds
        print(f"{name}: {np.mean(errors):.3f} +- {np.std(errors):.3f}, {seconds:.2f} CPU s")


def one_density(rows: np.ndarray) -> np.ndarray:
    """Fill by the conditional means of one normal density."""
    return Mixture(prior="map").fit(rows).impute(rows)


def several_densities(rows: np.ndarray) -> np.ndarray:
    """Fill by a mixture of one to four densities with one covariance."""
    base = Mixture(family="gaussian_tied", prior="map", n_init=3, random_state=0)
    return select_components(rows, range(1, 5), model=base).model.impute(rows)


if __name__ == "__main__":
    main()
