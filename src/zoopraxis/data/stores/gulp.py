"""Gulp folders: the JPEGs of many clips back to back in a few large files.

A folder holds pairs `data_<n>.gulp` and `meta_<n>.gmeta`. The data file is JPEGs, each zero-padded to a multiple of
four bytes. The metadata file is JSON, `{clip_id: {"frame_info": [[offset, pad, length with pad], ...], "meta_data":
[{...}]}}`. A flow clip is grey JPEGs u0, v0, u1, v1, ... Folders that gulpio2 and the EPIC-KITCHENS-100 baselines wrote
are read as they are. Folders written here hold one more file, `zoopraxis.json`: the modality, the number of chunks and
the class names.

Source: GulpIO's description of its format; the data preparation of the EPIC-KITCHENS-100 recognition baselines.
Differs: gulpio2 keeps about 154 bytes of Python objects a frame; here the index is NumPy and Arrow, 12 bytes a frame
and about 40 a clip, which a loader's workers share.
"""

from __future__ import annotations

import json
import os
import re
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import simplejpeg

from zoopraxis.data.index import Clip
from zoopraxis.data.stores import IntArray, UInt8Array
from zoopraxis.errors import ConfigError, DataError, did_you_mean

__all__ = ["GULP_INFO", "GulpStore", "read_gulp_info", "read_gulp_metadata"]
GULP_INFO = "zoopraxis.json"
"""The file of a gulp folder written here that says what the folder holds."""

_MAX_OPEN_FILES = 256
_DATA_NAME = re.compile(r"data_(\d+)\.gulp")
_META_NAME = re.compile(r"meta_(\d+)\.gmeta")


class _DataFile:
    """An open data file. It closes when its last reader lets go, so that dropping it from the table cuts off no read."""

    def __init__(self, path: str) -> None:
        self.descriptor = -1
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)


