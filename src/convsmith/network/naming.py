"""Names of layers: the module path, made unique and readable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from torch.fx import Node

__all__ = ["Namer"]


class Namer:
    """Gives each node of an exported program the name its author would look for.

    A module without children lends its path to the operation that uses its parameters, or to the
    only one it has: `layer1.0.conv1`. Other operations add their own name: `layer1.0:add`. A second
    call gets `#2`.
    """

    def __init__(self, leaves: Iterable[str]) -> None:
        self._leaves = set(leaves)
        self._seen: Counter[str] = Counter()

    def path(self, node: Node, parameters: Iterable[str]) -> str:
        """The path of the module that a node belongs to.

        A module may compute with the weights of a child that it never calls, as multi-head
        attention does with its `out_proj`: such a node belongs to the child.
        """
        stack = list((node.meta.get("nn_module_stack") or {}).values())
        # A module that is reached a second time has the same path with `@1`.
        path: str = stack[-1][0].split("@")[0] if stack else ""
        for name in parameters:
            owner = name.rpartition(".")[0]
            if owner in self._leaves and (not path or owner.startswith(f"{path}.")):
                return owner
        return path

    def name(
        self, node: Node, operation: str, path: str, has_parameters: bool, constant: bool
    ) -> str:
        """A unique name for the node; one that only prepares a weight never has the bare path."""
        if node.op == "placeholder":
            name = node.name
        elif (
            path in self._leaves and path and not constant and (has_parameters or self._alone(node))
        ):
            name = path
        else:
            name = f"{path}:{operation}" if path else operation
        self._seen[name] += 1
        return name if self._seen[name] == 1 else f"{name}#{self._seen[name]}"

    def _alone(self, node: Node) -> bool:
        """Whether no neighbour of the node comes from the same call of the same module."""
        stack = list(node.meta.get("nn_module_stack") or {})
        around = [*node.all_input_nodes, *node.users]
        return not any(
            list(other.meta.get("nn_module_stack") or {}) == stack
            for other in around
            if other.op == "call_function"
        )
