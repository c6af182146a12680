"""How tensors hold what a region computes: as images, or as vectors that are pixels of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from convsmith.runtime.execution.strides import Strides

__all__ = ["Images", "Vectors"]


class Images:
    """Tensors (N, C, H, W), planar or channels_last."""

    def size(self, shape: Sequence[int]) -> tuple[int, int]:
        """Rows and pixels of each image of a tensor of this shape."""
        return int(shape[2]), int(shape[3])

    def images(self, tensor: Tensor) -> int:
        """How many images a tensor holds."""
        return tensor.shape[0]

    def readable(self, tensor: Tensor) -> Tensor:
        """The tensor, or a copy where it does not lie as kernels read it."""
        if tensor.is_neg():  # its memory holds the negative of its values
            tensor = tensor.resolve_neg()
        if tensor.is_contiguous() or tensor.is_contiguous(memory_format=torch.channels_last):
            return tensor
        return tensor.contiguous()

    def last(self, tensor: Tensor) -> bool:
        """Whether the channels of a pixel are neighbours, and are to be in the results."""
        dense = tensor.is_contiguous()
        return not dense and tensor.is_contiguous(memory_format=torch.channels_last)

    def key(self, tensor: Tensor) -> Any:
        """What it has in common with all tensors that one program serves."""
        return tensor.shape[1:], tensor.stride()[1:], tensor.dtype

    def strides(self, tensor: Tensor) -> Strides:
        """How one of its images lies."""
        _, channel, row, pixel = tensor.stride()
        return Strides(channel, row, pixel, tensor.is_contiguous())

    def extent(self, tensor: Tensor) -> int:
        """Bytes from the first value of an image to the end of its last one."""
        return _extent(tensor.shape[1:], tensor.stride()[1:])

    def result(self, images: int, size: tuple[int, int, int]) -> tuple[int, ...]:
        """The shape of a result of so many images of so many channels, rows and pixels."""
        return images, *size

    def result_strides(self, size: tuple[int, int, int], last: bool) -> Strides:
        """How one of its images lies."""
        channels, rows, pixels = size
        if last:
            return Strides(1, pixels * channels, channels, False)
        return Strides(rows * pixels, pixels, 1, True)


class Vectors(Images):
    """Tensors (N, C): one image of one row, each vector a pixel."""

    def size(self, shape: Sequence[int]) -> tuple[int, int]:
        """One row of as many pixels as there are vectors; of one where there are none."""
        return 1, max(1, int(shape[0]))

    def images(self, tensor: Tensor) -> int:
        """One, or none without vectors."""
        return min(1, tensor.shape[0])

    def readable(self, tensor: Tensor) -> Tensor:
        """The tensor, or a copy where it does not lie as kernels read it."""
        return tensor.resolve_neg().contiguous()

    def last(self, tensor: Tensor) -> bool:
        """No, as far as the memory of a result goes: it is dense."""
        return False

    def key(self, tensor: Tensor) -> Any:
        """What it has in common with all tensors that one program serves."""
        return tensor.shape, tensor.dtype

    def strides(self, tensor: Tensor) -> Strides:
        """How its image lies."""
        return Strides(1, 0, tensor.shape[1], False)

    def extent(self, tensor: Tensor) -> int:
        """Bytes from the first value of its image to the end of the last one."""
        return _extent(tensor.shape, tensor.stride())

    def result(self, images: int, size: tuple[int, int, int]) -> tuple[int, ...]:
        """The shape of a result of so many channels, rows and pixels."""
        return images * size[2], size[0]

    def result_strides(self, size: tuple[int, int, int], last: bool) -> Strides:
        """How its image lies."""
        return Strides(1, 0, size[0], False)


def _extent(shape: Sequence[int], strides: Sequence[int]) -> int:
    return 4 + 4 * sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
