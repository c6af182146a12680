"""`convsmith lighten MODEL --weights FILE --data FOLDER --speedup 4 -o light/`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from convsmith.cli.inspect import MODEL
from convsmith.cli.output import Force, Html, Json, check_targets, console, emit, steps, talk
from convsmith.errors import ArgumentError, ModelError

__all__ = ["command"]

DATA = (
    "Images: a folder with one folder a class (or flat), IDX files (the format of MNIST), "
    "file.py:loader, or 'digits'."
)


def command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=MODEL)],
    data: Annotated[str, typer.Option(metavar="SOURCE", help=DATA)],
    weights: Annotated[
        str | None, typer.Option(metavar="FILE", help="The trained weights.")
    ] = None,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FOLDER", help="Where to write it.")
    ] = None,
    speedup: Annotated[
        float | None, typer.Option(help="How many times faster an image is to be.")
    ] = None,
    macs: Annotated[
        float | None, typer.Option(help="The most MACs an image: a count, or a fraction.")
    ] = None,
    multiplier: Annotated[
        int | None, typer.Option(help="Depthwise kernels a channel, the same everywhere.")
    ] = None,
    epochs: Annotated[int, typer.Option(help="Epochs of fine-tuning; 0 trains nothing.")] = 0,
    learning_rate: Annotated[float, typer.Option(help="Of fine-tuning, at its peak.")] = 0.02,
    control: Annotated[
        bool, typer.Option(help="Train the same shape from random weights, too.")
    ] = True,
    compiled: Annotated[
        bool, typer.Option("--compiled", help="Also time each network in fused kernels.")
    ] = False,
    images: Annotated[int, typer.Option(help="How many images calibrate it.")] = 512,
    size: Annotated[int | None, typer.Option(help="Resize images to this many pixels.")] = None,
    channels: Annotated[
        int | None, typer.Option(help="Make images grey (1) or colour (3).")
    ] = None,
    skip_broken: Annotated[
        bool, typer.Option("--skip-broken", help="Leave broken images out, and list them.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of every random number.")] = 0,
    json: Json = None,
    html: Html = None,
    force: Force = False,
) -> None:
    """Rewrite a trained network with depthwise separable convolutions."""
    check_targets(json, html, force=force)
    if output and Path(output, "recipe.json").exists() and not force:
        raise ArgumentError(f"{output} holds a lightened model: pass --force to overwrite it")
    from torch import nn

    from convsmith.cli.holdout import Batches, accuracy, train_and_test
    from convsmith.cli.models import load_model
    from convsmith.rewrite import lighten

    network = load_model(model, weights)
    if not isinstance(network, nn.Module):
        raise ModelError(f"{model} is an exported program: its modules cannot be replaced")
    train, test = train_and_test(
        data,
        size=size,
        channels=channels,
        on_error="skip" if skip_broken else "fail",
        seed=seed,
    )
    for path in train.skipped:
        talk(f"skipped {path}: it cannot be read as an image")
    labels = test.labels
    with steps() as progress:
        result = lighten(
            network,
            train.images[:images],
            speedup=speedup,
            macs=macs,
            multiplier=multiplier,
            train=Batches(train.images, train.labels) if epochs else None,
            epochs=epochs,
            learning_rate=learning_rate,
            evaluate=None if labels is None else accuracy(test.images, labels),
            control=control and epochs > 0,
            compiled=compiled,
            seed=seed,
            progress=progress,
        )
    if output:
        talk(f"wrote {result.save(output, origin=model, force=force)}")
    report = result.report
    if json is None and html is None:
        console().print(report.layer_table())
        console().print()
    emit(report, table=report.table(), page=report.to_html, json=json, html=html, force=force)
