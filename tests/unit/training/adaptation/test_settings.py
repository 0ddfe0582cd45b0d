from __future__ import annotations

import pytest

from zoopraxis.config.adaptation import AdaptationConfig
from zoopraxis.config.load import load_config, recipe_names
from zoopraxis.errors import ConfigError
from zoopraxis.training.adaptation.settings import (
    advice,
    build_feature_network,
    build_objective,
    check_names,
    check_settings,
    network_arguments,
)

RECIPES = [name for name in recipe_names() if isinstance(load_config(name, allow_missing=True), AdaptationConfig)]
ON_CLIPS = ("data.store=gulp", "data.modalities=[]")


def _load(*settings: str, name: str = "ta3n_epic") -> AdaptationConfig:
    config = load_config(name, ["data.root=/x", *settings])
    assert isinstance(config, AdaptationConfig)
    return config


@pytest.mark.parametrize("name", RECIPES)
def test_no_recipe_contradicts_itself(name: str) -> None:
    check_settings(_load(name=name))
    objective = build_objective(_load(name=name))
    assert objective.first_epoch == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            ["adapt.adversarial=false"],
            r"model\.attention=transferable weighs by the discriminator of level relation, which nothing",
        ),
        (["adapt.levels=[video,frame]"], r"with adapt\.levels=\[video,frame\]; add relation to adapt\.levels"),
        (
            ["adapt.levels=[relation,video]", "model.frame_attention=transferable"],
            r"model\.frame_attention=transferable weighs .* frame",
        ),
        (["adapt.levels=[]", "model.attention=none"], r"discriminates nothing with adapt\.levels=\[\]; name levels, or set"),
        (
            ["adapt.target=none"],
            r"adapt\.adversarial=true needs clips of the target, but adapt\.target=none .*adversarial=false",
        ),
        (["adapt.discrepancy=dan", "adapt.discrepancy_weight=0"], r"adapt\.discrepancy=dan has no effect with .*weight=0; set"),
        (["adapt.pretrain_source=true", "trainer.accumulate_grad_batches=2"], r"set trainer\.accumulate_grad_batches=1"),
        (["+trainer.strategy=fsdp2"], r"trainer\.strategy=fsdp2 is for recognition; leave it out"),
        (["trainer.max_epochs=-1"], r"trainer\.max_epochs=-1, but warm-ups and schedules need the run's length"),
        (
            ["model.backbone=resnet18"],
            r"model\.backbone=resnet18 is for networks on clips and has no effect with data\.store=features",
        ),
        (["optim.backbone_lr=0.1"], r"optim\.backbone_lr=0\.1 has no effect with data\.store=features"),
        (
            ["adapt.discrepancy=jan", "model.prediction=frames"],
            r"adapt\.discrepancy=jan compares videos, .*set model\.prediction=",
        ),
        (["model.rnn_cell=gru"], r"model\.rnn_cell=gru has an effect only with model\.aggregation=rnn; leave it out, or set"),
        (["model.aggregation=rnn", "model.relation_dim=8"], r"model\.relation_dim=8 has an effect only with .*=relations or"),
        (["model.norm=adabn", "model.autodial=published"], r"model\.autodial=published .* only with model\.norm=autodial"),
        (
            ["adapt.discrepancy_at=[shared_1]"],
            r'adapt\.discrepancy_at=\["shared_1"\] .* only with adapt\.discrepancy=dan or coral',
        ),
        (["adapt.mcd_strength=2"], r"adapt\.mcd_strength=2\.0 has an effect only with adapt\.mcd=true"),
        (["data.num_segments=1"], r"data\.num_segments=1 has no relations, .* or set model\.aggregation=average"),
        (["optim.momentum=0"], r"optim\.nesterov=true needs momentum"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_settings(_load(*settings))


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("adapt.entropy=target", r"adapt\.entropy=target needs clips of the target.*adapt\.entropy=none"),
        ("adapt.discrepancy=jan", r"adapt\.discrepancy=jan needs clips of the target"),
        ("adapt.mcd=true", r"adapt\.mcd=true needs clips of the target"),
        ("model.norm=adabn", r"model\.norm=adabn needs clips of the target"),
        ("model.share_parameters=false", r"model\.share_parameters=false needs clips of the target"),
    ],
)
def test_nothing_adapts_to_a_target_that_is_not_there(setting: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        check_settings(_load(setting, name="source_only_epic"))


def test_how_many_clips_a_step_has_of_a_target_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match=r"data\.target_batch_size=7 has an effect only with adapt\.target=unlabelled or"):
        check_settings(_load("data.target_batch_size=7", name="source_only_epic"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["adapt.adversarial=false"], r"adapt\.entropy=attentive .* but adversarial=false"),
        (["adapt.levels=[relation,frame]"], r"adapt\.entropy=attentive .* level video"),
    ],
)
def test_attentive_entropy_needs_the_video_discriminator(settings: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_objective(_load("model.attention=none", *settings))


def test_clips_may_have_a_backbone() -> None:
    check_settings(_load(*ON_CLIPS, "model.backbone=resnet18", "optim.backbone_lr=0.1"))


def test_the_network_is_the_one_that_the_settings_describe() -> None:
    config = _load("model.shared_dim=6", "model.relation_dim=4", "adapt.mcd=true", "data.num_segments=3")
    network = build_feature_network(config, feature_dim=8, heads={"verb": 3})
    assert network.arguments == {**network_arguments(config), "feature_dim": 8, "heads": {"verb": 3}, "autodial": "learned"}
    assert (network.arguments["num_segments"], network.arguments["second_classifier"]) == (3, True)
    again = build_feature_network(config, feature_dim=8, heads={"verb": 3})
    assert all(tensor.equal(again.state_dict()[key]) for key, tensor in network.state_dict().items())


def test_a_network_that_cannot_be_built_is_a_setting() -> None:
    with pytest.raises(ConfigError, match=r"model: "):
        build_feature_network(_load(), feature_dim=0, heads={"verb": 3})


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("adapt.heads=[verbs]", r"adapt\.heads has 'verbs', which the network does not have; did you mean 'verb'\?"),
        ("adapt.discrepancy_at=[shared_2]", r"adapt\.discrepancy_at has 'shared_2', .*; did you mean 'shared_1'\?"),
    ],
)
def test_names_of_heads_and_features_are_held_against_the_network(setting: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_names(_load(setting), ["verb", "noun"])
    check_names(_load("adapt.heads=[noun]", "adapt.discrepancy_at=[video,shared_1,logits,verb]"), ["verb", "noun"])


def test_a_level_that_an_aggregation_lacks_is_told() -> None:
    assert advice(_load()) == ()
    (line,) = advice(_load("model.aggregation=rnn"))
    assert "model.aggregation=rnn has no relations: the video's discriminator counts twice" in line
    assert advice(_load("model.aggregation=rnn", "adapt.levels=[video,frame]")) == ()
