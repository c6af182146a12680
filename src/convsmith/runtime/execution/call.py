"""One call of a region: of one that was just made, or of one that was stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor

from convsmith.runtime.execution.unfit import UnfitError

if TYPE_CHECKING:
    from convsmith.runtime.execution.room import Room
    from convsmith.runtime.execution.sized import Runnable, Sized
    from convsmith.runtime.execution.team import Team
    from convsmith.runtime.execution.tensors import Images

__all__ = ["Call", "Runs"]


class Weights(Protocol):
    """The weights of a region, in one piece of memory."""

    address: int


class Runs(Protocol):
    """What a call needs to know of a region."""

    library: Any
    team: Team
    room: Room
    tensors: Images

    @property
    def constants(self) -> Weights:
        """The weights."""

    def sized(self, tensors: Sequence[Tensor], threads: int | None = None) -> Sized:
        """What is kept for tensors of these sizes and strides, for all threads or so many."""


class Call:
    """One call of a region: what it reads and writes; its memory is taken until it is over."""

    __slots__ = ("bases", "inputs", "memory", "outputs", "region", "sized")

    def __init__(self, region: Runs, tensors: Sequence[Tensor]) -> None:
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

    def __enter__(self) -> Call:
        return self

    def __exit__(self, *error: object) -> None:
        self.sized.free.append(self.memory)

    def run(self, program: Runnable) -> None:
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
