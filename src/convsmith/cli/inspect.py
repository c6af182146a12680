"""`convsmith inspect MODEL --input 1,3,224,224`: what every layer costs."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convsmith.cli.bounds import within
from convsmith.cli.inputs import INPUT, read_inputs
from convsmith.cli.output import (
    Csv,
    Force,
    Html,
    Json,
    Original,
    as_json,
    check_targets,
    console,
    emit,
    talk,
    write,
)
from convsmith.errors import ArgumentError

if TYPE_CHECKING:
    from convsmith.cli.views import View

__all__ = ["command"]

MODEL = (
    "Network: torchvision:NAME, timm:NAME, file.py:callable, package.module:callable, .pt2, .onnx"
)


def command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=MODEL)],
    shapes: Annotated[
        list[str] | None, typer.Option("--input", metavar="[NAME=]N,C,H,W[:TYPE]", help=INPUT)
    ] = None,
    axes: Annotated[
        str | None,
        typer.Option(
            metavar="LETTERS",
            help="What the image's dimensions are: N batch, C channels, any other letter space or "
            "time, such as NHWC or NTCHW. By default it is seen from the first convolution.",
        ),
    ] = None,
    run: Annotated[
        bool,
        typer.Option(
            "--run", help="Run the model once and count what ran, as where it cannot be traced."
        ),
    ] = False,
    weights: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Trained weights; only --effective needs them."),
    ] = None,
    sort: Annotated[
        str, typer.Option(help="Sort by order, params, macs, flops or bytes (largest first).")
    ] = "order",
    by: Annotated[str, typer.Option(help="One row per: layer or module.")] = "layer",
    depth: Annotated[
        int,
        typer.Option(help="With --by module: depth of module path at which rows are grouped."),
    ] = 1,
    every: Annotated[
        bool, typer.Option("--all", help="Include layers without parameters or operations.")
    ] = False,
    receptive_field: Annotated[
        bool, typer.Option("--receptive-field", help="Add the receptive field of each layer.")
    ] = False,
    holes: Annotated[
        bool,
        typer.Option(
            "--holes", help="Add the holes in the receptive field, and what would close them."
        ),
    ] = False,
    memory: Annotated[
        bool,
        typer.Option("--memory", help="Add the peak memory, and the tensors alive at the peak."),
    ] = False,
    latency: Annotated[
        bool,
        typer.Option("--latency", help="Add the time of each layer, measured on this machine."),
    ] = False,
    sizes: Annotated[
        bool,
        typer.Option(
            "--sizes", help="Add which input sizes work, and what is lost to rounding down."
        ),
    ] = False,
    as_tool: Annotated[
        str | None,
        typer.Option(
            "--as",
            metavar="TOOL",
            help="Add what fvcore, ptflops, thop, torchinfo or "
            "torch would report, and why it differs.",
        ),
    ] = None,
    compare: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Add a second network, side by side.")
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Layer to examine with --holes or --effective."),
    ] = None,
    effective: Annotated[
        bool,
        typer.Option(
            "--effective",
            help="Add the effective receptive field: where the gradient is actually concentrated.",
        ),
    ] = False,
    data: Annotated[
        str | None,
        typer.Option(metavar="SOURCE", help="Images for --effective, specified as in `lighten`."),
    ] = None,
    original: Original = None,
    json: Json = None,
    csv: Csv = None,
    html: Html = None,
    force: Force = False,
) -> None:
    """Count a network's parameters, MACs, FLOPs and bytes, layer by layer."""
    check_targets(json, csv, html, force=force)
    within("--depth", depth, 1, 1000)
    inputs = read_inputs(shapes or [])
    if inputs is None and not model.endswith(".pt2"):
        raise ArgumentError(
            "the input's shape is missing: pass --input, such as --input 1,3,224,224"
        )
    if data is not None and not effective:
        raise ArgumentError("--data is used only with --effective")
    from convsmith.cli import views
    from convsmith.cli.models import load_model
    from convsmith.measure import inspect
    from convsmith.measure.conventions import warnings_of

    # Where only --compare names a folder, --model is for that one.
    only_second = compare is not None and Path(compare).is_dir() and not Path(model).is_dir()
    network = load_model(model, weights, None if only_second else original)
    report = inspect(network, inputs, axes=axes, run=run or None)
    table = report.table(sort=sort, by=by, depth=depth, all_layers=every)
    selected: list[View | None] = []
    if receptive_field:
        selected.append(views.receptive_fields(report))
    if holes or (layer and not effective):
        selected.append(views.holes(report, layer))
    if effective:
        selected.append(views.effective(report, layer, data))
    if memory:
        selected.append(views.memory(report))
    if latency:
        selected.append(views.latency(report))
    if sizes:
        selected.append(views.sizes(report))
    if as_tool is not None:
        selected.append(views.counted(report, as_tool))
    if compare is not None:
        second = load_model(compare, original=original if Path(compare).is_dir() else None)
        selected.append(views.compare(report, inspect(second, inputs, axes=axes, run=run or None)))
    shown = [view for view in selected if view is not None]
    warnings = warnings_of(report.network) if report.network else ()
    if axes is None and report.unusual_axes:
        talk(f"The image's axes are taken to be {report.unusual_axes}; --axes says otherwise.")
    for line in warnings:
        talk(line)
    if json is not None:
        plain = {key: value for view in shown for key, value in view.data.items()}
        if warnings:
            plain["warnings"] = list(warnings)
        write(json, as_json(report.to_dict() | plain), force=force)
    if json is None or csv is not None or html is not None:
        if csv is None and html is None:
            for part in (part for view in shown for part in view.tables):
                console().print(part)
                console().print()
        page = partial(report.to_html, [view.section for view in shown])
        emit(report, table=table, page=page, csv=csv, html=html, force=force)
