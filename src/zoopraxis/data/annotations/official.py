"""The official splits of UCF101 and HMDB51 to a clip index.

Both data sets come with three divisions of the same videos into training and test, numbered 1 to 3. Neither has a validation
split: `val` is `test`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from zoopraxis.data.annotations.labels import (
    ClassNames,
    build_index,
    check_heads,
    clip_ids_of,
    encode_labels,
    normalize_split,
)
from zoopraxis.data.annotations.lists import numbered_lines
from zoopraxis.data.index import ClipIndex
from zoopraxis.errors import AnnotationError

__all__ = ["is_hmdb51", "is_ucf101", "read_hmdb51", "read_ucf101"]

_UCF_CLASSES = "classInd.txt"
_HMDB_SPLITS = {"0": None, "1": "train", "2": "test"}
"""The number beside a video to its split; none: not used in this division."""
_CODES = "in each line a 1 means training, 2 test, 0 not used"
_CURE = "for TAdaConv's lists, which number classes from 0, give the format kinetics"


def is_ucf101(path: Path) -> bool:
    """Whether annotations are a list of UCF101's, or the folder of them."""
    if path.is_dir():
        return (path / _UCF_CLASSES).is_file()
    return re.fullmatch(r"(train|test)list0\d\.txt", path.name) is not None


def is_hmdb51(path: Path) -> bool:
    """Whether annotations are the folder of HMDB51's lists."""
    return path.is_dir() and any(path.glob("*_test_split[123].txt"))


def read_ucf101(
    path: str | Path,
    *,
    modality: Literal["rgb", "flow"] = "rgb",
    split: str | None = None,
    class_names: ClassNames | None = None,
    official_split: int = 1,
) -> ClipIndex:
    """Read UCF101's `ucfTrainTestlist`: its folder, or one list of it, with `classInd.txt` beside; head `label`.

    A line is `CLASS/VIDEO.avi`, in the lists of training with the number of the class, from 1, which has to agree. Labels count
    from 0, in the order of `classInd.txt`.

    Args:
        path: The folder, or `trainlist0N.txt` or `testlist0N.txt`; sources are relative to the folder of the class folders.
        modality: Makes no difference: clips are whole videos.
        split: Of a folder which list is read, default: both; of a list the clips' split, default: as its name tells.
        class_names: Names of the classes of head `label`; default: those of `classInd.txt`.
        official_split: Which of the three divisions is read from a folder.

    Raises:
        AnnotationError: If a list is missing or malformed (names the file and the line), or there is no such split.
    """
    path = Path(path)
    classes = _read_ucf_classes((path if path.is_dir() else path.parent) / _UCF_CLASSES)
    wanted = _wanted(path, split)
    if path.is_dir():
        kinds = ("train", "test") if wanted is None else ("train" if wanted == "train" else "test",)
        lists = {path / f"{kind}list0{official_split}.txt": kind for kind in kinds}
    else:
        lists = {path: "train" if path.name.startswith("train") else "test"}
    sources, splits = [], []
    for file, kind in lists.items():
        found = _read_ucf_list(file, classes)
        sources += found
        splits += [wanted or kind] * len(found)
    return _index(path, sources, splits, split=split, classes=classes, class_names=class_names)


