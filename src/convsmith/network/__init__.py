"""A trained model as one typed graph, read through `torch.export` and walked both ways."""

from convsmith.network.contexts import quiet, untouched
from convsmith.network.modules import submodule
from convsmith.network.network import FreeSize, Layer, Network, Parameter, TensorType
from convsmith.network.operations import Operation
from convsmith.network.registry import register
from convsmith.network.trace import trace

__all__ = [
    "FreeSize",
    "Layer",
    "Network",
    "Operation",
    "Parameter",
    "TensorType",
    "quiet",
    "register",
    "submodule",
    "trace",
    "untouched",
]


def __dir__() -> list[str]:
    return list(__all__)
