"""Effective receptive fields: where in the image the gradient of an output value really lies."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil, floor
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from convsmith.errors import ArgumentError, first_line
from convsmith.measure.images import image_batches
from convsmith.measure.receptive import ReceptiveField, local_field
from convsmith.network import Network, submodule, untouched
from convsmith.network.shadow import shadow
from convsmith.report import Column, Figure, Result, Table, data_frame, map_picture, shape
from convsmith.text import times

if TYPE_CHECKING:
    import pandas

__all__ = ["EffectiveField", "effective_field", "effective_of"]

# 1 - 0.9545 of a Gaussian lies more than two standard deviations out.
_TAIL = 1 - 0.9545
_CHUNK = 8  # images at a time, if they come as one array


@dataclass(frozen=True, eq=False)
class EffectiveField(Result):
    """How strongly one output unit depends on each position of the image (Luo et al. 2016).

    Attributes:
        map: mean over the images of |d unit / d pixel|, summed over the image's channels; float64,
            shaped as the image without its channels, read-only.
        layer: the module whose output the unit is of; '' for the model itself.
        position: where in that output the unit lies; () if the whole output was summed.
        images: how many images it is the mean of.
        exact: the receptive field it is shown beside, or None.
        source: what the images are, for readers of the result; '' if not given.
    """

    map: np.ndarray[Any, np.dtype[np.float64]] = field(repr=False)
    layer: str
    position: tuple[int, ...]
    images: int
    exact: ReceptiveField | None = None
    source: str = ""

    @property
    def centre(self) -> tuple[float, ...]:
        """The centre of gravity of the map, in positions of the image."""
        # Rounded, so that a symmetric map gives the same box in any order of summation.
        return tuple(round(mean, 9) for mean, _ in self._moments())

    @property
    def deviation(self) -> tuple[float, ...]:
        """The standard deviation of the map along each axis, in positions of the image."""
        return tuple(deviation for _, deviation in self._moments())

    @property
    def size(self) -> float:
        """The effective size of Luo et al. 2016 (section 3): a side, in positions.

        The positions with more than 1 - 95.45 % of the peak, counted, and the root of it: the
        square root in 2-D. The paper compares with the value at the centre; the peak is the same
        for a Gaussian, and a centre that lies in a hole has no value to compare with. After
        strides, or from few images, the map is spiky and this size small: `width` is steadier.
        """
        counted = np.count_nonzero(self.map > _TAIL * self.map.max())
        return float(counted ** (1 / self.map.ndim))

    def width(self, share: float = 0.95) -> int:
        """The side of the smallest centred box that holds a share of the gradient's mass.

        The box is a square (1-D: an interval, 3-D: a cube) around `centre`, rounded to the nearest
        position or middle between two: around a position its side is odd, between two even, unless
        the axes differ. Parts of it outside the image hold nothing.

        Args:
            share: more than 0, at most 1.

        Raises:
            ArgumentError: for any other share.
        """
        if not 0 < share <= 1:
            raise ArgumentError(f"a share of the gradient is in (0, 1], not {share!r}")
        entered = np.zeros(self.map.shape, dtype=np.int64)
        for axis, (length, centre) in enumerate(zip(self.map.shape, self.centre, strict=True)):
            # The side of the smallest interval around the centre that has reached each position.
            side = abs(2 * np.arange(length) - round(2 * centre)) + 1
            along = [1] * self.map.ndim
            along[axis] = length
            entered = np.maximum(entered, side.reshape(along))
        mass = np.cumsum(np.bincount(entered.ravel(), weights=self.map.ravel()))
        return int(np.searchsorted(mass, share * mass[-1] * (1 - 1e-12)))

    def beside(self, exact: ReceptiveField) -> EffectiveField:
        """The same with the exact field to compare with, of the same layer.

        Raises:
            ArgumentError: if the exact field has another number of axes.
        """
        if len(exact.size) != self.map.ndim:
            raise ArgumentError(
                f"a field of {len(exact.size)} axes beside a map of {self.map.ndim} axes"
            )
        return replace(self, exact=exact)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, without the map."""
        return {
            "layer": self.layer,
            "position": list(self.position),
            "images": self.images,
            "source": self.source,
            "image_size": list(self.map.shape),
            "centre": list(self.centre),
            "deviation": list(self.deviation),
            "width_50": self.width(0.5),
            "width_95": self.width(0.95),
            "size": self.size,
            "exact": None if self.exact is None else self.exact.to_dict(),
        }

    def to_pandas(self) -> pandas.DataFrame:
        """One row, as a `pandas.DataFrame`."""
        return data_frame([self.to_dict()])

    def table(self) -> Table:
        """One row: the widths beside the exact size."""
        exact = None if self.exact is None else self.exact.size
        return Table(
            columns=(
                Column("layer", "layer"),
                Column("width_50", "50 %", align="right"),
                Column("width_95", "95 %", align="right"),
                Column("size", "effective size", align="right", format=lambda x: f"{x:.1f}"),
                Column("exact", "exact field", align="right", format=shape),
            ),
            rows=((self.layer or "output", self.width(0.5), self.width(0.95), self.size, exact),),
            title="Effective receptive field",
            note=f"Mean over {self._images()}; 50 %, 95 %: the box with that share of it.",
        )

    def figure(self) -> Figure:
        """A picture of the map, with the boxes of 95 % and 50 %, and of the exact field.

        With three axes, it is the slice in the middle of the first.
        """
        values = self.map
        caption = f"The gradient of {_named(self.layer)}, mean over {self._images()}. "
        if values.ndim == 3:
            middle = self.map.shape[0] // 2
            values = values[middle]
            caption += f"Slice {middle + 1} of {self.map.shape[0]} along the first axis. "
        boxes = []
        if self.exact is not None and len(self.position) == self.map.ndim:
            centre = self.exact.centre_of(self.position)
            spans = [(c - (n - 1) / 2, c + (n + 1) / 2)
                     for c, n in zip(centre, self.exact.size, strict=True)]  # fmt: skip
            beyond = any(a < 0 or b > n for (a, b), n in zip(spans, self.map.shape, strict=True))
            name = f"exact field {shape(self.exact.size)}"
            boxes.append((f"{name}, beyond the image" if beyond else name, spans))
        for share in (0.95, 0.5):
            side = self.width(share)
            spans = [((round(2 * c) - side + 1) / 2, (round(2 * c) + side + 1) / 2)
                     for c in self.centre]  # fmt: skip
            boxes.append((f"{share:.0%} of the gradient within {side}".replace("%", " %"), spans))
        plane = np.atleast_2d(values)
        # A strip is one row; with three axes the last two are drawn.
        flat = [(name, [(0.0, 1.0), *spans][-2:]) for name, spans in boxes]
        window = _window(plane, [spans for _, spans in flat])
        (top, bottom), (left, right) = window
        if (bottom - top, right - left) != plane.shape:
            parts = [f"{a} … {b - 1}" for a, b in window[-values.ndim :]]
            caption += f"Shown: {' × '.join(parts)} of {shape(values.shape)}. "
        svg = map_picture(
            plane[top:bottom, left:right].tolist(),
            [(name, (y[0] - top, y[1] - top), (x[0] - left, x[1] - left)) for name, (y, x) in flat],
            title="Effective receptive field",
        )
        return Figure(svg, caption + "The shade is the root of the value.")

    def _images(self) -> str:
        source = f" ({self.source})" if self.source else ""
        return f"{self.images} image{'s' * (self.images > 1)}{source}"

    def _repr_html_(self) -> str:
        return self.figure().html() + self.table()._repr_html_()

    def __repr__(self) -> str:
        name = repr(self.layer) if self.layer else "output"
        widths = f"95 % of the gradient within {self.width(0.95)}"
        if self.exact is None:
            return f"EffectiveField({name}: {widths}, 50 % within {self.width(0.5)})"
        size = self.exact.size
        side = str(size[0]) if len(set(size)) == 1 else times(size)
        status = "" if self.exact.status == "exact" else f" ({self.exact.status})"
        return f"EffectiveField({name}: {widths} of {side}{status})"

    def _moments(self) -> Iterator[tuple[float, float]]:
        """Mean and standard deviation of the position along each axis."""
        for axis in range(self.map.ndim):
            others = tuple(a for a in range(self.map.ndim) if a != axis)
            mass = self.map.sum(axis=others)
            at = np.arange(len(mass))
            mean = float(mass @ at / mass.sum())
            yield mean, float(np.sqrt(mass @ (at - mean) ** 2 / mass.sum()))


