"""The training of a classifier, from its configuration to a run folder and back."""

from __future__ import annotations

from pathlib import Path

from tinysignal.datasets import Dataset, load_dataset
from tinysignal.errors import ConfigError, DataError, ModelError
from tinysignal.model_file import read_spec
from tinysignal.spec import ClassifierSpec, SoundInput
from tinysignal.train.checkpoint import load_weights
from tinysignal.train.classifier_config import ClassifierConfig, read_classifier_config
from tinysignal.train.classifying import ClassifyingTask
from tinysignal.train.data.augment import Deformation
from tinysignal.train.data.examples import ExampleBatches
from tinysignal.train.export import export_classifier
from tinysignal.train.nets.mlp import Mlp
from tinysignal.train.run import CONFIG, MODEL, WEIGHTS, RunResult, Training, begin, fit

ARCH = "mlp"


def train_classifier(
    config: ClassifierConfig,
    folder: Path,
    *,
    data_dir: Path | None = None,
    resume: bool = False,
    quiet: bool = False,
) -> RunResult:
    """Train a classifier and write its run folder, see `tinysignal.train.run.fit`.

    Parameters
    ----------
    config : ClassifierConfig
    folder : Path
    data_dir : Path or None
        Where the data set is looked for before it is downloaded.
    resume, quiet : bool
        See `tinysignal.train.run.fit`.

    Raises
    ------
    ConfigError
        The folder holds a run already, or nothing to resume.
    DataError, AudioFileError, ModelError
    """
    begin(config, folder, resume=resume)
    data = load_dataset(
        config.data, data_dir=data_dir, valid_share=config.valid_share, seed=config.seed
    )
    if not len(data.train):
        raise DataError(f"{config.data}: no examples to train on.")
    net = build_mlp(config, data.input.shape, len(data.classes), mean=data.mean, std=data.std)
    source = ExampleBatches(data.train, batch=config.batch, seed=config.seed)
    side, score_on = ("valid", data.valid) if len(data.valid) else ("train", data.train)
    task = ClassifyingTask(
        net,
        source,
        score_on,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        label_smoothing=config.label_smoothing,
        average=config.average,
        deform=deformation(config, data),
        seed=config.seed,
    )

    def export(path: Path) -> ClassifierSpec:
        return export_classifier(
            task.result,
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
        task=task,
        source=source,
        side=side,
        score_every=config.validate_every,
        summary={
            "name": data.name,
            "classes": len(data.classes),
            **{side: len(data.side(side)) for side in ("train", "valid", "test")},
        },
        export=export,
    )
    return fit(training, resume=resume, quiet=quiet)


def build_mlp(
    config: ClassifierConfig, shape: tuple[int, int], classes: int, *, mean: float, std: float
) -> Mlp:
    """The network of a configuration, with fresh weights from torch's random state."""
    return Mlp(
        shape=shape,
        classes=classes,
        width=config.width,
        depth=config.depth,
        dropout=config.dropout,
        activation=config.activation,
        norm=config.norm,
        mean=mean,
        std=std,
    )


def load_classifier(run: Path) -> tuple[Mlp, ClassifierSpec]:
    """A run's network with its chosen weights, in evaluation mode, and its spec.

    Raises
    ------
    ModelError
        Not a run folder of a classifier, or one that is damaged.
    """
    for name in (CONFIG, WEIGHTS, MODEL):
        if not (run / name).is_file():
            raise ModelError(
                f"{run}: there is no {name} in it. Expected a folder made by "
                "'tinysignal train classifier'."
            )
    spec = read_spec(run / MODEL)
    if not isinstance(spec, ClassifierSpec):
        raise ModelError(f"{run}: task '{spec.task}', but a classifier was expected.")
    try:
        config = read_classifier_config(run / CONFIG, {})
    except ConfigError as error:
        raise ModelError(str(error)) from None
    net = build_mlp(config, spec.input.shape, len(spec.classes), mean=0.0, std=1.0)
    try:
        net.load_state_dict(load_weights(run / WEIGHTS))
    except RuntimeError:
        raise ModelError(
            f"{run / WEIGHTS}: the weights are not those of the network in {CONFIG}."
        ) from None
    return net.eval(), spec


def deformation(config: ClassifierConfig, data: Dataset) -> Deformation:
    """What the configuration says; of sounds only the place in time may change."""
    if isinstance(data.input, SoundInput):
        return Deformation(shift=(config.shift, 0.0))
    return Deformation(
        rotate_deg=config.rotate_deg,
        scale=config.scale,
        shear=config.shear,
        shift=(config.shift, config.shift),
        elastic=config.elastic,
        mirror=config.mirror,
    )
