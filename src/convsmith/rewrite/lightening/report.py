"""What `lighten` did: before and after, per layer and in total."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from convsmith.errors import ArgumentError
from convsmith.measure import Latency
from convsmith.report import (
    Column,
    Facts,
    Figure,
    Page,
    Result,
    Section,
    Table,
    bars,
    count,
    curve,
    milliseconds,
    percent,
    plain,
    short,
)
from convsmith.text import times

__all__ = ["LightenReport", "NetworkFigures", "Point", "RewrittenLayer", "Step"]

VERSION = 2


@dataclass(frozen=True, slots=True)
class NetworkFigures(Result):
    """One network's figures.

    Attributes:
        params: all trained values.
        conv_params: those of its convolutions, biases included.
        macs: multiply-adds for one image.
        latency: time per image in PyTorch, on this machine; None if it was not measured.
        compiled: the same through `convsmith.compile`; None where that was not asked for.
        accuracy: what the user's `evaluate` gave, None without it.
        agreement: the share of calibration images on which the largest output is the original's;
            None for outputs that are not classes.
        output_error: mean squared difference to the original's outputs over their variance.
    """

    params: int
    conv_params: int
    macs: int
    latency: Latency | None = None
    compiled: Latency | None = None
    accuracy: float | None = None
    agreement: float | None = None
    output_error: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data; latencies are their medians in milliseconds."""
        values = {name: getattr(self, name) for name in self.__slots__}
        for name in ("latency", "compiled"):
            measured = values.pop(name)
            values[f"{name}_ms"] = measured and measured.median_ms
        return {name: plain(value) for name, value in values.items()}


@dataclass(frozen=True, slots=True)
class RewrittenLayer(Result):
    """What became of one convolution.

    Attributes:
        path: its module.
        form: the name of its new form; '' if the convolution was kept.
        rank: kernels per channel, or the form's own rank; None if it was kept.
        params: before and after.
        macs: before and after, for one image.
        error: share of the variance of the original's responses that is lost; 0 if it was kept.
        reason: why it was kept, else ''.
    """

    path: str
    form: str
    rank: int | tuple[int, int] | None
    params: tuple[int, int]
    macs: tuple[int, int]
    error: float = 0.0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Step(Result):
    """How near a network was to the original after one step.

    Attributes:
        name: what the step did.
        error: mean squared difference of the outputs over their variance.
        agreement: the share of calibration images whose largest output is the original's; None
            for outputs that are not classes.
        accuracy: what the user's `evaluate` gave, None without it.
    """

    name: str
    error: float | None = None
    agreement: float | None = None
    accuracy: float | None = None


@dataclass(frozen=True, slots=True)
class Point(Result):
    """One network of the curve.

    Attributes:
        speedup: what was asked for.
        predicted_ms: what the table of times promised; None for the original.
        ms: measured, for one image.
        error: as of a step, and so are the next two.
        agreement: see there.
        accuracy: see there.
    """

    speedup: float
    predicted_ms: float | None
    ms: float
    error: float | None = None
    agreement: float | None = None
    accuracy: float | None = None


