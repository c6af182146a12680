"""Recurrent layers: LSTM, GRU and plain ones, over all steps in one call or step by step."""

from __future__ import annotations

from collections.abc import Sequence
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
    """The weights of every layer and direction, as PyTorch lists them after input and states."""
    settings = layer.operation.settings
    sequences = "batch_first" in settings  # packed ones come with the length of each step
    first = 1 + (not sequences) + _states(layer)
    runs = settings["num_layers"] * (2 if settings["bidirectional"] else 1)
    weights = [operand.shape for operand in layer.operands[first:]]
    each = len(weights) // runs
    steps = prod(layer.operands[0].shape[:-1])
    biases = 2 if settings["has_biases"] else 0
    macs = flops = 0
    for run in range(runs):
        inner, outer, *others = weights[run * each : (run + 1) * each]
        more, added = _step(layer, [inner, outer, *others[biases:]], others[:biases])
        macs, flops = macs + steps * more, flops + steps * added
    return Cost(macs, flops)


def _cell_cost(layer: Layer) -> Cost:
    """One step: the two matrices and their biases, after input and states."""
    first = 1 + _states(layer)
    inner, outer, *biases = [operand.shape for operand in layer.operands[first:]]
    macs, flops = _step(layer, [inner, outer], biases)
    rows = prod(layer.operands[0].shape[:-1])
    return Cost(rows * macs, rows * flops)


def _states(layer: Layer) -> int:
    return 2 if layer.operation.name.startswith("lstm") else 1


def _step(
    layer: Layer, matrices: Sequence[Sequence[int]], biases: Sequence[Sequence[int]]
) -> tuple[int, int]:
    """One step of one direction: every weight once, and the gates' own arithmetic."""
    gates, each = _GATES.get(layer.operation.name.partition("_")[0], (1, 1))
    hidden = matrices[1][0] // gates
    macs = sum(map(prod, matrices))
    return macs, 2 * macs + sum(map(prod, biases)) + hidden * each


FAMILIES = (
    Family(
        kind="recurrent",
        about="LSTM, GRU or a plain recurrent layer, over all steps, or one step of it",
        names="gru gru_cell lstm lstm_cell rnn_relu rnn_relu_cell rnn_tanh rnn_tanh_cell",
        traits=Trait.FUSED | Trait.BY_NAME,
        cost=_cost,
        reads=None,
        axes=axes_nowhere,
        carry=all_or_unknown,
        step=unmoved,
        title="recurrent layers",
    ).but("gru_cell lstm_cell rnn_relu_cell rnn_tanh_cell", cost=_cell_cost),
)
