"""A compiled network as the content of a file."""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Node
from torch.utils._pytree import tree_leaves, tree_unflatten

from convsmith._version import __version__
from convsmith.errors import ConvsmithError, ModelError, first_line
from convsmith.network import Network
from convsmith.network.contexts import quiet
from convsmith.network.example import example_inputs
from convsmith.network.lock import LOCK
from convsmith.network.stored.program import program_from
from convsmith.runtime.graph.free import agrees, captured
from convsmith.runtime.graph.rehearse import names_sizes
from convsmith.runtime.graph.signature import describe
from convsmith.runtime.graph.source import Source
from convsmith.runtime.graph.variant import Variant
from convsmith.runtime.stored.container import packed
from convsmith.runtime.stored.operators import name_of
from convsmith.runtime.stored.values import write

if TYPE_CHECKING:
    from convsmith.runtime.execution.region import Made, Region

__all__ = ["content_of"]

_BATCHES = 1, 2, 3
"""A graph that serves these serves any number of images."""


class Saved(Protocol):
    """What is saved of a `Compiled`, which itself knows how it is saved."""

    threads: int
    precision: str
    keep: tuple[str, ...]
    winograd: bool
    _source: Source

    @property
    def network(self) -> Network:
        """What was compiled."""

    def _variant(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Variant:
        """The graph that serves these inputs."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The results."""


def content_of(
    compiled: Saved, sizes: Sequence[Any], *, source: bool = True, code: bool = True
) -> bytes:
    """All that is needed to run a compiled network elsewhere.

    Args:
        compiled: the network; its programs for these sizes are made if need be.
        sizes: examples of its inputs.
        source: also what it was compiled from, as a program of `torch.export`, so that whoever does
            not trust machine code can compile it again.
        code: also machine code.

    Raises:
        ArgumentError: for inputs that the network does not take.
        ConvsmithError: for what cannot be stored: the reason, and what to do.
    """
    model = compiled._source.model
    holder = model.module(check_guards=False) if isinstance(model, ExportedProgram) else model
    writer = _Writer(compiled)
    examples = [example_inputs(holder, size) for size in sizes]
    with LOCK, torch.no_grad():
        if code:
            for args, kwargs in examples:
                writer.add(args, kwargs)
            writer.add_code()
        if source:
            writer.parts["source"] = _source(compiled, model, examples)
    document = {
        "name": compiled.network.name,
        "version": __version__,
        "threads": compiled.threads,
        "precision": compiled.precision,
        "keep": list(compiled.keep),
        "winograd": compiled.winograd,
        "sizes": [write(example) for example in examples],
        **(writer.document if code else {}),
    }
    return packed(document, writer.parts)


def _source(compiled: Saved, model: Any, examples: Sequence[Any]) -> bytes:
    """The network as `torch.export.save` writes it, once it is found to give the same results."""
    name, program = compiled.network.name, model
    advice = "pass source=False to save machine code alone"
    if not isinstance(model, ExportedProgram):
        free = captured(model, examples[0])
        program = compiled._source.first.captured.program
        if free is not None:
            program = _without_ranges(free.program)
    stream = BytesIO()
    try:
        with quiet():
            torch.export.save(program, stream)
        content = stream.getvalue()
        read = program_from(content, name).module(check_guards=False)
    except ModelError as error:
        raise ModelError(f"{error}; {advice}") from error
    except Exception as error:
        reason = first_line(error)
        raise ConvsmithError(
            f"{name} cannot be written by torch.export.save: {reason}; {advice}"
        ) from error
    for args, kwargs in examples:
        one: Any = compiled
        if compiled.precision != "float32":  # it is the network that is compared, not its rounding
            one = compiled._variant(args, kwargs).plain
        if not agrees(one, read, (args, kwargs)):
            raise ConvsmithError(
                f"{name} as a program does not serve {describe(args, kwargs)}, as its code depends "
                f"on the size: save one file per size, or {advice}"
            )
    return content


def _without_ranges(program: ExportedProgram) -> ExportedProgram:
    """A program that takes a batch of 1 and one of many: it is tried with those that are saved.

    The ranges are those in which oneDNN takes the same path, and in which nothing has length 1.
    """
    ranges: dict[Any, Any] = program._range_constraints
    for symbol, found in ranges.items():
        ranges[symbol] = type(found)(1, type(found).unknown_int().upper)
    return program


class _Writer:
    """Collects the parts of a file; each tensor, region, program and kernel once."""

    def __init__(self, compiled: Saved) -> None:
        self.compiled = compiled
        self.parts: dict[str, bytes] = {}
        self.document: dict[str, Any] = {"graphs": [], "regions": [], "served": [], "kernels": []}
        self._graphs: dict[int, int] = {}
        self._regions: dict[int, int] = {}
        self._programs: set[tuple[int, Any]] = set()
        self._kernels: dict[int, int] = {0: 0}  # by address; 0 is no call
        self._kept: list[Any] = []  # an identity is free again once its object is gone

    def add(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """What serves these inputs."""
        from convsmith.runtime.execution.region import PREPARING

        made: list[Made] = []
        PREPARING.made = made
        try:
            variant = self.compiled._variant(args, kwargs)
            variant.prepare(args, kwargs)
        finally:
            PREPARING.made = None
        if id(variant) not in self._graphs:
            self._kept.append(variant)
            self._graphs[id(variant)] = len(self.document["graphs"])
            self.document["graphs"].append(self._graph(variant))
        for each in made:
            self._program(each)
        self.document["served"].append(
            {
                "graph": self._graphs[id(variant)],
                "inputs": write((args, kwargs)),
                "any_batch": self._any_batch(variant, args, kwargs),
            }
        )

    def _any_batch(self, variant: Variant, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Whether the same graph and programs serve any number of images."""
        from convsmith.runtime.execution.tensors import Vectors

        tensors = all(isinstance(value, Tensor) and value.dim() > 2 for value in args)
        if kwargs or not args or not tensors or names_sizes(variant.captured.program):
            return False
        if any(isinstance(region.tensors, Vectors) for region in variant.regions):
            return False
        if len({value.shape[0] for value in args}) > 1:
            return False
        find = self.compiled._source.find
        for images in _BATCHES:
            batch = tuple(value[:1].expand(images, *value.shape[1:]) for value in args)
            try:
                if images != args[0].shape[0] and find(batch, {}) is not variant:
                    return False
            except ConvsmithError:
                return False
        return True

    def _graph(self, variant: Variant) -> dict[str, Any]:
        places: dict[Node, int] = {}
        nodes: list[Any] = []
        graph: Any = variant.graph.graph
        output: Any = None
        for node in graph.nodes:
            if node.op == "output":
                output = node.args[0]
                continue
            nodes.append(self._node(variant, node, places.__getitem__))
            places[node] = len(places)
        results = list(tree_leaves(output))
        spec = graph._codegen.pytree_info.out_spec
        structure = tree_unflatten(list(range(len(results))), spec)
        return {
            "nodes": nodes,
            "results": [write(result, places.__getitem__) for result in results],
            "structure": write(structure),
        }

    def _node(self, variant: Variant, node: Node, place: Any) -> Any:
        if node.op == "placeholder":
            return ["input"]
        if node.op == "get_attr":
            owner, _, name = str(node.target).rpartition(".")
            held = getattr(variant.graph.get_submodule(owner), name)
            if isinstance(held, Tensor):
                return ["tensor", *self._tensor(held)]
        if node.op == "call_module":
            part: Any = variant.graph.get_submodule(str(node.target))
            if hasattr(part, "blocks"):
                return ["region", self._region(part), [place(each) for each in node.args]]
        if node.op == "call_function":
            name = name_of(node.target)
            return ["call", name, write(tuple(node.args), place), write(dict(node.kwargs), place)]
        raise ModelError(
            f"{self.compiled.network.name} cannot be saved: {node.name} calls {node.target}, which "
            "is code; export it as ONNX, or save the model"
        )

    def _tensor(self, tensor: Tensor) -> list[Any]:
        held = tensor.detach().cpu().contiguous()
        name = f"tensor {len(self.parts)}"
        self.parts[name] = held.reshape(-1).view(torch.uint8).numpy().tobytes()
        return [name, write(held)]

    def _region(self, region: Region) -> int:
        if id(region) in self._regions:
            return self._regions[id(region)]
        if region.library.executor is None:
            raise ConvsmithError(
                "there is no C compiler here, so kernels run through the JIT and cannot be saved: "
                "install gcc or clang, or set CC"
            )
        number = self._regions[id(region)] = len(self.document["regions"])
        self._kept.append(region)
        self.parts[f"weights {number}"] = region.constants.memory.tobytes()
        targets = [block.target for block in region.inputs]
        self.document["regions"].append(
            {
                "vectors": any(block.vectors for block in region.inputs),
                "channels": [target.channels for target in targets if target is not None],
                "programs": [],
            }
        )
        return number

    def _program(self, made: Made) -> None:
        region, key, sized = made
        number = self._regions[id(region)]
        if (number, key) in self._programs:
            return
        self._programs.add((number, key))
        program = sized.program
        calls = program.calls.copy()
        names = region.library.names()
        for address in np.unique(calls["function"]).tolist():
            if address not in self._kernels:
                self._kernels[address] = len(self._kernels)
                self.document["kernels"].append(names[address])
        calls["function"] = [
            [self._kernels[address] for address in row] for row in calls["function"].tolist()
        ]
        name = f"program {number} {len(self.parts)}"
        self.parts[name] = calls.tobytes() + np.ascontiguousarray(program.arguments).tobytes()
        threads, last, *tensors = key
        self.document["regions"][number]["programs"].append(
            {
                "part": name,
                "threads": threads,
                "last": last,
                "tensors": [[list(each) for each in kind[:-1]] for kind in tensors],
                "calls": calls.shape[1],
                "memory": program.memory,
                "results": [list(size) for size in sized.results],
            }
        )

    def add_code(self) -> None:
        """The machine code of all kernels that were met."""
        regions = [region for variant in self._kept for region in getattr(variant, "regions", ())]
        if not regions:
            return
        library = regions[0].library
        self.parts["executor"] = library.code("executor")
        for name in self.document["kernels"]:
            if name not in ("fill", "pack", "unpack"):
                self.parts[f"kernel {name}"] = library.code(name)
        self.document["isa"] = library.isa.name
        self.document["system"] = [sys.platform, platform.machine()]
