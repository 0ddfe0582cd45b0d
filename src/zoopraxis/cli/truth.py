"""What is known of the clips that were scored: labels, participants, class names and frames, from annotations of any format.

N clips, T frames, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from zoopraxis.data.annotations import detect_format, read_annotations
from zoopraxis.data.annotations.shared_classes import share_classes
from zoopraxis.data.annotations.uda import UDA_SPLITS, find_uda_file, uda_file_names
from zoopraxis.data.index import UNLABELLED, ClipIndex
from zoopraxis.data.segments import Broken, VideoSegments, read_segments
from zoopraxis.epic.annotations import class_names_beside, read_table
from zoopraxis.epic.recognition import labels_of
from zoopraxis.errors import AnnotationError, DataError
from zoopraxis.evaluation import detections
from zoopraxis.evaluation.results import Results
from zoopraxis.training.localization.splits import truth_of

__all__ = [
    "Truth",
    "adaptation_labels",
    "adaptation_test_files",
    "challenge_files",
    "read_segment_truth",
    "read_training_counts",
    "read_truth",
    "strip_reader",
]

IntArray = npt.NDArray[np.int64]
StrArray = npt.NDArray[np.str_]
UInt8Array = npt.NDArray[np.uint8]

_NUM_STRIP_FRAMES = 8


@dataclass(frozen=True)
class Truth:
    """Of N clips, in the order in which they were asked for.

    Attributes:
        labels: Head name to labels, shape (N,).
        participants: Shape (N,), or None where the annotations do not tell.
        class_names: Head name to the names of its classes.
    """

    labels: dict[str, IntArray]
    participants: StrArray | None
    class_names: dict[str, tuple[str, ...]]


def read_truth(
    path: Path, results: Results, *, training: Path | None = None, format: str = "auto", mapping: str | None = None
) -> Truth:
    """Look up the clips of results in annotations.

    Args:
        path: The annotations.
        results: The clips that were scored.
        training: The training clips, whose classes number the labels where annotations have names only.
        format: Of the annotations.
        mapping: Of `SHARED_CLASSES`, by which labels are numbered anew, as in the training; none: as the annotations have them.

    Raises:
        ConfigError: If there is no such mapping.
        AnnotationError: If the annotations are missing or malformed, have no labels, or their named classes are not as many as
            were scored.
        DataError: If a clip is not in them.
    """
    if not path.exists():
        raise AnnotationError(f"the annotations {path} do not exist; check the path")
    if mapping is None and (detect_format(path) if format == "auto" else format) == "epic":
        picked = labels_of(results.clip_ids, read_table(path))
        return Truth(picked.labels, picked.participants, class_names_beside(path))
    names = None if training is None or mapping is not None else read_annotations(training).class_names
    index = read_annotations(path, format=format, class_names=names)
    index = index if mapping is None else share_classes(index, mapping)
    _check_classes(index, results.heads, path)
    rows = _rows_of(results.clip_ids, index.clip_ids, path)
    participants = index.column("participant_id")[rows]
    is_told = all(participant is not None for participant in participants.tolist())
    labels = {head: values[rows] for head, values in index.labels().items()}
    return Truth(labels, participants.astype(np.str_) if is_told else None, index.class_names)


def _check_classes(index: ClipIndex, heads: Mapping[str, int], path: Path) -> None:
    """Names are numbered by those that occur: where one is missing, all others would be numbered wrong."""
    for head, names in index.class_names.items():
        is_named = not all(name.isdecimal() for name in names)
        if is_named and head in heads and len(names) != heads[head]:
            raise AnnotationError(
                f"{path} has {len(names)} classes of head {head!r}, but the results have {heads[head]};"
                " name the training clips with --training-annotations, so that the classes are numbered as there, or give the"
                " --mapping of the training"
            )


def _rows_of(wanted: StrArray, clip_ids: StrArray, path: Path) -> IntArray:
    order = np.argsort(clip_ids, kind="stable")
    rows: IntArray = order[np.searchsorted(clip_ids, wanted, sorter=order).clip(max=len(clip_ids) - 1)]
    absent = wanted[clip_ids[rows] != wanted]
    if len(absent):
        raise DataError(
            f"{len(absent)} of {len(wanted)} clips of the results are not in {path}, first {absent[0]!s};"
            " are these the annotations of the split that was tested?"
        )
    return rows


def read_segment_truth(
    path: Path,
    *,
    videos: Path | None = None,
    format: str = "auto",
    split: str | None = None,
    broken: Broken = "refuse",
    needs_labels: bool = True,
) -> tuple[detections.Truth, VideoSegments]:
    """The labelled segments of long videos, as detections are held against them and as they were read.

    Args:
        path: The annotations.
        videos: The file that tells how long the videos are.
        format: Of the annotations.
        split: Which split is wanted; none: validation, where there are several.
        broken: What is done with segments of that split that cannot be.
        needs_labels: Whether annotations without segments are refused.

    Raises:
        AnnotationError: If the annotations are missing, malformed, or have no labels.
    """
    given: dict[str, Any] = {"format": format, "videos": videos, "require_lengths": False}
    read = read_segments(path, split=split, broken="drop", **given)
    has_several = split is None and len(set(read.index.column("split").tolist())) > 1
    if has_several or (read.notes and broken == "refuse"):
        read = read_segments(path, split="val" if has_several else split, broken=broken, **given)
    truth = truth_of(read)
    if needs_labels and (len(truth) == 0 or not truth.labels):
        raise AnnotationError(f"{path} has no labelled segments; the test split's labels are private: evaluate on validation")
    return truth, read


def challenge_files(annotations: Path) -> dict[str, Path]:
    """The challenge's other files in the folder of an annotation file, or in the one above, by what they are for."""
    stem = annotations.stem
    split = "validation" if "val" in stem else "test" if "test" in stem else "train"
    names = {
        "tail_verbs": "EPIC_100_tail_verbs.csv",
        "tail_nouns": "EPIC_100_tail_nouns.csv",
        "unseen_participants": f"EPIC_100_unseen_participant_ids_{split}.csv",
        "training_annotations": "EPIC_100_train.csv",
    }
    folder = annotations.resolve().parent
    places = {what: [place / name for place in (folder, folder.parent)] for what, name in names.items()}
    found = {what: next((file for file in files if file.is_file()), None) for what, files in places.items()}
    return {what: file for what, file in found.items() if file is not None}


