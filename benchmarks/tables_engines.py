"""The page on many machines: engines.json."""

from __future__ import annotations

from tables_markdown import Report, page, table


def engines(report: Report) -> str:
    """Scaling, overhead and memory of Ray, and a corpus on paper."""
    machine, scaling, memory = report["machine"], report["scaling"], report["memory"]
    names = {
        "local": "this process",
        "local_2": "this process, 2 jobs",
        "ray_1": "Ray, 1 worker",
        "ray_2": "Ray, 2 workers",
    }
    rows = [
        [name, f"{scaling[way]['file_s']:.3f} s", f"{scaling[way]['start_s']:.1f} s"]
        for way, name in names.items()
    ]
    busy = report["load"] > machine["cores"] + 1
    return page(
        "Many machines",
        *(["**A trial on a busy machine, not a measurement.**"] if busy else []),
        f"`tinysignal denoise --engine ray` beside `--engine local` on {machine['cores']} cores: "
        f"files of a minute at 16 kHz, medians of {report['runs']} alternating runs. Start: "
        f"Python, Ray and the model. {machine['cpu']}, Python {machine['python']}; "
        f"{report['date']}.",
        table(["", "a file", "start"], rows),
        f"Two workers do {scaling['speed_up']:.2f} times the work of one, two jobs of this process "
        f"{scaling['local_speed_up']:.2f} times. One worker takes "
        f"{100 * scaling['overhead']:+.0f} % beside this process.",
        f"{memory['files']:,} files of 0.1 s in {memory['seconds']:.0f} s: all processes together "
        f"take {memory['second_quarter_mib']} MiB in the second quarter of the time, "
        f"{memory['last_quarter_mib']} MiB in the last, {memory['most_mib']} MiB at most.",
        "## A corpus, on paper",
        *_corpus(report["corpus"], scaling["ray_1"]["file_s"]),
    )


def _corpus(corpus: Report, file_s: float) -> list[str]:
    cores = corpus["nodes"] * corpus["cores_a_node"]
    hours = corpus["hours"]
    rows = [[name, f"{value:.1f} h"] for name, value in hours.items()]
    return [
        f"{corpus['files']:,} files of {corpus['minutes']} minutes, 16 kHz mono in 16 bits, on "
        f"{corpus['nodes']} nodes of {corpus['cores_a_node']} cores. Measured: {file_s:.3f} s for "
        f"a minute on one core. Assumed: {corpus['usd_a_core_hour']:.2f} USD for a core and hour, "
        f"{corpus['node_gbit_a_second']:g} Gbit/s at each node, {corpus['store_gbit_a_second']:g} "
        "Gbit/s at the store, the sound read and written once.",
        table(["what takes", "alone"], rows),
        f"{corpus['files']:,} x {corpus['minutes']} x {file_s:.3f} s = "
        f"{corpus['core_hours']:,} core hours, on {cores} cores {hours['compute']:.1f} h. "
        f"{corpus['terabytes_each_way']:g} TB in and as much out. The bottleneck is the "
        f"{_called(corpus['bottleneck'])}: {hours[corpus['bottleneck']]:.1f} hours, "
        f"{corpus['usd']:,.0f} USD for the cores while they "
        "run or wait. FLAC halves what goes over the network.",
    ]


def _called(name: str) -> str:
    return {"compute": "computing"}.get(name, name)
