"""`zoopraxis test`: score the clips of a split with a checkpoint, or find the actions in its long videos."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoopraxis.cli import console
from zoopraxis.cli.config import Architecture, Json, parse_architecture
from zoopraxis.cli.outputs import check_output
from zoopraxis.cli.preparing import StoreName
from zoopraxis.errors import ConfigError

if TYPE_CHECKING:
    from zoopraxis.training.options import DetectionOutcome, TestOutcome

__all__ = ["command"]


class _Split(StrEnum):
    TRAIN, VAL, TEST = "train", "val", "test"
    SOURCE, TARGET = "source", "target"
    SOURCE_TRAIN, SOURCE_VAL, SOURCE_TEST = "source_train", "source_val", "source_test"
    TARGET_TRAIN, TARGET_VAL, TARGET_TEST = "target_train", "target_val", "target_test"


class _Average(StrEnum):
    SCORE, PROB = "score", "prob"


def command(
    checkpoint: Annotated[
        str, typer.Argument(metavar="CHECKPOINT", help="A checkpoint file, or the name of published weights.")
    ],
    results: Annotated[
        Path,
        typer.Argument(
            metavar="RESULTS", help="The file to write: .npz, .safetensors, .pkl or .pt; of detections .npz or .json."
        ),
    ],
    split: Annotated[
        _Split, typer.Option(help="The clips to score; all but train, val and test are of adaptation.")
    ] = _Split.VAL,
    views: Annotated[str | None, typer.Option(metavar="CLIPSxCROPS", help="Views of a clip, e.g. 10x3.")] = None,
    root: Annotated[Path | None, typer.Option(help="The store's folder, if not the one of training.")] = None,
    store: Annotated[StoreName | None, typer.Option(help="The store's kind, if not that of training.")] = None,
    annotations: Annotated[Path | None, typer.Option(help="The split's annotations, if not those of training.")] = None,
    quarantine: Annotated[Path | None, typer.Option(help="Clips to leave out, as prepare check lists them.")] = None,
    average: Annotated[_Average | None, typer.Option(help="Average views as logits (score) or probabilities (prob).")] = None,
    num_segments: Annotated[int | None, typer.Option(min=1, help="Frames of a view, or features of a clip.")] = None,
    size: Annotated[int | None, typer.Option(min=1, help="Height and width of a view, px.")] = None,
    fps: Annotated[float | None, typer.Option(help="Frame rate of stored frames, for sampling by time.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Clips scored at once.")] = None,
    num_workers: Annotated[int | None, typer.Option(min=0, help="Processes that read clips.")] = None,
    accelerator: Annotated[str, typer.Option(help="auto, cpu or gpu.")] = "auto",
    devices: Annotated[str, typer.Option(help="How many devices, or auto.")] = "auto",
    architecture: Architecture = None,
    modalities: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Features that a published TA3N or BMN takes, e.g. RGB,Flow.")
    ] = None,
    embeddings: Annotated[
        Path | None, typer.Option(metavar="FILE.npz", help="Also write what adaptation makes of clips of both domains.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="For networks of localization: a setting of data, proposals or classes; repeat it.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite RESULTS and the embeddings.")] = False,
    json: Json = False,
) -> None:
    """Score every clip of a split with a checkpoint and write a results file.

    Of several views of verbs and nouns it also keeps the best 100 actions of each clip, by the mean of each view's product.
    What is not given is as the checkpoint's own settings have it; published weights that are named are tested as their
    published result was (zoopraxis models NAME). Of networks of domain adaptation train, val and test are clips of the target,
    and ANNOTATIONS may be the folder of all splits. Networks of localization find the actions in the split's long videos, and
    RESULTS are their detections.
    """
    from zoopraxis.evaluation.results import RESULTS_SUFFIXES

    num_clips, num_crops = parse_views(views)
    num_devices = _parse_devices(devices)
    check_output(results, what="a results file", suffixes=(*RESULTS_SUFFIXES, ".json"), force=force)
    if embeddings is not None:
        check_output(embeddings, what="an embeddings file", suffixes=(".npz",), force=force)

    from zoopraxis.training.inference import TestOptions, test
    from zoopraxis.training.options import DetectionOutcome

    options = TestOptions(
        root=_text(root),
        annotations=_text(annotations),
        store=store.value if store else None,
        fps=_check_rate(fps),
        size=size,
        num_segments=num_segments,
        num_clips=num_clips,
        num_crops=num_crops,
        average=average.value if average else None,
        batch_size=batch_size,
        num_workers=num_workers,
        quarantine=_text(quarantine),
        modalities=None if modalities is None else [name.strip() for name in modalities.split(",") if name.strip()],
        architecture=parse_architecture(architecture),
        embeddings=_text(embeddings),
        settings=settings or None,
    )
    outcome = test(
        checkpoint,
        results,
        split=split.value,
        options=options,
        accelerator=accelerator,
        devices=num_devices,
        show_progress=console.shows_progress(),
    )
    if isinstance(outcome, DetectionOutcome):
        _show_detections(outcome, results, split.value, json=json)
    else:
        _show_scores(outcome, results, split.value, embeddings=embeddings, json=json)


def _show_scores(outcome: TestOutcome, results: Path, split: str, *, embeddings: Path | None, json: bool) -> None:
    actions = outcome.results.view_actions if results.suffix.lower() in (".npz", ".safetensors") else None
    if json:
        kept = None if actions is None else actions.verbs.shape[1]
        facts = {"results": results, "num_clips": len(outcome.results), "metrics": outcome.metrics}
        console.emit_json(facts | {"view_actions": kept})
        return
    if outcome.metrics:
        console.table(f"{split}, {len(outcome.results)} clips", ["metric", "%"], list(outcome.metrics.items()))
    console.say(f"scores of {len(outcome.results)} clips: {results}")
    if embeddings is not None:
        console.say(f"features of both domains before and after the network: {embeddings}")
    if actions is not None:
        console.say(
            f"and the best {actions.verbs.shape[1]} actions of each clip, by the mean of each view's product of verb and noun"
        )
    elif outcome.results.view_actions is not None:
        console.say(
            f"without the actions by views, for which {results.suffix} has no place; write .npz or .safetensors to keep them"
        )


def _show_detections(outcome: DetectionOutcome, path: Path, split: str, *, json: bool) -> None:
    found = outcome.detections
    if json:
        facts = {"detections": path, "num_videos": found.num_videos, "num_detections": len(found)}
        console.emit_json(facts | {"metrics": outcome.metrics, "notes": outcome.notes})
        return
    for note in outcome.notes:
        console.say(note)
    if outcome.metrics:
        console.table(f"{split}, {found.num_videos} videos", ["metric", "%"], list(outcome.metrics.items()))
    console.say(f"{len(found)} detections in {found.num_videos} videos: {path}")


def parse_views(text: str | None) -> tuple[int | None, int | None]:
    """`CLIPSxCROPS` as two numbers; none: neither is given.

    Raises:
        ConfigError: If the text is no such pair, or the crops are not 1, 3, 5 or 10.
    """
    if text is None:
        return None, None
    match = re.fullmatch(r"([1-9]\d*)x(1|3|5|10)", text)
    if match is None:
        raise ConfigError(f"--views {text}: must be CLIPSxCROPS with 1, 3, 5 or 10 crops; try --views 1x1 or --views 10x3")
    return int(match[1]), int(match[2])


def _check_rate(fps: float | None) -> float | None:
    """The frame rate given.

    Raises:
        ConfigError: If it is not positive.
    """
    if fps is not None and not 0 < fps < float("inf"):
        raise ConfigError(f"--fps {fps:g}: must be positive; try --fps 30")
    return fps


def _parse_devices(text: str) -> int | str:
    if text == "auto":
        return text
    if not text.isdigit() or int(text) == 0:
        raise ConfigError(f"--devices {text}: must be a positive number or auto; try --devices 1")
    return int(text)


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
