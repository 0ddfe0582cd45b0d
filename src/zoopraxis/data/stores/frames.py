"""Clips read from folders of JPEGs, one a frame."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import simplejpeg

from zoopraxis.data.index import Clip
from zoopraxis.data.stores import IntArray, UInt8Array
from zoopraxis.errors import ConfigError, DataError, did_you_mean

__all__ = ["FrameFolderStore"]

_FRAME_NAME = re.compile(r"(.*?)(\d+)(\.jpe?g)", re.IGNORECASE)
_PARTS = {"rgb": ("",), "flow": ("u", "v")}
_EPIC_FOLDERS = {"rgb": "rgb_frames", "flow": "flow_frames"}


class _Naming(NamedTuple):
    """How the images of a folder are named: a number, counted from 1, between a prefix and a suffix."""

    prefix: str
    num_digits: int
    suffix: str

    def __call__(self, number: int) -> str:
        return f"{self.prefix}{number:0{self.num_digits}d}{self.suffix}"


_EPIC_NAMING = _Naming("frame_", 10, ".jpg")
_NAMINGS = (_EPIC_NAMING, _Naming("img_", 5, ".jpg"), _Naming("image_", 5, ".jpg"), _Naming("", 5, ".jpg"))
"""The usual ones: EPIC-KITCHENS, mmaction2, other lists of Kinetics, Something-Something V1."""


class FrameFolderStore:
    """Folders of JPEGs under a root: `<source>/frame_%010d.jpg`, numbered from 1; flow `<source>/{u,v}/frame_%010d.jpg`.

    Other names with a number are told from each folder: `%05d.jpg` (Something-Something V1), `img_%05d.jpg` (mmaction2) and
    `image_%05d.jpg` where there is a first image of that name, else whatever the folder's first image by name is called.

    A source `<participant>/<video_id>` is also found where EPIC keeps it, in `<participant>/rgb_frames/<video_id>` and
    `<participant>/flow_frames/<video_id>`; a source with a video's suffix in the folder without it, where `prepare frames` and
    `prepare flow` put its frames. A clip without frame numbers is the whole folder.

    Args:
        root: The folder.
        modality: rgb or flow.

    Raises:
        ConfigError: If the modality is unknown.
    """

    def __init__(self, root: str | Path, modality: str = "rgb") -> None:
        if modality not in _PARTS:
            raise ConfigError(f"unknown modality {modality!r}; {did_you_mean(modality, _PARTS)}")
        self.root = Path(root)
        self.modality = modality
        self._counts: dict[Path, int] = {}
        self._namings: dict[Path, _Naming] = {}

    def num_frames(self, clip: Clip) -> int:
        """Frames of the clip, or pairs of flow.

        Raises:
            DataError: If the folder is missing, its numbering has a hole, or the clip reaches beyond it.
        """
        _, start, stop = self._locate(clip)
        return stop - start

    def frame_rate(self, clip: Clip) -> None:
        """Not stored."""

    def check(self, clip: Clip) -> None:
        """See that the clip's last frame is there; a hole before it shows when it is read.

        Raises:
            DataError: As `num_frames`.
        """
        self.num_frames(clip)

    def read(self, clip: Clip, frames: IntArray) -> UInt8Array:
        """Some frames of a clip; see `ClipStore.read`.

        JPEGs are decoded with the fast transform and fast upsampling, as the published numbers were made (about one level from
        the exact decoding on average).
        """
        folder, start, stop = self._locate(clip)
        numbers = np.asarray(frames, dtype=np.int64)
        if not numbers.size or numbers.min() < 0 or numbers.max() >= stop - start:
            raise DataError(f"clip {clip.clip_id} has frames 0 to {stop - start - 1}; {numbers.tolist()} were asked for")
        unique, places = np.unique(numbers, return_inverse=True)
        images = [self._decode(clip, folder, int(number) + start + 1) for number in unique]
        shapes = {image.shape for image in images}
        if len(shapes) > 1:
            raise DataError(f"clip {clip.clip_id}: frames in {folder} differ in size: {sorted(shapes)}; extract them again")
        return np.stack([images[place] for place in places])

    def path(self, clip: Clip) -> Path:
        """The folder of a clip's frames.

        Raises:
            DataError: If there is none.
        """
        named = self.root / clip.source
        epic = named.parent / _EPIC_FOLDERS[self.modality] / named.name
        for folder in (epic, named, named.with_suffix("")):
            if (folder / _PARTS[self.modality][0]).is_dir():
                return folder
        raise DataError(
            f"clip {clip.clip_id}: no {self.modality} frames in {named} or {epic}; "
            "check data.root, or make them with: zoopraxis prepare frames"
        )

    def _locate(self, clip: Clip) -> tuple[Path, int, int]:
        """The clip's folder, its first frame there (from 0), and the one after its last."""
        folder = self.path(clip)
        name = f"clip {clip.clip_id}"
        if clip.start_frame is None or clip.stop_frame is None:
            if clip.start_seconds is not None:
                raise DataError(
                    f"{name} is given in seconds, but frames in {folder} have no rate; give start_frame and stop_frame"
                )
            return folder, 0, self._count(clip, folder)
        if not 0 <= clip.start_frame < clip.stop_frame:
            raise DataError(f"{name} spans frames {clip.start_frame} to {clip.stop_frame}; the stop must be greater")
        for part in _PARTS[self.modality]:
            last = self._file(folder / part, clip.stop_frame)
            if not last.is_file():
                raise DataError(f"{name}: {last} is missing; extract the frames again, or check the annotation's span")
        return folder, clip.start_frame, clip.stop_frame

    def _count(self, clip: Clip, folder: Path) -> int:
        """Frames of a whole folder, which must be numbered from 1 without a hole; counted once."""
        if folder not in self._counts:
            counts = [_count_frames(clip, folder / part, self._naming(folder / part)) for part in _PARTS[self.modality]]
            if len(set(counts)) > 1:
                raise DataError(
                    f"clip {clip.clip_id}: {folder} has {counts[0]} u and {counts[1]} v images; extract the flow again"
                )
            self._counts[folder] = counts[0]
        return self._counts[folder]

    def _decode(self, clip: Clip, folder: Path, number: int) -> UInt8Array:
        """One frame, shape (H, W, C)."""
        paths = [self._file(folder / part, number) for part in _PARTS[self.modality]]
        images = [_read_jpeg(clip, path, "RGB" if self.modality == "rgb" else "GRAY") for path in paths]
        if len({image.shape for image in images}) > 1:
            raise DataError(f"clip {clip.clip_id}: {paths[0]} and {paths[1]} differ in size; extract the flow again")
        return images[0] if len(images) == 1 else np.concatenate(images, axis=2)

    def _file(self, folder: Path, number: int) -> Path:
        """The image of frame `number`, counted from 1."""
        return folder / self._naming(folder)(number)

    def _naming(self, folder: Path) -> _Naming:
        if folder not in self._namings:
            self._namings[folder] = _naming_of(folder)
        return self._namings[folder]


