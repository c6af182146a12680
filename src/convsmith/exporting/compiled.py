"""A `.cvs`: compiled here, loaded again, and compared with the model before it is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.utils._pytree import tree_leaves

from convsmith.exporting.agreement import held_to, of_model, random_inputs
from convsmith.exporting.exported import Exported, Value
from convsmith.network import Network
from convsmith.report.saving import save_bytes
from convsmith.runtime.compilation import compile
from convsmith.runtime.graph.free import Inputs, leaves
from convsmith.runtime.stored.container import Container
from convsmith.runtime.stored.loaded import Loaded
from convsmith.runtime.stored.writing import content_of
from convsmith.text import times

__all__ = ["export_compiled"]

_NAMED = 5  # layers of each reason


def export_compiled(
    model: nn.Module | ExportedProgram,
    holder: nn.Module,
    inputs: Inputs,
    path: Path,
    check: bool,
    force: bool,
) -> Exported:
    """Compile a network and write it.

    Args:
        model: it is left as it is.
        holder: the module to compare with.
        inputs: of the size that it is to serve.
        path: the file.
        check: whether it is compared.
        force: replace a file that exists.

    Raises:
        ConvsmithError: for what cannot be stored, and where the two disagree.
    """
    args, kwargs = inputs
    example: Any = kwargs or list(args)
    compiled = compile(model, example, frozen=True)
    content = content_of(compiled, [example])
    checked, gap = "not checked: check=False", None
    loaded = Loaded(Container.of(content, str(path)))
    if check:
        drawn = random_inputs(inputs, 0)
        expected = of_model(holder, drawn)
        found = [t for t in tree_leaves(loaded(*drawn[0], **drawn[1])) if isinstance(t, Tensor)]
        size = " and ".join(times(tensor.shape) for tensor in leaves(drawn))
        both = f"at {size} the compiled network and the model"
        gap = held_to(both, holder, drawn, expected or [], found)
        checked = f"loaded again, it agrees at {size}"
    network = compiled.network
    notes = tuple(_in_torch(compiled.reasons))
    save_bytes(path, content, force)
    count = sum(p.numel for p in network.parameters.values() if not p.buffer)
    return Exported(
        path, "cvs", None, count, len(content), tuple(_values(network, loaded)), checked, gap, notes
    )


def _in_torch(reasons: Mapping[str, str]) -> Iterator[str]:
    """A line for each reason, with the layers that have it."""
    layers: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        layers.setdefault(reason, []).append(name)
    for reason, names in sorted(layers.items()):
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        yield f"run in torch ({reason}): {', '.join(names[:_NAMED])}{more}"


def _values(network: Network, loaded: Loaded) -> Any:
    batch = "any batch" in loaded.sizes[0]
    for role, names in (("input", network.inputs), ("output", network.outputs)):
        for name in names:
            shape = network[name].shape
            yield Value(name, role, ("batch", *shape[1:]) if batch else shape)
