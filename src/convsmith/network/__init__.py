"""A trained model as one typed graph, read through `torch.export` and walked both ways."""

from convsmith.network.modules import submodule
from convsmith.network.network import Layer, Network, Parameter, TensorType
from convsmith.network.operations import Operation
from convsmith.network.trace import quiet, trace, untouched

__all__ = [
    "Layer",
    "Network",
    "Operation",
    "Parameter",
    "TensorType",
    "quiet",
    "submodule",
    "trace",
    "untouched",
]
