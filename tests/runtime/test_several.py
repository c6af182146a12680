"""Random networks of several inputs and outputs: as float64 has them, in any state, beside threads.

`CONVSMITH_NETWORKS=3000` tries so many; `CONVSMITH_SEED` is the first one.
"""

from __future__ import annotations

import os
from threading import Event, Thread
from typing import Any

import pytest

pytest.importorskip("halide")

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from convsmith.kernels.isa import ISAS
from convsmith.runtime.lowering.table import LOWERINGS
from tests.runtime import several
from tests.runtime.several.checks import called, compiled, is_here
from tests.runtime.test_states_of_torch import STATES
from tests.thoroughness import thinned

COUNT = int(os.environ.get("CONVSMITH_NETWORKS") or 10)
# A nightly run tries others; a failure names its seed.
FIRST = int(os.environ.get("CONVSMITH_SEED") or 0)
EACH = 5
ABLE = [name for name in ISAS if is_here(name)]


@pytest.mark.parametrize("place", thinned(range(0, COUNT, EACH), every=2))
def test_as_float64(place: int) -> None:
    for seed in range(FIRST + place, FIRST + min(place + EACH, COUNT)):
        several.agree(several.sample(seed), ABLE, 1 + seed % 3)


@pytest.mark.parametrize("seed", range(3))
def test_states_of_torch(seed: int) -> None:
    """The bits of a call do not depend on the state that it is made in."""
    sample = several.sample(FIRST + seed)
    model = sample.model()
    fast = compiled(sample, model, ABLE[-1], 2)
    expected = [called(fast, inputs)[0] for inputs in sample.sets]
    for state, enter in STATES.items():
        for inputs, right in zip(sample.sets, expected, strict=True):
            with enter():
                found = called(fast, inputs)[0]
            if state == "autocast":
                with torch.no_grad(), enter():
                    right = called(model, inputs)[0]
            assert _same(found, right), f"{state}\n{sample}"


@pytest.mark.parametrize("seed", range(2))
def test_threads_beside_the_original(seed: int) -> None:
    """Sixteen threads call the compiled network and its original, at sizes that are new to it."""
    sample = several.sample(FIRST + seed)
    model = sample.model()
    single = compiled(sample, sample.model(), ABLE[-1], 1)
    expected = [called(single, inputs)[0] for inputs in sample.sets]
    with torch.no_grad():
        original = [called(model, inputs)[0] for inputs in sample.sets]
    fast = compiled(sample, model, ABLE[-1], 2)
    wrong: list[Any] = []
    start = Event()

    def call(network: Any, rights: list[Any], number: int) -> None:
        # Else PyTorch's first operation in a thread takes the usual number of threads, not the one
        # that was set, and rounds otherwise: with the original alone, too.
        torch.get_num_threads()
        start.wait()
        try:
            for turn in range(8):
                which = (turn + number) % len(sample.sets)
                with torch.no_grad():
                    found = called(network, sample.sets[which])[0]
                if not _same(found, rights[which]):
                    wrong.append((which, type(network).__name__))
        except BaseException as error:
            wrong.append(error)

    threads = [Thread(target=call, args=(fast, expected, number)) for number in range(8)]
    threads += [Thread(target=call, args=(model, original, number)) for number in range(8)]
    for thread in threads:
        thread.start()
    start.set()
    for thread in threads:
        thread.join()
    assert not wrong, f"{wrong[:3]}\n{sample}"


@pytest.mark.slow
def test_the_steps_reach_every_lowering() -> None:
    kinds: set[str] = set()
    for seed in range(200):
        if kinds >= set(LOWERINGS):
            return
        sample = several.sample(seed)
        network = compiled(sample, sample.model(), ABLE[-1], 1).network
        kinds |= {layer.kind for layer in network}
    assert not set(LOWERINGS) - kinds


def _same(found: Any, right: Any) -> bool:
    pairs = zip(tree_leaves(found), tree_leaves(right), strict=True)
    return all(_equal(one, other) for one, other in pairs)


def _equal(one: Tensor, other: Tensor) -> bool:
    if (one.shape, one.dtype, one.device) != (other.shape, other.dtype, other.device):
        return False
    return torch.equal(one.nan_to_num(1e30), other.nan_to_num(1e30)) and torch.equal(
        one.isnan(), other.isnan()
    )
