"""What the readers of long videos' annotations share: what they give, and how long the videos are.

# V videos, G segments
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from zoopraxis.data.annotations.labels import VIDEO_SUFFIXES
from zoopraxis.data.annotations.lists import read_lines
from zoopraxis.errors import AnnotationError

__all__ = ["LongVideos", "find_lengths", "read_lengths"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_LENGTH_FILES = (
    "EPIC_100_video_info.csv",
    "epic_videos_len.txt",
    "video_lengths_30fps.csv",
    "video_lengths.csv",
    "video_info.csv",
    "video_info_new.csv",
)
_ID_COLUMNS = ("video_id", "video", "name")
_SECONDS_COLUMNS = ("duration", "seconds", "duration_second")
_RESAMPLED_FPS = 30
_FORMS = "a header with video_id and duration (or video and frames, at 30 a second), or lines VIDEO,SECONDS"


@dataclass(frozen=True, eq=False)
class LongVideos:
    """What annotations tell, as it stands there.

    Attributes:
        videos: A row a video, indexed by its id, unique: columns duration, covered (seconds that its features cover) and fps,
            NaN where not known, and split, None where not known.
        segments: A row a segment: clip_id, video_id, start and stop (seconds).
        labels: For each head the labels, shape (G,), and the class names.
    """

    videos: pd.DataFrame
    segments: pd.DataFrame
    labels: Mapping[str, tuple[IntArray, Sequence[str]]]

    @classmethod
    def of_rows(
        cls,
        videos: Mapping[str, Mapping[str, float | str | None]],
        segments: Iterable[tuple[str, str, float, float]],
        labels: Mapping[str, tuple[IntArray, Sequence[str]]],
    ) -> LongVideos:
        """From what is known of each video, and (clip_id, video_id, start, stop) of each segment."""
        known = pd.DataFrame.from_dict(dict(videos), orient="index", columns=["duration", "covered", "fps", "split"])
        known = known.astype({"duration": float, "covered": float, "fps": float})
        return cls(known, pd.DataFrame(segments, columns=["clip_id", "video_id", "start", "stop"]), labels)

    def keep(self, is_kept: npt.NDArray[np.bool_]) -> LongVideos:
        """The same videos, with some of the segments only, shape (G,)."""
        labels = {head: (values[is_kept], names) for head, (values, names) in self.labels.items()}
        return LongVideos(self.videos, self.segments[is_kept].reset_index(drop=True), labels)

    def with_lengths(self, lengths: pd.DataFrame) -> LongVideos:
        """The same, with what `read_lengths` found where the annotations do not tell it."""
        found = lengths.reindex(self.videos.index)
        return LongVideos(self.videos.fillna(found), self.segments, self.labels)


def find_lengths(path: str | Path, *, first: str | None = None) -> Path | None:
    """The file that tells how long videos are, in the folder of an annotation file (or in this folder), or in that above.

    Args:
        path: Of the annotations.
        first: The name that counts before all others.
    """
    folder = Path(path).resolve()
    folder = folder if folder.is_dir() else folder.parent
    names = _LENGTH_FILES if first is None else (first, *_LENGTH_FILES)
    files = (place / name for place in (folder, folder.parent) for name in names)
    return next((file for file in files if file.is_file()), None)


def read_lengths(path: str | Path) -> pd.DataFrame:
    """Read how long videos are.

    Known are EPIC's `EPIC_100_video_info.csv`, the detection baseline's `video_lengths_30fps.csv` (frames at 30 a second),
    TAdaConv's `epic_videos_len.txt` (`P01_01.MP4,1652.15`), BMN's `video_info.csv` of ActivityNet, and any CSV file with the
    columns video_id (or video, name) and duration (or seconds).

    Returns:
        Indexed by video id, as text without suffix: duration (seconds), covered (seconds that published features cover) and
        fps, NaN where not told.

    Raises:
        AnnotationError: If the file cannot be read, has no such columns, repeats a video, or a length is not positive.
    """
    lines = read_lines(path)
    is_plain = len(fields := lines[0].split(",")) == 2 and _is_number(fields[1])
    rows = [line.split(",") for line in lines]
    header, rows = (["video", "seconds"], rows) if is_plain else ([name.strip() for name in rows[0]], rows[1:])
    ids = next((header.index(name) for name in _ID_COLUMNS if name in header), None)
    seconds = next((header.index(name) for name in _SECONDS_COLUMNS if name in header), None)
    place, scale = (seconds, 1.0) if seconds is not None else (_place(header, "frames"), 1.0 / _RESAMPLED_FPS)
    if ids is None or place is None:
        raise AnnotationError(f"{path} does not tell how long videos are; it needs {_FORMS}")
    short = next((number for number, row in enumerate(rows) if len(row) < len(header)), None)
    if short is not None:
        raise AnnotationError(f"{path} row {short}: {len(rows[short])} fields, not {len(header)}; mend or remove the row")
    names = [_without_suffix(row[ids].strip()) for row in rows]
    durations = _numbers(path, rows, place, header[place], needed=True) * scale
    covered = np.full(len(rows), np.nan)
    if {"featureFrame", "numFrame"} <= set(header):
        used, frames = (_numbers(path, rows, header.index(name), name, needed=True) for name in ("featureFrame", "numFrame"))
        covered = durations * used / frames
    rate = _place(header, "fps")
    fps = np.full(len(rows), np.nan) if rate is None else _numbers(path, rows, rate, "fps", needed=False)
    table = pd.DataFrame({"duration": durations, "covered": covered, "fps": fps}, index=pd.Index(names, name="video_id"))
    if not table.index.is_unique:
        raise AnnotationError(f"{path} names the video {table.index[table.index.duplicated()][0]} twice; remove a row")
    return table


def _numbers(path: str | Path, rows: Sequence[Sequence[str]], place: int, name: str, *, needed: bool) -> FloatArray:
    """A column of positive numbers, shape (V,); NaN where it is empty and not needed."""
    texts = pd.Series([row[place].strip() for row in rows], dtype=object)
    numbers = pd.to_numeric(texts, errors="coerce").to_numpy(dtype=np.float64)
    is_wrong = ~((numbers > 0) & np.isfinite(numbers))
    if not needed:
        is_wrong &= (texts != "").to_numpy()
    if is_wrong.any():
        row = int(is_wrong.argmax())
        raise AnnotationError(f"{path} row {row}: {name} {texts.iloc[row]!r} is no positive number; mend or remove the row")
    return numbers


def _place(header: Sequence[str], name: str) -> int | None:
    return header.index(name) if name in header else None


def _without_suffix(name: str) -> str:
    stem, suffix = os.path.splitext(name)
    return stem if suffix.lower() in VIDEO_SUFFIXES else name


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
