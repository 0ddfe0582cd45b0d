"""`zoopraxis submit`: a challenge submission from a results file."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoopraxis.cli import console
from zoopraxis.cli.config import Json
from zoopraxis.cli.outputs import check_output
from zoopraxis.errors import ConfigError

if TYPE_CHECKING:
    from zoopraxis.epic.submission import SupervisionLevels
    from zoopraxis.evaluation.actions import ActionSource
    from zoopraxis.evaluation.results import Results

__all__ = ["command"]


class _Challenge(StrEnum):
    RECOGNITION, ADAPTATION, DETECTION = "recognition", "adaptation", "detection"


class _Actions(StrEnum):
    NONE, PRODUCT, VIEWS = "none", "product", "views"


_LEVELS = {_Challenge.RECOGNITION: (2, 3, 4), _Challenge.ADAPTATION: (2, 3, 3), _Challenge.DETECTION: (2, 3, 3)}
"""Supervision levels where none are stated: of the published tool, of a model trained on the published features, and of the
published baseline."""

_SOURCES: dict[_Actions, ActionSource | None] = {_Actions.NONE: None, _Actions.PRODUCT: "product", _Actions.VIEWS: "views"}


def command(
    results: Annotated[
        Path, typer.Argument(metavar="RESULTS", help="Scores of all clips of the test split (of the target), or detections.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT.zip", help="The file to upload.")],
    challenge: Annotated[_Challenge, typer.Option(help="The challenge.")] = _Challenge.RECOGNITION,
    source_results: Annotated[
        Path | None, typer.Option(metavar="FILE", help="For adaptation: scores of source_test, which may be submitted too.")
    ] = None,
    sls_pt: Annotated[
        int | None,
        typer.Option(
            help="Pretraining, 0 to 5: none, public images, and videos, self-supervised public, and EPIC, private data."
        ),
    ] = None,
    sls_tl: Annotated[
        int | None,
        typer.Option(
            help="Training labels, 0 to 5: none, weak of videos, weak in time, full in time, in space and time, and more."
        ),
    ] = None,
    sls_td: Annotated[
        int | None,
        typer.Option(help="Training data, 0 to 5: none, few-shot, at most a quarter, train, train and validation, and more."),
    ] = None,
    annotations: Annotated[
        Path | None,
        typer.Option(
            help="The test split (EPIC_100_test_timestamps.csv; for adaptation the target's, or its folder), to check that all "
            "its clips, or videos, are there."
        ),
    ] = None,
    videos: Annotated[
        Path | None, typer.Option(help="For detection: how long the videos are (EPIC_100_video_info.csv); by default beside.")
    ] = None,
    actions: Annotated[
        _Actions,
        typer.Option(
            help="Also submit the best 100 actions of each clip: by the product of its verbs and nouns, or by the mean of each "
            "view's product, where RESULTS has it. Without, the challenge takes the product."
        ),
    ] = _Actions.NONE,
    force: Annotated[bool, typer.Option("--force", help="Overwrite OUT.zip.")] = False,
    json: Json = False,
) -> None:
    """Write a challenge submission, after checking what the challenge would refuse.

    The supervision levels default to 2, 3, 4 for recognition (those of the published tool) and to 2, 3, 3 for adaptation
    and detection: state your own.
    """
    check_output(out, what="a submission", suffixes=(".zip",), force=force)
    source = _SOURCES[actions]
    if challenge is not _Challenge.RECOGNITION and source is not None:
        raise ConfigError(f"--actions is of the recognition challenge; leave it out: {challenge.value} is judged without them")
    if videos is not None and challenge is not _Challenge.DETECTION:
        raise ConfigError("--videos is of the detection challenge; add --challenge detection, or leave it out")
    if challenge is not _Challenge.ADAPTATION and source_results is not None:
        raise ConfigError("--source-results is of the adaptation challenge; add --challenge adaptation, or leave it out")

    from zoopraxis.epic.submission import SupervisionLevels
    from zoopraxis.evaluation.results import load_results

    given = zip((sls_pt, sls_tl, sls_td), _LEVELS[challenge], strict=True)
    levels = SupervisionLevels(*(default if level is None else level for level, default in given))
    if challenge is _Challenge.DETECTION:
        from zoopraxis.cli.detection import submit_detections

        submit_detections(results, out, levels, annotations, videos=videos, as_json=json)
        return
    scored = load_results(results)
    if challenge is _Challenge.ADAPTATION:
        others = None if source_results is None else load_results(source_results)
        facts, lines = _write_adaptation(scored, others, out, levels, annotations)
    else:
        facts, lines = _write_recognition(scored, out, levels, annotations, source)
    if json:
        told = {"submission": out, "challenge": challenge.value, "num_clips": len(scored)}
        console.emit_json(told | asdict(levels) | facts)
        return
    stated = ", ".join(f"{name} {level}" for name, level in asdict(levels).items())
    console.say(f"{challenge.value} submission of {len(scored)} clips ({stated}): {out}")
    for line in lines:
        console.say(line)


def _write_recognition(
    scored: Results, out: Path, levels: SupervisionLevels, annotations: Path | None, actions: ActionSource | None
) -> tuple[dict[str, Any], list[str]]:
    """Write the zip; what to tell programs and people."""
    from zoopraxis.epic.submission import write_submission

    expected_ids = None if annotations is None else _ids(annotations)
    write_submission(scored, out, levels, expected_ids=expected_ids, classes=_classes(annotations), actions=actions)
    lines = []
    if actions is not None:
        lines.append(f"with the best actions of each clip, by {actions}")
    elif scored.view_actions is not None:
        lines.append("without the actions by views that the results have; submit them with --actions views")
    if expected_ids is None:
        lines.append("not checked: whether these are all clips of the test split; name it with --annotations to check")
    return {"ids_checked": expected_ids is not None, "actions": actions}, lines


def _write_adaptation(
    target: Results, source: Results | None, out: Path, levels: SupervisionLevels, annotations: Path | None
) -> tuple[dict[str, Any], list[str]]:
    """Write the zip; what to tell programs and people."""
    from zoopraxis.cli.truth import adaptation_test_files
    from zoopraxis.epic.submission import write_adaptation_submission

    files = {} if annotations is None else adaptation_test_files(annotations)
    given = {"target": target} if source is None else {"target": target, "source": source}
    expected = {domain: _ids(files[domain]) for domain in given if domain in files}
    write_adaptation_submission(
        target,
        out,
        levels,
        source=source,
        expected_ids=expected.get("target"),
        expected_source_ids=expected.get("source"),
        classes=_classes(files.get("target")),
    )
    lines = [] if source is None else [f"with {len(source)} clips of the source"]
    unchecked = " and ".join(f"{domain}_test" for domain in given if domain not in expected)
    if unchecked:
        lines.append(
            f"not checked: whether these are all clips of {unchecked}; name the folder uda with --annotations to check"
        )
    facts = {"num_source_clips": 0 if source is None else len(source), "ids_checked": not unchecked}
    return facts, lines


def _ids(annotations: Path) -> list[str]:
    from zoopraxis.epic.annotations import read_table

    ids: list[str] = read_table(annotations).index.tolist()
    return ids


def _classes(annotations: Path | None) -> dict[str, int]:
    """Classes a head: of the class files beside the annotations, or EPIC-KITCHENS-100's."""
    from zoopraxis.epic.annotations import class_names_beside
    from zoopraxis.epic.vocabulary import HEADS

    if annotations is None:
        return dict(HEADS)
    return {head: len(names) for head, names in class_names_beside(annotations).items()}
