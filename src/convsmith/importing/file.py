"""An ONNX file as nodes and constants; nothing is believed that its bytes do not bear out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from convsmith.errors import MissingExtra, ModelError, first_line, no_file
from convsmith.importing.naming import module_of
from convsmith.machine import memory

__all__ = ["File", "Node", "open_file"]

Array = np.ndarray[Any, Any]
_OLDEST = 7
"""Older operators broadcast by other rules."""


@dataclass(frozen=True)
class Node:
    """A node of the graph.

    Attributes:
        name: its own, or that of its first output.
        kind: its operator.
        opset: the version of its operators.
        inputs: names; '' for one that is left out.
        outputs: names.
        attributes: by name: numbers, text, lists of numbers, arrays.
        module: the path of the module that it was written for, where the file says so.
    """

    name: str
    kind: str
    opset: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    module: str = ""

    def refuse(self, why: str) -> ModelError:
        """The refusal of this node."""
        return ModelError(f"{self.kind} {self.name!r} of opset {self.opset} {why}")


@dataclass(frozen=True)
class File:
    """What a file holds.

    Attributes:
        nodes: in an order in which they can be computed.
        constants: by name.
        inputs: names, in order.
        outputs: names, in order.
    """

    nodes: tuple[Node, ...]
    constants: Mapping[str, Array]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def open_file(path: Path) -> File:
    """Read a file.

    Raises:
        MissingExtra: without onnx.
        ModelError: for a file that is missing or damaged, whose weights are missing or lie outside
            of its folder, or that declares more than it holds.
    """
    try:
        import onnx
    except ImportError:
        raise MissingExtra("reading ONNX", extra="onnx", package="onnx") from None
    if not path.is_file():
        raise ModelError(no_file(path, "*.onnx"))
    try:
        if path.stat().st_size > memory():
            raise ModelError(f"{path} is larger than this machine's memory")
        model: Any = onnx.load(str(path), load_external_data=False)
        if model.functions:
            model = onnx.inliner.inline_local_functions(model)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(f"{path} is not an ONNX file, or damaged: {first_line(error)}") from error
    if not model.graph.node:
        raise ModelError(f"{path} is not an ONNX file, or damaged: its graph is empty")
    try:
        return _read(model, path)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error


def _read(model: Any, path: Path) -> File:
    versions = {each.domain: int(each.version) for each in model.opset_import}
    opset = versions.get("", versions.get("ai.onnx", 1))
    if opset < _OLDEST:
        raise ModelError(f"its opset {opset} is too old: convert it to {_OLDEST} or later")
    if model.graph.sparse_initializer:
        raise ModelError("it has sparse weights, which are not read")
    constants = {_text(each.name): _array(each, path) for each in model.graph.initializer}
    nodes = []
    for each in model.graph.node:
        node = _node(each, path, versions, opset)
        if node.kind == "Constant":
            constants |= dict.fromkeys(node.outputs, _constant(node.attributes, node.name))
        else:
            nodes.append(node)
    inputs = [_text(each.name) for each in model.graph.input]
    inputs = [name for name in inputs if name not in constants]
    outputs = [_text(each.name) for each in model.graph.output]
    return File(
        tuple(_sorted(nodes, {*constants, *inputs, ""}, outputs)),
        constants,
        tuple(inputs),
        tuple(outputs),
    )


def _node(given: Any, path: Path, versions: Mapping[str, int], opset: int) -> Node:
    inputs, outputs = tuple(map(_text, given.input)), tuple(map(_text, given.output))
    kind, domain = _text(given.op_type), _text(given.domain)
    name = _text(given.name) or (outputs[0] if outputs else "")
    if domain not in ("", "ai.onnx"):
        known = versions.get(given.domain, 0)
        raise ModelError(f"{domain}.{kind} {name!r} of opset {known} is not an operator of ONNX")
    attributes = {_text(a.name): _attribute(a, path, kind, name) for a in given.attribute}
    # Older releases of onnx know no metadata of nodes.
    metadata = {each.key: _text(each.value) for each in getattr(given, "metadata_props", ())}
    module = module_of(name, kind, metadata.get("pkg.torch.onnx.name_scopes", ""))
    return Node(name, kind, opset, inputs, outputs, attributes, module)


def _text(value: str | bytes) -> str:
    """A name as text; what is not UTF-8 comes as bytes."""
    return value if isinstance(value, str) else value.decode("utf-8", "replace")


def _sorted(nodes: list[Node], known: set[str], outputs: list[str]) -> Iterator[Node]:
    """Check that each node's inputs are there before it."""
    for node in nodes:
        for name in node.inputs:
            if name not in known:
                raise node.refuse(f"reads {name!r}, which nothing before it gives")
        known |= set(node.outputs)
        yield node
    for name in outputs:
        if name not in known:
            raise ModelError(f"nothing gives its output {name!r}")


