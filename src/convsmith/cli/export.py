"""`convsmith export MODEL --input 1,3,224,224 -o net.onnx`, or `--target x86-64-v3 -o out/`."""

from __future__ import annotations

from typing import Annotated

import typer

from convsmith.cli.inputs import INPUT, read_inputs
from convsmith.cli.inspect import MODEL
from convsmith.cli.output import Force, Json, Original, check_targets, emit, talk
from convsmith.errors import ArgumentError

__all__ = ["command"]


def command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=MODEL)],
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="File to write: net.onnx or net.cvs; with --target, a folder.",
        ),
    ],
    shapes: Annotated[
        list[str] | None, typer.Option("--input", metavar="N,C,H,W", help=INPUT)
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(metavar="MACHINE", help="Write a C library for it: x86-64-v3, for example."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of the C library and its functions.")
    ] = None,
    partial: Annotated[
        bool,
        typer.Option("--partial", help="Let the C library end where only PyTorch could go on."),
    ] = False,
    fixed: Annotated[
        bool, typer.Option("--fixed", help="Keep the sizes of the input, instead of any.")
    ] = False,
    opset: Annotated[
        int | None, typer.Option(metavar="N", help="Version of ONNX's operators, from 18.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Compare the file with the model.")
    ] = True,
    weights: Annotated[
        str | None, typer.Option(metavar="FILE", help="The trained weights.")
    ] = None,
    original: Original = None,
    json: Json = None,
    force: Force = False,
) -> None:
    """Write a network as an ONNX file, a compiled one or a C library; compare it with the model."""
    if target is None:
        check_targets(output, json, force=force)
    else:
        check_targets(json, force=force)
    if output == "-" or (target is None and not output.lower().endswith((".onnx", ".cvs"))):
        raise ArgumentError(
            f"--output {output!r}: expected a name like net.onnx or net.cvs; or a folder, and "
            "--target x86-64-v3, for example"
        )
    example = read_inputs(shapes or [])
    from torch.export import ExportedProgram

    from convsmith.cli.models import load_model
    from convsmith.exporting import export

    network = load_model(model, weights, original)
    if example is None and not isinstance(network, ExportedProgram):
        raise ArgumentError("which input? pass its shape: --input 1,3,224,224")
    written = export(
        network, example, output, target=target, name=name, partial=partial, fixed=fixed,
        opset=opset, check=check, force=force,
    )  # fmt: skip
    talk(f"wrote {written.path}")
    for note in written.notes:
        talk(note)
    emit(written, json=json, force=force)
