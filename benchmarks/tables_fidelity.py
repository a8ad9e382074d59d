"""The page on what comes back of a file beside its sound, from reports/fidelity.json."""

from __future__ import annotations

from typing import Any

from tables_markdown import Report

SIGNS = {"held": "✓", "named": "n", "lost": "✗"}
OURS = "tinysignal"


def fidelity(report: Report) -> str:
    """The whole page."""
    peers = [name for name in report["versions"] if name != OURS]
    return "\n".join(
        [*_head(report), *_table(report), "", *_figures(report), *_peers(report, peers)]
    )


def _head(report: Report) -> list[str]:
    versions = ", ".join(f"{name} {number}" for name, number in report["versions"].items())
    cells = [
        cell for row in report["rows"].values() for cell in row[OURS].get("cells", {}).values()
    ]
    counts = {sign: cells.count(name) for name, sign in SIGNS.items()}
    failed = sum("failed" in row[OURS] for row in report["rows"].values())
    return [
        "# Fidelity: what comes back of a file",
        "",
        "Made by `python benchmarks/fidelity.py` and `python benchmarks/tables.py` "
        f"({versions}; FFmpeg {report['ffmpeg']}).",
        "",
        f"{len(report['rows'])} kinds of file, each with what its kind can hold beside the sound, "
        "were denoised with `tinysignal denoise FILE -o FILE`. Before and after were compared by "
        "FFmpeg and mutagen. ✓: came back; n: did not, and the command says so; ✗: lost in "
        "silence; empty: not in the file. "
        f"In all: {counts['✓']} ✓, {counts['n']} n, {counts['✗']} ✗, {failed} files refused.",
        "",
        "`length` and `sync` allow one sample where the codec is lossless and one frame of the "
        "codec where it is not; `bit rate` allows 15 %; `chunks` are broadcast data, cue marks, "
        "loops and the like, compared byte by byte.",
        "",
    ]


def _table(report: Report) -> list[str]:
    columns = report["columns"]
    lines = [
        f"| file | {' | '.join(columns)} |",
        f"| --- |{' :-: |' * len(columns)}",
    ]
    for kind, row in report["rows"].items():
        ours = row[OURS]
        if "failed" in ours:
            lines.append(f"| {kind} | refused: {ours['failed']} |" + " |" * (len(columns) - 1))
        else:
            signs = [SIGNS[ours["cells"][c]] if c in ours["cells"] else "" for c in columns]
            lines.append(f"| {kind} | {' | '.join(signs)} |")
    return lines


def _figures(report: Report) -> list[str]:
    late = {
        kind: row[OURS]
        for kind, row in report["rows"].items()
        if row[OURS].get("late_samples") or row[OURS].get("longer_samples")
    }
    if not late:
        return ["Every file came back with its length and in step, to the sample.", ""]
    lines = [
        "Not to the sample, but within one frame of their codec, came back:",
        "",
        "| file | later, samples | longer, samples |",
        "| --- | ---: | ---: |",
    ]
    lines += [f"| {k} | {v['late_samples']} | {v['longer_samples']} |" for k, v in late.items()]
    return [*lines, ""]


def _peers(report: Report, peers: list[str]) -> list[str]:
    lines = [
        "## Other commands on the same files",
        "",
        "| command | files written | ✓ | n | ✗ | shortest answer to a refused file |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for name in (OURS, *peers):
        runs: list[dict[str, Any]] = [row[name] for row in report["rows"].values()]
        cells = [cell for run in runs for cell in run.get("cells", {}).values()]
        counts = " | ".join(str(cells.count(verdict)) for verdict in SIGNS)
        refusals = sorted((run["failed"] for run in runs if "failed" in run), key=len)
        said = f"`{refusals[0].replace('|', '/')[:90]}`" if refusals else ""
        lines.append(f"| {name} | {len(runs) - len(refusals)} of {len(runs)} | {counts} | {said} |")
    return [
        *lines,
        "",
        "demucs and DeepFilterNet's own command fetch their weights from the network when they "
        "first run, and are not measured here.",
        "",
    ]
