"""Annotations of every format to the clip index: one reader a format, chosen by name or told from the file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from zoopraxis.data.annotations.epic import read_epic
from zoopraxis.data.annotations.feature_lists import read_feature_list
from zoopraxis.data.annotations.folder import read_folder
from zoopraxis.data.annotations.kinetics import read_kinetics
from zoopraxis.data.annotations.labels import ClassNames, normalize_split
from zoopraxis.data.annotations.official import is_hmdb51, is_ucf101, read_hmdb51, read_ucf101
from zoopraxis.data.annotations.something import read_something
from zoopraxis.data.annotations.table import read_csv_table
from zoopraxis.data.index import ClipIndex
from zoopraxis.errors import AnnotationError, ConfigError, did_you_mean

__all__ = ["FORMATS", "detect_format", "read_annotations"]


def read_annotations(
    path: str | Path,
    *,
    format: str = "auto",
    modality: Literal["rgb", "flow"] = "rgb",
    split: str | None = None,
    class_names: ClassNames | Sequence[str] | None = None,
    official_split: int = 1,
) -> ClipIndex:
    """Read annotations into a clip index.

    Args:
        path: A file, or a folder of videos by class, of UCF101's or HMDB51's lists, or a gulp folder.
        format: `epic`, `csv`, `folder`, `kinetics`, `something`, `ucf101`, `hmdb51`, `index` (Parquet), `gulp` or
            `list` (TA3N's lists of folders of features); `auto`: told from the path, but for `list`.
        modality: Of the frames that the index will be used with; decides EPIC's frame numbers.
        split: The split that is wanted: annotations with splits are cut down to it, others are all of it.
        class_names: For each head its classes in label order, or the classes of the one head `label`. Give those of the
            training index where labels are names and the file may not have all of them.
        official_split: Which of UCF101's and HMDB51's three divisions is read, where `path` is the folder of all.

    Raises:
        ConfigError: If the format or the modality is unknown, or there is no such division.
        AnnotationError: If the annotations are missing or malformed; the message names the row. Labels out of range, empty
            segments and repeated ids are found by `data.validation.validate`.
        DataError: If a pickle is broken or would run code, or a gulp folder is broken.
    """
    if modality not in ("rgb", "flow"):
        raise ConfigError(f"unknown modality {modality!r}; {did_you_mean(modality, ('rgb', 'flow'))}")
    if format != "auto" and format not in _READERS:
        raise ConfigError(f"unknown annotation format {format!r}; {did_you_mean(format, FORMATS)}")
    if official_split not in (1, 2, 3):
        raise ConfigError(f"official_split is {official_split}, but UCF101 and HMDB51 have 1, 2 and 3")
    if not Path(path).exists():
        raise AnnotationError(f"the annotations {path} do not exist; check the path")
    names = class_names if class_names is None or isinstance(class_names, Mapping) else {"label": tuple(class_names)}
    found = detect_format(path) if format == "auto" else format
    options = {"official_split": official_split} if found in _WITH_OFFICIAL_SPLITS else {}
    return _READERS[found](path, modality=modality, split=split, class_names=names, **options)


def detect_format(path: str | Path) -> str:
    """The format of annotations, told from the suffix and the first line, of folders from what is in them.

    Raises:
        AnnotationError: If it cannot be told.
    """
    path = Path(path)
    for format, is_it in (("ucf101", is_ucf101), ("hmdb51", is_hmdb51)):
        if is_it(path):
            return format
    if path.is_dir():
        return "gulp" if any(path.glob("*.gmeta")) else "folder"
    by_suffix = {".parquet": "index", ".pkl": "epic", ".pickle": "epic", ".json": "something", ".txt": "kinetics"}
    suffix = path.suffix.lower()
    if suffix in by_suffix:
        return by_suffix[suffix]
    header = _first_line(path) if suffix == ".csv" else ""
    columns = {name.strip().strip('"') for name in header.split(",")}
    for format, is_told in (
        ("something", ";" in header and "," not in header.partition(";")[0]),
        ("kinetics", "youtube_id" in columns),
        ("epic", bool(columns & {"narration_id", "uid"}) and bool(columns & {"video_id", "video"})),
        ("csv", "path" in columns),
    ):
        if is_told:
            return format
    raise AnnotationError(f"cannot tell the format of {path} from its name and first line; name it: {', '.join(FORMATS[1:])}")


def _first_line(path: Path) -> str:
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        return file.readline()


def _read_index(
    path: str | Path, *, modality: str = "rgb", split: str | None = None, class_names: ClassNames | None = None
) -> ClipIndex:
    """Read a saved index; its frames are of the modality that it was made for."""
    index = ClipIndex.load(path)
    for head, names in (class_names or {}).items():
        if index.class_names.get(head) != tuple(names):
            raise AnnotationError(
                f"the index {path} has other classes of head {head!r} than those given; make it anew with them"
            )
    has_splits = index.table.column("split").null_count < len(index)
    return index.of_split(normalize_split(split)) if split is not None and has_splits else index


def _read_gulp(
    path: str | Path,
    *,
    modality: Literal["rgb", "flow"] = "rgb",
    split: str | None = None,
    class_names: ClassNames | None = None,
) -> ClipIndex:
    """Read the annotations in a gulp folder; loaded when needed, since it brings the reader of the frames with it."""
    from zoopraxis.data.annotations.gulp import read_gulp

    return read_gulp(path, modality=modality, split=split, class_names=class_names)


_READERS: dict[str, Callable[..., ClipIndex]] = {
    "epic": read_epic,
    "csv": read_csv_table,
    "folder": read_folder,
    "kinetics": read_kinetics,
    "something": read_something,
    "ucf101": read_ucf101,
    "hmdb51": read_hmdb51,
    "index": _read_index,
    "gulp": _read_gulp,
    "list": read_feature_list,
}
_WITH_OFFICIAL_SPLITS = ("ucf101", "hmdb51")
FORMATS = ("auto", *_READERS)
"""What `format` may be."""
