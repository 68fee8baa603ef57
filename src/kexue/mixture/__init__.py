"""Mixtures: one EM engine with exchangeable families, for rows with holes, weights and counts."""

from typing import TYPE_CHECKING

from kexue._core import lazy_names

if TYPE_CHECKING:
    from kexue.mixture.aliases import BernoulliMixture, GaussianMixture, MultinomialMixture
    from kexue.mixture.engine import (
        Acceleration,
        EMResult,
        Restart,
        expectation_maximization,
        free_energy,
    )
    from kexue.mixture.mixture import Mixture
    from kexue.mixture.selection import Selection, select_components

_HOMES = {
    "Acceleration": "engine",
    "BernoulliMixture": "aliases",
    "EMResult": "engine",
    "GaussianMixture": "aliases",
    "Mixture": "mixture",
    "MultinomialMixture": "aliases",
    "Restart": "engine",
    "Selection": "selection",
    "expectation_maximization": "engine",
    "free_energy": "engine",
    "select_components": "selection",
}

__all__ = [
    "Acceleration",
    "BernoulliMixture",
    "EMResult",
    "GaussianMixture",
    "Mixture",
    "MultinomialMixture",
    "Restart",
    "Selection",
    "expectation_maximization",
    "free_energy",
    "select_components",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES, extra="torch")
