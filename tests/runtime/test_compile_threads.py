"""Threads: the caller's, the kernels' own, and those of a child after a fork."""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

import convsmith as cs
from convsmith.machine import processors
from convsmith.runtime.execution.team import team


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 20, 3, 2, 1), nn.ReLU(), nn.Conv2d(20, 20, 3, 1, 1, groups=20),
        nn.Conv2d(20, 24, 1), nn.MaxPool2d(3, 2, 1), nn.Conv2d(24, 5, 1),
    ).eval()  # fmt: skip


def test_one_team_for_all():
    first, second = (cs.compile(network(i), (1, 3, 16, 16), threads=2) for i in range(2))
    assert first.regions[0].team is second.regions[0].team is team(2)
    assert first.regions[0].library is second.regions[0].library


def test_the_same_bits_for_any_number_of_threads_and_any_batch():
    x = torch.randn(3, 3, 37, 41)
    results = [cs.compile(network(), (1, 3, 16, 16), threads=n)(x) for n in (1, 2, 3)]
    fast = cs.compile(network(), (1, 3, 16, 16), threads=2)
    results.append(torch.cat([fast(image[None]) for image in x]))
    for other in results[1:]:
        assert torch.equal(results[0], other)


@pytest.mark.parametrize("threads", [2, 3])
def test_every_thread_has_rows(threads):
    """Also where a single one is more than a band should be."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 300, 1), nn.Conv2d(300, 300, 3, 1, 1, groups=300)).eval()
    x = torch.randn(1, 3, 17, 500)
    plan = cs.compile(net, x, threads=threads).regions[0].program(x).plan
    bands = [band for band in plan.bands if not band.border]
    for band in bands:
        height = plan.sizes[id(band.block)][0]
        assert (band.stop - band.start) % threads == 0 or band.stop == height
    assert max(band.stop - band.start for band in bands[1:]) < 17


def test_more_threads_than_processors():
    """Some come too late and find their share done, or the call over."""
    x = torch.randn(1, 3, 33, 29)
    wanted = cs.compile(network(), x, threads=1)(x)
    fast = cs.compile(network(), x, threads=4 * processors() + 1)
    for call in range(300):
        assert torch.equal(fast(x), wanted)
        if call % 3 == 0:
            time.sleep(0.0005 * (call % 7))


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("images", [2, 3, 5, 12])
def test_images_of_a_batch_are_shared_out(threads, images):
    x = torch.randn(images, 3, 33, 29)
    fast = cs.compile(network(), x, threads=threads)
    wanted = torch.cat([cs.compile(network(), x, threads=1)(image[None]) for image in x])
    for last in (torch.contiguous_format, torch.channels_last):
        for _ in range(20):
            assert torch.equal(fast(x.to(memory_format=last)), wanted)
    assert torch.equal(fast(x[:, :, :, ::2]), cs.compile(network(), x, threads=1)(x[:, :, :, ::2]))


def test_no_image_is_shared_out():
    fast = cs.compile(network(), (4, 3, 33, 29), threads=2)
    none = torch.empty(0, 3, 33, 29)
    assert fast(none).shape == network()(none).shape


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_many_callers(threads):
    """Of two networks, at sizes that are new to them, all at once."""
    networks = [cs.compile(network(i), (1, 3, 16, 16), threads=threads) for i in range(2)]
    inputs = [torch.randn(1 + i % 3, 3, 20 + 3 * (i % 7), 30) for i in range(24)]
    with torch.no_grad():
        wanted = [[network(i)(x) for x in inputs] for i in range(2)]
    with ThreadPoolExecutor(6) as pool:
        for _ in range(3):
            tasks = [(i, j) for j in range(len(inputs)) for i in range(2)]
            results = pool.map(lambda task: networks[task[0]](inputs[task[1]]), tasks)
            for (i, j), result in zip(tasks, results):
                torch.testing.assert_close(result, wanted[i][j], rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_child_after_a_fork_starts_its_own():
    fast = cs.compile(network(), (1, 3, 16, 16), threads=2)
    x = torch.randn(1, 3, 16, 16)
    wanted = fast(x)
    child = os.fork()
    if not child:
        status = 1
        try:
            status = 0 if torch.equal(fast(x), wanted) else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert torch.equal(fast(x), wanted)


@pytest.mark.skipif(sys.platform != "linux", reason="affinity is Linux's")
def test_processors_are_those_of_this_process(monkeypatch):
    assert processors() == len(os.sched_getaffinity(0))
    monkeypatch.delattr(os, "sched_getaffinity")
    assert processors() == os.cpu_count()
