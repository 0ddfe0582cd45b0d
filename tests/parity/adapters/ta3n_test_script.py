"""Holds a published checkpoint of TA3N to its published test script: probabilities, printed accuracies and the submission.

The case tells the script's command line, and in words its feature file: `tensor('uda_feat_<m>', (clips, features, width))` of
each modality.
"""

from __future__ import annotations

import json
import os
import pickle
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from parity.ta3n_cases import given_arguments
from parity.ta3n_samplers import check_samplers
from zoopraxis.data.features import open_features
from zoopraxis.epic.adaptation import adaptation_metrics
from zoopraxis.epic.annotations import read_table
from zoopraxis.epic.recognition import labels_of
from zoopraxis.epic.submission import SupervisionLevels, adaptation_json, read_submission, write_adaptation_submission
from zoopraxis.evaluation.fusion import join_heads
from zoopraxis.evaluation.probabilities import log_softmax
from zoopraxis.evaluation.results import Results
from zoopraxis.training.inference import test
from zoopraxis.training.options import TestOptions

HEADS = ("verb", "noun")
PRINTED = {
    "Prec@1 verb": "all_verb_accuracy_at_1",
    "Prec@1 noun": "all_noun_accuracy_at_1",
    "Prec@1 action": "all_action_accuracy_at_1",
    "Prec@5 verb": "all_verb_accuracy_at_5",
    "Prec@5 noun": "all_noun_accuracy_at_5",
    "Prec@5 action": "all_verb_with_noun_accuracy_at_5",
}
"""What the script prints, and what it is called here."""


_DEFAULTS = {
    "baseline_type": "frame",
    "frame_aggregation": "avgpool",
    "use_attn": "none",
    "use_attn_frame": "none",
    "n_ts": "5",
    "test_segments": "5",
}
"""What the script takes for options that are not given."""


def matches(case: Mapping[str, Any]) -> bool:
    return str(case["case"]).startswith("ta3n_epic_test_script")


def check(case: Mapping[str, Any], arrays: Mapping[str, np.ndarray], context: Any) -> None:
    check_samplers(dict(case), context)
    config, extra = case["config"], case["extra"]
    modality, options = config["argv"][1], _DEFAULTS | _options(config["argv"])
    paths = [
        _write_features(config.get(name, config["features"]), name, arrays["narration_ids"].tolist(), context)
        for name in ("features", "noun_features")
    ]
    results = _test(case, options, modality, paths, context)
    _check_probabilities(results, arrays, context)
    for wrong in ({"use_attn": "none"}, {"test_segments": "3"}):
        if options.items() >= wrong.items() or not _is_possible(options, wrong):
            continue
        changed = _probabilities(_test(case, options | wrong, modality, paths, context))
        assert not context.is_close(changed["verb"], arrays["verb_probs"]), f"the case does not see {wrong}"
    _check_submission(results, arrays, extra, context)
    if os.environ.get("ZOOPRAXIS_REAL_DATA"):
        _check_printed(results, extra["printed"], context.real_data())


def _options(argv: Sequence[str]) -> dict[str, str]:
    """The options of a command line, without their dashes."""
    return {name.lstrip("-"): value for name, value in pairwise(argv) if name.startswith("-")}


def _write_features(text: str, name: str, clip_ids: Sequence[str], context: Any) -> Path:
    """The file that the text describes: each modality with its tensor, or all with one whose name has <m> in its place."""
    begun = re.search(r"\{'features': \{([^}]*)\}", text)
    shape = re.search(r"\((\d+), ?(\d+), ?(\d+)\)", text)
    assert begun is not None
    assert shape is not None
    sizes = [int(size) for size in shape.groups()]
    called = dict(re.findall(r"'(\w+)': ?tensor\('(\w+)'", begun[1]))
    if not called:
        pattern = re.search(r"tensor\('(.*?<m>.*?)'", begun[1])
        assert pattern is not None
        called = {modality: pattern[1].replace("<m>", modality) for modality in re.findall(r"'(\w+)'", begun[1])}
    features = {modality: context.tensor(tensor, sizes).numpy() for modality, tensor in called.items()}
    path: Path = context.tmp_path / f"{name}.pkl"
    path.write_bytes(pickle.dumps({"features": features, "narration_ids": list(clip_ids)}, protocol=4))
    return path


