"""ONNX files that others trained and deployed, through every verb, beside ONNX Runtime.

The files lie in two wheels, which `make test-onnx` downloads: the text detector, classifier and
recogniser of PaddleOCR (exported by Paddle), and a voice detector with recurrent parts.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("onnxruntime")

import onnx
import onnxruntime
from PIL import Image, ImageDraw, ImageFont

import convsmith as cs
from convsmith.rewrite import Timing

pytestmark = pytest.mark.zoo

WHEELS = Path(__file__).parents[2] / "build/onnx"
NETWORKS = {
    "classifier": ("ch_ppocr_mobile_v2.0_cls_infer.onnx", (1, 3, 48, 192)),
    "detector": ("ch_PP-OCRv4_det_infer.onnx", (1, 3, 96, 128)),
    "recogniser": ("ch_PP-OCRv4_rec_infer.onnx", (1, 3, 48, 160)),
}
VOICE = (
    "silero_vad.onnx",
    "silero_vad_16k_op15.onnx",
    "silero_vad_half.onnx",
    "silero_vad_16k_sequence.onnx",
)
TOLERANCE = 1e-4
"""Of the largest value: the detector ends in a sigmoid of steep scores."""


def unpacked(folder: Path, wheel: str, name: str) -> Path:
    """A file of a wheel."""
    wheels = sorted(WHEELS.glob(f"{wheel}-*.whl"))
    if not wheels:
        pytest.skip(f"no wheel of {wheel}: `make test-onnx` downloads it")
    with zipfile.ZipFile(wheels[-1]) as archive:
        member = next(each for each in archive.namelist() if each.endswith(f"/{name}"))
        path = folder / name
        path.write_bytes(archive.read(member))
    return path


def picture(shape: Sequence[int], text: str = "Convolve 42") -> Tensor:
    """A line of text, black on white, as these networks take it: values from -1 to 1."""
    image = Image.new("L", (shape[3], shape[2]), 255)
    font = ImageFont.load_default(28)
    ImageDraw.Draw(image).text((6, shape[2] // 2 - 18), text, fill=0, font=font)
    values = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).float() / 127.5 - 1
    return values.reshape(1, 1, *shape[2:]).repeat(shape[0], 3, 1, 1)


def runtime(path: Path, image: Tensor) -> Tensor:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: image.numpy()})
    return torch.from_numpy(found)


def agree(found: Tensor, expected: Tensor) -> None:
    assert found.shape == expected.shape
    assert expected.max() > 0.5  # a network that sees nothing would agree with anything
    assert (found - expected).abs().max() <= TOLERANCE * expected.abs().max()


@pytest.fixture(scope="module", params=NETWORKS)
def case(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path, nn.Module, Tensor, Tensor]:
    """Its name, its file, as it was read, a picture, and what ONNX Runtime says of it."""
    name, shape = NETWORKS[request.param]
    path = unpacked(tmp_path_factory.mktemp(request.param), "rapidocr_onnxruntime", name)
    image = picture(shape)
    return request.param, path, cs.read_onnx(path), image, runtime(path, image)


Case = tuple[str, Path, nn.Module, Tensor, Tensor]


def test_read(case: Case) -> None:
    _, path, network, image, expected = case
    with torch.no_grad():
        agree(network(image), expected)
        pair = torch.cat([image, picture(image.shape, "42 !")])
        agree(network(pair), runtime(path, pair))
        # The classifier too: it ends in a mean, and Paddle left its sizes free.
        wide = picture((1, *image.shape[1:3], image.shape[3] + 64))
        agree(network(wide), runtime(path, wide))


def test_inspect(case: Case) -> None:
    _, path, network, image, _ = case
    report = cs.inspect(network, tuple(image.shape))
    assert report.status == "exact"
    graph = onnx.load(path).graph
    sizes = {each.name: each.dims for each in graph.initializer}
    sizes |= {n.output[0]: n.attribute[0].t.dims for n in graph.node if n.op_type == "Constant"}
    kernels = {n.input[1] for n in graph.node if n.op_type in ("Conv", "ConvTranspose")}
    values = sum(int(torch.tensor(list(sizes[name])).prod()) for name in kernels)
    kinds = [m for m in network.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))]
    assert sum(m.weight.numel() for m in kinds) == values
    assert report.params == sum(p.numel() for p in network.parameters())


def test_compile(case: Case) -> None:
    _, _, network, image, expected = case
    fast = cs.compile(network, tuple(image.shape), threads=1)
    agree(fast(image), expected)
    assert fast.regions  # kernels, and not torch alone


def test_export(case: Case, tmp_path: Path) -> None:
    _, _, network, image, expected = case
    # ONNX Runtime is asked on noise otherwise, of which the detector makes 1e-12.
    written = cs.export(network, tuple(image.shape), tmp_path / "net.onnx", check=False)
    agree(runtime(written.path, image), expected)
    again = cs.read_onnx(written.path)
    with torch.no_grad():
        agree(again(image), expected)
    stored = cs.export(network, tuple(image.shape), tmp_path / "net.cvs", check=False)
    agree(cs.load(stored.path)(image), expected)


def test_library(case: Case, tmp_path: Path) -> None:
    pytest.importorskip("halide")
    kind, _, network, image, _ = case
    shape = tuple(image.shape)
    written = cs.export(network, shape, tmp_path / "out", target="x86-64-v3", partial=True)
    assert written.error is not None and written.error <= 1e-5
    left = {"classifier": "", "detector": "", "recogniser": "matmul"}[kind]
    assert left in " ".join(written.notes) and bool(left) == bool(written.notes)


def test_tile(case: Case) -> None:
    kind, _, network, image, expected = case
    refused = cs.tile(network, tuple(image.shape), tile=32).plan(image[0])
    assert refused.verdict == "impossible"
    swept = cs.tile(network, tuple(image.shape), tile=32, passes=True)
    if kind == "recogniser":  # its attention joins all positions
        assert "matmul" in str(swept.plan(image[0]))
        return
    found = torch.from_numpy(swept.run(image[0]).array)
    agree(found.reshape(expected.shape), expected)


def test_lighten(case: Case) -> None:
    _, _, network, image, expected = case
    torch.manual_seed(0)
    images = image.repeat(8, 1, 1, 1) + 0.1 * torch.randn(8, *image.shape[1:])
    light = cs.lighten(network, images, multiplier=1, timing=Timing(compiled=False))
    assert light.report.lightened.macs < light.report.original.macs
    with torch.no_grad():
        assert light.model.eval()(image).shape == expected.shape


def test_dilate(case: Case) -> None:
    _, _, network, image, _ = case
    # Squeeze-and-excite averages over the whole map, and that mean is another one on a finer map.
    with pytest.raises(cs.ConvsmithError, match="adaptive_avg_pool2d"):
        cs.dilate(network, tuple(image.shape), output_stride=2)


@pytest.mark.parametrize("name", VOICE)
def test_recurrent_parts_are_named(tmp_path: Path, name: str) -> None:
    path = unpacked(tmp_path, "silero_vad", name)
    with pytest.raises(cs.ModelError, match=r"(If|LSTM) '.+' (has a graph of its own|of opset)"):
        cs.read_onnx(path)
