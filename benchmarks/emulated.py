"""C libraries for other machines, in emulators: answers and times, and those of peers there."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import Tensor, nn

from benchmarks import web
from benchmarks.runtimes import error_of, export
from convsmith.errors import ConvsmithError, first_line, last_line
from convsmith.exporting import ExportedLibrary
from convsmith.exporting import export as export_library
from convsmith.exporting.library.targets import TARGETS
from convsmith.exporting.library.toolchain import toolchain_for
from convsmith.exporting.library.trial import cannot_run, running

__all__ = ["MACHINES", "PEERS", "measured"]

MACHINES = ("aarch64-linux", "wasm32")
WARM = 15
"""Runs in Node that are not counted: its compiler improves the code of what is called often."""

_PATIENCE = 600  # seconds

PEERS = {
    "aarch64-linux": ("XNNPACK", "ExecuTorch offers no program that QEMU could run"),
    "wasm32": ("onnxruntime-web", "not asked, as our own library did not run"),
}
"""What else runs on the machine, and why it may be missing."""

_TIMED = """
const times = [];
for (let i = 0; i < RUNS + WARM; i++) {
  const start = performance.now();
  await run();
  times.push(performance.now() - start);
}
console.log(JSON.stringify(times.slice(WARM).sort((a, b) => a - b)[RUNS >> 1]));
"""
_OURS = """
import { readFileSync } from "node:fs";
const source = readFileSync("FOLDER/net.js", "utf8");
const { load } = await import(`data:text/javascript,${encodeURIComponent(source)}`);
const net = await load(readFileSync("FOLDER/net.wasm"));
const floats = new Float32Array(new Uint8Array(readFileSync("FOLDER/timed.raw")).buffer);
const run = () => net.run([floats]);
"""
_THEIRS = """
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
const ort = createRequire("FOLDER/")("onnxruntime-web");
ort.env.wasm.numThreads = 1;
const session = await ort.InferenceSession.create(readFileSync("FOLDER/net.onnx"));
const floats = new Float32Array(new Uint8Array(readFileSync("FOLDER/timed.raw")).buffer);
const image = new ort.Tensor("float32", floats, SHAPE);
const run = () => session.run({ [session.inputNames[0]]: image });
"""


def measured(model: nn.Module, image: Tensor, exact: Tensor, runs: int) -> Iterator[dict[str, Any]]:
    """For each machine, how far a library's answer is from float64, and milliseconds per run.

    Args:
        model: in evaluation mode.
        image: its input.
        exact: what it gives in float64.
        runs: that are timed.
    """
    for machine in MACHINES:
        row: dict[str, Any] = {"machine": machine}
        with TemporaryDirectory() as folder:
            try:
                row |= _ours(machine, model, image, exact, Path(folder), runs)
            except (ConvsmithError, subprocess.SubprocessError) as error:
                row["reason"] = str(error)
            if machine == "wasm32" and "ms" in row:
                row |= _theirs(model, image, Path(folder), runs)
        yield row


def _ours(
    machine: str, model: nn.Module, image: Tensor, exact: Tensor, folder: Path, runs: int
) -> dict[str, Any]:
    target = TARGETS[machine]
    written = export_library(model, image, folder / "out", target=machine, check=False)
    assert isinstance(written, ExportedLibrary)
    found: dict[str, Any] = {"library": written.library, "arena": written.arena}
    if reason := cannot_run(target):
        return found | {"reason": reason}
    tools, shapes = toolchain_for(target), [tuple(exact.shape)]
    with running(written.path, "net", target, tools, shapes) as run:
        found["error"] = error_of(run([image])[0], exact)
    image.numpy().tofile(folder / "out/timed.raw")
    if target.is_web:
        return found | {"ms": _in_node(_OURS, folder / "out", runs)}
    program = tools.program(written.path, "net")
    words = [target.emulator, str(program), "-n", str(runs), str(folder / "out/timed.raw")]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=_PATIENCE)
    return found | {"ms": float(done.stdout.split()[0])}


def _theirs(model: nn.Module, image: Tensor, folder: Path, runs: int) -> dict[str, Any]:
    script = _THEIRS.replace("SHAPE", json.dumps(list(image.shape)))
    image.numpy().tofile(folder / "timed.raw")
    try:
        places = os.environ | {"NODE_PATH": str(web.modules())}
        export(model, image, folder / "net.onnx")
        return {"peer_ms": _in_node(script, folder, runs, places)}
    except subprocess.CalledProcessError as error:
        lines = [line for line in error.stderr.splitlines() if "Error:" in line]
        return {"peer_reason": last_line("\n".join(lines)) or str(error)}
    except Exception as error:  # whatever a foreign runtime raises belongs into the table
        return {"peer_reason": first_line(error)}


def _in_node(
    script: str, folder: Path, runs: int, environment: Mapping[str, str] = os.environ
) -> float:
    """The median milliseconds of what a script calls `run`."""
    file = folder / "timed.mjs"
    text = script + _TIMED
    for word, value in (("FOLDER", folder), ("WARM", WARM), ("RUNS", runs)):
        text = text.replace(word, str(value))
    file.write_text(text)
    words = ["node", str(file)]
    done = subprocess.run(
        words, capture_output=True, text=True, check=True, timeout=_PATIENCE, env=environment
    )
    return float(json.loads(done.stdout.splitlines()[-1]))
