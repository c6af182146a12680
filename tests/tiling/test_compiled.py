"""Compiled tiles: the whole image's bits, for every tiling, origin, worker and thread."""

import re
from importlib import import_module
from math import prod

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import convsmith as cs
from convsmith.errors import ArgumentError
from convsmith.runtime import precision as precision_module
from tests import networks
from tests.thoroughness import thinned
from tests.tiling.nets import PRECISIONS, UNet, needs_bf16, shaken
from tests.tiling.test_engines import Here

pytest.importorskip("halide")
from convsmith.kernels.isa import ISAS, choose_isa


class Pools(nn.Module):
    """Pools, a transposed convolution, nearest interpolation, sums and gates by position."""

    def __init__(self):
        super().__init__()
        self.stem = networks.conv_bn(3, 12, 5, 1, 2, act=nn.Hardswish)
        self.wide = nn.Conv2d(12, 12, 3, padding=4, dilation=4, groups=12)
        self.large = nn.Conv2d(12, 12, 7, padding=3, groups=12)
        self.grouped = nn.Conv2d(12, 12, 3, padding=1, groups=3)
        self.up = nn.ConvTranspose2d(12, 12, 4, 2, 1)

    def forward(self, x):
        x = self.stem(x)
        y = F.max_pool2d(x, 3, 2, 1) + F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)
        y = self.up(self.grouped(y)) * torch.sigmoid(self.large(x))
        return torch.cat([self.wide(y) + x, F.interpolate(F.avg_pool2d(y, 2), scale_factor=2.0)], 1)


class ChannelsLast(nn.Module):
    """ConvNeXt's block, which has the channels last for a while, and heads over its channels."""

    def __init__(self):
        super().__init__()
        self.stem, self.deep = nn.Conv2d(3, 20, 4, 4), nn.Conv2d(20, 20, 7, padding=3, groups=20)
        self.norm = nn.LayerNorm(20)
        self.up, self.down = nn.Linear(20, 36), nn.Linear(36, 20)

    def forward(self, x):
        x = self.stem(x)
        y = self.norm(self.deep(x).permute(0, 2, 3, 1))
        y = x + self.down(F.gelu(self.up(y))).permute(0, 3, 1, 2)
        return torch.cat([F.softmax(y, 1), F.normalize(y, dim=1)], 1)


class SubPixel(nn.Module):
    """Super-resolution: pixels to channels and back, learnt slopes, gates, maxima of maps."""

    def __init__(self):
        super().__init__()
        self.stem, self.slopes = nn.Conv2d(12, 24, 3, padding=1), nn.PReLU(24)
        self.gated, self.up = nn.Conv2d(24, 24, 5, padding=2), nn.Conv2d(12, 27, 3, padding=1)

    def forward(self, x):
        y = self.slopes(self.stem(F.pixel_unshuffle(x, 2)))
        y = F.glu(self.gated(y), 1)
        y = torch.maximum(y, y.mean(1, keepdim=True).sigmoid() * y)
        return F.pixel_shuffle(self.up(y), 3)


