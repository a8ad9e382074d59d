"""Networks that nobody here wrote: compressed without labels and trained further, beside others.

    python benchmarks/published.py --data-dir DATA                   # all, seed 0; an hour or two
    python benchmarks/published.py --data-dir DATA --seed 1 --only ViT BiLSTM
    python benchmarks/tables.py

What it needs stands at the top of ``published_networks.py``, ``published_weights.py`` and
``compress_peers.py``. Every tool gets the same calibration examples, the same number of parameters
and the same further training: an epoch of the training examples. No rank and no epoch is chosen by
a score. A result is written as soon as it is there.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from torch import Tensor, nn

from compress_peers import count, equal_shares, fit, tensorly_torch, torch_pruning
from published_networks import TRAINED_HERE, Case, Part
from published_weights import WITH_WEIGHTS
from tinysignal.compress import apply, plan, profile
from tinysignal.compress.apply import REFINE_STEPS
from tinysignal.compress.timing import side_by_side
from tinysignal.nets.introspection import count_macs, evaluating

REPORT = Path(__file__).resolve().parent / "reports" / "published.json"
CASES = TRAINED_HERE | WITH_WEIGHTS
BATCH = 64
FEWEST_STEPS = 60  # of the further training, with smaller batches
RATE = 2e-3
OURS, JOINT = "tinysignal", "tinysignal, joint"
TOOLS = (OURS, JOINT, "truncated SVD", "tensorly-torch", "torch-pruning")

Found = dict[str, Any]


def main() -> None:
    """Measure networks and add them to the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=[], help="beginnings of names")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # of exporters and of the other tools
    for name, case in CASES.items():
        if arguments.only and not name.startswith(tuple(arguments.only)):
            continue

        def keep(found: Found, name: str = name, case: Case = case) -> None:
            write(name, case, arguments.seed, found)

        measure(case, arguments.data_dir, arguments.seed, keep)


def write(name: str, case: Case, seed: int, found: Found) -> None:
    """Put the figures of one network and seed into the report."""
    report = json.loads(REPORT.read_text()) if REPORT.exists() else {}
    networks = report.setdefault("networks", {})
    seeds = networks.get(name, {}).get("seeds", {})
    networks[name] = about(case) | {"seeds": seeds | {str(seed): found}}
    report["torch"] = torch.__version__
    REPORT.write_text(json.dumps(report, indent=2) + "\n")


def about(case: Case) -> Found:
    """What the page says of a network."""
    data = (case.load.__doc__ or "").splitlines()[0]
    return {"family": case.family, "origin": case.origin, "data": data, "score": case.unit}


def measure(case: Case, data_dir: Path, seed: int, keep: Callable[[Found], None]) -> None:
    """All figures of one network, which ``keep`` gets as they come."""
    train, test = case.load(data_dir, seed)
    torch.manual_seed(seed)
    net = case.make()
    if case.loss is not None:
        loss = case.loss
        net.train()
        targets = train.targets
        fit(
            net,
            train.inputs,
            lambda outputs, index: loss(outputs, targets[index]),
            epochs=case.epochs,
            batch=BATCH,
            rate=RATE,
            seed=seed,
        )
    net.eval()
    with tempfile.TemporaryDirectory() as folder:
        dense = described(net, test, Path(folder) / "dense.onnx")
        found: Found = {"dense": dense | {"score": scored(case, net, test)}, "shares": {}}
        say(found)
        for share in case.shares:
            at_share = found["shares"].setdefault(f"{share:g}", {})
            for tool in TOOLS if share == case.shares[0] else (OURS,):
                if tool == JOINT and not case.joint:
                    continue
                begin = time.perf_counter()
                at_share[tool] = one(
                    case, net, tool, share=share, parts=(train, test), folder=Path(folder)
                )
                say({tool: at_share[tool], "s": time.perf_counter() - begin})
                keep(found)


