"""Which clips two domains have, and that the target's labels are taken off before anything looks at them."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from zoopraxis.config.adaptation import AdaptationConfig
from zoopraxis.data.index import UNLABELLED
from zoopraxis.errors import AnnotationError, ConfigError
from zoopraxis.training.adaptation.domains import open_domain, open_domains

COLUMNS = ("narration_id", "participant_id", "video_id", "start_timestamp", "stop_timestamp", "start_frame", "stop_frame")


def write_epic(path: Path, video: str, labels: Sequence[tuple[int, int] | None]) -> Path:
    """An EPIC file of clips of one video, with labels unless they are none."""
    has_labels = any(pair is not None for pair in labels)
    rows = [
        [f"{video}_{n}", video[:3], video, f"00:00:{n:02d}.00", f"00:00:{n:02d}.50", 50 * n + 1, 50 * n + 25]
        + (["", ""] if pair is None else [*pair]) * has_labels
        for n, pair in enumerate(labels)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([[*COLUMNS, *(["verb_class", "noun_class"] if has_labels else [])], *rows])
    return path


def write_csv(path: Path, rows: Mapping[str, Any], **columns: Sequence[Any]) -> Path:
    """A CSV file of one's own: path to label."""
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(
            [["path", "label"], *([name, "" if label is None else label] for name, label in rows.items())]
        )
    return path


@pytest.fixture
def challenge(tmp_path: Path) -> Path:
    """A folder with the challenge's splits of a kitchen with three verbs and two nouns."""
    for head, names in (("verb", ("take", "put", "wash")), ("noun", ("tap", "cup"))):
        lines = [f"{number},{name}" for number, name in enumerate(names)]
        (tmp_path / f"EPIC_100_{head}_classes.csv").write_text("\n".join(["id,key", *lines]) + "\n")
    uda = tmp_path / "uda"
    write_epic(uda / "EPIC_100_uda_source_train.csv", "P01_01", [(0, 0), (1, 1), (2, 0), (1, 0)])
    write_epic(uda / "EPIC_100_uda_target_train_timestamps.csv", "P01_101", [None] * 6)
    write_epic(uda / "EPIC_100_uda_source_val.csv", "P03_01", [(0, 1), (2, 1), (1, 1)])
    write_epic(uda / "EPIC_100_uda_target_val.csv", "P03_101", [(2, 1), (0, 0), (1, 0), (1, 1), (2, 0)])
    write_epic(uda / "EPIC_100_uda_target_test_timestamps.csv", "P02_101", [None] * 2)
    return tmp_path


def configure(root: Path, *settings: str) -> AdaptationConfig:
    """The defaults with settings as on the command line."""
    config = AdaptationConfig()
    for setting in (f"data.root={root}", *settings):
        path, _, value = setting.partition("=")
        section, name = path.split(".")
        assert hasattr(getattr(config, section), name)
        setattr(getattr(config, section), name, yaml.safe_load(value))
    return config


def is_bare(labels: Mapping[str, Any]) -> bool:
    return all((values == UNLABELLED).all() for values in labels.values())


def test_phase_train_has_the_training_splits_and_watches_the_others(challenge: Path) -> None:
    domains = open_domains(configure(challenge))
    assert (len(domains.source), len(domains.target)) == (4, 6)
    assert domains.source_val is not None
    assert domains.target_val is not None
    assert (len(domains.source_val), len(domains.target_val)) == (3, 5)
    assert domains.heads == {"verb": 3, "noun": 2}
    assert domains.class_names["verb"] == ("take", "put", "wash")
    assert domains.source.labels()["verb"].tolist() == [0, 1, 2, 1]
    assert domains.target.labels().keys() == {"verb", "noun"}
    assert is_bare(domains.target.labels())
    assert set(domains.target.column("domain")) == {"target"}
    assert set(domains.source.column("domain")) == {"source"}
    assert domains.notes == ()


def test_phase_tune_has_the_validation_splits_without_the_targets_labels(challenge: Path) -> None:
    domains = open_domains(configure(challenge, "data.phase=tune"))
    assert (len(domains.source), len(domains.target)) == (3, 5)
    assert domains.source_val is None
    assert is_bare(domains.target.labels())
    assert domains.target_val is not None
    assert domains.target_val.labels()["verb"].tolist() == [2, 0, 1, 1, 2]
    assert len(domains.notes) == 1
    file = challenge / "uda" / "EPIC_100_uda_target_val.csv"
    assert domains.notes[0] == f"labels of the target's training clips ({file}) are not read"


