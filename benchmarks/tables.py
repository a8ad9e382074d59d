"""Turn report files into the Markdown tables of README.md and docs/.

    python benchmarks/tables.py --check    # exit status 1 if a document is behind its report
    python benchmarks/tables.py --write

A document holds ``<!-- table: NAME -->`` and ``<!-- /table -->``, each on a line of its own;
what is between them belongs to this program. A new table is a function from a report to Markdown
under ``@table("NAME")``; its report is ``benchmarks/reports/NAME.json`` unless it says otherwise.
A table that cannot be made yet may stand empty; ``--check`` names it.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
REPORTS = REPOSITORY / "benchmarks" / "reports"

Report = dict[str, Any]
Render = Callable[[Report], str]

TABLES: dict[str, tuple[str, Render]] = {}

_BLOCK = re.compile(
    r"^<!-- table: (?P<name>[\w-]+) -->\n(?P<body>.*?)^<!-- /table -->$", re.MULTILINE | re.DOTALL
)
_MARKER = re.compile(r"^<!-- /?table\b.*$", re.MULTILINE)


class TableError(Exception):
    """A document names a table that cannot be made."""


def table(name: str, *, report: str | None = None) -> Callable[[Render], Render]:
    """Register a function from a report to Markdown under a name."""

    def register(render: Render) -> Render:
        TABLES[name] = (report or name, render)
        return render

    return register


def render_table(name: str, *, reports: Path = REPORTS) -> str:
    """The Markdown of a table, with a newline at its end.

    Raises
    ------
    TableError
        No such table, or its report has not been made.
    """
    if name not in TABLES:
        raise TableError(f"table '{name}', expected one of {', '.join(sorted(TABLES))}.")
    report, render = TABLES[name]
    path = reports / f"{report}.json"
    if not path.exists():
        raise TableError(f"table '{name}' needs {path.name}: run the benchmark that writes it.")
    return render(json.loads(path.read_text(encoding="utf-8"))).strip() + "\n"


def update(text: str, *, reports: Path = REPORTS) -> str:
    """A document's text with its tables made anew.

    Raises
    ------
    TableError
        A table with content cannot be made, see `render_table`; a marker without its counterpart.
    """
    blocks = list(_BLOCK.finditer(text))
    if 2 * len(blocks) != len(_MARKER.findall(text)):
        raise TableError("a table marker without its counterpart.")

    def replace(block: re.Match[str]) -> str:
        name = block["name"]
        try:
            body = render_table(name, reports=reports)
        except TableError:
            if block["body"].strip():
                raise
            return block[0]
        return f"<!-- table: {name} -->\n{body}<!-- /table -->"

    return _BLOCK.sub(replace, text)


def documents(root: Path = REPOSITORY) -> list[Path]:
    """The READMEs, everything in docs/, and the cards of the bundled models."""
    cards = sorted((root / "src" / "tinysignal" / "models").glob("*.md"))
    readmes = [root / "README.md", root / "benchmarks" / "README.md"]
    return [*readmes, *sorted((root / "docs").glob("**/*.md")), *cards]


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; the first column to the left, numbers to the right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def empty_tables(text: str) -> list[str]:
    """Names of the tables without content."""
    return [block["name"] for block in _BLOCK.finditer(text) if not block["body"].strip()]


@table("cost-speed", report="cost")
def cost_speed(report: Report) -> str:
    """Times of whole commands, library calls and the start."""
    rows = []
    for row in report["speed"]:
        channels = "stereo" if row["channels"] == 2 else "mono"
        what = "`tinysignal denoise`" if row["level"] == "command" else "library call"
        label = f"{what}, {row['seconds']} s {channels} at {row['sample_rate_hz'] / 1000:g} kHz"
        rows.append([label, *_times(row), *_real_time_factors(row)])
    rows.append(["`tinysignal denoise`, 1 s mono: the start", *_times(report["start"]), "", ""])
    header = ["", "tinysignal", "noisereduce", "RTF tinysignal", "RTF noisereduce"]
    note = (
        "Median seconds (lowest to highest) of alternating runs on one core, one thread; RTF is "
        "seconds of work for a second of sound, lower is better."
    )
    return f"{markdown(header, rows)}\n\n{note} {_machine(report)}"


@table("cost-memory", report="cost")
def cost_memory(report: Report) -> str:
    """Peak memory against the length of the file."""
    rows = [
        [_length(row["minutes"]), _peak(row, "tinysignal"), _peak(row, "noisereduce")]
        for row in report["memory"]
    ]
    header = ["stereo file at 48 kHz", "tinysignal, MiB", "noisereduce, MiB"]
    return f"{markdown(header, rows)}\n\nPeak resident memory of the whole command."


@table("cost-install", report="cost")
def cost_install(report: Report) -> str:
    """What pip adds to a fresh virtual environment."""
    if report["install"] is None:
        raise TableError("cost.json was made with --skip-install.")
    rows = [
        [f"`pip install {name}`", f"{size['bytes'] / 2**20:.0f}", str(size["packages"])]
        for name, size in (
            ("tinysignal", report["install"]["tinysignal"]),
            ("noisereduce soundfile", report["install"]["noisereduce"]),
        )
    ]
    return markdown(["fresh environment", "MiB", "packages"], rows)


@table("cost")
def cost(report: Report) -> str:
    """All of it."""
    parts = [cost_speed(report), cost_memory(report)]
    if report["install"] is not None:
        parts.append(cost_install(report))
    return "\n\n".join(parts)


@table("course")
def course(report: Report) -> str:
    """The course's experiment."""
    rows = [
        [
            name.removeprefix("course-").removesuffix("-holdout"),
            run["measured_on"],
            f"{run['training_mse']:.5f}",
            f"{run['mse']:.5f}",
            f"{run['snr_in_db']:.2f}",
            f"{run['snr_out_db']:.2f}",
            f"{run['minutes']:.1f}",
            f"{run['precision']}, {run['threads']}",
        ]
        for name, run in report["runs"].items()
    ]
    header = [
        "network",
        "measured on",
        "training MSE",
        "MSE there",
        "SNR in",
        "SNR out",
        "minutes",
        "precision, threads",
    ]
    return (
        f"{markdown(header, rows)}\n\n{report['epochs']} full-batch epochs, seed 0; MSE of "
        "magnitudes (the course's was about 0.0011), SNR in dB. The minutes are those of the runs, "
        "not measured on an idle machine."
    )


