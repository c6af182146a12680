"""`precision="bf16"`: every value is one that float64 with the same roundings gives."""

from __future__ import annotations

import copy
import os
import pickle
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

pytest.importorskip("halide")

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

import convsmith as cs
from benchmarks.mobile import mobilenetv2
from convsmith import machine
from convsmith.errors import ArgumentError, ModelError
from convsmith.kernels.isa import ISAS, lacking
from convsmith.kernels.kernel import Numbers
from convsmith.runtime.execution import bands, region
from convsmith.runtime.lowering import convolution
from tests.runtime import several
from tests.runtime.bf16 import CHECKED, check, every_region_checked, to_bf16
from tests.runtime.several.checks import called, clones, laid_out, parted
from tests.runtime.test_lowerings import Function
from tests.runtime.test_random_blocks import Block, Spec, lively, specs
from tests.runtime.test_random_networks import Network, networks
from tests.runtime.test_same_bits import SIZES, _Net, _same
from tests.thoroughness import THOROUGH, examples

HERE = ISAS["avx512"].has_bf16
needs_bf16 = pytest.mark.skipif(not HERE, reason="this processor lacks avx512_bf16")
BLOCKS, NETWORKS = os.environ.get("CONVSMITH_BLOCKS"), os.environ.get("CONVSMITH_NETWORKS")
COUNT = int(NETWORKS or (20 if THOROUGH else 6))


@pytest.fixture(scope="module", autouse=True)
def told(pytestconfig: pytest.Config) -> Iterator[None]:
    """Say how much was compared, where so many blocks or networks were asked for."""
    yield
    capturing = pytestconfig.pluginmanager.get_plugin("capturemanager")
    if BLOCKS or NETWORKS:
        with capturing.global_and_fixture_disabled():
            print(f"\nin bf16: {dict(CHECKED)}")


def fast(model: nn.Module, image: Any, **options: Any) -> Any:
    """The network in bf16."""
    return cs.compile(model, image, precision="bf16", **options)


class Read(nn.Module):
    """A network whose result is read by something else, too: it is then stored as bf16."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.body(x)
        return x, nn.functional.max_pool2d(x, 1)


def test_rounding_of_the_oracle() -> None:
    """As PyTorch's: all exponents, ties, both infinities, numbers below 2^-126."""
    bits = torch.arange(-(2**31), 2**31, 65_521, dtype=torch.int64).int()
    ties = (torch.arange(-(2**15), 2**15, dtype=torch.int32) << 16) + 0x8000
    values = torch.cat([bits, ties, ties - 1, ties + 1]).view(torch.float32)
    values = values[~values.isnan()]
    assert torch.equal(to_bf16(values.double()), values.bfloat16().double())


@needs_bf16
@examples(int(BLOCKS or 150), int(BLOCKS or 15))
@given(spec=specs())
def test_block(spec: Spec) -> None:
    torch.manual_seed(spec.seed)
    net = Read(lively(Block(spec))).eval()
    image = torch.randn(spec.batch, spec.channels[0], *spec.size)
    if spec.last:
        image = image.contiguous(memory_format=torch.channels_last)
    compiled = fast(net, image, threads=spec.threads)
    (part,) = compiled.regions
    found = compiled(image)
    check(part, found, image)
    # One pixel that is computed of a few channels is a statistic, which stays float32.
    if spec.channels[0] >= 16 or spec.size != (1, 1):
        assert torch.equal(found[0], found[0].bfloat16().float()), "it was not stored as bf16"


@needs_bf16
@pytest.mark.parametrize("channels", [16, 24, 40, 48, 80, 96, 144, 240, 272, 512, 528])
@pytest.mark.parametrize("fused", [True, False])
def test_depthwise_of_any_pitch(channels: int, fused: bool) -> None:
    torch.manual_seed(channels)
    layers = [nn.Conv2d(channels, channels, 3, 1, 1, groups=channels), nn.ReLU6()]
    if fused:
        layers.append(nn.Conv2d(channels, 24, 1))
    net, image = Read(nn.Sequential(*layers)).eval(), torch.randn(1, channels, 9, 11)
    compiled = fast(net, image)
    (part,) = compiled.regions
    assert len(part.blocks) == 5
    check(part, compiled(image), image)


