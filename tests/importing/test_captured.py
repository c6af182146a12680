"""What is read from an ONNX file is captured as it stands, and computed by kernels."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("onnxscript")

import convsmith as cs
from convsmith.exporting.agreement import difference


class Joined(nn.Module):
    """Maps that are joined, padded and flattened."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 1)
        self.last = nn.Conv2d(8, 5, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Scores between 0 and 1 that are all but 0."""
        x = torch.cat([self.left(x), self.right(x)], 1)
        return torch.sigmoid(self.last(x).mean((2, 3)) - 30)


def test_joined_maps_keep_their_type_and_their_kernels(tmp_path: Path) -> None:
    model, image = Joined().eval(), torch.randn(1, 3, 9, 8)
    network = cs.read_onnx(cs.export(model, image, tmp_path / "net.onnx").path)
    calls = [str(node.target) for node in cs.trace(network, image).program.graph.nodes]
    assert not [call for call in calls if call.startswith("aten.to.")]
    exact = copy.deepcopy(network).double()(image.double())
    assert exact.dtype is torch.float64
    fast = cs.compile(network, image, threads=1)
    assert not [why for why in fast.reasons.values() if "may change the values" in why]


def test_the_tail_of_a_sigmoid_is_not_a_difference(tmp_path: Path) -> None:
    """ONNX Runtime cuts it at 1e-8, where the model gives 1e-13; nothing of either can be seen."""
    written = cs.export(Joined(), (1, 3, 9, 8), tmp_path / "net.onnx")
    assert written.error is not None and written.error <= 1e-5
    tail = [torch.full((1, 5), 1e-13)]
    assert difference(tail, [tail[0] + 1e-8]) > 1
    assert difference(tail, [tail[0] + 1e-8], [1.0]) < 1e-7
    assert difference(tail, [tail[0] + 1e-3], [1.0]) > 1e-4
