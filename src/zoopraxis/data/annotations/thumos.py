"""THUMOS14's annotations of segments: a folder with a text file for each class and split."""

from __future__ import annotations

import re
from pathlib import Path

from zoopraxis.data.annotations.activitynet import read_activitynet
from zoopraxis.data.annotations.labels import ClassNames, check_heads, encode_labels
from zoopraxis.data.annotations.lists import numbered_lines
from zoopraxis.data.annotations.long_videos import LongVideos
from zoopraxis.errors import AnnotationError

__all__ = ["is_thumos14", "read_thumos14"]

_CLASS_FILE = re.compile(r"(?P<label>.+)_(?P<split>val|test)\.txt")
_AMBIGUOUS = "Ambiguous"
"""What annotators could not decide; no class of the task."""


def is_thumos14(path: Path) -> bool:
    """Whether annotations are a folder of THUMOS14's text files."""
    return path.is_dir() and bool(_class_files(path))


def read_thumos14(path: str | Path, *, class_names: ClassNames | None = None) -> LongVideos:
    """Read THUMOS14's files (`BaseballPitch_val.txt`, lines `VIDEO START STOP` in seconds), or a JSON of ActivityNet's layout.

    Its networks learn from the videos of the validation set: the splits are `val` and `test`, and `train` is `val`. Segments of
    `Ambiguous_*.txt` are left out. The files do not tell how long the videos are.

    Args:
        path: The folder, of one split or both, or the JSON file.
        class_names: The classes in label order; default: those of the files, sorted.

    Raises:
        AnnotationError: If there are no such files or a line is malformed; the message names the file and the line.
    """
    path = Path(path)
    if not path.is_dir():
        return read_activitynet(path, class_names=class_names)
    files = _class_files(path)
    if not files:
        raise AnnotationError(f"{path} has no file of a class and a split, as BaseballPitch_val.txt; check the path")
    segments: list[tuple[str, str, float, float]] = []
    videos: dict[str, dict[str, float | str | None]] = {}
    labels: list[str] = []
    for file, label, split in files:
        for number, line in numbered_lines(file):
            video_id, start, stop = _fields(file, number, line)
            videos.setdefault(video_id, {"duration": None, "covered": None, "fps": None, "split": split})
            segments.append((f"{video_id}_{label}_{number}", video_id, start, stop))
            labels.append(label)
    names = check_heads(class_names, ("label",), path).get("label") or sorted({label for _, label, _ in files})
    return LongVideos.of_rows(videos, segments, {"label": encode_labels(labels, "label", path, names)})


def _class_files(folder: Path) -> list[tuple[Path, str, str]]:
    """The files in order of their names, each with its class and split."""
    matches = [(file, _CLASS_FILE.fullmatch(file.name)) for file in sorted(folder.iterdir())]
    found = [(file, match["label"], match["split"]) for file, match in matches if match is not None]
    return [entry for entry in found if entry[1] != _AMBIGUOUS]


def _fields(file: Path, number: int, line: str) -> tuple[str, float, float]:
    try:
        video_id, start, stop = line.split()
        return video_id, float(start), float(stop)
    except ValueError:
        raise AnnotationError(f"{file} line {number}: {line!r} is not of the form 'VIDEO START STOP'; mend the line") from None
