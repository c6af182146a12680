"""Where a result lies in the world: NIfTI keeps its affine and header, a COG its CRS."""

import numpy as np
import pytest
import torch
from torch import nn

import convsmith as cs
from convsmith.errors import DataError
from convsmith.tiling.placement import placement
from convsmith.tiling.stores.opening import open_source
from tests.tiling.nets import CONV, UNet, shaken, whole

nibabel = pytest.importorskip("nibabel")


def mean_conv(dims, kernel, stride=1, padding=0):
    """A convolution that averages, so that a ramp stays a ramp."""
    layer = CONV[dims](1, 1, kernel, stride, padding, bias=False)
    layer.weight.data.fill_(1 / layer.weight.numel())
    return layer


def twice(dims):
    mode = {2: "bilinear", 3: "trilinear"}[dims]
    return nn.Upsample(scale_factor=2, mode=mode, align_corners=False)


NETWORKS = {
    "valid": lambda dims: mean_conv(dims, 5),
    "strided": lambda dims: mean_conv(dims, 3, 2, 1),
    "even": lambda dims: mean_conv(dims, 2),
    "pooled": lambda dims: nn.Sequential(nn.AvgPool2d(2) if dims == 2 else nn.AvgPool3d(2),
                                         mean_conv(dims, 3, padding=1)),
    "enlarged": twice,
    "aligned": lambda dims: nn.Upsample(scale_factor=2, align_corners=True,
                                        mode={2: "bilinear", 3: "trilinear"}[dims]),
    "there and back": lambda dims: nn.Sequential(mean_conv(dims, 3, 2, 1), twice(dims)),
}  # fmt: skip


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_ramp_says_where_each_position_lies(name, dims):
    """A network that averages gives, of an image of positions, the position of each result."""
    model, size = NETWORKS[name](dims), (14, 18, 13)[:dims]
    survey = cs.tile(model, (1, 1, *[8] * dims)).survey(size)
    image = np.zeros(size, np.float32)
    for axis in range(dims):
        ramp = np.arange(size[axis], dtype=np.float32)
        image[...] = ramp.reshape([-1 if a == axis else 1 for a in range(dims)])
        result = np.moveaxis(whole(model, torch.from_numpy(image)[None])[0], axis, 0)
        middle = tuple(n // 2 for n in result.shape[1:])
        positions = result[(slice(None), *middle)]
        place = placement(survey, open_source(image, dims, 1, 10**9),
                          survey.result.shape[2:], windowed=False)  # fmt: skip
        expected = place.offset[axis] + place.step[axis] * np.arange(len(positions))
        inside = slice(4, -4) if len(positions) > 12 else slice(2, -2)
        # With aligned corners no position is the one of a pixel: its field is two pixels wide.
        assert abs(positions - expected)[inside].max() < (0.01 if name == "aligned" else 1e-4)


def scan(path, size=(20, 24, 22)):
    """A volume with a skewed affine, units and a description of its own."""
    affine = np.array([[0, -2.5, 0, 30], [1.5, 0, 0.3, -40], [0, 0.2, 3, 12], [0, 0, 0, 1.0]])
    values = np.random.default_rng(0).integers(0, 900, size).astype(np.int16)
    image = nibabel.Nifti1Image(values, affine)
    image.header.set_xyzt_units("mm", "sec")
    image.header["descrip"] = b"a phantom"
    image.header["cal_max"] = 900
    image.set_sform(affine, code="mni")
    nibabel.save(image, path)
    return values, affine


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("reduce", [None, "argmax"])
def test_nifti_keeps_affine_and_header(ending, reduce, tmp_path):
    source, path = str(tmp_path / f"in{ending}"), str(tmp_path / f"out{ending}")
    values, affine = scan(source)
    model = nn.Sequential(nn.Conv3d(1, 4, 3, (2, 1, 1)), nn.ReLU())
    tiled = cs.tile(model, (1, 1, 8, 8, 8), tile=7)
    outcome = tiled.run(source, path, reduce=reduce)
    written = nibabel.load(path)
    expected = whole(model, torch.from_numpy(values.astype(np.float32))[None])
    expected = expected.transpose(1, 2, 3, 0) if reduce is None else expected.argmax(0)
    assert written.shape == expected.shape == outcome.array.shape
    if reduce is None:
        assert abs(written.get_fdata() - expected).max() < 1e-5 * abs(expected).max()
    else:
        assert written.get_data_dtype() == np.uint8
        assert (np.asarray(written.dataobj) == expected).mean() > 0.999
    step = np.diag([2.0, 1, 1, 1])
    step[:3, 3] = 1
    assert np.allclose(written.affine, affine @ step, atol=1e-5)
    head = written.header
    assert head.get_xyzt_units() == ("mm", "sec") and head["descrip"] == b"a phantom"
    assert (int(head["sform_code"]), float(head["cal_max"])) == (4, 0)
    assert np.allclose(head.get_zooms()[:3], nibabel.affines.voxel_sizes(affine @ step), atol=1e-3)
    assert tiled.run(source, path, reduce=reduce, resume=True).computed == 0


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_a_nifti_goes_on_where_it_was_stopped(ending, tmp_path):
    scan(tmp_path / "in.nii")
    model = nn.Conv3d(1, 2, 3, padding=1)
    tiled = cs.tile(model, (1, 1, 8, 8, 8), tile=12)
    source, path = str(tmp_path / "in.nii"), tmp_path / f"out{ending}"
    tiled.run(source, str(tmp_path / f"clean{ending}"))

    def stop(what, done, of):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tiled.run(source, str(path), progress=stop)
    outcome = tiled.run(source, str(path), resume=True)
    assert outcome.resumed == 3 and outcome.complete
    assert path.read_bytes() == (tmp_path / f"clean{ending}").read_bytes()


def test_a_nifti_that_lies_nowhere_and_arrays(tmp_path):
    values = np.random.default_rng(0).random((12, 14, 10), dtype=np.float32)
    tiled = cs.tile(nn.Conv3d(1, 1, 3, padding=1), (1, 1, 8, 8, 8), tile=8)
    tiled.run(values, str(tmp_path / "a.nii"), reduce="threshold")
    assert np.allclose(nibabel.load(tmp_path / "a.nii").affine, np.eye(4))
    tiled.run(str(tmp_path / "a.nii"), str(tmp_path / "b.nii"), reduce="threshold")
    assert np.allclose(nibabel.load(tmp_path / "b.nii").affine, np.eye(4))


def test_what_nifti_cannot_hold(tmp_path):
    flat = cs.tile(shaken(UNet()), (1, 3, 8, 8), tile=16)
    image = np.zeros((3, 20, 20), np.float32)
    with pytest.raises(cs.ConvsmithError, match=r"a.nii holds one volume .* not a result"):
        flat.run(image, str(tmp_path / "a.nii"))
    volume = cs.tile(nn.Conv3d(1, 1, 3), (1, 1, 8, 8, 8), tile=8)
    with pytest.raises(cs.ConvsmithError, match=r"a.nii.gz holds .* not float16"):
        volume.run(np.zeros((9, 9, 9), np.float32), str(tmp_path / "a.nii.gz"), reduce="float16")
    with pytest.raises(cs.ConvsmithError, match="holds one volume"):
        volume.run(np.zeros((2, 1, 9, 9, 9), np.float32), str(tmp_path / "a.nii"))


def test_damaged_nifti_is_one_line(tmp_path):
    scan(tmp_path / "in.nii")
    tiled = cs.tile(nn.Conv3d(1, 1, 3), (1, 1, 8, 8, 8), tile=8)
    for name, length in (("head.nii", 200), ("short.nii", 3000)):
        (tmp_path / name).write_bytes((tmp_path / "in.nii").read_bytes()[:length])
        with pytest.raises(DataError) as caught:
            tiled.run(str(tmp_path / name))
        assert name in str(caught.value) and "\n" not in str(caught.value)


@pytest.fixture
def scene(tmp_path):
    """A GeoTIFF with overviews, tiled, in UTM."""
    rasterio = pytest.importorskip("rasterio")
    values = np.random.default_rng(0).integers(0, 256, (3, 300, 420), dtype=np.uint8)
    path = str(tmp_path / "scene.tif")
    with rasterio.open(
        path, "w", driver="GTiff", width=420, height=300, count=3, dtype="uint8", tiled=True,
        blockxsize=128, blockysize=128, compress="deflate", crs="EPSG:32633",
        transform=rasterio.Affine(10, 0, 500_000, 0, -10, 4_000_000),
    ) as file:  # fmt: skip
        file.write(values)
    return path, values


@pytest.mark.parametrize("reduce", [None, "argmax"])
def test_a_cog_lies_where_its_image_does(scene, tmp_path, reduce):
    rasterio = pytest.importorskip("rasterio")
    source, values = scene
    path = str(tmp_path / "out.cog.tif")
    model = nn.Conv2d(3, 5, 5, 2)
    tiled = cs.tile(model, (1, 3, 8, 8), tile=64)
    outcome = tiled.run(source, path, reduce=reduce)
    expected = whole(model, torch.from_numpy(values.astype(np.float32) / 255))
    with rasterio.open(path) as file:
        written = file.read()
        assert file.crs.to_epsg() == 32633
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        # The centre of the first position is that of the image's third pixel.
        assert file.xy(0, 0) == pytest.approx((500_025, 4_000_000 - 25))
        assert file.xy(7, 3) == pytest.approx((500_025 + 3 * 20, 4_000_000 - 25 - 7 * 20))
    if reduce is None:
        assert abs(written - expected).max() < 1e-5
        assert outcome.array.shape == (148, 208, 5)
    else:
        assert written.dtype == np.uint8 and (written[0] == expected.argmax(0)).mean() > 0.999
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "out.cog.tif", "out.cog.tif.tiling", "scene.tif"]  # fmt: skip
    assert tiled.run(source, path, reduce=reduce, resume=True).computed == 0


