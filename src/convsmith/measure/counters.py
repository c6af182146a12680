"""What another counter would say of a network, and why: its own rules, applied to our graph.

Each rule follows the source of one tool, in the version that `TOOLS` names, and says what that tool
makes of a layer in evaluation mode. The rows add up to its total to the unit. A tool that hooks
modules sees classes of modules and nothing else; one that traces or dispatches sees operations.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from math import prod
from types import MappingProxyType

from convsmith.arithmetic import ConvTranspose
from convsmith.errors import ArgumentError, nearest
from convsmith.measure.cost import cost
from convsmith.measure.counted import TOOLS, Counted, CountedLayer, Tool
from convsmith.network import Layer, Network
from convsmith.network.families import FAMILIES, Trait, family_of

__all__ = [
    "MULTIPLY_ADDS",
    "TOOLS",
    "Counted",
    "CountedLayer",
    "Terms",
    "Tool",
    "count_as",
    "multiply_adds",
]

Terms = Mapping[str, int]
"""What is counted, by what it is counted for."""

_Found = tuple[Counter[str], str]
"""The terms of one layer, and why its multiply-adds are not among them."""

MULTIPLY_ADDS = frozenset(family.title for family in FAMILIES.values() if family.title)
"""The terms that count multiply-adds and nothing else."""

_DIMS = ("1d", "2d", "3d")
_CONV = {f"Conv{dims}" for dims in _DIMS}
_TRANSPOSED = {f"ConvTranspose{dims}" for dims in _DIMS}
_BATCH_NORM = {f"BatchNorm{dims}" for dims in _DIMS}
_INSTANCE_NORM = {f"InstanceNorm{dims}" for dims in _DIMS}
_POOLS = {
    f"{adaptive}{kind}Pool{dims}"
    for adaptive in ("", "Adaptive")
    for kind in ("Avg", "Max")
    for dims in _DIMS
}
_RECURRENT = {"RNN", "GRU", "LSTM"}
# What nn.MultiheadAttention keeps its last projection in; it is never called as a module.
_OUTPUT_PROJECTION = "NonDynamicallyQuantizableLinear"
_FORMULA = "its formula for nn.MultiheadAttention"
# What torch's counter sees as one call, and has no rule for.
_OPAQUE = {
    "_native_multi_head_attention", "addbmm", "addmv", "affine_grid_generator", "bilinear",
    "conv_tbc", "lstm",
}  # fmt: skip
# thop's operations an upsampled value.
_UPSAMPLED = {"nearest": 1, "linear": 5, "bilinear": 11, "bicubic": 259}


def count_as(network: Network, tool: str) -> Counted:
    """What another counter says of a network, layer by layer, without running either.

    Args:
        network: a traced network; figures are for evaluation mode and the shapes of its trace.
        tool: a name of `TOOLS`; the tool need not be installed.

    Raises:
        ArgumentError: no such tool.

    >>> import torch, convsmith as cs
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU()).eval()
    >>> counted = count_as(cs.trace(model, (1, 3, 12, 12)), "ptflops")
    >>> counted.total, counted.exact
    (24000, 21600)
    >>> for row in counted.rows:
    ...     print(row.name, row.theirs - row.ours, row.why)
    0 800 1 per biased value
    1 1600 1 per value of nn.ReLU; 1 per value of F.relu, nn's own calls too
    """
    if tool not in TOOLS:
        hint = nearest(tool, TOOLS) or f", only {', '.join(TOOLS)}"
        raise ArgumentError(f"no counter {tool!r}{hint}")
    rows: list[CountedLayer] = []
    terms: Counter[str] = Counter()
    for layer in network:
        if layer.kind == "input":
            continue
        found, missed = _ask(tool, network, layer)
        ours = cost(layer)
        theirs = found.total()
        why = "" if theirs == ours.macs else _why(found, missed) or ours.reason
        rows.append(CountedLayer(layer.name, theirs, ours.macs, why))
        terms.update(found)
    return Counted(
        model=network.name,
        tool=tool,
        rows=tuple(rows),
        terms=MappingProxyType({title: term for title, term in terms.items() if term}),
        note=_note(network, tool),
    )


def _ask(tool: str, network: Network, layer: Layer) -> _Found:
    if layer.operation.custom is not None:  # registered with us, and with no other counter
        return Counter(), f"no rule for {layer.operation.label or layer.operation.name}"
    return _RULES[tool](network, layer)


def multiply_adds(network: Network) -> Terms:
    """Ours: multiply-adds of convolutions, linear layers, products, attention and recurrence."""
    terms: Counter[str] = Counter()
    for layer in network:
        terms += _multiply_adds(layer)
    return terms


def _why(terms: Terms, missed: str) -> str:
    beyond = [title for title, term in terms.items() if term and title not in MULTIPLY_ADDS]
    return "; ".join([missed, *beyond] if missed else beyond)


def _note(network: Network, tool: str) -> str:
    """What a graph does not tell of the one tool that patches functions and not operators."""
    patched = {"add", "mul", "matmul", "mm", "bmm", "addmm", "baddbmm"}
    if tool == "ptflops" and any(layer.operation.name in patched for layer in network):
        return (
            "ptflops also counts calls of torch.add, torch.mul, torch.matmul and their like, but "
            "not +, * and @; a graph does not tell them apart: all are taken for operators."
        )
    return ""


def _fvcore(net: Network, layer: Layer) -> _Found:
    """`nn/flop_count.py` and `nn/jit_handles.py`: operations of a traced graph."""
    name, affine = layer.operation.name, _affine(layer)
    terms: Counter[str] = Counter()
    missed = ""
    if family_of(layer).has(Trait.FUSED | Trait.VECTOR):
        missed = f"no rule for {name}"
    elif isinstance(layer.operation.settings.get("padding"), str):
        # An operation of its own in the trace.
        missed = f"padding={layer.operation.settings['padding']!r}: no rule"
    else:
        terms += _multiply_adds(layer)
    if layer.kind == "batch norm":
        terms[f"{1 + affine} per batch-norm value"] += (1 + affine) * layer.numel
    elif name in ("layer_norm", "group_norm", "instance_norm"):
        title = f"{4 + affine} per layer-norm, group-norm or instance-norm value"
        terms[title] += (4 + affine) * layer.numel
    elif name == "adaptive_avg_pool2d":
        terms["1 per input value of adaptive pools"] += _input(layer)
    elif name == "upsample_nearest2d":
        terms["1 per nearest-upsampled value"] += layer.numel
    elif name == "upsample_bilinear2d":
        terms["4 per bilinear-upsampled value"] += 4 * layer.numel
    return terms, missed


def _ptflops(net: Network, layer: Layer) -> _Found:
    """`pytorch_ops.py`: hooks on modules, and functions patched while it runs.

    A module that calls a patched function, such as ReLU or a pool, counts twice. What hooks count
    is divided by the batch at the end, what patched functions count is not. See `_note`.
    """
    kind, name, hooked = layer.kind, layer.operation.name, _class(net, layer)
    if layer.constant:
        return Counter(), _unseen(net, layer)
    hooks: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    missed = ""
    if hooked in _CONV | _TRANSPOSED | {"Linear"}:
        hooks += _multiply_adds(layer)
        hooks["1 per biased value"] += _biased(layer)
    elif hooked in _BATCH_NORM | _INSTANCE_NORM | {"GroupNorm"}:
        each = 1 + _affine(layer)
        hooks[f"{each} per normalised value"] += each * layer.numel
    elif hooked == "LayerNorm":
        hooks["1 per layer-norm value"] += layer.numel
    elif hooked == "MultiheadAttention" and kind == "attention":
        hooks[_FORMULA] += _ptflops_attention(net, layer)
    elif hooked == "MultiheadAttention" and kind == "matmul":
        # Asked for its weights, it calls torch.bmm and its like itself.
        calls["calls of nn.MultiheadAttention, its formula too"] += _multiply_adds(layer).total()
        if any(after.kind == "softmax" for after in net.consumers(layer.name)):
            hooks[_FORMULA] += _ptflops_attention(net, layer)
    elif hooked in ("MultiheadAttention", _OUTPUT_PROJECTION) and kind == "linear":
        missed = "in the formula for nn.MultiheadAttention"
    elif hooked in _RECURRENT and kind == "recurrent":
        hooks += _multiply_adds(layer)
        hooks["gates and biases of recurrent layers"] += _gates(layer, lstm=10, gru=7)
    elif kind == "activation":
        if hooked in {"ReLU", "PReLU", "ELU", "LeakyReLU", "ReLU6", "GELU"}:
            hooks[f"1 per value of nn.{hooked}"] += layer.numel
        # nn.ReLU6 calls hardtanh, which is not patched; these two layers keep the function itself.
        kept = hooked in {"TransformerEncoderLayer", "TransformerDecoderLayer"}
        if name in {"relu", "prelu", "elu", "relu6", "gelu", "silu"} and not kept:
            calls[f"1 per value of F.{name}, nn's own calls too"] += layer.numel
    elif kind in ("pool", "adaptive pool"):
        if hooked in _POOLS:
            hooks["1 per input value of nn's pools"] += _input(layer)
        calls["1 per input value of F's pools, nn's own calls too"] += _input(layer)
    elif kind == "upsample":
        if hooked == "Upsample":
            # It takes the first sample for the whole batch.
            hooks["1 per value of nn.Upsample, of the first sample"] += (
                layer.numel // layer.shape[0]
            )
        calls["1 per value of F.interpolate, nn's own calls too"] += layer.numel
    elif name == "softmax":
        calls["1 per softmax value"] += layer.numel
    else:
        missed = _unseen(net, layer)
    batch = net[net.inputs[0]].shape[0] if net.inputs else 1
    if batch > 1:
        hooks = Counter({f"{title}, by the batch": n // batch for title, n in hooks.items()})
    return hooks + calls, missed


def _thop(net: Network, layer: Layer) -> _Found:
    """`vision/basic_hooks.py`: hooks on modules of exactly the classes it knows."""
    terms: Counter[str] = Counter()
    hooked, spec = _class(net, layer), layer.operation.arithmetic
    if layer.constant:
        return terms, _unseen(net, layer)
    if hooked in _TRANSPOSED and isinstance(spec, ConvTranspose):
        each = spec.taps * spec.in_channels // spec.groups
        terms["transposed convolutions, at output positions"] += layer.numel * each
    elif hooked in _CONV | {"Linear"}:
        terms += _multiply_adds(layer)
    elif hooked in _BATCH_NORM | _INSTANCE_NORM | {"LayerNorm", "SyncBatchNorm"}:
        each = 2 + 2 * _affine(layer)
        terms[f"{each} per normalised value"] += each * layer.numel
    elif hooked.startswith("AdaptiveAvgPool"):
        terms["1 per input and 1 per output value of adaptive average pools"] += (
            _input(layer) + layer.numel
        )
    elif hooked.startswith("AvgPool"):
        terms["1 per output value of average pools"] += layer.numel
    elif hooked == "PReLU":
        terms["1 per value of nn.PReLU"] += layer.numel
    elif hooked == "Softmax":
        axis = layer.shape[int(str(layer.operation.settings.get("dim", -1)))]
        terms["3 per softmax value, less one per sum"] += 3 * layer.numel - layer.numel // axis
    elif hooked in {"Upsample", "UpsamplingBilinear2d", "UpsamplingNearest2d"}:
        mode = layer.operation.name.removeprefix("upsample_")[:-2]
        each = _UPSAMPLED.get(mode, 0)
        terms[f"{each} per {mode}-upsampled value"] += each * layer.numel
    elif hooked in _RECURRENT and layer.kind == "recurrent":
        terms += _multiply_adds(layer)
        terms["gates and biases of recurrent layers"] += _gates(layer, lstm=8, gru=7)
    else:
        return terms, _unseen(net, layer)
    return terms, ""


def _torchinfo(net: Network, layer: Layer) -> _Found:
    """`layer_info.py`: parameters called weight or bias, of modules without others.

    They count at each output position where the module's class has Conv in its name, and else once
    a sample, however many tokens or values they meet.
    """
    terms: Counter[str] = Counter()
    hooked = _class(net, layer)
    own = [
        parameter
        for parameter in layer.parameters
        if layer.path in {key.rpartition(".")[0] for key in (parameter.name, *parameter.aliases)}
    ]
    parent = any(path and path.rpartition(".")[0] == layer.path for path in net.modules)
    if layer.constant or not own or parent or hooked == _OUTPUT_PROJECTION:
        return terms, _unseen(net, layer)
    weights, biases = (
        sum(p.numel for p in own if not p.buffer and p.name.endswith(end))
        for end in ("weight", "bias")
    )
    missed, samples = "", layer.shape[0]
    if "Conv" in hooked:
        counted = weights * samples * prod(layer.shape[2:])
        exact = counted == _multiply_adds(layer).total()
        where = "" if exact else ", at output positions"
        terms[(family_of(layer).title or layer.kind) + where] += counted
        terms["1 per biased value of convolutions"] += biases * samples * prod(layer.shape[2:])
    elif layer.kind == "recurrent":
        every = sum(p.numel for p in own if "weight" in p.name or "bias" in p.name)
        terms["recurrent parameters, once a step"] += every * prod(layer.shape[:2])
    else:
        counted = weights * samples
        if layer.kind == "linear" and counted == _multiply_adds(layer).total():
            terms["linear layers"] += counted
        elif family_of(layer).title:
            terms[f"{layer.kind} weights, once a sample"] += counted
        else:
            terms[f"{layer.kind} parameters, once a sample"] += counted + biases * samples
            biases = 0
        terms[f"{layer.kind} biases, once a sample"] += biases * samples
    if family_of(layer).title and not terms.total():
        missed = _unseen(net, layer)
    return terms, missed


def _torch(net: Network, layer: Layer) -> _Found:
    """`utils/flop_counter.py`: convolutions and matrix products that are dispatched, no gradients.

    Fused kernels are opaque to it: attention and LSTM on a CPU, and the fast paths of
    nn.MultiheadAttention and nn.TransformerEncoderLayer, projections included.
    """
    name = layer.operation.name
    if not family_of(layer).title:
        return Counter(), ""
    if owner := _fast_path(net, layer):
        return Counter(), f"in the fused kernel of {owner}"
    if name in _OPAQUE or (layer.kind == "attention" and _fusible(layer)):
        return Counter(), f"no rule for the fused kernel of {name}"
    if family_of(layer).has(Trait.VECTOR) or (
        name == "matmul" and len(layer.operands[1].shape) == 1
    ):
        return Counter(), "no rule for a product with a vector"
    return _multiply_adds(layer), ""


def _fast_path(net: Network, layer: Layer) -> str:
    """Which of torch's two modules runs this layer in one fused kernel; '' for neither."""
    path = layer.path
    while path:
        path = path.rpartition(".")[0]
        if net.modules.get(path) == "TransformerEncoderLayer":
            within = [x for x in net if x.path == path and x.kind == "activation"]
            usual = all(x.operation.name in ("relu", "gelu") for x in within)
            if usual and _self_attention(net, _join(path, "self_attn")):
                return "nn.TransformerEncoderLayer"
    owner = layer.path
    if _class(net, layer) == _OUTPUT_PROJECTION:
        owner = owner.rpartition(".")[0]
    return "nn.MultiheadAttention" if _self_attention(net, owner) else ""