@dataclass(frozen=True)
class LightenReport(Result):
    """Before, after, and the control, with every convolution's own line.

    Attributes:
        model: the name of the model's class.
        target: what was asked for, in words.
        original: the network as it was.
        lightened: the network that is returned.
        control: the same architecture from random weights, trained with the same budget; None if
            it was not asked for.
        narrow: the lightened network compiled in bf16; None if that was not asked for.
        precision: what forms were timed in, and what times were promised for.
        layers: every convolution, in order of execution.
        predicted_ms: what the table of layer times promised, where time was the target.
        predicted_speedup: the same as a factor.
        steps: how near to the original it was after each step.
        curve: the networks of the sweep, if one was asked for.
        losses: the mean loss of each epoch of fine-tuning.
        stopped: why fine-tuning ended early, or ''.
        images: how many images calibrated it.
        batch: how many were timed together.
        seed: what random numbers began with.
    """

    model: str
    target: str
    original: NetworkFigures
    lightened: NetworkFigures
    control: NetworkFigures | None
    layers: tuple[RewrittenLayer, ...]
    predicted_ms: float | None = None
    predicted_speedup: float | None = None
    steps: tuple[Step, ...] = ()
    curve: tuple[Point, ...] = ()
    losses: tuple[float, ...] = ()
    stopped: str = ""
    images: int = 0
    batch: int = 1
    seed: int = 0
    narrow: NetworkFigures | None = None
    precision: str = "float32"

    @property
    def rows(self) -> dict[str, NetworkFigures]:
        """The networks by name."""
        rows = {"original": self.original, "lightened": self.lightened}
        rows |= {f"lightened, {self.precision}": self.narrow} if self.narrow else {}
        return rows | ({"control": self.control} if self.control else {})

    def table(self) -> Table:
        """Original, lightened and control, one row each."""
        compiled = any(row.compiled for row in self.rows.values())
        columns = [
            Column("network", "network"),
            Column("params", "parameters", align="right", format=count),
            Column("conv_params", "in convolutions", align="right", format=count),
            Column("macs", "MACs", align="right", format=count),
            Column("accuracy", "accuracy", align="right", format=percent),
            Column("agreement", "agreement", align="right", format=percent),
            Column("compiled_ms", f"{self._timed}, compiled", align="right", format=milliseconds),
            Column(
                "latency_ms",
                "in PyTorch" if compiled else self._timed,
                align="right",
                format=milliseconds,
            ),
        ]
        rows = [{"network": name} | row.to_dict() for name, row in self.rows.items()]
        shown = [c for c in columns if any(row[c.key] is not None for row in rows)]
        return Table(
            columns=tuple(shown),
            rows=tuple(tuple(row[c.key] for c in shown) for row in rows),
            title=f"{self.model} lightened, {self.target}",
            note=self._note(),
        )

    @property
    def _timed(self) -> str:
        return "ms per image" if self.batch == 1 else f"ms for {self.batch} images"

    def layer_table(self) -> Table:
        """Every convolution, one row each."""
        return Table(
            columns=(
                Column("path", "convolution"),
                Column("form", "form"),
                Column("before", "parameters before", align="right", format=count),
                Column("after", "after", align="right", format=count),
                Column("error", "error", align="right", format=percent),
            ),
            rows=tuple((x.path, _form(x), *x.params, x.error or None) for x in self.layers),
        )

    def step_table(self) -> Table:
        """How near to the original it was after each step."""
        return _near_table(
            [Column("name", "after")], [(step.name,) for step in self.steps], self.steps
        )

    def curve_table(self) -> Table:
        """The networks of the sweep, the original first."""
        return _near_table(
            [
                Column("speedup", "asked for", align="right", format="{:.2f}×".format),
                Column("predicted_ms", "predicted", align="right", format=milliseconds),
                Column("ms", "measured", align="right", format=milliseconds),
            ],
            [(point.speedup, point.predicted_ms, point.ms) for point in self.curve],
            self.curve,
        )

    def curve_picture(self) -> str:
        """Accuracy, agreement, or what is kept of the output's variance, against milliseconds.

        Raises:
            ArgumentError: where no sweep was asked for.
        """
        if not self.curve:
            raise ArgumentError("there is no curve: call lighten with run=Run(sweep=True)")
        name = next(n for n in ("accuracy", "agreement", "error") if _all(self.curve, n))
        points = []
        for point in self.curve:
            value = getattr(point, name)
            points.append((point.ms, 1 - value if name == "error" else value))
        label = "variance kept" if name == "error" else name
        return curve(points, self._timed, label, format=percent)

    def _facts(self) -> list[tuple[str, str, str]]:
        """The figures that matter most: after, and from what."""
        old, new = self.original, self.lightened
        fewer = old.conv_params / max(1, new.conv_params)
        less = old.macs / max(1, new.macs)
        facts = [
            (
                "parameters in convolutions",
                f"{fewer:.1f}× fewer",
                f"{short(old.conv_params)} → {short(new.conv_params)}",
            ),
            ("multiply-adds", f"{less:.1f}× fewer", f"{short(old.macs)} → {short(new.macs)}"),
        ]
        if old.accuracy is not None and new.accuracy is not None:
            against = self.control.accuracy if self.control else None
            detail = f"from {percent(old.accuracy)}"
            detail += f"; control {percent(against)}" if against is not None else ""
            facts.append(("accuracy, held out", percent(new.accuracy), detail))
        if old.compiled and new.compiled:
            quick, slow = (milliseconds(x.median_ms) for x in (new.compiled, old.compiled))
            detail = f"from {slow}"
            if self.narrow and self.narrow.compiled:
                detail += f"; {milliseconds(self.narrow.compiled.median_ms)} in {self.precision}"
            facts.append((f"{self._timed}, compiled", quick, detail))
        elif old.latency and new.latency:
            times = (milliseconds(x.median_ms) for x in (new.latency, old.latency))
            facts.append((self._timed, next(times), f"from {next(times)}"))
        return facts

    def _note(self) -> str:
        changed = sum(1 for layer in self.layers if layer.form)
        fewer = self.original.conv_params / max(1, self.lightened.conv_params)
        note = (
            f"{changed} of {len(self.layers)} convolutions rewritten: {fewer:.1f}× fewer "
            f"parameters in convolutions, {self.original.macs / max(1, self.lightened.macs):.1f}× "
            "fewer MACs"
        )
        before, after = self.original.latency, self.lightened.latency
        if before and after:
            times = before.median_ms / after.median_ms
            slow, fast = self.original.compiled, self.lightened.compiled
            if slow and fast:
                note += f", {slow.median_ms / fast.median_ms:.2f}× the speed compiled"
                if self.narrow and self.narrow.compiled:
                    more = slow.median_ms / self.narrow.compiled.median_ms
                    note += f", {more:.2f}× in {self.precision}"
                note += f", {times:.2f}× in PyTorch"
            else:
                note += f", {times:.2f}× the speed" + (", so slower" if times < 1 else "")
        if self.predicted_ms is not None and after:
            quick = self.narrow.compiled if self.narrow else self.lightened.compiled
            measured = (quick or after).median_ms
            note += f" ({self.predicted_ms:.3g} ms predicted, {measured:.3g} measured)"
        if self.control and None not in (self.control.accuracy, self.lightened.accuracy):
            assert self.control.accuracy is not None
            assert self.lightened.accuracy is not None
            lead = 100 * (self.lightened.accuracy - self.control.accuracy)
            note += (
                f"; the start from trained weights is {lead:.1f} points above the control"
                if lead > 0
                else f"; the start from trained weights does not win: {abs(lead):.1f} points "
                "below the control"
            )
        return note + "."

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; `version` rises when a field changes its meaning."""
        return {
            "report": "lighten",
            "version": VERSION,
            "model": self.model,
            "target": self.target,
            "original": self.original.to_dict(),
            "lightened": self.lightened.to_dict(),
            **({"control": self.control.to_dict()} if self.control else {}),
            **({"narrow": self.narrow.to_dict()} if self.narrow else {}),
            "precision": self.precision,
            "layers": [layer.to_dict() for layer in self.layers],
            "predicted_ms": self.predicted_ms,
            "predicted_speedup": self.predicted_speedup,
            "steps": [step.to_dict() for step in self.steps],
            "curve": [point.to_dict() for point in self.curve],
            "stopped": self.stopped,
            "losses": list(self.losses),
            "images": self.images,
            "batch": self.batch,
            "seed": self.seed,
        }

    def to_html(self) -> str:
        """A self-contained page: the networks side by side, and every convolution."""
        rows = self.rows
        names = list(rows)
        charts = [
            Figure(
                bars([(n, rows[n].conv_params) for n in names], format=short),
                "parameters in convolutions",
            ),
            Figure(
                bars([(n, rows[n].macs) for n in names], format=short), "multiply-adds per image"
            ),
        ]
        times = [(n, row.latency.median_ms) for n, row in rows.items() if row.latency]
        if times:
            charts.append(Figure(bars(times, "ms"), f"{self._timed}, measured on this machine"))
        scores = [(n, row.accuracy) for n, row in rows.items() if row.accuracy is not None]
        if scores:
            charts.append(Figure(bars(scores, format=percent, maximum=1), "accuracy, held out"))
        sections = [
            Section(None, Facts(self._facts())),
            Section("Before and after", self.table()),
            Section("Side by side", charts),
        ]
        if self.curve:
            figure = Figure(self.curve_picture(), "each point a network, the original at the right")
            sections.append(Section("The whole range", [figure]))
            sections.append(Section(None, self.curve_table()))
        if self.steps:
            sections.append(Section("Step by step", self.step_table()))
        sections.append(Section("Convolution by convolution", self.layer_table()))
        return Page(f"{self.model}, lightened", sections).html()

    def __repr__(self) -> str:
        return f"LightenReport({self.model}: {self._note()})"


def _form(layer: RewrittenLayer) -> str:
    if not layer.form:
        return f"kept: {layer.reason}"
    rank = times(layer.rank) if isinstance(layer.rank, tuple) else layer.rank
    return f"{layer.form}, {rank}"


def _near_table(
    columns: list[Column], heads: Sequence[tuple[Any, ...]], near: Sequence[Step | Point]
) -> Table:
    """Rows with what is known of how near each network is."""
    measures = [
        Column("accuracy", "accuracy", align="right", format=percent),
        Column("agreement", "agreement", align="right", format=percent),
        Column("error", "output error", align="right", format="{:.3g}".format),
    ]
    shown = [column for column in measures if _all(near, column.key)]
    rows = [
        (*head, *(getattr(each, column.key) for column in shown))
        for head, each in zip(heads, near, strict=True)
    ]
    return Table(columns=(*columns, *shown), rows=tuple(rows))


def _all(near: Sequence[Step | Point], name: str) -> bool:
    return all(getattr(each, name) is not None for each in near)
