"""A source of labelled images in two parts: one to train on, one held out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

import torch
from torch import Tensor, nn

from convsmith.cli.data import Images, load_images
from convsmith.errors import DataError

__all__ = ["Batches", "accuracy", "chance", "train_and_test"]


class Batches:
    """Images with their labels, shuffled in each epoch by torch's random state."""

    def __init__(self, images: Any, labels: Tensor | None, size: int = 64) -> None:
        self.images, self.labels, self.size = images, labels, size

    def __len__(self) -> int:
        return -(-len(self.images) // self.size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor | None]]:
        for part in torch.split(torch.randperm(len(self.images)), self.size):
            yield self.images[part], None if self.labels is None else self.labels[part]


def train_and_test(
    spec: str,
    *,
    size: int | None = None,
    channels: int | None = None,
    on_error: Literal["fail", "skip"] = "fail",
    share: float = 0.25,
    seed: int = 0,
    least: int = 1,
) -> tuple[Images, Images]:
    """Read a source that is split already, or hold out a `share` of each class.

    Raises:
        DataError: where nothing can be held out, or fewer than `least` images are left then.
    """
    options: dict[str, Any] = {"size": size, "channels": channels, "on_error": on_error}
    images = load_images(spec, **options)
    if "test" in images.splits and "train" in images.splits:
        return images, load_images(spec, split="test", **options)
    count = len(images)
    labels = torch.zeros(count, dtype=torch.int64) if images.labels is None else images.labels
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    classes = [order[labels[order] == c] for c in torch.unique(labels).tolist()]
    held = torch.cat([members[: round(share * len(members))] for members in classes])
    if not 0 < len(held) < count:
        raise DataError(f"{spec}: {count} images are too few to hold some out")
    kept = order[~torch.isin(order, held)]
    if len(kept) < least:
        raise DataError(
            f"{spec}: of {count} images {len(held)} are held out, to tell the accuracy by; "
            f"{len(kept)} are left, and at least {least} are needed"
        )
    return images.take(kept), images.take(held)


def chance(labels: Tensor) -> float:
    """What guessing the most frequent class reaches at most, by two standard deviations.

    >>> round(chance(torch.arange(10).repeat(40)), 2)
    0.13
    """
    share = int(torch.bincount(labels).max()) / len(labels)
    return share + 2 * float((share * (1 - share) / len(labels)) ** 0.5)


def accuracy(images: Any, labels: Tensor, batch: int = 256) -> Callable[[nn.Module], float]:
    """How often a model's largest output is the label, as a function of the model."""

    def measure(model: nn.Module) -> float:
        hits = 0
        with torch.no_grad():
            for part in torch.split(torch.arange(len(labels)), batch):
                hits += int((model(images[part]).argmax(1) == labels[part]).sum())
        return hits / len(labels)

    return measure
