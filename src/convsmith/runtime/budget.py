"""Which layers stay float32 so that a compiled network agrees with its model as often as asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from torch import Tensor

from convsmith.errors import ArgumentError
from convsmith.report.formats import percent
from convsmith.runtime.agreement import Agreement
from convsmith.runtime.compiled import Compiled

if TYPE_CHECKING:
    from convsmith.runtime.execution.region import Progress

__all__ = ["check_budget", "within_budget"]


def check_budget(agreement: Any, images: Any, precision: str) -> None:
    """Raise an `ArgumentError` for a budget that makes no sense."""
    if agreement is None:
        if images is not None:
            raise ArgumentError("images are for agreement=…, which is not given")
        return
    if isinstance(agreement, bool) or not isinstance(agreement, (int, float)):
        raise ArgumentError(f"agreement is a share of the images, not {agreement!r}")
    if not 0 < agreement <= 1:
        raise ArgumentError(f"agreement is above 0 and at most 1, not {agreement!r}")
    if precision == "float32":
        raise ArgumentError(f"agreement={agreement!r} needs precision='bf16'")
    if images is None:
        raise ArgumentError(f"agreement={agreement!r} needs images=…, which it is measured with")
    if not isinstance(images, Tensor) and iter(images) is images:
        raise ArgumentError("images are gone through several times: pass a list or a tensor")


def within_budget(
    agreement: float,
    images: Any,
    keep: Sequence[str],
    compiled: Callable[[Sequence[str]], Compiled],
    progress: Progress | None = None,
) -> Compiled:
    """The network with as few layers in float32 as the budget needs.

    Blocks are taken in the order of the error that they add to the outputs; how many of them are
    needed is found by halving, each time with what the kernels give.

    Args:
        agreement: the least share of images, or of their pixels, with the model's class.
        images: what it is measured with, as for `Compiled.compare`.
        keep: the names of layers that stay float32 anyway.
        compiled: compiles the network with such layers in float32.
        progress: called with `(what, done, of)`.

    Raises:
        ArgumentError: where the outputs have no classes, or no choice of layers is enough.
    """

    def tried(count: int) -> Compiled:
        names = [*keep, *chain.from_iterable(order[:count])]
        found = compiled(list(dict.fromkeys(names))) if count else whole
        found.price = whole.price if not count else found.compare(images, origins=False)
        return found

    def reached(found: Compiled) -> float:
        assert found.price is not None
        assert found.price.agreement is not None
        return found.price.agreement

    whole = compiled(keep)
    price: Agreement = whole.compare(images)
    whole.price = price
    if price.agreement is None:
        raise ArgumentError(
            f"agreement={agreement!r} needs outputs with classes, of which {price.network} has none"
        )
    order = [origin.layers for origin in price.origins if origin.error > 0]
    low, high, best = -1, 0, whole  # `low` are too few, `high` perhaps enough
    while reached(best) < agreement:
        if high >= len(order):
            raise ArgumentError(
                f"agreement={agreement!r} is out of reach: it is {percent(reached(best))} with all "
                "layers in float32 that could be in bf16"
            )
        low, high = high, min(len(order), max(1, 2 * high))
        best = tried(high)
        if progress is not None:
            progress("layers tried in float32", high, len(order))
    while high - low > 1:
        middle = (low + high) // 2
        found = tried(middle)
        if reached(found) >= agreement:
            high, best = middle, found
        else:
            low = middle
        if progress is not None:
            progress("layers tried in float32", middle, len(order))
    return best