def one(
    case: Case,
    net: nn.Module,
    tool: str,
    *,
    share: float,
    parts: tuple[Part, Part],
    folder: Path,
) -> Found:
    """One tool's network at a share of the parameters, before and after further training."""
    train, test = parts
    budget = int(share * count(net))
    some = slice(case.calibration)
    given = list(zip(train.inputs[some].split(256), train.targets[some].split(256), strict=True))
    try:
        small = made(case, net, tool, given, budget)
        cut = scored(case, small, test)
    except ImportError:
        raise
    except Exception as error:  # noqa: BLE001 - what a tool cannot do belongs into the table
        return {"fails": (str(error).strip().splitlines() or [type(error).__name__])[0][:200]}
    found = {"cut": cut} | described(small, test, folder / "small.onnx")
    if "bytes" in found:
        files = {"dense": folder / "dense.onnx", "small": folder / "small.onnx"}
        found["times_faster"] = times_faster(files, test.inputs[:1])
    trained_further(case, small, net, train)
    return found | {"retrained": scored(case, small, test)}


def made(
    case: Case, net: nn.Module, tool: str, given: list[tuple[Tensor, Tensor]], budget: int
) -> nn.Module:
    """What a tool makes of a network; ours and the factorisations see no labels."""
    if tool in (OURS, JOINT):
        profiled = profile(net, [(inputs,) for inputs, _ in given])
        chosen = plan(profiled, params=budget, loss=case.compare)
        refine = "joint" if tool == JOINT else REFINE_STEPS
        return apply(net, chosen, profiled, refine=refine, loss=case.compare)
    if tool == "truncated SVD":
        return equal_shares(net, given, budget)
    if tool == "tensorly-torch":
        return tensorly_torch(net, given, budget)
    return torch_pruning(net, given, budget, case.loss)


def trained_further(case: Case, small: nn.Module, net: nn.Module, train: Part) -> None:
    """An epoch on the original's outputs and, where there are labels, a tenth on those."""
    with evaluating(net):
        original = torch.cat([net(part) for part in train.inputs.split(250)])

    def loss(outputs: Tensor, index: Tensor) -> Tensor:
        return case.again(outputs, original[index], train.targets[index])

    for layer in small.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    small.train(case.loss is not None)  # the statistics of networks that come trained stay
    for parameter in small.parameters():
        parameter.requires_grad_(True)
    batch = min(BATCH, max(8, len(train.inputs) // FEWEST_STEPS))
    fit(small, train.inputs, loss, epochs=1, batch=batch, rate=case.rate)
    small.eval()


def scored(case: Case, net: nn.Module, test: Part) -> float:
    """The case's own score on the test examples."""
    with evaluating(net):
        outputs = torch.cat([net(part) for part in test.inputs.split(250)])
    return case.score(outputs, test.targets)


def described(net: nn.Module, test: Part, path: Path) -> Found:
    """Parameters and multiply-accumulates, and bytes of the ONNX file if it can be written."""
    example = test.inputs[:1]
    found: Found = {"parameters": count(net), "macs": count_macs(net, lambda: net(example))}
    try:
        with evaluating(net), warnings.catch_warnings(action="ignore"):
            torch.onnx.export(net, (example,), path, dynamo=False, opset_version=17)
    except Exception as error:  # noqa: BLE001 - an exporter may raise anything
        say({"no ONNX": str(error)[:200]})
        return found
    return found | {"bytes": path.stat().st_size}


def times_faster(files: dict[str, Path], example: Tensor) -> Found:
    """Milliseconds of one example in ONNX Runtime, in turn, one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    calls = {}
    for name, path in files.items():
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        feed = {session.get_inputs()[0].name: example.numpy()}
        calls[name] = lambda session=session, feed=feed: session.run(None, feed)
    times = side_by_side(calls, seconds=3)
    ratio = times["dense"].median_ms / times["small"].median_ms
    return {"ratio": ratio} | {name: asdict(latency) for name, latency in times.items()}


def say(found: Found) -> None:
    """A line of progress."""
    print(json.dumps(found), file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
