"""A handful of ranks to choose from, evenly on a scale of factors."""

from __future__ import annotations

from convsmith.nn.factored import Rank

__all__ = ["ladder"]

# Ranks between the lightest and the convolution's own cost, a constant factor apart.
_STEPS = 8


def ladder(full: Rank, taps: int) -> list[Rank]:
    """Ranks from an eighth of the full one up.

    Args:
        full: the rank at which nothing is lost.
        taps: taps of the kernel. A side with no more channels than taps keeps them all: a stem's
            few inputs, or a head's few outputs, are not worth a convolution that saves some.

    >>> sorted(ladder(6, 9)), (3, 64) in ladder((3, 64), 49)
    ([1, 2, 3, 4, 5, 6], True)
    """
    shares = [8 ** (step / (_STEPS - 1) - 1) for step in range(_STEPS)]
    if isinstance(full, int):
        if full <= 2 * _STEPS:
            return list(range(1, full + 1))
        return list({_whole(share * full) for share in shares})
    few = tuple(channels <= taps for channels in full)
    return list({_pair(full, few, share) for share in shares})


def _pair(full: tuple[int, int], few: tuple[bool, ...], share: float) -> tuple[int, int]:
    inner, outer = (n if keep else _whole(share * n) for n, keep in zip(full, few, strict=True))
    return inner, outer


def _whole(rank: float) -> int:
    """A whole rank; one that fills vectors, where that changes little."""
    return max(1, round(rank)) if rank < 32 else 8 * round(rank / 8)