@table("course-loops", report="course")
def course_loops(report: Report) -> str:
    """The plain training loop and ours."""
    loops = report["loops"]
    rows = []
    for network, by_loop in loops["seconds_an_epoch"].items():
        plain = by_loop["plain"]["median"]
        for loop, seconds in by_loop.items():
            rows.append(
                [
                    f"{network}, {loop}",
                    f"{1000 * seconds['median']:.0f}",
                    f"{1000 * seconds['low']:.0f} to {1000 * seconds['high']:.0f}",
                    f"{report['epochs'] * seconds['median'] / 60:.1f}",
                    f"{plain / seconds['median']:.1f}",
                ]
            )
    header = ["loop", "ms an epoch", "range", f"minutes for {report['epochs']}", "times faster"]
    return (
        f"{markdown(header, rows)}\n\nMedian of {loops['rounds']} rounds in turn, "
        f"{loops['threads']} threads, torch {report['torch']}. 'plain' is a tutorial's loop in 32 "
        "bits; 'tinysignal' has its data ready and a fused optimiser, callbacks included."
    )


_UNSEEN = {
    "si_sdr": 2,
    "snr": 2,
    "segmental_snr": 2,
    "pesq_wb": 2,
    "stoi": 3,
    "estoi": 3,
    "dnsmos_ovrl": 2,
}


@table("unseen")
def unseen(report: Report) -> str:
    """Unseen speakers and noise: means over all mixtures."""
    first = next(iter(report["scores"].values()))
    labels = [first["metrics"][key]["label"] for key in _UNSEEN]
    rows = [["noisy", *_cells(first["mean"], "noisy")]]
    for name, scores in report["scores"].items():
        rows.append([name, *_cells(scores["mean"], "denoised")])
    counts = report["data"]
    failed = sum(len(scores["failures"]) for scores in report["scores"].values())
    return (
        f"{markdown(['', *labels], rows)}\n\n{counts['mixtures']} mixtures of "
        f"{len(counts['speech']['groups'])} speakers and {len(counts['noise']['groups'])} noise "
        f"recordings that no training or choice saw, at "
        f"{', '.join(f'{snr:g}' for snr in report['snrs_db'])} dB; mean and half width of its "
        f"95 % confidence interval. Failures: {failed}. 'linear' is the course's network with "
        f"`--level {report['linear_metrics']['spec']['level']}`. {report['readings']}"
    )


