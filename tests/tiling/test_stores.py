"""Sources and targets: every format gives the same image, and bad ones one line."""

import numpy as np
import pytest
import torch

import convsmith as cs
from convsmith.errors import DataError
from tests.tiling.nets import TOLERANCE, UNet, shaken, whole

tifffile = pytest.importorskip("tifffile")
zarr = pytest.importorskip("zarr")
Image = pytest.importorskip("PIL.Image")


@pytest.fixture(scope="module")
def photo():
    return np.random.default_rng(3).integers(0, 256, (70, 90, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def model():
    return shaken(UNet())


@pytest.fixture(scope="module")
def expected(model, photo):
    return whole(model, torch.from_numpy(photo).permute(2, 0, 1).float() / 255)


def tiff(path, image, **options):
    tifffile.imwrite(path, image, photometric="rgb", **options)


def pyramid(path, image):
    group = zarr.open_group(str(path), mode="w")
    levels = []
    for n in range(3):
        part = np.ascontiguousarray(image.transpose(2, 0, 1)[:, :: 2**n, :: 2**n])
        array = group.create_array(str(n), shape=part.shape, dtype=part.dtype, chunks=(3, 16, 16))
        array[...] = part
        levels.append({"path": str(n)})
    group.attrs["ome"] = {"multiscales": [{"datasets": levels}]}


def sharded(path, image):
    array = zarr.create_array(
        str(path), shape=image.shape, dtype=image.dtype, chunks=(8, 8, 3), shards=(32, 32, 3)
    )
    array[...] = image


WRITERS = {
    "plain.npy": np.save,
    "order.npy": lambda path, image: np.save(path, image.transpose(2, 0, 1)),
    "picture.png": lambda path, image: Image.fromarray(image).save(path),
    "strips.tif": lambda path, image: tiff(path, image),
    "tiles.tif": lambda path, image: tiff(path, image, tile=(16, 32), compression="zlib"),
    "big.tif": lambda path, image: tiff(path, image, bigtiff=True, tile=(16, 16)),
    "one.tif": lambda path, image: tiff(path, image, compression="zlib", rowsperstrip=70),
    "micro.ome.tif": lambda path, image: tiff(path, image, metadata={"axes": "YXS"}),
    "shards.zarr": sharded,
    "pyramid.zarr": pyramid,
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_source_gives_the_same(name, tmp_path, photo, model, expected):
    WRITERS[name](tmp_path / name, photo)
    result = cs.tile(model, (1, 3, 8, 8), tile=32).run(str(tmp_path / name)).array
    if result.shape != expected.shape:
        result = result.transpose(2, 0, 1)
    assert abs(result - expected).max() <= TOLERANCE * abs(expected).max()


def test_levels_of_pyramids(tmp_path, photo, model):
    pyramid(tmp_path / "p.zarr", photo)
    with tifffile.TiffWriter(tmp_path / "p.tif") as writer:
        options = {"photometric": "rgb", "tile": (16, 16), "compression": "zlib"}
        writer.write(photo, subifds=2, **options)
        for n in (1, 2):
            writer.write(np.ascontiguousarray(photo[:: 2**n, :: 2**n]), subfiletype=1, **options)
    tiled = cs.tile(model, (1, 3, 8, 8), tile=16)
    small = torch.from_numpy(np.ascontiguousarray(photo[::4, ::4])).permute(2, 0, 1).float() / 255
    full = torch.from_numpy(photo).permute(2, 0, 1).float() / 255
    for name in ("p.zarr", "p.tif"):
        first = tiled.run(str(tmp_path / name)).array
        first = first if first.shape[0] == 4 else first.transpose(2, 0, 1)
        assert abs(first - whole(model, full)).max() < 1e-5
        result = tiled.run(str(tmp_path / name), level=2).array
        result = result if result.shape[0] == 4 else result.transpose(2, 0, 1)
        assert abs(result - whole(model, small)).max() < 1e-5
        with pytest.raises(cs.ConvsmithError, match="has 3 levels; there is no level 3"):
            tiled.run(str(tmp_path / name), level=3)


@pytest.mark.parametrize("ending", ["npy", "zarr", "tif", "tiff"])
def test_every_target_holds_the_same(ending, tmp_path, photo, model, expected):
    path = str(tmp_path / f"out.{ending}")
    cs.tile(model, (1, 3, 8, 8), tile=32).run(photo.transpose(2, 0, 1), path)
    if ending == "npy":
        written = np.load(path)
    elif ending == "zarr":
        written = zarr.open_array(path)[...]
    else:
        written = tifffile.imread(path)
    assert abs(written - expected).max() <= TOLERANCE * abs(expected).max()


def test_classes_as_a_picture(tmp_path, photo, model, expected):
    cs.tile(model, (1, 3, 8, 8), tile=32).run(photo, str(tmp_path / "out.png"), reduce="argmax")
    assert (np.asarray(Image.open(tmp_path / "out.png")) == expected.argmax(0)).all()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.png", "out.png.tiling"]


@pytest.mark.slow
def test_a_volume_and_a_signal(tmp_path):
    for dims, shape in ((3, (20, 30, 25)), (1, (400,))):
        model = shaken(UNet(dims, channels=1, width=2))
        image = np.random.default_rng(0).random(shape, dtype=np.float32)
        path = str(tmp_path / f"{dims}.zarr")
        cs.tile(model, (1, 1, *[8] * dims), tile=8).run(image, path, reduce="argmax")
        written = zarr.open_array(path)[...]
        assert (written == whole(model, torch.from_numpy(image)[None]).argmax(0)).all()


def test_scaling_is_said_or_known(model):
    image = np.random.default_rng(0).integers(0, 60000, (40, 40, 3)).astype(np.uint16)
    tiled = cs.tile(model, (1, 3, 8, 8))
    scaled = torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)
    default = tiled.run(image).array.transpose(2, 0, 1)
    assert abs(default - whole(model, scaled / 65535)).max() < 1e-5
    said = tiled.run(image, scale=1e-4, mean=(0.4, 0.5, 0.6), std=(2.0,)).array.transpose(2, 0, 1)
    mean = torch.tensor([0.4, 0.5, 0.6])[:, None, None]
    assert abs(said - whole(model, (scaled * 1e-4 - mean) / 2)).max() < 1e-5
    for bad in ({"mean": (1, 2)}, {"std": (0.0,)}):
        with pytest.raises(cs.ConvsmithError, match=r"mean has 2|std must be above 0"):
            tiled.run(image, **bad)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((40, 40, 4), np.uint8), "the network takes 3 channels and 2 axes"),
        (np.zeros((40,), np.uint8), "the network takes 3 channels and 2 axes"),
        (np.zeros((3, 40, 3), np.uint8), "may be CYX or YXC: pass layout="),
        (np.zeros((0, 40, 3), np.uint8), "is empty"),
        (np.zeros((40, 40, 3), complex), "holds complex128, not numbers"),
        (np.array([["a"] * 3] * 3)[None].repeat(5, 0), "not numbers|may be"),
        ([1, 2], "a source is an array or a path, not list"),
    ],
)
def test_arrays_that_do_not_fit(array, message, model):
    with pytest.raises(cs.ConvsmithError, match=message):
        cs.tile(model, (1, 3, 8, 8)).run(array)


