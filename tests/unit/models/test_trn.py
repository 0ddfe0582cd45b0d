"""TRN: what it computes, what learns, and what it refuses."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from zoopraxis.errors import ConfigError
from zoopraxis.models import VideoModel, create_model
from zoopraxis.temporal.relation import draw_published_relations

HEADS = {"verb": 5, "noun": 7}
NUM_FRAMES = 4


def _create(**settings: Any) -> VideoModel:
    torch.manual_seed(0)
    model = create_model("trn", **{"heads": HEADS, "backbone": "test_resnet", "num_segments": NUM_FRAMES, **settings})
    nn.init.normal_(model.projection.weight, 0, 0.1)  # the published 0.001 leaves little to tell frames by
    return model


@pytest.fixture
def clips() -> Tensor:
    return torch.randn(3, NUM_FRAMES, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    "settings", [{}, {"relation_dropout": 0.6}, {"relation": "single"}], ids=["multi", "two_layers", "single"]
)
def test_every_layer_learns(settings: dict[str, Any], clips: Tensor) -> None:
    model = _create(**settings, dropout=0, partial_bn=False).train()
    for name, module in model.relation.named_modules():
        if isinstance(module, nn.Dropout):
            model.relation.set_submodule(name, nn.Identity())
    logits = model(clips)
    sum((scores * torch.randn(scores.shape)).sum() for scores in logits.values()).backward()
    assert all(p.grad is not None and p.grad.any() for p in [*model.projection.parameters(), *model.relation.parameters()])
    assert all(p.grad is not None for p in model.backbone.parameters())


def test_scores_depend_on_the_order_of_frames_and_not_on_the_batch(clips: Tensor) -> None:
    for settings in ({}, {"evaluation": "all"}, {"relation": "single"}):
        model = _create(**settings).eval()
        scores = model(clips)["verb"]
        assert torch.equal(model(clips)["verb"], scores)
        torch.testing.assert_close(model(clips[1:2])["verb"], scores[1:2], rtol=1e-4, atol=1e-5)
        assert not torch.allclose(model(clips.flip(1))["verb"], scores, rtol=1e-2)


def test_heads_share_one_relation_in_their_order(clips: Tensor) -> None:
    model, joint = _create().eval(), _create(heads={"label": 12}).eval()
    joint.load_state_dict(model.state_dict())
    logits = model(clips)
    assert list(logits) == ["verb", "noun"]
    assert torch.equal(torch.cat(list(logits.values()), dim=1), joint(clips)["label"])


def test_training_draws_by_torchs_seed(clips: Tensor) -> None:
    model = _create(dropout=0, partial_bn=False).train()
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.eval()
    torch.manual_seed(1)
    first, second = model(clips)["noun"], model(clips)["noun"]
    torch.manual_seed(1)
    assert torch.equal(model(clips)["noun"], first)
    assert not torch.equal(first, second)


def test_the_published_draws_repeat_by_seed(clips: Tensor) -> None:
    model = _create().eval()

    def scores(seed: int) -> Tensor:
        return model(clips, relations=draw_published_relations(NUM_FRAMES, np.random.RandomState(seed)))["verb"]

    assert torch.equal(scores(0), scores(0))
    assert not torch.allclose(scores(0), scores(1), rtol=1e-3)


def test_frozen_norms_are_those_of_tsn() -> None:
    trn, tsn = (create_model(name, heads=HEADS, backbone="test_resnet").train() for name in ("trn", "tsn"))
    for model in (trn, tsn):
        modes = [(norm.training, norm.weight.requires_grad) for norm in model.modules() if isinstance(norm, nn.BatchNorm2d)]
        assert modes == [(True, True)] + [(False, False)] * (len(modes) - 1)
    assert all(parameter.requires_grad for parameter in trn.relation.parameters())


def test_published_sizes_are_the_defaults() -> None:
    model = create_model("trn", heads=HEADS, backbone="resnet18")
    assert model.projection.weight.shape == (256, 512)
    assert abs(float(model.projection.weight.detach().std()) - 0.001) < 1e-4
    assert model.dropout.p == 0.7
    assert model.relation.fc_fusion_scales[0][1].weight.shape == (256, 8 * 256)
    single = create_model("trn", heads=HEADS, backbone="resnet18", relation="single")
    assert single.relation.classifier[1].weight.shape == (512, 8 * 256)


def test_a_temporal_module_in_the_backbone_changes_what_relations_see(clips: Tensor) -> None:
    plain, shifted = _create().eval(), _create(temporal="shift", temporal_args={"shift_div": 4}).eval()
    for norm in plain.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
    shifted.load_state_dict(plain.state_dict())
    assert not torch.allclose(shifted(clips)["verb"], plain(clips)["verb"], rtol=1e-2)


def test_compiles_and_exports(clips: Tensor) -> None:
    model = _create().eval()
    torch.compiler.reset()
    compiled = torch.compile(copy.deepcopy(model), backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(clips), model(clips))
    exported = torch.export.export(model, (clips,), dynamic_shapes=({0: torch.export.Dim("num_clips", min=2, max=16)},))
    torch.testing.assert_close(exported.module()(clips[:2]), model(clips[:2]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("num_frames", [3, 5])
def test_clips_of_another_length_are_refused(num_frames: int) -> None:
    with pytest.raises(ValueError, match=f"made for clips of 4 frames, not {num_frames}; sample 4 frames a clip"):
        _create()(torch.zeros(1, num_frames, 3, 32, 32))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"relation": "multi"}, "unknown relation 'multi' of TRN; did you mean 'multiscale'"),
        ({"evaluation": "mean"}, "cannot be built: unknown evaluation 'mean' of relations; known: expected, all, random"),
        ({"num_segments": 1}, r"cannot be built: num_frames \(1\) of a multi-scale relation must be 2 to 64"),
        ({"img_feature_dim": 0}, r"feature_dim \(0\) of a relation must be at least 1"),
        ({"bottleneck": 0}, r"bottleneck \(0\) of a relation must be at least 1"),
        ({"relation": "single", "evaluation": "all"}, "choose for the multi-scale relation; leave them out"),
        ({"temporal_args": {"shift_div": 4}}, "need a temporal module; give temporal="),
    ],
)
def test_bad_arguments_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _create(**settings)
