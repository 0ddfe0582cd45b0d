"""What a step of adaptation does: its rates, its randomness, the extra step on the source, and its messages.

# B clips, S features a clip, D their width
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from zoopraxis.adaptation.network import AdaptationNetwork, Level
from zoopraxis.adaptation.objective import DomainBatch, Objective
from zoopraxis.config.adaptation import AdaptationDescentConfig
from zoopraxis.config.schema import ScheduleConfig
from zoopraxis.errors import DataError
from zoopraxis.training.adaptation.system import AdaptationSystem
from zoopraxis.training.trainer import quiet_lightning

SOURCE, TARGET, S, D = 4, 6, 3, 5
LR_AFTER = (0.03, 0.02417782, 0.0227690)
"""The rates of the first steps of a run of 30 epochs of 3, as TA3N's code on UCF-HMDB gave them."""

Batch = dict[str, dict[str, Any]]


def _batch(seed: int = 0, *, target_labels: bool = True) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    sizes = {"source": SOURCE, "target": TARGET}
    batch: Batch = {
        domain: {
            "features": torch.randn(size, S, D, generator=generator),
            "labels": {"label": torch.arange(size) % 2},
            "index": torch.arange(size),
        }
        for domain, size in sizes.items()
    }
    if not target_labels:
        batch["target"]["labels"] = {}
    return batch


class _Loader:
    def __init__(self, batches: Sequence[Any]) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.batches)


class _Data(L.LightningDataModule):
    def __init__(self, batches: Sequence[Batch], val: Sequence[Mapping[str, Any]] = ()) -> None:
        super().__init__()
        self.batches, self.val = list(batches), list(val)

    def train_dataloader(self) -> _Loader:
        return _Loader(self.batches)

    def val_dataloader(self) -> list[_Loader]:
        return [_Loader([batch]) for batch in self.val]


