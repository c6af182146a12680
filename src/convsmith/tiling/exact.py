"""Tiles that are the whole image's result: from a part of a source to a part of the output."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from convsmith.tiling.budget import tile_spans
from convsmith.tiling.compute import Compute
from convsmith.tiling.interpreter import Interpreter, Statistics
from convsmith.tiling.patch import Patch
from convsmith.tiling.prepare import Prepare
from convsmith.tiling.spans import Span, Spans
from convsmith.tiling.stores.source import Source
from convsmith.tiling.survey import Survey

__all__ = ["Exact", "read_image"]


def read_image(source: Source, prepare: Prepare, survey: Survey, image: int, spans: Spans) -> Patch:
    """A part of an image as the network takes it."""
    kind = getattr(torch, survey.image.results[0].dtype)
    part = source.read(image, spans[2:])
    tensor = prepare(part, kind)
    return Patch(tensor, ((0, 1), (0, tensor.shape[1]), *spans[2:]), survey.image.shape)


class Exact(Compute):
    """Computes parts of the output, each exactly what the whole image gives there."""

    def __init__(self, interpreter: Interpreter, prepare: Prepare) -> None:
        self.interpreter, self.prepare = interpreter, prepare

    def __call__(
        self, source: Source, image: int, spans: Sequence[Span], known: Statistics
    ) -> Tensor:
        """The output at spans of the dimensions that are cut."""
        survey = self.interpreter.survey
        part = {survey.output: tile_spans(survey, spans)}
        needs = self.interpreter.ranges(part, known)
        key = (survey.image.name, 0)
        if key not in needs.spans:  # all that the output needs is known from sweeps
            empty = ((0, 1), *[(0, 1)] * (len(survey.image.shape) - 1))
            return self.interpreter.run(Patch(torch.empty(0), empty, ()), part, known)[
                survey.output
            ]
        patch = read_image(source, self.prepare, survey, image, needs.spans[key])
        patch = Patch(patch.tensor.to(self.interpreter.device), patch.spans, patch.shape)
        return self.interpreter.run(patch, part, known)[survey.output]
