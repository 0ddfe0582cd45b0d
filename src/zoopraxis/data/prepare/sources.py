"""What lies below a folder: videos, or folders of frames, by the name that an index gives them."""

from __future__ import annotations

import os
from pathlib import Path

from zoopraxis.data.annotations.labels import VIDEO_SUFFIXES
from zoopraxis.errors import DataError

__all__ = ["FIRST_FRAME", "find_frame_folders", "find_videos", "video_files"]

FIRST_FRAME = "frame_0000000001.jpg"

_EPIC_FOLDERS = {"videos", "rgb_frames"}
"""EPIC-KITCHENS keeps a participant's videos in a folder between the participant's and the video's name."""


def find_videos(root: str | Path) -> dict[str, Path]:
    """All video files below `root`, or `root` itself if it is a file: source to path, sorted.

    A source is the path below the root without suffix, e.g. `P01/P01_11` for `P01/videos/P01_11.MP4` and for `P01/P01_11.MP4`.

    Raises:
        DataError: If there is none, or two have the same source.
    """
    root = Path(root)
    if root.is_file():
        return {root.stem: root}
    kind = f"video file ({', '.join(sorted(VIDEO_SUFFIXES))})"
    return _by_source(root, [(path, path.with_suffix("")) for path in video_files(root)], kind)


def video_files(root: Path) -> list[Path]:
    """All video files below a folder, sorted; hidden files and folders are passed over, links to folders are followed."""
    found: list[Path] = []
    for folder, folders, names in os.walk(root, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        suffixes = {name: os.path.splitext(name)[1].lower() for name in names if not name.startswith(".")}
        found += [Path(folder, name) for name, suffix in suffixes.items() if suffix in VIDEO_SUFFIXES]
    return sorted(found)


def find_frame_folders(root: str | Path) -> dict[str, Path]:
    """All folders below `root`, or itself, that hold `frame_0000000001.jpg`: source to path, sorted.

    A source is the path below the root, e.g. `P01/P01_11` for `P01/P01_11/` and for `P01/rgb_frames/P01_11/`.

    Raises:
        DataError: If there is none, or two have the same source.
    """
    root = Path(root)
    if (root / FIRST_FRAME).is_file():
        return {root.resolve().name: root}
    found = [Path(folder) for folder, _, names in os.walk(root) if FIRST_FRAME in names]
    return _by_source(root, [(path, path) for path in found], f"folder with {FIRST_FRAME}")


def _by_source(root: Path, found: list[tuple[Path, Path]], kind: str) -> dict[str, Path]:
    if not found:
        raise DataError(f"there is no {kind} in {root}; name the folder that holds them")
    sources: dict[str, Path] = {}
    for path, named in sorted(found):
        parts = named.relative_to(root).parts
        source = "/".join([part for part in parts[:-1] if part not in _EPIC_FOLDERS] + [parts[-1]])
        if source in sources:
            raise DataError(
                f"{sources[source]} and {path} would both be {source}; rename one, or name a folder with one of them"
            )
        sources[source] = path
    return sources
