"""Tables of `classify.py`: accuracy, time to it, and what its layers hold."""

from __future__ import annotations

import statistics

from tables_markdown import Report, Tables, markdown


def classify(report: Report) -> str:
    """Accuracy on the test images, by data and recipe."""
    rows = []
    for row in report["accuracy"]:
        runs = list(row["runs"].values())
        test = [run["test"]["accuracy"] for run in runs]
        first = runs[0]
        if len(runs) > 1:
            spread = f"{100 * min(test):.2f} to {100 * max(test):.2f} ({len(runs)} seeds)"
        else:
            low, high = first["test"]["accuracy_low"], first["test"]["accuracy_high"]
            spread = f"{100 * low:.2f} to {100 * high:.2f} (95 % interval)"
        calibration = statistics.fmean(run["test"]["calibration_error"] for run in runs)
        minutes = statistics.fmean(run["minutes"] for run in runs)
        valid = statistics.fmean(run["valid_accuracy"] for run in runs)
        rows.append(
            [
                f"{row['data']}, {row['recipe']}",
                f"{100 * statistics.fmean(test):.2f}",
                spread,
                f"{100 * valid:.2f}",
                f"{100 * calibration:.2f}",
                str(first["epochs"]),
                f"{minutes:.0f}",
                f"{first['precision']}, {first['threads']}",
            ]
        )
    header = ["data, recipe", "test accuracy, %", "range", "validation, %", "calibration error, %"]
    header += ["epochs", "minutes", "precision, threads"]
    return (
        f"{markdown(header, rows)}\n\nThe test images were read once, after everything was chosen "
        "on validation images; the course got 97.68 % on MNIST. The minutes are those of the runs, "
        "on a machine that did other work too."
    )


def classify_time(report: Report) -> str:
    """Seconds to the target on validation images."""
    timed = report["time"]
    plain = statistics.median(r["seconds"] for r in timed["rounds"]["plain"])
    rows = []
    for name, rounds in timed["rounds"].items():
        seconds = [r["seconds"] for r in rounds]
        middle = statistics.median(seconds)
        epochs = ", ".join(str(r["epochs"]) for r in rounds)
        cells = [f"{middle:.0f}", f"{min(seconds):.0f} to {max(seconds):.0f}", epochs]
        rows.append([name, *cells, f"{plain / middle:.1f}"])
    target = f"seconds to {100 * timed['target']:.2f} %"
    return (
        f"{markdown(['loop', target, 'range', 'epochs', 'times faster'], rows)}\n\nOn validation "
        f"images, median of {len(rounds)} rounds in turn, a seed each, {timed['threads']} threads. "
        "'plain' is a tutorial's loop with a per-image loader, 32 bits; ours is the whole command, "
        "from the start of Python to the written model, less the epochs after the target."
    )


def inside(report: Report) -> str:
    """How well every layer parts the classes, in full and in the plane."""
    found = report["inside"]
    rows = []
    for layer in found["layers"]:
        maps = {m["method"]: m for m in layer["maps"]}
        cells = [f"{100 * layer['knn_accuracy']:.1f}"]
        cells += [f"{100 * maps[m]['knn_accuracy']:.1f}" for m in ("PCA", "t-SNE")]
        cells += [f"{maps[m]['trustworthiness']:.3f}" for m in ("PCA", "t-SNE")]
        cells += [f"{maps[m]['silhouette']:.2f}" for m in ("PCA", "t-SNE")]
        rows.append([layer["title"], str(layer["values"]), *cells])
    header = ["layer", "values", "kNN in full, %", "kNN PCA, %", "kNN t-SNE, %"]
    header += ["trust PCA", "trust t-SNE", "silhouette PCA", "silhouette t-SNE"]
    return (
        f"{markdown(header, rows)}\n\n2000 test images of MNIST, the course recipe's network of "
        f"seed 0; {found['seconds']:.0f} s for all of it with {found['threads']} threads."
    )


TABLES: Tables = {
    "classify": ("classify", classify),
    "classify-time": ("classify", classify_time),
    "inside": ("classify", inside),
}
