"""`lighten`: convolutions of a trained network take lighter forms that remember what it learned."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any, Unpack

import torch
from torch import Tensor, nn

from convsmith.errors import ArgumentError, nearest
from convsmith.measure import image_batches
from convsmith.network import Network, submodule, trace, untouched
from convsmith.network.modules import plain
from convsmith.report import Result, Table
from convsmith.report.progress import Lines
from convsmith.rewrite.dilation.certificate import Certificate
from convsmith.rewrite.dilation.dilate import Dilated, dilate
from convsmith.rewrite.lightening.attempts import Attempt, Attempts, Training, seeded
from convsmith.rewrite.lightening.candidates import (
    Candidate,
    Filter,
    candidates,
    refuse_empty,
)
from convsmith.rewrite.lightening.clock import Clock
from convsmith.rewrite.lightening.fidelity import Fidelity, measured_figures
from convsmith.rewrite.lightening.fit.moments import patch_moments
from convsmith.rewrite.lightening.forms import Form, forms_named
from convsmith.rewrite.lightening.keywords import Keywords, Request
from convsmith.rewrite.lightening.report import LightenReport, NetworkFigures, Point, RewrittenLayer
from convsmith.rewrite.lightening.selector import Selection, Selector
from convsmith.rewrite.lightening.sensitivity import sensitivities
from convsmith.rewrite.lightening.settings import Progress, Run, Timing, Tuning
from convsmith.rewrite.lightening.sweep import curve, within
from convsmith.rewrite.lightening.tune.batches import Replayed
from convsmith.rewrite.lightening.tune.checkpoint import Checkpoint, fingerprint
from convsmith.rewrite.lightening.tune.distil import by_first
from convsmith.rewrite.lightening.tune.modes import Examiner
from convsmith.rewrite.lightening.tune.schedule import Schedule
from convsmith.rewrite.recipe import save
from convsmith.rewrite.surgery import give_hooks, working_copy

__all__ = ["Lightened", "lighten"]

_FEW, _ENOUGH = 8, 64


@dataclass(frozen=True)
class Lightened(Result):
    """A lightened network and its report.

    Attributes:
        model: the new network; the original is as it was.
        report: before and after.
        control: the network of the same architecture from random weights, where one was trained.
        dilated: the original dilated, where that was asked for: the network that became lighter.
    """

    model: nn.Module
    report: LightenReport
    control: nn.Module | None = None
    dilated: Dilated | None = None

    def save(self, folder: str | Path, *, origin: str = "", force: bool = False) -> Path:
        """Write weights and recipe to a folder; `convsmith.load` reads them."""
        paths = [layer.path for layer in self.report.layers if layer.form]
        wide = self.dilated
        return save(
            self.model, folder, paths, dilated=None if wide is None else wide.changed,
            fixed="" if wide is None else wide.fixed, report=self.report.to_dict(),
            origin=origin, force=force,
        )  # fmt: skip

    @property
    def certificate(self) -> Certificate | None:
        """That the network was dilated exactly, where that was asked for."""
        return None if self.dilated is None else self.dilated.certificate

    def table(self) -> Table:
        """Original, lightened and control, as in its report."""
        return self.report.table()

    def to_dict(self) -> dict[str, Any]:
        """Its report as plain data."""
        return self.report.to_dict()

    def __repr__(self) -> str:
        return f"Lightened({self.report!r})"


def lighten(
    model: nn.Module,
    images: Any,
    speedup: float | None = None,
    *,
    forms: Sequence[str] | None = None,
    filter_fn: Filter | None = None,
    train: Iterable[Any] | Callable[[nn.Module, nn.Module], None] | None = None,
    epochs: int | None = None,
    tuning: Tuning | None = None,
    timing: Timing | None = None,
    run: Run | None = None,
    **others: Unpack[Keywords],
) -> Lightened:
    """Make a trained network lighter, starting from what it has learned.

    Every convolution may take one of several forms (`convsmith.rewrite.form_names()`). Each form is
    timed on this machine and its loss estimated from the images; of those that are quicker here,
    the set with the least loss within the budget is found by dynamic programming, built, and
    measured. The weights are decomposed, weighed by what the images show (Guo et al. 2018,
    arXiv:1808.05517); then, in order of execution, each last convolution is refitted to the
    original's responses (Zhang et al. 2015, arXiv:1505.06798), and batch norm is estimated again.
    From unlabelled images alone this trains nothing; with `train` and `epochs` the result is
    fine-tuned with the original as teacher, and so is a control of the same architecture from
    random weights.

    Args:
        model: any network that can be traced, with one input; it is left as it was.
        images: unlabelled images: a tensor or array (images, channels, *size), or batches; at
            least 8, and better 64 or more.
        speedup: how many times faster one image is to be; 2 if no target is given.
        forms: the names of those that a convolution may take; all unless given.
        filter_fn: `filter_fn(module, path)` says which convolutions may change.
        train: batches (images, labels), or of images alone, or your own loop; shorthand for
            `tuning=Tuning(train=…)`.
        epochs: passes over them, shorthand for `tuning=Tuning(epochs=…)`.
        tuning: how it is fine-tuned, and its control.
        timing: how time is measured.
        run: how the call runs: seed, checkpoint, progress, what accuracy is, and the sweep.
        **others: another target in place of `speedup`, and what else may change, by keyword:

            - `latency_ms`: at most this many milliseconds per image;
            - `macs`: at most this many multiply-adds per image: a count, or a fraction of the
              original's below 1;
            - `max_drop`: at most this much accuracy lost, as a share (0.01: a point), by
              `Run.evaluate`, or of agreement with the original without it; the fastest network
              found within it is returned;
            - `multiplier`: the same number of depthwise kernels per channel everywhere;
            - `output_stride`: dilate the network first, as `dilate` does, so that this is the
              largest stride left; the original of the report is then the dilated network;
            - `layers`: paths of the convolutions that may change; all unless given.

            The keywords of the first edition that are now fields of `Tuning`, `Timing` and `Run`
            are still taken, with a `DeprecationWarning`.

    Raises:
        ArgumentError: for a target that makes no sense or cannot be met (with the best that can),
            for images, layers or forms that do not fit.
        TraceError: if the model cannot be captured.

    >>> model = nn.Sequential(nn.Conv2d(8, 32, 3), nn.ReLU(), nn.Conv2d(32, 32, 3))
    >>> light = lighten(model, torch.rand(64, 8, 9, 9), multiplier=2)
    >>> light.report.original.params, light.report.lightened.params
    (11584, 3344)
    """
    request = Request.of(speedup, train, epochs, tuning, timing, run, others)
    allowed_forms = forms_named(forms)
    batches = image_batches(images)
    _check_images(batches)
    original = plain(model)
    _check_inputs(original)
    progress = _progress(request)
    progress("tracing", 0, 1)
    original, network, dilated = _traced(original, batches, request)
    model = working_copy(original, batches[0][:1])
    if request.tuning.trains_by_itself:
        with seeded(request.run.seed):
            Examiner(model, batches[0][:2])
    layers = candidates(network, model, _allowed(request.layers, filter_fn), allowed_forms)
    _check_layers(request.layers, layers, network)
    refuse_empty(layers, network.name)
    job = _Job(request, model, network, batches, layers, allowed_forms, progress)
    with untouched(model), seeded(request.run.seed):
        outcome = job.carry_out()
    for lighter in (outcome.attempt.model, outcome.control):
        if lighter is not None:
            _copy_train_flags(lighter, original)
            give_hooks(original, lighter)
    if outcome.stopped:
        warnings.warn(outcome.stopped, RuntimeWarning, stacklevel=2)
    return Lightened(outcome.attempt.model, job.report(outcome), outcome.control, dilated)


@dataclass(frozen=True)
class _Outcome:
    """What came of it: the attempt that was kept, the control, and the figures of all networks."""

    attempt: Attempt
    control: nn.Module | None
    rows: dict[str, NetworkFigures]
    curve: tuple[Point, ...]
    stopped: str


@dataclass(frozen=True)
class _Job:
    """One call of `lighten`, once everything in it is known to fit."""

    request: Request
    model: nn.Module
    network: Network
    batches: Sequence[Tensor]
    layers: Sequence[Candidate]
    forms: Sequence[Form]
    progress: Progress

    def carry_out(self) -> _Outcome:
        """Choose, rewrite, fine-tune, and measure."""
        with ExitStack() as held:
            return self._carried_out(held)

    def _carried_out(self, held: ExitStack) -> _Outcome:
        request, model = self.request, self.model
        clock = Clock(request.timing.compiled, remeasure=request.timing.remeasure)
        clock.keep(model)
        image = _stack_images(self.batches, request.timing.batch)
        attempts = self._attempts(clock, image, held)
        points = curve(attempts, image, clock) if request.run.sweep else ()
        if request.target.name == "max_drop":
            attempt = within(attempts, request.target.value)
        else:
            attempt = attempts.attempt(attempts.choose(request.target))
        control, control_stopped = attempts.control(attempt.selection)
        self.progress("measuring", 0, 1)
        rows = self._figures(attempts, attempt, control, image, clock)
        stopped = "; ".join(filter(None, (attempt.stopped, control_stopped)))
        return _Outcome(attempt, control, rows, points, stopped)

    def _attempts(self, clock: Clock, image: Tensor, held: ExitStack) -> Attempts:
        request, model, batches = self.request, self.model, self.batches
        progress = self.progress
        progress("looking at the images", 0, 1)
        checkpoint = by_first(request.run.fabric, lambda: self._checkpoint(held))
        replaceable = [candidate for candidate in self.layers if not candidate.reason]
        paths = [candidate.path for candidate in replaceable]
        moments = patch_moments(model, batches, paths)
        selector = Selector(
            model, self.network, image, replaceable, self.forms, clock, moments,
            partial(sensitivities, model, batches[0], paths),
            lambda done, of: progress("timing forms", done, of),
        )  # fmt: skip
        return Attempts(
            model, self.network, batches, replaceable, moments, selector,
            Fidelity(model, batches, request.run.evaluate), _training(request), checkpoint,
            request.run.seed, progress,
        )  # fmt: skip

    def _checkpoint(self, held: ExitStack) -> Checkpoint | None:
        """The checkpoint, with the settings that a run which continues must share.

        No other run can use it until `held` is closed.
        """
        request = self.request
        if request.run.checkpoint is None:
            return None
        tuning = request.tuning
        run_settings = {
            "network": fingerprint(self.model),
            "target": str(request.target),
            "forms": [form.name for form in self.forms],
            "images": sum(map(len, self.batches)),
            "batch": request.timing.batch,
            "epochs": tuning.epochs,
            "learning_rate": tuning.learning_rate,
            "control_learning_rate": tuning.control_learning_rate,
            "features": tuning.features,
            "precision": tuning.precision,
            "seed": request.run.seed,
        }
        checkpoint = Checkpoint(request.run.checkpoint, run_settings)
        held.enter_context(checkpoint.alone())
        return checkpoint

    def _figures(
        self,
        attempts: Attempts,
        attempt: Attempt,
        control: nn.Module | None,
        image: Tensor,
        clock: Clock,
    ) -> dict[str, NetworkFigures]:
        """Figures of all networks, measured by the first process for all of them."""
        networks = {"original": self.model, "lightened": attempt.model}
        networks |= {} if control is None else {"control": control}
        fabric = self.request.run.fabric
        rows: dict[str, NetworkFigures] = {}
        if fabric is None or fabric.global_rank == 0:
            fidelities = {"original": attempts.fidelity.original, "lightened": attempt.fidelity}
            if control is not None:
                fidelities["control"] = attempts.fidelity.of("control", control)
            traced = {"original": self.network}
            rows = measured_figures(networks, fidelities, image, clock, traced)
        if fabric is not None:
            rows = fabric.broadcast(rows)
        return rows

    def report(self, outcome: _Outcome) -> LightenReport:
        """Before and after, for the user."""
        request, attempt = self.request, outcome.attempt
        stride, timed = request.output_stride, request.target.timed
        return LightenReport(
            model=self.network.name,
            target=str(request.target) + ("" if stride is None else f", at output stride {stride}"),
            original=outcome.rows["original"],
            lightened=outcome.rows["lightened"],
            control=outcome.rows.get("control"),
            layers=tuple(_layer_report(layer, attempt) for layer in self.layers),
            predicted_ms=attempt.selection.predicted if timed else None,
            predicted_speedup=_factor(attempt.selection) if timed else None,
            steps=attempt.steps,
            curve=outcome.curve,
            losses=attempt.losses,
            stopped=outcome.stopped,
            images=sum(map(len, self.batches)),
            batch=request.timing.batch,
            seed=request.run.seed,
        )


def _traced(
    model: nn.Module, batches: Sequence[Tensor], request: Request
) -> tuple[nn.Module, Network, Dilated | None]:
    """The network that becomes lighter, traced: the model, or what `dilate` makes of it."""
    example = batches[0][:1]
    if request.output_stride is None:
        return model, trace(working_copy(model, example), example), None
    dilated = dilate(model, example, output_stride=request.output_stride, seed=request.run.seed)
    return dilated.model, dilated.network or trace(dilated.model, example), dilated


def _training(request: Request) -> Training | None:
    """What fine-tuning takes, or None if nothing is to be trained."""
    tuning = request.tuning
    if tuning.train is None or not (tuning.epochs or callable(tuning.train)):
        return None
    schedule = Schedule(
        tuning.epochs, tuning.learning_rate, features=tuning.features, precision=tuning.precision
    )
    control = replace(schedule, learning_rate=tuning.control_learning_rate, optimizer="adamw")
    data = tuning.train
    once = tuning.epochs == 1 and not (
        tuning.control or request.run.sweep or request.target.name == "max_drop"
    )
    if isinstance(data, Iterator) and not once:
        data = Replayed(data)
    return Training(
        data, schedule, control if tuning.control else None, tuning.loss,
        request.run.fabric,
    )  # fmt: skip


def _progress(request: Request) -> Progress:
    """Where progress is reported to."""
    if request.run.progress is False:
        return lambda what, done, of: None
    return request.run.progress or Lines(patience=0)


def _check_inputs(model: nn.Module) -> None:
    """Refuse a network of several inputs."""
    try:
        parameters = signature(model.forward).parameters.values()
    except (TypeError, ValueError):
        return
    needed = [
        p.name
        for p in parameters
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    if len(needed) > 1:
        raise ArgumentError(
            f"{type(model).__name__} takes {len(needed)} inputs ({', '.join(needed)}): lighten "
            "takes networks of one input, so pass a module that gives the others itself"
        )


def _copy_train_flags(light: nn.Module, model: nn.Module) -> None:
    """Copy the original's train flags; a new layer takes those of the layer it replaces."""
    flags = {path: module.training for path, module in model.named_modules()}
    for path, module in light.named_modules():
        while path not in flags:
            path = path.rpartition(".")[0]
        module.training = flags[path]


