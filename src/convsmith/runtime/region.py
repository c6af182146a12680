"""Regions: parts of a network that kernels compute, from tensors to tensors."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from convsmith.kernels.library import Library
from convsmith.runtime.bands import Plan, plan
from convsmith.runtime.blocks import Array, Block, Input, Output
from convsmith.runtime.capture import LOCK
from convsmith.runtime.operator import call, number_of
from convsmith.runtime.program import Constants, Program, Strides, assemble
from convsmith.runtime.room import Room, aligned
from convsmith.runtime.team import Team

__all__ = ["Progress", "Region", "Sized", "region"]

Memory = tuple[int, Array]
"""Its address, and what keeps it."""

Progress = Callable[[str, int, int], None]
"""Told what is going on, how much of it is done, and of how much."""

_PROGRAMS = 16
"""Kept at once: enough for the sizes of a pyramid; memory does not grow with those met. Twice as
many where there are threads, which share one image, or take each their own of a batch."""


@dataclass(eq=False)
class Sized:
    """What a region keeps for one size of image.

    Attributes:
        program: its calls.
        results: channels, rows and pixels of each output.
        free: memories that no call uses now.
    """

    program: Program
    results: list[tuple[int, int, int]]
    free: list[Memory] = field(default_factory=list)

    def take(self) -> Memory:
        """Memory for one call."""
        try:
            return self.free.pop()
        except IndexError:
            memory = aligned(self.program.plan.memory)
            return memory.ctypes.data, memory


class Region(nn.Module):
    """Blocks as one module: takes and gives float32 tensors (N, C, H, W).

    A program is made for each size of image that it meets, and the latest are kept; its memory is
    taken for a call and given back, so that calls from several threads do not meet.
    """

    def __init__(self, blocks: Sequence[Block], library: Library, team: Team) -> None:
        super().__init__()
        self.blocks = list(blocks)
        self.library, self.team = library, team
        self.constants = Constants(self.blocks, library)
        self.inputs = [b for b in self.blocks if isinstance(b, Input)]
        self.outputs = [b for b in self.blocks if isinstance(b, Output)]
        self.number = number_of(self)
        self.room = Room(len(self.outputs))
        self._sized: OrderedDict[Any, Sized] = OrderedDict()

    def forward(self, *tensors: Tensor) -> Any:
        """The outputs for one batch: a tensor, or a tuple where there are several."""
        if torch.compiler.is_compiling() or not all(type(t) in _PLAIN for t in tensors):
            found = call(tensors, self.number)
        else:
            found = self.compute(tensors)
        return found[0] if len(found) == 1 else tuple(found)

    def compute(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The outputs, for tensors with values."""
        with _Call(self, tensors) as call:
            call.run(call.sized.program)
        return call.found

    @contextmanager
    def running(
        self, tensors: Sequence[Tensor]
    ) -> Iterator[tuple[Program, Callable[[Program], None]]]:
        """The program for tensors, and what runs it, or some of its calls, for the batch."""
        with _Call(self, tensors) as call:
            yield call.sized.program, call.run

    @staticmethod
    def size(shape: Sequence[int]) -> tuple[int, int]:
        """Rows and pixels of the image, or each image, that a tensor of this shape holds."""
        return shape[2], shape[3]

    @staticmethod
    def images(tensor: Tensor) -> int:
        """How many images a tensor holds."""
        return len(tensor)

    def fake(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The outputs, for tensors without values."""
        sizes: list[tuple[int, int]] = [(int(t.shape[2]), int(t.shape[3])) for t in tensors]
        last = _channels_last(tensors[0])
        order = self._plan(sizes)
        shapes = [_shape(block, order.sizes[id(block)]) for block in self.outputs]
        return [_empty(tensors[0], tensors[0].shape[0], shape, last) for shape in shapes]

    def program(self, *tensors: Tensor) -> Program:
        """The program for tensors of these shapes."""
        return self.sized(tensors).program

    def prepare(self, sizes: Sequence[tuple[int, int]], progress: Progress | None = None) -> None:
        """Compile the kernels that images of these sizes (rows, pixels) need."""
        with LOCK:
            order = self._plan(sizes)
            kernels = [
                part.kernel(self.library.isa, width)
                for block in self.blocks
                if not isinstance(block, (Input, Output))
                for part in block.parts
                if (width := -(-(order.sizes[id(block)][1] - part.first[1]) // part.step[1])) > 0
            ]
            self.library.prepare(
                kernels,
                None
                if progress is None
                else lambda ready, total, _: progress("compiling kernels", ready, total),
            )

    def sized(self, tensors: Sequence[Tensor], threads: int | None = None) -> Sized:
        """What is kept for tensors of these sizes and strides, for all threads or so many."""
        last, threads = _channels_last(tensors[0]), threads or self.team.threads
        key = (threads, *((t.shape[2:], t.stride()[1:]) for t in tensors), last)
        found = self._sized.get(key)
        if found is not None:
            with suppress(KeyError):  # another thread may have dropped it
                self._sized.move_to_end(key)
            return found
        with LOCK:
            order = self._plan([(t.shape[2], t.shape[3]) for t in tensors], threads)
            shapes = [_shape(block, order.sizes[id(block)]) for block in self.outputs]
            strides = [_strides(t) for t in tensors]
            strides += [
                Strides(1, w * c, c, False) if last else Strides(h * w, w, 1, True)
                for c, h, w in shapes
            ]
            program = assemble(self.blocks, order, self.library, self.constants, strides, threads)
            found = self._sized[key] = Sized(program, shapes)
            while len(self._sized) > _PROGRAMS * min(2, self.team.threads):
                self._sized.popitem(last=False)
        return found

    def _plan(self, sizes: Sequence[tuple[int, int]], threads: int | None = None) -> Plan:
        return plan(self.blocks, sizes, threads=threads or self.team.threads)


class _Call:
    """One call of a region: what it reads and writes; its memory is taken until it is over."""

    __slots__ = ("bases", "found", "given", "memory", "region", "sized")

    def __init__(self, region: Region, tensors: Sequence[Tensor]) -> None:
        given = [t if _known(t) else t.contiguous() for t in tensors]
        last, images = _channels_last(given[0]), len(given[0])
        self.region, self.given = region, given
        self.sized = sized = region.sized(given)
        self.found = found = [
            region.room.tensor(number, (images, *shape), last)
            for number, shape in enumerate(sized.results)
        ]
        self.memory = sized.take()
        # For each image its base addresses: memory, weights, tensors.
        fixed = self.memory[0], region.constants.address
        starts = [(t.data_ptr(), 4 * t.stride(0)) for t in (*given, *found)]
        self.bases = [(*fixed, *[a + i * b for a, b in starts]) for i in range(images)]

    def __enter__(self) -> _Call:
        return self

    def __exit__(self, *error: object) -> None:
        self.sized.free.append(self.memory)

    def run(self, program: Program) -> None:
        """Run the program, or some of its calls, for the batch."""
        region = self.region
        done = self._shared_out() if program is self.sized.program else 0
        for bases in self.bases[done:]:
            region.team.run(region.library, program, bases)

    def _shared_out(self) -> int:
        """Compute images of a batch, each by one thread; how many, the first ones."""
        region, threads = self.region, self.region.team.threads
        whole = len(self.bases) // threads * threads
        if threads == 1 or not whole or region.library.executor is None:
            return 0
        single = region.sized(self.given, 1)
        memories = [single.take() for _ in range(threads)]
        try:
            starts = [address for address, _ in memories]
            program, bases = single.program, self.bases[:whole]
            done = region.team.run_batch(region.library, program, bases, starts)
        finally:
            single.free.extend(memories)
        return whole if done else 0


class _Vectors(Region):
    """Blocks for tensors (N, C): the pixels of one image of one row."""

    def forward(self, *tensors: Tensor) -> Any:
        """The outputs, (N, K) each."""
        if len(tensors[0]):
            found = super().forward(*map(_image, tensors))
        else:
            sizes = [block.sources[0].channels for block in self.outputs]
            found = tuple([tensors[0].new_empty(1, size, 1, 0) for size in sizes])
            found = found if len(found) > 1 else found[0]
        return _vectors(found) if isinstance(found, Tensor) else tuple(map(_vectors, found))

    @contextmanager
    def running(
        self, tensors: Sequence[Tensor]
    ) -> Iterator[tuple[Program, Callable[[Program], None]]]:
        """The program for tensors, and what runs it, or some of its calls."""
        with super().running([_image(t) for t in tensors]) as found:
            yield found

    def program(self, *tensors: Tensor) -> Program:
        """The program for tensors of these shapes."""
        return super().program(*map(_image, tensors))

    @staticmethod
    def size(shape: Sequence[int]) -> tuple[int, int]:
        """One row of as many pixels as there are vectors."""
        return 1, shape[0]

    @staticmethod
    def images(tensor: Tensor) -> int:
        """One."""
        return 1


def region(blocks: Sequence[Block], library: Library, team: Team) -> Region:
    """Blocks as a module, for images or for vectors."""
    vectors = any(isinstance(block, Input) and block.vectors for block in blocks)
    return (_Vectors if vectors else Region)(blocks, library, team)


def _image(vectors: Tensor) -> Tensor:
    """(N, C) as (1, C, 1, N)."""
    return vectors.t()[None, :, None]


def _vectors(image: Tensor) -> Tensor:
    """(1, C, 1, N) as (N, C)."""
    return image.permute(0, 2, 3, 1).flatten(0, 2)


_PLAIN = (Tensor, nn.Parameter)


def _empty(like: Tensor, images: int, shape: tuple[int, int, int], last: bool) -> Tensor:
    return torch.empty(
        (images, *shape),
        device=like.device,
        memory_format=torch.channels_last if last else torch.contiguous_format,
    )


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
