"""Every temporal module in every kind of block: the plain network's keys stay, and the network does all that a network does."""

from __future__ import annotations

import copy
import io
import pickle
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from zoopraxis.backbones import ImageBackbone, create_image_backbone
from zoopraxis.temporal import TEMPORAL, Layout, TemporalKind

SIZE = 32
NUM_FRAMES = 4


@dataclass(frozen=True)
class Network:
    """What a plain network offers: blocks for each site, what they work on, and whether a plain batch norm follows them."""

    branch_input: int
    spatial_conv: int
    layout: Layout = "map"
    has_norm: bool = False
    args: dict[str, Any] = field(default_factory=dict)

    def takes(self, kind: TemporalKind) -> bool:
        has_sites = self.num_hosts(kind) > 0
        return has_sites and self.layout in kind.layouts and (kind.norm is None or self.has_norm)

    def num_hosts(self, kind: TemporalKind) -> int:
        return self.branch_input if kind.site == "branch_input" else self.spatial_conv


NETWORKS = {
    "test_resnet": Network(4, 4, has_norm=True),
    "resnetv2_18": Network(4, 4, args={"layers": (1, 1, 1, 1), "channels": (16, 16, 32, 32)}),
    "regnetx_002": Network(13, 13),
    "test_convnext2": Network(4, 4),
    "test_efficientnet": Network(0, 4),
    "mobilenetv3_small_050": Network(7, 11),
    "test_vit": Network(2, 2, layout="tokens", args={"img_size": SIZE, "depth": 2}),
}
PAIRS = [
    (temporal, name) for name, net in NETWORKS.items() for temporal in TEMPORAL.names() if net.takes(TEMPORAL.get(temporal))
]
TIED = ("tam",)
"""Modules that take clips of the length only for which they were built."""


def on_networks(*names: str) -> pytest.MarkDecorator:
    """Run a test on some networks only, to save time."""
    return pytest.mark.parametrize("hosted", [pair for pair in PAIRS if pair[1] in names], ids="-".join, indirect=True)


@dataclass
class Hosted:
    """A network with a temporal module, and the same weights without."""

    network: ImageBackbone
    plain: ImageBackbone
    num_hosts: int
    is_tied: bool


@pytest.fixture(scope="module", params=PAIRS, ids="-".join)
def hosted(request: pytest.FixtureRequest) -> Hosted:
    temporal, name = request.param
    args = NETWORKS[name].args
    torch.manual_seed(0)
    plain = create_image_backbone(name, backbone_args=args)
    network = create_image_backbone(name, temporal=temporal, num_frames=NUM_FRAMES, backbone_args=args)
    _randomize(plain)
    _randomize(network)
    network.load_state_dict(plain.state_dict(), strict=False)
    num_hosts = NETWORKS[name].num_hosts(TEMPORAL.get(temporal))
    return Hosted(network.eval(), plain.eval(), num_hosts, temporal in TIED)


@pytest.fixture(scope="module")
def clips() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, NUM_FRAMES, 3, SIZE, SIZE, generator=generator)


def _randomize(network: nn.Module) -> None:
    """Give norms, layer scales and temporal modules other values than a fresh network's, in which they count for nothing."""
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point() and tensor.ndim == 1:
                tensor.uniform_(0.5, 1.5) if "bias" not in name and "mean" not in name else tensor.normal_(0, 0.1)
            elif tensor.is_floating_point() and ".temporal." in name:
                tensor.normal_(0, 0.25 * tensor[0].numel() ** -0.5)


def test_each_block_hosts_one_module_and_plain_keys_stay(hosted: Hosted) -> None:
    assert len(hosted.network.hosts) == len(set(hosted.network.hosts)) == hosted.num_hosts
    added = hosted.network.state_dict().keys() - hosted.plain.state_dict().keys()
    assert hosted.plain.state_dict().keys() <= hosted.network.state_dict().keys()
    assert all(".temporal." in key for key in added)


def test_frames_see_their_neighbors_and_clips_do_not(hosted: Hosted, clips: Tensor) -> None:
    with torch.inference_mode():
        both = hosted.network(clips)
        assert both.shape == (2, NUM_FRAMES, hosted.network.num_features)
        assert not torch.allclose(both, hosted.plain(clips), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(hosted.network(clips[1:]), both[1:], rtol=1e-4, atol=1e-4)


def test_features_of_stages_and_maps_are_those_of_the_whole_network(hosted: Hosted, clips: Tensor) -> None:
    with torch.inference_mode():
        stages = hosted.network.forward_stages(clips)
        plain = hosted.plain.forward_stages(clips)
        maps = hosted.network.forward_maps(clips)
        assert [stage.shape for stage in stages] == [stage.shape for stage in plain]
        assert all(stage.shape[:2] == (2, NUM_FRAMES) and stage.ndim == 5 for stage in stages)
        assert not torch.allclose(stages[-1], plain[-1], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(hosted.network.forward_stages(clips[1:])[-1], stages[-1][1:], rtol=1e-4, atol=1e-4)
        assert maps.shape[:2] == (2, NUM_FRAMES)
        assert not torch.allclose(maps, hosted.plain.forward_maps(clips), rtol=1e-4, atol=1e-4)


def test_all_parameters_learn_and_checkpointing_changes_nothing(hosted: Hosted, clips: Tensor) -> None:
    network = copy.deepcopy(hosted.network)

    def gradients() -> dict[str, Tensor]:
        network.zero_grad()
        network(clips).square().mean().backward()
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())
        return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}

    usual = gradients()
    network.train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.eval()
    network.network.set_grad_checkpointing()
    torch.testing.assert_close(gradients(), usual, rtol=1e-3, atol=1e-5)


def test_copies_and_saved_networks_give_the_same(hosted: Hosted, clips: Tensor) -> None:
    expected = hosted.network(clips)
    assert torch.equal(copy.deepcopy(hosted.network)(clips), expected)
    assert torch.equal(pickle.loads(pickle.dumps(hosted.network))(clips), expected)
    buffer = io.BytesIO()
    torch.save(hosted.network.state_dict(), buffer)
    buffer.seek(0)
    other = copy.deepcopy(hosted.network)
    _randomize(other)
    other.load_state_dict(torch.load(buffer, weights_only=True))
    assert torch.equal(other(clips), expected)


def test_a_copy_has_its_own_clip_length(hosted: Hosted, clips: Tensor) -> None:
    twin = copy.deepcopy(hosted.network)
    expected = hosted.network(clips)
    if hosted.is_tied:
        with pytest.raises(ValueError, match=r"the clip has 3 frames, but .* all 4 frames"):
            twin(clips[:, :3])
    else:
        assert twin(clips[:, :3]).shape[:2] == (2, 3)
    assert torch.equal(hosted.network(clips), expected)


@on_networks("test_resnet", "test_convnext2", "test_vit")
def test_compiles_in_one_graph(hosted: Hosted, clips: Tensor) -> None:
    torch.compiler.reset()
    compiled = torch.compile(copy.deepcopy(hosted.network), backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(clips), hosted.network(clips))


@on_networks("test_resnet", "test_efficientnet", "test_vit")
def test_exports_for_any_number_of_clips(hosted: Hosted, clips: Tensor) -> None:
    network = copy.deepcopy(hosted.network)
    exported = torch.export.export(network, (clips,), dynamic_shapes=({0: torch.export.Dim("num_clips", min=2, max=16)},))
    more = torch.cat([clips, clips[:1]])
    torch.testing.assert_close(exported.module()(more), hosted.network(more), rtol=1e-4, atol=1e-4)
