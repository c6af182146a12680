"""The module that a file becomes: its weights as parameters, its nodes as steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from convsmith.errors import ArgumentError, ConvsmithError, first_line
from convsmith.importing.file import Node
from convsmith.importing.host import as_tensor
from convsmith.importing.table import Compute

__all__ = ["OnnxNetwork", "Step"]


@dataclass(frozen=True)
class Step:
    """What is computed for a node.

    Attributes:
        node: the node.
        compute: gives its value; None where `module` does.
        module: the path of the module that computes it; '' where `compute` does.
        sources: for each input, its place among the values; -1 for one that is left out.
        first: the place of its first output.
        drops: places of values that no later step reads.
    """

    node: Node
    compute: Compute | None
    module: str
    sources: tuple[int, ...]
    first: int
    drops: tuple[int, ...] = ()


class OnnxNetwork(nn.Module):
    """A network out of an ONNX file, which `torch.export` takes.

    Convolutions, linear layers and batch norm are modules of `torch.nn` under the names that their
    weights have in the file; other weights are parameters and buffers of their own.

    Attributes:
        inputs: the names of its inputs in the file.
        outputs: those of its outputs.
    """

    def __init__(self, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        super().__init__()
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self._steps: tuple[Step, ...] = ()
        self._held: tuple[tuple[int, Any], ...] = ()
        self._results: tuple[int, ...] = ()
        self._count = 0

    def follow(
        self,
        steps: Sequence[Step],
        held: Sequence[tuple[int, Any]],
        results: Sequence[int],
        count: int,
    ) -> None:
        """Say what is computed.

        Args:
            steps: in their order.
            held: for places among the values, a number, or the path of a weight.
            results: the places of the outputs.
            count: how many values there are.
        """
        self._steps, self._held = tuple(steps), tuple(held)
        self._results, self._count = tuple(results), count

    def forward(self, image: Tensor, *others: Tensor) -> Any:
        """The outputs: a tensor, or a tuple where there are several.

        Raises:
            ArgumentError: for another number of inputs.
            ModelError: where a node cannot compute what it is given, by its name.
        """
        images = (image, *others)
        if len(images) != len(self.inputs):
            names = ", ".join(self.inputs)
            raise ArgumentError(f"the network takes {len(self.inputs)} inputs ({names})")
        values: list[Any] = [None] * self._count
        values[: len(images)] = images
        for place, held in self._held:
            values[place] = self.get_parameter_or_buffer(held) if isinstance(held, str) else held
        modules = dict(self.named_modules())
        for step in self._steps:
            given = [values[place] if place >= 0 else None for place in step.sources]
            try:
                if step.compute is None:
                    made = modules[step.module](given[0])
                else:
                    made = step.compute(step.node, given)
            except (ConvsmithError, NotImplementedError):
                raise
            except (TypeError, ValueError, IndexError, KeyError, AttributeError) as error:
                raise step.node.refuse(f"cannot be computed: {first_line(error)}") from error
            several = made if isinstance(made, tuple) else (made,)
            values[step.first : step.first + len(several)] = several
            for place in step.drops:
                values[place] = None
        results = [as_tensor(values[place]) for place in self._results]
        return results[0] if len(results) == 1 else tuple(results)

    def get_parameter_or_buffer(self, name: str) -> Tensor:
        """A weight by its path."""
        owner, _, last = name.rpartition(".")
        tensor: Tensor = getattr(self.get_submodule(owner), last)
        return tensor
