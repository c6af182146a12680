"""Calls in C: what they give is what Python gives, and what is not theirs goes to Python."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import convsmith as cs
from convsmith.network.lock import LOCK
from convsmith.runtime.compiled import Compiled
from convsmith.runtime.graph.asked import asked

pytestmark = pytest.mark.skipif(not asked(), reason="this PyTorch has no interface for C")


class Sum(nn.Module):
    """Two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Conv2d(3, 5, 3, padding=1), nn.Conv2d(2, 5, 1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.relu(self.one(x) + self.other(y))


class Marked(nn.Module):
    """Holds a list, which is no dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.scale = nn.Conv2d(3, 4, 3), [2.0]

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) * self.scale[0]


NETWORKS: dict[str, tuple[Callable[[], nn.Module], list[tuple[int, ...]]]] = {
    "convolution": (lambda: nn.Conv2d(3, 7, 3), [(1, 3, 9, 11)]),
    "a batch": (lambda: nn.Sequential(nn.Conv2d(3, 7, 3), nn.ReLU()), [(3, 3, 5, 8)]),
    "one pixel": (lambda: nn.Conv2d(3, 7, 3, padding=1), [(2, 3, 1, 1)]),
    "two inputs": (Sum, [(2, 3, 6, 7), (2, 2, 6, 7)]),
    "vectors": (lambda: nn.Sequential(nn.Linear(5, 6), nn.GELU(), nn.Linear(6, 3)), [(4, 5)]),
    "lines": (lambda: nn.Conv1d(3, 4, 5, padding=2), [(2, 3, 17)]),
    "no dictionary": (Marked, [(2, 3, 6, 7)]),
    "a class": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)
        ),
        [(2, 3, 9, 9)],
    ),
}


def _made(name: str, threads: int = 1, frozen: bool = False) -> tuple[Compiled, list[Tensor]]:
    """A network that has been called twice with inputs of this form, as often as Python has to."""
    torch.manual_seed(0)
    make, shapes = NETWORKS[name]
    inputs = [torch.randn(shape) for shape in shapes]
    fast = cs.compile(make().eval(), inputs, threads=threads, frozen=frozen)
    for _ in range(2):
        fast(*inputs)
    return fast, inputs


def _by_python(fast: Compiled, *inputs: Tensor) -> Tensor:
    quick, fast._quick = fast._quick, None
    found: Tensor = fast(*inputs)
    fast._quick = quick
    return found


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_same_bits(
    name: str, threads: int, frozen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast, inputs = _made(name, threads, frozen)
    if fast.in_one_region:
        assert (fast._quick is not None) == (threads == 1 or len(inputs[0]) == 1)
    fresh = [[torch.randn_like(each) for each in inputs] for _ in range(3)]
    expected = [_by_python(fast, *some) for some in fresh]
    if fast._quick is not None:
        monkeypatch.setattr(Compiled, "_variant", None)  # Python is not asked
    found = [fast(*some) for some in fresh]
    assert all(map(torch.equal, found, expected))
    assert len({each.data_ptr() for each in found}) == len(found)
    assert all(a.stride() == b.stride() for a, b in zip(found, expected, strict=True))


IMAGES: dict[str, Callable[[Tensor], Tensor]] = {
    "the same": lambda x: x,
    "a parameter": nn.Parameter,
    "with a gradient": lambda x: x.clone().requires_grad_() * 2,
    "channels last": lambda x: x.to(memory_format=torch.channels_last),
    "with gaps": lambda x: x.repeat(1, 1, 1, 2)[..., ::2],
    "transposed": lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
    "shifted": lambda x: torch.cat([x.flatten(), x.flatten()])[3 : 3 + x.numel()].view(x.shape),
    "negative": lambda x: torch._neg_view(x),
    "another size": lambda x: torch.randn(1, 3, 12, 10),
    "another batch": lambda x: torch.randn(4, 3, 9, 11),
    "no images": lambda x: torch.randn(0, 3, 9, 11),
    "expanded": lambda x: torch.randn(1, 3, 1, 1).expand(1, 3, 9, 11),
}


@given(names=st.lists(st.sampled_from(sorted(IMAGES)), min_size=1, max_size=6))
def test_whatever_comes_next(names: list[str]) -> None:
    fast, _ = _made("convolution")
    model: Any = fast._source.model
    for name in names:
        image = IMAGES[name](torch.randn(1, 3, 9, 11))
        with torch.no_grad():
            expected = model(image)
        found = fast(image)
        assert found.shape == expected.shape and not found.requires_grad
        assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("wrong", [torch.zeros(1, 3, 9, 11).double(), torch.zeros(3), "image", 3])
def test_errors_are_those_of_python(wrong: Any) -> None:
    fast, (image,) = _made("convolution")
    for inputs, named in (((wrong,), {}), ((image, image), {}), ((), {}), ((image,), {"x": image})):
        with pytest.raises(Exception) as quick:  # noqa: PT011 (which one is compared)
            fast(*inputs, **named)
        with pytest.raises(type(quick.value)) as slow:
            _made("convolution")[0](*inputs, **named)
        assert str(quick.value) == str(slow.value)


class _Seen(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


class _Passing(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


def test_what_torch_wants_to_see() -> None:
    fast, (image,) = _made("convolution")
    expected = fast(image)
    with _Seen() as mode:
        assert torch.equal(fast(image), expected)
    assert any("convsmith" in name for name in mode.names)
    with torch.inference_mode():
        assert fast(image).is_inference()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert fast(image).dtype == torch.bfloat16
    with torch.device("meta"), _Passing():
        assert torch.equal(fast(image), expected)
    with pytest.raises(cs.ConvsmithError):
        torch.vmap(fast)(image[None])
    assert torch.equal(fast(image), expected)


def test_results_are_apart_and_inputs_unchanged() -> None:
    fast, (image,) = _made("convolution")
    copy, first = image.clone(), fast(image)
    kept = first.clone()
    second = fast(image * 2)
    assert torch.equal(first, kept) and not torch.equal(first, second)
    assert torch.equal(image, copy)


@pytest.mark.parametrize("name", ["convolution", "a batch", "no dictionary"])
def test_many_threads(name: str) -> None:
    fast, inputs = _made(name, threads=1)
    images = [torch.randn_like(inputs[0]) for _ in range(8)]
    expected = [_by_python(fast, image) for image in images]

    def calls(number: int) -> bool:
        return all(torch.equal(fast(images[number]), expected[number]) for _ in range(300))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(calls, range(8)))


def test_taken_away_by_another_thread_between_two_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    fast, (image,) = _made("convolution")
    expected = fast(image)

    def take_away() -> bool:
        fast._quick = None
        return False

    monkeypatch.setattr("convsmith.runtime.compiled._is_special", take_away)
    assert torch.equal(fast(image), expected)


def test_no_call_waits_for_a_capture() -> None:
    fast, (image,) = _made("convolution")
    expected = fast(image)
    fast._quick = None
    with LOCK, ThreadPoolExecutor(1) as pool:  # as a capture has it
        found = [pool.submit(fast, image).result(timeout=60) for _ in range(6)]
        assert fast._quick is None
    assert all(torch.equal(each, expected) for each in found)
    for _ in range(2):
        fast(image)
    assert fast._quick is not None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("threads", [1, 2])
def test_after_a_fork(threads: int) -> None:
    fast, (image,) = _made("convolution", threads)
    expected = fast(image)
    child = os.fork()
    if not child:
        os._exit(0 if all(torch.equal(fast(image), expected) for _ in range(3)) else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_a_destructor_that_calls_it() -> None:
    fast, (image,) = _made("convolution")
    expected, found = fast(image), []

    class Calls:
        def __del__(self) -> None:
            found.append(fast(image))

    for _ in range(50):
        loop: list[Any] = [Calls()]
        loop.append(loop)
        del loop
        assert torch.equal(fast(image), expected)
    import gc

    gc.collect()
    assert len(found) == 50 and all(torch.equal(each, expected) for each in found)


def test_without_what_pytorch_offers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convsmith.runtime.shortcut._host", lambda: None)
    monkeypatch.setattr("convsmith.runtime.shortcut._method", lambda executor: None)
    monkeypatch.setattr("convsmith.runtime.graph.watch.asked", lambda: 0)
    fast, (image,) = _made("convolution")
    assert fast._quick is None
    model: Any = fast._source.model
    model.weight.data = model.weight.data.transpose(2, 3)
    with torch.no_grad():
        assert torch.allclose(fast(image), model(image), atol=1e-5)
