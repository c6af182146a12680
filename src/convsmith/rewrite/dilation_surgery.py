"""A plan of dilations carried out: on the modules of a copy, or else on its exported graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace as changed

import torch
from torch import fx, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from convsmith.network import Layer, Network, quiet, submodule
from convsmith.rewrite.dilated_layers import (
    DilatedAvgPool,
    DilatedMaxPool,
    Trim,
    dilated_convolution,
)
from convsmith.rewrite.dilated_window import DilatedWindow
from convsmith.rewrite.dilation_plan import Change, Plan
from convsmith.rewrite.surgery import replace

__all__ = ["NoModule", "on_graph", "on_modules"]

Windows = tuple[DilatedWindow, ...]

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_MAX_POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
_AVG_POOLS = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)


class NoModule(Exception):
    """A layer that is no module of its own, so that the graph has to be changed instead."""


def on_modules(network: Network, model: nn.Module, plan: Plan) -> None:
    """Change the modules of a copy of the traced model; the keys of its `state_dict` stay.

    Raises:
        NoModule: for a layer that is computed by no module, or a module that would have to do
            different things at several calls. The copy is then of no use.
    """
    by_path: dict[str, list[Layer]] = {}
    for layer in network:
        by_path.setdefault(layer.path, []).append(layer)
    names_of: dict[int, list[str]] = {}
    for name, one in model.named_modules(remove_duplicate=False):
        names_of.setdefault(id(one), []).append(name)
    paths = dict.fromkeys(network[name].path for name in plan.changes)
    for path in paths:
        layers = [layer for layer in by_path[path] if not layer.constant]
        module = submodule(model, path) if path else model
        if len(names_of[id(module)]) > 1:
            raise NoModule(f"{path!r} is also {names_of[id(module)][1]!r}")
        if isinstance(module, _ConvNd) and not isinstance(module, _ConvTransposeNd):
            _convolution(network, model, path, module, layers, plan)
        elif path and not any(True for _ in module.parameters()):
            replace(model, path, _stateless(module, layers, plan))
        else:
            names = [layer.name for layer in layers if layer.name in plan.changes]
            raise NoModule(f"{names[0]!r} is no module of its own")


def _convolution(
    network: Network,
    model: nn.Module,
    path: str,
    module: _ConvNd,
    layers: Sequence[Layer],
    plan: Plan,
) -> None:
    calls = [layer for layer in layers if layer.kind == "convolution"]
    pads = [layer for layer in layers if layer.kind == "pad"]
    if len(calls) + len(pads) != len(layers) or (pads and len(pads) != len(calls)):
        raise NoModule(f"{path!r} does more than to pad and convolve")
    forms = []
    for number, call in enumerate(calls):
        change = plan.changes.get(call.name)
        if change is None:
            raise NoModule(f"{path!r} is called in several places")
        windows, fill = change.windows, "constant"
        if pads:
            settings = pads[number].operation.settings
            if call.inputs[0] != pads[number].name or settings.get("value"):
                raise NoModule(f"{path!r} pads in a way of its own")
            fill = str(settings.get("mode", "constant"))
            windows = _padded(windows, pads[number], plan.changes.get(pads[number].name))
        forms.append((windows, fill))
    windows, fill = forms[0]
    if any(form != (windows, fill) for form in forms):
        raise NoModule(f"{path!r} is called in several places, on grids that differ")
    kind = next(c for c in _CONVOLUTIONS if isinstance(module, c))
    own = type(module).forward is not kind.forward
    own = own or type(module)._conv_forward is not kind._conv_forward
    known_mode = fill == {"zeros": "constant"}.get(module.padding_mode, module.padding_mode)
    if not own and known_mode and all(w.is_plain for w in windows):
        module.stride = tuple(w.stride for w in windows)
        module.dilation = tuple(w.dilation for w in windows)
        module.padding = tuple(w.padding[0] for w in windows)
        module._reversed_padding_repeated_twice = [
            w.padding[0] for w in reversed(windows) for _ in range(2)
        ]
    elif path and all(_weight_is_raw(network, call, path) for call in calls):
        replace(model, path, dilated_convolution(module, windows, fill))
    else:
        raise NoModule(f"{path!r} is a convolution of its own kind")


def _padded(windows: Windows, pad: Layer, change: Change | None) -> Windows:
    """Windows that pad on their own what a layer before them padded."""
    settings = pad.operation.settings
    old = [int(n) for n in settings.get("pad", settings.get("padding", ()))]
    new = list(change.pads) if change else old
    found = []
    for axis, window in enumerate(windows):
        at = 2 * (len(windows) - 1 - axis)
        before, now = (tuple((p + [0] * 6)[at : at + 2]) for p in (old, new))
        if min(*before, *now) < 0 or (change and change.trim):
            raise NoModule(f"{pad.path!r} cuts its map off")
        low, high = (a + b for a, b in zip(window.old.padding, before, strict=True))
        first, last = (a + b for a, b in zip(window.padding, now, strict=True))
        found.append(
            changed(
                window,
                old=changed(window.old, padding=(low, high)),
                padding=(first, last),
            )
        )
    return tuple(found)


def _weight_is_raw(network: Network, call: Layer, path: str) -> bool:
    node = next(n for n in network.program.graph.nodes if n.name == call.node)
    names = {name for p in call.parameters for name in (p.name, *p.aliases)}
    given = [a for a in node.args[1:3] if isinstance(a, fx.Node)]
    return f"{path}.weight" in names and all(a.op == "placeholder" for a in given)


def _stateless(module: nn.Module, layers: Sequence[Layer], plan: Plan) -> nn.Module:
    """What takes the place of a module that pads, pools, or does both."""
    calls: list[list[Layer]] = []
    for layer in layers:
        if not _is_pool(layer) and layer.kind != "pad":
            raise NoModule(f"{layer.path!r} does more than to pad and pool")
        if calls and calls[-1][-1].name in layer.inputs:
            calls[-1].append(layer)
        else:
            calls.append([layer])
    forms = [
        [
            (layer.operation.name, dict(layer.operation.settings), _form(plan, layer))
            for layer in call
        ]
        for call in calls
    ]
    if any(form != forms[0] for form in forms):
        raise NoModule(f"{layers[0].path!r} is called in several places, on grids that differ")
    steps = [step for layer in calls[0] for step in _steps(layer, plan.changes.get(layer.name))]
    new = steps[0] if len(steps) == 1 else nn.Sequential(*steps)
    new.train(module.training)
    new.__dict__.update({key: value for key, value in vars(module).items() if "_hooks" in key})
    return new


def _form(plan: Plan, layer: Layer) -> Change | None:
    change = plan.changes.get(layer.name)
    return change and changed(change, layer="")


def _steps(layer: Layer, change: Change | None) -> list[nn.Module]:
    """Modules that do what a pool or a padding has to do."""
    settings, shape = layer.operation.settings, layer.shape
    if layer.kind == "pad":
        old = settings.get("pad", settings.get("padding", ()))
        pads = [int(n) for n in (change.pads if change else old)]
        steps: list[nn.Module] = [_padding(layer, pads)]
        return [*steps, Trim(change.trim)] if change and change.trim else steps
    if change is None:
        raise NoModule(f"{layer.path!r} is called in several places")
    windows = change.windows
    if len(shape) - len(windows) not in (1, 2):
        raise NoModule(f"{layer.path!r} pools in a way of its own")
    return [_pool(layer, windows)]


def _padding(layer: Layer, pads: list[int]) -> nn.Module:
    settings = layer.operation.settings
    mode = str(settings.get("mode", "constant"))
    for start, known in (("reflect", "reflect"), ("replica", "replicate")):
        mode = known if layer.operation.name.startswith(start) else mode
    kinds = {"reflect": "Reflection", "replicate": "Replication", "circular": "Circular"}
    dims = len(pads) // 2
    if mode == "constant":
        constant: type[nn.Module] = getattr(nn, f"ConstantPad{dims}d")
        return constant(tuple(pads), settings.get("value") or 0.0)
    kind: type[nn.Module] = getattr(nn, f"{kinds[mode]}Pad{dims}d")
    return kind(tuple(pads))


def _pool(layer: Layer, windows: Windows) -> nn.Module:
    settings, dims = layer.operation.settings, len(windows)
    kernel, stride = tuple(w.old.kernel for w in windows), tuple(w.stride for w in windows)
    dilation, padding = (
        tuple(w.dilation for w in windows),
        tuple(w.padding[0] for w in windows),
    )
    plain = all(w.is_plain and 2 * w.padding[0] <= w.extent for w in windows)
    if layer.operation.name.startswith("max"):
        if plain:
            return _MAX_POOLS[dims - 1](kernel, stride, padding, dilation)
        return DilatedMaxPool(windows)
    counted = bool(settings.get("count_include_pad", True))
    divisor = settings.get("divisor_override")
    if plain and set(dilation) == {1} and divisor is None:
        pool: Callable[..., nn.Module] = _AVG_POOLS[dims - 1]
        return pool(kernel, stride, padding, False, counted)
    return DilatedAvgPool(windows, counted, divisor)


def _is_pool(layer: Layer) -> bool:
    name = layer.operation.name
    return name.startswith(("max_pool", "avg_pool"))


def on_graph(network: Network, plan: Plan, last: Sequence[str] = ()) -> fx.GraphModule:
    """Change the exported graph: fixed to the example's sizes, and to evaluation.

    Args:
        network: a traced network.
        plan: what becomes of its layers.
        last: layers whose results the new module returns, where it is not to return the old ones;
            what they do not need is left out.
    """
    with quiet():
        exported = deepcopy(network.program.module(check_guards=False))
    graph = exported.graph
    for node in list(graph.nodes):
        if "_assert" in str(node.target):  # they hold the types of the trace
            graph.erase_node(node)
    nodes = {node.name: node for node in graph.nodes}
    for layer in network:
        node = nodes.get(layer.node)
        change = plan.changes.get(layer.name)
        if node is None or layer.constant:
            continue
        if change is None:
            _resize(node, layer, plan)
        elif change.windows and layer.kind == "convolution":
            before = plan.grids[layer.inputs[0]]
            assert before is not None
            lengths = [grid.length for grid in before[0][-len(change.windows) :]]
            _convolve(exported, node, change, lengths)
        elif change.windows:
            _call(exported, node, _pool(layer, change.windows))
        elif change.pads:
            pads = list(change.pads)
            padding = _padding(layer, pads)
            _call(
                exported,
                node,
                nn.Sequential(padding, Trim(change.trim)) if change.trim else padding,
            )
        elif change.cut:
            node.args = (node.args[0], *change.cut)
            node.kwargs = {}
    if last:
        graph.set_codegen(fx.graph.CodeGen())
        ends = tuple(nodes[network[name].node] for name in last)
        graph.output_node().args = (ends[0] if len(ends) == 1 else ends,)
    graph.eliminate_dead_code()
    graph.lint()
    with quiet():
        new = fx.GraphModule(exported, graph, f"Dilated{network.name}")
    new.training = False
    if not last:
        _complete(new, network.model)
    return new


def _complete(new: fx.GraphModule, model: nn.Module) -> None:
    """Take over what the graph has no use for, so that the keys of the `state_dict` stay."""
    for key in sorted(model.state_dict().keys() - new.state_dict().keys()):
        path, _, name = key.rpartition(".")
        tensor = getattr(submodule(model, path) if path else model, name, None)
        if tensor is None:
            continue
        try:
            owner = new.get_submodule(path)
        except AttributeError:
            new.add_submodule(path, nn.Module())
            owner = new.get_submodule(path)
        if isinstance(tensor, nn.Parameter):
            owner.register_parameter(name, deepcopy(tensor))
        else:
            owner.register_buffer(name, deepcopy(tensor))


def _call(model: fx.GraphModule, node: fx.Node, module: nn.Module) -> None:
    """Let a module compute what a node did, from the node's first operand."""
    with model.graph.inserting_before(node):
        new = model.graph.call_module(_put(model, node, module), (node.args[0],))
    _give(node, new)