def adaptation_test_files(annotations: Path) -> dict[str, Path]:
    """The adaptation challenge's test splits, "target" and, where it is found, "source".

    Args:
        annotations: The file of the target, or a folder that has it, or `uda` in it.

    Raises:
        AnnotationError: If there is no file of the target.
    """
    target = annotations
    if annotations.is_dir():
        found = find_uda_file(annotations, "target_test")
        if found is None:
            names = " or ".join(uda_file_names("target_test"))
            raise AnnotationError(f"there is no {names} in the folder {annotations} or in uda inside it; name the file")
        target = found
    source = target.with_name(target.name.replace("target", "source"))
    files = {"target": target}
    return files | {"source": source} if source != target and source.is_file() else files


def adaptation_labels(annotations: Path, results: Results) -> Path:
    """The file with the labels of results of the adaptation challenge.

    Args:
        annotations: That file, or a folder that has it, or `uda` in it.
        results: The split that they say they are of is looked for; by default target_val.

    Raises:
        AnnotationError: If it is not in the folder.
    """
    if not annotations.is_dir():
        return annotations
    stated = str(results.meta.get("split", "val"))
    split = stated if stated in UDA_SPLITS else f"target_{stated}"
    found = find_uda_file(annotations, split, has_labels=True) if split in UDA_SPLITS else None
    if found is None:
        raise AnnotationError(f"the folder {annotations} has no annotations of split {split}; name the file of the clips")
    return found


def read_training_counts(path: Path, heads: Mapping[str, int], *, mapping: str | None = None) -> dict[str, IntArray]:
    """How many training clips each class has; head name to counts, shape (classes,). Of annotations with splits: split train.

    Args:
        path: The annotations.
        heads: Classes a head.
        mapping: As for `read_truth`.

    Raises:
        AnnotationError: If the annotations have no labels of a head.
        DataError: If a class is beyond those of a head.
    """
    index = read_annotations(path, split="train")
    labels = (index if mapping is None else share_classes(index, mapping)).labels()
    counts = {}
    for head, num_classes in heads.items():
        if head not in labels:
            raise AnnotationError(f"the training annotations {path} have no labels of head {head!r}; name those of the model")
        known = labels[head][labels[head] != UNLABELLED]
        if len(known) and known.max() >= num_classes:
            raise DataError(
                f"{path} has a {head} class {known.max()}, but the results have {num_classes}; name the model's own"
            )
        counts[head] = np.bincount(known, minlength=num_classes)
    return counts


def strip_reader(
    annotations: Path, root: Path, *, kind: str | None = None, format: str = "auto"
) -> Callable[[str], UInt8Array | None]:
    """A reader of a few frames, spread over a clip: clip id to uint8 (T, H, W, 3), or None for a clip that is not annotated.

    Args:
        annotations: Where the clips are described.
        root: The store's folder.
        kind: What it holds (gulp, frames or video); by default gulp if there are gulp files, else videos.
        format: Of the annotations.
    """
    from zoopraxis.data.stores import open_store

    index = read_annotations(annotations, format=format)
    store = open_store(kind or ("gulp" if any(root.glob("*.gmeta")) else "video"), root, modality="rgb")
    rows = {clip_id: row for row, clip_id in enumerate(index.clip_ids.tolist())}

    def read_strip(clip_id: str) -> UInt8Array | None:
        if clip_id not in rows:
            return None
        clip = index[rows[clip_id]]
        frames = np.linspace(0, store.num_frames(clip) - 1, _NUM_STRIP_FRAMES).round().astype(np.int64)
        return store.read(clip, frames)

    return read_strip
