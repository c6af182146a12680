"""Regions: parts of a network that kernels compute, from tensors to tensors."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from convsmith.kernels.library import Library
from convsmith.network.lock import LOCK
from convsmith.runtime.execution.arguments import Constants, Strides
from convsmith.runtime.execution.bands import Plan, plan, sizes_of
from convsmith.runtime.execution.operator import call, number_of
from convsmith.runtime.execution.program import Program, assemble, kernel_for
from convsmith.runtime.execution.room import Room, aligned
from convsmith.runtime.execution.team import Team
from convsmith.runtime.execution.tensors import Images, Vectors
from convsmith.runtime.execution.unfit import UnfitError
from convsmith.runtime.lowering.block import Array, Block, Input, Output

__all__ = ["PREPARING", "Progress", "Region", "Sized"]

Memory = tuple[int, Array]
"""Its address, and what keeps it."""

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and of how much."""

_PROGRAMS = 16
"""Kept at once: enough for the sizes of a pyramid; memory does not grow with those met. Twice as
many where there are threads, which share one image, or take each their own of a batch."""


class _Preparing(threading.local):
    on = False


PREPARING = _Preparing()
"""Whether this thread runs a graph without values so that its programs are made."""


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
    """Blocks as one module: takes and gives float32 tensors, (N, C, H, W) or (N, C).

    A program is made for each size of image that it meets, and the latest are kept; its memory is
    taken for a call and given back, so that calls from several threads do not meet.

    Args:
        blocks: what it computes, their maps narrowed as the precision asks.
        library: where kernels come from.
        team: the threads that run them.
        precision: the name of what was asked for.
    """

    def __init__(
        self, blocks: Sequence[Block], library: Library, team: Team, precision: str = "float32"
    ) -> None:
        super().__init__()
        self.blocks = list(blocks)
        self.library, self.team, self.precision = library, team, precision
        self.constants = Constants(self.blocks, library)
        self.inputs = [b for b in self.blocks if isinstance(b, Input)]
        self.outputs = [b for b in self.blocks if isinstance(b, Output)]
        self.tensors = Vectors() if any(b.vectors for b in self.inputs) else Images()
        self.number = number_of(self)
        self.room = Room(len(self.outputs))
        self._sized: OrderedDict[Any, Sized] = OrderedDict()
        self._plans: OrderedDict[Any, Plan] = OrderedDict()
        self._widths: dict[int, int] | None = None

    def forward(self, *tensors: Tensor) -> Any:
        """The outputs for one batch: a tensor, or a tuple where there are several."""
        if not torch.compiler.is_compiling():
            return self.eager(*tensors)
        return _one_or_all(call(tensors, self.number))

    def eager(self, *tensors: Tensor) -> Any:
        """The same where nothing is being compiled."""
        if torch._C._len_torch_dispatch_stack():  # a mode wants to see what is computed
            return _one_or_all(call(tensors, self.number))
        for tensor in tensors:
            if type(tensor) not in _PLAIN:
                return _one_or_all(call(tensors, self.number))
        return _one_or_all(self.compute(tensors))

    def compute(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The outputs, for tensors with values.

        Raises:
            UnfitError: for tensors that differ in their batch, or have other channels.
        """
        self._check_batch(tensors)
        if not tensors[0].shape[0]:
            return self.fake(tensors)
        with _Call(self, tensors) as call:
            call.run(call.sized.program)
        return call.outputs

    @contextmanager
    def running(
        self, tensors: Sequence[Tensor]
    ) -> Iterator[tuple[Program, Callable[[Program], None]]]:
        """The program for tensors, and what runs it, or some of its calls, for the batch."""
        self._check_batch(tensors)
        with _Call(self, tensors) as call:
            yield call.sized.program, call.run

    def fake(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The outputs, for tensors without values."""
        self._check_batch(tensors)
        view, first = self.tensors, tensors[0]
        if PREPARING.on and first.shape[0]:
            readable = [view.readable(tensor) for tensor in tensors]
            for threads in {1, self.team.threads}:
                self.sized(readable, threads)
        last, order = view.last(first), self.order(self._sizes(tensors))
        shapes = [view.result(view.images(first), result) for result in self.results(order)]
        layout = torch.channels_last if last else torch.contiguous_format
        return [
            torch.empty(s, dtype=torch.float32, device=first.device, memory_format=layout)
            for s in shapes
        ]

    def _check_batch(self, tensors: Sequence[Tensor]) -> None:
        if len(tensors) > 1:
            batch = tensors[0].shape[0]
            for tensor in tensors:
                if tensor.shape[0] != batch:
                    raise UnfitError(f"a region got batches of {batch} and {tensor.shape[0]}")

    def program(self, *tensors: Tensor) -> Program:
        """The program for tensors of these shapes."""
        return self.sized(tensors).program

    def prepare(self, sizes: Sequence[tuple[int, int]], progress: Progress | None = None) -> None:
        """Compile the kernels that images of these sizes (rows, pixels) need."""
        with LOCK:
            order = self.order(sizes)
            widths = self._widths or {key: pixels for key, (_, pixels) in order.sizes.items()}
            kernels = [
                kernel_for(part, self.library.isa, width, part.pixels(widths[id(block)]))
                for block in self.blocks
                if not isinstance(block, (Input, Output))
                for part in block.parts
                if (width := part.pixels(order.sizes[id(block)][1]))
            ]
            self.library.prepare(
                kernels,
                None
                if progress is None
                else lambda ready, total, _: progress("compiling kernels", ready, total),
            )

    def choose_kernels_for(self, sizes: Sequence[tuple[int, int]]) -> None:
        """Choose kernels as inputs of these sizes have them, whatever the sizes of a call.

        A part of an image then gives the same bits as the whole.
        """
        # The graph of a part may lack padding that the whole needs to join its maps.
        whole = sizes_of(self.blocks, sizes, joined=False)
        self._widths = {key: pixels for key, (_, pixels) in whole.items()}
        self._sized.clear()

    def sized(self, tensors: Sequence[Tensor], threads: int | None = None) -> Sized:
        """What is kept for tensors of these sizes and strides, for all threads or so many."""
        view, threads = self.tensors, threads or self.team.threads
        last = view.last(tensors[0])
        key = (threads, last, *[view.key(t) for t in tensors])
        known = self._sized.get(key)
        if known is not None:
            try:  # noqa: SIM105 (a context costs a call two microseconds)
                self._sized.move_to_end(key)
            except KeyError:  # another thread has dropped it
                pass
            return known
        with LOCK:
            self._check_form(tensors)
            order = self.order(self._sizes(tensors), threads)
            results = self.results(order)
            strides = [view.strides(t) for t in tensors]
            strides += [view.result_strides(result, last) for result in results]
            extents = [view.extent(t) for t in tensors]
            extents += [4 * prod(result) for result in results]
            program = self.assemble(order, strides, extents, threads)
            fresh = self._sized[key] = Sized(program, results)
            while len(self._sized) > _PROGRAMS * min(2, self.team.threads):
                self._sized.popitem(last=False)
        return fresh

    def assemble(
        self, order: Plan, strides: Sequence[Strides], extents: Sequence[int], threads: int
    ) -> Program:
        """The program for a plan, and for tensors that lie so and have so many bytes."""
        return assemble(
            self.blocks,
            order,
            self.library,
            self.constants,
            strides,
            extents,
            threads,
            self._widths,
        )

    def order(self, sizes: Sequence[tuple[int, int]], threads: int | None = None) -> Plan:
        """The bands for these sizes, planned once."""
        threads = threads or self.team.threads
        key = (threads, *sizes)
        order = self._plans.get(key)
        # No lock: `fake` runs within torch.compile, whose own lock another thread may wait for.
        if order is None:
            order = self._plans[key] = plan(self.blocks, sizes, threads=threads)
            while len(self._plans) > _PROGRAMS * min(2, self.team.threads):
                self._plans.popitem(last=False)
        return order

    def _check_form(self, tensors: Sequence[Tensor]) -> None:
        for tensor, block in zip(tensors, self.inputs, strict=True):
            assert block.target is not None
            shape = 2 if block.vectors else 4, block.target.channels, torch.float32
            if (tensor.dim(), tensor.shape[1], tensor.dtype) != shape:
                raise UnfitError(
                    f"a region got {tuple(tensor.shape)} {tensor.dtype} "
                    f"for {block.name} of {block.target.channels} channels"
                )

    def _sizes(self, tensors: Sequence[Tensor]) -> list[tuple[int, int]]:
        return [self.tensors.size(tensor.shape) for tensor in tensors]

    def results(self, order: Plan) -> list[tuple[int, int, int]]:
        """Channels, rows and pixels of each output."""
        return [(b.sources[0].channels, *order.sizes[id(b)]) for b in self.outputs]


class _Call:
    """One call of a region: what it reads and writes; its memory is taken until it is over."""

    __slots__ = ("bases", "inputs", "memory", "outputs", "region", "sized")

    def __init__(self, region: Region, tensors: Sequence[Tensor]) -> None:
        view = region.tensors
        inputs = [view.readable(t) for t in tensors]
        last, images = view.last(inputs[0]), view.images(inputs[0])
        self.region, self.inputs = region, inputs
        self.sized = sized = region.sized(inputs)
        self.outputs = outputs = [
            region.room.tensor(number, view.result(images, result), last)
            for number, result in enumerate(sized.results)
        ]
        # For each image its base addresses: memory, weights, tensors.
        tensors = *inputs, *outputs
        starts = [t.data_ptr() for t in tensors]
        if not all(starts):
            raise UnfitError("a region got a tensor without memory")
        self.memory = sized.take()
        self.bases = [(self.memory[0], region.constants.address, *starts)]
        if images > 1:  # to look at all strides costs a call a microsecond
            steps = 0, 0, *[4 * t.stride(0) for t in tensors]
            first = self.bases[0]
            self.bases += [
                tuple([start + i * step for start, step in zip(first, steps, strict=True)])
                for i in range(1, images)
            ]

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
        single = region.sized(self.inputs, 1)
        memories = [single.take() for _ in range(threads)]
        try:
            starts = [address for address, _ in memories]
            program, bases = single.program, self.bases[:whole]
            done = region.team.run_batch(region.library, program, bases, starts)
        finally:
            single.free.extend(memories)
        return whole if done else 0


_PLAIN = (Tensor, nn.Parameter)


def _one_or_all(outputs: list[Tensor]) -> Any:
    return outputs[0] if len(outputs) == 1 else tuple(outputs)