def _put(model: fx.GraphModule, node: fx.Node, module: nn.Module) -> str:
    name = f"dilated_{node.name}"
    model.add_submodule(name, module)
    return name


def _give(node: fx.Node, new: fx.Node) -> None:
    new.meta["stands_for"] = node.name
    first = "indices" in str(node.target)
    for user in list(node.users):
        if user is new or (first and user.args[1] == 1):
            continue
        if first:
            user.replace_all_uses_with(new)
        else:
            user.replace_input_with(node, new)


def _convolve(model: fx.GraphModule, node: fx.Node, change: Change, lengths: Sequence[int]) -> None:
    windows, graph = change.windows, model.graph
    schema = [argument.name for argument in node.target._schema.arguments]  # type: ignore[union-attr]
    given = dict(zip(schema, node.args, strict=False)) | dict(node.kwargs)
    x = given["input"]
    sides = [w.sides(n) for w, n in zip(windows, lengths, strict=True)]
    padding = [low for low, _, _ in sides]
    with graph.inserting_before(node):
        if any(low != high + more or low < 0 for low, high, more in sides):
            pads = [n for low, high, more in reversed(sides) for n in (low, high + more)]
            x = graph.call_function(torch.ops.aten.constant_pad_nd.default, (x, pads))
            padding = [0] * len(windows)
        op = getattr(torch.ops.aten, f"conv{len(windows)}d").default
        stride, dilation = [w.stride for w in windows], [w.dilation for w in windows]
        rest = (stride, padding, dilation, given.get("groups", 1))
        new = graph.call_function(op, (x, given["weight"], given.get("bias"), *rest))
        if any(w.trim for w in windows):
            trim = Trim([w.rate_out for w in windows])
            new = graph.call_module(_put(model, node, trim), (new,))
    _give(node, new)


def _resize(node: fx.Node, layer: Layer, plan: Plan) -> None:
    """Write the new lengths where the traced code has the old ones as numbers."""
    grids = plan.grids[layer.name]
    moved = grids and any(grid.rate > 1 for grid in grids[0])
    if not moved or layer.kind not in ("reshape", "expand") or len(node.args) < 2:
        return
    sizes = node.args[1]
    if grids and isinstance(sizes, (list, tuple)) and len(sizes) == len(grids[0]):
        node.args = (
            node.args[0],
            [
                grid.length if grid.rate > 1 and size == old else size
                for grid, size, old in zip(grids[0], sizes, layer.shape, strict=True)
            ],
            *node.args[2:],
        )
