"""Tables of ``tinysignal compress``."""

from __future__ import annotations

from typing import Any

from rich.markup import escape
from rich.table import Table

from tinysignal.cli.terminal import Console

MODELS = ("before", "after", "int8")


def show_report(report: dict[str, Any]) -> None:
    """Print scores, sizes and times before and after, and the rank of each layer."""
    console = Console()
    models = [name for name in MODELS if name in report]
    table = Table("", title=escape(f"{report['run']}, {_asked(report)}"))
    for name in models:
        table.add_column(name, justify="right")
    for label, cells in _lines(report, models):
        table.add_row(escape(label), *cells)
    console.print(table)
    if report["layers"]:
        console.print(_layers(report))


def _layers(report: dict[str, Any]) -> Table:
    layers = Table("layer", "kind", title="layers")
    for name in ("rank", "parameters before", "after", "error"):
        layers.add_column(name, justify="right")
    for row in report["layers"]:
        before, after = row["parameters"]
        rank = "whole" if row["rank"] is None else f"{row['rank']} of {row['full_rank']}"
        layers.add_row(
            escape(row["name"]),
            row["kind"],
            rank,
            f"{before:,}",
            f"{after:,}",
            f"{row['error']:.2%}",
        )
    for name, reason in report["skipped"].items():
        layers.add_row(escape(name or "the network itself"), escape(f"left whole: {reason}"))
    return layers


def _asked(report: dict[str, Any]) -> str:
    if not report["layers"]:
        return "all layers whole"
    budget = ", ".join(f"{name} {value:g}" for name, value in report["budget"].items())
    return f"{budget or 'a plan'}, {report['method']}"


def _lines(report: dict[str, Any], models: list[str]) -> list[tuple[str, list[str]]]:
    lines = _score_lines(report, models)
    counts = {
        "parameters": "parameters",
        "macs": "MACs, an example",
        "macs_per_s": "MACs, a second",
    }
    counts |= {"bytes": "bytes", "bytes_zipped": "bytes, zipped"}
    for key, label in counts.items():
        if key in report["before"]:
            cells = [f"{report[name][key]:,}{_share(report, name, key)}" for name in models]
            lines.append((label, cells))
    if "real_time_factor" in report["before"]:
        factors = [f"{report[name]['real_time_factor']:.2g}" for name in models]
        lines.append(("real-time factor, network alone", factors))
    latency = report["latency"]
    for runtime, title in (("onnxruntime", "ONNX Runtime"), ("torch", "torch")):
        for batch, times in latency[runtime].items():
            what = latency["counted"].rstrip("s" if batch == "1" else "")
            lines.append(
                (f"{title}, {batch} {what}", [_time(times, name, "median_ms") for name in models])
            )
            lines.append(("  99th percentile", [_time(times, name, "p99_ms") for name in models]))
    return lines


def _share(report: dict[str, Any], name: str, key: str) -> str:
    return "" if name == "before" else f" ({report[name][key] / report['before'][key]:.2%})"


def _score_lines(report: dict[str, Any], models: list[str]) -> list[tuple[str, list[str]]]:
    metric, split = report["metric"], report["split"]
    scores = [report[name][split] for name in models]
    shown = [_shown(metric, score) for score in scores]
    lines = [(f"{metric['label']}, {split}", shown)]
    low, high = f"{metric['key']}_low", f"{metric['key']}_high"
    if low in scores[0]:
        intervals = [f"{s[low]:.2%} to {s[high]:.2%}" for s in scores]
        lines.append((f"  95 %, {scores[0]['examples']} examples", intervals))
    return lines


def _shown(metric: dict[str, str], scores: dict[str, float]) -> str:
    return metric["format"].format(scores[metric["key"]])


def _time(times: dict[str, Any], name: str, key: str) -> str:
    if name not in times:
        return "-"
    shown = f"{times[name][key]:.3g} ms"
    if name == "before" or key != "median_ms":
        return shown
    return f"{shown}, {times['before'][key] / times[name][key]:.3g} x"


def show_sweep(found: dict[str, Any]) -> None:
    """Print a table with a row for each network of a sweep."""
    rows = found["points"]
    splits = [split for split in ("train", "valid", "test") if split in rows[0]]
    table = Table("method", "rank", title=escape(found["run"]))
    names = [f"{found['metric']['label']}, {split}" for split in splits]
    for name in (*names, "parameters", "bytes", "1: ms", "1024: ms"):
        table.add_column(name, justify="right")
    for row in rows:
        shown = [_shown(found["metric"], row[split]) for split in splits]
        times = [f"{row[f'onnxruntime_{batch}_ms']:.3g}" for batch in (1, 1024)]
        rank = "-" if row["rank"] is None else str(row["rank"])
        sizes = [f"{row['parameters']:,}", f"{row['bytes']:,}"]
        table.add_row(row["method"], rank, *shown, *sizes, *times)
    Console().print(table)
    print(f"best rank: {found['best_rank']}")
