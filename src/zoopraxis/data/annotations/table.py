"""A CSV file of a person's own videos to a clip index."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from zoopraxis.data.annotations.labels import ClassNames, build_index, check_heads, clip_ids_of, encode_labels
from zoopraxis.data.index import ClipIndex
from zoopraxis.epic.annotations import segment_seconds, timestamp_seconds
from zoopraxis.errors import AnnotationError, did_you_mean

__all__ = ["read_csv_table", "read_text_table"]

_HEADS = ("label", "verb", "noun")


def read_csv_table(
    path: str | Path,
    *,
    modality: Literal["rgb", "flow"] = "rgb",
    split: str | None = None,
    class_names: ClassNames | None = None,
) -> ClipIndex:
    """Read a CSV file with a header: `path`, then any of the columns below; others are passed over.

    - label, or verb and noun: the classes, by name or number from 0; each column is a head; empty where not known
    - start, stop (or start_seconds, stop_seconds; or start_timestamp, stop_timestamp): seconds, or timestamps as 00:01:02.5
    - start_frame, stop_frame: frames of the source, from 0, half-open
    - split, clip_id, participant_id, domain

    Args:
        path: The file; the paths in it are relative to the root of the store.
        modality: Makes no difference.
        split: Keep the clips of this split where the file has splits, else the name of all clips' split.
        class_names: Names of the classes of each head; default: those that occur, sorted, or the numbers from 0 to the highest.

    Raises:
        AnnotationError: If the file is malformed, or a name is not among `class_names`; the message names the row.
    """
    table = read_text_table(path)
    if "path" not in table.columns:
        raise AnnotationError(f"{path} has no column 'path'; {did_you_mean('path', table.columns)}")
    empty = (table["path"] == "").to_numpy()
    if empty.any():
        raise AnnotationError(f"{path} row {int(empty.argmax())}: the path is empty; remove the row or name its video")
    heads = [head for head in _HEADS if head in table.columns]
    names = check_heads(class_names, heads, path)
    start, stop = _seconds(table, path)
    frames = {name: _whole_numbers(table, name, path) for name in ("start_frame", "stop_frame")}
    return build_index(
        clip_id=_clip_ids(table, start, stop, frames),
        source=table["path"],
        labels={head: encode_labels(table[head], head, path, names.get(head)) for head in heads},
        splits=_optional(table, "split"),
        split=split,
        path=path,
        start_seconds=start,
        stop_seconds=stop,
        participant_id=_optional(table, "participant_id"),
        domain=_optional(table, "domain"),
        **frames,
    )


def read_text_table(path: str | Path) -> pd.DataFrame:
    """Read a CSV file with a header, every field as text, empty where there is none.

    Raises:
        AnnotationError: If it cannot be read.
    """
    try:
        return pd.read_csv(path, dtype="str", keep_default_na=False, skipinitialspace=True)
    except OSError as error:
        raise AnnotationError(f"cannot read the annotations {path}: {error.strerror or error}; check the path") from error
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise AnnotationError(f"{path} is no readable CSV file ({reason}); it may be truncated: get it again") from error


def _seconds(table: pd.DataFrame, path: str | Path) -> tuple[Any, Any]:
    named = table.rename(columns={"start": "start_seconds", "stop": "stop_seconds"})
    missing = [name for name in ("start_seconds", "stop_seconds") if name not in named.columns]
    if len(missing) == 2:
        return segment_seconds(named.replace("", None), path) or (None, None)
    if missing:
        raise AnnotationError(
            f"{path} has a column for one end of the clips but no column {missing[0].partition('_')[0]!r}; give both"
        )
    start, stop = (_moments(named[name], path) for name in ("start_seconds", "stop_seconds"))
    return start, stop


def _moments(column: pd.Series[Any], path: str | Path) -> npt.NDArray[np.float64]:
    """Seconds, or timestamps where a value has colons."""
    text = column.replace("", None)
    is_timestamp = text.str.contains(":", regex=False, na=False).to_numpy(dtype=np.bool_)
    numbers = pd.to_numeric(text.mask(is_timestamp), errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    is_broken = np.isnan(numbers) & text.notna().to_numpy() & ~is_timestamp
    if is_broken.any():
        row = int(is_broken.argmax())
        raise AnnotationError(f"{path} row {row}: {column.name} {text.iloc[row]!r} is neither seconds nor a time as 00:01:02.5")
    return np.where(is_timestamp, timestamp_seconds(text.where(is_timestamp), path), numbers)


def _whole_numbers(table: pd.DataFrame, name: str, path: str | Path) -> Any:
    if name not in table.columns:
        return None
    text = table[name].str.strip()
    is_broken = ~(text.str.fullmatch(r"-?\d+") | (text == "")).to_numpy(dtype=np.bool_)
    if is_broken.any():
        row = int(is_broken.argmax())
        raise AnnotationError(f"{path} row {row}: {name} {table[name].iloc[row]!r} is no whole number; frames count from 0")
    return [int(value) if value else None for value in text]


def _optional(table: pd.DataFrame, name: str) -> list[str | None] | None:
    return [value or None for value in table[name]] if name in table.columns else None


def _clip_ids(table: pd.DataFrame, start: Any, stop: Any, frames: dict[str, Any]) -> list[str]:
    """The file's own ids, or the paths without suffix, with the span where there is one: `walks/a@1.5-3`."""
    if "clip_id" in table.columns:
        return table["clip_id"].astype(str).tolist()
    ids = clip_ids_of(table["path"].tolist())
    if start is not None:
        spans = [None if np.isnan(first) else f"{first:g}-{last:g}" for first, last in zip(start, stop, strict=True)]
    elif frames["start_frame"] is not None and frames["stop_frame"] is not None:
        firsts, lasts = frames["start_frame"], frames["stop_frame"]
        spans = [None if first is None else f"f{first}-{last}" for first, last in zip(firsts, lasts, strict=True)]
    else:
        return ids
    return [clip_id if span is None else f"{clip_id}@{span}" for clip_id, span in zip(ids, spans, strict=True)]