class ChannelNorm(nn.Module):
    """A layer norm of the channels, of which a vector holds some."""

    in_channels = 40

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(self.in_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "normalized": lambda x: nn.functional.normalize(x, dim=1),
    "response norm": lambda x: nn.functional.local_response_norm(x, 5, 0.5),
    "variance": lambda x: x / (x.var(1, correction=0, keepdim=True) + 0.5),
    "less the least": lambda x: x - x.amin(1, keepdim=True),
    "every second": lambda x: x[:, :, 1::2, ::2],
    "less a channel": lambda x: x.sum(1, keepdim=True) - x,
}

LAYERS = {
    "grouped": lambda: nn.Conv2d(32, 48, 3, 1, 1, groups=8),
    "grouped in parts": lambda: nn.Conv2d(96, 64, 3, 2, 1, groups=2),
    "groups of vectors": lambda: nn.Conv2d(48, 72, 3, 1, 2, 2, groups=3),
    "groups of odd numbers": lambda: nn.Conv2d(30, 32, 3, 1, 1, groups=2),
    "large": lambda: nn.Conv2d(32, 32, 9, 1, 4, groups=32),
    "large dilated": lambda: nn.Conv2d(32, 32, 9, 1, 8, 2, groups=32),
    "seven": lambda: nn.Conv2d(48, 48, 7, 2, 3, groups=48),
    "transposed": lambda: nn.ConvTranspose2d(32, 20, 4, 2, 1),
    "transposed depthwise": lambda: nn.ConvTranspose2d(32, 32, 4, 2, 1, groups=32),
    "long sums": lambda: nn.Conv2d(640, 20, 3, 1, 1),
    "average": lambda: nn.AvgPool2d(3, 2, 1, count_include_pad=False),
    "bilinear": lambda: nn.Upsample(scale_factor=2, mode="bilinear"),
    "bicubic": lambda: nn.Upsample(scale_factor=1.7, mode="bicubic"),
    "shuffle": lambda: nn.ChannelShuffle(4),
    "layer norm": lambda: ChannelNorm(),
    "largest": lambda: nn.MaxPool2d(3, 2, 1),
    "largest dilated": lambda: nn.MaxPool2d((2, 5), 1, (0, 2), (3, 1)),
    "adaptive": lambda: nn.AdaptiveAvgPool2d((5, 7)),
    "adaptive largest": lambda: nn.AdaptiveMaxPool2d((3, 4)),
    "softmax": lambda: nn.Softmax(1),
    "log softmax": lambda: nn.LogSoftmax(1),
    **{name: lambda f=f: Function(f) for name, f in FUNCTIONS.items()},  # type: ignore[misc]
    "constant": lambda: nn.ConstantPad2d((0, 1, 2, -1), 0.3),
    **{
        mode: lambda mode=mode: nn.Conv2d(32, 20, 3, 1, 2, padding_mode=mode)  # type: ignore[misc]
        for mode in ("reflect", "circular")
    },
}


@needs_bf16
@pytest.mark.parametrize("name", LAYERS)
def test_layer(name: str) -> None:
    torch.manual_seed(0)
    layer: Any = LAYERS[name]()
    channels = getattr(layer, "in_channels", 32)
    net = Read(nn.Sequential(nn.Conv2d(16, channels, 1), layer, nn.Hardswish())).eval()
    image = torch.randn(2, 16, 19, 23)
    compiled = fast(net, image, threads=2)
    (part,) = compiled.regions
    # The last map goes outside alone.
    assert all(block.numbers.word for block in part.blocks[:-1])
    check(part, compiled(image), image)


