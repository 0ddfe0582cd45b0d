"""Long videos and the labelled segments in them, from annotations of any format.

# V videos, G segments
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from zoopraxis.data.annotations.labels import ClassNames, normalize_split, split_of_name
from zoopraxis.data.annotations.long_videos import LongVideos, find_lengths, read_lengths
from zoopraxis.data.annotations.segment_formats import SAME_SPLITS, SEGMENT_READERS, detect_segment_format, file_of_split
from zoopraxis.data.index import ClipIndex
from zoopraxis.errors import AnnotationError, ConfigError, did_you_mean

__all__ = ["SEGMENT_FORMATS", "Broken", "VideoSegments", "read_segments"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

Broken = Literal["refuse", "drop"]
"""What is done with segments that cannot be: the annotations are refused, or these are left out and counted in a note."""

SEGMENT_FORMATS = ("auto", *SEGMENT_READERS)
_FIRST_LENGTHS = {"epic_30fps": "video_lengths_30fps.csv"}
_PAST_END_SECONDS, _PAST_END_PART = 0.5, 0.005
"""A segment may stop so much after its video, or so much of its length: annotators round, lengths differ a little."""


@dataclass(frozen=True, eq=False)
class VideoSegments:
    """Long videos, and the labelled segments in them.

    Attributes:
        video_ids: Shape (V,), unique.
        durations: Seconds, shape (V,); NaN where not known, which only `read_segments(require_lengths=False)` allows.
        covered: Seconds from the beginning of each video that published features cover, shape (V,): the durations, unless the
            annotations tell otherwise. What is brought to a fixed number of steps spans this time.
        fps: Frames a second, shape (V,); NaN where not known.
        index: A row a segment: source is the video's id, start_seconds and stop_seconds are where it lies, half-open; a segment
            may stop a little after its video. Empty where nothing is labelled (a challenge's test split).
        format: Of the annotations.
        notes: What a person should know of them, one line each.
    """

    video_ids: npt.NDArray[np.str_]
    durations: FloatArray
    covered: FloatArray
    fps: FloatArray
    index: ClipIndex
    format: str = "auto"
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Videos, V."""
        return len(self.video_ids)

    @property
    def heads(self) -> dict[str, int]:
        """Head name to number of classes."""
        return self.index.heads

    @property
    def class_names(self) -> dict[str, tuple[str, ...]]:
        """For each head the names of its classes, in label order."""
        return self.index.class_names

    @cached_property
    def video(self) -> IntArray:
        """The number of each segment's video, shape (G,)."""
        return np.asarray(pd.Index(self.video_ids).get_indexer(pd.Index(self.index.column("source"))), dtype=np.int64)

    @cached_property
    def times(self) -> FloatArray:
        """Start and stop of all segments in the index's order, seconds, shape (G, 2)."""
        return np.stack([self.index.column(f"{end}_seconds").astype(np.float64) for end in ("start", "stop")], axis=1)

    @cached_property
    def labels(self) -> dict[str, IntArray]:
        """For each head the labels of all segments, shape (G,)."""
        return self.index.labels()

    @cached_property
    def _rows(self) -> list[IntArray]:
        order = np.argsort(self.video, kind="stable")
        return np.split(order, np.cumsum(np.bincount(self.video, minlength=len(self)))[:-1])

    def of_video(self, number: int) -> IntArray:
        """Rows of the index that are segments of a video, in their order."""
        return self._rows[number]

    def segments(self, number: int) -> tuple[FloatArray, dict[str, IntArray]]:
        """Start and stop of a video's segments in seconds, shape (G, 2), and for each head their labels, shape (G,)."""
        rows = self.of_video(number)
        return self.times[rows], {head: values[rows] for head, values in self.labels.items()}

    def select(self, videos: npt.NDArray[Any] | Sequence[int]) -> VideoSegments:
        """Some videos, given as a boolean mask of shape (V,) or as numbers, and their segments in the index's order."""
        picked = np.asarray(videos)
        numbers = np.flatnonzero(picked) if picked.dtype == np.bool_ else picked.astype(np.int64)
        index = self.index.select(np.isin(self.video, numbers))
        durations, covered, fps = (values[numbers] for values in (self.durations, self.covered, self.fps))
        return replace(self, video_ids=self.video_ids[numbers], durations=durations, covered=covered, fps=fps, index=index)

    def of_heads(self, heads: Sequence[str]) -> VideoSegments:
        """The same with these heads only, in this order; none: all.

        Raises:
            ConfigError: If one is unknown.
        """
        unknown = [head for head in heads if head not in self.class_names]
        if unknown:
            raise ConfigError(f"the annotations have no labels {unknown[0]!r}; {did_you_mean(unknown[0], self.class_names)}")
        if not heads:
            return self
        names = {head: self.class_names[head] for head in heads}
        index = self.index.with_labels({head: self.labels[head] for head in heads}, names)
        return replace(self, index=index)


def read_segments(
    path: str | Path,
    *,
    format: str = "auto",
    split: str | None = None,
    videos: str | Path | None = None,
    class_names: ClassNames | None = None,
    broken: Broken = "refuse",
    require_lengths: bool = True,
) -> VideoSegments:
    """Read the segments of long videos.

    Args:
        path: The annotations: a file, THUMOS14's folder, or a folder of a data set's files under their own names.
        format: One of `SEGMENT_FORMATS`; `auto`: told from the file.
        split: The split that is wanted, of annotations that have splits; others are all of it. None: all.
        videos: The file that tells how long the videos are, see `read_lengths`; default: what the annotations tell, else looked
            for beside them.
        class_names: For each head its classes in label order. Give those of the training annotations where labels are names
            and the file may not have all of them.
        broken: Whether segments that cannot be are refused, or left out and told in `notes`. ActivityNet and HACS have a few.
        require_lengths: Whether every video's length must be known; it must be in any case where `videos` is given.

    Raises:
        ConfigError: If the format, or `broken`, is unknown.
        AnnotationError: If the annotations are missing or malformed, no video belongs to the split, a video's length is not
            known, or segments (all of them, where `broken` is "drop") are reversed, of zero length or past the end of their
            video: how many, and the first.
        DataError: If a pickle is broken or would run code.
    """
    path = Path(path)
    if format != "auto" and format not in SEGMENT_READERS:
        raise ConfigError(f"unknown format of segments {format!r}; {did_you_mean(format, SEGMENT_FORMATS)}")
    if broken not in get_args(Broken):
        raise ConfigError(f"broken segments cannot be {broken!r}; {did_you_mean(broken, get_args(Broken))}")
    if not path.exists():
        raise AnnotationError(f"the annotations {path} do not exist; check the path")
    found = detect_segment_format(path) if format == "auto" else format
    path = file_of_split(path, found, split)
    wanted = None if split is None else SAME_SPLITS.get(found, {}).get(normalize_split(split), normalize_split(split))
    read = _of_split(path, SEGMENT_READERS[found](path, class_names=class_names), wanted)
    lengths = videos or find_lengths(path, first=_FIRST_LENGTHS.get(found))
    if lengths is not None and (videos is not None or read.videos["duration"].isna().any()):
        read = read.with_lengths(read_lengths(lengths))
    if not len(read.videos):
        raise AnnotationError(f"{path} has no videos and no segments; check the path, or get the file again")
    _check_lengths(path, read, lengths, is_required=require_lengths or videos is not None)
    read, notes = _without_broken(path, read, broken)
    return replace(_built(path, read, wanted), format=found, notes=notes)


def _of_split(path: Path, read: LongVideos, split: str | None) -> LongVideos:
    """What belongs to a split, where the annotations have splits."""
    splits = read.videos["split"].map(lambda name: name if name is None or name != name else normalize_split(str(name)))
    if split is None or splits.isna().all():
        return read
    is_wanted = (splits == split).to_numpy()
    if not is_wanted.any():
        known = sorted({str(name) for name in splits.dropna()})
        raise AnnotationError(f"{path} has no videos of split {split!r}; {did_you_mean(split, known)}")
    videos = read.videos[is_wanted]
    kept = read.keep(read.segments["video_id"].isin(videos.index).to_numpy())
    return LongVideos(videos, kept.segments, kept.labels)


def _check_lengths(path: Path, read: LongVideos, lengths: str | Path | None, *, is_required: bool) -> None:
    is_unknown = read.videos["duration"].isna().to_numpy()
    if not is_required or not is_unknown.any():
        return
    first = read.videos.index[int(is_unknown.argmax())]
    count = f"{int(is_unknown.sum())} of {len(is_unknown)} videos of {path}"
    if lengths is None:
        raise AnnotationError(
            f"the length of {count} is not known (first: {first}); give the file that tells it (data.videos, --videos), "
            "as EPIC_100_video_info.csv or lines VIDEO,SECONDS"
        )
    raise AnnotationError(f"{count} are not in {lengths} (first: {first}); add them, or give the file that has them")


def _without_broken(path: Path, read: LongVideos, broken: Broken) -> tuple[LongVideos, tuple[str, ...]]:
    """Refuse segments that cannot be, or leave them out and tell how many; all are refused: then the lengths may be wrong."""
    starts, stops = (read.segments[end].to_numpy(dtype=np.float64) for end in ("start", "stop"))
    durations = read.videos["duration"].reindex(read.segments["video_id"]).to_numpy(dtype=np.float64)
    slack = np.maximum(_PAST_END_SECONDS, _PAST_END_PART * durations)
    kinds = {
        "have no times": ~np.isfinite(starts) | ~np.isfinite(stops),
        "begin before their video": starts < 0,
        "are reversed: they stop before they start": stops < starts,
        "are of zero length": stops == starts,
        "go past the end of their video": (starts >= durations) | (stops > durations + slack),
    }
    is_broken = np.any(list(kinds.values()), axis=0)
    if not is_broken.any():
        return read, ()
    if broken == "drop" and not is_broken.all():
        first = read.segments["clip_id"].iloc[int(is_broken.argmax())]
        note = f"{int(is_broken.sum())} of {len(is_broken)} segments of {path} are broken and left out (first: {first})"
        return read.keep(~is_broken), (note,)
    what, is_wrong = next((what, is_wrong) for what, is_wrong in kinds.items() if is_wrong.any())
    row = int(is_wrong.argmax())
    clip_id, video_id = read.segments["clip_id"].iloc[row], read.segments["video_id"].iloc[row]
    cure = "mend them, leave them out (data.broken_segments=drop, --broken-segments drop), or check the videos' lengths"
    raise AnnotationError(
        f"{int(is_wrong.sum())} of {len(is_wrong)} segments of {path} {what} (first: {clip_id}, {starts[row]:g} to "
        f"{stops[row]:g} s of {video_id}, which has {durations[row]:g} s); {cure}"
    )


def _built(path: Path, read: LongVideos, split: str | None) -> VideoSegments:
    rows = read.segments
    splits = read.videos["split"].reindex(rows["video_id"])
    name = split_of_name(path) if split is None else split
    known = {head: found for head, found in read.labels.items() if len(found[1])}
    index = ClipIndex.from_columns(
        clip_id=rows["clip_id"].tolist(),
        source=rows["video_id"].tolist(),
        start_seconds=rows["start"].to_numpy(dtype=np.float64),
        stop_seconds=rows["stop"].to_numpy(dtype=np.float64),
        split=name if splits.isna().all() else [normalize_split(str(given)) for given in splits],
        labels={head: values for head, (values, _) in known.items()},
        class_names={head: names for head, (_, names) in known.items()},
    )
    durations, covered, fps = (read.videos[column].to_numpy(dtype=np.float64) for column in ("duration", "covered", "fps"))
    covered = np.where(np.isnan(covered), durations, covered)
    return VideoSegments(np.asarray(read.videos.index, dtype=np.str_), durations, covered, fps, index)
