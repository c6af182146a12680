"""`torch.compile(model, backend="convsmith")`."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Graph, GraphModule, Node
from torch.fx.node import map_arg

from convsmith.errors import ConvsmithError, first_line
from convsmith.runtime.compilation import compile

__all__ = ["backend"]


def backend(
    graph: GraphModule, example_inputs: Sequence[Any], options: Mapping[str, Any] | None = None
) -> Callable[..., Any]:
    """Run a graph of `torch.compile` in fused kernels where it can be, else as it is.

    Args:
        graph: as Dynamo gives it.
        example_inputs: its inputs, parameters among them.
        options: `threads`, `isa`, `precision` and so on, as for `compile`.

    >>> net = torch.nn.Conv2d(3, 8, 3).eval()
    >>> with torch.no_grad():
    ...     torch.compile(net, backend="convsmith")(torch.zeros(1, 3, 9, 9)).shape
    torch.Size([1, 8, 7, 7])
    """
    tensors = [value for value in example_inputs if isinstance(value, Tensor)]
    if torch.is_grad_enabled() and any(t.requires_grad for t in (*tensors, *graph.parameters())):
        warnings.warn(
            "convsmith has no gradients: PyTorch runs what is not under torch.no_grad()",
            RuntimeWarning,
            stacklevel=2,
        )
        return graph.forward
    return _Lazy(graph, dict(options or {}))


class _Lazy:
    """Compiles at the first call, when there are values, and again for other parameters."""

    def __init__(self, graph: GraphModule, options: dict[str, Any]) -> None:
        self.graph, self.options = graph, options
        entries = list(enumerate(graph.graph.find_nodes(op="placeholder")))
        self.fixed = [place for place, node in entries if _is_parameter(node)]
        # With `dynamic=True`, settings of layers (a batch norm's eps) are tensors of one number.
        self.numbers = [place for place, node in entries if _is_number(node)]
        # Sizes that nothing reads would make a new graph of every size.
        apart = {*self.fixed, *self.numbers}
        self.free = [p for p, node in entries if node.users and p not in apart]
        self.bound: _Bound | None = None
        self.run: Callable[..., Any] = graph.forward

    def __call__(self, *args: Any) -> Any:
        parameters = [args[place] for place in self.fixed]
        numbers = [args[place].item() for place in self.numbers]
        inputs = tuple([args[place] for place in self.free])
        if (
            self.bound is None
            or self.bound.numbers != numbers
            or any(a is not b for a, b in zip(self.bound.held, parameters, strict=True))
        ):
            graph = _with_numbers(self.graph, self.numbers, numbers)
            self.bound = _Bound(graph, self.fixed, parameters, self.free, len(args), numbers)
            self.run = self._compile(self.bound, inputs)
        return self.run(*inputs)

    def _compile(self, bound: _Bound, inputs: tuple[Any, ...]) -> Callable[..., Any]:
        try:
            compiled = compile(bound, inputs, **self.options)
        except ConvsmithError as error:
            warnings.warn(
                f"PyTorch runs a graph of torch.compile: {first_line(error)}",
                RuntimeWarning,
                stacklevel=4,
            )
            return bound
        settings = [layer.operation.settings for layer in compiled.network]
        if any(each.get("training") or each.get("train") for each in settings):
            return bound
        return compiled if compiled.regions else bound


class _Bound(nn.Module):
    """A graph with its parameters, which Dynamo passes in each call."""

    def __init__(
        self,
        graph: GraphModule,
        fixed: list[int],
        held: list[Any],
        free: list[int],
        length: int,
        numbers: list[Any],
    ) -> None:
        super().__init__()
        self.numbers = numbers
        self.graph, self.places, self.free, self.length = graph, fixed, free, length
        for place, value in zip(fixed, held, strict=True):
            if isinstance(value, nn.Parameter):
                self.register_parameter(f"p{place}", value)
            else:
                self.register_buffer(f"p{place}", value)

    @property
    def held(self) -> list[Any]:
        """The parameters and buffers."""
        return [getattr(self, f"p{place}") for place in self.places]

    def forward(self, *inputs: Any) -> Any:
        """What the graph gives."""
        args: list[Any] = [None] * self.length
        for place in self.places:
            args[place] = getattr(self, f"p{place}")
        for place, value in zip(self.free, inputs, strict=True):
            args[place] = value
        return self.graph(*args)


def _is_number(node: Node) -> bool:
    """Whether a graph only asks an input for its one value."""
    return bool(node.users) and all(
        user.op == "call_method" and user.target == "item" for user in node.users
    )


def _with_numbers(graph: GraphModule, places: list[int], numbers: list[Any]) -> GraphModule:
    """The graph with numbers in the place of inputs that only stand for them."""
    if not places:
        return graph
    copied = Graph()
    copied.output(copied.graph_copy(graph.graph, nodes := dict[Node, Node]()))
    entries = graph.graph.find_nodes(op="placeholder")
    values = {
        nodes[item]: number
        for place, number in zip(places, numbers, strict=True)
        for item in entries[place].users
    }
    for item in values:
        for user in list(item.users):
            user.args = map_arg(user.args, lambda node: values.get(node, node))
            user.kwargs = map_arg(user.kwargs, lambda node: values.get(node, node))
        copied.erase_node(item)
    return GraphModule(graph, copied)


def _is_parameter(node: Node) -> bool:
    kind = node.meta.get("example_value")
    static = "_dynamo_static_input_type" in node.meta.get("tensor_dict", {})
    return static or isinstance(kind, nn.Parameter)