def _test(case: Mapping[str, Any], options: Mapping[str, str], modality: str, paths: Sequence[Path], context: Any) -> Results:
    """Scores by a test of the published checkpoint; of separate models of verbs and nouns, each one's head."""
    folder: Path = context.tmp_path
    annotations = folder / "clips.csv"
    clip_ids = open_features(paths[0]).clip_ids.tolist()
    rows = [f"{clip_id},{clip_id.rpartition('_')[0]},00:00:01.00,00:00:02.00" for clip_id in clip_ids]
    annotations.write_text("\n".join(["narration_id,video_id,start_timestamp,stop_timestamp", *rows]) + "\n")
    settings = TestOptions(
        annotations=str(annotations),
        modalities=None if modality == "ALL" else [modality],
        num_segments=int(options["test_segments"]),
        architecture=given_arguments({"config": _settings(options)}),
        batch_size=4,
        num_workers=0,
    )
    tested = []
    for weights, path in zip(("state_dict", "noun_state_dict"), paths, strict=True):
        if weights != "state_dict" and "noun_weights" not in options:
            continue
        tensors = context.state_dict({**case, "state_dict": case.get(weights, case["state_dict"])})
        content = {"epoch": 30, "arch": "TBN", "state_dict": {f"module.{key}": tensor for key, tensor in tensors.items()}}
        checkpoint = folder / f"{weights}.pth.tar"
        torch.save(content, checkpoint)
        given = replace(settings, root=str(path))
        outcome = test(checkpoint, folder / "results.npz", split="test", options=given, accelerator="cpu", devices=1)
        tested.append(outcome.results)
    if len(tested) == 1:
        return tested[0]
    joined = join_heads(tested, HEADS)
    return joined.take(np.array([joined.clip_ids.tolist().index(clip_id) for clip_id in clip_ids]))


def _settings(options: Mapping[str, str]) -> dict[str, Any]:
    """The options as the other cases write their networks' arguments."""
    names = ("baseline_type", "frame_aggregation", "use_attn", "use_attn_frame")
    return {
        **{name: options[name] for name in names},
        "train_segments": int(options["test_segments"]),
        "n_ts": int(options["n_ts"]),
        "dropout_i": 0.0,
        "dropout_v": 0.0,
    }


def _is_possible(options: Mapping[str, str], change: Mapping[str, str]) -> bool:
    """Whether the network can be changed so: relations are of so many frames, and attention only some aggregations have."""
    is_relations, is_average = (options["frame_aggregation"] == name for name in ("trn-m", "avgpool"))
    if "test_segments" in change:
        return is_average
    return options["use_attn"] == "TransAttn" and (is_relations or is_average)


def _probabilities(results: Results) -> dict[str, np.ndarray]:
    return {head: np.exp(log_softmax(results.scores[head])) for head in HEADS}


def _check_probabilities(results: Results, arrays: Mapping[str, np.ndarray], context: Any) -> None:
    for head, found in _probabilities(results).items():
        expected = arrays[f"{head}_probs"]
        context.assert_close(found, expected, f"{head} probabilities")
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=0, err_msg=f"{head}, the least likely classes too")


def _check_submission(results: Results, arrays: Mapping[str, np.ndarray], extra: Mapping[str, Any], context: Any) -> None:
    """The document has the published keys, in their order and form, and numbers that differ by rounding alone."""
    top = extra["json_top_level"]
    levels = SupervisionLevels(top["sls_pt"], top["sls_tl"], top["sls_td"])
    content = adaptation_json(results, levels).decode()
    document = json.loads(content)
    assert list(document) == ["results_target", *top]
    assert {name: document[name] for name in top} == top
    assert list(document["results_target"]) == arrays["narration_ids"].tolist()
    number = r"(?<=: )[-+.e\d]+(?=[,}\d]|$)"
    head = extra["json_head"]
    begun = content[: len(head) + 400]
    found, expected = re.findall(number, begun), re.findall(number, head)[:-1]
    np.testing.assert_allclose(np.array(found[: len(expected)], float), np.array(expected, float), rtol=1e-3)
    assert re.sub(number, "#", begun).startswith(re.sub(number, "#", head).rpartition(",")[0])
    assert all(float(np.float32(text)) == float(text) == float(repr(float(text))) for text in found[: len(expected)])
    path = context.tmp_path / "submission.zip"
    write_adaptation_submission(results, path, levels, expected_ids=arrays["narration_ids"].tolist(), classes=results.heads)
    read, read_levels = read_submission(path)
    assert read_levels == levels
    for name, probabilities in _probabilities(read).items():
        context.assert_close(probabilities, arrays[f"{name}_probs"], f"{name} probabilities that were read")


def _check_printed(results: Results, lines: Sequence[str], folder: Path) -> None:
    table = read_table(folder / "epic100" / "uda" / "EPIC_100_uda_target_val.csv")
    labels = labels_of(results.clip_ids, table).labels
    metrics = adaptation_metrics(results, labels).as_dict()
    printed = next((line for line in lines if "Prec@1" in line), None)
    if printed is None:
        return
    for words, name in PRINTED.items():
        told = re.search(rf"{re.escape(words)} ([\d.]+)", printed)
        assert told is not None, f"{printed} does not tell {words}"
        assert f"{metrics[name]:.3f}" == told[1], f"{words} is {metrics[name]:.3f}, published {told[1]}"
    # The script takes the cross entropy of probabilities, as if they were scores.
    losses = [
        -log_softmax(probabilities)[np.arange(len(results)), labels[head]].mean()
        for head, probabilities in _probabilities(results).items()
    ]
    told = re.search(r"Loss ([\d.]+)", printed)
    assert told is not None
    assert abs(float(np.mean(losses)) - float(told[1])) < 1e-4