@table("unseen-snr", report="unseen")
def unseen_snr(report: Report) -> str:
    """SI-SDR and PESQ by input SNR."""
    rows = []
    for name, scores in report["scores"].items():
        for group in scores["by_input_snr"]:
            cells = [
                f"{group['summary'][key][side]['mean']:.2f}"
                for key in ("si_sdr", "pesq_wb")
                for side in ("noisy", "denoised")
            ]
            rows.append([f"{name}, {group['label']}", str(group["files"]), *cells])
    header = ["input SNR", "files", "SI-SDR in", "out", "PESQ in", "out"]
    return markdown(header, rows)


@table("classify")
def classify(report: Report) -> str:
    """Accuracy on the test images, by data and recipe."""
    rows = []
    for row in report["accuracy"]:
        runs = list(row["runs"].values())
        test = [run["test"]["accuracy"] for run in runs]
        first = runs[0]
        if len(runs) > 1:
            spread = f"{100 * min(test):.2f} to {100 * max(test):.2f} ({len(runs)} seeds)"
        else:
            low, high = first["test"]["accuracy_low"], first["test"]["accuracy_high"]
            spread = f"{100 * low:.2f} to {100 * high:.2f} (95 % interval)"
        calibration = statistics.fmean(run["test"]["calibration_error"] for run in runs)
        minutes = statistics.fmean(run["minutes"] for run in runs)
        valid = statistics.fmean(run["valid_accuracy"] for run in runs)
        rows.append(
            [
                f"{row['data']}, {row['recipe']}",
                f"{100 * statistics.fmean(test):.2f}",
                spread,
                f"{100 * valid:.2f}",
                f"{100 * calibration:.2f}",
                str(first["epochs"]),
                f"{minutes:.0f}",
                f"{first['precision']}, {first['threads']}",
            ]
        )
    header = ["data, recipe", "test accuracy, %", "range", "validation, %", "calibration error, %"]
    header += ["epochs", "minutes", "precision, threads"]
    return (
        f"{markdown(header, rows)}\n\nThe test images were read once, after everything was chosen "
        "on validation images; the course got 97.68 % on MNIST. The minutes are those of the runs, "
        "on a machine that did other work too."
    )


@table("classify-time", report="classify")
def classify_time(report: Report) -> str:
    """Seconds to the target on validation images."""
    timed = report["time"]
    plain = statistics.median(r["seconds"] for r in timed["rounds"]["plain"])
    rows = []
    for name, rounds in timed["rounds"].items():
        seconds = [r["seconds"] for r in rounds]
        middle = statistics.median(seconds)
        epochs = ", ".join(str(r["epochs"]) for r in rounds)
        cells = [f"{middle:.0f}", f"{min(seconds):.0f} to {max(seconds):.0f}", epochs]
        rows.append([name, *cells, f"{plain / middle:.1f}"])
    target = f"seconds to {100 * timed['target']:.2f} %"
    return (
        f"{markdown(['loop', target, 'range', 'epochs', 'times faster'], rows)}\n\nOn validation "
        f"images, median of {len(rounds)} rounds in turn, a seed each, {timed['threads']} threads. "
        "'plain' is a tutorial's loop with a per-image loader, 32 bits; ours is the whole command, "
        "from the start of Python to the written model, less the epochs after the target."
    )


@table("inside", report="classify")
def inside(report: Report) -> str:
    """How well every layer parts the classes, in full and in the plane."""
    found = report["inside"]
    rows = []
    for layer in found["layers"]:
        maps = {m["method"]: m for m in layer["maps"]}
        cells = [f"{100 * layer['knn_accuracy']:.1f}"]
        cells += [f"{100 * maps[m]['knn_accuracy']:.1f}" for m in ("PCA", "t-SNE")]
        cells += [f"{maps[m]['trustworthiness']:.3f}" for m in ("PCA", "t-SNE")]
        cells += [f"{maps[m]['silhouette']:.2f}" for m in ("PCA", "t-SNE")]
        rows.append([layer["title"], str(layer["values"]), *cells])
    header = ["layer", "values", "kNN in full, %", "kNN PCA, %", "kNN t-SNE, %"]
    header += ["trust PCA", "trust t-SNE", "silhouette PCA", "silhouette t-SNE"]
    return (
        f"{markdown(header, rows)}\n\n2000 test images of MNIST, the course recipe's network of "
        f"seed 0; {found['seconds']:.0f} s for all of it with {found['threads']} threads."
    )


