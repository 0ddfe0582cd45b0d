from __future__ import annotations

from pathlib import Path

import pytest

from zoopraxis.config.localization import LocalizationConfig
from zoopraxis.errors import ConfigError
from zoopraxis.localization.network import BoundaryMatchingNetwork
from zoopraxis.training.localization.checkpoints import Localizer
from zoopraxis.training.localization.settings import settings_of_test, with_settings
from zoopraxis.training.options import TestOptions


@pytest.fixture
def localizer() -> Localizer:
    network = BoundaryMatchingNetwork(
        in_dim=4, num_steps=8, max_duration=4, num_samples=2, base_dim=4, match_dim=4, map_dim=4, groups=1
    )
    config = LocalizationConfig()
    config.data.root, config.data.num_steps, config.data.max_duration = "/features", 8, 4
    return Localizer(network, {}, {"rgb": 4}, config, "a network", None)


def test_options_and_settings_change_what_has_a_part_in_a_test(localizer: Localizer, tmp_path: Path) -> None:
    settings = ["proposals.per_second=2.5", "proposals.nms.low=0.1", "classes.by=none", "data.stride=2", "data.root=/other"]
    options = TestOptions(root="/mine", annotations=str(tmp_path), batch_size=3, settings=settings)
    config = settings_of_test(localizer, options, "val")
    assert (config.data.root, config.data.annotations, config.data.batch_size) == ("/other", str(tmp_path), 3)
    assert (config.data.stride, config.data.modalities) == (2, ["rgb"])
    assert (config.proposals.per_second, config.proposals.nms.low, config.classes.by) == (2.5, 0.1, "none")
    assert localizer.config is not None
    assert localizer.config.proposals.per_second == 1.0


def test_annotations_that_are_a_file_are_of_the_split(localizer: Localizer, tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("")
    assert settings_of_test(localizer, TestOptions(annotations=str(file)), "test").data.test == str(file)


def test_a_published_network_tells_its_own_window(localizer: Localizer) -> None:
    published = Localizer(localizer.network, {}, {}, None, "a published network", None)
    config = settings_of_test(published, TestOptions(root="/features", modalities=["rgb"]), "val")
    assert (config.data.num_steps, config.data.max_duration, config.data.modalities) == (8, 4, ["rgb"])
    with pytest.raises(ConfigError, match=r"does not say where the features are; name their folder with --root"):
        settings_of_test(published, TestOptions(), "val")


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (TestOptions(num_clips=3), r"num_clips=3 has no effect on a network that finds actions in long videos; leave it out"),
        (TestOptions(modalities=["flow"]), r"modalities=flow, but the checkpoint tells which its network takes: rgb; leave"),
        (TestOptions(settings=["data.num_steps=9"]), r"data\.num_steps=9, but the network is made for 8; leave it out"),
        (
            TestOptions(settings=["loss.overlap=1"]),
            r"loss\.overlap has no part in a test, only settings of data, proposals, cl",
        ),
        (TestOptions(settings=["per_second"]), r"cannot read the setting 'per_second'; write e\.g\. proposals\.per_second=2"),
        (TestOptions(settings=["proposals.peak=[1"]), r"cannot read the value of 'proposals\.peak=\[1'; quote it"),
        (TestOptions(settings=["proposals.peek=1"]), r"unknown setting proposals\.peek=1; did you mean proposals\.peak\?"),
        (TestOptions(settings=["proposals.peak=2"]), r"proposals\.peak=2"),
    ],
)
def test_what_does_not_fit_is_told(options: TestOptions, line: str, localizer: Localizer) -> None:
    with pytest.raises(ConfigError, match=line):
        settings_of_test(localizer, options, "val")


def test_settings_leave_the_given_ones_alone() -> None:
    config = LocalizationConfig()
    changed = with_settings(config, ["classes.scores=/scores", "data.heads=[verb]"])
    assert (changed.classes.scores, changed.data.heads) == ("/scores", ["verb"])
    assert (config.classes.scores, config.data.heads) == (None, [])
