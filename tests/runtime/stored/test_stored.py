"""Files of compiled networks: they give the same bits, elsewhere, and refuse what does not fit."""

from __future__ import annotations

import copy
import os
import pickle
import pickletools
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from torch import Tensor, nn

import convsmith as cs
from convsmith.kernels.isa import ISAS
from convsmith.kernels.jit import JitLibrary
from convsmith.network.stored.operators import refusal
from convsmith.runtime.stored import loaded
from convsmith.runtime.stored.container import Container, packed
from convsmith.runtime.stored.operators import KNOWN
from tests.runtime.test_random_blocks import able
from tests.runtime.test_random_networks import Network, networks
from tests.thoroughness import examples


class Classifier(nn.Module):
    """Two regions, and a reshape between them that torch computes."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU6(),
            nn.Conv2d(16, 16, 3, 1, 1, groups=16), nn.Conv2d(16, 400, 1), nn.AdaptiveAvgPool2d(1),
        )  # fmt: skip
        self.head = nn.Linear(400, 300)

    def forward(self, x: Tensor) -> dict[str, Any]:
        """Scores, and a map, in a form of their own."""
        x = self.body(x)
        return {"scores": self.head(torch.flatten(x, 1)), "maps": (x, [x])}


def seeded(model: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    return model.eval()


def mapping() -> nn.Module:
    return seeded(nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 1)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stored")


@pytest.fixture(scope="module")
def small(folder: Path) -> tuple[Path, Tensor, Tensor]:
    """A file, an image and what it gives."""
    fast = cs.compile(mapping(), (1, 3, 12, 12), threads=2)
    image = torch.rand(3, 3, 12, 12)
    return fast.save(folder / "small.cvs"), image, fast(image)


@pytest.fixture
def stranger(small: tuple[Path, Tensor, Tensor], tmp_path: Path) -> Path:
    """The same file, as somebody else would have signed it."""
    path = tmp_path / "stranger.cvs"
    path.write_bytes(small[0].read_bytes()[:-32] + bytes(32))
    return path


def same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return type(one) is type(other) and all(map(same, one, other))


def test_several_sizes_and_a_structure_of_outputs(folder: Path) -> None:
    model = seeded(Classifier())
    fast = cs.compile(model, (2, 3, 20, 20), threads=2)
    assert len(fast.regions) == 2
    fast.prepare([(1, 3, 32, 24)])
    again = cs.load(fast.save(folder / "classifier.cvs"))
    assert isinstance(again, cs.Loaded)
    assert again.sizes == ["2×3×20×20 float32", "1×3×32×24 float32"]
    for shape in ((2, 3, 20, 20), (1, 3, 32, 24)):
        image = torch.rand(shape)
        assert same(again(image), fast(image))
        last = image.contiguous(memory_format=torch.channels_last)
        assert same(again(last), fast(image))
        strided = torch.rand(*shape[:3], 2 * shape[3])[..., ::2]
        assert same(again(strided), fast(strided))
    for shape in ((2, 3, 32, 24), (2, 4, 20, 20)):
        with pytest.raises(cs.ArgumentError, match=r"was saved for 2×3×20×20 float32; 1×3×32×24"):
            again(torch.rand(shape))


def test_any_batch_where_the_network_takes_any(small: tuple[Path, Tensor, Tensor]) -> None:
    path, image, expected = small
    again = cs.load(path)
    assert again.sizes == ["1×3×12×12 float32 (any batch)"]
    assert torch.equal(again(image), expected)
    for images in (1, 2, 7):
        batch = torch.rand(images, 3, 12, 12)
        assert torch.equal(again(batch), cs.compile(mapping(), (1, 3, 12, 12), threads=2)(batch))
    assert again(torch.rand(0, 3, 12, 12)).shape == (0, 4, 12, 12)


def test_one_thread_is_always_there(small: tuple[Path, Tensor, Tensor]) -> None:
    path, image, expected = small
    assert torch.equal(cs.load(path, threads=1)(image), expected)
    with pytest.raises(cs.ArgumentError, match="saved for 2 threads, or 1, not 3"):
        cs.load(path, threads=3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ISAS)
@examples(16, 3, 40)
@given(drawn=networks())
def test_random_networks(
    name: str, drawn: tuple[Network, Tensor], tmp_path_factory: pytest.TempPathFactory
) -> None:
    model, image = drawn
    fast = cs.compile(model, image, threads=2, isa=able(name))
    path = fast.save(tmp_path_factory.mktemp("random") / "net.cvs", source=False)
    assert same(cs.load(path)(image), fast(image))


FORBIDDEN = """
import sys
from pathlib import Path

