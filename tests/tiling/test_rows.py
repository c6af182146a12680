"""Rows of a source as a stream asks for them, and compiled tiles that are made from them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import convsmith as cs
from convsmith.tiling import rows as module
from convsmith.tiling.prepare import Prepare
from convsmith.tiling.rows import RowReader
from convsmith.tiling.stores.source import Source
from tests.tiling.nets import UNet, shaken


class Counted:
    """An array that notes which rows are read."""

    def __init__(self, array):
        self.array, self.shape, self.dtype, self.read = array, array.shape, array.dtype, []

    def __getitem__(self, where):
        self.read.append((where[0].start, where[0].stop))
        return self.array[where]


@given(
    ends=st.lists(st.integers(3, 69), min_size=1, max_size=6, unique=True).map(sorted),
    block=st.integers(1, 20),
    slab=st.integers(1, 30),
    last=st.booleans(),
)
def test_blocks_are_read_once_and_rows_are_those_of_the_image(ends, block, slab, last):
    image = np.random.default_rng(0).integers(0, 256, (80, 11, 3), dtype=np.uint8)
    array = Counted(image)
    source = Source(array, "YXC", block=(block, 11, 3))
    first, stop = ends[0], ends[-1] + 1
    prepare = Prepare(mean=(0.5, 0.4, 0.3), std=(0.2,))
    expected = prepare(image[first:stop, 2:9].transpose(2, 0, 1), torch.float32)[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SLAB", slab)
        reader = RowReader(source, prepare, 0, (first, stop), (2, 9))
        for start, end in zip(ends, [*ends[1:], stop]):
            out = torch.empty(end - start, 7, 3).permute(2, 0, 1) if last else None
            out = torch.empty(3, end - start, 7) if out is None else out
            reader(start - first, end - first, out)
            assert torch.equal(out, expected[:, start - first : end - first])
    starts, stops = zip(*array.read)
    assert starts == (first, *stops[:-1]) and stops[-1] == stop
    assert all(end % block == 0 for end in stops[:-1])


@pytest.mark.parametrize("layout", ["YXC", "CYX"])
def test_streamed_tiles_of_stored_pixels(layout):
    pytest.importorskip("halide")
    model = shaken(UNet(width=8))
    image = np.random.default_rng(1).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    tensor = torch.from_numpy(image).permute(2, 0, 1)[None].float() * np.float32(1 / 255)
    classes = cs.compile(model, tensor)(tensor)[0].argmax(0).numpy()
    stored = image if layout == "YXC" else np.ascontiguousarray(image.transpose(2, 0, 1))
    where = np.zeros((96, 128), bool)
    where[5:50, 70:] = where[90:, :3] = True
    for tile in (96, (96, 40), (30, 128)):
        tiled = cs.tile(model, (1, 3, 8, 8), tile=tile, backend="compiled")
        result = tiled.run(stored, layout=layout, reduce="argmax")
        assert result.array.dtype == np.uint8 and (result.array == classes).all()
        masked = tiled.run(stored, layout=layout, reduce="argmax", where=where, fill=9)
        assert (masked.array == np.where(where, classes, 9)).all()
