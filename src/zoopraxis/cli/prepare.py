"""`zoopraxis prepare`: from videos and annotations to what training reads."""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from zoopraxis.cli import console, features
from zoopraxis.cli.config import Json
from zoopraxis.cli.preparing import (
    SHOWN_ROWS,
    Annotations,
    Format,
    FormatName,
    Modality,
    ModalityName,
    OfficialSplit,
    Out,
    Split,
    StoreName,
    Workers,
    count_workers,
    read_clips,
    tell_broken,
    tell_outcome,
)
from zoopraxis.errors import ConfigError

__all__ = ["app"]

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    help="Make an index, frames, flow, gulp folders or features; check a data set. An interrupted run goes on when run again.",
)
app.add_typer(features.app, name="features")


class _Source(StrEnum):
    FRAMES, VIDEO = "frames", "video"


class _Method(StrEnum):
    DIS, DIS_FAST, TVL1 = "dis", "dis_fast", "tvl1"


Resize = Annotated[int | None, typer.Option(min=1, help="Shorter side, px; default: as it is.")]


@app.command()
def index(
    annotations: Annotations,
    out: Annotated[Path, typer.Argument(metavar="OUT.parquet", help="The index to write.")],
    format: Format = FormatName.AUTO,
    modality: Modality = ModalityName.RGB,
    split: Split = None,
    official_split: OfficialSplit = 1,
    root: Annotated[Path | None, typer.Option(help="The store's folder: also see that every clip is there.")] = None,
    store: Annotated[StoreName, typer.Option(help="What --root holds.")] = StoreName.VIDEO,
    json: Json = False,
) -> None:
    """Read annotations, check every row, and write them as one clip index.

    Nothing is written when a row is wrong: all such rows are listed.
    """
    from zoopraxis.data.stores import open_store
    from zoopraxis.data.validation import raise_for, validate

    clips = read_clips(annotations, format, modality, split, official_split)
    opened = None if root is None else open_store(store.value, root, modality=modality.value)
    with console.progress("clips") as on_progress:
        problems = validate(clips, store=opened, on_progress=on_progress)
    if problems:
        rows = [(problem.row, problem.clip_id, problem.message) for problem in problems[:SHOWN_ROWS]]
        console.table(f"{len(problems)} problems in {annotations}", ["row", "clip", "problem"], rows)
    raise_for(problems)
    clips.save(out)
    if json:
        console.emit_json({"out": out, "num_clips": len(clips), "heads": clips.heads})
        return
    heads = ", ".join(f"{head} ({width} classes)" for head, width in clips.heads.items())
    console.say(f"{len(clips)} clips, labels: {heads or 'none'}: {out}")


@app.command()
def gulp(
    annotations: Annotations,
    root: Annotated[Path, typer.Argument(metavar="STORE_ROOT", help="The folder of the frames or videos.")],
    out: Out,
    store: Annotated[StoreName, typer.Option(help="What STORE_ROOT holds.")] = StoreName.VIDEO,
    format: Format = FormatName.AUTO,
    modality: Modality = ModalityName.RGB,
    split: Split = None,
    official_split: OfficialSplit = 1,
    resize: Resize = None,
    quality: Annotated[int, typer.Option(min=1, max=100, help="Of the JPEGs.")] = 90,
    clips_per_chunk: Annotated[int, typer.Option(min=1, help="Clips in one data file.")] = 100,
    quarantine: Annotated[Path | None, typer.Option(help="Clips to leave out, as prepare check lists them.")] = None,
    num_workers: Workers = None,
    json: Json = False,
) -> None:
    """Write a gulp folder: the frames of every clip, ready for training."""
    from zoopraxis.data.prepare.check import read_quarantine
    from zoopraxis.data.prepare.gulp import write_gulp
    from zoopraxis.data.stores import open_store

    clips = read_clips(annotations, format, modality, split, official_split)
    if quarantine is not None:
        clips = clips.without(read_quarantine(quarantine))
    opened = open_store(store.value, root, modality=modality.value)
    with console.progress("clips") as on_progress:
        outcome = write_gulp(
            clips,
            opened,
            out,
            modality=modality.value,
            resize=resize,
            quality=quality,
            clips_per_chunk=clips_per_chunk,
            num_workers=count_workers(num_workers),
            on_progress=on_progress,
        )
    tell_outcome(outcome, out, "clips", json=json)


@app.command()
def frames(
    videos: Annotated[Path, typer.Argument(metavar="VIDEOS", help="A folder, searched with all below it, or one video.")],
    out: Out,
    fps: Annotated[float | None, typer.Option(help="Frames per second to take; default: every frame.")] = None,
    resize: Resize = None,
    quality: Annotated[int, typer.Option(min=1, max=100, help="Of the JPEGs.")] = 95,
    num_workers: Workers = None,
    json: Json = False,
) -> None:
    """Write every video as a folder of JPEGs in EPIC-KITCHENS' layout."""
    from zoopraxis.data.prepare.frames import write_frames

    with console.progress("videos") as on_progress:
        outcome = write_frames(
            videos,
            out,
            fps=fps,
            resize=resize,
            quality=quality,
            num_workers=count_workers(num_workers),
            on_progress=on_progress,
        )
    tell_outcome(outcome, out, "videos", json=json)


