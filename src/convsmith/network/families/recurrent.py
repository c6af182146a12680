"""Recurrent layers: LSTM, GRU and plain ones, over all steps in one call."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from convsmith.network.cost import Cost
from convsmith.network.families.family import Family, Trait
from convsmith.network.families.rules import all_or_unknown, axes_nowhere, unmoved

if TYPE_CHECKING:
    from convsmith.network.network import Layer

__all__ = ["FAMILIES"]

# Gates, and operations per hidden value and step besides the matrices.
_GATES = {"lstm": (4, 18), "gru": (3, 14)}


def _cost(layer: Layer) -> Cost:
    """Every weight matrix once per step; the gates' own arithmetic per hidden value and step."""
    steps = prod(layer.operands[0].shape[:-1])
    weights = [p.type.shape for p in layer.parameters if len(p.type.shape) == 2]
    biases = [p.type.shape for p in layer.parameters if len(p.type.shape) == 1]
    gates, each = _GATES.get(layer.operation.name, (1, 1))
    hidden = sum(shape[0] // gates for shape in weights[::2])
    macs = steps * sum(map(prod, weights))
    return Cost(macs, 2 * macs + steps * (sum(map(prod, biases)) + hidden * each))


FAMILIES = (
    Family(
        kind="recurrent",
        about="LSTM, GRU or a plain recurrent layer, over all steps",
        names="gru lstm rnn_relu rnn_tanh",
        traits=Trait.FUSED | Trait.BY_NAME,
        cost=_cost,
        reads=None,
        axes=axes_nowhere,
        carry=all_or_unknown,
        step=unmoved,
        title="recurrent layers",
    ),
)
