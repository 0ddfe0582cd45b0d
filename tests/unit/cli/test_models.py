"""`zoopraxis models`: the table and its JSON."""

from __future__ import annotations

import json

import pytest

from zoopraxis.cli.models import command
from zoopraxis.errors import ConfigError


def test_the_table_shows_names_sizes_accuracies_and_addresses(capsys: pytest.CaptureFixture[str]) -> None:
    command("tsm_resnet50.epic")
    shown = capsys.readouterr().out
    assert "tsm_resnet50.epic100_rgb" in shown
    assert "24.32M" in shown
    assert "val/action@1 35.75" in shown
    assert "https://www.dropbox.com/s/5yxnzubch7b6niu/tsm_rgb.ckpt?dl=1" in shown
    assert "tsn_resnet50" not in shown


def test_json_has_one_entry_a_published_network(capsys: pytest.CaptureFixture[str]) -> None:
    command("ts?_*.epic100_flow", json=True)
    entries = json.loads(capsys.readouterr().out)
    assert [entry["name"] for entry in entries] == ["tsm_resnet50.epic100_flow", "tsn_resnet50.epic100_flow"]
    assert entries[0]["accuracy"] == {"val/action@1": 27.79, "test/action@1": 27.99}
    assert entries[0]["preprocessing"]["segment_length"] == 5
    assert entries[0]["parameters"] == 24_343_437


def test_an_unknown_pattern_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match=r"no published weights match '.*epic100_rbg'; did you mean '.*epic100_rgb'"):
        command("tsm_resnet50.epic100_rbg")