@table("compress")
def compress(report: Report) -> str:
    """The course's network cut by rank and by share, without and with retraining."""
    seeds = list(report["mnist"].values())
    base = [seed["base"] for seed in seeds]
    rows = [["the network itself", "100", "", _percent(base), ""]]
    course = {"10": 62.5, "20": 85.2, "50": 92.7, "100": 94.8, "200": 95.1}
    for rank, theirs in course.items():
        for method, cuts in seeds[0]["ranks"].items():
            found = [seed["ranks"][method][rank] for seed in seeds]
            share = f"{100 * cuts[rank]['share']:.1f}"
            rows.append([f"rank {rank}, {method}", share, f"{theirs}", *_lost(found, base)])
        if f"rank {rank}" in seeds[0]["shares"]:
            found = [seed["shares"][f"rank {rank}"] for seed in seeds]
            share = f"{100 * found[0]['share']:.1f}"
            rows.append(
                [f"the same share, allotted: `--params {share}%`", share, "", *_lost(found, base)]
            )
    whole = seeds[0]["base_bytes"]
    for name, label, theirs in (
        ("retrained", "retrained, same data, no deformation", "95.68"),
        ("retrained-int8", "the same, int8", ""),
        ("augmented", "retrained, the best recipe's deformation and teacher", ""),
    ):
        found = [seed[name] for seed in seeds]
        size = f"{100 * found[0]['bytes'] / whole:.2f} (bytes)"
        rows.append([label, size, theirs, *_lost(found, base)])
    header = ["MNIST, course recipe", "left, %", "course, %", "test accuracy, %", "points lost"]
    return (
        f"{markdown(header, rows)}\n\nMean of {len(seeds)} networks (seeds) and range, on the test "
        "images, read once. The course's network had 95.4 % before, and its retrained one was "
        "trained from scratch."
    )


@table("compress-peers", report="compress")
def compress_peers(report: Report) -> str:
    """Other tools at the same budget."""
    found = report["peers"]
    rows = []
    for name, result in found.items():
        if name == "budget":
            continue
        cut, again = result["cut"], result["retrained"]
        cells = [f"{100 * cut['share']:.2f}", f"{100 * cut['accuracy']:.2f}"]
        rows.append([name, *cells, f"{100 * again['accuracy']:.2f}"])
    header = ["tool", "parameters left, %", "cut, %", "retrained, %"]
    return (
        f"{markdown(header, rows)}\n\nTest accuracy of one network (seed 0, "
        f"{100 * report['mnist']['0']['base']:.2f} %), one run, the same calibration images and "
        "the same 5 epochs of retraining for all."
    )


@table("compress-times", report="compress")
def compress_times(report: Report) -> str:
    """Milliseconds before and after, one thread."""
    measured = report["times"]["report"]
    rows = []
    for runtime, title in (("onnxruntime", "ONNX Runtime"), ("torch", "torch")):
        for batch, times in measured["latency"][runtime].items():
            before, after = times["before"], times["after"]
            cells = [f"{before['median_ms']:.3g}", f"{after['median_ms']:.3g}"]
            cells += [f"{before['p99_ms']:.3g}", f"{after['p99_ms']:.3g}"]
            ratio = before["median_ms"] / after["median_ms"]
            rows.append([f"{title}, batch {batch}", *cells, f"{ratio:.1f}"])
    header = ["", "ms before", "ms after", "p99 before", "p99 after", "times faster"]
    return (
        f"{markdown(header, rows)}\n\nMedian and 99th percentile of runs in turn, one thread, "
        f"{100 * measured['after']['parameters'] / measured['before']['parameters']:.1f} % of the "
        f"parameters. Profile, plan and apply took {report['times']['seconds']:.0f} s on "
        f"{report['times']['threads']} cores."
    )


@table("compress-others", report="compress")
def compress_others(report: Report) -> str:
    """Networks of another origin at half of their parameters."""
    rows = [
        [
            name,
            f"{result['parameters']:,}".replace(",", " "),
            f"{100 * result['share']:.0f}",
            *(f"{100 * result[key]:.2f}" for key in ("before", "cut", "retrained")),
        ]
        for name, result in report["others"].items()
    ]
    header = ["network", "parameters", "left, %", "before, %", "cut, %", "one epoch more, %"]
    return f"{markdown(header, rows)}\n\nAccuracy on MNIST's test images, one run."


