"""Holds `zoopraxis.epic.submission` to the bytes that the published tool wrote.

The submission that stands beside the case was written again without spaces: its content and the order of its keys are compared,
the bytes by the digest that the case tells.
"""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from zoopraxis.epic.submission import SupervisionLevels, read_submission, submission_json, write_submission
from zoopraxis.evaluation.results import Results

CHALLENGE = "action_recognition"


def matches(case: dict[str, Any]) -> bool:
    is_document = case.get("challenge") == CHALLENGE and "results" in case
    return str(case["case"]).startswith("c1_submission") or is_document


def check(case: dict[str, Any], arrays: dict[str, npt.NDArray[Any]], context: Any) -> None:
    if not case["case"]:
        document = {name: value for name, value in case.items() if name != "case"}
        _check_document(document)
        return
    levels = SupervisionLevels(
        *(int(re.search(rf"--sls-{name} (\d)", case["config"]["args"])[1]) for name in ("pt", "tl", "td"))
    )
    results = Results(arrays["narration_id"], {"verb": arrays["verb_output"], "noun": arrays["noun_output"]})
    expected = case["extra"]
    content = _zipped(results, levels, expected, context.tmp_path / "submission.zip")
    assert len(content) == expected["length"]
    assert content.decode().startswith(expected["head"])
    assert hashlib.sha256(content).hexdigest() == expected["sha256"]
    stored = (context.folder / expected["file"]).read_text()
    assert _ordered(content) == _ordered(stored)
    read, read_levels = read_submission(context.tmp_path / "submission.zip")
    assert read_levels == levels
    for head, scores in results.scores.items():
        np.testing.assert_array_equal(read.scores[head], scores)


def _zipped(results: Results, levels: SupervisionLevels, expected: dict[str, Any], path: Path) -> bytes:
    """The content of the one member of the zip that is written."""
    write_submission(results, path, levels, expected_ids=results.clip_ids.tolist())
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == expected["zip_members"]
        assert archive.infolist()[0].compress_type == expected["compress_type"]
        return archive.read(archive.namelist()[0])


def _check_document(document: dict[str, Any]) -> None:
    """Its scores, written again, give the same document: values and the order of keys."""
    entries = document["results"]
    scores = {head: np.array([list(entry[head].values()) for entry in entries.values()]) for head in ("verb", "noun")}
    levels = SupervisionLevels(document["sls_pt"], document["sls_tl"], document["sls_td"])
    content = submission_json(Results(np.array(list(entries)), scores), levels)
    assert _ordered(content) == _ordered(json.dumps(document))


def _ordered(text: str | bytes) -> Any:
    return json.loads(text, object_pairs_hook=list)
