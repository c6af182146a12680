"""`lighten`: convolutions of a trained network take lighter forms that remember what it learned."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from torch import Tensor, nn

from convsmith.errors import ArgumentError, nearest
from convsmith.network import Network, trace, untouched
from convsmith.network.modules import plain
from convsmith.report import Result, Table
from convsmith.report.progress import Lines
from convsmith.rewrite.dilation.certificate import Certificate
from convsmith.rewrite.dilation.dilate import Dilated, dilate
from convsmith.rewrite.leaving import export_rewritten
from convsmith.rewrite.lightening.attempts import seeded
from convsmith.rewrite.lightening.candidates import (
    Candidate,
    Filter,
    candidates,
    refuse_empty,
)
from convsmith.rewrite.lightening.forms import forms_named
from convsmith.rewrite.lightening.job import Job
from convsmith.rewrite.lightening.keywords import Keywords, Request
from convsmith.rewrite.lightening.packed import one_input, packed_names, unpacked
from convsmith.rewrite.lightening.report import LightenReport
from convsmith.rewrite.lightening.settings import ENOUGH, FEW, Progress, Run, Timing, Tuning
from convsmith.rewrite.lightening.tune.distil import refuse_frozen
from convsmith.rewrite.lightening.tune.modes import Examiner
from convsmith.rewrite.recipe import save
from convsmith.rewrite.surgery import give_hooks, working_copy

if TYPE_CHECKING:
    from convsmith.exporting import Exported

__all__ = ["Lightened", "lighten"]


@dataclass(frozen=True)
class Lightened(Result):
    """A lightened network and its report.

    Attributes:
        model: the new network; the original is as it was.
        report: before and after.
        control: the network of the same architecture from random weights, where one was trained.
        dilated: the original dilated, where that was asked for: the network that became lighter.
        shape: of one of the images that it was fitted to, with a batch of 1; () where it has
            several inputs.
    """

    model: nn.Module
    report: LightenReport
    control: nn.Module | None = None
    dilated: Dilated | None = None
    shape: tuple[int, ...] = ()

    def save(self, folder: str | Path, *, origin: str = "", force: bool = False) -> Path:
        """Write weights and recipe to a folder; `convsmith.load` reads them."""
        paths = [layer.path for layer in self.report.layers if layer.form]
        wide = self.dilated
        return save(
            self.model, folder, paths, dilated=None if wide is None else wide.changed,
            fixed="" if wide is None else wide.fixed, report=self.report.to_dict(),
            origin=origin, force=force,
        )  # fmt: skip

    def export(
        self, path: str | Path, example: Any = None, *, force: bool = False, **options: Any
    ) -> Exported:
        """Write the lightened network for programs without PyTorch: `convsmith.export`.

        Args:
            path: the file, `*.onnx` or `*.cvs`; the folder of a C library.
            example: as for `convsmith.export`; an image of the size it was fitted to unless given.
            force: replace a file that exists.
            options: further keywords of `convsmith.export`, such as `target`.

        Raises:
            ArgumentError: as `convsmith.export`, and without an example where none is known.
        """
        given = self.shape if example is None else example
        return export_rewritten(self.model, given, path, force, options)

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
    original's responses (Zhang et al. 2015, arXiv:1505.06798), and batch norm is estimated again;
    then blocks between the network's joins are reconstructed by a few hundred steps of gradients
    (Li et al. 2021, arXiv:2102.05426). From unlabelled images alone this trains nothing; with
    `train` and `epochs` the result is fine-tuned with the original as teacher, and so is a control
    of the same architecture from random weights.

    Args:
        model: any network that can be traced; it is left as it was.
        images: unlabelled images: a tensor or array (images, channels, *size), or batches, of
            which the first 1024 images are read; at least 8, and better 64 or more. If the network
            needs several inputs, images of one size for each: a tuple of tensors, or a dict by the
            names of the inputs, or batches of these.
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
            - `layers`: paths of the convolutions that may change; all unless given;
            - `precision`: what the network will run in, shorthand for `timing=Timing(precision=…)`:
              with `bf16`, forms are timed in it, and so are the networks that `speedup` compares.

            The keywords of the first edition that are now fields of `Tuning`, `Timing` and `Run`
            are still taken, with a `DeprecationWarning`.

    Raises:
        ArgumentError: for a target that makes no sense or cannot be met (with the best that can),
            for images, layers or forms that do not fit.
        TraceError: if the model cannot be captured.

    >>> import torch
    >>> model = nn.Sequential(nn.Conv2d(8, 32, 3), nn.ReLU(), nn.Conv2d(32, 32, 3))
    >>> light = lighten(model, torch.rand(64, 8, 9, 9), multiplier=2)
    >>> light.report.original.params, light.report.lightened.params
    (11584, 3344)
    """
    request = Request.of(speedup, train, epochs, tuning, timing, run, others)
    allowed_forms = forms_named(forms)
    source = plain(model)
    original, batches = one_input(source, images)
    _check_images(batches)
    progress = _progress(request)
    progress("tracing", 0, 1)
    original, network, dilated = _traced(original, batches, request)
    model = working_copy(original, batches[0][:1])
    if request.tuning.trains_by_itself:
        refuse_frozen(source)
        with seeded(request.run.seed):
            Examiner(model, batches[0][:2])
    layers = candidates(network, model, _allowed(request.layers, filter_fn), allowed_forms)
    _check_layers(request.layers, layers, network)
    refuse_empty(layers, network.name)
    job = Job(request, model, network, batches, layers, allowed_forms, progress)
    with untouched(model), seeded(request.run.seed):
        outcome = job.carry_out()
    for lighter in (outcome.attempt.model, outcome.control):
        if lighter is not None:
            _copy_train_flags(unpacked(lighter), source if dilated is None else original)
            give_hooks(source if dilated is None else original, lighter)
    if outcome.stopped:
        warnings.warn(outcome.stopped, RuntimeWarning, stacklevel=2)
    shape = () if packed_names(original) else (1, *batches[0].shape[1:])
    return Lightened(outcome.attempt.model, job.report(outcome), outcome.control, dilated, shape)


def _traced(
    model: nn.Module, batches: Sequence[Tensor], request: Request
) -> tuple[nn.Module, Network, Dilated | None]:
    """The network that becomes lighter, traced: the model, or what `dilate` makes of it."""
    example = batches[0][:1]
    if request.output_stride is None:
        return model, trace(working_copy(model, example), example), None
    if packed_names(model):
        raise ArgumentError(
            f"output_stride takes networks of one input, not {', '.join(packed_names(model))}"
        )
    dilated = dilate(model, example, output_stride=request.output_stride, seed=request.run.seed)
    return dilated.model, dilated.network or trace(dilated.model, example), dilated


def _progress(request: Request) -> Progress:
    """Where progress is reported to."""
    if request.run.progress is False:
        return lambda what, done, of: None
    return request.run.progress or Lines(patience=0)


def _copy_train_flags(light: nn.Module, model: nn.Module) -> None:
    """Copy the original's train flags; a new layer takes those of the layer it replaces."""
    flags = {path: module.training for path, module in model.named_modules()}
    for path, module in light.named_modules():
        while path not in flags:
            path = path.rpartition(".")[0]
        module.training = flags[path]


def _check_images(batches: Sequence[Tensor]) -> None:
    count = sum(map(len, batches))
    if count < FEW:
        raise ArgumentError(
            f"{count} image{'s' * (count != 1)}: at least {FEW} are needed to fit the new layers "
            f"to; {ENOUGH} or more give better results"
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
