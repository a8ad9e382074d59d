"""Task of classification: its training, and its trained runs."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tinysignal.classifier import Classifier
from tinysignal.datasets import Dataset, Examples, load_dataset
from tinysignal.datasets.dataset import SPLITS
from tinysignal.datasets.folders import of_endings
from tinysignal.datasets.report import OnReport, log_report
from tinysignal.errors import DataError
from tinysignal.metrics.classification_report import ClassificationReport
from tinysignal.model import load_classification_model
from tinysignal.nets.mlp import Mlp
from tinysignal.spec import ClassifierSpec, Spec
from tinysignal.train.classification.build import build_mlp, deformation, normalising_by_weights
from tinysignal.train.classification.config import RECIPES, ClassifierConfig
from tinysignal.train.classification.modules import ClassificationModule
from tinysignal.train.data.batches import BatchSource, ExampleBatches
from tinysignal.train.distillation import Teacher
from tinysignal.train.export import export_classifier, folded
from tinysignal.train.fit import RunResult, Training, begin, fit
from tinysignal.train.module import TrainingModule
from tinysignal.train.task import HeldOut, Task, TrainedRun
from tinysignal.train.tuning import TuneOptions

ARCH = "mlp"


def train_classifier(
    config: ClassifierConfig,
    folder: Path,
    *,
    data_dir: Path | None = None,
    resume: bool = False,
    quiet: bool = False,
    on_report: OnReport | None = log_report,
) -> RunResult:
    """Train a classifier and write its run folder, see `tinysignal.train.fit.fit`.

    Parameters
    ----------
    config : ClassifierConfig
    folder : Path
        Run folder.
    data_dir : Path or None
        Folder to search for the data set before a download.
    resume : bool
        Whether to continue the run in the folder.
    quiet : bool
        Whether to hide the progress bar.
    on_report : callable or None
        Is called with the `tinysignal.datasets.report.DataReport` of a folder's files before the
        first step; by default, its warnings are logged.

    Returns
    -------
    RunResult

    Raises
    ------
    ConfigError
        The folder holds a run already, or nothing to resume; the device is not available.
    DataError
        The data set is missing, damaged, or has unreadable files or no training examples.
    FileError
        The folder cannot be written.
    ModelError
        The exported model differs from the network.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tinysignal.train import ClassifierConfig, train_classifier
    >>> config = ClassifierConfig(data="digits", epochs=5, width=64)
    >>> result = train_classifier(config, Path("digits-run"))  # doctest: +SKIP
    >>> result.metrics["valid"]["accuracy"]  # doctest: +SKIP
    0.97
    """
    begin(config, folder, resume=resume)
    data = load_dataset(
        config.data,
        data_dir=data_dir,
        valid_fraction=config.valid_fraction,
        seed=config.seed,
        skip_bad=config.skip_bad,
        on_report=on_report,
    )
    if not len(data.train):
        raise DataError(f"{config.data}: 0 training examples, expected 1 or more.")
    net = build_mlp(config, data.input.shape, len(data.classes), mean=data.mean, std=data.std)
    source = ExampleBatches(data.train, batch=config.batch, seed=config.seed)
    split, score_on = ("valid", data.valid) if len(data.valid) else ("train", data.train)
    module = ClassificationModule(
        net,
        source,
        score_on,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        label_smoothing=config.label_smoothing,
        ema_decay=config.ema_decay,
        deform=deformation(config, data),
        seed=config.seed,
    )

    def export(path: Path) -> ClassifierSpec:
        return export_classifier(
            module.exported,
            path,
            arch=ARCH,
            classes=data.classes,
            input=data.input,
            name=config.name or folder.resolve().name,
            trained_on=config.trained_on or data.name,
            licence=config.licence,
        )

    training = Training(
        config=config,
        folder=folder,
        module=module,
        source=source,
        split=split,
        score_every=config.validate_every,
        data_facts={
            "name": data.name,
            "classes": len(data.classes),
            **{split: len(data.split(split)) for split in ("train", "valid", "test")},
        },
        export=export,
        report=data.report,
    )
    return fit(training, resume=resume, quiet=quiet)


CALIBRATION = 8192  # calibration examples
_AT_ONCE = 512
_LEARNING_RATE = 2e-3
_BATCH = 256
_DEFORMATIONS = ("rotate_deg", "scale", "shear", "shift", "elastic", "mirror")


@dataclass(frozen=True, kw_only=True)
class ClassifierRun(TrainedRun):
    """Trained classifier with its data set, see `TrainedRun`."""

    spec: ClassifierSpec
    config: ClassifierConfig
    data: Dataset = field(repr=False)

    metric = ClassificationModule.metric
    tolerance = 0.005
    default_budget: ClassVar[dict[str, float]] = {"max_accuracy_drop": 0.5}  # percentage points

    def interface(self, net: nn.Module, spec: Spec) -> tuple[object, ...]:
        """See `TrainedRun.interface`."""
        assert isinstance(spec, ClassifierSpec)
        return spec.task, spec.classes, spec.input

    def export(self, net: nn.Module, path: Path, *, name: str) -> ClassifierSpec:
        """See `TrainedRun.export`; the normalisation is folded into the first layer."""
        return export_classifier(
            normalising_by_weights(net),
            path,
            arch=self.spec.arch,
            classes=self.spec.classes,
            input=self.spec.input,
            name=name,
            trained_on=self.spec.trained_on,
            licence=self.spec.licence,
        )

    def score(self, model: nn.Module | Path, *, split: str | None = None) -> dict[str, float]:
        """Accuracy with its 95 % interval, and mean negative log-likelihood in nats.

        Raises
        ------
        DataError
            The split is empty.
        """
        split = split or self.split
        examples = self.data.split(split)
        if not len(examples):
            raise DataError(f"{self.data.name}: 0 examples in split '{split}', expected 1 or more.")
        if isinstance(model, Path):
            probabilities = Classifier.load(model)(examples.values)
        else:
            probabilities = _probabilities(model, examples)
        report = ClassificationReport.from_probabilities(
            probabilities, examples.labels, self.spec.classes
        )
        keys = ("accuracy", "accuracy_low", "accuracy_high", "nll", "examples")
        return {key: getattr(report, key) for key in keys}

    def runner(self, model: nn.Module | Path, count: int) -> Callable[[], object]:
        """See `TrainedRun.runner`."""
        shown = np.resize(self.data.train.as_float()[:count], (count, *self.spec.input.shape))
        if isinstance(model, Path):
            network = load_classification_model(model)
            return lambda: network.run(shown)
        net, inputs = model.eval(), torch.from_numpy(shown)
        return lambda: net(inputs)

    @torch.no_grad()
    def parity(self, net: nn.Module, model: Path) -> float:
        """See `TrainedRun.parity`."""
        inputs = self.batches[0][0]
        expected = net.eval()(inputs).numpy()
        found = load_classification_model(model).run(inputs.numpy())
        return float(np.abs(found - expected).max() / max(1.0, np.abs(expected).max()))

    def examples(self) -> list[NDArray[np.float32]]:
        """See `TrainedRun.examples`."""
        return [inputs.numpy() for inputs, _ in self.batches]

    def tuned_config(self, options: TuneOptions) -> ClassifierConfig:
        """See `TrainedRun.tuned_config`."""
        deformed: dict[str, Any] = {}
        if options.augment != "run":
            recipe = RECIPES["best"] if options.augment == "best" else {}
            defaults = {f.name: f.default for f in fields(ClassifierConfig)}
            deformed = {name: recipe.get(name, defaults[name]) for name in _DEFORMATIONS}
        return replace(
            self.config,
            epochs=options.epochs,
            steps=0,
            minutes=0.0,
            learning_rate=options.learning_rate or _LEARNING_RATE,
            schedule="onecycle",
            batch=options.batch or _BATCH,
            ema_decay=options.ema_decay,
            label_smoothing=0.0,
            weight_decay=0.0,
            keep="best",
            validate_every=1,
            precision=options.precision,
            device=options.device,
            threads=0,
            **deformed,
        )

    def module(
        self, net: nn.Module, teacher: nn.Module, options: TuneOptions
    ) -> tuple[TrainingModule, BatchSource]:
        """See `TrainedRun.module`."""
        config = self.tuned_config(options)
        source = ExampleBatches(self.data.train, batch=config.batch, seed=self.seed)
        net = copy.deepcopy(net)
        for part in net.modules():
            if isinstance(part, nn.Dropout):  # a smaller network needs less regularisation
                part.p = 0.0
        module = ClassificationModule(
            net,
            source,
            self.data.split(self.split),
            teacher=Teacher(
                teacher, weight=options.distill_weight, temperature=options.temperature
            ),
            learning_rate=config.learning_rate,
            ema_decay=config.ema_decay,
            deform=deformation(config, self.data),
            seed=self.seed,
        )
        return module, source


def open_classifier(
    run: Path,
    net: nn.Module,
    spec: ClassifierSpec,
    config: ClassifierConfig,
    *,
    data: str | None,
    data_dir: Path | None,
    seed: int,
    calibration: int | None,
) -> ClassifierRun:
    """Run of a classifier with its data set.

    Parameters
    ----------
    run : Path
        Run folder.
    net, spec, config
        Network, spec and configuration of the run.
    data : str or None
        Data set, see `tinysignal.datasets.load_dataset`; None for that of the run.
    data_dir : Path or None
        Folder to search for the data set.
    seed : int
        Random seed of the calibration examples.
    calibration : int or None
        Their number; None for 8192.

    Raises
    ------
    DataError
        The data set is missing, has no training examples, or does not fit the model.
    MissingExtraError
        An optional package is needed to read it.
    """
    dataset = _dataset(spec, config, data, data_dir)
    if not len(dataset.train):
        raise DataError(f"{dataset.name}: 0 training examples, expected 1 or more for calibration.")
    chosen = np.random.default_rng(seed).permutation(len(dataset.train))
    few = dataset.train.select(chosen[: calibration or CALIBRATION])
    split = "valid" if len(dataset.valid) else "train"
    return ClassifierRun(
        folder=run,
        net=folded(net),
        spec=spec,
        config=config,
        batches=tuple(_batches(few)),
        split=split,
        data_facts={
            "name": dataset.name,
            "calibration": len(few),
            "classes": len(dataset.classes),
            **{name: len(dataset.split(name)) for name in ("train", "valid", "test")},
        },
        seed=seed,
        data=dataset,
    )


def _dataset(
    spec: ClassifierSpec, config: ClassifierConfig, data: str | None, data_dir: Path | None
) -> Dataset:
    """Data set with the classes in the order of the model and the splits of the run."""
    return load_dataset(
        data or config.data,
        data_dir=data_dir,
        valid_fraction=config.valid_fraction,
        seed=config.seed,
        as_input=spec.input,
        skip_bad=config.skip_bad,
    ).for_model(spec)


def _held_out(
    spec: ClassifierSpec,
    config: ClassifierConfig,
    *,
    data: str | None,
    data_dir: Path | None,
    fewest: int = 1,
) -> HeldOut:
    """Held-out examples; all splits if there are fewer than ``fewest``, or of one class only."""
    dataset = _dataset(spec, config, data, data_dir)
    notes = []
    if dataset.passed_over:
        notes.append(
            f"Files of the data were left out, because nothing here reads them: "
            f"{of_endings(dataset.passed_over)}."
        )
    held = next((n for n in ("test", "valid") if len(dataset.split(n))), "")
    few = dataset.split(held).labels if held else np.zeros(0, np.int64)
    if len(few) >= fewest and len(np.unique(few)) > 1:
        if held == "valid":
            notes.append(
                "No test split: validation examples were used, so the accuracy is optimistic."
            )
        return HeldOut(
            dataset.name, held, dataset.classes, _batches(dataset.split(held)), tuple(notes)
        )
    classes = len(np.unique(few))
    notes.append(
        f"The {held or 'test'} split has {len(few)} examples of {classes} "
        f"class{'' if classes == 1 else 'es'}, too few to look at: all splits were used, training "
        "examples among them, so the accuracy is optimistic."
    )
    parts = (_batches(dataset.split(name)) for name in SPLITS if len(dataset.split(name)))
    everything = itertools.chain.from_iterable(parts)
    return HeldOut(dataset.name, "all splits", dataset.classes, everything, tuple(notes))


def _parts(count: int) -> list[NDArray[np.int64]]:
    return np.array_split(np.arange(count), max(1, -(-count // _AT_ONCE)))


def _batches(examples: Examples) -> Iterator[tuple[Tensor, Tensor]]:
    for at in _parts(len(examples)):
        part = examples.select(at)
        yield torch.from_numpy(part.as_float()), torch.from_numpy(part.labels)


@torch.no_grad()
def _probabilities(net: nn.Module, examples: Examples) -> NDArray[np.float32]:
    net = net.eval()
    parts = [examples.select(at).as_float() for at in _parts(len(examples))]
    answers = [net(torch.from_numpy(part)).float().softmax(dim=1) for part in parts]
    probabilities: NDArray[np.float32] = torch.cat(answers).numpy()
    return probabilities


def _build(config: ClassifierConfig, spec: ClassifierSpec) -> Mlp:
    return build_mlp(config, spec.input.shape, len(spec.classes), mean=0.0, std=1.0)


CLASSIFICATION = Task(
    config=ClassifierConfig,
    train=train_classifier,
    build=_build,
    open=open_classifier,
    held_out=_held_out,
)
