"""Pages on classifiers and on compression, and the table of the course's denoisers."""

from __future__ import annotations

import statistics

from tables_markdown import Report, page, table

# The course's denoisers: course.json


def course(report: Report) -> str:
    """The table of docs/course.md."""
    rows = [
        [
            name.removeprefix("course-").removesuffix("-holdout"),
            run["measured_on"],
            *(f"{run[key]:.5f}" for key in ("training_mse", "mse")),
            *(f"{run[key]:.2f}" for key in ("snr_in_db", "snr_out_db")),
            f"{run['minutes']:.1f}",
        ]
        for name, run in report["runs"].items()
    ]
    header = ["network", "measured on", "training MSE", "MSE there", "SNR in", "SNR out", "minutes"]
    return table(header, rows)


# Classifiers and what is inside: classify.json


def classify(report: Report) -> str:
    """Accuracy, time to it, and kNN accuracy of every layer."""
    timed, found = report["time"], report["inside"]
    return page(
        "Classifiers",
        "Five hidden layers of 1024 units with ReLU: the network of the [course](../course.md), "
        "which reports 97.68 % on MNIST. Recipes were chosen on validation images; the test images "
        "were read once.",
        "## Accuracy",
        _accuracy(report["accuracy"]),
        "The minutes are those of the runs, on a machine that did other work too.",
        f"## Time to {100 * timed['target']:.2f} %",
        "On validation images, rounds in turn with a seed each, "
        f"{timed['threads']} threads. 'plain' is a tutorial's loop: a data loader that reads image "
        "by image, 32 bits. 'tinysignal' is the whole command, from the start of Python to the "
        "written model, without the epochs after the target.",
        _time_to_target(timed),
        "## Layer by layer",
        "The 2000 test images of MNIST that `tinysignal inspect` samples, through the network of "
        "seed 0: accuracy of the 10 nearest neighbours (kNN) in the layer and on its maps, "
        "trustworthiness and silhouette of the maps. All of it took "
        f"{found['seconds']:.0f} s with {found['threads']} threads.",
        _inside(found),
    )


def _accuracy(kinds: list[Report]) -> str:
    rows = []
    for kind in kinds:
        runs = list(kind["runs"].values())
        first, test = runs[0], [100 * run["test"]["accuracy"] for run in runs]
        spread = f"{min(test):.2f} to {max(test):.2f} ({len(runs)} seeds)"
        if len(runs) == 1:
            low, high = (100 * first["test"][f"accuracy_{end}"] for end in ("low", "high"))
            spread = f"{low:.2f} to {high:.2f} (95 % interval)"
        calibration = statistics.fmean(100 * run["test"]["calibration_error"] for run in runs)
        valid = statistics.fmean(100 * run["valid_accuracy"] for run in runs)
        minutes = statistics.fmean(run["minutes"] for run in runs)
        cells = [f"{statistics.fmean(test):.2f}", spread, f"{valid:.2f}", f"{calibration:.2f}"]
        cells += [str(first["epochs"]), f"{minutes:.0f}"]
        run_on = f"{first['precision']}, {first['threads']}"
        rows.append([f"{kind['data']}, {kind['recipe']}", *cells, run_on])
    header = ["data, recipe", "test accuracy, %", "range", "validation, %", "calibration error, %"]
    return table([*header, "epochs", "minutes", "precision, threads"], rows)


def _time_to_target(timed: Report) -> str:
    plain = statistics.median(r["seconds"] for r in timed["rounds"]["plain"])
    rows = []
    for name, rounds in timed["rounds"].items():
        seconds = [r["seconds"] for r in rounds]
        median = statistics.median(seconds)
        epochs = ", ".join(str(r["epochs"]) for r in rounds)
        spread = f"{min(seconds):.0f} to {max(seconds):.0f}"
        rows.append([name, f"{median:.0f}", spread, epochs, f"{plain / median:.1f}"])
    return table(["loop", "median, s", "range", "epochs", "times faster"], rows)


