"""Zeros around the plane: left to the convolutions that read it, else a copy."""

from __future__ import annotations

from convsmith.arithmetic import Window
from convsmith.network import Layer
from convsmith.runtime.lowering.concat import Copied
from convsmith.runtime.lowering.draft import Draft
from convsmith.runtime.lowering.lowering import Lowering, Weights
from convsmith.runtime.lowering.maps import Map

__all__ = ["PAD"]


def _refuse(layer: Layer, weights: Weights) -> str:
    settings = layer.operation.settings
    pads, value = settings.get("pad") or (), settings.get("value") or 0
    if settings.get("mode", "constant") != "constant" or value != 0:
        return "padding that is not zeros"
    # More than two axes, or a negative pad, which crops.
    return "" if len(pads) in (2, 4) and min(pads) >= 0 else "not zeros around the plane"


def _lower(draft: Draft, layer: Layer) -> None:
    left, right, top, bottom = (*layer.operation.settings["pad"], 0, 0)[:4]
    pads = ((top, bottom), (left, right))
    readers = draft.network.consumers(layer.name)
    if layer.name not in draft.outputs and all(r.kind == "convolution" for r in readers):
        draft.pads[layer.name] = pads
        draft.extend(layer, draft.made[layer.inputs[0]])
        return
    block = Copied(
        layer.name,
        [draft.map(layer.inputs[0])],
        Map(layer.name, layer.shape[1]),
        (Window(1, padding=pads[0]), Window(1, padding=pads[1])),
    )
    draft.place(block, layer.name)


PAD = Lowering(_refuse, _lower)
