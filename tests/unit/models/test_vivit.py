"""ViViT and TimeSformer: what they start from, what they take, and what they refuse."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from tiny_models import TINY
from zoopraxis.errors import CheckpointError, ConfigError
from zoopraxis.models import VideoModel, create_model, initialize, load_model, save_model
from zoopraxis.models.vit_family import joint_grid

FORMS = ("b16x2_fe", "b16x2_joint", "b16")
HEADS = {"verb": 3, "noun": 4}
PUBLISHED_HEADS = {"verb": "head.linear1", "noun": "head.linear2"}


def _create(form: str = "b16x2_fe", **settings: Any) -> VideoModel:
    name = "timesformer" if form == "b16" else "vivit"
    tiny = {**TINY[name], "backbone": form, "num_segments": 8}
    if form == "b16x2_joint":
        del tiny["depth_temporal"]
    torch.manual_seed(0)
    return create_model(name, **{"heads": HEADS, **tiny, **settings})


def _clip(num_frames: int = 8, height: int = 32, width: int = 32) -> Tensor:
    return torch.randn(2, num_frames, 3, height, width, generator=torch.Generator().manual_seed(1))


def _publish(model: VideoModel, path: Path) -> Path:
    """A checkpoint as its publisher would have written it, without a configuration."""
    tensors = {}
    for key, tensor in model.state_dict().items():
        kind, _, rest = key.partition(".")
        head, _, part = rest.partition(".")
        if kind == "backbone":
            tensors[key] = tensor
        elif kind == "classifiers":
            tensors[f"{PUBLISHED_HEADS[head]}.{part}"] = tensor
        else:
            tensors[f"head.pre_logits{1 + list(HEADS).index(head)}.fc.{part}"] = tensor
    torch.save({"epoch": 1, "model_state": tensors}, path)
    return path


@pytest.fixture(scope="module")
def image_network() -> nn.Module:
    torch.manual_seed(0)
    network = timm.create_model(
        "vit_tiny_patch16_224", img_size=32, patch_size=8, embed_dim=16, depth=2, num_heads=2, num_classes=5
    )
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return network.eval()


@pytest.fixture(scope="module")
def image_weights(image_network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "vit.pth"
    torch.save(image_network.state_dict(), path)
    return path


@pytest.mark.parametrize("form", FORMS)
def test_every_parameter_learns(form: str) -> None:
    model = _create(form, has_pre_logits=True).train()
    sum(scores.square().sum() for scores in model(_clip()).values()).backward()
    idle = [name for name, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert idle == []


@pytest.mark.parametrize("form", FORMS)
def test_gradient_checkpointing_changes_nothing(form: str) -> None:
    plain = _create(form, drop_path=0.5, ffn_dropout=0.5, dropout=0.5).train()
    other = copy.deepcopy(plain)
    other.set_grad_checkpointing()
    gradients = []
    for model in (plain, other):
        torch.manual_seed(1)
        sum(scores.square().sum() for scores in model(_clip()).values()).backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(*gradients, strict=True))


@pytest.mark.parametrize("form", FORMS)
def test_clips_of_other_lengths_and_sizes_are_taken_and_order_counts(form: str) -> None:
    model = _create(form).eval()
    for clip in (_clip(), _clip(4), _clip(8, 48, 16), _clip(12, 40, 40)):
        scores, reversed_scores = model(clip), model(clip.flip(1))
        assert scores["verb"].shape == (2, 3)
        assert not torch.allclose(scores["verb"], reversed_scores["verb"])


@pytest.mark.parametrize("form", FORMS)
def test_a_longer_clip_of_a_larger_size_sees_resized_positions(form: str) -> None:
    small = _create(form).eval()
    large = _create(form, num_segments=12, image_size=48).eval()
    adapted = copy.deepcopy(large)
    adapted.load_state_dict({**small.state_dict(), **_positions(small, large)})
    clip = _clip(12, 48, 48)
    torch.testing.assert_close(small(clip), adapted(clip))


def _positions(small: VideoModel, large: VideoModel) -> dict[str, Tensor]:
    from zoopraxis.models.build import MODELS

    adapt = MODELS.get(small.architecture["name"]).adapt
    assert adapt is not None
    adapted = adapt(large, small.state_dict())
    return {key: tensor for key, tensor in adapted.items() if key.endswith("_embd")}


@pytest.mark.parametrize("form", FORMS)
def test_training_starts_from_weights_of_another_length_and_size(form: str, tmp_path: Path) -> None:
    small, large = _create(form).eval(), _create(form, num_segments=12, image_size=48, heads={"verb": 3, "other": 9}).eval()
    kept = initialize(large, save_model(small, tmp_path / "small.safetensors"))
    assert kept == ["classifiers.other.weight", "classifiers.other.bias"]
    clip = _clip(12, 48, 48)
    torch.testing.assert_close(large(clip)["verb"], small(clip)["verb"])


@pytest.mark.parametrize("form", FORMS)
def test_published_files_are_told_by_shapes(form: str, tmp_path: Path) -> None:
    numbers: dict[str, Any] = {"dim": 64, "num_heads": 1, "patch_size": 16, "mlp_ratio": 2.0, "has_pre_logits": True}
    model = _create(form, **numbers, image_size=224).eval()
    loaded = load_model(_publish(model, tmp_path / "published.pyth"))
    assert loaded.architecture["num_segments"] == 8
    assert loaded.architecture["image_size"] == 224
    clip = _clip()
    torch.testing.assert_close(loaded(clip), model(clip))


def test_a_file_of_another_length_than_given_is_refused(tmp_path: Path) -> None:
    path = _publish(_create(dim=64, num_heads=1), tmp_path / "published.pyth")
    with pytest.raises(CheckpointError, match=r"backbone\.temp_embd is \(1, 5, 64\) where \(1, 9, 64\) is needed"):
        load_model(path, architecture={"num_segments": 16})


@pytest.mark.parametrize("way", ["central_frame", "average"])
def test_frames_are_first_seen_as_by_the_image_network(image_network: nn.Module, image_weights: Path, way: str) -> None:
    model = _create(tubelet_init=way).eval()
    kept = initialize(model, image_weights)
    assert not any(key.startswith(("backbone.layers.", "backbone.norm.", "backbone.stem.")) for key in kept)
    clip = _clip()
    tubelets = clip.unflatten(1, (-1, 2))
    frames = tubelets[:, :, 1] if way == "central_frame" else tubelets.mean(dim=2)
    seen: list[Tensor] = []
    model.backbone.norm.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    model(clip)
    torch.testing.assert_close(seen[0], image_network.forward_features(frames.flatten(0, 1))[:, 0])


@pytest.mark.parametrize("form", ["b16x2_joint", "b16"])
def test_a_clip_of_one_moment_is_first_seen_as_by_the_image_network(
    image_network: nn.Module, image_weights: Path, form: str
) -> None:
    tubelet_size = 1 if form == "b16" else 2
    model = _create(form, num_segments=tubelet_size).eval()
    initialize(model, image_weights)
    clip = _clip(tubelet_size)
    expected = image_network.forward_features(clip[:, tubelet_size // 2])[:, 0]
    torch.testing.assert_close(model.backbone(clip), expected)
    longer = _create(form).eval()
    initialize(longer, image_weights)
    moments = longer.backbone.pos_embd[0, 1:].unflatten(0, (-1, 16))
    assert torch.equal(moments, moments[:1].expand_as(moments))


def test_positions_and_channels_of_an_image_network_are_fitted(image_weights: Path) -> None:
    model = _create(image_size=48, modality="flow", segment_length=5)
    initialize(model, image_weights)
    assert model.backbone.pos_embd.shape == (1, 37, 16)
    kernel = model.backbone.stem.conv1.weight
    assert kernel.shape[1] == 10
    assert torch.equal(kernel[:, 0], kernel[:, 9])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"depth": 3}, r"the image network has nothing for layers\.2\.norm\.weight; name weights of a ViT of as many blocks"),
        ({"depth": 1}, r"more than the video network takes \(layers\.1\.norm1?\.weight\); name one of as many blocks"),
        ({"dim": 8}, r"cls_token is \(1, 1, 16\) where \(1, 1, 8\) is needed"),
        ({"patch_size": 16}, r"stem\.conv1\.weight is \(16, 3, 2, 8, 8\) where \(16, 3, 2, 16, 16\) is needed"),
    ],
)
def test_image_networks_of_other_sizes_are_refused(image_weights: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        initialize(_create(**settings), image_weights)


def test_other_image_networks_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "resnet.pth"
    torch.save(timm.create_model("test_resnet").state_dict(), path)
    with pytest.raises(
        CheckpointError, match=r"is not of a plain ViT of timm; name weights of one, e\.g\. vit_base_patch16_224"
    ):
        initialize(_create(), path)


@pytest.mark.parametrize(
    ("form", "settings", "message"),
    [
        ("b16x2_fe", {"num_segments": 7}, r"num_frames \(7\) must be divisible by tubelet_size \(2\); try 6 or 8"),
        ("b16x2_joint", {"image_size": 36}, r"image_size \(36\) must be divisible by patch_size \(8\); try 32 or 40"),
        ("b16", {"image_size": 36}, r"image_size \(36\) must be divisible by patch_size \(8\); try 32 or 40"),
        ("b16", {"num_heads": 3}, r"dim \(16\) must be divisible by num_heads \(3\); try dim=18"),
        ("b16x2_fe", {"depth": 0}, r"depth \(0\) must be a whole number above 0; try 12"),
        ("b16x2_fe", {"drop_path": 1.0}, r"drop_path \(1\.0\) must be at least 0 and below 1"),
        ("b16x2_fe", {"tubelet_init": "middle"}, r"unknown tubelet_init 'middle'"),
        ("b16x2_joint", {"depth_temporal": 1}, r"variant 'b16x2_joint' has no layers in time; leave depth_temporal out"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(form: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _create(form, **settings)


def test_a_clip_that_tubelets_do_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match=r"num_frames \(7\) must be divisible by tubelet_size \(2\); try 6 or 8"):
        _create()(_clip(7))


def test_maps_and_embeddings_start_small() -> None:
    model = _create("b16x2_fe", dim=64)
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1 and "conv1" not in name and parameter.numel() > 512:
            assert float(parameter.detach().std()) == pytest.approx(0.02, rel=0.15), name


def test_the_grid_of_joint_positions() -> None:
    assert joint_grid(8 * 196, length=8, side=0) == (8, 14, 14)
    assert joint_grid(8 * 196, length=-1, side=14) == (8, 14, 14)
    assert joint_grid(7, length=2, side=2) == (7, 1, 1)
