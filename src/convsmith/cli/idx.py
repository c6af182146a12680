"""IDX files, the format of MNIST: bytes with a header of big-endian sizes, often gzipped."""

from __future__ import annotations

import gzip
import math
import re
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from convsmith.errors import ArgumentError, DataError
from convsmith.text import times

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["IdxPair", "is_idx", "pair_of", "pairs_in", "read_idx"]

# train-images-idx3-ubyte, t10k-images.idx3-ubyte, emnist-letters-test-images-idx3-ubyte.gz
_IMAGES = re.compile(r"(.*)images([-.])idx3([-.])ubyte(\.gz)?")
_UNSIGNED_BYTE = 8


class IdxPair(NamedTuple):
    """A file of images and, if there is one, its file of labels."""

    images: Path
    labels: Path | None


def is_idx(name: str) -> bool:
    """Whether a file has the name of an IDX file of images.

    >>> is_idx("t10k-images-idx3-ubyte.gz"), is_idx("t10k-labels-idx1-ubyte")
    (True, False)
    """
    return _IMAGES.fullmatch(name) is not None


def pair_of(images: Path) -> IdxPair:
    """Find the labels next to a file of images, gzipped or not."""
    match = _IMAGES.fullmatch(images.name)
    if match is None:
        return IdxPair(images, None)
    stem, first, second, _ = match.groups()
    plain = images.with_name(f"{stem}labels{first}idx1{second}ubyte")
    for path in (plain, plain.with_name(f"{plain.name}.gz")):
        if path.is_file():
            return IdxPair(images, path)
    return IdxPair(images, None)


def pairs_in(files: Iterable[Path]) -> dict[str, IdxPair]:
    """Find the IDX files among others, by split: `train`, `test` or, unnamed, `''`.

    Raises:
        ArgumentError: when two data sets are in one folder, naming both.
    """
    pairs: dict[str, IdxPair] = {}
    for path in sorted(files):  # a file comes before the same one with .gz
        match = _IMAGES.fullmatch(path.name)
        if match is None:
            continue
        name = match[1].lower()
        split = "test" if "t10k" in name or "test" in name else "train" if "train" in name else ""
        before = pairs.setdefault(split, pair_of(path)).images
        if path.name not in (before.name, f"{before.name}.gz"):
            raise ArgumentError(f"two data sets, {before} and {path.name}: name one of the files")
    return pairs


def read_idx(path: Path, dimensions: int) -> Tensor:
    """Read an IDX file of unsigned bytes.

    Args:
        path: the file, gzipped if its name ends in `.gz`.
        dimensions: 3 for images (number × rows × columns), 1 for labels.

    Returns:
        A uint8 tensor with the sizes of the header.

    Raises:
        DataError: naming the file, for another format, an empty axis, or a length that is not
            the one its header promises.
    """
    try:
        with _open(path) as stream:
            header = stream.read(4 + 4 * dimensions)
            sizes = _sizes(header, dimensions, path)
            expected = math.prod(sizes)
            # One byte more than promised already shows that a file is too long.
            body = bytearray(_read(stream, expected + 1))
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if len(body) != expected:
        shape = times(sizes)
        found = "more" if len(body) > expected else f"{len(body)}: it is truncated"
        raise DataError(f"{path}: its header promises {shape} = {expected} bytes, found {found}")
    import torch

    return torch.frombuffer(body, dtype=torch.uint8).reshape(sizes)


def _open(path: Path) -> IO[bytes]:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def _read(stream: IO[bytes], length: int) -> bytes:
    """Read up to `length` bytes in pieces: a lying header must not reserve memory."""
    pieces, left = [], length
    while left and (piece := stream.read(min(left, 1 << 24))):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def _sizes(header: bytes, dimensions: int, path: Path) -> tuple[int, ...]:
    if len(header) < 4 + 4 * dimensions:
        raise DataError(f"{path}: {len(header)} bytes are not an IDX file: it is truncated")
    zero, kind, count = struct.unpack(">HBB", header[:4])
    if (zero, kind, count) != (0, _UNSIGNED_BYTE, dimensions):
        expected = f"0000{_UNSIGNED_BYTE:02x}{dimensions:02x}"
        raise DataError(f"{path} begins with {header[:4].hex()}, expected {expected} (IDX, bytes)")
    sizes = struct.unpack(f">{dimensions}I", header[4:])
    if 0 in sizes:
        raise DataError(f"{path}: one of its sizes is 0: {times(sizes)}")
    return sizes
