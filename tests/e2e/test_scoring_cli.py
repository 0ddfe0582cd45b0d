"""The scoring verbs, start to finish: fuse, evaluate and submit on a small data set in EPIC-KITCHENS-100's format."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoopraxis.evaluation.actions import TopActions
from zoopraxis.evaluation.results import Results, load_results, save_results

NUM_CLIPS, NUM_VERBS, NUM_NOUNS = 40, 6, 7
VERBS = np.arange(NUM_CLIPS) % NUM_VERBS
NOUNS = np.arange(NUM_CLIPS) % NUM_NOUNS
IDS = np.array([f"P{1 + row // 20:02d}_01_{row}" for row in range(NUM_CLIPS)])

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def annotations(tmp_path: Path) -> Path:
    """The validation file of a folder that has all the challenge's files."""
    folder = tmp_path / "annotations"
    folder.mkdir()
    header = "narration_id,participant_id,video_id,start_timestamp,stop_timestamp,start_frame,stop_frame"
    rows = [f"{clip_id},{clip_id[:3]},{clip_id[:6]},00:00:01.00,00:00:02.00,60,120" for clip_id in IDS]
    labelled = [f"{row},{verb},{noun}" for row, verb, noun in zip(rows, VERBS, NOUNS, strict=True)]
    files = {
        "validation": [f"{header},verb_class,noun_class", *labelled],
        "train": [f"{header},verb_class,noun_class", *(row.replace("P0", "P1") for row in labelled[:30])],
        "test_timestamps": [header, *rows],
        "verb_classes": ["id,key,instances,category", *(f"{n},verb <{n}>,[],x" for n in range(NUM_VERBS))],
        "noun_classes": ["id,key,instances,category", *(f"{n},noun{n},[],x" for n in range(NUM_NOUNS))],
        "tail_verbs": ["verb", "4", "5"],
        "tail_nouns": ["noun", "6"],
        "unseen_participant_ids_validation": ["participant_id", "P02"],
    }
    for name, lines in files.items():
        (folder / f"EPIC_100_{name}.csv").write_text("\n".join(lines) + "\n")
    return folder / "EPIC_100_validation.csv"


def write_results(path: Path, seed: int = 0) -> Results:
    generator = np.random.default_rng(seed)
    scores = {"verb": generator.normal(size=(NUM_CLIPS, NUM_VERBS)), "noun": generator.normal(size=(NUM_CLIPS, NUM_NOUNS))}
    scores["verb"][np.arange(NUM_CLIPS), VERBS] += 2
    scores["noun"][np.arange(NUM_CLIPS), NOUNS] += 2
    results = Results(IDS, scores, {"averaging": "score"})
    save_results(results, path)
    return results


def test_fuse_evaluate_and_submit_follow_on_each_other(run: Run, annotations: Path, tmp_path: Path) -> None:
    first, second = write_results(tmp_path / "rgb.npz"), write_results(tmp_path / "flow.pt", seed=1)
    status, output, _ = run(
        "fuse", tmp_path / "rgb.npz", tmp_path / "flow.pt", tmp_path / "fused.npz", "--weights", "3,1", "--json"
    )
    assert status == 0
    assert json.loads(output)["weights"] == [0.75, 0.25]
    fused = load_results(tmp_path / "fused.npz")
    order = np.argsort(IDS)
    assert fused.clip_ids.tolist() == IDS[order].tolist()
    np.testing.assert_allclose(
        fused.scores["verb"], (0.75 * first.scores["verb"] + 0.25 * second.scores["verb"])[order], rtol=1e-6
    )

    status, output, _ = run("evaluate", tmp_path / "fused.npz", annotations, "--json")
    assert status == 0
    outcome = json.loads(output)
    assert output.count("\n") == 1
    assert [name for name in outcome["metrics"] if name.startswith("all")] == [
        f"all_{task}_accuracy_at_{k}" for task in ("verb", "noun", "action") for k in (1, 5)
    ]
    right = (fused.scores["verb"].argmax(1) == VERBS[order]) & (fused.scores["noun"].argmax(1) == NOUNS[order])
    assert outcome["metrics"]["all_action_accuracy_at_1"] == pytest.approx(100 * right.mean())
    is_unseen = np.char.startswith(IDS[order], "P02")
    assert outcome["metrics"]["unseen_action_accuracy_at_1"] == pytest.approx(100 * right[is_unseen].mean())
    assert "tail_action_accuracy_at_1" in outcome["metrics"]
    assert outcome["warnings"] == []

    test_ids = annotations.with_name("EPIC_100_test_timestamps.csv")
    levels = ["--sls-pt", 1, "--sls-tl", 3, "--sls-td", 3]
    status, output, _ = run(
        *("submit", tmp_path / "fused.npz", tmp_path / "out.zip", "--challenge", "recognition"),
        *(*levels, "--annotations", test_ids, "--json"),
    )
    assert status == 0
    assert json.loads(output)["ids_checked"] is True
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        document = json.loads(archive.read("test.json"))
    assert (document["sls_pt"], document["sls_tl"], document["sls_td"]) == (1, 3, 3)
    assert list(document["results"]) == IDS[order].tolist()


