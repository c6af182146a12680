"""`export`: a network as a file for other runtimes, or as a C library."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import nn
from torch.export import ExportedProgram

from convsmith.errors import ArgumentError, ConvsmithError, first_line
from convsmith.exporting import onnx
from convsmith.exporting.agreement import compared, ranges_of
from convsmith.exporting.compiled import export_compiled
from convsmith.exporting.exported import Exported
from convsmith.exporting.library.written import ExportedLibrary
from convsmith.importing.network import OnnxNetwork
from convsmith.network import Network, trace
from convsmith.network.example import example_inputs
from convsmith.network.lock import LOCK
from convsmith.report.saving import as_path, check_target, save_bytes
from convsmith.runtime.graph.free import Free, captures, size_names

__all__ = ["export"]


def export(
    model: nn.Module | ExportedProgram,
    example: Any,
    path: str | os.PathLike[str],
    *,
    target: str | None = None,
    name: str | None = None,
    partial: bool = False,
    fixed: bool = False,
    opset: int | None = None,
    check: bool = True,
    force: bool = False,
) -> Exported:
    """Write a network, as it computes in evaluation mode, for programs without PyTorch.

    In an ONNX file batch and size are left free where the model's code allows that; weights keep
    the names and the values that they have in the model. Where ONNX Runtime is installed the file
    is run before it is written, at two sizes if any is free, and compared with the model. A `.cvs`
    holds what `compile` makes for the example, for `convsmith.load`; it is loaded again and
    compared, too. With a `target` a folder becomes a C library for that machine, for the example's
    size alone: header, static and shared library, weights, sources, and an example; the result is
    then an `ExportedLibrary`.

    Args:
        model: any module that `torch.export` captures, or an exported program; it is left as it
            was, also while other threads use it.
        example: a tensor, a shape or several, as for `trace`. For an exported program, whose sizes
            are settled, None stands for those that it was exported with.
        path: the file, `*.onnx` or `*.cvs`; with a target, the folder.
        target: the machine that a C library is for, such as `x86-64-v3`.
        name: of that library and its functions; `net` unless given.
        partial: a C library may stop where only torch could go on: its outputs are what the rest of
            the network reads, and `notes` and its header name that rest.
        fixed: keep the sizes of the example: some runtimes take only such ONNX files.
        opset: the version of ONNX's operators, from 18; PyTorch's choice unless given.
        check: whether the file is compared with the model.
        force: replace a file that exists; write into a folder that is not empty.

    Raises:
        ArgumentError: for another ending, a file that exists, a folder that is not empty, a machine
            that no library is written for, or a wrong example.
        TraceError: for a model that cannot be captured.
        ConvsmithError: for an operation that ONNX has not got, layers that no kernel computes, and
            where what was written disagrees with the model; nothing is written then.
        MissingExtra: without onnx and onnxscript, or a compiler for the target.

    >>> import tempfile
    >>> from pathlib import Path
    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     written = export(net, (1, 3, 16, 16), Path(folder, "net.onnx"))
    >>> written.parameters, written.values[0].shape
    (224, ('batch', 3, 'height', 'width'))
    """
    path = as_path(path)
    holder = model.module(check_guards=False) if isinstance(model, ExportedProgram) else model
    if target is not None:
        if fixed or opset is not None:
            raise ArgumentError(f"fixed and opset are for ONNX, not for target={target!r}")
        return _library(model, holder, example, path, target, name, partial, check, force)
    if path.suffix.lower() not in (".onnx", ".cvs"):
        raise ArgumentError(
            f"cannot export to {str(path)!r}: expected a name like net.onnx or net.cvs, or a "
            "target such as 'x86-64-v3' for a C library"
        )
    if name is not None:
        raise ArgumentError(f"name={name!r} is for a C library, not for {str(path)!r}")
    if partial:
        raise ArgumentError(f"partial=True is for a C library, not for {str(path)!r}")
    _check_model(model)
    check_target(path, force)
    if path.suffix.lower() == ".cvs":
        if opset is not None:
            raise ArgumentError(f"opset={opset!r} is for ONNX, not for {str(path)!r}")
        given = _inputs(model, holder, example)
        return export_compiled(model, holder, given, path, check, force)
    onnx.check_installed()
    network = trace(model, example)
    given = _inputs(model, holder, example)
    # What was read from a file keeps the names by which programs feed it.
    ends = (holder.inputs, holder.outputs) if isinstance(holder, OnnxNetwork) else ()
    checked, gap = "not checked: check=False", None
    refused: ConvsmithError | None = None
    for program, reasons in _programs(model, network, given, fixed):
        try:
            written = _written(network.name, program, opset, ends)
            if check:
                ranges = ranges_of(network)
                checked, gap = compared(holder, written.content, given, written.values, ranges)
        except ArgumentError:
            raise
        except ConvsmithError as error:
            refused = refused or error
            continue
        notes = reasons
        break
    else:
        assert refused is not None
        raise refused
    if refused is not None:
        notes += (f"with more sizes free: {first_line(refused)}",)
    count, unread = _counted(network, written.weights)
    if unread:
        notes += (f"left out, as nothing reads them: {', '.join(unread)}",)
    save_bytes(path, written.content, force)
    return Exported(
        path, "onnx", written.opset, count, len(written.content), written.values, checked, gap,
        notes,
    )  # fmt: skip


def _library(
    model: nn.Module | ExportedProgram,
    holder: nn.Module,
    example: Any,
    path: Path,
    target: str,
    name: str | None,
    partial: bool,
    check: bool,
    force: bool,
) -> ExportedLibrary:
    if path.suffix.lower() in (".onnx", ".cvs"):
        raise ArgumentError(f"target={target!r} is for a C library in a folder, not for {path}")
    if find_spec("halide") is None:
        raise ConvsmithError("a C library needs Halide, which has no wheel for this machine")
    from convsmith.exporting.library.write import check_library, export_library

    name = "net" if name is None else name
    _check_model(model)
    check_library(path, target, name, force)
    given = _inputs(model, holder, example)
    return export_library(model, holder, given, path, target, name, check, partial)


def _check_model(model: Any) -> None:
    if not isinstance(model, (nn.Module, ExportedProgram)):
        raise ArgumentError(f"expected a torch.nn.Module, not {type(model).__name__}")
    if type(model).__name__ == "Compiled" and hasattr(model, "regions"):
        raise ArgumentError("a compiled network is machine code: export the model it was made from")


def _inputs(model: Any, holder: nn.Module, example: Any) -> Any:
    if example is None and isinstance(model, ExportedProgram):
        return model.example_inputs or ((), {})
    return example_inputs(holder, example)


def _written(
    name: str, program: ExportedProgram, opset: int | None, ends: Sequence[Sequence[str]]
) -> onnx.Written:
    try:
        with LOCK:
            return onnx.write(program, size_names(program), opset, *ends)
    except ConvsmithError as error:
        raise type(error)(f"{name} {error}") from error


def _programs(
    model: nn.Module | ExportedProgram, network: Network, inputs: Any, fixed: bool
) -> Iterator[tuple[ExportedProgram, tuple[str, ...]]]:
    """Programs for ONNX with notes about them, those with most sizes free first."""
    if isinstance(model, ExportedProgram):
        yield (network.program if fixed else model), ()
        return
    if fixed:
        yield network.program, ()
        return
    candidates, held = captures(model, inputs), ""

    def following() -> Free | None:
        with LOCK:
            return next(candidates, None)

    for free in iter(following, None):
        if reason := onnx.held_by(free.program):
            held = reason
            continue
        yield free.program, (f"{held}: the batch alone is free",) if held else free.notes
    yield network.program, (f"{held or 'its code depends on the size'}: all sizes are fixed",)


def _counted(network: Network, weights: frozenset[str]) -> tuple[int, list[str]]:
    """How many trained values a file with these weights holds, and which it lacks."""
    own = [p for p in network.parameters.values() if not p.buffer]
    held = [p for p in own if weights.intersection((p.name, *p.aliases))]
    kept = {p.name for p in held}
    return sum(p.numel for p in held), [p.name for p in own if p.name not in kept]