class GulpStore:
    """Frames of the clips of one gulp folder, by clip id (or, where a folder has keys of its own, by source).

    The index is read once. It goes to workers by fork or by pickle; each process opens data files when it first reads.

    Attributes:
        root: The folder.
        modality: "rgb", or "flow" (a pair of images a frame).

    Raises:
        ConfigError: If the modality is unknown.
        DataError: If the folder is missing, empty or unfinished, holds the other modality, a data file lacks its
            metadata or the reverse, metadata are unreadable, or an id occurs twice.
    """

    def __init__(self, root: str | Path, modality: str = "rgb") -> None:
        if modality not in ("rgb", "flow"):
            raise ConfigError(f"unknown modality {modality!r}; {did_you_mean(modality, ('rgb', 'flow'))}")
        self.root = Path(root)
        self.modality = modality
        self._images_per_frame = 2 if modality == "flow" else 1
        self._names = _pair_names(self.root)
        self._check_info()
        self._load_index()
        self._files: dict[int, _DataFile] = {}

    def __len__(self) -> int:
        return len(self._ids)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_files": {}}

    @property
    def clip_ids(self) -> list[str]:
        """Ids of all clips, in the order of the folder's files."""
        return [str(clip_id) for clip_id in self._ids.to_pylist()]

    @property
    def num_images(self) -> int:
        """Number of images in the folder (for flow twice the number of frames)."""
        return len(self._lengths)

    @property
    def index_bytes(self) -> int:
        """Memory that the index takes, bytes."""
        arrays = (self._offsets, self._lengths, self._starts, self._chunks, self._order, self._sizes)
        return sum(values.nbytes for values in arrays) + int(self._ids.nbytes)

    def metadata(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The annotations stored with each clip, in the order of the folder's files; read from disk, not kept."""
        for _, meta_name in self._names:
            for clip_id, record in read_gulp_metadata(self.root / meta_name).items():
                yield clip_id, _annotations(record)

    def path(self, clip: Clip) -> Path:
        """The data file that holds a clip.

        Raises:
            DataError: If the folder has no such clip.
        """
        return self._path(self._find(clip))

    def num_frames(self, clip: Clip) -> int:
        """Number of frames of a clip (for flow: of u, v pairs), at least 1.

        The clip's own span is not looked at: the item is the clip.

        Raises:
            DataError: If the folder has no such clip, the clip is empty, has an odd number of flow images, or its data
                file is too short.
        """
        return self._num_frames(clip, self._find(clip))

    def frame_rate(self, clip: Clip) -> None:
        """Not stored."""

    def check(self, clip: Clip) -> None:
        """See that the folder holds the clip whole, without decoding it.

        Raises:
            DataError: As `num_frames`.
        """
        self.num_frames(clip)

    def read(self, clip: Clip, frames: IntArray) -> UInt8Array:
        """Decode frames of a clip.

        Args:
            clip: The clip; its span is not looked at.
            frames: Frame numbers from the clip's start, shape (N,), at least one, any order, repeats allowed.

        Returns:
            Shape (N, H, W, C), uint8; C = 3 (RGB) or 2 (u, v; 128 is no motion). Decoded with the fast inverse DCT and fast
            upsampling, as gulpio2 does: published numbers were made so (1.2 levels from the exact decoding on average).

        Raises:
            DataError: As `num_frames`; if a frame number is out of range; or if an image is no JPEG, of another size than the
                clip's first, or grey where it should be RGB (or the reverse).
        """
        item = self._find(clip)
        num_frames = self._num_frames(clip, item)
        wanted = np.asarray(frames, dtype=np.int64).reshape(-1)
        outside = wanted[(wanted < 0) | (wanted >= num_frames)]
        if outside.size:
            raise DataError(f"clip {clip.clip_id!r} has frames 0 to {num_frames - 1}, but frame {outside[0]} was asked for")
        first, each = int(self._starts[item]), self._images_per_frame
        decoded = self._decode(clip, item, (first + wanted[:, None] * each + np.arange(each)).reshape(-1).tolist())
        if self.modality == "rgb":
            return decoded
        return np.ascontiguousarray(decoded.reshape(len(wanted), 2, *decoded.shape[1:3]).transpose(0, 2, 3, 1))

    def close(self) -> None:
        """Close this process's data files; the next read opens them again."""
        self._files = {}

    def _path(self, item: int) -> Path:
        return self.root / self._names[int(self._chunks[item])][0]

    def _num_frames(self, clip: Clip, item: int) -> int:
        first, last = self._starts[item], self._starts[item + 1]
        num_images = int(last - first)
        if num_images == 0:
            raise DataError(f"clip {clip.clip_id!r} has no frames in {self._path(item)}; leave it out by a quarantine list")
        if num_images % self._images_per_frame:
            raise DataError(
                f"clip {clip.clip_id!r} has {num_images} images in {self._path(item)}, but flow needs pairs of u and v; "
                "gulp it again, or read the folder with modality rgb"
            )
        end = int((self._offsets[first:last] + self._lengths[first:last]).max())
        size = int(self._sizes[self._chunks[item]])
        if end > size:
            raise DataError(
                f"clip {clip.clip_id!r} reaches to byte {end} of {self._path(item)}, which ends at {size}: the file is cut "
                "off; copy it again, or gulp it again"
            )
        return num_images // self._images_per_frame

    def _decode(self, clip: Clip, item: int, images: list[int]) -> UInt8Array:
        """Decode images given by their number in the index; shape (N, H, W, 3), or (N, H, W, 1) for flow."""
        colorspace, channels = ("RGB", 3) if self.modality == "rgb" else ("GRAY", 1)
        out = np.empty((0, 0, 0, channels), dtype=np.uint8)
        rows: dict[int, int] = {}
        for row, image in enumerate(images):
            if image in rows:
                out[row] = out[rows[image]]
                continue
            data = self._read_bytes(clip, item, image)
            try:
                height, width, stored_colorspace, _ = simplejpeg.decode_jpeg_header(data)
                if not rows:
                    self._check_colorspace(clip, item, stored_colorspace)
                    out = np.empty((len(images), height, width, channels), dtype=np.uint8)
                if (height, width) != out.shape[1:3]:
                    size = f"{out.shape[2]}x{out.shape[1]}"
                    raise self._image_error(clip, item, image, f"is {width}x{height} px, another one of the clip {size}")
                simplejpeg.decode_jpeg(data, colorspace=colorspace, fastdct=True, fastupsample=True, buffer=out[row])
            except ValueError as error:
                raise self._image_error(clip, item, image, f"is no whole JPEG ({error})") from error
            rows[image] = row
        return out

    def _read_bytes(self, clip: Clip, item: int, image: int) -> bytes:
        chunk = int(self._chunks[item])
        file = self._files.get(chunk)
        if file is None:
            try:
                file = _DataFile(str(self._path(item)))
            except OSError as error:
                raise DataError(f"cannot open {self._path(item)} for clip {clip.clip_id!r}: {error.strerror}") from error
            while len(self._files) >= _MAX_OPEN_FILES:
                self._files.pop(next(iter(self._files)), None)
            self._files[chunk] = file
        try:
            return os.pread(file.descriptor, int(self._lengths[image]), int(self._offsets[image]))
        except OSError as error:
            raise self._image_error(clip, item, image, f"cannot be read ({error.strerror})") from error

    def _check_colorspace(self, clip: Clip, item: int, stored: str) -> None:
        if (stored.lower() == "gray") != (self.modality == "flow"):
            kind, other = ("grey", "flow") if self.modality == "rgb" else ("color", "rgb")
            raise DataError(
                f"clip {clip.clip_id!r} in {self._path(item)} holds {kind} images, but the modality is {self.modality}; try "
                f"modality {other}"
            )

    def _image_error(self, clip: Clip, item: int, image: int, what: str) -> DataError:
        number = (image - int(self._starts[item])) // self._images_per_frame
        return DataError(
            f"frame {number} of clip {clip.clip_id!r} at byte {self._offsets[image]} of {self._path(item)} {what}; gulp it "
            "again, or leave the clip out by a quarantine list (zoopraxis prepare check)"
        )

    def _find(self, clip: Clip) -> int:
        """Number of the clip's item, whose key is the clip's id, or its source where the folder has keys of its own (uids)."""

        def key(item: np.int32) -> str:
            return str(self._ids[int(item)].as_py())

        for wanted in (clip.clip_id, clip.source):
            place = bisect_left(self._order, wanted, key=key)
            if place < len(self._order) and key(self._order[place]) == wanted:
                return int(self._order[place])
        raise DataError(
            f"clip {clip.clip_id!r} is not in the gulp folder {self.root} ({len(self)} clips); gulp it, or name the folder of "
            "its split"
        )

    def _check_info(self) -> None:
        info = read_gulp_info(self.root)
        if info is None:
            return
        if info.get("modality", self.modality) != self.modality:
            raise DataError(
                f"the gulp folder {self.root} holds {info['modality']}, not {self.modality}; set the modality to match"
            )
        if info.get("num_chunks", len(self._names)) != len(self._names):
            raise DataError(
                f"the gulp folder {self.root} is unfinished: {len(self._names)} of {info['num_chunks']} chunks; run the same "
                "zoopraxis prepare gulp again, which goes on where it stopped"
            )

    def _load_index(self) -> None:
        ids: list[str] = []
        chunks: list[int] = []
        counts: list[int] = []
        offsets, lengths = array("q"), array("i")  # they grow in place: no second copy of the largest part of the index
        for chunk, (_, meta_name) in enumerate(self._names):
            path = self.root / meta_name
            items = read_gulp_metadata(path)
            table = _frame_table(path, items)
            ids += items
            chunks += [chunk] * len(items)
            counts += [len(item["frame_info"]) for item in items.values()]
            offsets.frombytes(table[:, 0].tobytes())
            lengths.frombytes((table[:, 2] - table[:, 1]).astype(np.int32).tobytes())
        self._ids = pa.array(ids, type=pa.string())
        self._order = np.array(sorted(range(len(ids)), key=ids.__getitem__), dtype=np.int32)
        for one, other in zip(self._order, self._order[1:], strict=False):
            if ids[one] == ids[other]:
                raise DataError(
                    f"clip {ids[one]!r} is in {self._names[chunks[one]][1]} and again in {self._names[chunks[other]][1]} of "
                    f"{self.root}; gulp into an empty folder"
                )
        self._chunks = np.array(chunks, dtype=np.int32)
        self._starts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)
        self._offsets = np.frombuffer(offsets, dtype=np.int64)
        self._lengths = np.frombuffer(lengths, dtype=np.int32)
        self._sizes = np.array([(self.root / data_name).stat().st_size for data_name, _ in self._names], dtype=np.int64)


