"""What a file of PyTorch's is, from the names in its archive: nothing in it is read."""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from zipfile import BadZipFile, ZipFile

__all__ = ["SCRIPTS", "Content", "content_of", "no_script"]

Content = Literal["TorchScript", "program", "pickle", ""]
"""TorchScript of `torch.jit.save`, a program of `torch.export.save`, what `torch.save` pickles, or
something else."""

SCRIPTS = (".ptl", ".torchscript", ".ts")
"""How files of TorchScript are named, where not like those of weights."""


def content_of(path: str | Path) -> Content:
    """Tell what a file holds, whatever it is called; '' for what is not there, or no archive.

    >>> content_of("nowhere.pt")
    ''
    """
    try:
        with ZipFile(path) as archive:
            # All files lie in one folder, which is named after the archive.
            names = {name.partition("/")[2] for name in archive.namelist()}
    except (BadZipFile, OSError, ValueError, NotImplementedError):
        return ""
    if "bytecode.pkl" in names or any(name.startswith("code/") for name in names):
        return "TorchScript"
    if any(name.startswith("models/") for name in names):
        return "program"
    return "pickle" if "data.pkl" in names else ""


def no_script(path: str | Path) -> str:
    """Why TorchScript is not loaded, and what to do instead, in one line."""
    return (
        f"{path} is a TorchScript program (torch.jit.save), which is not loaded: pass the model "
        "itself, as file.py:callable, or write it with torch.export.save to a .pt2"
    )
