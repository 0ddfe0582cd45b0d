"""Holds the rules by which TA3N takes a clip's features to the table of a golden case."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from zoopraxis.data.features import segment_positions, train_positions

TABLE = "sampler_indices(1-based)"


def check_samplers(case: dict[str, Any], context: Any) -> None:
    """Every rule, for every number of segments and features in the table; the table counts from 1."""
    for counts, expected in case["extra"][TABLE].items():
        found = re.fullmatch(r"segments=(\d+) total=(\d+)", counts)
        assert found, counts
        num_segments, total = map(int, found.groups())
        given = np.array([total])
        ours = {
            "test": segment_positions(given, num_segments),
            "val": segment_positions(given, num_segments, repeat="first"),
            "train_np_seed0": train_positions(given, num_segments, context.legacy_generator(0)),
        }
        assert {name: (positions[0] + 1).tolist() for name, positions in ours.items()} == expected, counts
    rows = {name: np.array(table) for name, table in case["extra"][TABLE]["segments=5 total=25"].items()}
    assert not np.array_equal(rows["train_np_seed0"], rows["test"]), "the random rule is not told from the centers"
