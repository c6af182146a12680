"""Evidence that a dilated network gives, on the old grid, what the strided one gave."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import inf, isfinite
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves

from convsmith.draw import Column, Facts, Page, Section, Table, percent, shape, short
from convsmith.rewrite.observation import Run

__all__ = ["TOLERANCE", "Certificate", "Equality", "Figures", "compare"]

VERSION = 1
TOLERANCE = 1e-10
"""Of what is called exact: the largest difference over the largest value, in float64."""


@dataclass(frozen=True, slots=True)
class Equality:
    """One result of the network, the old beside every r-th position of the new.

    Attributes:
        name: the layer or module whose result it is.
        rate: r along each axis of the map.
        old_shape: the result of the old network.
        new_shape: the result of the new one.
        input_shape: of the random input.
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
class Figures:
    """One network's figures for the example.

    Attributes:
        stride: the cumulative stride at the result that is judged first, an axis.
        params: all trained values.
        macs: multiply-adds.
        field: the receptive field there.
        coverage: the share of the field's box that is read.
        gap: the longest run along each axis that is not.
    """

    stride: tuple[float, ...]
    params: int
    macs: int
    field: tuple[int, ...] | None = None
    coverage: float | None = None
    gap: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Certificate:
    """What was established about a dilated network; every error in it was measured.

    Attributes:
        model: the name of the model's class.
        equalities: one a result that is judged and a size of the input.
        refusals: what breaks the theorem on the way to these results, `path: reason`.
        rates: dilations that were changed beyond the exact rule, `path: from → to`.
        notes: what else has to be known, such as layers behind the results that are judged.
        before: figures of the old network.
        after: figures of the new one.
        by_theorem: figures of the exact network, where `rates` went beyond it.
        seed: of the random inputs.
    """

    model: str
    equalities: tuple[Equality, ...]
    refusals: tuple[str, ...]
    rates: tuple[str, ...]
    notes: tuple[str, ...]
    before: Figures
    after: Figures
    by_theorem: Figures | None = None
    seed: int = 0

    @property
    def exact(self) -> bool:
        """Whether all results agree on the old grid for inputs of the example's size."""
        rows = [row for row in self.equalities if row.at_example]
        return bool(rows) and all(row.exact for row in rows)

    @property
    def error(self) -> float:
        """The largest relative error at the example's size."""
        return max((row.relative for row in self.equalities if row.at_example), default=inf)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the results may differ; empty where nothing is known to break the theorem."""
        return (*self.refusals, *(f"{rate}, as asked for" for rate in self.rates))

    def table(self) -> Table:
        """Every comparison, a row each."""
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
        """Before and after, a row a figure."""
        networks = {"before": self.before}
        if self.by_theorem:
            networks["by_theorem"] = self.by_theorem
        networks["after"] = self.after
        every = networks.values()
        rows: list[tuple[str | None, ...]] = [
            ("output stride", *("×".join(f"{s:g}" for s in f.stride) or None for f in every)),
            ("parameters", *(f"{f.params:,}" for f in every)),
            ("MACs", *(f"{f.macs:,}" for f in every)),
            ("receptive field", *(shape(f.field) if f.field else None for f in every)),
            ("read of it", *(None if f.coverage is None else percent(f.coverage) for f in every)),
            ("largest hole", *(shape(f.gap) if f.gap else None for f in every)),
        ]
        titles = {"before": "before", "by_theorem": "exact", "after": "after"}
        return Table(
            columns=(
                Column("figure", "figure"),
                *(Column(name, titles[name], align="right") for name in networks),
            ),
            rows=rows,
            title="Before and after",
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; `version` rises when a field changes its meaning."""
        return {
            "report": "dilate",
            "version": VERSION,
            "model": self.model,
            "exact": self.exact,
            "error": self.error if isfinite(self.error) else None,
            "tolerance": TOLERANCE,
            "equalities": [asdict(row) | {"exact": row.exact} for row in self.equalities],
            "refusals": list(self.refusals),
            "rates": list(self.rates),
            "notes": list(self.notes),
            "before": asdict(self.before),
            "after": asdict(self.after),
            "by_theorem": self.by_theorem and asdict(self.by_theorem),
            "seed": self.seed,
        }

    def to_html(self) -> str:
        """A self-contained page: the verdict, the figures, and every comparison."""
        old, new = self.before, self.after
        facts = [
            ("on the old grid", "exact" if self.exact else "differs", _error(self.error)),
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
            ],
        )
        return page.html()

    def _note(self) -> str:
        if self.exact:
            elsewhere = {row.input_shape for row in self.equalities if not row.exact}
            more = f", but not for inputs of {', '.join(map(shape, elsewhere))}"
            return f"Exact to {_error(self.error)}{more if elsewhere else ''}."
        why = "; ".join(self.reasons) or "no reason is known: this is a defect"
        return f"Not exact, {_error(self.error)}: {why}."

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()

    def __str__(self) -> str:
        return self.table().to_text()

    def __repr__(self) -> str:
        verdict = "exact" if self.exact else "not exact"
        return (
            f"Certificate({self.model}: {verdict}, error {_error(self.error)}, "
            f"{len(self.equalities)} comparisons)"
        )


def _rate(rates: Sequence[int]) -> str:
    return str(rates[0]) if len(set(rates)) == 1 else shape(rates)


def _error(value: float) -> str:
    return f"{value:.1e}" if isfinite(value) else "no number"


def compare(
    old: Run,
    new: Run,
    inputs: Any,
    rates: Mapping[str, Sequence[int]],
    *,
    at_example: bool = True,
) -> Iterator[Equality]:
    """Run both networks on the same inputs, and compare every r-th position.

    Args:
        old: gives the old results by name.
        new: gives the new ones.
        inputs: positional and keyword arguments, tensors in float64.
        rates: for each result the rate of each of its dimensions.
        at_example: whether the inputs have the example's size.
    """
    size = next((tuple(x.shape) for x in tree_leaves(inputs) if isinstance(x, Tensor)), ())
    expected, found = old(inputs), new(inputs)
    for name, rate in rates.items():
        a, b = expected[name], found[name]
        on_grid = b[tuple(slice(None, None, r) for r in rate)] if b.dim() == len(rate) else b
        if on_grid.shape != a.shape:
            absolute = relative = inf
        elif a.is_floating_point():
            scale = float(a.abs().max()) if a.numel() else 0.0
            absolute = float((on_grid - a).abs().max()) if a.numel() else 0.0
            relative = absolute / scale if scale else (0.0 if absolute == 0 else inf)
            if absolute != absolute or scale != scale:  # nan equals nothing
                absolute = relative = inf
        else:
            absolute = relative = float((on_grid != a).any())
        yield Equality(
            name=name,
            rate=tuple(rate[2:]) if len(rate) > 2 else tuple(rate),
            old_shape=tuple(a.shape),
            new_shape=tuple(b.shape),
            input_shape=size,
            absolute=absolute,
            relative=relative,
            at_example=at_example,
        )
