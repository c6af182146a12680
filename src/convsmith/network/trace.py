"""`trace`: from a model and an example to a `Network`, through `torch.export`."""

from __future__ import annotations

import logging
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import Node

from convsmith.errors import ArgumentError, ConvsmithError, TraceError
from convsmith.network.naming import Namer
from convsmith.network.network import Layer, Network, Parameter
from convsmith.network.operations import Operation
from convsmith.network.reading import read_operation, tensor_type, tensor_types

__all__ = ["example_inputs", "quiet", "trace", "untouched"]

_SILENT = {"output", "get_attr"}
_LIBRARIES = (f"{Path(torch.__file__).parent}/", f"{Path(__file__).parents[1]}/")


def trace(model: nn.Module, example: Any) -> Network:
    """Read a model into a `Network`, as it computes in evaluation mode.

    Args:
        model: any module that `torch.export` captures; it is left exactly as it was. It may live
            on the meta device: nothing is allocated or computed.
        example: a tensor; a shape such as `(1, 3, 224, 224)`; a tuple or list of these for several
            positional inputs; or a dict of them for keyword inputs.

    Raises:
        ArgumentError: for an example that is none of these.
        TraceError: for a model that cannot be captured, or that refuses the example: the reason,
            the layer's path and the line of the user's code.

    >>> net = trace(nn.Conv2d(3, 8, 3, stride=2), (1, 3, 9, 9))
    >>> net.layers[-1].operation.arithmetic
    Conv(3, 8, kernel_size=3, stride=2)
    """
    if isinstance(model, ExportedProgram):
        return read_program(model, model.module(check_guards=False), "ExportedProgram")
    if not isinstance(model, nn.Module):
        raise ArgumentError(f"expected a torch.nn.Module, not {type(model).__name__}")
    args, kwargs = example_inputs(model, example)
    with untouched(model), quiet():
        try:
            with torch.no_grad():
                program = torch.export.export(model, args, kwargs, strict=False)
        except ConvsmithError:
            raise
        except Exception as error:
            raise TraceError(_explain(model, error)) from error
        return read_program(program, model, type(model).__name__)


def example_inputs(model: nn.Module, example: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Turn an example (tensor, shape, several, or a dict of them) into arguments for `model`.

    Tensors made from a shape have the device and type of the model's first floating tensor.
    """
    tensors = (*model.parameters(), *model.buffers())
    like = next((t for t in tensors if t.is_floating_point()), torch.empty(0))

    def tensor(value: Any) -> Any:
        if not _is_shape(value):
            return value
        if any(length < 0 for length in value):
            raise ArgumentError(f"a shape has no negative lengths: {tuple(value)}")
        return torch.zeros(*value, device=like.device, dtype=like.dtype)

    if isinstance(example, Mapping):
        return (), {name: tensor(value) for name, value in example.items()}
    if isinstance(example, Tensor) or _is_shape(example):
        return (tensor(example),), {}
    if isinstance(example, Sequence) and example and not isinstance(example, str):
        return tuple(tensor(value) for value in example), {}
    raise ArgumentError(
        f"an example is a tensor, a shape, or several of them, not {type(example).__name__}"
    )


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Put every module into evaluation mode, then give back each flag and the random state."""
    flags = [(module, module.training) for module in model.modules()]
    try:
        with torch.random.fork_rng(devices=[]):
            for module, _ in flags:
                module.training = False
            yield
    finally:
        for module, flag in flags:
            module.training = flag


def read_program(program: ExportedProgram, model: nn.Module, name: str) -> Network:
    """Read the graph of an exported program."""
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
    for node in program.graph.nodes:
        if node.op == "output":
            outputs = [n.name for n in node.all_input_nodes]
        if node.op in _SILENT or (node.op == "call_function" and node.meta.get("val") is None):
            continue
        if node.name in placeholders:
            behind[node.name] = placeholders[node.name]
            continue
        sources = _sources(node)
        direct = [p for s in sources if s.op == "placeholder" for p in behind.get(s.name, ())]
        used = [p for s in sources for p in behind.get(s.name, ())]
        constant = node.op != "placeholder" and not any(
            s.name in layers and s.name not in behind for s in sources
        )
        if constant:
            behind[node.name] = tuple(dict.fromkeys(used))
        taken = [
            i
            for i, source in enumerate(sources)
            if source.name in layers and (constant or source.name not in behind)
        ]
        operation = (
            Operation("input", "input") if node.op == "placeholder" else read_operation(node)
        )
        path = namer.path(node, [alias for p in direct for alias in (p.name, *p.aliases)])
        layers[node.name] = Layer(
            name=namer.name(node, operation.name, path, bool(used) and not constant, constant),
            path=path,
            operation=operation,
            inputs=tuple(layers[sources[i].name].name for i in taken),
            places=tuple(taken),
            parameters=() if constant else tuple(dict.fromkeys(used)),
            operands=tuple(kind for s in sources for kind in tensor_types(s)[:1]),
            results=tensor_types(node),
            source=_source(node),
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


def _source(node: Node) -> str:
    """The innermost line of the user's own code, as `file.py:12`."""
    lines = (node.meta.get("stack_trace") or "").splitlines()
    for line in reversed(lines):
        parts = line.strip().split(", ")
        if line.strip().startswith('File "') and not _is_library(path := parts[0][6:-1]):
            return f"{Path(path).name}:{parts[1].removeprefix('line ')}"
    return ""


def _explain(model: nn.Module, error: Exception) -> str:
    """One line: the reason, the layer's path, and where in the user's code it happened."""
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if type(error).__name__ == "GuardOnDataDependentSymNode":
        reason = "its control flow depends on the values of a tensor"
    paths = {id(module): path for path, module in model.named_modules()}
    path, place = "", ""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        path = paths.get(id(frame.f_locals.get("self")), path)
    for summary in traceback.extract_tb(error.__traceback__):
        if not _is_library(summary.filename):
            place = f"{Path(summary.filename).name}:{summary.lineno}: {summary.line}"
    where = f" in layer {path!r}" if path else ""
    return f"{type(model).__name__} cannot be traced: {reason}{where}" + (
        f" ({place})" if place else ""
    )


def _is_library(filename: str) -> bool:
    return filename.startswith(("<", *_LIBRARIES))


def _is_shape(value: Any) -> bool:
    return (
        isinstance(value, (tuple, list, torch.Size))
        and len(value) > 0
        and all(isinstance(length, int) and not isinstance(length, bool) for length in value)
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Keep back what is printed while a model is traced; errors are exceptions anyway.

    A model that prints in its forward pass must not write into a report on standard output.
    """
    logger = logging.getLogger("torch")
    level = logger.level
    with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        warnings.simplefilter("ignore")
        logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            logger.setLevel(level)
