"""`trace`: from a model and an example to a `Network`, through `torch.export`."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import Node
from torch.utils._pytree import tree_leaves

from convsmith.errors import ArgumentError, ConvsmithError, TraceError, first_line
from convsmith.network.constants import Constants
from convsmith.network.contexts import forked, quiet, without_collections
from convsmith.network.example import aliased, example_inputs
from convsmith.network.explain import explain, source_of, where
from convsmith.network.inline import inlined
from convsmith.network.layout import laid_out
from convsmith.network.leftovers import without_leftovers
from convsmith.network.naming import Namer
from convsmith.network.network import FreeSize, Layer, Network, Parameter
from convsmith.network.operations import Operation
from convsmith.network.overlap import Overlap
from convsmith.network.reading import read_operation, tensor_type, tensor_types
from convsmith.network.shadow import shadow
from convsmith.network.static import DATA_DEPENDENT, at_sizes, is_symbolic
from convsmith.network.writes import Memory

__all__ = ["read_program", "trace"]

_SILENT = {"output", "get_attr"}
_DATA_SIZE = "the size of a result depends on the values of a tensor"
_MAPPED = "torch.vmap and torch.func hide the shapes of tensors from torch.export"


def trace(
    model: nn.Module | ExportedProgram, example: Any = None, *, axes: str | None = None
) -> Network:
    """Read a model into a `Network`, as it computes in evaluation mode.

    A network is read for one size of its inputs. A module is captured with these sizes fixed, so
    its control flow may depend on them. An exported program with free sizes (`dynamic_shapes`) is
    read at those of the example; `Network.free` says which were free, and within which range.

    Args:
        model: any module that `torch.export` captures; it is left exactly as it was. It may live
            on the meta device: nothing is allocated or computed. Or an exported program.
        example: a tensor; a shape such as `(1, 3, 224, 224)`; a tuple or list of these for several
            positional inputs; or a dict of them for keyword inputs (see `example_inputs`, for
            types and for inputs that are lists or dicts themselves). A program needs none: its
            sizes are then those it was exported with.
        axes: what the dimensions of the image are, one letter per dimension: `N` for the batch,
            `C` for channels, any other letter for an axis of space or time, such as `NHWC`, `CHW`
            or `NTCHW`. Unless given, it is seen from the first convolution that the image reaches.

    Raises:
        ArgumentError: for an example that is none of these, or that a program does not take; for
            axes that do not fit it.
        TraceError: for a model that cannot be captured, or that refuses the example: the reason,
            the layer's path and the line of the user's code.

    >>> net = trace(nn.Conv2d(3, 8, 3, stride=2), (1, 3, 9, 9))
    >>> net.layers[-1].operation.arithmetic
    Conv(3, 8, kernel_size=3, stride=2)
    """
    if isinstance(model, ExportedProgram):
        return laid_out(_read(model, example), axes)
    if not isinstance(model, nn.Module):
        raise ArgumentError(f"expected a torch.nn.Module, not {type(model).__name__}")
    args, kwargs = aliased(example_inputs(model, example))
    copied = shadow(model)  # what the code stores in its modules stays in the copy
    with quiet(), forked(), without_leftovers(copied), without_collections():
        try:
            with torch.no_grad():
                program = torch.export.export(copied, args, kwargs, strict=False)
        except ConvsmithError:
            raise
        except Exception as error:
            raise TraceError(explain(copied, error)) from error
        name = type(model).__name__
        for node in program.graph.nodes:
            # Every size of the inputs is a number.
            reason = _MAPPED if _is_mapped(node) else _DATA_SIZE if is_symbolic(node) else ""
            if reason:
                raise TraceError(f"{name} cannot be traced: {reason}{where(node)}")
        network = replace(read_program(inlined(program), model, name), model=model)
    return laid_out(network, axes)


def _is_mapped(node: Node) -> bool:
    """Whether a node gives what one item of a batch would be, as `torch.vmap` shows it."""
    return any(
        isinstance(value, Tensor) and torch._C._functorch.is_functorch_wrapped_tensor(value)
        for value in tree_leaves(node.meta.get("val"))
    )


def _is_misplaced(node: Node) -> bool:
    """Whether `torch.export` stores a buffer that the code has made itself, and mistakes where to.

    What it gives is then not of the shape of what it writes to.
    """
    if node.target is not torch.ops.aten.copy_.default or not isinstance(node.args[0], Node):
        return False
    return bool(node.meta["val"].shape != node.args[0].meta["val"].shape)


def _read(program: ExportedProgram, example: Any) -> Network:
    name = "ExportedProgram"
    module = program.module(check_guards=False)
    inputs = None if example is None else example_inputs(module, example)
    with quiet():
        try:
            static, free = at_sizes(program, inputs)
        except ConvsmithError:
            raise
        except Exception as error:
            node = getattr(error, "node", None)
            kind = type(error).__name__
            reason = (
                _DATA_SIZE if kind in DATA_DEPENDENT else f"at these sizes, {first_line(error)}"
            )
            place = where(node) if node is not None else ""
            raise TraceError(f"{name} cannot be read: {reason}{place}") from error
    return read_program(inlined(static), module, name, free)


def read_program(
    program: ExportedProgram, model: nn.Module, name: str, free: tuple[FreeSize, ...] = ()
) -> Network:
    """Read the graph of an exported program whose sizes are all fixed."""
    parameters, placeholders = _parameters(program, model)
    every = dict(model.named_modules(remove_duplicate=False))
    modules = {path: type(module).__name__ for path, module in every.items()}
    namer = Namer(
        path
        for path, module in every.items()
        if {name for name, _ in module.named_children()} <= {"parametrizations"}
    )
    layers: dict[str, Layer] = {}  # by node
    behind: dict[str, tuple[Parameter, ...]] = {}  # parameters a constant node is made from
    outputs: list[str] = []
    memory, constants = Memory(), Constants(program)

    def written(key: str, node: Node, new: str, writer: Node, over: Overlap | None) -> str:
        """The layer of a tensor after a view of it was written into."""
        made, sources = f"{node.name} after {writer.name}", (key, new)
        constant = all(source in behind for source in sources)
        if constant:
            behind[made] = tuple(p for source in sources for p in behind[source])
        taken = [i for i, s in enumerate(sources) if s in layers and (constant or s not in behind)]
        known = layers.get(key) or layers[new]
        path = known.path
        layers[made] = Layer(
            name=namer.name(writer, "write", path, False, True),
            path=path,
            operation=Operation("write", "write", None, MappingProxyType({"overlap": over})),
            inputs=tuple(layers[sources[i]].name for i in taken),
            places=tuple(taken),
            parameters=(),
            operands=(*tensor_types(node)[:1], *tensor_types(writer)[:1]),
            results=tensor_types(node),
            source=source_of(writer),
            node=made,
            constant=constant,
        )
        return made

    for node in program.graph.nodes:
        if node.op == "output":
            outputs = [memory.key(n, written) for n in node.all_input_nodes]
        if node.op in _SILENT or (node.op == "call_function" and node.meta.get("val") is None):
            continue
        if _is_misplaced(node):
            continue
        if node.name in placeholders:
            behind[node.name] = placeholders[node.name]
            memory.add(node)
            continue
        sources = _sources(node)
        keys = [memory.key(s, written) for s in sources]
        memory.add(node)
        direct = [p for s in sources if s.op == "placeholder" for p in behind.get(s.name, ())]
        used = [p for key in keys for p in behind.get(key, ())]
        constant = node.op != "placeholder" and not any(
            key in layers and key not in behind for key in keys
        )
        if constant:
            behind[node.name] = tuple(dict.fromkeys(used))
        taken = [
            i for i, key in enumerate(keys) if key in layers and (constant or key not in behind)
        ]
        operation = (
            Operation("input", "input") if node.op == "placeholder" else read_operation(node)
        )
        if operation.kind == "index" and (picks := constants.picks(node)) is not None:
            settings = MappingProxyType({**operation.settings, "picks": picks})
            operation = replace(operation, settings=settings)
        path = namer.path(node, [alias for p in direct for alias in (p.name, *p.aliases)])
        title = operation.label or operation.name
        layers[node.name] = Layer(
            name=namer.name(node, title, path, bool(used) and not constant, constant),
            path=path,
            operation=operation,
            inputs=tuple(layers[keys[i]].name for i in taken),
            places=tuple(taken),
            parameters=() if constant else tuple(dict.fromkeys(used)),
            operands=tuple(kind for s in sources for kind in tensor_types(s)[:1]),
            results=tensor_types(node),
            source=source_of(node),
            node=node.name,
            constant=constant,
        )  # fmt: skip
    return Network(
        name=name,
        layers=tuple(layers.values()),
        outputs=tuple(layers[node].name for node in outputs if node in layers),
        parameters=MappingProxyType(parameters),
        modules=MappingProxyType(modules),
        program=program,
        free=free,
    )


def _parameters(
    program: ExportedProgram, model: nn.Module
) -> tuple[dict[str, Parameter], dict[str, tuple[Parameter, ...]]]:
    """All parameters and buffers by name, and those that each placeholder stands for."""
    names: dict[int, list[str]] = {}
    tensors: dict[str, tuple[Tensor, bool]] = {}
    for buffer, named in (
        (False, model.named_parameters(remove_duplicate=False)),
        (True, model.named_buffers(remove_duplicate=False)),
    ):
        for name, tensor in named:
            names.setdefault(id(tensor), []).append(name)
            tensors[name] = (tensor, buffer)
    found: dict[str, Parameter] = {}
    owner: dict[str, str] = {}
    for aliases in names.values():
        first, *rest = aliases
        tensor, buffer = tensors[first]
        found[first] = Parameter(
            name=first,
            type=tensor_type(tensor),
            aliases=tuple(rest),
            trainable=tensor.requires_grad,
            buffer=buffer,
        )
        owner |= dict.fromkeys(aliases, first)
    placeholders: dict[str, tuple[Parameter, ...]] = {}
    for spec in program.graph_signature.input_specs:
        if spec.kind.name != "USER_INPUT":
            # A constant that the code made itself has no key in the state_dict: no parameter.
            known = spec.target is not None and spec.target in owner
            placeholders[spec.arg.name] = (found[owner[spec.target]],) if known else ()
    return found, placeholders


def _sources(node: Node) -> list[Node]:
    """The nodes among a node's arguments, in order, one that is passed twice kept twice."""
    found: list[Node] = []

    def collect(value: Any) -> None:
        if isinstance(value, Node):
            found.append(value)
        elif isinstance(value, (tuple, list)):
            for item in value:
                collect(item)
        elif isinstance(value, dict):
            collect(list(value.values()))

    collect([node.args, node.kwargs])
    return found
