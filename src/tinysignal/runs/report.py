"""Report of a compression: scores, sizes and times before and after."""

from __future__ import annotations

import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tinysignal.compress.plan import Plan
from tinysignal.compress.quantize import write_int8
from tinysignal.compress.structure import prepare
from tinysignal.compress.timing import side_by_side
from tinysignal.files import atomic, write_json
from tinysignal.model import read_spec
from tinysignal.nets.introspection import evaluating, first_tensor
from tinysignal.runs.load import REPORT, load_run, read_plans, write_plans
from tinysignal.train.checkpoint import save_weights
from tinysignal.train.folder import CONFIG, METRICS, MODEL, WEIGHTS
from tinysignal.train.task import TrainedRun


@dataclass(frozen=True)
class CompressedNetwork:
    """Compressed network before fine-tuning.

    Parameters
    ----------
    plan : Plan
    net : nn.Module
    seconds : dict of str to float
        Duration of each stage in seconds; later stages add theirs.
    """

    plan: Plan
    net: nn.Module = field(repr=False)
    seconds: dict[str, float]


def ignore_message(line: str) -> None:
    """Ignore a message: the default of ``on_message``."""


@contextmanager
def timed(
    seconds: dict[str, float], stage: str, on_message: Callable[[str], None]
) -> Iterator[None]:
    """Record the duration of a stage, and report it at the end of the stage."""
    start = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - start
    on_message(f"{stage}: {seconds[stage]:.1f} s")


BATCHES = (1, 1024)
RUNTIMES = ("onnxruntime", "torch")
BEFORE, AFTER, INT8 = "before", "after", "int8"
SECONDS = 1.5  # duration of the timing for each runtime and batch
_FASTER = 0.95  # largest ratio of times that counts as a speed-up


def write_compressed(
    trained: TrainedRun, compressed: CompressedNetwork, folder: Path, *, name: str
) -> None:
    """Write a compressed network without fine-tuning as a run folder.

    Parameters
    ----------
    trained : TrainedRun
    compressed : CompressedNetwork
    folder : Path
        Run folder of the result.
    name : str
        Name of the model.
    """
    write_plans(folder, [*read_plans(trained.folder), compressed.plan])
    save_weights(folder / WEIGHTS, compressed.net)
    spec = trained.export(compressed.net, folder / MODEL, name=name)
    metrics = {
        "weights": "compressed",
        "interrupted": False,
        trained.split: trained.score(folder / MODEL),
        "data": trained.data_facts,
        "spec": asdict(spec),
    }
    write_json(folder / METRICS, metrics)
    with atomic(folder / CONFIG) as temporary:
        temporary.write_bytes((trained.folder / CONFIG).read_bytes())


def finish(
    trained: TrainedRun,
    compressed: CompressedNetwork,
    folder: Path,
    *,
    int8: bool = False,
    on_message: Callable[[str], None] = ignore_message,
) -> dict[str, Any]:
    """Compare a compressed run with the original, and write the report into its folder.

    Parameters
    ----------
    trained : TrainedRun
    compressed : CompressedNetwork
    folder : Path
        Run folder of the compressed network.
    int8 : bool
        Whether to quantise its model file first.
    on_message : callable
        See `tinysignal.runs.compress_run`.

    Returns
    -------
    dict
        Contents of ``report.json``.
    """
    models = {BEFORE: trained.folder / MODEL, AFTER: folder / MODEL}
    with timed(compressed.seconds, "verify", on_message), tempfile.TemporaryDirectory() as scratch:
        how: dict[str, Any] = {}
        if int8:
            models[INT8] = Path(scratch) / "int8.onnx"
            how = choose_int8(trained, folder / MODEL, models[INT8])
        report = _measured(trained, compressed, load_run(folder)[0], models)
        if int8:
            report[INT8] |= how
            with atomic(folder / MODEL) as temporary:
                temporary.write_bytes(models[INT8].read_bytes())
    report |= {"notes": notes_on(report), "seconds": compressed.seconds}
    write_json(folder / REPORT, report)
    return report


def _measured(
    trained: TrainedRun, compressed: CompressedNetwork, small: nn.Module, models: dict[str, Path]
) -> dict[str, Any]:
    found = {name: model_report(trained, model) for name, model in models.items()}
    times = latencies(trained, models, {BEFORE: trained.net, AFTER: small})
    if trained.unit_ms is not None:  # the network without STFT, frame by frame
        for name, taken in times["onnxruntime"]["1"].items():
            found[name]["real_time_factor"] = taken["median_ms"] / trained.unit_ms
    return {
        "run": str(trained.folder),
        "method": compressed.plan.method,
        "budget": compressed.plan.budget,
        "data": trained.data_facts,
        "split": trained.split,
        "metric": asdict(trained.metric),
        **found,
        "latency": times,
        "parity": trained.parity(small, models[AFTER]),
        "layers": layer_errors(trained, small, compressed.plan),
        "skipped": compressed.plan.skipped,
    }


