"""ONNX: by PyTorch's own exporter, with the model's names and values kept."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from convsmith.errors import ArgumentError, ConvsmithError, MissingExtra, last_line
from convsmith.exporting.exported import Value
from convsmith.network import quiet

__all__ = ["Written", "check_installed", "held_by", "write"]

_OLDEST = 18
"""The first opset that PyTorch's exporter writes."""

_MOST_BYTES = (1 << 31) - 1
"""Protocol buffers hold no more."""


@dataclass(frozen=True)
class Written:
    """A model in the format of ONNX.

    Attributes:
        content: the file.
        opset: the version of its operators.
        values: its inputs and outputs.
        weights: the names of the model's parameters and buffers that it holds.
    """

    content: bytes
    opset: int
    values: tuple[Value, ...]
    weights: frozenset[str]


def check_installed() -> None:
    """Refuse to begin without the packages that the exporter needs.

    Raises:
        MissingExtra: naming the line that installs them.
    """
    lacking = [name for name in ("onnx", "onnxscript") if find_spec(name) is None]
    if lacking:
        raise MissingExtra("writing ONNX", extra="onnx", package=" and ".join(lacking))


def held_by(program: ExportedProgram) -> str:
    """Why lengths that are free in a program may not be so in a file; '' if they may.

    ONNX has no pool whose windows follow from the length: they are written for one length.
    """
    for node in program.graph.nodes:
        name = getattr(node.target, "__name__", "")
        if node.op != "call_function" or not name.startswith("adaptive_"):
            continue
        source, counts = node.args[0].meta["val"], node.args[1]
        lengths = source.shape[-len(counts) :]
        if any(
            count != 1 and not isinstance(n, int) for n, count in zip(lengths, counts, strict=True)
        ):
            return "ONNX has no adaptive pools"
    return ""


def write(
    program: ExportedProgram,
    names: Mapping[str, str],
    opset: int | None,
    inputs: Sequence[str] = (),
    outputs: Sequence[str] = (),
) -> Written:
    """Translate a program.

    Args:
        program: with sizes that may be free.
        names: of its free sizes, by symbol.
        opset: the version of the operators; the exporter's own choice unless given.
        inputs: what its inputs are called, in order; the exporter's own names unless given.
        outputs: likewise.

    Raises:
        ArgumentError: for an opset that is not to be had.
        ConvsmithError: for an operation that ONNX has not got, by name, and for weights beyond what
            one file holds.
    """
    from onnxscript.optimizer import fold_constants, remove_unused_nodes

    if opset is not None and (isinstance(opset, bool) or opset < _OLDEST):
        raise ArgumentError(f"opset={opset!r} cannot be written: the oldest is {_OLDEST}")
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            # Unoptimised: the optimiser folds batch norm into weights, which then are no one's.
            made = torch.onnx.export(
                program, dynamo=True, verbose=False, optimize=False, opset_version=opset,
                custom_translation_table=_translations(),
            )  # fmt: skip
            assert made is not None
            model: Any = made.model
            held = _weights(program)
            fold_constants(model, should_fold=lambda node: _folds(node, held))
            _drop_zeros(model, held)
            remove_unused_nodes(model)
        except ConvsmithError:
            raise
        except Exception as error:
            raise ConvsmithError(f"cannot be written as ONNX: {_reason(error)}") from error
        _rename(model, names)
        _call(model, program, inputs, outputs)
        kept = _check_weights(model, held)
        try:
            content = made.model_proto.SerializeToString()
        except ValueError as error:
            raise ConvsmithError(f"one ONNX file holds {_MOST_BYTES:,} bytes: {error}") from error
    return Written(content, model.opset_imports[""], tuple(_values(model)), kept)


def _translations() -> dict[Any, Any]:
    """Of operations that the exporter has not got."""
    from onnxscript import opset18 as op

    def rrelu(
        value: Any, noise: Any, lower: float = 1 / 8, upper: float = 1 / 3, *rest: Any, **more: Any
    ) -> Any:
        # Its slope is drawn in training alone; a model that draws would not agree with the file.
        return op.LeakyRelu(value, alpha=(lower + upper) / 2), noise

    return {torch.ops.aten.rrelu_with_noise_functional.default: rrelu}


