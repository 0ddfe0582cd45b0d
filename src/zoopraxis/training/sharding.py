"""Networks that do not fit one device: their weights, gradients and optimizer states split over all devices (FSDP2).

`trainer.strategy=fsdp2` chooses it. Each block of a network is a unit of its own, gathered when it computes and let go behind
it; the batch is split as in data parallel training, so that losses and weights are the same as without.

A checkpoint is one file with the whole network, as of any other run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import distributed, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.optim import Optimizer

from zoopraxis.config.schema import TrainConfig
from zoopraxis.errors import ConfigError
from zoopraxis.training.checkpoints import read_checkpoint
from zoopraxis.training.system import RecognitionSystem

__all__ = ["FSDP2", "ShardedStrategy", "ShardedSystem", "check_sharding", "shard"]

FSDP2 = "fsdp2"
"""What `trainer.strategy` is set to for sharding."""

_BLOCK_LISTS = ("layers", "layers_temporal", "stages", "blocks", "resblocks")


class ShardedSystem(RecognitionSystem):
    """The recognition system with a network that is split over the strategy's devices."""

    def configure_model(self) -> None:
        if not isinstance(self.model, FSDPModule):
            assert self.device_mesh is not None
            shard(self.model, self.device_mesh["data_parallel"])


class ShardedStrategy(ModelParallelStrategy):
    """Data parallel training over all processes with sharded weights, and whole checkpoints.

    Every process builds the same network, by the same seed, and keeps its part. A checkpoint is that of any other strategy: a
    run may go on with or without sharding.

    Differs: Lightning's own takes the devices of a node for tensor parallel work, reads checkpoints with whatever they would
    run, and numbers the parameters of optimizer states in another order than torch does. Batch norms' running statistics, which
    it leaves to each process, are those of the first one here, as they are in distributed data parallel training.
    """

    def __init__(self) -> None:
        super().__init__(tensor_parallel_size=1, save_distributed_checkpoint=False)

    def setup_environment(self) -> None:
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()

    def load_checkpoint(self, checkpoint_path: str | Path, weights_only: bool | None = None) -> dict[str, Any]:
        """The contents of a checkpoint, whose weights and optimizer states go to the devices.

        Raises:
            CheckpointError: If the file is missing, broken, or holds more than tensors and plain values.
        """
        assert self.model is not None
        checkpoint = read_checkpoint(self.broadcast(checkpoint_path))
        options = StateDictOptions(full_state_dict=True)
        set_model_state_dict(self.model, checkpoint["state_dict"], options=options)
        names = {id(parameter): name for name, parameter in self.model.named_parameters()}
        for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            own = [names[id(parameter)] for group in optimizer.param_groups for parameter in group["params"]]
            set_optimizer_state_dict(self.model, optimizer, _rekeyed(state, dict(enumerate(own))), options=options)
        return checkpoint

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """The whole state of an optimizer in torch's own form, on the CPU of the first process; empty on the others."""
        assert self.model is not None
        plain = optimizer.optimizer if isinstance(optimizer, LightningOptimizer) else optimizer
        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        state: Mapping[str, Any] = get_optimizer_state_dict(self.model, plain, options=options)
        names = [name for group in state.get("param_groups", []) for name in group["params"]]
        return _rekeyed(state, {name: number for number, name in enumerate(names)}) if names else {}

    def on_validation_start(self) -> None:
        self._share_buffers()

    def on_test_start(self) -> None:
        self._share_buffers()

    def _share_buffers(self) -> None:
        assert self.model is not None
        for buffer in self.model.buffers():
            distributed.broadcast(buffer, 0)


def _rekeyed(state: Mapping[str, Any], keys: Mapping[Any, Any]) -> dict[str, Any]:
    """An optimizer's state with other keys for its parameters."""
    groups = [{**group, "params": [keys[key] for key in group["params"]]} for group in state["param_groups"]]
    return {"state": {keys[key]: value for key, value in state["state"].items()}, "param_groups": groups}


def shard(model: nn.Module, mesh: DeviceMesh) -> None:
    """Split a network over the devices of a mesh, block by block, and what lies outside its blocks as one unit.

    Blocks are found in the lists called `layers`, `layers_temporal`, `stages`, `blocks` or `resblocks`; a network without such
    lists is one unit.

    Args:
        model: The network, on any device; it is changed in place. All processes must hold the same weights.
        mesh: One dimension.
    """
    for name, module in reversed(list(model.named_modules())):  # what lies inside another comes before it
        if name.rpartition(".")[2] in _BLOCK_LISTS and isinstance(module, nn.ModuleList | nn.Sequential):
            for block in _blocks(module):
                if not isinstance(block, FSDPModule):
                    fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    """The members of lists, and of the lists in them, that have weights."""
    for child in module.children():
        if isinstance(child, nn.ModuleList | nn.Sequential):
            yield from _blocks(child)
        elif any(True for _ in child.parameters()):
            yield child


def check_sharding(config: TrainConfig) -> None:
    """See that the settings go together with sharding, if that is what they choose.

    Raises:
        ConfigError: If they choose another sharding, or with ours an average of the weights, compilation or synchronized
            norms.
    """
    strategy = str(config.trainer.get("strategy", "auto"))
    if strategy != FSDP2:
        if strategy.startswith("fsdp"):
            raise ConfigError(f"trainer.strategy={strategy}: networks are sharded by FSDP2 only; use trainer.strategy={FSDP2}")
        return
    for setting, is_on, cure in (
        (f"ema.decay={config.ema.decay}", config.ema.decay > 0, "ema.decay=0"),
        ("compile=true", config.compile, "compile=false"),
        ("trainer.sync_batchnorm=true", bool(config.trainer.get("sync_batchnorm")), "trainer.sync_batchnorm=false"),
    ):
        if is_on:
            raise ConfigError(f"{setting} cannot be had with trainer.strategy={FSDP2}; set {cure}, or use another strategy")
