"""Something-Something annotations, versions 1 and 2, to a clip index."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

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

    TAdaConv's files (`something-something-v2-train-with-label.json`) are version 2's with the label's number in `label_idx`,
    which then counts; a template that disagrees with it is an error.

    Sources are the ids: a frame folder or a video of that name. The test splits, which have ids only, are unlabelled.

    Args:
        path: The annotations.
        modality: Of the frames; matters for lists of frame folders.
        split: The clips' split; default: as the file's name tells.
        class_names: Names of the classes of head `label`; default: from the labels file beside `path` (`*labels.json`,
            `*labels.csv`), else the labels that occur, sorted, or in the order of their `label_idx`.

    Raises:
        AnnotationError: If the file is malformed, or a label is not among the classes; the message names the row.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in (".json", ".csv"):
        return read_list(path, modality=modality, split=split, class_names=class_names)
    names = check_heads(class_names, ("label",), path).get("label") or _names_beside(Path(path), suffix)
    entries = _version_2(path) if suffix == ".json" else _version_1(path)
    if all("label_idx" in entry for entry in entries):
        labels = _numbers(entries, names, path)
    else:
        labels = encode_labels([entry["label"] for entry in entries], "label", path, names)
    clip_ids = [entry["id"] for entry in entries]
    return build_index(
        clip_id=clip_ids,
        source=clip_ids,
        labels={"label": labels},
        splits=None,
        split=split,
        path=path,
    )


def _version_2(path: str | Path) -> list[dict[str, Any]]:
    """The clips: id, label (the template without the brackets that mark its places), and label_idx where the file has it."""
    entries = _json(path)
    if not isinstance(entries, list) or not entries:
        raise AnnotationError(f"{path} is no list of clips but a JSON {type(entries).__name__}; give the file of a split")
    clips: list[dict[str, Any]] = []
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict) or "id" not in entry:
            raise AnnotationError(f"{path} row {number}: {entry!r} has no 'id'; expected an object with id and template")
        template = entry.get("template")
        label = None if template is None else str(template).replace("[", "").replace("]", "")
        numbered = {"label_idx": entry["label_idx"]} if "label_idx" in entry else {}
        clips.append({"id": str(entry["id"]), "label": label, **numbered})
    return clips


def _numbers(
    entries: Sequence[Mapping[str, Any]], names: Sequence[str] | None, path: str | Path
) -> tuple[npt.NDArray[np.int64], Sequence[str]]:
    """The clips' `label_idx` and the class names in their order; a class that no clip has is named by its number.

    Raises:
        AnnotationError: If a number is none, or has another name than `names` or an earlier clip gives it; names the row.
    """
    known = {number: name for number, name in enumerate(names or ()) if name != str(number)}
    for row, entry in enumerate(entries):
        text = str(entry["label_idx"])
        if not text.isdigit() or (names is not None and int(text) >= len(names)):
            bound = f"a number from 0 to {len(names) - 1}" if names is not None else "a number from 0"
            raise AnnotationError(f"{path} row {row}: label_idx {text} must be {bound}")
        label = entry["label"]
        if label is not None and known.setdefault(int(text), label) != label:
            raise AnnotationError(
                f"{path} row {row}: label_idx {text} is {known[int(text)]!r}, but the template is {label!r}; "
                "give the labels file that the numbers were made with"
            )
    labels = np.array([int(entry["label_idx"]) for entry in entries], dtype=np.int64)
    return labels, [known.get(number, str(number)) for number in range(labels.max() + 1)] if names is None else names


def _version_1(path: str | Path) -> list[dict[str, Any]]:
    """The clips: id and label."""
    rows = [line.partition(";") for line in read_lines(path)]
    return [
        {"id": clip_id, "label": label or None}
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
