"""What the product states about a network, compared with the oracle."""

from __future__ import annotations

import inspect as signatures
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import convsmith as cs
from convsmith.errors import ArgumentError
from convsmith.measure import true_field
from convsmith.network.backward import spatial_axes
from tests.grammar.networks import Sample
from tests.grammar.probe import first_output, hull_of, positions, probe
from tests.zoo.observing import state

__all__ = ["Failure", "check"]

aten = torch.ops.aten
# Products with vectors, which the counter of torch leaves out; two operations per multiply-add.
VECTORS = {
    aten.dot: lambda a, b, *rest, **options: 2 * a[0],
    aten.mv: lambda a, b, *rest, **options: 2 * a[0] * a[1],
    aten.addmv: lambda bias, a, b, *rest, **options: 2 * a[0] * a[1],
}
# What neither counts by an agreed rule.
UNCOUNTED = ("Bilinear", "cdist", "fft")

NAMES_AXES = "axes" in signatures.signature(cs.inspect).parameters


@dataclass(frozen=True)
class Failure:
    """One statement that does not hold."""

    kind: str
    detail: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}"


def check(sample: Sample) -> list[Failure]:
    """Everything the product states about one network that the oracle contradicts."""
    model = sample.model().train(sample.end[1] % 2 == 0)
    image = sample.image()
    before = state(model)
    options = (
        {"axes": sample.layout}
        if NAMES_AXES and sample.layout not in ("NCL", "NCHW", "NCDHW")
        else {}
    )
    try:
        report = cs.inspect(model, image, **options)
        fields = report.receptive_field, report.local_receptive_field
    except cs.ConvsmithError as error:
        return _refused(sample, error)
    except Exception as error:
        return [Failure("exception", f"{type(error).__name__}: {error}")]
    failures = [*_left_alone(sample, model, before), *_macs(sample, report)]
    with torch.no_grad():
        shape = tuple(first_output(sample.model()(image)).shape)
    at = positions(sample, shape)
    truth = dict(zip(at, probe(sample, at)))
    middle = tuple(n // 2 for n, role in zip(shape, sample.roles) if isinstance(role, int))
    own = _own_lengths(report)
    if len(own) > len(middle):
        return failures + _all_positions(report, sample, own, truth[middle])
    failures += _middle(fields[0], truth[middle], sample)
    failures += _local(fields[1], report.network.outputs[0], truth[middle])
    failures += _largest(fields[0], truth)
    for position in at if fields[0] is not None else ():
        failures += _position(report, sample, position, truth[position], position == middle)
    return failures


def _refused(sample: Sample, error: Exception) -> list[Failure]:
    """A refusal is right if `torch.export` refuses too, and needs one line that says why."""
    reason = str(error)
    if not reason or "\n" in reason:
        return [Failure("refusal without a clear line", repr(reason))]
    try:
        with torch.no_grad():
            torch.export.export(sample.model(), (sample.image(),), strict=False)
    except Exception:
        return []
    return [Failure("refused", f"{type(error).__name__}: {reason}")]


def _left_alone(sample: Sample, model, before) -> list[Failure]:
    after = state(model)
    failures = [Failure("not left alone", key) for key in before if before[key] != after[key]]
    with torch.no_grad():
        result = first_output(model.eval()(sample.image()))
        expected = first_output(sample.model()(sample.image()))
    if type(result) is not torch.Tensor:
        failures.append(Failure("not left alone", f"answers with a {type(result).__name__}"))
    elif "rand" not in sample.source and not torch.equal(result, expected):
        failures.append(Failure("not left alone", "answers otherwise than before"))
    return failures


def _macs(sample: Sample, report) -> list[Failure]:
    if any(name in sample.source for name in UNCOUNTED):
        return []
    truth, claimed = _counted(sample), report.macs
    right = {
        "exact": claimed == truth,
        "lower bound": claimed <= truth,
        "upper bound": claimed >= truth,
    }
    if right.get(report.status, True):
        return []
    return [Failure("macs", f"{claimed} {report.status} where {truth} are counted")]


def _counted(sample: Sample) -> int:
    """Multiply-adds counted by torch's own counter on the dispatcher."""
    counter = FlopCounterMode(display=False, custom_mapping=VECTORS)
    fast = torch.backends.mha.get_fastpath_enabled()
    # Fused attention is opaque to the counter.
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
            sample.model().requires_grad_(False)(sample.image())
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return counter.get_total_flops() // 2


def _middle(field, truth, sample: Sample) -> list[Failure]:
    """Check the size of `receptive_field`, that of the middle; borders may cut what is read."""
    if field is None:
        return [Failure("no field", "receptive_field is None")]
    size, hull = field.size, truth.hull
    lengths = [sample.shape[d] for d in sample.space]
    if len(size) != len(hull):
        return [Failure("axes", f"size {size} for an image with {len(hull)} axes")]
    failures, extent = [], tuple(b - a for a, b in hull)
    if any(claimed < true for claimed, true in zip(size, extent)):
        failures.append(
            Failure("size of the middle too small", f"{size} {field.status}, {extent} seen")
        )
    elif (
        field.status == "exact"
        and truth.high is not None
        and _too_large(size, hull_of(truth.high), lengths)
    ):
        failures.append(
            Failure("size of the middle too large", f"{size} {field.status}, {extent} seen")
        )
    return failures


def _largest(field, truth) -> list[Failure]:
    """Check `largest`: no position reads more along any axis."""
    for position, true in truth.items() if field is not None else ():
        extent = tuple(b - a for a, b in true.hull)
        if len(extent) == len(field.size) and any(a < b for a, b in zip(field.largest, extent)):
            return [Failure("largest too small", f"{field.largest}, {extent} seen at {position}")]
    return []


def _local(field, output: str, truth) -> list[Failure]:
    """A local field that names no path it leaves out is not smaller either."""
    if field is None or field.layer != output or field.status != "exact" or field.reason:
        return []
    extent = tuple(b - a for a, b in truth.hull)
    if len(extent) != len(field.size) or all(a >= b for a, b in zip(field.size, extent)):
        return []
    return [Failure("local field too small without a name", f"{field.size}, {extent} seen")]


def _too_large(size, hull, lengths) -> bool:
    """Whether a field is larger than what is read where no border could have cut it."""
    return any(
        claimed > stop - start and claimed <= stop and claimed <= length - start
        for claimed, (start, stop), length in zip(size, hull, lengths)
    )


def _own_lengths(report) -> list[int]:
    """The lengths of the axes that the product finds in the first result."""
    net = report.network
    output = net[net.outputs[0]]
    axes = spatial_axes(net)[output.name]
    return [n for n, axis in zip(output.shape, axes) if axis is not None]


def _all_positions(report, sample: Sample, own: list[int], truth) -> list[Failure]:
    """Check what all positions read where the product has axes that the sample does not name."""
    net = report.network
    fields = [true_field(net, net.outputs[0], at) for at in np.ndindex(*own)]
    claimed = np.any([_mask(field, sample) for field in fields], axis=0)
    if (truth.low & ~claimed).any():
        return [Failure("field too small", f"{_text(claimed)} claimed, {_text(truth.low)} seen")]
    return []


def _mask(field, sample: Sample) -> np.ndarray:
    size = [sample.shape[d] for d in sample.space]
    claimed = np.zeros(size, bool)
    for box in field.region:
        claimed[np.ix_(*([p for p in axis if 0 <= p < n] for axis, n in zip(box, size)))] = True
    return claimed


def _position(report, sample: Sample, position, truth, is_middle: bool) -> list[Failure]:
    net = report.network
    try:
        field = true_field(net, net.outputs[0], position)
    except ArgumentError:
        # The product lost some axes on the way and has no position along them.
        if not is_middle:
            return []
        field = true_field(net, net.outputs[0])
    except Exception as error:
        return [Failure("exception", f"{type(error).__name__}: {error}")]
    if len(field.size) != len(sample.space):
        return []  # reported once, for the middle
    claimed = _mask(field, sample)
    where = (
        f"at {position}: {_text(claimed)} {field.status} {field.reason!r}, {_text(truth.low)} seen"
    )
    if (truth.low & ~claimed).any():
        return [Failure(f"field too small ({field.status})", where)]
    if truth.high is None or not (claimed & ~truth.high).any():
        return []
    if field.status == "exact":
        return [Failure("exact and too large", where)]
    if not field.reason:
        return [Failure("too large without a name", where)]
    return []


def _text(mask: np.ndarray) -> str:
    if not mask.any():
        return "nothing"
    if mask.ndim == 1:
        return "".join(".#"[int(b)] for b in mask)
    if mask.ndim == 2:
        return "/".join("".join(".#"[int(b)] for b in row) for row in mask)
    return f"{int(mask.sum())} of {mask.size}"
