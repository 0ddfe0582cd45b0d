"""`zoopraxis models`: the published networks, a network of one's own beside them, and the parts to make one of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoopraxis.cli import console
from zoopraxis.cli.config import ConfigDir, ConfigName, Json
from zoopraxis.cli.model_tables import show_details, show_list, show_own, show_parts
from zoopraxis.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from zoopraxis.config.adaptation import AdaptationConfig
    from zoopraxis.config.schema import TrainConfig
    from zoopraxis.models import VideoModel

__all__ = ["command"]

_EPIC_HEADS = {"verb": 97, "noun": 300}
"""The heads of a network of one's own whose settings name none."""

Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PATTERN|KEY=VALUE",
        help="Part of a name, or a pattern such as 'tsm_*flow'; settings of a network of your own, as `train` takes them.",
    ),
]


def command(
    words: Words = None,
    config_name: ConfigName = None,
    config_dir: ConfigDir = None,
    speed: Annotated[
        bool, typer.Option("--speed", help="Run each network shown and tell clips a second (of this machine, now).")
    ] = False,
    json: Json = False,
) -> None:
    """Published networks: parameters, cost, published accuracy and how it was measured, address of the file.

    GMACs are billions of multiply-adds for one view (papers mostly say GFLOPs); a video costs clips x crops times as many. A
    pattern that fits one name shows all that is known of it. A name can stand wherever a checkpoint is asked for: test,
    predict, model.weights=NAME.

    With a recipe or settings the network that they describe is counted and shown beside the published ones of the same classes:

      zoopraxis models --config-name tsm_rgb model.backbone=convnext_tiny model.temporal=tam --speed
    """
    from zoopraxis.models import WEIGHTS, load_families

    load_families()
    patterns = [word for word in words or () if "=" not in word]
    settings = [word for word in words or () if "=" in word]
    if len(patterns) > 1:
        raise ConfigError(f"one pattern at a time, not {' '.join(patterns)}; quote one such as 'ts?_*flow'")
    pattern = patterns[0] if patterns else ""
    wanted = pattern if any(sign in pattern for sign in "*?[") else f"*{pattern}*"
    names = [pattern] if pattern in WEIGHTS.names() else [name for name in WEIGHTS.names() if fnmatchcase(name, wanted)]
    records = [WEIGHTS.get(name) for name in names]
    if not records:
        raise ConfigError(f"no published weights match {pattern!r}; {did_you_mean(pattern, WEIGHTS.names())}")
    own = _own_entry(settings, config_name, config_dir, speed=speed) if settings or config_name else None
    if own is not None:
        records = [record for record in records if dict(record.model["heads"]) == own["model"]["heads"]]
    entries = _entries(records, speed=speed)
    if json:
        console.emit_json({"network": own, "published": entries, **_parts()})
    elif own is not None:
        show_own(own, entries)
    elif len(entries) == 1:
        show_details(entries[0])
    else:
        show_list(entries)
        if not pattern:
            show_parts(_parts())


def _own_entry(settings: Sequence[str], config_name: str | None, config_dir: Path | None, *, speed: bool) -> dict[str, Any]:
    """The network that settings describe, built and counted; without `model.heads` it has those of EPIC-KITCHENS-100.

    Raises:
        ConfigError: If a setting is wrong, or no view of so many frames or such a size goes through the network.
    """
    from zoopraxis.config.load import load_config
    from zoopraxis.config.localization import LocalizationConfig
    from zoopraxis.models import measure_cost

    config = load_config(config_name, settings, config_dir=config_dir, allow_missing=True)
    if isinstance(config, LocalizationConfig) or config.data.store == "features":
        raise ConfigError(
            "the recipe's network is on features, and only networks on clips are counted here; name a recipe of clips, such as "
            "ta3n_video_epic"
        )
    data, heads = config.data, config.model.heads
    model = _build(config, heads or _EPIC_HEADS)
    num_frames, size = data.test_num_segments or data.num_segments, data.transform.test_size or data.transform.size
    try:
        cost = measure_cost(model, num_frames=num_frames, size=size)
    except (ValueError, AssertionError) as error:  # timm tells a wrong size by an assertion
        raise ConfigError(f"the network takes no view of {num_frames} frames of {size}x{size}: {error}") from error
    return {
        "name": "your network",
        "model": model.architecture,
        "parameters": cost.num_parameters,
        "trainable_parameters": cost.num_trainable,
        "gmacs": cost.gmacs,
        "view": {"num_frames": num_frames, "size": size},
        "speed": _speed(model, num_frames, size) if speed else None,
        "has_default_heads": heads is None,
    }


def _build(config: TrainConfig | AdaptationConfig, heads: Mapping[str, int]) -> VideoModel:
    """The network on clips that settings describe.

    Raises:
        ConfigError: If a setting is wrong.
    """
    from zoopraxis.config.schema import TrainConfig

    if isinstance(config, TrainConfig):
        from zoopraxis.training.build import build_model

        return build_model(config, heads, pretrained=False)
    from zoopraxis.training.adaptation.clips import build_video_network

    return build_video_network(config, heads, pretrained=False)


def _entries(records: Sequence[Any], *, speed: bool) -> list[dict[str, Any]]:
    if not speed:
        return [_entry(record, None) for record in records]
    from zoopraxis.models import create_model

    entries = []
    with console.progress("measuring") as on_progress:
        for number, record in enumerate(records):
            model = create_model(**record.model, preprocessing=record.preprocessing)
            first = record.evaluations[0]
            entries.append(_entry(record, _speed(model, first.num_frames, first.size)))
            on_progress(number + 1, len(records))
    return entries


def _entry(record: Any, speed: Any) -> dict[str, Any]:
    return {
        "name": record.name,
        "model": dict(record.model),
        "data": record.data,
        "parameters": record.num_parameters,
        "gmacs": record.gmacs,
        "view": {"num_frames": record.evaluations[0].num_frames, "size": record.evaluations[0].size},
        "evaluations": [
            {
                "accuracy": dict(found.accuracy),
                "num_frames": found.num_frames,
                "size": found.size,
                "num_clips": found.num_clips,
                "num_crops": found.num_crops,
                "average": found.average,
                "source": found.source or record.source,
            }
            for found in record.evaluations
        ],
        "preprocessing": record.preprocessing.to_dict(),
        "url": record.url,
        "page": record.page,
        "source": record.source,
        "speed": speed,
    }


def _speed(model: Any, num_frames: int, size: int) -> Any:
    """Its speed on the accelerator if there is one, else on the CPU; weights do not matter for it."""
    import torch

    from zoopraxis.models import measure_speed

    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return measure_speed(model.to(device or "cpu"), num_frames=num_frames, size=size)


def _parts() -> dict[str, list[str]]:
    """What a network and its training are made of, by name."""
    from zoopraxis.config.load import recipe_names
    from zoopraxis.data.sampling import SAMPLERS
    from zoopraxis.models import MODELS
    from zoopraxis.temporal import TEMPORAL

    return {
        "models": MODELS.names(),
        "temporal_modules": TEMPORAL.names(),
        "samplers": SAMPLERS.names(),
        "recipes": recipe_names(),
    }
