"""The adaptation challenge's six splits are found by name and read with their domain and the classes beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from zoopraxis.data.annotations.uda import UDA_SPLITS, find_uda_file, read_uda_split, uda_file_names
from zoopraxis.data.index import UNLABELLED
from zoopraxis.errors import AnnotationError, ConfigError

TIMES = "narration_id,participant_id,video_id,start_timestamp,stop_timestamp,start_frame,stop_frame"
ROW = "P01_11_0,P01,P01_11,00:00:00.00,00:00:01.89,1,113"


def write(path: Path, *, has_labels: bool) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{TIMES}{',verb_class,noun_class' * has_labels}\n{ROW}{',1,0' * has_labels}\n")
    return path


def test_a_split_is_found_in_the_folder_and_in_uda_in_it(tmp_path: Path) -> None:
    below = write(tmp_path / "uda" / "EPIC_100_uda_source_train.csv", has_labels=True)
    assert find_uda_file(tmp_path, "source_train") == below
    assert find_uda_file(tmp_path / "uda", "source_train") == below
    here = write(tmp_path / "EPIC_100_uda_source_train.csv", has_labels=True)
    assert find_uda_file(tmp_path, "source_train") == here
    assert find_uda_file(tmp_path, "target_train") is None


def test_the_file_without_labels_is_preferred_unless_labels_are_wanted(tmp_path: Path) -> None:
    bare = write(tmp_path / "EPIC_100_uda_target_train_timestamps.csv", has_labels=False)
    labelled = write(tmp_path / "EPIC_100_uda_target_train.csv", has_labels=True)
    assert find_uda_file(tmp_path, "target_train") == bare
    assert find_uda_file(tmp_path, "target_train", has_labels=True) == labelled
    assert read_uda_split(tmp_path, "target_train").labels()["verb"].tolist() == [UNLABELLED]
    assert read_uda_split(tmp_path, "target_train", has_labels=True).labels()["verb"].tolist() == [1]


def test_domain_and_class_names_of_the_folder_above(tmp_path: Path) -> None:
    write(tmp_path / "uda" / "EPIC_100_uda_target_val.csv", has_labels=True)
    for head, names in (("verb", ("take", "put")), ("noun", ("tap",))):
        lines = [f"{number},{name}" for number, name in enumerate(names)]
        (tmp_path / f"EPIC_100_{head}_classes.csv").write_text("\n".join(["id,key", *lines]) + "\n")
    index = read_uda_split(tmp_path, "target_val")
    assert index.column("domain").tolist() == ["target"]
    assert index.class_names == {"verb": ("take", "put"), "noun": ("tap",)}


def test_a_missing_split_tells_where_and_for_what_was_looked(tmp_path: Path) -> None:
    with pytest.raises(
        AnnotationError,
        match=r"no annotations of split 'target_test' in .*: looked for EPIC_100_uda_target_test_timestamps\.csv or "
        r"EPIC_100_uda_target_test_timestamps\.pkl or EPIC_100_uda_target_test\.csv or EPIC_100_uda_target_test\.pkl",
    ):
        read_uda_split(tmp_path, "target_test")


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"no split 'target_trian'; did you mean 'target_train'\?"):
        uda_file_names("target_trian")


def test_the_official_splits(real_data: Path) -> None:
    found = {split: read_uda_split(real_data / "epic100", split) for split in UDA_SPLITS}
    assert {split: len(index) for split, index in found.items()} == {
        "source_train": 16115,
        "source_val": 5002,
        "source_test": 4298,
        "target_train": 26115,
        "target_val": 7906,
        "target_test": 5909,
    }
    for split, index in found.items():
        assert set(index.column("domain")) == {split.partition("_")[0]}
        assert index.heads == {"verb": 97, "noun": 300}
        has_labels = split in ("source_train", "source_val", "target_val")
        for labels in index.labels().values():
            assert np.all(labels >= 0) if has_labels else np.all(labels == UNLABELLED)
