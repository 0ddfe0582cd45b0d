"""Building TSN and TSM: what they compute, what they freeze, what they refuse."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import nn

from tiny_models import TINY
from zoopraxis.errors import ConfigError
from zoopraxis.models import MODELS, Preprocessing, VideoModel, create_model, load_families

HEADS = {"verb": 5, "noun": 7}

load_families()


def _create(name: str = "tsn", **settings: Any) -> VideoModel:
    return create_model(name, **{"heads": HEADS, "backbone": "test_resnet", "num_segments": 4, **settings})


@pytest.mark.parametrize("name", MODELS.names())
def test_every_model_is_built_again_from_its_architecture_alone(name: str) -> None:
    model = create_model(name, **{"heads": HEADS, **TINY[name]})
    again = create_model(**json.loads(json.dumps(model.architecture)))
    assert again.state_dict().keys() == model.state_dict().keys()
    assert (again.heads, again.preprocessing) == (model.heads, model.preprocessing)


def test_order_of_frames_counts_for_tsm_only() -> None:
    torch.manual_seed(0)
    clip = torch.randn(1, 4, 3, 32, 32)
    tsn, tsm = _create("tsn").eval(), _create("tsm").eval()
    for norm in tsn.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
    tsm.load_state_dict(tsn.state_dict())
    torch.testing.assert_close(tsn(clip)["verb"], tsn(clip.flip(1))["verb"])
    assert not torch.allclose(tsm(clip)["verb"], tsm(clip.flip(1))["verb"], rtol=1e-3)
    assert torch.equal(tsm(clip)["verb"], _switch(_create("tsn", temporal="shift"), tsm)(clip)["verb"])


def _switch(model: VideoModel, weights: VideoModel) -> VideoModel:
    model.load_state_dict(weights.state_dict())
    return model.eval()


def test_scores_are_the_mean_of_the_frames_scores() -> None:
    model = _create().eval()
    clip = torch.randn(2, 6, 3, 32, 32)
    frames = torch.stack([model(clip[:, t : t + 1])["noun"] for t in range(6)])
    torch.testing.assert_close(model(clip)["noun"], frames.mean(0), rtol=1e-4, atol=1e-6)


def test_partial_batch_norm_freezes_all_but_the_first() -> None:
    model = _create(partial_bn=True)
    assert model.eval() is model
    assert model.train() is model
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert [norm.training for norm in norms] == [True] + [False] * (len(norms) - 1)
    assert [norm.weight.requires_grad for norm in norms] == [True] + [False] * (len(norms) - 1)
    frozen = norms[1].running_mean.clone()
    model(torch.randn(1, 4, 3, 32, 32))
    assert torch.equal(norms[1].running_mean, frozen)
    free = _create(partial_bn=False).train()
    assert all(module.training for module in free.modules())


def test_heads_begin_near_zero() -> None:
    model = _create(backbone="resnet18", heads={"label": 400})
    assert abs(float(model.classifiers["label"].weight.detach().std()) - 0.001) < 1e-4
    assert not model.classifiers["label"].bias.any()


def test_dropout_acts_in_training_only() -> None:
    model = _create(dropout=0.5, partial_bn=True)
    clip = torch.randn(1, 2, 3, 32, 32)
    model.eval()
    assert torch.equal(model(clip)["verb"], model(clip)["verb"])
    model.train()
    assert not torch.equal(model(clip)["verb"], model(clip)["verb"])


def test_flow_and_preprocessing_agree() -> None:
    model = _create(modality="flow", segment_length=5)
    assert model.preprocessing.in_channels == 10
    assert model(torch.randn(1, 4, 10, 32, 32))["verb"].shape == (1, 5)
    other = Preprocessing(mean=(0.5,), std=(0.5,), size=32, num_segments=4)
    assert _create(preprocessing=other).preprocessing is other
    with pytest.raises(ConfigError, match="the preprocessing has num_segments=4, but the model num_segments=8; give both"):
        _create(preprocessing=other, num_segments=8)


def test_class_names_are_numbers_at_first() -> None:
    assert _create().class_names["verb"] == ("verb 0", "verb 1", "verb 2", "verb 3", "verb 4")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "tsmm"}, "unknown model 'tsmm'; did you mean 'tsm'"),
        ({"shift_dvi": 8, "name": "tsm"}, "model 'tsm' has no argument 'shift_dvi'; did you mean 'shift_div'"),
        ({"shift_div": 1, "name": "tsm"}, r"shift_div \(1\) must be at least 2"),
        ({"temporal": "tma"}, "unknown temporal 'tma'; did you mean"),
        (
            {"temporal": "tam", "name": "tsm"},
            "this model has the temporal module 'shift', not 'tam'; use the model 'tsn' for others",
        ),
        ({"temporal_args": {"shift_div": 4}}, "need a temporal module; give temporal="),
        ({"heads": {}}, "a model needs at least one head"),
        ({"heads": {"verb": 0}}, "head 'verb' has 0 classes, but needs at least 1"),
        ({"heads": {"a.b": 3}}, "head name 'a.b' is taken, or is no word"),
        ({"heads": {"keys": 3}}, "head name 'keys' is taken"),
        ({"dropout": 1.0}, r"dropout \(1.0\) must be at least 0 and below 1"),
        ({"num_segments": 0}, r"num_segments \(0\) must be at least 1"),
        ({"modality": "rbg"}, "unknown modality 'rbg'; did you mean 'rgb'"),
    ],
)
def test_unknown_names_and_bad_values_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _create(**settings)
