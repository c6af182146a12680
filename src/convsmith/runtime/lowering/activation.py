"""Activations: folded into the block before, else a block of their own. Kernels know which."""

from __future__ import annotations

from convsmith.kernels.activation import kernel_name
from convsmith.network import Layer
from convsmith.runtime.lowering.convolution import Convolution, scaled
from convsmith.runtime.lowering.draft import Draft
from convsmith.runtime.lowering.lowering import COMPUTED_WEIGHT, Lowering, Weights
from convsmith.runtime.lowering.prelu import lower_prelu
from convsmith.runtime.lowering.scaled import Scaled

__all__ = ["ACTIVATION"]


def _refuse(layer: Layer, weights: Weights) -> str:
    if layer.operation.name == "prelu" and len(layer.shape) == 4:
        return "" if "weight" in weights.get(layer.name, {}) else COMPUTED_WEIGHT
    return "" if _name(layer) else f"no kernel for {layer.operation.name}"


def _lower(draft: Draft, layer: Layer) -> None:
    if layer.operation.name == "prelu":
        lower_prelu(draft, layer)
    else:
        _fold(draft, layer)


def _fold(draft: Draft, layer: Layer) -> None:
    name, source = _name(layer), layer.inputs[0]
    block = draft.made[source] if draft.alone(source) else None
    if isinstance(block, (Convolution, Scaled)) and block.final == "identity":
        if block.residual is not None:
            block.final = name
            draft.extend(layer, block)
            return
        if block.activation == "identity":
            block.activation = name
            draft.extend(layer, block)
            return
    scaled(draft, layer, source).activation = name


def _name(layer: Layer) -> str:
    return kernel_name(layer.operation.name, layer.operation.settings)


ACTIVATION = Lowering(_refuse, _lower, vectors=True)
