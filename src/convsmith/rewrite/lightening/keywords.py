"""What a call of `lighten` asks for, whichever way it was written."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypedDict, TypeVar

from torch import nn

from convsmith.errors import ArgumentError, nearest
from convsmith.rewrite.lightening.settings import Evaluate, Progress, Run, Timing, Tuning
from convsmith.rewrite.lightening.target import Target
from convsmith.rewrite.lightening.tune.distil import Fleet
from convsmith.rewrite.lightening.tune.teacher import Loss
from convsmith.runtime.precision import check_here

__all__ = ["FORMER", "Keywords", "Request"]

_Settings = TypeVar("_Settings", Tuning, Timing, Run)

FORMER: dict[str, tuple[type[Tuning | Timing | Run], str]] = {
    **{name: (Tuning, name) for name in (
        "learning_rate", "loss", "features", "control", "control_learning_rate",
    )},
    **{name: (Timing, name) for name in ("batch", "compiled", "remeasure")},
    **{name: (Run, name) for name in (
        "evaluate", "sweep", "checkpoint", "fabric", "seed", "progress",
    )},
}  # fmt: skip
"""Keywords of the first edition, each with the class and the field that it is now."""

_GOALS = ("latency_ms", "macs", "max_drop", "multiplier")
_OTHERS = (*_GOALS, "output_stride", "layers", "precision")


class Keywords(TypedDict, total=False):
    """What `lighten` takes beside its parameters: other targets, and the former keywords."""

    latency_ms: float | None
    macs: float | None
    max_drop: float | None
    multiplier: int | None
    output_stride: int | None
    layers: Sequence[str] | None
    precision: str
    learning_rate: float
    loss: Loss | None
    features: float
    control: bool
    control_learning_rate: float
    batch: int
    compiled: bool
    remeasure: bool
    evaluate: Evaluate | None
    sweep: bool
    checkpoint: str | Path | None
    fabric: Fleet | None
    seed: int
    progress: Progress | None


@dataclass(frozen=True)
class Request:
    """What a call asks for.

    Attributes:
        target: what the network is to become.
        output_stride: the largest stride that is left, if the network is dilated first.
        layers: paths of the convolutions that may change; all if None.
        tuning: how it is fine-tuned.
        timing: how time is measured.
        run: how the call runs.
    """

    target: Target
    output_stride: int | None = None
    layers: tuple[str, ...] | None = None
    tuning: Tuning = field(default_factory=Tuning)
    timing: Timing = field(default_factory=Timing)
    run: Run = field(default_factory=Run)

    @classmethod
    def of(
        cls,
        speedup: float | None,
        train: Iterable[Any] | Callable[[nn.Module, nn.Module], None] | None,
        epochs: int | None,
        tuning: Tuning | None,
        timing: Timing | None,
        run: Run | None,
        keywords: Mapping[str, Any],
    ) -> Request:
        """Gather the settings from a call: its classes, its shorthand, and its former keywords.

        Raises:
            ArgumentError: for several targets, a value given twice, or one that makes no sense, and
                for a precision that this machine does not have.
            TypeError: for a keyword that `lighten` does not take.
        """
        known = (*_OTHERS, *FORMER)
        for name in keywords:
            if name not in known:
                hint = nearest(name, known)
                raise TypeError(f"lighten() got an unexpected keyword argument {name!r}{hint}")
        former = {name: keywords[name] for name in keywords if name in FORMER}
        if former:
            _warn(former)
        layers = keywords.get("layers")
        if isinstance(layers, str):
            raise ArgumentError(f"layers must be a list of paths, not {layers!r}")
        ran = {name: keywords[name] for name in ("precision",) if name in keywords}
        shorthand = {"train": train, "epochs": epochs}
        given = {name: value for name, value in shorthand.items() if value is not None}
        request = cls(
            target=Target.of(speedup=speedup, **{name: keywords.get(name) for name in _GOALS}),
            output_stride=keywords.get("output_stride"),
            layers=None if layers is None else tuple(layers),
            tuning=_settings(Tuning, "tuning", tuning, former, given),
            timing=_settings(Timing, "timing", timing, former, ran),
            run=_settings(Run, "run", run, former),
        )
        if request.tuning.epochs and request.tuning.train is None:
            raise ArgumentError(
                f"epochs={request.tuning.epochs} needs train: batches of images, or of images and "
                "labels"
            )
        check_here(request.timing.precision)
        return request


def _settings(
    kind: type[_Settings],
    name: str,
    settings: _Settings | None,
    former: Mapping[str, Any],
    shorthand: Mapping[str, Any] | None = None,
) -> _Settings:
    """The settings of one class, with what was given by keyword."""
    if settings is not None and not isinstance(settings, kind):
        raise ArgumentError(f"{name} must be a {kind.__name__}, not {settings!r}")
    base = kind() if settings is None else settings
    fields = {FORMER[word][1]: value for word, value in former.items() if FORMER[word][0] is kind}
    fields |= shorthand or {}
    for word in fields:
        # Which of the two was meant is not for us to say.
        if settings is not None and getattr(settings, word) != getattr(kind(), word):
            raise ArgumentError(f"{word} is given twice: as {word}= and in {name}=")
    return replace(base, **fields)


def _warn(former: Mapping[str, Any]) -> None:
    by_class: dict[str, list[str]] = {}
    for name in former:
        kind, word = FORMER[name]
        by_class.setdefault(kind.__name__, []).append(f"{word}=…")
    now = ", ".join(
        f"{kind.lower()}={kind}({', '.join(words)})" for kind, words in by_class.items()
    )
    names = ", ".join(f"{name}=" for name in former)
    # To the line that calls `lighten`, past this function and the two that lead to it.
    warnings.warn(f"lighten({names}) is now lighten({now})", DeprecationWarning, stacklevel=4)
