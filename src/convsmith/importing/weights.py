"""Weights as layers read them: without the copies, transposes and additions of exporters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from convsmith.errors import ModelError
from convsmith.importing.file import File, Node
from convsmith.importing.layers import has_transposed
from convsmith.machine import memory

__all__ = ["with_plain_weights"]

Array = np.ndarray[Any, Any]
_PRODUCTS = ("Gemm", "MatMul")


def with_plain_weights(file: File) -> File:
    """The same network, whose layers read their weights from the file itself.

    - `Identity` of a weight: exporters merge weights that are equal. Vectors, which are equal in
      every fresh batch norm, become weights of their own again; a matrix is equal where it is
      shared, and stays one.
    - `Transpose` of a matrix before a product: the product then has `transB`, which ONNX itself
      gives to `Gemm` alone.
    - `Add` of a vector to a product that nothing else reads: the product's third input.
    - Zeros that are made for a convolution without bias: left out.

    Raises:
        ModelError: where the vectors would need more memory than there is.
    """
    constants, nodes = _own_vectors(file)
    nodes = _read_directly(nodes, constants)
    nodes = _with_biases(nodes, constants, file.outputs)
    nodes = _without_zeros(nodes, constants)
    return replace(file, constants=constants, nodes=tuple(_needed(nodes, file.outputs)))


def _own_vectors(file: File) -> tuple[dict[str, Array], list[Node]]:
    constants, nodes = dict(file.constants), []
    size = sum(array.nbytes for array in constants.values())
    for node in file.nodes:
        array = constants.get(node.inputs[0]) if _copies(node) else None
        if array is None or array.ndim > 1:
            nodes.append(node)
            continue
        size += array.nbytes
        if size > memory():
            raise ModelError("copies of its weights are larger than this machine's memory")
        constants[node.outputs[0]] = array.copy()
    return constants, nodes


def _copies(node: Node) -> bool:
    return node.kind == "Identity" and len(node.inputs) == len(node.outputs) == 1


def _transposes(node: Node) -> bool:
    ends = len(node.inputs) == len(node.outputs) == 1
    return node.kind == "Transpose" and ends and node.attributes.get("perm", [1, 0]) == [1, 0]


def _read_directly(nodes: Iterable[Node], constants: Mapping[str, Array]) -> list[Node]:
    """Let nodes read the matrices that others copy, and products those that others transpose."""
    same: dict[str, str] = {}
    turned: dict[str, str] = {}
    found = []
    for node in nodes:
        node = replace(node, inputs=tuple(same.get(name, name) for name in node.inputs))
        if node.kind in _PRODUCTS and len(node.inputs) > 1 and node.inputs[1] in turned:
            first, weight, *rest = node.inputs
            flipped = {**node.attributes, "transB": int(not has_transposed(node))}
            node = replace(node, inputs=(first, turned[weight], *rest), attributes=flipped)
        if _copies(node) and node.inputs[0] in constants:
            same[node.outputs[0]] = node.inputs[0]
        elif _transposes(node) and node.inputs[0] in constants:
            turned[node.outputs[0]] = node.inputs[0]
        found.append(node)
    return found


def _with_biases(
    nodes: Sequence[Node], constants: Mapping[str, Array], outputs: Sequence[str]
) -> list[Node]:
    """Make an addition of a vector a part of the product before it."""
    reads = Counter([*outputs, *(name for node in nodes for name in node.inputs)])
    lone: dict[str, Node] = {}  # products with a weight and without a bias, by their outputs
    joined: dict[str, Node] = {}
    for node in nodes:
        if len(node.inputs) != 2 or len(node.outputs) != 1:
            continue
        if node.kind in _PRODUCTS and reads[node.outputs[0]] == 1:
            lone[node.outputs[0]] = node
        elif node.kind == "Add":
            for name, bias in (node.inputs, node.inputs[::-1]):
                if name in lone and _fits(lone[name], bias, constants):
                    joined[name] = node
                    break
    taken = {each.outputs[0]: lone[name] for name, each in joined.items()}
    found = []
    for node in nodes:
        name = node.outputs[0] if node.outputs else ""
        if name in taken:
            product = taken[name]
            (bias,) = {*node.inputs} - {*product.outputs}
            node = replace(product, inputs=(*product.inputs, bias), outputs=node.outputs)
        if name not in joined:
            found.append(node)
    return found


def _fits(product: Node, bias: str, constants: Mapping[str, Array]) -> bool:
    """Whether a constant has a number for each column of a product, and all are floats."""
    weight, vector = constants.get(product.inputs[1]), constants.get(bias)
    if weight is None or vector is None or (weight.ndim, vector.ndim) != (2, 1):
        return False
    if weight.dtype.kind != "f" or product.attributes.get("beta", 1.0) != 1.0:
        return False
    outputs = weight.shape[0] if has_transposed(product) else weight.shape[1]
    return bool(vector.dtype == weight.dtype and vector.shape == (outputs,))


def _without_zeros(nodes: Iterable[Node], constants: Mapping[str, Array]) -> list[Node]:
    """Leave out biases of convolutions that are one zero, spread over the channels."""
    zeros = {name for name, array in constants.items() if array.size == 1 and not array.any()}
    found = []
    for node in nodes:
        if node.kind in ("Cast", "CastLike", "Expand") and {*node.inputs[:1]} <= zeros:
            zeros.update(node.outputs)
        elif node.kind in ("Conv", "ConvTranspose") and {*node.inputs[2:]} <= zeros - {*constants}:
            node = replace(node, inputs=node.inputs[:2])
        found.append(node)
    return found


def _needed(nodes: Sequence[Node], outputs: Sequence[str]) -> list[Node]:
    """Leave out what nothing reads any more."""
    read, found = {*outputs}, []
    for node in reversed(nodes):
        if not read.isdisjoint(node.outputs):
            read.update(node.inputs)
            found.append(node)
    return found[::-1]
