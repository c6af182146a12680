"""A library that was just built, run once and compared with the model."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from convsmith.errors import ConvsmithError, first_line
from convsmith.exporting.agreement import held_to, of_model, random_inputs
from convsmith.exporting.library.targets import Target
from convsmith.exporting.library.toolchain import Toolchain
from convsmith.kernels.isa import lacking
from convsmith.runtime.graph.free import Inputs, leaves

__all__ = ["cannot_run", "running", "tried"]

_PATIENCE = 600  # seconds, for an emulator


def tried(
    folder: Path,
    name: str,
    target: Target,
    tools: Toolchain,
    model: nn.Module,
    inputs: Inputs,
    shapes: Sequence[tuple[int, ...]],
) -> tuple[str, float | None]:
    """Run a library on random inputs, here or in an emulator.

    Args:
        folder: where it was built.
        name: its own.
        target: the machine that it is for.
        tools: what built it.
        model: what it should compute.
        inputs: of its sizes.
        shapes: of its outputs.

    Returns:
        How it was run, and the largest difference over the largest value; or why it was not.

    Raises:
        ConvsmithError: where it fails, or `held_to` refuses.
    """
    if reason := cannot_run(target):
        return f"not checked: {reason}", None
    drawn = random_inputs(inputs, 0)
    expected = of_model(model, drawn) or []
    try:
        with running(folder, name, target, tools, shapes) as run:
            found = run([leaf.contiguous() for leaf in leaves(drawn)])
    except PermissionError:
        return f"not checked: no program may be run in {folder.parent}; set TMPDIR", None
    gap = held_to("the C library and the model", model, drawn, expected, found)
    how = "run here" if target.is_here else f"run by {target.emulator}"
    return f"{how}, it agrees with the model", gap


def cannot_run(target: Target) -> str:
    """Why programs for a target cannot be run on this machine, with the line that helps, or ''."""
    if target.is_here:
        missing = [flag for isa in target.isas[-1:] for flag in lacking(isa)]
        return f"this processor lacks {', '.join(missing)}" if missing else ""
    if not target.emulator:
        return "no such machine here, and none that stands in for it"
    if shutil.which(target.emulator) is None:
        return f"{target.emulator} is not installed (apt-get install {target.package})"
    return ""


@contextmanager
def running(
    folder: Path, name: str, target: Target, tools: Toolchain, shapes: Sequence[tuple[int, ...]]
) -> Iterator[Callable[[Sequence[Tensor]], list[Tensor]]]:
    """A function from inputs to outputs of a library: its example, in a process of its own.

    Args:
        folder: where the library is; the example is built there, and removed at the end.
        name: its own.
        target: the machine that it is for, which `cannot_run` has nothing against.
        tools: what built it.
        shapes: of its outputs.
    """
    emulator = [] if target.is_here else [str(shutil.which(target.emulator))]
    # In a process of its own: whatever it does, this one goes on.
    program = folder / "try.mjs" if target.is_web else tools.program(folder, name)
    if target.is_web:
        program.write_text(_SCRIPT.replace("NET", name))
    try:
        yield lambda inputs: _run(emulator, program, inputs, shapes)
    finally:
        program.unlink(missing_ok=True)


_SCRIPT = """
import { readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
const [, script, ...files] = process.argv;
const folder = dirname(script);
const source = readFileSync(`${folder}/NET.js`, "utf8");
const { load } = await import(`data:text/javascript,${encodeURIComponent(source)}`);
const net = await load(readFileSync(`${folder}/NET.wasm`));
const split = files.indexOf("-o");
const floats = (file) => new Float32Array(new Uint8Array(readFileSync(file)).buffer);
const values = files.slice(0, split).map(floats);
net.run(values).forEach((result, i) => writeFileSync(files[split + 1 + i], result));
"""
"""What the example of a C library does, for one in a browser."""


def _run(
    emulator: list[str], program: Path, inputs: Sequence[Tensor], shapes: Sequence[tuple[int, ...]]
) -> list[Tensor]:
    """The outputs of the example; what it reads and writes is removed."""
    sources = [program.with_name(f"input{i}.raw") for i in range(len(inputs))]
    targets = [program.with_name(f"output{i}.raw") for i in range(len(shapes))]
    for source, tensor in zip(sources, inputs, strict=True):
        source.write_bytes(tensor.numpy().tobytes())
    command = [*emulator, str(program), *map(str, sources), "-o", *map(str, targets)]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE,
            check=False,
        )
        if done.returncode:
            reason = first_line(done.stderr) or f"exit {done.returncode}"
            raise ConvsmithError(f"the library cannot be run: {reason}")
        return [_read(target, shape) for target, shape in zip(targets, shapes, strict=True)]
    except subprocess.TimeoutExpired as error:
        raise ConvsmithError(f"the library did not end within {_PATIENCE} s") from error
    finally:
        for path in (*sources, *targets):
            path.unlink(missing_ok=True)


def _read(path: Path, shape: tuple[int, ...]) -> Tensor:
    return torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.float32).reshape(shape)