def _inside(found: Report) -> str:
    rows = []
    for layer in found["layers"]:
        pca, tsne = ({m["method"]: m for m in layer["maps"]}[name] for name in ("PCA", "t-SNE"))
        cells = [f"{100 * source['knn_accuracy']:.1f}" for source in (layer, pca, tsne)]
        cells += [f"{m['trustworthiness']:.3f}" for m in (pca, tsne)]
        cells += [f"{m['silhouette']:.2f}" for m in (pca, tsne)]
        rows.append([layer["title"], str(layer["values"]), *cells])
    header = ["layer", "values", "kNN, %", "kNN PCA, %", "kNN t-SNE, %"]
    header += ["trust PCA", "trust t-SNE", "silhouette PCA", "silhouette t-SNE"]
    return table(header, rows)


# Compression: compress.json

COURSE_BY_RANK = {"10": 62.5, "20": 85.2, "50": 92.7, "100": 94.8, "200": 95.1}


def compress(report: Report) -> str:
    """The MNIST classifier by rank and budget, in time, beside other tools; a denoiser."""
    measured, denoiser = report["times"]["report"], report["denoiser"]
    share = 100 * measured["after"]["parameters"] / measured["before"]["parameters"]
    split = denoiser["split"]
    return page(
        "Compression",
        "The MNIST classifier of the [course](../course.md), compressed. Plans were made on "
        "training images, choices on validation images; the test images were read once.",
        "## By rank, budget and method",
        f"Mean of {len(report['mnist'])} networks (seeds) and range. The course reports "
        "95.4 % before compression; its retrained network was trained from scratch.",
        _by_rank(report["mnist"]),
        *_joint(report.get("joint")),
        "## Time",
        f"Milliseconds before and after at {share:.1f} % of the parameters: median and 99th "
        "percentile of runs in turn, one thread. `profile`, `plan` and `apply` together took "
        f"{report['times']['seconds']:.0f} s on {report['times']['threads']} cores.",
        _times(measured["latency"]),
        "## Other tools at the same number of parameters",
        "Test accuracy of one network (seed 0, "
        f"{100 * report['mnist']['0']['base']:.2f} %), one run, with the same calibration images "
        "and the same 5 epochs of retraining for all.",
        table(
            ["tool", "parameters left, %", "compressed, %", "retrained, %"],
            [
                [name, *(f"{100 * x:.2f}" for x in (row["cut"]["share"], *_before_after(row)))]
                for name, row in report["peers"].items()
                if name != "budget"
            ],
        ),
        "## A denoiser",
        "The `linear` denoiser with `--params 10% --finetune 25`: SI-SDR on "
        f"{denoiser['before'][split]['pairs']} validation mixtures, which have "
        f"{denoiser['before'][split]['si_sdr_noisy_db']:.2f} dB and chose the epoch as well. Times "
        "are of the network alone, frame by frame, ONNX Runtime, one thread.",
        _denoiser(denoiser, split),
    )


def _joint(by_seed: Report | None) -> list[str]:
    """Layers fitted one by one beside all factors together, without labels."""
    if by_seed is None:
        return []
    seeds = list(by_seed.values())
    base = [seed["base"] for seed in seeds]
    labels = {
        "layers": "each layer by itself (`refine=300`)",
        "joint": 'all factors together (`refine="joint"`)',
    }
    rows = [["the network itself", "100", _mean_and_range(base), ""]]
    for name in seeds[0]["shares"]:
        for how, label in labels.items():
            found = [seed["shares"][name][how] for seed in seeds]
            rows.append([label, f"{100 * found[0]['share']:.1f}", *_lost(found, base)])
    found = [seed["retrained"] for seed in seeds]
    sizes = [100 * f["bytes"] / seed["base_bytes"] for f, seed in zip(found, seeds, strict=True)]
    label = "all factors together, then retrained, same data, int8"
    left = f"{min(sizes):.2f} to {max(sizes):.2f} (bytes)"
    rows.append([label, left, *_lost(found, base)])
    return [
        "## All factors together, without labels",
        f"{len(seeds)} networks trained anew in the same way, seeds {', '.join(by_seed)}. Plan and "
        f"fit read {seeds[0]['images']:,} training images, no labels; the retraining of the last "
        "row has the labels.",
        table(["", "left, %", "test accuracy, %", "points lost"], rows),
    ]


