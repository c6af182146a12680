"""A plan of dilations carried out on the modules of a copy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace as changed

from torch import fx, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from convsmith.network import Layer, Network, submodule
from convsmith.rewrite.dilation.layers import (
    DilatedAvgPool,
    DilatedMaxPool,
    Trim,
    dilated_convolution,
    set_geometry,
)
from convsmith.rewrite.dilation.plan import Change, Plan
from convsmith.rewrite.dilation.window import DilatedWindow
from convsmith.rewrite.surgery import replace

__all__ = ["NoModule", "in_place_of", "on_modules", "padding_of", "pool"]

Windows = tuple[DilatedWindow, ...]

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_MAX_POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
_AVG_POOLS = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)


class NoModule(Exception):
    """Raised for a layer without a module of its own: the graph has to be changed instead."""


def on_modules(network: Network, model: nn.Module, plan: Plan) -> tuple[str, ...]:
    """Change the modules of a copy of the traced model; the keys of its `state_dict` stay.

    Returns:
        The paths of the modules that were changed or replaced.

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
            raise NoModule(f"{names[0]!r} has no module of its own")
    return tuple(paths)


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
        if not _runs_in(network, call, path):
            raise NoModule(f"{path!r} lends its weights to a function")
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
        set_geometry(module, windows)
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


def _runs_in(network: Network, call: Layer, path: str) -> bool:
    """Whether a layer is computed by the module that it is named after.

    `F.conv2d(x, self.conv.weight)` has the module's weights alone, and its own stride.
    """
    stack = (_node(network, call).meta.get("nn_module_stack") or {}).values()
    return not path or any(name.split("@")[0] == path for name, _ in stack)


def _node(network: Network, layer: Layer) -> fx.Node:
    nodes: list[fx.Node] = list(network.program.graph.nodes)
    return next(node for node in nodes if node.name == layer.node)


def _weight_is_raw(network: Network, call: Layer, path: str) -> bool:
    node = _node(network, call)
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
    return in_place_of(module, steps[0] if len(steps) == 1 else nn.Sequential(*steps))


def in_place_of(old: nn.Module, new: nn.Module) -> nn.Module:
    """The new module with the train flag and the hooks of the one whose place it takes."""
    new.train(old.training)
    new.__dict__.update({key: value for key, value in vars(old).items() if "_hooks" in key})
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
        steps: list[nn.Module] = [padding_of(layer, pads)]
        return [*steps, Trim(change.trim)] if change and change.trim else steps
    if change is None:
        raise NoModule(f"{layer.path!r} is called in several places")
    windows = change.windows
    if len(shape) - len(windows) not in (1, 2):
        raise NoModule(f"{layer.path!r} pools in a way of its own")
    return [pool(layer, windows)]


def padding_of(layer: Layer, pads: list[int]) -> nn.Module:
    """A module that pads as a layer does, by other numbers, in the order that PyTorch has them."""
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


def pool(layer: Layer, windows: Windows) -> nn.Module:
    """A module that pools as a layer does, under other windows."""
    settings, dims = layer.operation.settings, len(windows)
    kernel, stride = tuple(w.old.kernel for w in windows), tuple(w.stride for w in windows)
    dilation, padding = (
        tuple(w.dilation for w in windows),
        tuple(w.padding[0] for w in windows),
    )
    # PyTorch's pools take no more padding than half their taps, however far apart these are.
    plain = all(w.is_plain and 2 * w.padding[0] <= w.old.kernel for w in windows)
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
