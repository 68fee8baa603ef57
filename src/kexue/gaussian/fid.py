"""The Fréchet distance of two sets of features: FID, if an Inception network made them."""

from __future__ import annotations

from typing import Any

from kexue._core import InputError
from kexue.gaussian._arrays import as_real, of_one_type
from kexue.gaussian.gaussian import Gaussian, check_samples
from kexue.gaussian.wasserstein import wasserstein2


def fid(X: Any, Y: Any) -> Any:
    """Return the squared 2-Wasserstein distance between Gaussians fitted to two samples.

    Covariances divide by N - 1. Where there are no more samples than features they may be
    singular and are used as the factors that the samples are: nothing is added to them, no
    matrix of shape (n, n) is formed, and all takes O(n N^2).

    Parameters
    ----------
    X, Y : array-like of shape (N1, n) and (N2, n)
        Features, one row per sample; at least two rows each. NumPy or torch.

    Returns
    -------
    float64 or float32 scalar, or tensor
        Not a distance: its root is (``wasserstein2``). Of few samples it is too large: samples of
        one distribution do not give 0.

    Raises
    ------
    TypeError, InputError
        For another shape, NaN or infinity, or different numbers of features.

    References
    ----------
    Heusel et al., GANs trained by a two time-scale update rule converge to a local Nash
    equilibrium, NeurIPS 2017; Chong and Forsyth, Effectively unbiased FID and Inception score,
    CVPR 2020.

    Examples
    --------
    >>> round(float(fid([[0.0, 0.0], [2.0, 0.0]], [[1.0, 3.0], [1.0, 5.0]])), 6)  # 17 - 1 + 4
    20.0
    """
    first, second = of_one_type(as_real("X", X), as_real("Y", Y))
    check_samples("X", first)
    check_samples("Y", second)
    if first.shape[1] != second.shape[1]:
        raise InputError(
            f"X and Y must have the same number of features, got {first.shape[1]} and "
            f"{second.shape[1]}"
        )
    return wasserstein2(Gaussian.fit(first), Gaussian.fit(second), squared=True)