@needs_bf16
@pytest.mark.parametrize(
    "function",
    [
        lambda x: x / (x.norm(dim=(2, 3), keepdim=True) + 1),
        lambda x: x.argmax(1, keepdim=True).float(),
        lambda x: x / (x.std((2, 3), keepdim=True) + 0.5),
        lambda x: x - x.amin((2, 3), keepdim=True),
    ],
    ids=[
        "quotient by the length of the map",
        "number of the largest channel",
        "deviation",
        "least",
    ],
)
def test_function_that_keeps_some_float32(function: Callable[[Tensor], Tensor]) -> None:
    net = nn.Sequential(nn.Conv2d(16, 32, 1), Function(function)).eval()
    image = torch.randn(2, 16, 9, 11)
    (part,) = fast(net, image, threads=2).regions
    check(part, part(image), image)


@needs_bf16
def test_new_weights_and_the_backend_of_torch() -> None:
    net, image = _fused()
    compiled = fast(net, image)
    with torch.no_grad():
        net.body[4].weight.mul_(2)
    assert _same(compiled(image), fast(net, image)(image))
    other = torch.compile(net, backend="convsmith", options={"precision": "bf16"})
    with torch.no_grad():
        assert _same(other(image), compiled(image))


@needs_bf16
@examples(int(NETWORKS or 60), int(NETWORKS or 5))
@given(given_=networks(), threads=st.integers(1, 3))
def test_network(given_: tuple[Network, Tensor], threads: int) -> None:
    net, image = given_
    with every_region_checked() as seen:
        fast(net, image, threads=threads)(image)
    assert seen


@needs_bf16
@pytest.mark.parametrize("channels", [(53, 70), (64, 96), (64, 150)])
@pytest.mark.parametrize("threads", [2, 3, 5])
def test_threads_share_the_outputs_of_a_pixel(channels: tuple[int, int], threads: int) -> None:
    torch.manual_seed(0)
    image = torch.randn(1, channels[0], 1, 1)
    compiled = fast(Read(nn.Conv2d(*channels, 1)).eval(), image, threads=threads)
    check(compiled.regions[0], compiled(image), image)


@needs_bf16
@pytest.mark.parametrize("seed", range(COUNT))
def test_networks_of_several_inputs(seed: int) -> None:
    sample = several.sample(seed)
    model, rng = sample.model(), random.Random(seed)
    args, kwargs = parted(clones(sample.sets[0]))
    with every_region_checked():
        compiled = fast(model, kwargs or tuple(args), threads=1 + seed % 3)
        for inputs in sample.sets:
            found, _ = called(compiled, laid_out(inputs, rng))
            with torch.no_grad():
                eager, _ = called(model, inputs)
            for mine, right in zip(tree_leaves(found), tree_leaves(eager), strict=True):
                assert (mine.shape, mine.dtype) == (right.shape, right.dtype)


def _fused() -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, 32, 3, 1, 1, groups=32), nn.ReLU6(),
        nn.Conv2d(32, 48, 1), nn.Conv2d(48, 32, 3, 1, 1),
    )  # fmt: skip
    return Read(net.eval()).eval(), torch.randn(2, 3, 30, 34)


@needs_bf16
@pytest.mark.parametrize("what", ["weights are cut off", "the oracle keeps weights"])
def test_the_oracle_sees_other_roundings(what: str) -> None:
    net, image = _fused()
    compiled = fast(net, image, threads=1)
    check(compiled.regions[0], compiled(image), image)
    if what == "weights are cut off":
        bits = convolution.bf16_bits

        def cut(values: Any) -> Any:
            return bits((values.astype("f4").view("u4") & 0xFFFF0000).view("f4"))

        with mock.patch.object(convolution, "bf16_bits", cut):
            compiled = fast(net, image, threads=1)
    else:
        for block in compiled.regions[0].blocks:
            compiled.regions[0].program(image)
            block.products = False
    with pytest.raises(AssertionError, match=r"values, e\.g\."):
        check(compiled.regions[0], compiled(image), image)


