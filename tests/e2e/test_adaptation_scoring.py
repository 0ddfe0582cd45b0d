"""The adaptation challenge, from results files to metrics, report and submission, on the toy kitchen's format."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from zoopraxis.evaluation.embeddings import Embeddings, save_embeddings
from zoopraxis.evaluation.results import Results, load_results, save_results

NUM_CLIPS, NUM_VERBS, NUM_NOUNS = 40, 6, 7
VERBS = np.arange(NUM_CLIPS) % NUM_VERBS
NOUNS = np.arange(NUM_CLIPS) % NUM_NOUNS
TARGET_IDS = np.array([f"P{1 + row // 20:02d}_101_{row}" for row in range(NUM_CLIPS)])
SOURCE_IDS = np.array([f"P{1 + row // 20:02d}_01_{row}" for row in range(NUM_CLIPS)])
CHALLENGE = ("--challenge", "adaptation")

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def uda(tmp_path: Path) -> Path:
    """The challenge's folder, inside one that names the classes."""
    folder = tmp_path / "annotations" / "uda"
    folder.mkdir(parents=True)
    header = "narration_id,participant_id,video_id,start_timestamp,stop_timestamp,start_frame,stop_frame"
    for domain, ids in (("target", TARGET_IDS), ("source", SOURCE_IDS)):
        rows = [f"{one},{one[:3]},{one.rpartition('_')[0]},00:00:01.00,00:00:02.00,60,120" for one in ids.tolist()]
        labelled = [f"{row},{verb},{noun}" for row, verb, noun in zip(rows, VERBS, NOUNS, strict=True)]
        files = {f"{domain}_val": [f"{header},verb_class,noun_class", *labelled], f"{domain}_test_timestamps": [header, *rows]}
        for name, lines in files.items():
            (folder / f"EPIC_100_uda_{name}.csv").write_text("\n".join(lines) + "\n")
    for head, count in (("verb", NUM_VERBS), ("noun", NUM_NOUNS)):
        lines = ["id,key,instances,category", *(f"{number},{head} <{number}>,[],x" for number in range(count))]
        (folder.parent / f"EPIC_100_{head}_classes.csv").write_text("\n".join(lines) + "\n")
    return folder


def write_results(path: Path, *, ids: np.ndarray = TARGET_IDS, skill: float = 2, seed: int = 0) -> Results:
    generator = np.random.default_rng(seed)
    scores = {"verb": generator.normal(size=(NUM_CLIPS, NUM_VERBS)), "noun": generator.normal(size=(NUM_CLIPS, NUM_NOUNS))}
    scores["verb"][np.arange(NUM_CLIPS), VERBS] += skill
    scores["noun"][np.arange(NUM_CLIPS), NOUNS] += skill
    results = Results(ids, scores, {"averaging": "score"})
    save_results(results, path)
    return results


def write_embeddings(path: Path, *, target_ids: np.ndarray = TARGET_IDS) -> None:
    generator = np.random.default_rng(0)
    before, after = generator.normal(size=(2 * NUM_CLIPS, 12)), generator.normal(size=(2 * NUM_CLIPS, 5))
    before[:NUM_CLIPS] += 9
    domain = np.repeat(["target", "source"], NUM_CLIPS)
    attention = generator.random((2 * NUM_CLIPS, 4))
    ids = np.concatenate([target_ids, SOURCE_IDS])
    save_embeddings(Embeddings(ids, domain, before, after, attention), path)


def test_metrics_gain_and_distance(run: Run, uda: Path, tmp_path: Path) -> None:
    results = write_results(tmp_path / "ta3n.npz")
    baseline = write_results(tmp_path / "source_only.npz", skill=0.5, seed=1)
    save_results(baseline.take(np.arange(NUM_CLIPS)[::-1]), tmp_path / "source_only.npz")
    write_embeddings(tmp_path / "e.npz")
    labels = uda / "EPIC_100_uda_target_val.csv"
    options = ["--baseline", tmp_path / "source_only.npz", "--embeddings", tmp_path / "e.npz"]
    status, output, _ = run("evaluate", tmp_path / "ta3n.npz", labels, *CHALLENGE, *options, "--json")
    assert (status, output.count("\n")) == (0, 1)
    outcome = json.loads(output)
    names = [f"all_{task}_accuracy_at_{k}" for task in ("verb", "noun", "action") for k in (1, 5)]
    assert list(outcome["metrics"]) == [*names, "all_verb_with_noun_accuracy_at_5"]
    right = results.scores["verb"].argmax(1) == VERBS
    before = baseline.scores["verb"].argmax(1) == VERBS
    difference = outcome["differences"]["verb_accuracy_at_1"]
    assert difference["percent"] == pytest.approx(100 * (right.mean() - before.mean()))
    assert difference["baseline_percent"] == pytest.approx(100 * before.mean())
    assert difference["low"] < difference["percent"] < difference["high"]
    assert [row["class"] for row in outcome["class_gains"]["verb"]] == list(range(NUM_VERBS))
    assert outcome["class_gains"]["action"][0]["class"] == [0, 0]
    assert outcome["domain_distances"]["before"] == 2
    assert outcome["domain_distances"]["after"] < 1

    status, output, _ = run("evaluate", tmp_path / "ta3n.npz", labels, *CHALLENGE, *options)
    assert status == 0
    assert "compared with" in output
    assert "distance of the domains (0 to 2): 2.000 before adaptation" in output


