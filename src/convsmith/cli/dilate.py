"""`convsmith dilate MODEL --input 1,3,512,512 --output-stride 8 -o fine/`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from convsmith.cli.inspect import INPUT, MODEL, parse_shape
from convsmith.cli.output import Force, Html, Json, check_targets, console, emit, talk
from convsmith.errors import ArgumentError, ModelError

__all__ = ["command"]

RATES = "Dilations of your own: PATH=RATE, or one number for each dilated convolution; repeat it."


def command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=MODEL)],
    shapes: Annotated[
        list[str] | None, typer.Option("--input", metavar="N,C,H,W", help=INPUT)
    ] = None,
    output_stride: Annotated[
        int | None, typer.Option(help="The largest cumulative stride that is left.")
    ] = None,
    layers: Annotated[
        list[str] | None,
        typer.Option("--layers", metavar="PATH", help="Or a module that loses its stride; repeat."),
    ] = None,
    rates: Annotated[
        list[str] | None, typer.Option("--rates", metavar="PATH=RATE", help=RATES)
    ] = None,
    features: Annotated[
        list[str] | None,
        typer.Option("--features", metavar="PATH", help="A module whose result is judged; repeat."),
    ] = None,
    weights: Annotated[
        str | None, typer.Option(metavar="FILE", help="The trained weights.")
    ] = None,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FOLDER", help="Where to write it.")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict/--no-strict", help="Refuse what is not exact.")
    ] = True,
    seed: Annotated[int, typer.Option(help="Of the random inputs.")] = 0,
    json: Json = None,
    html: Html = None,
    force: Force = False,
) -> None:
    """Trade a trained network's strides for dilations, and prove what it gives on the old grid."""
    check_targets(json, html, force=force)
    inputs = [parse_shape(text) for text in shapes or []]
    if not inputs:
        raise ArgumentError("which input? pass its shape: --input 1,3,224,224")
    if output and not force and Path(output, "certificate.json").exists():
        raise ArgumentError(f"{output} holds a dilated model: pass --force to overwrite it")
    from torch import nn

    from convsmith.cli.models import load_model
    from convsmith.rewrite import dilate

    network = load_model(model, weights)
    if not isinstance(network, nn.Module):
        raise ModelError(f"{model} is an exported program: its modules cannot be replaced")
    result = dilate(
        network,
        inputs[0] if len(inputs) == 1 else inputs,
        output_stride=output_stride,
        layers=layers or None,
        rates=parse_rates(rates or []),
        features=features or None,
        strict=strict,
        seed=seed,
    )
    certificate = result.certificate
    if output:
        talk(f"wrote {result.save(output, origin=model, force=force)}")
    for reason in (*certificate.reasons, *certificate.notes):
        talk(reason)
    if json is None and html is None:
        console().print(certificate.figures_table())
        console().print()
    emit(
        certificate,
        table=certificate.table(),
        page=certificate.to_html,
        json=json,
        html=html,
        force=force,
    )


def parse_rates(words: list[str]) -> dict[str, int] | list[int] | None:
    """Read dilations: of modules by name, or one for each dilated convolution.

    >>> parse_rates(["layer4=3"]), parse_rates(["1,2,5"]), parse_rates([])
    ({'layer4': 3}, [1, 2, 5], None)
    """
    if not words:
        return None
    try:
        if all("=" in word for word in words):
            pairs = (word.rpartition("=") for word in words)
            return {path: int(rate) for path, _, rate in pairs}
        return [int(n) for word in words for n in word.split(",")]
    except ValueError:
        raise ArgumentError(
            f"--rates {' '.join(words)!r}: expected PATH=RATE, or numbers such as 1,2,5"
        ) from None
