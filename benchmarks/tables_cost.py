"""Tables of `cost.py`: time, memory and size beside noisereduce."""

from __future__ import annotations

from tables_markdown import Report, TableError, Tables, markdown


def cost(report: Report) -> str:
    """All of it."""
    parts = [cost_speed(report), cost_memory(report)]
    if report["install"] is not None:
        parts.append(cost_install(report))
    return "\n\n".join(parts)


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


def cost_memory(report: Report) -> str:
    """Peak memory against the length of the file."""
    rows = [
        [_length(row["minutes"]), _peak(row, "tinysignal"), _peak(row, "noisereduce")]
        for row in report["memory"]
    ]
    header = ["stereo file at 48 kHz", "tinysignal, MiB", "noisereduce, MiB"]
    return f"{markdown(header, rows)}\n\nPeak resident memory of the whole command."


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


TABLES: Tables = {
    "cost": ("cost", cost),
    "cost-speed": ("cost", cost_speed),
    "cost-memory": ("cost", cost_memory),
    "cost-install": ("cost", cost_install),
}