@pytest.mark.parametrize("split", [None, "val", "target_val"])
def test_labels_are_found_in_the_challenges_folder(run: Run, uda: Path, tmp_path: Path, split: str | None) -> None:
    scores = write_results(tmp_path / "r.npz").scores
    save_results(Results(TARGET_IDS, scores, {} if split is None else {"split": split}), tmp_path / "s.npz")
    told = [
        run("evaluate", tmp_path / "s.npz", place, *CHALLENGE, "--json") for place in (uda, uda / "EPIC_100_uda_target_val.csv")
    ]
    assert told[0] == told[1]
    assert told[0][0] == 0


def test_report_shows_domains_attention_and_gain(run: Run, uda: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    write_results(tmp_path / "ta3n.npz")
    write_results(tmp_path / "source_only.npz", skill=0.5, seed=1)
    write_embeddings(tmp_path / "e.npz")
    options = ["--baseline", tmp_path / "source_only.npz", "--embeddings", tmp_path / "e.npz", "--projection", "pca"]
    labels, report = uda / "EPIC_100_uda_target_val.csv", tmp_path / "r.html"
    status, output, _ = run("evaluate", tmp_path / "ta3n.npz", labels, *CHALLENGE, *options, "--report", report)
    assert (status, f"report: {report}" in output) == (0, True)
    text = report.read_text()
    for expected in ("Domain adaptation: ta3n", "How far apart are the domains?", "Domain attention", "Gain over the baseline"):
        assert expected in text
    assert "verb &lt;0&gt; noun &lt;0&gt;" in text


def test_one_head_is_compared_too(run: Run, tmp_path: Path) -> None:
    rows = [f"{name}/{number}.mp4,{name},test" for name in ("bend", "jump") for number in range(2)]
    (tmp_path / "all.csv").write_text("path,label,split\n" + "\n".join(rows) + "\n")
    ids = np.array(["bend/0", "bend/1", "jump/0", "jump/1"])
    save_results(Results(ids, {"label": np.eye(2)[[0, 0, 1, 0]]}), tmp_path / "here.npz")
    save_results(Results(ids, {"label": np.eye(2)[[0, 1, 0, 0]]}), tmp_path / "baseline.npz")
    options = ["--baseline", tmp_path / "baseline.npz", "--json"]
    status, output, _ = run("evaluate", tmp_path / "here.npz", tmp_path / "all.csv", *options)
    assert status == 0
    outcome = json.loads(output)
    assert outcome["metrics"] == {"label_accuracy_at_1": 75.0, "label_accuracy_at_5": 100.0}
    assert outcome["differences"]["label_accuracy_at_1"]["percent"] == 50
    status, _, errors = run("evaluate", tmp_path / "here.npz", tmp_path / "all.csv", *CHALLENGE)
    assert (status, errors.count("\n")) == (2, 1)
    assert "the adaptation challenge needs head 'verb' in the results" in errors


def test_submission_of_both_domains(run: Run, uda: Path, tmp_path: Path) -> None:
    target = write_results(tmp_path / "target.npz")
    write_results(tmp_path / "source.npz", ids=SOURCE_IDS, seed=1)
    command = ["submit", tmp_path / "target.npz", tmp_path / "out.zip", *CHALLENGE, "--sls-pt", 2, "--sls-tl", 0, "--sls-td", 3]
    named = ["--source-results", tmp_path / "source.npz", "--annotations", uda]
    status, output, _ = run(*command, *named, "--json")
    assert status == 0
    assert json.loads(output) == {
        "submission": str(tmp_path / "out.zip"),
        "challenge": "adaptation",
        "num_clips": NUM_CLIPS,
        "sls_pt": 2,
        "sls_tl": 0,
        "sls_td": 3,
        "num_source_clips": NUM_CLIPS,
        "ids_checked": True,
    }
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        document = json.loads(archive.read("test.json"))
    assert list(document) == ["results_target", "results_source", "version", "challenge", "sls_pt", "sls_tl", "sls_td"]
    assert list(document["results_target"]) == TARGET_IDS.tolist()
    verbs = np.array(list(document["results_target"][TARGET_IDS[3]]["verb"].values()))
    assert verbs.sum() == pytest.approx(1)
    assert verbs.argmax() == target.scores["verb"][3].argmax()

    status, output, _ = run(*command, *named[:2], "--annotations", uda / "EPIC_100_uda_target_test_timestamps.csv", "--force")
    assert (status, "with 40 clips of the source" in output, "not checked" in output) == (0, True, False)


def test_submission_says_what_was_not_checked(run: Run, tmp_path: Path) -> None:
    save_results(Results(TARGET_IDS[:2], {"verb": np.zeros((2, 97)), "noun": np.zeros((2, 300))}), tmp_path / "r.npz")
    status, output, _ = run("submit", tmp_path / "r.npz", tmp_path / "out.zip", *CHALLENGE)
    assert status == 0
    assert "adaptation submission of 2 clips (sls_pt 2, sls_tl 3, sls_td 3)" in output
    assert "not checked: whether these are all clips of target_test; name the folder uda with --annotations" in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["submit", "source.npz", "out.zip", *CHALLENGE],
            "results of the target: 40 of 40 clips of the results are of the source",
        ),
        (
            ["submit", "target.npz", "out.zip", *CHALLENGE, "--source-results", "target.npz", "--annotations", "uda"],
            "results of the source: 40 of 40 clips of the results are of the target",
        ),
        (
            ["submit", "val.npz", "out.zip", *CHALLENGE],
            "they are scores of split target_val, but the challenge takes target_test",
        ),
        (["submit", "few.npz", "out.zip", *CHALLENGE, "--annotations", "uda"], "2 clips of the split are not in the results"),
        (
            ["submit", "target.npz", "out.zip", *CHALLENGE, "--annotations", "."],
            "there is no EPIC_100_uda_target_test_timestamps",
        ),
        (["submit", "target.npz", "out.zip", *CHALLENGE, "--actions", "product"], "--actions is of the recognition challenge"),
        (["submit", "target.npz", "out.zip", "--source-results", "r.npz"], "--source-results is of the adaptation challenge"),
        (
            ["submit", "verbs.npz", "out.zip", *CHALLENGE, "--annotations", "uda"],
            "needs scores of head 'noun', but the results have verb",
        ),
        (["evaluate", "source.npz", "SOURCE", *CHALLENGE], "40 of 40 clips of the results are of the source (videos of 2018)"),
        (["evaluate", "source.npz", "TARGET", *CHALLENGE], "40 of 40 clips of the results are not in the annotations"),
        (["evaluate", "val.npz", ".", *CHALLENGE], "the folder . has no annotations of split target_val"),
        (["evaluate", "verbs.npz", "TARGET", *CHALLENGE], "the adaptation challenge needs head 'noun' in the results"),
        (
            ["evaluate", "target.npz", "TARGET", *CHALLENGE, "--global-softmax"],
            "--global-softmax is of the recognition challenge",
        ),
        (["evaluate", "target.npz", "TARGET", "--baseline", "source.npz"], "40 clips of the results are not in the baseline"),
        (["evaluate", "target.npz", "TARGET", "--embeddings", "target.npz"], "target.npz has no array 'domain'"),
        (["evaluate", "target.npz", "TARGET", "--projection", "pca"], "give --report and --embeddings too"),
        (["fuse", "target.npz", "other.npz", "out.npz", "--heads", "verb"], "heads verb are given for 2 results"),
        (["fuse", "target.npz", "verbs.npz", "out.npz", "--heads", "verb,noun"], "verbs.npz has no head 'noun'; known: verb"),
        (["fuse", "target.npz", "other.npz", "o.npz", "--heads", "verb,noun", "--weights", "1,2"], "leave out --weights"),
    ],
)
def test_wrong_input_is_met_with_one_line(
    arguments: list[str], message: str, run: Run, uda: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    target = write_results(tmp_path / "target.npz")
    write_results(tmp_path / "other.npz", seed=1)
    write_results(tmp_path / "source.npz", ids=SOURCE_IDS)
    save_results(Results(TARGET_IDS, target.scores, {"split": "target_val"}), tmp_path / "val.npz")
    save_results(target.take(np.arange(NUM_CLIPS - 2)), tmp_path / "few.npz")
    save_results(Results(TARGET_IDS, {"verb": target.scores["verb"]}), tmp_path / "verbs.npz")
    places = {name.upper(): uda / f"EPIC_100_uda_{name}_val.csv" for name in ("source", "target")} | {"uda": uda}
    status, output, errors = run(*(places.get(argument, argument) for argument in arguments))
    assert (status, output, errors.count("\n")) == (2, "", 1)
    assert message in errors
    assert not (tmp_path / "out.zip").exists()


def test_embeddings_of_other_clips_stop_the_report(run: Run, uda: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    write_results(tmp_path / "r.npz")
    write_embeddings(tmp_path / "e.npz", target_ids=np.char.add("x", TARGET_IDS))
    options = ["--embeddings", tmp_path / "e.npz", "--report", tmp_path / "r.html"]
    status, _, errors = run("evaluate", tmp_path / "r.npz", uda / "EPIC_100_uda_target_val.csv", *CHALLENGE, *options)
    assert (status, errors.count("\n")) == (2, 1)
    assert "the embeddings have none of the 40 clips of the results" in errors
    assert not (tmp_path / "r.html").exists()


def test_verbs_and_nouns_of_two_models(run: Run, tmp_path: Path) -> None:
    verbs, nouns = write_results(tmp_path / "v.npz"), write_results(tmp_path / "n.npz", seed=1)
    order = np.argsort(TARGET_IDS)
    status, output, _ = run("fuse", tmp_path / "v.npz", tmp_path / "n.npz", tmp_path / "out.npz", "--heads", "verb,noun")
    assert (status, "heads verb, noun of 2 files, 40 clips" in output) == (0, True)
    joined = load_results(tmp_path / "out.npz")
    np.testing.assert_array_equal(joined.scores["verb"], verbs.scores["verb"][order])
    np.testing.assert_array_equal(joined.scores["noun"], nouns.scores["noun"][order])


def test_scoring_needs_no_torch(uda: Path, tmp_path: Path) -> None:
    write_results(tmp_path / "a.npz")
    write_embeddings(tmp_path / "e.npz")
    script = """
import sys
from zoopraxis.cli import main
folder, uda = sys.argv[1:]
adaptation = ["--challenge", "adaptation"]
commands = [
    ["evaluate", f"{folder}/a.npz", f"{uda}/EPIC_100_uda_target_val.csv", *adaptation, "--baseline", f"{folder}/a.npz",
     "--embeddings", f"{folder}/e.npz", "--report", f"{folder}/c.html"],
    ["submit", f"{folder}/a.npz", f"{folder}/c.zip", "--annotations", uda, *adaptation],
]
assert [main(command) for command in commands] == [0, 0]
heavy = {"torch", "lightning", "timm", "hydra", "av"} & set(sys.modules)
assert not heavy, heavy
"""
    pytest.importorskip("matplotlib")
    command = [sys.executable, "-c", script, str(tmp_path), str(uda)]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr


def test_shared_classes_of_another_data_set_are_numbered_as_in_training(run: Run, tiny_data_sets: Path, tmp_path: Path) -> None:
    annotations = tiny_data_sets / "annotations" / "hmdb_val.parquet"  # fencing, ride_bike, shoot_bow, in turn
    ids = np.array([f"hmdb_val_{row}" for row in range(8)])
    save_results(Results(ids, {"label": np.eye(12)[np.resize([1, 7, 10], 8)]}), tmp_path / "r.npz")
    training = ("--training-annotations", tiny_data_sets / "annotations" / "ucf.parquet")
    command = ("evaluate", tmp_path / "r.npz", annotations, "--mapping", "ucf_hmdb", *training)
    status, out, _ = run(*command, "--report", tmp_path / "r.html", "--json")
    assert status == 0
    assert json.loads(out)["metrics"]["label_accuracy_at_1"] == 100
    assert "shoot_bow" in (tmp_path / "r.html").read_text()
    status, _, err = run("evaluate", tmp_path / "r.npz", annotations)
    assert (status, "or give the --mapping of the training" in err) == (2, True)
