import subprocess
import sys
from typing import Any

import pytest

from zoopraxis.errors import ConfigError
from zoopraxis.toy import ToyConfig


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"seed": -1}, r"seed \(-1\) must not be negative; try seed=1"),
        ({"resolution": (47, 64)}, r"resolution \(47, 64\) must be even and at least 32 px a side; try"),
        ({"fps": 0.0}, r"fps \(0.0\) must lie in \[1, 100\]; try fps=20"),
        ({"num_participants": 7}, r"num_participants \(7\) must be even and in \[6, 98\]"),
        ({"videos_per_participant": 1}, r"videos_per_participant \(1\) must lie in \[2, 98\]; try 2"),
        ({"num_verbs": 5}, r"num_verbs \(5\) must be even and in \[2, 12\]; try num_verbs=8"),
        ({"num_nouns": 17}, r"num_nouns \(17\) must lie in \[2, 16\]; try num_nouns=8"),
        ({"num_tail_verbs": 1}, r"num_tail_verbs \(1\) must be even and less than num_verbs \(8\); try num_tail_verbs=0"),
        ({"num_tail_nouns": 8}, r"num_tail_nouns \(8\) must be in \[0, num_nouns = 8\); try num_tail_nouns=0"),
        ({"overlap": 1.5}, r"overlap \(1.5\) must lie in \[0, 1\]; try overlap=0.5"),
        ({"domain_shift": -0.1}, r"domain_shift \(-0.1\) must not be negative; try domain_shift=1"),
        ({"actions_per_video": 0}, r"actions_per_video \(0\) must be at least 1; try 16"),
        ({"action_seconds": (2.0, 1.0)}, r"action_seconds \(2.0, 1.0\) must be positive and ascending; try"),
        ({"fps": 2.0}, r"actions of 1.3 s at 2.0 fps have fewer than 4 frames; try fps=4"),
    ],
)
def test_value_out_of_range_is_refused_with_its_bound_and_a_cure(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ToyConfig(**values)


def test_import_needs_no_torch() -> None:
    code = "import sys, zoopraxis.toy; print(sorted({'torch', 'lightning', 'timm'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
