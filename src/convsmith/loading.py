"""`load`: what `save` wrote, whether a rewritten model or a compiled network."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convsmith.errors import ArgumentError

if TYPE_CHECKING:
    from torch import nn

__all__ = ["load"]


def load(
    path: str | os.PathLike[str],
    model: nn.Module | None = None,
    *,
    trust: bool | None = None,
    threads: int | None = None,
) -> Any:
    """Load a compiled network from a `.cvs`, or a rewritten model from a folder.

    A `.cvs` that this user saved on this machine runs at once: nothing is traced or compiled. It
    holds machine code, so that of any other is left alone unless it is trusted: the network is
    compiled here, from the program that the file also holds, which can run no code.

    Args:
        path: a file that `Compiled.save` wrote; or a folder that `save`, `convsmith lighten -o` or
            `convsmith dilate -o` wrote.
        model: for a folder, a freshly built original, with any weights.
        trust: for a file, whether its machine code may run: True, False, or None for `only if it
            was saved here`.
        threads: for a file, how many run it: 1, or as many as it was compiled for.

    Returns:
        A `Loaded` network, or a `Compiled` one where it was compiled here; for a folder, a copy of
        the model, its layers replaced and all its weights read.

    Raises:
        ModelError: for a file that is damaged, or made for another processor, system or version;
            for a folder that holds no recipe, or does not fit the model.
        ArgumentError: for a folder without a model.
    """
    from convsmith.runtime.stored.container import is_container

    place = Path(path)
    if is_container(place):
        if model is not None:
            raise ArgumentError(f"{place} is a network of its own: leave out the model")
        from convsmith.runtime.stored.opening import load_compiled

        return load_compiled(place, trust=trust, threads=threads)
    if model is None:
        raise ArgumentError(f"{place} rewrites a model: pass the original, load(folder, model)")
    if trust is not None or threads is not None:
        raise ArgumentError("trust and threads are for a compiled network, not for a folder")
    from convsmith.rewrite import load as load_folder

    return load_folder(place, model)
