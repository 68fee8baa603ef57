"""Distances, maps and barycenters of normal distributions that keep their digits."""

from kexue.gaussian.barycenter import barycenter
from kexue.gaussian.bhattacharyya import bhattacharyya, hellinger
from kexue.gaussian.fid import fid
from kexue.gaussian.gaussian import Gaussian
from kexue.gaussian.kl import jeffreys, kl
from kexue.gaussian.pairwise import pairwise_distances
from kexue.gaussian.transport import TransportMap, geodesic, transport_map
from kexue.gaussian.wasserstein import wasserstein2

__all__ = [
    "Gaussian",
    "TransportMap",
    "barycenter",
    "bhattacharyya",
    "fid",
    "geodesic",
    "hellinger",
    "jeffreys",
    "kl",
    "pairwise_distances",
    "transport_map",
    "wasserstein2",
]
