"""Bad input is refused in one line that names it, or gives the whole image's result."""

import gzip
import json
import resource
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import convsmith as cs
from convsmith.cli import main
from convsmith.errors import DataError
from tests.tiling.nets import TOLERANCE, whole

tifffile = pytest.importorskip("tifffile")
zarr = pytest.importorskip("zarr")
nibabel = pytest.importorskip("nibabel")

WIDE = nn.Sequential(nn.Conv2d(3, 4, 9, padding=4), nn.ReLU(), nn.Conv2d(4, 2, 5, padding=2)).eval()
VALID = nn.Sequential(nn.Conv2d(3, 4, 9), nn.Conv2d(4, 2, 9)).eval()
VOLUME = nn.Conv3d(1, 2, 3)


@pytest.mark.parametrize("backend", ["torch", "compiled"])
@pytest.mark.parametrize("size", [(1, 40), (40, 1), (1, 1), (2, 3), (7, 40)])
def test_images_of_a_few_pixels(size, backend):
    if backend == "compiled":
        pytest.importorskip("halide")
    image = torch.rand(3, *size)
    tiled = cs.tile(WIDE, (1, 3, 32, 32), tile=16, backend=backend)
    found = tiled.run(image.numpy(), layout="CYX").array
    expected = whole(WIDE, image)
    assert abs(found - expected).max() <= TOLERANCE * abs(expected).max()
    windows = cs.tile(WIDE, (1, 3, 32, 32), tile=16, mode="window")
    assert windows.run(image.numpy(), layout="CYX").array.shape == expected.shape


@pytest.mark.parametrize("backend", ["torch", "compiled"])
def test_an_image_that_is_too_small_for_the_network(backend):
    tiled = cs.tile(VALID, (1, 3, 32, 32), backend=backend)
    assert tiled.run(np.zeros((3, 17, 17), np.float32)).array.shape == (2, 1, 1)
    for call in (tiled.run, tiled.plan):
        with pytest.raises(cs.ConvsmithError, match=r"in layer '1' \(for an image of 3×10×16\)"):
            call(np.zeros((3, 10, 16), np.float32))


@pytest.mark.parametrize("kind", ["bool", "float16", ">f4", "int64", "uint16"])
def test_types_that_are_numbers(kind):
    image = (np.random.default_rng(0).random((3, 20, 25)) * 9).astype(kind)
    scale = 65535 if kind == "uint16" else 1
    expected = whole(WIDE, torch.from_numpy(image.astype(np.float32)) / scale)
    found = cs.tile(WIDE, (1, 3, 32, 32), tile=8).run(image).array
    assert abs(found - expected).max() <= TOLERANCE * abs(expected).max()


def test_not_a_number_changes_nothing_far_away():
    image = np.random.default_rng(0).random((3, 60, 60), dtype=np.float32)
    broken = image.copy()
    broken[1, 30, 31], broken[0, 2, 2] = np.nan, np.inf
    near = np.zeros((60, 60), bool)  # the field reaches six pixels
    near[24:37, 25:38] = near[:9, :9] = True
    for reduce in ("argmax", "probability", "threshold:0.1", "float16"):
        tiled = cs.tile(WIDE, (1, 3, 32, 32), tile=16)
        one, other = (tiled.run(each, reduce=reduce).array for each in (image, broken))
        assert (one[..., ~near] == other[..., ~near]).all()
    found = cs.tile(WIDE, (1, 3, 32, 32), tile=16).run(broken).array
    assert (np.isnan(found) == np.isnan(whole(WIDE, torch.from_numpy(broken)))).all()


@torch.library.custom_op("convsmith_tests::shuffle", mutates_args=())
def shuffle(x: torch.Tensor) -> torch.Tensor:
    """An operation that no table knows."""
    return x.flip(2)


@shuffle.register_fake
def _(x):
    return torch.empty_like(x)