def test_the_targets_labels_make_no_difference(challenge: Path) -> None:
    config = configure(challenge, "data.phase=tune", "data.target_val=uda/EPIC_100_uda_source_val.csv")
    before = open_domains(config)
    write_epic(challenge / "uda" / "EPIC_100_uda_target_val.csv", "P03_101", [(1, 0), (99, 1), (0, 1), (2, 0), (1, 1)])
    after = open_domains(config)
    assert after.target.table.equals(before.target.table)
    assert after.heads == before.heads
    assert after.class_names == before.class_names


def test_the_targets_labels_are_learned_when_asked_for_and_this_is_said(challenge: Path) -> None:
    domains = open_domains(configure(challenge, "data.phase=tune", "adapt.target=labelled"))
    assert domains.target.labels()["noun"].tolist() == [1, 0, 0, 1, 0]
    assert "no adaptation: an upper bound" in domains.notes[0]
    assert "clips of target_val are learned with their labels" in domains.notes[1]


def test_labels_to_learn_must_be_there(challenge: Path) -> None:
    with pytest.raises(
        AnnotationError,
        match=r"data\.target: 6 clips have no label of head 'verb', first P01_101_0; name labelled annotations with "
        r"data\.target=\.\.\., or set adapt\.target=unlabelled",
    ):
        open_domains(configure(challenge, "adapt.target=labelled"))
    write_epic(challenge / "uda" / "EPIC_100_uda_target_train.csv", "P01_101", [(0, 0), (1, 1)])
    assert len(open_domains(configure(challenge, "adapt.target=labelled")).target) == 2
    assert len(open_domains(configure(challenge)).target) == 6


def test_the_source_alone_needs_no_target(challenge: Path) -> None:
    (challenge / "uda" / "EPIC_100_uda_target_train_timestamps.csv").unlink()
    off = ["adapt.target=none"]
    assert len(open_domains(configure(challenge, *off)).target) == 0
    with pytest.raises(
        ConfigError,
        match=r"no annotations for data\.target: it is not set, and .* has no split target_train of the challenge, which needs "
        r"EPIC_100_uda_target_train_timestamps\.csv or .*; set data\.annotations to their folder, or data\.target=FILE",
    ):
        open_domains(configure(challenge))


def test_annotations_that_are_a_file_are_refused(challenge: Path) -> None:
    file = challenge / "uda" / "EPIC_100_uda_source_train.csv"
    with pytest.raises(ConfigError, match=r"data\.annotations=.*source_train\.csv is a file; name the folder .* data\.source="):
        open_domains(configure(challenge, f"data.annotations={file}"))


def test_named_files_come_instead_and_the_challenges_are_not_watched(challenge: Path, tmp_path: Path) -> None:
    write_csv(challenge / "a.csv", {"a/1.mp4": "walk", "a/2.mp4": "run", "a/3.mp4": "jump"})
    write_csv(challenge / "b.csv", {"b/1.mp4": "run", "b/2.mp4": None})
    write_csv(challenge / "v.csv", {"v/1.mp4": "run", "v/2.mp4": "walk"})
    root = tmp_path / "features"
    root.mkdir()
    settings = ["data.source=a.csv", "data.target=b.csv", f"data.target_val={challenge / 'v.csv'}"]
    domains = open_domains(configure(root, f"data.annotations={challenge}", *settings))
    assert domains.class_names == {"label": ("jump", "run", "walk")}
    assert domains.source.labels()["label"].tolist() == [2, 1, 0]
    assert is_bare(domains.target.labels())
    assert domains.source_val is None
    assert domains.target_val is not None
    assert domains.target_val.labels()["label"].tolist() == [1, 2], "numbered by the source's names"
    assert "b.csv) are not read" in domains.notes[0]


def test_a_split_of_the_challenge_may_be_named(challenge: Path) -> None:
    domains = open_domains(configure(challenge, "data.source=source_val", "data.target=target_test"))
    assert (len(domains.source), len(domains.target)) == (3, 2)


