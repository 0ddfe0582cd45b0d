"""From published feature files, or from several feature stores, to one feature store.

# n features of a clip, D width of a feature
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from zoopraxis.data.features import FeatureStore, FeatureWriter, open_features
from zoopraxis.data.features.video_files import has_video_files, open_video_files
from zoopraxis.data.features.video_parts import Layout
from zoopraxis.data.prepare.work import Broken, OnProgress, Outcome, writing_to
from zoopraxis.errors import DataError

__all__ = ["convert_features", "join_features"]

Dtype = Literal["float32", "float16"]
Features = tuple[Mapping[str, npt.NDArray[np.float32]], npt.NDArray[np.float64] | None]
"""For each modality the features of one clip, shape (n, D), and their times in its video where known, seconds, shape (n,)."""

_PICKLES = (".pkl", ".pickle")
_FRAME_FILE = re.compile(r"img_(\d+)\.t7")
_UNREADABLE = (OSError, EOFError, RuntimeError, ValueError, LookupError, AttributeError, TypeError, UnpicklingError)
"""What torch raises for a file that is none of its own."""


def convert_features(
    source: str | Path,
    out: str | Path,
    *,
    modality: str | None = None,
    layout: Layout = "auto",
    dtype: Dtype = "float32",
    on_progress: OnProgress | None = None,
) -> Outcome:
    """Write published features as one feature store, a clip at a time.

    Args:
        source: A pickle `{"features": {modality: (N, 25, D)}, "narration_ids": (N,)}`, or a folder of such with the same
            modalities and different clips; or a folder of videos' folders with a file `img_00001.t7`, `img_00002.t7`, ... for
            each frame, of one vector each, as the features of UCF101, HMDB51 and Olympic Sports were published. A clip is then
            a video, its id the path of its folder below `source`. Or a folder of features of long videos, see
            `data.features.video_files`; a clip is then a video, its id the name of its file.
        out: The folder; new, or begun by an earlier run with the same source and settings.
        modality: The name of what `.t7` files (default: rgb) or the one folder of files of long videos (default: features)
            hold; pickles have names in them, and folders side by side are named by these.
        layout: Of `.npy` files of long videos: a feature a row, or a column; auto: told from them.
        dtype: In which features are stored.
        on_progress: Told the number of clips.

    Returns:
        Clips written, those that were there, and the videos set aside because a frame is missing or broken.

    Raises:
        DataError: If the source is none of these or broken, clips repeat, modalities differ, or `out` cannot be written.
    """
    source = Path(source)
    if not source.exists():
        raise DataError(f"there are no features {source}; check the path")
    if has_video_files(source):
        files = open_video_files(source, name=modality or "features", layout=layout)
        kind = {"converted_from": files.meta["published_as"]}
        return _write(_clips_of(source, files), files.modalities, out, dtype=dtype, meta=kind, on_progress=on_progress)
    pickles = _find_pickles(source)
    if pickles:
        stores = [open_features(path) for path in pickles]
        _check_parts(pickles, stores)
        clips = [clip for path, store in zip(pickles, stores, strict=True) for clip in _clips_of(path, store)]
        meta = {"converted_from": [path.name for path in pickles]}
        return _write(clips, stores[0].modalities, out, dtype=dtype, meta=meta, on_progress=on_progress)
    folders = _find_frame_folders(source)
    if not folders:
        raise DataError(
            f"{source} holds no published features: neither pickles nor files of long videos (.npy, .csv) nor folders of "
            "img_00001.t7, img_00002.t7 and so on; to make features of videos use: zoopraxis prepare features extract"
        )
    modality = modality or "rgb"
    width = _first_width(folders)
    clips = [
        _Clip(folder.relative_to(source).as_posix(), str(folder), partial(_read_frames, folder, modality, width))
        for folder in folders
    ]
    kind = {"converted_from": "img_%05d.t7"}
    return _write(clips, {modality: width}, out, dtype=dtype, meta=kind, on_progress=on_progress)


def join_features(
    sources: Sequence[str | Path], out: str | Path, *, dtype: Dtype = "float32", on_progress: OnProgress | None = None
) -> Outcome:
    """Write one feature store with the modalities of several of the same clips side by side.

    Args:
        sources: Feature stores or published pickles; their modalities stand in this order.
        out: The folder; new, or begun by an earlier run with the same sources and settings.
        dtype: In which features are stored.
        on_progress: Told the number of clips.

    Returns:
        Clips written, and those that were there.

    Raises:
        DataError: If clips or their numbers of features differ, a modality repeats, or `out` cannot be written.
    """
    paths = [Path(source) for source in sources]
    stores = [open_features(path) for path in paths]
    modalities: dict[str, int] = {}
    for path, store in zip(paths, stores, strict=True):
        repeated = [name for name in store.modalities if name in modalities]
        if repeated:
            raise DataError(f"{path} has the modality {repeated[0]!r} again; a store can hold it once, so leave one out")
        modalities |= store.modalities
    ids = stores[0].clip_ids.tolist()
    rows = [_rows_of_same_clips(path, store, paths[0], stores[0]) for path, store in zip(paths, stores, strict=True)]
    clips = [
        _Clip(clip_id, str(paths[0]), partial(_read_side_by_side, stores, [int(row) for row in places]))
        for clip_id, places in zip(ids, np.stack(rows, axis=1), strict=True)
    ]
    meta = {"joined_from": [path.name for path in paths]}
    return _write(clips, modalities, out, dtype=dtype, meta=meta, on_progress=on_progress)


@dataclass(frozen=True)
class _Clip:
    """A clip that is to be written."""

    clip_id: str
    file: str
    read: Callable[[], Features]


def _write(
    clips: Sequence[_Clip],
    modalities: Mapping[str, int],
    out: str | Path,
    *,
    dtype: Dtype,
    meta: Mapping[str, Any],
    on_progress: OnProgress | None,
) -> Outcome:
    tell = on_progress or (lambda done, total: None)
    broken: list[Broken] = []
    with writing_to(Path(out)), FeatureWriter(out, modalities, dtype=dtype, meta=meta) as writer:
        unfinished = [clip for clip in clips if clip.clip_id not in writer.done]
        skipped = len(clips) - len(unfinished)
        tell(skipped, len(clips))
        for number, clip in enumerate(unfinished, start=1):
            try:
                features, seconds = clip.read()
                writer.add(clip.clip_id, features, seconds=seconds)
            except DataError as error:
                broken.append(Broken(item=clip.clip_id, file=clip.file, reason=str(error)))
            tell(skipped + number, len(clips))
    return Outcome(done=len(unfinished) - len(broken), skipped=skipped, broken=tuple(broken))


def _clips_of(path: Path, store: FeatureStore) -> list[_Clip]:
    ids = store.clip_ids.tolist()
    return [_Clip(clip_id, str(path), partial(_read_side_by_side, [store], [row])) for row, clip_id in enumerate(ids)]


def _read_side_by_side(stores: Sequence[FeatureStore], rows: Sequence[int]) -> Features:
    """All features of one clip, which is at its own row of each store."""
    found: dict[str, npt.NDArray[np.float32]] = {}
    for store, row in zip(stores, rows, strict=True):
        positions = np.arange(store.num_features[row])[None]
        features_nD = store.read(np.array([row]), positions)[0]
        edges = np.cumsum([0, *store.modalities.values()])
        for name, start, stop in zip(store.modalities, edges[:-1], edges[1:], strict=True):
            found[name] = features_nD[:, start:stop]
    times = (store.seconds(row) for store, row in zip(stores, rows, strict=True))
    return found, next((seconds for seconds in times if seconds is not None), None)


def _check_parts(paths: Sequence[Path], stores: Sequence[FeatureStore]) -> None:
    """See that pickles can become one store.

    Raises:
        DataError: If their modalities differ, or two have the same clip.
    """
    owners: dict[str, Path] = {}
    for path, store in zip(paths, stores, strict=True):
        if dict(store.modalities) != dict(stores[0].modalities):
            raise DataError(
                f"{path} has the features {dict(store.modalities)}, but {paths[0].name} {dict(stores[0].modalities)}; "
                "convert them one by one"
            )
        for clip_id in store.clip_ids.tolist():
            if clip_id in owners:
                raise DataError(f"clip {clip_id!r} is in {owners[clip_id]} and in {path}; take one of them away")
            owners[clip_id] = path


def _rows_of_same_clips(path: Path, store: FeatureStore, first_path: Path, first: FeatureStore) -> npt.NDArray[np.int64]:
    """The rows of a store in the order of the first one's clips."""
    ids, first_ids = set(store.clip_ids.tolist()), first.clip_ids.tolist()
    for lacking, has, lacks in ((ids - set(first_ids), path, first_path), (set(first_ids) - ids, first_path, path)):
        if lacking:
            raise DataError(
                f"{lacks} lacks {len(lacking)} of the clips of {has} (first: {min(lacking)}); extract both of the same clips"
            )
    rows = store.rows_of(first_ids)
    others = np.flatnonzero(store.num_features[rows] != first.num_features)
    if len(others):
        row = int(others[0])
        raise DataError(
            f"clip {first_ids[row]!r} has {store.num_features[rows[row]]} features in {path}, but {first.num_features[row]} in "
            f"{first_path}; extract both with the same --num-segments"
        )
    return rows