@app.command()
def flow(
    root: Annotated[Path, typer.Argument(metavar="ROOT", help="A folder of videos or of frame folders.")],
    out: Out,
    store: Annotated[_Source, typer.Option(help="What ROOT holds.")] = _Source.VIDEO,
    method: Annotated[_Method, typer.Option(help="tvl1 is the published one, and hundreds of times slower.")] = _Method.DIS,
    stride: Annotated[
        str, typer.Option(metavar="N|epic", help="Take every N-th frame; epic: 2 for videos of 2018 (P01_02), else 1.")
    ] = "epic",
    dilation: Annotated[int, typer.Option(min=1, help="Frames between the two frames of a flow image.")] = 1,
    bound: Annotated[float, typer.Option(help="Motion in px that is stored as 0 or 255; larger is clipped.")] = 20.0,
    resize: Annotated[int | None, typer.Option(min=1, help="Shorter side before, px; default: as it is.")] = None,
    quality: Annotated[int, typer.Option(min=1, max=100, help="Of the JPEGs.")] = 95,
    num_workers: Workers = None,
    json: Json = False,
) -> None:
    """Write the optical flow of every video as folders of JPEGs in EPIC-KITCHENS' layout."""
    from zoopraxis.data.prepare.flow import write_flow

    with console.progress("videos") as on_progress:
        outcome = write_flow(
            root,
            out,
            store=store.value,
            method=method.value,
            stride=_parse_stride(stride),
            dilation=dilation,
            bound=bound,
            resize=resize,
            quality=quality,
            num_workers=count_workers(num_workers),
            on_progress=on_progress,
        )
    tell_outcome(outcome, out, "videos", json=json)


@app.command()
def check(
    annotations: Annotations,
    root: Annotated[Path, typer.Argument(metavar="STORE_ROOT", help="The folder of the store.")],
    store: Annotated[StoreName, typer.Option(help="What STORE_ROOT holds.")] = StoreName.GULP,
    format: Format = FormatName.AUTO,
    modality: Modality = ModalityName.RGB,
    split: Split = None,
    official_split: OfficialSplit = 1,
    report: Annotated[Path, typer.Option(help="The report to write, JSON.")] = Path("check.json"),
    quarantine: Annotated[Path, typer.Option(help="The list to write, for data.quarantine.")] = Path("quarantine.txt"),
    num_workers: Workers = None,
    json: Json = False,
) -> None:
    """Read every frame of every clip; report the broken ones and list them, to be left out of training."""
    from zoopraxis.data.prepare.check import check_clips
    from zoopraxis.data.stores import open_store

    clips = read_clips(annotations, format, modality, split, official_split)
    opened = open_store(store.value, root, modality=modality.value)
    with console.progress("clips") as on_progress:
        outcome = check_clips(
            clips,
            opened,
            report,
            quarantine=quarantine,
            num_workers=count_workers(num_workers),
            on_progress=on_progress,
        )
    if json:
        counts = {"num_clips": len(clips), "num_broken": len(outcome.broken)}
        console.emit_json({"report": report, "quarantine": quarantine, **counts})
        return
    tell_broken(outcome, "clips")
    console.say(f"{len(clips) - len(outcome.broken)} of {len(clips)} clips are whole; report: {report}")
    if outcome.broken:
        console.say(f"to leave the others out of training: data.quarantine={quarantine}")


@app.command()
def toy(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to write; new, or begun by the same command.")],
    seed: Annotated[int | None, typer.Option(help="Decides every byte.")] = None,
    resolution: Annotated[str | None, typer.Option(metavar="HEIGHTxWIDTH", help="Of the videos, px.")] = None,
    fps: Annotated[float | None, typer.Option(help="Frames per second.")] = None,
    num_participants: Annotated[int | None, typer.Option(help="Kitchens, half of them of each domain.")] = None,
    videos_per_participant: Annotated[int | None, typer.Option(help="Videos of each.")] = None,
    actions_per_video: Annotated[int | None, typer.Option(help="Labelled segments of a video.")] = None,
    num_verbs: Annotated[int | None, typer.Option(help="Verbs; each is another one played backwards.")] = None,
    num_nouns: Annotated[int | None, typer.Option(help="Nouns.")] = None,
    overlap: Annotated[float | None, typer.Option(help="Share of actions that start before the last one ends.")] = None,
    domain_shift: Annotated[float | None, typer.Option(help="How far the target domain lies from the source.")] = None,
    num_workers: Workers = None,
    json: Json = False,
) -> None:
    """Generate a toy kitchen: videos and annotations in EPIC-KITCHENS' layout, the same bytes for the same settings."""
    from zoopraxis.toy import ToyConfig, generate

    given: dict[str, Any] = {
        "seed": seed,
        "resolution": _parse_resolution(resolution),
        "fps": fps,
        "num_participants": num_participants,
        "videos_per_participant": videos_per_participant,
        "actions_per_video": actions_per_video,
        "num_verbs": num_verbs,
        "num_nouns": num_nouns,
        "overlap": overlap,
        "domain_shift": domain_shift,
    }
    config = ToyConfig(**{name: value for name, value in given.items() if value is not None})
    with console.progress("videos") as on_progress:
        kitchen = generate(out, config, num_workers=count_workers(num_workers), on_progress=on_progress)
    if json:
        console.emit_json(dataclasses.asdict(kitchen))
        return
    clips = ", ".join(f"{count} {split}" for split, count in kitchen.num_clips.items())
    console.say(f"{kitchen.num_videos} videos ({kitchen.num_frames} frames): {kitchen.videos}")
    console.say(f"{clips} clips: {kitchen.annotations}")


def _parse_stride(text: str) -> int | Literal["epic"]:
    if text == "epic":
        return "epic"
    if not text.isdecimal() or int(text) == 0:
        raise ConfigError(f"--stride {text}: must be a positive number or epic; try --stride 1")
    return int(text)


def _parse_resolution(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise ConfigError(f"--resolution {text}: must be HEIGHTxWIDTH; try --resolution 64x80")
    return int(height), int(width)
