"""Separable convolutions to train with, and the mathematics that makes one from a trained one."""

from __future__ import annotations

from convsmith.nn.composed import ComposedConv
from convsmith.nn.factored import Factored, Rank
from convsmith.nn.factorise import separable_factors, separable_rank
from convsmith.nn.forms.cp import CPConv
from convsmith.nn.forms.depthwise_pointwise import (
    DepthwiseSeparableConv1d,
    DepthwiseSeparableConv2d,
    DepthwiseSeparableConv3d,
)
from convsmith.nn.forms.depthwise_pointwise_transposed import (
    DepthwiseSeparableConvTranspose1d,
    DepthwiseSeparableConvTranspose2d,
    DepthwiseSeparableConvTranspose3d,
)
from convsmith.nn.forms.pointwise_depthwise import PointwiseFirstConv
from convsmith.nn.forms.spatial import SpatiallySeparableConv
from convsmith.nn.forms.tucker import TuckerConv
from convsmith.nn.fused import use_fused_
from convsmith.nn.pair import SeparablePair

__all__ = [
    "CPConv",
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
