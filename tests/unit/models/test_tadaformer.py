"""TAdaFormer: what it starts from, and what is told from published checkpoints."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from zoopraxis.errors import CheckpointError, ConfigError
from zoopraxis.models import VideoModel, create_model, load_model, save_model
from zoopraxis.models.checkpoints import initialize
from zoopraxis.models.preprocessing import Preprocessing
from zoopraxis.models.tadaformer import preprocessing_tadaformer

SMALL: dict[str, Any] = {"dim": 64, "depth": 2, "num_heads": 1, "patch_size": 8, "route_head_dim": 8}


def _preprocessing(size: int) -> Preprocessing:
    published = preprocessing_tadaformer("rgb", num_segments=8)
    return Preprocessing.from_dict(published.to_dict() | {"size": size, "resize": size})


def _model(size: int = 32, **more: Any) -> VideoModel:
    torch.manual_seed(0)
    arguments = {**SMALL, "heads": {"label": 3}, "num_segments": 8, "preprocessing": _preprocessing(size), **more}
    return create_model("tadaformer", **arguments).eval()


def _timm(size: int = 32) -> nn.Module:
    """timm's tower of CLIP, small, with norms and biases that count for something."""
    torch.manual_seed(1)
    sizes = {"embed_dim": 64, "depth": 2, "num_heads": 1, "patch_size": 8, "img_size": size}
    network: nn.Module = timm.create_model("vit_base_patch16_clip_quickgelu_224", num_classes=0, **sizes)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return network.eval()


def _openai(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """timm's tensors under OpenAI's names, beside a text tower."""
    renamed = {}
    for key, tensor in tensors.items():
        name = key.replace("blocks.", "transformer.resblocks.").replace("norm1", "ln_1").replace("norm2", "ln_2")
        name = name.replace("attn.qkv.", "attn.in_proj_").replace("attn.proj", "attn.out_proj")
        name = name.replace("mlp.fc1", "mlp.c_fc").replace("mlp.fc2", "mlp.c_proj").replace("patch_embed.proj", "conv1")
        name = name.replace("norm_pre", "ln_pre").replace("norm.", "ln_post.")
        name = name.replace("cls_token", "class_embedding").replace("pos_embed", "positional_embedding")
        renamed[f"visual.{name}"] = tensor.squeeze(0).squeeze(0) if name.endswith("embedding") else tensor
    text = {"transformer.resblocks.0.ln_1.weight": torch.ones(4), "positional_embedding": torch.ones(77, 4)}
    sizes = {"visual.proj": torch.ones(64, 4), "logit_scale": torch.ones(()), "input_resolution": torch.tensor(32)}
    return {**renamed, **text, **sizes, "token_embedding.weight": torch.ones(9, 4), "text_projection": torch.ones(4, 4)}


@pytest.fixture(scope="module")
def image() -> Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(2))


def _still(image: Tensor) -> Tensor:
    return image[:, None].expand(-1, 8, -1, -1, -1)


