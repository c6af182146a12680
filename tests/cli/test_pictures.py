"""Folders of images, against Pillow and numpy; broken ones named, refused or skipped."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from convsmith.cli import pictures
from convsmith.cli.data import load_images
from convsmith.cli.pictures import ImageFiles
from convsmith.errors import ArgumentError, DataError, MissingExtra

RANDOM = np.random.default_rng(0)


def picture(path: Path, size: tuple[int, int] = (6, 4), mode: str = "RGB") -> np.ndarray:
    """Write an image of random pixels (rows, columns) without loss, and return its pixels."""
    shape = size if mode == "L" else (*size, len(mode))
    pixels = RANDOM.integers(0, 256, shape, dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels, mode).save(path)
    return pixels


def shown(images: object) -> np.ndarray:
    """Return N × H × W × C in 0 to 255."""
    assert isinstance(images, torch.Tensor)
    return (images * 255).round().permute(0, 2, 3, 1).numpy().astype(np.uint8)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    for name in ("dog/b.png", "cat/z.png", "dog/a.PNG", "cat/10.bmp", "eel/x.ppm"):
        picture(tmp_path / name)
    for name in ("dog/.hidden.png", ".cache/x.png", "cat/notes.txt", "README"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("no image")
    return tmp_path


def test_a_folder_a_class(pets: Path) -> None:
    found = load_images(str(pets))
    files = ["cat/10.bmp", "cat/z.png", "dog/a.PNG", "dog/b.png", "eel/x.ppm"]
    assert found.classes == ("cat", "dog", "eel") and found.skipped == () and found.splits == ()
    assert found.labels is not None and found.labels.tolist() == [0, 0, 1, 1, 2]
    assert found.labels.dtype == torch.int64
    assert found.shape == (5, 3, 6, 4) and found.name == str(pets)
    expected = np.stack([np.asarray(Image.open(pets / file)) for file in files])
    assert np.array_equal(shown(found.images), expected)


def test_a_flat_folder_has_no_labels(tmp_path: Path) -> None:
    pixels = [picture(tmp_path / f"{name}.png", mode="L") for name in "ab"]
    found = load_images(str(tmp_path))
    assert found.labels is None and found.classes == () and found.shape == (2, 1, 6, 4)
    assert np.array_equal(shown(found.images)[..., 0], np.stack(pixels))


@pytest.mark.parametrize("suffix", ["png", "bmp", "webp", "tif", "tiff", "ppm", "jpg", "jpeg"])
def test_every_format(tmp_path: Path, suffix: str) -> None:
    pixels = np.full((5, 3, 3), 77, np.uint8)
    options = {"lossless": True} if suffix == "webp" else {}
    Image.fromarray(pixels).save(tmp_path / f"x.{suffix}", **options)
    difference = np.abs(shown(load_images(str(tmp_path)).images)[0].astype(int) - pixels)
    assert difference.max() <= (2 if suffix.startswith("jp") else 0)


def test_grey_stays_grey_until_one_is_coloured(tmp_path: Path) -> None:
    grey = picture(tmp_path / "a.pgm", mode="L")
    assert load_images(str(tmp_path)).shape == (1, 1, 6, 4)
    colour = picture(tmp_path / "b.png")
    both = load_images(str(tmp_path))
    assert both.shape == (2, 3, 6, 4)
    assert np.array_equal(shown(both.images)[0], np.repeat(grey[..., None], 3, 2))
    lone = load_images(str(tmp_path), channels=1)
    assert lone.shape == (2, 1, 6, 4)
    luma = np.asarray(Image.fromarray(colour).convert("L"))
    assert np.array_equal(shown(lone.images)[1, ..., 0], luma)


def test_alpha_palette_and_bilevel(tmp_path: Path) -> None:
    pixels = picture(tmp_path / "alpha.png", mode="RGBA")
    Image.fromarray(pixels[..., :3]).quantize(4).save(tmp_path / "palette.png")
    Image.fromarray(pixels[..., 0] > 99).save(tmp_path / "zbit.png")
    found = load_images(str(tmp_path), channels=3)
    images = shown(found.images)
    assert np.array_equal(images[0], pixels[..., :3])
    assert len(np.unique(images[1].reshape(-1, 3), axis=0)) <= 4
    assert np.array_equal(images[2, ..., 0], np.where(pixels[..., 0] > 99, 255, 0))


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_sixteen_bits_keep_their_range(tmp_path: Path, suffix: str) -> None:
    values = RANDOM.integers(0, 65536, (5, 7)).astype(np.uint16)
    values[0, :2] = 0, 65535
    Image.fromarray(values).save(tmp_path / f"x.{suffix}")
    images = load_images(str(tmp_path)).images
    assert isinstance(images, torch.Tensor) and images.shape == (1, 1, 5, 7)
    assert np.array_equal((images[0, 0].double() * 65535).round().numpy(), values)


def test_thirty_two_bits_have_no_known_range(tmp_path: Path) -> None:
    Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "x.tif")
    with pytest.raises(DataError, match=r"x\.tif has 32-bit pixels, whose range is unknown"):
        load_images(str(tmp_path))


def test_sizes_that_differ_are_named_or_made_alike(tmp_path: Path) -> None:
    for name, size in (("a", (6, 4)), ("b", (6, 4)), ("c", (5, 8)), ("d", (9, 9))):
        picture(tmp_path / f"{name}.png", size)
    with pytest.raises(DataError, match=r"c\.png has 5×8 rows × columns, .*a\.png has 6×4; pass"):
        load_images(str(tmp_path))
    found = load_images(str(tmp_path), size=(3, 5))
    assert found.shape == (4, 3, 3, 5)
    one = torch.tensor(np.asarray(Image.open(tmp_path / "c.png"))).permute(2, 0, 1) / 255
    expected = torch.nn.functional.interpolate(one[None], (3, 5), mode="bilinear", antialias=True)
    assert torch.equal(found.images[2], expected[0])
    assert load_images(str(tmp_path), size=8).shape == (4, 3, 8, 8)


def test_resizing_is_antialiased(tmp_path: Path) -> None:
    """A checkerboard of single pixels becomes grey, not a choice of black and white."""
    board = np.indices((64, 64)).sum(0) % 2 * 255
    Image.fromarray(board.astype(np.uint8)).save(tmp_path / "x.png")
    images = load_images(str(tmp_path), size=8).images
    assert isinstance(images, torch.Tensor)
    assert (images - 0.5).abs().max() < 0.06


def truncated(path: Path) -> None:
    picture(path, (64, 64))
    path.write_bytes(path.read_bytes()[:2000])


def with_wrong_checksum(path: Path) -> None:
    picture(path)
    content = bytearray(path.read_bytes())
    content[content.index(b"IDAT") + 6] ^= 0xFF
    path.write_bytes(content)


def without_content(path: Path) -> None:
    path.write_bytes(b"")


def text(path: Path) -> None:
    path.write_text("<html>404</html>")


def script(path: Path) -> None:
    """PostScript, which Pillow would give to an interpreter if it were asked to."""
    path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 6 4\n%%EndComments\nshowpage\n")


def bomb(path: Path) -> None:
    """A few bytes that say they are 100000 × 100000 pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + data)


