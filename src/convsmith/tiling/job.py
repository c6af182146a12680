"""A job: all that another process needs to compute units, as bytes that hold data alone.

A network travels as an exported program, a reducer by its name: nothing in a job is code. Who
receives a job judges it as it would a stranger's file.
"""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from math import prod
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.export import ExportedProgram

from convsmith.arithmetic.normalise import choice
from convsmith.errors import ArgumentError, DataError
from convsmith.machine import usable_processors
from convsmith.network.contexts import quiet
from convsmith.network.stored.program import check_program, program_from
from convsmith.network.trace import read_program
from convsmith.runtime.precision import FLOAT32, PRECISIONS, check_here, instruction_set
from convsmith.tiling.blend import Blend
from convsmith.tiling.compiled import CompiledTiles
from convsmith.tiling.compute import Compute
from convsmith.tiling.exact import Exact
from convsmith.tiling.geometry import Geometry
from convsmith.tiling.interpreter import Interpreter, Statistics
from convsmith.tiling.manifest import Record, Unit
from convsmith.tiling.mask import Mask
from convsmith.tiling.prepare import Prepare
from convsmith.tiling.reduce import Reducer, named, reducer_from
from convsmith.tiling.stores.form import Form, Target
from convsmith.tiling.stores.opening import open_source
from convsmith.tiling.stores.source import Source
from convsmith.tiling.stores.target import reopen
from convsmith.tiling.survey import Survey, survey
from convsmith.tiling.windows import BLENDS
from convsmith.tiling.worker import Worker

__all__ = ["Job", "Recipe", "computes", "run_block", "run_unit"]

_WORKERS: dict[str, Worker] = {}
_LOCK = threading.Lock()
_PARTS = ("program", "part", "job", "statistics", "mask")
_KEPT = 2
"""Jobs whose network a process keeps: the one that runs, and the one before it."""


MODES = ("exact", "window")
BACKENDS = ("torch", "compiled")


@dataclass(frozen=True)
class Recipe:
    """How tiles are computed.

    Attributes:
        mode: `exact` or `window`.
        window: the lengths of a window of the image, with `window`.
        overlap: of neighbouring windows, as a share.
        blend: `gaussian` or `constant`.
        device: where.
        output: which of the network's outputs.
        backend: `torch` or `compiled`.
        precision: of compiled kernels: `float32` or `bf16`.
        isa: the instruction set of compiled kernels, as others round some functions otherwise.

    Raises:
        ArgumentError: for other words, or an overlap that is no share.
    """

    mode: str = "exact"
    window: tuple[int, ...] = ()
    overlap: float = 0.25
    blend: str = "gaussian"
    device: str = "cpu"
    output: int = 0
    backend: str = "torch"
    precision: str = FLOAT32.name
    isa: str = ""

    def __post_init__(self) -> None:
        choice("mode", self.mode, MODES)
        choice("blend", self.blend, BLENDS)
        choice("backend", self.backend, BACKENDS)
        choice("precision", self.precision, PRECISIONS)
        if type(self.output) is not int:
            raise ArgumentError(f"output must be the number of one, not {self.output!r}")
        if not isinstance(self.overlap, Real) or not 0 <= self.overlap < 1:
            raise ArgumentError(f"overlap must be at least 0 and less than 1, not {self.overlap!r}")


