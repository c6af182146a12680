"""Activations: folded into the block before, else a block of their own. Kernels know which."""

from __future__ import annotations

import numpy as np

from convsmith.kernels.activation import is_learnt, kernel_name
from convsmith.network import Layer
from convsmith.runtime.lowering.block import Array
from convsmith.runtime.lowering.convolution import scaled
from convsmith.runtime.lowering.draft import Draft
from convsmith.runtime.lowering.ended import Ended
from convsmith.runtime.lowering.lowering import COMPUTED_WEIGHT, Lowering, Weights

__all__ = ["ACTIVATION"]


def _refuse(layer: Layer, weights: Weights) -> str:
    name = _name(layer)
    if is_learnt(name) and "weight" not in weights.get(layer.name, {}):
        return COMPUTED_WEIGHT
    return "" if name else f"no kernel for {layer.operation.name}"


def _lower(draft: Draft, layer: Layer) -> None:
    name, source = _name(layer), layer.inputs[0]
    slope = _slope(draft, layer) if is_learnt(name) else None
    block = draft.made[source] if draft.alone(source) else None
    if isinstance(block, Ended) and block.end_in(name, slope):
        draft.extend(layer, block)
    else:
        scaled(draft, layer, source).end_in(name, slope)


def _slope(draft: Draft, layer: Layer) -> Array:
    """For each channel its own number, or the one for all."""
    given: Array = draft.parameters(layer)["weight"].reshape(-1)
    return given * np.ones(layer.shape[1])


def _name(layer: Layer) -> str:
    return kernel_name(layer.operation.name, layer.operation.settings)


ACTIVATION = Lowering(_refuse, _lower, vectors=True)
