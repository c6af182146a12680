"""C libraries that end where only torch could go on."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("halide")

import convsmith as cs
from convsmith.cli import main
from convsmith.exporting.library.targets import TARGETS
from convsmith.kernels.isa import choose_isa
from tests.exporting.libraries import run_here
from tests.exporting.networks import settled

pytestmark = pytest.mark.skipif(
    not (shutil.which("ar") and TARGETS["x86-64-v3"].is_here and choose_isa()),
    reason="no x86-64 Linux with a compiler and AVX2",
)


class Scores(nn.Module):
    """A map as it is; scores of its mean, added up one after the other and sorted."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
        self.fc = nn.Linear(8, 5)
        self.unreached = nn.Linear(5, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Running sums, the map, and what comes after the sort."""
        x = self.body(x)
        scores = self.fc(x.mean((2, 3)))
        return scores.cumsum(1), x, self.unreached(scores.sort(1)[0])


class Sums(nn.Module):
    """Running sums over channels, which only torch computes."""

    def forward(self, x: Tensor) -> Tensor:
        """The sums."""
        return x.cumsum(1)


def test_what_comes_before_is_exported(tmp_path: Path) -> None:
    model, image = settled(Scores()).eval(), torch.randn(2, 3, 9, 10)
    with pytest.raises(cs.ConvsmithError, match=r"cumsum .*, sort .*; partial=True \(--partial\)"):
        cs.export(model, image, tmp_path / "out", target="x86-64-v3")
    written = cs.export(model, image, tmp_path / "out", target="x86-64-v3", partial=True)
    assert written.error is not None and written.error <= 1e-5
    ends = {value.name: value.shape for value in written.values if value.role == "output"}
    assert set(ends) == {"body.2", "fc"}
    assert written.parameters == sum(
        p.numel() for name, p in model.named_parameters() if not name.startswith("unreached")
    )
    exact = copy.deepcopy(model).double()
    with torch.no_grad():
        maps = exact.body(image.double())
        expected = {"body.2": maps, "fc": exact.fc(maps.mean((2, 3)))}
    found = run_here(tmp_path / "out/libnet.so", "net", [image], list(ends.values()))
    for name, tensor in zip(ends, found):
        assert (tensor - expected[name]).abs().max() <= 1e-6 * expected[name].abs().max()
    (note,) = written.notes
    assert "cumsum" in note and "sort" in note
    header = (tmp_path / "out/net.h").read_text()
    assert "cumsum" in header and "To be computed" in (tmp_path / "out/README.md").read_text()


def test_nothing_before_and_nothing_left(tmp_path: Path) -> None:
    first = nn.Sequential(Sums(), nn.Conv2d(3, 4, 1))
    with pytest.raises(cs.ConvsmithError, match=r"nothing comes before 0 \(no kernel for cumsum"):
        cs.export(first, (1, 3, 8, 8), tmp_path / "out", target="x86-64-v3", partial=True)
    whole = nn.Conv2d(3, 4, 1)
    options = {"target": "x86-64-v3", "check": False}
    one = cs.export(whole, (1, 3, 8, 8), tmp_path / "a", **options)
    other = cs.export(whole, (1, 3, 8, 8), tmp_path / "b", partial=True, **options)
    assert other.notes == () and other.values == one.values
    with pytest.raises(cs.ArgumentError, match="partial=True is for a C library"):
        cs.export(whole, (1, 3, 8, 8), tmp_path / "net.onnx", partial=True)


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "my.py").write_text(
        "import torch\n"
        "from torch import nn\n"
        "class Sums(nn.Module):\n"
        "    def forward(self, x):\n"
        "        return torch.flatten(x, 1).cumsum(1)\n"
        "build = lambda: nn.Sequential(nn.Conv2d(3, 4, 3), Sums())\n"
    )
    words = ["export", f"{tmp_path}/my.py:build", "--input", "1,3,8,8", "--target", "x86-64-v3"]
    assert main([*words, "-o", f"{tmp_path}/out", "--partial"]) == 0
    assert "left to compute after it: 1:cumsum (" in capsys.readouterr().err
