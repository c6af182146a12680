"""The settings of `lighten`: how it fine-tunes, how it measures time, and how it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from convsmith.arithmetic.normalise import choice, count, seeded
from convsmith.errors import ArgumentError
from convsmith.rewrite.lightening.tune.distil import Fleet
from convsmith.rewrite.lightening.tune.log import Logger, OnEpoch
from convsmith.rewrite.lightening.tune.loss import KINDS, Kind
from convsmith.rewrite.lightening.tune.schedule import CURVES, Curve
from convsmith.rewrite.lightening.tune.teacher import Loss
from convsmith.runtime.precision import FLOAT32, precision_of

__all__ = ["ENOUGH", "FEW", "Evaluate", "Progress", "Run", "Timing", "Tuning"]

ENOUGH = 64
"""Images from which fitted layers give good results."""

FEW = 8
"""Images without which no layer is fitted at all."""

Evaluate = Callable[[nn.Module], float]
"""From a model to its accuracy."""

Progress = Callable[[str, int, int], None]
"""Called as `progress(what, done, of)`; `of` is 0 where the number is unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """How the lightened network is fine-tuned, and its control.

    Attributes:
        train: batches (images, labels), or of images alone, gone through once per epoch; or your
            own loop, called as `train(lightened, original)`. None trains nothing.
        epochs: passes over the batches; 0 trains nothing.
        learning_rate: its peak (SGD).
        schedule: how it goes down: `cosine`, or `wsd` (warm-up, stable, decay), where the peak is
            held up to the last third of the epochs. A checkpoint of the latter can be continued
            with more epochs.
        loss: of outputs and labels, in place of cross-entropy on logits.
        distil: what outputs are, as for `distil_loss`: `classes`, `maps` or `values`. Unless given,
            two axes are classes, maps with a label per place are maps, and all else is values.
        features: the weight of the rewritten layers' responses in the loss.
        precision: `32`, or `bf16` for mixed precision.
        control: whether to train a control, too: the same architecture from random weights.
        control_learning_rate: the control's own (AdamW, which serves random weights better).
        reconstruct: whether blocks are reconstructed after the refit, from the unlabelled images
            alone; unless given, where nothing is trained afterwards and there are 64 images.
        reconstruct_seconds: about how long that may take on a usual processor; fewer steps are
            taken where more would take longer, and none where too few would be left.

    Raises:
        ArgumentError: for a value of the wrong type or range.

    >>> Tuning(learning_rate=0.0)
    Traceback (most recent call last):
        ...
    convsmith.errors.ArgumentError: learning_rate must be positive, not 0.0
    """

    train: Iterable[Any] | Callable[[nn.Module, nn.Module], None] | None = None
    epochs: int = 0
    learning_rate: float = 0.02
    schedule: Curve = "cosine"
    loss: Loss | None = None
    distil: Kind | None = None
    features: float = 0.0
    precision: Literal["32", "bf16"] = "32"
    control: bool = True
    control_learning_rate: float = 0.02
    reconstruct: bool | None = None
    reconstruct_seconds: float = 60.0

    @property
    def trains_by_itself(self) -> bool:
        """Whether batches are to be gone through, and not by a loop of the user's own."""
        return self.train is not None and self.epochs > 0 and not callable(self.train)

    def reconstructs(self, images: int) -> bool:
        """Whether blocks are reconstructed, from so many images.

        Before fine-tuning it takes seconds and leaves the end where it is, and a few images can
        only be learned by heart.
        """
        if self.reconstruct is not None:
            return self.reconstruct
        return self.train is None and images >= ENOUGH

    def __post_init__(self) -> None:
        _whole("epochs", self.epochs, 0)
        if isinstance(self.train, Tensor):
            raise ArgumentError("train is batches, as (images, labels), not one tensor")
        if self.train is not None and not callable(self.train):
            _check("train", self.train, hasattr(self.train, "__iter__"), "batches or a function")
        for name in ("learning_rate", "control_learning_rate"):
            if not _number(name, getattr(self, name)) > 0:
                raise ArgumentError(f"{name} must be positive, not {getattr(self, name)!r}")
        if not _number("features", self.features) >= 0:
            raise ArgumentError(f"features is at least 0, not {self.features!r}")
        if self.precision not in ("32", "bf16"):
            raise ArgumentError(f"precision is '32' or 'bf16', not {self.precision!r}")
        choice("schedule", self.schedule, CURVES)
        if self.distil is not None:
            choice("distil", self.distil, KINDS)
        _function("loss", self.loss)
        _flag("control", self.control)
        if self.reconstruct is not None:
            _flag("reconstruct", self.reconstruct)
        if not _number("reconstruct_seconds", self.reconstruct_seconds) > 0:
            raise ArgumentError(
                f"reconstruct_seconds must be positive, not {self.reconstruct_seconds!r}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How time is measured.

    Attributes:
        batch: how many images are timed together: what is said of one image holds for them.
        compiled: go by the time of `convsmith.compile`, with as many threads as PyTorch; else by
            PyTorch's own.
        remeasure: time layers again that were timed on this machine before.
        precision: what compiled networks compute with, as for `convsmith.compile`: `float32` or
            `bf16`. The report then shows the lightened network in bf16, too.

    Raises:
        ArgumentError: for a value of the wrong type or range.

    >>> Timing(batch=0)
    Traceback (most recent call last):
        ...
    convsmith.errors.ArgumentError: batch is at least 1, not 0
    """

    batch: int = 1
    compiled: bool = True
    remeasure: bool = False
    precision: str = "float32"

    def __post_init__(self) -> None:
        _whole("batch", self.batch, 1)
        _flag("compiled", self.compiled)
        _flag("remeasure", self.remeasure)
        if precision_of(self.precision, ()) != FLOAT32 and not self.compiled:
            raise ArgumentError(
                f"precision={self.precision!r} is that of compiled networks: leave compiled=True"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How a call of `lighten` runs, and what it reports.

    Attributes:
        evaluate: gives a model's accuracy: for the report, and for `max_drop` to go by.
        sweep: also trace the curve of accuracy against milliseconds over the range of targets.
        checkpoint: a folder; an interrupted run that is called again continues from it.
        fabric: a launched `lightning.fabric.Fabric`, whose processes share each batch.
        seed: for all random numbers.
        on_epoch: called after each epoch of fine-tuning with a `convsmith.rewrite.Epoch`: its
            stage, number, loss, learning rate and the network.
        log: a folder for a CSV file of all epochs, or loggers of Lightning Fabric (TensorBoard) or
            Lightning (Weights & Biases and others); those of `fabric` are told in any case.
        progress: called as `progress(what, done, of)`; lines on standard error unless given,
            and nothing if it is False.

    Raises:
        ArgumentError: for a value of the wrong type or range.

    >>> Run(seed="now")
    Traceback (most recent call last):
        ...
    convsmith.errors.ArgumentError: seed must be an integer, not 'now'
    """

    evaluate: Evaluate | None = None
    sweep: bool = False
    checkpoint: str | Path | None = None
    fabric: Fleet | None = None
    seed: int = 0
    on_epoch: OnEpoch | None = None
    log: str | Path | Sequence[Logger] = ()
    progress: Progress | Literal[False] | None = None

    def __post_init__(self) -> None:
        _function("evaluate", self.evaluate)
        if self.progress is not False:
            _function("progress", self.progress)
        _function("on_epoch", self.on_epoch)
        if not isinstance(self.log, (str, Path)):
            known = isinstance(self.log, (tuple, list))
            known = known and all(hasattr(one, "log_metrics") for one in self.log)
            _check("log", self.log, known, "a folder or a list of loggers")
        _flag("sweep", self.sweep)
        seeded(self.seed)
        if self.checkpoint is not None:
            _check(
                "checkpoint", self.checkpoint, isinstance(self.checkpoint, (str, Path)), "a folder"
            )
        if self.fabric is not None:
            launched = hasattr(self.fabric, "world_size") and hasattr(self.fabric, "all_reduce")
            _check("fabric", self.fabric, launched, "a launched Fabric")


def _check(name: str, value: Any, right: bool, expected: str) -> None:
    if not right:
        raise ArgumentError(f"{name} must be {expected}, not {value!r}")


def _flag(name: str, value: Any) -> None:
    _check(name, value, isinstance(value, bool), "True or False")


def _function(name: str, value: Any) -> None:
    _check(name, value, value is None or callable(value), "a function")


def _whole(name: str, value: Any, least: int) -> None:
    if isinstance(value, int) and not isinstance(value, bool) and value < least:
        raise ArgumentError(f"{name} is at least {least}, not {value}")
    count(name, value, least)


def _number(name: str, value: Any) -> float:
    known = isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)
    _check(name, value, known, "a number")
    return float(value)
