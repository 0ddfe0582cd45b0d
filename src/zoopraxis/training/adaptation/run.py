"""A whole run of domain adaptation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from zoopraxis.config.adaptation import AdaptationConfig
from zoopraxis.config.load import config_to_dict
from zoopraxis.models.base import VideoModel
from zoopraxis.models.checkpoints import model_record
from zoopraxis.training.adaptation.checkpoints import initialize_network
from zoopraxis.training.adaptation.clips import build_video_network
from zoopraxis.training.adaptation.data import AdaptationData
from zoopraxis.training.adaptation.domains import Domains, open_domains
from zoopraxis.training.adaptation.selection import LEAK, choose_monitor
from zoopraxis.training.adaptation.settings import advice, build_feature_network, build_objective, check_names, check_settings
from zoopraxis.training.adaptation.system import AdaptationSystem
from zoopraxis.training.folders import TrainOutcome, checkpoint_to_resume, finish_run, write_config
from zoopraxis.training.optim import check_schedule
from zoopraxis.training.steps import limited_batches
from zoopraxis.training.trainer import build_trainer, check_norms, num_epochs, quiet_lightning

__all__ = ["train_adaptation"]


def train_adaptation(
    config: AdaptationConfig, *, show_progress: bool = False, tell: Callable[[str], None] | None = None
) -> TrainOutcome:
    """Train a network on a labelled source and an unlabelled target, or go on with a run that was broken off.

    Everything is checked before the first step: settings, devices, every annotation row, and the presence of its features or
    frames. Labels of the target's training clips are not read, but with `adapt.target=labelled`.

    Args:
        config: The run's settings, as `load_config` gives them.
        show_progress: Whether to draw a progress bar on standard error.
        tell: Called with each of the outcome's notes before the first step.

    Raises:
        ConfigError: If settings do not go together, or the run folder holds a run with other settings.
        AnnotationError: If annotations are broken.
        DataError: If features or frames are missing or broken, or the loss is not finite (the message names the clips).
    """
    run_dir = Path(config.run.dir)
    check_settings(config)
    objective = build_objective(config)
    missed = check_schedule(config.schedule, lr=config.optim.lr, num_epochs=num_epochs(config.trainer))
    checkpoint = checkpoint_to_resume(config, run_dir)
    domains = open_domains(config)
    check_names(config, domains.heads)
    data = AdaptationData(config, domains)
    data.check()
    monitor = choose_monitor(config.run.select, val_names=data.val_names, heads=list(domains.heads))
    with quiet_lightning():
        trainer = build_trainer(config, run_dir, monitor=monitor, show_progress=show_progress, has_idle_parameters=True)
        data.trainer = trainer  # which processes share an epoch decides how many batches it has
        leak = LEAK if config.run.select == "target" else None
        notes = tuple(line for line in (*data.notes, *advice(config), missed, leak) if line is not None)
        if tell is not None:
            for line in notes:
                tell(line)
        model = _build_network(config, data, domains, has_initial_weights=checkpoint is None)
        check_norms(model, config.trainer)
        system = AdaptationSystem(
            model,
            objective=objective,
            optim=config.optim,
            schedule=config.schedule,
            num_epochs=config.trainer["max_epochs"],
            num_source_batches=max(1, limited_batches(data.len_source, trainer.limit_train_batches)),
            pad_to=data.batch_sizes if config.data.pad_batches else None,
            seed=config.seed,
            clip_ids={"source": domains.source.clip_ids, "target": domains.target.clip_ids},
            val_names=data.val_names,
            record=_record(model, config, data, domains),
        )
        write_config(config, run_dir, trainer)
        trainer.fit(system, datamodule=data, ckpt_path=checkpoint)
        if data.val_names and not any(name.startswith("val/") for name in trainer.callback_metrics):
            trainer.validate(system, datamodule=data, verbose=False)
    return finish_run(trainer, run_dir, num_train_clips=len(domains.source), resumed=checkpoint is not None, notes=notes)


def _build_network(config: AdaptationConfig, data: AdaptationData, domains: Domains, *, has_initial_weights: bool) -> nn.Module:
    """The network as a run starts with it; one that goes on from a checkpoint needs no initial weights."""
    if config.data.store != "features":
        return build_video_network(config, domains.heads, pretrained=has_initial_weights)
    network = build_feature_network(config, feature_dim=data.feature_dim, heads=domains.heads)
    if config.model.weights is not None and has_initial_weights:
        initialize_network(network, config.model.weights)
    return network


def _record(model: nn.Module, config: AdaptationConfig, data: AdaptationData, domains: Domains) -> dict[str, Any]:
    """What a checkpoint of the run keeps under `zoopraxis`."""
    if isinstance(model, VideoModel):
        record = model_record(model, class_names=domains.class_names, config=config_to_dict(config))
        return {"task": config.task, **record}
    return {
        "task": config.task,
        "network": model.arguments,
        "features": {"modalities": dict(data.modalities), "num_segments": config.data.num_segments},
        "class_names": {head: list(names) for head, names in domains.class_names.items()},
        "config": config_to_dict(config),
    }
