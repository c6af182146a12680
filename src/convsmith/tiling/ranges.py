"""The backward walk of a tile: for each layer the range that its readers need, no more.

What lies beyond a layer's own extent is padding, which a tile has where the whole has it and
nowhere else.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass

from convsmith.network import Layer
from convsmith.network.backward import inputs_of
from convsmith.tiling.crops import crop_of
from convsmith.tiling.spans import Spans, clip, hull, hull_of, inside, positions
from convsmith.tiling.survey import Survey

__all__ = ["Key", "Ranges", "Read", "ranges", "reads_of"]

Key = tuple[str, int]
"""A layer and which of its results."""


@dataclass(frozen=True, slots=True)
class Read:
    """What one operand contributes.

    Attributes:
        number: the operand.
        source: the layer and result that it is.
        spans: the part of it that is read.
    """

    number: int
    source: Key
    spans: Spans


@dataclass(frozen=True, eq=False)
class Ranges:
    """What a tile needs of each layer.

    Attributes:
        spans: for each result that is needed, the part of it.
        reads: for each, what it is computed from.
    """

    spans: Mapping[Key, Spans]
    reads: Mapping[Key, tuple[Read, ...]]


def ranges(
    survey: Survey,
    tile: Mapping[str, Spans],
    *,
    values: Container[str] = (),
    normalised: Container[str] = (),
    to_border: bool = False,
) -> Ranges:
    """Walk back from parts of results to the image.

    Args:
        survey: of the network.
        tile: the parts of results, by layer.
        values: layers whose result is known already, whole.
        normalised: norms whose statistics are known: functions of each value.
        to_border: whether what reads padding reads up to the border, also where the outermost
            positions fall between the taps of a dilated window: what pads by itself has to begin
            and end there.
    """
    spans: dict[Key, Spans] = {(name, 0): part for name, part in tile.items()}
    reads: dict[Key, tuple[Read, ...]] = {}
    for layer in reversed(survey.network.layers):
        for result in range(max(1, len(layer.results))):
            part = spans.get((layer.name, result))
            if part is None or layer.constant or layer.name in values:
                continue
            parts = tuple(
                reads_of(
                    survey, layer, part, result,
                    pointwise=layer.name in normalised, to_border=to_border,
                )
            )  # fmt: skip
            reads[layer.name, result] = parts
            for read in parts:
                computed = _computed(survey, read)
                before = spans.get(read.source)
                spans[read.source] = computed if before is None else hull(before, computed)
    return Ranges(spans, reads)


def reads_of(
    survey: Survey,
    layer: Layer,
    part: Spans,
    result: int = 0,
    *,
    pointwise: bool = False,
    to_border: bool = False,
) -> Iterable[Read]:
    """What a part of a layer's result is computed from."""
    crop = crop_of(layer)
    names = dict(zip(layer.places, layer.inputs, strict=True))
    operands: dict[int, tuple[Key, Spans]] = {}
    if pointwise or crop.reads is not None:
        own = {0: part} if pointwise or crop.reads is None else crop.reads(layer, part)
        for number, spans in own.items():
            operands[number] = ((names[number], 0), spans)
    else:
        box = positions(part)
        for number, source, which, read in inputs_of(
            survey.network, layer, box, result, bounded=True
        ):
            if not crop.padded and not all(read):
                continue  # nothing of this operand: another part of a concatenation
            shape = survey.network[source].results[which].shape
            spans = hull_of(read) if to_border else tuple(map(inside, read, shape))
            if number in operands:
                spans = hull(operands[number][1], spans)
            operands[number] = ((source, which), spans)
    for number, (key, spans) in operands.items():
        shape = survey.network[key[0]].results[key[1]].shape
        yield Read(number, key, tuple(map(clip, spans, shape)))


def _computed(survey: Survey, read: Read) -> Spans:
    """What a source computes for a reader: dimensions that no tile cuts are there in full."""
    name, result = read.source
    shape = survey.network[name].results[result].shape
    return tuple(
        (0, length) if axis is None else span
        for span, length, axis in zip(read.spans, shape, survey.axes[name], strict=True)
    )
