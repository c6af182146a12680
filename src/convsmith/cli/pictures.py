"""A folder of images, read into a tensor or, if it is too large for that, on demand.

Pillow decodes; only the formats below are tried, and an image that would unpack to an
unreasonable size is refused before it does.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from convsmith.cli.output import progress
from convsmith.errors import ArgumentError, DataError, MissingExtra, first_line
from convsmith.machine import memory, processors
from convsmith.report.unpacking import FORMATS, check_pixels
from convsmith.text import times

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

__all__ = ["ImageFiles", "check_size", "class_folders", "image_files", "read_images", "resize"]

T = TypeVar("T")

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".pgm", ".ppm")
# From this size Pillow warns of a decompression bomb.
_LONGEST_SIDE = 1 << 15
_MOST_PIXELS = 89_478_485
# Above this many bytes of float32 the images stay on disk.
_MOST_BYTES = 1 << 30
_GREY = ("1", "L", "LA", "I", "I;16", "I;16L", "I;16B", "I;16N")


def image_files(folder: Path) -> list[Path]:
    """List the images directly in a folder, by name; hidden files are left out."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


def class_folders(folder: Path) -> list[Path]:
    """List the folders directly in a folder, by name; hidden ones are left out."""
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


@dataclass(frozen=True)
class ImageFiles:
    """Images on disk that are indexed like a tensor N × C × H × W and decoded when asked for.

    Args:
        files: one per image.
        channels: 1 or 3.
        size: rows and columns, to which the images are resized.
    """

    files: tuple[Path, ...]
    channels: int
    size: tuple[int, int]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """N, C, H, W."""
        return (len(self.files), self.channels, *self.size)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: Any) -> Tensor:
        """Decode one image (C × H × W), or those of a slice, list or LongTensor (N × C × H × W)."""
        import torch

        if isinstance(index, int):
            return _decode(self.files[index], self.channels, self.size)
        if isinstance(index, slice):
            chosen: Sequence[Path] = self.files[index]
        else:
            chosen = [self.files[int(i)] for i in index]
        if not chosen:
            return torch.empty(0, self.channels, *self.size)
        return torch.stack([_decode(file, self.channels, self.size) for file in chosen])

    def take(self, positions: Iterable[Any]) -> ImageFiles:
        """Return the images at some positions, without decoding them."""
        return replace(self, files=tuple(self.files[int(i)] for i in positions))

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return f"ImageFiles({times(self.shape)})"


def read_images(
    files: Sequence[Path],
    *,
    size: tuple[int, int] | None,
    channels: int | None,
    skip: bool,
) -> tuple[Tensor | ImageFiles, list[int], list[Path]]:
    """Read image files of any size into float32 between 0 and 1.

    Args:
        files: the images.
        size: rows and columns to resize to; without it the images must agree.
        channels: 1 or 3; without it, 1 if all are grey, else 3.
        skip: whether a broken image is left out, or is an error.

    Returns:
        The images, the positions in `files` that they come from, and the files left out.

    Raises:
        DataError: naming the first image that is broken, or of another size than the first.
        MissingExtra: without Pillow.
    """
    _pillow()
    broken: dict[int, DataError] = {}

    def each(what: str, function: Callable[[Path], T], positions: Sequence[int]) -> dict[int, T]:
        """Apply a function to files, in parallel; keep those that are whole, in order."""
        done: dict[int, T] = {}

        def attempt(position: int) -> T | DataError:
            try:
                return function(files[position])
            except DataError as error:
                return error

        with (
            _bombs_quiet(),
            ThreadPoolExecutor(processors()) as pool,
            progress(what, len(positions)) as advance,
        ):
            for position, result in zip(positions, pool.map(attempt, positions), strict=True):
                advance()
                if not isinstance(result, DataError):
                    done[position] = result
                elif skip:
                    broken[position] = result
                else:
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise result
        if not done:
            first = broken[min(broken)]
            raise DataError(f"all {len(files)} images are broken; the first: {first}")
        return done

    import torch

    heads = each("looking at images", _head, range(len(files)))
    depth = channels or (1 if all(mode in _GREY for _, mode in heads.values()) else 3)
    shape = size or _common_size({files[i]: rows_columns for i, (rows_columns, _) in heads.items()})
    fits = len(heads) * depth * math.prod(shape) * 4 <= _MOST_BYTES
    # Images that stay on disk are decoded now all the same: a broken one must not end a long run
    # halfway.
    images = torch.empty(len(heads) if fits else 0, depth, *shape)
    places = {files[position]: place for place, position in enumerate(heads)}

    def decode(file: Path) -> None:
        pixels = _decode(file, depth, shape)
        if fits:
            images[places[file]] = pixels

    kept = list(each("reading images", decode, list(heads)))
    skipped = [files[i] for i in sorted(broken)]
    if not fits:
        return ImageFiles(tuple(files[i] for i in kept), depth, shape), kept, skipped
    if len(kept) < len(images):
        images = images[[places[files[i]] for i in kept]]
    return images, kept, skipped


def resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize N × C × H × W bilinearly, with antialiasing; the aspect is not kept."""
    from torch.nn.functional import interpolate

    if tuple(images.shape[-2:]) == tuple(size):
        return images
    needed = math.prod(images.shape[:-2]) * math.prod(size) * 4
    if needed > memory():
        raise ArgumentError(
            f"{len(images)} images of {times(size)} take {needed / 1e9:,.0f} GB, this machine has "
            f"{memory() / 1e9:,.0f} GB of memory"
        )
    resized: Tensor = interpolate(images, size, mode="bilinear", antialias=True)
    return resized


def check_size(size: int | Sequence[int] | None) -> tuple[int, int] | None:
    """Return rows and columns, from one number for both or two.

    >>> check_size(32), check_size((32, 48)), check_size(None)
    ((32, 32), (32, 48), None)
    """
    if size is None:
        return None
    pair = (size, size) if isinstance(size, int) else tuple(size)
    if len(pair) == 2 and all(isinstance(n, int) for n in pair) and max(pair) > _LONGEST_SIDE:
        raise ArgumentError(f"size must be at most {_LONGEST_SIDE}, not {size!r}")
    if len(pair) != 2 or any(not isinstance(n, int) or n < 1 for n in pair):
        raise ArgumentError(f"size must be one or two integers of at least 1, not {size!r}")
    return pair[0], pair[1]


def _head(file: Path) -> tuple[tuple[int, int], str]:
    with _opened(file) as image:
        return (image.height, image.width), image.mode


def _decode(file: Path, channels: int, size: tuple[int, int]) -> Tensor:
    """Decode a file into a float32 tensor C × H × W between 0 and 1."""
    with _opened(file) as image:
        try:
            pixels = _pixels(image, channels)
        except DataError:
            raise
        except Exception as error:  # decoders fail in many ways
            raise _broken(file, error) from error
    return resize(pixels[None], size)[0]


def _pixels(image: Image, channels: int) -> Tensor:
    import torch

    mode = image.mode
    if mode == "F" or (mode == "I" and image.format not in ("PNG", "PPM")):
        raise DataError(f"{_name(image)} has 32-bit pixels, whose range is unknown")
    if mode.startswith("I"):
        wide = bytearray(image.convert("I").tobytes())
        grey = torch.frombuffer(wide, dtype=torch.int32).reshape(1, image.height, image.width)
        return (grey / 65535).repeat(channels, 1, 1)
    plain = image.convert("L" if channels == 1 else "RGB")
    values = torch.frombuffer(bytearray(plain.tobytes()), dtype=torch.uint8)
    return values.reshape(plain.height, plain.width, channels).permute(2, 0, 1) / 255


def _opened(file: Path) -> Image:
    from PIL import Image

    try:
        image = Image.open(file, formats=FORMATS)
    except Exception as error:
        raise _broken(file, error) from error
    check_pixels(file, image, _MOST_PIXELS)
    return image


def _broken(file: Path, error: Exception) -> DataError:
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return DataError(f"{file} is not an image: expected {', '.join(FORMATS)}")
    return DataError(f"{file} is broken: {first_line(error)}")


def _common_size(sizes: dict[Path, tuple[int, int]]) -> tuple[int, int]:
    (first, size), *others = sizes.items()
    for file, other in others:
        if other != size:
            raise DataError(
                f"images differ in size: {file} has {other[0]}×{other[1]} rows × columns, {first} "
                f"has {size[0]}×{size[1]}; pass a size to resize them to"
            )
    return size


def _name(image: Image) -> str:
    return str(getattr(image, "filename", "") or "an image")


def _pillow() -> None:
    try:
        import PIL.Image  # noqa: F401
    except ImportError as error:
        raise MissingExtra("reading images", extra="data", package="Pillow") from error


@contextmanager
def _bombs_quiet() -> Iterator[None]:
    """Silence Pillow's warning of a decompression bomb, which is an error here."""
    from PIL.Image import DecompressionBombWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DecompressionBombWarning)
        yield
