"""What users of other tools met: each with a small input, held against the whole image."""

import os

import numpy as np
import pytest
import torch
from torch import nn

import convsmith as cs
from tests.tiling.nets import differs, whole

zarr = pytest.importorskip("zarr")


@pytest.mark.parametrize("tile", [8, 12])
@pytest.mark.parametrize("workers", [1, 2])
def test_tiles_smaller_than_a_shard(tile, workers, tmp_path):
    """zarr-python 3682, dask 12583: a shard that two write loses a third of its values."""
    target = zarr.create_array(str(tmp_path / "t.zarr"), shape=(40, 40), dtype="uint8",
                               chunks=(8, 8), shards=(16, 16))  # fmt: skip
    model = nn.Conv2d(1, 3, 3, padding=1)
    image = np.random.default_rng(0).random((40, 40), dtype=np.float32)
    outcome = cs.tile(model, (1, 1, 8, 8), tile=tile).run(
        image, target, reduce="argmax", workers=workers
    )
    assert outcome.plan.unit == (16, 16)
    assert any("a shard has one writer" in note for note in outcome.plan.notes)
    assert (target[...] == whole(model, torch.from_numpy(image)[None]).argmax(0)).mean() > 0.999


class Positive(nn.Module):
    """Its output is never 0."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv3d(1, 1, 3, padding=1)

    def forward(self, x):
        return self.conv(x).sigmoid() + 1


def test_no_voxel_is_left_unwritten(tmp_path):
    """ngff-zarr 592: three quarters of a volume in shards stayed 0, and success was reported."""
    volume = np.random.default_rng(0).integers(1, 256, (1, 1, 40, 64, 96), dtype=np.uint8)
    outcome = cs.tile(Positive(), (1, 1, 8, 8, 8), tile=16).run(
        volume, str(tmp_path / "v.zarr"), shard=32
    )
    assert outcome.complete and outcome.units == 2 * 2 * 3
    assert (zarr.open_array(str(tmp_path / "v.zarr"))[...] > 0).all()


def test_a_decoder_without_attention_is_exact():
    """taesd 8: its field is bounded, so that tiles can be exact; overlap only hides the seams."""
    layers = [nn.Upsample(scale_factor=2), nn.Conv2d(4, 4, 3, padding=1), nn.SiLU()] * 3
    assert differs(nn.Sequential(*layers), torch.rand(4, 20, 24), tile=24) < 1e-5


def test_a_sparse_slide_takes_a_sparse_share(tmp_path):
    """tiatoolbox 988: zeros were computed and stored where no tissue is."""
    image = np.random.default_rng(0).random((1, 1000, 1000), dtype=np.float32)
    mask = np.zeros((100, 100), bool)
    mask[40:50, 40:50] = True
    tiled = cs.tile(nn.Conv2d(1, 2, 3, padding=1), (1, 1, 8, 8), tile=50)
    dense, sparse = (str(tmp_path / f"{name}.zarr") for name in ("dense", "sparse"))
    tiled.run(image, dense)
    outcome = tiled.run(image, sparse, where=mask, fill=-1)
    assert outcome.units - outcome.masked == 4
    assert size_of(sparse) < 0.03 * size_of(dense)
    written = zarr.open_array(sparse)[...]
    assert (written[:, :400] == -1).all() and (written[:, 400:500, 400:500] != -1).all()


def size_of(folder):
    """Bytes of all files in a folder."""
    return sum(
        os.path.getsize(os.path.join(at, f)) for at, _, files in os.walk(folder) for f in files
    )