def _find_pickles(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    return sorted(path for path in source.iterdir() if path.suffix.lower() in _PICKLES)


def _find_frame_folders(source: Path) -> list[Path]:
    """All folders below that hold features of frames, in order."""
    found = [Path(folder) for folder, _, files in os.walk(source) if any(_FRAME_FILE.fullmatch(name) for name in files)]
    return sorted(found)


def _first_width(folders: Sequence[Path]) -> int:
    """D, by the first video that can be read.

    Raises:
        DataError: If none can be.
    """
    first_error: DataError | None = None
    for folder in folders:
        try:
            return len(_read_vector(_frame_files(folder)[0]))
        except DataError as error:
            first_error = first_error or error
    raise DataError(f"none of {len(folders)} videos' features can be read; the first: {first_error}")


def _frame_files(folder: Path) -> list[Path]:
    """The files of a video's frames by their numbers.

    Raises:
        DataError: If there is a gap between the numbers, or they begin with neither 0 nor 1.
    """
    numbered = {int(match[1]): folder / match[0] for name in os.listdir(folder) if (match := _FRAME_FILE.fullmatch(name))}
    first = 0 if 0 in numbered else 1
    gap = next((number for number in range(first, first + len(numbered)) if number not in numbered), None)
    if gap is not None:
        raise DataError(
            f"{folder} has {len(numbered)} frames up to number {max(numbered)}, but no img_{gap:05d}.t7; "
            "get or make its features again"
        )
    return [numbered[number] for number in sorted(numbered)]


def _read_frames(folder: Path, modality: str, width: int) -> Features:
    vectors = []
    for path in _frame_files(folder):
        vector = _read_vector(path)
        if len(vector) != width:
            raise DataError(f"{path} has {len(vector)} values, but those before it have {width}; make the features again")
        vectors.append(vector)
    return {modality: np.stack(vectors)}, None


def _read_vector(path: Path) -> npt.NDArray[np.float32]:
    """The vector in a file, shape (D,); of any format of torch since 0.4. Nothing in the file is run.

    Raises:
        DataError: If it holds no such vector.
    """
    import torch

    try:
        tensor = torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise DataError(f"{path} cannot be read as a tensor ({lines[0]}); get or make it again") from error
    if not isinstance(tensor, torch.Tensor) or not tensor.is_floating_point() or not tensor.numel():
        raise DataError(f"{path} holds no vector of numbers; get or make it again")
    vector: npt.NDArray[np.float32] = tensor.detach().float().flatten().numpy()
    return vector
