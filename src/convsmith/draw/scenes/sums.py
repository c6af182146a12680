"""The sums of a convolution, as a drawing needs them: whole, channel by channel, and the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod
from typing import Any

from convsmith.arithmetic import Conv, evaluate
from convsmith.draw.scenes.crop import Channels, shown_channels
from convsmith.draw.scenes.ground import Ground
from convsmith.draw.scenes.values import At3

__all__ = ["Sums"]

# Steps of a drawing, and multiplications until one waits.
_MOST, _WORK = 150, 1_500_000


class Sums:
    """What is shown of a convolution over a ground, each value by `convsmith.arithmetic.evaluate`.

    Attributes:
        channels: which channels are shown.
        totals: the map of each output that is shown.
        partials: what each input that is shown adds to it, by (output, input).
        rests: what the inputs that are not shown add to it.
    """

    def __init__(
        self,
        layer: Conv,
        ground: Ground,
        shown: At3,
        kernels: Callable[[int, int], Any],
        bias: Any,
    ) -> None:
        self.layer, self.ground, self.shown, self.kernels = layer, ground, shown, kernels
        self.channels = self._channels()
        self._padded: dict[int, Any] = {}
        outputs = self.channels.outputs
        self.totals = {o: self._evaluated(o, self.inputs_of(o), bias) for o in outputs}
        self.partials = {(o, c): self._evaluated(o, [c]) for o in outputs for c in self.seen(o)}
        hidden = {o: self.inputs_of(o)[self.channels.ins :] for o in outputs}
        self.rests = {o: self._evaluated(o, cs) for o, cs in hidden.items() if cs}

    def _channels(self) -> Channels:
        channels = shown_channels(self.layer)
        places = prod(self.shown)
        work = 2 * channels.groups * channels.ins_of * self.layer.taps * places
        most = min(_MOST // places, _WORK // work)
        return replace(channels, outs=max(1, min(channels.outs, most)))

    def group(self, output: int) -> int:
        """The group of an output."""
        return output // self.channels.outs_of

    def inputs_of(self, output: int) -> list[int]:
        """All inputs of an output's group."""
        first = self.group(output) * self.channels.ins_of
        return list(range(first, first + self.channels.ins_of))

    def outputs_of(self, channel: int) -> list[int]:
        """The outputs that are shown of an input's group."""
        first = channel // self.channels.ins_of * self.channels.outs_of
        return list(range(first, first + self.channels.outs))

    def seen(self, output: int) -> list[int]:
        """Those of them that are shown."""
        return self.inputs_of(output)[: self.channels.ins]

    def _evaluated(self, output: int, inputs: Sequence[int], bias: Any = None) -> Any:
        """The map that some of the inputs of an output sum up to."""
        windows = self.ground.windows
        first = self.group(output) * self.channels.ins_of
        one = Conv(
            len(inputs),
            1,
            tuple(w.kernel for w in windows),
            tuple(w.stride for w in windows),
            0,
            tuple(w.dilation for w in windows),
        )
        weight = [[self.kernels(output, i - first) for i in inputs]]
        for i in inputs:
            if i not in self._padded:
                (self._padded[i],) = self.ground.padded([i])
        image = [self._padded[i] for i in inputs]
        return evaluate(one, image, weight, None if bias is None else [bias[output]])[0]

    @property
    def summed(self) -> bool:
        """Whether there are partial sums to show."""
        return self.channels.ins_of > 1
