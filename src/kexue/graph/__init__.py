"""Networks in and out, flow, the map equation, Infomap, and graphs of nearest neighbours."""

from kexue.graph.files import read_graph
from kexue.graph.flow import Flow, random_walk_flow
from kexue.graph.infomap import Infomap
from kexue.graph.map_equation import MapCost, map_equation
from kexue.graph.neighbors import knn_graph
from kexue.graph.network import Network, as_network
from kexue.graph.partitions import (
    format_tree,
    read_partition,
    write_clu,
    write_json,
    write_tree,
)

__all__ = [
    "Flow",
    "Infomap",
    "MapCost",
    "Network",
    "as_network",
    "format_tree",
    "knn_graph",
    "map_equation",
    "random_walk_flow",
    "read_graph",
    "read_partition",
    "write_clu",
    "write_json",
    "write_tree",
]
