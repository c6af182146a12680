"""Networks that others trained and deployed, lightened without training: text and faces."""

from __future__ import annotations

import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.choice import chosen
from benchmarks.lighten_cases import paces
from benchmarks.trained import PHOTOGRAPHS, photographs
from convsmith.cli.output import steps
from convsmith.errors import DataError
from convsmith.importing import read_onnx
from convsmith.report import Column, Table, count, milliseconds, percent
from convsmith.rewrite import Run, Timing, lighten

__all__ = ["ONet", "Subject", "faces", "options", "overlap", "run", "tables", "texts"]

_NEAR = 0.95
_WORDS = ("convolution", "kernel", "stride", "padding", "dilation", "depthwise", "0123456789")


class ONet(nn.Module):
    """The last network of MTCNN (Zhang et al. 2016, arXiv:1604.02878), as facenet-pytorch has it.

    From a face of 48×48 pixels: whether it is one; it also gives its box and five points.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 32, 3), nn.PReLU(32)
        self.conv2, self.prelu2 = nn.Conv2d(32, 64, 3), nn.PReLU(64)
        self.conv3, self.prelu3 = nn.Conv2d(64, 64, 3), nn.PReLU(64)
        self.conv4, self.prelu4 = nn.Conv2d(64, 128, 2), nn.PReLU(128)
        self.pool1 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.pool2 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.pool3 = nn.MaxPool2d(2, 2, ceil_mode=True)
        self.dense5, self.prelu5 = nn.Linear(1152, 256), nn.PReLU(256)
        self.dense6_1, self.dense6_2 = nn.Linear(256, 2), nn.Linear(256, 4)
        self.dense6_3 = nn.Linear(256, 10)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map (N, 3, 48, 48) to boxes (N, 4), points (N, 10) and shares (N, 2): none, a face."""
        x = self.pool1(self.prelu1(self.conv1(x)))
        x = self.pool2(self.prelu2(self.conv2(x)))
        x = self.pool3(self.prelu3(self.conv3(x)))
        x = self.prelu4(self.conv4(x)).permute(0, 3, 2, 1).flatten(1)
        x = self.prelu5(self.dense5(x))
        return self.dense6_2(x), self.dense6_3(x), self.dense6_1(x).softmax(1)


@dataclass(frozen=True)
class Subject:
    """A network, and what it is shown.

    Attributes:
        load: gives it, trained.
        images: so many images, from a seed.
        seen: of its outputs, what it has found: a mask.
    """

    load: Callable[[], nn.Module]
    images: Callable[[int, int], Tensor]
    seen: Callable[[Any], Tensor]


def options(parser: ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--images", type=int, default=128, help="unlabelled images it is fitted to")
    parser.add_argument("--speedup", type=float, default=1.5)
    parser.add_argument("--only", default="", help="only networks whose name contains this")


def run(options: Namespace) -> dict[str, Any]:
    """Lighten each, and compare what both find in images of another seed."""
    torch.set_num_threads(options.threads)
    warnings.filterwarnings("ignore", category=UserWarning)
    rows = []
    for name, subject in chosen(SUBJECTS, options.only).items():
        model = subject.load().eval()
        images = list(torch.split(subject.images(options.images, 0), 32))
        with steps() as progress:
            light = lighten(
                model, images, options.speedup, timing=Timing(), run=Run(progress=progress)
            )
        report, shown = light.report, subject.images(64, 1)
        with torch.no_grad():
            expected, given = (subject.seen(net(shown)) for net in (model, light.model.eval()))
        before, after = paces(report)
        rows.append(
            {
                "network": name,
                "params": (report.original.params, report.lightened.params),
                "before": before,
                "ms": after,
                "speedup": before / after,
                "overlap": overlap(given, expected),
                "found": float(expected.double().mean()),
                "steps": [(step.name, step.error) for step in report.steps],
            }
        )
    return {
        "rows": rows,
        "missed": [
            f"{row['network']}: {row['speedup']:.2f}× instead of {options.speedup:g}×"
            for row in rows
            if row["speedup"] < _NEAR * options.speedup
        ],
        "threads": options.threads,
        "images": options.images,
    }


def overlap(given: Tensor, expected: Tensor) -> float:
    """Of what either found, the share that both did; 1 where neither found anything."""
    either = int((given | expected).sum())
    return int((given & expected).sum()) / either if either else 1.0


def texts(number: int, seed: int, side: int = 160) -> Tensor:
    """Photographs with printed words (N, 3, side, side), as the detector takes them."""
    from PIL import Image, ImageDraw, ImageFont

    random, found = np.random.default_rng(seed), []
    scenes = photographs(PHOTOGRAPHS)
    for each in range(number):
        scene = scenes[(each + seed) % len(scenes)]
        y, x = (int(random.integers(0, length - side + 1)) for length in scene.shape[:2])
        image = Image.fromarray(scene[y : y + side, x : x + side].copy())
        draw = ImageDraw.Draw(image)
        for _ in range(int(random.integers(1, 5))):
            font = ImageFont.load_default(int(random.integers(12, 34)))
            left, top = (int(v) for v in random.integers(0, side - 30, 2))
            shade = int(random.integers(0, 2)) * 255
            draw.text((left, top), str(random.choice(_WORDS)), fill=(shade,) * 3, font=font)
        found.append(torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1))
    mean, deviation = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    means, deviations = (torch.tensor(v)[:, None, None] for v in (mean, deviation))
    return (torch.stack(found).float() / 255 - means) / deviations


