"""Tables of `peers.py`: the bundled denoiser beside those that people install."""

from __future__ import annotations

from tables_markdown import Report, Tables, markdown

_PEERS = {"pesq_wb": "PESQ-WB", "stoi": "STOI", "estoi": "ESTOI", "si_sdr": "SI-SDR, dB"}
_PEERS |= {"dnsmos_ovrl": "DNSMOS"}


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


def peers_snr(report: Report) -> str:
    """The mixtures by their SNR: a table for each metric that all have."""
    scored = {
        who: row["mixtures"]["by_snr"] for who, row in _peer_rows(report) if "mixtures" in row
    }
    levels = list(next(iter(scored.values())))
    cells = [by_snr[level] for by_snr in scored.values() for level in levels]
    parts = []
    for key, title in _PEERS.items():
        if not all(key in cell for cell in cells):
            continue
        digits = 3 if "stoi" in key else 1 if "sdr" in key else 2
        rows = [
            [who, *(f"{by_snr[level][key]['mean']:.{digits}f}" for level in levels)]
            for who, by_snr in scored.items()
        ]
        parts.append(markdown([title, *(f"{level} dB" for level in levels)], rows))
    parts.append(f"Means of {cells[0]['si_sdr']['files']} mixtures each.")
    return "\n\n".join(parts)


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
        "Latency is the delay of the output, found by cross-correlation, and a hop. "
        f"{report['machine']['cpu']}, {report['date']}.\n\n" + "\n".join(notes)
    )


def _peer_rows(report: Report) -> list[tuple[str, Report]]:
    """Doing nothing first, then ours, then the others."""
    ours = {"tinysignal": report["peers"]["tinysignal"]}
    return [("noisy", report["noisy"]), *(ours | report["peers"]).items()]


def _interval(found: Report, digits: int) -> str:
    return f"{found['mean']:.{digits}f} ± {found['half_width']:.{digits}f}"


TABLES: Tables = {
    "peers-quality": ("peers", peers_quality),
    "peers-snr": ("peers", peers_snr),
    "peers-cost": ("peers", peers_cost),
}
