"""The course's network compressed: by every method, retrained, made int8, and beside other tools.

    python benchmarks/classify.py accuracy --data-dir DATA -o OUT   # first: the networks
    python benchmarks/compress.py mnist --data-dir DATA -o OUT --seed 0   # and 1, 2
    python benchmarks/compress.py joint --data-dir DATA -o OUT --seed 0   # and 1, 2
    python benchmarks/compress.py peers --data-dir DATA -o OUT      # needs two more packages
    python benchmarks/compress.py times --data-dir DATA -o OUT      # on an idle machine
    python benchmarks/compress.py denoiser --data-dir DATA -o OUT --run RUN
    python benchmarks/tables.py

Plans are made on training images and everything is chosen on validation images; the test images
are read once, by what is measured here.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tinysignal.compress import apply, plan, profile
from tinysignal.compress.apply import REFINE_STEPS
from tinysignal.datasets import Dataset, Examples, load_dataset
from tinysignal.runs.load import load_run

BENCHMARKS = Path(__file__).resolve().parent
REPORT = BENCHMARKS / "reports" / "compress.json"

RANKS = (10, 20, 50, 100, 200)
METHODS = ("svd", "activation", "sequential")
SHARES = {"rank 10": 0.0231, "rank 20": 0.043}  # of the parameters, as these ranks leave
SMALLEST = 0.0405  # of the parameters, an eight-bit file of 1.04 % of the bytes
CALIBRATION = 8192
FINETUNE = ("--finetune", "20", "--precision", "bf16")
AUGMENTED = ("--finetune", "60", "--precision", "bf16", "--augment", "best")


def main() -> None:
    """Measure one part and add it to the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=list(PARTS))
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--run", type=Path, help="a linear denoiser's run folder")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    found = PARTS[arguments.part](arguments)
    # Read only now: another part may have been written meanwhile.
    report = json.loads(REPORT.read_text()) if REPORT.exists() else {}
    if arguments.part in ("mnist", "joint"):
        report.setdefault(arguments.part, {})[str(arguments.seed)] = found
    else:
        report[arguments.part] = found
    report["torch"] = torch.__version__
    REPORT.write_text(json.dumps(report, indent=2) + "\n")


def mnist(arguments: argparse.Namespace) -> dict[str, Any]:
    """One seed's network: cut by every method and budget, retrained, and int8."""
    run = arguments.output / f"mnist-course-{arguments.seed}"
    net, _ = load_run(run)
    data = load_dataset("mnist", data_dir=arguments.data_dir, seed=arguments.seed)
    profiled = profile(net, calibration(data, arguments.seed))
    found: dict[str, Any] = {"base": accuracy(net, data.test), "ranks": {}, "shares": {}}
    for method in METHODS:
        for rank in RANKS:
            small = apply(net, plan(profiled, rank=rank, method=method), profiled)
            found["ranks"].setdefault(method, {})[str(rank)] = measured(small, net, data)
    folder = arguments.output / f"compress-{arguments.seed}"
    folder.mkdir(exist_ok=True)
    for name, share in SHARES.items():
        chosen = plan(profiled, params=share)
        (folder / f"{name.replace(' ', '-')}.json").write_text(chosen.to_json())
        small = apply(net, chosen, profiled)
        found["shares"][name] = {**measured(small, net, data), "ranks": chosen.ranks}
    chosen_file = folder / "rank-20.json"
    teacher = ("--teacher", str(arguments.output / "mnist-best-0"))
    for name, options in (
        ("retrained", FINETUNE),
        ("retrained-int8", (*FINETUNE, "--int8")),
        ("augmented", (*AUGMENTED, *teacher)),
    ):
        target = folder / name
        if not (target / "report.json").exists():
            command(
                "compress", run, "--plan", chosen_file, *options, "-o", target, *shared(arguments)
            )
        found[name] = retrained(target, arguments)
    found["base_bytes"] = (run / "model.onnx").stat().st_size
    return found