def test_evaluate_for_a_person_shows_a_table_and_writes_a_report(run: Run, annotations: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    write_results(tmp_path / "r.npz")
    report = tmp_path / "r.html"
    status, output, _ = run("evaluate", tmp_path / "r.npz", annotations, "--report", report)
    assert status == 0
    assert "all_action_accuracy_at_5" in output
    assert f"report: {report}" in output
    text = report.read_text()
    assert "verb &lt;3&gt;" in text
    assert "training clips" in text
    status, _, errors = run("evaluate", tmp_path / "r.npz", annotations, "--report", report)
    assert (status, errors.count("\n")) == (2, 1)
    assert "r.html exists already; choose another name, or add --force to overwrite it" in errors
    assert run("evaluate", tmp_path / "r.npz", annotations, "--report", report, "--force")[0] == 0


def test_named_files_take_the_place_of_those_beside(run: Run, annotations: Path, tmp_path: Path) -> None:
    write_results(tmp_path / "r.npz")
    (tmp_path / "unseen.csv").write_text("participant_id\nP77\n")
    status, output, _ = run(
        "evaluate",
        tmp_path / "r.npz",
        annotations,
        "--unseen-participants",
        tmp_path / "unseen.csv",
        "--global-softmax",
        "--json",
    )
    outcome = json.loads(output)
    assert status == 0
    assert not any(name.startswith("unseen") for name in outcome["metrics"])
    assert outcome["warnings"][0].startswith("there are no unseen segments")


@pytest.fixture
def labelled_videos(tmp_path: Path) -> Path:
    """A CSV of videos with named classes; the test split lacks the first class."""
    rows = [f"{name}/{number}.mp4,{name},train" for name in ("bend", "jump", "wave") for number in range(4)]
    rows += [f"{name}/{number}.mp4,{name},test" for name in ("jump", "wave") for number in range(4, 6)]
    (tmp_path / "all.csv").write_text("path,label,split\n" + "\n".join(rows) + "\n")
    (tmp_path / "tested.csv").write_text("path,label,split\n" + "\n".join(rows[12:]) + "\n")
    scores = np.full((4, 3), -1.0)
    scores[[0, 1, 2, 3], [1, 1, 2, 0]] = 1
    save_results(Results(np.array(["jump/4", "jump/5", "wave/4", "wave/5"]), {"label": scores}), tmp_path / "r.npz")
    return tmp_path / "all.csv"


def test_a_data_set_with_one_head_gets_plain_accuracies(run: Run, labelled_videos: Path, tmp_path: Path) -> None:
    status, output, _ = run("evaluate", tmp_path / "r.npz", labelled_videos, "--json")
    assert status == 0
    assert json.loads(output)["metrics"] == {"label_accuracy_at_1": 75.0, "label_accuracy_at_5": 100.0}
    status, _, errors = run("evaluate", tmp_path / "r.npz", labelled_videos, "--global-softmax")
    assert status == 2
    assert "--global-softmax is of the recognition challenge" in errors
    status, _, errors = run("evaluate", tmp_path / "r.npz", labelled_videos, "--challenge", "recognition")
    assert status == 2
    assert "the recognition challenge needs head 'verb' in the results" in errors


def test_named_classes_are_numbered_as_in_training_or_refused(run: Run, labelled_videos: Path, tmp_path: Path) -> None:
    status, _, errors = run("evaluate", tmp_path / "r.npz", tmp_path / "tested.csv")
    assert (status, errors.count("\n")) == (2, 1)
    assert (
        "has 2 classes of head 'label', but the results have 3; name the training clips with --training-annotations" in errors
    )
    options = ["--training-annotations", labelled_videos, "--json"]
    status, output, _ = run("evaluate", tmp_path / "r.npz", tmp_path / "tested.csv", *options)
    assert status == 0
    assert json.loads(output)["metrics"]["label_accuracy_at_1"] == 75.0


def test_frame_strips_come_from_a_store(run: Run, annotations: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    import simplejpeg

    for video in ("P01_01", "P02_01"):
        folder = tmp_path / "frames" / video[:3] / video
        folder.mkdir(parents=True)
        for number in range(1, 121):
            picture = np.full((16, 24, 3), number, dtype=np.uint8)
            (folder / f"frame_{number:010d}.jpg").write_bytes(simplejpeg.encode_jpeg(picture))
    write_results(tmp_path / "r.npz")
    options = ["--root", tmp_path / "frames", "--store", "frames"]
    assert run("evaluate", tmp_path / "r.npz", annotations, "--report", tmp_path / "r.html", *options)[0] == 0
    text = (tmp_path / "r.html").read_text()
    assert text.count("data:image/jpeg") >= 8
    assert "frame 8 of 8 of P0" in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda r: Results(r.clip_ids[1:], {h: s[1:] for h, s in r.scores.items()}),
            "1 clips of the split are not in the results",
        ),
        (lambda r: Results(np.array([*IDS[:-1], "P99_1"]), r.scores), "1 clips of the split are not in the results"),
        (lambda r: Results(IDS, {**r.scores, "verb": r.scores["verb"][:, 1:]}), "needs 6 verb classes, but the results have 5"),
    ],
)
def test_submit_refuses_what_the_challenge_would(
    change: Any, message: str, run: Run, annotations: Path, tmp_path: Path
) -> None:
    save_results(change(write_results(tmp_path / "r.npz")), tmp_path / "r.npz")
    test_ids = annotations.with_name("EPIC_100_test_timestamps.csv")
    status, output, errors = run("submit", tmp_path / "r.npz", tmp_path / "out.zip", "--annotations", test_ids)
    assert (status, output, errors.count("\n")) == (2, "", 1)
    assert message in errors
    assert not (tmp_path / "out.zip").exists()


