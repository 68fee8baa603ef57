"""Networks in and out, flow, the map equation, Infomap, and graphs of nearest neighbours."""

from kexue.graph.files import format_tree, read_graph, write_clu, write_tree
from kexue.graph.flow import Flow, random_walk_flow
from kexue.graph.infomap import Infomap
from kexue.graph.map_equation import MapCost, map_equation
from kexue.graph.neighbors import knn_graph
from kexue.graph.network import Network, as_network

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
    "write_clu",
    "write_tree",
]
