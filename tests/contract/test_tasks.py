"""A third kind of network is one folder and two lines in registries: here one file and a fixture.

It learns which half of a short series is larger. It is trained, compressed and looked into by the
same functions, and by the same commands, as the kinds that come with the package.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import json  # noqa: E402

import onnxruntime as ort  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.nn.functional import cross_entropy  # noqa: E402

from tinysignal.budget import Budget  # noqa: E402
from tinysignal.cli.main import run as command_line  # noqa: E402
from tinysignal.model import read_spec  # noqa: E402
from tinysignal.options import option  # noqa: E402
from tinysignal.runs import inspect_run, load_run, open_run  # noqa: E402
from tinysignal.runs import report as reports  # noqa: E402
from tinysignal.runs.compress import CompressOptions, compress_run  # noqa: E402
from tinysignal.spec import SPECS, build  # noqa: E402
from tinysignal.train.config import TrainConfig  # noqa: E402
from tinysignal.train.export import write_onnx  # noqa: E402
from tinysignal.train.fit import RunResult, Training, begin, fit  # noqa: E402
from tinysignal.train.module import TrainingModule, ValidationMetric  # noqa: E402
from tinysignal.train.task import HeldOut, Task, TrainedRun  # noqa: E402
from tinysignal.train.tasks import TASKS  # noqa: E402
from tinysignal.train.tuning import TuneOptions  # noqa: E402

SERIES = (2, 12)  # rows and columns of one example


@dataclass(frozen=True, kw_only=True)
class HalvesSpec:
    """What a file of this kind says of itself."""

    name: str
    parameters: int = 0
    macs: int = 0
    task: str = "halves"
    format_version: int = 2

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_values(cls, values: dict[str, Any]) -> HalvesSpec:
        return build(cls, values)


@dataclass(frozen=True, kw_only=True)
class HalvesConfig(TrainConfig):
    """Its options."""

    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {"plain": {}}

    recipe: Literal["plain"] = option("plain", "Named set of values.", group="Network")
    width: int = option(24, "Hidden units.", group="Network", at_least=1)


class Halves:
    """Its data: random series, and batches of them."""

    steps_per_epoch = 20

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def batch(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng((self._seed, number))
        values = rng.normal(size=(64, *SERIES)).astype(np.float32)
        return values, (values[:, 0].sum(1) < values[:, 1].sum(1)).astype(np.int64)


def net_of(config: HalvesConfig) -> nn.Sequential:
    width = config.width
    return nn.Sequential(
        nn.Flatten(), nn.Linear(24, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(),
        nn.Linear(width, 2),
    )  # fmt: skip


def accuracy(logits: Callable[[np.ndarray], np.ndarray]) -> dict[str, float]:
    values, labels = Halves(seed=99).batch(0)
    return {"accuracy": float(np.mean(logits(values).argmax(1) == labels))}


def session_of(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    session = ort.InferenceSession(path)
    return lambda values: session.run(None, {"series": values})[0]


class HalvesModule(TrainingModule):
    """Its training."""

    metric = ValidationMetric("accuracy", "accuracy", "{:.1%}")

    def __init__(self, net: nn.Module, learning_rate: float) -> None:
        super().__init__()
        self.net, self._learning_rate = net, learning_rate

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.net.parameters(), self._learning_rate)

    @torch.no_grad()
    def score(self) -> dict[str, float]:
        return accuracy(lambda values: self.net(torch.from_numpy(values)).numpy())

    def recalibrate(self) -> None:
        """There are no statistics."""


def export(net: nn.Module, path: Path, name: str) -> HalvesSpec:
    count = sum(p.numel() for p in net.parameters())
    macs = sum(p.numel() for p in net.parameters() if p.ndim == 2)
    spec: Any = HalvesSpec(name=name, parameters=count, macs=macs)
    write_onnx(
        net,
        (torch.zeros(2, *SERIES),),
        spec,
        path,
        inputs=["series"],
        outputs=["logits"],
        dynamic_shapes=({0: torch.export.Dim("examples")},),
    )
    return spec  # type: ignore[no-any-return]


def train(
    config: HalvesConfig, folder: Path, *, resume: bool = False, quiet: bool = True, **_: Any
) -> RunResult:
    begin(config, folder, resume=resume)
    module = HalvesModule(net_of(config), config.learning_rate)
    exporting: Any = lambda path: export(module.exported, path, folder.name)  # noqa: E731
    training = Training(
        config=config,
        folder=folder,
        module=module,
        source=Halves(config.seed),
        split="valid",
        score_every=1,
        data_facts={"series": 64},
        export=exporting,
    )
    return fit(training, resume=resume, quiet=quiet)


@dataclass(frozen=True, kw_only=True)
class HalvesRun(TrainedRun):
    """Its run, as compression asks for it."""

    metric = HalvesModule.metric
    tolerance = 0.02

    def interface(self, net: nn.Module, spec: Any) -> tuple[object, ...]:
        return (spec.task,)

    def export(self, net: nn.Module, path: Path, *, name: str) -> Any:
        return export(net, path, name)

    @torch.no_grad()
    def score(self, model: nn.Module | Path, *, split: str | None = None) -> dict[str, float]:
        if isinstance(model, Path):
            return accuracy(session_of(model))
        return accuracy(lambda values: model(torch.from_numpy(values)).numpy())

    def runner(self, model: nn.Module | Path, count: int) -> Callable[[], object]:
        values = np.zeros((count, *SERIES), np.float32)
        if isinstance(model, Path):
            run = session_of(model)
            return lambda: run(values)
        return lambda: model(torch.from_numpy(values))

    @torch.no_grad()
    def parity(self, net: nn.Module, model: Path) -> float:
        values = self.batches[0][0]
        return float(np.abs(session_of(model)(values.numpy()) - net(values).numpy()).max())

    def examples(self) -> list[np.ndarray]:
        return [inputs.numpy() for inputs, _ in self.batches]

    def tuned_config(self, options: TuneOptions) -> HalvesConfig:
        assert isinstance(self.config, HalvesConfig)
        return replace(self.config, epochs=options.epochs)

    def module(
        self, net: nn.Module, teacher: nn.Module, options: TuneOptions
    ) -> tuple[TrainingModule, Halves]:
        return HalvesModule(net, 1e-3), Halves(1)


def opened(
    run: Path, net: nn.Module, spec: Any, config: HalvesConfig, *, seed: int, **_: Any
) -> HalvesRun:
    source = Halves(config.seed)
    batches = tuple(tuple(map(torch.from_numpy, source.batch(n))) for n in range(8))
    return HalvesRun(
        folder=run,
        net=net.eval(),
        spec=spec,
        config=config,
        batches=batches,
        split="valid",
        data_facts={},
        seed=seed,
    )


def held_out(spec: Any, config: HalvesConfig, **_: Any) -> HeldOut:
    values, labels = map(torch.from_numpy, Halves(seed=5).batch(0))
    return HeldOut("halves", "test", ("first", "second"), [(values, labels)])


@pytest.fixture
def halves(monkeypatch: pytest.MonkeyPatch) -> Task:
    """The kind, registered: two lines."""
    task = Task(HalvesConfig, train, lambda config, spec: net_of(config), opened, held_out)
    monkeypatch.setitem(TASKS, "halves", task)
    monkeypatch.setitem(SPECS, "halves", HalvesSpec)
    monkeypatch.setattr(reports, "SECONDS", 0.0)
    return task


@pytest.fixture
def run(halves: Task, tmp_path: Path) -> Path:
    config = HalvesConfig.read(None, {"epochs": 6, "learning_rate": 0.01, "device": "cpu"})
    result = halves.train(config, tmp_path / "run")
    assert result.metrics["valid"]["accuracy"] > 0.9
    return tmp_path / "run"


def test_a_third_kind_is_trained_and_loaded(run: Path) -> None:
    spec: Any = read_spec(run / "model.onnx")
    assert isinstance(spec, HalvesSpec)
    net, _ = load_run(run)
    values, _ = Halves(3).batch(0)
    with torch.no_grad():
        expected = net(torch.from_numpy(values)).numpy()
    np.testing.assert_allclose(session_of(run / "model.onnx")(values), expected, atol=1e-5)


def test_a_third_kind_is_compressed_and_trained_further(run: Path, tmp_path: Path) -> None:
    small = tmp_path / "small"
    options = CompressOptions(budget=Budget(params=0.6), tune=TuneOptions(epochs=2))
    report = compress_run(run, small, options, quiet=True)
    assert report["after"]["parameters"] <= 0.6 * report["before"]["parameters"]
    assert report["after"]["valid"]["accuracy"] > report["before"]["valid"]["accuracy"] - 0.05
    assert open_run(small).score(small / "model.onnx") == report["after"]["valid"]


def test_a_third_kind_is_looked_into(run: Path) -> None:
    found = inspect_run(run, points=40, methods=["pca"], jobs=1)
    assert found.classes == ("first", "second")
    assert found.accuracy > 0.9


def test_the_commands_take_a_third_kind(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    arguments = ["compress", str(run), "--rank", "6", "-o", str(output), "--quiet"]
    assert command_line(arguments) == 0
    assert "accuracy, valid" in capsys.readouterr().out
    assert command_line(["inspect", str(run), "--methods", "pca", "--points", "30"]) == 0