class _Watching(AdaptationSystem):
    """Keeps the rate and the loss of each of the optimizer's steps."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.rates: list[float] = []
        self.losses: list[float] = []

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        self.losses.append(float(loss.detach()))
        return loss

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        self.rates.append(optimizer.param_groups[0]["lr"])


def _network(**arguments: Any) -> AdaptationNetwork:
    torch.manual_seed(0)
    return AdaptationNetwork(feature_dim=D, num_segments=S, heads={"label": 2}, shared_dim=6, relation_dim=4, **arguments)


def _system(network: nn.Module | None = None, *, schedule: str = "constant", **settings: Any) -> _Watching:
    keys = ("clip_ids", "pad_to", "val_names", "num_epochs")
    own = {key: settings.pop(key) for key in keys if key in settings}
    return _Watching(
        network or _network(),
        objective=Objective(**settings),
        optim=AdaptationDescentConfig(lr=0.03),
        schedule=ScheduleConfig(name=schedule),  # type: ignore[arg-type]
        num_source_batches=3,
        **{"num_epochs": 30, "seed": 7, **own},
    )


def _fit(
    system: AdaptationSystem, batches: Sequence[Batch], *, val: Sequence[Mapping[str, Any]] = (), **trainer: Any
) -> L.Trainer:
    arguments = {"max_epochs": 1, "accelerator": "cpu", "devices": 1, "logger": False, "enable_checkpointing": False}
    hidden = {"enable_progress_bar": False, "enable_model_summary": False, "num_sanity_val_steps": 0}
    with quiet_lightning():
        run = L.Trainer(**{**arguments, **hidden, "gradient_clip_val": 20, **trainer})
        run.fit(system, datamodule=_Data(batches, val))
    return run


def test_the_rate_is_annealed_behind_each_step_as_published() -> None:
    system = _system(schedule="dann")
    _fit(system, [_batch(seed) for seed in range(3)])
    assert system.rates == pytest.approx(LR_AFTER, rel=1e-5)


def test_of_batches_that_share_a_step_the_rate_is_that_behind_the_last() -> None:
    one, shared = _system(schedule="dann"), _system(schedule="dann")
    _fit(one, [_batch(seed) for seed in range(3)])
    _fit(shared, [_batch(seed) for seed in range(3)], accumulate_grad_batches=2)
    assert shared.rates == pytest.approx(one.rates[::2], rel=1e-6)


def test_a_step_on_the_source_alone_precedes_each_step_and_schedules_count_batches() -> None:
    system = _system(schedule="dann", pretrain_source=True)
    run = _fit(system, [_batch(seed) for seed in range(3)])
    assert system.rates == pytest.approx(np.repeat(LR_AFTER, 2), rel=1e-5)
    assert run.global_step == 3
    assert {"train/source_step_loss", "train/loss", "train/adversarial"} <= run.callback_metrics.keys()
    plain = _system(schedule="dann")
    _fit(plain, [_batch(seed) for seed in range(3)])
    assert len(plain.losses) == 3
    assert not torch.equal(
        plain.model.state_dict()["classifiers.label.weight"], system.model.state_dict()["classifiers.label.weight"]
    )


def test_what_is_logged_tells_the_parts_and_who_is_fooled() -> None:
    run = _fit(_system(), [_batch()])
    accuracies = {f"train/{level}_domain_acc" for level in ("relation", "video", "frame")}
    parts = {
        "train/loss",
        "train/label_loss",
        "train/classification",
        "train/adversarial",
        "train/entropy",
        "train/label_acc@1",
    }
    assert accuracies | parts <= run.callback_metrics.keys()
    assert all(0 <= float(run.callback_metrics[name]) <= 100 for name in accuracies)


def test_randomness_is_a_function_of_the_step() -> None:
    one, other = _system(), _system()
    torch.manual_seed(1)
    _fit(one, [_batch()])
    torch.manual_seed(2)
    _fit(other, [_batch()])
    assert one.losses == other.losses


@pytest.mark.parametrize("target_labels", [True, False])
def test_labels_of_the_target_do_not_reach_the_objective(target_labels: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[DomainBatch | None] = []
    system = _system()
    assert system.objective is not None
    call = Objective.__call__

    def watch(self: Objective, network: Any, source: DomainBatch, target: DomainBatch | None, **rest: Any) -> Any:
        seen.append(target)
        return call(self, network, source, target, **rest)

    monkeypatch.setattr(Objective, "__call__", watch)
    _fit(system, [_batch(target_labels=target_labels)])
    assert [batch.labels for batch in seen if batch is not None] == [{}]


def test_source_only_needs_no_target() -> None:
    batch = {"source": _batch()["source"]}
    network = _network(attention="none")
    system = _system(network, target="none", adversarial=False, entropy="none")
    run = _fit(system, [batch])
    assert "train/adversarial" not in run.callback_metrics
    assert np.isfinite(system.losses).all()


def test_filling_up_reaches_the_norms_alone() -> None:
    def trained(pad_to: tuple[int, int] | None, norm: str) -> dict[str, Tensor]:
        torch.manual_seed(0)
        network = _network(dropout=0, video_dropout=0, norm=norm)
        _fit(_system(network, pad_to=pad_to), [_batch()])
        return network.state_dict()

    for norm, same in (("none", True), ("adabn", False)):
        plain, padded = trained(None, norm), trained((SOURCE + 3, TARGET + 2), norm)
        assert torch.allclose(plain["classifiers.label.weight"], padded["classifiers.label.weight"], atol=1e-6) is same


def test_a_loss_that_is_not_finite_names_the_clips_of_both_domains() -> None:
    batch = _batch()
    batch["source"]["features"][1] = float("nan")
    system = _system(clip_ids={"source": [f"s{n}" for n in range(9)], "target": np.array([f"t{n}" for n in range(9)])})
    message = (
        r"the loss is nan in epoch 0, batch 0, of the clips of the source: s0, s1, s2, s3; of the target: t0, .*t5; look at"
    )
    with pytest.raises(DataError, match=message):
        _fit(system, [batch])


def test_validation_tells_of_each_domain_and_of_the_entropy() -> None:
    batch = _batch()
    system = _system(val_names=("source_val", "target_val", "target_train"))
    run = _fit(system, [batch], val=[batch["source"], batch["target"], {**batch["target"], "labels": {}}])
    metrics = {name: float(value) for name, value in run.callback_metrics.items() if name.startswith("val/")}
    assert {"val/source/label_acc@1", "val/source/loss", "val/target/label_acc@1", "val/target_entropy"} <= metrics.keys()
    assert 0 < metrics["val/target_entropy"] <= np.log(2) + 1e-6


def test_each_domain_is_validated_by_its_own_norms() -> None:
    batch = _batch()
    network = _network(norm="adabn", dropout=0, video_dropout=0)
    system = _system(network, val_names=("source_val", "target_val"))
    run = _fit(system, [batch] * 3, val=[batch["source"], batch["source"]])
    assert float(run.callback_metrics["val/source/loss"]) != pytest.approx(
        float(run.callback_metrics["val/target/loss"]), rel=1e-9
    )


def test_a_backbone_has_a_rate_of_its_own() -> None:
    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone, self.adaptation, self.frozen = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2)
            self.frozen.requires_grad_(False)

    system = AdaptationSystem(Whole())
    groups = {group["name"]: group for group in system._groups(AdaptationDescentConfig(lr=0.1, backbone_lr=0.5))}
    assert {name: group["lr"] for name, group in groups.items()} == {"adaptation": 0.1, "backbone": 0.05}
    assert [len(group["params"]) for group in groups.values()] == [2, 2]


@pytest.mark.parametrize("prediction", ["average", "frames"])
def test_frames_may_be_what_is_predicted(prediction: str) -> None:
    batch = _batch()
    network = _network(prediction=prediction, attention="none")
    levels: list[Level] = ["frame"]
    system = _system(network, levels=levels, entropy="target", val_names=("source_val", "target_val"))
    run = _fit(system, [batch], val=[batch["source"], batch["target"]])
    assert "val/source/label_acc@1" in run.callback_metrics
