"""Scores and embeddings of a network on features."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from tiny_domains import NUM_CLIPS, SMALL_RUN, WIDTHS, labels_of
from zoopraxis.config.adaptation import AdaptationDataConfig
from zoopraxis.config.load import load_config
from zoopraxis.data.features import open_features, segment_positions
from zoopraxis.errors import AnnotationError, ConfigError, DataError
from zoopraxis.evaluation.embeddings import load_embeddings
from zoopraxis.evaluation.results import load_results
from zoopraxis.training.adaptation import inference
from zoopraxis.training.adaptation.checkpoints import load_adaptation
from zoopraxis.training.inference import TestOptions as Options
from zoopraxis.training.inference import predict
from zoopraxis.training.inference import test as run_test
from zoopraxis.training.run import train


@pytest.fixture(scope="module")
def checkpoint(tiny_challenge: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    places = [f"data.root={tiny_challenge / 'features'}", f"data.annotations={tiny_challenge / 'annotations'}"]
    run_dir = tmp_path_factory.mktemp("run")
    settings = [*places, *SMALL_RUN, f"run.dir={run_dir}", "run.loggers=[]", "model.norm=adabn", "optim.lr=0.1"]
    return train(load_config("ta3n_epic", settings)).last_checkpoint


def _published(checkpoint: Path, path: Path) -> Path:
    """The checkpoint without its settings and modalities, as a published one knows neither."""
    archive = torch.load(checkpoint, weights_only=True)
    archive["zoopraxis"] |= {"config": None, "features": {}, "class_names": {}}
    torch.save({key: archive[key] for key in ("state_dict", "zoopraxis")}, path)
    return path


def _test(checkpoint: Path, results: Path, split: str, **options: object) -> inference.TestOutcome:
    return run_test(checkpoint, results, split=split, options=Options(**options), accelerator="cpu", devices=1)  # type: ignore[arg-type]


@pytest.mark.parametrize("split", ["train", "val", "test", "target_test", "source", "source_val", "source_test"])
def test_every_split_is_scored(split: str, checkpoint: Path, tmp_path: Path) -> None:
    outcome = _test(checkpoint, tmp_path / "r.npz", split)
    known = {"train": "target_train", "val": "target_val", "test": "target_test", "source": "source_train"}
    assert len(outcome.results) == NUM_CLIPS[known.get(split, split)]
    assert {"verb_acc@1", "noun_acc@1", "action_acc@1"} <= outcome.metrics.keys()
    assert outcome.results.meta["domain"] == ("source" if split.startswith("source") else "target")


def test_scores_are_logits_of_the_domains_own_norms(checkpoint: Path, tiny_challenge: Path, tmp_path: Path) -> None:
    network = load_adaptation(checkpoint).network
    store = open_features(tiny_challenge / "features")
    for split, domain in (("target_val", "target"), ("source_val", "source")):
        outcome = _test(checkpoint, tmp_path / f"{split}.npz", split)
        rows = store.rows_of(outcome.results.clip_ids)
        features = torch.from_numpy(store.read(rows, segment_positions(store.num_features[rows], 5)))
        found = network.describe(features, domain).logits["verb"].detach().numpy()  # type: ignore[arg-type]
        np.testing.assert_allclose(outcome.results.scores["verb"], found, rtol=1e-4, atol=1e-6)
    assert load_results(tmp_path / "source_val.npz").meta["split"] == "source_val"


def test_embeddings_are_of_both_domains(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "MAX_EMBEDDED", 10)
    _test(checkpoint, tmp_path / "r.npz", "source_val", embeddings=str(tmp_path / "e.npz"))
    embeddings = load_embeddings(tmp_path / "e.npz")
    assert embeddings.is_target.sum() == 10
    assert (~embeddings.is_target).sum() == NUM_CLIPS["source_val"]
    assert embeddings.before.shape[1] == sum(WIDTHS.values())
    assert embeddings.attention_names == ("5 frames", "4 frames", "3 frames", "2 frames")


def test_the_same_clips_are_not_embedded_as_both_domains(checkpoint: Path, tiny_challenge: Path, tmp_path: Path) -> None:
    folder, embeddings = tiny_challenge / "annotations", tmp_path / "e.npz"
    own = str(folder / "EPIC_100_uda_target_val.csv")
    _test(checkpoint, tmp_path / "own.npz", "val", annotations=own, embeddings=str(embeddings))
    assert (~load_embeddings(embeddings).is_target).sum() == NUM_CLIPS["source_train"]
    for split, domain, other in (("source", "source", "target_train"), ("val", "target", "source_train")):
        wrong = str(folder / f"EPIC_100_uda_{other}.csv")
        message = (
            rf"{NUM_CLIPS[other]} clips are in both domains, first P01.*; give --annotations that have clips of the {domain}"
        )
        with pytest.raises(AnnotationError, match=message):
            _test(checkpoint, tmp_path / "wrong.npz", split, annotations=wrong, embeddings=str(embeddings))
    assert not (tmp_path / "wrong.npz").exists()


def test_annotations_are_a_folder_or_a_file(checkpoint: Path, tiny_challenge: Path, tmp_path: Path) -> None:
    folder = tiny_challenge / "annotations"
    rows = (folder / "EPIC_100_uda_target_val.csv").read_text().splitlines()[:5]
    (tmp_path / "four.csv").write_text("\n".join(rows) + "\n")
    outcome = _test(checkpoint, tmp_path / "f.npz", "val", annotations=str(tmp_path / "four.csv"))
    assert len(outcome.results) == 4
    assert len(_test(checkpoint, tmp_path / "d.npz", "val", annotations=str(folder)).results) == NUM_CLIPS["target_val"]
    with pytest.raises(
        ConfigError, match=r"is a file, but clips of split source_test are found in the folder .* --split source"
    ):
        _test(checkpoint, tmp_path / "x.npz", "source_test", annotations=str(tmp_path / "four.csv"))


def test_a_checkpoint_without_settings_is_told_where_things_are(checkpoint: Path, tiny_challenge: Path, tmp_path: Path) -> None:
    bare = _published(checkpoint, tmp_path / "bare.ckpt")
    root, annotations = str(tiny_challenge / "features"), str(tiny_challenge / "annotations")
    own = _test(checkpoint, tmp_path / "own.npz", "target_val")
    told = _test(bare, tmp_path / "told.npz", "target_val", root=root, annotations=annotations)
    np.testing.assert_allclose(own.results.scores["noun"], told.results.scores["noun"], rtol=1e-5, atol=1e-5)
    with pytest.raises(ConfigError, match=r"the checkpoint does not say where the features are; .*--root"):
        _test(bare, tmp_path / "x.npz", "target_val")
    with pytest.raises(DataError, match=r"features of width 5 rgb, but the network takes 8; name those .* --modalities"):
        _test(bare, tmp_path / "x.npz", "target_val", root=root, annotations=annotations, modalities=["rgb"])


@pytest.mark.parametrize(("name", "value"), [("size", 64), ("num_clips", 2), ("store", "gulp"), ("average", "prob")])
def test_options_of_clips_are_refused(name: str, value: object, checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"{name}={value} is for networks on clips and has no effect on one on features"):
        _test(checkpoint, tmp_path / "x.npz", "val", **{name: value})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_segments": 3}, r"num_segments=3, but the network is made for 5 features a clip; leave it out"),
        ({"modalities": ["rgb"]}, r"modalities=rgb, but the checkpoint tells which its network takes: rgb,flow; leave it out"),
    ],
)
def test_options_that_the_network_cannot_take_are_refused(
    options: dict[str, object], message: str, checkpoint: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        _test(checkpoint, tmp_path / "x.npz", "val", **options)


def test_labels_beyond_the_network_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    adapted = load_adaptation(checkpoint)
    small = dataclasses.replace(adapted, class_names={"verb": ("a",), "noun": ("b",)})
    with pytest.raises(DataError, match=r"target_val: \d+ clips? .*verb"):
        inference.score_features(small, tmp_path / "x.npz", checkpoint="x", split="target_val", options=Options())


def test_a_video_is_not_features(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "video.mp4").write_bytes(b"")
    with pytest.raises(Exception, match=r"holds a network of domain adaptation on features, which sees no frames"):
        predict(checkpoint, tmp_path / "video.mp4")


def test_the_labels_of_the_fixture_are_what_accuracies_are_of(checkpoint: Path, tmp_path: Path) -> None:
    outcome = _test(checkpoint, tmp_path / "r.npz", "target_val")
    verbs, _ = labels_of("target_val")
    numbers = [int(clip_id.rpartition("_")[2]) % 100 for clip_id in outcome.results.clip_ids]
    right = outcome.results.scores["verb"].argmax(1) == verbs[numbers]
    assert outcome.metrics["verb_acc@1"] == pytest.approx(100 * right.mean())


@pytest.mark.parametrize(("name", "named"), [("classInd.txt", True), ("golf_test_split1.txt", True), ("notes.txt", False)])
def test_a_folder_of_official_lists_stands_for_the_split(tmp_path: Path, name: str, named: bool) -> None:
    (tmp_path / name).touch()
    data = inference.with_annotations(AdaptationDataConfig(annotations="before"), tmp_path, "val")
    assert (data.target_val, data.annotations) == ((str(tmp_path), "before") if named else (None, str(tmp_path)))
