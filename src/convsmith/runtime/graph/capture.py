"""What a model computes for inputs of some signature: its layers, and a graph to put regions in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx import GraphModule, Node
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from convsmith.network import Network, trace
from convsmith.network.contexts import quiet, untouched
from convsmith.network.example import aliased
from convsmith.network.lock import LOCK
from convsmith.network.shadow import shadow
from convsmith.network.trace import read_program
from convsmith.runtime.graph.channels_last import CHANNELS_LAST
from convsmith.runtime.graph.composed import has_composed, in_parts
from convsmith.runtime.graph.explicit import name_types
from convsmith.runtime.graph.functional import functional
from convsmith.runtime.graph.gates import VECTORS
from convsmith.runtime.graph.glu import glu_as_products, has_glu
from convsmith.runtime.graph.lines import has_lines, lines_as_maps
from convsmith.runtime.graph.patience import Patience
from convsmith.runtime.graph.plainer import plainer
from convsmith.runtime.graph.twins import may_have, rewritten

__all__ = ["Capture", "apart"]


@dataclass(frozen=True, eq=False)
class Capture:
    """A captured graph.

    Attributes:
        network: its layers, at the sizes of the example.
        program: the same nodes by name; sizes may be free.
        kept: why no operation may be moved, or ''.
        fixed: nodes whose arguments follow from the sizes of the inputs.
        guarded: for a graph of free sizes, the graph with its guards.
        written: the graph as the model has it, where operations stand for others in the program.
    """

    network: Network
    program: ExportedProgram
    kept: str = ""
    fixed: frozenset[str] = field(default_factory=frozenset)
    guarded: GraphModule | None = None
    written: GraphModule | None = None

    @classmethod
    def of(
        cls,
        model: nn.Module | ExportedProgram,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        for_kernels: bool = True,
    ) -> Capture:
        """Capture a model at these inputs, all sizes fixed.

        A second set of its modules is captured: other threads may use the model meanwhile.

        Args:
            model: the model.
            args: inputs; named ones in `kwargs`.
            kwargs: by name.
            for_kernels: also with maps in the one form that kernels take.

        Raises:
            TraceError: for a model that cannot be captured.
        """
        with LOCK, apart(model) as copied:
            network = trace(copied, kwargs or tuple(args))
            if isinstance(model, nn.Module):
                network = replace(network, model=model)
            program = network.program
            changed, kept, written = _normalised(program, for_kernels)
            if changed:  # the nodes are not those that were traced
                module: nn.Module = (
                    program.module(check_guards=False)
                    if isinstance(model, ExportedProgram)
                    else model
                )
                again = read_program(program, module, network.name, network.free)
                network = replace(again, model=network.model)
        return cls(network, program, kept, written=written)

    @classmethod
    def of_free_sizes(
        cls,
        model: nn.Module,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        free: tuple[tuple[int, ...], ...],
    ) -> Capture | None:
        """Capture a model with some sizes free, unless they need be fixed.

        Args:
            model: the model.
            args: inputs; named ones in `kwargs`.
            kwargs: by name.
            free: for each leaf of the inputs, the axes whose lengths are free.

        Returns:
            None where that fails, or takes too long.
        """
        if args and kwargs:
            return None
        leaves, spec = tree_flatten(kwargs or tuple(args))
        sizes = tree_unflatten(list(map(_free, leaves, free)), spec)
        args, kwargs = aliased((args, kwargs))
        with LOCK, apart(model) as copied, untouched(copied), quiet():
            try:
                with torch.no_grad(), Patience():
                    program = torch.export.export(
                        copied, args, kwargs, dynamic_shapes=sizes, strict=False
                    )
                guarded = program.module(check_guards=True)
                _, kept, written = _normalised(program)
                network = trace(program, kwargs or tuple(args))
            except Exception:
                return None  # whatever the reason: each size is then captured by itself
        network = replace(network, name=type(model).__name__, model=model)
        fixed = frozenset(node.name for node in program.graph.nodes if _is_fixed(node))
        return cls(network, program, kept, fixed, guarded, written)

    @property
    def in_torch(self) -> GraphModule:
        """What torch runs in the place of kernels: the operations of the model itself."""
        return self.graph() if self.written is None else self.written

    def graph(self) -> GraphModule:
        """A fresh copy of the graph, which shares the parameters.

        It does not check sizes by itself: they are checked once per signature.
        """
        return _module(self.program)

    def takes(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Whether a graph of free sizes holds for tensors of these sizes."""
        guards = getattr(self.guarded, "_guards_fn", None)
        if guards is None:
            return False
        try:
            guards(*tree_leaves((args, kwargs)))
        except AssertionError:
            return False
        return True


@contextmanager
def apart(model: Any) -> Iterator[Any]:
    """What is captured in the place of a model, without the caller's autocast and device."""
    elsewhere = torch.get_default_device().type == "meta"
    device = torch.device("cpu") if elsewhere else nullcontext()
    with torch.autocast("cpu", enabled=False), device:
        yield shadow(model) if isinstance(model, nn.Module) else model


def _normalised(
    program: ExportedProgram, for_kernels: bool = True
) -> tuple[bool, str, GraphModule | None]:
    """Rewrite a program as regions are cut from it.

    Returns:
        Whether there are other operations now; why none may be moved, or ''; and the graph as it
        was before operations took the place of others, for torch to run.
    """
    named = name_types(program)
    changed, kept = functional(program)
    if kept:
        return named or changed, kept, None
    changed = plainer(program) or changed or named
    rewrites = [glu_as_products] if has_glu(program) else []
    rewrites += [in_parts] if has_composed(program) else []
    forms = (form for form in (CHANNELS_LAST, VECTORS) if may_have(program, form))
    rewrites += [partial(rewritten, form=form) for form in forms]
    rewrites += [lines_as_maps] if has_lines(program) else []
    if not rewrites or not for_kernels:
        return changed, kept, None
    written = _module(program)
    others = [rewrite(program) for rewrite in rewrites]
    return changed or any(others), kept, written if any(others) else None


def _module(program: ExportedProgram) -> GraphModule:
    """A copy of the graph that shares the parameters, and does not check sizes by itself."""
    module: GraphModule = program.module(check_guards=False)
    setattr(module, "validate_inputs", False)  # noqa: B010 (no attribute that mypy knows)
    return module


def _free(value: Any, axes: tuple[int, ...]) -> Any:
    if not isinstance(value, Tensor):
        return None
    return tuple(Dim.AUTO if axis in axes else None for axis in range(value.dim()))


def _is_free(length: int | torch.SymInt) -> bool:
    """Whether a length may be any: for one that the model settles, there is a symbol, too."""
    return isinstance(length, torch.SymInt) and not length.node.expr.is_number


def _is_fixed(node: Node) -> bool:
    """Whether what a kernel would do for a node holds for the size of the example alone."""
    if node.op != "call_function":
        return False
    kinds = [n.meta.get("val") for n in node.all_input_nodes]
    if any(isinstance(kind, (torch.SymInt, torch.SymFloat, torch.SymBool)) for kind in kinds):
        return True
    shapes = [kind.shape for kind in kinds if isinstance(kind, Tensor) and kind.dim() == 4]
    if any(_is_free(shape[1]) for shape in shapes):
        return True
    alike = all(
        str(a) == str(b) or (isinstance(a, int) and a == 1) or (isinstance(b, int) and b == 1)
        for one, other in pairwise(shapes)
        for a, b in zip(one, other, strict=True)
    )
    return not alike and getattr(node.target, "_opname", "") not in ("conv2d", "convolution", "cat")
