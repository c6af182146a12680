"""Linear layers of vectors: pointwise convolutions of an image whose pixels are the vectors."""

from __future__ import annotations

import numpy as np

from convsmith.network import Layer
from convsmith.runtime.lowering.convolution import Convolution
from convsmith.runtime.lowering.draft import Draft
from convsmith.runtime.lowering.lowering import COMPUTED_WEIGHT, Lowering, Weights
from convsmith.runtime.lowering.maps import Map

__all__ = ["LINEAR"]


def _refuse(layer: Layer, weights: Weights) -> str:
    if layer.name not in weights:
        return COMPUTED_WEIGHT
    axes = len(layer.shape)
    return "" if axes == 2 else f"a linear layer on an input with {axes} axes, not 2"


def _lower(draft: Draft, layer: Layer) -> None:
    values = draft.parameters(layer)
    target = Map(layer.name, len(values["weight"]), pixel=True)
    bias = values.get("bias", np.zeros(target.channels))
    weight = values["weight"][:, :, None, None]
    source = draft.map(layer.inputs[0])
    draft.place(Convolution(layer.name, [source], target, weight=weight, bias=bias), layer.name)


LINEAR = Lowering(_refuse, _lower, vectors=True)
