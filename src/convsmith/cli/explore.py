"""`convsmith explore`: every parameter of a convolution as a control, in the browser."""

from __future__ import annotations

from typing import Annotated

import typer

from convsmith.cli.output import talk
from convsmith.errors import ArgumentError
from convsmith.text import read_shape

__all__ = ["command"]


def command(
    port: Annotated[
        int | None, typer.Option(help="Port; default: first free port from 2718.")
    ] = None,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")
    ] = True,
    model: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Network to walk through, specified as in `inspect`."),
    ] = None,
    shape: Annotated[
        str | None,
        typer.Option(
            "--input", metavar="N,C,H,W", help="Input shape of --model, such as 1,3,224,224."
        ),
    ] = None,
    size: Annotated[str | None, typer.Option(help="Input size, such as 7 or 7x5.")] = None,
    kernel: Annotated[str | None, typer.Option(help="Kernel size, such as 3 or 3x1.")] = None,
    stride: Annotated[str | None, typer.Option(help="Stride, such as 2 or 2x1.")] = None,
    padding: Annotated[
        str | None, typer.Option(help="Padding: a number, same, valid, or top,bottom,left,right.")
    ] = None,
    dilation: Annotated[str | None, typer.Option(help="Dilation, such as 2 or 2x1.")] = None,
    groups: Annotated[str | None, typer.Option(help="Number of channel groups.")] = None,
    channels: Annotated[
        str | None, typer.Option(metavar="IN,OUT", help="Input and output channels.")
    ] = None,
    transposed: Annotated[
        bool, typer.Option("--transposed", help="Start with a transposed convolution.")
    ] = False,
    stack: Annotated[
        str | None,
        typer.Option(
            metavar="LAYERS", help="Stack whose receptive field to show, such as 3d2-3d2-p2-3s2."
        ),
    ] = None,
    language: Annotated[str, typer.Option(help="Language of the page: en or zh.")] = "en",
) -> None:
    """Try every parameter of a convolution in the browser; served on this machine only."""
    from convsmith.explore.phrases import as_language
    from convsmith.explore.serve import EXPLORER, address, free_port, make_app, serve
    from convsmith.explore.stack import stack_of, written
    from convsmith.explore.state import LayerState
    from convsmith.explore.walk import use_loader

    if shape is not None and model is None:
        raise ArgumentError("--input is for --model: pass both")
    asked = {
        "size": size,
        "kernel": kernel,
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "groups": groups,
        "kind": "transposed" if transposed else None,
    }
    if channels is not None:
        ins, _, outs = channels.partition(",")
        asked |= {"in": ins, "out": outs or ins}
    query = {key: value for key, value in asked.items() if value is not None}
    for line in LayerState.from_query(query)[1]:
        raise ArgumentError(line.partition(";")[0].replace("The address says", "got"))
    if as_language(language) == "zh":
        query["lang"] = "zh"
    if stack is not None:
        query |= {"view": "stack", "stack": written(stack_of(stack))}
    if model is not None:
        query |= {"view": "model", "model": model}
        if shape is not None:
            query["shape"] = ",".join(map(str, read_shape(shape, "--input")))

    from convsmith.cli.models import load_model

    use_loader(load_model, trusted=model)
    app = make_app({"/": EXPLORER})
    chosen = free_port(port)
    url = address(chosen, query=query)
    talk(f"exploring at {url} (Ctrl+C ends it)")
    serve(app, chosen, url, browser=browser)