@table("compress-denoiser", report="compress")
def compress_denoiser(report: Report) -> str:
    """The linear denoiser at a tenth of its parameters."""
    found = report["denoiser"]
    side = found["side"]
    times = found["latency"]["onnxruntime"]["1"]
    rows = [
        [
            name,
            f"{found[key]['parameters']:,}".replace(",", " "),
            f"{found[key]['bytes'] / 1e6:.2f}",
            f"{found[key][side]['si_sdr_denoised_db']:.2f}",
            f"{found[key]['real_time_factor']:.4f}",
            f"{times[key]['median_ms']:.3f}",
            f"{times[key]['p99_ms']:.3f}",
        ]
        for name, key in (("before", "before"), ("a tenth, retrained", "after"))
    ]
    header = ["linear denoiser", "parameters", "MB", "SI-SDR, dB", "real-time factor"]
    return (
        f"{markdown([*header, 'ms a frame', 'p99'], rows)}\n\nSI-SDR on the {side} mixtures "
        f"({found['before'][side]['pairs']}, {found['before'][side]['si_sdr_noisy_db']:.2f} dB "
        "before denoising), by which its epoch was chosen as well. Times are of the network alone, "
        "frame by frame, ONNX Runtime, one thread."
    )


_PEERS = {"pesq_wb": "PESQ-WB", "stoi": "STOI", "estoi": "ESTOI", "si_sdr": "SI-SDR, dB"}
_PEERS |= {"dnsmos_ovrl": "DNSMOS"}


@table("peers-quality", report="peers")
def peers_quality(report: Report) -> str:
    """Recorded pairs and mixtures: every denoiser's means."""
    parts = []
    for name, title in (("recordings", "recorded pairs"), ("mixtures", "mixtures")):
        scored = {who: row[name] for who, row in _peer_rows(report) if name in row}
        keys = [key for key in _PEERS if all(key in row for row in scored.values())]
        rows = [
            [who, *(_interval(row[key], 3 if "stoi" in key else 2) for key in keys)]
            for who, row in scored.items()
        ]
        parts.append(markdown([title, *(_PEERS[key] for key in keys)], rows))
    sets = report["sets"]
    mixed = sets["mixtures"]
    failed = [f"{who}: {row['error']}." for who, row in _peer_rows(report) if "error" in row]
    parts.append(
        f"Mean and half width of its 95 % confidence interval over files: "
        f"{sets['recordings']['pairs']} pairs of VoiceBank-DEMAND's test set, and "
        f"{mixed['mixtures']} mixtures of {len(mixed['speech']['groups'])} speakers and "
        f"{len(mixed['noise']['groups'])} noise recordings that no training of ours saw. All at "
        f"16 kHz, aligned with the input. {' '.join(failed)}"
    )
    return "\n\n".join(parts)


@table("peers-snr", report="peers")
def peers_snr(report: Report) -> str:
    """PESQ and SI-SDR of the mixtures, by their SNR."""
    scored = [
        (who, row["mixtures"]["by_snr"]) for who, row in _peer_rows(report) if "mixtures" in row
    ]
    levels = list(scored[0][1])
    rows = []
    for who, by_snr in scored:
        cells = [by_snr[level] for level in levels]
        rows.append([who, *(f"{c['pesq_wb']['mean']:.2f}" for c in cells)])
        rows[-1] += [f"{c['si_sdr']['mean']:.1f}" for c in cells]
    header = ["", *(f"PESQ at {level} dB" for level in levels)]
    header += [f"SI-SDR at {level} dB" for level in levels]
    files = scored[0][1][levels[0]]["si_sdr"]["files"]
    return f"{markdown(header, rows)}\n\nMeans of {files} mixtures each."


