"""Evidence that a dilated network gives, on the old grid, what the strided one gave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite
from typing import Any

from convsmith.report import (
    Column,
    Facts,
    Page,
    Result,
    Section,
    Table,
    milliseconds,
    percent,
    plain,
    shape,
    short,
)
from convsmith.text import times

__all__ = ["TOLERANCE", "Certificate", "ChangedLayer", "Equality", "FieldFigures"]

VERSION = 1
TOLERANCE = 1e-10
"""What is still called exact: the largest difference over the largest value, in float64."""


@dataclass(frozen=True, slots=True)
class Equality(Result):
    """One result of the network, the old beside every r-th position of the new.

    Attributes:
        name: the layer or module whose result it is.
        rate: r along each axis of the map.
        old_shape: the result of the old network.
        new_shape: the result of the new one.
        input_shape: the shape of the random input.
        absolute: the largest difference found in float64.
        relative: the same over the largest value of the old result.
        at_example: whether the input had the example's size, for which the plan was made.
    """

    name: str
    rate: tuple[int, ...]
    old_shape: tuple[int, ...]
    new_shape: tuple[int, ...]
    input_shape: tuple[int, ...]
    absolute: float
    relative: float
    at_example: bool = True

    @property
    def exact(self) -> bool:
        """Whether the two agree to within `TOLERANCE`."""
        return self.relative <= TOLERANCE


@dataclass(frozen=True, slots=True)
class FieldFigures(Result):
    """One network's figures for the example.

    Attributes:
        stride: the cumulative stride at the first result that is judged, one per axis.
        params: all trained values.
        macs: multiply-adds.
        field: the receptive field there.
        coverage: the share of the field's box that is read.
        gap: the longest run along each axis that is not.
        ms: milliseconds of the example on this machine; None where it was not timed.
        accuracy: the share of images classified correctly; None if it was not asked for.
    """

    stride: tuple[float, ...]
    params: int
    macs: int
    field: tuple[int, ...] | None = None
    coverage: float | None = None
    gap: tuple[int, ...] | None = None
    ms: float | None = None
    accuracy: float | None = None


@dataclass(frozen=True, slots=True)
class ChangedLayer(Result):
    """One layer, before and after; what it does not have is empty.

    Attributes:
        path: its module, or its name.
        stride: one per axis, before and after.
        dilation: likewise.
        padding: low and high of each axis, before and after.
    """

    path: str
    stride: tuple[tuple[int, ...], tuple[int, ...]]
    dilation: tuple[tuple[int, ...], tuple[int, ...]]
    padding: tuple[tuple[tuple[int, int], ...], tuple[tuple[int, int], ...]]


@dataclass(frozen=True)
class Certificate(Result):
    """What was established about a dilated network; every error in it was measured.

    Attributes:
        model: the name of the model's class.
        equalities: one per judged result and input size.
        refusals: what breaks the theorem on the way to these results, `path: reason`.
        rates: dilations that were changed beyond the exact rule, `path: from → to`.
        changes: the layers that changed, in order of execution.
        notes: what else has to be known, such as layers after the results that are judged.
        coarse: layers whose maps stay coarser than was asked for, `path: reason`.
        before: figures of the old network.
        after: figures of the new one.
        by_theorem: figures of the exact network, where `rates` went beyond it.
        seed: seed for the random inputs.
    """

    model: str
    equalities: tuple[Equality, ...]
    refusals: tuple[str, ...]
    rates: tuple[str, ...]
    notes: tuple[str, ...]
    before: FieldFigures
    after: FieldFigures
    by_theorem: FieldFigures | None = None
    changes: tuple[ChangedLayer, ...] = ()
    coarse: tuple[str, ...] = ()
    seed: int = 0

    @property
    def exact(self) -> bool:
        """Whether all results agree on the old grid, and the stride that was asked for is reached.

        For inputs of the example's size.
        """
        rows = [row for row in self.equalities if row.at_example]
        return bool(rows) and not self.coarse and all(row.exact for row in rows)

    @property
    def error(self) -> float:
        """The largest relative error at the example's size."""
        return max((row.relative for row in self.equalities if row.at_example), default=inf)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it may not be exact; empty where nothing is known to break the theorem."""
        return (*self.refusals, *self.coarse, *(f"{rate}, as asked for" for rate in self.rates))

    def with_figures(self, **measured: Mapping[str, float]) -> Certificate:
        """The same with a figure that was measured elsewhere, of `before` and of `after`."""
        figures = {
            name: replace(getattr(self, name), **{f: by[name] for f, by in measured.items() if by})
            for name in ("before", "after")
        }
        return replace(self, **figures)

    def table(self) -> Table:
        """Every comparison, one row each."""
        return Table(
            columns=(
                Column("name", "result"),
                Column("rate", "rate", align="right", format=_rate),
                Column("old", "old map", align="right", format=shape),
                Column("new", "new map", align="right", format=shape),
                Column("input", "input", align="right", format=shape),
                Column("error", "relative error", align="right", format=_error),
                Column("verdict", "on the old grid"),
            ),
            rows=tuple(
                (
                    row.name,
                    row.rate,
                    row.old_shape,
                    row.new_shape,
                    row.input_shape,
                    row.relative,
                    "exact" if row.exact else "differs",
                )
                for row in self.equalities
            ),
            title=f"{self.model} dilated: new[::r, ::r] beside old, in float64",
            note=self._note(),
        )

    def figures_table(self) -> Table:
        """Before and after, one row per figure."""
        networks = {"before": self.before}
        if self.by_theorem:
            networks["by_theorem"] = self.by_theorem
        networks["after"] = self.after
        every = networks.values()
        rows: list[tuple[str | None, ...]] = [
            ("output stride", *(times(f"{s:g}" for s in f.stride) or None for f in every)),
            ("parameters", *(f"{f.params:,}" for f in every)),
            ("MACs", *(f"{f.macs:,}" for f in every)),
            ("receptive field", *(shape(f.field) if f.field else None for f in every)),
            ("read of it", *(None if f.coverage is None else percent(f.coverage) for f in every)),
            ("largest hole", *(shape(f.gap) if f.gap else None for f in every)),
        ]
        if self.after.ms is not None:
            rows.append(("latency", *(None if f.ms is None else milliseconds(f.ms) for f in every)))
        if self.after.accuracy is not None:
            rows.append(
                ("accuracy", *(None if f.accuracy is None else percent(f.accuracy) for f in every))
            )
        titles = {"before": "before", "by_theorem": "exact", "after": "after"}
        return Table(
            columns=(
                Column("figure", "figure"),
                *(Column(name, titles[name], align="right") for name in networks),
            ),
            rows=rows,
            title="Before and after",
        )

    def changes_table(self) -> Table:
        """The layers that changed, before → after."""
        return Table(
            columns=(
                Column("path", "layer"),
                Column("stride", "stride", align="right", format=_moved),
                Column("dilation", "dilation", align="right", format=_moved),
                Column("padding", "padding", align="right", format=_moved),
            ),
            rows=tuple((c.path, c.stride, c.dilation, c.padding) for c in self.changes),
            title="Layers that changed",
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; `version` rises when a field changes its meaning."""
        document = {
            "report": "dilate",
            "version": VERSION,
            "model": self.model,
            "exact": self.exact,
            "error": self.error,
            "tolerance": TOLERANCE,
            "equalities": [row.to_dict() | {"exact": row.exact} for row in self.equalities],
            "refusals": list(self.refusals),
            "coarse": list(self.coarse),
            "rates": list(self.rates),
            "changes": self.changes,
            "notes": list(self.notes),
            "before": self.before,
            "after": self.after,
            "by_theorem": self.by_theorem,
            "seed": self.seed,
        }
        return {key: plain(value) for key, value in document.items()}

    def to_html(self) -> str:
        """A self-contained page: the verdict, the figures, and every comparison."""
        old, new = self.before, self.after
        facts = [
            self._verdict(),
            ("output stride", f"{new.stride[0]:g}" if new.stride else "–",
             f"from {old.stride[0]:g}" if old.stride else ""),
            ("multiply-adds", short(new.macs), f"from {short(old.macs)}"),
            ("parameters", short(new.params), "the same weights"),
        ]  # fmt: skip
        parts: list[str | Table] = [self.table(), *self.reasons, *self.notes]
        page = Page(
            f"{self.model}, dilated",
            [
                Section(None, Facts(facts)),
                Section("Figures", self.figures_table()),
                Section("On the old grid", parts),
                Section("Changes", self.changes_table()),
            ],
        )
        return page.html()

    def _verdict(self) -> tuple[str, str, str]:
        """The first fact of the page."""
        if self.exact and not self.changes:
            return "on the old grid", "unchanged", "no stride to remove"
        error = _error(self.error) if self.error else "no difference"
        return "on the old grid", "exact" if self.exact else "differs", error

    def _note(self) -> str:
        if self.exact:
            elsewhere = {row.input_shape for row in self.equalities if not row.exact}
            more = f", but not for inputs of {', '.join(map(shape, elsewhere))}"
            if not self.changes:
                return "Nothing was changed: there is no stride to remove."
            verdict = f"Exact to {_error(self.error)}" if self.error else "Exact: no difference"
            return f"{verdict}{more if elsewhere else ''}."
        why = "; ".join(self.reasons) or "no reason is known: this is a defect"
        return f"Not exact, {_error(self.error)}: {why}."

    def __repr__(self) -> str:
        verdict = "exact" if self.exact else "not exact"
        return (
            f"Certificate({self.model}: {verdict}, error {_error(self.error)}, "
            f"{len(self.equalities)} comparisons)"
        )


def _rate(rates: Sequence[int]) -> str:
    return str(rates[0]) if len(set(rates)) == 1 else shape(rates)


def _moved(pair: tuple[tuple[Any, ...], tuple[Any, ...]]) -> str:
    before, after = (_each(values) for values in pair)
    return before if before == after else f"{before} → {after}"


def _each(values: Sequence[Any]) -> str:
    """One number for all axes and sides that are alike; low,high where the sides are not."""
    words = [
        ",".join(map(str, dict.fromkeys(v))) if isinstance(v, tuple) else str(v) for v in values
    ]
    return times(words if len(set(words)) > 1 else words[:1]) or "–"


def _error(value: float) -> str:
    return f"{value:.1e}" if isfinite(value) else "not a number"
