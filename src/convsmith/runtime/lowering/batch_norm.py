"""Batch norm in evaluation: folded into the convolution before, else a scale and a shift."""

from __future__ import annotations

import numpy as np

from convsmith.network import Layer
from convsmith.runtime.lowering.convolution import Convolution, scaled
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
    block = _bare(draft, layer.inputs[0])
    if block is None:
        scaled(draft, layer, layer.inputs[0], scale, shift)
        return
    block.weight = block.weight * scale.reshape(-1, 1, 1, 1)
    block.bias = block.bias * scale + shift
    draft.extend(layer, block)


def _bare(draft: Draft, name: str) -> Convolution | None:
    """The convolution whose bare sum a layer's value is, if nothing else reads it."""
    block = draft.made[name]
    if not isinstance(block, Convolution) or not draft.alone(name):
        return None
    bare = block.activation == block.final == "identity" and block.residual is None
    return block if bare else None


BATCH_NORM = Lowering(_refuse, _lower, vectors=True)
