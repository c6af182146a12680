"""Steps that bring several values together, whose batches or sizes may differ."""

from __future__ import annotations

from tests.runtime.several.draft import Draft, step


@step
def add(d: Draft) -> None:
    x = d.map()
    y = d.like(x, 0, 1, 2, 3)
    d.let(d.pick(f"{x} + {y}", f"torch.add({y}, {x})", f"F.relu({x} + {y})", f"{x} - {y}"))


@step
def product_or_difference(d: Draft) -> None:
    x = d.map()
    y = d.like(x, 0, 1, 2, 3)
    d.let(d.pick(f"{x} * {y}", f"{x} - {y}", f"{x} * {y}[:, :1]", f"torch.sub({x}, {y}, alpha=2)"))


@step
def add_convolutions(d: Draft) -> None:
    """Convolutions of two maps, of one size and batch or of one that is broadcast."""
    x, y = d.map(), d.map()
    a, b = (
        d.let(f"{d.module(f'nn.Conv2d({d[v].shape[1]}, 8, 3, padding=1)')}({v})") for v in (x, y)
    )
    d.let(f"{a} + {b}")


@step
def one_map_for_all(d: Draft) -> None:
    """The first image of one batch joins every image of another."""
    x, y = d.map(), d.map()
    a, b = (d.let(f"{d.module(f'nn.Conv2d({d[v].shape[1]}, 8, 1)')}({v})") for v in (x, y))
    first = d.let(f"{b}[:1]")
    d.let(f"{a} + F.interpolate({first}, size={a}.shape[2:])")


@step
def concat(d: Draft) -> None:
    x = d.map()
    y = d.like(x, 0, 2, 3)
    z = d.pick(x, y)
    joined = d.let(f"torch.cat([{', '.join((x, y, z)[: d.pick(2, 3)])}], 1)")
    if d.pick(True, False):
        conv = d.module(f"nn.Conv2d({d[joined].shape[1]}, 8, {d.pick(1, 3)})")
        d.let(f"{conv}({joined})")


@step
def concat_batches(d: Draft) -> None:
    x = d.map()
    y = d.like(x, 1, 2, 3)
    d.let(f"torch.cat([{x}, {y}])")


@step
def concat_space(d: Draft) -> None:
    x = d.map()
    d.let(f"torch.cat([{x}, {d.like(x, 0, 1, 2)}], 3)")


@step
def to_the_size_of_another(d: Draft) -> None:
    """A coarse map is brought to the size of a fine one, as in a feature pyramid."""
    x, y = d.map(), d.map()
    mode = d.pick("'nearest'", "'bilinear'")
    up = d.let(f"F.interpolate({x}, size={y}.shape[2:], mode={mode})")
    d.need(d[up].shape[0] == d[y].shape[0] and d[up].shape[1] == d[y].shape[1])
    d.let(f"{up} + {y}")


@step
def gate_of_another(d: Draft) -> None:
    """The means of one map weigh the channels of another."""
    x = d.map()
    y = d.like(x, 1)
    d.let(f"{x} * {d.pick('torch.sigmoid', 'F.hardsigmoid')}({y}.mean((2, 3), keepdim=True))")


@step
def gate_of_a_vector(d: Draft) -> None:
    x, v = d.map(), d.vector()
    made = d.module(f"nn.Linear({d[v].shape[1]}, {d[x].shape[1]})")
    d.let(f"{x} * {made}({v})[:, :, None, None]")


@step
def vectors(d: Draft) -> None:
    x = d.vector()
    d.let(f"{x} * {d.like(x, 0, 1)}")


@step
def every_pair(d: Draft) -> None:
    """Every vector of one batch with every vector of another."""
    x = d.vector()
    y = d.like(x, 1)
    d.let(d.pick(f"{x} @ {y}.t()", f"({x}[:, None] - {y}[None]).flatten(0, 1)"))


@step
def correlation(d: Draft) -> None:
    """The channels of two maps, pixel by pixel."""
    x = d.map()
    y = d.like(x, 0, 1, 2, 3)
    d.let(f"({x} * {y}).sum(1, keepdim=True)")


@step
def mean_of_batch(d: Draft) -> None:
    x = d.map()
    mean = d.let(f"{x}.mean(0, keepdim=True)")
    d.let(d.pick(f"{x} - {mean}", f"{mean}.expand_as({x}) + {x}"))


@step
def scaled_by_number(d: Draft) -> None:
    d.need("scale" in d.scopes[0])
    d.let(f"{d.map()} * scale")
