"""Published features of long videos, read file by file: a folder with one file a video, or one for each few seconds of it.

    VIDEO_STARTMS_STOPMS.pkl    an array (n, W), or {"verb_class": (n, W), ...}: TAdaConv's of EPIC-KITCHENS, 5 seconds a file
    VIDEO.npy                   an array (n, W) or (W, n): the detection baseline's of EPIC-KITCHENS, ActivityNet's and others
    VIDEO.csv                   a row a feature, with or without a header: ActivityNet's

A folder holds one modality, called `features`; a folder of such folders holds one for each, called as the folder, of the same
videos. Class scores (`verb_class`) are the modalities `score:verb` and so on.

# V videos, n features of a video, W width of a modality, B clips, S features of each, D all widths together
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from zoopraxis.data.features.named import SCORE_PREFIX, NamedClips
from zoopraxis.data.features.video_parts import (
    FIRST_SECONDS,
    SPACING_SECONDS,
    Layout,
    Part,
    Span,
    array_layout,
    count_lines,
    file_kind,
    read_part,
)
from zoopraxis.errors import DataError

__all__ = ["VideoFiles", "has_video_files", "open_video_files"]

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float32]

_STORE = "features.json"
_ONLY = "features"
_CLASSES = "_class"


@dataclass(frozen=True)
class _Folder:
    """The files of one folder.

    Attributes:
        path: The folder.
        kind: Their suffix.
        names: What its modalities are called, by their names in the files.
        widths: Their widths, in the files' order.
        videos: For each video its files in order.
    """

    path: Path
    kind: str
    names: dict[str, str]
    widths: dict[str, int]
    videos: dict[str, list[Part]]


class VideoFiles(NamedClips):
    """Features of videos in files of their own; see `FeatureStore`, which it is."""

    def __init__(self, path: Path, folders: Sequence[_Folder]) -> None:
        first = folders[0]
        ids = sorted(first.videos)
        counts = np.array([_num_rows(first.videos[video_id]) for video_id in ids], dtype=np.int64)
        widths = {name: width for folder in folders for name, width in folder.widths.items()}
        self._is_timed = all(folder.kind == ".pkl" for folder in folders)
        meta = {"published_as": first.kind}
        super().__init__(path, np.asarray(ids, dtype=np.str_), counts, widths, meta)
        self._folders = tuple(folders)

    def read(self, rows: IntArray, positions: IntArray, modalities: Sequence[str] = ()) -> FloatArray:
        """See `FeatureStore.read`."""
        rows_B, positions_BS = np.asarray(rows, dtype=np.int64), np.asarray(positions, dtype=np.int64)
        self.check(rows_B, positions_BS)
        widths = self.widths(modalities)
        edges = np.cumsum([0, *widths.values()])
        places = {name: slice(*edges[number : number + 2]) for number, name in enumerate(widths)}
        features_BSD = np.empty((*positions_BS.shape, edges[-1]), np.float32)
        for folder in self._folders:
            wanted = {name: place for name, place in places.items() if name in folder.widths}
            if not wanted:
                continue
            for features_SD, row, positions_S in zip(features_BSD, rows_B.tolist(), positions_BS, strict=True):
                _fill(features_SD, folder, str(self.clip_ids[row]), positions_S, wanted)
        return features_BSD

    def seconds(self, row: int) -> npt.NDArray[np.float64] | None:
        """See `FeatureStore.seconds`."""
        if not self._is_timed:
            return None
        return FIRST_SECONDS + SPACING_SECONDS * np.arange(self.num_features[row], dtype=np.float64)


def has_video_files(path: Path) -> bool:
    """Whether a folder holds published features of long videos."""
    return path.is_dir() and not (path / _STORE).exists() and bool(_find_folders(path))


def open_video_files(path: Path, *, name: str = _ONLY, layout: Layout = "auto") -> VideoFiles:
    """Open a folder of published features of long videos; of the files one is read, and the heads of arrays.

    Args:
        path: The folder.
        name: Of the modality, where there is one folder.
        layout: Of arrays: a feature a row, or a column; auto: told from which axis is as long in all files of the folder, and
            if both are, a feature is as wide as the longer one.

    Raises:
        DataError: If there are no such files, one is broken, pieces of a video are missing, or folders differ in their videos
            or the numbers of features.

    Source: the published code of TAdaConv (its localization on EPIC-KITCHENS), EPIC-KITCHENS C2-Action-Detection and mmaction2.

    Differs: of pieces that have one feature too many the last one is left out of each; the published code leaves it out of what
    it joins, so that one in the middle moved all that come after it.
    """
    found = _find_folders(path)
    if not found:
        raise DataError(
            f"{path} holds no features of videos, neither .pkl of a few seconds each nor .npy or .csv; check the path"
        )
    folders = [_open(folder, files, name if folder == path else folder.name, layout) for folder, files in found.items()]
    names = [modality for folder in folders for modality in folder.widths]
    repeated = next((modality for modality in names if names.count(modality) > 1), None)
    if repeated is not None:
        raise DataError(f"{path} holds the features {repeated} twice; take one of the folders away")
    for folder in folders[1:]:
        _check_same(folders[0], folder)
    return VideoFiles(path, folders)


def _find_folders(path: Path) -> dict[Path, list[Path]]:
    """Folders with files of features of one kind: this one, or those in it."""
    found = {}
    for folder in (path, *sorted(entry for entry in path.iterdir() if entry.is_dir())):
        files = sorted(file for file in folder.iterdir() if file.suffix.lower() in (".pkl", ".npy", ".csv"))
        if files and file_kind(files[0]) is not None and len({file.suffix for file in files}) == 1:
            found[folder] = files
            if folder == path:
                break
    return found


def _open(path: Path, files: list[Path], name: str, layout: Layout) -> _Folder:
    kind = files[0].suffix.lower()
    videos = _pieces(path, files) if kind == ".pkl" else _whole_videos(path, files, kind, layout)
    held = read_part(next(iter(videos.values()))[0])
    names = {key: _modality(key, name) for key in held}
    return _Folder(path, kind, names, {names[key]: array.shape[1] for key, array in held.items()}, videos)


def _modality(key: str, name: str) -> str:
    """What a file's entry is called."""
    return f"{SCORE_PREFIX}{key.removesuffix(_CLASSES)}" if key.endswith(_CLASSES) else key or name


