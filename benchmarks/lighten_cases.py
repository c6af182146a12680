"""The networks that are made lighter, what they learn, and the goals for each."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from benchmarks.choice import chosen
from benchmarks.garments import Data, Residual, Scenes, UNet, garments, vgg
from benchmarks.learning import Shuffled, accuracy, mean_iou, pixel_loss, pretrained, train

__all__ = ["NARROW", "TRAINED", "UNTRAINED", "WAYS", "Case", "Goal", "Way", "cases", "paces"]


class Way(NamedTuple):
    """A way to make a network lighter: its name in the tables, and the speed-up asked for."""

    name: str
    speedup: float
    trained: bool = False
    precision: str = "float32"


UNTRAINED = Way("convsmith, no training", 2.0)
TRAINED = Way("convsmith, trained", 4.0, trained=True)
NARROW = Way("convsmith, trained, bf16", 4.0, trained=True, precision="bf16")
WAYS = (UNTRAINED, TRAINED, NARROW)


class Goal(NamedTuple):
    """The most accuracy, as a share, that each way may cost."""

    untrained: float
    trained: float
    narrow: float

    def of(self, way: Way) -> float:
        """The goal for a way."""
        return {UNTRAINED: self.untrained, TRAINED: self.trained, NARROW: self.narrow}[way]


def paces(report: Any) -> tuple[float, float]:
    """Milliseconds of the original and of the lightened network, compiled where both were."""
    times = [row.compiled or row.latency for row in (report.original, report.lightened)]
    before, after = (time.median_ms if time else float("nan") for time in times)
    return before, after


@dataclass(frozen=True)
class Case:
    """A network, and what it learns.

    Attributes:
        name: in the tables and of its file.
        make: builds it.
        data: of all.
        score: gives its accuracy: the share of images classified correctly, or the mean IoU.
        teach: trains it from nothing, by a seed.
        loss: of outputs and labels; None for cross-entropy.
        size: images per batch of fine-tuning.
        batch: images that are timed together: enough that calls do not count.
        calibration: how many unlabelled images lightening sees.
        shown: how many images fine-tuning goes through in an epoch.
        goal: the most that may be lost.
    """

    name: str
    make: Callable[[], nn.Module]
    data: Data
    score: Callable[[nn.Module], float]
    teach: Callable[..., nn.Module]
    loss: Any
    size: int
    batch: int
    calibration: int
    shown: int
    goal: Goal

    def original(self, folder: Path, seed: int) -> nn.Module:
        """The network trained from nothing with a seed, kept in a folder."""
        return pretrained(self.label(seed), self.make, partial(self.teach, seed=seed), folder, seed)

    def label(self, seed: int) -> str:
        """The name of what is kept of a seed."""
        return f"{self.name}-{seed}" if seed else self.name

    def calibrating(self, seed: int) -> Tensor:
        """The unlabelled images that lightening sees."""
        random = torch.Generator().manual_seed(seed)
        return self.data.train[
            torch.randperm(len(self.data.train), generator=random)[: self.calibration]
        ]

    def batches(self, seed: int) -> Shuffled:
        """What fine-tuning goes through once per epoch: the same images for all."""
        random = torch.Generator().manual_seed(seed + 1)
        part = torch.randperm(len(self.data.train), generator=random)[: self.shown]
        return Shuffled(self.data.train[part], self.data.train_labels[part], self.size)


def cases(options: Namespace) -> list[Case]:
    """Those that `--only` names."""
    single = garments(Path(options.data))
    learn, judge = partial(train, data=single, epochs=5), accuracy(single)
    makers: dict[str, Callable[[], Case]] = {
        "resnet": lambda: Case(
            "resnet", Residual, single, judge, learn, None, 128, 32, 500, options.images,
            Goal(0.003, 0.005, 0.003),
        ),
        "vgg": lambda: Case(
            "vgg", vgg, single, judge, learn, None, 128, 32, 500, options.images,
            Goal(0.007, 0.008, 0.003),
        ),
        "unet": lambda: _unet(single, options.images),
    }  # fmt: skip
    return [make() for make in chosen(makers, options.only).values()]


def _unet(single: Data, shown: int) -> Case:
    scenes = Scenes().data(single, 4000, 500)
    learn = partial(train, data=scenes, epochs=6, loss=pixel_loss, size=16)
    return Case(
        "unet", UNet, scenes, mean_iou(scenes), learn, pixel_loss, 16, 1, 100, shown // 10,
        Goal(0.02, 0.03, 0.01),
    )  # fmt: skip
