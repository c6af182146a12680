"""Handwritten digits to name and to find: the data of lessons 5 and 6, and networks for them.

The digits are scikit-learn's own copy of the UCI set (Alpaydin & Kaynak 1998): 1,797 of 8×8.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convsmith.errors import MissingExtra

__all__ = [
    "Data",
    "accuracy",
    "classifier",
    "digits",
    "mean_iou",
    "milliseconds",
    "scenes",
    "segmenter",
    "trained_classifier",
    "trained_segmenter",
    "upsampled",
]

_HELD_OUT = 539
SIDE = 40
"""Rows and columns of a scene."""


@dataclass(frozen=True, eq=False)
class Data:
    """Images (N, 1, H, W) with labels (N,) or (N, H, W), to learn from and held out."""

    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor

    def batches(self, size: int = 64) -> list[tuple[Tensor, Tensor]]:
        """What there is to learn from, in order."""
        starts = range(0, len(self.train), size)
        return [(self.train[i : i + size], self.train_labels[i : i + size]) for i in starts]


@lru_cache(maxsize=1)
def digits() -> Data:
    """The digits, shuffled once and for all, 539 of them held out.

    Raises:
        MissingExtra: without scikit-learn.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise MissingExtra("handwritten digits", extra="data", package="scikit-learn") from None
    values, names = load_digits(return_X_y=True)
    images = torch.tensor(values, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    labels = torch.tensor(names)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    images, labels = images[order], labels[order]
    return Data(images[:-_HELD_OUT], labels[:-_HELD_OUT], images[-_HELD_OUT:], labels[-_HELD_OUT:])


def _block(m: int, n: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(m, n, 3, stride, 1, bias=False), nn.BatchNorm2d(n), nn.ReLU()]


def classifier() -> nn.Sequential:
    """Four convolutions of 3×3 that name a digit: (N, 1, 8, 8) to (N, 10)."""
    blocks = [*_block(1, 32), *_block(32, 64), *_block(64, 64, 2), *_block(64, 128)]
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10))


def segmenter() -> nn.Sequential:
    """Six convolutions of 3×3, two of them strided: (N, 1, H, W) to (N, 3, H / 4, W / 4)."""
    blocks = [*_block(1, 16), *_block(16, 32, 2), *_block(32, 32)]
    blocks += [*_block(32, 48, 2), *_block(48, 48), *_block(48, 48)]
    return nn.Sequential(*blocks, nn.Conv2d(48, 3, 1))


@lru_cache(maxsize=1)
def trained_classifier() -> nn.Sequential:
    """The classifier, trained for a few seconds."""
    data = digits()

    def loss(model: nn.Module, chosen: Tensor) -> Tensor:
        return F.cross_entropy(model(data.train[chosen]), data.train_labels[chosen])

    return _trained(classifier, loss, len(data.train), batch=64, epochs=6, rate=3e-3)


@lru_cache(maxsize=1)
def trained_segmenter() -> nn.Sequential:
    """The segmenter, trained for some ten seconds on its own coarse grid."""
    data = scenes()
    weight = torch.tensor([0.4, 1.0, 1.0])  # most pixels are paper

    def loss(model: nn.Module, chosen: Tensor) -> Tensor:
        rows, columns = torch.randint(0, 4, (2,)).tolist()
        images = torch.roll(data.train[chosen], (rows, columns), (2, 3))
        labels = torch.roll(data.train_labels[chosen], (rows, columns), (1, 2))
        return F.cross_entropy(model(images), labels[:, ::4, ::4], weight=weight)

    return _trained(segmenter, loss, len(data.train), batch=32, epochs=10, rate=4e-3)


def _trained(
    build: Callable[[], nn.Sequential],
    loss: Callable[[nn.Module, Tensor], Tensor],
    count: int,
    *,
    batch: int,
    epochs: int,
    rate: float,
) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build()
        optimizer = torch.optim.AdamW(model.parameters(), rate)
        steps = epochs * -(-count // batch)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
        for _ in range(epochs):
            order = torch.randperm(count)
            for start in range(0, count, batch):
                value = loss(model, order[start : start + batch])
                optimizer.zero_grad()
                value.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
    return model.eval()


@lru_cache(maxsize=1)
def scenes() -> Data:
    """Sheets of 40×40 with up to four digits of 16×16; a pixel is paper 0, even 1 or odd 2."""
    data = digits()
    return Data(
        *_sheets(data.train, data.train_labels, 600, 0),
        *_sheets(data.test, data.test_labels, 60, 1),
    )


def _sheets(images: Tensor, labels: Tensor, count: int, seed: int) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    sheets = torch.zeros(count, 1, SIDE, SIDE)
    pixels = torch.zeros(count, SIDE, SIDE, dtype=torch.long)
    for sheet, pixel in zip(sheets, pixels, strict=True):
        for corner in ((2, 2), (2, 22), (22, 2), (22, 22)):
            chosen, moved_down, moved_right, there = (
                int(torch.randint(0, high, (), generator=draw)) for high in (len(images), 5, 5, 4)
            )
            if not there:
                continue
            top, left = corner[0] + moved_down - 2, corner[1] + moved_right - 2
            digit = F.interpolate(images[chosen][None], scale_factor=2, mode="bilinear")[0, 0]
            sheet[0, top : top + 16, left : left + 16] = digit
            kind = 1 + int(labels[chosen]) % 2
            pixel[top : top + 16, left : left + 16] = (digit > 0.4).long() * kind
    return sheets + 0.1 * torch.randn(sheets.shape, generator=draw), pixels


def accuracy(model: nn.Module) -> float:
    """The share of the held-out digits that a classifier names rightly."""
    data = digits()
    with torch.no_grad():
        return float((model(data.test).argmax(1) == data.test_labels).float().mean())


def upsampled(scores: Tensor, rate: int) -> Tensor:
    """Scores of every `rate`-th position of a sheet, drawn out to all of them (bilinear).

    Position i of the coarse map is position rate·i of the sheet; past the last one it is repeated.
    """
    if rate == 1:
        return scores
    reach = (scores.shape[-1] - 1) * rate + 1
    between = F.interpolate(scores, size=(reach, reach), mode="bilinear", align_corners=True)
    rest = SIDE - reach
    return F.pad(between, (0, rest, 0, rest), mode="replicate")


def mean_iou(scores: Tensor) -> float:
    """Mean intersection over union of the three classes on the held-out sheets."""
    named, labels = scores.argmax(1), scenes().test_labels
    shares = [
        float(((named == c) & (labels == c)).sum() / ((named == c) | (labels == c)).sum())
        for c in range(3)
    ]
    return sum(shares) / len(shares)


def milliseconds(model: Callable[[Tensor], Any], example: Tensor, runs: int = 40) -> float:
    """The median time of one call, after a few to warm up."""
    times = []
    with torch.no_grad():
        for _ in range(5):
            model(example)
        for _ in range(runs):
            start = time.perf_counter()
            model(example)
            times.append(1000 * (time.perf_counter() - start))
    return median(times)
