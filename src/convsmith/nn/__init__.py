"""Separable convolutions to train with, and the mathematics that makes one from a trained one."""

from __future__ import annotations

from convsmith.nn.composed import ComposedConv
from convsmith.nn.factored import Factored, Rank
from convsmith.nn.factorise import separable_factors, separable_rank
from convsmith.nn.fused import use_fused_
from convsmith.nn.pair import SeparablePair
from convsmith.nn.pointwise_first import PointwiseFirstConv
from convsmith.nn.separable import (
    DepthwiseSeparableConv1d,
    DepthwiseSeparableConv2d,
    DepthwiseSeparableConv3d,
)
from convsmith.nn.spatial import SpatiallySeparableConv
from convsmith.nn.transposed import (
    DepthwiseSeparableConvTranspose1d,
    DepthwiseSeparableConvTranspose2d,
    DepthwiseSeparableConvTranspose3d,
)
from convsmith.nn.tucker import TuckerConv

__all__ = [
    "ComposedConv",
    "DepthwiseSeparableConv1d",
    "DepthwiseSeparableConv2d",
    "DepthwiseSeparableConv3d",
    "DepthwiseSeparableConvTranspose1d",
    "DepthwiseSeparableConvTranspose2d",
    "DepthwiseSeparableConvTranspose3d",
    "Factored",
    "PointwiseFirstConv",
    "Rank",
    "SeparablePair",
    "SpatiallySeparableConv",
    "TuckerConv",
    "separable_factors",
    "separable_rank",
    "use_fused_",
]


def __dir__() -> list[str]:
    return list(__all__)
