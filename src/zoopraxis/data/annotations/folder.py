"""A folder of videos by class to a clip index."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from zoopraxis.data.annotations.labels import VIDEO_SUFFIXES, ClassNames, build_index, check_heads, clip_ids_of, encode_labels
from zoopraxis.data.index import ClipIndex
from zoopraxis.errors import AnnotationError

__all__ = ["read_folder"]


def read_folder(
    path: str | Path,
    *,
    modality: Literal["rgb", "flow"] = "rgb",
    split: str | None = None,
    class_names: ClassNames | None = None,
) -> ClipIndex:
    """Read `<path>/<class>/<video>` or `<path>/<split>/<class>/<video>`: each video is one clip, with the head `label`.

    Args:
        path: The folder; sources are relative to it.
        modality: Makes no difference: clips are whole videos.
        split: Keep the clips of this split where the folder has splits, else the name of all clips' split.
        class_names: Names of the classes of head `label`; default: the class folders' names, of all splits, sorted.

    Raises:
        AnnotationError: If there are no videos, they lie at different depths, or a folder is no class of `class_names`.
    """
    root = Path(path)
    videos = [parts for parts in _videos(root) if len(parts) > 1]
    if not videos:
        raise AnnotationError(f"{path} has no videos in folders of classes; expected {root.name}/CLASS/VIDEO.mp4")
    depth = len(videos[0])
    other = next((parts for parts in videos if len(parts) != depth), None)
    if other is not None or depth > 3:
        odd = "/".join(other or videos[0])
        raise AnnotationError(
            f"{path} is no folder of classes: {odd} lies at another depth than CLASS/VIDEO or SPLIT/CLASS/VIDEO"
        )
    sources = ["/".join(parts) for parts in videos]
    names = check_heads(class_names, ("label",), path).get("label")
    return build_index(
        clip_id=clip_ids_of(sources),
        source=sources,
        labels={"label": encode_labels([parts[-2] for parts in videos], "label", path, names)},
        splits=[parts[0] for parts in videos] if depth == 3 else None,
        split=split,
        path=path,
    )


def _videos(root: Path) -> list[tuple[str, ...]]:
    """The videos below a folder, as parts of their relative paths, sorted; hidden files and folders are passed over."""
    found: list[tuple[str, ...]] = []
    for folder, folders, files in os.walk(root, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        parts = Path(folder).relative_to(root).parts
        found += [
            (*parts, name) for name in files if os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES and not name.startswith(".")
        ]
    return sorted(found)
