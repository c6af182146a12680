"""A picture as MP4, by the ffmpeg that is installed."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from convsmith.draw.raster import frames
from convsmith.draw.shapes import Picture
from convsmith.errors import ConvsmithError, last_line

__all__ = ["mp4"]

# Frames per second, and steps for which the last one is held longer.
_RATE, _HOLD = 10, 2


def mp4(picture: Picture, scale: float = 2.0) -> bytes:
    """All steps as H.264, the same bytes every time from the same ffmpeg.

    Raises:
        ConvsmithError: there is no ffmpeg, or it fails.
        MissingExtra: Pillow is not installed.
    """
    program = shutil.which("ffmpeg")
    if program is None:
        raise ConvsmithError(
            "drawing MP4 needs ffmpeg: apt-get install ffmpeg (Debian), brew install ffmpeg (macOS)"
        )
    every = list(frames(picture, scale))
    repeat = max(1, round(picture.seconds * _RATE))
    times = [repeat] * (len(every) - 1) + [repeat * (1 + _HOLD)]
    raw = b"".join(frame.tobytes() * count for frame, count in zip(every, times, strict=True))
    wide, high = every[0].size
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "scene.mp4")
        command = [
            program, "-v", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{wide}x{high}",
            "-r", str(_RATE), "-i", "-", "-an", "-c:v", "libx264", "-preset", "medium",
            "-crf", "18", "-pix_fmt", "yuv420p", "-threads", "1", "-fflags", "+bitexact",
            "-flags:v", "+bitexact", "-map_metadata", "-1", "-movflags", "+faststart", str(target),
        ]  # fmt: skip
        done = subprocess.run(command, input=raw, capture_output=True, check=False)
        if done.returncode:
            reason = last_line(done.stderr.decode(errors="replace")) or "no reason given"
            raise ConvsmithError(f"ffmpeg could not make the video: {reason}")
        return target.read_bytes()
