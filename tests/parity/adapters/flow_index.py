"""Holds `zoopraxis.epic.annotations.to_flow_frames` to the published conversion of frame numbers, on the real files."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from zoopraxis.epic.annotations import read_table, to_flow_frames

COLUMNS = ["start_frame", "stop_frame"]


def matches(case: dict[str, Any]) -> bool:
    return str(case["case"]).startswith("c1_flow_index")


def check(case: dict[str, Any], arrays: dict[str, npt.NDArray[Any]], context: Any) -> None:
    for expected in case["extra"].values():
        _check_first_rows(expected["first_50"], is_2018=expected["rows_2018_style"] > 0)
    folder = context.real_data() / "epic100"
    for name, expected in case["extra"].items():
        table = read_table(folder / f"EPIC_100_{name}.csv")
        converted = to_flow_frames(table)
        frames = converted[COLUMNS].to_numpy(dtype=np.int64)
        np.testing.assert_array_equal(frames, arrays[f"{name}.start_stop"])
        assert hashlib.sha256(np.ascontiguousarray(frames).tobytes()).hexdigest() == expected["sha256_int64_C_order_Nx2"]
        found = [[clip_id, *row] for clip_id, row in zip(table.index[:50], frames[:50].tolist(), strict=True)]
        assert found == expected["first_50"]
        assert [table.index.name, *converted.columns, "year"] == ["narration_id", *expected["columns"]]
        if expected["rows_2018_style"]:
            assert not np.array_equal(table[COLUMNS].to_numpy(), frames), "the numbers without conversion would pass, too"


def _check_first_rows(rows: list[list[Any]], *, is_2018: bool) -> None:
    """Both RGB frames that a flow frame of 2018 can come from, and the one of 2020, lead to the published number."""
    videos = [row[0].rpartition("_")[0] for row in rows]
    expected = np.array([row[1:] for row in rows])
    for rgb in (2 * expected - 1, 2 * expected) if is_2018 else (expected,):
        table = pd.DataFrame({"video_id": videos, "start_frame": rgb[:, 0], "stop_frame": rgb[:, 1]})
        np.testing.assert_array_equal(to_flow_frames(table)[COLUMNS].to_numpy(), expected)
