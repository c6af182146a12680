"""C libraries: the bits of `compile`, clean C, no memory taken while a network runs."""

from __future__ import annotations

import copy
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import MISSING, fields
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

pytest.importorskip("halide")

import convsmith as cs
from convsmith import kernels
from convsmith.cli import main
from convsmith.exporting.library import toolchain
from convsmith.exporting.library.assembly import asks_for_memory, assembled
from convsmith.exporting.library.targets import TARGETS
from convsmith.kernels.isa import choose_isa
from convsmith.kernels.kernel import Kernel
from tests.exporting.libraries import Loaded, compiled, run_here, run_program
from tests.exporting.networks import settled
from tests.runtime.test_random_networks import Network, networks
from tests.thoroughness import examples

ISA_OF = {"x86-64-v3": "avx2", "x86-64-v4": "avx512"}


class Small(nn.Module):
    """A separable block, a squeeze, a classifier: maps, a view, vectors; two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 20, 3, 2, 1), nn.BatchNorm2d(20), nn.Hardswish(),
            nn.Conv2d(20, 20, 3, padding=1, groups=20), nn.ReLU6(), nn.Conv2d(20, 33, 1), nn.SiLU(),
        )  # fmt: skip
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(33, 7))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Scores, and a map."""
        x = self.body(x)
        return self.head(x), x


pytestmark = pytest.mark.skipif(
    not (shutil.which("ar") and TARGETS["x86-64-v3"].is_here),
    reason="no x86-64 Linux with a compiler",
)
SHAPES = [(2, 7), (2, 33, 9, 11)]


def able(target: str) -> str:
    """The instruction set of a target, if this processor has it."""
    try:
        choose_isa(ISA_OF[target])
    except cs.ArgumentError as error:
        pytest.skip(f"this processor lacks {ISA_OF[target]}: {error}")
    return ISA_OF[target]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library for AVX2, not to be changed."""
    able("x86-64-v3")
    folder = tmp_path_factory.mktemp("built")
    exported(folder)
    return folder / "out"


def exported(folder: Path, target: str = "x86-64-v3", **more: Any) -> Any:
    return cs.export(settled(Small()), (2, 3, 18, 21), folder / "out", target=target, **more)


@pytest.mark.parametrize("target", ISA_OF)
def test_the_bits_of_compile(tmp_path: Path, target: str) -> None:
    isa = able(target)
    model = settled(Small()).eval()
    written = cs.export(model, (2, 3, 18, 21), tmp_path / "out", target=target)
    assert written.error is not None and written.error <= 1e-5
    assert written.parameters == cs.inspect(model, (1, 3, 18, 21)).params
    assert written.library < 2**20
    fast, image = cs.compile(model, (2, 3, 18, 21), threads=1, isa=isa), torch.randn(2, 3, 18, 21)
    scores, maps = run_here(tmp_path / "out/libnet.so", "net", [image], SHAPES)
    exact = copy.deepcopy(model).double()(image.double())
    # What runs in torch there is a kernel here: a small linear layer.
    assert torch.equal(maps, fast(image)[1])
    for found, expected in zip((scores, maps), exact):
        assert (found - expected).abs().max() <= 1e-6 * expected.abs().max()


@pytest.mark.slow
@examples(6)
@given(networks(), st.integers(1, 3))
def test_random_networks(
    tmp_path_factory: pytest.TempPathFactory, drawn: tuple[Network, Tensor], images: int
) -> None:
    model, image = drawn
    image = image[:1].repeat(images, 1, 1, 1)
    folder = tmp_path_factory.mktemp("random") / "out"
    isa = able("x86-64-v3")
    fast = cs.compile(model, image, threads=1, isa=isa)
    if fast.reasons:
        with pytest.raises(cs.ConvsmithError, match="only torch computes"):
            cs.export(model, image, folder, target="x86-64-v3")
        return
    cs.export(model, image, folder, target="x86-64-v3", check=False)
    expected = tree_leaves(fast(image))
    library = Loaded(folder / "libnet.so")
    for _ in range(2):  # it leaves nothing behind that the next run would meet
        found = library.run([image], [t.shape for t in expected])
        assert all(map(torch.equal, found, expected))


@pytest.mark.slow
@pytest.mark.parametrize("target", ISA_OF)
def test_weights_that_no_second_cache_holds(tmp_path: Path, target: str) -> None:
    isa = able(target)
    model = nn.Sequential(nn.Conv2d(130, 130, 3, padding=1), nn.ReLU(), nn.Conv2d(130, 1100, 1))
    image = torch.randn(2, 130, 9, 23)
    cs.export(model.eval(), image, tmp_path / "out", target=target)
    wanted = cs.compile(model, image, threads=1, isa=isa)(image)
    (found,) = run_here(tmp_path / "out/libnet.so", "net", [image], [wanted.shape])
    assert torch.equal(found, wanted)


class Head(nn.Module):
    """Vectors by a mean, after a copy with the channels last; its input is an output as well."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 8, 3), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Scores, means, the image, and the scores in another shape."""
        means = self.conv(x.contiguous(memory_format=torch.channels_last)).relu().mean((2, 3))
        scores = self.fc(nn.functional.dropout(means, 0.5, self.training))
        return scores, means, x, scores.reshape(-1)


