"""What `inspect` can show beside its table: of each view the tables, the data and the pictures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from convsmith.errors import ArgumentError
from convsmith.report import Figure, Section, Table, gridding_picture, memory_picture

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

# Images that an effective field is the mean of, and series of convolutions that are drawn.
_IMAGES, _SERIES = 8, 4
_SEED = 0


@dataclass(frozen=True)
class View:
    """One view of a network.

    Attributes:
        tables: for the terminal.
        data: for JSON, by its key in the report.
        section: for the page.
    """

    tables: tuple[Table, ...]
    data: dict[str, Any]
    section: Section


def receptive_fields(report: Inspection) -> View:
    """The receptive field of each layer; the picture of the output's is on the page already."""
    data = {"receptive_fields": report.fields()}
    table = report.field_table()
    return View((table,), data, Section("Fields by layer", table))


def holes(report: Inspection, layer: str | None = None) -> View:
    """The holes in the field of a layer, and what closes them."""
    found = report.holes(layer)
    tables = [found.table(), *([found.series_table()] if found.series else [])]
    figure = report.field_figure(layer) if layer else None
    figures = [figure] if figure else []
    for names, stack in found.series[:_SERIES]:
        series = " → ".join(names)
        svg = gridding_picture(stack.rates, stack.kernel, stack.repair, title=series)
        closed = not stack.largest_gap or stack.repair
        caption = f"{series}, along one axis." + ("" if closed else " No rates close the holes.")
        figures.append(Figure(svg, caption))
    return View(tuple(tables), {"holes": found.to_dict()}, Section("Holes", [*figures, *tables]))


def memory(report: Inspection) -> View | None:
    """The peak memory of a pass, and what is alive at it."""
    found = report.memory
    if found is None:
        return None
    parts: list[Figure | Table] = []
    if found.during:
        caption = "Bytes of activations while each layer runs, its temporaries included."
        parts.append(Figure(memory_picture(found.during.items()), caption))
    table = found.table()
    return View((table,), {"memory": found.to_dict()}, Section("Memory", [*parts, table]))


def latency(report: Inspection) -> View | None:
    """The milliseconds of each layer, measured here."""
    from convsmith.measure.timing import layer_latency

    if report.network is None:
        return None
    found = layer_latency(report.network)
    return _plain("Latency", "latency", found.to_dict(), found.table())


def sizes(model: Any, inputs: Sequence[tuple[int, ...]] | None) -> View:
    """The input sizes that work."""
    from convsmith.measure.sizes import sizes as input_sizes

    found = input_sizes(model, inputs)
    return _plain("Input sizes", "sizes", found.to_dict(), found.table())


def counted(report: Inspection, tool: str) -> View | None:
    """What another counter would say."""
    from convsmith.measure.counters import count_as

    if report.network is None:
        return None
    found = count_as(report.network, tool)
    return _plain("Another counter", "as", found.to_dict(), found.table())


def compare(report: Inspection, other: Inspection) -> View:
    """Two networks side by side."""
    from convsmith.measure.compare import layer_comparison, total_comparison

    tables = total_comparison(report, other), layer_comparison(report, other)
    return _plain("Comparison", "other", other.to_dict(), *tables)


def effective(
    model: Any, report: Inspection, layer: str | None = None, data: str | None = None
) -> View:
    """The effective receptive field of a layer, from images or random values.

    Args:
        model: what `report` is of.
        report: where the exact field comes from.
        layer: its name in the report; by default the output, or the last map before it.
        data: the images, as for `load_images`; seeded random values without.
    """
    from convsmith.measure.effective import effective_field

    images, source = _images(report.inputs, data)
    path = None if layer is None or report.network is None else report.network[layer].path
    found = replace(effective_field(model, images, path), source=source)
    if report.network is not None:
        # The last operation of the module is what makes its output.
        within = [x.name for x in report.network if _inside(x.path, found.layer)]
        name = within[-1] if within and found.layer else None
        exact = report.field_of(name) if name else report.local_receptive_field
        if exact is not None and len(exact.size) == found.map.ndim:
            found = found.beside(exact)
    return View(
        (found.table(),),
        {"effective": found.to_dict()},
        Section("Effective receptive field", [found.figure(), found.table()]),
    )


def _plain(heading: str, key: str, data: dict[str, Any], *tables: Table) -> View:
    return View(tables, {key: data}, Section(heading, tables))


def _inside(path: str, module: str) -> bool:
    return path == module or path.startswith(f"{module}.")


def _images(inputs: Sequence[tuple[int, ...]], data: str | None) -> tuple[Iterable[Any], str]:
    """Batches as large as the input, so that they fit where it does; and what they are."""
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
    found = load_images(data, size=shape[2:], channels=channels, limit=_IMAGES)
    return [found.images[i : i + batch] for i in range(0, len(found), batch)], data
