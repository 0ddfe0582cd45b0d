"""What every network can do in training: keep norms' statistics, and compute activations again."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from zoopraxis.errors import ConfigError
from zoopraxis.models import VideoModel, create_model
from zoopraxis.models.preprocessing import Preprocessing

LABELS = torch.tensor([0, 2])


@pytest.fixture
def clip() -> Tensor:
    return torch.randn(2, 2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def _create(backbone: str = "resnet18", **settings: object) -> VideoModel:
    torch.manual_seed(0)
    defaults = {"heads": {"label": 3}, "backbone": backbone, "num_segments": 2, "partial_bn": False, "dropout": 0.5}
    return create_model("tsn", **{**defaults, **settings})


def _step(model: VideoModel, clip: Tensor) -> Tensor:
    """One step of training; the loss before it."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    torch.manual_seed(1)
    loss = nn.functional.cross_entropy(model.train()(clip)["label"], LABELS)
    loss.backward()
    optimizer.step()
    return loss.detach()


def _statistics(model: nn.Module) -> list[Tensor]:
    return [buffer.clone() for norm in model.modules() if isinstance(norm, _BatchNorm) for buffer in norm.buffers()]


def test_frozen_norms_keep_their_statistics_while_their_parameters_learn(clip: Tensor) -> None:
    model = _create(freeze_norms=True, backbone_args={"zero_init_last": False})
    norms = [norm for norm in model.modules() if isinstance(norm, _BatchNorm)]
    statistics, weights = _statistics(model), [norm.weight.detach().clone() for norm in norms]
    _step(model, clip)
    assert all(torch.equal(before, after) for before, after in zip(statistics, _statistics(model), strict=True))
    assert not any(torch.equal(before, norm.weight) for before, norm in zip(weights, norms, strict=True))
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_norms_that_are_not_frozen_move(clip: Tensor) -> None:
    model = _create()
    before = _statistics(model)
    _step(model, clip)
    assert not any(torch.equal(old, new) for old, new in zip(before, _statistics(model), strict=True))


@pytest.mark.parametrize(("frozen", "num_learning"), [({"freeze_norms": True}, 0), ({"partial_bn": True}, 1)])
def test_frozen_norms_are_frozen_from_the_beginning(frozen: dict[str, bool], num_learning: int) -> None:
    """Nobody calls `train()` between building a network and its first step."""
    model = _create(**frozen)
    assert model.training
    assert sum(norm.training for norm in model.modules() if isinstance(norm, _BatchNorm)) == num_learning


def test_frozen_norms_stay_frozen_in_a_copy_and_through_evaluation() -> None:
    model = copy.deepcopy(_create(freeze_norms=True)).eval().train()
    assert not any(norm.training for norm in model.modules() if isinstance(norm, _BatchNorm))
    assert model.training


@pytest.mark.parametrize("backbone", ["resnet18", "test_vit"])
def test_activations_computed_again_give_the_same_loss_and_gradients(backbone: str, clip: Tensor) -> None:
    settings = {"backbone_args": {"img_size": 32}} if backbone == "test_vit" else {}
    plain = _create(backbone, **settings)
    again = copy.deepcopy(plain)
    again.set_grad_checkpointing()
    assert torch.equal(_step(plain, clip), _step(again, clip))
    for (name, expected), found in zip(plain.named_parameters(), again.parameters(), strict=True):
        assert expected.grad is not None
        assert torch.allclose(found.grad, expected.grad, rtol=1e-5, atol=1e-7), name


def test_a_backbone_that_cannot_compute_again_is_named() -> None:
    class Plain(nn.Module):
        pass

    model = VideoModel(Plain(), heads={"label": 3}, preprocessing=Preprocessing())
    wanted = r"Plain has no gradient checkpointing; set model\.grad_checkpointing=false"
    with pytest.raises(ConfigError, match=wanted):
        model.set_grad_checkpointing()


def test_frame_features_are_what_tsn_classifies_the_mean_of() -> None:
    model = _create("test_resnet", dropout=0.9).eval()
    clip = torch.randn(2, 3, 3, 32, 32)
    features = model.frame_features(clip)
    assert features.shape == (2, 3, model.num_features)
    torch.testing.assert_close(model.clip_features(clip), features.mean(dim=1))
    classifiers = model.classifiers
    assert isinstance(classifiers, nn.ModuleDict)
    torch.testing.assert_close(classifiers["label"](model.clip_features(clip)), model(clip)["label"])


def test_frame_features_with_temporal_modules_tell_of_neighbors() -> None:
    awake = {"backbone_args": {"zero_init_last": False}}  # else the branch that hosts the shift is zero at birth
    model = create_model("tsm", heads={"label": 3}, backbone="test_resnet", num_segments=2, **awake).eval()
    clip = torch.randn(1, 2, 3, 32, 32)
    other = torch.cat([clip[:, :1], torch.randn(1, 1, 3, 32, 32)], dim=1)
    assert model.mixes_frames
    assert not torch.allclose(model.frame_features(clip)[:, 0], model.frame_features(other)[:, 0])
    plain = _create("test_resnet").eval()
    assert not plain.mixes_frames
    torch.testing.assert_close(plain.frame_features(clip)[:, 0], plain.frame_features(other)[:, 0])


def test_networks_over_clips_have_features_of_clips_only() -> None:
    tiny = {"widths": [8, 8, 8, 16, 16], "num_segments": 4}
    model = create_model("r2plus1d", heads={"label": 3}, backbone="r10", **tiny).eval()
    clip = torch.randn(2, 4, 3, 32, 32)
    torch.testing.assert_close(model.classifiers["label"](model.clip_features(clip)), model(clip)["label"])
    with pytest.raises(ConfigError, match="sees whole clips and has no features of frames; take those of clips"):
        model.frame_features(clip)
    pooled = create_model("tsm", heads={"label": 3}, backbone="resnet18", num_segments=4, temporal_pool=True).eval()
    assert pooled.clip_features(clip).shape == (2, 512)
    with pytest.raises(ConfigError, match="halves the number of frames, so that they have no features each"):
        pooled.frame_features(clip)
