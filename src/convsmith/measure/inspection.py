"""`Inspection`: everything established about a network, per layer and in total."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from convsmith.arithmetic.normalise import choice
from convsmith.errors import ArgumentError, nearest
from convsmith.measure.cost import Status
from convsmith.measure.field_figure import field_figure
from convsmith.measure.fields import field_table, fields
from convsmith.measure.holes import Holes, holes
from convsmith.measure.layer_report import LayerReport, merged
from convsmith.measure.memory import Memory, memory
from convsmith.measure.receptive import ReceptiveField, local_field, main_field
from convsmith.network import Network
from convsmith.network.backward import image_of
from convsmith.network.layout import layout_of
from convsmith.report import (
    Column,
    Facts,
    Figure,
    Page,
    Result,
    Section,
    Table,
    bytes_,
    cost_picture,
    count,
    data_frame,
    percent,
    shape,
    short,
)

if TYPE_CHECKING:
    import pandas

    from convsmith.draw import Stage
    from convsmith.measure.compare import Comparison
    from convsmith.measure.counted import Counted
    from convsmith.measure.effective import EffectiveField
    from convsmith.measure.sizes import Sizes
    from convsmith.measure.timing import Timing

__all__ = ["Inspection"]

VERSION = 1
SORTS = ("order", "params", "macs", "flops", "bytes")


@dataclass(frozen=True)
class Inspection(Result):
    """What `inspect` established; figures are for the batch and sizes it was given.

    Attributes:
        model: the name of the model's class.
        inputs: the shape of each input.
        layers: one report per layer, in order of execution.
        params: trained values, shared ones once, unused ones included.
        unused: names of parameters that this forward pass never reads.
        buffers: values that travel with the weights but are not trained.
        network: the traced network, from which receptive fields are read when asked for; None where
            the figures were counted in a run.
        measured: why they were, and what else to do; '' where they follow from a graph.

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
    measured: str = ""

    @property
    def axes(self) -> str:
        """What the dimensions of the image are, such as `NCHW`; '' where no input is an image."""
        if self.network is None or not image_of(self.network):
            return ""
        return layout_of(self.network, image_of(self.network))

    @property
    def unusual_axes(self) -> str:
        """The axes, where they are not batch, channels and space in this order; else ''."""
        return "" if self.axes.startswith("NC") else self.axes

    @cached_property
    def receptive_field(self) -> ReceptiveField | None:
        """What the middle of the (first) output really reads, borders and global layers included.

        None where the network takes no maps. `local_receptive_field` leaves global layers out.
        """
        name = self._output()
        if name is None or self.network is None:
            return None
        return main_field(self.network, name)

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
        return None if self.network is None or field is None else field_figure(self.network, field)

    def field_table(self) -> Table:
        """The receptive fields of the layers at which they change."""
        network = self._traced()
        if self._output() is None:
            raise ArgumentError(f"{self.model} takes no maps: it has no receptive fields")
        return field_table(network)

    @cached_property
    def memory(self) -> Memory | None:
        """Peak memory of a forward pass without gradients, by what is alive when."""
        return None if self.network is None else memory(self.network)

    def fields(self) -> dict[str, ReceptiveField]:
        """The local receptive fields of the layers at which they change, by name, in order."""
        if self.network is None or self._output() is None:
            return {}
        return dict(fields(self.network))

    def holes(self, layer: str | None = None) -> Holes:
        """The holes in a layer's field (the output's by default), and which layers make them.

        Raises:
            ArgumentError: if the network or the layer has no map.
        """
        network, name = self._traced(), layer or self._output()
        result = holes(network, name) if name else None
        if result is None:
            raise ArgumentError(f"{name or self.model} has no map, and so no receptive field")
        return result

    def latency(
        self, *, seconds: float = 1.0, minimum: int = 5, threads: int | None = None
    ) -> Timing:
        """Time every layer on this machine, with the weights as they are now.

        Args:
            seconds: the time to spend after the warm-up; the minimum of passes may take longer.
            minimum: the least number of passes.
            threads: PyTorch's; as many as it has now unless given.
        """
        from convsmith.measure.timing import layer_latency

        return layer_latency(self._traced(), seconds=seconds, minimum=minimum, threads=threads)

    def sizes(self) -> Sizes:
        """Find which input sizes work: the smallest, those that break it, what flooring drops.

        Raises:
            ArgumentError: for an exported program, or an input without spatial axes.
        """
        from convsmith.measure.sizes import sizes

        return sizes(self._traced())

    def count_as(self, tool: str) -> Counted:
        """Report what another counter would say, layer by layer, and why it differs.

        Args:
            tool: `fvcore`, `ptflops`, `thop`, `torchinfo` or `torch`.

        Raises:
            ArgumentError: for another tool.
        """
        from convsmith.measure.counters import count_as

        return count_as(self._traced(), tool)

    def compare(self, other: Inspection) -> Comparison:
        """Put another network beside this one: the totals, and the layers that differ.

        Raises:
            ArgumentError: for something that is not an inspection.
        """
        from convsmith.measure.compare import Comparison

        if not isinstance(other, Inspection):
            raise ArgumentError(
                f"compare takes another inspection, as from inspect, not {type(other).__name__}"
            )
        return Comparison(self, other)

    def effective(
        self, images: Any, layer: str | None = None, *, signs: bool = False, source: str = ""
    ) -> EffectiveField:
        """Measure where in the image the gradient of a layer really lies, beside its exact field.

        Args:
            images: a tensor or array (images, channels, *size), or batches of it.
            layer: its name in this report; by default the output, or the last map before it.
            signs: random signs for the channels (see `measure.effective_field`).
            source: what the images are, for those who read the result.

        Raises:
            ArgumentError: for an exported program, images that do not fit, or an unknown layer.
        """
        from convsmith.measure.effective import effective_of

        return effective_of(self._traced(), images, layer, signs=signs, source=source)

    def stage(
        self, *, image: str | None = None, language: str = "en", theme: str = "auto"
    ) -> Stage:
        """Put the longest chain of convolutions and pools on a live stage, with its own weights.

        Args:
            image: a photograph that becomes the input, as values from 0 to 1, and lies under it.
            language: `en` or `zh`, the one that the page opens in.
            theme: `auto`, `light` or `dark`.

        Raises:
            ArgumentError: a network without maps, or maps that are too large to show.
            ModelError: no convolution or pool that the input reaches through maps alone.

        >>> import torch, convsmith as cs
        >>> layers = [torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.MaxPool2d(2)]
        >>> cs.inspect(torch.nn.Sequential(*layers), (1, 1, 16, 16)).stage()
        Stage(16×16 → 14×14 → 7×7)
        """
        from convsmith.measure.staging import network_stage

        return network_stage(self._traced(), image=image, language=language, theme=theme)

    def _traced(self) -> Network:
        if self.network is None:
            how = "was counted in one run" if self.measured else "keeps no network"
            raise ArgumentError(f"the inspection of {self.model} {how}: it has no graph to read")
        return self.network

    def _output(self) -> str | None:
        if self.network is None or not self.network.outputs:
            return None
        return self.network.outputs[0] if image_of(self.network) else None

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
        """Bytes that the layers read and write, each tensor once per layer."""
        return sum(layer.bytes for layer in self.layers)

    @property
    def status(self) -> Status:
        """`exact`, or what inexact layers make of the totals; `measured` for those of a run."""
        statuses = {layer.status for layer in self.layers}
        if self.measured:
            return "lower bound" if any(x.macs is None for x in self.layers) else "measured"
        if statuses & {"unknown", "lower bound"}:
            return "unknown" if "upper bound" in statuses else "lower bound"
        return "upper bound" if "upper bound" in statuses else "exact"

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the totals are not exact, one line per cause."""
        causes: dict[str, list[str]] = {}
        for layer in self.layers:
            if layer.status not in ("exact", "measured"):
                causes.setdefault(layer.reason, []).append(layer.name)
        run = (self.measured,) if self.measured else ()
        return run + tuple(
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
        return tuple(merged(path, group) for path, group in groups.items())

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
            by: one row per `layer`, or per `module`.
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
            "layers": [x.to_dict() | {"intensity": x.intensity} for x in self.layers],
        }

    def to_pandas(self) -> pandas.DataFrame:
        """One row per layer, as a `pandas.DataFrame`."""
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
            ("moved at least", bytes_(self.bytes), "each tensor once per layer"),
        ]
        if (field := self.local_receptive_field) is not None:
            facts.append(("receptive field", str(field), self._seen(field)))
        seen = self.field_figure()
        parts = list(more)
        tables = [part for part in parts if isinstance(part, Table)]
        page = Page(
            f"{self.model} on {sizes}",
            [
                Section(None, Facts(facts)),
                Section("Where the multiply-adds are", self._cost_figures() or "There are none."),
                *([Section("Receptive field", seen)] if seen else []),
                *(part for part in parts if isinstance(part, Section)),
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

    def __repr__(self) -> str:
        return (
            f"Inspection({self.model}: {short(self.params)} parameters, {short(self.macs)} MACs, "
            f"{short(self.flops)} FLOPs, {self.status})"
        )
