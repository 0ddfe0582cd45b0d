"""Sharding: each block of a network is a unit, the numbers stay, and settings that do not go with it are refused."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from tiny_models import TINY
from zoopraxis.config.schema import TrainConfig
from zoopraxis.errors import ConfigError
from zoopraxis.models import create_model
from zoopraxis.training.sharding import check_sharding, shard


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[DeviceMesh]:
    """One process."""
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'group'}", rank=0, world_size=1)
    try:
        yield init_device_mesh("cpu", (1,))
    finally:
        distributed.destroy_process_group()


@pytest.mark.parametrize(
    ("name", "arguments", "units"),
    [
        ("vivit", TINY["vivit"], {"backbone.layers.0", "backbone.layers.1", "backbone.layers_temporal.0"}),
        ("timesformer", TINY["timesformer"], {"backbone.layers.0", "backbone.layers.1"}),
        ("tadaformer", TINY["tadaformer"], {"backbone.layers.0", "backbone.layers.1"}),
        (
            "tadaconvnextv2",
            TINY["tadaconvnextv2"],
            {"backbone.stages.0.0", "backbone.stages.1.0", "backbone.stages.2.0", "backbone.stages.2.1", "backbone.stages.3.0"},
        ),
        ("tsm", {"backbone": "test_resnet"}, set()),
    ],
)
def test_each_block_is_a_unit_and_the_numbers_stay(
    name: str, arguments: dict[str, Any], units: set[str], mesh: DeviceMesh
) -> None:
    torch.manual_seed(0)
    model = create_model(name, heads={"verb": 3, "noun": 5}, **{"num_segments": 8, "pretrained": False, **arguments})
    sharded = copy.deepcopy(model)
    shard(sharded, mesh)
    assert {path for path, module in sharded.named_modules() if isinstance(module, FSDPModule)} == {"", *units}
    assert all(isinstance(parameter, DTensor) for parameter in sharded.parameters())
    clip = torch.randn(2, 8, 3, 32, 32)
    gradients = []
    for network in (model, sharded):
        network.eval()
        logits = network(clip)
        torch.stack([values.square().sum() for values in logits.values()]).sum().backward()
        found = {path: parameter.grad for path, parameter in network.named_parameters() if parameter.grad is not None}
        gradients.append({path: grad.full_tensor() if isinstance(grad, DTensor) else grad for path, grad in found.items()})
    assert gradients[0].keys() == gradients[1].keys()
    assert all(torch.allclose(gradients[1][path], grad, rtol=1e-4, atol=1e-6) for path, grad in gradients[0].items())
    assert all(isinstance(parameter, DTensor) for parameter in sharded.cpu().parameters())  # as a trainer that is done does


@pytest.mark.parametrize(
    ("trainer", "changes", "message"),
    [
        ({"strategy": "fsdp"}, {}, r"trainer\.strategy=fsdp: networks are sharded by FSDP2 only; use trainer\.strategy=fsdp2"),
        ({"strategy": "fsdp2"}, {"ema": 0.9}, r"ema\.decay=0\.9 cannot be had with trainer\.strategy=fsdp2; set ema\.decay=0"),
        (
            {"strategy": "fsdp2"},
            {"compile": True},
            r"compile=true cannot be had with trainer\.strategy=fsdp2; set compile=false",
        ),
        ({"strategy": "fsdp2", "sync_batchnorm": True}, {}, r"trainer\.sync_batchnorm=true cannot be had with"),
    ],
)
def test_what_does_not_go_with_sharding_is_refused(trainer: dict[str, Any], changes: dict[str, Any], message: str) -> None:
    config = TrainConfig()
    config.trainer |= trainer
    config.compile = changes.get("compile", False)
    config.ema.decay = changes.get("ema", 0.0)
    with pytest.raises(ConfigError, match=message):
        check_sharding(config)


def test_other_strategies_keep_their_freedom() -> None:
    config = TrainConfig()
    config.trainer |= {"strategy": "ddp", "sync_batchnorm": True}
    config.compile, config.ema.decay = True, 0.9
    check_sharding(config)