def test_classes_are_not_averaged_in_overviews(tmp_path):
    rasterio = pytest.importorskip("rasterio")
    classes = np.random.default_rng(0).choice([0, 2], (1200, 1300)).astype(np.float32)
    path = str(tmp_path / "out.cog.tif")
    cs.tile(nn.Conv2d(1, 3, 1), (1, 1, 8, 8)).run(classes, path, reduce="argmax")
    with rasterio.open(path) as file:
        assert file.overviews(1)
        every = set(np.unique(file.read(1)))
    with rasterio.open(path, overview_level=0) as file:
        assert set(np.unique(file.read(1))) <= every


def test_what_a_cog_cannot_hold(tmp_path):
    pytest.importorskip("rasterio")
    tiled = cs.tile(nn.Conv2d(1, 2, 3), (1, 1, 8, 8))
    with pytest.raises(cs.ConvsmithError, match=r"a.cog.tif holds one image"):
        tiled.run(np.zeros((2, 1, 20, 20), np.float32), str(tmp_path / "a.cog.tif"))
    with pytest.raises(cs.ConvsmithError, match=r"a.cog.tif holds .* not float16"):
        tiled.run(np.zeros((20, 20), np.float32), str(tmp_path / "a.cog.tif"), reduce="float16")


def test_without_rasterio_the_install_line(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "rasterio", None)
    tiled = cs.tile(nn.Conv2d(1, 2, 3), (1, 1, 8, 8))
    with pytest.raises(cs.ConvsmithError, match=r"pip install 'convsmith\[geo\]'"):
        tiled.run(np.zeros((20, 20), np.float32), str(tmp_path / "a.cog.tif"))