def _attribute(attribute: Any, path: Path, kind: str, name: str) -> Any:
    """The value of an attribute."""
    import onnx

    types = onnx.AttributeProto
    if attribute.type == types.TENSOR:
        return _array(attribute.t, path)
    if attribute.type in (types.GRAPH, types.GRAPHS):
        raise ModelError(f"{kind} {name!r} has a graph of its own: such operators are not read")
    if attribute.type == types.STRING:
        return _text(attribute.s)
    if attribute.type in (types.INT, types.FLOAT):
        return attribute.i if attribute.type == types.INT else attribute.f
    if attribute.type in (types.INTS, types.FLOATS):
        return list(attribute.ints if attribute.type == types.INTS else attribute.floats)
    if attribute.type == types.STRINGS:
        return list(map(_text, attribute.strings))
    raise ModelError(f"{kind} {name!r} has an attribute {attribute.name!r} of an unknown kind")


def _constant(attributes: Mapping[str, Any], name: str) -> Array:
    for key, kind in (("value_float", "f4"), ("value_floats", "f4"), ("value_int", "i8"),
                      ("value_ints", "i8")):  # fmt: skip
        if key in attributes:
            return np.array(attributes[key], kind)
    value = attributes.get("value")
    if not isinstance(value, np.ndarray):
        raise ModelError(f"Constant {name!r} is not a tensor of numbers")
    return value


def _array(tensor: Any, path: Path) -> Array:
    """The values of a tensor, once the bytes are found to be as many as its sizes ask for."""
    import onnx

    name = tensor.name or "a constant"
    if any(n < 0 for n in tensor.dims):
        raise ModelError(f"the tensor {name!r} has a negative length")
    count = math.prod(tensor.dims)
    if count > memory():
        raise ModelError(
            f"the tensor {name!r} declares {count:,} values, more than this machine has bytes"
        )
    external = tensor.data_location == onnx.TensorProto.EXTERNAL
    if external:
        tensor = _with_external(tensor, name, path)
    try:
        return np.array(onnx.numpy_helper.to_array(tensor))
    except Exception as error:
        raise ModelError(
            f"the tensor {name!r} of {count:,} values cannot be read: {first_line(error)}"
        ) from error


def _with_external(tensor: Any, name: str, path: Path) -> Any:
    """A tensor with its values, from a file beside the model."""
    import onnx

    entries = {each.key: each.value for each in tensor.external_data}
    location = entries.get("location", "")
    folder = path.parent.resolve()
    try:
        place = (folder / location).resolve()
        if not location or not place.is_relative_to(folder):
            raise ModelError(
                f"the values of {name!r} lie outside of its folder, in {location!r}: not opened"
            )
        if not place.is_file():
            raise ModelError(f"the values of {name!r} are missing: {no_file(place)}")
        offset, length = int(entries.get("offset", 0)), entries.get("length")
        size = place.stat().st_size
        wanted = size - offset if length is None else int(length)
        if offset < 0 or wanted < 0 or offset + wanted > size:
            raise ModelError(f"the values of {name!r} go beyond the end of {location!r}")
        with place.open("rb") as stream:
            stream.seek(offset)
            content = stream.read(wanted)
    except (OSError, ValueError) as error:
        raise ModelError(f"the values of {name!r} cannot be read: {first_line(error)}") from error
    held = onnx.TensorProto()
    held.CopyFrom(tensor)
    held.ClearField("external_data")
    held.data_location = onnx.TensorProto.DEFAULT
    held.raw_data = content
    return held