def retrained(run: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Figures of a retrained run: its model file on the test images."""
    tested = json.loads(command("evaluate", run, "--json", "--data-dir", arguments.data_dir))
    return {
        "accuracy": tested["accuracy"],
        "valid": json.loads((run / "metrics.json").read_text())["valid"]["accuracy"],
        "parameters": tested["spec"]["parameters"],
        "bytes": (run / "model.onnx").stat().st_size,
    }


def joint(arguments: argparse.Namespace) -> dict[str, Any]:
    """One seed's network without labels: layers fitted one by one, and all factors together."""
    run = arguments.output / f"mnist-course-{arguments.seed}"
    net, _ = load_run(run)
    data = load_dataset("mnist", data_dir=arguments.data_dir, seed=arguments.seed)
    images = len(data.train)  # labels are not used, so all may be
    profiled = profile(net, calibration(data, arguments.seed, images))
    found: dict[str, Any] = {"base": accuracy(net, data.test), "images": images, "shares": {}}
    for name, share in SHARES.items():
        chosen = plan(profiled, params=share)
        found["shares"][name] = {}
        for how, refine in (("layers", REFINE_STEPS), ("joint", "joint")):
            small = apply(net, chosen, profiled, refine=refine)
            found["shares"][name][how] = measured(small, net, data)
            print(name, how, found["shares"][name][how], file=sys.stderr)
    folder = arguments.output / f"joint-{arguments.seed}"
    folder.mkdir(exist_ok=True)
    planned, target = folder / "plan.json", folder / "retrained"
    planned.write_text(plan(profiled, params=SMALLEST).to_json())
    if not (target / "report.json").exists():
        options = ["--refine", "joint", "--calibration", images, *FINETUNE, "--int8", "-o", target]
        command("compress", run, "--plan", planned, *options, *shared(arguments))
    found["retrained"] = retrained(target, arguments)
    found["base_bytes"] = (run / "model.onnx").stat().st_size
    return found


def calibration(data: Dataset, seed: int, most: int = CALIBRATION) -> list[tuple[Tensor, Tensor]]:
    """Random training images in batches."""
    order = np.random.default_rng(seed).permutation(len(data.train))[:most]
    some = data.train.select(order)
    images, labels = torch.from_numpy(some.as_float()), torch.from_numpy(some.labels)
    return list(zip(images.split(1024), labels.split(1024), strict=True))


def measured(small: nn.Module, net: nn.Module, data: Dataset) -> dict[str, float]:
    """Test and validation accuracy, and the share of the parameters that is left."""
    return {
        "accuracy": accuracy(small, data.test),
        "valid": accuracy(small, data.valid),
        "share": parameters(small) / parameters(net),
    }


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


@torch.no_grad()
def accuracy(net: nn.Module, examples: Examples) -> float:
    """Share of the examples that are classified as they are labelled."""
    net.eval()
    right = 0
    for images, labels in batches(examples):
        right += int((net(images).argmax(dim=1) == labels).sum())
    return right / len(examples)


def batches(examples: Examples) -> Iterator[tuple[Tensor, Tensor]]:
    """In order, a thousand at a time."""
    images, labels = torch.from_numpy(examples.as_float()), torch.from_numpy(examples.labels)
    yield from zip(images.split(1000), labels.split(1000), strict=True)


def command(*arguments: object) -> str:
    """Standard output of a tinysignal command."""
    line = [sys.executable, "-m", "tinysignal", *map(str, arguments)]
    return subprocess.run(line, check=True, stdout=subprocess.PIPE, text=True).stdout


def shared(arguments: argparse.Namespace) -> list[str]:
    """What every compression is given."""
    threads, data = str(arguments.threads), str(arguments.data_dir)
    return ["--quiet", "--data-dir", data, "--threads", threads]


def peers(arguments: argparse.Namespace) -> dict[str, Any]:
    """Other tools at the parameters of rank 20, before and after the same retraining."""
    from compress_peers import PEERS, retrain

    net, _ = load_run(arguments.output / "mnist-course-0")
    data = load_dataset("mnist", data_dir=arguments.data_dir, seed=0)
    given = calibration(data, 0)
    budget = round(SHARES["rank 20"] * parameters(net))
    found: dict[str, Any] = {"budget": budget}
    for name, make in PEERS.items():
        small = make(net, given, budget)
        before = measured(small, net, data)
        retrain(small, net, data, epochs=5)
        found[name] = {"cut": before, "retrained": measured(small, net, data)}
        print(name, found[name], file=sys.stderr)
    return found


def times(arguments: argparse.Namespace) -> dict[str, Any]:
    """Seconds of profile, plan and apply; milliseconds of the compressed network, one thread."""
    net, _ = load_run(arguments.output / "mnist-course-0")
    data = load_dataset("mnist", data_dir=arguments.data_dir, seed=0)
    given = calibration(data, 0)
    started = time.perf_counter()
    profiled = profile(net, given)
    chosen = plan(profiled, params=SHARES["rank 20"])
    apply(net, chosen, profiled)
    seconds = time.perf_counter() - started
    target = arguments.output / "compress-times"
    run = arguments.output / "compress-0" / "retrained"
    plain = arguments.output / "mnist-course-0"
    if not (target / "report.json").exists():
        options = ["--plan", run / "plan.json", "-o", target]
        command("compress", plain, *options, *shared(arguments))
    report = json.loads((target / "report.json").read_text())
    report["run"] = plain.name  # not where it lay
    return {"seconds": seconds, "threads": torch.get_num_threads(), "report": report}


def denoiser(arguments: argparse.Namespace) -> dict[str, Any]:
    """A linear denoiser at a tenth of its parameters, retrained."""
    target = arguments.output / "compress-linear"
    if not (target / "report.json").exists():
        options = ["--params", "10%", "--finetune", "25", "--precision", "bf16", "-o", target]
        command("compress", arguments.run, *options, *shared(arguments))
    report: dict[str, Any] = json.loads((target / "report.json").read_text())
    report["run"] = arguments.run.name
    return report


PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "mnist": mnist,
    "joint": joint,
    "peers": peers,
    "times": times,
    "denoiser": denoiser,
}

if __name__ == "__main__":
    main()
