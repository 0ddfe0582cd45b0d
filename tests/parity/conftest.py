"""Finds golden cases and the adapters that hold our code to them.

A case is a JSON file with a key `case` under ZOOPRAXIS_GOLDENS (default: the folder `goldens` here), with an `.npz` of the
same name beside it; a file that holds a list is a case of its file's name, with the list under `rows`, and an `.npz` alone is
one, if an adapter matches its name. An adapter is a file in `adapters` with `matches(case) -> bool` and `check(case, arrays,
context) -> None`. A case without an adapter is a skipped test and stands in the summary; a JSON file that is neither case nor
matched belongs to another file's case.
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

HERE = Path(__file__).parent
NO_ADAPTER = "no adapter for "


@dataclass(frozen=True)
class GoldenCase:
    """One golden case.

    Attributes:
        name: As the case calls itself.
        path: The JSON file.
        content: What the file holds.
        adapters: The adapters that match it; there should be one.
    """

    name: str
    path: Path
    content: dict[str, Any]
    adapters: tuple[ModuleType, ...]

    @property
    def family(self) -> str:
        """The first two words of the name."""
        return "_".join(self.name.split("_")[:2])

    @contextmanager
    def arrays(self) -> Iterator[Mapping[str, np.ndarray]]:
        """The expected arrays, empty if the case has none."""
        path = self.path.with_suffix(".npz")
        if not path.exists():
            yield {}
            return
        with np.load(path, allow_pickle=False) as arrays:
            yield arrays


@dataclass(frozen=True)
class ParityContext:
    """What an adapter may need beside the case.

    Attributes:
        folder: The folder of the case's files.
        tmp_path: An empty folder.
    """

    folder: Path
    tmp_path: Path

    def fill(self, key: str, shape: Sequence[int], dtype: str = "float32") -> Any:
        """The tensor that a golden checkpoint holds under `key`."""
        return _load(HERE / "filling.py").fill(key, shape, dtype)

    def tensor(self, name: str, shape: Sequence[int], scale: float = 1.0) -> Any:
        """The golden input called `name`."""
        return _load(HERE / "filling.py").tensor(name, shape, scale)

    def input(self, spec: Mapping[str, Any]) -> Any:
        """The input that an entry of a case's `inputs` describes."""
        made = self.tensor(spec["name"], spec.get("tensor_shape", spec["shape"]), spec.get("scale", 1.0))
        repeat = spec.get("repeat", 1)
        return made.repeat_interleave(repeat, -2).repeat_interleave(repeat, -1) if repeat > 1 else made

    def state_dict(self, case: Mapping[str, Any]) -> dict[str, Any]:
        """The case's fake checkpoint under its published keys."""
        tensors = {key: self.fill(key, shape, dtype) for key, (dtype, shape) in case["state_dict"].items()}
        for suffix, factor in case.get("post_fill", []):
            tensors |= {key: value * factor for key, value in tensors.items() if key.endswith(suffix)}
        return tensors

    def legacy_generator(self, seed: int) -> Any:
        """NumPy's old generator as samplers draw from it."""
        return _load(HERE / "filling.py").LegacyGenerator(seed)

    def write_checkpoint(self, case: Mapping[str, Any], path: Path) -> Path:
        """The case's fake checkpoint as its publisher would have written it: Lightning's layout (EPIC), or mmengine's."""
        config, tensors = case["config"], self.state_dict(case)
        if config.get("type") == "Recognizer2D":
            torch.save({"meta": {"epoch": 1}, "state_dict": tensors}, path)
            return path
        settings = {
            "modality": config["modality"],
            "data": {"frame_count": config["num_segments"], "segment_length": config["segment_length"]},
            "model": {"type": config["model"], "backbone": config["base_model"], "dropout": config["dropout"]},
        }
        settings["model"] |= {name: config[name] for name in ("shift_div", "partial_bn") if name in config}
        torch.save({"state_dict": {f"model.{k}": v for k, v in tensors.items()}, "hyper_parameters": settings}, path)
        return path

    def is_close(self, actual: Any, expected: np.ndarray) -> bool:
        """Whether numbers agree within rtol 1e-4 and atol 1e-4 of the expected numbers' standard deviation."""
        values = np.asarray(actual)
        return values.shape == expected.shape and np.allclose(values, expected, rtol=1e-4, atol=1e-4 * float(expected.std()))

    def assert_close(self, actual: Any, expected: np.ndarray, what: str) -> None:
        """Fail if `is_close` does not hold; the message says by how much."""
        values = np.asarray(actual)
        assert values.shape == expected.shape, f"{what} has shape {values.shape}, expected {expected.shape}"
        worst = float(np.abs(values - expected).max())
        assert self.is_close(values, expected), f"{what} is off by up to {worst:.3g} (std {expected.std():.3g})"

    def real_data(self) -> Path:
        """The folder of real data, or a skip."""
        folder = os.environ.get("ZOOPRAXIS_REAL_DATA")
        if not folder:
            pytest.skip("ZOOPRAXIS_REAL_DATA is not set; it names a folder with epic100/, videos/ and weizmann4/")
        return Path(folder).resolve()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "golden" in metafunc.fixturenames:
        cases = _find_cases()
        metafunc.parametrize("golden", cases, ids=[case.name for case in cases])


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reasons = [report.longrepr[2] for report in terminalreporter.stats.get("skipped", []) if isinstance(report.longrepr, tuple)]
    without = sorted(reason.partition(NO_ADAPTER)[2] for reason in reasons if NO_ADAPTER in reason)
    if without:
        terminalreporter.section("golden cases without an adapter")
        for entry in without:
            terminalreporter.line(f"{NO_ADAPTER}{entry}")


@pytest.fixture
def context(golden: GoldenCase, tmp_path: Path) -> ParityContext:
    """What the case's adapter may need."""
    return ParityContext(golden.path.parent, tmp_path)


def _find_cases() -> list[GoldenCase]:
    root = Path(os.environ.get("ZOOPRAXIS_GOLDENS") or HERE / "goldens").resolve()
    if not root.is_dir():
        raise pytest.UsageError(f"ZOOPRAXIS_GOLDENS={root} is no folder")
    adapters = [_load(path) for path in sorted((HERE / "adapters").glob("*.py"))]
    cases: list[GoldenCase] = []
    for path in sorted(root.rglob("*.json")):
        content = json.loads(path.read_text())
        if isinstance(content, list):
            content = {"case": path.stem, "rows": content}
        named = {"case": "", **content}
        matching = tuple(adapter for adapter in adapters if adapter.matches(named))
        if matching or "case" in content:
            cases.append(GoldenCase(str(content.get("case", path.stem)), path, named, matching))
    for path in sorted(root.rglob("*.npz")):
        named = {"case": path.stem}
        matching = tuple(adapter for adapter in adapters if adapter.matches(named))
        if matching and not path.with_suffix(".json").exists():
            cases.append(GoldenCase(path.stem, path, named, matching))
    return cases


_loaded: dict[Path, ModuleType] = {}


def _load(path: Path) -> ModuleType:
    if path not in _loaded:
        spec = importlib.util.spec_from_file_location(f"parity_{path.parent.name}_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        _loaded[path] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(_loaded[path])
    return _loaded[path]
