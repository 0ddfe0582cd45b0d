"""TA3N's lists of clips whose features lie in a folder each, to a clip index."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from zoopraxis.data.annotations.labels import ClassNames
from zoopraxis.data.annotations.lists import read_list
from zoopraxis.data.index import ClipIndex

__all__ = ["read_feature_list"]


def read_feature_list(
    path: str | Path,
    *,
    modality: Literal["rgb", "flow"] = "rgb",
    split: str | None = None,
    class_names: ClassNames | None = None,
) -> ClipIndex:
    """Read lines `path num_frames label`, as `read_list` does, but name clips by the ends of their paths.

    The paths are those of the machine on which the list was made, as `/data/ucf101/RGB-feature/v_Archery_g01_c01`. A clip is
    named by the last part of its path; where two clips of the list would have one name, all are named by the fewest last parts
    by which they differ (`Archery/c01`).

    Args:
        path: The list.
        modality: Of the frames.
        split: The clips' split; default: as the file's name tells.
        class_names: Names of the classes of head `label`; default: the numbers from 0 to the highest.

    Raises:
        AnnotationError: If the file cannot be read, is empty, or a line is of another form than the first.

    Source: cmhungsteve/TA3N, `dataset_preparation/video_dataset2list.py`.
    """
    index = read_list(path, modality=modality, split=split, class_names=class_names)
    return index.with_ids(_short_names(index.clip_ids.tolist()))


def _short_names(paths: list[str]) -> list[str]:
    """The fewest last parts of paths by which they differ; equal paths have equal names."""
    parts = [path.rstrip("/").split("/") for path in paths]
    num_different = len(set(paths))
    names = paths
    for num_parts in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-num_parts:]) for part in parts]
        if len(set(names)) == num_different:
            break
    return names
