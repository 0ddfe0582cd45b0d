"""Every model, small: it scores, learns, is saved and loaded, copied, compiled and exported, with the same numbers."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tiny_models import TINY
from zoopraxis.models import MODELS, VideoModel, create_model, load_families, load_model, measure_cost, save_model
from zoopraxis.models.ta3n import TA3N

HEADS = {"verb": 5, "noun": 7}
NUM_FRAMES = 8
SIZE = 32

load_families()


def test_every_model_is_swept() -> None:
    assert set(TINY) == set(MODELS.names())


def _create(name: str, **more: object) -> VideoModel:
    preprocessing = MODELS.get(name).preprocessing("rgb", num_segments=NUM_FRAMES, segment_length=1)
    small = type(preprocessing).from_dict(preprocessing.to_dict() | {"size": SIZE, "resize": SIZE})
    settings = {"heads": HEADS, "num_segments": NUM_FRAMES, "preprocessing": small, **TINY[name], **more}
    return create_model(name, **settings)


def _randomize(model: nn.Module) -> None:
    """Give norms, gates and what starts at zero other values than a fresh network's, in which they count for nothing."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1 or not parameter.any():
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
            elif parameter.ndim in (2, 3) and parameter.std() < 0.03:  # transformers' maps and positions
                parameter.mul_(10)
            elif parameter.ndim == 5 and parameter.std() < 0.02:  # S3D-G's kernels: without training nothing passes them
                nn.init.kaiming_normal_(parameter, generator=generator)
        for norm in model.modules():
            if isinstance(norm, _BatchNorm) and norm.running_mean is not None and norm.running_var is not None:
                norm.running_mean.normal_(0, 0.1, generator=generator)
                norm.running_var.uniform_(0.5, 1.5, generator=generator)


@pytest.fixture(scope="module", params=sorted(TINY))
def model(request: pytest.FixtureRequest) -> VideoModel:
    torch.manual_seed(0)
    made = _create(request.param)
    _randomize(made)
    return made.eval()


@pytest.fixture(scope="module")
def clip() -> Tensor:
    return torch.randn(2, NUM_FRAMES, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(2))


def _scores(model: VideoModel, clip: Tensor) -> dict[str, Tensor]:
    with torch.inference_mode():
        scores: dict[str, Tensor] = model(clip)
        return scores


def _assert_same(actual: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


def test_it_scores_each_clip_by_itself(model: VideoModel, clip: Tensor) -> None:
    scores = _scores(model, clip)
    assert {head: tuple(values.shape) for head, values in scores.items()} == {"verb": (2, 5), "noun": (2, 7)}
    assert all(torch.isfinite(values).all() for values in scores.values())
    _assert_same({head: values[1:] for head, values in scores.items()}, _scores(model, clip[1:]))
    _assert_same(scores, _scores(model, clip.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)))
    assert not torch.allclose(scores["verb"][0], scores["verb"][1], rtol=1e-5, atol=0)


def test_order_of_frames_counts(model: VideoModel, clip: Tensor) -> None:
    backwards = _scores(model, clip.flip(1))["verb"]
    is_seen = not torch.allclose(backwards, _scores(model, clip)["verb"], rtol=1e-4, atol=1e-5)
    assert is_seen == (model.architecture["name"] != "tsn")


def _all_scores(learner: VideoModel, clip: Tensor) -> list[Tensor]:
    """All that a training step has a loss of, (N, classes) each: of TA3N also which domain it takes clips for."""
    if not isinstance(learner, TA3N):
        return list(learner(clip).values())
    found = learner.domains(clip, clip)
    return [scores.flatten(0, -2) for output in found for scores in (*output.logits.values(), *output.domain_logits.values())]


def test_every_parameter_learns(model: VideoModel, clip: Tensor) -> None:
    learner = copy.deepcopy(model).train()
    loss = torch.stack([nn.functional.cross_entropy(s, torch.arange(len(s)) % 2) for s in _all_scores(learner, clip)]).mean()
    loss.backward()
    dead = [
        name for name, p in learner.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.isfinite().all())
    ]
    assert dead == []


def test_recomputed_activations_give_the_same_step(model: VideoModel, clip: Tensor) -> None:
    plain, saving = copy.deepcopy(model).train(), copy.deepcopy(model).train()
    saving.set_grad_checkpointing()
    for learner in (plain, saving):
        torch.manual_seed(3)
        learner(clip)["verb"].square().sum().backward()
    for (name, left), (_, right) in zip(plain.named_parameters(), saving.named_parameters(), strict=True):
        if left.grad is not None:
            torch.testing.assert_close(right.grad, left.grad, rtol=1e-3, atol=1e-5, msg=lambda text, at=name: f"{at}: {text}")


def test_it_is_saved_and_loaded(model: VideoModel, clip: Tensor, tmp_path: Path) -> None:
    scores = _scores(model, clip)
    loaded = load_model(save_model(model, tmp_path / "model.safetensors"))
    _assert_same(_scores(loaded, clip), scores)
    assert loaded.preprocessing == model.preprocessing
    again = create_model(**json.loads(json.dumps(model.architecture)), preprocessing=model.preprocessing)
    again.load_state_dict(model.state_dict())
    _assert_same(_scores(again.eval(), clip), scores)


def test_it_is_copied(model: VideoModel, clip: Tensor) -> None:
    scores = _scores(model, clip)
    _assert_same(_scores(copy.deepcopy(model), clip), scores)
    _assert_same(_scores(pickle.loads(pickle.dumps(model)), clip), scores)


def test_it_is_compiled(model: VideoModel, clip: Tensor) -> None:
    torch.compiler.reset()
    compiled = torch.compile(copy.deepcopy(model), backend="eager", fullgraph=True)
    with torch.no_grad():
        _assert_same(compiled(clip), _scores(model, clip))


def test_it_is_exported(model: VideoModel, clip: Tensor) -> None:
    exported = torch.export.export(model, (clip,)).module()
    with torch.no_grad():
        _assert_same(exported(clip), _scores(model, clip))


def test_it_runs_in_lower_precision_and_is_counted_without_weights(model: VideoModel, clip: Tensor) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        scores = _scores(model, clip)
    assert all(torch.isfinite(values).all() for values in scores.values())
    with torch.device("meta"):
        shapes = _create(model.architecture["name"])
    assert measure_cost(shapes) == measure_cost(model)
