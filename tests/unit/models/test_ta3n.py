"""TA3N from clips: what reaches the image network, whose norms see what, where its weights come from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from zoopraxis.adaptation.network import AdaptationNetwork, DomainOutput
from zoopraxis.errors import CheckpointError, ConfigError
from zoopraxis.models import create_model, initialize, load_model, save_model
from zoopraxis.models.parameter_groups import parameter_groups
from zoopraxis.models.ta3n import TA3N

HEADS = {"verb": 3, "noun": 4}
SMALL = {"backbone": "test_resnet", "shared_dim": 16, "relation_dim": 8, "dropout": 0.0, "video_dropout": 0.0}


def _create(**settings: Any) -> TA3N:
    torch.manual_seed(0)
    model = create_model("ta3n", heads=HEADS, **{**SMALL, **settings})
    assert isinstance(model, TA3N)
    for parameter in model.adaptation.parameters():  # the published 0.001 leaves little to tell clips by
        if parameter.ndim == 2:
            nn.init.normal_(parameter, 0, 0.3)
    return model


@pytest.fixture(scope="module")
def clips() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(3, 5, 3, 32, 32, generator=generator), 1 + torch.randn(4, 5, 3, 32, 32, generator=generator)


def _numbers(output: DomainOutput) -> list[Tensor]:
    return [*output.logits.values(), *output.domain_logits.values(), *output.features.values()]


def test_it_is_the_network_of_adaptation_on_the_features_of_frames(clips: tuple[Tensor, Tensor]) -> None:
    model = _create().eval()
    source, target = (model.backbone(clip) for clip in clips)
    torch.testing.assert_close(model(clips[1]), model.adaptation(target), rtol=1e-4, atol=1e-5)
    for found, expected in zip(model.domains(*clips), model.adaptation.domains(source, target), strict=True):
        for one, other in zip(_numbers(found), _numbers(expected), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    described = model.describe(clips[0], "source").logits
    torch.testing.assert_close(described, model.adaptation.describe(source, "source").logits, rtol=1e-4, atol=1e-5)


def test_published_sizes_are_the_defaults() -> None:
    model = create_model("ta3n", heads=HEADS, backbone="resnet18")
    assert isinstance(model, TA3N)
    assert model.preprocessing.num_segments == 5
    assert model.adaptation.arguments == AdaptationNetwork(feature_dim=512, num_segments=5, heads=HEADS).arguments


def test_reversed_gradients_reach_the_image_network(clips: tuple[Tensor, Tensor]) -> None:
    def gradient(strengths: dict[Any, float]) -> Tensor | None:
        model = _create(attention="none").train()
        found = model.domains(*clips, strengths=strengths, levels=("video",))
        sum(output.domain_logits["video"][:, 0].sum() for output in found).backward()
        return next(model.backbone.parameters()).grad

    forward, reversed_ = gradient({"video": -1.0}), gradient({"video": 1.0})
    assert forward is not None
    assert reversed_ is not None
    assert forward.abs().max() > 0
    torch.testing.assert_close(reversed_, -forward)
    assert gradient({}) is None


def test_norms_see_both_domains_or_each_by_itself(clips: tuple[Tensor, Tensor]) -> None:
    source = clips[0]
    shared, apart = _create().train(), _create(share_norms=False).train()
    alone = _create().train().describe(source, "source").logits["verb"]
    torch.testing.assert_close(apart.domains(*clips)[0].logits["verb"], alone, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(shared.domains(*clips)[0].logits["verb"], alone, rtol=1e-2)
    means = [next(norm.running_mean for norm in m.modules() if isinstance(norm, nn.BatchNorm2d)) for m in (shared, apart)]
    assert means[0] is not None
    assert not torch.allclose(means[0], means[1], rtol=1e-3)


@pytest.mark.parametrize("frozen", [{"freeze_norms": True}, {"backbone": "test_convnext"}], ids=["frozen", "layer_norms"])
def test_norms_that_see_no_batch_make_no_difference(frozen: dict[str, Any], clips: tuple[Tensor, Tensor]) -> None:
    found = [_create(share_norms=is_shared, **frozen).train().domains(*clips) for is_shared in (True, False)]
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one.logits, other.logits, rtol=1e-4, atol=1e-5)


def test_clips_that_stand_in_for_the_target_are_seen_once(clips: tuple[Tensor, Tensor]) -> None:
    model, calls = _create(share_norms=False).train(), []
    model.backbone.register_forward_hook(lambda *_: calls.append(1))
    source, target = model.domains(clips[0], clips[0])
    assert len(calls) == 1
    torch.testing.assert_close(source.logits, target.logits)


def test_the_source_has_layers_of_its_own_where_parameters_are_not_shared(clips: tuple[Tensor, Tensor]) -> None:
    model = _create(share_parameters=False, prediction="frames").eval()
    as_target = model(clips[0])
    model.domain = "source"
    as_source = model(clips[0])
    assert {head: tuple(scores.shape) for head, scores in as_source.items()} == {"verb": (3, 3), "noun": (3, 4)}
    assert not torch.allclose(as_source["verb"], as_target["verb"], rtol=1e-2)
    frames = model.describe(clips[0], "source").logits["verb"]
    torch.testing.assert_close(as_source["verb"], frames.reshape(3, 5, 3).mean(1))


@pytest.mark.parametrize("kind", ["tsn", "trn"])
def test_the_backbone_starts_from_a_network_of_recognition(kind: str, tmp_path: Path, clips: tuple[Tensor, Tensor]) -> None:
    trained = create_model(kind, heads=HEADS, backbone="test_resnet", num_segments=8)
    file = save_model(trained, tmp_path / "trained.safetensors")
    model = _create()
    kept = initialize(model, file, is_backbone_only=True)
    assert set(kept) == {name for name in model.state_dict() if name.startswith("adaptation.")}
    torch.testing.assert_close(model.eval().backbone(clips[0]), trained.eval().backbone(clips[0]))


def test_another_backbone_is_refused(tmp_path: Path) -> None:
    other = create_model("tsn", heads=HEADS, backbone="test_convnext")
    file = save_model(other, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match=r"other\.safetensors is of another architecture than a TA3N network"):
        initialize(_create(), file, is_backbone_only=True)
    shifted = save_model(create_model("tsm", heads=HEADS, backbone="test_resnet"), tmp_path / "shifted.safetensors")
    with pytest.raises(CheckpointError, match=r"with the temporal module 'shift'.*start it from its own kind"):
        initialize(_create(), shifted, is_backbone_only=True)
    initialize(_create(temporal="shift"), shifted, is_backbone_only=True)


def test_relations_are_tied_to_the_number_of_frames(tmp_path: Path) -> None:
    file = save_model(_create(), tmp_path / "five.safetensors")
    assert load_model(file).architecture["num_segments"] == 5
    with pytest.raises(CheckpointError, match=r"has TA3N's relations for 5 frames, and num_segments is 4"):
        load_model(file, architecture={"num_segments": 4})
    average = save_model(_create(aggregation="average"), tmp_path / "average.safetensors")
    assert load_model(average, architecture={"num_segments": 4}).architecture["num_segments"] == 4


def test_all_parameters_are_in_a_group() -> None:
    model = _create(partial_bn=True)
    grouped = [parameter for group in parameter_groups(model) for parameter in group["params"]]
    assert {id(parameter) for parameter in grouped} == {id(p) for p in model.parameters() if p.requires_grad}
    assert len(grouped) == len({id(parameter) for parameter in grouped})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"aggregation": "mean"}, "TA3N cannot be built: unknown aggregation 'mean'; known: relations, relation, average"),
        ({"num_segments": 1}, r"TA3N cannot be built: num_segments \(1\) of relations must be 2 to 64"),
        ({"relation_dims": 8}, "model 'ta3n' has no argument 'relation_dims'; did you mean 'relation_dim'"),
        ({"share_norms": 1}, "argument 'share_norms' of model 'ta3n' must be true or false, not 1"),
        ({"temporal_args": {"shift_div": 4}}, "need a temporal module; give temporal="),
    ],
)
def test_bad_arguments_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _create(**settings)


def test_clips_that_do_not_go_together_are_refused(clips: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(ValueError, match=r"clips of the source have shape \(5, 3, 32, 32\).*the target \(4, 3, 32, 32\); cut"):
        _create().domains(clips[0], clips[1][:, :4])
    with pytest.raises(ValueError, match=r"aggregation='relations' is made for 5 features a clip, not 4; give 5"):
        _create()(clips[0][:, :4])
