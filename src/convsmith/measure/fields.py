"""The receptive fields of all layers, side by side."""

from __future__ import annotations

from collections.abc import Iterator

from convsmith.measure.receptive import ReceptiveField, has_map, local_field
from convsmith.network import Network
from convsmith.report import Column, Table, percent, shape
from convsmith.text import times

__all__ = ["field_table", "fields"]

# Where the field changes, or branches meet: every other layer sees what its input sees.
_TELLING = {
    "adaptive pool", "concat", "convolution", "elementwise", "pad", "pool", "slice",
    "transposed convolution", "upsample",
}  # fmt: skip


def fields(network: Network) -> Iterator[tuple[str, ReceptiveField]]:
    """Name and local receptive field of each layer at which it can change, in order."""
    for layer in network:
        if layer.kind not in _TELLING or layer.constant or not has_map(network, layer.name):
            continue
        if (found := local_field(network, layer.name)) is not None:
            yield layer.name, found


def field_table(network: Network) -> Table:
    """Size, stride, padding, coverage and largest gap of each field, a row a layer."""
    rows = tuple(
        (
            name,
            str(network[name].operation),
            found.size,
            times(found.stride),
            found.padding,
            found.coverage,
            found.gaps if any(found.gaps) else None,
            found.status + (f": {found.reason}" if found.reason else ""),
        )
        for name, found in fields(network)
    )
    return Table(
        columns=(
            Column("layer", "layer"),
            Column("operation", "operation"),
            Column("size", "field", align="right", format=shape),
            Column("stride", "stride", align="right"),
            Column("padding", "padding", align="right", format=shape),
            Column("coverage", "read", align="right", format=percent),
            Column("gaps", "largest gap", align="right", format=shape),
            Column("status", "status"),
        ),
        rows=rows,
        title=f"Receptive fields of {network.name}, on a map without borders",
        note="read: the share of the field's box that the layer depends on.",
    )
