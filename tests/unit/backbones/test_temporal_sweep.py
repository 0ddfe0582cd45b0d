"""Every temporal module in every kind of block: the plain network's keys stay, and the network does all that a network does."""

from __future__ import annotations

import copy
import io
import pickle
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from zoopraxis.backbones import ImageBackbone, create_image_backbone
from zoopraxis.temporal import TEMPORAL

SIZE = 32
NUM_FRAMES = 4
NUM_HOSTS = {"test_resnet": 4, "resnet18": 8, "resnetv2_18": 8, "regnetx_002": 13, "test_convnext": 9, "test_vit": 6}
PAIRS = [(temporal, name) for name in NUM_HOSTS for temporal in TEMPORAL.names()]

compiled = pytest.mark.parametrize(  # one network for each kind of layer, to save time
    "hosted", [pair for pair in PAIRS if pair[1] in ("test_resnet", "test_convnext", "test_vit")], ids="-".join, indirect=True
)


@dataclass
class Hosted:
    """A network with a temporal module, and the same weights without."""

    network: ImageBackbone
    plain: ImageBackbone
    num_hosts: int


@pytest.fixture(scope="module", params=PAIRS, ids="-".join)
def hosted(request: pytest.FixtureRequest) -> Hosted:
    temporal, name = request.param
    args = {"img_size": SIZE} if name == "test_vit" else {}
    torch.manual_seed(0)
    plain = create_image_backbone(name, backbone_args=args)
    network = create_image_backbone(name, temporal=temporal, num_frames=NUM_FRAMES, backbone_args=args)
    _randomize(plain)
    network.load_state_dict(plain.state_dict(), strict=False)
    return Hosted(network.eval(), plain.eval(), NUM_HOSTS[name])


@pytest.fixture(scope="module")
def clips() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, NUM_FRAMES, 3, SIZE, SIZE, generator=generator)


def _randomize(network: nn.Module) -> None:
    """Give norms and layer scales other values than a fresh network's, in which residual branches count for nothing."""
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point() and tensor.ndim == 1:
                tensor.uniform_(0.5, 1.5) if "bias" not in name and "mean" not in name else tensor.normal_(0, 0.1)


def test_each_block_hosts_one_module_and_plain_keys_stay(hosted: Hosted) -> None:
    assert len(hosted.network.hosts) == len(set(hosted.network.hosts)) == hosted.num_hosts
    added = hosted.network.state_dict().keys() - hosted.plain.state_dict().keys()
    assert hosted.plain.state_dict().keys() <= hosted.network.state_dict().keys()
    assert all(".temporal." in key for key in added)


def test_frames_see_their_neighbors_and_clips_do_not(hosted: Hosted, clips: Tensor) -> None:
    with torch.inference_mode():
        both = hosted.network(clips)
        assert both.shape == (2, NUM_FRAMES, hosted.network.num_features)
        assert not torch.allclose(both, hosted.plain(clips), rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(hosted.network(clips[1:]), both[1:], rtol=1e-4, atol=1e-4)


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
        if isinstance(module, nn.BatchNorm2d):
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
    twin(clips[:, :3])
    assert torch.equal(hosted.network(clips), expected)


@compiled
def test_compiles_in_one_graph(hosted: Hosted, clips: Tensor) -> None:
    torch.compiler.reset()
    compiled = torch.compile(copy.deepcopy(hosted.network), backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(clips), hosted.network(clips))


@compiled
def test_exports_for_any_number_of_clips(hosted: Hosted, clips: Tensor) -> None:
    network = copy.deepcopy(hosted.network)
    exported = torch.export.export(network, (clips,), dynamic_shapes=({0: torch.export.Dim("num_clips", min=2, max=16)},))
    more = torch.cat([clips, clips[:1]])
    torch.testing.assert_close(exported.module()(more), hosted.network(more), rtol=1e-4, atol=1e-4)
