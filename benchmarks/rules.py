"""Why another counter's total differs: its own rules, applied to our graph, term by term.

Each function follows the source of one tool, in the version named, and says what that tool makes
of a network. The terms add up to its total to the unit, or there is something about the tool that
is not understood yet. A tool that hooks modules sees the class of a module and nothing else; one
that traces or dispatches sees operations.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from math import prod

from convsmith.measure.cost import cost
from convsmith.network import Layer, Network

__all__ = ["RULES", "Terms"]

Terms = Mapping[str, int]
"""What a tool counts, by what it counts it for."""

_CONVOLUTIONS = {"convolution": "convolutions", "transposed convolution": "transposed convolutions"}
_PRODUCTS = {"linear": "linear layers", "matmul": "matrix products"}
_ACTIVATIONS = {"ReLU", "PReLU", "ELU", "LeakyReLU", "ReLU6", "GELU"}
# What `nn` modules call, as the graph names it: ReLU6 calls hardtanh, which ptflops lets pass.
_PATCHED_ACTIVATIONS = {"relu", "prelu", "elu", "relu6", "gelu", "silu"}


def fvcore(net: Network) -> Terms:
    """fvcore 0.1.5, `nn/flop_count.py` and `nn/jit_handles.py`: operations of a traced graph."""
    terms: Counter[str] = Counter()
    for layer in net:
        name = layer.operation.name
        affine = any(not p.buffer for p in layer.parameters)
        terms += _multiply_adds(layer, _CONVOLUTIONS | _PRODUCTS)
        if layer.kind == "batch norm":
            each = 1 + affine
            terms[f"{each} a batch-norm value"] += each * layer.numel
        elif name in ("layer_norm", "group_norm"):
            terms[f"{4 + affine} a {name.replace('_', '-')} value"] += (4 + affine) * layer.numel
        elif name == "adaptive_avg_pool2d":
            terms["1 an input value of adaptive pools"] += layer.operands[0].numel
        elif name == "upsample_nearest2d":
            terms["1 a nearest-upsampled value"] += layer.numel
        elif name == "upsample_bilinear2d":
            terms["4 a bilinear-upsampled value"] += 4 * layer.numel
    return terms


def ptflops(net: Network) -> Terms:
    """ptflops 0.7.5, `pytorch_ops.py`: hooks on modules, and functions patched while it runs.

    A module that calls a patched function (ReLU, the pools) counts twice. The functions `torch.add`
    and `torch.matmul` are patched too, the operators `+` and `@` are not: the graph does not tell
    them apart, and neither is counted here.
    """
    terms: Counter[str] = Counter()
    for layer in net:
        kind, hooked = layer.kind, _class(net, layer)
        if kind in _CONVOLUTIONS and hooked.startswith("Conv") or hooked == "Linear":
            terms += _multiply_adds(layer, _CONVOLUTIONS | _PRODUCTS)
            terms["1 a biased value"] += _biased(layer)
        elif kind == "batch norm" and hooked.startswith("BatchNorm") or hooked == "GroupNorm":
            each = 1 + any(not p.buffer for p in layer.parameters)
            terms[f"{each} a normalised value"] += each * layer.numel
        elif hooked == "LayerNorm":
            terms["1 a normalised value"] += layer.numel
        elif kind == "activation":
            if hooked in _ACTIVATIONS:
                terms[f"1 a {hooked} value"] += layer.numel
            if layer.operation.name in _PATCHED_ACTIVATIONS:
                again = " again, by the function it calls" if hooked in _ACTIVATIONS else ""
                title = f"a {hooked} value{again}" if again else f"a value of F.{_name(layer)}"
                terms[f"1 {title}"] += layer.numel
        elif kind in ("pool", "adaptive pool"):
            if "Pool" in hooked:
                terms["1 an input value of pools"] += layer.operands[0].numel
                terms["1 an input value of pools again, by the function they call"] += (
                    layer.operands[0].numel
                )
            else:
                terms["1 an input value of functional pools"] += layer.operands[0].numel
        elif kind == "softmax" and _name(layer) == "softmax":
            terms["1 a softmax value"] += layer.numel
    return terms


def thop(net: Network) -> Terms:
    """thop 0.1.1, `vision/basic_hooks.py`: hooks on modules of exactly the classes it knows."""
    terms: Counter[str] = Counter()
    for layer in net:
        hooked = _class(net, layer)
        affine = any(not p.buffer for p in layer.parameters)
        if layer.kind == "transposed convolution" and hooked.startswith("ConvTranspose"):
            terms["transposed convolutions, at output positions"] += _at_outputs(layer, by_input=1)
        elif layer.kind == "convolution" and hooked.startswith("Conv") or hooked == "Linear":
            terms += _multiply_adds(layer, _CONVOLUTIONS | _PRODUCTS)
        elif hooked.startswith(("BatchNorm", "LayerNorm", "InstanceNorm")):
            each = 2 + 2 * affine
            terms[f"{each} a normalised value"] += each * layer.numel
        elif hooked.startswith("AdaptiveAvgPool"):
            terms["1 an input and 1 an output value of adaptive average pools"] += (
                layer.operands[0].numel + layer.numel
            )
        elif hooked.startswith("AvgPool"):
            terms["1 an output value of average pools"] += layer.numel
        elif hooked == "PReLU":
            terms["1 a PReLU value"] += layer.numel
    return terms


def torchinfo(net: Network) -> Terms:
    """torchinfo 1.8, `layer_info.py`: parameters called weight or bias, times output positions.

    Positions count where the class of a module has Conv in its name; elsewhere a parameter counts
    once a sample, however many tokens or values it meets.
    """
    terms: Counter[str] = Counter()
    for layer in net:
        if not layer.shape or not layer.path:
            continue
        own = [p for p in layer.parameters if p.name.rpartition(".")[0] == layer.path]
        weights = sum(p.numel for p in own if p.name.endswith(".weight"))
        biases = sum(p.numel for p in own if p.name.endswith(".bias"))
        samples = layer.shape[0]
        if "Conv" in _class(net, layer):
            positions = samples * prod(layer.shape[2:])
            where = ", at output positions" * (layer.kind != "convolution")
            terms[f"{_CONVOLUTIONS.get(layer.kind, layer.kind)}{where}"] += weights * positions
            terms["1 a biased value of convolutions"] += biases * positions
        elif layer.kind == "linear":
            terms["linear weights, once a sample"] += weights * samples
            terms["linear biases, once a sample"] += biases * samples
        elif own:
            terms[f"{layer.kind} parameters, once a sample"] += (weights + biases) * samples
    return terms


def flop_counter(net: Network) -> Terms:
    """torch 2.13, `utils/flop_counter.py`: convolutions and matrix products that are dispatched.

    Halved, for it counts two a multiply-add. Attention in one call is not among them on a CPU.
    """
    terms: Counter[str] = Counter()
    for layer in net:
        terms += _multiply_adds(layer, _CONVOLUTIONS | _PRODUCTS)
    return terms


RULES: dict[str, Callable[[Network], Terms]] = {
    "fvcore": fvcore,
    "ptflops": ptflops,
    "thop": thop,
    "torchinfo": torchinfo,
    "FlopCounterMode": flop_counter,
}


def _multiply_adds(layer: Layer, titles: Mapping[str, str]) -> Counter[str]:
    title = titles.get(layer.kind)
    return Counter({title: cost(layer).macs or 0} if title else {})


def _class(net: Network, layer: Layer) -> str:
    return net.modules.get(layer.path, "")


def _name(layer: Layer) -> str:
    return layer.operation.name


def _biased(layer: Layer) -> int:
    """The output values that get a bias."""
    spec = layer.operation.arithmetic
    has = getattr(spec, "bias", False) if spec else len(layer.operands) == 3
    return layer.numel * bool(has)


def _at_outputs(layer: Layer, by_input: int) -> int:
    """Every output value as if it were a convolution's: taps × input channels of its group."""
    spec = layer.operation.arithmetic
    assert spec is not None and hasattr(spec, "groups")
    return layer.numel * prod(spec.kernel_size) * (spec.in_channels // spec.groups) * by_input
