from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from zoopraxis.data.index import UNLABELLED, Clip, ClipIndex
from zoopraxis.errors import AnnotationError


def _index() -> ClipIndex:
    return ClipIndex.from_columns(
        clip_id=["a", "b", "c"],
        source=["P01/one", "P01/one", "P02/two"],
        labels={"verb": [0, 1, UNLABELLED], "noun": [2, 0, 1]},
        class_names={"verb": ["take", "put"], "noun": ["tap", "spoon", "plate"]},
        start_seconds=[0.0, 1.5, None],
        stop_seconds=[1.0, 2.5, None],
        split=["train", "train", "val"],
        participant_id="P01",
    )


def test_a_row_is_a_clip() -> None:
    index = _index()
    assert len(index) == 3
    assert index[1] == Clip("b", "P01/one", start_seconds=1.5, stop_seconds=2.5)
    assert index[2].start_seconds is None
    assert index.heads == {"verb": 2, "noun": 3}
    assert index.labels()["verb"].tolist() == [0, 1, UNLABELLED]
    assert index.column("participant_id").tolist() == ["P01"] * 3


def test_rows_are_selected_by_mask_number_split_and_id() -> None:
    index = _index()
    assert index.select(np.array([True, False, True])).clip_ids.tolist() == ["a", "c"]
    assert index.select([2, 0]).clip_ids.tolist() == ["c", "a"]
    assert index.of_split("val").clip_ids.tolist() == ["c"]
    assert index.without(["a", "absent"]).clip_ids.tolist() == ["b", "c"]


def test_an_unknown_split_names_the_nearest() -> None:
    with pytest.raises(AnnotationError, match=r"no clips of split 'trian'; did you mean 'train'\?"):
        _index().of_split("trian")


def test_it_is_read_back_from_parquet_and_from_a_pickle(tmp_path: Path) -> None:
    index = _index()
    index.save(tmp_path / "index.parquet")
    for again in (ClipIndex.load(tmp_path / "index.parquet"), pickle.loads(pickle.dumps(index))):
        assert again.table.equals(index.table)
        assert again.class_names == index.class_names


def test_indexes_are_joined_only_with_the_same_classes() -> None:
    index = _index()
    assert len(ClipIndex.concat([index, index])) == 6
    other = ClipIndex.from_columns(clip_id=["d"], source=["d"], labels={"label": [0]}, class_names={"label": ["x"]})
    with pytest.raises(AnnotationError, match="indexes with different heads cannot be joined"):
        ClipIndex.concat([index, other])


def test_columns_that_do_not_fit_are_refused() -> None:
    with pytest.raises(AnnotationError, match=r"unknown index column 'start_second'; did you mean 'start_seconds'\?"):
        ClipIndex.from_columns(clip_id=["a"], source=["a"], labels={}, class_names={}, start_second=[0.0])
    with pytest.raises(AnnotationError, match="index column 'verb' has 2 values for 1 clips"):
        ClipIndex.from_columns(clip_id=["a"], source=["a"], labels={"verb": [0, 1]}, class_names={"verb": ["x"]})
    with pytest.raises(AnnotationError, match=r"labels are given for \['verb'\] but class names for \[\]; give both"):
        ClipIndex.from_columns(clip_id=["a"], source=["a"], labels={"verb": [0]}, class_names={})


def test_a_file_that_is_no_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="cannot read the clip index"):
        ClipIndex.load(tmp_path / "absent.parquet")
    pq.write_table(pa.table({"x": [1]}), tmp_path / "other.parquet")
    with pytest.raises(AnnotationError, match="is a Parquet file but no clip index"):
        ClipIndex.load(tmp_path / "other.parquet")


def test_labels_ids_and_domain_are_replaced_and_nothing_else() -> None:
    index = _index()
    kept = [name for name in index.table.column_names if not name.startswith("label:")]
    labels = np.arange(len(index)) % 2
    other = index.with_labels({"tool": labels}, {"tool": ["knife", "spoon"]})
    assert other.heads == {"tool": 2}
    assert other.labels()["tool"].tolist() == labels.tolist()
    assert other.table.select(kept).equals(index.table.select(kept))
    renamed = index.with_ids([f"x{row}" for row in range(len(index))]).with_domain("target")
    assert renamed.clip_ids.tolist() == [f"x{row}" for row in range(len(index))]
    assert set(renamed.column("domain")) == {"target"}
    assert renamed.labels().keys() == index.labels().keys()
    assert renamed.column("source").tolist() == index.column("source").tolist()
    with pytest.raises(AnnotationError, match=r"labels are given for \['tool'\] but class names for \[\]; give both"):
        index.with_labels({"tool": labels}, {})
    with pytest.raises(AnnotationError, match="index column 'tool' has 1 values for"):
        index.with_labels({"tool": [0]}, {"tool": ["knife"]})
