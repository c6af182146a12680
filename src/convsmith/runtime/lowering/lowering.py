"""What an entry of the table of lowerings is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from convsmith.network import Layer
from convsmith.runtime.lowering.draft import Draft

__all__ = ["COMPUTED_WEIGHT", "Lowering", "Weights"]

Weights = Mapping[str, Mapping[str, Tensor]]
"""For each layer its parameters by their names in PyTorch's schema."""

COMPUTED_WEIGHT = "its weight is computed"
"""Why a layer whose weight is not a parameter is left to torch."""


@dataclass(frozen=True)
class Lowering:
    """What kernels can do with a kind of layer.

    Attributes:
        refuse: why no kernel computes a layer, '' if one does; asked of float32 layers alone.
        lower: adds a layer that is not refused to a draft.
        vectors: whether it treats vectors (N, C) as it does the pixels of a map.
    """

    refuse: Callable[[Layer, Weights], str]
    lower: Callable[[Draft, Layer], None]
    vectors: bool = False
