"""The table of operators: what computes each kind of node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from convsmith.importing.file import Node

__all__ = ["OPERATORS", "Compute", "operator"]

Compute = Callable[[Node, Sequence[Any]], Any]
"""Gives a node's value, or a tuple of several, from those of its inputs; None for one left out."""

OPERATORS: dict[str, Compute] = {}
"""By the names of ONNX."""


def operator(*kinds: str) -> Callable[[Compute], Compute]:
    """Enter a function for some kinds of node."""

    def enter(function: Compute) -> Compute:
        for kind in kinds:
            assert kind not in OPERATORS
            OPERATORS[kind] = function
        return function

    return enter
