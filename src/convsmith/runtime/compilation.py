"""`compile`: a network whose convolutions run in fused kernels, the rest in torch.

Capture, partition, regions, compiled network: one after the other. Which graph serves inputs of
other sizes is asked later, by the compiled network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.export import ExportedProgram

from convsmith.errors import ArgumentError
from convsmith.kernels.watching import InPython
from convsmith.machine import cache_folder, usable_processors
from convsmith.network import Network
from convsmith.network.example import example_inputs
from convsmith.runtime.budget import check_budget, within_budget
from convsmith.runtime.compiled import Compiled
from convsmith.runtime.execution.team import team
from convsmith.runtime.graph.capture import Capture
from convsmith.runtime.graph.snapshot import snapshot
from convsmith.runtime.graph.source import Partitioner
from convsmith.runtime.graph.variant import Variant, in_torch
from convsmith.runtime.precision import FLOAT32, Precision, here, precision_of

if TYPE_CHECKING:
    # Halide has no wheel for every machine: these are imported where there are kernels.
    from convsmith.kernels.isa import Isa
    from convsmith.kernels.library import Library
    from convsmith.runtime.execution.region import Progress

__all__ = ["compile"]


def compile(
    model: nn.Module | ExportedProgram,
    example: Any,
    *,
    threads: int | None = None,
    isa: str | None = None,
    frozen: bool = False,
    new_sizes: str = "wait",
    progress: Progress | None = None,
    part_of: Network | None = None,
    precision: str = "float32",
    allow_fallback: bool = False,
    keep: Sequence[str] = (),
    agreement: float | None = None,
    images: Any = None,
    winograd: bool = False,
) -> Compiled:
    """Compile a network for inference on this machine's processor.

    Args:
        model: any module that `torch.export` captures, or an exported program; it is left as it
            was and shares its parameters with the result where torch runs a layer.
        example: a tensor, a shape or several, as for `trace`. Other sizes are served, too.
        threads: how many to use; unless given, as many as torch uses (`OMP_NUM_THREADS`,
            `torch.set_num_threads`), within the processors and the quota of this process.
        isa: `avx512` or `avx2`; the widest unless given.
        frozen: keep the weights of now: a copy of them. Calls then do not look for changes of the
            model, which takes some microseconds, and nothing of the model is shared.
        new_sizes: what to do with inputs of a signature that was not compiled: `wait` for it, or
            run them in `torch` while a thread compiles for the next ones.
        progress: called with `(what, done, of)` while kernels are compiled.
        part_of: the network at the size of a whole image of which the example is a part: kernels
            are chosen as for the whole, so that the part has its bits.
        precision: `float32`, or `bf16` where the processor multiplies such numbers (AVX-512 BF16):
            maps and the weights of sums over channels are then bf16, half as many bytes with 8
            instead of 24 bits of precision; sums, biases, activations, residuals, means and the
            weights of depthwise layers stay float32, as do what comes in and goes out.
        allow_fallback: compute in float32 where there is no bf16, instead of raising an error;
            `Compiled.precision` says which it is.
        keep: with `bf16`, the names of layers that stay float32.
        agreement: with `bf16`, the least share of `images`, or of their pixels, whose class is to
            be the model's: those layers whose roundings move the outputs most stay float32, as few
            as are needed. `Compiled.keep` names them, `Compiled.price` says what was measured.
        images: what that is measured with, as for `Compiled.compare`; no labels are needed.
        winograd: let dense convolutions of three columns and stride 1, with many channels, take two
            thirds of their products (Winograd's F(2, 3)), in float32. The error stays within twice
            PyTorch's, but not every bit: results depend on whether a column is even, so that parts
            of an image do not have the bits of the whole, and an infinity among the inputs makes
            NaN of its neighbours. It also holds a second copy of such weights.

    Raises:
        ArgumentError: for an invalid example or setting, less than one thread, or a precision that
            this machine does not have.
        TraceError: for a model that cannot be captured.

    >>> import torch
    >>> from torch import nn
    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()).eval()
    >>> fast = compile(net, (1, 3, 16, 16))
    >>> image = torch.rand(2, 3, 20, 30)
    >>> torch.allclose(fast(image), net(image), atol=1e-5)
    True
    """
    if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int)):
        raise ArgumentError(f"threads must be an integer, not {threads!r}")
    if threads is not None and threads < 1:
        raise ArgumentError(f"at least one thread is needed, not {threads}")
    if not isinstance(frozen, bool):
        raise ArgumentError(f"frozen is True or False, not {type(frozen).__name__}")
    if not isinstance(winograd, bool):
        raise ArgumentError(f"winograd is True or False, not {winograd!r}")
    if new_sizes not in ("wait", "torch"):
        raise ArgumentError(f"new_sizes is 'wait' or 'torch', not {new_sizes!r}")
    if not isinstance(model, (nn.Module, ExportedProgram)):
        raise ArgumentError(f"expected a torch.nn.Module, not {type(model).__name__}")
    threads = threads or min(usable_processors(), torch.get_num_threads())
    holder = model.module(check_guards=False) if isinstance(model, ExportedProgram) else model
    args, kwargs = example_inputs(holder, example)
    wanted = precision_of(precision, keep)
    check_budget(agreement, images, precision)
    if here(precision, allow_fallback, isa) != precision:
        wanted = FLOAT32
    wanted = replace(wanted, winograd=winograd)
    if part_of is not None and not isinstance(part_of, Network):
        raise ArgumentError(f"part_of is a Network, not {part_of!r}")
    if frozen:
        model = snapshot(model)

    def compiled(keep: Sequence[str]) -> Compiled:
        some = replace(wanted, keep=frozenset(keep))
        partition, look = _partitioner(threads, isa, some)
        if part_of is not None:
            partition = _as_for(part_of, partition)
        found = Compiled(
            model, (args, kwargs), partition, threads, look, frozen, new_sizes, precision=some
        )
        found.prepare(progress=progress)
        return found

    if agreement is None or wanted.name == "float32":
        return compiled(tuple(wanted.keep))
    return within_budget(agreement, images, tuple(wanted.keep), compiled, progress)


def _as_for(whole: Network, partition: Partitioner) -> Partitioner:
    """Puts regions into a graph whose kernels are chosen as the network of a whole image has them.

    It holds for graphs made later, too: with changed weights, and for other inputs.
    """

    def chosen(captured: Capture) -> Variant:
        variant = partition(captured)
        for region in variant.regions:
            missing = [block.name for block in region.inputs if block.name not in whole]
            if missing:
                raise ArgumentError(
                    f"{whole.name} cannot be compiled as parts: its regions begin at {missing[0]}, "
                    "which the whole has not got"
                )
            shapes = [whole[block.name].shape for block in region.inputs]
            region.choose_kernels_for([region.tensors.size(shape) for shape in shapes])
        return variant

    return chosen


def _partitioner(
    threads: int, isa: str | None, precision: Precision
) -> tuple[Partitioner, InPython]:
    """What puts regions into a graph, and what compares models with what they were.

    Where there are no kernels, a graph stays as it is.
    """
    try:
        from convsmith.kernels.isa import choose_isa
        from convsmith.kernels.library import compiler
        from convsmith.runtime.graph.partition import partition
    except ImportError:
        return in_torch, InPython()
    chosen = choose_isa(isa)
    if chosen is None:
        return in_torch, InPython()
    library = _library(chosen, cache_folder(), compiler())
    return lambda captured: partition(captured, library, team(threads), precision), library.watching


@cache
def _library(isa: Isa, root: Path, command: tuple[str, ...] | None) -> Library:
    """One library for all that is compiled, so that a kernel is loaded and checked once."""
    from convsmith.kernels.jit import open_library

    return open_library(isa)
