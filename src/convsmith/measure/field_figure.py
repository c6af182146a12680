"""A picture of one receptive field over the image that it lies in."""

from __future__ import annotations

from convsmith.arithmetic import Region
from convsmith.measure.receptive import ReceptiveField
from convsmith.network import Network
from convsmith.network.backward import space_of, spatial_axes
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
    # Positions a period apart read alike: the one nearest to the middle that reads as `index` does.
    own = field.index or (0,) * len(lengths)
    middle = []
    for axis, (length, at) in enumerate(zip(lengths, own, strict=True)):
        period = max(1, len(field.spans[axis])) if axis < len(field.spans) else 1
        far = (length // 2 - at) * field.stride[axis]
        back = 0 if far.denominator == 1 and period == 1 else (length // 2 - at) % period
        middle.append(length // 2 - back)
    moves = [int(step * (at - i)) for step, at, i in zip(field.stride, middle, own, strict=True)]
    boxes = Region(
        tuple(axis.shift(by) for axis, by in zip(box, moves, strict=True)) for box in field.region
    )
    image = space_of(network)
    where = f"What position {', '.join(map(str, middle))} of layer {name!r} reads."
    beyond = any(
        start < 0 or stop > length for (start, stop), length in zip(boxes.hull, image, strict=True)
    )
    notes = [
        "Beyond the image's frame lies padding." if beyond else "",
        "" if field.status == "exact" else f"The field is {field.status}.",
        f"{field.reason[0].upper()}{field.reason[1:]}." if field.reason else "",
    ]
    return Figure(
        field_picture(boxes, image=image, title=f"Receptive field of {name}"),
        " ".join(filter(None, [where, *notes])),
    )
