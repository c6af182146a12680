"""How far tiles lie from the whole image: random draws, published networks, MONAI's windows."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import convsmith as cs
from benchmarks.mobile import settled_on
from benchmarks.segmenter import segmenter
from convsmith.cli.output import talk

__all__ = ["drawn", "published", "windows"]

SIZE = (192, 256)
"""Of the image for published networks, and a second one where nothing asks for multiples."""


def drawn(draws: int) -> dict[str, Any]:
    """How many values differ from the whole image's, over random sizes and tiles."""
    network, generator = segmenter(), np.random.default_rng(0)
    differ = values = 0
    worst = 0.0
    for _ in range(draws):
        size = [16 * int(n) for n in generator.integers(2, 24, 2)]
        tile = [int(n) for n in generator.integers(24, 200, 2)]
        image = generator.random((3, *size), dtype=np.float32)
        example = torch.from_numpy(image)[None]
        whole = cs.compile(network, example)(example)[0].numpy()
        compiled = cs.tile(network, (1, 3, 8, 8), tile=tile, backend="compiled").run(image).array
        plain = cs.tile(network, (1, 3, 8, 8), tile=tile).run(image).array
        differ += int((compiled != whole).sum())
        values += whole.size
        worst = max(worst, float(abs(plain - whole).max() / abs(whole).max()))
    return {"draws": draws, "compiled": differ, "values": values, "torch": worst}


class _First(nn.Module):
    """The first of the results that torchvision names."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.body(x)["out"]
        return found


class _HRNet(nn.Module):
    """HRNet's maps of all resolutions, brought to the largest and joined (Wang et al. 2019)."""

    def __init__(self) -> None:
        super().__init__()
        import timm

        self.body = timm.create_model("hrnet_w18_small", features_only=True, pretrained=False)
        channels = sum(self.body.feature_info.channels()[1:])
        self.head = nn.Conv2d(channels, 19, 1)

    def forward(self, x: Tensor) -> Tensor:
        first, *others = self.body(x)[1:]
        maps = [F.interpolate(m, first.shape[2:], mode="bilinear") for m in others]
        scores = self.head(torch.cat([first, *maps], 1))
        return F.interpolate(scores, x.shape[2:], mode="bilinear")


class _UNet(nn.Module):
    """Ronneberger et al. 2015 with padding: four levels down and up again."""

    def __init__(self, bilinear: bool) -> None:
        super().__init__()
        widths = (16, 32, 64, 128, 256)
        self.down = nn.ModuleList(map(_double, (3, *widths), widths))
        self.up, self.join = nn.ModuleList(), nn.ModuleList()
        for n in reversed(widths[:-1]):
            scale: nn.Module = nn.ConvTranspose2d(2 * n, n, 2, 2)
            if bilinear:
                larger = nn.Upsample(scale_factor=2, mode="bilinear")
                scale = nn.Sequential(larger, nn.Conv2d(2 * n, n, 1))
            self.up.append(scale)
            self.join.append(_double(2 * n, n))
        self.head = nn.Conv2d(widths[0], 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        skips: list[Tensor] = []
        for level, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if level else x)
            skips.append(x)
        skips.pop()
        for up, join in zip(self.up, self.join, strict=True):
            x = join(torch.cat([skips.pop(), up(x)], 1))
        found: Tensor = self.head(x)
        return found


def _double(m: int, n: int) -> nn.Module:
    layers: list[nn.Module] = []
    for channels in (m, n):
        layers += [nn.Conv2d(channels, n, 3, padding=1), nn.BatchNorm2d(n), nn.ReLU()]
    return nn.Sequential(*layers)


def _torchvision(name: str) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        from torchvision.models import segmentation

        build = getattr(segmentation, name)
        return _First(build(weights=None, weights_backbone=None, num_classes=21))

    return make


NETWORKS: dict[str, tuple[str, Callable[[], nn.Module]]] = {
    "U-Net, transposed": ("", lambda: _UNet(False)),
    "U-Net, bilinear": ("", lambda: _UNet(True)),
    "FCN on ResNet-50": ("torchvision", _torchvision("fcn_resnet50")),
    "DeepLabV3 on ResNet-50": ("torchvision", _torchvision("deeplabv3_resnet50")),
    "DeepLabV3 on MobileNetV3": ("torchvision", _torchvision("deeplabv3_mobilenet_v3_large")),
    "HRNet-W18-small": ("timm", _HRNet),
}


def published() -> list[dict[str, Any]]:
    """For each network: the differences of both backends, or why one refuses it."""
    rows = []
    for name, (package, make) in NETWORKS.items():
        if package and not find_spec(package):
            rows.append({"network": name, "missing": f"{package} is not installed"})
            continue
        talk(f"{name} …")
        torch.manual_seed(0)
        network = settled_on(make(), torch.rand(2, 3, 128, 128))
        rows.append({"network": name, "missing": "", **_network(network)})
    return rows


def _network(network: nn.Module) -> dict[str, Any]:
    image = torch.rand(3, *SIZE)
    with torch.no_grad():
        whole = network(image[None])[0].numpy()
    tiled = cs.tile(network, (1, 3, 8, 8), tile=(96, 80), passes=True)
    found = tiled.run(image.numpy(), layout="CYX").array
    row: dict[str, Any] = {
        "verdict": tiled.plan(image.numpy(), layout="CYX").verdict,
        "torch": float(abs(found - whole).max() / abs(whole).max()),
        "compiled": None,
        "values": whole.size,
        "why": "",
    }
    try:
        fast = cs.tile(network, (1, 3, 8, 8), tile=(96, 80), backend="compiled")
        tiles = fast.run(image.numpy(), layout="CYX").array
    except cs.ConvsmithError as error:
        return row | {"why": str(error)}
    compiled = cs.compile(network, image[None])(image[None])[0].numpy()
    return row | {"compiled": int((tiles != compiled).sum())}


def windows() -> float | None:
    """The largest difference from MONAI's sliding window; None where it is not installed."""
    if not find_spec("monai"):
        return None
    from monai.inferers import sliding_window_inference

    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 5, padding=2))
    image = torch.rand(3, 90, 75)
    worst = 0.0
    for blend in ("gaussian", "constant"):
        with torch.no_grad():
            whole = sliding_window_inference(
                image[None], (32, 32), 1, network, overlap=0.25, mode=blend
            )
        tiled = cs.tile(network, (1, 3, 8, 8), tile=32, mode="window", blend=blend)
        worst = max(worst, float(abs(tiled.run(image.numpy()).array - whole[0].numpy()).max()))
    return worst