class Forbid:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "halide" or name in NAMES:
            raise ImportError(f"{name} is forbidden")

NAMES = {"torch.export._trace", "torch._inductor", "torch.onnx", "convsmith.kernels.library"}
import torch
assert not NAMES & set(sys.modules), NAMES & set(sys.modules)
sys.meta_path.insert(0, Forbid())
import subprocess
subprocess.run = subprocess.Popen = None
import convsmith as cs

net = cs.load(sys.argv[1])
image, expected = torch.load(sys.argv[2], weights_only=True)
assert torch.equal(net(image), expected)
print(sum(name == "convsmith" or name.startswith("convsmith.") for name in sys.modules))
"""


def test_a_process_without_halide_a_compiler_and_captures(
    small: tuple[Path, Tensor, Tensor], tmp_path: Path
) -> None:
    path, image, expected = small
    torch.save((image, expected), tmp_path / "values.pt")
    command = [sys.executable, "-c", FORBIDDEN, str(path), str(tmp_path / "values.pt")]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr
    assert 10 < int(done.stdout) < 50


def test_a_strangers_machine_code_is_not_loaded(
    small: tuple[Path, Tensor, Tensor], stranger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, image, expected = small

    def refuse(*args: Any) -> Any:
        raise AssertionError("machine code was loaded")

    monkeypatch.setattr(loaded, "Code", refuse)
    again = cs.load(stranger)
    assert isinstance(again, cs.Compiled)
    assert torch.allclose(again(image), expected, atol=1e-6)
    assert isinstance(cs.load(small[0], trust=False), cs.Compiled)
    with pytest.raises(AssertionError, match="was loaded"):
        cs.load(stranger, trust=True)


def test_a_stranger_without_a_program_is_refused(folder: Path, tmp_path: Path) -> None:
    path = cs.compile(mapping(), (1, 3, 8, 8)).save(folder / "alone.cvs", source=False)
    assert isinstance(cs.load(path), cs.Loaded)
    other = tmp_path / "other.cvs"
    other.write_bytes(path.read_bytes()[:-32] + bytes(32))
    with pytest.raises(cs.ModelError, match=r"machine code alone.*trust=True"):
        cs.load(other)
    assert isinstance(cs.load(other, trust=True), cs.Loaded)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": "0.0.1"}, r"saved by convsmith 0\.0\.1, this is"),
        ({"system": ["plan9", "vax"]}, "saved for plan9 on vax"),
        ({"isa": "avx9000"}, "lacks avx9000"),
    ],
)
def test_what_was_made_elsewhere_is_refused(
    small: tuple[Path, Tensor, Tensor], tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    container = Container.open(small[0])
    parts = {name: container.part(name).tobytes() for name in container._parts}
    path = tmp_path / "other.cvs"
    path.write_bytes(packed(container.document | change, parts))
    with pytest.raises(cs.ModelError, match=message) as caught:
        cs.load(path)
    assert "trust=False" in str(caught.value) and "\n" not in str(caught.value)
    assert torch.allclose(cs.load(path, trust=False)(small[1]), small[2], atol=1e-6)


def test_copies_and_pickles(small: tuple[Path, Tensor, Tensor]) -> None:
    _, image, expected = small
    model = mapping()
    fast = cs.compile(model, (1, 3, 12, 12), threads=2)
    for twin in (copy.deepcopy(fast), copy.deepcopy(cs.load(small[0]))):
        assert twin is not fast and torch.equal(twin(image), expected)
    twin = copy.deepcopy(fast)
    nn.init.zeros_(model[2].bias)
    assert torch.equal(twin(image), expected) and not torch.equal(fast(image), expected)
    for network in (cs.compile(mapping(), (1, 3, 12, 12), threads=2), cs.load(small[0])):
        content = pickle.dumps(network)
        again = pickle.loads(content)
        assert torch.allclose(again(image), expected, atol=1e-6)
        # It names one function, and carries bytes without machine code.
        assert b"\x7fELF" not in content
        named = [arg for op, arg, _ in pickletools.genops(content) if "GLOBAL" in op.name and arg]
        assert named == []
        words = [a for op, a, _ in pickletools.genops(content) if op.name == "SHORT_BINUNICODE"]
        assert words == ["convsmith.runtime.stored.copying", "from_content"]


def test_several_threads_call_it(small: tuple[Path, Tensor, Tensor]) -> None:
    path, image, expected = small
    again, wrong = cs.load(path), []

    def calls() -> None:
        for _ in range(100):
            if not torch.equal(again(image), expected):
                wrong.append(1)

    threads = [threading.Thread(target=calls) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_what_cannot_be_stored_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Writes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)
            self.register_buffer("count", torch.zeros(1))

        def forward(self, x: Tensor) -> Tensor:
            self.count.add_(1)
            return self.conv(x) + self.count

    fast = cs.compile(seeded(Writes()), (1, 3, 8, 8))
    with pytest.raises(cs.ModelError, match=r"'torch\.ops\.aten\.\w+\.\w+' writes into a tensor"):
        fast.save(tmp_path / "net.cvs")
    fast = cs.compile(mapping(), (1, 3, 8, 8))
    with pytest.raises(cs.ConvsmithError, match="no folder"):
        fast.save(tmp_path / "nowhere" / "net.cvs")
    fast.save(tmp_path / "net.cvs")
    with pytest.raises(cs.ArgumentError, match="exists"):
        fast.save(tmp_path / "net.cvs")
    for region in fast.regions:
        region.library = JitLibrary(region.library.isa)
    with pytest.raises(cs.ConvsmithError, match="no C compiler"):
        fast.save(tmp_path / "other.cvs")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.cvs"]


def test_networks_that_torch_runs_alone(tmp_path: Path) -> None:
    model = seeded(nn.Sequential(nn.Conv3d(3, 4, 3), nn.GELU(), nn.Flatten(), nn.Linear(24, 5)))
    fast, image = cs.compile(model, (2, 3, 3, 4, 5)), torch.rand(2, 3, 3, 4, 5)
    again = cs.load(fast.save(tmp_path / "net.cvs"))
    assert torch.equal(again(image), fast(image)) and not fast.regions


def test_operators_that_are_known_are_those_that_the_rule_allows() -> None:
    assert all(refusal(name) == "" for name in KNOWN)


def test_it_is_for_inference(small: tuple[Path, Tensor, Tensor]) -> None:
    again = cs.load(small[0])
    assert again.eval() is again and not again(small[1].clone().requires_grad_()).requires_grad
    for wrong in (again.train, again.double):
        with pytest.raises(cs.ArgumentError):
            wrong()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(again(small[1]), small[2])
    assert "Loaded(Sequential for 1×3×12×12" in repr(again)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"path": "nowhere.cvs"}, "there is no file"),
        ({"path": "folder"}, "pass the original"),
        ({"path": "nowhere.cvs", "trust": 1}, "trust is True, False or None"),
        ({"path": "nowhere.cvs", "model": nn.ReLU()}, "leave out the model"),
        ({"path": "folder", "model": nn.ReLU(), "trust": True}, "for a compiled network"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(cs.ConvsmithError, match=message):
        cs.load(**arguments)
