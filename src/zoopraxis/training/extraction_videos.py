"""Which videos features are made of: one file, a folder of them, or those that annotations are about."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from zoopraxis.data.annotations import detect_format, read_annotations
from zoopraxis.data.annotations.labels import VIDEO_SUFFIXES, clip_ids_of
from zoopraxis.data.index import Clip, ClipIndex
from zoopraxis.data.prepare.sources import video_files
from zoopraxis.data.segments import SEGMENT_FORMATS, read_segments
from zoopraxis.data.stores import ClipStore
from zoopraxis.errors import AnnotationError, DataError

__all__ = ["index_videos"]

_EPIC_VIDEO = re.compile(r"(P\d+)_\d+")


def index_videos(
    path: str | Path,
    store: ClipStore,
    *,
    root: str | Path,
    format: str = "auto",
    split: str | None = None,
) -> ClipIndex:
    """Whole videos, a row each: those of a file, a folder or annotations.

    Args:
        path: A video file; a folder that has videos, at any depth; or annotations, of segments or of clips, whose videos are
            meant.
        store: Where the videos' frames are; it tells which of a video's usual names is there.
        root: The store's folder; what lies in it is named from there.
        format: Of annotations, as `read_segments` and `read_annotations` have them.
        split: Keep the videos of this split of annotations.

    Returns:
        Rows whose ids are the videos' names without suffix; their paths where two have the same name. A video that the store
        does not have is kept, for the reading to tell.

    Raises:
        AnnotationError: If there are no videos, or the annotations are missing or malformed.
        ConfigError: If the format is unknown.
    """
    path, root = Path(path), Path(root)
    files = _files(path)
    if files:
        base = path if path.is_dir() else path.parent
        offered = [_names_of_file(file, base, root) for file in files]
    else:
        offered = [_names_of_id(video) for video in _annotated(path, format, split)]
    if not offered:
        raise AnnotationError(f"{path} has no videos; give a video, a folder of videos, or annotations")
    ids = _short_ids(clip_ids_of([names[0] for names in offered]))
    sources = [_present(store, names) for names in offered]
    return ClipIndex.from_columns(clip_id=ids, source=sources, labels={}, class_names={})


def _files(path: Path) -> list[Path]:
    """The video that a path is, or the videos in a folder."""
    if path.is_file():
        return [path] if path.suffix.lower() in VIDEO_SUFFIXES else []
    return video_files(path)


def _names_of_file(file: Path, base: Path, root: Path) -> list[str]:
    """A video's names in a store, the best first: from the store's folder, from the folder that was named."""
    inside = [file.resolve().relative_to(root.resolve())] if file.resolve().is_relative_to(root.resolve()) else []
    names = [name.as_posix() for name in (*inside, file.relative_to(base))]
    return [*names, *(clip_ids_of([name])[0] for name in names)]


def _annotated(path: Path, format: str, split: str | None) -> list[str]:
    """The videos of annotations, each once, in their order."""
    found = format
    if format == "auto" and path.exists() and path.suffix.lower() != ".json" and not path.is_dir():
        found = detect_format(path)
    videos: Iterable[str]
    if found in SEGMENT_FORMATS and found != "index":
        videos = read_segments(path, format=found, split=split, require_lengths=False).video_ids.tolist()
    else:
        videos = read_annotations(path, format=found, split=split).column("source").tolist()
    return list(dict.fromkeys(videos))


def _names_of_id(video: str) -> list[str]:
    """A video's usual names, the best first: as annotations have it, in EPIC's folders, alone, as ActivityNet's files."""
    epic = _EPIC_VIDEO.fullmatch(video)
    name = video.rpartition("/")[2]
    return [video, *([f"{epic[1]}/{video}"] if epic else []), name, f"v_{name}"]


def _short_ids(ids: Sequence[str]) -> list[str]:
    """Names without their folders, unless two are the same."""
    names = [video.rpartition("/")[2] for video in ids]
    return names if len(set(names)) == len(names) else list(ids)


def _present(store: ClipStore, names: Sequence[str]) -> str:
    """The first name under which the store has a video; the first of all if it has none."""
    for name in names:
        try:
            store.check(Clip(name, name))
        except DataError:
            continue
        return name
    return names[0]