def read_gulp_info(root: str | Path) -> dict[str, Any] | None:
    """What a gulp folder written here says of itself; None for one that another program wrote.

    Raises:
        DataError: If the file is there and is no JSON table.
    """
    path = Path(root) / GULP_INFO
    if not path.exists():
        return None
    return _read_json_table(path)


def read_gulp_metadata(path: Path) -> dict[str, dict[str, Any]]:
    """One chunk's metadata file: for each clip id, in file order, its `frame_info` and `meta_data`.

    Raises:
        DataError: If the file is unreadable, or is no gulp metadata.
    """
    items = _read_json_table(path)
    for clip_id, item in items.items():
        if not isinstance(item, dict) or not isinstance(item.get("frame_info"), list) or "meta_data" not in item:
            raise DataError(f"{path} is no gulp metadata: clip {clip_id!r} lacks frame_info or meta_data; gulp it again")
    return items


def _pair_names(root: Path) -> list[tuple[str, str]]:
    """Names of the data and metadata files, in the order of their numbers."""
    if not root.is_dir():
        raise DataError(f"there is no gulp folder {root}; make it with: zoopraxis prepare gulp")
    names = sorted(os.listdir(root))
    data = {match[1]: name for name in names if (match := _DATA_NAME.fullmatch(name))}
    meta = {match[1]: name for name in names if (match := _META_NAME.fullmatch(name))}
    if not data and not meta:
        raise DataError(f"{root} holds no data_<n>.gulp; it is no gulp folder: make one with zoopraxis prepare gulp")
    for number in sorted(set(data) ^ set(meta), key=int):
        if number in data:
            raise DataError(
                f"{root / data[number]} has no meta_{number}.gmeta: its writing was cut off; run the command that made the "
                f"folder again, or delete data_{number}.gulp"
            )
        raise DataError(f"{root / meta[number]} has no data_{number}.gulp; copy that file again, or gulp again")
    return [(data[number], meta[number]) for number in sorted(data, key=int)]


