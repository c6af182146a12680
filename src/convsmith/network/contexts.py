"""Contexts in which a model is captured: evaluation mode, nothing printed, no collections."""

from __future__ import annotations

import gc
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import get_ident
from typing import Any

import torch
from torch import nn

from convsmith.network.lock import LOCK
from convsmith.printing import kept_back

__all__ = ["forked", "quiet", "untouched", "without_collections"]


@contextmanager
def forked() -> Iterator[None]:
    """Give back the random state."""
    with torch.random.fork_rng(devices=[]):
        yield


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Put every module into evaluation mode, then give back each flag and the random state."""
    flags = [(module, module.training) for module in model.modules()]
    try:
        with forked():
            for module, _ in flags:
                module.training = False
            yield
    finally:
        for module, flag in flags:
            module.training = flag


@contextmanager
def quiet() -> Iterator[None]:
    """Keep back warnings and logs while a model is traced; errors are exceptions anyway.

    One thread at a time is in here, as `torch.export` and what is switched off serve only one.
    What the model prints is the caller's, except on the command line (`convsmith.printing`).
    """
    import torch.export._trace as tracing  # takes seconds, and only captures need it

    with LOCK:
        logger = logging.getLogger("torch")
        level = logger.level
        exporter = vars(tracing)
        with warnings.catch_warnings(), kept_back():
            warnings.simplefilter("ignore")
            logger.setLevel(logging.CRITICAL)
            # Where a capture fails, it prints half of the graph: give it another `print`.
            exporter["print"] = lambda *values, **options: None
            switch = exporter[_SWITCH]
            exporter[_SWITCH] = _left_on(switch)
            try:
                yield
            finally:
                exporter[_SWITCH] = switch
                exporter.pop("print", None)
                logger.setLevel(level)


# Turns oneDNN, NNPACK and cuDNN off for the whole process while `torch.export` captures: what other
# threads compute meanwhile is rounded in another way. Two captures at once can leave them off.
_SWITCH = "_ignore_backend_decomps"


def _left_on(switch: Callable[[], AbstractContextManager[Any]]) -> Callable[[], Any]:
    """For captures by this thread, a switch that does nothing; others keep theirs.

    The graphs are the same, as what these libraries decide comes below the operations of a graph.
    """
    here = get_ident()
    return lambda: nullcontext() if get_ident() == here else switch()


@contextmanager
def without_collections() -> Iterator[None]:
    """Put off the collection of cycles: a capture makes many objects and drops few of them.

    By trial on DenseNet-201, collecting takes a tenth to a fifth of `torch.export`'s time where
    its shapes are new to torch, and nothing where it has met them before.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