def test_submit_without_annotations_expects_epic_classes_and_says_what_it_did_not_check(run: Run, tmp_path: Path) -> None:
    save_results(Results(IDS[:2], {"verb": np.zeros((2, 97)), "noun": np.zeros((2, 300))}), tmp_path / "r.npz")
    status, output, _ = run("submit", tmp_path / "r.npz", tmp_path / "out.zip")
    assert status == 0
    assert "not checked: whether these are all clips of the test split" in output
    status, _, errors = run("submit", tmp_path / "r.npz", tmp_path / "out.zip")
    assert status == 2
    assert "out.zip exists already" in errors
    status, _, errors = run("submit", tmp_path / "r.npz", tmp_path / "out.zip", "--force", "--sls-td", 6)
    assert status == 2
    assert "sls_td (6) must be a whole number from 0 to 5" in errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fuse", "r.npz", "r.npz", "r.npz"], "r.npz exists already; choose another name, or add --force"),
        (["fuse", "r.npz", "out.npz"], "fusion needs at least 2 results, not 1"),
        (["fuse", "r.npz", "r.npz", "out.json"], "the suffix of a results file must be .npz or .safetensors or .pkl or .pt"),
        (["fuse", "r.npz", "r.npz", "out.npz", "--weights", "1;2"], "--weights 1;2: must be numbers with commas"),
        (["fuse", "r.npz", "r.npz", "out.npz", "--weights", "1"], "1 weights are given for 2 results"),
        (["evaluate", "r.npz", "none.csv"], "the annotations none.csv do not exist"),
        (["evaluate", "none.npz", "EPIC.csv"], "there is no results file none.npz"),
        (["evaluate", "r.npz", "EPIC.csv", "--report", "r.pdf"], "the suffix of a report must be .html; try r.html"),
        (["submit", "r.npz", "out.json"], "the suffix of a submission must be .zip; try out.zip"),
    ],
)
def test_wrong_input_is_met_with_one_line(
    arguments: list[str], message: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_results(tmp_path / "r.npz")
    status, output, errors = run(*arguments)
    assert (status, output, errors.count("\n")) == (2, "", 1)
    assert message in errors


def test_evaluate_names_clips_and_labels_that_are_missing(run: Run, annotations: Path, tmp_path: Path) -> None:
    results = write_results(tmp_path / "r.npz")
    save_results(Results(np.array([*IDS[:-1], "P99_1"]), results.scores), tmp_path / "other.npz")
    status, _, errors = run("evaluate", tmp_path / "other.npz", annotations)
    assert status == 2
    assert "1 of 40 clips of the results are not in the annotations, first P99_1" in errors
    status, _, errors = run("evaluate", tmp_path / "r.npz", annotations.with_name("EPIC_100_test_timestamps.csv"))
    assert status == 2
    assert "no column 'verb_class'; the test split's labels are private" in errors


def test_scoring_needs_no_torch(annotations: Path, tmp_path: Path) -> None:
    write_results(tmp_path / "a.npz")
    write_results(tmp_path / "b.pt")
    script = """
import sys
from zoopraxis.cli import main
folder, annotations, test_ids = sys.argv[1:]
commands = [
    ["fuse", f"{folder}/a.npz", f"{folder}/b.pt", f"{folder}/c.pt"],
    ["evaluate", f"{folder}/c.pt", annotations, "--report", f"{folder}/c.html"],
    ["submit", f"{folder}/c.pt", f"{folder}/c.zip", "--annotations", test_ids],
]
assert [main(command) for command in commands] == [0, 0, 0]
heavy = {"torch", "lightning", "timm", "hydra", "av"} & set(sys.modules)
assert not heavy, heavy
"""
    test_ids = annotations.with_name("EPIC_100_test_timestamps.csv")
    outcome = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path), str(annotations), str(test_ids)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr


