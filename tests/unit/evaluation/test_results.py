"""Results files: what goes in comes out, and what cannot be right is refused in one line."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoopraxis.errors import DataError
from zoopraxis.evaluation.actions import TopActions
from zoopraxis.evaluation.results import RESULTS_SUFFIXES, Results, load_results, save_results

IDS = np.array(["P01_01_10", "P01_01_2", "küche_3"])


def make_results(**changes: Any) -> Results:
    generator = np.random.default_rng(0)
    scores = {
        "verb": generator.normal(size=(3, 4)).astype(np.float32),
        "noun": generator.normal(size=(3, 5)).astype(np.float32),
    }
    return Results(**{"clip_ids": IDS, "scores": scores, "meta": {"averaging": "score", "views": [1, 1]}, **changes})


def legacy_columns() -> dict[str, Any]:
    results = make_results()
    return {
        "verb_output": results.scores["verb"],
        "noun_output": results.scores["noun"],
        "narration_id": IDS,
        "video_id": np.array(["P01_01", "P01_01", "küche"]),
    }


@pytest.mark.parametrize("suffix", RESULTS_SUFFIXES)
def test_each_format_gives_back_ids_order_and_scores(suffix: str, tmp_path: Path) -> None:
    results = make_results()
    save_results(results, tmp_path / f"r{suffix}")
    loaded = load_results(tmp_path / f"r{suffix}")
    assert loaded.clip_ids.tolist() == IDS.tolist()
    assert list(loaded.heads.items()) == [("verb", 4), ("noun", 5)]
    for head, scores in results.scores.items():
        assert loaded.scores[head].dtype == np.float32
        np.testing.assert_array_equal(loaded.scores[head], scores)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_own_formats_keep_meta_and_equal_bytes(suffix: str, tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_results(make_results(), tmp_path / f"{name}{suffix}")
    assert load_results(tmp_path / f"a{suffix}").meta == {"averaging": "score", "views": [1, 1]}
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_npz_holds_one_array_a_head_under_its_name(tmp_path: Path) -> None:
    save_results(make_results(), tmp_path / "r.npz")
    with np.load(tmp_path / "r.npz") as archive:
        assert set(archive) == {"clip_ids", "verb", "noun", "meta"}
        assert archive["verb"].shape == (3, 4)


@pytest.mark.parametrize("suffix", [".pkl", ".pt"])
def test_a_baselines_pickle_is_read_under_either_suffix(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"old{suffix}"
    path.write_bytes(pickle.dumps(legacy_columns()))
    loaded = load_results(path)
    assert loaded.clip_ids.tolist() == IDS.tolist()
    np.testing.assert_array_equal(loaded.scores["noun"], legacy_columns()["noun_output"])


def test_a_list_of_one_dict_a_clip_is_read(tmp_path: Path) -> None:
    columns = legacy_columns()
    rows = [{name: values[row] for name, values in columns.items()} for row in range(3)]
    (tmp_path / "rows.pkl").write_bytes(pickle.dumps(rows))
    loaded = load_results(tmp_path / "rows.pkl")
    np.testing.assert_array_equal(loaded.scores["verb"], columns["verb_output"])


def test_legacy_files_have_the_baselines_keys(tmp_path: Path) -> None:
    save_results(make_results(), tmp_path / "r.pkl")
    columns = pickle.loads((tmp_path / "r.pkl").read_bytes())
    assert set(columns) == {"verb_output", "noun_output", "narration_id", "video_id"}
    assert columns["video_id"].tolist() == ["P01_01", "P01_01", "küche"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clip_ids": np.array(["a", "b", "a"])}, "1 clip ids are repeated, first a"),
        ({"clip_ids": np.array(["a", "b"])}, "head 'verb' has scores of 3 clips, but there are 2 clip ids"),
        ({"clip_ids": np.array([], dtype=np.str_)}, "results need ids of at least one clip"),
        ({"meta": [1]}, "meta must be a mapping, not list"),
        ({"scores": {}}, "results need the scores of at least one head"),
        ({"scores": {"verb": np.zeros((3, 2, 2))}}, r"head 'verb' has scores of shape \(3, 2, 2\)"),
        ({"scores": {"verb": [[1.0, 2.0], [1.0], [1.0, 2.0]]}}, "head 'verb' has scores that are no table of numbers with one"),
        ({"scores": {"verb": np.array([[1.0], [np.nan], [np.inf]])}}, "NaN or infinite scores for 2 clips, first P01_01_2"),
    ],
)
def test_what_cannot_be_right_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        make_results(**changes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda columns: columns.pop("narration_id"), "old.pkl: it has no array 'narration_id'"),
        (lambda columns: [columns.pop("verb_output"), columns.pop("noun_output")], "old.pkl: it has no array of scores"),
        (lambda columns: columns.update(noun_output=np.zeros((2, 5))), "old.pkl: head 'noun' has scores of 2 clips"),
    ],
)
def test_a_broken_legacy_file_is_named(change: Any, message: str, tmp_path: Path) -> None:
    columns = legacy_columns()
    change(columns)
    (tmp_path / "old.pkl").write_bytes(pickle.dumps(columns))
    with pytest.raises(DataError, match=message):
        load_results(tmp_path / "old.pkl")


def test_rows_without_a_key_are_named(tmp_path: Path) -> None:
    (tmp_path / "rows.pkl").write_bytes(pickle.dumps([{"narration_id": "a", "verb_output": [1.0]}, {"narration_id": "b"}]))
    with pytest.raises(DataError, match="row 1 has no 'verb_output'"):
        load_results(tmp_path / "rows.pkl")


class _Attack:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("suffix", [".pkl", ".pt"])
def test_a_pickle_that_would_run_code_is_refused_and_runs_nothing(suffix: str, tmp_path: Path) -> None:
    path, marker = tmp_path / f"evil{suffix}", tmp_path / "was_run"
    path.write_bytes(pickle.dumps({"narration_id": _Attack(marker)}))
    with pytest.raises(DataError, match="is refused"):
        load_results(path)
    assert not marker.exists()


def test_an_npz_with_pickled_objects_is_refused(tmp_path: Path) -> None:
    marker = tmp_path / "was_run"
    np.savez(tmp_path / "evil.npz", clip_ids=np.array([_Attack(marker)], dtype=object))
    with pytest.raises(DataError, match=r"it cannot be read as \.npz"):
        load_results(tmp_path / "evil.npz")
    assert not marker.exists()


@pytest.mark.parametrize("suffix", RESULTS_SUFFIXES)
@pytest.mark.parametrize("content", [b"", b"garbage that is no archive", b"PK\x03\x04 cut short"])
def test_garbage_is_refused_in_one_line(suffix: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"bad{suffix}"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        load_results(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", RESULTS_SUFFIXES)
def test_truncated_files_are_refused(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"cut{suffix}"
    save_results(make_results(), path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match="cut"):
        load_results(path)


def test_unknown_suffix_and_missing_file_tell_the_cure(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"suffix must be one of \.npz, \.safetensors, \.pkl, \.pt"):
        load_results(tmp_path / "r.json")
    with pytest.raises(DataError, match=r"there is no results file .*r\.npz; write one with: zoopraxis test"):
        load_results(tmp_path / "r.npz")
    with pytest.raises(DataError, match="suffix must be one of"):
        save_results(make_results(), tmp_path / "r.csv")


def test_detections_tell_that_they_are_such(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", video_ids=["a"], video=[0], segments=[[0.0, 1.0]], scores=[0.5])
    with pytest.raises(DataError, match=r"d\.npz: it holds detections in long videos, not scores of clips; add --chall"):
        load_results(tmp_path / "d.npz")


def test_a_head_may_not_take_the_formats_own_names(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a head may not be called 'meta'"):
        save_results(Results(IDS, {"meta": np.zeros((3, 2))}), tmp_path / "r.npz")


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(DataError, match=r"cannot write .*r\.npz"):
        save_results(make_results(), tmp_path / "file" / "r.npz")


def test_safetensors_without_ids_is_refused(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"verb": np.zeros((3, 2), dtype=np.float32)}, tmp_path / "r.safetensors")
    with pytest.raises(DataError, match="it has no array 'clip_ids'"):
        load_results(tmp_path / "r.safetensors")


def test_ids_that_are_no_text_are_refused(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    scores = np.zeros((2, 2), dtype=np.float32)
    save_file({"clip_ids": np.full((2, 3), 255, dtype=np.uint8), "verb": scores}, tmp_path / "r.safetensors")
    with pytest.raises(DataError, match=r"r\.safetensors: clip ids are no UTF-8 text"):
        load_results(tmp_path / "r.safetensors")


def test_take_keeps_rows_together() -> None:
    results = make_results()
    taken = results.take(np.array([2, 0]))
    assert taken.clip_ids.tolist() == [IDS[2], IDS[0]]
    np.testing.assert_array_equal(taken.scores["verb"], results.scores["verb"][[2, 0]])


def make_actions(**changes: Any) -> TopActions:
    verbs, nouns = np.array([[0, 3], [1, 1], [2, 0]]), np.array([[4, 0], [2, 3], [0, 0]])
    probabilities = np.array([[0.5, 0.25], [0.125, 0.125], [1, 0]], dtype=np.float32)
    return TopActions(**{"verbs": verbs, "nouns": nouns, "probabilities": probabilities, **changes})


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_own_formats_keep_actions_by_views(suffix: str, tmp_path: Path) -> None:
    save_results(make_results(view_actions=make_actions()), tmp_path / f"r{suffix}")
    loaded = load_results(tmp_path / f"r{suffix}")
    assert list(loaded.heads) == ["verb", "noun"]
    assert loaded.view_actions is not None
    for name in ("verbs", "nouns", "probabilities"):
        np.testing.assert_array_equal(getattr(loaded.view_actions, name), getattr(make_actions(), name))
    taken = loaded.take(np.array([2, 0])).view_actions
    assert taken is not None
    assert taken.classes(5).tolist() == [[10, 0], [4, 15]]


def test_actions_are_two_arrays_of_the_file_numbered_verb_by_verb(tmp_path: Path) -> None:
    save_results(make_results(view_actions=make_actions()), tmp_path / "r.npz")
    with np.load(tmp_path / "r.npz") as archive:
        assert set(archive) == {"clip_ids", "verb", "noun", "action_classes", "action_scores", "meta"}
        assert archive["action_classes"].tolist() == [[4, 15], [7, 8], [10, 0]]
        assert (archive["action_classes"].dtype, archive["action_scores"].dtype) == (np.int32, np.float32)


@pytest.mark.parametrize("suffix", [".pkl", ".pt"])
def test_the_baselines_formats_are_the_same_with_actions(suffix: str, tmp_path: Path) -> None:
    save_results(make_results(), tmp_path / f"without{suffix}")
    save_results(make_results(view_actions=make_actions()), tmp_path / f"with{suffix}")
    assert (tmp_path / f"with{suffix}").read_bytes() == (tmp_path / f"without{suffix}").read_bytes()
    assert load_results(tmp_path / f"with{suffix}").view_actions is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"verbs": np.array([[0, 4], [1, 1], [2, 0]])},
            r"an action has verb 4, outside \[0, 3\], the classes that were scored",
        ),
        ({"nouns": np.array([[0, 1], [1, -1], [2, 0]])}, r"an action has noun -1, outside \[0, 4\]"),
        ({"nouns": np.array([[4, 0], [2, 2], [0, 0]])}, "an action stands twice among the best ones of a clip"),
        ({"nouns": np.array([[4], [2], [0]])}, r"actions must have shape \(3, actions of a clip\) in all their arrays, not"),
        ({"probabilities": np.full((3, 2), 1.5)}, r"an action has the probability 1\.5, which is outside \[0, 1\]; test again"),
        ({"probabilities": np.full((3, 2), np.nan)}, r"an action has the probability nan, which is outside"),
        ({"probabilities": np.array([[0, 0.5]] * 3)}, "the actions of a clip are not in the order of their probabilities"),
    ],
)
def test_actions_that_cannot_be_right_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        make_results(view_actions=make_actions(**changes))


def test_actions_without_verbs_and_nouns_are_refused() -> None:
    with pytest.raises(DataError, match="actions need the scores of heads verb and noun beside them, but the heads are label"):
        make_results(scores={"label": np.zeros((3, 4))}, view_actions=make_actions())


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"action_classes": np.zeros((3, 1), dtype=np.int32)}, "it has actions but no array 'action_scores'; test again"),
        ({"action_scores": np.zeros((3, 1), dtype=np.float32)}, "it has actions but no array 'action_classes'"),
        (
            {"action_classes": np.zeros((3, 1)), "action_scores": np.zeros((3, 1))},
            "its actions must be whole numbers and their scores floats, not float64 and float64",
        ),
        ({"action_classes": np.full((3, 1), 20), "action_scores": np.zeros((3, 1))}, "an action has verb 4, outside"),
        ({"action_classes": np.zeros((2, 1), int), "action_scores": np.zeros((2, 1))}, r"actions must have shape \(3, "),
    ],
)
def test_broken_actions_of_a_file_are_named(arrays: dict[str, Any], message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "r.npz", clip_ids=IDS, **make_results().scores, **arrays)
    with pytest.raises(DataError, match=rf"r\.npz: {message}"):
        load_results(tmp_path / "r.npz")
