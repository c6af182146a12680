"""What servers ask for: nothing compiled inside a request, limits of the machine respected."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import convsmith as cs
from convsmith.errors import ArgumentError
from convsmith.kernels.library import Library


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 8, 3, stride=2)
        self.line = nn.Linear(16, 16)
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.line(self.a(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2))


def _none(*args: Any) -> Any:
    pytest.fail("nothing is to be compiled")


@pytest.mark.parametrize("threads", [1, 2])
def test_prepare(monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    net = Net().eval()
    fast = cs.compile(net, (1, 3, 12, 12), threads=threads)
    sizes = [(1, 3, 12, 12), (3, 3, 20, 17), (1, 3, 9, 30)]
    fast.prepare(sizes)
    monkeypatch.setattr(Library, "_load", _none)
    monkeypatch.setattr("convsmith.runtime.execution.region.assemble", _none)
    monkeypatch.setattr("convsmith.runtime.graph.source.Capture", None)
    for size in sizes:
        image = torch.randn(size)
        assert torch.allclose(fast(image), net(image), atol=1e-5)


def test_new_sizes_in_torch() -> None:
    net = Net().eval()
    fast = cs.compile(net, (1, 3, 12, 12), threads=1, new_sizes="torch")
    image = torch.randn(1, 3, 12, 12)
    with torch.no_grad():
        assert torch.allclose(fast(image), net(image), atol=1e-5)
        other = torch.randn(2, 3, 17, 15)
        expected = net(other)
        assert torch.equal(fast(other), expected)  # torch's own bits
        fast._background.wait()
        runs = []
        net_forward = Net.forward
        Net.forward = lambda self, x: runs.append(1) or net_forward(self, x)
        try:
            assert torch.allclose(fast(other), expected, atol=1e-5)
        finally:
            Net.forward = net_forward
        assert not runs
        net.a = nn.Conv2d(3, 16, 5, padding=2)
        assert torch.allclose(fast(other), net(other), atol=1e-5)
        fast._background.wait()
        assert torch.allclose(fast(other), net(other), atol=1e-5)
    with pytest.raises(ArgumentError, match="'never'"):
        cs.compile(net, (1, 3, 12, 12), new_sizes="never")


def test_a_buffer_written_in_forward(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is captured once, not at every call."""

    class Remembering(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3, padding=1)
            self.register_buffer("last", torch.zeros(1, 8, 8, 8))

        def forward(self, x: Tensor) -> Tensor:
            y = self.conv(x) + self.last
            self.last.copy_(y)
            return y

    net, same = Remembering().eval(), Remembering().eval()
    same.load_state_dict(net.state_dict())
    fast = cs.compile(net, (1, 3, 8, 8), threads=1)
    monkeypatch.setattr("convsmith.runtime.graph.source.Capture", None)
    for _ in range(3):
        image = torch.randn(1, 3, 8, 8)
        assert torch.allclose(fast(image), same(image), atol=1e-5)


def test_as_many_threads_as_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    from convsmith.runtime import compile as _  # noqa: F401

    room = sys.modules["convsmith.runtime.compilation"]
    monkeypatch.setattr(room, "usable_processors", lambda: 3)
    for torchs, expected in ((1, 1), (2, 2), (8, 3)):
        monkeypatch.setattr(torch, "get_num_threads", lambda torchs=torchs: torchs)
        assert cs.compile(nn.Conv2d(3, 4, 3).eval(), (1, 3, 8, 8)).threads == expected


@pytest.mark.slow
def test_no_room_for_kernels(tmp_path: Any) -> None:
    """A file system without room is an error in one line, never the end of the process."""
    script = (
        "import resource, torch, convsmith as cs\n"
        "net, image = torch.nn.Conv2d(3, 8, 3).eval(), torch.zeros(1, 3, 9, 9)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))\n"
        "try: cs.compile(net, image)\n"
        "except cs.ConvsmithError as error: print(error)\n"
    )
    environment = {"CONVSMITH_CACHE": str(tmp_path / "kernels"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True, text=True, env={**environment, "PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("no room for kernels")
    assert done.stdout.count("\n") == 1
