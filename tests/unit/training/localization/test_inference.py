from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tiny_videos import DURATION, SEGMENTS, SMALL_RUN, VIDEOS
from zoopraxis.config.load import load_config
from zoopraxis.data.features import FeatureWriter
from zoopraxis.errors import ConfigError, DataError
from zoopraxis.evaluation.detections import Detections
from zoopraxis.training.localization.checkpoints import Localizer, load_localizer
from zoopraxis.training.localization.detection import join_detections
from zoopraxis.training.localization.inference import detection_metrics, localize_split, localize_video
from zoopraxis.training.localization.scene import open_scene
from zoopraxis.training.options import TestOptions
from zoopraxis.training.run import train


@pytest.fixture(scope="module")
def checkpoint(tiny_videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    places = [f"data.root={tiny_videos / 'features'}", f"data.annotations={tiny_videos / 'annotations'}"]
    more = ["run.loggers=[]", "trainer.max_steps=1", f"run.dir={tmp_path_factory.mktemp('run')}", "trainer.limit_val_batches=0"]
    return train(load_config("bmn_epic", [*places, *SMALL_RUN, *more])).last_checkpoint


@pytest.fixture
def localizer(checkpoint: Path) -> Localizer:
    return load_localizer(checkpoint)


def _find(localizer: Localizer, *settings: str, root: Path | None = None) -> Detections:
    options = TestOptions(settings=settings, root=None if root is None else str(root))
    return localize_split(localizer, "val", options, accelerator="cpu", devices=1)


def _perfect(localizer: Localizer, heads: bool = True) -> tuple[Detections, Detections]:
    """What is labelled, and the same an hour too late."""
    videos = open_scene(localizer, "val", TestOptions()).videos
    labels = dict(videos.labels) if heads else {}
    scores = np.linspace(1, 0.5, len(videos.index))
    right = Detections(videos.video_ids, videos.video, videos.times, scores, labels)
    return right, Detections(videos.video_ids, videos.video, videos.times + 3600, scores, labels)


def _only(found: Detections, head: str) -> Detections:
    return Detections(found.video_ids, found.video, found.segments, found.scores, {head: found.labels[head]})


def test_every_proposal_is_put_out_with_its_likeliest_actions(localizer: Localizer) -> None:
    found = _find(localizer)
    assert found.video_ids.tolist() == list(VIDEOS["validation"])
    assert len(found) == 2 * (int(DURATION) + 1) * 5
    assert found.meta["classes"]["by"] == "scores"
    bare = _find(localizer, "classes.by=none")
    assert bare.labels == {}
    assert len(bare) == 2 * (int(DURATION) + 1)
    alone = _find(localizer, "classes.power=0", "classes.per_proposal=1")
    np.testing.assert_allclose(np.sort(alone.scores), np.sort(bare.scores))


def test_windows_read_in_other_chunks_give_the_same(localizer: Localizer) -> None:
    one, many = (_find(localizer, f"data.batch_size={size}", "data.num_workers=1") for size in (1, 7))
    np.testing.assert_allclose(one.scores, many.scores, rtol=1e-5)


def test_metrics_are_of_what_is_labelled(localizer: Localizer) -> None:
    videos = open_scene(localizer, "val", TestOptions()).videos
    right, wrong = _perfect(localizer)
    assert detection_metrics(videos, right)["action_map_avg"] == pytest.approx(100)
    assert detection_metrics(videos, wrong)["action_map_avg"] == 0
    assert "verb_map_at_05" in detection_metrics(videos, right)
    assert "verb_map_at_095" in detection_metrics(replace(videos.of_heads(["verb"]), format="hacs"), _only(right, "verb"))
    proposals, _ = _perfect(localizer, heads=False)
    assert detection_metrics(videos, proposals)["ar_at_100"] == pytest.approx(100)
    assert detection_metrics(videos.select([]), right) == {}


def test_one_vector_of_scores_a_video_names_its_proposals(localizer: Localizer, tmp_path: Path) -> None:
    names = list(reversed(localizer.class_names["verb"]))
    scores = {video: np.eye(97)[number].tolist() for number, video in enumerate(VIDEOS["validation"])}
    path = tmp_path / "videos.json"
    path.write_text(json.dumps({"results": scores, "class": names}))
    by = ("classes.by=video", f"classes.scores={path}", "data.heads=[verb]", "classes.per_proposal=1")
    found = _find(localizer, *by)
    assert set(found.labels["verb"][found.video == 0]) == {96}
    assert set(found.labels["verb"][found.video == 1]) == {95}
    path.write_text(json.dumps({"results": {"P03_01": [1, 0]}}))
    with pytest.raises(
        DataError, match=r"1 of 2 videos have no class scores in .*videos\.json \(first: P03_02\); name the file"
    ):
        _find(localizer, *by)
    path.write_text(json.dumps({"results": {video: [1, 0] for video in scores}}))
    with pytest.raises(DataError, match=r"has scores of 2 classes, which are not the 97 of the annotations"):
        _find(localizer, *by)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (
            ["classes.by=maps"],
            r"classes\.by=maps, but the network has no maps of classes; train it with model\.class_maps=true",
        ),
        (["classes.by=video"], r"classes\.by=video needs the file of the videos' class scores; give classes\.scores=FILE"),
        (["classes.by=video", "classes.scores=x"], r"names by one head, and there are verb, noun; choose with data\.heads"),
        (["classes.by=clips"], r"classes\.by=clips needs classes\.network; give it, or name proposals otherwise"),
        (["data.test=/nowhere.csv"], r"data\.test=/nowhere\.csv does not exist; name the file of its segments"),
        ([], r"no videos of split 'test' in .*; name their annotations with --annotations"),
    ],
)
def test_what_is_lacking_is_told(settings: list[str], line: str, localizer: Localizer) -> None:
    split = "test" if not settings or "data.test" in settings[0] else "val"
    with pytest.raises(ConfigError, match=line):
        localize_split(localizer, split, TestOptions(settings=settings), accelerator="cpu", devices=1)


