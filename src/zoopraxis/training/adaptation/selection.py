"""Which checkpoint of a run of adaptation is the best: by default chosen without labels of the target."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal

from zoopraxis.errors import ConfigError

__all__ = ["LEAK", "choose_monitor", "needed_set"]

Select = Literal["last", "source", "entropy", "target"]

LEAK = (
    "run.select=target chooses the checkpoint by labels of the target, which thereby leak into the model: compare its accuracy "
    "only with numbers made so, and use run.select=last, source or entropy for one of your own"
)
"""What a run says that selects by the target's labels."""

_SETS: dict[str, str] = {"source": "source_val", "entropy": "target_train", "target": "target_val"}
_METRICS: dict[str, str] = {
    "source": "val/source/{head}_acc@1",
    "entropy": "val/target_entropy",
    "target": "val/target/{head}_acc@1",
}


def needed_set(select: Select) -> str | None:
    """The validation set that a selection looks at; none for the last checkpoint."""
    return _SETS.get(select)


def choose_monitor(select: Select, *, val_names: Collection[str], heads: Sequence[str]) -> str | None:
    """The metric whose best checkpoint is kept; none: the last is the best.

    Args:
        select: The setting `run.select`.
        val_names: The validation sets that there are.
        heads: The network's heads; of verbs and nouns the action is looked at, else the first head.

    Raises:
        ConfigError: If the selection's validation set is missing.

    Differs: TA3N's code keeps the epoch that is best on the target's validation clips (UCF-HMDB), by their labels. That of
    EPIC-KITCHENS-100 validates on the target's training clips, and judges by the action's accuracy whichever it is asked for;
    its port to Lightning by a training batch. Here validation clips are validated on, and the metric is the one that is named.
    """
    needed = needed_set(select)
    if needed is None:
        return None
    if needed not in val_names:
        raise ConfigError(
            f"run.select={select} needs the clips of data.{needed}, and there are none; name their annotations with "
            f"data.{needed}=..., or set run.select=last"
        )
    return _METRICS[select].format(head="action" if {"verb", "noun"} <= set(heads) else heads[0])
