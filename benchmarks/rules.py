"""Why another counter's total differs: its own rules, applied to our graph, term by term.

Each function follows the source of one tool, in the version named, and says what that tool makes
of a network in evaluation mode. The terms add up to its total to the unit; a remainder means that
something about the tool is not understood here. A tool that hooks modules sees classes of modules
and nothing else; one that traces or dispatches sees operations.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from math import prod

from convsmith.arithmetic import ConvTranspose
from convsmith.measure.cost import cost
from convsmith.network import Layer, Network

__all__ = ["MULTIPLY_ADDS", "RULES", "Terms"]

Terms = Mapping[str, int]
"""What a tool counts, by what it counts it for."""

_TITLES = {
    "convolution": "convolutions",
    "transposed convolution": "transposed convolutions",
    "linear": "linear layers",
    "matmul": "matrix products",
    "attention": "attention",
    "recurrent": "recurrent layers",
}
MULTIPLY_ADDS = frozenset(_TITLES.values())
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
_FUSED = {"attention", "recurrent"}
_RECURRENT = {"RNN", "GRU", "LSTM"}
# What nn.MultiheadAttention keeps its last projection in; it is never called as a module.
_OUTPUT_PROJECTION = "NonDynamicallyQuantizableLinear"


def fvcore(net: Network) -> Terms:
    """fvcore 0.1.5, `nn/flop_count.py` and `nn/jit_handles.py`: operations of a traced graph."""
    terms: Counter[str] = Counter()
    for layer in _computed(net):
        name, affine = layer.operation.name, _affine(layer)
        # padding='same' is an operation of its own in the trace, without a rule.
        named = isinstance(layer.operation.settings.get("padding"), str)
        if layer.kind not in _FUSED and not named:
            terms += _multiply_adds(layer)
        if layer.kind == "batch norm":
            terms[f"{1 + affine} a batch-norm value"] += (1 + affine) * layer.numel
        elif name in ("layer_norm", "group_norm"):
            terms[f"{4 + affine} a layer-norm or group-norm value"] += (4 + affine) * layer.numel
        elif name == "adaptive_avg_pool2d":
            terms["1 an input value of adaptive pools"] += _input(layer)
        elif name == "upsample_nearest2d":
            terms["1 a nearest-upsampled value"] += layer.numel
        elif name == "upsample_bilinear2d":
            terms["4 a bilinear-upsampled value"] += 4 * layer.numel
    return terms


def ptflops(net: Network) -> Terms:
    """ptflops 0.7.5, `pytorch_ops.py`: hooks on modules, and functions patched while it runs.

    A module that calls a patched function, such as ReLU or a pool, counts twice. `torch.add` and
    `torch.matmul` are patched too and the operators `+` and `@` are not; the graph does not tell
    them apart, so neither is among the terms.
    """
    terms: Counter[str] = Counter()
    for layer in _computed(net):
        kind, name, hooked = layer.kind, layer.operation.name, _class(net, layer)
        if hooked in _CONV | _TRANSPOSED | {"Linear"}:
            terms += _multiply_adds(layer)
            terms["1 a biased value"] += _biased(layer)
        elif hooked in _BATCH_NORM | _INSTANCE_NORM | {"GroupNorm"}:
            each = 1 + _affine(layer)
            terms[f"{each} a normalised value"] += each * layer.numel
        elif hooked == "LayerNorm":
            terms["1 a layer-norm value"] += layer.numel
        elif hooked == "MultiheadAttention" and kind == "attention":
            terms["its formula for nn.MultiheadAttention"] += _ptflops_attention(net, layer)
        elif hooked in _RECURRENT and kind == "recurrent":
            terms += _multiply_adds(layer)
            terms["gates and biases of recurrent layers"] += _gates(layer, lstm=10, gru=7)
        elif kind == "activation":
            if hooked in {"ReLU", "PReLU", "ELU", "LeakyReLU", "ReLU6", "GELU"}:
                terms[f"1 a value of nn.{hooked}"] += layer.numel
            # nn.ReLU6 calls hardtanh, which is not patched.
            if name in {"relu", "prelu", "elu", "relu6", "gelu", "silu"}:
                terms[f"1 a value of F.{name}, nn's own calls too"] += layer.numel
        elif kind in ("pool", "adaptive pool"):
            if hooked in _POOLS:
                terms["1 an input value of nn's pools"] += _input(layer)
            terms["1 an input value of F's pools, nn's own calls too"] += _input(layer)
        elif name == "softmax":
            terms["1 a softmax value"] += layer.numel
    return terms


def thop(net: Network) -> Terms:
    """thop 0.1.1, `vision/basic_hooks.py`: hooks on modules of exactly the classes it knows."""
    terms: Counter[str] = Counter()
    for layer in _computed(net):
        hooked = _class(net, layer)
        spec = layer.operation.arithmetic
        if hooked in _TRANSPOSED and isinstance(spec, ConvTranspose):
            each = spec.taps * spec.in_channels // spec.groups
            terms["transposed convolutions, at output positions"] += layer.numel * each
        elif hooked in _CONV | {"Linear"}:
            terms += _multiply_adds(layer)
        elif hooked in _BATCH_NORM | _INSTANCE_NORM | {"LayerNorm", "SyncBatchNorm"}:
            each = 2 + 2 * _affine(layer)
            terms[f"{each} a normalised value"] += each * layer.numel
        elif hooked.startswith("AdaptiveAvgPool"):
            terms["1 an input and 1 an output value of adaptive average pools"] += (
                _input(layer) + layer.numel
            )
        elif hooked.startswith("AvgPool"):
            terms["1 an output value of average pools"] += layer.numel
        elif hooked == "PReLU":
            terms["1 a value of nn.PReLU"] += layer.numel
        elif hooked in _RECURRENT and layer.kind == "recurrent":
            terms += _multiply_adds(layer)
            terms["gates and biases of recurrent layers"] += _gates(layer, lstm=8, gru=7)
    return terms


def torchinfo(net: Network) -> Terms:
    """torchinfo 1.8, `layer_info.py`: parameters called weight or bias, of modules without others.

    They count at each output position where the module's class has Conv in its name, and else once
    a sample, however many tokens or values they meet.
    """
    terms: Counter[str] = Counter()
    parents = {path.rpartition(".")[0] for path in net.modules if path}
    for layer in _computed(net):
        hooked = _class(net, layer)
        own = [p for p in layer.parameters if p.name.rpartition(".")[0] == layer.path]
        if not own or layer.path in parents or hooked == _OUTPUT_PROJECTION:
            continue
        weights, biases = (
            sum(p.numel for p in own if not p.buffer and p.name.endswith(end))
            for end in ("weight", "bias")
        )
        samples = layer.shape[0]
        if "Conv" in hooked:
            where = ", at output positions" * (layer.kind == "transposed convolution")
            positions = samples * prod(layer.shape[2:])
            terms[_TITLES.get(layer.kind, layer.kind) + where] += weights * positions
            terms["1 a biased value of convolutions"] += biases * positions
        elif layer.kind == "recurrent":
            every = sum(p.numel for p in own if "weight" in p.name or "bias" in p.name)
            terms["recurrent parameters, once a step"] += every * prod(layer.shape[:2])
        elif layer.kind == "linear":
            terms["linear weights, once a sample"] += weights * samples
            terms["linear biases, once a sample"] += biases * samples
        else:
            terms[f"{layer.kind} parameters, once a sample"] += (weights + biases) * samples
    return terms


def flop_counter(net: Network) -> Terms:
    """torch 2.13, `utils/flop_counter.py`: convolutions and matrix products that are dispatched.

    Halved, for it counts two a multiply-add. Fused kernels are opaque to it: attention and LSTM on
    a CPU, and the fast path of nn.MultiheadAttention, projections included.
    """
    terms: Counter[str] = Counter()
    for layer in _computed(net):
        owner = layer.path
        if _class(net, layer) == _OUTPUT_PROJECTION:
            owner = owner.rpartition(".")[0]
        fast = _join(owner, "in_proj_bias") in net.parameters
        if layer.kind not in _FUSED and not fast:
            terms += _multiply_adds(layer)
    return terms


def convsmith(net: Network) -> Terms:
    """Ours: multiply-adds of convolutions, linear layers, products, attention and recurrence."""
    terms: Counter[str] = Counter()
    for layer in net:
        terms += _multiply_adds(layer)
    return terms


RULES: dict[str, Callable[[Network], Terms]] = {
    "convsmith": convsmith,
    "fvcore": fvcore,
    "ptflops": ptflops,
    "thop": thop,
    "torchinfo": torchinfo,
    "FlopCounterMode": flop_counter,
}


def _computed(net: Network) -> Iterator[Layer]:
    """What runs for every input: neither the inputs themselves nor what weights alone decide."""
    return (layer for layer in net if layer.kind != "input" and not layer.constant)


def _multiply_adds(layer: Layer) -> Counter[str]:
    title = _TITLES.get(layer.kind)
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
    (batch, heads, queries, width), keys = layer.operands[0].shape, layer.operands[1].shape[-2]
    channels = heads * width
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
