"""What the network of adaptation can be given, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

from zoopraxis.adaptation.aggregation import RnnCell

__all__ = ["Aggregation", "Attention", "AutoDial", "Domain", "Norm", "Prediction", "check_arguments"]

Aggregation = Literal["relations", "relation", "average", "rnn", "temconv"]
Attention = Literal["transferable", "general", "none"]
AutoDial = Literal["learned", "published"]
Domain = Literal["source", "target"]
Norm = Literal["none", "adabn", "autodial"]
Prediction = Literal["video", "average", "frames"]


def check_arguments(arguments: Mapping[str, Any]) -> None:
    """See that the arguments of `AdaptationNetwork` are in range.

    Raises:
        ValueError: If a number is out of range or a name unknown.
    """
    choices: dict[str, Any] = {
        "aggregation": Aggregation,
        "prediction": Prediction,
        "attention": Attention,
        "frame_attention": Attention,
        "norm": Norm,
        "autodial": AutoDial,
        "rnn_cell": RnnCell,
    }
    for name, known in choices.items():
        if arguments[name] not in get_args(known):
            raise ValueError(f"unknown {name} {arguments[name]!r}; known: {', '.join(get_args(known))}")
    if not arguments["heads"]:
        raise ValueError("heads of a network must name at least one, such as {'verb': 97, 'noun': 300}")
    sizes = {name: arguments[name] for name in ("feature_dim", "num_segments", "shared_dim", "rnn_layers", "rnn_bins")}
    sizes |= {f"the classes of head {name}": classes for name, classes in arguments["heads"].items()}
    if arguments["relation_dim"] is not None:
        sizes["relation_dim"] = arguments["relation_dim"]
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} ({size}) must be at least 1")
    for name, most in {"num_shared_layers": 3, "rnn_directions": 2}.items():
        if not 1 <= arguments[name] <= most:
            raise ValueError(f"{name} ({arguments[name]}) must be 1 to {most}")
    for name in ("dropout", "video_dropout"):
        if not 0 <= arguments[name] < 1:
            raise ValueError(f"{name} ({arguments[name]}) must be at least 0 and below 1")
