"""Engines: processes and clusters compute the same units, each sent once."""

import multiprocessing
from concurrent.futures import Executor, Future, ProcessPoolExecutor

import numpy as np
import pytest
import torch

import convsmith as cs
from convsmith.errors import DataError
from convsmith.tiling.engines import on_client
from tests.tiling.nets import Squeeze, UNet, shaken, whole

zarr = pytest.importorskip("zarr")


@pytest.fixture
def source(tmp_path):
    image = np.random.default_rng(1).random((3, 61, 83), dtype=np.float32)
    np.save(tmp_path / "in.npy", image)
    return str(tmp_path / "in.npy")


class Here(Executor):
    """An executor that runs what it is given at once, and notes how much was in flight."""

    def __init__(self):
        self.calls = []

    def submit(self, function, *args):
        self.calls.append(args)
        future = Future()
        try:
            future.set_result(function(*args))
        except Exception as error:
            future.set_exception(error)
        return future


@pytest.mark.parametrize("passes", [False, True])
def test_any_executor(tmp_path, source, passes):
    model = Squeeze().eval() if passes else shaken(UNet())
    path = str(tmp_path / "out.zarr")
    executor = Here()
    tiled = cs.tile(model, (1, 3, 8, 8), tile=16, passes=passes)
    outcome = tiled.run(source, path, executor=executor, where=np.ones((5, 5)))
    assert outcome.complete and len(executor.calls) == 24
    assert all(isinstance(job, str) for job, _ in executor.calls)  # a folder, not the model
    expected = whole(model, torch.from_numpy(np.load(source)))
    assert abs(zarr.open_array(path)[...] - expected).max() < 1e-5


def test_windows_travel_too(tmp_path, source):
    model = shaken(UNet())
    tiled = cs.tile(model, (1, 3, 8, 8), tile=32, mode="window")
    here = tiled.run(source).array
    away = tiled.run(source, str(tmp_path / "out.npy"), executor=Here())
    assert abs(np.load(tmp_path / "out.npy") - here).max() < 1e-6 and away.complete


@pytest.mark.slow
def test_processes(tmp_path, source):
    model = shaken(UNet())
    path = str(tmp_path / "out.zarr")
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as executor:
        outcome = cs.tile(model, (1, 3, 8, 8), tile=16).run(source, path, executor=executor)
    assert outcome.complete
    expected = whole(model, torch.from_numpy(np.load(source)))
    assert abs(zarr.open_array(path)[...] - expected).max() < 1e-5


def test_a_worker_that_dies_is_one_line(tmp_path, source):
    class Dying(Here):
        def submit(self, function, *args):
            if len(self.calls) == 7:
                future = Future()
                future.set_exception(BrokenPipeError("a process in the pool was terminated"))
                return future
            return super().submit(function, *args)

    path = str(tmp_path / "out.zarr")
    tiled = cs.tile(shaken(UNet()), (1, 3, 8, 8), tile=16)
    with pytest.raises(DataError, match=r"a worker failed .*run the same again with resume"):
        tiled.run(source, path, executor=Dying())
    assert 0 < tiled.run(source, path, resume=True).resumed < 24


def test_masks_travel_and_what_was_changed_on_the_way_is_refused(tmp_path, source):
    class Tampering(Here):
        def submit(self, function, where, unit):
            with open(f"{where}/job", "ab") as file:
                file.write(b" ")
            return super().submit(function, where, unit)

    mask = np.zeros((61, 83), bool)
    mask[7:30, 11:71] = True
    tiled = cs.tile(shaken(UNet()), (1, 3, 8, 8), tile=16)
    here = tiled.run(source, where=mask).array
    away = tiled.run(source, str(tmp_path / "a.npy"), where=mask, executor=Here())
    assert abs(np.asarray(away.array) - here).max() < 1e-6
    with pytest.raises(DataError, match="is not what was written there"):
        tiled.run(source, str(tmp_path / "b.npy"), where=~mask, executor=Tampering())


def test_what_other_processes_cannot_have(tmp_path, source):
    tiled = cs.tile(shaken(UNet()), (1, 3, 8, 8), tile=16)
    with pytest.raises(cs.ConvsmithError, match="an array in memory cannot be read by other"):
        tiled.run(np.load(source), str(tmp_path / "a.zarr"), executor=Here())
    with pytest.raises(cs.ConvsmithError, match="other processes cannot write to memory"):
        tiled.run(source, executor=Here())

    class Own:
        keeps_channels = True

        def dtype(self, output, channels):
            return output

        def __call__(self, output):
            return output

    assert tiled.run(source, reduce=Own()).array.shape == (4, 61, 83)
    with pytest.raises(cs.ConvsmithError, match="Own is a reducer of your own"):
        tiled.run(source, str(tmp_path / "b.zarr"), reduce=Own(), executor=Here())
    for bad in ({"workers": 0}, {"workers": 2, "executor": Here()}, {"client": 3}):
        with pytest.raises(
            cs.ConvsmithError, match=r"workers must|pass one of|takes a distributed"
        ):
            tiled.run(source, str(tmp_path / "c.zarr"), force=True, **bad)


@pytest.fixture
def client():
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def test_a_dask_cluster(tmp_path, source, client):
    model = shaken(UNet())
    path = str(tmp_path / "out.zarr")
    outcome = cs.tile(model, (1, 3, 8, 8), tile=16).run(source, path, client=client)
    assert outcome.complete and outcome.computed == 24
    expected = whole(model, torch.from_numpy(np.load(source)))
    assert abs(zarr.open_array(path)[...] - expected).max() < 1e-5


@pytest.mark.slow
def test_the_scheduler_holds_a_few_tasks(client, monkeypatch):
    """Graphs of all tiles explode; here so many tasks as threads can use are known at once."""
    import psutil

    monkeypatch.setattr("convsmith.tiling.engines.run_unit", _nothing)
    scheduler, most = client.cluster.scheduler, 0
    process = psutil.Process()
    for number, _ in enumerate(on_client(client, "job", ((0, i) for i in range(4000)))):
        most = max(most, len(scheduler.tasks))
        if number == 500:
            before = process.memory_info().rss
    assert most <= 2 * 2 + 4
    assert process.memory_info().rss - before < 50 * 2**20


def _nothing(job, unit):
    return unit
