"""Names of layers: those of the modules that a file was written from, where it tells them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from convsmith.importing.file import Node

__all__ = ["module_of", "path_of"]


def module_of(name: str, kind: str, scopes: str = "") -> str:
    """The path of the module that a node of a file was written for; '' where the file is silent.

    PyTorch's exporter lists the modules around a node in its metadata, and its older one in the
    node's name.

    Args:
        name: of the node.
        kind: its operator.
        scopes: what its metadata say.

    >>> module_of("/body/body.0/conv/Conv", "Conv")
    'body.0.conv'
    >>> module_of("node_MatMul_3", "MatMul", "['', 'body', 'body.0', 'linear_1']")
    'body.0'
    """
    if scopes:
        return "".join(re.findall("'([^']*)'", scopes)[-2:-1])
    first, *parts = name.split("/")
    if first or not parts or not parts[-1].startswith(kind):
        return ""
    path: list[str] = []
    for scope in parts[:-1]:
        # A module in a list bears the list's name as well.
        if path and scope.startswith(f"{path[-1]}."):
            path.pop()
        path.append(scope)
    return ".".join(path)


def path_of(node: Node) -> str:
    """Where the layer of a node belongs: to its weights, else to its module, else under its name.

    >>> from convsmith.importing.file import Node
    >>> path_of(Node("node_7", "MatMul", 18, ("x", "val_3", "head.bias"), ("y",), {}))
    'head'
    """
    for name in node.inputs[1:]:
        owner, _, last = name.rpartition(".")
        if owner and last in ("weight", "bias"):
            return owner
    return node.module or node.name or node.outputs[0]