class Unknown(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return shuffle(self.conv(x))


@pytest.mark.parametrize("passes", [False, True])
def test_unknown_operations_are_named(passes):
    tiled = cs.tile(Unknown(), (1, 3, 8, 8), passes=passes)
    with pytest.raises(cs.ConvsmithError, match=r"exactly: shuffle \(shuffle\): what it reads is"):
        tiled.run(np.zeros((3, 20, 20), np.float32))


def _truncated(path, write, keep):
    write(path)
    path.write_bytes(path.read_bytes()[:keep])


def _declares(path, shape, data=b"0" * 1000):
    """A compressed volume that says it is of a shape, and holds a few bytes."""
    head = nibabel.Nifti1Header()
    head.set_data_shape(shape)
    head.set_data_dtype(np.uint8)
    with gzip.open(path, "wb") as file:
        head.write_to(file)
        file.write(data)


def _one_chunk(path):
    """A Zarr array of a petabyte in one chunk, of which nothing is stored."""
    array = zarr.create_array(str(path), shape=(3, 8, 8), chunks=(3, 8, 8), dtype="uint8")
    assert array.shape
    described = json.loads((path / "zarr.json").read_text())
    described["shape"] = [3, 20_000_000, 20_000_000]
    described["chunk_grid"]["configuration"]["chunk_shape"] = described["shape"]
    (path / "zarr.json").write_text(json.dumps(described))


FILES = {
    "cut.npy": (lambda p: _truncated(p, lambda p: np.save(p, np.ones((3, 40, 40))), 3000),
                "cut.npy cannot be opened"),
    "head.npy": (lambda p: _truncated(p, lambda p: np.save(p, np.ones((3, 40, 40))), 50),
                 "head.npy cannot be opened"),
    "empty.tif": (lambda p: p.touch(), "empty.tif cannot be opened"),
    "empty.zarr": (lambda p: p.mkdir(), "empty.zarr cannot be opened"),
    "json.zarr": (lambda p: (p.mkdir(), (p / "zarr.json").write_text("{")),
                  "json.zarr cannot be opened"),
    "short.nii.gz": (lambda p: _declares(p, (20, 20, 20)), "short.nii.gz cannot be opened"),
    "cut.nii.gz": (lambda p: _truncated(p, lambda p: _declares(p, (20, 20, 20)), 60),
                   "cut.nii.gz cannot be opened"),
    "bomb.nii.gz": (lambda p: _declares(p, (2000, 2000, 2000)),
                    "bomb.nii.gz says it holds 64.0 GB"),
    "bomb.tif": (lambda p: tifffile.imwrite(p, np.zeros((4000, 4000, 3), np.uint8),
                                            compression="zlib", rowsperstrip=4000),
                 "bomb.tif is stored in blocks of 48 MB.*gdal_translate"),
    "bomb.zarr": (_one_chunk, "bomb.zarr is stored in blocks of .* MB.*in smaller chunks first"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_corrupt_files_and_bombs(name, tmp_path):
    write, message = FILES[name]
    write(tmp_path / name)
    model, example = (VOLUME, (1, 1, 8, 8, 8)) if ".nii" in name else (WIDE, (1, 3, 8, 8))
    tiled = cs.tile(model, example, memory="100MB")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match=message) as caught:
        tiled.run(str(tmp_path / name), str(tmp_path / "out.zarr"))
    assert "\n" not in str(caught.value) and not (tmp_path / "out.zarr").exists()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


@pytest.mark.parametrize("ending", ["zarr", "npy", "tif", "nii", "nii.gz", "png"])
def test_a_disk_that_is_full_in_truth(ending, tmp_path):
    """The system refuses files above a size, as a full disk does: one line, and resume goes on."""
    rng, path, options = np.random.default_rng(0), str(tmp_path / f"out.{ending}"), {}
    tiled, image = cs.tile(WIDE, (1, 3, 8, 8), tile=100), rng.random((3, 200, 200), np.float32)
    if "nii" in ending:
        tiled, image = cs.tile(VOLUME, (1, 1, 8, 8, 8), tile=30), rng.random((40,) * 3, np.float32)
    if ending == "png":
        tiled = cs.tile(nn.Conv2d(3, 3, 3), (1, 3, 8, 8), tile=100)
        options = {"reduce": "probability"}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(DataError, match=r"no room left for .*run the same again with resume"):
            tiled.run(image, path, **options)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    left = [p for p in tmp_path.iterdir() if not p.name.endswith(".tiling")]
    assert ending == "zarr" or not left
    outcome = tiled.run(image, path, resume=True, **options)
    assert outcome.complete and outcome.computed > 0
    expected = tiled.run(image, **options).array
    if "nii" in ending or ending == "png":
        expected = np.moveaxis(expected, 0, -1)
    assert np.allclose(outcome.array, expected, atol=1e-6)


class Reducer:
    """One of a user's own, that forgets an axis."""

    keeps_channels = True

    def dtype(self, output, channels):
        return output

    def __call__(self, output):
        return output[..., :1]


IMAGE = np.random.default_rng(0).random((3, 40, 50), dtype=np.float32)
MAKING = {
    "overlap must be at least 0": {"overlap": "a"},
    "output must be the number of one, not 0.0": {"output": 0.0},
    "passes is True or False, not 'no'": {"passes": "no"},
    "allow_fallback is True or False": {"allow_fallback": 1},
    "device must be one such as": {"device": None},
    "tile must be an integer, not 1.5": {"tile": 1.5, "mode": "window"},
}
RUNNING = {
    "resume is True or False": {"resume": "no"},
    "force is True or False": {"force": 1},
    "part must be .* not 5": {"part": 5},
    r"part must be .* not \(False, True\)": {"part": (False, True)},
    "part must be .* at most 1,000,000,000": {"part": (0, 10**30)},
    "executor= takes an open Executor, not 5": {"executor": 5},
    "executor= takes an open Executor, not <class": {"executor": ThreadPoolExecutor},
    "where= takes an array, not 'mask.npy'": {"where": "mask.npy"},
    "the mask holds object, not numbers": {"where": np.array([[{}]], dtype=object)},
    "a reducer of your own has keeps_channels": {"reduce": lambda output: output},
    "Reducer made 2×40×1 of a tile, expected 2×40×50": {"reduce": Reducer()},
    "a reducer of your own .* not <class": {"reduce": Reducer},
    "scale takes finite numbers": {"scale": "1"},
    "std takes finite numbers": {"std": [1, 2, float("nan")]},
    "layout is letters": {"layout": 5},
    "the array has one level": {"level": 1},
    "level must be an integer": {"level": "0"},
    "fill=nan is not a value of uint8": {"reduce": "argmax", "fill": float("nan")},
    "fill=300 is not a value of uint8": {"reduce": "argmax", "fill": 300},
    "fill=None is not a value of float32": {"fill": None},
}


@pytest.mark.parametrize("message", MAKING)
def test_settings_that_are_none_of_theirs(message):
    with pytest.raises(cs.ConvsmithError, match=message):
        cs.tile(WIDE, (1, 3, 8, 8), **MAKING[message]).run(IMAGE)


@pytest.mark.parametrize("message", RUNNING)
def test_options_that_are_none_of_theirs(message):
    with pytest.raises(cs.ConvsmithError, match=message):
        cs.tile(WIDE, (1, 3, 8, 8)).run(IMAGE, **RUNNING[message])


def test_sources_without_values_of_their_own():
    tiled = cs.tile(WIDE, (1, 3, 8, 8))
    for source, message in (
        (torch.rand(3, 20, 20).to_sparse(), "pass x.to_dense"),
        (torch.rand(3, 20, 20, device="meta"), "must have values of its own"),
        (np.ma.masked_array(IMAGE, IMAGE > 0.5), "pass x.filled"),
    ):
        with pytest.raises(cs.ConvsmithError, match=message):
            tiled.run(source)
    narrow = torch.from_numpy(IMAGE).bfloat16()
    assert np.array_equal(tiled.run(narrow).array, tiled.run(narrow.float()).array)
    with pytest.raises(cs.ConvsmithError, match="weights without values, such as weight"):
        cs.tile(nn.Conv2d(3, 2, 3, device="meta"), (1, 3, 8, 8)).run(IMAGE)


def test_numbers_of_numpy_and_torch_are_numbers(tmp_path):
    tiled, path = cs.tile(WIDE, (1, 3, 8, 8), tile=16), str(tmp_path / "out.npy")
    expected = tiled.run(IMAGE, path, scale=0.5, mean=[0.25, 0.5, 0.75], std=2).array
    for number, kind in enumerate((np.float32, torch.tensor)):
        path = str(tmp_path / f"{number}.npy")
        means = kind([0.25, 0.5, 0.75]) if kind is torch.tensor else np.array([0.25, 0.5, 0.75])
        found = tiled.run(IMAGE, path, scale=kind(0.5), mean=means, std=kind(2.0)).array
        assert np.array_equal(found, expected)


def test_the_image_is_never_the_target(tmp_path):
    """Tiles would read what others have written: no error, and another result."""
    tiled = cs.tile(nn.Conv2d(3, 3, 3, padding=1), (1, 3, 8, 8), tile=16)
    np.save(tmp_path / "in.npy", IMAGE)
    store = zarr.create_array(str(tmp_path / "in.zarr"), data=IMAGE, chunks=(3, 16, 16))
    memory = zarr.create_array(zarr.storage.MemoryStore(), data=IMAGE, chunks=(3, 16, 16))
    image = IMAGE.copy()
    mapped = np.load(tmp_path / "in.npy", mmap_mode="r+")
    for source, target in (
        (image, image), (image, image[:]), (mapped, mapped), (str(tmp_path / "in.npy"), mapped),
        (store, store), (store, zarr.open_array(str(tmp_path / "in.zarr"))), (memory, memory),
        (mapped, str(tmp_path / "in.npy")), (store, str(tmp_path / "in.zarr")),
        (str(tmp_path / "in.zarr"), zarr.open_array(str(tmp_path / "in.zarr"))),
    ):  # fmt: skip
        with pytest.raises(cs.ConvsmithError, match="holds the image that is read"):
            tiled.run(source, target, **({"force": True} if isinstance(target, str) else {}))
    for same in (image, np.load(tmp_path / "in.npy"), store[...], memory[...]):
        assert np.array_equal(same, IMAGE)
    both = np.stack([IMAGE, np.zeros_like(IMAGE)])
    assert tiled.run(both[0], both[1]).complete  # neighbours in memory


def test_targets_that_take_nothing():
    fixed = np.zeros((2, 40, 50), np.float32)
    fixed.setflags(write=False)
    for target, message in (
        (fixed, "read-only"), (torch.zeros(2, 40, 50), "not Tensor"), (5, "not int"),
        ("a\0.npy", "is not a path"),
    ):  # fmt: skip
        with pytest.raises(cs.ConvsmithError, match=message):
            cs.tile(WIDE, (1, 3, 8, 8)).run(IMAGE, target)


def test_a_target_that_is_damaged_or_gone(tmp_path):
    image = np.random.default_rng(0).random((3, 40, 40), dtype=np.float32)
    tiled, path = cs.tile(WIDE, (1, 3, 8, 8), tile=16), tmp_path / "out.npy"
    tiled.run(image, str(path))
    path.write_bytes(path.read_bytes()[:100])
    for _ in range(2):
        with pytest.raises(DataError, match=r"out.npy cannot be opened to go on .* pass force"):
            tiled.run(image, str(path), resume=True)
        path.unlink(missing_ok=True)
    assert tiled.run(image, str(path), force=True).complete


def test_on_the_command_line_one_line_without_a_traceback(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text("from torch import nn\ndef build():\n    return nn.Conv2d(3, 2, 3)\n")
    np.save("small.npy", np.zeros((3, 2, 40), np.float32))
    np.save("four.npy", np.zeros((4, 20, 40), np.float32))
    Path("text.tif").write_text("not a TIFF")
    for name, message in (
        ("small.npy", "for an image of 3×2×40"), ("text.tif", "cannot be opened"),
        ("four.npy", "the network takes 3 channels"), ("gone.npy", "there is no file"),
    ):  # fmt: skip
        assert main(["tile", "net.py:build", name, "out.zarr"]) in (1, 2)
        out, err = capsys.readouterr()
        assert not out and len(err.splitlines()) == 1 and message in err
        assert not Path("out.zarr").exists()
