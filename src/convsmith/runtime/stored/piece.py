"""A region out of a file: programs for some sizes, weights, and what runs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from convsmith.errors import ArgumentError
from convsmith.kernels.abi import ARGUMENT, CALL
from convsmith.runtime.execution.call import Call
from convsmith.runtime.execution.extents import check_extents
from convsmith.runtime.execution.room import Room
from convsmith.runtime.execution.sized import Sized
from convsmith.runtime.execution.tensors import Images, Vectors
from convsmith.runtime.execution.unfit import UnfitError
from convsmith.runtime.stored.code import Code
from convsmith.runtime.stored.container import Container
from convsmith.text import times

if TYPE_CHECKING:
    # It comes with Halide, and a stored program runs without.
    from convsmith.runtime.lowering.block import Array

__all__ = ["Piece"]


class Weights:
    """The weights of a region.

    Attributes:
        memory: its bytes.
        address: where they begin.
    """

    def __init__(self, memory: Array) -> None:
        self.memory = memory
        self.address: int = memory.ctypes.data


class Program:
    """What the executor runs.

    Attributes:
        calls: (threads, calls), structured as `CALL`.
        arguments: structured as `ARGUMENT`.
        memory: bytes for all maps.
    """

    def __init__(self, calls: Array, arguments: Array, memory: int) -> None:
        self.calls, self.arguments, self.memory = calls, arguments, memory

    @cached_property
    def where(self) -> tuple[int, int, int, int]:
        """The address of the calls, how many a list has, how many lists, that of the arguments."""
        threads, length = self.calls.shape
        return self.calls.ctypes.data, length, threads, self.arguments.ctypes.data


class Piece:
    """A region as it was stored; it takes and gives tensors like the one that it was.

    Args:
        number: its own, which its parts are named by.
        described: what the file says of it.
        container: the file.
        code: the machine code out of it.
        kernels: the addresses of kernels by their numbers; 0 for no call.
        threads: how many run a program.
    """

    def __init__(
        self,
        number: int,
        described: Mapping[str, Any],
        container: Container,
        code: Code,
        kernels: Array,
        threads: int,
    ) -> None:
        self.library = code
        self.team = code.team(threads)
        self.constants = Weights(container.part(f"weights {number}"))
        self.tensors = Vectors() if described["vectors"] else Images()
        self.channels = [int(channels) for channels in described["channels"]]
        self._sized: dict[Any, Sized] = {}
        self.threads = set()
        for each in described["programs"]:
            key, sized = self._read(each, container, kernels)
            self._sized[key] = sized
            self.threads.add(key[0])
        results = next(iter(self._sized.values())).results if self._sized else []
        self.room = Room(len(results))

    def _read(
        self, described: Mapping[str, Any], container: Container, kernels: Array
    ) -> tuple[Any, Sized]:
        content = container.part(described["part"])
        threads, count = int(described["threads"]), int(described["calls"])
        size = threads * count * CALL.itemsize
        calls = content[:size].view(CALL).reshape(threads, count).copy()
        arguments = content[size:].view(ARGUMENT)
        if (calls["function"] >= len(kernels)).any():
            raise container.damaged("a call names no kernel")
        calls["function"] = kernels[calls["function"]]
        results = [(int(c), int(h), int(w)) for c, h, w in described["results"]]
        memory, last = int(described["memory"]), bool(described["last"])
        kinds: list[Any] = []
        extents = []
        for tensor in described["tensors"]:
            shape, strides = torch.Size(tensor[0]), tuple(tensor[-1])
            vectors = isinstance(self.tensors, Vectors)
            # Vectors are dense, and known by their shape alone.
            steps = (shape[1], 1) if vectors else strides
            extents.append(
                4 + 4 * sum((n - 1) * step for n, step in zip(shape, steps, strict=True))
            )
            kinds.append((shape, torch.float32) if vectors else (shape, strides, torch.float32))
        extents += [4 * prod(result) for result in results]
        rooms = memory, self.constants.memory.nbytes, *extents
        check_extents(calls, arguments, rooms, self.library.abi)
        return (threads, last, *kinds), Sized(Program(calls, arguments, memory), results)

    def __call__(self, *tensors: Tensor) -> list[Tensor]:
        """The outputs for one batch.

        Raises:
            UnfitError: for tensors that differ in their batch, or have other channels.
            ArgumentError: for a size that it has no program for.
        """
        for tensor, channels in zip(tensors, self.channels, strict=True):
            if tensor.shape[1] != channels or tensor.dtype is not torch.float32:
                raise UnfitError(f"a region got {tuple(tensor.shape)} {tensor.dtype}")
            if tensor.shape[0] != tensors[0].shape[0]:
                raise UnfitError(
                    f"a region got batches of {tensors[0].shape[0]} and {tensor.shape[0]}"
                )
        tensors = self._as_known(tensors)
        if not tensors[0].shape[0]:
            return self._of_none(tensors)
        with Call(self, tensors) as one:
            one.run(one.sized.program)
        return one.outputs

    def sized(self, tensors: Sequence[Tensor], threads: int | None = None) -> Sized:
        """The program for tensors of these sizes and strides, for all threads or so many."""
        return self._sized[self._key(tensors, threads or self.team.threads)]

    def _key(self, tensors: Sequence[Tensor], threads: int) -> Any:
        view = self.tensors
        return (threads, view.last(tensors[0]), *[view.key(tensor) for tensor in tensors])

    def _as_known(self, tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The tensors, or copies that lie as those did that programs were stored for."""
        readable = tuple(self.tensors.readable(tensor) for tensor in tensors)
        threads = self.team.threads
        for known in (readable, tuple(tensor.contiguous() for tensor in readable)):
            if self._key(known, threads) in self._sized:
                return known
        given = ", ".join(times(tensor.shape) for tensor in tensors)
        raise ArgumentError(f"no program was saved for {given}")

    def _of_none(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        results = self.sized(tensors).results
        return [torch.empty(self.tensors.result(0, result)) for result in results]
