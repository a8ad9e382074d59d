"""A compression measured before and after: scores, sizes, times."""

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

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Cut:
    """A compressed network before any further training.

    Parameters
    ----------
    plan : Plan
    net : nn.Module
    seconds : dict of str to float
        What each stage took; stages that follow add theirs.
    """

    plan: Plan
    net: nn.Module = field(repr=False)
    seconds: dict[str, float]


def silent(line: str) -> None:
    """Tell nobody."""


@contextmanager
def timed(seconds: dict[str, float], stage: str, tell: Tell) -> Iterator[None]:
    """Time a stage, and tell of its end."""
    start = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - start
    tell(f"{stage}: {seconds[stage]:.1f} s")


BATCHES = (1, 1024)
RUNTIMES = ("onnxruntime", "torch")
BEFORE, AFTER, INT8 = "before", "after", "int8"
SECONDS = 1.5  # of measuring, for each runtime and batch
_PAYS = 0.95  # of the time before: less than this is a gain


Model = nn.Module | Path
Facts = dict[str, Any]


def write_cut(trained: TrainedRun, made: Cut, folder: Path, *, name: str) -> None:
    """Write a compressed network that is not trained further as a run.

    Parameters
    ----------
    trained : TrainedRun
    made : Cut
    folder : Path
    name : str
        Of the model.
    """
    write_plans(folder, [*read_plans(trained.folder), made.plan])
    save_weights(folder / WEIGHTS, made.net)
    spec = trained.export(made.net, folder / MODEL, name=name)
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
    trained: TrainedRun, made: Cut, folder: Path, *, int8: bool = False, tell: Tell = silent
) -> Facts:
    """ValidationMetric what is in a run folder against the original, and write the report into it.

    Parameters
    ----------
    trained : TrainedRun
    made : Cut
    folder : Path
    int8 : bool
        Quantise the model file first.
    tell : callable

    Returns
    -------
    dict
        The contents of ``report.json``.
    """
    models = {BEFORE: trained.folder / MODEL, AFTER: folder / MODEL}
    with timed(made.seconds, "verify", tell), tempfile.TemporaryDirectory() as scratch:
        how: Facts = {}
        if int8:
            models[INT8] = Path(scratch) / "int8.onnx"
            how = choose_int8(trained, folder / MODEL, models[INT8])
        report = _measured(trained, made, load_run(folder)[0], models)
        if int8:
            report[INT8] |= how
            with atomic(folder / MODEL) as temporary:
                temporary.write_bytes(models[INT8].read_bytes())
    report |= {"notes": notes_on(report), "seconds": made.seconds}
    write_json(folder / REPORT, report)
    return report


def _measured(trained: TrainedRun, made: Cut, small: nn.Module, models: dict[str, Path]) -> Facts:
    found = {name: facts(trained, model) for name, model in models.items()}
    times = latencies(trained, models, {BEFORE: trained.net, AFTER: small})
    if trained.unit_ms is not None:  # of the network alone, frame by frame
        for name, taken in times["onnxruntime"]["1"].items():
            found[name]["real_time_factor"] = taken["median_ms"] / trained.unit_ms
    return {
        "run": str(trained.folder),
        "method": made.plan.method,
        "budget": made.plan.budget,
        "data": trained.data_facts,
        "split": trained.split,
        "metric": asdict(trained.metric),
        **found,
        "latency": times,
        "parity": trained.parity(small, models[AFTER]),
        "layers": layer_errors(trained, small, made.plan),
        "skipped": made.plan.skipped,
    }


def choose_int8(trained: TrainedRun, model: Path, target: Path) -> Facts:
    """Write a model file in the fastest of the ways that keep its score, and say which.

    Up to a fifth of `TrainedRun.tolerance` below the file's own score counts as kept; where none
    keeps it, the best one is taken.

    Parameters
    ----------
    trained : TrainedRun
    model, target : Path

    Returns
    -------
    dict
        The way, one of `TrainedRun.int8_ways`, and what each of them scored and took.
    """
    key, ways = trained.metric.key, trained.int8_ways
    own = trained.score(model)[key]
    with tempfile.TemporaryDirectory() as folder:
        files = {way: Path(folder) / f"{way}.onnx" for way in ways}
        for way, path in files.items():
            write_int8(model, path, way, trained.examples())
        scores = {way: trained.score(path)[key] for way, path in files.items()}
        costs = dict.fromkeys(ways, 1.0)  # a product, so that both sizes count alike
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


def facts(trained: TrainedRun, model: Path) -> Facts:
    """Scores, sizes and costs of a model file."""
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
    """Times per runtime, batch and model, one thread, the models taking turns.

    Parameters
    ----------
    trained : TrainedRun
    models : mapping of str to Path
        Model files for ONNX Runtime.
    nets : mapping of str to nn.Module
        The networks for torch.
    """
    found: dict[str, Any] = {"threads": 1, "counted": trained.counted}
    kinds: tuple[Mapping[str, Model], ...] = (models, nets)
    for runtime, members in zip(RUNTIMES, kinds, strict=True):
        found[runtime] = {}
        for batch in BATCHES:
            calls = {name: trained.runner(model, batch) for name, model in members.items()}
            times = side_by_side(calls, seconds=SECONDS)
            found[runtime][str(batch)] = {name: asdict(t) for name, t in times.items()}
    return found


@torch.no_grad()
def layer_errors(trained: TrainedRun, small: nn.Module, plan: Plan) -> list[Facts]:
    """What became of each layer, and how much of its output's variance is lost.

    The error is taken in the whole compressed network, its layers before it compressed as well, on
    one batch of the calibration data.

    Parameters
    ----------
    trained : TrainedRun
    small : nn.Module
    plan : Plan
    """
    names = [step.name for step in plan.layers]
    batch = trained.batches[0]
    inputs = batch[0] if isinstance(batch, tuple) else batch
    # Stacks of recurrent layers are one module where none of them was cut.
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
    """What layers put out, float64 (examples, frames or positions, outputs)."""
    seen: dict[str, Tensor] = {}
    with evaluating(net) as handles:
        for name in names:

            def keep(module: nn.Module, args: Any, output: Any, name: str = name) -> None:
                value = first_tensor(output).detach()
                if isinstance(module, nn.Conv1d | nn.Conv2d):
                    value = value.movedim(1, -1)
                seen[name] = value.flatten(0, -2).double()

            module = net.get_submodule(name)
            while isinstance(module, nn.Sequential):  # a stack calls what is in it one by one
                module = module[-1]
            handles.append(module.register_forward_hook(keep))
        net(inputs)
    return seen


def _size(net: nn.Module, name: str) -> int:
    return sum(p.numel() for p in net.get_submodule(name).parameters())


def notes_on(report: Facts) -> list[str]:
    """What should be known before the compressed network is used, a line each."""
    notes = []
    if report["layers"] and report[AFTER]["parameters"] >= report[BEFORE]["parameters"]:
        notes.append("No layer is smaller at this budget: the network is as it was.")
    times = report["latency"]["onnxruntime"]
    for batch in map(str, BATCHES):
        for name in (AFTER, INT8):
            if name not in times[batch] or (name == AFTER and not report["layers"]):
                continue
            before, after = (times[batch][key]["median_ms"] for key in (BEFORE, name))
            if after > _PAYS * before:
                which = "int8" if name == INT8 else "the compressed network"
                notes.append(
                    f"It does not pay in time: {which} takes {after:.3g} ms for {batch} "
                    f"{report['latency']['counted']} in ONNX Runtime, before {before:.3g} ms."
                )
    return notes