def effective_field(
    model: nn.Module, images: Any, layer: str | None = None, *, signs: bool = False
) -> EffectiveField:
    """Measure the effective receptive field (Luo et al. 2016, arXiv:1701.04128) of a model.

    The unit is the one in the middle of the layer's output (position n // 2 along each axis), its
    channels summed; the map is the mean of the size of its gradient over real images, with the
    weights that the model has. The model computes in evaluation mode and is left as it was.

    Args:
        model: takes one tensor, shaped (images, channels, *size) with 1 to 3 axes in size.
        images: an array or tensor of that shape, or batches of it (of a tuple, list or mapping,
            the first entry); they are brought to the device and type of the model's parameters.
        layer: the path of a module, as in `model.get_submodule`; of one called several times the
            last call counts. By default the model's output if it is a map; of class scores, the
            last module's whose output still is a map of more than one position. Where there is no
            map (channels second, as many axes as the images have), the whole output is summed.
        signs: give each channel of the unit a random sign, other ones for each image, instead of
            the plain sum: for channels that cancel, as after a softmax or a normalisation over
            channels. The signs are the same in every call.

    Raises:
        ArgumentError: for missing images or anything but images, for a layer that is unknown or
            never called, and for a unit without a (finite) gradient.

    >>> import convsmith as cs
    >>> from convsmith.measure.receptive import local_field
    >>> net = nn.Sequential(*[nn.Conv2d(1, 1, 3, padding=1, bias=False) for _ in range(10)])
    >>> for conv in net:
    ...     _ = nn.init.constant_(conv.weight, 1 / 9)
    >>> found = effective_field(net, torch.rand(2, 1, 33, 33))
    >>> found
    EffectiveField(output: 95 % of the gradient within 13, 50 % within 7)
    >>> found.beside(local_field(cs.trace(net, (1, 1, 33, 33)), "9"))
    EffectiveField(output: 95 % of the gradient within 13 of 21)
    """
    if not isinstance(model, nn.Module):
        raise ArgumentError(f"expected a torch.nn.Module, not {type(model).__name__}")
    if layer is not None:
        submodule(model, layer)
    like = next((p for p in model.parameters() if p.is_floating_point()), None)
    if like is not None and like.is_meta:
        raise ArgumentError(f"{type(model).__name__} is on the meta device: it has no weights")
    model = shadow(model)  # hooks are hung on it, and other threads may use the original
    generator = torch.Generator().manual_seed(0)
    total: np.ndarray[Any, np.dtype[np.float64]] | None = None
    seen, name = 0, ""
    position: tuple[int, ...] = ()
    with untouched(model), torch.inference_mode(False), torch.enable_grad():
        for batch in image_batches(images, batch_size=_CHUNK, limit=sys.maxsize):
            if total is not None and batch.shape[2:] != total.shape:
                raise ArgumentError(
                    f"images must have one size, not {total.shape} and {tuple(batch.shape[2:])}"
                )
            # The model may work in place: neither on the user's images nor on a leaf.
            leaf = batch.detach().to(batch if like is None else like, copy=True).requires_grad_()
            name, position, unit = _unit(model, leaf, layer)
            weights = torch.randint(0, 2, unit.shape, generator=generator).to(unit) * 2 - 1
            plain = None if signs else torch.ones_like(unit)
            slopes = _slopes(unit, leaf, weights if plain is None else plain, name)
            if plain is not None and total is None and unit[0].numel() > 1:
                _refuse_cancelled(slopes, unit, leaf, weights, name)
            total = slopes if total is None else total + slopes
            seen += len(batch)
    if total is None:
        raise ArgumentError("there are no images to take the gradient at")
    if not np.isfinite(total).all():
        raise ArgumentError(f"the gradient of {_named(name)} is not finite")
    if not total.any():
        raise ArgumentError(
            f"no gradient of {_named(name)} reaches the images: it reads padding alone, the way is "
            "cut, or every unit on it is off"
        )
    total /= seen
    total.setflags(write=False)
    return EffectiveField(total, name, position, seen)


