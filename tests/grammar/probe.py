"""What a position of the output really reads: by gradients, and by changing one pixel at a time.

The answer is two sets: `low` holds pixels that are certainly read, `high` all pixels that can be
read, if the network allows that conclusion. A pixel in `high` alone may owe it to rounding.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tests.grammar.networks import Sample

__all__ = ["Truth", "first_output", "hull_of", "positions", "probe"]

CHANGES = (0.3, -0.3, 4.0, -4.0)
NOISE = 1e-10


@dataclass(frozen=True)
class Truth:
    """Arrays of booleans over the image's space; `high` is None where no upper limit is known."""

    low: np.ndarray
    high: np.ndarray | None

    @property
    def hull(self) -> tuple[tuple[int, int], ...]:
        """First pixel that is read and one past the last, along each axis."""
        return hull_of(self.low)


def hull_of(mask: np.ndarray) -> tuple[tuple[int, int], ...]:
    if not mask.any():
        return ((0, 0),) * mask.ndim
    hull = []
    for axis in range(mask.ndim):
        along = np.flatnonzero(mask.any(tuple(a for a in range(mask.ndim) if a != axis)))
        hull.append((int(along[0]), int(along[-1]) + 1))
    return tuple(hull)


def first_output(result) -> Tensor:
    while not isinstance(result, Tensor):
        result = next(iter(result.values())) if isinstance(result, dict) else result[0]
    return result


def positions(sample: Sample, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The first, the middle and the last position along the result's own axes, once each."""
    lengths = [n for n, role in zip(shape, sample.roles) if isinstance(role, int)]
    ends = [
        tuple(0 for _ in lengths),
        tuple(n // 2 for n in lengths),
        tuple(n - 1 for n in lengths),
    ]
    return list(dict.fromkeys(ends))


def _cells(sample: Sample, position: tuple[int, ...]) -> tuple:
    at = iter(position)
    return tuple(
        0 if role == "N" else next(at) if isinstance(role, int) else slice(None)
        for role in sample.roles
    )


def probe(sample: Sample, at: list[tuple[int, ...]]) -> list[Truth]:
    """Probe what each of these positions of the first result reads."""
    cells = [_cells(sample, position) for position in at]
    others = tuple(d for d in range(len(sample.shape)) if d not in sample.space)
    size = [sample.shape[d] for d in sample.space]
    low = [np.zeros(size, bool) for _ in at]
    high = [np.zeros(size, bool) for _ in at]
    if sample.differentiable:
        for seed in range(2):
            for number, gradient in enumerate(_gradients(sample, cells, seed)):
                along = gradient.abs().amax(others) if others else gradient.abs()
                low[number] |= (along > NOISE * along.max()).numpy()
                high[number] |= (along != 0).numpy()
    if not (sample.smooth and sample.differentiable):
        for number, changed in _differences(sample, cells, others, size):
            low[number] |= changed > NOISE
            high[number] |= changed != 0
    return [Truth(a, b if sample.smooth else None) for a, b in zip(low, high)]


def _gradients(sample, cells, seed):
    image = sample.image(seed).requires_grad_()
    result = first_output(sample.model()(image))
    generator = torch.Generator().manual_seed(seed)
    for where in cells:
        part = result[where]
        weights = torch.rand(part.shape, generator=generator, dtype=torch.float64) + 0.5
        if not part.requires_grad:
            yield torch.zeros(sample.shape)
            continue
        (gradient,) = torch.autograd.grad(
            (part * weights).sum(), image, retain_graph=True, allow_unused=True
        )
        yield torch.zeros(sample.shape) if gradient is None else gradient.nan_to_num(nan=1e3)


@torch.no_grad()
def _differences(sample, cells, others, size):
    """Largest relative change of each position's values when one pixel alone is changed."""
    model = sample.model()
    # Without gradients to help, more starting points; small maps allow them.
    starts = 2 if sample.differentiable else 3
    changed = [np.zeros(size) for _ in cells]
    generator = torch.Generator().manual_seed(1)
    rng = random.Random(1)
    few = int(np.prod(size)) <= 40
    for seed in range(starts):
        image = sample.image(seed) * (1 + seed) - 0.3 * seed
        before = first_output(model(image)).double()
        for pixel in np.ndindex(*size):
            where = [slice(None)] * len(sample.shape)
            for d, p in zip(sample.space, pixel):
                where[d] = p
            for change in rng.sample(CHANGES, 4 if few else 2):
                other = image.clone()
                part = other[tuple(where)]
                part += change * (0.5 + torch.rand(part.shape, generator=generator))
                after = first_output(model(other)).double()
                if after.shape != before.shape:
                    continue
                differs = (after - before).abs() / (1 + before.abs())
                for number, cell in enumerate(cells):
                    by = (
                        float(differs[cell].nan_to_num(nan=1.0).amax())
                        if differs[cell].numel()
                        else 0
                    )
                    changed[number][pixel] = max(changed[number][pixel], by)
    return list(enumerate(changed))