def _naming_of(folder: Path) -> _Naming:
    """How a folder's images are named; a folder without any as EPIC's."""
    for naming in _NAMINGS:
        if (folder / naming(1)).is_file():
            return naming
    names = sorted(os.listdir(folder)) if folder.is_dir() else []
    match = next((match for name in names if (match := _FRAME_NAME.fullmatch(name))), None)
    return _EPIC_NAMING if match is None else _Naming(match[1], len(match[2]), match[3])


def _count_frames(clip: Clip, folder: Path, naming: _Naming) -> int:
    matches = [_FRAME_NAME.fullmatch(name) for name in (os.listdir(folder) if folder.is_dir() else [])]
    numbers = np.sort([int(match[2]) for match in matches if match and naming(int(match[2])) == match[0]])
    if not len(numbers):
        raise DataError(f"clip {clip.clip_id}: there is no {folder / naming(1)}; extract the frames again")
    if numbers[0] == 0:
        raise DataError(
            f"clip {clip.clip_id}: {folder / naming(0)} is numbered from 0, but frames count from 1; rename them, or extract "
            "them again with: zoopraxis prepare frames"
        )
    holes = np.flatnonzero(numbers != np.arange(1, len(numbers) + 1))
    if len(holes):
        missing = folder / naming(int(holes[0]) + 1)
        raise DataError(f"clip {clip.clip_id}: {missing} is missing, but later frames are there; extract the frames again")
    return len(numbers)


def _read_jpeg(clip: Clip, path: Path, colorspace: str) -> UInt8Array:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"clip {clip.clip_id}: {path} is missing; extract the frames again") from None
    try:
        image: UInt8Array = simplejpeg.decode_jpeg(data, colorspace, fastdct=True, fastupsample=True)
    except ValueError as error:
        raise DataError(f"clip {clip.clip_id}: {path} is no whole JPEG ({error}); extract the frames again") from error
    return image
