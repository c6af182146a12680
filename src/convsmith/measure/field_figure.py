"""A picture of one receptive field over the image that it lies in."""

from __future__ import annotations

from math import lcm

from convsmith.arithmetic import Region
from convsmith.measure.receptive import ReceptiveField
from convsmith.network import Network
from convsmith.network.backward import spatial_axes
from convsmith.report import Figure, field_picture

__all__ = ["field_figure"]


def field_figure(network: Network, field: ReceptiveField) -> Figure | None:
    """Draw the field of the middle of its layer's map; None if it reads nothing.

    Where positions differ, it is that of the last one before the middle that reads as the first.
    """
    if not field.region:
        return None
    name = field.layer
    axes = spatial_axes(network)[name]
    lengths = [network[name].shape[axes.index(a)] if a in axes else 1
               for a in range(len(field.size))]  # fmt: skip
    # Positions a period apart read alike: the one nearest to the middle that reads as 0 does.
    each, rest = divmod(len(field.phases), len(lengths))
    alike = not rest and len(set(field.stride)) == 1
    period = each + 1 if alike else lcm(*range(1, len(field.phases) + 2))
    middle = [length // 2 - length // 2 % period for length in lengths]
    moves = [int(step * at) for step, at in zip(field.stride, middle, strict=True)]
    boxes = Region(
        tuple(axis.shift(by) for axis, by in zip(box, moves, strict=True)) for box in field.region
    )
    image = next(
        size for x in network.inputs if len(size := network[x].shape) > 2
    )  # fmt: skip
    where = f"What position {', '.join(map(str, middle))} of layer {name!r} reads."
    beyond = any(
        -p + by < 0 or -p + by + n > length
        for p, by, n, length in zip(field.padding, moves, field.size, image[2:], strict=True)
    )
    notes = [
        "Beyond the image's frame lies padding." if beyond else "",
        "" if field.status == "exact" else f"The field is {field.status}.",
        f"{field.reason[0].upper()}{field.reason[1:]}." if field.reason else "",
    ]
    return Figure(
        field_picture(boxes, image=image[2:], title=f"Receptive field of {name}"),
        " ".join(filter(None, [where, *notes])),
    )