def test_layouts_that_do_not_fit(model):
    for layout in ("YX", "YXQ", "YXX", "CXX"):
        with pytest.raises(cs.ConvsmithError, match="layout"):
            cs.tile(model, (1, 3, 8, 8)).run(np.zeros((40, 40, 3), "float32"), layout=layout)


def damaged(path, photo, kind):
    if kind == "truncated.tif":
        tiff(path, photo, tile=(16, 16), compression="zlib")
        path.write_bytes(path.read_bytes()[:2000])
    elif kind == "truncated.png":
        Image.fromarray(photo).save(path)
        path.write_bytes(path.read_bytes()[:500])
    elif kind == "damaged.tif":
        tiff(path, photo, tile=(16, 16), compression="zlib")
        data = bytearray(path.read_bytes())
        with tifffile.TiffFile(path) as file:
            offset = file.pages[0].dataoffsets[3]
        data[offset : offset + 40] = b"\xff" * 40
        path.write_bytes(data)
    elif kind == "code.npy":
        np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    else:
        path.write_bytes(b"not an image" * 9)


@pytest.mark.parametrize(
    "kind",
    [
        "truncated.tif",
        "truncated.png",
        "damaged.tif",
        "code.npy",
        "text.tif",
        "text.png",
        "text.npy",
    ],
)
def test_damaged_files_are_one_line(kind, tmp_path, photo, model):
    damaged(tmp_path / kind, photo, kind)
    with pytest.raises(DataError) as caught:
        cs.tile(model, (1, 3, 8, 8), tile=16).run(str(tmp_path / kind))
    assert kind in str(caught.value) and "\n" not in str(caught.value)


