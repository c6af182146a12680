"""Convolution arithmetic: exact integers, no torch, no numpy until an array is asked for.

>>> from convsmith.arithmetic import Conv
>>> Conv(3, 30, kernel_size=10).params
9030
"""

from convsmith.arithmetic.chain import Chain
from convsmith.arithmetic.convolution import Conv
from convsmith.arithmetic.matrix import convolution_matrix, im2col
from convsmith.arithmetic.pool import Pool
from convsmith.arithmetic.positions import Positions
from convsmith.arithmetic.reference import evaluate
from convsmith.arithmetic.region import Box, Region
from convsmith.arithmetic.summary import parameter_table, summary
from convsmith.arithmetic.transposed import ConvTranspose
from convsmith.arithmetic.window import Window

__all__ = [
    "Box",
    "Chain",
    "Conv",
    "ConvTranspose",
    "Pool",
    "Positions",
    "Region",
    "Window",
    "convolution_matrix",
    "evaluate",
    "im2col",
    "parameter_table",
    "summary",
]


def __dir__() -> list[str]:
    return list(__all__)
