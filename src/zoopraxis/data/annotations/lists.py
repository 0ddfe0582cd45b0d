"""List files, one clip a line, as Kinetics and Something-Something are often given: to a clip index."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Literal

from zoopraxis.data.annotations.labels import VIDEO_SUFFIXES, ClassNames, build_index, check_heads, clip_ids_of, encode_labels
from zoopraxis.data.index import ClipIndex
from zoopraxis.errors import AnnotationError

__all__ = ["numbered_lines", "read_lines", "read_list"]

_FORMS = {1: "PATH", 2: "PATH LABEL", 3: "PATH NUM_FRAMES LABEL"}


def read_list(
    path: str | Path,
    *,
    modality: Literal["rgb", "flow"] = "rgb",
    split: str | None = None,
    class_names: ClassNames | None = None,
) -> ClipIndex:
    """Read lines of the form `path label` or `path num_frames label` (or `path`, unlabelled): one clip each, head `label`.

    These are the lists of TAdaConv (`kinetics400_train_list.txt`, `hmdb51_train_list.txt`, `ucf101_test_list.txt`: path and
    label from 0, with a space or a comma between them), of TSM and TANet (path, number of frames and label of a folder of
    frames) and of mmaction2 (path and label of videos, the three of folders of frames). The first row decides the form of all.
    Paths may have spaces, and with a comma before the label also commas. The number of frames is taken for folders of RGB
    frames; that of a video is told by the video, and lists are not at one on whether they count frames or pairs for flow.

    Args:
        path: The list; the paths in it are relative to the root of the store.
        modality: Of the frames.
        split: The clips' split; default: as the file's name tells.
        class_names: Names of the classes of head `label`; default: the numbers from 0 to the highest.

    Raises:
        AnnotationError: If the file cannot be read, is empty, or a line is of another form than the first.
    """
    lines = read_lines(path)
    separator, form = _form(lines[0])
    rows = [[field.strip() for field in line.rsplit(separator, form - 1)] for line in lines]
    for number, row in enumerate(rows):
        is_broken = len(row) != form or (form == 3 and not row[1].isdigit()) or (separator and not row[-1].isdigit())
        if is_broken:
            expected = _FORMS[form].replace(" ", separator or " ")
            raise AnnotationError(f"{path} row {number}: {lines[number]!r} is not of the form {expected!r} of the first row")
    sources = [row[0] for row in rows]
    names = check_heads(class_names, ("label",), path).get("label")
    counts: list[int | None] = [None] * len(rows)
    if form == 3 and modality == "rgb":
        counts = [None if PurePosixPath(row[0]).suffix.lower() in VIDEO_SUFFIXES else int(row[1]) for row in rows]
    return build_index(
        clip_id=clip_ids_of(sources),
        source=sources,
        labels={"label": encode_labels([row[-1] if form > 1 else None for row in rows], "label", path, names)},
        splits=None,
        split=split,
        path=path,
        start_frame=[None if count is None else 0 for count in counts],
        stop_frame=counts,
    )


def read_lines(path: str | Path) -> list[str]:
    """The lines of a text file that are not empty, stripped.

    Raises:
        AnnotationError: If it cannot be read, or has none.
    """
    return [line for _, line in numbered_lines(path)]


def numbered_lines(path: str | Path) -> list[tuple[int, str]]:
    """The lines of a text file that are not empty, stripped, each with its number from 1.

    Raises:
        AnnotationError: If it cannot be read, or has none.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise AnnotationError(f"cannot read the annotations {path}: {error.strerror or error}; check the path") from error
    except UnicodeDecodeError as error:
        raise AnnotationError(f"{path} is no text file ({error.reason}); is it the right file?") from error
    lines = [(number, stripped) for number, line in enumerate(text.splitlines(), start=1) if (stripped := line.strip())]
    if not lines:
        raise AnnotationError(f"{path} is empty; it should have one clip a line")
    return lines


def _form(line: str) -> tuple[str | None, int]:
    """What separates the fields of a line (none: white space), and their number; what is a number at its end decides.

    The path, which comes first, may have separators in it.
    """
    by_space, by_comma = line.rsplit(maxsplit=2), line.rsplit(",", 2)
    for separator, fields in ((None, by_space), (",", by_comma)):
        num_counts = len(fields) - 1 if all(_is_number(field) for field in fields[1:]) else int(_is_number(fields[-1]))
        if num_counts > 0:
            return separator, num_counts + 1
    return None, min(len(by_space), 2)


def _is_number(field: str) -> bool:
    return field.strip().isdigit()
