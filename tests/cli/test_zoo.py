"""torchvision and timm by name: every model is built, and none is fetched."""

from __future__ import annotations

import inspect
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from convsmith.cli.models import load_model
from convsmith.errors import ModelError
from convsmith.network.stored.program import load_program

pytestmark = pytest.mark.zoo


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a model was to be fetched")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)


@pytest.mark.parametrize(
    "name",
    [
        "resnet18",
        "ResNet18",
        "mobilenet_v3_small",
        "googlenet",
        "quantized_mobilenet_v2",
        "deeplabv3_mobilenet_v3_large",
        "fasterrcnn_mobilenet_v3_large_fpn",
        "ssdlite320_mobilenet_v3_large",
    ],
)
def test_torchvision(name: str) -> None:
    assert isinstance(load_model(f"torchvision:{name}"), nn.Module)


def test_torchvision_takes_no_backbone_from_the_network() -> None:
    """The models above would fetch one: their builders ask for it by default."""
    from torchvision.models import get_model_builder

    for name in ("deeplabv3_mobilenet_v3_large", "fasterrcnn_mobilenet_v3_large_fpn"):
        assert inspect.signature(get_model_builder(name)).parameters["weights_backbone"].default


def test_weights_reach_a_model_of_torchvision(tmp_path: Path) -> None:
    torch.save(load_model("torchvision:resnet18").state_dict(), tmp_path / "w.pth")  # type: ignore[union-attr]
    load_model("torchvision:resnet18", tmp_path / "w.pth")
    with pytest.raises(
        ModelError, match=r"w\.pth does not fit torchvision:resnet34: missing 'layer"
    ):
        load_model("torchvision:resnet34", tmp_path / "w.pth")


@pytest.mark.parametrize("name", ["resnet18", "resnet18.a1_in1k", "mobilenetv3_small_050"])
def test_timm(name: str) -> None:
    assert isinstance(load_model(f"timm:{name}"), nn.Module)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("torchvision:resnt50", "torchvision has no model 'resnt50'; did you mean 'resnet50'"),
        ("torchvision:", "torchvision has no model ''"),
        ("timm:resnt50", "timm has no model 'resnt50'; did you mean 'resnet50'"),
        ("timm:hf-hub:someone/something", "timm has no model 'hf-hub:someone/something'"),
        ("timm:local-dir:/tmp", "timm has no model"),
    ],
)
def test_unknown_names(spec: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load_model(spec)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("resnet18", 64),
        ("mobilenet_v3_small", 64),
        ("deeplabv3_mobilenet_v3_large", 64),
        ("swin_t", 64),
        ("vit_b_16", 224),
        ("shufflenet_v2_x0_5", 64),
    ],
)
def test_honest_programs_pass_the_look_through(tmp_path: Path, name: str, size: int) -> None:
    model = load_model(f"torchvision:{name}")
    assert isinstance(model, nn.Module)
    example = torch.zeros(2, 3, size, size)
    batch = torch.export.Dim.AUTO
    program = torch.export.export(model.eval(), (example,), dynamic_shapes=[{0: batch}])
    torch.export.save(program, tmp_path / "net.pt2")
    again = load_program(tmp_path / "net.pt2")
    assert [str(n.target) for n in again.graph.nodes] == [
        str(n.target) for n in program.graph.nodes
    ]
