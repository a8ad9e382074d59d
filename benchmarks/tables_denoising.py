"""Tables of the denoisers' training and quality: course, unseen, designs, transparency."""

from __future__ import annotations

from tables_markdown import Report, Tables, markdown

_UNSEEN = {
    "si_sdr": 2,
    "snr": 2,
    "segmental_snr": 2,
    "pesq_wb": 2,
    "stoi": 3,
    "estoi": 3,
    "dnsmos_ovrl": 2,
}


def course(report: Report) -> str:
    """The course's experiment."""
    rows = [
        [
            name.removeprefix("course-").removesuffix("-valid_fraction"),
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


def _cells(means: Report, side: str) -> list[str]:
    return [
        f"{means[key][side]['mean']:.{digits}f} ± {means[key][side]['half_width']:.{digits}f}"
        for key, digits in _UNSEEN.items()
    ]


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


TABLES: Tables = {
    "course": ("course", course),
    "course-loops": ("course", course_loops),
    "unseen": ("unseen", unseen),
    "unseen-snr": ("unseen", unseen_snr),
    "designs": ("designs", designs),
    "transparency": ("transparency", transparency),
}
