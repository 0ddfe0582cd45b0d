"""How networks are shown by `zoopraxis models`: a list, one network in full, one's own beside the published ones.

An entry is what `--json` gives of a network: name, model, parameters, gmacs, view, speed, and of a published one its results.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from zoopraxis.cli import console

__all__ = ["show_details", "show_list", "show_own", "show_parts"]

Entry = Mapping[str, Any]

_LEGEND = "view: frames x px; views: clips x crops; GMACs: billions of multiply-adds a view; top-1, -5: %"


def show_parts(parts: Mapping[str, Sequence[str]]) -> None:
    """The names of which a network and its training are made."""
    where = {
        "models": "model.name",
        "temporal_modules": "model.temporal, in any of timm's image networks (model.backbone)",
        "samplers": "data.sampling",
        "recipes": "--config-name",
    }
    console.say("To make a network of your own:")
    for part, names in parts.items():
        _say_wrapped(f"  {part.replace('_', ' ')} ({where[part]}): ", ", ".join(names), indent=6)


def show_list(entries: Sequence[Entry]) -> None:
    """One table a data set; each network's address below it."""
    for title, group in _by_data(entries).items():
        rows = [_row(entry) for entry in group]
        addresses = [entry["url"] or f"by hand from {entry['page']}" for entry in group]
        _print_rows(title, rows, has_speed=group[0]["speed"] is not None, below=addresses)
    _say_legend(entries)


def show_own(own: Entry, published: Sequence[Entry]) -> None:
    """The network of one's own, and under it, data set by data set, the published ones of the same classes."""
    model = own["model"]
    heads = _head_words(model["heads"])
    if own["has_default_heads"]:
        heads += " (as in EPIC-KITCHENS-100; for others give e.g. model.heads={label:400})"
    temporal = f" with {model['temporal']}" if model["temporal"] else ""
    console.say(
        f"{own['name']}: {model['name']} on {model['backbone']}{temporal}, {heads}; "
        f"{own['trainable_parameters']:,} of {own['parameters']:,} parameters are trained\n"
    )
    for title, group in (_by_data(published) or {"Published: none with these classes": []}).items():
        _print_rows(title, [_row(entry) for entry in (own, *group)], has_speed=own["speed"] is not None)
    _say_legend([own])


