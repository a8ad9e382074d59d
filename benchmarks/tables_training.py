"""The table of training on corpora by their length."""

from __future__ import annotations

from tables_markdown import Report, table

_WAYS = {"in memory": "none", "first": "empty", "second": "filled"}


def corpus(report: Report) -> str:
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
