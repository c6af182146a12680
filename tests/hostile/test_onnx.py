"""ONNX files that are damaged or forged: a result, or one line that says what is wrong."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

import convsmith as cs
from tests.hostile.mutation import ends_well, fuzzed, mutant
from tests.importing.test_onnx import F32, node, saved


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("onnx")


@pytest.fixture(scope="module")
def honest(place: Path) -> bytes:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten()).eval()
    return cs.export(net, (1, 3, 6, 6), place / "net.onnx", check=False).path.read_bytes()


@fuzzed(150)
def test_mutants(honest: bytes, place: Path, seed: int) -> None:
    path = place / "mutant.onnx"
    path.write_bytes(mutant(honest, Random(seed)))
    with ends_well():
        network = cs.read_onnx(path)
        # What torch refuses in what was changed; a trace says so in one line.
        with torch.no_grad(), torch.device("meta"), suppress(RuntimeError, TypeError):
            network.to("meta")(torch.zeros(1, 3, 6, 6))


def test_cut_off_anywhere(honest: bytes, place: Path) -> None:
    for length in range(0, len(honest), max(1, len(honest) // 60)):
        (place / "cut.onnx").write_bytes(honest[:length])
        with ends_well():
            cs.read_onnx(place / "cut.onnx")


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([node("Det", "x0")], r"Det 'the Det' of opset 17 is an operator that is not known"),
        ([node("Relu", "z")], r"Relu 'the Relu' of opset 17 reads 'z', which nothing before it"),
        ([helper.make_node("Fast", ["x0"], ["y"], "f", domain="acme")], r"acme\.Fast 'f' of opset"),
        ([helper.make_node("Relu", ["x0"], ["z"])], "nothing gives its output 'y'"),
        ([node("Conv", "x0", "w", group=0)], "has groups that do not divide"),
        ([node("Conv", "x0", "w", strides=[0, 0])], "has a stride or a dilation below 1"),
        ([node("Conv", "x0", "w", kernel_shape=[9, 9])], "has a weight of another kernel"),
        ([node("Conv", "x0", "w", pads=[1])], "windows of another number of axes"),
        ([node("If", "x0", then_branch=helper.make_graph([], "t", [], []))], "graph of its own"),
    ],
)
def test_what_cannot_be_computed_is_named(place: Path, nodes: list[Any], message: str) -> None:
    path = saved(place / "odd.onnx", nodes, [[1, 3, 8, 8]], {"w": np.ones((4, 3, 3, 3), F32)})
    with ends_well(), pytest.raises(cs.ModelError, match=message) as caught:
        cs.read_onnx(path)
    assert "odd.onnx" in str(caught.value)


def with_weight(place: Path, change: Any) -> Path:
    nodes = [node("Conv", "x0", "w")]
    path = saved(place / "odd.onnx", nodes, [[1, 3, 8, 8]], {"w": np.ones((4, 3, 3, 3), F32)})
    model = onnx.load(str(path))
    change(model.graph.initializer[0])
    path.write_bytes(model.SerializeToString())
    return path


def external(location: str, **more: str) -> Any:
    def change(tensor: Any) -> None:
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in {"location": location, **more}.items():
            tensor.external_data.add(key=key, value=value)

    return change


def dims(*lengths: int) -> Any:
    def change(tensor: Any) -> None:
        tensor.dims[:] = lengths

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dims(10**6, 10**6), "declares 1,000,000,000,000 values"),
        (dims(1000, 100), "100,000 values cannot be read"),
        (dims(-4, 3, 3, 3), "a negative length"),
        (external("missing.bin"), "are missing: there is no file"),
        (external("../outside.bin"), "lie outside of its folder"),
        (external("/etc/passwd"), "lie outside of its folder"),
        (external("link.bin"), "lie outside of its folder"),
        (external(""), "lie outside of its folder"),
        (external("short.bin"), "108 values cannot be read"),
        (external("short.bin", length=str(10**12)), "go beyond the end"),
        (external("short.bin", offset="-8"), "go beyond the end"),
        (external("short.bin", offset="x"), "cannot be read"),
        (external("pipe.bin"), "are missing"),
    ],
)
def test_weights_that_are_not_there(place: Path, change: Any, message: str) -> None:
    folder = place / "inner"
    folder.mkdir(exist_ok=True)
    (place / "outside.bin").write_bytes(bytes(432))
    (folder / "short.bin").write_bytes(bytes(16))
    if not (folder / "pipe.bin").exists():
        os.mkfifo(folder / "pipe.bin")
        (folder / "link.bin").symlink_to("/etc/passwd")
    with ends_well(), pytest.raises(cs.ModelError, match=message):
        cs.read_onnx(with_weight(folder, change))


def test_values_beside_the_file(place: Path) -> None:
    (place / "w.bin").write_bytes(np.arange(108, dtype=F32).tobytes())
    network = cs.read_onnx(with_weight(place, external("w.bin", offset="0", length="432")))
    assert torch.equal(next(network.parameters()).reshape(-1), torch.arange(108.0))


def test_sizes_beyond_memory_are_refused_when_it_runs(place: Path) -> None:
    nodes = [
        helper.make_node("ConstantOfShape", ["huge"], ["z"]),
        helper.make_node("Add", ["z", "x0"], ["y"], "sum"),
    ]
    held = {"huge": np.array([10**6, 10**6, 1, 1])}
    network = cs.read_onnx(saved(place / "odd.onnx", nodes, [[1, 1, 1, 1]], held))
    with ends_well(), pytest.raises(cs.ConvsmithError, match="more than this machine has bytes"):
        cs.trace(network, (1, 1, 1, 1))


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"PK\3\4", b"\x08\x07" * 1000])
def test_files_that_are_hardly_one(place: Path, content: bytes) -> None:
    (place / "odd.onnx").write_bytes(content)
    with ends_well(), pytest.raises(cs.ModelError, match=r"odd\.onnx is not an ONNX file"):
        cs.read_onnx(place / "odd.onnx")


def test_a_missing_file_is_told_with_the_one_meant(place: Path, honest: bytes) -> None:
    with pytest.raises(cs.ModelError, match=r"did you mean 'net\.onnx'"):
        cs.read_onnx(place / "nett.onnx")
