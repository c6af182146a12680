"""The network and the image of the benchmark of tiles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.mobile import mobilenetv2, settled

__all__ = ["CLASSES", "Segmenter", "photograph", "segmenter", "stored_image"]

CLASSES = 21
_BLOCK = 512
"""Side of a chunk of a stored image, and of the photograph that it repeats."""


class Segmenter(nn.Module):
    """MobileNetV2 to a stride of 16, a small head, and bilinear interpolation back."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(*list(mobilenetv2().children())[:14])
        with torch.no_grad():
            channels = self.body(torch.zeros(1, 3, 64, 64)).shape[1]
        self.head = nn.Sequential(nn.Conv2d(channels, 64, 1), nn.ReLU(), nn.Conv2d(64, CLASSES, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Scores of the classes at each pixel."""
        return F.interpolate(self.head(self.body(x)), x.shape[2:], mode="bilinear")


def segmenter() -> nn.Module:
    """The network, the same in every process."""
    torch.manual_seed(0)
    return settled(Segmenter()).eval()


def photograph(side: int) -> Any:
    """A photograph, repeated: (side, side, 3), uint8."""
    from skimage import data

    tiles = -(-side // _BLOCK)
    return np.ascontiguousarray(np.tile(data.astronaut(), (tiles, tiles, 1))[:side, :side])


def stored_image(folder: Path, side: int) -> Path:
    """The same as Zarr in a folder; it is written once, a row of chunks at a time."""
    import zarr

    path = folder / f"image-{side}.zarr"
    if path.exists():
        return path
    shape, chunks = (side, side, 3), (_BLOCK, _BLOCK, 3)
    array: Any = zarr.create_array(str(path), shape=shape, chunks=chunks, dtype="uint8")
    row = np.tile(photograph(_BLOCK), (1, -(-side // _BLOCK), 1))[:, :side]
    for start in range(0, side, _BLOCK):
        array[start : start + _BLOCK] = row[: min(_BLOCK, side - start)]
    return path
