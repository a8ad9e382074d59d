"""The figures of the page on trust: what was tried, how often, and what failed."""

from __future__ import annotations

from tables_markdown import Report, table

_KINDS = {"sounds": "sounds", "models": "models and specs", "pictures": "pictures",
          "runs": "files of run folders, manifests"}  # fmt: skip
_PARSERS = {"sound": "sounds and tags", "model": "model files", "manifest": "manifests",
            "idx": "IDX files"}  # fmt: skip
_COMMANDS = {"denoise": "`denoise`, a file", "folder": "`denoise`, a folder", "train": "`train`",
             "compress": "`compress`", "inspect": "`inspect`"}  # fmt: skip
_CALLS = ("open", "read", "write", "fsync", "rename")


def trust(report: Report) -> str:
    """Tables of mutated files, failing calls and kills, and what ran for hours."""
    parts = (_fuzz(report), _guided(report), _inject(report), _kill(report), _soak(report))
    return "\n\n".join(parts)


def _fuzz(report: Report) -> str:
    rows = [
        [what, *(f"{found[key]:,}" for key in ("inputs", "done", "refused")),
         f"{len(found['failures'])}", f"{found['slowest_s']:g} s", f"{found['peak_mib']} MiB"]
        for kind, what in _KINDS.items()
        if (found := report.get(f"fuzz {kind}"))
    ]  # fmt: skip
    header = ["mutated", "inputs", "done", "refused", "failed", "slowest", "most memory"]
    return table(header, rows)


def _guided(report: Report) -> str:
    rows = [
        [what, f"{found['inputs']:,}", str(found["branches_at_start"]), str(found["branches"]),
         str(len(found["failures"]))]
        for name, what in _PARSERS.items()
        if (found := report.get(f"guided {name}"))
    ]  # fmt: skip
    header = ["guided by coverage", "inputs", "branches at the start", "at the end", "failed"]
    return table(header, rows)


def _inject(report: Report) -> str:
    rows = [
        [what, *(str(found.get(call, "-")) for call in _CALLS), str(len(found["failures"]))]
        for name, what in _COMMANDS.items()
        if (found := report.get(f"inject {name}"))
    ]
    return table(["each call fails once", *_CALLS, "failed"], rows)


def _kill(report: Report) -> str:
    again = {"train": "resumed, weights equal bit for bit", "compress": "again, weights equal"}
    rows = [
        [what, again.get(name, "again"), str(found["kills"]), str(found["held"])]
        for name, what in _COMMANDS.items()
        if (found := report.get(f"kill {name}"))
    ]
    return table(["killed at random", "then", "kills", "held"], rows)


def _soak(report: Report) -> str:
    rows = []
    for name, found in report.items():
        if name == "soak side by side":
            many = "{threads} threads, {spawned} spawned and {forked} forked processes"
            cells = [many.format(**found), "the same samples"]
        elif name == "soak loads":
            cells = [f"{found['loads']:,} times loaded and dropped", _grew(found)]
        elif name.startswith("soak stream"):
            off_db = abs(found["level_after_silence_db"])
            cells = [
                f"{found['hours']:g} h in one stream, half of it silence, model `{found['model']}`",
                f"{_grew(found)}, {off_db:g} dB off after the silence",
            ]
        elif name == "soak long file":
            cells = [
                f"one stereo file of {found['hours']:g} h at {found['rate_hz'] / 1000:g} kHz",
                f"at most {found['peak_mib']} MiB, {found['level_db']:g} dB from begin to end",
            ]
        elif name == "soak many files":
            cells = [
                f"{found['files']:,} files in one run, and a second run that has nothing to do",
                f"at most {found['peak_mib']} MiB",
            ]
        else:
            continue
        rows.append([*cells, str(len(found["failures"]))])
    return table(["for long, or at once", "found", "failed"], rows)


def _grew(found: Report) -> str:
    return f"memory grew by {found['growth_mib']:g} MiB"