def _frame_table(path: Path, items: Mapping[str, Mapping[str, Any]]) -> npt.NDArray[np.int64]:
    """All images of a chunk, shape (N, 3), int64: offset, pad, length with pad."""
    rows = chain.from_iterable(item["frame_info"] for item in items.values())
    try:
        table = np.fromiter(chain.from_iterable(rows), dtype=np.int64).reshape(-1, 3)
    except (TypeError, ValueError) as error:
        raise DataError(f"{path} is no gulp metadata: frame_info must be triples of whole numbers; gulp it again") from error
    offset, pad, length = table.T
    if len(table) and (offset.min() < 0 or pad.min() < 0 or (length - pad).min() <= 0 or length.max() > np.iinfo(np.int32).max):
        raise DataError(f"{path} is no gulp metadata: a frame has a negative offset or an impossible length; gulp it again")
    return table


def _annotations(record: Mapping[str, Any]) -> dict[str, Any]:
    stored = record["meta_data"]
    if isinstance(stored, list):
        stored = stored[0] if stored else {}
    return dict(stored)


def _read_json_table(path: Path) -> dict[str, Any]:
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path}: {error}; copy it again, or gulp it again") from error
    if not isinstance(table, dict):
        raise DataError(f"{path} is no JSON table; copy it again, or gulp it again")
    return table
