from __future__ import annotations

import pytest

from zoopraxis.errors import ConfigError
from zoopraxis.training.adaptation.selection import choose_monitor, needed_set

EPIC = ["verb", "noun"]


def test_the_last_checkpoint_is_the_best_by_default() -> None:
    assert choose_monitor("last", val_names=(), heads=EPIC) is None
    assert needed_set("last") is None


@pytest.mark.parametrize(
    ("select", "needed", "heads", "monitor"),
    [
        ("source", "source_val", EPIC, "val/source/action_acc@1"),
        ("source", "source_val", ["label"], "val/source/label_acc@1"),
        ("target", "target_val", EPIC, "val/target/action_acc@1"),
        ("entropy", "target_train", EPIC, "val/target_entropy"),
    ],
)
def test_each_selection_looks_at_a_set_of_its_own(select: str, needed: str, heads: list[str], monitor: str) -> None:
    assert choose_monitor(select, val_names=[needed], heads=heads) == monitor  # type: ignore[arg-type]


def test_a_selection_without_its_clips_names_the_setting() -> None:
    with pytest.raises(
        ConfigError, match=r"run\.select=source needs the clips of data\.source_val, and there are none; .*=last"
    ):
        choose_monitor("source", val_names=["target_val"], heads=EPIC)
