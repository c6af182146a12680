"""`convsmith lighten MODEL --weights FILE --data FOLDER --speedup 4 -o light/`."""

from __future__ import annotations

import os
from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from convsmith.arithmetic.normalise import MOST_SEEDS, choice
from convsmith.cli.bounds import within
from convsmith.cli.inspect import MODEL
from convsmith.cli.output import (
    Force,
    Html,
    Json,
    Original,
    check_targets,
    console,
    emit,
    steps,
    talk,
)
from convsmith.errors import ArgumentError, MissingExtra, ModelError
from convsmith.report.saving import check_folder
from convsmith.runtime.precision import PRECISIONS

if TYPE_CHECKING:
    from convsmith.rewrite.lightening.tune.schedule import Curve

__all__ = ["command"]

DATA = (
    "Images: a folder with one folder per class (or flat), IDX files (the format of MNIST), "
    "file.py:loader, or 'digits'."
)


class Precision(StrEnum):
    """What `--tuning-precision` takes."""

    full = "32"
    mixed = "bf16"


def command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=MODEL)],
    data: Annotated[str, typer.Option(metavar="SOURCE", help=DATA)],
    weights: Annotated[
        str | None, typer.Option(metavar="FILE", help="The trained weights.")
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", metavar="FOLDER", help="Folder to write the lightened model to."
        ),
    ] = None,
    speedup: Annotated[
        float | None,
        typer.Option(help="Target: this many times faster per image (2 if no target is given)."),
    ] = None,
    latency_ms: Annotated[
        float | None,
        typer.Option(metavar="MS", help="Target: at most this many milliseconds per image."),
    ] = None,
    macs: Annotated[
        float | None,
        typer.Option(
            help="Target: at most this many MACs per image (a count, or a fraction below 1)."
        ),
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option(help="Target: maximum accuracy loss (0.01 = one percentage point)."),
    ] = None,
    multiplier: Annotated[
        int | None,
        typer.Option(help="Target: this many depthwise kernels per channel, everywhere."),
    ] = None,
    output_stride: Annotated[
        int | None, typer.Option(help="Dilate the network first, down to this output stride.")
    ] = None,
    form: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Allowed form; repeat the option for several."),
    ] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH", help="Convolution allowed to change; repeat the option for several."
        ),
    ] = None,
    epochs: Annotated[int, typer.Option(help="Epochs of fine-tuning; 0 trains nothing.")] = 0,
    learning_rate: Annotated[
        float, typer.Option(help="Peak learning rate for fine-tuning.")
    ] = 0.02,
    schedule: Annotated[
        str,
        typer.Option(
            help="How the rate goes down: cosine, or wsd, whose checkpoint takes more epochs."
        ),
    ] = "cosine",
    precision: Annotated[
        str,
        typer.Option(help=f"What the network will run in, compiled: {' or '.join(PRECISIONS)}."),
    ] = PRECISIONS[0],
    tuning_precision: Annotated[
        Precision, typer.Option(help="Precision of fine-tuning.")
    ] = Precision.full,
    control: Annotated[
        bool, typer.Option(help="Also train the same architecture from random weights.")
    ] = True,
    reconstruct: Annotated[
        bool | None,
        typer.Option(
            help="Reconstruct blocks from unlabelled images; unless given, where nothing is "
            "trained afterwards."
        ),
    ] = None,
    batch: Annotated[int, typer.Option(help="Images timed together as one batch.")] = 1,
    compiled: Annotated[
        bool, typer.Option(help="Judge speed by the fused kernels, or by PyTorch.")
    ] = True,
    remeasure: Annotated[
        bool, typer.Option("--remeasure", help="Time layers again, even if they were timed before.")
    ] = False,
    sweep: Annotated[
        bool, typer.Option("--sweep", help="Also trace accuracy against milliseconds.")
    ] = False,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER", help="Checkpoint folder; an interrupted run resumes from it."
        ),
    ] = None,
    devices: Annotated[int, typer.Option(help="Processes per machine for fine-tuning.")] = 1,
    num_nodes: Annotated[int, typer.Option(help="Machines for fine-tuning.")] = 1,
    images: Annotated[int, typer.Option(help="Images used for calibration.")] = 512,
    size: Annotated[
        int | None, typer.Option(help="Resize images to this many pixels per side.")
    ] = None,
    channels: Annotated[
        int | None, typer.Option(help="Convert images to grey (1) or colour (3).")
    ] = None,
    mean: Annotated[
        str | None,
        typer.Option(metavar="N,N,N", help="Mean that the network expects taken off its images."),
    ] = None,
    std: Annotated[
        str | None,
        typer.Option(metavar="N,N,N", help="Deviation that it expects them divided by."),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Mean, deviation, size and channels of 'imagenet'."),
    ] = None,
    skip_broken: Annotated[
        bool, typer.Option("--skip-broken", help="Skip broken images, and list them.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed for all random numbers.")] = 0,
    original: Original = None,
    json: Json = None,
    html: Html = None,
    force: Force = False,
) -> None:
    """Rewrite a trained network with lighter convolutions that keep what it learned."""
    leads = int(os.environ.get("LOCAL_RANK", "0")) == int(os.environ.get("NODE_RANK", "0")) == 0
    choice("--precision", precision, PRECISIONS)
    choice("--schedule", schedule, ("cosine", "wsd"))
    within("--images", images, 1, 1 << 31)
    within("--size", size, 1, 1 << 16)
    within("--batch", batch, 1, 1 << 20)
    within("--epochs", epochs, 0, 1 << 20)
    within("--seed", seed, 0, MOST_SEEDS)
    if output is not None:
        check_folder(output)
    if leads:
        check_targets(json, html, force=force)
        if output and Path(output, "recipe.json").exists() and not force:
            raise ArgumentError(f"{output} holds a lightened model: pass --force to overwrite it")
    from torch import nn

    from convsmith.cli.holdout import Batches, accuracy, chance, train_and_test
    from convsmith.cli.models import load_model
    from convsmith.cli.preparation import preparation
    from convsmith.rewrite import Run, Timing, Tuning, lighten
    from convsmith.rewrite.lightening.settings import FEW

    network = load_model(model, weights, original)
    if not isinstance(network, nn.Module):
        raise ModelError(f"{model} is an exported program: its modules cannot be replaced")
    if output is not None:
        check_folder(output, sum(t.nbytes for t in network.state_dict().values()))
    wanted = preparation(mean, std, preset, size, channels)
    train, test = (
        wanted.of(part)
        for part in train_and_test(
            data,
            size=wanted.size,
            channels=wanted.channels,
            on_error="skip" if skip_broken else "fail",
            seed=seed,
            least=FEW,
        )
    )
    fabric = None if devices == num_nodes == 1 else launch(devices, num_nodes)
    if leads:
        for path in train.skipped:
            talk(f"skipped {path}: it cannot be read as an image")
    labels = test.labels
    try:
        with steps() if leads else nullcontext() as progress:
            result = lighten(
                network,
                train.images[:images],
                speedup,
                latency_ms=latency_ms,
                macs=macs,
                max_drop=max_drop,
                multiplier=multiplier,
                output_stride=output_stride,
                forms=form,
                layers=layer,
                train=Batches(train.images, train.labels) if epochs else None,
                epochs=epochs,
                tuning=Tuning(
                    learning_rate=learning_rate,
                    schedule=cast("Curve", schedule),
                    precision=tuning_precision.value,
                    control=control,
                    reconstruct=reconstruct,
                ),
                timing=Timing(
                    batch=batch, compiled=compiled, remeasure=remeasure, precision=precision
                ),
                run=Run(
                    evaluate=None if labels is None else accuracy(test.images, labels),
                    sweep=sweep,
                    checkpoint=checkpoint,
                    fabric=fabric,
                    seed=seed,
                    progress=progress,
                ),
            )
    except ArgumentError:
        if leads:
            raise
        raise typer.Exit(2) from None  # the first process says what is wrong
    if not leads:
        return
    if output:
        talk(f"wrote {result.save(output, origin=model, force=force)}")
    report = result.report
    score = report.original.accuracy
    if labels is not None and score is not None and score <= chance(labels):
        talk(
            f"the original classifies {score:.1%} of the held-out images correctly, no more than "
            "chance: are they prepared as it was trained (--mean and --std, --preset, --size)?"
        )
    if json is None and html is None:
        for table in (
            report.layer_table(),
            report.step_table(),
            report.curve and report.curve_table(),
        ):
            if table:
                console().print(table)
                console().print()
    emit(report, table=report.table(), page=report.to_html, json=json, html=html, force=force)


def launch(devices: int, num_nodes: int) -> Any:
    """Start this command once more for each further process, and join them.

    Raises:
        ArgumentError: for fewer than one.
        MissingExtra: without Lightning Fabric, with the line that installs it.
    """
    if devices < 1 or num_nodes < 1:
        raise ArgumentError(f"at least 1 device and 1 node, not {devices} and {num_nodes}")
    try:
        from lightning.fabric import Fabric
    except ImportError:
        try:
            from lightning_fabric import Fabric
        except ImportError:
            raise MissingExtra(
                "training in several processes", extra="train", package="lightning-fabric"
            ) from None
    fabric = Fabric(accelerator="cpu", strategy="ddp", devices=devices, num_nodes=num_nodes)
    fabric.launch()
    return fabric
