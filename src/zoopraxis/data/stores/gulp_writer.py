"""Writing gulp folders: each chunk whole or not at all. The format is told in `gulp.py`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import simplejpeg

from zoopraxis.data.stores import UInt8Array
from zoopraxis.data.stores.gulp import read_gulp_metadata
from zoopraxis.errors import DataError
from zoopraxis.files import atomic_path, write_text

__all__ = ["GulpChunk", "GulpWriter"]


class GulpChunk:
    """One data file being written; `GulpWriter.chunk` makes it."""

    def __init__(self, file: BinaryIO, *, quality: int) -> None:
        self._file = file
        self._quality = quality
        self._items: dict[str, dict[str, Any]] = {}

    def append(self, clip_id: str, images: Iterable[UInt8Array], metadata: Mapping[str, Any]) -> int:
        """Write one clip, image by image. When `images` raises, nothing of the clip stays and the chunk can go on.

        Args:
            clip_id: Key of the item, unique in the folder.
            images: Each of shape (H, W, 3), RGB, or (H, W), grey; uint8.
            metadata: Annotations of the clip, any JSON values; `num_frames` (images, or pairs of grey ones) and
                `frame_size` (shape of the first image) are added, as the baselines store them.

        Returns:
            Number of images written.

        Raises:
            DataError: If the chunk has the clip already, or there is no image.
        """
        if clip_id in self._items:
            raise DataError(f"clip id {clip_id!r} occurs twice in the index; ids must be unique in a gulp folder")
        begin = self._file.tell()
        frame_info: list[list[int]] = []
        frame_size: list[int] = []
        try:
            for image in images:
                frame_size = frame_size or list(image.shape)
                frame_info.append(self._write(image))
        except BaseException:
            self._file.seek(begin)
            self._file.truncate()
            raise
        if not frame_info:
            raise DataError(f"clip {clip_id!r} has no frames")
        num_frames = len(frame_info) // (2 if len(frame_size) == 2 else 1)
        record = {**metadata, "num_frames": num_frames, "frame_size": frame_size}
        self._items[clip_id] = {"meta_data": [record], "frame_info": frame_info}
        return len(frame_info)

    def metadata_text(self) -> str:
        """The metadata file's content."""
        return json.dumps(self._items, allow_nan=False)

    def _write(self, image: UInt8Array) -> list[int]:
        pixels = np.ascontiguousarray(image[..., None] if image.ndim == 2 else image)
        colorspace, subsampling = ("GRAY", "Gray") if pixels.shape[2] == 1 else ("RGB", "444")
        data = simplejpeg.encode_jpeg(pixels, quality=self._quality, colorspace=colorspace, colorsubsampling=subsampling)
        offset, pad = self._file.tell(), -len(data) % 4
        self._file.write(data + b"\0" * pad)
        return [offset, pad, len(data) + pad]


class GulpWriter:
    """Writes a gulp folder chunk by chunk, each whole or not at all.

    A chunk's data file is written under a temporary name and renamed when it is complete; its metadata file follows in
    one step and is the sign that the chunk is done. Chunks may be written in any order and by several processes.

    Differs: gulpio2 writes in place, so that a crash leaves a data file that nothing describes.
    """

    def __init__(self, root: str | Path, *, quality: int = 90) -> None:
        self.root = Path(root)
        self._quality = quality

    @contextmanager
    def chunk(self, number: int) -> Iterator[GulpChunk]:
        """Open chunk `number` for writing, in place of the one that may be there."""
        meta_path = self.root / f"meta_{number}.gmeta"
        meta_path.unlink(missing_ok=True)
        with atomic_path(self.root / f"data_{number}.gulp") as temporary, temporary.open("wb") as file:
            chunk = GulpChunk(file, quality=self._quality)
            yield chunk
        write_text(meta_path, chunk.metadata_text())

    def finished_ids(self, number: int) -> list[str] | None:
        """Clip ids of chunk `number` in order; None if it is not finished."""
        meta_path = self.root / f"meta_{number}.gmeta"
        if not meta_path.exists() or not (self.root / f"data_{number}.gulp").exists():
            return None
        return list(read_gulp_metadata(meta_path))