def _by_data(entries: Sequence[Entry]) -> dict[str, list[Entry]]:
    """Published networks by data set and main metric."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(f"{entry['data']}, {_metric_words(_main_metric(entry))}", []).append(entry)
    return dict(sorted(groups.items()))


def _say_legend(entries: Sequence[Entry]) -> None:
    speed = entries[0]["speed"]
    console.say(_LEGEND if speed is None else f"{_LEGEND}; clips/s: on {speed.device}, one clip at a time, here and now")


def _row(entry: Entry) -> list[str]:
    first = entry["evaluations"][0] if entry.get("evaluations") else None
    row = [
        entry["name"],
        f"{entry['parameters'] / 1e6:.2f}M",
        f"{entry['gmacs']:.2f}",
        f"{entry['view']['num_frames']}x{entry['view']['size']}",
    ]
    if first is None:
        row += ["-", "-", "-"]
    else:
        metric = _main_metric(entry)
        top1, top5 = first["accuracy"][metric], first["accuracy"].get(metric.replace("@1", "@5"))
        row += [f"{first['num_clips']}x{first['num_crops']}", f"{top1:.2f}", "-" if top5 is None else f"{top5:.2f}"]
    if entry["speed"] is not None:
        row += [f"{entry['speed'].clips_per_second:.2f}", _memory(entry["speed"])]
    return row


def _print_rows(title: str, rows: Sequence[Sequence[str]], *, has_speed: bool, below: Sequence[str] = ()) -> None:
    """Rows under column names, no wider than their cells; addresses, which are long, stand on lines of their own."""
    columns = ["network", "parameters", "GMACs", "view", "views", "top-1", "top-5"]
    columns += ["clips/s", "memory"] if has_speed else []
    widths = [max(len(row[number]) for row in (columns, *rows)) for number in range(len(columns))]

    def line(row: Sequence[str]) -> str:
        cells = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        return "  ".join((row[0].ljust(widths[0]), *cells))

    console.say(f"{title}\n{line(columns)}\n{'-' * len(line(columns))}")
    for number, row in enumerate(rows):
        console.say(line(row) + (f"\n    {below[number]}" if below else ""))
    console.say("")


def show_details(entry: Entry) -> None:
    """All that is known of one network."""
    model, preprocessing = entry["model"], entry["preprocessing"]
    others = {key: value for key, value in model.items() if key not in ("name", "heads")}
    view = f"{entry['view']['num_frames']} frames of {entry['view']['size']}x{entry['view']['size']}"
    lines = [
        ("network", f"{model['name']}, {_head_words(model['heads'])}{_settings(others, '; ')}"),
        ("parameters", f"{entry['parameters']:,}"),
        ("cost", f"{entry['gmacs']:.2f} GMACs a view of {view}"),
        ("data", entry["data"]),
        *(line for evaluation in entry["evaluations"] for line in _result_lines(evaluation, entry["source"])),
        ("input", _settings(preprocessing, "")),
        ("source", entry["source"]),
        ("address", entry["url"] or f"{entry['page']} (to be downloaded by hand)"),
        ("load", _how_to_load(entry)),
    ]
    if entry["speed"] is not None:
        speed = entry["speed"]
        lines.insert(3, ("speed", f"{speed.clips_per_second:.2f} clips/s on {speed.device}, peak memory {_memory(speed)}"))
    console.say(entry["name"])
    for label, text in lines:
        _say_wrapped(f"  {label:<11} ", text, indent=14)


def _result_lines(evaluation: Mapping[str, Any], source: str) -> Iterable[tuple[str, str]]:
    """Labels and texts: how it was measured, and a line for each split and head."""
    num_clips, num_crops = evaluation["num_clips"], evaluation["num_crops"]
    is_single = num_clips * num_crops == 1
    views = "one view" if is_single else f"{num_clips} clips x {num_crops} crops"
    average = "" if is_single else f", mean of {'probabilities' if evaluation['average'] == 'prob' else 'logits'}"
    other = f" ({evaluation['source']})" if evaluation["source"] != source else ""
    size = f"{evaluation['size']}x{evaluation['size']}"
    yield "published", f"{views} of {evaluation['num_frames']} frames, {size}{average}{other}:"
    accuracy = evaluation["accuracy"]
    for metric, top1 in accuracy.items():
        if metric.endswith("@1"):
            top5 = accuracy.get(metric.replace("@1", "@5"))
            yield "", f"{_metric_words(metric)} top-1 {top1:.2f}" + ("" if top5 is None else f", top-5 {top5:.2f}")


def _how_to_load(entry: Entry) -> str:
    name = entry["name"] if entry["url"] else "PATH"
    return f'zoopraxis.load_model("{name}"), zoopraxis test {name} ..., or train with model.weights={name}'


def _main_metric(entry: Entry) -> str:
    metric: str = next(iter(entry["evaluations"][0]["accuracy"]))
    return metric


def _metric_words(metric: str) -> str:
    """`val/action@1` to `val action`; the one head of plain labels goes without saying."""
    return metric.partition("@")[0].replace("/label", "").replace("/", " ")


def _head_words(heads: Mapping[str, int]) -> str:
    return ", ".join(f"{width} {head}s" for head, width in heads.items())


def _settings(values: Mapping[str, Any], lead: str) -> str:
    shown = ", ".join(f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}" for key, value in values.items())
    return lead + shown if shown else ""


def _say_wrapped(start: str, text: str, *, indent: int) -> None:
    """Text on lines of at most 100 columns; what has no blank, such as an address, is not broken."""
    wrapped = textwrap.wrap(
        start + text, width=100, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False
    )
    console.say("\n".join(wrapped))


def _memory(speed: Any) -> str:
    return "-" if speed.peak_memory is None else f"{speed.peak_memory / 2**20:.0f} MiB"