class Mirrored(nn.Module):
    """Restoration: borders that are mirrored or repeated, and cut off again."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 5, padding=2, padding_mode="reflect")
        self.deep = nn.Conv2d(16, 16, 3, 2, 1, groups=16, padding_mode="replicate")
        self.last = nn.Conv2d(32, 5, 3)

    def forward(self, x):
        x = self.stem(x)
        y = F.interpolate(F.relu(self.deep(x)), scale_factor=2.0, mode="bicubic")
        y = torch.cat([y, F.pad(x, (-1, 1, 2, -2), value=0.5)], 1)
        return self.last(F.pad(y, (1, 1, 1, 1), mode="reflect"))


def mobile():
    layers = [networks.conv_bn(3, 16, 3, 2, 1), networks.Inverted(16, 16, 1, 4),
              networks.Inverted(16, 24, 2, 6), networks.Inverted(24, 24, 1, 6),
              nn.Conv2d(24, 5, 1), nn.Upsample(scale_factor=4, mode="bilinear")]  # fmt: skip
    return nn.Sequential(*layers)


NETWORKS = {
    "transposed": lambda: UNet(width=8),
    "bilinear": lambda: UNet(width=8, up="bilinear"),
    "pools": Pools,
    "channels last": ChannelsLast,
    "sub-pixel": SubPixel,
    "mobile": mobile,
    "mirrored": Mirrored,
    "residual": lambda: networks.resnet18()[:4],
}
SIZES = {
    "mobile": [(128, 160), (92, 204)], "pools": [(64, 96), (70, 94)],
    "sub-pixel": [(64, 96), (70, 94)], "mirrored": [(96, 128), (70, 94)],
}  # fmt: skip


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", thinned(NETWORKS, 2))
def test_no_bit_differs(name, precision):
    torch.manual_seed(3)
    model = shaken(NETWORKS[name]())
    for size in SIZES.get(name, [(96, 128), (101, 77)]):
        image = torch.rand(3, *size)
        whole = cs.compile(model, image[None], threads=2, precision=precision)
        expected = whole(image[None])[0].numpy()
        for tile, workers in ((64, 1), (40, 2), (23, 1), ((9, 50), 1)):
            tiled = cs.tile(model, (1, 3, 8, 8), tile=tile, backend="compiled", precision=precision)
            result = tiled.run(image.numpy(), layout="CYX", workers=workers).array
            assert (result == expected).all(), (size, tile, int((result != expected).sum()))


@needs_bf16
def test_bf16_is_another_result_of_half_the_rings():
    """Else the tests above would hold float32 against itself."""
    torch.manual_seed(3)
    model, image = shaken(mobile()), torch.rand(3, 256, 320)
    plans, results = {}, {}
    for precision in ("float32", "bf16"):
        tiled = cs.tile(model, (1, 3, 8, 8), tile=128, backend="compiled", precision=precision)
        plans[precision] = tiled.plan(image.numpy())
        results[precision] = tiled.run(image.numpy()).array
        assert plans[precision].precision == precision
        assert plans[precision].to_dict()["precision"] == precision
        assert re.search(rf"kernels +{precision}\n", str(plans[precision]))
    wide, narrow = results["float32"], results["bf16"]
    assert (wide != narrow).mean() > 0.9
    assert abs(wide - narrow).max() < 0.05 * abs(wide).max()
    assert plans["bf16"].peak_bytes < plans["float32"].peak_bytes
    assert cs.tile(model, (1, 3, 8, 8)).plan(image.numpy()).precision is None


@needs_bf16
def test_bf16_takes_a_wider_tile_of_the_same_memory():
    model, image = shaken(mobile()), (3, 4000, 4000)
    tiles = [
        cs.tile(
            model, (1, 3, 8, 8), memory="120MB", backend="compiled", precision=precision
        ).plan(image).tile
        for precision in ("float32", "bf16")
    ]  # fmt: skip
    assert prod(tiles[1]) > prod(tiles[0]), tiles


@needs_bf16
def test_a_run_goes_on_in_its_own_precision(tmp_path):
    model, image = shaken(UNet(width=8)), np.random.default_rng(0).random((3, 64, 64), "float32")
    path = str(tmp_path / "out.npy")

    def run(precision, **options):
        tiled = cs.tile(model, (1, 3, 8, 8), tile=32, backend="compiled", precision=precision)
        return tiled.run(image, path, **options)

    run("bf16")
    assert run("bf16", resume=True).resumed == 4
    with pytest.raises(cs.ConvsmithError, match=r'settings changed \(precision "bf16", now "float'):
        run("float32", resume=True)


def test_precisions_that_are_refused(monkeypatch):
    image = np.zeros((3, 16, 16), np.float32)
    model = shaken(UNet())
    for settings, message in (
        ({"precision": "int8", "backend": "compiled"}, "precision must be one of .*not 'int8'"),
        ({"precision": None, "backend": "compiled"}, "precision must be one of .*not None"),
        ({"precision": "bf16"}, "precision='bf16' is for backend='compiled'"),
        ({"precision": "bf16", "mode": "window", "tile": 8}, "is for backend='compiled'"),
    ):
        with pytest.raises(ArgumentError, match=message):
            cs.tile(model, (1, 3, 8, 8), **settings)
    monkeypatch.setattr(precision_module, "lacks_bf16", lambda isa=None: "this processor lacks it")
    settings = {"backend": "compiled", "precision": "bf16"}
    with pytest.raises(ArgumentError, match="no bf16 here: this processor lacks it; allow_fallb"):
        cs.tile(model, (1, 3, 8, 8), **settings)
    tiled = cs.tile(model, (1, 3, 8, 8), allow_fallback=True, **settings)
    assert tiled.plan(image).precision == "float32"


@needs_bf16
def test_a_worker_without_bf16_says_so(tmp_path, monkeypatch):
    np.save(tmp_path / "in.npy", np.zeros((3, 48, 48), np.float32))
    tiled = cs.tile(shaken(UNet()), (1, 3, 8, 8), tile=24, backend="compiled", precision="bf16")
    monkeypatch.setattr(precision_module, "lacks_bf16", lambda isa=None: "this processor lacks it")
    with pytest.raises(ArgumentError, match=r"^no bf16 here: this processor lacks it$"):
        tiled.run(str(tmp_path / "in.npy"), str(tmp_path / "out.npy"), executor=Here())


@pytest.mark.slow
@pytest.mark.skipif(choose_isa() is not ISAS["avx512"], reason="this processor lacks avx512")
def test_a_run_keeps_its_instruction_set(tmp_path, monkeypatch):
    """Roots and exponentials are rounded otherwise in another one."""
    torch.manual_seed(3)
    model, image = shaken(ChannelsLast()), torch.rand(1, 3, 96, 64)
    expected = [cs.compile(model, image, isa=isa)(image)[0].numpy() for isa in ("avx512", "avx2")]
    assert (expected[0] != expected[1]).any()
    source, target = str(tmp_path / "in.npy"), str(tmp_path / "out.npy")
    np.save(source, image[0].numpy())
    settings = {"tile": 12, "backend": "compiled"}
    with monkeypatch.context() as patch:
        patch.setattr(import_module("convsmith.tiling.tile"), "instruction_set", lambda: "avx2")
        narrow = cs.tile(model, (1, 3, 8, 8), **settings)
    for options in ({}, {"executor": Here()}):
        narrow.run(source, target, force=True, **options)
        assert np.array_equal(np.load(target), expected[1])
    with pytest.raises(ArgumentError, match=r'settings changed \(isa "avx2", now "avx512"\)'):
        cs.tile(model, (1, 3, 8, 8), **settings).run(source, target, resume=True)
    monkeypatch.setattr("convsmith.tiling.job.instruction_set", lambda isa=None: "")
    with pytest.raises(ArgumentError, match="begun with kernels for avx2, this machine has none"):
        narrow.run(source, str(tmp_path / "other.npy"), executor=Here())


def test_the_budget_chooses_a_tile():
    model = shaken(mobile())
    image = np.random.default_rng(0).random((3, 1200, 1000), dtype=np.float32)
    large, small = (
        cs.tile(model, (1, 3, 8, 8), memory=m, backend="compiled") for m in ("1GB", "85MB")
    )
    assert large.plan(image).tiles == 1
    plan = small.plan(image)
    assert 1 < plan.tiles < 60 and plan.peak_bytes <= 85e6 and plan.verdict == "exact"
    with pytest.raises(cs.ConvsmithError, match="no tile of Sequential fits"):
        cs.tile(model, (1, 3, 8, 8), memory="20MB", backend="compiled").plan(image)


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (nn.Upsample(scale_factor=1.5, mode="bilinear"), "depend on the size of the image"),
        (nn.Upsample(scale_factor=3, mode="bilinear"), "depend on the size of the image"),
        (nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True), "depend on the size"),
        (nn.Conv2d(3, 3, 3, padding=1, padding_mode="circular"), "pads with the opposite border"),
    ],
)
def test_networks_that_do_not_move_with_the_image_are_refused(layer, reason):
    tiled = cs.tile(nn.Sequential(layer), (1, 3, 8, 8), backend="compiled")
    with pytest.raises(cs.ConvsmithError, match=f"in compiled kernels: .*{reason}"):
        tiled.run(np.zeros((3, 40, 40), "float32"))


SIZED = {
    "its settings follow": lambda y: y / y.shape[3],
    "it has other layers": lambda y: y * 2 if y.shape[3] > 60 else y,
    "linspace: its settings follow": lambda y: torch.cat(
        [y, torch.linspace(0, 1, y.shape[3]).expand(1, 1, *y.shape[2:])], 1
    ),
    "its values follow": lambda y: y * torch.tensor(float(y.shape[3])),
}
"""Code that asks for the size of the image, by why a part of it would give other values."""


@pytest.mark.parametrize("reason", SIZED)
def test_networks_that_ask_for_the_size_of_the_image_are_refused(reason):
    class Sized(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3, padding=1)

        def forward(self, x):
            return SIZED[reason](self.conv(x))

    image = np.random.default_rng(0).random((3, 80, 100), dtype=np.float32)
    tiled = cs.tile(Sized(), (1, 3, 8, 8), tile=24, backend="compiled")
    with pytest.raises(cs.ConvsmithError, match=f"in compiled kernels: .*{reason}"):
        tiled.run(image)


def test_kernels_stay_those_of_the_whole_image_when_weights_change():
    model = shaken(UNet(width=8))
    image = torch.rand(1, 3, 48, 200)
    whole = cs.compile(model, image, threads=1)
    part = cs.compile(model, image[..., :64], threads=1, part_of=whole.network)
    with torch.no_grad():
        model.down[0][0].weight.mul_(1.5)
    inside = 64 - 40  # what the right border of the part does not reach
    assert torch.equal(part(image[..., :64])[..., :inside], whole(image)[..., :inside])
    widths = [set(region._widths.values()) for region in part.regions]
    assert all(max(each) >= 200 for each in widths)


def test_what_compiled_tiles_are_not_for(tmp_path):
    for settings in ({"passes": True}, {"mode": "window", "tile": 8}, {"device": "cuda"}):
        with pytest.raises(cs.ConvsmithError, match="backend='compiled' is for"):
            cs.tile(UNet(), (1, 3, 8, 8), backend="compiled", **settings)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", thinned(NETWORKS))
def test_other_processes_give_the_same_bits(name, precision, tmp_path):
    """What travels is an exported program at the size of a part; kernels are compiled there."""
    da = pytest.importorskip("dask.array")
    torch.manual_seed(3)
    model = shaken(NETWORKS[name]())
    image = np.random.default_rng(1).random((3, 96, 80), "float32")
    whole = cs.compile(model, (1, 3, 96, 80), precision=precision)
    expected = whole(torch.from_numpy(image)[None]).numpy()[0]
    np.save(tmp_path / "in.npy", image)
    tiled = cs.tile(model, (1, 3, 32, 32), tile=(32, 24), backend="compiled", precision=precision)
    tiled.run(str(tmp_path / "in.npy"), str(tmp_path / "out.npy"), executor=Here())
    assert np.array_equal(np.load(tmp_path / "out.npy"), expected)
    blocks = tiled.map_blocks(da.from_array(image, chunks=(3, 48, 40)))
    assert np.array_equal(blocks.compute(), expected)
