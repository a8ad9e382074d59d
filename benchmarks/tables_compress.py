"""Tables of `compress.py`: what is left of a network, and what that costs."""

from __future__ import annotations

import statistics

from tables_markdown import Report, Tables, markdown


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


def _percent(shares: list[float]) -> str:
    mean = f"{100 * statistics.fmean(shares):.2f}"
    return f"{mean} ({100 * min(shares):.2f} to {100 * max(shares):.2f})"


def _lost(found: list[Report], base: list[float]) -> list[str]:
    accuracies = [cut["accuracy"] for cut in found]
    lost = statistics.fmean(b - a for a, b in zip(accuracies, base, strict=True))
    return [_percent(accuracies), f"{100 * lost:.2f}"]


TABLES: Tables = {
    "compress": ("compress", compress),
    "compress-peers": ("compress", compress_peers),
    "compress-times": ("compress", compress_times),
    "compress-others": ("compress", compress_others),
    "compress-denoiser": ("compress", compress_denoiser),
}