def _fusible(layer: Layer) -> bool:
    """Whether torch's kernel takes this attention; the other way is matrix products."""
    query, key, value = (operand.shape for operand in layer.operands[:3])
    return len(query) == 4 and query[:2] == key[:2] == value[:2] and query[3] == value[3]


def _self_attention(net: Network, path: str) -> bool:
    """Whether torch has a kernel for this module: biased, batch first, one input, even heads."""
    if net.modules.get(path) != "MultiheadAttention":
        return False
    called = [layer for layer in net if layer.path == path]
    projections = [layer.operands[1].shape for layer in called if layer.kind == "linear"]
    products = [layer for layer in called if layer.kind in ("attention", "matmul")]
    if not products or _join(path, "in_proj_bias") not in net.parameters:
        return False
    # One projection of the three together; batch first is brought into the other order first.
    together = all(3 * channels == rows for rows, channels in projections)
    heads = projections[0][1] // products[0].operands[0].shape[-1]
    return together and called[0].kind == "permute" and heads % 2 == 0


_RULES: dict[str, Callable[[Network, Layer], _Found]] = {
    "fvcore": _fvcore,
    "ptflops": _ptflops,
    "thop": _thop,
    "torchinfo": _torchinfo,
    "torch": _torch,
}


def _unseen(net: Network, layer: Layer) -> str:
    """Why a tool that hooks modules finds no multiply-adds in this layer."""
    hooked = _class(net, layer)
    if not family_of(layer).title:
        return ""
    if layer.constant:
        return "of weights alone: not seen"
    if hooked in ("MultiheadAttention", _OUTPUT_PROJECTION):
        return "inside nn.MultiheadAttention: not seen"
    if layer.kind == "matmul":
        return "matrix product, no module: not seen"
    reparametrised = _join(layer.path, "parametrizations") in net.modules
    if reparametrised or _join(layer.path, "weight") in {p.name for p in layer.parameters}:
        return f"a module of class {hooked}: not seen"
    return "functional call: not seen"


