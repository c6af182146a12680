"""Jobs: what another process is sent is data, and is judged before it is run."""

import io
import json
import zipfile

import numpy as np
import pytest
import torch

import convsmith as cs
from convsmith.errors import ArgumentError, ModelError
from convsmith.tiling.job import Job, run_unit
from tests.tiling.nets import UNet, shaken
from tests.tiling.test_engines import Here


@pytest.fixture
def job(tmp_path):
    """The folder of a job that was run once."""
    np.save(tmp_path / "in.npy", np.zeros((3, 32, 32), np.float32))
    tiled = cs.tile(shaken(UNet()), (1, 3, 8, 8), tile=16)
    tiled.run(str(tmp_path / "in.npy"), str(tmp_path / "out.npy"), executor=Here())
    return next((tmp_path / "out.npy.tiling").glob("job-*"))


def forged(job, target):
    """The same job with an operator of its program replaced, its digest as it should be."""
    parts = dict(Job.load(str(job)).parts)
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(parts["program"])) as old, zipfile.ZipFile(stream, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith("models/model.json"):
                document = json.loads(content)
                nodes = document["graph_module"]["graph"]["nodes"]
                nodes[0]["target"] = target
                content = json.dumps(document).encode()
            new.writestr(name, content)
    parts["program"] = stream.getvalue()
    return Job("forged", parts)


def test_a_job_opens_no_file_of_its_own_choice(job):
    Job.load(str(job)).worker()
    with pytest.raises(ModelError, match=r"'torch\.ops\.aten\.from_file\.default' opens a file"):
        run_unit(forged(job, "torch.ops.aten.from_file.default"), (0, 0, 0))
    with pytest.raises(ModelError, match=r"the program of job forged is not opened: 'os\.system'"):
        run_unit(forged(job, "os.system"), (0, 0, 0))


def test_what_others_would_refuse_is_not_sent(tmp_path, monkeypatch):
    np.save(tmp_path / "in.npy", np.zeros((3, 32, 32), np.float32))
    executor = Here()
    monkeypatch.setattr("convsmith.network.stored.program.refusal", lambda name: "is not known")
    with pytest.raises(ModelError, match=r"as other processes would get it, is not opened: 'torch"):
        cs.tile(shaken(UNet()), (1, 3, 8, 8), tile=16).run(
            str(tmp_path / "in.npy"), str(tmp_path / "out.npy"), executor=executor
        )
    assert not executor.calls


def test_windows_of_a_network_whose_axes_are_lost_are_refused():
    class Strange(torch.nn.Module):
        def forward(self, x):
            return torch.ops.convsmith_test.twice(x)

    with torch.library._scoped_library("convsmith_test", "DEF") as library:
        library.define("twice(Tensor x) -> Tensor")
        library.impl("twice", lambda x: x * 2, "CompositeExplicitAutograd")
        tiled = cs.tile(Strange(), (1, 3, 8, 8), tile=8, mode="window")
        with pytest.raises(ArgumentError, match=r"Strange cannot be run in windows: .*axes"):
            tiled.run(np.zeros((3, 32, 32), np.float32))
