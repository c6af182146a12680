"""A program exported with free sizes, at one choice of them: the same graph with numbers.

`torch.export` leaves the sizes that a user declared free as symbols. Converting such a symbol with
`int()` would fix it in the user's own program, so the sizes are read without that, and the program
is run once more on tensors without values, in a copy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.export import ExportedProgram
from torch.export.graph_signature import (
    ConstantArgument,
    ExportGraphSignature,
    OutputSpec,
    SymIntArgument,
)
from torch.fx import Graph, Node
from torch.fx.node import map_arg
from torch.utils._pytree import tree_leaves, tree_map

from convsmith.errors import ArgumentError, nearest
from convsmith.network.network import FreeSize

__all__ = ["DATA_DEPENDENT", "at_sizes", "is_symbolic"]

# A tensor without values cannot say how many of them are positive.
DATA_DEPENDENT = {"DataDependentOutputException", "DynamicOutputShapeException"}


def is_symbolic(node: Node) -> bool:
    """Whether a size of a tensor that a node gives is no number but a symbol."""
    return any(
        isinstance(value, Tensor) and not all(isinstance(size, int) for size in value.shape)
        for value in tree_leaves(node.meta.get("val"))
    )


def at_sizes(
    program: ExportedProgram, example: Any = None
) -> tuple[ExportedProgram, tuple[FreeSize, ...]]:
    """Copy a program with all of its sizes fixed, and say which were free.

    Args:
        program: it is left as it is; the weights are shared.
        example: the inputs (tensors or shapes), positional or by name, whose sizes are taken;
            without it, those of the example that the program was exported with.

    Raises:
        ArgumentError: for an example that the program does not take.
        Exception: whatever an operation raises that refuses these sizes; its `node` is the node.
    """
    inputs = _inputs(program)
    wanted = _shapes(example, inputs)
    free = tuple(_free(program, inputs, wanted))
    if not any(map(is_symbolic, program.graph.nodes)):
        return program, free
    known: dict[Any, int] = {}
    for node in inputs:
        for size, length in zip(node.meta["val"].shape, wanted[node.name], strict=True):
            _bind(known, size, length, node.name)
    return _copy(program, wanted, known), free


def _inputs(program: ExportedProgram) -> list[Node]:
    """The placeholders of the tensors that a user passes, in order."""
    given = program.graph_signature.user_inputs
    return [
        node
        for node in program.graph.nodes
        if node.name in given and isinstance(node.meta.get("val"), Tensor)
    ]


def _shapes(example: Any, inputs: Sequence[Node]) -> dict[str, tuple[int, ...]]:
    """The sizes of each input: those of the example, which must be of the right kind."""
    if example is None:
        return {node.name: tuple(map(_hint, node.meta["val"].shape)) for node in inputs}
    args, kwargs = example
    names = [node.name for node in inputs]
    tensors = [leaf for leaf in tree_leaves(args) if isinstance(leaf, Tensor)]
    found = dict(zip(names, tensors, strict=False)) | kwargs
    for name in found:
        if name not in names:
            raise ArgumentError(f"the program has no input {name!r}{nearest(name, names)}")
    if len(tensors) + len(kwargs) != len(names) or len(found) != len(names):
        got = len(tensors) + len(kwargs)
        raise ArgumentError(
            f"the program takes {len(names)} tensors ({', '.join(names)}), not {got}"
        )
    shapes = {}
    for node in inputs:
        value, mine = found[node.name], tuple(node.meta["val"].shape)
        if not isinstance(value, Tensor) or value.dim() != len(mine):
            raise ArgumentError(
                f"input {node.name!r} of the program has {len(mine)} axes, "
                f"not {tuple(value.shape) if isinstance(value, Tensor) else value!r}"
            )
        shapes[node.name] = tuple(map(int, value.shape))
    return shapes


def _free(
    program: ExportedProgram, inputs: Sequence[Node], wanted: Mapping[str, tuple[int, ...]]
) -> Iterator[FreeSize]:
    """The free sizes of the inputs, each with its range; a size outside of it is refused."""
    ranges = {str(key): value for key, value in program.range_constraints.items()}
    for node in inputs:
        for axis, size in enumerate(node.meta["val"].shape):
            length = wanted[node.name][axis]
            where = f"axis {axis} of input {node.name!r}"
            if isinstance(size, int):
                if size != length:
                    raise ArgumentError(
                        f"the program was exported for {where} = {size}, not {length}: "
                        "export it with this size free (dynamic_shapes)"
                    )
                continue
            bounds = ranges.get(str(size.node.expr))
            low, high = (_end(bounds.lower), _end(bounds.upper)) if bounds else (0, None)
            found = FreeSize(node.name, axis, length, low or 0, high, str(size.node.expr))
            if length < found.low or (high is not None and length > high):
                raise ArgumentError(f"the program takes {found.range} for {where}, not {length}")
            yield found


def _end(bound: Any) -> int | None:
    """An end of a range, None where it has none: torch's infinity, or the largest of integers."""
    return int(bound) if bound.is_Integer and abs(bound) < 2**62 else None


