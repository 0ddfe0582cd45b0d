"""S3D-G's backbone: shapes, the separable units, the gates, initial weights and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from zoopraxis.backbones.s3dg import MIXED_WIDTHS, S3DG, ChannelGate, PointwiseUnit, SeparableUnit

BLOCK = (4, 4, 6, 2, 4, 3)
TINY = {"stem_widths": (4, 4, 8), "mixed_widths": ((BLOCK,), (BLOCK, BLOCK), (BLOCK,))}


def _tiny(**settings: object) -> S3DG:
    torch.manual_seed(0)
    return S3DG(**{**TINY, **settings})


def test_stages_halve_time_and_space_as_published() -> None:
    network = _tiny().eval()
    maps = torch.randn(2, 3, 16, 64, 96)
    shapes = []
    for stage in (network.block1, network.block2, network.block3, network.block4, network.block5):
        maps = stage(maps)
        shapes.append(tuple(maps.shape[1:]))
    assert shapes == [(4, 8, 32, 48), (8, 8, 16, 24), (17, 8, 8, 12), (17, 4, 4, 6), (17, 2, 2, 3)]
    assert network(torch.randn(2, 16, 3, 64, 96)).shape == (2, network.num_features) == (2, 17)


def test_published_widths_give_1024_features() -> None:
    with torch.device("meta"):
        network = S3DG()
    assert network.num_features == 1024
    assert [len(stage) - 1 for stage in (network.block3, network.block4, network.block5)] == [len(s) for s in MIXED_WIDTHS]


def test_frames_are_seen_in_their_order() -> None:
    network = _tiny().eval()
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.kaiming_normal_(module.weight)
    clips = torch.randn(2, 8, 3, 32, 32)
    assert not torch.allclose(network(clips), network(clips.flip(1)), rtol=1e-3)


def test_a_gate_scales_each_channel_by_what_the_means_of_all_tell() -> None:
    gate = ChannelGate(2)
    with torch.no_grad():
        gate.fc.weight.copy_(torch.tensor([[0.0, 1.0], [0.0, 0.0]]))
        gate.fc.bias.zero_()
    maps = torch.randn(1, 2, 3, 4, 4)
    gated = gate(maps)
    torch.testing.assert_close(gated[:, 0], maps[:, 0] * torch.sigmoid(maps[:, 1].mean()))
    torch.testing.assert_close(gated[:, 1], maps[:, 1] * 0.5)


def test_norms_and_initial_weights_are_the_published_ones() -> None:
    network = _tiny(norm_eps=1e-2, stem_widths=(32, 32, 64))
    units = {kind: [m for m in network.modules() if isinstance(m, kind)] for kind in (SeparableUnit, PointwiseUnit)}
    assert {norm.eps for unit in units[SeparableUnit] for norm in (unit.bn1, unit.bn2)} == {1e-2}
    assert {unit.bn.eps for unit in units[PointwiseUnit]} == {1e-5}
    assert network.block2[2].conv1.weight.std().item() == pytest.approx(0.01, rel=0.05)


def test_without_gates_the_network_has_no_parameters_of_theirs() -> None:
    keys = _tiny(has_gates=False).state_dict().keys()
    assert not [key for key in keys if "gating" in key]
    assert _tiny().state_dict().keys() > keys


def test_gradient_checkpointing_changes_neither_gradients_nor_statistics() -> None:
    clips = torch.randn(2, 8, 3, 32, 32)
    found = []
    for enable in (False, True):
        network = _tiny().train()
        network.set_grad_checkpointing(enable)
        network(clips).sum().backward()
        found.append(([p.grad for p in network.parameters()], [b.clone() for b in network.buffers()]))
    for plain, again in zip(*found, strict=True):
        torch.testing.assert_close(again, plain)


@pytest.mark.parametrize("shape", [(4, 32, 32), (8, 32, 16)])
def test_clips_that_the_last_pool_would_swallow_are_refused(shape: tuple[int, int, int]) -> None:
    frames, height, width = shape
    message = rf"a clip of {frames} frames of {height} x {width} px is too small for S3D-G.*; give at least 5 frames of 17 px"
    with pytest.raises(ValueError, match=message):
        _tiny()(torch.zeros(1, frames, 3, height, width))
    assert _tiny().eval()(torch.zeros(1, 5, 3, 17, 17)).shape == (1, 17)


def test_tables_of_widths_of_another_form_are_refused() -> None:
    with pytest.raises(ValueError, match=r"widths \(4, 4\) and .* must be 3 positive numbers, and 3 stages of blocks of 6"):
        _tiny(stem_widths=(4, 4))
    with pytest.raises(ValueError, match=r"must be 3 positive numbers, and 3 stages of blocks of 6; the published ones are"):
        _tiny(mixed_widths=((BLOCK,), (BLOCK,), ((4, 4, 0, 2, 4, 3),)))
