"""The network of TA3N in both published versions: all that it finds in two domains, in evaluation and in training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from parity.ta3n_cases import build, model_settings, our_names
from zoopraxis.adaptation.network import AdaptationNetwork, DomainOutput, Level
from zoopraxis.adaptation.norms import DomainNorms

DOMAINS = ("source", "target")
LEVELS: tuple[Level, ...] = ("relation", "video", "frame")


def matches(case: Mapping[str, Any]) -> bool:
    return "module_mode" in model_settings(case) and "frame_aggregation" in case["config"]


def check(case: Mapping[str, Any], arrays: Mapping[str, np.ndarray], context: Any) -> None:
    expected = dict(arrays)
    network, clips = _prepare(case, context)
    found = _find(network, clips, case)
    for name, values in expected.items():
        context.assert_close(found[name], values, name)
    _check_running_statistics(case, network, context)
    for what, changed in _changed(case, context, clips):
        same = [name for name, values in expected.items() if not context.is_close(changed[name], values)]
        assert same, f"the case does not see {what}"


def _prepare(case: Mapping[str, Any], context: Any, **changes: Any) -> tuple[AdaptationNetwork, list[Tensor]]:
    """Our network, and the clips of source and target."""
    # Softmax goes before the mean of frames: here it is taken of the frames.
    prediction = {"prediction": "frames"} if case["config"]["baseline_type"] == "tsn" else {}
    network = build(case, context, **prediction, **changes).train(case["config"]["module_mode"] == "train")
    for norms in network.modules():
        if isinstance(norms, DomainNorms):
            # Domains meet as the call says, whatever mode the norms themselves are in.
            norms.training = case["config"]["is_train"]
    clips = [context.input(spec) for spec in case["inputs"].values()]
    if all(features.shape[1] > network.arguments["num_segments"] for features in clips):
        # The published relations are of the first frames; here such clips are refused.
        network.aggregator.num_segments = None
    return network, clips


@torch.no_grad()
def _find(network: AdaptationNetwork, clips: Sequence[Tensor], case: Mapping[str, Any]) -> dict[str, Tensor]:
    """Everything that the published network returns, by the case's names."""
    config = case["config"]
    strengths = dict(zip(LEVELS, config["beta"], strict=True))
    outputs = network.domains(*clips, strengths=strengths, classifier_strength=config["mu"] if config["reverse"] else None)
    found: dict[str, Tensor] = {}
    for domain, output in zip(DOMAINS, outputs, strict=True):
        listed = {
            f"attn_{domain}": _attention(network, output),
            f"out_{domain}": _scores(output.logits, output, config),
            f"out_{domain}_2": _scores(output.second_logits, output, config),
            f"pred_domain_{domain}": _domain_logits(output),
            f"feat_{domain}": _features(output, config),
        }
        for name, values in listed.items():
            found |= {name: values} if isinstance(values, Tensor) else {f"{name}.{i}": v for i, v in enumerate(values)}
    return found


def _attention(network: AdaptationNetwork, output: DomainOutput) -> Tensor:
    """The published attention: without one, or where it is no relation's, the first feature."""
    if network.aggregator.level != "relation":
        return output.features["video"][:, 0]
    if output.attention is not None:
        return output.attention
    return network.aggregator(output.features[f"shared_{len(network.frame_layers)}"])[..., 0]


def _scores(logits: Mapping[str, Tensor], output: DomainOutput, config: Mapping[str, Any]) -> Tensor | list[Tensor]:
    scores = [values if config["before_softmax"] else values.softmax(dim=1) for values in logits.values()]
    if config["baseline_type"] == "tsn":
        scores = [values.unflatten(0, (len(output.features["video"]), -1)).mean(dim=1) for values in scores]
    return scores if isinstance(config["num_class"], list) else scores[0]


def _domain_logits(output: DomainOutput) -> list[Tensor]:
    """Of relations, video and frames; the video's stand in where there are no relations."""
    return [output.domain_logits.get(level, output.domain_logits["video"]) for level in LEVELS]


