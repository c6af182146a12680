"""`convsmith dilate MODEL --input 1,3,512,512 --output-stride 8 -o fine/`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from convsmith.arithmetic.normalise import MOST_SEEDS
from convsmith.cli.bounds import within
from convsmith.cli.inspect import MODEL
from convsmith.cli.output import Force, Html, Json, Original, check_targets, console, emit, talk
from convsmith.errors import ArgumentError, DataError, ModelError, first_line
from convsmith.report.saving import check_folder
from convsmith.text import read_shape

if TYPE_CHECKING:
    from torch import nn

__all__ = ["command"]

RATES = (
    "Set dilations yourself: PATH=RATE, or one number per dilated convolution; "
    "repeat the option for several."
)
INPUT = "Input shape, such as 1,3,224,224; repeat the option for several inputs."


def command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=MODEL)],
    shapes: Annotated[
        list[str] | None, typer.Option("--input", metavar="N,C,H,W", help=INPUT)
    ] = None,
    output_stride: Annotated[
        int | None, typer.Option(help="The largest cumulative stride to keep.")
    ] = None,
    layers: Annotated[
        list[str] | None,
        typer.Option(
            "--layers",
            metavar="PATH",
            help="Module that loses its stride; repeat the option for several.",
        ),
    ] = None,
    rates: Annotated[
        list[str] | None, typer.Option("--rates", metavar="PATH=RATE", help=RATES)
    ] = None,
    features: Annotated[
        list[str] | None,
        typer.Option(
            "--features",
            metavar="PATH",
            help="Module whose output is checked; repeat the option for several.",
        ),
    ] = None,
    weights: Annotated[
        str | None, typer.Option(metavar="FILE", help="The trained weights.")
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", metavar="FOLDER", help="Folder to write the dilated model to."
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict/--no-strict", help="Refuse a result that is not exact.")
    ] = True,
    latency: Annotated[
        bool, typer.Option(help="Also measure the milliseconds of both networks here.")
    ] = True,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE", help="Also report the accuracy of both networks on held-out images."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed for the random inputs.")] = 0,
    original: Original = None,
    json: Json = None,
    html: Html = None,
    force: Force = False,
) -> None:
    """Trade a network's strides for dilations, and verify the result on the original grid."""
    check_targets(json, html, force=force)
    within("--seed", seed, 0, MOST_SEEDS)
    if output is not None:
        check_folder(output)
    inputs = [read_shape(text, "--input") for text in shapes or []]
    if not inputs:
        raise ArgumentError("which input? pass its shape: --input 1,3,224,224")
    if output and not force and Path(output, "recipe.json").exists():
        raise ArgumentError(f"{output} holds a rewritten model: pass --force to overwrite it")
    from torch import nn

    from convsmith.cli.models import load_model
    from convsmith.rewrite import dilate

    network = load_model(model, weights, original)
    if not isinstance(network, nn.Module):
        raise ModelError(f"{model} is an exported program: its modules cannot be replaced")
    if output is not None:
        check_folder(output, sum(t.nbytes for t in network.state_dict().values()))
    try:
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
    except ArgumentError as error:
        raise ArgumentError(as_options(str(error))) from error
    pair = {"before": network, "after": result.model}
    certificate = result.certificate
    if latency:
        certificate = certificate.with_figures(ms=timed(pair, inputs))
    if data is not None:
        certificate = certificate.with_figures(accuracy=judged(pair, data, seed))
    if output:
        complete = replace(result, certificate=certificate)
        talk(f"wrote {complete.save(output, origin=model, force=force)}")
    for reason in (*certificate.reasons, *certificate.notes):
        talk(reason)
    if json is None and html is None:
        for table in (certificate.figures_table(), certificate.changes_table()):
            console().print(table)
            console().print()
    emit(
        certificate,
        table=certificate.table(),
        page=certificate.to_html,
        json=json,
        html=html,
        force=force,
    )


def as_options(message: str) -> str:
    """The advice of a message as it is typed on the command line.

    >>> as_options("pass features='layer 3' to check less, or pass strict=False to go on")
    "pass --features 'layer 3' to check less, or pass --no-strict to go on"
    >>> as_options("pass an example of 1×3×32×32")
    'pass --input 1,3,32,32'
    """
    message = re.sub(
        r"pass features='([^']*)'", lambda m: f"pass --features {quote(m[1])}", message
    )
    message = message.replace("pass strict=False", "pass --no-strict")
    return re.sub(
        r"pass an example of (\d+(?:×\d+)*)",
        lambda m: f"pass --input {m[1].replace('×', ',')}",
        message,
    )


def timed(networks: Mapping[str, nn.Module], shapes: Sequence[Sequence[int]]) -> dict[str, float]:
    """Milliseconds of each network, in fused kernels where this machine has them."""
    from torch import zeros

    from convsmith.rewrite.lightening.clock import Clock

    if len(shapes) > 1:
        talk("a network of several inputs is not timed")
        return {}
    times = Clock().networks(networks, zeros(*shapes[0]))
    return {name: latency.median_ms for name, latency in times.items()}


def judged(networks: Mapping[str, nn.Module], data: str, seed: int) -> dict[str, float]:
    """The share of images that each network classifies correctly.

    Raises:
        DataError: for images without labels, or that do not fit.
    """
    from convsmith.cli.holdout import accuracy, train_and_test
    from convsmith.network import untouched

    _, test = train_and_test(data, seed=seed)
    if test.labels is None:
        raise DataError(f"{data}: no labels to measure accuracy with")
    score, scores = accuracy(test.images, test.labels), {}
    for name, network in networks.items():
        try:
            with untouched(network):
                scores[name] = score(network)
        except (RuntimeError, TypeError, AttributeError) as error:
            raise DataError(
                f"{data}: the network {name} cannot read it: {first_line(error)}"
            ) from error
    return scores


def parse_rates(words: list[str]) -> dict[str, int] | list[int] | None:
    """Read dilations: by module, or one per dilated convolution.

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
