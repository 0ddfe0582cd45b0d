"""Kinetics annotations to a clip index."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from zoopraxis.data.annotations.labels import ClassNames, build_index, check_heads, clip_ids_of, encode_labels
from zoopraxis.data.annotations.lists import read_list
from zoopraxis.data.annotations.table import read_text_table
from zoopraxis.data.index import ClipIndex
from zoopraxis.errors import AnnotationError, did_you_mean

__all__ = ["read_kinetics"]


def read_kinetics(
    path: str | Path,
    *,
    modality: Literal["rgb", "flow"] = "rgb",
    split: str | None = None,
    class_names: ClassNames | None = None,
) -> ClipIndex:
    """Read the official CSV (label, youtube_id, time_start, time_end, split), or a list file as `read_list` does.

    The CSV names trimmed clips, whose files lie at `<label>/<youtube_id>_<start>_<end>.<suffix>`, start and end in whole
    seconds of six digits, as the official crawler writes them; without labels (the test split) at `<youtube_id>_...`.

    Args:
        path: CSV or list.
        modality: Of the frames; matters for lists of frame folders.
        split: Keep the clips of this split where the CSV has splits, else the name of all clips' split.
        class_names: Names of the classes of head `label`; default: those that occur, sorted, or the numbers in a list.

    Raises:
        AnnotationError: If the file is malformed, or a label is not among `class_names`; the message names the row.
    """
    if Path(path).suffix.lower() != ".csv":
        return read_list(path, modality=modality, split=split, class_names=class_names)
    table = read_text_table(path)
    for name in ("youtube_id", "time_start", "time_end"):
        if name not in table.columns:
            raise AnnotationError(f"{path} has no column {name!r}; {did_you_mean(name, table.columns)}")
    times = table[["time_start", "time_end"]]
    is_broken = ~times.apply(lambda column: column.str.fullmatch(r"\d{1,6}(\.0*)?")).all(axis=1).to_numpy()
    if is_broken.any():
        row = int(is_broken.argmax())
        raise AnnotationError(f"{path} row {row}: times {' and '.join(times.iloc[row])} are not whole seconds")
    labels = table["label"].tolist() if "label" in table.columns else [""] * len(table)
    start, stop = (times[name].astype(float).astype(int).tolist() for name in times.columns)
    columns = zip(labels, table["youtube_id"].tolist(), start, stop, strict=True)
    sources = [f"{label}{'/' * bool(label)}{video}_{first:06d}_{last:06d}" for label, video, first, last in columns]
    names = check_heads(class_names, ("label",), path).get("label")
    return build_index(
        clip_id=clip_ids_of(sources),
        source=sources,
        labels={"label": encode_labels(labels, "label", path, names)},
        splits=[name or None for name in table["split"]] if "split" in table.columns else None,
        split=split,
        path=path,
    )
