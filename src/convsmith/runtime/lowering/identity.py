"""Operations that leave every value as it is: they cost nothing."""

from __future__ import annotations

from convsmith.network import Layer
from convsmith.runtime.lowering.draft import Draft
from convsmith.runtime.lowering.lowering import Lowering, Weights

__all__ = ["IDENTITY"]

_SAME = {"dropout", "clone", "contiguous", "alias", "detach", "feature_dropout", "alpha_dropout"}


def _refuse(layer: Layer, weights: Weights) -> str:
    return "" if layer.operation.name in _SAME else f"{layer.operation.name} may change the values"


def _lower(draft: Draft, layer: Layer) -> None:
    draft.extend(layer, draft.made[layer.inputs[0]])


IDENTITY = Lowering(_refuse, _lower, vectors=True)