def _multiply_adds(layer: Layer) -> Counter[str]:
    title = family_of(layer).title
    return Counter({title: cost(layer).macs or 0} if title else {})


def _class(net: Network, layer: Layer) -> str:
    return net.modules.get(layer.path, "")


def _affine(layer: Layer) -> bool:
    return any(not parameter.buffer for parameter in layer.parameters)


def _input(layer: Layer) -> int:
    return layer.operands[0].numel


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _biased(layer: Layer) -> int:
    """The output values that get a bias."""
    spec = layer.operation.arithmetic
    return layer.numel * bool(getattr(spec, "bias", len(layer.operands) == 3))


def _ptflops_attention(net: Network, layer: Layer) -> int:
    """Scaling, three projections, products, softmax, and an output projection with a bias."""
    # Queries, and keys as they are or transposed, without a mask that is added.
    query, key = (operand.shape for operand in layer.operands[-2:])
    keys = key[-1]
    if layer.kind == "attention":
        query, key = (operand.shape for operand in layer.operands[:2])
        keys = key[-2]
    *_, queries, width = query
    channels = net.parameters[_join(layer.path, "out_proj.weight")].type.shape[0]
    heads = channels // width
    batch = prod(query[:-2]) // heads
    biased = _join(layer.path, "in_proj_bias") in net.parameters
    projected = (queries + 2 * keys) * channels
    products = heads * queries * keys * (2 * width + 1)
    return batch * (
        queries * channels
        + projected * (channels + biased)
        + products
        + queries * channels * (channels + 1)
    )


def _gates(layer: Layer, *, lstm: int, gru: int) -> int:
    """Operations a hidden value and step beyond the matrices, and the biases."""
    gates, each = {"lstm": (4, lstm), "gru": (3, gru)}.get(layer.operation.name, (1, 1))
    shapes = [parameter.type.shape for parameter in layer.parameters]
    hidden = sum(shape[0] for shape in shapes if len(shape) == 2) // (2 * gates)
    biases = sum(shape[0] for shape in shapes if len(shape) == 1)
    return prod(layer.operands[0].shape[:-1]) * (hidden * each + biases)
