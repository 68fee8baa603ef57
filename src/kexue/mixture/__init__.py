"""Mixtures: one EM engine with exchangeable families; soft k-means, and capsules made of it."""

from typing import TYPE_CHECKING

from kexue._core import lazy_names

if TYPE_CHECKING:
    from kexue.mixture.aliases import BernoulliMixture, GaussianMixture, MultinomialMixture
    from kexue.mixture.capsule_classifier import CapsuleClassifier
    from kexue.mixture.capsule_layer import CapsuleLayer, PrimaryCapsules
    from kexue.mixture.capsule_routing import capsule_routing
    from kexue.mixture.engine import (
        Acceleration,
        EMResult,
        Restart,
        expectation_maximization,
        free_energy,
    )
    from kexue.mixture.margin_loss import margin_loss
    from kexue.mixture.mixture import Mixture
    from kexue.mixture.selection import Selection, select_components
    from kexue.mixture.soft_kmeans import SoftKMeans
    from kexue.mixture.squash import squash

_HOMES = {
    "Acceleration": "engine",
    "BernoulliMixture": "aliases",
    "CapsuleClassifier": "capsule_classifier",
    "CapsuleLayer": "capsule_layer",
    "EMResult": "engine",
    "GaussianMixture": "aliases",
    "Mixture": "mixture",
    "MultinomialMixture": "aliases",
    "PrimaryCapsules": "capsule_layer",
    "Restart": "engine",
    "Selection": "selection",
    "SoftKMeans": "soft_kmeans",
    "capsule_routing": "capsule_routing",
    "expectation_maximization": "engine",
    "free_energy": "engine",
    "margin_loss": "margin_loss",
    "select_components": "selection",
    "squash": "squash",
}

__all__ = [
    "Acceleration",
    "BernoulliMixture",
    "CapsuleClassifier",
    "CapsuleLayer",
    "EMResult",
    "GaussianMixture",
    "Mixture",
    "MultinomialMixture",
    "PrimaryCapsules",
    "Restart",
    "Selection",
    "SoftKMeans",
    "capsule_routing",
    "expectation_maximization",
    "free_energy",
    "margin_loss",
    "select_components",
    "squash",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES, extra="torch")
