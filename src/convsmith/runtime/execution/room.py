"""Memory for outputs. That of a large one is kept for the next call once its tensor is gone."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import TYPE_CHECKING
from weakref import finalize, ref

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    # It comes with Halide, and a stored program runs without.
    from convsmith.runtime.lowering.block import Array

__all__ = ["LARGE", "Room", "aligned", "small"]

LARGE = 4 * 2**20
"""Bytes. The C library gives larger pieces back to the system, at the latest those above 32 MiB,
and the system clears their pages one by one at each call: for three fused layers of 128 channels at
256² that takes as long as the layers. Smaller ones it keeps by itself."""

small: Callable[[tuple[int, ...]], Tensor] = torch.empty(
    0, dtype=torch.float32, device="cpu"
).new_empty
"""Memory without values, whatever torch's defaults are; naming them in each call takes longer."""


class Room:
    """Memory for the outputs of one region.

    Of the large ones whose tensors are gone it keeps the last for each output: a caller that keeps
    a result until it has the next one needs two, one of which is always free.

    Args:
        outputs: how many there are.

    >>> room = Room(1)
    >>> first = room.tensor(0, (1, 64, 256, 256), last=False)
    >>> place = first.data_ptr()
    >>> del first
    >>> room.tensor(0, (1, 64, 256, 256), last=False).data_ptr() == place
    True
    """

    def __init__(self, outputs: int) -> None:
        self._spare: list[Array | None] = [None] * outputs

    def tensor(self, output: int, shape: tuple[int, ...], last: bool) -> Tensor:
        """Memory without values for an output; (N, C, H, W) where it is `last`, channels_last."""
        nbytes = 4 * prod(shape)
        if nbytes < LARGE:
            if last:
                return torch.empty(
                    shape, dtype=torch.float32, device="cpu", memory_format=torch.channels_last
                )
            return small(shape)
        memory, self._spare[output] = self._spare[output], None
        if memory is None or memory.nbytes != nbytes:
            memory = aligned(nbytes)
        order = (shape[0], *shape[2:], shape[1]) if last else shape
        array = memory.view(np.float32).reshape(order)
        # Only the tensor refers to this array, and what shares its memory keeps that alive.
        finalize(array, _give_back, ref(self), output, memory).atexit = False
        output_tensor = torch.from_numpy(array)
        return output_tensor.permute(0, 3, 1, 2) if last else output_tensor


def _give_back(to: ref[Room], output: int, memory: Array) -> None:
    room = to()
    if room is not None:
        room._spare[output] = memory


def aligned(nbytes: int, to: int = 4096) -> Array:
    """So many bytes that begin at a multiple of `to`; numpy asks for huge pages for large ones."""
    memory = np.empty(nbytes + to, np.uint8)
    start = -memory.ctypes.data % to
    return memory[start : start + nbytes]
