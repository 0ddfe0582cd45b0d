"""Writing video files: the same frames give the same bytes."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from zoopraxis.errors import ConfigError, DataError
from zoopraxis.files import atomic_path

__all__ = ["write_video"]

UInt8Array = npt.NDArray[np.uint8]

_REPEATABLE = {"libx264": {"mbtree": "0"}}
"""What makes an encoder repeat itself: x264's macroblock tree came out differently from run to run with one thread, too."""
_MP4_SUFFIXES = {".mp4", ".mov", ".m4v"}


def write_video(
    path: str | Path,
    frames: Iterable[UInt8Array],
    *,
    fps: float | Fraction,
    gop: int = 12,
    crf: int = 23,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    options: Mapping[str, str] | None = None,
) -> None:
    """Write frames as a video file, in one step and by one thread.

    Args:
        path: The file; its suffix chooses the container (.mp4, .mkv, .avi, .ts, ...).
        frames: RGB, each of shape (H, W, 3); consumed one by one.
        fps: Frames per second.
        gop: Frames from one keyframe to the next at most; 1 makes every frame a keyframe, which random access reads fastest.
        crf: Constant quality of x264 and its like: 0 is lossless, 23 their default, 51 worst.
        codec: FFmpeg's name of the encoder.
        pixel_format: FFmpeg's name; yuv420p halves the colors' resolution and needs even sides.
        options: Further options of the encoder.

    Raises:
        ConfigError: If the encoder, the pixel format or the suffix is not known.
        DataError: If there is no frame, frames differ in shape, a side is odd for yuv420p, or the file cannot be written (then
            none is left behind).
    """
    if codec not in av.codecs_available:
        raise ConfigError(f"unknown video encoder {codec!r}; use libx264, or another of FFmpeg's names")
    if pixel_format not in av.video.format.names:
        raise ConfigError(f"unknown pixel format {pixel_format!r}; use yuv420p, or another of FFmpeg's names")
    if fps <= 0 or gop < 1:
        raise ValueError(f"fps ({fps}) and gop ({gop}) must be positive")
    remaining = iter(frames)
    first = next(remaining, None)
    if first is None:
        raise DataError(f"no frames were given for {path}; a video needs at least one")
    _check_frame(first, first.shape, path)
    height, width, _ = first.shape
    if pixel_format == "yuv420p" and (height % 2 or width % 2):
        raise DataError(f"frames of {width}x{height} px cannot be yuv420p, which needs even sides; crop them, or use yuv444p")
    with _writing(path), atomic_path(path) as temporary, _open(temporary) as container:
        stream = container.add_stream(codec, rate=Fraction(fps).limit_denominator(100_000))
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        stream.codec_context.gop_size = gop
        stream.codec_context.thread_count = 1
        stream.codec_context.flags |= av.codec.context.Flags.bitexact
        stream.options = {"crf": str(crf), **_REPEATABLE.get(codec, {}), **(options or {})}
        for packet in _encode(stream, itertools.chain([first], remaining), path):
            container.mux(packet)


def _open(path: Path) -> Any:
    """A container for writing: no time or version in it, and its table of contents in front where the format has one."""
    options = {"fflags": "+bitexact"}
    if path.suffix.lower() in _MP4_SUFFIXES:
        options["movflags"] = "+faststart"
    try:
        return av.open(str(path), "w", options=options)
    except ValueError as error:
        raise ConfigError(f"no video container has the suffix {path.suffix!r}; name the file .mp4 or .mkv") from error


def _encode(stream: Any, frames: Iterable[UInt8Array], path: str | Path) -> Iterator[Any]:
    shape = None
    for frame in frames:
        shape = shape or frame.shape
        _check_frame(frame, shape, path)
        yield from stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24"))
    yield from stream.encode(None)


def _check_frame(frame: UInt8Array, shape: tuple[int, ...], path: str | Path) -> None:
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8 or frame.shape != shape:
        raise DataError(
            f"a frame for {path} has shape {frame.shape} and type {frame.dtype}; all must be uint8 of one shape (H, W, 3)"
        )


@contextmanager
def _writing(path: str | Path) -> Iterator[None]:
    """Turn the errors of FFmpeg and of the file system into ours."""
    try:
        yield
    except (av.error.FFmpegError, OSError) as error:
        reason = error.strerror or type(error).__name__
        raise DataError(
            f"cannot write the video {path} ({reason}); check the folder, the space left and the encoder's options"
        ) from error
