"""Whole runs of adaptation on tiny generated features: no label of the target is read, and what is refused beforehand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tiny_domains import SMALL_RUN, write_challenge
from zoopraxis.config.load import load_config
from zoopraxis.errors import ConfigError, DataError
from zoopraxis.training.adaptation.selection import LEAK
from zoopraxis.training.folders import TrainOutcome
from zoopraxis.training.run import train


def _train(root: Path, run_dir: Path, *settings: str, name: str = "ta3n_epic") -> TrainOutcome:
    places = (f"data.root={root / 'features'}", f"data.annotations={root / 'annotations'}", f"run.dir={run_dir}")
    return train(load_config(name, [*places, *SMALL_RUN, "run.loggers=[]", *settings]))


def _weights(outcome: TrainOutcome) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = torch.load(outcome.last_checkpoint, weights_only=True)["state_dict"]
    return weights


def _same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.fixture(scope="module")
def domains(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The challenge with the target's own labels, with permuted ones, and with none."""
    root = tmp_path_factory.mktemp("labels")
    return {labels: write_challenge(root / labels, target_labels=labels) for labels in ("own", "permuted", "none")}


def test_labels_of_the_target_are_never_read(domains: dict[str, Path], tmp_path: Path) -> None:
    outcomes = {labels: _train(root, tmp_path / labels) for labels, root in domains.items()}
    weights = {labels: _weights(outcome) for labels, outcome in outcomes.items()}
    assert _same(weights["own"], weights["permuted"])
    assert _same(weights["own"], weights["none"])
    assert "labels of the target's training clips" in outcomes["own"].notes[0]
    assert not any("labels" in note for note in outcomes["none"].notes)


def test_labels_of_the_target_count_where_they_are_learned(domains: dict[str, Path], tmp_path: Path) -> None:
    settings = ("adapt.target=labelled", "data.phase=train")
    outcomes = [_train(domains[labels], tmp_path / labels, *settings) for labels in ("own", "permuted")]
    assert not _same(*(_weights(outcome) for outcome in outcomes))
    assert any("adapt.target=labelled learns the target's labels" in note for note in outcomes[0].notes)


def test_the_best_checkpoint_is_the_last_unless_another_is_wanted(tiny_challenge: Path, tmp_path: Path) -> None:
    last = _train(tiny_challenge, tmp_path / "last", "trainer.max_epochs=1")
    assert last.best_checkpoint == last.last_checkpoint
    assert LEAK not in last.notes
    entropy = _train(tiny_challenge, tmp_path / "entropy", "trainer.max_epochs=1", "run.select=entropy")
    assert "val/target_entropy" in entropy.metrics
    assert entropy.best_checkpoint.name == "best.ckpt"
    assert LEAK not in entropy.notes


def test_selection_by_labels_of_the_target_warns(tiny_challenge: Path, tmp_path: Path) -> None:
    told: list[str] = []
    places = (f"data.root={tiny_challenge / 'features'}", f"data.annotations={tiny_challenge / 'annotations'}")
    settings = [*places, *SMALL_RUN, "trainer.max_epochs=1", f"run.dir={tmp_path}", "run.loggers=[]", "run.select=target"]
    outcome = train(load_config("ta3n_epic", settings), tell=told.append)
    assert LEAK in told
    assert outcome.notes == tuple(told)
    assert outcome.best_checkpoint.name == "best.ckpt"


def test_a_run_starts_from_other_weights(tiny_challenge: Path, tmp_path: Path) -> None:
    first = _train(tiny_challenge, tmp_path / "first", "trainer.max_epochs=1")
    settings = (f"model.weights={first.last_checkpoint}", "optim.lr=1e-30", "optim.weight_decay=0", "trainer.max_epochs=1")
    second = _train(tiny_challenge, tmp_path / "second", *settings)
    assert _same(_weights(first), _weights(second))


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        (["adapt.adversarial=false", "model.attention=none"], ConfigError, r"adapt\.entropy=attentive .* adversarial=false"),
        (["data.modalities=[sound]"], ConfigError, r"sound.*rgb"),
        (["data.source=source_val", "data.target=absent.csv"], ConfigError, r"data\.target=absent\.csv is neither a file nor"),
        (["schedule.warmup_epochs=9"], ConfigError, r"schedule\.warmup_epochs=9 is longer than the run"),
        (
            ["+trainer.sync_batchnorm=true", "model.norm=adabn", "run.loggers=[nothing]"],
            ConfigError,
            r"run\.loggers has 'nothing'",
        ),
    ],
)
def test_what_cannot_be_is_refused_before_the_first_step(
    settings: list[str], kind: type[Exception], message: str, tiny_challenge: Path, tmp_path: Path
) -> None:
    with pytest.raises(kind, match=message):
        _train(tiny_challenge, tmp_path / "run", *settings)
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_missing_features_are_refused_before_the_first_step(tiny_challenge: Path, tmp_path: Path) -> None:
    rows = (tiny_challenge / "annotations" / "EPIC_100_uda_source_train.csv").read_text().splitlines()
    strange = rows[1].replace("P01_01_0", "P01_01_9999")
    (tmp_path / "more.csv").write_text("\n".join([*rows, strange]) + "\n")
    with pytest.raises(DataError, match=r"P01_01_9999"):
        _train(tiny_challenge, tmp_path / "run", f"data.source={tmp_path / 'more.csv'}", "data.target=target_train")