def _features(output: DomainOutput, config: Mapping[str, Any]) -> list[Tensor]:
    """Logits, video and shared layers, the last first."""
    shared = [values for name, values in output.features.items() if name.startswith("shared_")]
    logits = list(output.logits.values())
    if config["baseline_type"] == "video":
        return [*shared, output.features["video"], *logits][::-1]
    if config["baseline_type"] == "frame":
        return [*shared, *(values.unflatten(0, (len(output.features["video"]), -1)) for values in logits)][::-1]
    return shared[::-1]


def _check_running_statistics(case: Mapping[str, Any], network: AdaptationNetwork, context: Any) -> None:
    """What a training pass leaves in the norms; those that nothing uses stay."""
    expected = (case.get("extra") or {}).get("bn_running_after")
    if not expected:
        return
    before, after = context.state_dict(case), network.state_dict()
    names = our_names(case, context)
    assert case["config"]["use_bn"] == "none" or any(key in names for key in expected)
    for key, summary in expected.items():
        told = np.array([summary[name] for name in ("mean", "std", "min", "max")])
        tolerances = {"rtol": 1e-4, "atol": 1e-4 * summary["std"]}
        np.testing.assert_allclose(
            _summary(after[names[key]] if key in names else before[key]), told, **tolerances, err_msg=key
        )
        assert key not in names or not np.allclose(_summary(before[key]), told, **tolerances), f"{key} did not move"


def _summary(values: Tensor) -> np.ndarray:
    return np.array([float(value) for value in (values.mean(), values.std(correction=0), values.min(), values.max())])


def _changed(case: Mapping[str, Any], context: Any, clips: Sequence[Tensor]) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
    """What the network finds with a part of it switched off, each of which the case must see."""
    config = case["config"]
    if clips[0].shape[1] > 1:
        repeated = [features[:, :1].expand_as(features) for features in clips]
        yield "any frame but the first", _find(_prepare(case, context)[0], repeated, case)
    is_ordered = config["frame_aggregation"] in ("trn-m", "temconv") or (
        config["frame_aggregation"] == "rnn" and config["n_ts"] > 1
    )
    if is_ordered and clips[0].shape[1] > 1 and config["baseline_type"] == "video":
        flipped = [features.flip(1) for features in clips]
        yield "the order of frames", _find(_prepare(case, context)[0], flipped, case)
    for what, changes in _switches(config).items():
        yield what, _find(_prepare(case, context, **changes)[0], clips, case)
    if config["use_bn"] == "AutoDIAL" and config["is_train"] and _is_exchanged(case, context, clips):
        yield "the exchange between domains", _find(_prepare(case, context, norm="adabn")[0], clips, case)
    if config["share_params"] == "N":
        network, _ = _prepare(case, context)
        network.target_frame_layers = network.target_classifiers = None
        yield "the target's own layers", _find(network, clips, case)
    if config["ens_DA"] == "MCD" and config["baseline_type"] == "video":
        network, _ = _prepare(case, context)
        network.second_classifiers = network.classifiers
        yield "the second classifiers", _find(network, clips, case)


def _switches(config: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Arguments of the network that switch off what the case has."""
    switches: dict[str, dict[str, str]] = {}
    attended = {"trn-m": ("TransAttn", "general"), "avgpool": ("TransAttn",)}
    if config["use_attn"] in attended.get(config["frame_aggregation"], ()):
        switches["attention"] = {"attention": "none"}
    if config["use_attn_frame"] != "none":
        switches["the attention of frames"] = {"frame_attention": "none"}
    if config["use_bn"] != "none":
        switches["norms"] = {"norm": "none"}
    return switches


def _is_exchanged(case: Mapping[str, Any], context: Any, clips: Sequence[Tensor]) -> bool:
    """Whether alpha leaves clips of both domains to the other's norms."""
    (alpha,) = (float(tensor) for key, tensor in context.state_dict(case).items() if key.rpartition(".")[2] == "alpha")
    return all(round(len(features) * max(alpha, 0.5)) < len(features) for features in clips)
