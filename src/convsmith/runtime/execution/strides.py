"""How a tensor outside of a region lies in memory."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Strides"]


@dataclass(frozen=True)
class Strides:
    """How a tensor outside lies in memory: values from one to the next.

    In a planar one the pixels of a row are neighbours, else the channels of a pixel.
    """

    channel: int
    row: int
    pixel: int
    planar: bool
