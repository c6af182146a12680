"""What pickle is given of a compiled network: the program that it was compiled from, no code."""

from __future__ import annotations

import copyreg
from collections.abc import Callable
from typing import Any

from convsmith.errors import ConvsmithError
from convsmith.runtime.compiled import Compiled
from convsmith.runtime.stored.container import Container, packed
from convsmith.runtime.stored.rebuilding import rebuilt
from convsmith.runtime.stored.writing import content_of

__all__ = ["from_content", "without_code"]

_KEPT = ("name", "version", "threads", "precision", "keep", "winograd", "sizes")

Reduced = tuple[Callable[[bytes], "Compiled"], tuple[bytes]]


def from_content(content: bytes) -> Compiled:
    """Compile again what `without_code` kept: in another process, perhaps on another machine."""
    return rebuilt(Container.of(content, "the pickled network"))


def without_code(container: Container) -> Reduced:
    """What pickle is given of a network that was loaded.

    Raises:
        ConvsmithError: for a file without the program.
    """
    if "source" not in container:
        raise ConvsmithError(f"{container.name} holds machine code alone: pass on the file itself")
    kept: dict[str, Any] = {
        key: container.document[key] for key in _KEPT if key in container.document
    }
    return from_content, (packed(kept, {"source": container.part("source").tobytes()}),)


def _compiled(network: Compiled) -> Reduced:
    # Machine code has no place in a pickle, which may go to another machine.
    return from_content, (content_of(network, network._sizes, code=False),)


copyreg.pickle(Compiled, _compiled)
