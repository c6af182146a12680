"""What `inspect` can show beside its table: tables, data and pictures for each view."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from convsmith.errors import ArgumentError
from convsmith.report import Figure, Result, Section, Table, gridding_picture, memory_picture

if TYPE_CHECKING:
    from convsmith.measure import Inspection

__all__ = [
    "View",
    "compare",
    "counted",
    "effective",
    "holes",
    "latency",
    "memory",
    "receptive_fields",
    "sizes",
]

# How many images an effective field averages, and how many series of convolutions are drawn.
_IMAGES, _SERIES = 8, 4
_SEED = 0


@dataclass(frozen=True)
class View:
    """One view of a network.

    Attributes:
        tables: what a terminal shows.
        data: what JSON holds, by its key in the report.
        section: what a page shows.
    """

    tables: tuple[Table, ...]
    data: dict[str, Any]
    section: Section


def receptive_fields(report: Inspection) -> View:
    """The receptive field of each layer; the picture of the output's is on the page already."""
    fields = [{"name": name} | field.to_dict() for name, field in report.fields().items()]
    data = {"receptive_fields": fields}
    table = report.field_table()
    return View((table,), data, Section("Fields by layer", table))


def holes(report: Inspection, layer: str | None = None) -> View:
    """The holes in the field of a layer, and what closes them."""
    result = report.holes(layer)
    tables = [result.table(), *([result.series_table()] if result.series else [])]
    figure = report.field_figure(layer) if layer else None
    figures = [figure] if figure else []
    for names, stack in result.series[:_SERIES]:
        series = " → ".join(names)
        svg = gridding_picture(stack.rates, stack.kernel, stack.repair, title=series)
        closed = not stack.largest_gap or stack.repair
        caption = f"{series}, along one axis." + ("" if closed else " No rates close the holes.")
        figures.append(Figure(svg, caption))
    return View(tuple(tables), {"holes": result.to_dict()}, Section("Holes", [*figures, *tables]))


def memory(report: Inspection) -> View | None:
    """The peak memory of a pass, and the tensors alive at the peak."""
    result = report.memory
    if result is None:
        return None
    parts: list[Figure | Table] = []
    if result.during:
        caption = "Bytes of activations while each layer runs, its temporaries included."
        parts.append(Figure(memory_picture(result.during.items()), caption))
    table = result.table()
    return View((table,), {"memory": result.to_dict()}, Section("Memory", [*parts, table]))


def latency(report: Inspection) -> View:
    """The milliseconds of each layer, measured on this machine."""
    return _plain("Latency", "latency", report.latency())


def sizes(report: Inspection) -> View:
    """The input sizes that work."""
    return _plain("Input sizes", "sizes", report.sizes())


def counted(report: Inspection, tool: str) -> View:
    """What another counter would report."""
    return _plain("Another counter", "as", report.count_as(tool))


def compare(report: Inspection, other: Inspection) -> View:
    """Two networks side by side."""
    result = report.compare(other)
    tables = (result.table(), result.layer_table())
    return View(tables, {"other": other.to_dict()}, Section("Comparison", tables))


def effective(report: Inspection, layer: str | None = None, data: str | None = None) -> View:
    """The effective receptive field of a layer, from images or random values.

    Args:
        report: of the network.
        layer: its name in the report; by default the output, or the last map before it.
        data: the images, as for `load_images`; seeded random values without.
    """
    images, source = _images(report.inputs, data)
    result = report.effective(images, layer, source=source)
    return View(
        (result.table(),),
        {"effective": result.to_dict()},
        Section("Effective receptive field", [result.figure(), result.table()]),
    )


def _plain(heading: str, key: str, result: Result) -> View:
    table = result.table()
    return View((table,), {key: result.to_dict()}, Section(heading, table))


def _images(inputs: Sequence[tuple[int, ...]], data: str | None) -> tuple[Iterable[Any], str]:
    """Batches as large as the input, so that they fit wherever it does; and what they are."""
    import torch

    shape = inputs[0]
    batch = max(1, shape[0])
    if data is None:
        generator = torch.Generator().manual_seed(_SEED)
        batches = -(-_IMAGES // batch)
        return (
            [torch.randn(shape, generator=generator) for _ in range(batches)],
            f"random, seed {_SEED}",
        )
    from convsmith.cli.data import load_images

    if len(shape) != 4:
        raise ArgumentError(f"--data: images have two axes, the input is {shape}")
    channels = shape[1] if shape[1] in (1, 3) else None
    images = load_images(data, size=shape[2:], channels=channels, limit=_IMAGES)
    return [images.images[i : i + batch] for i in range(0, len(images), batch)], data
