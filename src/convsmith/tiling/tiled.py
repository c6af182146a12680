"""`Tiled`: a network that runs on images of any size, tile by tile."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from math import prod
from os import PathLike
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.export import ExportedProgram

from convsmith.arithmetic.normalise import count, flag, per_axis
from convsmith.errors import ArgumentError, TraceError
from convsmith.machine import most_threads
from convsmith.runtime.graph.capture import Capture
from convsmith.text import times
from convsmith.tiling.begin import check_part
from convsmith.tiling.blocks import check_array, check_blocks, chunk_lengths, lazy
from convsmith.tiling.budget import bytes_of
from convsmith.tiling.device import check_device
from convsmith.tiling.job import Recipe, computes
from convsmith.tiling.moved import changed
from convsmith.tiling.outcome import Outcome
from convsmith.tiling.parts import part_size
from convsmith.tiling.plan import Plan
from convsmith.tiling.planning import impossible, plan_of, why_not
from convsmith.tiling.prepare import Prepare
from convsmith.tiling.reduce import Reducer, reducer
from convsmith.tiling.request import Request, settle
from convsmith.tiling.run import run, sweeps
from convsmith.tiling.seams import Seams, measure_seams
from convsmith.tiling.stores.formats import format_of
from convsmith.tiling.stores.opening import open_source
from convsmith.tiling.stores.source import Source
from convsmith.tiling.stores.target import existing_unit
from convsmith.tiling.survey import Survey, survey
from convsmith.tiling.windows import blended_size

__all__ = ["Progress", "Tiled"]

Progress = Callable[[str, int, int], None]
"""Called with what is going on, how much of it is done, and of how much."""

_MOST = 1 << 60
"""Values of an image, so that their bytes are a number for torch."""

_SURVEYS = 8
"""Image sizes whose trace is kept."""


class Tiled:
    """A network that runs on images of any size, tile by tile. `tile` makes one.

    Attributes:
        model: the network; it is left as it is.
        shape: of an image that it takes: channels and as many axes as the example's.
    """

    def __init__(
        self,
        model: nn.Module | ExportedProgram,
        example: tuple[int, ...],
        dtype: torch.dtype,
        recipe: Recipe,
        *,
        tile: int | Sequence[int] | None,
        memory: str | int,
        passes: bool,
    ) -> None:
        self.model, self.shape, self.dtype = model, example[1:], dtype
        self.recipe, self.tile, self.passes = recipe, tile, passes
        self.memory = bytes_of(memory)
        self._surveys: OrderedDict[tuple[int, ...], Survey] = OrderedDict()

    @property
    def dims(self) -> int:
        """How many spatial axes an image has."""
        return len(self.shape) - 1

    def plan(self, source: Any, *, measure: bool = False, **options: Any) -> Plan:
        """What a run would do, and what it would cost; nothing is written.

        Args:
            source: as for `run`, or the shape of an image (channels and spatial lengths).
            measure: compute one tile, to say how long all of them take.
            options: as for `run`.

        Raises:
            ArgumentError: for an image that the network does not take.
        """
        if isinstance(source, tuple) and all(isinstance(n, int) for n in source):
            source = _Shape(source)
        if measure:
            check_device(self.recipe.device)
        image, surveyed = self._look(source, options)
        if plan := impossible(surveyed, self.recipe, self.passes, image):
            return plan
        return plan_of(self._request(image, surveyed, **options), self.passes, measure)

    def run(
        self,
        source: Any,
        target: Any = None,
        *,
        resume: bool = False,
        force: bool = False,
        workers: int = 1,
        executor: Executor | None = None,
        client: Any = None,
        part: tuple[int, int] | None = None,
        progress: Progress | None = None,
        **options: Any,
    ) -> Outcome:
        """Run the network over an image and write the result.

        Args:
            source: an array (numpy, memory map, Zarr) or a path: `.npy`, `.zarr`, `.tif`, `.nii`
                or an ordinary image. Stored values are scaled as `scale` says.
            target: a path that ends in `.zarr`, `.npy`, `.tif`, `.cog.tif`, `.nii`, `.nii.gz` or
                `.png`; an array to write into;
                or None for an array in memory.
            resume: go on with a run that was stopped; its model, input and settings must be the
                same.
            force: replace a target that exists.
            workers: threads that compute tiles side by side, each with its share of `memory`.
            executor: computes tiles instead, in any processes it has; source and target are paths.
            client: a `distributed.Client` that computes tiles instead, on its cluster.
            part: `(i, n)`: compute only units i, i + n, i + 2n, …, as one job of an array.
            progress: called with what is going on, how much is done, and of how much.
            options: `reduce` (a reducer or its name), `where` (a mask), `scale`, `mean` and `std`
                (of the image's values), `layout` (letters, such as `YXC`), `level` (of a pyramid),
                `shard` (lengths that one writer writes at once) and `fill` (where nothing is
                written).

        Raises:
            ArgumentError: for settings that do not fit, a target that exists, or a network that
                cannot be tiled exactly: the layers are named.
            DataError: for an image that cannot be read, or a full disk.
        """
        count("workers", workers, 1, most_threads())
        flag("resume", resume)
        flag("force", force)
        if sum((workers > 1, executor is not None, client is not None)) > 1:
            raise ArgumentError("pass one of workers=, executor= and client=")
        if type(target).__module__.startswith("dask"):
            raise ArgumentError("a dask array cannot be written in whole shards: pass a path")
        if part is not None:
            check_part(part)
        if executor is not None and (isinstance(executor, type) or not hasattr(executor, "submit")):
            raise ArgumentError(f"executor= takes an open Executor, not {executor!r:.60}")
        shares = workers if client is None and executor is None else 1
        image, surveyed = self._ready(source, options)
        if surveyed.levels or (executor is None and client is None):
            check_device(self.recipe.device)
        request = self._request(image, surveyed, target, shares, **options)
        plan = plan_of(request, self.passes)
        return run(
            request, plan, target, resume=resume, force=force, workers=workers,
            executor=executor, client=client, part=part, progress=progress, memory=self.memory,
        )  # fmt: skip

    def map_blocks(
        self,
        array: Any,
        target: Any = None,
        *,
        reduce: str | None = None,
        scale: float | None = None,
        mean: Sequence[float] = (),
        std: Sequence[float] = (),
        layout: str | None = None,
    ) -> Any:
        """The result for a Dask array, as a Dask array: nothing is computed yet.

        Each block is computed from just the part of the array that it depends on, so that the
        blocks together are the whole image's result. Blocks are as large as the array's chunks,
        or as `tile` says. To write files, `run` is safer: it writes whole shards.

        Args:
            array: the image, with known chunks.
            target: the Zarr array that the result will be stored in, if it will: blocks are whole
                shards of it then, so that `dask.array.store(result, target, lock=False)` loses
                nothing.
            reduce: a reducer's name, as for `run`.
            scale: what stored values are multiplied by, as for `run`.
            mean: of each channel, after scaling.
            std: of each channel, after scaling.
            layout: letters for the array's dimensions, such as `YXC`; guessed unless given.

        Raises:
            ArgumentError: for blocks of which two would share a shard of the target, for networks
                that need sweeps, and for windows.
        """
        check_array(array)
        if self.recipe.mode == "window":
            raise ArgumentError("map_blocks is for mode='exact': run blends windows")
        image, surveyed = self._ready(array, {"layout": layout})
        if surveyed.levels:
            names = ", ".join(name for level in surveyed.levels for name in level)
            raise ArgumentError(f"map_blocks gathers no statistics, which {names} need: use run")
        options: dict[str, Any] = {"reduce": reduce, "scale": scale, "mean": mean, "std": std}
        request = self._request(image, surveyed, **options)
        if self.tile is None:
            tile = chunk_lengths(request)
            request = self._request(image, surveyed, target, tile=tile, **options)
        if target is not None:
            check_blocks(request, target)
        return lazy(request)

    def compare(
        self,
        source: Any,
        *,
        window: int | Sequence[int],
        overlap: float = 0.25,
        blend: str = "gaussian",
        progress: Progress | None = None,
        **options: Any,
    ) -> Seams:
        """Compare the exact result with overlapping windows; neither is written.

        Args:
            source: as for `run`.
            window: the lengths of a window of the image.
            overlap: of neighbouring windows, as a share.
            blend: `gaussian` or `constant`.
            progress: as for `run`.
            options: as for `run`.

        Raises:
            ArgumentError: as for `run`.
        """
        report = progress or (lambda what, done, of: None)
        check_device(self.recipe.device)
        image, surveyed = self._ready(source, options)
        request = self._request(image, surveyed, **options)
        lengths = per_axis("window", window, self.dims)
        recipe = Recipe("window", tuple(lengths), overlap, blend, self.recipe.device,
                        self.recipe.output)  # fmt: skip
        apart = self.survey(lengths)
        blended_size(apart, overlap, image.size)
        known = sweeps(request, self.memory, report)
        measured = measure_seams(
            computes(surveyed, request.recipe, request.prepare, request.geometry.tile),
            computes(apart, recipe, request.prepare),
            image, request.geometry, known, report,
        )  # fmt: skip
        return Seams(surveyed.network.name, tuple(lengths), overlap, blend, **measured)

    def survey(self, size: Sequence[int]) -> Survey:
        """The network at the size of an image, traced without values.

        Raises:
            TraceError: for a size that the network does not take.
        """
        key = per_axis("size", size, self.dims)
        if prod(key) * self.shape[0] >= _MOST:
            raise ArgumentError(f"an image of {times((self.shape[0], *key))} has too many values")
        if key not in self._surveys:
            with FakeTensorMode(allow_non_fake_inputs=True):
                image = torch.empty((1, self.shape[0], *key), dtype=self.dtype)
            try:
                captured = Capture.of(self.model, (image,), {}, for_kernels=False)
            except TraceError as error:
                shape = times((self.shape[0], *key))
                raise TraceError(f"{error} (for an image of {shape})") from error
            if captured.kept:
                raise ArgumentError(f"{captured.network.name} cannot be tiled: {captured.kept}")
            self._surveys[key] = survey(captured.network, self.recipe.output, self.recipe.precision)
            while len(self._surveys) > _SURVEYS:
                self._surveys.popitem(last=False)
        return self._surveys[key]

    def _look(self, source: Any, options: dict[str, Any]) -> tuple[Source, Survey]:
        """Open the image, and look at the network at its size, or at that of a window."""
        layout, level = options.pop("layout", None), options.pop("level", 0)
        image = open_source(source, self.dims, self.shape[0], self.memory, layout, level)
        size: Sequence[int] = image.size
        if self.recipe.mode == "window" and self.tile is not None:
            size = per_axis("tile", self.tile, self.dims)
        return image, self.survey(size)

    def _ready(self, source: Any, options: dict[str, Any]) -> tuple[Source, Survey]:
        """The same of a network that can be tiled, and whose weights have values."""
        image, surveyed = self._look(source, options)
        if refused := impossible(surveyed, self.recipe, self.passes, image):
            raise ArgumentError(why_not(refused))
        stored = surveyed.network.program.state_dict
        if bare := [name for name, value in stored.items() if value.is_meta]:
            raise ArgumentError(
                f"{surveyed.network.name} has weights without values, such as {bare[0]}: load them"
            )
        return image, surveyed

    def _request(
        self,
        image: Source,
        surveyed: Survey,
        target: Any = None,
        workers: int = 1,
        *,
        reduce: str | Reducer | None = None,
        where: Any = None,
        scale: float | None = None,
        mean: Sequence[float] = (),
        std: Sequence[float] = (),
        shard: int | Sequence[int] | None = None,
        fill: float = 0,
        tile: int | Sequence[int] | None = None,
    ) -> Request:
        memory = self.memory // workers
        recipe, tile = self.recipe, self.tile if tile is None else tile
        if recipe.mode == "window":
            recipe = replace(recipe, window=tuple(surveyed.image.shape[2:]))
        prepare = Prepare.of(scale, mean, std)
        holds_last = isinstance(target, (str, PathLike)) and format_of(str(target)).channels_last
        request = settle(
            surveyed, recipe, image, prepare, reducer(reduce),
            tile=tile, memory=memory, where=where, shard=_spatial(shard, self.dims),
            channels_last=image.layout.endswith("C") or holds_last, fill=fill,
        )  # fmt: skip
        if target is None or isinstance(target, (str, PathLike)) or not hasattr(target, "shape"):
            return self._with_part(request)
        unit = existing_unit(target)
        letters = request.geometry.layout
        if len(unit) != len(letters):
            raise ArgumentError(
                f"the target has shape {tuple(target.shape)}, the result {request.form.shape}"
            )
        cut = {request.geometry.letters[place] for place in request.geometry.cut}
        by_letter = dict(zip(letters, unit, strict=True))
        spatial = [by_letter[letter] for letter in request.geometry.letters if letter in cut]
        request = settle(
            surveyed, recipe, image, request.prepare, request.reducer,
            tile=tile, memory=memory, where=where, shard=spatial,
            channels_last=image.layout.endswith("C"), fill=fill,
        )  # fmt: skip
        return self._with_part(request)

    def _with_part(self, request: Request) -> Request:
        """With the network at the size of the parts that compiled tiles run on."""
        surveyed = request.survey
        if request.recipe.backend != "compiled":
            return request
        if surveyed.network.model is None:
            raise ArgumentError(
                f"{surveyed.network.name} was exported at fixed sizes: backend='torch' can tile it"
            )
        apart = self.survey(part_size(surveyed, request.geometry.tile))
        if reason := changed(surveyed, apart):
            raise ArgumentError(
                f"{surveyed.network.name} cannot be tiled in compiled kernels: {reason}; "
                "backend='torch' can"
            )
        return replace(request, apart=apart)

    def __repr__(self) -> str:
        name = type(self.model).__name__
        return f"Tiled({name}: {self.recipe.mode}, tile={self.tile}, memory={self.memory})"


class _Shape:
    """An image of which only the shape is known."""

    dtype = torch.tensor(0, dtype=torch.uint8).numpy().dtype

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def __getitem__(self, index: tuple[slice, ...]) -> Any:
        import numpy as np

        return np.zeros(
            [len(range(*s.indices(n))) for s, n in zip(index, self.shape, strict=True)], np.uint8
        )


def _spatial(shard: int | Sequence[int] | None, dims: int) -> Sequence[int] | None:
    return [shard] * dims if isinstance(shard, int) else shard