def _factor(selection: Selection) -> float | None:
    """How many times faster it is to be."""
    if selection.predicted is None or selection.original is None:
        return None
    return selection.original / selection.predicted


def _stack_images(batches: Sequence[Tensor], count: int) -> Tensor:
    """This many images as one batch; the first ones are repeated if there are too few."""
    parts = [batches[0]] * -(-count // len(batches[0]))
    return torch.cat(parts)[:count]


def _check_images(batches: Sequence[Tensor]) -> None:
    count = sum(map(len, batches))
    if count < _FEW:
        raise ArgumentError(
            f"{count} image{'s' * (count != 1)}: at least {_FEW} are needed to fit the new layers "
            f"to; {_ENOUGH} or more give better results"
        )


def _allowed(layers: Sequence[str] | None, filter_fn: Filter | None) -> Filter | None:
    if layers is None:
        return filter_fn

    def allow(module: nn.Module, path: str) -> bool:
        return path in layers and (filter_fn is None or filter_fn(module, path))

    return allow


def _check_layers(
    paths: Sequence[str] | None, layers: Sequence[Candidate], network: Network
) -> None:
    """Raise for a path that is not a convolution, or one that cannot change."""
    known = {c.path: c for c in layers}
    for path in paths or ():
        if path not in known:
            hint = nearest(path, known) or ""
            raise ArgumentError(f"{network.name} has no convolution {path!r}{hint}")
        if known[path].reason:
            raise ArgumentError(f"{path} cannot become lighter: {known[path].reason}")


def _layer_report(c: Candidate, attempt: Attempt) -> RewrittenLayer:
    choice = attempt.selection.choices.get(c.path)
    reason = c.reason
    if choice is None and not reason:
        slower = attempt.selection.refused.get(c.path, [])
        same_multiplier = attempt.selection.predicted is None
        reason = (
            "no cheaper at that rank" if same_multiplier else "keeping it was the better choice"
        )
        if slower:
            reason += f"; slower here: {len(slower)} forms"
    after = submodule(attempt.model, c.path) if choice is not None else None
    params = sum(p.numel() for p in after.parameters()) if after else c.spec.params
    return RewrittenLayer(
        path=c.path,
        form="" if choice is None else choice.form.name,
        rank=None if choice is None else choice.rank,
        params=(c.spec.params, params),
        macs=(c.macs(None), c.macs(choice)),
        error=attempt.errors.get(c.path, 0.0),
        reason=reason,
    )