def faces(number: int, seed: int, side: int = 48) -> Tensor:
    """Faces and other pieces of photographs in turn (N, 3, side, side), from -1 to 1.

    The faces are scikit-image's hundred of Labelled Faces in the Wild, each seed another half.
    """
    import skimage

    random = np.random.default_rng(seed)
    known = np.load(Path(skimage.__file__).parent / "data/lfw_subset.npy")[seed % 2 : 100 : 2]
    scenes, found = photographs(PHOTOGRAPHS), []
    for each in range(number):
        if each % 2:
            face = torch.from_numpy(known[random.integers(len(known))]).float()
            piece = face.expand(3, -1, -1) * float(random.uniform(0.6, 1.0))
            piece = piece.flip(-1) if random.integers(2) else piece
        else:
            scene = scenes[each // 2 % len(scenes)]
            size = int(random.integers(40, 200))
            y, x = (int(random.integers(0, length - size + 1)) for length in scene.shape[:2])
            cut = scene[y : y + size, x : x + size].copy()
            piece = torch.from_numpy(cut).permute(2, 0, 1).float() / 255
        found.append(F.interpolate(piece[None], (side, side), mode="bilinear", antialias=True))
    return (torch.cat(found) * 255 - 127.5) / 128


def _file(package: str, wheel: str, path: str) -> Path:
    """A file of an installed wheel, without importing it."""
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise DataError(f"the weights are missing: pip install --no-deps {wheel}")
    return Path(next(iter(found.submodule_search_locations))) / path


def _detector() -> nn.Module:
    file = "models/ch_PP-OCRv4_det_infer.onnx"
    model: nn.Module = read_onnx(_file("rapidocr_onnxruntime", "rapidocr-onnxruntime", file))
    return model


def _onet() -> nn.Module:
    model = ONet()
    file = _file("facenet_pytorch", "facenet-pytorch", "data/onet.pt")
    model.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    return model


SUBJECTS = {
    "text detector": Subject(_detector, texts, lambda outputs: outputs > 0.3),
    "MTCNN, O-Net": Subject(_onet, faces, lambda outputs: outputs[2][:, 1] > 0.5),
}


def tables(result: dict[str, Any]) -> list[Table]:
    """A row for each network."""
    columns = [
        Column("network", "network"),
        Column("before_params", "parameters", align="right", format=count),
        Column("params", "lightened", align="right", format=count),
        Column("before", "compiled", align="right", format=milliseconds),
        Column("ms", "lightened", align="right", format=milliseconds),
        Column("speedup", "speed-up", align="right", format="{:.2f}×".format),
        Column("overlap", "found by both", align="right", format=percent),
        Column("error", "output error", align="right", format="{:.4f}".format),
    ]
    rows = []
    for row in result["rows"]:
        before, params = row["params"]
        more = {"before_params": before, "params": params, "error": row["steps"][-1][1]}
        rows.append(tuple((row | more)[column.key] for column in columns))
    note = (
        f"{result['threads']} thread(s), one image; fitted to {result['images']} unlabelled "
        "images, nothing trained; found by both: of the places (text) or images (faces) that "
        "either network marks in 64 other images, those that both do; output error: as a share of "
        "its variance, on the images it was fitted to"
    )
    return [Table(columns, rows, title="Published networks, lightened", note=note)]
