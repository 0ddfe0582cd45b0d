"""The recipes of domain adaptation against the published scripts."""

from __future__ import annotations

import pytest

from zoopraxis.config.adaptation import AdaptationConfig, StrengthsConfig
from zoopraxis.config.load import load_config
from zoopraxis.training.optim import check_schedule

EPIC = ("ta3n", "ta2n", "dann", "dan", "jan", "mcd", "adabn", "source_only", "target_supervised")
UCF_HMDB = ("ta3n_ucf_hmdb", "ta3n_hmdb_ucf", "source_only_ucf_hmdb")
PLAIN = {"adversarial": False, "entropy": "none", "discrepancy": "none", "mcd": False, "target": "unlabelled"}


def _load(name: str) -> AdaptationConfig:
    config = load_config(name, ["data.root=/data"])
    assert isinstance(config, AdaptationConfig)
    return config


@pytest.mark.parametrize("name", [*(f"{name}_epic" for name in EPIC), *UCF_HMDB])
def test_what_all_recipes_share(name: str) -> None:
    config = _load(name)
    assert (config.optim.name, config.optim.momentum, config.optim.nesterov, config.optim.weight_decay) == (
        "sgd",
        0.9,
        True,
        1e-4,
    )
    assert (config.trainer["max_epochs"], config.trainer["gradient_clip_val"]) == (30, 20)
    assert (config.data.store, config.data.num_segments, config.data.batch_size) == ("features", 5, 128)
    assert (config.data.target_batch_size, config.data.epoch) == (None, "shorter")
    model = config.model
    assert (model.aggregation, model.prediction, model.shared_dim, model.num_shared_layers) == ("relations", "video", 512, 1)
    assert (model.dropout, model.video_dropout, model.frame_attention, model.share_parameters) == (0.5, 0.5, "none", True)
    assert (config.run.select, config.adapt.first_epoch) == ("last", 1)
    assert check_schedule(config.schedule, lr=config.optim.lr, num_epochs=30) is None


@pytest.mark.parametrize("name", EPIC)
def test_how_the_recipes_of_epic_train(name: str) -> None:
    config = _load(f"{name}_epic")
    assert (config.optim.lr, config.schedule.name, config.schedule.gamma) == (3e-3, "multistep", 0.1)
    assert config.schedule.milestones == [9, 19]
    assert (config.data.format, config.data.modalities, config.data.mapping) == ("epic", [], "none")
    assert config.data.phase == ("tune" if name == "target_supervised" else "train")
    assert (config.adapt.warmup, config.adapt.warmup_each) == ("slow", "step")


@pytest.mark.parametrize(
    ("name", "differs", "attention", "norm"),
    [
        ("ta3n", {"adversarial": True, "entropy": "attentive"}, "transferable", "none"),
        ("ta2n", {"adversarial": True}, "none", "none"),
        ("dann", {"adversarial": True}, "none", "none"),
        ("dan", {"discrepancy": "dan"}, "none", "none"),
        ("jan", {"discrepancy": "jan"}, "none", "none"),
        ("mcd", {"mcd": True}, "none", "none"),
        ("adabn", {}, "none", "adabn"),
        ("source_only", {"target": "none"}, "none", "none"),
        ("target_supervised", {"target": "labelled"}, "none", "none"),
    ],
)
def test_what_sets_the_methods_apart(name: str, differs: dict[str, object], attention: str, norm: str) -> None:
    config = _load(f"{name}_epic")
    assert {key: getattr(config.adapt, key) for key in PLAIN} == {**PLAIN, **differs}
    assert (config.model.attention, config.model.norm) == (attention, norm)
    assert config.data.pad_batches == (name == "adabn")
    levels = ["video", "frame"] if name == "dann" else ["relation", "video", "frame"]
    assert config.adapt.levels == levels


def test_ta3n_has_the_published_weights() -> None:
    for name in ("ta3n_epic", "ta3n_ucf_hmdb"):
        adapt = _load(name).adapt
        assert adapt.strengths == StrengthsConfig(relation=0.75, video=0.75, frame=0.5)
        assert adapt.entropy_weight == 0.003
    back = _load("ta3n_hmdb_ucf").adapt
    assert back.strengths == StrengthsConfig(relation=1.0, video=0.75, frame=0.5)
    assert back.entropy_weight == 0.3


@pytest.mark.parametrize("name", UCF_HMDB)
def test_how_the_recipes_of_ucf_and_hmdb_train(name: str) -> None:
    config = _load(name)
    assert (config.optim.lr, config.schedule.name, config.data.mapping) == (3e-2, "dann", "ucf_hmdb")
    is_adapted = name.startswith("ta3n")
    assert config.adapt.warmup == ("none" if is_adapted else "slow")
    assert (config.adapt.target, config.adapt.adversarial) == (("unlabelled", True) if is_adapted else ("none", False))
