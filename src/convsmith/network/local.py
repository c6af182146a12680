"""The local walk: what positions of one layer see of the image, on a map without borders."""

from __future__ import annotations

from collections.abc import Sequence

from convsmith.arithmetic import Box, Positions, Region
from convsmith.arithmetic.region import shortened
from convsmith.network import dependence
from convsmith.network.backward import image_dims, image_of, one_of_batch, spatial_axes, strides
from convsmith.network.channels import numbers_of
from convsmith.network.dependence import Dependence, depends_on
from convsmith.network.forward import views
from convsmith.network.network import Layer, Network
from convsmith.network.views import union

__all__ = ["is_moved", "origin_region", "pixel", "seen", "walk"]


def pixel(network: Network, name: str, index: Sequence[int]) -> Box:
    """All channels of the first image at a position; an axis that the map has lost is not asked."""
    shape, axes = network[name].shape, spatial_axes(network)[name]
    box = [Positions.range(0, length) for length in shape]
    for axis, position in enumerate(index):
        if axis in axes:
            box[axes.index(axis)] = Positions.of([position])
    if one_of_batch(network, name):
        box[0] = Positions.of([0])
    return tuple(box)


def walk(network: Network, name: str, box: Box) -> tuple[Region, Dependence]:
    """What positions of a layer see of the first image, its borders and global layers left out."""
    found = depends_on(network, name, [box], local=True)
    region = found.inputs.get(image_of(network), Region())
    return region.project(image_dims(network)), found


def seen(
    network: Network, name: str, box: Box, instead: Layer | None = None
) -> tuple[Region, Dependence]:
    """The same; the walk back ends where the forward pass knows what is seen.

    The layers that were left out or guessed are those of the whole way. `instead` stands in for the
    layer of its name; its strides must be the same.
    """
    known = views(network)
    if instead is not None:
        touched = {instead.name, *(layer.name for layer in network.downstream(instead.name))}
        known = {key: view for key, view in known.items() if key[0] not in touched}
    found = depends_on(network, name, [box], local=True, until=known, instead=instead)
    axes, steps = spatial_axes(network), strides(network)
    order = {layer.name: number for number, layer in enumerate(network)}
    left_out, guessed = ({order[n] for n in names} for names in (found.globals, found.guessed))
    boxes: list[Box] = []
    for (source, result), region in found.ends.items():
        view, mine = known[source, result], axes[source]
        left_out.update(view.globals)
        guessed.update(view.guessed)
        shape = network[source].results[result].shape
        for part in region if view.terms else ():
            channels = numbers_of(part, shape, mine)
            boxes += [
                tuple(
                    union(table, part[mine.index(axis)], int(len(table) * steps[source][axis]))
                    for axis, table in enumerate(term.tables)
                )
                for term in view.terms
                if term.channels & channels
            ]
    names = [layer.name for layer in network.layers]
    short, rounded = shortened(boxes, dependence.MOST_BOXES)
    return short, Dependence(
        inputs={},
        layers=found.layers,
        guessed=tuple(names[n] for n in sorted(guessed, reverse=True)),
        globals=tuple(names[n] for n in sorted(left_out, reverse=True)),
        rounded=found.rounded or (image_of(network),) * rounded,
    )


def origin_region(network: Network, name: str, instead: Layer | None = None) -> Region:
    """The local field of position 0 alone, with a layer that stands in for one of its name."""
    origin = [0] * (1 + max((a for a in spatial_axes(network)[name] if a is not None), default=-1))
    return seen(network, name, pixel(network, name, origin), instead)[0]


def is_moved(region: Region, base: Region, moves: Sequence[int]) -> bool:
    """Whether a region is another one moved along each axis, whatever products they consist of."""
    moved = Region(
        tuple(positions.shift(by) for positions, by in zip(box, moves, strict=True)) for box in base
    )
    if region.boxes == moved.boxes:
        return True
    return region.count() == moved.count() == (region | moved).count()
