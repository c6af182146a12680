"""Files of compiled networks: whose machine code may run, and what is done with the others."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from convsmith.errors import ArgumentError, ConvsmithError, first_line
from convsmith.runtime.stored.container import Container
from convsmith.runtime.stored.loaded import Loaded
from convsmith.runtime.stored.rebuilding import rebuilt

if TYPE_CHECKING:
    from convsmith.runtime.compiled import Compiled

__all__ = ["load_compiled"]


def load_compiled(
    path: str | os.PathLike[str], *, trust: bool | None = None, threads: int | None = None
) -> Loaded | Compiled:
    """Load what `Compiled.save` wrote.

    Args:
        path: the file.
        trust: whether its machine code may run. Unless given, it may if this user saved the file on
            this machine; that of any other file is left alone, and the network is compiled again
            here, from the program in the file.
        threads: how many run it: 1, or as many as it was compiled for, which is what it takes
            unless given.

    Raises:
        ModelError: for a file that is missing, damaged, or was made for another processor, system
            or version of convsmith.
        ArgumentError: for a number of threads that it was not saved for.
    """
    if trust is not None and not isinstance(trust, bool):
        raise ArgumentError(f"trust is True, False or None, not {trust!r}")
    container = Container.open(Path(path))
    try:
        if trust or (trust is None and container.is_own):
            return Loaded(container, threads)
        return rebuilt(container, threads)
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        if isinstance(error, ConvsmithError):
            raise
        raise container.damaged(f"{type(error).__name__}: {first_line(error)}") from error