def test_pretrained_it_scores_a_still_clip_as_clip_does(image: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    tower = _timm()
    asked: list[str] = []

    def weights(name: str) -> dict[str, Tensor]:
        asked.append(name)
        return dict(tower.state_dict())

    monkeypatch.setattr("zoopraxis.models.build.image_weights", weights)
    model = _model(double_tada=True, temporal_enhancement=True, pretrained=True)
    assert asked == ["vit_base_patch16_clip_224.openai"]
    with torch.no_grad():
        torch.testing.assert_close(model.backbone(_still(image)), tower(image), rtol=1e-4, atol=1e-5)
        moving = torch.cat((_still(image)[:, :4], _still(image.flip(0))[:, 4:]), dim=1)
        assert not torch.allclose(model.backbone(moving), tower(image), rtol=1e-2)


@pytest.mark.parametrize("name", ["open_clip_pytorch_model.bin", "open_clip_model.safetensors", "timm.safetensors"])
def test_it_starts_from_a_file_of_clip(name: str, image: Tensor, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    tower = _timm()
    tensors = dict(tower.state_dict()) if name.startswith("timm") else _openai(tower.state_dict())
    contiguous = {key: tensor.contiguous() for key, tensor in tensors.items()}
    path = tmp_path / name
    save_file(contiguous, path) if path.suffix == ".safetensors" else torch.save(contiguous, path)
    model = _model()
    kept = initialize(model, path)
    assert {key for key in kept if ".tada." not in key} == {"classifiers.label.weight", "classifiers.label.bias"}
    with torch.no_grad():
        torch.testing.assert_close(model.backbone(_still(image)), tower(image), rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore:`torch.jit.*` is deprecated:FutureWarning")
def test_it_starts_from_an_archive_as_openai_publishes(image: Tensor, tmp_path: Path) -> None:
    tower = _timm()
    path = tmp_path / "ViT-B-16.pt"
    torch.jit.script(_Tensors(_openai(tower.state_dict()))).half().save(path)
    model = _model()
    initialize(model, path)
    assert model.backbone.conv1.weight.dtype == torch.float32
    with torch.no_grad():
        torch.testing.assert_close(model.backbone(_still(image)), tower(image), rtol=0.05, atol=0.05)


class _Tensors(nn.Module):
    """A module whose state has given keys."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        for name in sorted({key.partition(".")[0] for key in tensors}):
            if name in tensors:
                self.register_buffer(name, tensors[name])
            else:
                inner = {key.partition(".")[2]: value for key, value in tensors.items() if key.startswith(f"{name}.")}
                self.add_module(name, _Tensors(inner))


def test_positions_are_resized_to_the_network(image: Tensor, tmp_path: Path) -> None:
    tower = _timm(size=64)
    tensors = dict(tower.state_dict())
    tensors["pos_embed"][:, 1:] = 0.25
    path = tmp_path / "clip.pt"
    torch.save(tensors, path)
    model = _model()
    initialize(model, path)
    positions = model.backbone.positional_embedding
    torch.testing.assert_close(positions[0], tensors["pos_embed"][0, 0])
    torch.testing.assert_close(positions[1:], torch.full((16, 64), 0.25))
    own = save_model(model, tmp_path / "own.safetensors")
    larger = _model(size=48)
    assert initialize(larger, own) == []
    torch.testing.assert_close(larger.backbone.positional_embedding[1:], torch.full((36, 64), 0.25))


def test_kernels_are_widened_for_other_channels(tmp_path: Path) -> None:
    path = tmp_path / "clip.pt"
    torch.save(_timm().state_dict(), path)
    flow = preprocessing_tadaformer("flow", num_segments=8, segment_length=2)
    flow = Preprocessing.from_dict(flow.to_dict() | {"size": 32})
    model = _model(modality="flow", segment_length=2, preprocessing=flow)
    initialize(model, path)
    kernel = model.backbone.conv1.weight
    assert kernel.shape == (64, 4, 3, 8, 8)
    assert not kernel[:, :, [0, 2]].any()
    torch.testing.assert_close(kernel[:, 0, 1], kernel[:, 3, 1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"blocks.2.norm1.weight": torch.ones(64)},
            r"of 3 layers, 64 features and patches of 8 px, and the network of 2 layers",
        ),
        ({"norm.bias": None}, r"they differ in ln_post\.bias; name weights of the same sizes"),
        ({"blocks.0.ls1.gamma": torch.ones(64)}, r"blocks\.0\.ls1\.gamma is no part of CLIP's visual tower"),
        ({"norm_pre.weight": None}, r"an image network without ln_pre\.weight is no visual tower of CLIP; name a vision"),
    ],
)
def test_other_towers_are_refused(change: dict[str, Tensor | None], message: str, tmp_path: Path) -> None:
    tensors = {**_timm().state_dict(), **change}
    path = tmp_path / "tower.pt"
    torch.save({key: tensor for key, tensor in tensors.items() if tensor is not None}, path)
    with pytest.raises(CheckpointError, match=message):
        initialize(_model(), path)


def test_a_published_checkpoint_tells_its_network(tmp_path: Path) -> None:
    forms = {"double_tada": True, "temporal_enhancement": True, "reduction": 4, "route_kernels": [3, 1], "projection": 24}
    model = _model(heads={"verb": 4, "noun": 5}, num_heads=2, tubelet_size=5, has_pre_logits=True, route_head_dim=8, **forms)
    published = {key: tensor for key, tensor in model.state_dict().items() if key.startswith("backbone.")}
    for number, head in enumerate(("verb", "noun"), start=1):
        for part in ("weight", "bias"):
            published[f"head.linear{number}.{part}"] = model.state_dict()[f"classifiers.{head}.{part}"]
            published[f"head.pre_logits{number}.fc.{part}"] = model.state_dict()[f"pre_logits.{head}.{part}"]
    backbone = {"NUM_HEADS": 2, "TUBLET_STRIDE": 2, "DROP_PATH": 0.2}
    settings = {"VIDEO": {"BACKBONE": backbone}, "DATA": {"NUM_INPUT_FRAMES": 8}}
    path = tmp_path / "published.pyth"
    torch.save({"model_state": published, "cfg": json.dumps(settings)}, path)
    loaded = load_model(path, architecture={"route_head_dim": 8})
    told = {"backbone": "b16", "image_size": 32, "dim": 64, "depth": 2, "num_heads": 2, "patch_size": 8, "drop_path": 0.2}
    assert {**told, **forms, "has_pre_logits": True, "tubelet_size": 5}.items() <= loaded.architecture.items()
    clip = torch.randn(1, 8, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(loaded(clip), model(clip))


def test_an_incomplete_checkpoint_is_refused(tmp_path: Path) -> None:
    state = _model().state_dict()
    for missing, message in (
        ("conv1.weight", r"conv1\.weight is missing, which every TAdaFormer has; is the file whole\?"),
        (None, r"positional_embedding has 16 positions, which are no square frame and a class token"),
    ):
        tensors = {key: value for key, value in state.items() if key != f"backbone.{missing}" and key.startswith("backbone.")}
        if missing is None:
            tensors["backbone.positional_embedding"] = tensors["backbone.positional_embedding"][:16]
        torch.save({"model_state": tensors}, tmp_path / "broken.pyth")
        with pytest.raises(CheckpointError, match=message):
            load_model(tmp_path / "broken.pyth")


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"image_size": 225}, r"image_size \(225\) must be divisible by patch_size \(14\); try 224 or 238"),
        ({"route_head_dim": 60}, r"TAdaFormer cannot be built: head_dim \(60\) must divide the 256 hidden channels"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(sizes: dict[str, int], message: str) -> None:
    with torch.device("meta"), pytest.raises(ConfigError, match=message):
        create_model("tadaformer", backbone="l14", heads={"label": 2}, **sizes)