def test_means_copies_and_views(tmp_path: Path) -> None:
    able("x86-64-v3")
    model, image = Head().eval(), torch.randn(3, 3, 9, 10)
    written = cs.export(model, image, tmp_path / "out", target="x86-64-v3")
    assert [value.shape for value in written.values if value.role == "output"] == [
        (3, 5), (3, 8), (3, 3, 9, 10), (15,),
    ]  # fmt: skip
    expected = model(image)
    found = run_here(tmp_path / "out/libnet.so", "net", [image], [t.shape for t in expected])
    for one, other in zip(found, expected):
        assert torch.allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("double", [True, False])
def test_other_types_are_refused(tmp_path: Path, double: bool) -> None:
    class Cast(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x.to(torch.float32)).to(torch.float64 if double else torch.bfloat16)

    with pytest.raises(cs.ConvsmithError, match="only torch computes to"):
        cs.export(Cast(), (1, 3, 8, 8), tmp_path / "out", target="x86-64-v3")


@pytest.mark.slow
def test_one_library_for_several_instruction_sets(tmp_path: Path) -> None:
    model = settled(Small()).eval()
    written = cs.export(model, (2, 3, 18, 21), tmp_path / "out", target="x86-64")
    assert written.isas == ("avx512", "avx2")
    # An emulator has no AVX-512, or not even AVX2.
    if emulator := shutil.which("qemu-x86_64"):
        program = compiled(tmp_path / "out", "gcc", ["main.c", "libnet.a"], "main", "-static")
        image = torch.randn(2, 3, 18, 21)
        exact = copy.deepcopy(model).double()(image.double())
        found = run_program([emulator, "-cpu", "max", program], tmp_path, [image], SHAPES)
        for one, other in zip(found, exact):
            assert (one - other).abs().max() <= 1e-6 * other.abs().max()
        done = subprocess.run(
            [emulator, "-cpu", "Nehalem", program, tmp_path / "in0"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, "lacks the instructions" in done.stderr) == (1, True)
    # Both read the same weights.
    small = cs.export(model, (2, 3, 18, 21), tmp_path / "v3", target="x86-64-v3")
    assert written.weights == small.weights
    assert written.error is not None and written.error <= 1e-5


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_clean_c(built: Path, tmp_path: Path, compiler: str) -> None:
    if not shutil.which(compiler):
        pytest.skip(f"no {compiler}")
    shutil.copytree(built, tmp_path / "out")
    image, shapes = torch.randn(2, 3, 18, 21), SHAPES
    expected = run_here(tmp_path / "out/libnet.so", "net", [image], shapes)
    sources = ["main.c", "net.c", "kernels.s", "weights.s"]
    program = compiled(tmp_path / "out", compiler, sources, "main", "-O2", "-Wpedantic", "-Wshadow")
    assert all(map(torch.equal, run_program([program], tmp_path, [image], shapes), expected))
    # The weights as a file.
    sources = ["main.c", "net.c", "kernels.s"]
    program = compiled(tmp_path / "out", compiler, sources, "apart", "-DNET_WEIGHTS_APART")
    command = [program, "-w", tmp_path / "out/weights.bin"]
    assert all(map(torch.equal, run_program(command, tmp_path, [image], shapes), expected))
    other = tmp_path / "other.bin"
    other.write_bytes(bytes((tmp_path / "out/weights.bin").stat().st_size))
    done = subprocess.run(
        [program, "-w", other, tmp_path / "in0"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "weights of another network" in done.stderr


@pytest.mark.slow
def test_sanitised(built: Path, tmp_path: Path) -> None:
    shutil.copytree(built, tmp_path / "out")
    image, shapes = torch.randn(2, 3, 18, 21), SHAPES
    sources = ["main.c", "net.c", "kernels.s", "weights.s"]
    flags = ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    program = compiled(tmp_path / "out", "gcc", sources, "main", *flags)
    run_program([program], tmp_path, [image], shapes)


@pytest.mark.skipif(not shutil.which("valgrind"), reason="no valgrind")
def test_valgrind(built: Path, tmp_path: Path) -> None:
    """It also sees what the kernels read and write."""
    shutil.copytree(built, tmp_path / "out")
    image, shapes = torch.randn(2, 3, 18, 21), SHAPES
    program = compiled(tmp_path / "out", "gcc", ["main.c", "libnet.a"], "main", "-O1")
    valgrind = ["valgrind", "-q", "--error-exitcode=3", "--leak-check=full", program]
    run_program(valgrind, tmp_path, [image], shapes)


COUNTING = """
#include <stddef.h>
#include <stdio.h>
#include "net.h"
static int taken;
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_malloc(size_t size) { taken++; return __real_malloc(size); }
static float in[2 * 3 * 18 * 21], scores[2 * 7], maps[2 * 33 * 9 * 11];
int main(void) {
    net *n = net_create(NULL);
    if (taken != 1) return 1;
    for (int i = 0; i < 3; i++)
        if (net_run(n, (const float *const[]){in}, (float *const[]){scores, maps})) return 2;
    net_destroy(n);
    return taken == 1 ? 0 : 3;
}
"""


def test_one_arena_and_no_other_memory(built: Path, tmp_path: Path) -> None:
    shutil.copytree(built, tmp_path / "out")
    (tmp_path / "out/counting.c").write_text(COUNTING)
    wrap = [f"-Wl,--wrap={name}" for name in ("malloc",)]
    program = compiled(tmp_path / "out", "gcc", ["counting.c", "libnet.a"], "counting", *wrap)
    assert subprocess.run([program], check=False).returncode == 0
    nm = subprocess.run(
        ["nm", "-u", "libnet.a"], cwd=tmp_path / "out", capture_output=True, text=True, check=True
    )
    assert not {"calloc", "realloc", "aligned_alloc", "mmap", "halide_malloc"} & {
        *nm.stdout.split()
    }


@pytest.mark.slow
def test_two_networks_in_one_program(tmp_path: Path) -> None:
    able("x86-64-v3")
    for name, channels in (("first", 8), ("second", 24)):
        model = settled(nn.Sequential(nn.Conv2d(3, channels, 3), nn.ReLU()))
        cs.export(model, (1, 3, 9, 9), tmp_path / name, target="x86-64-v3", name=name, check=False)
    (tmp_path / "both.c").write_text(
        """
        #include "first/first.h"
        #include "second/second.h"
        int main(void) {
            first *a = first_create(0);
            second *b = second_create(0);
            if (!a || !b) return 1;
            first_destroy(a);
            second_destroy(b);
            return FIRST_OUTPUTS + SECOND_OUTPUTS - 2;
        }
        """
    )
    libraries = ["first/libfirst.a", "second/libsecond.a"]
    program = compiled(tmp_path, "gcc", ["both.c", *libraries], "both")
    assert subprocess.run([program], check=False).returncode == 0


def test_picture(tmp_path: Path) -> None:
    able("x86-64-v3")
    model = settled(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()))
    cs.export(model, (1, 3, 6, 8), tmp_path / "out", target="x86-64-v3", check=False)
    program = compiled(tmp_path / "out", "gcc", ["main.c", "libnet.a"], "main")
    pixels = torch.randint(0, 256, (3, 4, 3), dtype=torch.uint8)  # rows, columns, colours
    picture, result = tmp_path / "in.ppm", tmp_path / "out.raw"
    picture.write_bytes(b"P6\n# a comment\n4 3\n255\n" + pixels.numpy().tobytes())
    for times in ([], ["-n", "1"], ["-n", "3"]):
        words = [program, *times, picture, "-o", result]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        assert done.stdout.count("ms per run") == bool(times)
    image = pixels.permute(2, 0, 1)[None].float() / 255
    image = image.repeat_interleave(2, 2).repeat_interleave(2, 3)
    found = torch.frombuffer(bytearray(result.read_bytes()), dtype=torch.float32)
    assert torch.allclose(found.reshape(1, 4, 6, 8), model(image), atol=1e-6)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("cmake"), reason="no cmake")
def test_cmake(tmp_path: Path) -> None:
    able("x86-64-v3")
    exported(tmp_path, check=False, name="tiny")
    folder, image, shapes = tmp_path / "out", torch.randn(2, 3, 18, 21), SHAPES
    for option in ("OFF", "ON"):
        build = tmp_path / option
        for step in (["-S", folder, "-B", build, f"-DWEIGHTS_APART={option}"], ["--build", build]):
            done = subprocess.run(["cmake", *step], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
        weights = ["-w", folder / "weights.bin"] if option == "ON" else []
        run_program([build / "main", *weights], tmp_path, [image], shapes)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 1), nn.Softmax(2)), r"1 \(softmax over other than"),
        (
            nn.Sequential(nn.Conv2d(3, 4, 1), nn.LPPool2d(3, 2)),
            r"\(no kernel for pow",
        ),
    ],
)
def test_what_torch_runs_is_named(tmp_path: Path, model: nn.Module, reason: str) -> None:
    with pytest.raises(cs.ConvsmithError, match=f"only torch computes.*{reason}"):
        cs.export(model, (1, 3, 9, 9), tmp_path / "out", target="x86-64-v3")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"target": "x86-64-v5"}, "no target 'x86-64-v5': choose one of .*; did you mean"),
        ({"target": "aarch64-ios"}, "no target 'aarch64-ios': choose one of x86-64, "),
        ({"target": 3}, "target is a name"),
        ({"target": "x86-64-v3", "opset": 18}, "fixed and opset are for ONNX"),
        ({"target": "x86-64-v3", "name": "my net"}, "name='my net' is not a name in C"),
        ({"target": "x86-64-v3", "name": "main"}, "name='main' means something else"),
        ({"name": "net"}, "expected a name like net.onnx"),
    ],
)
def test_refused(tmp_path: Path, more: dict[str, Any], reason: str) -> None:
    with pytest.raises(cs.ArgumentError, match=reason):
        cs.export(Small(), (1, 3, 9, 9), tmp_path / "out", **more)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_not_empty(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/kept").write_text("mine")
    with pytest.raises(cs.ArgumentError, match="is not empty; pass force=True"):
        exported(tmp_path)
    model = nn.Conv2d(3, 4, 1)
    written = cs.export(model, (1, 3, 8, 8), tmp_path / "out", target="x86-64-v3", force=True)
    assert (tmp_path / "out/kept").read_text() == "mine"
    assert {file.name for file in (tmp_path / "out").iterdir()} == {*written.files, "kept"}


def test_indices_are_refused(tmp_path: Path) -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor, kind: Tensor) -> Tensor:
            return x + kind

    inputs = torch.rand(1, 3, 8, 8), torch.ones(1, 3, 8, 8, dtype=torch.int64)
    with pytest.raises(cs.ConvsmithError, match=r"kind is torch\.int64"):
        cs.export(Two(), inputs, tmp_path / "out", target="x86-64-v3")