def effective_of(
    network: Network,
    images: Any,
    layer: str | None = None,
    *,
    signs: bool = False,
    source: str = "",
) -> EffectiveField:
    """Measure the effective field of a traced network's layer, beside its exact field.

    Args:
        network: traced from a module.
        images: as for `effective_field`.
        layer: a layer's name; by default the output, or the last map before it.
        signs: as for `effective_field`.
        source: what the images are.

    Raises:
        ArgumentError: as `effective_field`.
    """
    if network.model is None:
        raise ArgumentError(
            f"{network.name} was read from an exported program: gradients need the torch.nn.Module"
        )
    path = None if layer is None else network[layer].path
    field = replace(effective_field(network.model, images, path, signs=signs), source=source)
    # The last operation of the module is what makes its output.
    within = [x.name for x in network if f"{x.path}.".startswith(f"{field.layer}.")]
    names = within[-1:] if field.layer and within else list(network.outputs[:1])
    if not names or not any(len(network[name].shape) > 2 for name in network.inputs):
        return field
    exact = local_field(network, names[0])
    return field.beside(exact) if exact and len(exact.size) == field.map.ndim else field


def _unit(
    model: nn.Module, images: Tensor, layer: str | None
) -> tuple[str, tuple[int, ...], Tensor]:
    """Path, position and values (images, channels) of the unit to take the gradient of."""
    units: dict[str, tuple[tuple[int, ...], Tensor]] = {}  # in order of the last call
    last = ""
    paths = dict(model.named_modules()) if layer is None else {layer: submodule(model, layer)}

    def watch(path: str, module: nn.Module) -> Any:
        def hook(_module: nn.Module, _inputs: Any, result: Any) -> None:
            nonlocal last
            output = _first(result)
            if output is None or not output.is_floating_point():
                return
            size = tuple(output.shape[2:])
            is_map = output.ndim == images.ndim and len(output) == len(images)
            asked = path in ("", layer)
            if not asked and not (is_map and any(n > 1 for n in size) and output.numel()):
                return
            if not output.ndim or len(output) != len(images) or not output.numel():
                raise ArgumentError(
                    f"{_named(path)} gives {tuple(output.shape)} for {len(images)} images"
                )
            # Taken here and not after the pass: a ReLU after it may work in place.
            at = tuple(n // 2 for n in size) if is_map else ()
            unit = output
            for i in at:
                unit = unit[:, :, i]
            if not asked:
                units.pop(last, None)
                last = path
            units[path] = at, unit.reshape(len(output), -1).clone()

        return module.register_forward_hook(hook)

    handles = [watch(path, module) for path, module in paths.items()]
    try:
        model(images.clone())
    except (RuntimeError, TypeError) as error:
        raise ArgumentError(
            f"{type(model).__name__} refuses images shaped {tuple(images.shape)}: "
            f"{first_line(error)}"
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    name = layer or ""
    if layer is None and last and not ("" in units and units[""][0]):
        name = last
    if name not in units:
        raise ArgumentError(f"{_named(name)} is not called, or gives no floating-point tensor")
    return name, *units[name]


def _slopes(
    unit: Tensor, images: Tensor, weights: Tensor, name: str
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The size of the gradient at each position, summed over images and channels."""
    if not unit.requires_grad:
        raise ArgumentError(f"{_named(name)} has no gradient: the model detaches it")
    (slope,) = torch.autograd.grad(unit, images, weights, retain_graph=True, allow_unused=True)
    if slope is None:
        slope = torch.zeros_like(images)
    # Moved first: not every device has float64.
    return np.array(slope.cpu().double().abs().sum(dim=(0, 1)).numpy())


def _refuse_cancelled(
    slopes: np.ndarray[Any, Any], unit: Tensor, images: Tensor, weights: Tensor, name: str
) -> None:
    """Raise if the plain sum over channels leaves only rounding errors: a softmax sums to 1."""
    signed = _slopes(unit, images, weights, name).sum()
    if slopes.sum() < torch.finfo(unit.dtype).eps ** 0.5 * signed:
        raise ArgumentError(
            f"the channels of {_named(name)} cancel in the sum (a softmax?): pass signs=True, or "
            "a layer before"
        )


def _window(
    plane: np.ndarray[Any, Any], boxes: Sequence[Sequence[tuple[float, float]]]
) -> list[tuple[int, int]]:
    """Rows and columns worth showing: all, unless everything lies within half of them."""
    window = []
    for axis, length in enumerate(plane.shape):
        at = np.flatnonzero(plane.any(axis=1 - axis))
        spans = [(int(at[0]), int(at[-1]) + 1), *(box[axis] for box in boxes)] if at.size else []
        start = min((a for a, _ in spans), default=0)
        stop = max((b for _, b in spans), default=length)
        margin = ceil((stop - start) / 8) if length > 1 else 0
        window.append((max(0, floor(start) - margin), min(length, ceil(stop) + margin)))
    small = all(2 * (b - a) <= n for (a, b), n in zip(window, plane.shape, strict=True) if n > 1)
    return window if small else [(0, length) for length in plane.shape]


def _first(result: Any) -> Tensor | None:
    """The first tensor of a module's result."""
    if isinstance(result, Tensor):
        return result
    if isinstance(result, Mapping):
        result = list(result.values())
    if isinstance(result, (tuple, list)):
        return next((t for t in map(_first, result) if t is not None), None)
    return None


def _named(path: str) -> str:
    return f"layer {path!r}" if path else "the model's output"
