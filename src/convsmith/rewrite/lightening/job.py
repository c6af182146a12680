"""One call of `lighten`, once everything in it is known to fit: choose, rewrite, train, measure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from convsmith.network import Network, submodule
from convsmith.rewrite.lightening.attempts import Attempt, Attempts, Training
from convsmith.rewrite.lightening.candidates import Candidate
from convsmith.rewrite.lightening.clock import Clock
from convsmith.rewrite.lightening.fidelity import Fidelity, measured_figures, narrow_figures
from convsmith.rewrite.lightening.fit.moments import patch_moments
from convsmith.rewrite.lightening.forms import Form
from convsmith.rewrite.lightening.keywords import Request
from convsmith.rewrite.lightening.report import LightenReport, NetworkFigures, Point, RewrittenLayer
from convsmith.rewrite.lightening.selector import Selection, Selector
from convsmith.rewrite.lightening.settings import Progress, Run, Tuning
from convsmith.rewrite.lightening.sweep import curve, within
from convsmith.rewrite.lightening.trials import tried
from convsmith.rewrite.lightening.tune.batches import Replayed
from convsmith.rewrite.lightening.tune.checkpoint import Checkpoint, fingerprint
from convsmith.rewrite.lightening.tune.distil import by_first
from convsmith.rewrite.lightening.tune.log import Epoch, OnEpoch, loggers
from convsmith.rewrite.lightening.tune.schedule import Schedule

__all__ = ["Job", "Outcome"]


@dataclass(frozen=True)
class Outcome:
    """What came of it: the attempt that was kept, the control, and the figures of all networks."""

    attempt: Attempt
    control: nn.Module | None
    rows: dict[str, NetworkFigures]
    curve: tuple[Point, ...]
    stopped: str


@dataclass(frozen=True)
class Job:
    """One call of `lighten`, once everything in it is known to fit."""

    request: Request
    model: nn.Module
    network: Network
    batches: Sequence[Tensor]
    layers: Sequence[Candidate]
    forms: Sequence[Form]
    progress: Progress

    def carry_out(self) -> Outcome:
        """Choose, rewrite, fine-tune, and measure."""
        with ExitStack() as held:
            return self._carried_out(held)

    def _carried_out(self, held: ExitStack) -> Outcome:
        request, model = self.request, self.model
        timing = request.timing
        clock = Clock(timing.compiled, timing.remeasure, timing.precision)
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
        return Outcome(attempt, control, rows, points, stopped)

    def _attempts(self, clock: Clock, image: Tensor, held: ExitStack) -> Attempts:
        request, model, batches = self.request, self.model, self.batches
        progress = self.progress
        progress("looking at the images", 0, 1)
        checkpoint = by_first(request.run.fabric, lambda: self._checkpoint(held))
        replaceable = [candidate for candidate in self.layers if not candidate.reason]
        paths = [candidate.path for candidate in replaceable]
        moments = patch_moments(model, batches, paths)
        selector = Selector(
            model, self.network, image, replaceable, self.forms, clock,
            partial(
                tried, model, self.network, batches, moments,
                progress=lambda done, of: progress("trying forms", done, of),
            ),
            lambda done, of: progress("timing forms", done, of),
        )  # fmt: skip
        return Attempts(
            model, self.network, batches, replaceable, moments, selector,
            Fidelity(model, batches, request.run.evaluate), _training(request), checkpoint,
            request.run.seed, progress,
            request.tuning.reconstruct_seconds
            if request.tuning.reconstructs(sum(map(len, batches))) else None,
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
            "learning_rate": tuning.learning_rate,
            "control_learning_rate": tuning.control_learning_rate,
            "features": tuning.features,
            "precision": tuning.precision,
            "reconstruct": tuning.reconstructs(sum(map(len, self.batches)))
            and tuning.reconstruct_seconds,
            "seed": request.run.seed,
        }
        if request.timing.precision != "float32":
            run_settings["runs in"] = request.timing.precision
        if tuning.schedule != Tuning().schedule:
            run_settings["schedule"] = tuning.schedule
        if tuning.distil is not None:
            run_settings["distil"] = tuning.distil
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
            if clock.precision != "float32":
                rows["narrow"] = narrow_figures(
                    attempt.model, rows["lightened"], attempts.fidelity, image, clock
                )
        if fabric is not None:
            rows = fabric.broadcast(rows)
        return rows

    def report(self, outcome: Outcome) -> LightenReport:
        """Before and after, for the user."""
        request, attempt = self.request, outcome.attempt
        stride, timed = request.output_stride, request.target.timed
        return LightenReport(
            model=self.network.name,
            target=str(request.target) + ("" if stride is None else f", at output stride {stride}"),
            original=outcome.rows["original"],
            lightened=outcome.rows["lightened"],
            control=outcome.rows.get("control"),
            narrow=outcome.rows.get("narrow"),
            precision=request.timing.precision,
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


def _training(request: Request) -> Training | None:
    """What fine-tuning takes, or None if nothing is to be trained."""
    tuning = request.tuning
    if tuning.train is None or not (tuning.epochs or callable(tuning.train)):
        return None
    schedule = Schedule(
        tuning.epochs, tuning.learning_rate, features=tuning.features, precision=tuning.precision,
        curve=tuning.schedule, kind=tuning.distil,
    )  # fmt: skip
    control = replace(schedule, learning_rate=tuning.control_learning_rate, optimizer="adamw")
    data = tuning.train
    once = tuning.epochs == 1 and not (
        tuning.control or request.run.sweep or request.target.name == "max_drop"
    )
    if isinstance(data, Iterator) and not once:
        data = Replayed(data)
    return Training(
        data, schedule, control if tuning.control else None, tuning.loss,
        request.run.fabric, _told(request.run),
    )  # fmt: skip


def _told(run: Run) -> list[OnEpoch]:
    """What is to know of each epoch."""
    logs = loggers(run.log, run.fabric)

    def log(epoch: Epoch) -> None:
        for logger in logs:
            logger.log_metrics(epoch.metrics, epoch.number)

    return [log] if run.on_epoch is None else [log, run.on_epoch]


def _factor(selection: Selection) -> float | None:
    """How many times faster it is to be."""
    if selection.predicted is None or selection.original is None:
        return None
    return selection.original / selection.predicted


def _stack_images(batches: Sequence[Tensor], count: int) -> Tensor:
    """This many images as one batch; the first ones are repeated if there are too few."""
    parts = [batches[0]] * -(-count // len(batches[0]))
    return torch.cat(parts)[:count]


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
