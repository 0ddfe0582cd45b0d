"""Something-Something annotations, versions 1 and 2, to a clip index."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from zoopraxis.data.annotations.labels import ClassNames, build_index, check_heads, encode_labels
from zoopraxis.data.annotations.lists import read_lines, read_list
from zoopraxis.data.index import ClipIndex
from zoopraxis.errors import AnnotationError

__all__ = ["read_something"]


def read_something(
    path: str | Path,
    *,
    modality: Literal["rgb", "flow"] = "rgb",
    split: str | None = None,
    class_names: ClassNames | None = None,
) -> ClipIndex:
    """Read version 2 (JSON: id, template), version 1 (lines `id;label`), or a list file as `read_list` does; head `label`.

    Sources are the ids: a frame folder or a video of that name. The test splits, which have ids only, are unlabelled.

    Args:
        path: The annotations.
        modality: Of the frames; matters for lists of frame folders.
        split: The clips' split; default: as the file's name tells.
        class_names: Names of the classes of head `label`; default: from the labels file beside `path` (`*labels.json`,
            `*labels.csv`), else the labels that occur, sorted.

    Raises:
        AnnotationError: If the file is malformed, or a label is not among the classes; the message names the row.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in (".json", ".csv"):
        return read_list(path, modality=modality, split=split, class_names=class_names)
    rows = _version_2(path) if suffix == ".json" else _version_1(path)
    names = check_heads(class_names, ("label",), path).get("label") or _names_beside(Path(path), suffix)
    clip_ids = [clip_id for clip_id, _ in rows]
    return build_index(
        clip_id=clip_ids,
        source=clip_ids,
        labels={"label": encode_labels([label for _, label in rows], "label", path, names)},
        splits=None,
        split=split,
        path=path,
    )


def _version_2(path: str | Path) -> list[tuple[str, str | None]]:
    """Ids and labels; the label is the template without the brackets that mark its places."""
    entries = _json(path)
    if not isinstance(entries, list):
        raise AnnotationError(f"{path} is no list of clips but a JSON {type(entries).__name__}; give the file of a split")
    rows: list[tuple[str, str | None]] = []
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict) or "id" not in entry:
            raise AnnotationError(f"{path} row {number}: {entry!r} has no 'id'; expected an object with id and template")
        template = entry.get("template")
        rows.append((str(entry["id"]), None if template is None else str(template).replace("[", "").replace("]", "")))
    return rows


def _version_1(path: str | Path) -> list[tuple[str, str | None]]:
    rows = [line.partition(";") for line in read_lines(path)]
    return [
        (clip_id, label or None)
        for clip_id, _, label in rows
        if (clip_id, label) not in (("id", "label"), ("video_id", "label"))
    ]


def _names_beside(path: Path, suffix: str) -> list[str] | None:
    file = next((file for file in sorted(path.parent.glob(f"*labels{suffix}")) if file != path), None)
    if file is None:
        return None
    if suffix == ".csv":
        return read_lines(file)
    numbers = _json(file)
    if not isinstance(numbers, dict) or sorted(map(str, numbers.values())) != sorted(map(str, range(len(numbers)))):
        raise AnnotationError(f"{file} does not give each label a number from 0 without a gap; is it the labels file?")
    return sorted(numbers, key=lambda name: int(numbers[name]))


def _json(path: str | Path) -> Any:
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise AnnotationError(f"cannot read the annotations {path}: {error.strerror or error}; check the path") from error
    except (ValueError, RecursionError) as error:
        raise AnnotationError(f"{path} is no JSON file ({error}); it may be truncated: get it again") from error
