"""NIfTI: volumes whose header says where they are in the world."""

from __future__ import annotations

import gzip
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convsmith.errors import ArgumentError, MissingExtra
from convsmith.text import times
from convsmith.tiling.placement import Placement
from convsmith.tiling.stores.form import Form
from convsmith.tiling.stores.room import placed

__all__ = ["check", "compress", "create", "load", "reopen", "values"]

_TYPES = ("uint8", "int16", "int32", "uint16", "uint32", "float32", "float64")
"""The types that every reader of NIfTI knows."""

_LONGEST = 32767
"""The longest axis of NIfTI-1; beyond it a file is NIfTI-2, which fewer readers know."""

_ABOUT_VALUES = ("intent_code", "intent_name", "cal_min", "cal_max", "glmin", "glmax")
"""What a header says of the image's values: it is not true of the result's."""


def _nibabel(doing: str) -> Any:
    try:
        import nibabel
    except ImportError:
        raise MissingExtra(f"{doing} NIfTI", extra="nifti", package="nibabel") from None
    return nibabel


def load(path: str) -> Any:
    """The image in a file, whose values are not read yet."""
    return _nibabel("reading").load(path)


def check(path: str, form: Form) -> None:
    """Refuse what NIfTI cannot hold.

    Raises:
        ArgumentError: naming what it holds.
    """
    if form.layout not in ("ZYX", "ZYXC"):
        raise ArgumentError(
            f"{path} holds one volume with three axes, and channels: not a result of shape "
            f"{times(form.shape)} ({form.layout})"
        )
    if form.dtype not in _TYPES:
        raise ArgumentError(f"{path} holds {', '.join(_TYPES)}, not {form.dtype}")


def create(path: str, form: Form, placement: Placement | None) -> Any:
    """A file with its header, and its voxels as a memory map."""
    head = _header(form, placement)
    offset = int(head.get_data_offset())

    def make(draft: str) -> NDArray[Any]:
        with open(draft, "wb") as file:
            head.write_to(file)
            file.truncate(offset + form.bytes)
        return np.memmap(draft, head.get_data_dtype(), "r+", offset, form.shape, order="F")

    placed(path, form.fill, make)
    return reopen(path)


def reopen(path: str) -> Any:
    """The voxels of a file that `create` has made."""
    image = load(path)
    kind, shape = image.header.get_data_dtype(), image.shape
    # The header of an image that was loaded no longer says where its voxels begin.
    return np.memmap(path, kind, "r+", int(image.dataobj.offset), shape, order="F")


def compress(array: Any, file: Any, form: Form, placement: Placement | None) -> None:
    """Write voxels that were gathered as a compressed file."""
    nibabel = _nibabel("writing")
    head = _header(form, placement)
    kind = nibabel.Nifti1Image if head["sizeof_hdr"] == 348 else nibabel.Nifti2Image
    with gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:
        kind(array, None, head).to_stream(packed)


def values(path: str) -> Any:
    """The voxels of a compressed file."""
    return np.asarray(load(path).dataobj)


def _header(form: Form, placement: Placement | None) -> Any:
    """The header of the image, turned into that of the result: its affine moves with the step."""
    nibabel = _nibabel("writing")
    kind = nibabel.Nifti1Header if max(form.shape) <= _LONGEST else nibabel.Nifti2Header
    source = _source(placement)
    head = kind() if source is None else kind.from_header(source.header)
    steps = (1.0,) * 3 if placement is None else placement.step
    move = np.eye(4) if placement is None else placement.matrix()
    zooms = np.array(head.get_zooms()[:3]) if source is not None else np.ones(3)
    for name in set(_ABOUT_VALUES) & set(head.keys()):
        head[name] = np.zeros_like(head[name])
    head.extensions.clear()
    head.set_data_dtype(np.dtype(form.dtype))
    head.set_data_shape(form.shape)
    head.set_slope_inter(1, 0)
    head.set_zooms((*zooms * steps, *(1.0,) * (len(form.shape) - 3)))
    head["vox_offset"] = head.single_vox_offset
    head["magic"] = head.single_magic
    if source is None:
        head.set_sform(move, code="aligned")
        return head
    forms = source.header
    qform, sform = (forms.get_qform(coded=True), forms.get_sform(coded=True))
    if qform[1]:
        head.set_qform(qform[0] @ move, int(qform[1]))
    if sform[1] or not qform[1]:
        head.set_sform(source.affine @ move, int(sform[1]) or "aligned")
    return head


def _source(placement: Placement | None) -> Any:
    """The image that a result was computed from, if it is NIfTI."""
    if placement is None or not placement.path.lower().endswith((".nii", ".nii.gz")):
        return None
    image = load(placement.path)
    return image if hasattr(image.header, "get_qform") else None
