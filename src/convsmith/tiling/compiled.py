"""Tiles through compiled kernels: the same bits as the whole image through the same kernels.

Kernels compute a position from what its windows read, wherever it lies, so a network whose layers
move with the image gives the same bits on a part of it. Each tile runs on the part of the image
that it depends on, begun at a multiple of all strides. What the part's own border spoils, no
position of the tile reads; where the image ends, the part ends too, and its padding is the true
one. Where kernels compute the whole network, the rows of a part stream through them: they are read,
computed and given some at a time, and neither the part nor its output is ever in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from threading import Lock
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from convsmith.network.backward import strides
from convsmith.runtime import Compiled, compile
from convsmith.tiling.budget import tile_spans
from convsmith.tiling.compute import Compute, Piece
from convsmith.tiling.exact import read_image
from convsmith.tiling.interpreter import Statistics
from convsmith.tiling.parts import part_of
from convsmith.tiling.prepare import Prepare
from convsmith.tiling.rows import RowReader
from convsmith.tiling.spans import Span, lengths, slices
from convsmith.tiling.stores.source import Source
from convsmith.tiling.survey import Survey

if TYPE_CHECKING:
    # Halide has no wheel for every machine: this is imported where there are kernels.
    from convsmith.runtime.execution.stream import Stream

__all__ = ["CompiledTiles"]

_SIZES = 2
"""Sizes of parts whose compiled network is kept: all parts of an image have one."""


class CompiledTiles(Compute):
    """Computes parts of the output in kernels that are compiled once.

    Args:
        model: the network, for images of the size of a part at least.
        survey: of it at the size of the whole image.
        prepare: from stored values to the network's.
        tile: the lengths of a tile.
        threads: of the kernels.
        isa: their instruction set; the widest unless given.
    """

    def __init__(
        self,
        model: nn.Module | ExportedProgram,
        survey: Survey,
        prepare: Prepare,
        tile: Sequence[int],
        threads: int,
        isa: str = "",
    ) -> None:
        self.model, self.survey, self.prepare = model, survey, prepare
        self.tile, self.threads, self.isa = tuple(tile), threads, isa
        self._made: dict[tuple[int, ...], tuple[Compiled, Stream | None]] = {}
        self._lock = Lock()

    def __call__(
        self, source: Source, image: int, spans: Sequence[Span], known: Statistics
    ) -> Tensor:
        """The output at spans of the dimensions that are cut."""
        return torch.cat([p.clone() for _, p in self.pieces(source, image, spans, known)], 2)

    def pieces(
        self, source: Source, image: int, spans: Sequence[Span], known: Statistics
    ) -> Iterator[Piece]:
        """Rows of the output as they are ready, or all of it where rows do not stream."""
        survey = self.survey
        part = part_of(survey, spans, self.tile)
        compiled, stream = self._network(lengths(part), source.layout.endswith("C"))
        steps, axes = strides(survey.network)[survey.output], survey.axes[survey.output]
        origin = [
            0 if axis is None else int(part[axis][0] / Fraction(steps[axis])) for axis in axes
        ]
        if stream is None:
            patch = read_image(source, self.prepare, survey, image, ((0, 1), (0, 1), *part))
            output = _pick(compiled(patch.tensor), survey)
            yield tuple(spans), output[slices(tile_spans(survey, spans), origin)]
            return
        (start, stop), columns = spans
        cut = slice(columns[0] - origin[3], columns[1] - origin[3])
        for row, output in stream.run(RowReader(source, self.prepare, image, *part)):
            first = row + origin[2]
            begin, end = max(first, start), min(first + output.shape[2], stop)
            if begin < end:
                yield ((begin, end), columns), output[:, :, begin - first : end - first, cut]
            if end == stop:
                return

    def _network(self, size: tuple[int, ...], last: bool) -> tuple[Compiled, Stream | None]:
        """The network compiled at the size of a part, and the stream of its rows."""
        with self._lock:
            if size not in self._made:
                network = self.survey.network
                kind = getattr(torch, self.survey.image.results[0].dtype)
                # Nothing is written to it, so it takes no memory.
                example = torch.empty(1, self.survey.image.shape[1], *size, dtype=kind)
                compiled = compile(
                    self.model, example, threads=self.threads, part_of=network,
                    precision=self.survey.precision, isa=self.isa or None,
                )  # fmt: skip
                self._made[size] = compiled, _stream(compiled, self.survey, size, last)
                while len(self._made) > _SIZES:
                    self._made.pop(next(iter(self._made)))
            return self._made[size]


def _stream(compiled: Compiled, survey: Survey, size: tuple[int, ...], last: bool) -> Stream | None:
    """What streams the rows of a part; None where torch has a share in the output."""
    if survey.rings is None or not compiled.in_one_region:
        return None
    from convsmith.runtime.execution.stream import Stream

    rows, columns = size
    return Stream(compiled.regions[0], (rows, columns), last)


def _pick(results: Any, survey: Survey) -> Tensor:
    """The output that is computed, of a tensor, a tuple or a dict of them."""
    if isinstance(results, dict):
        results = list(results.values())
    if isinstance(results, (tuple, list)):
        results = results[survey.network.outputs.index(survey.output)]
    output: Tensor = results
    return output