def _whole_videos(path: Path, files: list[Path], kind: str, layout: Layout) -> dict[str, list[Part]]:
    if kind == ".csv":
        return {file.stem: [Part(file, 0, count_lines(file))] for file in files}
    shapes = [_shape(file) for file in files]
    has_columns = array_layout(path, shapes, layout)
    return {
        file.stem: [Part(file, 0, shape[int(has_columns)], has_columns=has_columns)]
        for file, shape in zip(files, shapes, strict=True)
    }


def _shape(file: Path) -> tuple[int, ...]:
    try:
        return tuple(np.load(file, mmap_mode="r", allow_pickle=False).shape)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{file} is no .npy file of numbers ({error}); get or make it again") from error


def _pieces(path: Path, files: list[Path]) -> dict[str, list[Part]]:
    """Files of a few seconds by their videos, in order, without a gap."""
    spans: dict[str, list[tuple[Span, Path]]] = {}
    for file in files:
        span = Span.of_name(file.name)
        if span is not None:
            spans.setdefault(span.video_id, []).append((span, file))
    if not spans:
        raise DataError(f"{path} has no file VIDEO_STARTMS_STOPMS.pkl of at least 0.2 seconds; check the path")
    videos: dict[str, list[Part]] = {}
    for video_id, pieces in spans.items():
        end, first_row = 0, 0
        for span, file in sorted(pieces, key=lambda piece: piece[0].start):
            if span.start != end:
                raise DataError(
                    f"video {video_id} has no features from {end} to {span.start} ms in {path}; get the missing files"
                )
            videos.setdefault(video_id, []).append(Part(file, first_row, span.num_rows, is_piece=True))
            end, first_row = span.stop, first_row + span.num_rows
    return videos


def _check_same(first: _Folder, other: _Folder) -> None:
    """See that two folders are of the same videos, with as many features.

    Raises:
        DataError: If not; names the first video.
    """
    different = sorted(first.videos.keys() ^ other.videos.keys())
    if different:
        lacks, has = (first, other) if different[0] in other.videos else (other, first)
        raise DataError(
            f"{len(different)} videos are not both in {first.path} and in {other.path} (first: {different[0]}, which "
            f"{has.path.name} has and {lacks.path.name} lacks); features side by side must be of the same videos"
        )
    for video_id, parts in first.videos.items():
        counts = _num_rows(parts), _num_rows(other.videos[video_id])
        if counts[0] != counts[1]:
            raise DataError(
                f"video {video_id} has {counts[0]} features in {first.path} and {counts[1]} in {other.path}; "
                "features side by side must be as many"
            )


def _num_rows(parts: Sequence[Part]) -> int:
    return parts[-1].first_row + parts[-1].num_rows


def _fill(features_SD: FloatArray, folder: _Folder, video_id: str, positions_S: IntArray, wanted: dict[str, slice]) -> None:
    """Put some features of a video in their columns."""
    parts = folder.videos[video_id]
    owner_S = np.searchsorted([part.first_row for part in parts], positions_S, side="right") - 1
    for number in np.unique(owner_S).tolist():
        part = parts[number]
        taken_S = np.flatnonzero(owner_S == number)
        held = {folder.names.get(key): array for key, array in read_part(part).items()}
        for name, place in wanted.items():
            array = held.get(name)
            if array is None or array.shape[1] != folder.widths[name]:
                width = "none" if array is None else f"width {array.shape[1]}"
                raise DataError(
                    f"features {name} of {part.path} have {width}, those of the first file of {folder.path} "
                    f"{folder.widths[name]}; take those of one network"
                )
            features_SD[taken_S, place] = array[positions_S[taken_S] - part.first_row]
