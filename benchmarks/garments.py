"""Fashion-MNIST, single and composed to scenes, and the networks that learn it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convsmith.cli.idx import pairs_in, read_idx
from convsmith.errors import DataError

__all__ = ["FOLDER", "Block", "Data", "Residual", "Scenes", "Segmenter", "UNet", "garments", "vgg"]

FOLDER = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package `dataset-fashion-mnist` puts it."""

CLASSES = 10


@dataclass(frozen=True)
class Data:
    """Images (N, 1, H, W) in 0 … 1 and labels: one per image, or one per pixel (0: background)."""

    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor


def garments(folder: Path = FOLDER) -> Data:
    """The 60,000 training images and the 10,000 test images.

    Raises:
        DataError: where the files are missing, with the line that installs them.
    """
    pairs = pairs_in(folder.glob("*")) if folder.is_dir() else {}
    if not {"train", "test"} <= set(pairs):
        raise DataError(
            f"{folder} holds no Fashion-MNIST: apt-get install dataset-fashion-mnist, or --data"
        )
    found = []
    for split in ("train", "test"):
        images, labels = pairs[split]
        assert labels is not None
        found += [read_idx(images, 3)[:, None].float() / 255, read_idx(labels, 1).long()]
    return Data(*found)


@dataclass(frozen=True)
class Scenes:
    """Garments at random places of a canvas, later ones in front; every pixel has its label.

    Attributes:
        side: of the canvas, in pixels.
        most: garments in a scene; at least half as many.
    """

    side: int = 96
    most: int = 8

    def compose(self, images: Tensor, labels: Tensor, count: int, seed: int) -> tuple[Tensor, ...]:
        """That many scenes (N, 1, side, side) and their labels (N, side, side)."""
        random = torch.Generator().manual_seed(seed)
        canvas = torch.zeros(count, 1, self.side, self.side)
        truth = torch.zeros(count, self.side, self.side, dtype=torch.int64)
        height, width = images.shape[-2:]
        for scene in range(count):
            amount = int(torch.randint(self.most // 2, self.most + 1, (1,), generator=random))
            for which in torch.randint(len(images), (amount,), generator=random).tolist():
                low = self.side - height
                top, left = torch.randint(low + 1, (2,), generator=random).tolist()
                place = (slice(top, top + height), slice(left, left + width))
                garment = images[which, 0]
                worn = garment > 0.05
                canvas[scene, 0][place] = torch.where(worn, garment, canvas[scene, 0][place])
                truth[scene][place] = torch.where(worn, labels[which] + 1, truth[scene][place])
        return canvas, truth

    def data(self, single: Data, train: int, test: int) -> Data:
        """Training scenes, and test scenes made of other garments."""
        return Data(
            *self.compose(single.train, single.train_labels, train, seed=0),
            *self.compose(single.test, single.test_labels, test, seed=1),
        )


class Block(nn.Module):
    """Two convolutions and a shortcut (He et al. 2016, arXiv:1512.03385)."""

    def __init__(self, m: int, n: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(m, n, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(n)
        self.conv2 = nn.Conv2d(n, n, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(n)
        same = m == n and stride == 1
        self.shortcut = (
            nn.Identity()
            if same
            else nn.Sequential(nn.Conv2d(m, n, 1, stride, bias=False), nn.BatchNorm2d(n))
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, m, H, W) to (N, n, H / stride, W / stride)."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.shortcut(x))


class Residual(nn.Sequential):
    """A residual network of 0.70 million parameters with thirteen 3×3 convolutions."""

    def __init__(self) -> None:
        super().__init__(
            _step(1, 32),
            Block(32, 32, 1), Block(32, 32, 1),
            Block(32, 64, 2), Block(64, 64, 1),
            Block(64, 128, 2), Block(128, 128, 1),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, CLASSES),
        )  # fmt: skip


def vgg() -> nn.Sequential:
    """Seven 3×3 convolutions with pools between them (Simonyan & Zisserman 2015)."""
    layers: list[nn.Module] = []
    channels = 1
    for widths in ((32, 32), (64, 64), (128, 128, 128)):
        for width in widths:
            layers.append(_step(channels, width))
            channels = width
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, CLASSES)
    )


class UNet(nn.Module):
    """Three levels down and up again with skip connections (Ronneberger et al. 2015)."""

    def __init__(self, widths: tuple[int, ...] = (24, 48, 96)) -> None:
        super().__init__()
        downs = [_double(m, n) for m, n in pairwise((1, *widths))]
        self.downs = nn.ModuleList(downs)
        self.pool = nn.MaxPool2d(2)
        self.ups = nn.ModuleList(
            [nn.ConvTranspose2d(n, m, 2, 2) for m, n in pairwise(widths)][::-1]
        )
        self.joins = nn.ModuleList([_double(2 * m, m) for m in widths[:-1]][::-1])
        self.head = nn.Conv2d(widths[0], CLASSES + 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, 1, H, W) to logits (N, 11, H, W); both sides are multiples of four."""
        skips = []
        for number, down in enumerate(self.downs):
            x = down(self.pool(x) if number else x)
            skips.append(x)
        for up, join, skip in zip(self.ups, self.joins, skips[-2::-1], strict=True):
            x = join(torch.cat([skip, up(x)], 1))
        logits: Tensor = self.head(x)
        return logits


class Segmenter(nn.Sequential):
    """A residual encoder that halves the map four times, and a 1×1 convolution: coarse logits."""

    def __init__(self) -> None:
        super().__init__(
            _step(1, 16, stride=2),
            Block(16, 24, 2), Block(24, 24, 1),
            Block(24, 48, 2), Block(48, 48, 1),
            Block(48, 96, 2), Block(96, 96, 1),
            nn.Conv2d(96, CLASSES + 1, 1),
        )  # fmt: skip


def _step(m: int, n: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(m, n, 3, stride, 1, bias=False), nn.BatchNorm2d(n), nn.ReLU(inplace=True)
    )


def _double(m: int, n: int) -> nn.Sequential:
    return nn.Sequential(_step(m, n), _step(n, n))