@pytest.fixture(scope="module")
def net() -> nn.Module:
    torch.manual_seed(0)
    return lively(_Net())


@needs_bf16
@pytest.mark.parametrize("size", SIZES)
def test_same_bits_for_any_threads(net: nn.Module, size: tuple[int, int]) -> None:
    image = torch.randn(2, 3, *size)
    wanted = fast(net, image, threads=1)(image)
    for threads in (2, 3):
        compiled = fast(net, image, threads=threads)
        for _ in range(3):
            assert _same(compiled(image), wanted)


@needs_bf16
def test_same_bits_for_any_batch(net: nn.Module) -> None:
    images = torch.randn(5, 3, 31, 37)
    whole = fast(net, images, threads=2)(images)
    for count in (1, 2, 3):
        compiled = fast(net, images[:count], threads=2)
        for start in range(0, 5 - count + 1):
            part = compiled(images[start : start + count])
            assert _same(part, tuple(value[start : start + count] for value in whole))


@needs_bf16
@pytest.mark.parametrize("band_bytes", [1, 3000, 10**9])
@pytest.mark.parametrize("size", SIZES)
def test_same_bits_for_any_bands(
    net: nn.Module, size: tuple[int, int], band_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = torch.randn(1, 3, *size)
    wanted = fast(net, image, threads=2)(image)

    def plan(blocks: object, sizes: object, threads: int) -> bands.Plan:
        return bands.plan(blocks, sizes, band_bytes, threads)  # type: ignore[arg-type]

    monkeypatch.setattr(region, "plan", plan)
    assert _same(fast(net, image, threads=2)(image), wanted)


@needs_bf16
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("where", ["image", "weight", "bias"])
def test_not_finite(value: float, where: str) -> None:
    """Wherever eager has NaN, an infinity or a number, so has bf16."""
    net, image = _fused()
    with torch.no_grad():
        if where == "image":
            image[0, 1, 7, 11] = value
        else:
            getattr(net.body[4], where)[5] = value
        wanted = net(image)
    for found, right in zip(fast(net, image)(image), wanted, strict=True):
        for kind in (torch.isnan, torch.isposinf, torch.isneginf):
            assert torch.equal(kind(found), kind(right))


@needs_bf16
@pytest.mark.parametrize("bits", [0x7FFFFFFF, -1, 0x7F800001, 0x7FC00000])
def test_every_nan_stays_one(bits: int) -> None:
    """One whose bits are all set would become a zero if it were rounded as numbers are."""
    nan = torch.tensor(bits, dtype=torch.int32).view(torch.float32)
    net = Read(nn.Conv2d(16, 16, 1, groups=16)).eval()
    image = torch.randn(1, 16, 5, 7)
    image[0, 3, 2, 2] = nan
    found, _ = fast(net, image)(image)
    assert int(found.isnan().sum()) == int(found[0, 3, 2, 2].isnan()) == 1


@needs_bf16
def test_denormals_are_zeros_as_factors_alone() -> None:
    """The processor takes numbers below 2^-126 for zeros in sums of bf16; they are stored so."""
    tiny = 2.0**-130
    wide = nn.Conv2d(16, 16, 1, groups=16, bias=False)
    sums = nn.Conv2d(16, 16, 1, bias=False)
    nn.init.ones_(wide.weight)
    nn.init.constant_(sums.weight, 1.0)
    image = torch.full((1, 16, 3, 3), tiny)
    assert torch.equal(fast(Read(wide).eval(), image)(image)[0], image)
    assert not fast(Read(sums).eval(), image)(image)[0].any()


@needs_bf16
def test_values_beyond_the_largest_become_infinities() -> None:
    net = Read(nn.Conv2d(16, 16, 1, groups=16, bias=False)).eval()
    nn.init.ones_(net.body.weight)
    image = torch.full((1, 16, 3, 3), torch.finfo(torch.float32).max)
    image[:, 1] = -image[:, 1]
    image[:, 2] = torch.finfo(torch.bfloat16).max
    found, _ = fast(net, image)(image)
    assert torch.equal(found[0, :3, 0, 0], torch.tensor([torch.inf, -torch.inf, image[0, 2, 0, 0]]))


@needs_bf16
def test_memory_of_a_call() -> None:
    net = mobilenetv2().eval()
    image = torch.randn(1, 3, 224, 224)
    # As many rows are kept as in float32, which takes no longer than as many bytes would.
    bytes_of = [
        cs.compile(net, image, threads=1, precision=name).regions[0].program(image).plan.memory
        for name in ("float32", "bf16")
    ]
    assert bytes_of[1] <= 0.6 * bytes_of[0]


@needs_bf16
def test_what_stays_float32_is_told() -> None:
    net, image = _fused()
    compiled = fast(net, image)
    assert compiled.precision == "bf16"
    profile = compiled.profile(rounds=2)
    assert [block.numbers for block in profile.blocks] == [
        "float32", "float32", "bf16", "bf16", "on bf16", "on bf16", "float32",
    ]  # fmt: skip
    assert "numbers" in str(profile.table())
    assert "numbers" not in str(cs.compile(net, image).profile(rounds=2).table())


@needs_bf16
@pytest.mark.parametrize(("groups", "numbers"), [(32, "float32"), (1, "bf16")])
def test_a_stem_stays_float32_where_depthwise_layers_alone_read_it(
    groups: int, numbers: str
) -> None:
    stem = [nn.Conv2d(3, 32, 3, 2), nn.ReLU()]
    net = nn.Sequential(*stem, nn.Conv2d(32, 32, 3, groups=groups), nn.Conv2d(32, 16, 1)).eval()
    image = torch.randn(1, 3, 24, 24)
    compiled = fast(net, image)
    blocks = compiled.profile(rounds=1).blocks
    assert [blocks[1].numbers, blocks[2].numbers] == [numbers, "bf16"]
    check(compiled.regions[0], compiled(image), image)


@needs_bf16
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 6, 14, 15])
@pytest.mark.parametrize("kernel", [(7, 7), (1, 3), (3, 2)])
@pytest.mark.parametrize("last", [False, True])
def test_a_stem_of_few_channels(channels: int, kernel: tuple[int, int], last: bool) -> None:
    """Full convolutions multiply pairs of them, but a single one and what cannot be paired."""
    torch.manual_seed(channels)
    stem = nn.Conv2d(channels, 40, kernel, 2, [k // 2 for k in kernel])
    net = Read(nn.Sequential(stem, nn.ReLU(), nn.Conv2d(40, 24, 3, 1, 1))).eval()
    image = torch.randn(3, channels, 23, 37)
    image[1, -1, 5, 7], image[2, 0, 20, 36] = torch.nan, torch.inf
    if last:
        image = image.contiguous(memory_format=torch.channels_last)
    compiled = fast(net, image, threads=2)
    found = compiled(image)
    kept = compiled.profile(rounds=1).blocks[1].numbers
    assert kept == ("bf16" if channels == 3 or (channels % 2 == 0) else "on bf16")
    check(compiled.regions[0], tuple(value[:1] for value in found), image[:1])
    with torch.no_grad():
        right = net(image)
    for one, other in zip(found, right, strict=True):
        assert torch.equal(one.isfinite(), other.isfinite())
    single = fast(net, image[:1], threads=1)
    for place in range(3):
        alone = single(image[place : place + 1])
        for one, other in zip(alone, found, strict=True):
            assert torch.equal(one.view(torch.int32), other[place : place + 1].view(torch.int32))


@needs_bf16
def test_an_image_that_others_read_too_stays_float32() -> None:
    """It is added to what is computed of it; or a layer is kept as it is."""

    class Added(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Conv2d(3, 32, 3, 1, 1), nn.Conv2d(32, 3, 3, 1, 1)

        def forward(self, x: Tensor) -> Tensor:
            value: Tensor = self.last(self.first(x)) + x
            return value

    net, image = Added().eval(), torch.randn(1, 3, 12, 14)
    compiled = fast(net, image)
    assert compiled.profile(rounds=1).blocks[1].numbers == "on bf16"
    check(compiled.regions[0], compiled(image), image)
    plain = nn.Sequential(net.first, net.last)
    assert fast(plain, image).profile(rounds=1).blocks[1].numbers == "bf16"
    compiled = fast(plain, image, keep=["0"])
    assert compiled.profile(rounds=1).blocks[1].numbers == "float32"
    check(compiled.regions[0], compiled(image), image)


@needs_bf16
def test_the_price_is_measured() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, 40, 3), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(40, 7),
    ).eval()  # fmt: skip
    images = torch.randn(70, 3, 16, 16)
    compiled = fast(net, images[:1])
    found = compiled.compare(images)
    with torch.no_grad():
        mine, right = compiled(images), net(images)
    assert (found.precision, found.images) == ("bf16", 70)
    assert found.error == pytest.approx(float((mine - right).norm() / right.norm()), rel=1e-3)
    assert found.largest == pytest.approx(float((mine - right).abs().max() / right.abs().max()))
    assert found.agreement == (mine.argmax(1) == right.argmax(1)).float().mean()
    assert 1e-5 < found.error < 1e-2
    labelled = [(batch, torch.zeros(len(batch))) for batch in images.split(20)]
    assert compiled.compare(labelled).error == pytest.approx(found.error, rel=1e-3)
    assert cs.compile(net, images[:1]).compare(images).error < 1e-6
    assert compiled.compare(images[:1]).to_dict()["images"] == 1
    assert "agreement" in str(found)


def test_nothing_to_compare() -> None:
    compiled = cs.compile(nn.Conv2d(3, 4, 1).eval(), (1, 3, 4, 4))
    assert compiled.compare(torch.randn(2, 3, 4, 4)).agreement is not None
    for images, message in (
        (torch.zeros(0, 3, 4, 4), r"^there are no images to compare$"),
        ([], r"^there are no images to compare$"),
        (3, r"^images are a tensor or batches of them, not int$"),
        (["a"], r"^a batch of images is a tensor, not str$"),
    ):
        with pytest.raises(ArgumentError, match=message):
            compiled.compare(images)


@needs_bf16
def test_layers_to_keep() -> None:
    net, image = _fused()
    plain = fast(net, image)
    kept = fast(net, image, keep=["body.4", "body.5"])
    with torch.no_grad():
        right = net(image)[0]
    errors = [(each(image)[0] - right).norm() for each in (plain, kept)]
    assert errors[1] < errors[0]
    check(kept.regions[0], kept(image), image)
    numbers = {name: b.numbers for b in kept.regions[0].blocks for name in b.layers}
    assert numbers["body.5"] == Numbers()
    with pytest.raises(ArgumentError, match=r"^keep names 'body.9', which is no layer"):
        fast(net, image, keep=["body.9"])


def test_settings_that_cannot_be() -> None:
    net = nn.Conv2d(3, 4, 1).eval()
    for options, message in (
        ({"precision": "fp16"}, r"^precision is 'float32' or 'bf16', not 'fp16'$"),
        ({"precision": None}, r"^precision is 'float32' or 'bf16', not None$"),
        ({"keep": ["a"]}, r"^keep=\['a'\] needs precision='bf16'"),
        ({"precision": "bf16", "keep": "a"}, r"^keep is a list of names of layers, not 'a'$"),
        ({"precision": "bf16", "isa": "avx2"}, r"^no bf16 here: avx2 has no products of bf16; "),
    ):
        with pytest.raises(ArgumentError, match=message):
            cs.compile(net, (1, 3, 4, 4), **options)


@pytest.mark.skipif(bool(lacking("avx512")), reason="this processor lacks avx512")
def test_a_processor_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    net, image = _fused()
    monkeypatch.setattr(type(ISAS["avx512"]), "has_bf16", False)
    with pytest.raises(
        ArgumentError,
        match=r"^no bf16 here: this processor lacks avx512_bf16, .*; allow_fallback=True takes",
    ):
        fast(net, image)
    compiled = fast(net, image, allow_fallback=True)
    assert compiled.precision == "float32"
    assert all(torch.equal(a, b) for a, b in zip(compiled(image), cs.compile(net, image)(image)))


@needs_bf16
@pytest.mark.parametrize("keep", [[], ["body.4"]])
def test_copies_and_files_keep_precision_and_layers(tmp_path: Path, keep: list[str]) -> None:
    net, image = _fused()
    compiled = fast(net, image, keep=keep)
    path = compiled.save(tmp_path / "net.cvs")
    for again in (
        copy.deepcopy(compiled), pickle.loads(pickle.dumps(compiled)), cs.load(path),
        cs.load(path, trust=False), pickle.loads(pickle.dumps(cs.load(path))),
    ):  # fmt: skip
        assert (again.precision, again.keep) == ("bf16", tuple(keep))
        assert "bf16" in repr(again)
        assert all(torch.equal(a, b) for a, b in zip(again(image), compiled(image), strict=True))


@needs_bf16
def test_a_file_needs_the_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net, image = _fused()
    path = fast(net, image).save(tmp_path / "net.cvs")
    flags = machine.cpu_flags() - {"avx512_bf16"}
    monkeypatch.setattr(machine, "cpu_flags", lambda: flags)
    with pytest.raises(
        ModelError,
        match=r"net.cvs computes in bf16; this processor lacks avx512_bf16: save it in f",
    ):
        cs.load(path)
    monkeypatch.setattr(type(ISAS["avx512"]), "has_bf16", False)
    with pytest.raises(ModelError, match=r"net.cvs computes in bf16: this processor lacks avx512_"):
        cs.load(path, trust=False)


class _Halves(nn.Module):
    """A body in bf16, and a head in float32."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU(),
            nn.Conv2d(32, 32, 3, 1, 1, groups=32), nn.Hardswish(), nn.Conv2d(32, 48, 1),
        )  # fmt: skip
        self.head = nn.Sequential(nn.Conv2d(48, 32, 1), nn.ReLU(), nn.Conv2d(32, 5, 3))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.body(x)
        return x, self.head(x.to(next(self.head.parameters()).dtype))


@needs_bf16
@pytest.mark.parametrize("mixed", [False, True])
def test_a_model_in_bf16(mixed: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net, image = lively(_Halves()), torch.randn(2, 3, 24, 28)
    (net.body if mixed else net).bfloat16()
    narrow = image.bfloat16()
    compiled = fast(net, narrow, threads=2)
    assert len(compiled.regions) == 2
    with every_region_checked() as called_regions:
        found = compiled(narrow)
    assert set(called_regions) == set(compiled.regions)
    with torch.no_grad():
        eager = net(narrow)
        exact = copy.deepcopy(net).double()(narrow.double())
    for mine, theirs, right in zip(found, eager, exact, strict=True):
        assert (mine.dtype, mine.shape) == (theirs.dtype, theirs.shape)
        errors = [float((each - right).norm() / right.norm()) for each in (mine, theirs)]
        # What eager computes in float32 it rounds nowhere.
        assert errors[0] <= (1.1 * errors[1] if mine.dtype == torch.bfloat16 else 5e-3)
    loaded = cs.load(compiled.save(tmp_path / "net.cvs"))
    assert all(torch.equal(a, b) for a, b in zip(loaded(narrow), found, strict=True))
    with torch.no_grad():
        net.body[0].weight += 1  # taken over, as that of a float32 model is
        assert not torch.equal(compiled(narrow)[0], found[0])
    plain = cs.compile(net, narrow)
    assert plain.reasons["body.0"] == "bfloat16 is not float32; precision='bf16' computes such"
    with pytest.raises(
        ArgumentError, match=r"does not take 2×3×24×28 float32: Input type \(float\)"
    ):
        compiled(image)
