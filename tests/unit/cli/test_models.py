"""`zoopraxis models`: lists, one network in full, a network of one's own, and JSON."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from zoopraxis.cli import main
from zoopraxis.cli.models import command
from zoopraxis.errors import ConfigError
from zoopraxis.models import WEIGHTS, Evaluation

OWN = ["model.backbone=resnet18", "data.num_segments=2", "data.transform.size=64"]


def _json(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert main(["models", "--json", *arguments]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_list_shows_sizes_costs_results_and_addresses_by_data_set(capsys: pytest.CaptureFixture[str]) -> None:
    command(["tsm_resnet50"])
    shown = capsys.readouterr().out
    epic, kinetics = shown.index("EPIC-KITCHENS-100, val action\n"), shown.index("Kinetics-400, val\n")
    assert epic < shown.index("tsm_resnet50.epic100_rgb") < kinetics < shown.index("tsm_resnet50.kinetics_rgb")
    (row,) = [line for line in shown.splitlines() if line.startswith("tsm_resnet50.epic100_rgb")]
    assert row.split()[1:] == ["24.32M", "32.70", "8x224", "1x1", "35.75", "57.27"]
    assert "https://www.dropbox.com/s/5yxnzubch7b6niu/tsm_rgb.ckpt?dl=1" in shown
    assert "tsn_resnet50" not in shown


def test_the_whole_list_fits_100_columns_and_ends_with_the_parts(capsys: pytest.CaptureFixture[str]) -> None:
    command()
    shown = capsys.readouterr().out
    for name in WEIGHTS.names():
        assert f"\n{name} " in shown
    assert max(len(line) for line in shown.splitlines() if "https://" not in line) <= 100
    parts = shown.partition("To make a network of your own:\n")[2]
    assert "  models (model.name): " in parts
    assert "tsm, tsn" in parts
    assert "shift" in parts
    assert "segments" in parts
    assert "tsm_rgb" in parts


def test_one_network_is_shown_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    command(["tsm_resnet50.epic100_flow"])
    shown = capsys.readouterr().out
    for text in (
        "tsm, 97 verbs, 300 nouns; modality=flow, segment_length=5",
        "24,343,437",
        "34.90 GMACs a view of 8 frames of 224x224",
        "one view of 8 frames, 224x224:",
        "val action top-1 27.79",
        "test action top-1 27.99",
        "std=[0.226]",
        'zoopraxis.load_model("tsm_resnet50.epic100_flow")',
        "https://www.dropbox.com/s/8x9hh404k641rqj/tsm_flow.ckpt?dl=1",
    ):
        assert text in shown, text


def test_views_are_told_with_how_they_are_averaged(capsys: pytest.CaptureFixture[str]) -> None:
    command(["tsm*1x1x16"])
    assert "1 clips x 10 crops of 16 frames, 224x224, mean of probabilities:" in capsys.readouterr().out


def test_json_has_one_entry_a_published_network_and_the_parts(capsys: pytest.CaptureFixture[str]) -> None:
    told = _json(capsys, "ts?_*.epic100_flow")
    entries = told["published"]
    assert [entry["name"] for entry in entries] == ["tsm_resnet50.epic100_flow", "tsn_resnet50.epic100_flow"]
    assert entries[0]["evaluations"][0]["accuracy"] == {"val/action@1": 27.79, "test/action@1": 27.99}
    assert entries[0]["preprocessing"]["segment_length"] == 5
    assert (entries[0]["parameters"], entries[0]["gmacs"]) == (24_343_437, 34.900830208)
    assert entries[1]["view"] == {"num_frames": 25, "size": 224}
    assert told["network"] is None
    assert {"tsn", "tsm"} <= set(told["models"])
    assert "shift" in told["temporal_modules"]


def test_a_network_of_ones_own_stands_beside_published_ones_of_its_classes(capsys: pytest.CaptureFixture[str]) -> None:
    told = _json(capsys, "tsm", "model.temporal=shift", "model.heads={label:400}", *OWN)
    own = told["network"]
    assert (own["model"]["backbone"], own["model"]["temporal"], own["view"]) == (
        "resnet18",
        "shift",
        {"num_frames": 2, "size": 64},
    )
    assert own["parameters"] == 11_176_512 + 400 * 513
    assert own["gmacs"] == pytest.approx(0.29614, rel=1e-3)
    assert {entry["data"] for entry in told["published"]} == {"Kinetics-400"}
    assert main(["models", "tsm", "--config-name", "tsm_rgb", *OWN]) == 0
    shown = capsys.readouterr().out
    assert "your network: tsm on resnet18, 97 verbs, 300 nouns (as in EPIC-KITCHENS-100; for others give " in shown
    rows = [line.split()[0] for line in shown.splitlines() if "x224" in line or "2x64" in line]
    assert rows == ["your", "tsm_resnet50.epic100_flow", "tsm_resnet50.epic100_rgb"]
    assert "\nEPIC-KITCHENS-100, val action\n" in shown


def test_a_network_of_adaptation_is_counted_where_it_is_on_clips(capsys: pytest.CaptureFixture[str]) -> None:
    small = ["model.backbone=resnet18", "model.heads={label:7}", "data.transform.size=64"]
    own = _json(capsys, "tsm", "--config-name", "ta3n_video_epic", *small)["network"]
    assert (own["model"]["name"], own["view"]) == ("ta3n", {"num_frames": 5, "size": 64})
    assert own["gmacs"] == pytest.approx(5 * 0.14807, rel=0.02)


def test_speed_is_measured_on_request(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    first = Evaluation(accuracy={"val/label@1": 50.0}, num_frames=2, size=32)
    record = dataclasses.replace(
        WEIGHTS.get("tsm_resnet50.kinetics_rgb"),
        name="tsm_resnet18.small",
        model={"name": "tsm", "backbone": "resnet18", "heads": {"label": 3}},
        evaluations=(first,),
    )
    monkeypatch.setitem(WEIGHTS._entries, record.name, record)
    told = _json(capsys, "--speed", "resnet18", *OWN, "model.heads={label:3}")
    for entry, size in ((told["network"], 64), (told["published"][0], 32)):
        assert entry["speed"]["clips_per_second"] > 0
        assert (entry["speed"]["num_frames"], entry["speed"]["size"]) == (2, size)
    command([record.name], speed=True)
    assert "clips/s on cpu, peak memory -" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["tsm_resnet50.epic100_rbg"], "no published weights match 'tsm_resnet50.epic100_rbg'; did you mean '{}'?"),
        (["tsm", "tsn"], "one pattern at a time, not tsm tsn; quote one such as 'ts?_*flow'"),
        (["model.bakbone=resnet18"], "unknown setting model.bakbone=resnet18; did you mean model.backbone?"),
        (["model.name=tsq"], "unknown model 'tsq'; did you mean 'ts"),
        (
            ["--config-name", "ta3n_epic"],
            "the recipe's network is on features, and only networks on clips are counted here; name a recipe of clips",
        ),
        (
            ["model.backbone=vit_tiny_patch16_224", "data.transform.size=64"],
            "the network takes no view of 8 frames of 64x64: Input height (64) doesn't match model (224).",
        ),
    ],
)
def test_wrong_input_is_one_line_and_status_2(arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"zoopraxis: error: {line.format('tsm_resnet50.epic100_rgb')}")
    assert err.count("\n") == 1


def test_a_pattern_without_a_match_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="no published weights match 'zzz'; known: "):
        command(["zzz"])