def test_damaged_shards(tmp_path, photo, model):
    sharded(tmp_path / "s.zarr", photo)
    shard = next(
        p for p in (tmp_path / "s.zarr").rglob("*") if p.is_file() and p.name != "zarr.json"
    )
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(DataError, match=r"s.zarr cannot be read"):
        cs.tile(model, (1, 3, 8, 8), tile=16).run(str(tmp_path / "s.zarr"))


def test_files_that_are_not_there(tmp_path, model):
    tiled = cs.tile(model, (1, 3, 8, 8))
    for name in ("no.tif", "no.zarr", "no.npy"):
        with pytest.raises(DataError, match="there is no"):
            tiled.run(str(tmp_path / name))
    (tmp_path / "a.xyz").write_text("")
    with pytest.raises(DataError, match="expected a file that ends in"):
        tiled.run(str(tmp_path / "a.xyz"))


def test_a_decompression_bomb_is_refused_by_its_header(tmp_path, model):
    Image.new("1", (30_000, 20_000)).save(tmp_path / "bomb.png")
    with pytest.raises(DataError, match=r"bomb.png says it holds .* GB|exceeds limit"):
        cs.tile(model, (1, 3, 8, 8), memory="100MB").run(str(tmp_path / "bomb.png"))


def test_one_strip_for_all_is_decoded_once_or_refused(tmp_path, model, photo):
    big = np.tile(photo, (8, 8, 1))
    tiff(tmp_path / "one.tif", big, compression="zlib", rowsperstrip=len(big))
    tiff(tmp_path / "rows.tif", big, compression="zlib", rowsperstrip=1)
    tiled = cs.tile(model, (1, 3, 8, 8), tile=64)
    assert tiled.plan(str(tmp_path / "one.tif")).read_amplification < 4
    assert tiled.plan(str(tmp_path / "rows.tif")).read_amplification < 4
    little = cs.tile(model, (1, 3, 8, 8), tile=64, memory="2MB")
    with pytest.raises(DataError, match="retile it first, such as `gdal_translate"):
        little.run(str(tmp_path / "one.tif"))
    assert little.plan(str(tmp_path / "rows.tif")).read_amplification > 4


def test_many_classes_need_a_type_that_holds_them(tmp_path):
    model = torch.nn.Conv2d(1, 300, 1)
    with torch.no_grad():
        model.weight.zero_()
        model.bias.copy_(torch.arange(300.0))
    image = np.zeros((1, 20, 20), np.float32)
    tiled = cs.tile(model, (1, 1, 8, 8))
    result = tiled.run(image, str(tmp_path / "c.zarr"), reduce="argmax")
    assert result.array.dtype == np.uint16 and (result.array[...] == 299).all()
    with pytest.raises(cs.ConvsmithError, match=r"uint8 cannot hold 300 classes.*uint16"):
        tiled.run(image, reduce="argmax:uint8")


def test_reducers(model, photo, expected):
    tiled = cs.tile(model, (1, 3, 8, 8), tile=32)
    shares = np.exp(expected) / np.exp(expected).sum(0)
    probability = tiled.run(photo, reduce="probability:2").array
    assert probability.dtype == np.uint8 and abs(probability / 255 - shares[2]).max() < 0.0021
    above = tiled.run(photo, reduce="threshold:0.1:1").array
    assert (above == (expected[1] > 0.1)).mean() > 0.999
    counts = tiled.run(photo, reduce="histogram")
    assert sum(counts.counts) == 70 * 90
    assert counts.counts == tuple(np.bincount(expected.argmax(0).ravel()))
    assert tiled.run(photo, reduce="float16").array.dtype == np.float16
    for bad in ("argmin", "argmax:float32", "threshold:x", "probability:9", "threshold:0:7"):
        with pytest.raises(cs.ConvsmithError, match=r"unknown reducer|there is no"):
            tiled.run(photo, reduce=bad)