@table("peers-cost", report="peers")
def peers_cost(report: Report) -> str:
    """Time, memory, size and latency of every denoiser."""
    rows, notes = [], []
    for who, row in _peer_rows(report):
        if "real_time_factor" not in row:
            continue
        block = row["block_16_ms"]
        times = [f"{block[key]:.2f}" for key in ("p50_ms", "p99_ms")] if block else ["", ""]
        count, size = row.get("parameters"), row.get("model_bytes")
        rows.append(
            [
                f"{who} {row['version']}",
                f"{row['real_time_factor']:.3f}",
                *times,
                f"{row['start_s']:.2f}",
                f"{row['peak_bytes'] / 2**20:.0f}",
                f"{row['install_bytes'] / 2**20:.0f}",
                str(row["packages"]),
                f"{count / 1000:.0f}" if count else "",
                f"{size / 1e6:.2f}" if size else "",
                row["latency"],
            ]
        )
        notes += [f"- {who}: {row['note']}"] if row["note"] else []
    header = ["", "real-time factor", "ms for 16 ms, p50", "p99", "start, s", "peak, MiB"]
    header += ["installed, MiB", "packages", "thousand parameters", "network, MB", "latency"]
    return (
        f"{markdown(header, rows)}\n\nProcessor time on one core, one thread: the call on a file "
        "of 60 s; 16 ms of a stream fed for 10 s, where there is one; the whole process, started "
        "on a file of 1 s (tinysignal: its command). Peak memory with 60 s; installed without the "
        "tools of this benchmark; parameters are the numbers in the ONNX files, with constants. "
        "Latency is the delay of the output, found by cross-correlation, and a hop. The machine "
        f"did other work too. {report['machine']['cpu']}, {report['date']}.\n\n" + "\n".join(notes)
    )


@table("designs")
def designs(report: Report) -> str:
    """Networks for the default, each trained for the same few minutes."""
    rows = [
        [
            f"`{name}`: {row['what']}",
            f"{row['parameters'] / 1000:.0f}",
            f"{row['macs_per_s'] / 1e6:.0f}",
            f"{row['real_time_factor']:.4f}",
            str(row["steps"]),
            f"{row['valid']['si_sdr_denoised_db']:.2f}",
            f"{row['pesq']['denoised']:.2f}",
        ]
        for name, row in report["designs"].items()
    ]
    header = ["", "1000 parameters", "MMAC/s", "real-time factor", "steps", "SI-SDR, dB", "PESQ-WB"]
    first = next(iter(report["designs"].values()))
    return (
        f"{markdown(header, rows)}\n\n{report['minutes']:g} minutes of one core for each, by "
        f"`--recipe default` (linear and cnn: loss `mixed`), seed {report['seed']}, 16 clips of "
        f"3 s a step. "
        f"Scores on {first['pesq']['mixtures']} validation mixtures, which have "
        f"{first['valid']['si_sdr_noisy_db']:.2f} dB and {first['pesq']['noisy']:.2f}."
    )


@table("transparency")
def transparency(report: Report) -> str:
    """What is left alone: a column for every denoiser."""
    columns = [_transparency_cells(row) for row in report["denoisers"].values()]
    rows = [[label, *(column[label] for column in columns)] for label in columns[0]]
    data, first = report["data"], next(iter(report["denoisers"].values()))
    return (
        f"{markdown(['', *report['denoisers']], rows)}\n\nDecibels of output over input; the "
        f"{data['split']} half: speech, {data['speech']['files']} recordings of "
        f"{data['speech']['groups']} speakers with {first['onset']['level_db']['count']} onsets; "
        f"noise, {data['noise']['files']} recordings; music, {', '.join(data['music'])}. Means "
        "come with their 95 % interval by a bootstrap over recordings. SI-SDR is against the "
        "input, so a room's noise that is taken out of it counts as loss. 'The speech in it' is "
        "the part of the output that is like the clean signal."
    )


def _transparency_cells(row: Report) -> dict[str, str]:
    """The cells of one denoiser, by what was measured."""
    cells = {}
    for dbfs, found in row["clean"].items():
        label = f"clean speech at {dbfs} dBFS"
        cells[f"{label}: SI-SDR"] = _mean_and(found["si_sdr_db"], 1)
        cells[f"{label}: its level"] = _mean_and(found["level_db"], 2)
    for label, key, part in (
        ("first 100 ms after a pause, clean", "onset", "level_db"),
        ("the same in noise at 10 dB SNR, noise left included", "onset_in_noise", "level_db"),
        ("the same in noise at 10 dB SNR, the speech in it", "onset_in_noise", "speech_db"),
        ("first 100 ms of a file cut within a word", "cut_start", "level_db"),
    ):
        found = row[key][part]
        cells[label] = (
            f"median {found['median']:.2f}, one in twenty below {found['p05']:.1f}, "
            f"lowest {found['min']:.1f}"
        )
    cells["digital silence: highest sample"] = f"{row['silence_peak']:g}"
    cells["noise at -80 dBFS: level"] = _median_and_highest(row["faint"]["level_db"])
    for kind in ("music", "noise"):
        for dbfs, found in row[kind].items():
            level = _median_and_highest(found["level_db"])
            peak = f"peak at most {found['peak_db']['max']:+.1f}"
            cells[f"{kind} with its peak at {dbfs} dBFS"] = f"{level}; {peak}"
    cells["noise alone at -30 dBFS: level"] = _median_and_highest(row["alone"]["level_db"])
    return cells


