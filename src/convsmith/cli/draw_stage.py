"""`convsmith draw stage`: layers as they are written, or those of your own network."""

from __future__ import annotations

from typing import Annotated

from convsmith.cli.inspect import MODEL
from convsmith.draw import Stage
from convsmith.draw.command import Option
from convsmith.draw.options import Values
from convsmith.draw.scenes.stages import LAYER, Channels, Dims, Image, Size, Title, staged
from convsmith.errors import ArgumentError
from convsmith.text import read_shape

__all__ = ["stage"]


def stage(
    layers: LAYER = None,
    size: Size = None,
    channels: Channels = 1,
    dims: Dims = None,
    values: Values = None,
    weights: Annotated[
        str | None,
        Option(
            "Weights: .json, a list with one entry per layer, null for a pool; or --model's.",
            metavar="FILE",
        ),
    ] = None,
    image: Image = None,
    title: Title = None,
    model: Annotated[str | None, Option(f"In place of layers. {MODEL}", metavar="MODEL")] = None,
    shape: Annotated[str, Option("Shape of its input.", ("--input",), "N,C,H,W")] = "1,3,32,32",
) -> Stage:
    """Put layers in series on a live page (.html): touch a cell, see what it reads.

    The maps stand side by side at their true sizes; a cell shows its receptive field, its readers
    and its sum, and inputs and weights can be changed. With --model, they are the longest chain of
    convolutions and pools in your network.
    """
    if model is None:
        if not layers:
            raise ArgumentError("which layers? such as 3 max2 3, a ready-made stage, or --model")
        return staged(layers, size, channels, dims, values, weights, image, title)
    if layers or size or dims or values or title or channels != 1:
        raise ArgumentError("--model brings its own layers, sizes and title: leave them out")
    from convsmith.cli.models import load_model
    from convsmith.measure import inspect

    lengths = read_shape(shape, "--input")
    return inspect(load_model(model, weights), lengths).stage(image=image)