def test_numbered_classes_go_up_to_the_heads_that_are_given(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", {"a/1.mp4": 0, "a/2.mp4": 2})
    write_csv(tmp_path / "b.csv", {"b/1.mp4": None})
    write_csv(tmp_path / "v.csv", {"v/1.mp4": 4})
    settings = ["data.source=a.csv", "data.target=b.csv", "data.target_val=v.csv"]
    with pytest.raises(
        AnnotationError,
        match=r"data\.target_val: 1 clips are of classes of head 'label' that the source's training clips do not have, first "
        r"v/1 of '4'; known: 0, 1, 2",
    ):
        open_domains(configure(tmp_path, *settings))
    domains = open_domains(configure(tmp_path, *settings, "model.heads={label: 5}"))
    assert domains.heads == {"label": 5}
    assert domains.target_val is not None
    assert domains.target_val.labels()["label"].tolist() == [4]


def test_shared_classes_of_two_data_sets(tmp_path: Path) -> None:
    for name in ("golf", "sit", "walk"):
        lines = [f"{name}_{clip}.avi {1 + clip % 2}" for clip in range(4)]
        (tmp_path / "hmdb").mkdir(exist_ok=True)
        (tmp_path / "hmdb" / f"{name}_test_split1.txt").write_text("\n".join(lines) + "\n")
    ucf = tmp_path / "ucf"
    ucf.mkdir()
    (ucf / "classInd.txt").write_text("1 Drumming\n2 GolfSwing\n3 WalkingWithDog\n")
    (ucf / "trainlist01.txt").write_text("Drumming/a.avi 1\nGolfSwing/b.avi 2\nWalkingWithDog/c.avi 3\n")
    (ucf / "testlist01.txt").write_text("WalkingWithDog/d.avi\n")
    config = configure(tmp_path, "data.mapping=ucf_hmdb", "data.source=ucf", "data.target=hmdb", "data.target_val=hmdb")
    domains = open_domains(config)
    assert domains.heads == {"label": 12}
    assert domains.source.clip_ids.tolist() == ["GolfSwing/b", "WalkingWithDog/c"]
    assert domains.target.clip_ids.tolist() == ["golf/golf_0", "golf/golf_2", "walk/walk_0", "walk/walk_2"]
    assert domains.target_val is not None
    assert domains.target_val.clip_ids.tolist() == ["golf/golf_1", "golf/golf_3", "walk/walk_1", "walk/walk_3"]
    assert [domains.class_names["label"][label] for label in domains.target_val.labels()["label"]] == ["golf"] * 2 + [
        "walk"
    ] * 2


def test_quarantined_clips_are_left_out(challenge: Path) -> None:
    (challenge / "broken.txt").write_text("P01_01_1\nP01_101_5\n")
    domains = open_domains(configure(challenge, f"data.quarantine={challenge / 'broken.txt'}"))
    assert "P01_01_1" not in domains.source.clip_ids
    assert (len(domains.source), len(domains.target)) == (3, 5)


def test_a_domain_without_clips_is_refused(challenge: Path) -> None:
    (challenge / "broken.txt").write_text("\n".join(f"P01_101_{number}" for number in range(6)) + "\n")
    with pytest.raises(AnnotationError, match=r"data\.target has no clips; check its annotations and data\.quarantine"):
        open_domains(configure(challenge, f"data.quarantine={challenge / 'broken.txt'}"))


@pytest.mark.parametrize(
    ("rows", "settings", "message"),
    [
        ({"a.csv": {"a/1.mp4": None}}, [], r"the source's training clips have no labels; name labelled annotations with"),
        ({"a.csv": {"a/1.mp4": "x", "a/2.mp4": None}}, [], r"data\.source: 1 clips have no label of head 'label', first a/2;"),
        (
            {"v.csv": {"v/1.mp4": "x", "v/2.mp4": None}},
            ["data.target_val=v.csv"],
            r"data\.target_val: 1 clips have no label of",
        ),
        ({"v.csv": {"v/1.mp4": "z"}}, ["data.source_val=v.csv"], r"data\.source_val: 1 clips are of classes of head 'label'"),
        ({"b.csv": {"a/1.mp4": None}}, [], r"1 clips are in both domains, first a/1; name other annotations with data\.target"),
        ({"b.csv": {"b/1.mp4": 1, "b/1.avi": 1}}, [], r"data\.target: 1 .*the clip_id is that of row 0 already"),
    ],
)
def test_annotations_that_do_not_do_are_refused(
    tmp_path: Path, rows: dict[str, dict[str, Any]], settings: list[str], message: str
) -> None:
    files: dict[str, dict[str, Any]] = {"a.csv": {"a/1.mp4": "x", "a/2.mp4": "y"}, "b.csv": {"b/1.mp4": None}} | rows
    for name, table in files.items():
        write_csv(tmp_path / name, table)
    with pytest.raises(AnnotationError, match=message):
        open_domains(configure(tmp_path, "data.source=a.csv", "data.target=b.csv", *settings))


def test_clips_of_one_name_are_two_where_the_target_has_a_store_of_its_own(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        write_csv(tmp_path / name, {"x/1.mp4": "x", "x/2.mp4": "y"})
    settings = ["data.source=a.csv", "data.target=b.csv", f"data.target_root={tmp_path / 'b'}"]
    assert len(open_domains(configure(tmp_path, *settings)).target) == 2


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            "data.source=c.csv",
            r"data\.source=c\.csv is neither a file nor a folder in .*, nor by itself; set data\.annotations",
        ),
        ("model.heads={verb: 3}", r"model\.heads has verb, but the source's clips have labels of label"),
    ],
)
def test_settings_that_do_not_do_are_refused(tmp_path: Path, setting: str, message: str) -> None:
    write_csv(tmp_path / "a.csv", {"a/1.mp4": "x"})
    write_csv(tmp_path / "b.csv", {"b/1.mp4": "x"})
    settings = ["data.source=a.csv", "data.target=b.csv", setting]
    with pytest.raises(ConfigError, match=message):
        open_domains(configure(tmp_path, *settings))