def read_hmdb51(
    path: str | Path,
    *,
    modality: Literal["rgb", "flow"] = "rgb",
    split: str | None = None,
    class_names: ClassNames | None = None,
    official_split: int = 1,
) -> ClipIndex:
    """Read HMDB51's folder `testTrainMulti_7030_splits`; head `label`, classes in alphabetical order.

    The folder has files `CLASS_test_splitN.txt` with lines `VIDEO.avi NUMBER`: 1 is training, 2 test, 0 not used.

    Args:
        path: The folder; sources are `CLASS/VIDEO.avi`.
        modality: Makes no difference: clips are whole videos.
        split: Keep the clips of this split; default: of both.
        class_names: Names of the classes of head `label`; default: those that there are files of.
        official_split: Which of the three divisions is read.

    Raises:
        AnnotationError: If it is no such folder, a file is malformed (names the file and the line), or no video is of the
            split.
    """
    ending = f"_test_split{official_split}.txt"
    files = {file.name.removesuffix(ending): file for file in sorted(Path(path).glob(f"*{ending}"))}
    if not files:
        raise AnnotationError(f"{path} has no files CLASS{ending}; give HMDB51's folder testTrainMulti_7030_splits; {_CURE}")
    wanted = _wanted(path, split)
    kept = {None: ("train", "test"), "train": ("train",)}.get(wanted, ("test",))
    sources, splits = [], []
    for name, file in files.items():
        for number, line in numbered_lines(file):
            video, _, kind = line.rpartition(" ")
            if not video or kind not in _HMDB_SPLITS:
                raise AnnotationError(f"{file} line {number}: {line!r} is not of the form 'VIDEO.avi 0|1|2'")
            found = _HMDB_SPLITS[kind]
            if found in kept:
                sources.append(f"{name}/{video.strip()}")
                splits.append(wanted or found)
    if not sources:
        raise AnnotationError(f"{path} has no videos of {wanted or 'training and test'} in division {official_split}: {_CODES}")
    return _index(path, sources, splits, split=split, classes=sorted(files), class_names=class_names)


def _wanted(path: str | Path, split: str | None) -> str | None:
    """The name of the split that is asked for."""
    wanted = None if split is None else normalize_split(split)
    if wanted not in (None, "train", "val", "test"):
        raise AnnotationError(f"{path} has no split {split!r}; known: train, test, and val, which is test")
    return wanted


def _read_ucf_classes(path: Path) -> list[str]:
    """The classes, which `classInd.txt` numbers from 1, in order."""
    if not path.is_file():
        raise AnnotationError(f"there is no {path}, which numbers UCF101's classes; it belongs beside the lists; {_CURE}")
    classes: list[str] = []
    for number, line in numbered_lines(path):
        place, _, name = line.partition(" ")
        if place != str(len(classes) + 1) or not name.strip() or name.strip() in classes:
            raise AnnotationError(
                f"{path} line {number}: {line!r} is not of the form '{len(classes) + 1} CLASS', with a new class"
            )
        classes.append(name.strip())
    return classes


def _read_ucf_list(path: Path, classes: Sequence[str]) -> list[str]:
    """The videos of a list, `CLASS/VIDEO.avi`."""
    numbers = {name: number for number, name in enumerate(classes, start=1)}
    videos: list[str] = []
    for number, line in numbered_lines(path):
        match = re.fullmatch(r"([^/]+)/([^/]+?)(?:\s+(\d+))?", line)
        if match is None:
            raise AnnotationError(
                f"{path} line {number}: {line!r} is not of the form 'CLASS/VIDEO.avi' or 'CLASS/VIDEO.avi NUMBER'"
            )
        name, video, label = match.groups()
        if name not in numbers:
            raise AnnotationError(f"{path} line {number}: {name!r} is no class of {_UCF_CLASSES}; name the folder as it does")
        if label is not None and int(label) != numbers[name]:
            raise AnnotationError(
                f"{path} line {number}: {name!r} is class {numbers[name]} of {_UCF_CLASSES}, but {label} here; {_CURE}"
            )
        videos.append(f"{name}/{video}")
    return videos


def _index(
    path: str | Path,
    sources: Sequence[str],
    splits: Sequence[str | None],
    *,
    split: str | None,
    classes: Sequence[str],
    class_names: ClassNames | None,
) -> ClipIndex:
    names = check_heads(class_names, ("label",), path).get("label", classes)
    return build_index(
        clip_id=clip_ids_of(sources),
        source=sources,
        labels={"label": encode_labels([source.partition("/")[0] for source in sources], "label", path, names)},
        splits=splits,
        split=split,
        path=path,
    )
