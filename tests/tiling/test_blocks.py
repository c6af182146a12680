"""Blocks of Dask arrays: lazy, the whole image's result, and never two writers in one shard."""

import numpy as np
import pytest
import torch
from torch import nn

import convsmith as cs
from tests.tiling.nets import TOLERANCE, Attention, Squeeze, UNet, shaken, whole

da = pytest.importorskip("dask.array")
zarr = pytest.importorskip("zarr")


@pytest.fixture(scope="module")
def model():
    return shaken(UNet())


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(2).random((3, 61, 83), dtype=np.float32)


@pytest.mark.parametrize("tile", [None, 16, (61, 20)])
def test_blocks_are_the_whole_images_result(tile, model, image):
    array = da.from_array(image, chunks=(3, 32, 25))
    result = cs.tile(model, (1, 3, 8, 8), tile=tile).map_blocks(array)
    assert isinstance(result, da.Array) and result.dtype == np.float32
    expected = whole(model, torch.from_numpy(image))
    assert result.shape == expected.shape
    assert result.chunks[1][0] == {None: 32, 16: 16}.get(tile, 61)
    for scheduler in ("synchronous", "threads"):
        found = result.compute(scheduler=scheduler)
        assert abs(found - expected).max() <= TOLERANCE * abs(expected).max()
    part = result[:, 40:50, 3:30].compute()
    assert abs(part - expected[:, 40:50, 3:30]).max() <= TOLERANCE * abs(expected).max()


@pytest.mark.parametrize(
    ("shape", "chunks", "layout"),
    [((2, 3, 40, 30), (1, 3, 16, 30), "NCYX"), ((2, 40, 30, 3), (2, 16, 16, 1), "NYXC"),
     ((40, 30, 3), (7, 30, 3), "YXC")],
)  # fmt: skip
def test_layouts_and_batches(shape, chunks, layout, model):
    image = np.random.default_rng(0).random(shape, dtype=np.float32)
    tiled = cs.tile(model, (1, 3, 8, 8))
    result = tiled.map_blocks(da.from_array(image, chunks=chunks), layout=layout)
    expected = tiled.run(image, layout=layout).array
    assert abs(result.compute() - expected).max() <= TOLERANCE * abs(expected).max()


def test_volumes_strides_scaling_and_reducers():
    volume = nn.Sequential(nn.Conv3d(1, 4, 3, 2), nn.ReLU()).eval()
    scan = np.random.default_rng(0).integers(0, 256, (20, 30, 25), dtype=np.uint8)
    tiled = cs.tile(volume, (1, 1, 8, 8, 8))
    options = {"reduce": "argmax", "scale": 0.01, "mean": (0.5,), "std": (2.0,)}
    result = tiled.map_blocks(da.from_array(scan, chunks=8), **options)
    assert result.dtype == np.uint8 and result.chunks[0] == (4, 4, 1)
    assert (result.compute() == tiled.run(scan, **options).array).mean() > 0.999


def test_only_what_a_block_needs_is_read(model):
    read = []

    def chunk(block_info=None):
        read.append(block_info[None]["chunk-location"])
        return np.zeros((3, 16, 16), np.float32)

    array = da.map_blocks(chunk, chunks=((3,), (16,) * 10, (16,) * 10), dtype="float32")
    result = cs.tile(model, (1, 3, 8, 8)).map_blocks(array)
    assert not read
    result.blocks[0, 5, 5].compute(scheduler="synchronous")
    assert {(y, x) for _, y, x in read} == {(y, x) for y in (4, 5, 6) for x in (4, 5, 6)}


def test_blocks_are_whole_shards_of_the_target(model, image, tmp_path):
    array = da.from_array(image, chunks=(3, 20, 20))
    target = zarr.create_array(str(tmp_path / "t.zarr"), shape=(4, 61, 83), dtype="float32",
                               chunks=(4, 8, 8), shards=(4, 16, 16))  # fmt: skip
    result = cs.tile(model, (1, 3, 8, 8)).map_blocks(array, target)
    assert result.chunks[1] == (16, 16, 16, 13) and result.chunks[2][0] == 16
    for _ in range(3):  # two writers in one shard lose data in nearly every run
        target[...] = 0
        da.store(result, target, lock=False, scheduler="threads", num_workers=8)
        assert (target[...] != 0).any(0).all()
        assert abs(target[...] - whole(model, torch.from_numpy(image))).max() < 1e-4
    for tile, message in ((24, r"blocks of 24 along Y would share shards of 16"), (16, ""),
                          ((32, 83), ""), ((32, 40), "blocks of 40 along X")):  # fmt: skip
        tiled = cs.tile(model, (1, 3, 8, 8), tile=tile)
        if message:
            with pytest.raises(cs.ConvsmithError, match=message):
                tiled.map_blocks(array, target)
        else:
            assert tiled.map_blocks(array, target).shape == target.shape


def test_targets_that_do_not_fit(model, image):
    array = da.from_array(image, chunks=(3, 20, 20))
    tiled = cs.tile(model, (1, 3, 8, 8))
    for target, message in (
        ("out.zarr", "is the array that the result will be stored in, not 'out.zarr'"),
        (np.zeros((4, 9, 9), np.float32), "the target holds 4×9×9 float32, the result is 4×61×83"),
        (np.zeros((4, 61, 83), np.int8), "the target holds .* int8, the result is .* float32"),
    ):
        with pytest.raises(cs.ConvsmithError, match=message):
            tiled.map_blocks(array, target)


def test_what_has_no_blocks(model, image):
    array = da.from_array(image, chunks=(3, 20, 20))
    with pytest.raises(cs.ConvsmithError, match="takes a dask array, not ndarray"):
        cs.tile(model, (1, 3, 8, 8)).map_blocks(image)
    unknown = array[:, array[0, :, 0] > 0.5]
    with pytest.raises(cs.ConvsmithError, match=r"has unknown lengths .* compute_chunk_sizes"):
        cs.tile(model, (1, 3, 8, 8)).map_blocks(unknown)
    with pytest.raises(cs.ConvsmithError, match="run blends windows"):
        cs.tile(model, (1, 3, 8, 8), tile=16, mode="window").map_blocks(array)
    with pytest.raises(cs.ConvsmithError, match=r"gathers no statistics, which .* need: use run"):
        cs.tile(Squeeze(), (1, 3, 8, 8), passes=True).map_blocks(array)
    with pytest.raises(cs.ConvsmithError, match="cannot be tiled exactly"):
        cs.tile(Attention(), (1, 4, 8, 8)).map_blocks(da.zeros((4, 40, 40), dtype="float32"))


def test_threads_of_torch_are_left_alone(model, image):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        cs.tile(model, (1, 3, 8, 8)).map_blocks(da.from_array(image, chunks=(3, 32, 32))).compute()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_dask_array_is_a_source_of_run(model, image):
    array = da.from_array(image, chunks=(3, 20, 20))
    tiled = cs.tile(model, (1, 3, 8, 8), tile=16)
    assert tiled.plan(array).read_amplification >= 1
    assert (tiled.run(array).array == tiled.run(image).array).all()
