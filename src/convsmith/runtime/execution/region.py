"""Regions: parts of a network that kernels compute, from tensors to tensors."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any, cast

import torch
from torch import Tensor, nn

from convsmith.kernels.library import Library
from convsmith.network.lock import LOCK
from convsmith.runtime.execution.arguments import Constants, Strides
from convsmith.runtime.execution.bands import Plan, plan, sizes_of
from convsmith.runtime.execution.call import Call
from convsmith.runtime.execution.operator import call, number_of
from convsmith.runtime.execution.program import Program, assemble, kernel_for
from convsmith.runtime.execution.room import Room
from convsmith.runtime.execution.sized import Sized
from convsmith.runtime.execution.team import Team
from convsmith.runtime.execution.tensors import Images, Vectors
from convsmith.runtime.execution.unfit import UnfitError
from convsmith.runtime.lowering.block import Block, Input, Output

__all__ = ["PREPARING", "Progress", "Region", "Sized"]

Made = tuple["Region", Any, Sized]
"""A region, what the tensors have in common that a program is for, and that program."""

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and of how much."""

_PROGRAMS = 16
"""Kept at once: enough for the sizes of a pyramid; memory does not grow with those met. Twice as
many where there are threads, which share one image, or take each their own of a batch."""


class _Preparing(threading.local):
    on = False
    made: list[Made] | None = None


PREPARING = _Preparing()
"""Whether this thread runs a graph without values so that its programs are made, and which those
are, where somebody has put a list there."""


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
        with Call(self, tensors) as one:
            one.run(one.sized.program)
        return one.outputs

    @contextmanager
    def running(
        self, tensors: Sequence[Tensor]
    ) -> Iterator[tuple[Program, Callable[[Program], None]]]:
        """The program for tensors, and what runs it, or some of its calls, for the batch."""
        self._check_batch(tensors)
        with Call(self, tensors) as one:
            yield cast(Program, one.sized.program), one.run

    def fake(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The outputs, for tensors without values."""
        self._check_batch(tensors)
        self._check_form(tensors)
        view, first = self.tensors, tensors[0]
        if PREPARING.on and first.shape[0]:
            readable = [view.readable(tensor) for tensor in tensors]
            for threads in {1, self.team.threads}:
                sized = self.sized(readable, threads)
                if PREPARING.made is not None:
                    PREPARING.made.append((self, self.key(readable, threads), sized))
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
        return cast(Program, self.sized(tensors).program)

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
        key = (threads, last, *[view.key(t) for t in tensors])  # as below, without a call
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

    def key(self, tensors: Sequence[Tensor], threads: int) -> Any:
        """What the tensors that one program serves have in common."""
        view = self.tensors
        return (threads, view.last(tensors[0]), *[view.key(tensor) for tensor in tensors])

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


_PLAIN = (Tensor, nn.Parameter)


def _one_or_all(outputs: list[Tensor]) -> Any:
    return outputs[0] if len(outputs) == 1 else tuple(outputs)
