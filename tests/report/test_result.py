"""Every result of every room can do the same five things; a new one is found by itself."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import FrozenInstanceError, dataclass, fields, is_dataclass
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import convsmith as cs
from convsmith.report import Result, Table, plain

ROOMS = ("measure", "rewrite", "runtime")


def _modules() -> Iterator[Any]:
    for info in walk_packages(cs.__path__, "convsmith."):
        # What runs when imported is no module of results.
        if not re.search(r"__main__|\.lessons\.|\.explore", info.name):
            yield import_module(info.name)


def _subclasses(base: type = Result) -> Iterator[type]:
    for kind in base.__subclasses__():
        module = import_module(kind.__module__)
        # With slots, a dataclass is made anew from the class that stood there: only one counts.
        if module.__name__.startswith("convsmith.") and vars(module).get(kind.__name__) is kind:
            yield kind
        yield from _subclasses(kind)


def _net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, 1, 2, 2),
        nn.ReLU(), nn.Conv2d(8, 8, 3, 1, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
    ).eval()  # fmt: skip


@pytest.fixture(scope="module")
def instances(tmp_path_factory: pytest.TempPathFactory) -> Mapping[type, Any]:
    """One real instance of every result, by its class."""
    pytest.importorskip("pandas")
    for module in _modules():
        assert module
    model, shape = _net(), (1, 3, 16, 16)
    images = torch.randn(16, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    report = cs.inspect(model, shape)
    assert report.network is not None
    dilated = cs.dilate(model[:6], shape, output_stride=1)
    lightened = cs.lighten(model, images, multiplier=1, run=cs.rewrite.Run(evaluate=lambda _: 0.5))
    compiled = cs.compile(model, torch.zeros(shape))
    profile = compiled.profile(rounds=1)
    holes = report.holes("3")
    found: list[Any] = [
        report, report.layers[0], report.receptive_field, holes, report.memory, report.sizes(),
        report.latency(seconds=0.01), report.compare(report), report.count_as("torch"),
        report.effective(images[:2]), cs.measure.cost(report.network["0"]),
        cs.measure.latency({"sum": lambda: sum(range(9))}, seconds=0.001)["sum"],
        cs.measure.gridding([2, 2]), dilated, dilated.certificate, dilated.certificate.before,
        dilated.certificate.equalities[0], dilated.certificate.changes[0], lightened,
        lightened.report, lightened.report.original, lightened.report.layers[0], profile,
        *profile.blocks[:1],
    ]  # fmt: skip
    tiled, picture = cs.tile(model[:6], shape, tile=8), images[0].numpy()
    outcome = tiled.run(picture)
    found += [outcome, outcome.plan, tiled.compare(picture, window=8)]
    exported = cs.export(model[:6], shape, tmp_path_factory.mktemp("exported") / "net.cvs")
    folder = tmp_path_factory.mktemp("library") / "net"
    library = cs.export(model[:6], shape, folder, target="x86-64-v3", check=False)
    found += [compiled.compare(images[:2]), exported, library]
    from convsmith.cli.bench import RuntimeComparison, RuntimeFigures
    from convsmith.rewrite.lightening.report import Point, Step
    from convsmith.runtime.origins import Origin

    torch_alone = RuntimeFigures("torch", 1.0, 0.9, 1.1, 1.0, 0.0)
    found += [
        torch_alone, RuntimeComparison("net", shape, 1, (torch_alone,), "nothing to do"),
        Step("decomposed", 0.1, 0.9), Point(2.0, 1.0, 1.1, 0.1),
        Origin("stem.2", ("stem.0", "stem.2"), 0.01, 0.5),
    ]  # fmt: skip
    return {type(each): each for each in found}


def test_every_result_has_an_instance_here(instances: Mapping[type, Any]) -> None:
    assert {kind.__name__ for kind in set(_subclasses()) - set(instances)} == set()


def test_what_the_rooms_export_as_frozen_data_is_a_result() -> None:
    others = {
        f"{room}.{name}"
        for room in ROOMS
        for name in import_module(f"convsmith.{room}").__all__
        if is_dataclass(kind := getattr(import_module(f"convsmith.{room}"), name))
        and kind.__dataclass_params__.frozen
        and not issubclass(kind, Result)
    }
    assert others == set(ALLOWED), "derive it from report.Result"


# Settings that a user passes in, and an event that a function of theirs is called with.
ALLOWED = {"rewrite.Epoch", "rewrite.Run", "rewrite.Timing", "rewrite.Tuning"}


@pytest.mark.parametrize(
    "check",
    ["frozen", "repr", "str", "dict", "pandas", "html", "csv"],
)
def test_all_of_them_can(check: str, instances: Mapping[type, Any]) -> None:
    for kind, result in instances.items():
        try:
            CHECKS[check](result)
        except Exception as error:
            raise AssertionError(f"{kind.__module__}.{kind.__qualname__}: {check}") from error


def _frozen(result: Any) -> None:
    name = fields(result)[0].name
    with pytest.raises(FrozenInstanceError):
        setattr(result, name, None)


def _repr(result: Any) -> None:
    line = repr(result)
    assert line.startswith(f"{type(result).__name__}(") and line.endswith(")")
    assert "\n" not in line and len(line) < 400


def _text(result: Any) -> None:
    assert str(result).strip()
    assert isinstance(result.table(), Table)
    assert str(result.table()).strip()


def _dict(result: Any) -> None:
    data = result.to_dict()
    assert data
    text = json.dumps(data, allow_nan=False)
    assert json.loads(text) == data
    assert plain(data) == data


def _pandas(result: Any) -> None:
    frame = result.to_pandas()
    assert list(frame.columns)
    assert all(isinstance(name, str) for name in frame.columns)


def _html(result: Any) -> None:
    html = result._repr_html_()
    assert re.match(r"\s*<(style|figure|div|svg)", html)
    assert "object at 0x" not in html


def _csv(result: Any) -> None:
    assert result.to_csv().endswith("\r\n")


CHECKS: dict[str, Callable[[Any], None]] = {
    "frozen": _frozen, "repr": _repr, "str": _text, "dict": _dict, "pandas": _pandas,
    "html": _html, "csv": _csv,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Made(Result):
    size: tuple[int, ...]
    share: float
    name: str
    left: Fraction = Fraction(1, 2)


def test_a_result_of_ones_own() -> None:
    made = _Made((3, 5), float("nan"), "a\nb")
    assert made.to_dict() == {"size": [3, 5], "share": None, "name": "a\nb", "left": 0.5}
    assert not hasattr(made, "__dict__")
    assert made.table().rows == (((3, 5), pytest.approx(float("nan"), nan_ok=True), "a\nb",
                                  Fraction(1, 2)),)  # fmt: skip
    assert "3×5" in str(made)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ((1, (2, 3)), [1, [2, 3]]),
        ({1: {2}, "a": frozenset()}, {"1": [2], "a": []}),
        (float("inf"), None),
        (np.float32("nan"), None),
        (np.arange(3), [0, 1, 2]),
        (np.int64(3), 3),
        (torch.ones(2), [1.0, 1.0]),
        (Fraction(4, 2), 2),
        (Path("a") / "b", "a/b"),
        (True, True),
        (None, None),
        (_Made((1,), 0.5, ""), {"size": [1], "share": 0.5, "name": "", "left": 0.5}),
    ],
)
def test_plain(value: object, expected: object) -> None:
    assert plain(value) == expected
    assert json.loads(json.dumps(plain(value), allow_nan=False)) == expected


def test_plain_refuses_what_json_has_no_word_for() -> None:
    with pytest.raises(TypeError, match="object has no place in a JSON report"):
        plain(object())
