"""What a Zarr array may be made of: codecs that only unpack numbers, in ordinary files.

A codec is named by the array itself, and one of them unpickles: numcodecs refuses that by itself
only since 0.16.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from convsmith.errors import DataError

__all__ = ["check_codecs", "check_files"]

_NUMBERS = frozenset([
    "adler32", "astype", "bitround", "blosc", "bytes", "bz2", "crc32", "crc32c", "delta", "endian",
    "fixedscaleoffset", "fletcher32", "gzip", "jenkins_lookup3", "lz4", "lzma", "packbits",
    "pcodec", "quantize", "sharding_indexed", "shuffle", "transpose", "zfpy", "zlib", "zstd",
])  # fmt: skip


def check_codecs(array: Any, path: str) -> None:
    """Refuse an array that is unpacked by anything else.

    Raises:
        DataError: naming the codec.
    """
    for name in _names(array.metadata.to_dict()):
        if name.removeprefix("numcodecs.") not in _NUMBERS and not name.startswith("imagecodecs_"):
            raise DataError(
                f"{path} is packed with {name!r}, which does more than unpack numbers: "
                "it is not opened"
            )


def _names(described: Any) -> Iterator[str]:
    """The codecs of both formats of Zarr, those within shards too."""
    for key in ("codecs", "index_codecs", "filters", "compressor"):
        given = described.get(key) or ()
        for codec in [given] if isinstance(given, dict) else given:
            plain = codec if isinstance(codec, dict) else codec.get_config()
            yield str(plain.get("name", plain.get("id")))
            yield from _names(plain.get("configuration") or {})


def check_files(folder: str) -> None:
    """Refuse a folder with pipes or devices, which would keep a reader waiting for ever.

    Raises:
        DataError: naming the first of them.
    """
    if not os.path.isdir(folder):
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                check_files(entry.path)
            elif not _ordinary(entry):
                raise DataError(f"{entry.path} is neither a file nor a folder: it is not opened")


def _ordinary(entry: os.DirEntry[str]) -> bool:
    return entry.is_file() or entry.is_dir() or not os.path.exists(entry.path)
