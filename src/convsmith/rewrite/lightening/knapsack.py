"""One form per layer: the least error whose cost fits the budget (multiple-choice knapsack)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from convsmith.errors import ArgumentError

__all__ = ["Option", "choose", "least_cost"]

_BINS = 4096


@dataclass(frozen=True, slots=True)
class Option:
    """A form that a layer may take.

    Attributes:
        choice: what is chosen; None keeps the layer as it is.
        cost: what it costs, in the unit of the budget.
        error: what it loses; 0 for keeping the layer.
    """

    choice: Any
    cost: float
    error: float


def least_cost(layers: Sequence[Sequence[Option]]) -> float:
    """The cheapest that all layers together can be."""
    return sum(min(option.cost for option in options) for options in layers)


def choose(layers: Sequence[Sequence[Option]], budget: float) -> list[Option]:
    """Pick one option per layer: the least sum of errors among those that cost at most `budget`.

    Dynamic programming over the cost that is left (Pisinger 1995, a multiple-choice knapsack), in
    steps of 1/4096 of what there is to decide. Costs are rounded up, so that the budget holds.

    Raises:
        ArgumentError: if the cheapest options together cost more than the budget.

    >>> keep, light, lossy = Option(None, 10.0, 0.0), Option(1, 2.0, 0.1), Option(1, 2.0, 0.4)
    >>> [option.choice for option in choose([[keep, light], [keep, lossy]], budget=13)]
    [1, None]
    """
    floors = [min(option.cost for option in options) for options in layers]
    room = budget - sum(floors)
    if room < 0:
        raise ArgumentError(
            f"a budget of {budget:g} cannot be met: the least possible is {sum(floors):g}"
        )
    # Only what an option costs above the cheapest of its layer is to be decided.
    ceiling = sum(max(o.cost for o in options) for options in layers) - sum(floors)
    if ceiling <= room:
        return [min(options, key=lambda o: (o.error, o.cost)) for options in layers]
    step = room / _BINS
    if step == 0:
        return [min(options, key=lambda o: (o.cost, o.error)) for options in layers]
    best = np.zeros(_BINS + 1)  # least error with at most this many steps spent
    picks: list[np.ndarray[Any, Any]] = []
    for options, floor in zip(layers, floors, strict=True):
        table = np.full((len(options), _BINS + 1), np.inf)
        for row, option in zip(table, options, strict=True):
            spent = int(np.ceil((option.cost - floor) / step))
            if spent <= _BINS:
                row[spent:] = best[: _BINS + 1 - spent] + option.error
        picks.append(table.argmin(axis=0))
        best = table.min(axis=0)
    left, chosen = _BINS, []
    for options, pick, floor in zip(
        reversed(layers), reversed(picks), reversed(floors), strict=True
    ):
        option = options[int(pick[left])]
        left -= int(np.ceil((option.cost - floor) / step))
        chosen.append(option)
    return chosen[::-1]
