"""Submissions to the recognition and adaptation challenges of EPIC-KITCHENS-100: a zip with one `test.json`.

The JSON of recognition is `{"version", "challenge", "sls_pt", "sls_tl", "sls_td", "results": {narration_id: {"verb":
{"0": score, ...}, "noun": {"0": score, ...}}}}`, byte for byte as the published tool writes it for the same scores in the same
order. A clip may also have `"action": {"verb,noun": score, ...}` with its best actions; without them actions are judged by the
product of verbs and nouns.

That of adaptation is `{"results_target": {...}, "results_source": {...}, "version", "challenge", "sls_pt", "sls_tl",
"sls_td"}`, the second being optional. Its numbers are probabilities: the softmax of each clip's scores, as float32.

Source: EPIC-KITCHENS C1-Action-Recognition, create_submission.py; the actions: TAdaConv, runs/submission_test.py; adaptation:
jonmun/EPIC-KITCHENS-100_UDA_TA3N, test_models.py.

Differs: a submission with missing, unexpected or repeated ids, or with values that are not finite, is refused; the published
tool writes it, and the challenge's server rejects it later. The zip's time stamps are fixed: equal results give equal files.
Scores of actions are means over the views, as those of verbs and nouns are, where TAdaConv's are sums: the order is the same.
The published adaptation script states supervision levels of 0, whatever was used, and writes no zip; ours states those given.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from zoopraxis.epic.adaptation import Domain, check_domain
from zoopraxis.epic.recognition import actions_by_views
from zoopraxis.epic.vocabulary import HEADS
from zoopraxis.errors import ConfigError, DataError
from zoopraxis.evaluation.actions import PUBLISHED_NUM_ACTIONS, ActionSource, TopActions, top_actions
from zoopraxis.evaluation.probabilities import log_softmax
from zoopraxis.evaluation.results import Results
from zoopraxis.files import atomic_path

__all__ = [
    "SupervisionLevels",
    "adaptation_json",
    "check_adaptation_submission",
    "check_submission",
    "read_member",
    "read_submission",
    "submission_json",
    "write_adaptation_submission",
    "write_member",
    "write_submission",
]

VERSION = "0.2"
CHALLENGE = "action_recognition"
ADAPTATION_CHALLENGE = "domain_adaptation"
MEMBER = "test.json"

_COMPRESSION_LEVEL = 5
_MAX_LEVEL = 5
_EARLIEST_TIME = (1980, 1, 1, 0, 0, 0)
_READABLE_FILE = 0o644 << 16
_SMALLEST = np.finfo(np.float32).smallest_subnormal


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
    _write_zip(path, submission_json(results, levels, actions=actions))


def check_adaptation_submission(
    target: Results,
    *,
    source: Results | None = None,
    expected_ids: Collection[str] | None = None,
    expected_source_ids: Collection[str] | None = None,
    classes: Mapping[str, int] = HEADS,
) -> None:
    """Refuse what the adaptation challenge would refuse.

    Args:
        target: The scores of target_test.
        source: The scores of source_test, if they are submitted too.
        expected_ids: Ids of all clips of target_test; None where they are not known and cannot be checked.
        expected_source_ids: Ids of all clips of source_test.
        classes: Head to number of classes, if not EPIC-KITCHENS-100's.

    Raises:
        DataError: If clips are of the other domain, or `check_submission` refuses one of the results.
    """
    parts: list[tuple[Domain, Results | None, Collection[str] | None]] = [
        ("target", target, expected_ids),
        ("source", source, expected_source_ids),
    ]
    for domain, results, ids in parts:
        if results is None:
            continue
        try:
            check_domain(results, domain)
            if ids is None:
                _check_split(results, f"{domain}_test")
            check_submission(results, expected_ids=ids, classes=classes)
        except DataError as error:
            raise DataError(f"results of the {domain}: {error}") from error


def _check_split(results: Results, split: str) -> None:
    """Refuse results that say themselves that they are of another split of the challenge."""
    stated = results.meta.get("split", split)
    if stated not in ("test", split):
        raise DataError(
            f"they are scores of split {stated}, but the challenge takes {split}; test with --split {split}, or give "
            "--annotations to have their clips checked instead"
        )


def adaptation_json(target: Results, levels: SupervisionLevels, *, source: Results | None = None) -> bytes:
    """The content of `test.json` of the adaptation challenge, with the clips in the order of the results."""
    parts = [b'{"results_target": {', *_entries(_probabilities(target)), b"}, "]
    if source is not None:
        parts += [b'"results_source": {', *_entries(_probabilities(source)), b"}, "]
    tail = {"version": VERSION, "challenge": ADAPTATION_CHALLENGE, **asdict(levels)}
    return b"".join([*parts, json.dumps(tail)[1:].encode()])


def write_adaptation_submission(
    target: Results,
    path: str | Path,
    levels: SupervisionLevels,
    *,
    source: Results | None = None,
    expected_ids: Collection[str] | None = None,
    expected_source_ids: Collection[str] | None = None,
    classes: Mapping[str, int] = HEADS,
) -> None:
    """Write the zip to upload, in one step; the arguments are those of `check_adaptation_submission` and `adaptation_json`.

    Raises:
        DataError: If `check_adaptation_submission` refuses the results, or the file cannot be written.
    """
    check_adaptation_submission(
        target, source=source, expected_ids=expected_ids, expected_source_ids=expected_source_ids, classes=classes
    )
    _write_zip(path, adaptation_json(target, levels, source=source))


def read_submission(path: str | Path, *, domain: Domain = "target") -> tuple[Results, SupervisionLevels]:
    """Read a submission to either challenge, whoever wrote it, checking its form.

    `check_submission` and `check_adaptation_submission` check ids and numbers of classes. Actions are passed over: their scores
    may be of any scale. The probabilities of adaptation are given as their logarithms, as which results hold probabilities;
    of a probability of 0, the logarithm of the smallest float32 above.

    Args:
        path: The zip.
        domain: Which results of a submission to the adaptation challenge are read.

    Raises:
        DataError: If the file is no submission to these challenges, or has no results of the domain.
        ConfigError: If a supervision level is out of range.
    """
    content = _read_member(path, _unique)
    challenge = content.get("challenge")
    is_adaptation = challenge == ADAPTATION_CHALLENGE
    name = f"results_{domain}" if is_adaptation else "results"
    entries = content.get(name)
    if not isinstance(entries, dict):
        raise DataError(f"{path} has no object {name!r} with the scores of each clip")
    if content.get("version") != VERSION:
        raise DataError(f"{path} has version {content.get('version')!r}; it must be {VERSION!r}")
    if challenge not in (CHALLENGE, ADAPTATION_CHALLENGE):
        raise DataError(f"{path} has challenge {challenge!r}; it must be {CHALLENGE!r} or {ADAPTATION_CHALLENGE!r}")
    levels = SupervisionLevels(*(content.get(name, -1) for name in ("sls_pt", "sls_tl", "sls_td")))
    scores: dict[str, Any] = {
        head: [_class_scores(clip_id, entry, head) for clip_id, entry in entries.items()] for head in HEADS
    }
    meta: dict[str, Any] = {}
    if is_adaptation:
        scores = {head: _logarithms(head, values) for head, values in scores.items()}
        meta = {"averaging": "prob", "domain": domain}
    return Results(np.array(list(entries), dtype=np.str_), scores, meta), levels


def read_member(path: str | Path) -> dict[str, Any]:
    """Read the JSON object of a submission's zip; no object in it may have a key twice.

    Raises:
        DataError: If the file is no such zip.
    """
    return _read_member(path, _once)


def write_member(path: str | Path, document: Mapping[str, Any]) -> None:
    """Write the zip of a submission with a JSON object, in one step.

    Raises:
        DataError: If the file cannot be written.
    """
    _write_zip(path, json.dumps(document).encode())


def _read_member(path: str | Path, as_object: Callable[[Sequence[tuple[str, Any]]], Any]) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as archive:
            content = json.loads(archive.read(MEMBER), object_pairs_hook=as_object)
    except KeyError as error:
        raise DataError(f"{path} has no member {MEMBER}; it must lie at the top of the zip") from error
    except (OSError, zipfile.BadZipFile, zlib.error, TypeError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a submission ({error})") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} has no object 'results'")
    return content


def _write_zip(path: str | Path, content: bytes) -> None:
    member = zipfile.ZipInfo(MEMBER, _EARLIEST_TIME)
    member.external_attr = _READABLE_FILE
    try:
        with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
            archive.writestr(member, content, zipfile.ZIP_DEFLATED, _COMPRESSION_LEVEL)
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}; free some space or choose another folder") from error


def _probabilities(results: Results) -> Results:
    """The same clips with probabilities in place of scores."""
    scores = {head: np.exp(log_softmax(results.scores[head])).astype(np.float32) for head in HEADS}
    return Results(results.clip_ids, scores)


def _logarithms(head: str, rows: Iterable[npt.NDArray[np.float32]]) -> list[npt.NDArray[np.float32]]:
    logs = []
    for row in rows:
        if row.min() < 0:
            raise DataError(f"the submission has a {head} probability of {row.min():g}; probabilities must be at least 0")
        logs.append(np.log(np.maximum(row, _SMALLEST)))
    return logs


def _actions(results: Results, source: ActionSource | None) -> TopActions | None:
    if source is None:
        return None
    if source == "product":
        return top_actions(results.scores["verb"], results.scores["noun"], PUBLISHED_NUM_ACTIONS)
    return actions_by_views(results)


def _entries(results: Results, actions: TopActions | None = None) -> Iterator[bytes]:
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


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise DataError(
            f"the submission has {repeated!r} more than once in one object; each clip, video and class may appear once"
        )
    return mapping


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any] | npt.NDArray[np.float32]:
    """One JSON object: a mapping, or the array of the scores of the classes "0", "1", ..."""
    mapping = _once(pairs)
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
