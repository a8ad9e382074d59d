"""The tables that ``tinysignal compress`` prints."""

from __future__ import annotations

from typing import Any

from rich.markup import escape
from rich.table import Table

from tinysignal.cli.terminal import Console

MODELS = ("before", "after", "int8")


def show_report(report: dict[str, Any]) -> None:
    """Print what a compression lost and won, and what became of each layer."""
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
        layers.add_row(escape(name or "the network's own"), escape(f"left: {reason}"))
    return layers


def _asked(report: dict[str, Any]) -> str:
    if not report["layers"]:
        return "nothing cut"
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
    split = report["split"]
    scores = [report[name][split] for name in models]
    if "accuracy" not in scores[0]:
        return [(f"SI-SDR, {split} data", [f"{s['si_sdr_denoised_db']:.2f} dB" for s in scores])]
    return [
        (f"accuracy, {split}", [f"{s['accuracy']:.2%}" for s in scores]),
        (
            f"  95 %, {scores[0]['examples']} examples",
            [f"{s['accuracy_low']:.2%} to {s['accuracy_high']:.2%}" for s in scores],
        ),
    ]


def _time(times: dict[str, Any], name: str, key: str) -> str:
    if name not in times:
        return "-"
    shown = f"{times[name][key]:.3g} ms"
    if name == "before" or key != "median_ms":
        return shown
    return f"{shown}, {times['before'][key] / times[name][key]:.3g} x"


def show_sweep(found: dict[str, Any]) -> None:
    """Print a line for each network of a sweep."""
    rows = found["points"]
    splits = [split for split in ("train", "valid", "test") if split in rows[0]]
    accuracy = "accuracy" in rows[0][splits[0]]
    table = Table("method", "rank", title=escape(found["run"]))
    names = [f"{'accuracy' if accuracy else 'SI-SDR'}, {split}" for split in splits]
    for name in (*names, "parameters", "bytes", "1: ms", "1024: ms"):
        table.add_column(name, justify="right")
    for row in rows:
        scores = [row[split] for split in splits]
        shown = [
            f"{s['accuracy']:.2%}" if accuracy else f"{s['si_sdr_denoised_db']:.2f} dB"
            for s in scores
        ]
        times = [f"{row[f'onnxruntime_{batch}_ms']:.3g}" for batch in (1, 1024)]
        rank = "-" if row["rank"] is None else str(row["rank"])
        sizes = [f"{row['parameters']:,}", f"{row['bytes']:,}"]
        table.add_row(row["method"], rank, *shown, *sizes, *times)
    Console().print(table)
    print(f"best trade: rank {found['best_rank']}")
