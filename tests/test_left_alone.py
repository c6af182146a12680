"""Other threads use the user's modules and PyTorch meanwhile: neither is ever switched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import convsmith as cs
from convsmith.measure import effective_field
from convsmith.rewrite import Run, Timing, Tuning

SIZE = (2, 3, 16, 16)
PICTURES = torch.rand(16, 3, 16, 16, generator=torch.Generator().manual_seed(0))


class Watched(nn.Module):
    """Refuses assignments to those of its kind that are locked; a copy is another object."""

    locked: frozenset[int] = frozenset()

    def __setattr__(self, name: str, value: Any) -> None:
        if id(self) in Watched.locked:
            raise AssertionError(f"{type(self).__name__}.{name} was assigned")
        super().__setattr__(name, value)


class Conv(Watched, nn.Conv2d):
    pass


class Norm(Watched, nn.BatchNorm2d):
    pass


class Drop(Watched, nn.Dropout):
    pass


class Net(Watched):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm, self.drop = Conv(3, 8, 3, 2, 1), Norm(8), Drop(0.5)
        self.body, self.head = Conv(8, 8, 3, padding=1), Conv(8, 4, 3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.body(self.drop(self.norm(self.stem(x))))))


@contextmanager
def locked(net: nn.Module) -> Iterator[None]:
    Watched.locked = frozenset(map(id, net.modules()))
    try:
        yield
    finally:
        Watched.locked = frozenset()


def _lighten(net: nn.Module, **options: Any) -> Any:
    return cs.lighten(net, PICTURES, multiplier=1, timing=Timing(compiled=False), **options)


USES: dict[str, Callable[[nn.Module], Any]] = {
    "trace": lambda net: cs.trace(net, SIZE),
    "inspect": lambda net: cs.inspect(net, SIZE),
    "inspect by running": lambda net: cs.inspect(net, SIZE, run=True),
    "holes": lambda net: cs.inspect(net, SIZE).holes(),
    "latency": lambda net: cs.inspect(net, SIZE).latency(seconds=0.01, minimum=2),
    "sizes": lambda net: cs.inspect(net, SIZE).sizes(),
    "count_as": lambda net: cs.inspect(net, SIZE).count_as("thop"),
    "compare": lambda net: cs.inspect(net, SIZE).compare(cs.inspect(net, SIZE)),
    "effective": lambda net: cs.inspect(net, SIZE).effective(PICTURES),
    "effective_field": lambda net: effective_field(net, PICTURES),
    "dilate": lambda net: cs.dilate(net, SIZE, output_stride=1),
    "lighten": _lighten,
    "lighten by a loop": lambda net: _lighten(net, train=lambda student, teacher: teacher.train()),
    "lighten and train": lambda net: _lighten(
        net, train=[PICTURES], epochs=1, tuning=Tuning(control=False), run=Run(seed=1)
    ),
    "compile": lambda net: cs.compile(net, SIZE, threads=1)(torch.rand(1, 3, 9, 12)),
    "tile": lambda net: cs.tile(net, SIZE, tile=8).run(PICTURES[:1].numpy()),
}


@pytest.mark.parametrize("use", USES)
def test_nothing_is_assigned(use: str) -> None:
    net = Net().train()
    with locked(net):
        USES[use](net)
    assert all(module.training for module in net.modules())


SEEN: list[dict[str, Any]] = []


class Looks(nn.Module):
    """Looks from another thread at how PyTorch is set up, whenever it runs or is captured."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        SEEN.append(from_elsewhere())
        return self.conv(x)


def from_elsewhere() -> dict[str, Any]:
    """What a new thread reads of the settings of PyTorch: all that it has a getter for."""
    settings: dict[str, Any] = {}

    def read() -> None:
        for name in dir(torch._C):
            if name.startswith("_get_"):
                try:
                    value = getattr(torch._C, name)()
                except (TypeError, RuntimeError, AssertionError):
                    continue  # takes arguments, or is of another device
                if isinstance(value, bool | int | float | str):
                    settings[name] = value
        settings["threads"] = torch.get_num_threads()
        settings["dtype"] = torch.get_default_dtype()

    reader = Thread(target=read)
    reader.start()
    reader.join()
    return settings


@pytest.mark.parametrize("use", ["trace", "inspect", "compile", "tile", "effective_field"])
def test_pytorch_is_left_as_it_is(use: str) -> None:
    net = Looks().eval()
    before = from_elsewhere()
    assert before["_get_mkldnn_enabled"]
    SEEN.clear()
    USES[use](net)
    assert SEEN
    assert all(settings == before for settings in SEEN)


class OneSize(nn.Module):
    """Takes sizes that are numbers alone, as networks do whose captures take too long otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        if not all(type(length) is int for length in x.shape):
            raise TimeoutError("free sizes")
        return self.conv(x)


TAKES_TENSORS: dict[str, Callable[[nn.Module, Tensor], Any]] = {
    "trace": lambda net, x: cs.trace(net, x),
    "inspect": lambda net, x: cs.inspect(net, x, run=True),
    "dilate": lambda net, x: cs.dilate(net, x, output_stride=1),
    "compile": lambda net, x: cs.compile(net, x, threads=1)(x[..., 1:, :]),
    "call": lambda net, x: cs.compile(net, x[..., 1:, :].clone(), threads=1)(x),
    "calls": lambda net, x: [
        fast := cs.compile(net, (1, 3, 9, 9), threads=1),
        fast(x[..., :12]),
        fast(x),
        fast(x),
    ],
    "backend": lambda net, x: torch.compile(net, backend="convsmith")(x),
}


@pytest.mark.parametrize("net", [Net, OneSize])
@pytest.mark.parametrize("use", TAKES_TENSORS)
def test_marks_on_tensors_are_the_callers(use: str, net: type[nn.Module]) -> None:
    # `torch._dynamo.mark_dynamic` says for torch.compile which sizes of a tensor are free;
    # torch.export marks its inputs in the same way, and leaves the marks where it fails.
    plain, marked = torch.rand(2, 3, 16, 16), torch.rand(2, 3, 16, 16)
    torch._dynamo.mark_dynamic(marked, 0)
    torch._dynamo.maybe_mark_dynamic(marked, 3)
    before = dict(vars(marked))
    model = net().eval()
    for x in (plain, marked):
        TAKES_TENSORS[use](model, x)
    assert vars(plain) == {}
    assert vars(marked) == before
