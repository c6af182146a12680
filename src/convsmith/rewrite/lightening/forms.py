"""The forms a convolution may take when it is lightened, and what each of them costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.nn.modules.conv import _ConvNd

from convsmith.arithmetic import Chain
from convsmith.errors import ArgumentError, nearest
from convsmith.nn import Factored, Rank
from convsmith.nn.factored import form_names, former_names, layers_of
from convsmith.nn.plain import arithmetic_of

__all__ = ["MULTIPLIED", "Form", "all_forms", "forms_named"]

MULTIPLIED = "depthwise_pointwise"
"""The form whose rank is the number of depthwise kernels per channel: `multiplier` means it."""


@dataclass(frozen=True)
class Form:
    """One way to factor a convolution; the mathematics is that of its layers in `convsmith.nn`.

    Attributes:
        name: what users and reports call it.

    `conv` is a torch convolution throughout, ordinary or transposed, of one to three axes; `size`
    is the spatial size of its *input*: some parts work at that size, so costs depend on it.
    """

    name: str

    def layer(self, conv: _ConvNd) -> type[Factored]:
        """The class of the layers that take its place.

        Raises:
            ArgumentError: if the form has none for this kind of convolution.
        """
        found = self._layer(conv)
        if found is None:
            raise ArgumentError(self.reason(conv))
        return found

    def reason(self, conv: _ConvNd) -> str:
        """Why it cannot take this form; '' if it can."""
        layer = self._layer(conv)
        if layer is None:
            return f"{self.name} has no layer for {type(conv).__name__}"
        return layer.reason(conv)

    def full_rank(self, conv: _ConvNd) -> Rank:
        """The least rank at which the output is the same, whatever the weights."""
        return self.layer(conv).full_rank(conv)

    def ranks(self, conv: _ConvNd, size: Sequence[int] | None = None) -> tuple[Rank, ...]:
        """Ranks to choose from, in ascending cost: those with fewer multiply-adds than `conv`.

        Without a size, on a map so large that its border does not count.
        """
        if self.reason(conv):
            return ()
        size = size or _large(conv)
        limit = arithmetic_of(conv).macs(tuple(size))
        costs = {rank: self.macs(conv, size, rank) for rank in self.layer(conv).ranks(conv)}
        return tuple(sorted((r for r in costs if costs[r] < limit), key=lambda r: costs[r]))

    def macs(self, conv: _ConvNd, size: Sequence[int], rank: Rank) -> int:
        """Multiply-adds for one image, as `inspect` counts them."""
        parts = self.layer(conv).parts(conv, rank)
        return Chain(*(arithmetic_of(part) for part in parts)).macs(tuple(size))

    def params(self, conv: _ConvNd, rank: Rank) -> int:
        """Parameters, with a bias where the convolution has one."""
        parts = self.layer(conv).parts(conv, rank, bias=conv.bias is not None)
        return sum(p.numel() for part in parts for p in part.parameters())

    def make(self, conv: _ConvNd, rank: Rank, moments: Tensor | None = None) -> Factored:
        """The layer of this rank that is closest to the convolution.

        Args:
            conv: what it stands for.
            rank: one of `ranks`, or up to `full_rank`.
            moments: (in_channels, taps, taps), the covariance of each input channel's patches.
        """
        return self.layer(conv).from_conv(conv, rank, moments=moments)

    def unfitted(self, conv: _ConvNd, rank: Rank) -> Factored:
        """A layer of this rank with any weights, for its time."""
        return self.layer(conv).unfitted(conv, rank)

    def error(
        self, conv: _ConvNd, ranks: Sequence[Rank], moments: Tensor | None = None
    ) -> list[float]:
        """The share of the response's variance that is lost at each rank, before any refit.

        Input channels are taken as uncorrelated, their patches as having these covariances, or as
        white where there are none.
        """
        return self.layer(conv).errors(conv, ranks, moments)

    def _layer(self, conv: _ConvNd) -> type[Factored] | None:
        layers = layers_of(self.name)
        return next((layer for layer in layers if isinstance(conv, layer.stands_for())), None)


def all_forms() -> tuple[Form, ...]:
    """Every form there is, in alphabetical order.

    >>> [form.name for form in all_forms()]
    ['cp', 'depthwise_pointwise', 'pointwise_depthwise', 'spatial', 'tucker']
    """
    return tuple(Form(name) for name in form_names())


def forms_named(names: Sequence[str] | None) -> tuple[Form, ...]:
    """The forms of these names, former ones included; all if none is named.

    Raises:
        ArgumentError: for a name that no form has.

    >>> [form.name for form in forms_named(["tucker"])]
    ['tucker']
    """
    known, former = form_names(), former_names()
    if isinstance(names, str):
        raise ArgumentError(f"forms must be a list of names, not {names!r}")
    for name in names or ():
        if name not in known and name not in former:
            hint = nearest(str(name), known) or f"; there are {', '.join(known)}"
            raise ArgumentError(f"no form is called {name!r}{hint}")
    return tuple(Form(former.get(name, name)) for name in names) if names else all_forms()


def _large(conv: _ConvNd) -> tuple[int, ...]:
    reach = zip(conv.kernel_size, conv.dilation, conv.stride, strict=True)
    return tuple(1024 * k * d * s for k, d, s in reach)
