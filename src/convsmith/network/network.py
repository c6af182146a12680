"""A network as a frozen graph of layers that can be walked both ways; no torch here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from types import MappingProxyType
from typing import Any

from convsmith.errors import ArgumentError, nearest
from convsmith.network.operations import Operation
from convsmith.text import times

__all__ = ["FreeSize", "Layer", "Network", "Parameter", "TensorType"]


@dataclass(frozen=True, slots=True)
class TensorType:
    """What is known of a tensor without its values: its shape and the type of a value.

    `number` is set for what is no tensor, but a number that was read from one (`item`).
    """

    shape: tuple[int, ...]
    dtype: str
    itemsize: int
    number: bool = False

    @property
    def numel(self) -> int:
        """The number of values."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """The bytes of its values."""
        return self.numel * self.itemsize


@dataclass(frozen=True, slots=True)
class Parameter:
    """A trained tensor, or a buffer that travels with the weights.

    Attributes:
        name: its key in the model's `state_dict` (the first one, where it has several).
        type: its shape and the type of a value.
        aliases: further keys that hold the very same tensor.
        trainable: false for a buffer and for a frozen parameter.
        buffer: whether it is a buffer (running statistics), which is not counted as a parameter.
    """

    name: str
    type: TensorType
    aliases: tuple[str, ...] = ()
    trainable: bool = True
    buffer: bool = False

    @property
    def numel(self) -> int:
        """The number of values."""
        return self.type.numel


@dataclass(frozen=True, slots=True)
class Layer:
    """One operation of a network, in the place where the model calls it.

    Attributes:
        name: unique in the network: the module path, with `:operation` for a call inside a larger
            module and `#2` for a second call.
        path: the module of the user's model that it belongs to ('' for the model itself).
        operation: what it does.
        inputs: the layers whose results it takes, in order; parameters are not among them.
        places: for each of the inputs, which operand it is.
        parameters: parameters and buffers it uses, those behind a re-parametrisation included.
        operands: the types of all tensors it is called with, parameters included, in order.
        results: the type of each tensor it gives; most layers give one.
        source: file and line of the user's code, or ''.
        node: the name of its node in the exported program.
        constant: whether it depends on parameters alone, and so never on the input.
    """

    name: str
    path: str
    operation: Operation
    inputs: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    operands: tuple[TensorType, ...]
    results: tuple[TensorType, ...]
    source: str = ""
    node: str = ""
    constant: bool = False
    places: tuple[int, ...] = ()

    @property
    def kind(self) -> str:
        """The family of its operation."""
        return self.operation.kind

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of its (first) result."""
        return self.results[0].shape if self.results else ()

    @property
    def numel(self) -> int:
        """The number of values of all its results."""
        return sum(result.numel for result in self.results)

    def __repr__(self) -> str:
        return f"Layer({self.name!r}: {self.operation}, {times(self.shape)})"


@dataclass(frozen=True, slots=True)
class FreeSize:
    """A size of an input that the exported program leaves free, within a range.

    Attributes:
        input: the name of the input.
        axis: which of its axes.
        size: the one that the network is read for; all figures hold for it.
        low: the least that the program takes.
        high: the most, None where there is no limit.
        expression: its symbol in the program, such as `s0` or `8*s0`: two sizes with the same
            symbol depend on each other.

    >>> print(FreeSize("x", 2, 224, 32, 1024))
    axis 2 of input 'x' (here 224, free from 32 to 1024)
    """

    input: str
    axis: int
    size: int
    low: int = 0
    high: int | None = None
    expression: str = ""

    @property
    def range(self) -> str:
        """The range in words."""
        return f"{self.low} or more" if self.high is None else f"{self.low} to {self.high}"

    def __str__(self) -> str:
        return (
            f"axis {self.axis} of input {self.input!r} (here {self.size}, free from {self.range})"
        )


