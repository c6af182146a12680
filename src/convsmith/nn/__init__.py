"""Separable convolutions to train with, and the mathematics that makes one from a trained one."""

from __future__ import annotations

from convsmith.nn.factorise import separable_factors, separable_rank
from convsmith.nn.fused import use_fused_
from convsmith.nn.pair import SeparablePair
from convsmith.nn.separable import (
    DepthwiseSeparableConv1d,
    DepthwiseSeparableConv2d,
    DepthwiseSeparableConv3d,
)
from convsmith.nn.transposed import DepthwiseSeparableConvTranspose2d

__all__ = [
    "DepthwiseSeparableConv1d",
    "DepthwiseSeparableConv2d",
    "DepthwiseSeparableConv3d",
    "DepthwiseSeparableConvTranspose2d",
    "SeparablePair",
    "separable_factors",
    "separable_rank",
    "use_fused_",
]
