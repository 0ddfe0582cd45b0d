from pathlib import Path

import pytest

from zoopraxis.toy import ToyConfig, ToyKitchen, generate


@pytest.fixture(scope="session")
def tiny_config() -> ToyConfig:
    return ToyConfig(
        resolution=(32, 48),
        fps=10.0,
        num_participants=6,
        videos_per_participant=2,
        actions_per_video=3,
        action_seconds=(0.5, 0.8),
        unlabelled_seconds=(0.2, 0.4),
    )


@pytest.fixture(scope="session")
def tiny_kitchen(tmp_path_factory: pytest.TempPathFactory, tiny_config: ToyConfig) -> ToyKitchen:
    root: Path = tmp_path_factory.mktemp("toy") / "kitchen"
    return generate(root, tiny_config)
