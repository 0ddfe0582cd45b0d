"""Frames on their way from a store or video to a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import simplejpeg

from zoopraxis.data.index import Clip
from zoopraxis.data.stores import ClipStore, UInt8Array
from zoopraxis.errors import DataError

__all__ = ["clip_file", "iter_clip", "resize_shorter_side", "write_jpeg"]

_FIRST_BLOCK = 16
_BLOCK_BYTES = 96 << 20


def iter_clip(store: ClipStore, clip: Clip) -> Iterator[UInt8Array]:
    """All frames of a clip in order, in blocks of shape (N, H, W, C), uint8, of at most about 100 MB.

    Raises:
        DataError: If the clip cannot be read.
    """
    num_frames = store.num_frames(clip)
    start, size = 0, _FIRST_BLOCK
    while start < num_frames:
        frames = store.read(clip, np.arange(start, min(start + size, num_frames), dtype=np.int64))
        yield frames
        start += len(frames)
        size = max(1, _BLOCK_BYTES // frames[0].nbytes)


def clip_file(store: ClipStore, clip: Clip) -> str:
    """The file or folder that a clip comes from; its source where the store cannot tell."""
    find = getattr(store, "path", None)
    try:
        return clip.source if find is None else str(find(clip))
    except DataError:
        return clip.source


def resize_shorter_side(frames: UInt8Array, size: int) -> UInt8Array:
    """Resize frames so that the shorter side has `size` px and the aspect ratio stays (bilinear with antialiasing).

    Args:
        frames: Shape (T, H, W, C), uint8.
        size: Height or width, whichever is shorter, px.

    Returns:
        Shape (T, h, w, C), uint8; the frames themselves if they have the size already. Values are not scaled: flow stays
        in pixels of the frames that it was computed from.
    """
    height, width = frames.shape[1:3]
    shorter = min(height, width)
    if shorter == size:
        return frames
    import torch
    from torch.nn.functional import interpolate

    torch.set_num_threads(1)
    shape = (round(height * size / shorter), round(width * size / shorter))
    pixels_TCHW = torch.from_numpy(frames).permute(0, 3, 1, 2)
    resized_TCHW = interpolate(pixels_TCHW, size=shape, mode="bilinear", antialias=True)
    return np.ascontiguousarray(resized_TCHW.permute(0, 2, 3, 1).numpy())


def write_jpeg(path: Path, image: UInt8Array, *, quality: int) -> None:
    """Write one image, RGB of shape (H, W, 3) with full color resolution, or grey of shape (H, W)."""
    pixels = np.ascontiguousarray(image[..., None] if image.ndim == 2 else image)
    colorspace, subsampling = ("GRAY", "Gray") if pixels.shape[2] == 1 else ("RGB", "444")
    data = simplejpeg.encode_jpeg(pixels, quality=quality, colorspace=colorspace, colorsubsampling=subsampling)
    path.write_bytes(data)
