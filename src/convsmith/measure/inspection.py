"""`Inspection`: everything that was established about a network, a layer and in total."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from math import lcm
from typing import TYPE_CHECKING, Any

from convsmith.arithmetic import Region
from convsmith.arithmetic.normalise import choice
from convsmith.errors import ArgumentError, nearest
from convsmith.measure.cost import Status
from convsmith.measure.fields import field_table, fields
from convsmith.measure.holes import Holes, holes
from convsmith.measure.memory import Memory, memory
from convsmith.measure.receptive import ReceptiveField, local_field, true_field
from convsmith.network import Network
from convsmith.network.backward import spatial_axes
from convsmith.report import (
    Column,
    Facts,
    Figure,
    Page,
    Section,
    Table,
    bytes_,
    cost_picture,
    count,
    data_frame,
    field_picture,
    percent,
    shape,
    short,
)

if TYPE_CHECKING:
    import pandas

__all__ = ["Inspection", "LayerReport"]

VERSION = 1
SORTS = ("order", "params", "macs", "flops", "bytes")


@dataclass(frozen=True, slots=True)
class LayerReport:
    """One layer's figures.

    Attributes:
        name: the layer's name in the network.
        path: its module's path.
        kind: the family of its operation.
        operation: the operation in a few words.
        output: the shape of its (first) result.
        params: its parameters; a tensor that an earlier layer has counted is not counted again.
        macs: multiply-adds, None if unknown.
        flops: floating-point operations, None if unknown.
        bytes: of the tensors it reads and writes, each once.
        status: of `macs` and `flops`: exact, a bound, or unknown.
        reason: why they are not exact.
        padding_macs: how many of the multiply-adds fall on zero padding, where one factor is 0.
        shared: parameters that an earlier layer has counted.
        source: the user's line of code, as `file.py:12`.
    """

    name: str
    path: str
    kind: str
    operation: str
    output: tuple[int, ...]
    params: int
    macs: int | None
    flops: int | None
    bytes: int
    status: Status = "exact"
    reason: str = ""
    padding_macs: int = 0
    shared: tuple[str, ...] = ()
    source: str = ""

    @property
    def intensity(self) -> float | None:
        """Arithmetic intensity: floating-point operations a byte; None where one is unknown."""
        return None if self.flops is None or not self.bytes else self.flops / self.bytes


@dataclass(frozen=True)
class Inspection:
    """What `inspect` established; figures are for the batch and sizes it was given.

    Attributes:
        model: the name of the model's class.
        inputs: the shape of each input.
        layers: one report a layer, in order of execution.
        params: trained values, shared ones once, unused ones included.
        unused: names of parameters that this forward pass never reads.
        buffers: values that travel with the weights but are not trained.
        network: the traced network, from which receptive fields are read when asked for.

    >>> import torch, convsmith as cs
    >>> report = cs.inspect(torch.nn.Conv2d(3, 10, 3), (1, 3, 128, 128))
    >>> report.params, report.macs, report.flops, report.status
    (280, 4286520, 8731800, 'exact')
    """

    model: str
    inputs: tuple[tuple[int, ...], ...]
    layers: tuple[LayerReport, ...]
    params: int
    unused: tuple[str, ...] = ()
    buffers: int = 0
    network: Network | None = field(default=None, repr=False, compare=False)

    @cached_property
    def receptive_field(self) -> ReceptiveField | None:
        """What the middle of the (first) output really reads, borders and global layers included.

        None where the network takes no maps. `local_receptive_field` leaves global layers out.
        """
        name = self._output()
        if name is None or self.network is None:
            return None
        local = self.local_receptive_field
        true = true_field(self.network, name)
        return local if local and true.status == "exact" and local.layer == name else true

    @cached_property
    def local_receptive_field(self) -> ReceptiveField | None:
        """The field on a map without borders, global pooling and the like left out."""
        name = self._output()
        return None if name is None or self.network is None else local_field(self.network, name)

    def field_of(self, layer: str) -> ReceptiveField | None:
        """The local receptive field of one layer; None where it has no map."""
        return None if self.network is None else local_field(self.network, layer)

    def field_figure(self, layer: str | None = None) -> Figure | None:
        """A picture of the local field of a layer, by default the output's; None without a map.

        It is that of the middle of the layer's map, over the image; where positions differ, that of
        the last position before it that reads as the first does.
        """
        field = self.field_of(layer) if layer else self.local_receptive_field
        if field is None or not field.region or self.network is None:
            return None
        name = field.layer
        axes = spatial_axes(self.network)[name]
        lengths = [self.network[name].shape[axes.index(a)] if a in axes else 1
                   for a in range(len(field.size))]  # fmt: skip
        # Positions a period apart read alike: the one nearest to the middle that reads as 0 does.
        each, rest = divmod(len(field.phases), len(lengths))
        alike = not rest and len(set(field.stride)) == 1
        period = each + 1 if alike else lcm(*range(1, len(field.phases) + 2))
        middle = [length // 2 - length // 2 % period for length in lengths]
        moves = [int(step * at) for step, at in zip(field.stride, middle, strict=True)]
        boxes = Region(
            tuple(axis.shift(by) for axis, by in zip(box, moves, strict=True))
            for box in field.region
        )
        image = next(
            size for x in self.network.inputs if len(size := self.network[x].shape) > 2
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

    def field_table(self) -> Table:
        """The receptive fields of the layers at which they change."""
        if self.network is None or self._output() is None:
            raise ArgumentError(f"{self.model} takes no maps: it has no receptive fields")
        return field_table(self.network)

    @cached_property
    def memory(self) -> Memory | None:
        """Peak memory of a forward pass without gradients, by what is alive when."""
        return None if self.network is None else memory(self.network)

    def fields(self) -> list[dict[str, Any]]:
        """The receptive fields of the layers at which they change, as plain data."""
        if self.network is None or self._output() is None:
            return []
        return [{"name": name} | field.to_dict() for name, field in fields(self.network)]

    def holes(self, layer: str | None = None) -> Holes:
        """The holes in the field of a layer, by default the output's; which layers make them.

        Raises:
            ArgumentError: if the network or the layer has no map.
        """
        name = layer or self._output()
        found = holes(self.network, name) if self.network is not None and name else None
        if found is None:
            raise ArgumentError(f"{name or self.model} has no map, and so no receptive field")
        return found

    def _output(self) -> str | None:
        if self.network is None or not self.network.outputs:
            return None
        maps = any(len(self.network[name].shape) > 2 for name in self.network.inputs)
        return self.network.outputs[0] if maps else None

    @property
    def macs(self) -> int:
        """Multiply-adds of all layers that could be counted; see `status`."""
        return sum(layer.macs or 0 for layer in self.layers)

    @property
    def flops(self) -> int:
        """Floating-point operations of all layers that could be counted; see `status`."""
        return sum(layer.flops or 0 for layer in self.layers)

    @property
    def padding_macs(self) -> int:
        """Multiply-adds that fall on zero padding; they are part of `macs`."""
        return sum(layer.padding_macs for layer in self.layers)

    @property
    def bytes(self) -> int:
        """Bytes that the layers read and write, each tensor once a layer."""
        return sum(layer.bytes for layer in self.layers)

    @property
    def status(self) -> Status:
        """`exact`, or what a layer that is not makes of the totals."""
        found = {layer.status for layer in self.layers}
        if found & {"unknown", "lower bound"}:
            return "unknown" if "upper bound" in found else "lower bound"
        return "upper bound" if "upper bound" in found else "exact"

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the totals are not exact, a line a cause."""
        causes: dict[str, list[str]] = {}
        for layer in self.layers:
            if layer.status != "exact":
                causes.setdefault(layer.reason, []).append(layer.name)
        return tuple(
            f"{reason} ({names[0]}" + (f" and {len(names) - 1} more)" if len(names) > 1 else ")")
            for reason, names in causes.items()
        )

    def __getitem__(self, name: str) -> LayerReport:
        for layer in self.layers:
            if layer.name == name:
                return layer
        hint = nearest(name, [layer.name for layer in self.layers])
        raise ArgumentError(f"no layer {name!r} in {self.model}{hint}")

    def by_module(self, depth: int = 1) -> tuple[LayerReport, ...]:
        """The figures of modules, `depth` names deep, in order of their first layer.

        A module's output is that of its last layer.
        """
        if depth < 1:
            raise ArgumentError(f"depth must be at least 1, not {depth}")
        groups: dict[str, list[LayerReport]] = {}
        for layer in self.layers:
            groups.setdefault(".".join(layer.path.split(".")[:depth]), []).append(layer)
        return tuple(_merged(path, group) for path, group in groups.items())

    def table(
        self,
        *,
        sort: str = "order",
        by: str = "layer",
        depth: int = 1,
        all_layers: bool = False,
    ) -> Table:
        """The report as a table.

        Args:
            sort: `order` of execution, or by `params`, `macs`, `flops` or `bytes`, largest first.
            by: a row a `layer`, or a `module`.
            depth: how many names of a module path make a row, with `by='module'`.
            all_layers: also the layers that have neither parameters nor operations.
        """
        choice("sort", sort, SORTS)
        choice("by", by, ("layer", "module"))
        rows: Iterable[LayerReport] = self.layers if by == "layer" else self.by_module(depth)
        if not all_layers:
            rows = [row for row in rows if row.params or row.flops or row.status != "exact"]
        if sort != "order":
            rows = sorted(rows, key=lambda row: -(getattr(row, sort) or 0))
        macs = self.macs or 1
        sizes = ", ".join(shape(size) for size in self.inputs)
        return Table(
            columns=(
                Column("name", by),
                Column("operation", "operation"),
                Column("output", "output", format=shape),
                Column("params", "parameters", align="right", format=count),
                Column("macs", "MACs", align="right", format=count),
                Column("share", "of MACs", align="right", share=True),
                Column("flops", "FLOPs", align="right", format=count),
                Column("bytes", "bytes", align="right", format=count),
            ),
            rows=tuple(
                (
                    row.name or "(model)",
                    row.operation,
                    row.output,
                    row.params,
                    row.macs,
                    None if row.macs is None else row.macs / macs,
                    row.flops,
                    row.bytes,
                )
                for row in rows
            ),
            title=f"{self.model} on {sizes}",
            footer=("total", "", "", self.params, self.macs, "", self.flops, self.bytes),
            note=self._note(),
        )

    def _seen(self, field: ReceptiveField) -> str:
        whole = self.receptive_field is not None and self.receptive_field.status == "whole image"
        detail = f"{100 * field.coverage:.0f} % of it read"
        return detail + (", then the whole image" if whole else "")

    def _note(self) -> str | None:
        notes = [f"Totals are {self.status}: {'; '.join(self.reasons)}."] if self.reasons else []
        if 1000 * self.padding_macs > self.macs:
            notes.append(f"{percent(self.padding_macs / self.macs)} of the MACs fall on padding.")
        shared = {name for layer in self.layers for name in layer.shared}
        if shared:
            notes.append(f"{len(shared)} tensors are shared by several layers and counted once.")
        if self.unused:
            notes.append(
                f"{len(self.unused)} parameters are never read in this forward pass: "
                f"{', '.join(self.unused[:3])}{', …' if len(self.unused) > 3 else ''}."
            )
        return " ".join(notes) or None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; `version` rises when a field changes its meaning."""
        field, local = self.receptive_field, self.local_receptive_field
        return {
            "report": "inspection",
            "version": VERSION,
            "model": self.model,
            "inputs": [list(size) for size in self.inputs],
            "total": {
                "params": self.params,
                "buffers": self.buffers,
                "macs": self.macs,
                "padding_macs": self.padding_macs,
                "flops": self.flops,
                "bytes": self.bytes,
                "status": self.status,
                "reasons": list(self.reasons),
                "unused": list(self.unused),
                "receptive_field": field and field.to_dict(),
                "local_receptive_field": local and local.to_dict(),
            },
            "layers": [asdict(x) | {"intensity": x.intensity} for x in self.layers],
        }

    def to_pandas(self) -> pandas.DataFrame:
        """A row a layer, as a `pandas.DataFrame`."""
        return data_frame([asdict(layer) for layer in self.layers])

    def to_csv(self) -> str:
        """All layers as CSV, raw numbers."""
        return self.table(all_layers=True).to_csv()

    def to_html(self, more: Iterable[Table | Section] = ()) -> str:
        """A self-contained page: totals, pictures of cost and field, modules, layers, and `more`.

        Args:
            more: further sections; tables among them stand together in one at the end.
        """
        sizes = ", ".join(shape(size) for size in self.inputs)
        facts = [
            ("parameters", short(self.params), f"{self.params:,}"),
            ("multiply-adds", short(self.macs), f"{self.macs:,}"),
            ("floating-point operations", short(self.flops), f"{self.flops:,}"),
            ("moved at least", bytes_(self.bytes), "each tensor once a layer"),
        ]
        if (field := self.local_receptive_field) is not None:
            facts.append(("receptive field", str(field), self._seen(field)))
        seen = self.field_figure()
        given = list(more)
        tables = [part for part in given if isinstance(part, Table)]
        page = Page(
            f"{self.model} on {sizes}",
            [
                Section(None, Facts(facts)),
                Section("Where the multiply-adds are", self._cost_figures() or "There are none."),
                *([Section("Receptive field", seen)] if seen else []),
                *(part for part in given if isinstance(part, Section)),
                Section("Modules", self.table(by="module")),
                Section("Layers", self.table()),
                *([Section("More", tables)] if tables else []),
            ],
        )
        return page.html()

    def _cost_figures(self) -> list[Figure]:
        """Multiply-adds by module and by layer; one of them where the other says no more."""
        figures: list[tuple[list[tuple[str, int, int]], Figure]] = []
        for caption, rows in (("By module.", self.by_module()), ("By layer.", self.layers)):
            items = [
                (row.name or "(model)", row.macs, row.padding_macs) for row in rows if row.macs
            ]
            if len(items) > 1 or (items and not figures):
                figures.append((items, Figure(cost_picture(items, title=caption), caption)))
        if len(figures) == 2 and [x[1:] for x in figures[0][0]] == [x[1:] for x in figures[1][0]]:
            figures.pop(0)
        return [figure for _, figure in figures]

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()

    def __str__(self) -> str:
        return self.table().to_text()

    def __repr__(self) -> str:
        return (
            f"Inspection({self.model}: {short(self.params)} parameters, {short(self.macs)} MACs, "
            f"{short(self.flops)} FLOPs, {self.status})"
        )


def _merged(path: str, group: list[LayerReport]) -> LayerReport:
    def total(key: str) -> int:
        return sum(getattr(layer, key) or 0 for layer in group)

    odd = [layer for layer in group if layer.status != "exact"]
    return LayerReport(
        name=path,
        path=path,
        kind="module",
        operation=f"{len(group)} operation" + "s" * (len(group) > 1),
        output=group[-1].output,
        params=total("params"),
        macs=total("macs"),
        flops=total("flops"),
        bytes=total("bytes"),
        padding_macs=total("padding_macs"),
        status="lower bound" if odd else "exact",
        reason=odd[0].reason if odd else "",
    )
