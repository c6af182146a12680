"""`read_onnx`: from a file to a module."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from convsmith.errors import ModelError
from convsmith.importing import operators  # noqa: F401 (fills the table)
from convsmith.importing.file import File, Node, open_file
from convsmith.importing.host import Host
from convsmith.importing.layers import layer_for
from convsmith.importing.naming import path_of
from convsmith.importing.network import OnnxNetwork, Step
from convsmith.importing.table import OPERATORS
from convsmith.importing.weights import with_plain_weights

__all__ = ["read_onnx"]

Array = np.ndarray[Any, Any]


def read_onnx(path: str | os.PathLike[str]) -> OnnxNetwork:
    """Read an ONNX file into a module that `torch.export`, and so every verb, takes.

    Batch and size stay free where the file has them free. Weights keep their names; sizes that the
    graph computes become plain numbers, so that nothing in the module reads a tensor in Python.

    Args:
        path: an `.onnx`; values beside it are read from its own folder alone.

    Raises:
        ModelError: for a file that is missing or damaged, and for an operator that is not known,
            with its node and opset.
        MissingExtra: without onnx.

    >>> import tempfile, convsmith as cs
    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()).eval()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     again = read_onnx(cs.export(net, (1, 3, 16, 16), Path(folder, "net.onnx")).path)
    >>> list(again.state_dict()), again.get_submodule("0")
    (['0.weight', '0.bias'], Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1)))
    """
    path = Path(path)
    file = open_file(path)
    for node in file.nodes:
        if node.kind not in OPERATORS:
            raise ModelError(f"{path}: {node.refuse('is an operator that is not known')}")
    try:
        return _Builder(with_plain_weights(file)).network.eval()
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error


def _slopes(file: File) -> set[str]:
    """The weights of leaky ReLUs: also one number is a weight there, perhaps reshaped before."""
    made = {name: node for node in file.nodes for name in node.outputs}
    found: set[str] = set()
    for node in file.nodes:
        names = node.inputs[1:2] if node.kind == "PRelu" else ()
        while names and names[0] in made and made[names[0]].kind in _RESHAPES:
            names = made[names[0]].inputs[:1]
        found.update(names)
    return found


_RESHAPES = ("Identity", "Reshape", "Unsqueeze")


class _Builder:
    """Makes the module of a file."""

    def __init__(self, file: File) -> None:
        self.file = file
        self.network = OnnxNetwork(file.inputs, file.outputs)
        self._places = {name: place for place, name in enumerate(file.inputs)}
        self._layers: dict[Any, str] = {}
        self._held: list[tuple[int, Any]] = []
        self._scales = {
            name
            for node in file.nodes
            if node.kind in ("Resize", "Upsample")
            for name in node.inputs[1:]
        }
        self._slopes = _slopes(file)
        steps = [self._step(node) for node in file.nodes]
        results = [self._place(name) for name in file.outputs]
        self.network.follow(_with_drops(steps, results), self._held, results, len(self._places))

    def _step(self, node: Node) -> Step:
        layer = layer_for(node, self.file.constants)
        if layer is None:
            sources = tuple(self._place(name) if name else -1 for name in node.inputs)
            path, compute = "", OPERATORS[node.kind]
        else:
            sources = (self._place(node.inputs[0]),)
            path, compute = self._layer(node, layer), None
        first = len(self._places)
        for name in node.outputs:
            # Outputs that nothing reads have no name, but a place.
            self._places[name or f"\0{len(self._places)}"] = len(self._places)
        return Step(node, compute, path, sources, first)

    def _place(self, name: str) -> int:
        """The place of a value; a constant gets one when it is first read."""
        if name in self._places:
            return self._places[name]
        place = self._places[name] = len(self._places)
        self._held.append((place, self._constant(name, self.file.constants[name])))
        return place

    def _constant(self, name: str, array: Array) -> Any:
        """A number, numbers on the Python side, or the path of a parameter or buffer."""
        if array.dtype.kind in "iu" and array.ndim < 2 and array.dtype.itemsize >= 4:
            return Host(tuple(array.reshape(-1).tolist()), scalar=array.ndim == 0)
        if name in self._scales:
            return Host(tuple(array.reshape(-1).tolist()))
        real = array.dtype.kind == "f"
        if real and array.size == 1 and array.ndim < 2 and name not in self._slopes:
            return float(array.reshape(()))
        tensor = torch.from_numpy(array)
        return self._put(name, nn.Parameter(tensor) if real and array.ndim else tensor)

    def _layer(self, node: Node, layer: nn.Module) -> str:
        """Put a layer under its name, once; its path."""
        key = (node.inputs[1:], repr(layer))
        if key not in self._layers:
            self._layers[key] = self._put(path_of(node), layer)
        return self._layers[key]

    def _put(self, name: str, value: Any) -> str:
        """Put a module, parameter or buffer under a name, made unique; its path."""
        words = [re.sub(r"\W", "_", word) or "_" for word in name.strip("./").split(".")]
        owner: nn.Module = self.network
        for word in words[:-1]:
            while not isinstance(getattr(owner, word, nn.Module()), nn.Module):
                word += "_"
            if not hasattr(owner, word):
                owner.add_module(word, nn.Module())
            owner = owner.get_submodule(word)
        last = words[-1]
        while hasattr(owner, last):
            last += "_"
        if isinstance(value, nn.Module):
            owner.add_module(last, value)
        elif isinstance(value, nn.Parameter):
            owner.register_parameter(last, value)
        else:
            assert isinstance(value, Tensor)
            owner.register_buffer(last, value)
        found: str = next(path for path, held in _named(self.network) if held is value)
        return found


def _named(network: nn.Module) -> Any:
    yield from network.named_modules()
    yield from network.named_parameters()
    yield from network.named_buffers()


def _with_drops(steps: Sequence[Step], results: Sequence[int]) -> list[Step]:
    last: dict[int, int] = {}
    for number, step in enumerate(steps):
        last |= dict.fromkeys(step.sources, number)
    drops: dict[int, list[int]] = {}
    for place, number in last.items():
        if place >= 0 and place not in results:
            drops.setdefault(number, []).append(place)
    return [replace(step, drops=tuple(drops.get(number, ()))) for number, step in enumerate(steps)]
