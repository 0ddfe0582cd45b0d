"""Holds `zoopraxis.evaluation.fusion` to the output of the published fusion script, through its file format."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from zoopraxis.epic.annotations import read_table
from zoopraxis.evaluation.fusion import fuse
from zoopraxis.evaluation.results import Results, load_results, save_results

NUM_ROWS, NUM_KEPT = 9668, 20
SCALE, BONUS = 2.0, 9.0


def matches(case: dict[str, Any]) -> bool:
    return str(case["case"]).startswith("c1_fuse")


def check(case: dict[str, Any], arrays: dict[str, npt.NDArray[Any]], context: Any) -> None:
    table = read_table(context.real_data() / "epic100" / "EPIC_100_validation.csv")
    rows = np.argsort(context.tensor("c1_fuse_rows", (NUM_ROWS,)).numpy(), kind="stable")[:NUM_KEPT]
    files = {tag.rpartition("_")[2]: _make(tag, table.iloc[rows], context) for tag in case["config"]["tags"]}
    names = sorted({name.partition(".")[0] for name in arrays})
    assert names, f"{case['case']} has no fused arrays"
    for name in names:
        inputs = []
        for tag in name.split("+"):
            save_results(files[tag], context.tmp_path / f"{tag}.pt")
            inputs.append(load_results(context.tmp_path / f"{tag}.pt"))
        fused = fuse(inputs)
        assert fused.clip_ids.tolist() == arrays[f"{name}.narration_id"].tolist()
        for head in ("verb", "noun"):
            expected = arrays[f"{name}.{head}_output"]
            np.testing.assert_allclose(fused.scores[head], expected, rtol=1e-6, atol=1e-6, err_msg=f"{name} {head}")
            unsorted = np.mean([one.scores[head] for one in inputs], axis=0)
            assert not np.allclose(unsorted, expected), "the mean without matching ids would pass, too"


def _make(tag: str, table: Any, context: Any) -> Results:
    """The scores of one file, its rows in the file's own order."""
    scores = {}
    for head, width in (("verb", 97), ("noun", 300)):
        values = context.tensor(f"{tag}_{head}", (len(table), width), SCALE).numpy().copy()
        rows = np.flatnonzero(context.tensor(f"{tag}_bonus_{head}", (len(table),)).numpy() > -0.3)
        values[rows, table[f"{head}_class"].to_numpy()[rows]] += BONUS
        scores[head] = values
    order = context.tensor(tag.replace("c1_fuse_", "c1_fuse_perm_"), (len(table),)).numpy()
    return Results(table.index.to_numpy(dtype=np.str_), scores).take(np.argsort(order, kind="stable"))
