"""Whether the fields of a published network hold every pixel that its gradients show."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.fx import Interpreter

import convsmith as cs
from convsmith.measure import true_field
from convsmith.measure.receptive import has_map
from convsmith.network.backward import image_dims, image_of, one_of_batch, spatial_axes

__all__ = ["awake", "probed_layers", "too_small"]


def awake(model: nn.Module) -> nn.Module:
    """The model with no parameter that is one value everywhere.

    Gains and layer scales of 0 or 1e-6, as many builders leave them, hide whole branches.
    """
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.is_floating_point() and (parameter == parameter.flatten()[0]).all():
                parameter.copy_(0.5 + torch.rand(parameter.shape, generator=generator))
    return model.eval()


def probed_layers(network: cs.Network) -> list[str]:
    """Three layers with a map: the last one, and those a third and two thirds of the way."""
    nodes = {node.name for node in network.program.graph.nodes}
    maps = [
        layer.name
        for layer in network
        if has_map(network, layer.name)
        and not layer.constant
        and layer.node in nodes
        and layer.results[0].dtype.startswith("float")
    ]
    thirds = [maps[len(maps) // 3], maps[2 * len(maps) // 3], maps[-1]] if maps else []
    return list(dict.fromkeys(thirds))


def too_small(network: cs.Network, images: list[Tensor]) -> tuple[int, list[str]]:
    """How many fields were compared with gradients, and where one leaves out what is read.

    Each of `probed_layers` is compared at its first, middle and last position. Real weights may
    cancel, so the gradient shows a part of what is read; but nothing beyond it.
    """
    names = probed_layers(network)
    image = images[network.inputs.index(image_of(network))].requires_grad_()
    values = _run(network, names, images)
    wrong, compared = [], 0
    for name in names:
        value, axes = values[name], spatial_axes(network)[name]
        lengths = [n for n, axis in zip(value.shape, axes, strict=True) if axis is not None]
        ends = [[0] * len(lengths), [n // 2 for n in lengths], [n - 1 for n in lengths]]
        for position in dict.fromkeys(map(tuple, ends)):
            touched = _touched(network, name, value, image, position)
            claimed = _claimed(network, true_field(network, name, position), touched.shape)
            compared += 1
            if (missed := touched & ~claimed).any():
                field = true_field(network, name, position)
                wrong.append(
                    f"{name} at {position}: {field.size} {field.status} {field.reason!r} leaves "
                    f"out {int(missed.sum())} of {int(touched.sum())} pixels"
                )
    return compared, wrong


class _Keeping(Interpreter):
    """Runs a graph and keeps the results of some of its nodes."""

    def __init__(self, module: nn.Module, names: set[str]) -> None:
        super().__init__(module)
        self.names, self.kept = names, {}

    def run_node(self, n: torch.fx.Node) -> object:
        result = super().run_node(n)
        if n.name in self.names:
            self.kept[n.name] = result[0] if isinstance(result, (tuple, list)) else result
        return result


def _run(network: cs.Network, names: list[str], images: list[Tensor]) -> dict[str, Tensor]:
    program, inputs = network.program, iter(images)
    stored = {**program.constants, **program.state_dict}
    args = [
        next(inputs) if spec.kind.name == "USER_INPUT" else stored[spec.target]
        for spec in program.graph_signature.input_specs
    ]
    nodes = {network[name].node: name for name in names}
    run = _Keeping(program.graph_module, set(nodes))
    run.run(*args)
    return {nodes[node]: value for node, value in run.kept.items()}


def _touched(network, name, value: Tensor, image: Tensor, position) -> Tensor:
    """The pixels whose gradient is not zero, over the axes of the image."""
    at = iter(position)
    where = [slice(None) if axis is None else next(at) for axis in spatial_axes(network)[name]]
    if one_of_batch(network, name):
        where[0] = 0
    part = value[tuple(where)]
    weights = torch.rand(part.shape, generator=torch.Generator().manual_seed(0)) + 0.5
    dims = image_dims(network)
    others = [d for d in range(image.ndim) if d not in dims]
    size = [image.shape[d] for d in dims]
    if not part.requires_grad:
        return torch.zeros(size, dtype=torch.bool)
    (gradient,) = torch.autograd.grad(
        (part * weights).sum(), image, retain_graph=True, allow_unused=True
    )
    if gradient is None:
        return torch.zeros(size, dtype=torch.bool)
    assert gradient.isfinite().all(), f"gradients of {name} are not finite"
    return gradient.abs().amax(others) != 0


def _claimed(network: cs.Network, field: cs.ReceptiveField, size) -> Tensor:
    claimed = torch.zeros(size, dtype=torch.bool)
    for box in field.region:
        axes = (
            torch.tensor([p for p in axis if 0 <= p < n], dtype=torch.long)
            for axis, n in zip(box, size, strict=True)
        )
        claimed[torch.meshgrid(*axes, indexing="ij")] = True
    return claimed
