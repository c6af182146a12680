"""The C parts under AddressSanitizer: no read or write outside of what a call was given."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from convsmith.kernels.library import compiler

SCRIPT = """
import os, torch, convsmith as cs
from torch import nn
from convsmith.kernels.isa import ISAS
from tests.runtime import several
from tests.runtime.several.checks import is_here

torch.manual_seed(0)


class Several(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.a = nn.Conv2d(3, channels, 3, padding=1)
        self.b = nn.Conv2d(3, channels, 3, stride=2, padding=2, dilation=2)
        self.c = nn.Conv2d(channels, 5, 1)

    def forward(self, x, y):
        x, y = torch.relu(self.a(x)), self.b(y)
        small = self.c(nn.functional.max_pool2d(x, 2))
        return self.c(x) + x.mean((2, 3), keepdim=True)[:, :5], y, small


for threads in (1, 2):
    for channels in (8, 19):
        net = Several(channels).eval()
        inputs = torch.randn(2, 3, 9, 7), torch.randn(2, 3, 6, 11)
        fast = cs.compile(net, inputs, threads=threads)
        assert fast.regions
        for rows, pixels, batch in ((9, 7, 2), (13, 8, 1), (5, 21, 5)):
            x, y = torch.randn(batch, 3, rows, pixels), torch.randn(3, 3, pixels, rows)
            for last in (False, True):
                if last:
                    x = x.contiguous(memory_format=torch.channels_last)
                for found, right in zip(fast(x, y), net(x, y)):
                    assert torch.allclose(found, right, atol=1e-4)
            net.c.weight.data.mul_(1.5)
            net.a.weight = nn.Parameter(torch.randn(channels, 3, 3, 3))

        one = cs.compile(nn.Sequential(net.a, nn.ReLU(), net.c), x, threads=threads)
        for image in (x, x[:1], x[:, :, :4]):
            image = image.contiguous()
            found = [one(image) for _ in range(4)]  # from the third on in C
            assert all(torch.equal(each, found[0]) for each in found)

for seed in range(int(os.environ.get("CONVSMITH_SANITIZED", "3"))):
    several.agree(several.sample(seed), [name for name in ISAS if is_here(name)], 1 + seed % 3)
print("done")
"""


def _library(command: Sequence[str], name: str) -> Path | None:
    asked = [*command, f"-print-file-name={name}"]
    path = Path(subprocess.run(asked, capture_output=True, text=True).stdout.strip())
    return path.resolve() if path.is_absolute() else None


@pytest.mark.slow
def test_nothing_is_read_elsewhere(tmp_path: Path) -> None:
    command = compiler()
    if command is None:
        pytest.skip("there is no C compiler")
    # The sanitizer looks for the runtime of C++, which Python does not load, when it starts.
    asan, runtime = (_library(command, name) for name in ("libasan.so", "libstdc++.so.6"))
    if asan is None or runtime is None:
        pytest.skip("the C compiler has no libasan")
    environment = {
        **os.environ,
        # Each instruction set has an executor of its own, whose names are the same.
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=0:detect_odr_violation=0",
        "CC": f"{' '.join(command)} -fsanitize=address -fno-omit-frame-pointer -g",
        "CONVSMITH_CACHE": str(tmp_path / "kernels"),
        "LD_PRELOAD": f"{asan} {runtime}",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, env=environment, check=False
    )
    assert "AddressSanitizer" not in done.stderr, done.stderr[-3000:]
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout == "done\n"
