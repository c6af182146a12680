"""The format of a file: a header that says what is in it, and parts, each with its digest.

    magic, length of the header      32 bytes
    header, as JSON
    SHA-256 of all that              32 bytes
    parts, each at a multiple of 64 from the start of the file
    signature                        32 bytes, zeros where there is none

Nothing is taken from a file before its digest was compared; sizes are compared with the file's own
before memory is asked for. The signature is that of the digest of the header, by a key that only
this user of this machine has: it tells apart what was saved here, and nothing else does.
"""

from __future__ import annotations

import hmac
import json
import os
import struct
from collections.abc import Mapping
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from secrets import token_bytes
from typing import TYPE_CHECKING, Any

import numpy as np

from convsmith.errors import ModelError, no_file
from convsmith.kernels.cache import Cache
from convsmith.machine import cache_folder, memory
from convsmith.runtime.execution.room import aligned

if TYPE_CHECKING:
    # It comes with Halide, and a stored program runs without.
    from convsmith.runtime.lowering.block import Array

__all__ = ["SUFFIX", "Container", "is_container", "packed"]

SUFFIX = ".cvs"
_MAGIC = b"\x93convsmith net\r\n"
_FORMAT = 1
_START = struct.Struct("<16sIIQ")
_DIGEST, _PLACE = 32, 64
_KEY = "signing-key"


def is_container(path: Path) -> bool:
    """Whether a file is, or is named like, a compiled network."""
    if path.suffix == SUFFIX:
        return not path.is_dir()
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(len(_MAGIC)) == _MAGIC


def packed(document: Mapping[str, Any], parts: Mapping[str, bytes]) -> bytes:
    """A file's content, signed.

    Args:
        document: what the parts mean, as JSON takes it.
        parts: by name.
    """
    places, offset = {}, 0
    for name, content in parts.items():
        places[name] = [offset, len(content), sha256(content).hexdigest()]
        offset += -(-len(content) // _PLACE) * _PLACE
    header = json.dumps({"parts": places, "document": document}, allow_nan=False).encode()
    head = _START.pack(_MAGIC, _FORMAT, 0, len(header)) + header
    digest = sha256(head).digest()
    pieces = [head, digest, b"\0" * (-(len(head) + _DIGEST) % _PLACE)]
    for content in parts.values():
        pieces += [content, b"\0" * (-len(content) % _PLACE)]
    return b"".join((*pieces, hmac.digest(_own_key(), digest, "sha256")))


def _own_key() -> bytes:
    """A secret of this user on this machine, kept beside the kernels; no one else can read it."""

    def make(path: Path) -> None:
        path.write_bytes(token_bytes(_DIGEST))

    return Cache(cache_folder()).get(_KEY, ".bin", make).read_bytes()[:_DIGEST]


class Container:
    """A file that was opened, whose header is as it was written.

    Args:
        content: the whole file.
        name: for messages.

    Attributes:
        document: what the parts mean.

    Raises:
        ModelError: for anything that was not written like this, or is damaged.
    """

    def __init__(self, content: Array, name: str) -> None:
        self.name = name
        self._content = content
        size = content.nbytes - _DIGEST
        if size < _START.size or bytes(content[:16]) != _MAGIC:
            raise ModelError(f"{name} is not a compiled network, as save writes it")
        _, version, _, length = _START.unpack(content[: _START.size].tobytes())
        if version != _FORMAT:
            raise ModelError(
                f"{name} has the format {version}, this convsmith reads {_FORMAT}: save it again"
            )
        end = _START.size + length
        if end + _DIGEST > size:
            raise self.damaged("it ends too early")
        head = content[:end].tobytes()
        self._digest = sha256(head).digest()
        if self._digest != content[end : end + _DIGEST].tobytes():
            raise self.damaged("its header is not what was written")
        try:
            header = json.loads(head[_START.size :])
            self.document: dict[str, Any] = dict(header["document"])
            places = dict(header["parts"])
            self._parts = {
                str(key): (int(at), int(n), str(digest)) for key, (at, n, digest) in places.items()
            }
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise self.damaged("its header cannot be read") from error
        self._first = end + _DIGEST + -(end + _DIGEST) % _PLACE
        if any(at < 0 or n < 0 or self._first + at + n > size for at, n, _ in self._parts.values()):
            raise self.damaged("it ends too early")

    @classmethod
    def open(cls, path: Path) -> Container:
        """Read a file.

        Raises:
            ModelError: for a file that is missing, cannot be read, or is no such file.
        """
        if not path.is_file():  # a pipe would keep its reader waiting
            raise ModelError(no_file(path, f"*{SUFFIX}"))
        try:
            with path.open("rb") as stream:
                size = os.fstat(stream.fileno()).st_size
                if size > memory():
                    raise ModelError(f"{path} is larger than this machine's memory")
                content = aligned(size, _PLACE)
                if stream.readinto(content.data) != size:
                    raise ModelError(f"{path} became shorter while it was read")
        except OSError as error:
            raise ModelError(f"{path} cannot be read: {error.strerror or error}") from error
        return cls(content, str(path))

    @classmethod
    def of(cls, content: bytes, name: str) -> Container:
        """What `packed` gave."""
        held = aligned(len(content), _PLACE)
        held[:] = np.frombuffer(content, np.uint8)
        return cls(held, name)

    @cached_property
    def is_own(self) -> bool:
        """Whether this user of this machine has written it."""
        signature = self._content[-_DIGEST:].tobytes()
        return hmac.compare_digest(hmac.digest(_own_key(), self._digest, "sha256"), signature)

    def __contains__(self, name: str) -> bool:
        return name in self._parts

    def part(self, name: str) -> Array:
        """The bytes of a part, at a multiple of 64.

        Raises:
            ModelError: for one that is missing or damaged.
        """
        if name not in self._parts:
            raise self.damaged(f"it has no {name!r}")
        at, size, digest = self._parts[name]
        content = self._content[self._first + at : self._first + at + size]
        if sha256(content.data).hexdigest() != digest:
            raise self.damaged(f"its part {name!r} is not what was written")
        return content

    def damaged(self, why: str) -> ModelError:
        """The refusal of a file that is damaged."""
        return ModelError(f"{self.name} is damaged: {why}")
