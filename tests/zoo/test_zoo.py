"""Published models are read whole, counted to the unit, and left as they were."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

import convsmith as cs
from convsmith.cli import main
from convsmith.errors import TraceError
from tests.zoo.architectures import INPUTS, UNKNOWN, build
from tests.zoo.observing import flops_by_module, modules_with_several_names, shapes, state

pytest.importorskip("torchvision")
pytest.importorskip("timm")

pytestmark = pytest.mark.zoo

IMAGE = (1, 3, 224, 224)
TOTALS = {
    "torchvision:resnet18": (11_689_512, 1_814_073_344),
    "torchvision:resnet50": (25_557_032, 4_089_184_256),
    "torchvision:vgg16": (138_357_544, 15_470_264_320),
    "torchvision:mobilenet_v2": (3_504_872, 300_774_272),
    "timm:mobilenetv1_100": (4_231_976, 568_740_352),
}


@pytest.mark.parametrize("spec", TOTALS)
def test_totals_to_the_unit(spec):
    report = cs.inspect(build(spec), IMAGE)
    assert (report.params, report.macs) == TOTALS[spec]
    assert report.status == "exact"


def test_half_a_mobilenet_v1():
    from timm.models.efficientnet import _gen_mobilenet_v1

    with torch.device("meta"):
        model = _gen_mobilenet_v1("mobilenetv1_050", channel_multiplier=0.5)
    report = cs.inspect(model, IMAGE)
    assert (report.macs, report.status) == (149_497_088, "exact")
    assert report.params == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("spec", INPUTS)
def test_every_module_counts_what_torch_counts(spec):
    model, inputs = build(spec), INPUTS[spec]
    # Frozen batch norms are common: flags that differ must come back as they were.
    for module in list(model.modules())[::3]:
        module.training = False
    before = state(model)
    network = cs.trace(model, inputs)
    report = cs.inspect(network)
    assert state(model) == before

    read = set()
    for layer in network:
        assert layer.name not in read and read.issuperset(layer.inputs)
        read.add(layer.name)

    assert report.params == sum(p.numel() for p in model.parameters())
    used = sum(layer.params for layer in report.layers)
    assert used == report.params - sum(p.numel for p in network.unused)

    unknown = UNKNOWN.get(spec, set())
    assert {layer.operation.name for layer in network if layer.kind == "unknown"} == unknown
    assert {reason.split(" (")[0] for reason in report.reasons} == {
        f"no rule counts {name!r}" for name in unknown
    }
    assert report.status == ("lower bound" if unknown else "exact")

    counted, result = flops_by_module(model, [torch.zeros(s, device="meta") for s in inputs])
    assert [network[name].shape for name in network.outputs] == shapes(result)
    assert 2 * report.macs == counted[""].total()
    convolutions = [layer for layer in report.layers if layer.kind.endswith("convolution")]
    assert 2 * sum(layer.macs for layer in convolutions) == counted[""]["convolution"]
    # Not only the sum: each module, down to the single layer.
    ambiguous = modules_with_several_names(model)
    for path in counted.keys() - ambiguous:
        own = [x for x in report.layers if x.path == path or x.path.startswith(f"{path}.")]
        if path:
            assert 2 * sum(layer.macs or 0 for layer in own) == counted[path].total(), path


def test_most_architectures_are_exact():
    assert set(UNKNOWN) < set(INPUTS)
    assert len(INPUTS) - len(UNKNOWN) >= 110


SAME = {"timm:tf_efficientnet_b0": 229, "timm:tf_mixnet_s": 197, "timm:tf_efficientnet_lite0": 224}


@pytest.mark.parametrize("spec", SAME)
def test_padding_same_of_tensorflow_is_read_side_by_side(spec):
    """⌈n/s⌉ places; what is missing is split in two, and the odd one goes to the end."""
    model, length = build(spec), SAME[spec]
    network = cs.trace(model, (1, 3, length, length + 3))
    strided = {
        path: module
        for path, module in model.named_modules()
        if isinstance(module, nn.Conv2d) and module.stride != (1, 1)
    }
    assert len(strided) >= 5
    uneven = 0
    for path, conv in strided.items():
        (pad,) = (x for x in network if x.path == path and x.kind == "pad")
        (layer,) = (x for x in network if x.path == path and x.kind == "convolution")
        assert layer.inputs == (pad.name,) and layer.operation.arithmetic.padding == ((0, 0),) * 2
        sides = []
        for n, k, s in zip(pad.operands[0].shape[2:], conv.kernel_size, conv.stride, strict=True):
            missing = max(0, (-(-n // s) - 1) * s + k - n)
            sides = [missing // 2, missing - missing // 2, *sides]  # F.pad: last axis first
            uneven += missing % 2
        assert list(pad.operation.settings["pad"]) == sides, path
        assert layer.shape[2:] == tuple(
            -(-n // s) for n, s in zip(pad.operands[0].shape[2:], conv.stride, strict=True)
        )
    assert uneven


def test_a_standardised_convolution_owns_all_that_its_weight_is_made_from():
    network = cs.trace(build("timm:nfnet_l0"), IMAGE)
    (stem,) = (x for x in network if x.path == "stem.conv1" and x.kind == "convolution")
    assert [p.name for p in stem.parameters] == [
        "stem.conv1.weight", "stem.conv1.gain", "stem.conv1.bias"
    ]  # fmt: skip
    assert stem.inputs == network.inputs


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ("timm:nfnet_l0", "stem.conv1"),
        ("timm:resnetv2_50x1_bit", "stem.conv"),
        ("torchvision:swin_v2_t", "features.1.0.attn.qkv"),
    ],
)
def test_the_path_of_a_module_names_its_own_operation(spec, path):
    layer = cs.trace(build(spec), IMAGE)[path]
    assert layer.kind in ("convolution", "linear") and not layer.constant


DETECTORS = {
    "fasterrcnn_mobilenet_v3_large_320_fpn": "FasterRCNN",
    "retinanet_resnet50_fpn": "RetinaNet",
}


@pytest.mark.parametrize("name", DETECTORS)
def test_detectors_are_refused_with_the_reason_and_the_line(name):
    """They keep as many boxes as score well: their shapes depend on values."""
    model = build(f"torchvision:{name}")
    before = state(model)
    why = rf"^{DETECTORS[name]} .*depends on the values of a tensor.*\(boxes\.py:\d+: if boxes"
    with pytest.raises(TraceError, match=why):
        cs.trace(model, IMAGE)
    assert state(model) == before


@pytest.mark.parametrize("spec", ["torchvision:resnet18", "timm:mobilenetv1_100"])
def test_the_command_line_says_the_same(spec, capsys):
    assert main(["inspect", spec, "--input", "1,3,224,224", "--json"]) == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert (told["report"], told["version"], err) == ("inspection", 1, "")
    assert (told["total"]["params"], told["total"]["macs"]) == TOTALS[spec]
    assert (told["total"]["status"], told["total"]["reasons"]) == ("exact", [])
    for key in ("params", "macs", "flops", "bytes"):
        assert sum(layer[key] for layer in told["layers"]) == told["total"][key]
    assert told["layers"] == json.loads(
        json.dumps(cs.inspect(build(spec), IMAGE).to_dict()["layers"])
    )


def test_the_command_line_refuses_a_detector_in_one_line(capsys):
    name, kind = next(iter(DETECTORS.items()))
    assert main(["inspect", f"torchvision:{name}", "--input", "1,3,96,96", "--json"]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(f"convsmith: {kind} cannot be traced: ")
    assert err.count("\n") == 1 and "Traceback" not in err