def _write(out: Path, widths: dict[str, int]) -> Path:
    with FeatureWriter(out, widths) as writer:
        for video in VIDEOS["validation"]:
            seconds = np.arange(48) / 2 + 0.25
            writer.add(video, {name: np.zeros((48, width), np.float32) for name, width in widths.items()}, seconds=seconds)
    return out


def test_features_that_do_not_fit_the_network_are_told(localizer: Localizer, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"features rgb of .*wide have width 9, those of the network 8; take features of the same"
    ):
        _find(localizer, root=_write(tmp_path / "wide", {"rgb": 9}))
    with pytest.raises(
        DataError, match=r"bare have no class scores of verb, noun \(they have: none\); make them with: zoopraxis"
    ):
        _find(localizer, root=_write(tmp_path / "bare", {"rgb": 8}))
    line = r"scores of verb in .*odd have width 96, which are not those of 97 classes, for one view or several; take scores"
    with pytest.raises(DataError, match=line):
        _find(localizer, root=_write(tmp_path / "odd", {"rgb": 8, "score:verb": 96}))
    assert len(_find(localizer, f"classes.scores={tmp_path / 'other'}", root=_write_both(tmp_path))) > 0


def _write_both(folder: Path) -> Path:
    _write(folder / "other", {"score:noun": 300})
    return _write(folder / "alone", {"rgb": 8})


def test_videos_without_features_can_be_left_out(localizer: Localizer, tmp_path: Path) -> None:
    with FeatureWriter(tmp_path / "one", {"rgb": 8}) as writer:
        writer.add("P03_02", {"rgb": np.zeros((48, 8), np.float32)}, seconds=np.arange(48) / 2 + 0.25)
    with pytest.raises(
        DataError, match=r"1 of 2 videos have no features in .*one \(first: P03_01\); make .* data\.missing_features=drop"
    ):
        _find(localizer, "classes.by=none", root=tmp_path / "one")
    options = TestOptions(settings=["data.missing_features=drop", "classes.by=none"], root=str(tmp_path / "one"))
    videos = open_scene(localizer, "val", options).videos
    assert videos.video_ids.tolist() == ["P03_02"]
    assert videos.notes == (f"1 of 2 videos have no features in {tmp_path / 'one'} (first: P03_01) and are left out",)
    found = _find(localizer, *(options.settings or ()), root=tmp_path / "one")
    assert found.video_ids.tolist() == ["P03_02"]


def test_videos_without_detections_are_kept(localizer: Localizer) -> None:
    videos = open_scene(localizer, "val", TestOptions()).videos
    empty = {"segments": np.zeros((0, 2)), "scores": np.zeros(0)}
    full = {"segments": np.array([SEGMENTS[0][:2]]), "scores": np.ones(1), "label:verb": np.array([4])}
    found = join_detections(videos, {0: empty, 1: full}, {})
    assert (found.num_videos, found.video.tolist(), found.labels["verb"].tolist()) == (2, [1], [4])
    assert len(join_detections(videos, {0: empty, 1: empty}, {})) == 0


def test_a_video_needs_features_that_tell_their_network(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no video .*none\.mp4"):
        localize_video(checkpoint, tmp_path / "none.mp4")
    (tmp_path / "video.mp4").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"does not tell the one network that its features are of; make the video's features"):
        localize_video(checkpoint, tmp_path / "video.mp4")
