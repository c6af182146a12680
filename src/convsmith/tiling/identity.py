"""The identity of a run: what a resumed one must have in common with the one that began."""

from __future__ import annotations

from dataclasses import asdict
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from convsmith._version import __version__
from convsmith.errors import ArgumentError
from convsmith.tiling.reduce import named
from convsmith.tiling.request import Request

__all__ = ["identify"]


def identify(request: Request, path: str) -> dict[str, Any]:
    """What a resumed run must have in common with the one that began."""
    network = request.survey.network
    program = network.program
    weights = blake2b(digest_size=16)
    for name, value in sorted({**program.state_dict, **program.constants}.items()):
        if isinstance(value, Tensor):
            weights.update(name.encode())
            weights.update(_raw(value))
    graph = blake2b(str(program.graph).encode(), digest_size=16).hexdigest()
    mask = None
    if request.mask is not None:
        mask = blake2b(np.ascontiguousarray(request.mask.array).tobytes(), digest_size=16)
    try:
        reduces: Any = named(request.reducer)
    except ArgumentError:
        reduces = repr(request.reducer)
    return {
        "version": __version__,
        "weights": weights.hexdigest(),
        "network": graph,
        "input": request.source.fingerprint(),
        "settings": {
            "recipe": asdict(request.recipe),
            "prepare": asdict(request.prepare),
            "reducer": reduces,
            "tile": request.geometry.tile,
            "unit": request.geometry.unit,
        },
        "mask": None if mask is None else mask.hexdigest(),
        "target": {"path": path if "://" in path else Path(path).name, **asdict(request.form)},
    }


def _raw(value: Tensor) -> bytes:
    """The bytes of a tensor's values."""
    return value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
