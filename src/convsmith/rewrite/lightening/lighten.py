"""`lighten`: convolutions of a trained network take lighter forms that remember what it learned."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from convsmith.errors import ArgumentError, nearest
from convsmith.measure import image_batches
from convsmith.network import Network, submodule, trace, untouched
from convsmith.report import Result, Table
from convsmith.rewrite.dilation.certificate import Certificate
from convsmith.rewrite.dilation.dilate import Dilated, dilate
from convsmith.rewrite.lightening.candidates import (
    Candidate,
    Filter,
    candidates,
    refuse_empty,
)
from convsmith.rewrite.lightening.clock import Clock
from convsmith.rewrite.lightening.fidelity import Evaluate, Fidelity, figures
from convsmith.rewrite.lightening.fit.moments import patch_moments
from convsmith.rewrite.lightening.forms import forms_named
from convsmith.rewrite.lightening.report import Figures, LightenReport, RewrittenLayer
from convsmith.rewrite.lightening.run import Attempt, Progress, Run, Training, seeded
from convsmith.rewrite.lightening.selector import Selection, Selector
from convsmith.rewrite.lightening.sensitivity import sensitivities
from convsmith.rewrite.lightening.sweep import curve, within
from convsmith.rewrite.lightening.target import Target
from convsmith.rewrite.lightening.tune.checkpoint import Checkpoint, fingerprint
from convsmith.rewrite.lightening.tune.distil import Fleet, by_first
from convsmith.rewrite.lightening.tune.schedule import Schedule
from convsmith.rewrite.lightening.tune.teacher import Loss
from convsmith.rewrite.recipe import save

__all__ = ["Lightened", "lighten"]

_FEW, _ENOUGH = 8, 64


@dataclass(frozen=True)
class Lightened(Result):
    """A lightened network and the account of it.

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
    *,
    speedup: float | None = None,
    latency_ms: float | None = None,
    macs: float | None = None,
    max_drop: float | None = None,
    multiplier: int | None = None,
    output_stride: int | None = None,
    forms: Sequence[str] | None = None,
    layers: Sequence[str] | None = None,
    filter_fn: Filter | None = None,
    train: Iterable[Any] | Callable[[nn.Module, nn.Module], None] | None = None,
    epochs: int = 0,
    learning_rate: float = 0.02,
    loss: Loss | None = None,
    features: float = 0.0,
    precision: Literal["32", "bf16"] = "32",
    evaluate: Evaluate | None = None,
    control: bool = True,
    control_learning_rate: float = 0.02,
    batch: int = 1,
    compiled: bool = True,
    remeasure: bool = False,
    sweep: bool = False,
    checkpoint: str | Path | None = None,
    fabric: Fleet | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Lightened:
    """Make a trained network lighter, starting from what it has learned.

    Every convolution may take one of several forms (`convsmith.rewrite.FORMS`). Each form is timed
    on this machine and its loss estimated from the images; of those that are quicker here, the set
    with the least loss within the budget is found by dynamic programming, built, and measured. The
    weights are decomposed, weighed by what the images show (Guo et al. 2018, arXiv:1808.05517);
    then, in order of execution, each last convolution is refitted to the original's responses
    (Zhang et al. 2015, arXiv:1505.06798), and batch norm is estimated anew. From unlabelled images
    alone this trains nothing; with `train` and `epochs` the result is fine-tuned with the original
    as teacher, and so is a control of the same architecture from random weights.

    Args:
        model: any network that can be traced, with one input; it is left as it was.
        images: unlabelled images: a tensor or array (images, channels, *size), or batches; at
            least 8, and better 64 or more.
        speedup: how many times faster one image is to be.
        latency_ms: or how many milliseconds one image may take.
        macs: or the most multiply-adds an image: a count, or a fraction of the original's below 1.
        max_drop: or the most accuracy to lose, as a share (0.01: a point), by `evaluate`, or of
            agreement with the original without it; the fastest network found within it is given.
        multiplier: or the same number of depthwise kernels a channel everywhere. One of the five;
            with none, `speedup=2`.
        output_stride: dilate the network first, as `dilate` does, so that this is the largest
            stride left; the original of the report is then the dilated network.
        forms: the names of those that a convolution may take; all unless given.
        layers: paths of the convolutions that may change; all unless given.
        filter_fn: `filter_fn(module, path)` says which convolutions may change.
        train: batches (images, labels), or of images alone, gone through once an epoch; or your
            own loop, called as `train(lightened, original)`.
        epochs: of fine-tuning; 0 trains nothing.
        learning_rate: of fine-tuning, at its peak (SGD).
        loss: of outputs and labels, in place of cross-entropy on logits.
        features: the weight of the rewritten layers' responses in the loss.
        precision: of fine-tuning: `32`, or `bf16` for mixed precision.
        evaluate: gives a model's accuracy, for the report.
        control: whether to train the control, too.
        control_learning_rate: the control's own (AdamW, which serves random weights better).
        batch: how many images are timed together: what is said of one image holds for them.
        compiled: go by the time of `convsmith.compile`, with as many threads as PyTorch; else by
            PyTorch's own.
        remeasure: time layers again that were timed on this machine before.
        sweep: also trace the curve of accuracy against milliseconds over the range of targets.
        checkpoint: a folder; an interrupted run that is called again goes on from it.
        fabric: a launched `lightning.fabric.Fabric`, whose processes share each batch.
        seed: of every random number used here.
        progress: called as `progress(what, done, of)`.

    Raises:
        ArgumentError: for a target that is none or cannot be met (with the best that can), for
            images, layers or forms that do not fit.
        TraceError: if the model cannot be captured.

    >>> model = nn.Sequential(nn.Conv2d(8, 32, 3), nn.ReLU(), nn.Conv2d(32, 32, 3))
    >>> light = lighten(model, torch.rand(64, 8, 9, 9), multiplier=2)
    >>> light.report.original.params, light.report.lightened.params
    (11584, 3344)
    """
    target = Target.of(
        speedup=speedup, latency_ms=latency_ms, macs=macs, max_drop=max_drop, multiplier=multiplier
    )
    taught = callable(train)
    if epochs and train is None:
        raise ArgumentError(
            f"epochs={epochs} needs train: batches of images, or of images and labels"
        )
    if isinstance(train, Tensor):
        raise ArgumentError("train is batches, as (images, labels), not one tensor")
    say = progress or (lambda what, done, of: None)
    batches = image_batches(images)
    _check_images(batches)
    wide = None
    if output_stride is not None:
        wide = dilate(model, batches[0][:1], output_stride=output_stride, seed=seed)
        model = wide.model
    network = trace(model, batches[0][:1])
    kinds = forms_named(forms)
    found = candidates(network, model, _allowed(layers, filter_fn), kinds)
    _check_layers(layers, found, network)
    refuse_empty(found, network.name)
    free = [candidate for candidate in found if not candidate.reason]
    training = None
    if train is not None and (epochs or taught):
        plan = Schedule(epochs, learning_rate, features=features, precision=precision)
        rival = replace(plan, learning_rate=control_learning_rate, optimizer="adamw")
        training = Training(train, plan, rival if control else None, loss, fabric)
    # Kept with it, so that a run that goes on is this one.
    about = {
        "network": fingerprint(model),
        "target": str(target),
        "forms": [form.name for form in kinds],
        "images": sum(map(len, batches)),
        "batch": batch,
        "epochs": epochs,
        "learning_rate": learning_rate,
        "control_learning_rate": control_learning_rate,
        "features": features,
        "precision": precision,
        "seed": seed,
    }
    keep = by_first(fabric, lambda: None if checkpoint is None else Checkpoint(checkpoint, about))
    clock = Clock(compiled, anew=remeasure)
    with untouched(model), seeded(seed):
        paths = [candidate.path for candidate in free]
        moments = patch_moments(model, batches, paths)
        image = _together(batches, batch)
        selector = Selector(
            model, image, free, kinds, clock, moments,
            partial(sensitivities, model, batches[0], paths),
            lambda done, of: say("timing forms", done, of),
        )  # fmt: skip
        fidelity = Fidelity(model, batches, evaluate)
        run = Run(
            model, network, batches, free, moments, selector, fidelity, training, keep, seed, say
        )
        points = curve(run, image, clock) if sweep else ()
        if target.name == "max_drop":
            attempt = within(run, target.value)
        else:
            attempt = run.attempt(run.choose(target))
        rival_net, rival_stopped = run.control(attempt.selection)
        stopped = "; ".join(filter(None, (attempt.stopped, rival_stopped)))
        networks = {"original": model, "lightened": attempt.model}
        networks |= {"control": rival_net} if rival_net is not None else {}
        leads = fabric is None or fabric.global_rank == 0
        rows: dict[str, Figures] = {}
        if leads:
            near = {"original": fidelity.original, "lightened": attempt.near}
            if rival_net is not None:
                near["control"] = fidelity.of("control", rival_net)
            rows = figures(networks, near, image, clock)
        if fabric is not None:
            rows = fabric.broadcast(rows)
    for net in (attempt.model, rival_net):
        _flag_alike(net, model)
    if stopped:
        warnings.warn(stopped, RuntimeWarning, stacklevel=2)
    report = LightenReport(
        model=network.name,
        target=str(target) + (f", at output stride {output_stride}" if wide else ""),
        original=rows["original"],
        lightened=rows["lightened"],
        control=rows.get("control"),
        layers=tuple(_account(c, attempt) for c in found),
        predicted_ms=attempt.selection.predicted if target.timed else None,
        predicted_speedup=_factor(attempt.selection) if target.timed else None,
        steps=attempt.steps,
        curve=points,
        losses=attempt.losses,
        stopped=stopped,
        images=sum(map(len, batches)),
        batch=batch,
        seed=seed,
    )
    return Lightened(attempt.model, report, rival_net, wide)


