"""Results files: which clips were scored, and the scores of every class of every head.

Four formats, told by the suffix:

* `.npz`: `clip_ids` (strings), one float32 array (clips, classes) a head under the head's name, `meta` (JSON); where a test
  formed actions of each view, also `action_classes` (int32, verb * nouns + noun) and `action_scores` (float32), both
  (clips, best actions), the best first.
* `.safetensors`: the same arrays; the ids as UTF-8 bytes, shape (clips, longest id), padded with zeros; `heads` (their order)
  and `meta` in the header's entry `zoopraxis` (JSON).
* `.pkl` and `.pt`: what the EPIC-KITCHENS-100 baselines write and read: `verb_output`, `noun_output`, `narration_id`,
  `video_id`, as a dict of arrays or a list of one dict a clip. Read without running anything. They have no place for meta and
  actions.

Source: EPIC-KITCHENS C1 baselines, test.py and the loader of fuse.py and evaluate.py.

Differs: a plain pickle named `.pt`, which is what the published test script writes there, is read; the published loader
refuses it. Missing arrays, wrong lengths, repeated ids and values that are not finite are refused instead of being scored.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from zoopraxis.errors import DataError, did_you_mean
from zoopraxis.evaluation.actions import TopActions, check_view_actions
from zoopraxis.files import atomic_path, write_bytes
from zoopraxis.pickles import load_pickle, save_pickle, save_torch_archive

__all__ = ["RESULTS_SUFFIXES", "Results", "load_results", "save_results"]

FloatArray = npt.NDArray[np.float32]
StrArray = npt.NDArray[np.str_]

_IDS, _META, _HEADS, _HEADER = "clip_ids", "meta", "heads", "zoopraxis"
_ACTION_CLASSES, _ACTION_SCORES = "action_classes", "action_scores"
_OUTPUT = "_output"
_LEGACY_IDS = "narration_id"


@dataclass(frozen=True, eq=False)
class Results:
    """Scores of N clips.

    Attributes:
        clip_ids: Ids without repeats, shape (N,), str.
        scores: Head name to scores, shape (N, classes), float32, finite: logits, or log-probabilities where probabilities of
            several views or models were averaged.
        meta: How the scores came about, JSON-able: `averaging` ("score" or "prob"), `views`, `model`, `split`, ...
        view_actions: The best actions of each clip, if several views were tested: the mean of each view's product of a verb's
            and a noun's probability.

    Raises:
        DataError: If there is no clip or no head, lengths differ, an id is repeated, a score is NaN or infinite, or the actions
            do not fit the clips and heads (`check_view_actions`).
    """

    clip_ids: StrArray
    scores: Mapping[str, FloatArray]
    meta: Mapping[str, Any] = field(default_factory=dict)
    view_actions: TopActions | None = None

    def __post_init__(self) -> None:
        clip_ids = np.asarray(self.clip_ids)
        if clip_ids.ndim != 1 or len(clip_ids) == 0:
            raise DataError(f"results need ids of at least one clip in one dimension, not an array of shape {clip_ids.shape}")
        object.__setattr__(self, "clip_ids", _as_str(clip_ids))
        object.__setattr__(self, "scores", {head: _as_scores(head, values) for head, values in self.scores.items()})
        if not isinstance(self.meta, Mapping):
            raise DataError(f"meta must be a mapping, not {type(self.meta).__name__}")
        object.__setattr__(self, "meta", dict(self.meta))
        _check(self)

    def __len__(self) -> int:
        return len(self.clip_ids)

    @property
    def heads(self) -> dict[str, int]:
        """Head name to number of classes."""
        return {head: scores.shape[1] for head, scores in self.scores.items()}

    def take(self, rows: npt.NDArray[np.int64]) -> Results:
        """The results of some rows, in the order given."""
        scores = {head: scores[rows] for head, scores in self.scores.items()}
        actions = None if self.view_actions is None else self.view_actions.take(rows)
        return Results(self.clip_ids[rows], scores, self.meta, actions)


def load_results(path: str | Path) -> Results:
    """Read a results file.

    Raises:
        DataError: If the file is missing, of no known format, or its content is refused by `Results`; names the file.
    """
    file = Path(path)
    reader = _READERS.get(file.suffix.lower())
    if reader is None:
        raise DataError(f"{file} is no results file; the suffix must be one of {', '.join(RESULTS_SUFFIXES)}")
    if not file.is_file():
        raise DataError(f"there is no results file {file}; write one with: zoopraxis test CHECKPOINT {file.name}")
    try:
        return reader(file)
    except DataError as error:
        message = str(error)
        raise DataError(message if str(file) in message else f"{file}: {message}") from error


def save_results(results: Results, path: str | Path) -> None:
    """Write a results file, in one step. `.pkl` and `.pt` are for the baselines' tools and lose `meta` and `view_actions`.

    Raises:
        DataError: If the suffix is unknown, a head has a name that the format needs for itself, or the disk is full.
    """
    file = Path(path)
    writer = _WRITERS.get(file.suffix.lower())
    if writer is None:
        raise DataError(f"cannot write results to {file}; the suffix must be one of {', '.join(RESULTS_SUFFIXES)}")
    reserved = {_IDS, _META, _ACTION_CLASSES, _ACTION_SCORES} & set(results.scores)
    if reserved:
        raise DataError(f"a head may not be called {min(reserved)!r} in a results file; rename it")
    try:
        writer(results, file)
    except OSError as error:
        raise DataError(f"cannot write {file}: {error.strerror or error}; free some space or choose another folder") from error


def _check(results: Results) -> None:
    if not results.scores:
        raise DataError("results need the scores of at least one head; found none")
    ids, counts = np.unique(results.clip_ids, return_counts=True)
    if len(ids) < len(results):
        repeated = ids[counts > 1]
        raise DataError(f"{len(repeated)} clip ids are repeated, first {repeated[0]!s}; each clip may be scored once")
    for head, scores in results.scores.items():
        if len(scores) != len(results):
            raise DataError(f"head {head!r} has scores of {len(scores)} clips, but there are {len(results)} clip ids")
        bad = np.flatnonzero(~np.isfinite(scores).all(axis=1))
        if len(bad):
            first = results.clip_ids[bad[0]]
            raise DataError(f"head {head!r} has NaN or infinite scores for {len(bad)} clips, first {first!s}; test again")
    if results.view_actions is not None:
        check_view_actions(results.view_actions, num_clips=len(results), heads=results.heads)


def _as_scores(head: str, values: Any) -> FloatArray:
    try:
        scores = np.asarray(values, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(f"head {head!r} has scores that are no table of numbers with one width") from error
    if scores.ndim != 2 or scores.shape[1] == 0:
        raise DataError(f"head {head!r} has scores of shape {scores.shape}; they must be (clips, classes)")
    return scores


def _as_str(values: npt.NDArray[Any]) -> StrArray:
    if values.dtype.kind != "S":
        return values.astype(np.str_)
    try:
        return np.char.decode(values, "utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"clip ids are no UTF-8 text ({error})") from error


def _read_npz(file: Path) -> Results:
    try:
        with np.load(file, allow_pickle=False) as archive:
            arrays = dict(archive)
    except (OSError, EOFError, ValueError, TypeError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"it cannot be read as .npz ({error})") from error
    if _IDS not in arrays:
        return _from_columns(arrays)
    meta = _parse_meta(str(arrays.pop(_META, "{}")))
    actions = _pop_actions(arrays)
    return Results(arrays.pop(_IDS), arrays, meta, actions)


def _write_npz(results: Results, file: Path) -> None:
    arrays: dict[str, Any] = {_IDS: results.clip_ids, **results.scores, **_action_arrays(results)}
    arrays[_META] = np.array(json.dumps(dict(results.meta)))
    with atomic_path(file) as temporary:
        np.savez(temporary, **arrays)


def _read_safetensors(file: Path) -> Results:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="numpy") as archive:
            arrays = {name: archive.get_tensor(name) for name in archive.keys()}  # noqa: SIM118 (no mapping)
            header = archive.metadata() or {}
    except (OSError, SafetensorError, TypeError) as error:
        raise DataError(f"it cannot be read as .safetensors ({error})") from error
    if _IDS not in arrays:
        raise DataError(f"it has no array {_IDS!r}; {did_you_mean(_IDS, arrays)}")
    padded = arrays.pop(_IDS)
    if padded.ndim != 2 or padded.dtype != np.uint8 or padded.shape[1] == 0:
        raise DataError(f"{_IDS!r} must be UTF-8 bytes of shape (clips, longest id), not {padded.dtype} {padded.shape}")
    ids = np.ascontiguousarray(padded).view(f"S{padded.shape[1]}")[:, 0]
    stored = _parse_meta(header.get(_HEADER, "{}"))
    actions = _pop_actions(arrays)
    order = [head for head in stored.get(_HEADS, []) if head in arrays]
    heads = dict.fromkeys([*order, *arrays])
    return Results(ids, {head: arrays[head] for head in heads}, stored.get(_META, {}), actions)


def _write_safetensors(results: Results, file: Path) -> None:
    from safetensors.numpy import save

    encoded = np.char.encode(results.clip_ids, "utf-8")
    padded = np.ascontiguousarray(encoded).view(np.uint8).reshape(len(results), -1)
    arrays = {head: np.ascontiguousarray(scores) for head, scores in results.scores.items()}
    header = {_HEADS: list(arrays), _META: dict(results.meta)}  # one entry: the format sorts arrays, and its entries at random
    tensors: dict[str, npt.NDArray[Any]] = {_IDS: padded, **arrays, **_action_arrays(results)}
    write_bytes(file, save(tensors, metadata={_HEADER: json.dumps(header)}))


def _action_arrays(results: Results) -> dict[str, npt.NDArray[Any]]:
    actions = results.view_actions
    if actions is None:
        return {}
    classes = np.ascontiguousarray(actions.classes(results.heads["noun"]), dtype=np.int32)
    return {_ACTION_CLASSES: classes, _ACTION_SCORES: np.ascontiguousarray(actions.probabilities, dtype=np.float32)}


def _pop_actions(arrays: dict[str, Any]) -> TopActions | None:
    """Take the actions out of a file's arrays; what is left are the heads' scores."""
    classes, scores = arrays.pop(_ACTION_CLASSES, None), arrays.pop(_ACTION_SCORES, None)
    if classes is None and scores is None:
        return None
    if classes is None or scores is None:
        absent = _ACTION_CLASSES if classes is None else _ACTION_SCORES
        raise DataError(f"it has actions but no array {absent!r}; test again")
    if classes.dtype.kind not in "iu" or scores.dtype.kind != "f":
        raise DataError(f"its actions must be whole numbers and their scores floats, not {classes.dtype} and {scores.dtype}")
    nouns = arrays.get("noun")
    num_nouns = nouns.shape[-1] if nouns is not None and nouns.ndim else 0
    return TopActions.from_classes(classes, scores, max(1, num_nouns))


def _parse_meta(text: str) -> dict[str, Any]:
    try:
        meta = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"its meta is no JSON ({error})") from error
    if not isinstance(meta, dict):
        raise DataError(f"its meta must be a JSON object, not {type(meta).__name__}")
    return meta


def _read_legacy(file: Path) -> Results:
    content = load_pickle(file)
    if isinstance(content, Mapping):
        return _from_columns(content)
    if isinstance(content, Sequence) and content and all(isinstance(row, Mapping) for row in content):
        return _from_columns(_collate(content))
    raise DataError(f"it holds {type(content).__name__}, not a dict of arrays or a list of one dict a clip")


def _collate(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    names = rows[0].keys()
    for number, row in enumerate(rows):
        missing = names - row.keys()
        if missing:
            raise DataError(f"row {number} has no {min(missing)!r}, which row 0 has")
    return {name: [row[name] for row in rows] for name in names}


def _from_columns(columns: Mapping[Any, Any]) -> Results:
    if {"video_ids", "segments"} <= columns.keys():
        raise DataError("it holds detections in long videos, not scores of clips; add --challenge detection")
    if _LEGACY_IDS not in columns:
        raise DataError(f"it has no array {_LEGACY_IDS!r}; {did_you_mean(_LEGACY_IDS, map(str, columns))}")
    heads = [str(name).removesuffix(_OUTPUT) for name in columns if str(name).endswith(_OUTPUT)]
    if not heads:
        raise DataError(f"it has no array of scores; name it after its head, as verb{_OUTPUT} and noun{_OUTPUT}")
    scores = {head: columns[head + _OUTPUT] for head in sorted(heads, reverse=True)}
    return Results(np.asarray(columns[_LEGACY_IDS]), scores)


def _to_columns(results: Results) -> dict[str, npt.NDArray[Any]]:
    columns: dict[str, npt.NDArray[Any]] = {head + _OUTPUT: scores for head, scores in results.scores.items()}
    video_ids = [clip_id.rpartition("_")[0] or clip_id for clip_id in results.clip_ids.tolist()]
    return {**columns, _LEGACY_IDS: results.clip_ids, "video_id": np.asarray(video_ids)}


def _write_pickle(results: Results, file: Path) -> None:
    save_pickle(file, _to_columns(results))


def _write_torch_archive(results: Results, file: Path) -> None:
    save_torch_archive(file, _to_columns(results))


_READERS: dict[str, Callable[[Path], Results]] = {
    ".npz": _read_npz,
    ".safetensors": _read_safetensors,
    ".pkl": _read_legacy,
    ".pt": _read_legacy,
}
_WRITERS: dict[str, Callable[[Results, Path], None]] = {
    ".npz": _write_npz,
    ".safetensors": _write_safetensors,
    ".pkl": _write_pickle,
    ".pt": _write_torch_archive,
}
RESULTS_SUFFIXES = tuple(_READERS)