def _bind(known: dict[Any, int], size: Any, length: int, name: str) -> None:
    """Solve what a size is made of, such as `8*s6`, for its symbol."""
    if isinstance(size, int):
        return
    expression = size.node.expr.subs(known)
    if not expression.free_symbols:
        if int(expression) != length:
            raise ArgumentError(
                f"the program takes {int(expression)} where input {name!r} has {length}: "
                f"its sizes depend on one another"
            )
        return
    (symbol, *_) = expression.free_symbols
    # torch.export's derived dimensions are linear in one other: a·d + b.
    scale, offset = expression.coeff(symbol), expression.subs(symbol, 0)
    value = (length - offset) / scale
    if not value.is_Integer:
        raise ArgumentError(
            f"the program takes {expression} as a size of input {name!r}, which {length} is not"
        )
    known[symbol] = int(value)


def _copy(
    program: ExportedProgram, wanted: Mapping[str, tuple[int, ...]], known: Mapping[Any, int]
) -> ExportedProgram:
    """Run the program on tensors without values, and note each operation with its numbers."""

    def number(size: Any) -> Any:
        if not isinstance(size, torch.SymInt):
            return size
        exact = size.node.expr.subs(known)
        return _hint(size) if exact.free_symbols else int(exact)

    def like(value: Any, shape: tuple[int, ...] | None) -> Any:
        if not isinstance(value, Tensor):
            return number(value)
        sizes, strides = shape or map(number, value.shape), map(number, value.stride())
        made = torch.empty_strided(
            tuple(sizes), tuple(strides), dtype=value.dtype, device=value.device
        )
        return made.requires_grad_(value.requires_grad)

    graph, values, nodes = Graph(), dict[Node, Any](), dict[Node, Node]()

    def operand(node: Node) -> Any:
        return values[node] if isinstance(values[node], (int, float)) else nodes[node]

    with torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True):
        for node in program.graph.nodes:
            if node.op == "placeholder":
                values[node] = like(node.meta.get("val"), wanted.get(node.name))
            elif node.op == "get_attr":
                values[node] = attrgetter(node.target)(program.graph_module)
            elif node.op == "output":
                graph.output(map_arg(node.args[0], operand))
                break
            else:
                args, kwargs = map_arg((node.args, node.kwargs), values.__getitem__)
                try:
                    values[node] = result = node.target(*args, **kwargs)
                except Exception as error:
                    error.node = node  # type: ignore[attr-defined]
                    raise
                # Arithmetic on sizes is done, and checks of them have passed.
                if isinstance(result, (int, float)) or (
                    result is None and isinstance(node.target, torch._ops.OpOverload)
                ):
                    continue
            nodes[node] = made = graph.create_node(
                node.op,
                node.target,
                map_arg(node.args, operand),
                map_arg(node.kwargs, operand),
                node.name,
                node.type,
            )
            # fx avoids names of Python's own, such as `input`, which the signature speaks of.
            made.name = node.name
            made.meta = {key: value for key, value in node.meta.items() if key != "tensor_meta"}
            if "val" in made.meta:
                # A later operation in place must not change what is noted here.
                made.meta["val"] = tree_map(
                    lambda v: v.detach() if isinstance(v, Tensor) else v, values[node]
                )
    return ExportedProgram(
        root=program.graph_module,
        graph=graph,
        graph_signature=_signature(program.graph_signature, values),
        state_dict=program.state_dict,
        range_constraints={},
        module_call_graph=program.module_call_graph,
        constants=program.constants,
        verifiers=program.verifiers,
    )


def _signature(given: ExportGraphSignature, values: Mapping[Node, Any]) -> ExportGraphSignature:
    """The signature, sizes among the results being constants."""
    numbers = {node.name: v for node, v in values.items() if isinstance(v, (int, float))}
    outputs = [
        OutputSpec(spec.kind, ConstantArgument(spec.arg.name, numbers[spec.arg.name]), spec.target)
        if isinstance(spec.arg, SymIntArgument) and spec.arg.name in numbers
        else spec
        for spec in given.output_specs
    ]
    return ExportGraphSignature(input_specs=list(given.input_specs), output_specs=outputs)


def _hint(size: Any) -> int:
    """The size in the example that a program was exported with."""
    if isinstance(size, int):
        return size
    if not isinstance(size.node.hint, int):
        raise ArgumentError(f"the program has a free size {size}: pass an example")
    return int(size.node.hint)
