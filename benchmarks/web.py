"""The peer in Node: onnxruntime-web, in a folder of its own beside the kernels of the cache."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

from convsmith.errors import ConvsmithError, first_line
from convsmith.machine import cache_folder

__all__ = ["found_version", "modules"]

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
_PATIENCE = 300  # seconds: it is 150 MB


def modules() -> Path:
    """The folder of Node's modules that has it: `NODE_PATH`, else our own, where npm puts it once.

    Raises:
        ConvsmithError: without npm, or without a network to install it from.
    """
    if given := os.environ.get("NODE_PATH"):
        return Path(given)
    folder = cache_folder().parent / "npm"
    if not (folder / "node_modules" / PACKAGE / "package.json").is_file() and (
        reason := _installed(folder)
    ):
        raise ConvsmithError(reason)
    return folder / "node_modules"


@cache
def _installed(folder: Path) -> str:
    """Why npm could not install it, or ''; asked once, as each try without a network takes long."""
    if shutil.which("npm") is None:
        return "npm is not installed (apt-get install npm)"
    folder.mkdir(parents=True, exist_ok=True)
    options = ["--prefix", str(folder), "--ignore-scripts", "--no-audit", "--no-fund"]
    words = ["npm", "install", *options, f"{PACKAGE}@{VERSION}"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        return f"npm did not install {PACKAGE} within {_PATIENCE} s"
    # The first line is a code, the last one names a file.
    lines = [line for line in done.stderr.splitlines() if line.startswith("npm error ")]
    reason = first_line(lines[1] if len(lines) > 1 else done.stderr).removeprefix("npm error ")
    return f"npm cannot install {PACKAGE}: {reason}" if done.returncode else ""


def found_version() -> str | None:
    """Its version, where it is installed."""
    try:
        text = (modules() / PACKAGE / "package.json").read_text(encoding="utf-8")
        return str(json.loads(text)["version"])
    except (ConvsmithError, OSError, ValueError, KeyError):
        return None
