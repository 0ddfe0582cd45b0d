"""Submissions to the recognition challenge of EPIC-KITCHENS-100: a zip with one `test.json`.

The JSON is `{"version", "challenge", "sls_pt", "sls_tl", "sls_td", "results": {narration_id: {"verb": {"0": score, ...},
"noun": {"0": score, ...}}}}`, byte for byte as the published tool writes it for the same scores in the same order. A clip may
also have `"action": {"verb,noun": score, ...}` with its best actions; without them actions are judged by the product of verbs
and nouns.

Source: EPIC-KITCHENS C1-Action-Recognition, create_submission.py; the actions: TAdaConv, runs/submission_test.py.

Differs: a submission with missing, unexpected or repeated ids, or with values that are not finite, is refused; the published
tool writes it, and the challenge's server rejects it later. The zip's time stamps are fixed: equal results give equal files.
Scores of actions are means over the views, as those of verbs and nouns are, where TAdaConv's are sums: the order is the same.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from zoopraxis.epic.recognition import actions_by_views
from zoopraxis.epic.vocabulary import HEADS
from zoopraxis.errors import ConfigError, DataError
from zoopraxis.evaluation.actions import PUBLISHED_NUM_ACTIONS, ActionSource, TopActions, top_actions
from zoopraxis.evaluation.results import Results
from zoopraxis.files import atomic_path

__all__ = ["SupervisionLevels", "check_submission", "read_submission", "submission_json", "write_submission"]

VERSION = "0.2"
CHALLENGE = "action_recognition"
MEMBER = "test.json"

_COMPRESSION_LEVEL = 5
_MAX_LEVEL = 5
_EARLIEST_TIME = (1980, 1, 1, 0, 0, 0)
_READABLE_FILE = 0o644 << 16


@dataclass(frozen=True)
class SupervisionLevels:
    """How much supervision a submission used, each 0 (none) to 5 (everything, private data too).

    Attributes:
        sls_pt: Pretraining: 1 public images, 2 and public videos, 3 self-supervised on public data, 4 and on EPIC-KITCHENS,
            5 private data.
        sls_tl: Training labels: 1 weak of a video, 2 weak in time, 3 full in time, 4 in space and time, 5 and further ones.
        sls_td: Training data: 1 few-shot (at most 5 clips a class), 2 at most 25%, 3 the training split, 4 and validation,
            5 and further data.

    Raises:
        ConfigError: If one is not a whole number from 0 to 5.
    """

    sls_pt: int
    sls_tl: int
    sls_td: int

    def __post_init__(self) -> None:
        for name, level in asdict(self).items():
            if not isinstance(level, int) or isinstance(level, bool) or not 0 <= level <= _MAX_LEVEL:
                option = name.replace("_", "-")
                raise ConfigError(f"{name} ({level}) must be a whole number from 0 to {_MAX_LEVEL}; give it by --{option}")


def check_submission(
    results: Results, *, expected_ids: Collection[str] | None = None, classes: Mapping[str, int] = HEADS
) -> None:
    """Refuse what the challenge would refuse.

    Args:
        results: The scores to submit.
        expected_ids: Ids of all clips of the test split; None where they are not known and cannot be checked.
        classes: Head to number of classes, if not EPIC-KITCHENS-100's (the toy kitchen's).

    Raises:
        DataError: If a head or a class is missing, or ids are missing or unexpected.
    """
    for head, width in classes.items():
        found = results.heads.get(head)
        if found is None:
            raise DataError(f"a submission needs scores of head {head!r}, but the results have {', '.join(results.heads)}")
        if found != width:
            raise DataError(
                f"a submission needs {width} {head} classes, but the results have {found}; test a model of these classes"
            )
    if expected_ids is None:
        return
    expected = np.unique(np.asarray(list(expected_ids), dtype=np.str_))
    for problem, ids in (
        ("of the split are not in the results", np.setdiff1d(expected, results.clip_ids)),
        ("of the results are not in the split", np.setdiff1d(results.clip_ids, expected)),
    ):
        if len(ids):
            raise DataError(
                f"{len(ids)} clips {problem}, first {ids[0]!s}; test on all clips of the test split, and only those"
            )


def submission_json(results: Results, levels: SupervisionLevels, *, actions: ActionSource | None = None) -> bytes:
    """The content of `test.json`, with the clips in the order of the results.

    Args:
        results: The scores to submit.
        levels: How much supervision they used.
        actions: What the best 100 actions of each clip are from: the `product` of its verbs and nouns (TAdaConv's "calculate"),
            or its `views` (TAdaConv's "sum"); none: the clips have no actions.

    Raises:
        DataError: If actions by views are asked for and the results have none.
    """
    head = {"version": VERSION, "challenge": CHALLENGE, **asdict(levels)}
    return b"".join([json.dumps(head)[:-1].encode(), b', "results": {', *_entries(results, _actions(results, actions)), b"}}"])


def write_submission(
    results: Results,
    path: str | Path,
    levels: SupervisionLevels,
    *,
    expected_ids: Collection[str] | None = None,
    classes: Mapping[str, int] = HEADS,
    actions: ActionSource | None = None,
) -> None:
    """Write the zip to upload, in one step; the arguments are those of `check_submission` and `submission_json`.

    Raises:
        DataError: If `check_submission` refuses the results, they lack the actions asked for, or the file cannot be written.
    """
    check_submission(results, expected_ids=expected_ids, classes=classes)
    member = zipfile.ZipInfo(MEMBER, _EARLIEST_TIME)
    member.external_attr = _READABLE_FILE
    content = submission_json(results, levels, actions=actions)
    try:
        with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
            archive.writestr(member, content, zipfile.ZIP_DEFLATED, _COMPRESSION_LEVEL)
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}; free some space or choose another folder") from error


def read_submission(path: str | Path) -> tuple[Results, SupervisionLevels]:
    """Read a submission, whoever wrote it, checking its form; `check_submission` checks ids and numbers of classes.

    Actions are passed over: their scores may be of any scale.

    Raises:
        DataError: If the file is no submission to this challenge.
        ConfigError: If a supervision level is out of range.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            content = json.loads(archive.read(MEMBER), object_pairs_hook=_unique)
    except KeyError as error:
        raise DataError(f"{path} has no member {MEMBER}; it must lie at the top of the zip") from error
    except (OSError, zipfile.BadZipFile, zlib.error, TypeError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a submission ({error})") from error
    if not isinstance(content, dict) or not isinstance(content.get("results"), dict):
        raise DataError(f"{path} has no object 'results' with the scores of each clip")
    for name, expected in (("version", VERSION), ("challenge", CHALLENGE)):
        if content.get(name) != expected:
            raise DataError(f"{path} has {name} {content.get(name)!r}; it must be {expected!r}")
    entries = content["results"]
    levels = SupervisionLevels(*(content.get(name, -1) for name in ("sls_pt", "sls_tl", "sls_td")))
    scores: dict[str, Any] = {
        head: [_class_scores(clip_id, entry, head) for clip_id, entry in entries.items()] for head in HEADS
    }
    return Results(np.array(list(entries), dtype=np.str_), scores), levels


def _actions(results: Results, source: ActionSource | None) -> TopActions | None:
    if source is None:
        return None
    if source == "product":
        return top_actions(results.scores["verb"], results.scores["noun"], PUBLISHED_NUM_ACTIONS)
    return actions_by_views(results)


def _entries(results: Results, actions: TopActions | None) -> Iterator[bytes]:
    tasks = {head: _numbered(results.scores[head]) for head in HEADS}
    if actions is not None:
        tasks["action"] = _paired(actions)
    for number, (clip_id, *scores) in enumerate(zip(results.clip_ids.tolist(), *tasks.values(), strict=True)):
        comma = ", " if number else ""
        yield f"{comma}{json.dumps(clip_id)}: {json.dumps(dict(zip(tasks, scores, strict=True)))}".encode()


def _numbered(scores: npt.NDArray[np.float32]) -> Iterator[dict[str, float]]:
    names = [str(number) for number in range(scores.shape[1])]
    return (dict(zip(names, row.tolist(), strict=True)) for row in scores)


def _paired(actions: TopActions) -> Iterator[dict[str, float]]:
    rows = zip(actions.verbs.tolist(), actions.nouns.tolist(), actions.probabilities.tolist(), strict=True)
    return ({f"{v},{n}": score for v, n, score in zip(*row, strict=True)} for row in rows)


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any] | npt.NDArray[np.float32]:
    """One JSON object: a mapping, or the array of the scores of the classes "0", "1", ..."""
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise DataError(f"the submission has {repeated!r} more than once in one object; each clip and class may appear once")
    if not mapping or not all(name.isdecimal() for name in mapping):
        return mapping
    if set(mapping) != {str(number) for number in range(len(mapping))}:
        raise DataError(f"the submission has {len(mapping)} classes that are not numbered 0 to {len(mapping) - 1}")
    return np.array([mapping[str(number)] for number in range(len(mapping))], dtype=np.float32)


def _class_scores(clip_id: str, entry: Any, head: str) -> npt.NDArray[np.float32]:
    scores = entry.get(head) if isinstance(entry, dict) else None
    if not isinstance(scores, np.ndarray):
        raise DataError(f'clip {clip_id} of the submission has no {head} scores; they must be {{"0": score, "1": score, ...}}')
    return scores