def choose_int8(trained: TrainedRun, model: Path, target: Path) -> dict[str, Any]:
    """Write the fastest 8-bit version of a model file among those that keep its score.

    A loss of a fifth of `TrainedRun.tolerance` is accepted. If no version keeps the score, the one
    with the best score is written.

    Parameters
    ----------
    trained : TrainedRun
    model, target : Path
        Model file, and file to write.

    Returns
    -------
    dict
        ``way``, one of `TrainedRun.int8_ways`, and ``tried`` with the score and time of each.
    """
    key, ways = trained.metric.key, trained.int8_ways
    own = trained.score(model)[key]
    with tempfile.TemporaryDirectory() as folder:
        files = {way: Path(folder) / f"{way}.onnx" for way in ways}
        for way, path in files.items():
            write_int8(model, path, way, trained.examples())
        scores = {way: trained.score(path)[key] for way, path in files.items()}
        costs = dict.fromkeys(ways, 1.0)  # product of the times, which weights both sizes equally
        for batch in BATCHES:
            calls = {way: trained.runner(path, batch) for way, path in files.items()}
            for way, taken in side_by_side(calls, seconds=SECONDS).items():
                costs[way] *= taken.median_ms
        kept = [way for way in ways if scores[way] >= own - trained.tolerance / 5]
        best = min(kept, key=costs.__getitem__) if kept else max(ways, key=scores.__getitem__)
        with atomic(target) as temporary:
            temporary.write_bytes(files[best].read_bytes())
    tried = {way: {key: scores[way], "ms_mean": costs[way] ** (1 / len(BATCHES))} for way in ways}
    return {"way": best, "tried": tried}


def model_report(trained: TrainedRun, model: Path) -> dict[str, Any]:
    """Scores, sizes and multiply-accumulates of a model file."""
    spec = read_spec(model)
    content = model.read_bytes()
    return {
        trained.split: trained.score(model),
        "parameters": spec.parameters,
        trained.macs_field: getattr(spec, trained.macs_field),
        "bytes": len(content),
        "bytes_zipped": len(zlib.compress(content)),
    }


def latencies(
    trained: TrainedRun, models: Mapping[str, Path], nets: Mapping[str, nn.Module]
) -> dict[str, Any]:
    """Times by runtime, batch and model, in one thread, see `side_by_side`.

    Parameters
    ----------
    trained : TrainedRun
    models : mapping of str to Path
        Model files for ONNX Runtime.
    nets : mapping of str to nn.Module
        Networks for torch.
    """
    found: dict[str, Any] = {"threads": 1, "counted": trained.counted}
    kinds: tuple[Mapping[str, nn.Module | Path], ...] = (models, nets)
    for runtime, members in zip(RUNTIMES, kinds, strict=True):
        found[runtime] = {}
        for batch in BATCHES:
            calls = {name: trained.runner(model, batch) for name, model in members.items()}
            times = side_by_side(calls, seconds=SECONDS)
            found[runtime][str(batch)] = {name: asdict(t) for name, t in times.items()}
    return found


@torch.no_grad()
def layer_errors(trained: TrainedRun, small: nn.Module, plan: Plan) -> list[dict[str, Any]]:
    """Rank, parameters and relative error of the outputs of each layer.

    The error is that in the compressed network, where earlier layers are compressed too, on one
    calibration batch, relative to the variance of the original outputs.

    Parameters
    ----------
    trained : TrainedRun
    small : nn.Module
        Compressed network.
    plan : Plan
    """
    names = [step.name for step in plan.layers]
    batch = trained.batches[0]
    inputs = batch[0] if isinstance(batch, tuple) else batch
    # Separates stacks of recurrent layers in both networks.
    nets = [prepare(net, merge=False)[0] for net in (trained.net, small)]
    original, found = (_outputs(net, names, inputs) for net in nets)
    rows = []
    for step in plan.layers:
        apart = (found[step.name] - original[step.name]).square().sum()
        middle = original[step.name].mean(dim=0)
        spread = (original[step.name] - middle).square().sum().clamp_min(1e-30)
        rows.append(
            {
                "name": step.name,
                "kind": step.kind,
                "decomposition": step.decomposition,
                "full_rank": step.full_rank,
                "rank": step.rank,
                "parameters": [_size(net, step.name) for net in nets],
                "error": float(apart / spread),
            }
        )
    return rows


def _outputs(net: nn.Module, names: list[str], inputs: Tensor) -> dict[str, Tensor]:
    """Outputs of layers, float64 (examples, frames or positions, outputs)."""
    seen: dict[str, Tensor] = {}
    with evaluating(net) as handles:
        for name in names:

            def keep(module: nn.Module, args: Any, output: Any, name: str = name) -> None:
                value = first_tensor(output).detach()
                if isinstance(module, nn.Conv1d | nn.Conv2d):
                    value = value.movedim(1, -1)
                seen[name] = value.flatten(0, -2).double()

            module = net.get_submodule(name)
            while isinstance(module, nn.Sequential):  # a stack calls the parts of a layer itself
                module = module[-1]
            handles.append(module.register_forward_hook(keep))
        net(inputs)
    return seen


def _size(net: nn.Module, name: str) -> int:
    return sum(p.numel() for p in net.get_submodule(name).parameters())


def notes_on(report: dict[str, Any]) -> list[str]:
    """Warnings about the compressed network, a sentence each."""
    notes = []
    if report["layers"] and report[AFTER]["parameters"] >= report[BEFORE]["parameters"]:
        notes.append("No layer is smaller at this budget. The network is unchanged.")
    times = report["latency"]["onnxruntime"]
    for batch in map(str, BATCHES):
        for name in (AFTER, INT8):
            if name not in times[batch] or (name == AFTER and not report["layers"]):
                continue
            before, after = (times[batch][key]["median_ms"] for key in (BEFORE, name))
            if after > _FASTER * before:
                which = "int8" if name == INT8 else "the compressed network"
                notes.append(
                    f"No speed-up: {which} takes {after:.3g} ms for {batch} "
                    f"{report['latency']['counted']} in ONNX Runtime, the original {before:.3g} ms."
                )
    return notes