def _by_rank(by_seed: Report) -> str:
    seeds = list(by_seed.values())
    base = [seed["base"] for seed in seeds]
    rows = [["the network itself", "100", "", _mean_and_range(base), ""]]
    for rank, theirs in COURSE_BY_RANK.items():
        for method in seeds[0]["ranks"]:
            found = [seed["ranks"][method][rank] for seed in seeds]
            share = f"{100 * found[0]['share']:.1f}"
            rows.append([f"rank {rank}, {method}", share, f"{theirs}", *_lost(found, base)])
        if f"rank {rank}" in seeds[0]["shares"]:
            found = [seed["shares"][f"rank {rank}"] for seed in seeds]
            share = f"{100 * found[0]['share']:.1f}"
            rows.append([f"`--params {share}%`", share, "", *_lost(found, base)])
    for name, label, theirs in (
        ("retrained", "retrained, same data, no deformation", "95.68"),
        ("retrained-int8", "the same, int8", ""),
        ("augmented", "retrained, the best recipe's deformation and teacher", ""),
    ):
        found = [seed[name] for seed in seeds]
        size = f"{100 * found[0]['bytes'] / seeds[0]['base_bytes']:.2f} (bytes)"
        rows.append([label, size, theirs, *_lost(found, base)])
    return table(["", "left, %", "course, %", "test accuracy, %", "points lost"], rows)


def _lost(found: list[Report], base: list[float]) -> list[str]:
    accuracies = [cut["accuracy"] for cut in found]
    lost = statistics.fmean(b - a for a, b in zip(accuracies, base, strict=True))
    return [_mean_and_range(accuracies), f"{100 * lost:.2f}"]


def _mean_and_range(shares: list[float]) -> str:
    mean = f"{100 * statistics.fmean(shares):.2f}"
    return f"{mean} ({100 * min(shares):.2f} to {100 * max(shares):.2f})"


def _before_after(row: Report) -> tuple[float, float]:
    return row["cut"]["accuracy"], row["retrained"]["accuracy"]


def _times(latency: Report) -> str:
    rows = []
    for runtime, title in (("onnxruntime", "ONNX Runtime"), ("torch", "torch")):
        for batch, times in latency[runtime].items():
            sides = [times["before"], times["after"]]
            cells = [f"{side[key]:.3g}" for key in ("median_ms", "p99_ms") for side in sides]
            ratio = sides[0]["median_ms"] / sides[1]["median_ms"]
            rows.append([f"{title}, batch {batch}", *cells, f"{ratio:.1f}"])
    header = ["", "ms before", "ms after", "p99 before", "p99 after", "times faster"]
    return table(header, rows)


def _denoiser(found: Report, split: str) -> str:
    times = found["latency"]["onnxruntime"]["1"]
    rows = [
        [
            name,
            _thousands(found[key]["parameters"]),
            f"{found[key]['bytes'] / 1e6:.2f}",
            f"{found[key][split]['si_sdr_denoised_db']:.2f}",
            f"{found[key]['real_time_factor']:.4f}",
            *(f"{times[key][spread]:.3f}" for spread in ("median_ms", "p99_ms")),
        ]
        for name, key in (("before", "before"), ("a tenth, retrained", "after"))
    ]
    header = ["", "parameters", "MB", "SI-SDR, dB", "real-time factor", "ms a frame", "p99"]
    return table(header, rows)


def _thousands(count: int) -> str:
    return f"{count:,}".replace(",", " ")
