"""The command line as a person meets it: help of every verb, and the mistakes that people make."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from zoopraxis.cli import VERBS

HEAVY = {
    "av",
    "cv2",
    "hydra",
    "lightning",
    "matplotlib",
    "numpy",
    "omegaconf",
    "pandas",
    "pyarrow",
    "timm",
    "torch",
    "torchvision",
}


def _zoopraxis(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "zoopraxis", *arguments], capture_output=True, text=True, cwd=cwd)


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_a_verb_loads_nothing_heavy(verb: str) -> None:
    script = f"import sys; from zoopraxis.cli import main; s = main([{verb!r}, '--help']); print(*sys.modules); sys.exit(s)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Usage: zoopraxis {verb} ")
    assert not HEAVY & set(done.stdout.splitlines()[-1].split())


def test_a_recipe_is_composed_from_any_folder(tmp_path: Path) -> None:
    done = _zoopraxis("config", "--config-name", "tsm_rgb", "data.root=/data", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    config = json.loads(done.stdout)
    assert (config["model"]["name"], config["data"]["root"], config["run"]["dir"]) == ("tsm", "/data", "runs/tsm_rgb")
    assert list(tmp_path.iterdir()) == []


TRAIN = ("train", "--config-name", "tsm_rgb")
VIEWS = "--views 9: must be CLIPSxCROPS with 1, 3, 5 or 10 crops; try --views 1x1 or --views 10x3"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["trian"], "unknown command 'trian'; did you mean 'train'?"),
        (["train", "--config-name", "tsm_rbg"], "unknown recipe 'tsm_rbg'; did you mean 'tsm_rgb'?"),
        ([*TRAIN, "data.rot=x"], "unknown setting data.rot=x; did you mean data.root?"),
        ([*TRAIN, "data.root=x", "optim.lr=abc"], "optim.lr=abc: must be a number"),
        ([*TRAIN, "data.root=x", "optim.lr=-1"], "optim.lr=-1: must be above 0"),
        ([*TRAIN, "data.root=x", "data.store=zip"], "data.store=zip is no choice; known: frames, gulp, video"),
        ([*TRAIN, "+trainer.max_epoch=3"], "unknown setting trainer.max_epoch=3; did you mean trainer.max_epochs?"),
        ([*TRAIN], "data.root is not given; add it, e.g. data.root=/path/to/the/data"),
        (["test", "a.ckpt", "out.npz", "--views", "9"], VIEWS),
    ],
)
def test_a_mistake_is_met_with_one_line(arguments: list[str], line: str, tmp_path: Path) -> None:
    done = _zoopraxis(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"zoopraxis: error: {line}\n")
    assert list(tmp_path.iterdir()) == []