def test_labels_beyond_the_heads_are_refused(challenge: Path) -> None:
    write_epic(challenge / "uda" / "EPIC_100_uda_source_train.csv", "P01_01", [(0, 0), (3, 1)])
    with pytest.raises(AnnotationError, match=r"data\.source: .*row 1 \(P01_01_1\): verb label 3 must be 0 to 2"):
        open_domains(configure(challenge))


@pytest.mark.parametrize(
    ("split", "settings", "num_clips", "domain"),
    [
        ("train", [], 6, "target"),
        ("train", ["data.phase=tune"], 5, "target"),
        ("source", ["data.phase=tune"], 3, "source"),
        ("source_train", ["data.phase=tune"], 4, "source"),
        ("source_val", [], 3, "source"),
        ("val", [], 5, "target"),
        ("test", [], 2, "target"),
        ("target_test", ["data.test=uda/EPIC_100_uda_target_val.csv"], 5, "target"),
    ],
)
def test_splits_for_tests(challenge: Path, split: str, settings: list[str], num_clips: int, domain: str) -> None:
    index = open_domain(configure(challenge, *settings).data, split)
    assert len(index) == num_clips
    assert set(index.column("domain")) == {domain}


def test_a_split_is_numbered_by_the_classes_of_the_network(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", {"t/1.mp4": "run", "t/2.mp4": "jump"})
    config = configure(tmp_path, "data.test=t.csv").data
    names = {"label": ["jump", "run", "walk"]}
    assert open_domain(config, "test", class_names=names).labels()["label"].tolist() == [1, 0]
    with pytest.raises(AnnotationError, match=r"data\.test: 1 clips are of classes of head 'label' .* first t/1 of 'run'"):
        open_domain(config, "test", class_names={"label": ["jump"]})
    write_csv(tmp_path / "t.csv", {"t/1.mp4": None})
    assert is_bare(open_domain(config, "test", class_names=names).labels())


def test_an_unknown_or_missing_split_is_refused(challenge: Path) -> None:
    config = configure(challenge).data
    with pytest.raises(ConfigError, match=r"unknown split 'trian'; did you mean 'train'\?"):
        open_domain(config, "trian")
    with pytest.raises(
        ConfigError, match=r"no annotations of split source_test: .* has no EPIC_100_uda_source_test_.*; give --"
    ):
        open_domain(config, "source_test")


def test_the_official_splits(real_data: Path) -> None:
    domains = open_domains(configure(real_data / "epic100"))
    assert (len(domains.source), len(domains.target)) == (16115, 26115)
    assert domains.source_val is not None
    assert domains.target_val is not None
    assert (len(domains.source_val), len(domains.target_val)) == (5002, 7906)
    assert domains.heads == {"verb": 97, "noun": 300}
    tuned = open_domains(configure(real_data / "epic100", "data.phase=tune"))
    assert (len(tuned.source), len(tuned.target)) == (5002, 7906)
    assert is_bare(tuned.target.labels())
    sizes = {split: len(open_domain(configure(real_data / "epic100").data, split)) for split in ("source_test", "test")}
    assert sizes == {"source_test": 4298, "test": 5909}
    assert not np.isin(domains.target.clip_ids, domains.source.clip_ids).any()
