"""Tables of training: corpora by their length, and what a step costs."""

from __future__ import annotations

from tables_markdown import Report, page, table

_WAYS = {"in memory": "none", "first": "empty", "second": "filled"}


def cache(report: Report) -> str:
    """Memory and time to the first step, by hours of sound, with and without a cache."""
    rows = [
        [f"{row['hours']:g} h", cache, f"{found['peak_mib']:,} MiB",
         f"{found['first_step_cpu_s']:g} s", f"{found['first_step_s']:g} s"]
        for row in report["corpora"]
        for way, cache in _WAYS.items()
        if (found := row.get(way))
    ]  # fmt: skip
    header = ["sound", "cache", "most memory", "processor time to the first step", "on the clock"]
    held = ", ".join(f"{row['cache_mib'] / 1024:.1f} GiB" for row in report["corpora"])
    return "\n\n".join([
        table(header, rows),
        f"Files of {report['file_s']} s, `--arch linear`, two cores shared with other work (load "
        f"{report['load']:g}, so the clock says little). A cache takes {held}.",
    ])  # fmt: skip


_PARTS = ("mixing", "forward", "loss", "backward", "optimiser")


def throughput(report: Report) -> str:
    """Seconds of sound for a processor second, and the shares of a step, by network."""
    rows = []
    for row in report["networks"]:
        whole_s = sum(row[part] for part in _PARTS)
        shares = [f"{100 * row[part] / whole_s:.0f} %" for part in _PARTS]
        rows.append([f"`{row['name']}`", f"{row['per_cpu_s']:g} s", *shares])
    machine = report["machine"]
    return page(
        "What training costs",
        "Seconds of sound that one core trains on in a second of its time, and where that goes. "
        f"{machine['cpu']}, one thread; medians of {report['steps']} steps of each, taken in "
        f"turn on a machine that was shared (load {report['load']:g}).",
        table(["network", "sound", *_PARTS], rows),
        "`--workers` takes the mixing to other processes. On two cores that are busy anyway, that "
        "gains at most its share: the default of 0 loads in the training process.",
        "Made by `python benchmarks/throughput.py` and `python benchmarks/tables.py`.",
    )