def _mean_and(found: Report, digits: int) -> str:
    low, high = (f"{found[key]:.{digits}f}" for key in ("low", "high"))
    return f"{found['mean']:.{digits}f} ({low} to {high}), lowest {found['min']:.{digits}f}"


def _median_and_highest(found: Report) -> str:
    if found["count"] == 1:
        return f"{found['median']:.1f}"
    return f"median {found['median']:.1f}, highest {found['max']:.1f} ({found['highest']})"


def _peer_rows(report: Report) -> list[tuple[str, Report]]:
    """Doing nothing first, then ours, then the others."""
    ours = {"tinysignal": report["peers"]["tinysignal"]}
    return [("noisy", report["noisy"]), *(ours | report["peers"]).items()]


def _interval(found: Report, digits: int) -> str:
    return f"{found['mean']:.{digits}f} ± {found['half_width']:.{digits}f}"


def _percent(shares: list[float]) -> str:
    mean = f"{100 * statistics.fmean(shares):.2f}"
    return f"{mean} ({100 * min(shares):.2f} to {100 * max(shares):.2f})"


def _lost(found: list[Report], base: list[float]) -> list[str]:
    accuracies = [cut["accuracy"] for cut in found]
    lost = statistics.fmean(b - a for a, b in zip(accuracies, base, strict=True))
    return [_percent(accuracies), f"{100 * lost:.2f}"]


def _cells(means: Report, side: str) -> list[str]:
    return [
        f"{means[key][side]['mean']:.{digits}f} ± {means[key][side]['half_width']:.{digits}f}"
        for key, digits in _UNSEEN.items()
    ]


def _times(row: Report) -> list[str]:
    return [
        f"{t['median_s']:.3g} s ({t['min_s']:.3g} to {t['max_s']:.3g})"
        for t in (row["tinysignal"], row["noisereduce"])
    ]


def _real_time_factors(row: Report) -> list[str]:
    return [
        f"{row[name]['median_s'] / row['seconds']:.2g}" for name in ("tinysignal", "noisereduce")
    ]


def _length(minutes: float) -> str:
    return f"{minutes:g} min"


def _peak(row: Report, name: str) -> str:
    return f"{row[name]['peak_bytes'] / 2**20:.0f}" if name in row else "not run"


def _machine(report: Report) -> str:
    machine = report["machine"]
    names = ("tinysignal", "noisereduce", "numpy", "onnxruntime")
    versions = ", ".join(f"{n} {machine['versions'][n]}" for n in names if n in machine["versions"])
    trial = " **Trial run with --quick, not a measurement.**" if report["quick"] else ""
    return f"{machine['cpu']}, Python {machine['python']}, {versions}; {report['date']}.{trial}"


def main() -> int:
    """Check or write the documents."""
    parser = argparse.ArgumentParser(description="Markdown tables from report files")
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--check", action="store_true", help="status 1 if a document is behind")
    mode.add_argument("--write", action="store_true", help="update the documents")
    options = parser.parse_args()
    behind, empty = [], []
    for path in documents():
        text = path.read_text(encoding="utf-8")
        try:
            updated = update(text)
        except TableError as error:
            print(f"{path.name}: {error}", file=sys.stderr)
            return 1
        empty.extend(f"{path.name} ({name})" for name in empty_tables(updated))
        if updated != text:
            behind.append(path.name)
            if options.write:
                path.write_text(updated, encoding="utf-8")
    print(f"{'updated' if options.write else 'behind'}: {', '.join(behind) or 'none'}")
    print(f"still empty: {', '.join(empty) or 'none'}")
    return 1 if options.check and behind else 0


if __name__ == "__main__":
    sys.exit(main())
