"""A compiled network out of a file, which runs without what compiled it."""

from __future__ import annotations

import platform
import sys
from typing import TYPE_CHECKING, Any, NoReturn, Self

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from convsmith._version import __version__
from convsmith.errors import ArgumentError, ConvsmithError, ModelError, first_line
from convsmith.kernels.isa import lacking
from convsmith.runtime.graph.gate import gate
from convsmith.runtime.graph.signature import describe, signature
from convsmith.runtime.inference import ForInference
from convsmith.runtime.stored.code import Code
from convsmith.runtime.stored.container import Container
from convsmith.runtime.stored.graph import Graph
from convsmith.runtime.stored.piece import Piece
from convsmith.runtime.stored.values import read

if TYPE_CHECKING:
    pass

__all__ = ["Loaded"]


class Loaded(ForInference):
    """A compiled network for inference, out of a file; made by `convsmith.load`.

    It serves the sizes that it was saved for, as the compiled network did that was saved, bit for
    bit, and needs neither Halide nor a C compiler. It may be called from several threads. Its
    weights are its own.

    Attributes:
        name: that of the model's class.
        threads: how many threads the kernels use.
        precision: `float32` or `bf16`: what its kernels compute with.
        keep: in bf16, the layers that stay float32.
        sizes: the inputs that it serves, in words.
    """

    def __init__(self, container: Container, threads: int | None = None) -> None:
        super().__init__()
        self._container = container
        document = container.document
        _check_origin(container)
        self.name, self.precision = str(document["name"]), str(document.get("precision", "float32"))
        self.keep = tuple(str(name) for name in document.get("keep", ()))
        saved = int(document["threads"])
        if threads is not None and threads not in (1, saved):
            raise ArgumentError(
                f"{container.name} was saved for {saved} threads, or 1, not {threads}"
            )
        self.threads = threads or saved
        pieces = self._pieces(container)
        graphs = [Graph(each, container, pieces) for each in document["graphs"]]
        self._graphs: dict[Any, Graph] = {}
        self._any_batch: dict[Any, Graph] = {}
        self.sizes: list[str] = []
        for each in document["served"]:
            args, kwargs = read(each["inputs"], _without_values)
            graph = graphs[each["graph"]]
            self._graphs[signature(args, kwargs)] = graph
            self.sizes.append(describe(args, kwargs))
            if each["any_batch"]:
                self._any_batch[_of_one(args)] = graph
                self.sizes[-1] += " (any batch)"

    def _pieces(self, container: Container) -> list[Piece]:
        document = container.document
        if not document["regions"]:
            return []
        code = Code(container.part("executor").tobytes())
        addresses = [0]
        for name in document["kernels"]:
            part = f"kernel {name}"
            content = container.part(part).tobytes() if part in container else None
            addresses.append(code.address(name) if content is None else code.kernel(name, content))
        kernels = np.array(addresses, np.uint64)
        return [
            Piece(number, each, container, code, kernels, self.threads)
            for number, each in enumerate(document["regions"])
        ]

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the model gives in evaluation mode, without gradients.

        Raises:
            ArgumentError: for inputs of a size that was not saved.
        """
        graph = self._graphs.get(signature(args, kwargs))
        if graph is None:
            graph = self._of_any_batch(args, kwargs)
        gate.enter()
        try:
            with torch.no_grad():
                if not graph.calls_torch or not torch.is_autocast_enabled("cpu"):
                    return graph(tree_leaves((args, kwargs)))
                with torch.autocast("cpu", enabled=False):  # other types than were compiled
                    return graph(tree_leaves((args, kwargs)))
        except (RuntimeError, ConvsmithError) as error:
            raise ArgumentError(f"{self!r}: {first_line(error)}") from error
        finally:
            gate.leave()

    def _of_any_batch(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Graph:
        plain = not kwargs and args and all(isinstance(v, Tensor) and v.dim() > 2 for v in args)
        graph = self._any_batch.get(_of_one(args)) if plain else None
        if graph is None or len({value.shape[0] for value in args}) > 1:
            raise ArgumentError(
                f"the compiled {self.name} was saved for {'; '.join(self.sizes)}, not for "
                f"{describe(args, kwargs)}: save it with sizes=[…] that include this"
            )
        return graph

    def _apply(self, fn: Any, recurse: bool = True) -> NoReturn:
        raise ArgumentError("a compiled network stays on the processor in float32")

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self  # nothing of it changes

    def __reduce__(self) -> Any:
        from convsmith.runtime.stored.copying import without_code

        return without_code(self._container)

    def __repr__(self) -> str:
        narrow = "" if self.precision == "float32" else f", {self.precision}"
        return f"Loaded({self.name} for {'; '.join(self.sizes)}, threads: {self.threads}{narrow})"


def _check_origin(container: Container) -> None:
    """Refuse machine code of another version, for another system or another processor.

    Raises:
        ModelError: naming both, and what to do.
    """
    document = container.document
    advice = "save it again, or pass trust=False to compile it here from the program in the file"
    if document["version"] != __version__:
        raise ModelError(
            f"{container.name} was saved by convsmith {document['version']}, this is "
            f"{__version__}: {advice}"
        )
    if "graphs" not in document:
        raise ModelError(f"{container.name} holds no machine code: {advice}")
    if not document["regions"]:
        return
    here = [sys.platform, platform.machine()]
    if document["system"] != here:
        raise ModelError(
            f"{container.name} was saved for {' on '.join(document['system'])}, this is "
            f"{' on '.join(here)}: {advice}"
        )
    if missing := lacking(str(document["isa"])):
        raise ModelError(
            f"{container.name} was saved for processors with {document['isa']}; this one lacks "
            f"{', '.join(missing)}: {advice}"
        )
    # Compiled again here it would be refused, too.
    precision = str(document.get("precision", "float32"))
    if precision != "float32" and (missing := lacking(precision)):
        raise ModelError(
            f"{container.name} computes in {precision}; this processor lacks "
            f"{', '.join(missing)}: save it in float32"
        )


def _without_values(described: Any) -> Tensor:
    """A tensor of a shape and a type that takes no memory."""
    kind: torch.dtype = read({"dtype": described["dtype"]}, _without_values)
    return torch.empty((), dtype=kind).expand([int(n) for n in described["shape"]])


def _of_one(args: tuple[Any, ...]) -> Any:
    return tuple([(value.shape[1:], value.dtype, value.device) for value in args])
