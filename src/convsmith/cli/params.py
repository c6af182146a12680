"""`convsmith params conv`: what one convolution costs, and what each of its parameters does."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.text import Text

from convsmith.arithmetic import Conv, ConvTranspose, parameter_table, summary
from convsmith.arithmetic.normalise import per_axis
from convsmith.cli.output import Force, Json, check_targets, emit
from convsmith.draw.options import build_layer, named_axes, parse_channels, parse_size
from convsmith.errors import ArgumentError

__all__ = ["app", "command", "report"]

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

command = app

_SIZE = {"metavar": "SIZE"}


@app.callback()
def params() -> None:
    """Show what a convolution costs, and what each of its parameters does."""


@app.command("conv")
def conv(
    size: Annotated[
        str,
        typer.Option("--in", metavar="ROWSxCOLUMNS", help="Size of the input, such as 128x128."),
    ] = "224x224",
    channels: Annotated[
        str | None,
        typer.Option(
            metavar="IN:OUT", help="1:1 by default; with --groups, one channel per group."
        ),
    ] = None,
    kernel: Annotated[
        str, typer.Option(help="Size of the kernel, such as 3 or 3x2.", **_SIZE)
    ] = "3",
    stride: Annotated[str, typer.Option(help="Step of the kernel.", **_SIZE)] = "1",
    padding: Annotated[
        str, typer.Option(help="same, valid, or sizes: 1, 1x2, or 0:1x2:3.", **_SIZE)
    ] = "0",
    dilation: Annotated[str, typer.Option(help="Distance between the taps.", **_SIZE)] = "1",
    groups: Annotated[int, typer.Option(help="Number of groups.")] = 1,
    bias: Annotated[bool, typer.Option(help="Whether a bias is added.")] = True,
    padding_mode: Annotated[
        str, typer.Option(help="zeros, reflect, replicate or circular.")
    ] = "zeros",
    transposed: Annotated[bool, typer.Option("--transposed", help="A transposed one.")] = False,
    output_padding: Annotated[
        str, typer.Option(help="With --transposed: positions added at the end.", **_SIZE)
    ] = "0",
    dims: Annotated[
        int | None, typer.Option(help="1, 2 or 3 axes; by default as many as the sizes have.")
    ] = None,
    batch: Annotated[int, typer.Option(help="Images at a time.")] = 1,
    language: Annotated[str, typer.Option(help="en or zh.")] = "en",
    json: Json = None,
    force: Force = False,
) -> None:
    """Show sizes, parameters, operations and bytes of one convolution, and all its parameters."""
    check_targets(json, force=force)
    if batch < 1:
        raise ArgumentError(f"--batch must be at least 1, not {batch}")
    lengths = parse_size("--in", size)
    ins, outs = parse_channels(channels, groups)
    named = named_axes(dims, size, kernel, stride, dilation, output_padding, padding=padding)
    axes = named or (2 if isinstance(lengths, int) else len(lengths))
    layer = build_layer(
        axes, kernel, stride, padding, dilation, (ins, outs), groups, padding_mode,
        transposed=transposed, output_padding=output_padding, bias=bias,
    )  # fmt: skip
    assert isinstance(layer, (Conv, ConvTranspose))
    each = per_axis("--in", lengths, axes)
    text = f"{summary(layer, each, batch, language)}\n\n{parameter_table(language)}"
    emit(report(layer, each, batch), table=Text(text, no_wrap=True), json=json, force=force)


def report(layer: Conv | ConvTranspose, size: tuple[int, ...], batch: int = 1) -> dict[str, Any]:
    """What one convolution costs, as plain data.

    >>> costs = report(Conv(3, 10, 3), (128, 128))
    >>> costs["output"], costs["params"], costs["macs"]
    ([1, 10, 126, 126], 280, 4286520)
    """
    shape = (batch, layer.in_channels, *size)
    return {
        "report": "params",
        "version": 1,
        "layer": repr(layer),
        "input": list(shape),
        "output": list(layer.output_shape(shape)),
        "weight": list(layer.weight_shape),
        "params": layer.params,
        "macs": layer.macs(size, batch),
        "macs_on_values": layer.real_macs(size, batch),
        "flops": layer.flops(size, batch),
        "bytes": layer.bytes_moved(size, batch),
        "separable_ratio": float(layer.cost_ratio()) if isinstance(layer, Conv) else None,
    }
