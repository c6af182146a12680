"""The shortest network that still shows a failure of the same kind."""

from __future__ import annotations

from tests.grammar.checks import check
from tests.grammar.draft import Unfit
from tests.grammar.networks import Sample, write

__all__ = ["shrunk"]

PLAIN = {1: "NCL", 2: "NCHW", 3: "NCDHW"}


def shrunk(sample: Sample, kind: str) -> Sample:
    """Leave out steps, the end, the layout and the batch while the kind of failure stays."""
    best, going = sample, True
    while going:
        going = False
        for candidate in _smaller(best):
            try:
                made = write(*candidate)
                if any(failure.kind == kind for failure in check(made)):
                    best, going = made, True
                    break
            except Unfit:
                continue
    return best


def _smaller(sample: Sample):
    steps, shape = list(sample.steps), sample.shape
    if sample.end[0] != "plain":
        yield sample.layout, shape, steps, ("plain", sample.end[1])
    for i in range(len(steps)):
        yield sample.layout, shape, steps[:i] + steps[i + 1 :], sample.end
    plain = PLAIN[len(sample.space)]
    if sample.layout != plain:
        space = tuple(shape[d] for d in sample.space)
        for channels in (1, 2, 4):
            yield plain, (1, channels, *space), steps, sample.end
    if "N" in sample.layout and shape[0] > 1:
        yield sample.layout, (1, *shape[1:]), steps, sample.end
