"""Other counters of a network's operations: each called as its documentation says, kept silent.

Every figure is a plain total for one forward pass of the given example. What it counts differs,
and `convsmith.measure.counters` says how.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from io import StringIO

import torch
from torch import Tensor, nn

import convsmith as cs
from benchmarks.machine import version
from convsmith.measure.counters import TOOLS

__all__ = ["CONVSMITH", "PEERS", "Peer", "Refused", "quiet"]


class Refused(Exception):
    """Raised when a counter gives no figure, or stops with an error."""


@dataclass(frozen=True)
class Peer:
    """A counter.

    Attributes:
        name: as people call it.
        module: what is imported; its distribution has the name of its first part.
        says: what it calls its figure.
        unit: how many of these one multiply-add is.
        call: from a model and an example to the figure, and whether the tool named, unasked,
            operations that it left out.
        tool: what `count_as` calls it, '' for ourselves.
    """

    name: str
    module: str
    says: str
    unit: int
    call: Callable[[nn.Module, Tensor], tuple[int, bool]]
    tool: str = ""

    @property
    def version(self) -> str | None:
        """The installed version, or None."""
        return version(self.module.partition(".")[0])

    @property
    def missing(self) -> str:
        """Why it cannot be used, or ''."""
        try:
            with quiet():
                import_module(self.module)
        except Exception as error:  # an old package may break on import in any way
            return "not installed" if self.version is None else f"cannot be imported: {error}"
        return ""

    def count(self, model: nn.Module, example: Tensor) -> tuple[int, bool]:
        """Its figure for a model, and whether it named what it left out.

        Raises:
            Refused: for whatever error it ended with.
        """
        try:
            with quiet():
                return self.call(model, example)
        except Exception as error:
            reason = str(error).strip().partition("\n")[0]
            raise Refused(f"{type(error).__name__}: {reason}") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Keep everything off the terminal: several print, warn and log while they count."""
    level = logging.root.manager.disable
    with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(level)


def _convsmith(model: nn.Module, example: Tensor) -> tuple[int, bool]:
    report = cs.inspect(model, example)
    return report.macs, report.status != "exact"


def _fvcore(model: nn.Module, example: Tensor) -> tuple[int, bool]:
    from fvcore.nn import FlopCountAnalysis

    found = FlopCountAnalysis(model, example)
    # Its log names every operation without a rule, additions and activations too.
    return int(found.total()), bool(found.unsupported_ops())


def ptflops_totals(model: nn.Module, example: Tensor) -> tuple[int, int] | None:
    """MACs and parameters by ptflops; None if it swallowed a failure of the forward pass."""
    from ptflops import get_model_complexity_info

    macs, params = get_model_complexity_info(
        model,
        tuple(example.shape[1:]),
        as_strings=False,
        print_per_layer_stat=False,
        input_constructor=lambda _: example,
    )
    return None if macs is None else (int(macs), int(params))


def _ptflops(model: nn.Module, example: Tensor) -> tuple[int, bool]:
    found = ptflops_totals(model, example)
    if found is None:
        raise ValueError("no figure: the forward pass failed")
    return found[0], False


def _thop(model: nn.Module, example: Tensor) -> tuple[int, bool]:
    from thop import profile

    macs, _ = profile(model, inputs=(example,), verbose=False)
    return int(macs), False


def _torchinfo(model: nn.Module, example: Tensor) -> tuple[int, bool]:
    from torchinfo import summary

    return int(summary(model, input_data=example, verbose=0).total_mult_adds), False


def _flop_counter(model: nn.Module, example: Tensor) -> tuple[int, bool]:
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(example)
    return counter.get_total_flops(), False


CONVSMITH = Peer("convsmith", "convsmith", "MACs", 1, _convsmith)
_CALLS = {
    "fvcore": ("fvcore.nn", _fvcore),
    "ptflops": ("ptflops", _ptflops),
    "thop": ("thop", _thop),
    "torchinfo": ("torchinfo", _torchinfo),
    "torch": ("torch.utils.flop_counter", _flop_counter),
}
PEERS = tuple(
    Peer(TOOLS[tool].title, module, TOOLS[tool].says, TOOLS[tool].unit, call, tool)
    for tool, (module, call) in _CALLS.items()
)