@dataclass(frozen=True, eq=False)
class Network:
    """The layers of a model in the order in which they run.

    Attributes:
        name: of the model's class.
        layers: every operation, inputs first; each comes after those it depends on.
        outputs: the names of the layers that the model returns, in order.
        parameters: all parameters and buffers of the model by name, used or not.
        modules: every module of the model: path to the name of its class.
        program: the exported program it was read from (`torch.export.ExportedProgram`), its sizes
            fixed.
        model: the module that was traced; None for a network read from an exported program.
        free: the sizes of the inputs that this program left free, and for which sizes it was read.

    >>> import torch, convsmith as cs
    >>> net = cs.trace(torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU()), (1, 3, 9, 9))
    >>> net
    Network(Sequential: 3 layers, 224 parameters)
    >>> [layer.name for layer in net.downstream("0")]
    ['1']
    """

    name: str
    layers: tuple[Layer, ...]
    outputs: tuple[str, ...]
    parameters: Mapping[str, Parameter] = field(default_factory=lambda: MappingProxyType({}))
    modules: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    program: Any = field(default=None, repr=False)
    model: Any = field(default=None, repr=False)
    free: tuple[FreeSize, ...] = ()

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """The names of the layers that stand for the model's inputs."""
        return tuple(layer.name for layer in self.layers if layer.kind == "input")

    @cached_property
    def params(self) -> int:
        """Trained values of the model; a tensor shared by several layers counts once."""
        return sum(p.numel for p in self.parameters.values() if not p.buffer)

    @cached_property
    def unused(self) -> tuple[Parameter, ...]:
        """Parameters that this forward pass never reads (an auxiliary head in evaluation)."""
        used = {p.name for layer in self.layers for p in layer.parameters}
        return tuple(p for p in self.parameters.values() if not p.buffer and p.name not in used)

    @cached_property
    def shared(self) -> Mapping[str, tuple[str, ...]]:
        """Parameters that several layers use: name to the names of those layers."""
        users: dict[str, list[str]] = {}
        for layer in self.layers:
            for parameter in layer.parameters:
                users.setdefault(parameter.name, []).append(layer.name)
        return {name: tuple(layers) for name, layers in users.items() if len(layers) > 1}

    def consumers(self, name: str) -> tuple[Layer, ...]:
        """The layers that take the result of `name`, in order of execution."""
        self[name]
        return self._consumers.get(name, ())

    def producers(self, name: str) -> tuple[Layer, ...]:
        """The layers whose results `name` takes, in the order of its arguments."""
        return tuple(self._index[source] for source in self[name].inputs)

    def upstream(self, name: str) -> Iterator[Layer]:
        """Everything that `name` depends on, itself left out, each after its consumers."""
        wanted = set(self[name].inputs)
        for layer in reversed(self.layers):
            if layer.name in wanted:
                wanted.update(layer.inputs)
                yield layer

    def downstream(self, name: str) -> Iterator[Layer]:
        """Everything that depends on `name`, itself left out, in order of execution."""
        reached = {self[name].name}
        for layer in self.layers:
            if reached.intersection(layer.inputs):
                reached.add(layer.name)
                yield layer

    @cached_property
    def _index(self) -> dict[str, Layer]:
        return {layer.name: layer for layer in self.layers}

    @cached_property
    def _consumers(self) -> dict[str, tuple[Layer, ...]]:
        found: dict[str, list[Layer]] = {}
        for layer in self.layers:
            for source in dict.fromkeys(layer.inputs):
                found.setdefault(source, []).append(layer)
        return {name: tuple(layers) for name, layers in found.items()}

    def __getitem__(self, name: str) -> Layer:
        try:
            return self._index[name]
        except KeyError:
            hint = nearest(name, self._index)
            raise ArgumentError(f"no layer {name!r} in {self.name}{hint}") from None

    def __contains__(self, name: object) -> bool:
        return name in self._index

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def __repr__(self) -> str:
        return f"Network({self.name}: {len(self)} layers, {self.params:,} parameters)"
