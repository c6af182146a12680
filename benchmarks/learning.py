"""Training of the benchmarks' own networks, kept in a folder so that it is done once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from benchmarks.garments import Data
from convsmith.cli.output import talk
from convsmith.machine import processors

__all__ = ["Shuffled", "accuracy", "mean_iou", "pixel_loss", "pretrained", "train"]

Loss = Callable[[Tensor, Tensor], Tensor]


class Shuffled:
    """Batches in a new order every epoch, some images mirrored.

    While they are gone through, PyTorch has all processors, however many it was measured with.
    """

    def __init__(self, images: Tensor, labels: Tensor, size: int = 128) -> None:
        self.images, self.labels, self.size = images, labels, size

    def __len__(self) -> int:
        return -(-len(self.images) // self.size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        threads = torch.get_num_threads()
        torch.set_num_threads(processors())
        try:
            for part in torch.split(torch.randperm(len(self.images)), self.size):
                images, labels = self.images[part], self.labels[part]
                if torch.rand(()) < 0.5:
                    images = images.flip(-1)
                    labels = labels.flip(-1) if labels.ndim > 1 else labels
                yield images, labels
        finally:
            torch.set_num_threads(threads)


def train(
    model: nn.Module,
    data: Data,
    epochs: int,
    loss: Loss = F.cross_entropy,
    rate: float = 0.1,
    size: int = 128,
    seed: int = 0,
) -> nn.Module:
    """Train with SGD and one cycle of the learning rate, in mixed precision; in evaluation mode."""
    batches = Shuffled(data.train, data.train_labels, size)
    optimizer = torch.optim.SGD(
        model.parameters(), rate, momentum=0.9, nesterov=True, weight_decay=5e-4
    )
    steps = epochs * len(batches)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model.train()
        for _ in range(epochs):
            for images, labels in batches:
                with torch.autocast("cpu", torch.bfloat16):
                    answers = model(images)
                value = loss(answers.float(), labels)
                optimizer.zero_grad()
                value.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
    return model.eval()


def pretrained(
    name: str,
    make: Callable[[], nn.Module],
    teach: Callable[[nn.Module], nn.Module],
    folder: Path,
    seed: int = 0,
) -> nn.Module:
    """The network of that name, trained; read from the folder if it is there."""
    path = folder / f"{name}.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = make().eval()
    if path.exists():
        model.load_state_dict(load_file(path))
        return model
    talk(f"training {name}")
    teach(model)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(model.state_dict(), path)
    return model


def accuracy(data: Data) -> Callable[[nn.Module], float]:
    """How often the largest output is the label, per image or per pixel."""

    def measure(model: nn.Module) -> float:
        hits = 0
        with torch.no_grad():
            for images, labels in _parts(data, 250):
                hits += int((model(images).argmax(1) == labels).sum())
        return hits / data.test_labels.numel()

    return measure


def mean_iou(data: Data) -> Callable[[nn.Module], float]:
    """Intersection over union of each class over all test scenes, and the mean of these.

    Coarse logits are first made as large as the labels, bilinearly.
    """

    def measure(model: nn.Module) -> float:
        with torch.no_grad():
            counts = torch.zeros(0, 0)
            for images, labels in _parts(data, 50):
                logits = _as_large(model(images), labels)
                classes = logits.shape[1]
                both = (labels * classes + logits.argmax(1)).flatten()
                found = torch.bincount(both, minlength=classes**2).reshape(classes, classes)
                counts = found if not counts.numel() else counts + found
        hits = counts.diagonal().double()
        return float((hits / (counts.sum(0) + counts.sum(1) - hits).clamp_min(1)).mean())

    return measure


def pixel_loss(answers: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy per pixel, of logits resized to the size of the labels."""
    return F.cross_entropy(_as_large(answers, labels), labels)


def _parts(data: Data, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The test images, one batch at a time."""
    yield from zip(torch.split(data.test, size), torch.split(data.test_labels, size), strict=True)


def _as_large(logits: Tensor, labels: Tensor) -> Tensor:
    if logits.shape[2:] == labels.shape[1:]:
        return logits
    return F.interpolate(logits, labels.shape[1:], mode="bilinear", align_corners=False)