def computes(
    surveyed: Survey,
    recipe: Recipe,
    prepare: Prepare,
    tile: Sequence[int] = (),
    workers: int = 1,
    part: ExportedProgram | None = None,
) -> Compute:
    """What computes parts of the output, at most a tile large, for so many workers at once.

    Kernels are compiled from the network at the size of a part where the model itself is not here.
    """
    if recipe.backend == "compiled":
        model = surveyed.network.model or part
        assert model is not None
        # It may be another machine than the one that was asked.
        check_here(recipe.precision)
        if recipe.isa != (found := instruction_set(recipe.isa or None)):
            raise ArgumentError(
                f"the run was begun with kernels for {recipe.isa or 'no machine'}, this machine "
                f"has {found or 'none'}: others round otherwise"
            )
        threads = max(1, usable_processors() // workers)
        return CompiledTiles(model, surveyed, prepare, tile, threads, recipe.isa)
    interpreter = Interpreter(surveyed, recipe.device)
    if recipe.mode == "window":
        return Blend(interpreter, prepare, recipe.overlap, recipe.blend)
    return Exact(interpreter, prepare)


@dataclass(frozen=True)
class Job:
    """A job as named pieces of bytes.

    `program` is the network at the size of the image, `part` at that of what compiled tiles run
    on; then `job` (JSON), `statistics` (numpy) and `mask`.
    """

    key: str
    parts: Mapping[str, bytes]

    @classmethod
    def pack(
        cls,
        surveyed: Survey,
        apart: Survey | None,
        recipe: Recipe,
        prepare: Prepare,
        source: Source,
        path: str | None,
        form: Form,
        geometry: Geometry,
        reducer: Reducer,
        known: Sequence[Statistics],
        mask: Mask | None,
    ) -> Job:
        """Pack a job; without a path for blocks, whose image comes with each of them.

        Raises:
            ArgumentError: for what another process cannot open.
            ModelError: for a network with operators that another process would refuse to run.
        """
        if source.opener is None and path is not None:
            raise ArgumentError(
                "an array in memory cannot be read by other processes: pass its path"
            )
        if path == "":
            raise ArgumentError("other processes cannot write to memory: pass a target's path")
        data = {
            "recipe": asdict(recipe),
            "prepare": asdict(prepare),
            "source": source.opener,
            "target": path,
            "form": asdict(form),
            "geometry": asdict(geometry),
            "reducer": named(reducer),
            "mask_shape": None if mask is None else list(mask.array.shape),
            "mask_size": None if mask is None else mask.size,
        }
        parts = {
            "program": _program_bytes(surveyed),
            "part": b"" if apart is None else _program_bytes(apart),
            "job": json.dumps(data).encode(),
            "statistics": _statistics_bytes(surveyed, known),
            "mask": b"" if mask is None else np.packbits(np.asarray(mask.array) != 0).tobytes(),
        }
        return cls(_digest(parts), parts)

    def save(self, folder: Path) -> str:
        """Write the pieces to a folder, from which `run_unit` reads them; its name ends in the key.

        Whoever reads them compares them with the name, so that they are what was packed.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for name, part in self.parts.items():
            (folder / name).write_bytes(part)
        return str(folder)

    @classmethod
    def load(cls, folder: str) -> Job:
        """Read what `save` has written.

        Raises:
            DataError: for pieces that are not those that were packed.
        """
        root = Path(folder)
        parts = {name: (root / name).read_bytes() for name in _PARTS}
        if _digest(parts) != _key(folder):
            raise DataError(f"{folder} is not what was written there: run the same with resume")
        return cls(_key(folder), parts)

    def worker(self, source: Source | None = None) -> Worker:
        """Open everything and make the worker; of a job for blocks, with the image of one."""
        data = json.loads(self.parts["job"])
        program = self._program("program")
        with quiet():
            module = program.module(check_guards=False)
        network = read_program(program, module, "ExportedProgram")
        recipe = Recipe(**_tuples(data["recipe"]))
        surveyed = survey(network, recipe.output, recipe.precision)
        if source is None:
            path, options = data["source"]
            source = open_source(path, **options)
        form = Form(**_tuples(data["form"]))
        target = Target("", form, None)
        if data["target"] is not None:
            target = reopen(data["target"], form)
        mask = None
        if data["mask_shape"] is not None:
            bits = np.frombuffer(self.parts["mask"], np.uint8)
            flat = np.unpackbits(bits, count=prod(data["mask_shape"]))
            mask = Mask(flat.astype(bool).reshape(data["mask_shape"]), data["mask_size"])
        geometry, prepare = (
            Geometry(**_tuples(data["geometry"])),
            Prepare(**_tuples(data["prepare"])),
        )
        part = self._program("part") if self.parts["part"] else None
        return Worker(
            # Units run side by side, each on one thread.
            computes(surveyed, recipe, prepare, geometry.tile, usable_processors(), part),
            source,
            target,
            geometry,
            reducer_from(data["reducer"]),
            _statistics(surveyed, self.parts["statistics"]),
            mask,
        )

    def _program(self, part: str) -> ExportedProgram:
        with quiet():
            return program_from(self.parts[part], f"the {part} of job {self.key}")


def run_unit(job: Job | str, unit: Unit) -> Record:
    """Compute one unit in this process; its worker is made once and kept.

    Args:
        job: the job, or the folder it was saved to.
        unit: which unit.
    """
    key = job.key if isinstance(job, Job) else _key(job)
    worker = _kept(key, lambda: (job if isinstance(job, Job) else Job.load(job)).worker())
    torch.set_num_threads(1)  # units run side by side, each on one thread
    record = worker.unit(tuple(unit))
    worker.target.flush()
    return record


def run_block(job: Job, source: Source, unit: Unit) -> NDArray[Any]:
    """Compute one unit of an image of which the part that it reads has come with it."""
    return _kept(job.key, lambda: job.worker(source)).block(tuple(unit), source)


def _kept(key: str, make: Callable[[], Worker]) -> Worker:
    """The worker of a job, made once in each process."""
    with _LOCK:
        if key not in _WORKERS:
            while len(_WORKERS) >= _KEPT:
                _WORKERS.pop(next(iter(_WORKERS)))
            _WORKERS[key] = make()
        return _WORKERS[key]


def _key(folder: str) -> str:
    return Path(folder).name.rpartition("-")[2]


def _digest(parts: Mapping[str, bytes]) -> str:
    digest = blake2b(digest_size=16)
    for name in _PARTS:
        digest.update(len(parts[name]).to_bytes(8, "little"))
        digest.update(parts[name])
    return digest.hexdigest()


def _program_bytes(surveyed: Survey) -> bytes:
    program = surveyed.network.program
    program.example_inputs = None  # they have no values, and are not asked for
    buffer = io.BytesIO()
    with quiet():
        torch.export.save(program, buffer)
        check_program(buffer.getvalue(), "the network, as other processes would get it,")
    return buffer.getvalue()


def _statistics_bytes(surveyed: Survey, known: Sequence[Statistics]) -> bytes:
    """Statistics by the nodes of the program, whose names do not change when it is read again."""
    arrays = {}
    for image, statistics in enumerate(known):
        for name, value in statistics.values.items():
            node = surveyed.network[name].node
            arrays[f"{image}|value|{node}"] = value.detach().cpu().double().numpy()
        for name, pair in statistics.moments.items():
            node = surveyed.network[name].node
            for which, value in zip(("mean", "variance"), pair, strict=True):
                arrays[f"{image}|{which}|{node}"] = value.detach().cpu().numpy()
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def _statistics(surveyed: Survey, data: bytes) -> list[Statistics]:
    layers = {layer.node: layer for layer in surveyed.network}
    images: dict[int, dict[str, dict[str, Any]]] = {}
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        for key in arrays.files:
            image, which, node = key.split("|", 2)
            of = images.setdefault(int(image), {}).setdefault(layers[node].name, {})
            of[which] = torch.from_numpy(arrays[key])
    known = []
    for _, layer_values in sorted(images.items()):
        values, moments = {}, {}
        for name, parts in layer_values.items():
            if "value" in parts:
                kind = getattr(torch, surveyed.network[name].results[0].dtype)
                values[name] = parts["value"].to(kind)
            else:
                moments[name] = (parts["mean"], parts["variance"])
        known.append(Statistics(values, moments))
    return known


def _tuples(data: Mapping[str, Any]) -> dict[str, Any]:
    """JSON's lists as the tuples that they were."""
    return {key: tuple(v) if isinstance(v, list) else v for key, v in data.items()}