def _flag_alike(light: nn.Module | None, model: nn.Module) -> None:
    """Set the train flags as the original has them; a new layer's are those of what it replaces."""
    if light is None:
        return
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


def _together(batches: Sequence[Tensor], count: int) -> Tensor:
    """So many images as one batch, the first ones again where there are too few."""
    if count < 1:
        raise ArgumentError(f"batch is at least 1, not {count}")
    parts = [batches[0]] * -(-count // len(batches[0]))
    return torch.cat(parts)[:count]


def _check_images(batches: Sequence[Tensor]) -> None:
    count = sum(map(len, batches))
    if count < _FEW:
        raise ArgumentError(
            f"{count} image{'s' * (count != 1)}: at least {_FEW} are needed to fit the new layers "
            f"to, and {_ENOUGH} or more serve better"
        )


def _allowed(layers: Sequence[str] | None, filter_fn: Filter | None) -> Filter | None:
    if layers is None:
        return filter_fn

    def allow(module: nn.Module, path: str) -> bool:
        return path in layers and (filter_fn is None or filter_fn(module, path))

    return allow


def _check_layers(
    layers: Sequence[str] | None, found: Sequence[Candidate], network: Network
) -> None:
    """Raise for a named layer that is none, or that cannot change."""
    known = {c.path: c for c in found}
    for path in layers or ():
        if path not in known:
            hint = nearest(path, known) or ""
            raise ArgumentError(f"{network.name} has no convolution {path!r}{hint}")
        if known[path].reason:
            raise ArgumentError(f"{path} cannot become lighter: {known[path].reason}")


def _account(c: Candidate, attempt: Attempt) -> RewrittenLayer:
    choice = attempt.selection.choices.get(c.path)
    reason = c.reason
    if choice is None and not reason:
        slower = attempt.selection.refused.get(c.path, [])
        alike = attempt.selection.predicted is None
        reason = "no cheaper at that rank" if alike else "keeping it was the better choice"
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
