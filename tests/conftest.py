"""Settings of every test run: hypothesis profiles, seeds, threads, and what a skip means."""

from __future__ import annotations

import os
import random
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any
from zlib import crc32

import hypothesis
import pytest
from hypothesis import HealthCheck, settings

from convsmith.machine import cpu_flags
from tests.chromium import chromium, open_page  # noqa: F401 (one browser for all rooms)
from tests.thoroughness import NIGHTLY, THOROUGH

SKIPS_FAIL = os.environ.get("CONVSMITH_NO_SKIP", "") not in ("", "0")

# too_slow is a stopwatch, and on a busy machine a stopwatch measures the machine.
_common: dict[str, Any] = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
# Every field that the two differ in is named in both: in CI hypothesis starts from other defaults.
settings.register_profile(
    "quick", max_examples=25, derandomize=True, database=None, print_blob=False, **_common
)
# What is tried for a change follows from the change: the same examples each time. A nightly run
# looks for others, from a seed.
settings.register_profile(
    "thorough",
    max_examples=200 if NIGHTLY else 50,
    derandomize=not NIGHTLY,
    database=None,
    print_blob=True,
    **_common,
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or "quick")


class _TorchRandom:
    """torch's generator in the shape hypothesis wants, so that a failing example replays."""

    def seed(self, value: int) -> None:
        sys.modules["torch"].manual_seed(value)

    def getstate(self) -> Any:
        return sys.modules["torch"].get_rng_state()

    def setstate(self, state: Any) -> None:
        sys.modules["torch"].set_rng_state(state)


# hypothesis keeps only a weak reference.
_torch_random: list[_TorchRandom] = []


@pytest.fixture(autouse=True, scope="session")
def _machine_code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep kernels for this run alone; the workers of a parallel run share them."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with pytest.MonkeyPatch.context() as patch:
        if "CONVSMITH_CACHE" not in os.environ:
            patch.setenv("CONVSMITH_CACHE", str(shared / "kernels"))
        yield


@pytest.fixture(autouse=True)
def _same_start() -> None:
    """Give each test the same seeds, and torch one thread: on small maps a second only waits.

    What is not imported yet is left alone: the tests of the torch-free rooms stay quick, and
    torch starts from a fixed seed of its own.
    """
    random.seed(0)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(0)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)
        torch.set_num_threads(1)
        if not _torch_random:
            _torch_random.append(_TorchRandom())
            hypothesis.register_random(_torch_random[0])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out a part of what is tried many times, by its name; all is in nightly runs.

    With AVX2, two of three tests where AVX-512 has each of them: random blocks and networks are run
    with both. In `make test` also three of four cases of each test that has four or more.
    """
    if NIGHTLY or len(items) < _MANY:
        return
    gone = set[int]()
    if "avx512f" in cpu_flags():
        gone |= {id(x) for x in items if _is_avx2(x) and crc32(x.nodeid.encode()) % 3}
    if not THOROUGH:
        gone |= _repetitions([item for item in items if id(item) not in gone])
    config.hook.pytest_deselected(items=[item for item in items if id(item) in gone])
    items[:] = [item for item in items if id(item) not in gone]


_MANY = 5000
"""Tests of a run of all: somebody who names some wants just those."""

_SEVERAL = 4
"""Of so many cases of a test, one is tried in `make test`."""


def _is_avx2(item: pytest.Item) -> bool:
    return getattr(getattr(item, "callspec", None), "params", {}).get("isa") == "avx2"


def _repetitions(items: Iterable[pytest.Item]) -> set[int]:
    """The identities of all but one in four cases of each test that has several."""
    tests: dict[str, list[pytest.Item]] = {}
    for item in items:
        tests.setdefault(item.nodeid.partition("[")[0], []).append(item)
    return {
        id(case)
        for name, cases in tests.items()
        for place, case in enumerate(cases, crc32(name.encode()))
        if len(cases) >= _SEVERAL and place % _SEVERAL
    }


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    report = yield
    if SKIPS_FAIL and report.skipped and not hasattr(report, "wasxfail"):
        reason = str(report.longrepr[2])
        # What can be installed must be there; instructions of a processor cannot be.
        if "this processor lacks " not in reason:
            _fail(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    report = yield
    if SKIPS_FAIL and report.skipped and not _deselected(collector):
        _fail(report)
    return report


def _fail(report: Any) -> None:
    _path, _line, reason = report.longrepr
    report.outcome = "failed"
    report.longrepr = f"{reason} (CONVSMITH_NO_SKIP: nothing may be skipped here)"


def _deselected(collector: pytest.Collector) -> bool:
    """Tell whether a module that skipped itself is one whose tests this run leaves out anyway."""
    source = collector.path.read_text(encoding="utf-8")
    is_zoo = re.search(r"^pytestmark\s*=\s*(\[[^\]]*\bzoo\b|.*\bzoo\b)", source, re.MULTILINE)
    wants_zoo = re.search(r"(?<!not )\bzoo\b", collector.config.option.markexpr)
    return bool(is_zoo) != bool(wants_zoo)
