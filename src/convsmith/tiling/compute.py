"""What computes parts of the output of an image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor

from convsmith.tiling.interpreter import Statistics
from convsmith.tiling.spans import Span
from convsmith.tiling.stores.source import Source

__all__ = ["Compute", "Piece"]

Piece = tuple[tuple[Span, ...], Tensor]
"""Spans of the dimensions that are cut, and the output there, with a batch of one."""


class Compute:
    """Computes a part of the output of one image."""

    def __call__(
        self, source: Source, image: int, spans: Sequence[Span], known: Statistics
    ) -> Tensor:
        """The output at spans of the dimensions that are cut, with a batch of one."""
        raise NotImplementedError

    def pieces(
        self, source: Source, image: int, spans: Sequence[Span], known: Statistics
    ) -> Iterator[Piece]:
        """The same as it is computed; a piece holds until the next is asked for."""
        yield tuple(spans), self(source, image, spans, known)
