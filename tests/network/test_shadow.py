"""A shadow computes what its model computes, and nothing done to it reaches the model."""

from __future__ import annotations

import weakref
from argparse import Namespace
from collections import OrderedDict, UserDict, UserList, namedtuple
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from convsmith.network.shadow import shadow
from tests.networks import Everything, mobilenet_v2, resnet18


class Cached(nn.Module):
    """Stores what it computes in every place that Python has for it."""

    Pair = namedtuple("Pair", "left right")

    class Box:
        def __init__(self) -> None:
            self.value: Tensor | None = None

    class Slotted:
        __slots__ = ("value",)

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.slotted = self.Slotted()
        self.features: list[Tensor] = []
        self.by_size: dict[str, Tensor] = {}
        self.box = self.Box()
        self.space, self.names = SimpleNamespace(value=None), Namespace(value=None)
        self.user_dict: UserDict[str, Tensor] = UserDict()
        self.user_list: UserList[Tensor] = UserList()
        self.pair = self.Pair([], {})
        self.nested = {"list": [OrderedDict()]}
        self.bound = self.conv.forward
        self.partial = partial(self._scaled, scale=2)
        self.back = weakref.ref(self)
        kept = self.features
        self.closure = lambda x: kept.append(x) or self.conv(x)
        self.conv.register_forward_hook(lambda module, args, result: kept.append(result))

    def _scaled(self, x: Tensor, scale: int) -> Tensor:
        self.last = x
        return scale * x

    def forward(self, x: Tensor) -> Tensor:
        y = self.bound(x) + self.closure(x) + self.partial(self.conv(x))
        self.by_size["y"] = self.box.value = self.slotted.value = y
        self.space.value = self.names.value = self.user_dict["y"] = y
        self.user_list.append(y)
        self.pair.left.append(y)
        self.pair.right["y"] = y
        self.nested["list"][0]["y"] = y
        owner = self.back()
        assert owner is not None
        owner.found = y
        return y


def everything(value: object, seen: set[int] | None = None) -> list[Tensor]:
    """All tensors that can be reached from a value, parameters among them."""
    seen = set() if seen is None else seen
    if id(value) in seen:
        return []
    seen.add(id(value))
    if isinstance(value, Tensor):
        return [value]
    parts: list[object] = []
    if isinstance(value, dict):
        parts += value.values()
    elif isinstance(value, (list, tuple, set)):
        parts += value
    parts += [c.cell_contents for c in getattr(value, "__closure__", None) or ()]
    parts += getattr(value, "__dict__", {}).values()
    parts += [getattr(value, name, None) for name in getattr(type(value), "__slots__", ())]
    return [tensor for part in parts for tensor in everything(part, seen)]


def test_what_a_pass_stores_does_not_reach_the_model() -> None:
    model = Cached().eval()
    before = everything(model)
    image = torch.rand(1, 3, 8, 8)
    copied = shadow(model)
    result = copied(image)
    assert everything(model) == before
    assert sorted(vars(model)) == sorted(vars(Cached()))
    torch.testing.assert_close(result, model(image), rtol=0, atol=0)


def test_flags_and_modules_are_its_own_and_tensors_are_shared() -> None:
    model = Cached()
    copied = shadow(model)
    assert model.training and model.conv.training
    assert not copied.training and not copied.conv.training
    ours, theirs = dict(model.named_modules()), dict(copied.named_modules())
    assert list(ours) == list(theirs)
    assert not {id(m) for m in ours.values()} & {id(m) for m in theirs.values()}
    assert all(a is b for a, b in zip(model.parameters(), copied.parameters()))
    assert copied.back() is copied
    copied.conv.weight = nn.Parameter(torch.zeros(1))
    assert model.conv.weight.shape == (4, 3, 3, 3)


@pytest.mark.parametrize("make", [mobilenet_v2, resnet18, Everything])
def test_a_shadow_computes_the_same(make: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    model, image = make().eval(), torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(shadow(model)(image), model(image), rtol=0, atol=0)


@pytest.mark.parametrize(
    "change",
    [
        parametrizations.weight_norm,
        parametrizations.spectral_norm,
        lambda conv: prune.l1_unstructured(conv, "weight", 0.5),
        lambda conv: torch.fx.symbolic_trace(nn.Sequential(conv)),
        lambda conv: torch.nn.utils.weight_norm(conv),
    ],
)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_changed_modules(change: object) -> None:
    model = change(nn.Conv2d(3, 4, 3)).eval()  # type: ignore[operator]
    image, keys = torch.rand(1, 3, 8, 8), list(model.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(shadow(model)(image), model(image), rtol=0, atol=0)
    assert list(shadow(model).state_dict()) == keys == list(model.state_dict())


def test_a_shared_module_stays_shared() -> None:
    conv = nn.Conv2d(3, 3, 3)
    copied = shadow(nn.Sequential(conv, nn.ReLU(), conv))
    assert copied[0] is copied[2]


def test_a_lazy_layer_stays_lazy() -> None:
    model = nn.LazyConv2d(4, 3)
    shadow(model)(torch.rand(1, 3, 8, 8))
    assert model.has_uninitialized_params()


def test_script_is_shared() -> None:
    model = torch.jit.script(nn.Conv2d(3, 4, 3))
    assert shadow(nn.Sequential(model))[0] is model
