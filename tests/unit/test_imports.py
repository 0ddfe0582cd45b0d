"""The plan of the house, held: where third parties may enter, who may import whom, and what importing must not load."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from zoopraxis.cli import VERBS

SRC = Path(__file__).parents[2] / "src"

DOORS = {
    "av": ("data.decoding", "data.encoding"),
    "hydra": ("config.load",),
    "lightning": ("training",),
    "omegaconf": ("config.load",),
    "pydantic": ("config.load",),
    "pytorch_lightning": (),
    "rich": ("cli",),
    "timm": ("backbones",),
    "typer": ("cli",),
}
"""Third party to the packages or modules that may import it."""

ROOT_MODULES = ("errors", "files", "pickles", "registry")
"""Modules that all may import."""

NEIGHBORS: dict[str, tuple[str, ...]] = {
    "": ("config", "data", "evaluation", "models", "training"),  # the lazily loaded public names
    "__main__": ("cli",),
    "errors": (),
    "files": (),
    "_mapped": (),
    "_pickled": (),
    "pickles": ("_mapped", "_pickled"),
    "registry": (),
    "temporal": (),
    "adaptation": ("temporal",),
    "localization": (),
    "backbones": ("temporal",),
    "models": ("backbones", "temporal", "adaptation", "localization"),
    "evaluation": (),
    "epic": ("evaluation",),
    "data": (),
    "data.annotations": ("data", "epic.annotations", "epic.vocabulary"),
    "toy": ("data.encoding", "epic.vocabulary"),
    "config": (),
    "training": ("models", "adaptation", "localization", "data", "evaluation", "config"),
    "cli": ("",),
}
"""Package or module to what it may import of ours besides itself and the root modules; the longest name that fits counts."""

NEURAL = {"lightning", "pytorch_lightning", "timm", "torch", "torchmetrics", "torchvision"}
HEAVY = NEURAL | {
    "av",
    "cv2",
    "hydra",
    "matplotlib",
    "numpy",
    "omegaconf",
    "pandas",
    "pyarrow",
    "rich",
    "safetensors",
    "simplejpeg",
    "yaml",
}

WITHOUT_NEURAL = ("evaluation", "epic", "toy", "config", "data.index", "data.annotations", "data.encoding")
VERB_MODULES = [f"cli.{verb}" for verb in VERBS]
WITHOUT_HEAVY = ("", "__main__", "cli", *VERB_MODULES, "config.schema", "config.trainer", "config.refusals")


@dataclass(frozen=True)
class Import:
    """One import statement: what it loads, where it stands, and whether importing the module runs it."""

    target: str
    line: int
    is_run_at_import: bool


def _within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.") or package == ""


def _name(path: Path) -> str:
    """The module's name below the package: `data.index`; the package itself is the empty name."""
    parts = path.relative_to(SRC / "zoopraxis").with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {_name(path): path for path in sorted((SRC / "zoopraxis").rglob("*.py"))}


def _full(name: str) -> str:
    return f"zoopraxis.{name}" if name else "zoopraxis"


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def _statements(node: ast.AST, is_run: bool) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, is_run
        else:
            is_body_run = not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and not _is_type_checking(
                child
            )
            yield from _statements(child, is_run and is_body_run)


@cache
def _imports(name: str) -> tuple[Import, ...]:
    path = MODULES[name]
    package = _full(name) if path.name == "__init__.py" else _full(name).rpartition(".")[0]
    found = []
    for statement, is_run in _statements(ast.parse(path.read_text()), is_run=True):
        if isinstance(statement, ast.Import):
            targets = [alias.name for alias in statement.names]
        else:
            relative = "." * statement.level + (statement.module or "")
            base = importlib.util.resolve_name(relative, package) if statement.level else relative
            joined = [f"{base}.{alias.name}" for alias in statement.names]
            targets = [target if target.removeprefix("zoopraxis.") in MODULES else base for target in joined]
        found += [Import(target, statement.lineno, is_run) for target in dict.fromkeys(targets)]
    return tuple(found)


@cache
def _loaded(name: str) -> frozenset[str]:
    """The top names of all third parties that importing a module loads, by way of our own modules too."""
    third_parties: set[str] = set()
    seen: set[str] = set()
    todo = [name]
    while todo:
        current = todo.pop()
        if current in seen or current not in MODULES:
            continue
        seen.add(current)
        if current:
            todo.append(current.rpartition(".")[0])
        for found in _imports(current):
            if not found.is_run_at_import:
                continue
            if _within(found.target, "zoopraxis"):
                todo.append(found.target.removeprefix("zoopraxis").removeprefix("."))
            else:
                third_parties.add(found.target.partition(".")[0])
    return frozenset(third_parties)


def _of(*packages: str) -> list[str]:
    return [name for name in MODULES if any(_within(name, package) for package in packages)]


@pytest.mark.parametrize("name", MODULES)
def test_third_parties_enter_by_their_door(name: str) -> None:
    wrong = [
        f"line {found.line}: {found.target} may be imported in {DOORS[party] or 'no module'} only"
        for found in _imports(name)
        if (party := found.target.partition(".")[0]) in DOORS and not any(_within(name, door) for door in DOORS[party])
    ]
    assert not wrong, f"{_full(name)}: {'; '.join(wrong)}"


@pytest.mark.parametrize("name", MODULES)
def test_modules_import_their_neighbors_only(name: str) -> None:
    homes = [package for package in NEIGHBORS if name == package or (package and _within(name, package))]
    assert homes, f"{_full(name)} is in no package of the plan; enter its package in NEIGHBORS, DESIGN and CONTRIBUTING"
    home = max(homes, key=len)
    allowed = (home, *ROOT_MODULES, *NEIGHBORS[home]) if home else (*ROOT_MODULES, *NEIGHBORS[home])
    wrong = [
        f"line {found.line}: {found.target}"
        for found in _imports(name)
        if _within(found.target, "zoopraxis")
        and not any(_within(found.target.removeprefix("zoopraxis").removeprefix("."), package) for package in allowed)
    ]
    assert not wrong, f"{_full(name)} may import {allowed} only, not {'; '.join(wrong)}"


@pytest.mark.parametrize("name", _of(*WITHOUT_NEURAL))
def test_scoring_loads_no_neural_network_library(name: str) -> None:
    assert not _loaded(name) & NEURAL


@pytest.mark.parametrize("name", WITHOUT_HEAVY)
def test_names_and_commands_load_nothing_heavy(name: str) -> None:
    assert name in MODULES
    assert not _loaded(name) & HEAVY


def _modules_after(code: str) -> set[str]:
    script = f"{code}\nimport sys\nprint('MODULES', *sorted(m for m in sys.modules if '.' not in m))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split()[1:])


def test_importing_the_package_loads_nothing_heavy() -> None:
    loaded = _modules_after("import zoopraxis; dir(zoopraxis); zoopraxis.__version__")
    assert "zoopraxis" in loaded
    assert not loaded & HEAVY


def test_help_loads_nothing_heavy() -> None:
    loaded = _modules_after("from zoopraxis.cli import main; assert main(['--help']) == 0")
    assert "typer" in loaded
    assert not loaded & HEAVY


@pytest.mark.parametrize("name", ["zoopraxis.evaluation.results", "zoopraxis.config.load", "zoopraxis.data.index"])
def test_what_scoring_needs_loads_no_neural_network_library(name: str) -> None:
    loaded = _modules_after(f"import {name}")
    assert "zoopraxis" in loaded
    assert not loaded & NEURAL
