"""Regions: parts of a network that kernels compute, from tensors to tensors."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from convsmith.kernels.library import Library
from convsmith.runtime.bands import plan
from convsmith.runtime.blocks import Block, Input, Output
from convsmith.runtime.program import Constants, Program, Strides, assemble
from convsmith.runtime.team import Team

__all__ = ["Region"]

_PAGE = 4096


class Region(nn.Module):
    """Blocks as one module: takes and gives float32 tensors (N, C, H, W).

    A program is made for each size of image that it meets and kept; its memory is taken for a call
    and given back, so that calls from several threads do not meet.
    """

    def __init__(self, blocks: Sequence[Block], library: Library, team: Team) -> None:
        super().__init__()
        self.blocks = list(blocks)
        self.library, self.team = library, team
        self.constants = Constants(self.blocks, library)
        self.inputs = [b for b in self.blocks if isinstance(b, Input)]
        self.outputs = [b for b in self.blocks if isinstance(b, Output)]
        self._programs: dict[Any, Program] = {}
        self._memories: dict[Any, list[np.ndarray[Any, Any]]] = {}
        self._lock = threading.Lock()

    def forward(self, *tensors: Tensor) -> Any:
        """The outputs for one batch: a tensor, or a tuple where there are several."""
        given = [t if _known(t) else t.contiguous() for t in map(_detached, tensors)]
        sizes = tuple((t.shape[2], t.shape[3]) for t in given)
        last = bool(given) and _channels_last(given[0])
        key = (sizes, tuple(t.stride()[1:] for t in given), last)
        program, results = self._program(key, sizes, given, last)
        images = len(given[0])
        found = [
            torch.empty(
                (images, *shape),
                memory_format=torch.channels_last if last else torch.contiguous_format,
            )
            for shape in results
        ]
        memory = self._take(key, program)
        try:
            everything = [*given, *found]
            steps = [4 * t.stride(0) for t in everything]
            starts = [t.data_ptr() for t in everything]
            for image in range(images):
                bases = [memory.ctypes.data, self.constants.memory.ctypes.data]
                bases += [a + image * b for a, b in zip(starts, steps, strict=True)]
                self.team.run(self.library, program, bases)
        finally:
            self._memories[key].append(memory)
        return found[0] if len(found) == 1 else tuple(found)

    def program(self, *tensors: Tensor) -> Program:
        """The program for tensors of these shapes."""
        sizes = tuple((t.shape[2], t.shape[3]) for t in tensors)
        last = _channels_last(tensors[0])
        key = (sizes, tuple(t.stride()[1:] for t in tensors), last)
        return self._program(key, sizes, tensors, last)[0]

    def _program(
        self,
        key: Any,
        sizes: Sequence[tuple[int, int]],
        tensors: Sequence[Tensor],
        last: bool,
    ) -> tuple[Program, list[tuple[int, int, int]]]:
        with self._lock:
            if key not in self._programs:
                order = plan(self.blocks, sizes)
                shapes = [_shape(block, order.sizes[id(block)]) for block in self.outputs]
                strides = [_strides(t) for t in tensors]
                strides += [
                    Strides(1, w * c, c, False) if last else Strides(h * w, w, 1, True)
                    for c, h, w in shapes
                ]
                self._programs[key] = assemble(
                    self.blocks, order, self.library, self.constants, strides, self.team.threads
                )
                self._memories[key] = []
            program = self._programs[key]
        return program, [_shape(b, program.plan.sizes[id(b)]) for b in self.outputs]

    def _take(self, key: Any, program: Program) -> np.ndarray[Any, Any]:
        """Memory for one call, its borders at the sides filled; they are never written again."""
        try:
            return self._memories[key].pop()
        except IndexError:
            pass
        room = np.zeros(program.plan.memory + _PAGE, np.uint8)
        start = -room.ctypes.data % _PAGE
        memory = room[start : start + program.plan.memory]
        for layout in program.plan.layouts.values():
            if layout.map.fill and any(layout.map.borders[2:]):
                end = layout.offset + 4 * layout.ring * layout.row
                rows = memory[layout.offset : end].view(np.float32).reshape(layout.ring, -1)
                rows[:] = layout.map.fill
        return memory


def _detached(tensor: Tensor) -> Tensor:
    return tensor.detach()


def _shape(block: Block, size: tuple[int, int]) -> tuple[int, int, int]:
    return (block.sources[0].channels, *size)


def _strides(tensor: Tensor) -> Strides:
    _, channel, row, pixel = tensor.stride()
    return Strides(channel, row, pixel, tensor.is_contiguous())


def _channels_last(tensor: Tensor) -> bool:
    dense = tensor.is_contiguous()
    return not dense and tensor.is_contiguous(memory_format=torch.channels_last)


def _known(tensor: Tensor) -> bool:
    """Whether a kernel reads the tensor as it lies: images dense, whatever the batch."""
    return tensor.is_contiguous() or tensor.is_contiguous(memory_format=torch.channels_last)