DAMAGES = [truncated, with_wrong_checksum, without_content, text, script, bomb]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_broken_image_is_named_and_refused(pets: Path, damage: object) -> None:
    damage(pets / "dog" / "aa.png")  # type: ignore[operator]
    with pytest.raises(
        DataError, match=r"dog/aa\.png (is broken: |is not an image|would unpack)"
    ) as caught:
        load_images(str(pets), size=4)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("on_disk", [False, True])
def test_a_broken_image_is_skipped_and_listed(
    pets: Path, monkeypatch: pytest.MonkeyPatch, damage: object, on_disk: bool
) -> None:
    whole = load_images(str(pets)).images
    if on_disk:
        monkeypatch.setattr(pictures, "_MOST_BYTES", 0)
    damage(pets / "dog" / "aa.png")  # type: ignore[operator]
    found = load_images(str(pets), on_error="skip", size=(6, 4))
    assert found.skipped == (pets / "dog" / "aa.png",)
    assert found.labels is not None and found.labels.tolist() == [0, 0, 1, 1, 2]
    assert torch.equal(found.images[:], whole[:]) and "1 skipped" in repr(found)


def test_a_bomb_below_pillows_own_limit_is_refused_too(
    pets: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setattr(pictures, "_MOST_PIXELS", 23)
    with pytest.raises(DataError, match=r"10\.bmp would unpack to 6×4 pixels: it is not opened"):
        load_images(str(pets))
    assert not recwarn.list


def test_when_all_are_broken_there_is_nothing_to_skip_to(tmp_path: Path) -> None:
    for name in "ab":
        text(tmp_path / f"{name}.png")
    with pytest.raises(DataError, match=r"all 2 images are broken; the first: .*a\.png is not"):
        load_images(str(tmp_path), on_error="skip")


def test_a_large_folder_stays_on_disk(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    eager = load_images(str(pets), size=(5, 5))
    monkeypatch.setattr(pictures, "_MOST_BYTES", 5 * 3 * 5 * 5 * 4 - 1)
    found = load_images(str(pets), size=(5, 5))
    lazy = found.images
    assert isinstance(lazy, ImageFiles) and isinstance(eager.images, torch.Tensor)
    assert found.shape == eager.shape and len(lazy) == 5 and lazy.shape == eager.images.shape
    for index in (2, -1, slice(1, 4), slice(0, 0), torch.tensor([4, 0]), [3]):
        assert torch.equal(lazy[index], eager.images[index])
    assert torch.equal(torch.stack(list(lazy)), eager.images)
    positions = torch.tensor([3, 1])
    part, expected = found.take(positions), eager.take(positions)
    assert isinstance(part.images, ImageFiles) and part.classes == found.classes
    assert torch.equal(part.images[:], expected.images[:])
    assert part.labels is not None and expected.labels is not None
    assert torch.equal(part.labels, expected.labels)


def test_a_large_folder_with_a_broken_image_is_refused_at_once(
    pets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "_MOST_BYTES", 0)
    with_wrong_checksum(pets / "dog" / "aa.png")
    with pytest.raises(DataError, match=r"aa\.png is broken"):
        load_images(str(pets))


def test_folders_of_training_and_test_images(tmp_path: Path) -> None:
    for name in ("train/cat/a.png", "train/dog/b.png", "val/cat/c.png", "val/dog/d.png"):
        picture(tmp_path / name)
    train, test = load_images(str(tmp_path)), load_images(str(tmp_path), split="test")
    assert (train.split, test.split) == ("train", "test") and train.splits == ("train", "test")
    assert train.classes == test.classes == ("cat", "dog")
    picture(tmp_path / "test/cat/e.png", (3, 3))
    picture(tmp_path / "test/dog/f.png", (3, 3))
    assert load_images(str(tmp_path), split="test").shape == (2, 3, 3, 3)  # not 'val'


def test_a_class_that_is_called_test_is_a_class(tmp_path: Path) -> None:
    for name in ("test/a.png", "cat/b.png"):
        picture(tmp_path / name)
    assert load_images(str(tmp_path)).classes == ("cat", "test")


def test_a_limit_takes_from_every_class(pets: Path) -> None:
    for number in range(7):
        picture(pets / "eel" / f"{number}.png")
    found = load_images(str(pets), limit=6)
    assert found.labels is not None and found.labels.tolist() == [0, 1, 2, 2, 2, 2]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        ([], "holds no images"),
        (["cat/a.png", "loose.png"], r"images both beside and in its folders: loose\.png"),
        (["cat/a.png", "dog/notes.txt"], "the folder of class 'dog' holds no images"),
        (["cat/deep/a.png"], "holds no images"),
        (["a.gif"], "holds no images"),
    ],
)
def test_folders_that_are_no_data(tmp_path: Path, make: list[str], message: str) -> None:
    for name in make:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
        if name.endswith(".png"):
            picture(tmp_path / name)
    with pytest.raises(DataError, match=message):
        load_images(str(tmp_path))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size must be one or two integers of at least 1, not 0"),
        ({"size": (3, 3, 3)}, "size must be"),
        ({"channels": 2}, "channels must be 1 or 3, not 2"),
        ({"limit": 0}, "limit must be at least 1"),
        ({"on_error": "ignore"}, "on_error must be one of 'fail', 'skip'"),
        ({"split": "val"}, "split must be one of 'train', 'test'"),
    ],
)
def test_arguments_that_cannot_be_right(
    tmp_path: Path, options: dict[str, object], message: str
) -> None:
    with pytest.raises(ArgumentError, match=message):
        load_images(str(tmp_path), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("package", "spec", "message"),
    [
        ("PIL", ".", r"reading images needs Pillow: pip install 'convsmith\[data\]'"),
        ("sklearn", "digits", r"'digits' needs scikit-learn: pip install 'convsmith\[data\]'"),
    ],
)
def test_a_missing_package_comes_with_its_install_line(
    here: Path, monkeypatch: pytest.MonkeyPatch, package: str, spec: str, message: str
) -> None:
    import sys

    picture(here / "a.png")
    for name in [m for m in sys.modules if m.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=message):
        load_images(spec)


def test_reading_images_changes_no_global(tmp_path: Path) -> None:
    import warnings

    from PIL import ImageFile

    picture(tmp_path / "a.png")
    before = list(warnings.filters)
    load_images(str(tmp_path))
    assert warnings.filters == before
    assert (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES) == (89_478_485, False)