def test_no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain, "find_compiler", lambda *names: None)
    monkeypatch.setattr(toolchain, "find_spec", lambda name: None)
    with pytest.raises(cs.MissingExtra, match=r"ziglang: pip install 'convsmith\[library\]'"):
        exported(tmp_path)


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    able("x86-64-v3")
    (tmp_path / "mine.py").write_text("from torch import nn\nbuild = lambda: nn.Conv2d(3, 4, 3)\n")
    arguments = ["export", f"{tmp_path}/mine.py:build", "--input", "1,3,8,8", "-o"]
    arguments += [f"{tmp_path}/out", "--target", "x86-64-v3", "--json", "-"]
    assert main(arguments) == 0
    assert '"target": "x86-64-v3"' in capsys.readouterr().out
    assert (tmp_path / "out/libnet.a").exists()
    assert main(arguments) == 2
    assert "is not empty" in capsys.readouterr().err


@pytest.mark.slow
def test_a_dilated_network(tmp_path: Path) -> None:
    able("x86-64-v3")
    model = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 5, 3, 2, 1))
    wide = cs.dilate(model.eval(), (1, 3, 16, 16), output_stride=2)
    written = wide.export(tmp_path / "out", target="x86-64-v3")
    assert written.checked == "run here, it agrees with the model"


def kinds(base: type[Kernel] = Kernel) -> Iterator[type[Kernel]]:
    """All kinds of kernels there are."""
    for module in iter_modules(kernels.__path__):
        import_module(f"{kernels.__name__}.{module.name}")
    for kind in base.__subclasses__():
        yield kind
        yield from kinds(kind)


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(kinds(), key=lambda kind: kind.__name__))
def test_kernels_that_ask_for_memory_say_how_much(kind: type[Kernel]) -> None:
    """So that a library asks for all of its memory once."""
    given = {"kernel": (3, 3), "stride": (1, 1), "operation": "add", "channels": 8, "pixels": 2}
    needed = [f.name for f in fields(kind) if f.default is f.default_factory is MISSING]
    kernel = kind(**{name: given.get(name, 1) for name in needed})
    text = assembled(kernel, choose_isa(able("x86-64-v3")), TARGETS["x86-64-v3"].system, "net", 0)
    assert asks_for_memory(text, "net") == (kind.scratch is not Kernel.scratch)
