"""The receptive fields of all layers, side by side."""

from __future__ import annotations

from collections.abc import Iterator

from convsmith.measure.receptive import FIELD_COLUMNS, READ, ReceptiveField, has_map, local_field
from convsmith.network import Network
from convsmith.network.families import Trait, family_of
from convsmith.report import Column, Table

__all__ = ["field_table", "fields"]


def fields(network: Network) -> Iterator[tuple[str, ReceptiveField]]:
    """Name and local receptive field of each layer at which it can change, in order."""
    for layer in network:
        # Where the field changes, or branches meet: every other layer sees what its input sees.
        telling = family_of(layer).has(Trait.TELLS) and not layer.constant
        if not telling or not has_map(network, layer.name):
            continue
        if (found := local_field(network, layer.name)) is not None:
            yield layer.name, found


def field_table(network: Network) -> Table:
    """Size, stride, padding, coverage and largest gap of each field, a row a layer."""
    return Table(
        columns=(Column("layer", "layer"), Column("operation", "operation"), *FIELD_COLUMNS),
        rows=[
            (name, str(network[name].operation), *field.row()) for name, field in fields(network)
        ],
        title=f"Receptive fields of {network.name}, on a map without borders",
        note=READ,
    )