def _weights(program: ExportedProgram) -> dict[str, Tensor]:
    """Parameters and buffers, by the names that they have in the model."""
    named: dict[str, Any] = {**program.state_dict, **program.constants}
    return {name: value for name, value in named.items() if isinstance(value, Tensor)}


def _folds(node: Any, weights: Mapping[str, Tensor]) -> bool | None:
    """Whether a constant may take a node's place: not where it is computed from a weight."""
    read = any(value is not None and value.name in weights for value in node.inputs)
    return False if read else None


def _drop_zeros(model: Any, weights: Mapping[str, Tensor]) -> None:
    """Take away the bias of zeros that the exporter gives to convolutions without one.

    To those with three axes it gives one of a wrong shape (onnxscript 0.7.2).
    """
    for node in model.graph:
        if node.op_type not in ("Conv", "ConvTranspose") or len(node.inputs) < 3:
            continue
        bias = node.inputs[2]
        if bias is None or bias.name in weights or bias.const_value is None:
            continue
        if not bias.const_value.numpy().any():
            node.replace_input_with(2, None)


def _rename(model: Any, names: Mapping[str, str]) -> None:
    """Give free sizes their names, also within expressions."""
    import onnx_ir as ir

    def renamed(dim: Any) -> Any:
        if not isinstance(dim, ir.SymbolicDim) or dim.value is None:
            return dim
        text = re.sub(r"[A-Za-z_]\w*", lambda m: names.get(m[0], m[0]), str(dim.value))
        return ir.SymbolicDim(text)

    graph = model.graph
    results = [value for node in graph for value in node.outputs]
    for value in {id(v): v for v in (*graph.inputs, *graph.outputs, *results)}.values():
        if value.shape is not None:
            value.shape = ir.Shape([renamed(dim) for dim in value.shape])


def _call(
    model: Any, program: ExportedProgram, inputs: Sequence[str], outputs: Sequence[str]
) -> None:
    """Give inputs and outputs their names; what had such a name gets another."""
    graph = model.graph
    wanted = dict(zip(program.graph_signature.user_inputs, inputs, strict=False))
    pairs = [(value, wanted[value.name]) for value in graph.inputs if value.name in wanted]
    pairs += [
        (value, name)
        for value, name in zip(graph.outputs, outputs, strict=False)
        if value.producer() is not None
    ]
    held = {value.name: value for value in (*graph.inputs, *graph.initializers.values())}
    held |= {value.name: value for node in graph for value in node.outputs}
    for value, name in pairs:
        other = held.get(name)
        if other is value or name in graph.initializers:
            continue
        if other is not None:
            free = name
            while free in held:
                free += "_"
            other.name = free
            held[free] = other
        del held[value.name]
        value.name = name
        held[name] = value


def _check_weights(model: Any, held: Mapping[str, Tensor]) -> frozenset[str]:
    """The names of the weights in the file, once they are found to be the model's, bit for bit.

    Raises:
        ConvsmithError: for one that differs.
    """
    kept = set()
    for name, value in model.graph.initializers.items():
        if name not in held:
            continue
        kept.add(name)
        own = held[name].detach().cpu().contiguous()
        if value.const_value.tobytes() != own.numpy().tobytes():
            raise ConvsmithError(f"the exporter changed {name!r}: nothing is written")
    return frozenset(kept)


def _values(model: Any) -> Any:
    for role, values in (("input", model.graph.inputs), ("output", model.graph.outputs)):
        for value in values:
            shape = [] if value.shape is None else value.shape
            sizes = tuple(dim if isinstance(dim, int) else str(dim.value) for dim in shape)
            yield Value(value.name, role, sizes)


def _reason(error: BaseException) -> str:
    """The operator that has no translation, where that is the reason; else the last line."""
    cause: BaseException | None = error
    while cause is not None:
        found = re.search(r"No ONNX function found for <OpOverload\(op='([\w.:]+)'", str(cause))
        if found:
            return f"ONNX has no {found[1]}"
        if cause.__cause__ is None:
            return last_line(cause)
        cause = cause.__cause__
    return last_line(error)
