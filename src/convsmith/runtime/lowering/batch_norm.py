"""Batch norm in evaluation: folded into the convolution before, else a scale and a shift."""

from __future__ import annotations

import numpy as np

from convsmith.network import Layer
from convsmith.runtime.lowering.convolution import affine
from convsmith.runtime.lowering.draft import Draft
from convsmith.runtime.lowering.lowering import Lowering, Weights

__all__ = ["BATCH_NORM"]


def _refuse(layer: Layer, weights: Weights) -> str:
    return "" if layer.name in weights else "batch norm without running statistics"


def _lower(draft: Draft, layer: Layer) -> None:
    values = draft.parameters(layer)
    deviation = np.sqrt(values["running_var"] + layer.operation.settings["eps"])
    scale = values.get("weight", np.ones_like(deviation)) / deviation
    shift = values.get("bias", np.zeros_like(deviation)) - values["running_mean"] * scale
    affine(draft, layer, layer.inputs[0], scale, shift)


BATCH_NORM = Lowering(_refuse, _lower, vectors=True)