def test_actions_by_views_from_results_to_submission(run: Run, annotations: Path, tmp_path: Path) -> None:
    scored = write_results(tmp_path / "plain.npz")
    rest = (VERBS + 1) % NUM_VERBS
    probabilities = np.tile(np.array([0.75, 0.25], dtype=np.float32), (NUM_CLIPS, 1))
    actions = TopActions(np.stack([VERBS, rest], 1), np.stack([NOUNS, NOUNS], 1), probabilities)
    save_results(replace(scored, view_actions=actions), tmp_path / "views.npz")

    plain = json.loads(run("evaluate", tmp_path / "plain.npz", annotations, "--json")[1])["metrics"]
    both = json.loads(run("evaluate", tmp_path / "views.npz", annotations, "--json")[1])["metrics"]
    assert both == plain | {f"all_action_by_views_accuracy_at_{k}": 100.0 for k in (1, 5)}
    led = json.loads(run("evaluate", tmp_path / "views.npz", annotations, "--actions", "views", "--json")[1])["metrics"]
    assert led["all_action_accuracy_at_1"] == led["tail_action_accuracy_at_1"] == 100
    assert led["all_action_by_product_accuracy_at_1"] == plain["all_action_accuracy_at_1"]
    status, _, errors = run("evaluate", tmp_path / "plain.npz", annotations, "--actions", "views")
    assert (status, errors.count("\n")) == (2, 1)
    assert "the results have no actions by views; test with several views" in errors

    classes = ["--annotations", annotations.with_name("EPIC_100_test_timestamps.csv")]
    status, output, _ = run("submit", tmp_path / "views.npz", tmp_path / "a.zip", *classes)
    assert (status, "without the actions by views that the results have" in output) == (0, True)
    status, output, _ = run("submit", tmp_path / "views.npz", tmp_path / "b.zip", *classes, "--actions", "views")
    assert (status, "with the best actions of each clip, by views" in output) == (0, True)
    with zipfile.ZipFile(tmp_path / "b.zip") as archive:
        clip = json.loads(archive.read("test.json"))["results"][str(IDS[0])]
    assert clip["action"] == {f"{VERBS[0]},{NOUNS[0]}": 0.75, f"{rest[0]},{NOUNS[0]}": 0.25}

    status, output, _ = run("fuse", tmp_path / "views.npz", tmp_path / "plain.npz", tmp_path / "fused.npz")
    assert (status, "left out: the actions by views of 1 file" in output) == (0, True)
    assert load_results(tmp_path / "fused.npz").view_actions is None
