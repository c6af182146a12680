"""A graph out of a file: which region or operator is called with what, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from convsmith.errors import ModelError
from convsmith.runtime.graph.moving import by_itself
from convsmith.runtime.stored.container import Container
from convsmith.runtime.stored.operators import operator_named
from convsmith.runtime.stored.piece import Piece
from convsmith.runtime.stored.values import nested, read

__all__ = ["Graph"]

_Step = Callable[[list[Any]], Any]


class _Ref:
    """Stands for the value of an earlier node in arguments."""

    __slots__ = ("place",)

    def __init__(self, place: int) -> None:
        self.place = place


class Graph:
    """Steps, each of which adds a value to those before it.

    Args:
        described: what the file says of it.
        container: the file.
        pieces: its regions.

    Raises:
        ModelError: for an operator that a stored graph may not call, and for what no graph is.
    """

    def __init__(
        self, described: Mapping[str, Any], container: Container, pieces: Sequence[Piece]
    ) -> None:
        self.inputs = 0
        self._pieces = pieces
        self._steps: list[_Step] = []
        self.calls_torch = False
        self._own: set[int] = set()  # values that are the file's
        nodes = described["nodes"]
        for place, (kind, *rest) in enumerate(nodes):
            self._steps.append(self._step(place, kind, rest, container))
        self._results = [_refs(value, len(nodes)) for value in described["results"]]
        self._structure = read(described["structure"], _no_tensor)
        self._drops = _drops(nodes, described["results"])

    def _step(self, place: int, kind: str, rest: Sequence[Any], container: Container) -> _Step:
        if kind == "input":
            number = self.inputs
            self.inputs += 1
            return partial(_input, number)
        if kind == "tensor":
            tensor = _tensor(*rest, container=container)
            self._own.add(place)
            return lambda values: tensor
        if kind == "region":
            number, sources = rest
            piece = self._pieces[number]
            if any(not 0 <= source < place for source in sources):
                raise container.damaged("a graph reads what is not there")
            return partial(_region, piece, list(sources))
        if kind == "call":
            self.calls_torch = True
            target, args, kwargs = rest
            given = _refs(args, place), _refs(kwargs, place)
            return partial(_call, by_itself(operator_named(target)), *given)
        raise container.damaged(f"a graph has a step {kind!r}")

    def __call__(self, inputs: Sequence[Any]) -> Any:
        """The outputs for one set of inputs, as the model gives them."""
        values: list[Any] = [inputs]
        for step, drop in zip(self._steps, self._drops, strict=True):
            values.append(step(values))
            for place in drop:
                values[place + 1] = None
        results = [_filled(result, values) for result in self._results]
        for number, result in enumerate(self._results):
            if isinstance(result, _Ref) and result.place in self._own:
                results[number] = results[number].clone()
        return nested(self._structure, results)


def _drops(nodes: Sequence[Any], results: Sequence[Any]) -> list[list[int]]:
    """For each step the values that no later one reads."""
    last: dict[int, int] = {}
    for place, (kind, *rest) in enumerate(nodes):
        sources = rest[1] if kind == "region" else _places(rest[1:]) if kind == "call" else []
        last |= dict.fromkeys(sources, place)
    kept = set(_places(results))
    drops: list[list[int]] = [[] for _ in nodes]
    for place, reader in last.items():
        if place not in kept:
            drops[reader].append(place)
    return drops


def _places(value: Any) -> list[int]:
    """All numbers of nodes within stored arguments."""
    if isinstance(value, dict):
        if "node" in value:
            return [value["node"]]
        return [place for item in value.values() for place in _places(item)]
    if isinstance(value, list):
        return [place for item in value for place in _places(item)]
    return []


def _input(number: int, values: list[Any]) -> Any:
    return values[0][number]


def _region(piece: Piece, sources: list[int], values: list[Any]) -> Any:
    outputs = piece(*[values[source + 1] for source in sources])
    return outputs[0] if len(outputs) == 1 else tuple(outputs)


def _call(target: Callable[..., Any], args: Any, kwargs: Any, values: list[Any]) -> Any:
    return target(*_filled(args, values), **_filled(kwargs, values))


def _refs(value: Any, before: int) -> Any:
    def node(described: Any) -> _Ref:
        place = described.get("node")
        if type(place) is not int or not 0 <= place < before:
            raise ModelError("a stored graph reads what is not there")
        return _Ref(place)

    return read(value, node)


def _filled(value: Any, values: list[Any]) -> Any:
    if type(value) is _Ref:
        return values[value.place + 1]
    if type(value) in (tuple, list):
        return type(value)([_filled(item, values) for item in value])
    if type(value) is dict:
        return {key: _filled(item, values) for key, item in value.items()}
    return value


def _tensor(name: str, described: Any, *, container: Container) -> Tensor:
    kind = read({"dtype": described["dtype"]}, _no_tensor)
    shape = torch.Size(described["shape"])
    content = container.part(name)
    if content.nbytes != shape.numel() * kind.itemsize:
        raise container.damaged(f"its {name} has another size than it says")
    if not content.nbytes:
        return torch.empty(shape, dtype=kind)
    return torch.from_numpy(content).view(kind).reshape(shape)


def _no_tensor(described: Any) -> Any:
    raise ModelError("a stored value refers to a tensor where none may be")
