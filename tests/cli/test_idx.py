"""IDX files, written here byte by byte: read exactly, or refused by name."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from convsmith.cli.data import load_images
from convsmith.cli.idx import is_idx, read_idx
from convsmith.errors import ArgumentError, DataError


def idx(values: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    return header + values.astype(np.uint8).tobytes()


def write(folder: Path, number: int = 6, prefix: str = "train-", suffix: str = "") -> np.ndarray:
    """Write images and labels; labels are the position modulo 3."""
    pack = gzip.compress if suffix == ".gz" else bytes
    values = np.random.default_rng(number).integers(0, 256, (number, 5, 7))
    (folder / f"{prefix}images-idx3-ubyte{suffix}").write_bytes(pack(idx(values)))
    labels = np.arange(number) % 3
    (folder / f"{prefix}labels-idx1-ubyte{suffix}").write_bytes(pack(idx(labels)))
    return values


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("where", ["", "raw", "MNIST/raw"])
def test_a_folder_of_idx(tmp_path: Path, suffix: str, where: str) -> None:
    folder = tmp_path / where
    folder.mkdir(parents=True, exist_ok=True)
    train, test = write(folder, 6, suffix=suffix), write(folder, 4, "t10k-", suffix)
    found = load_images(str(tmp_path))
    assert found.splits == ("train", "test") and found.split == "train"
    assert found.images.dtype == torch.float32 and found.shape == (6, 1, 5, 7)
    assert np.array_equal((found.images[:, 0] * 255).round().numpy(), train)
    assert found.labels is not None and found.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert found.labels.dtype == torch.int64 and found.classes == ("0", "1", "2")
    held = load_images(str(tmp_path), split="test")
    assert held.split == "test"
    assert np.array_equal((held.images[:, 0] * 255).round().numpy(), test)


def test_one_pair_without_a_split(tmp_path: Path) -> None:
    write(tmp_path, prefix="digits-")
    for split in (None, "train"):
        found = load_images(str(tmp_path), split=split)
        assert found.splits == () and found.split is None and len(found) == 6
    with pytest.raises(DataError, match="has no test part"):
        load_images(str(tmp_path), split="test")


def test_a_file_brings_its_labels(tmp_path: Path) -> None:
    write(tmp_path, 4, "t10k-", ".gz")
    path = tmp_path / "t10k-images-idx3-ubyte.gz"
    assert load_images(str(path)).labels is not None
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    found = load_images(str(path))
    assert found.labels is None and found.classes == () and found.splits == ()
    with pytest.raises(DataError, match="has no test part"):
        load_images(str(path), split="test")


def test_names_with_dots_and_files_beside_their_gzip(tmp_path: Path) -> None:
    values = np.arange(12).reshape(2, 2, 3)
    (tmp_path / "train-images.idx3-ubyte").write_bytes(idx(values))
    (tmp_path / "train-images.idx3-ubyte.gz").write_bytes(b"not looked at")
    (tmp_path / "train-labels.idx1-ubyte").write_bytes(idx(np.array([1, 0])))
    found = load_images(str(tmp_path))
    assert found.labels is not None and found.labels.tolist() == [1, 0]


def test_two_data_sets_in_a_folder_are_not_mixed(tmp_path: Path) -> None:
    write(tmp_path, prefix="emnist-letters-train-")
    write(tmp_path, prefix="emnist-mnist-train-")
    with pytest.raises(ArgumentError, match=r"two data sets, .*letters.* and .*mnist-train"):
        load_images(str(tmp_path))


def test_a_limit_is_spread_over_the_source(tmp_path: Path) -> None:
    values = write(tmp_path, 9)
    found = load_images(str(tmp_path), limit=3)
    assert np.array_equal((found.images[:, 0] * 255).round().numpy(), values[[0, 3, 6]])
    assert len(load_images(str(tmp_path), limit=100)) == 9


def test_channels_and_size(tmp_path: Path) -> None:
    write(tmp_path)
    plain = load_images(str(tmp_path)).images
    found = load_images(str(tmp_path), channels=3, size=(4, 6))
    assert found.shape == (6, 3, 4, 6)
    assert isinstance(plain, torch.Tensor) and isinstance(found.images, torch.Tensor)
    expected = torch.nn.functional.interpolate(plain, (4, 6), mode="bilinear", antialias=True)
    assert torch.equal(found.images, expected.repeat(1, 3, 1, 1))


GOOD = idx(np.arange(2 * 3 * 4).reshape(2, 3, 4))
# Without the time, so that every worker names the tests below alike.
PACKED = gzip.compress(GOOD, mtime=0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (GOOD[:-1], r"promises 2×3×4 = 24 bytes, found 23: it is truncated"),
        (GOOD[:16], "found 0: it is truncated"),
        (GOOD[:15], "15 bytes are not an IDX file: it is truncated"),
        (b"", "0 bytes are not an IDX file: it is truncated"),
        (GOOD + b"\0", "promises 2×3×4 = 24 bytes, found more"),
        (idx(np.arange(24)), "begins with 00000801, expected 00000803"),
        (b"\0\0\x0d\x03" + GOOD[4:], "begins with 00000d03, expected 00000803"),
        (b"\x89PNG" + GOOD[4:], "begins with 89504e47"),
        (idx(np.zeros((0, 3, 4))), "one of its sizes is 0: 0×3×4"),
        (GOOD[:4] + b"\xff" * 12 + GOOD[16:], "found 24: it is truncated"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "images-idx3-ubyte"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_idx(path, 3)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [PACKED[:-9], PACKED[:12], b"no gzip", PACKED[:-1]],
)
def test_a_damaged_gzip_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz cannot be read"):
        load_images(str(tmp_path))


def test_a_gzip_that_holds_more_than_it_says_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(GOOD + bytes(50_000_000), 1))
    with pytest.raises(DataError, match="found more"):
        read_idx(path, 3)


def test_labels_of_another_number_are_refused(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.arange(5)))
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte has 5 labels for 6 images"):
        load_images(str(tmp_path))


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=3, max_dims=3, max_side=13)), st.booleans())
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, values: np.ndarray, packed: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / ("any.gz" if packed else "any")
    path.write_bytes(gzip.compress(idx(values), 1) if packed else idx(values))
    assert np.array_equal(read_idx(path, 3).numpy(), values)


@given(st.binary(max_size=64))
def test_any_bytes_are_read_whole_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz"
    path.write_bytes(content)
    try:
        values = read_idx(path, 1)
    except DataError:
        return
    assert idx(values.numpy()) == content


def test_names() -> None:
    assert is_idx("train-images-idx3-ubyte") and not is_idx("train-labels-idx1-ubyte")
    assert not is_idx("photo.png") and not is_idx("train-images-idx3-ubyte.zip")
