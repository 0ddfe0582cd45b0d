"""EPIC-KITCHENS annotation files: segments, classes, rare classes, unseen participants and videos.

Source: epic-kitchens/epic-kitchens-100-annotations, README.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from zoopraxis.epic.vocabulary import NOUNS, VERBS, is_2020, participant_of
from zoopraxis.errors import AnnotationError, did_you_mean
from zoopraxis.pickles import load_pickle

__all__ = [
    "class_labels",
    "class_names_beside",
    "read_classes",
    "read_table",
    "read_tail_classes",
    "read_unseen_participants",
    "read_video_info",
    "segment_seconds",
    "timestamp_seconds",
    "to_flow_frames",
    "whole_numbers",
]

_ID_COLUMNS = ("narration_id", "uid")
_TEXT_COLUMNS = (*_ID_COLUMNS, "participant_id", "video_id", "video")
_RESAMPLED_FPS = 30
_RESAMPLED_COLUMNS = {
    "video": "video_id",
    "start": "start_frame_30fps",
    "stop": "stop_frame_30fps",
    "verb": "verb_class",
    "noun": "noun_class",
}
_PICKLE_SUFFIXES = (".pkl", ".pickle")


def read_table(path: str | Path) -> pd.DataFrame:
    """Read the segments of an EPIC file: CSV or pickle, with or without labels, with narration_id or uid as column or index.

    The 30-fps segment file (columns video, start, stop, verb, noun) is given EPIC's column names; its frame numbers, which
    are not those of the videos, are called start_frame_30fps and stop_frame_30fps.

    Returns:
        The file's rows in its order, indexed by clip id (text), with at least the columns video_id and participant_id.
        Lists (all_nouns, ...) are lists in a pickle and text in a CSV.

    Raises:
        AnnotationError: If the file cannot be read, has no ids or no videos, or a frame number is none.
        DataError: If a pickle is broken or would run code.
    """
    table = _read_pickle(path) if Path(path).suffix in _PICKLE_SUFFIXES else _read_csv(path)
    if "video_id" not in table.columns and {"video", "start", "stop"} <= set(table.columns):
        table = table.rename(columns=_RESAMPLED_COLUMNS)
    for name in _ID_COLUMNS:
        if name in table.columns:
            table = table.set_index(name)
            break
        if table.index.name == name:
            break
    else:
        raise AnnotationError(f"{path} has neither a column nor an index narration_id or uid; its columns: {_listed(table)}")
    if "video_id" not in table.columns:
        raise AnnotationError(f"{path} has no column 'video_id'; {did_you_mean('video_id', table.columns)}")
    table.index = pd.Index(table.index.map(str), name=table.index.name)
    for name in ("start_frame", "stop_frame"):
        if name in table.columns:
            table = table.assign(**{name: whole_numbers(table, name, path)})
    if "participant_id" not in table.columns:
        table.insert(0, "participant_id", [participant_of(video_id) for video_id in table["video_id"].tolist()])
    return table


def read_classes(path: str | Path) -> list[str]:
    """Read the names (column key) of a class file such as `EPIC_100_verb_classes.csv`, in the order of their ids.

    Raises:
        AnnotationError: If the file cannot be read, or its ids are not 0, 1, 2, ... without a gap.
    """
    table = _read_csv(path, keep_empty=True)
    for name in ("id", "key"):
        _require_column(path, table, name)
    names = dict(zip(table["id"].tolist(), table["key"].astype(str).tolist(), strict=True))
    missing = [number for number in range(len(table)) if number not in names]
    if missing:
        raise AnnotationError(
            f"{path} has {len(table)} classes but none with id {missing[0]}; ids must count from 0 without a gap"
        )
    return [names[number] for number in range(len(table))]


def class_names_beside(path: str | Path) -> dict[str, tuple[str, ...]]:
    """Names of the verbs and nouns from the class files in the folder of an annotation file, or in the folder above.

    Returns:
        Head to names: those of the files, or the numbers of EPIC-KITCHENS-100's classes where a head's file is not there.
    """
    found: dict[str, tuple[str, ...]] = {"verb": VERBS, "noun": NOUNS}
    folder = Path(path).resolve().parent
    for head in found:
        files = [place / f"EPIC_100_{head}_classes.csv" for place in (folder, folder.parent)]
        file = next((file for file in files if file.is_file()), None)
        if file is not None:
            found[head] = tuple(read_classes(file))
    return found


def read_tail_classes(path: str | Path) -> npt.NDArray[np.int64]:
    """Read the rare classes of a file such as `EPIC_100_tail_verbs.csv` (one column, verb or noun); shape (N,).

    Raises:
        AnnotationError: If the file cannot be read, or holds anything but whole numbers.
    """
    table = _read_csv(path)
    name = "noun" if "noun" in table.columns else "verb"
    _require_column(path, table, name)
    return whole_numbers(table, name, path)


def read_unseen_participants(path: str | Path) -> list[str]:
    """Read the participants of a file such as `EPIC_100_unseen_participant_ids_validation.csv`.

    Raises:
        AnnotationError: If the file cannot be read, or has no column participant_id.
    """
    table = _read_csv(path)
    _require_column(path, table, "participant_id")
    return [str(name) for name in table["participant_id"]]


def read_video_info(path: str | Path) -> pd.DataFrame:
    """Read `EPIC_100_video_info.csv`.

    Returns:
        Indexed by video_id: duration (seconds), fps, width and height (pixels).

    Raises:
        AnnotationError: If the file cannot be read, or a resolution is not written as 1920x1080.
    """
    table = _read_csv(path)
    for name in ("video_id", "duration", "fps", "resolution"):
        _require_column(path, table, name)
    sides = table["resolution"].astype(str).str.extract(r"^(\d+)x(\d+)$")
    broken = sides.isna().any(axis=1).to_numpy()
    if broken.any():
        row = int(broken.argmax())
        raise AnnotationError(f"{path} row {row}: resolution {table['resolution'].iloc[row]!r} is not of the form 1920x1080")
    columns = {
        "duration": table["duration"],
        "fps": table["fps"],
        "width": sides[0].astype(int),
        "height": sides[1].astype(int),
    }
    return pd.DataFrame(columns).set_axis(pd.Index(table["video_id"], name="video_id"), axis=0)


def to_flow_frames(table: pd.DataFrame) -> pd.DataFrame:
    """Convert frame numbers of RGB to those of optical flow in every column whose name ends in `frame`.

    Flow was computed from every second frame of the 2018 videos and from every frame of those of 2020: frame f (from 1)
    becomes (f - 1) // stride + 1.

    Source: C1-Action-Recognition-TSN-TRN-TSM, `convert_rgb_to_flow_frame_idxs.py`.

    Differs: the published script leaves a column `year` behind.
    """
    stride = np.where(is_2020(table["video_id"].tolist()), 1, 2)
    columns = [name for name in table.columns if str(name).endswith("frame")]
    return table.assign(**{name: (table[name] - 1) // stride + 1 for name in columns})


def segment_seconds(table: pd.DataFrame, path: str | Path) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None:
    """Start and stop of each segment in seconds, shape (N,) each: from timestamps, seconds or 30-fps frames; None without any.

    Raises:
        AnnotationError: If a timestamp cannot be understood; the message names `path` and the row.
    """
    for suffix, scale in (("timestamp", 1.0), ("seconds", 1.0), (f"frame_{_RESAMPLED_FPS}fps", 1.0 / _RESAMPLED_FPS)):
        names = f"start_{suffix}", f"stop_{suffix}"
        if set(names) <= set(table.columns):
            start, stop = (timestamp_seconds(table[name], path) * scale for name in names)
            return start, stop
    return None


def timestamp_seconds(column: pd.Series[Any], path: str | Path) -> npt.NDArray[np.float64]:
    """Seconds of timestamps as EPIC writes them (`01:02:03.45`), of time differences, or of plain numbers of seconds.

    Returns:
        Shape (N,), NaN where the column is empty.

    Raises:
        AnnotationError: If a value is none of these; the message names `path` and the row.
    """
    if pd.api.types.is_timedelta64_dtype(column.dtype):
        return np.asarray(column.dt.total_seconds(), dtype=np.float64)
    if pd.api.types.is_numeric_dtype(column.dtype):
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    text = pa.array(column.astype("string"), type=pa.string(), from_pandas=True)
    if isinstance(text, pa.ChunkedArray):
        text = text.combine_chunks()
    is_broken = pc.fill_null(pc.invert(pc.match_substring_regex(text, r"^\d+:\d\d:\d\d(\.\d+)?$")), False).to_numpy(False)
    if is_broken.any():
        row = int(is_broken.argmax())
        raise AnnotationError(f"{path} row {row}: {column.name} {text[row].as_py()!r} is not of the form 01:02:03.45")
    parts = pc.cast(pc.list_flatten(pc.split_pattern(text, ":")), pa.float64()).to_numpy().reshape(-1, 3)
    seconds = np.full(len(text), np.nan)
    seconds[pc.is_valid(text).to_numpy(False)] = parts @ np.array([3600.0, 60.0, 1.0])
    return seconds


def class_labels(table: pd.DataFrame, head: str, path: str | Path, *, unknown: int = -1) -> npt.NDArray[np.int64]:
    """The column `<head>_class`, shape (N,): `unknown` where it is empty, and everywhere if there is no such column.

    Raises:
        AnnotationError: If a value is no whole number; the message names `path` and the row.
    """
    if f"{head}_class" not in table.columns:
        return np.full(len(table), unknown, dtype=np.int64)
    return whole_numbers(table, f"{head}_class", path, unknown=unknown)


def whole_numbers(table: pd.DataFrame, name: str, path: str | Path, *, unknown: int | None = None) -> npt.NDArray[np.int64]:
    """A column of whole numbers, shape (N,), `unknown` where it is empty.

    Raises:
        AnnotationError: If a value is no whole number, or is empty and `unknown` is None; the message names `path` and the row.
    """
    numbers = pd.to_numeric(table[name], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    is_empty = table[name].isna().to_numpy()
    is_broken = ~np.isfinite(numbers) | (numbers != np.floor(numbers))
    if unknown is not None:
        is_broken &= ~is_empty
    if is_broken.any():
        row = int(is_broken.argmax())
        value = "(empty)" if is_empty[row] else repr(table[name].astype(object).iloc[row])
        raise AnnotationError(f"{path} row {row}: {name} {value} is no whole number; mend or remove the row")
    return np.where(is_empty, unknown or 0, numbers).astype(np.int64)


def _read_pickle(path: str | Path) -> pd.DataFrame:
    table = load_pickle(path)
    if not isinstance(table, pd.DataFrame):
        raise AnnotationError(f"{path} holds a {type(table).__name__}, not a pandas DataFrame; is it an annotation file?")
    return table


def _read_csv(path: str | Path, *, keep_empty: bool = False) -> pd.DataFrame:
    """Only empty fields count as missing: `null`, `nan` or `none` may be words."""
    dtypes = dict.fromkeys(_TEXT_COLUMNS, "str")
    try:
        return pd.read_csv(path, dtype=dtypes, keep_default_na=False, na_values=[] if keep_empty else [""])
    except OSError as error:
        raise AnnotationError(f"cannot read the annotations {path}: {error.strerror or error}; check the path") from error
    except ValueError as error:
        reason = re.sub(r"\s+", " ", str(error))
        raise AnnotationError(f"{path} is no readable CSV file ({reason}); it may be truncated: get it again") from error


def _require_column(path: str | Path, table: pd.DataFrame, name: str) -> None:
    if name not in table.columns:
        raise AnnotationError(f"{path} has no column {name!r}; {did_you_mean(name, table.columns)}")


def _listed(table: pd.DataFrame, limit: int = 8) -> str:
    names: Iterable[str] = map(str, table.columns[:limit])
    return ", ".join(names) + (", ..." if len(table.columns) > limit else "")
