"""Results of a network by name, in float64: its outputs, its modules' results, its layers'."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves, tree_map

from convsmith.network import Network, quiet, submodule, untouched
from convsmith.network.example import example_inputs
from convsmith.network.modules import copied

__all__ = ["Runner", "by_layers", "by_modules", "by_nodes", "passed_on", "random_inputs"]

Runner = Callable[[Any], Mapping[str, Tensor]]
"""From the arguments of a network, positional and by name, to its results by name."""


def by_modules(model: nn.Module, names: Sequence[str], paths: Mapping[str, str]) -> Runner:
    """Run a float64 copy of a model.

    Args:
        model: left as it is.
        names: the names of the tensors that it returns, in order.
        paths: further names, each with the module whose result it is.
    """
    with quiet():
        copy = copied(model).double().eval()

    def run(inputs: Any) -> Mapping[str, Tensor]:
        results: dict[str, Tensor] = {}
        handles = []
        for name, path in paths.items():

            def see(_: nn.Module, __: Any, result: Any, name: str = name) -> None:
                tensors = [x for x in tree_leaves(result) if isinstance(x, Tensor)]
                if tensors:
                    results[name] = tensors[-1].clone()  # it may be overwritten in place

            handles.append(submodule(copy, path).register_forward_hook(see))
        args, kwargs = inputs
        try:
            with untouched(copy), torch.no_grad(), quiet():
                result = copy(*args, **kwargs)
        finally:
            for handle in handles:
                handle.remove()
        outputs = [x for x in tree_leaves(result) if isinstance(x, Tensor)]
        return results | dict(zip(names, outputs, strict=False))

    return run


def by_layers(network: Network, names: Mapping[str, str]) -> Runner:
    """Run a float64 copy of a network's exported program, at the size it was traced for.

    Args:
        network: a traced network.
        names: result names, each with the name of its layer.
    """
    with quiet():
        module = deepcopy(network.program.module(check_guards=False)).double()
        graph = fx.GraphModule(module, module.graph)
    return _interpreted(graph, {name: network[layer].node for name, layer in names.items()})


def by_nodes(graph: fx.GraphModule, nodes: Mapping[str, str]) -> Runner:
    """Run a float64 copy of a graph module, and keep the results of nodes by name.

    Args:
        graph: a graph module.
        nodes: result names, each with its node, or the node that another one stands for.
    """
    with quiet():
        return _interpreted(deepcopy(graph).double(), nodes)


def _interpreted(graph: fx.GraphModule, nodes: Mapping[str, str]) -> Runner:
    for node in list(graph.graph.nodes):
        # They hold the types of the trace, which are those of another precision.
        if "_assert" in str(node.target):
            graph.graph.erase_node(node)
    graph.recompile()

    def run(inputs: Any) -> Mapping[str, Tensor]:
        kept: dict[str, Tensor] = {}

        class Keeping(fx.Interpreter):
            def run_node(self, n: fx.Node) -> Any:
                result = super().run_node(n)
                for name, node in nodes.items():
                    if n.meta.get("stands_for", n.name) == node:
                        kept[name] = result.clone()  # it may be overwritten in place
                return result

        args, kwargs = inputs
        with torch.no_grad(), quiet():
            Keeping(graph).run(*args, *kwargs.values())
        return kept

    return run


def random_inputs(inputs: Any, generator: torch.Generator, grow: Sequence[int] = ()) -> Any:
    """Arguments of the same structure with random floating tensors in float64.

    Args:
        inputs: positional and keyword arguments.
        generator: source of the random numbers.
        grow: by how much each axis after batch and channels is longer.
    """

    def one(value: Any) -> Any:
        if not isinstance(value, Tensor) or not value.is_floating_point():
            return value
        size = list(value.shape)
        for axis, more in enumerate(grow, start=2):
            if axis < len(size):
                size[axis] += more
        return torch.randn(size, generator=generator, dtype=torch.float64)

    return tree_map(one, inputs)


def passed_on(model: nn.Module, example: Any, path: str) -> str | None:
    """The module whose result the one at `path` is given, if it is the result of a module."""
    args, kwargs = example_inputs(model, example)
    results: dict[int, str] = {}
    kept: list[Any] = []  # the identity of a tensor is free again once it is gone
    found: list[str | None] = []
    handles = [
        submodule(model, path).register_forward_pre_hook(
            lambda _, given: found.append(results.get(id(given[0])) if given else None)
        )
    ]

    def keep(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_: nn.Module, __: Any, result: Any) -> None:
            kept.append(result)
            results.setdefault(id(result), name)

        return hook

    for name, module in model.named_modules():
        if name and name != path:
            handles.append(module.register_forward_hook(keep(name)))
    try:
        with untouched(model), torch.no_grad(), quiet():
            model(*args, **kwargs)
    finally:
        for handle in handles:
            handle.remove()
    return found[-1] if found else None
