"""The classifier: probabilities of the classes, for arrays and for files."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinysignal.errors import SignalError
from tinysignal.images.files import read_framed
from tinysignal.mel import read_patch
from tinysignal.model import (
    ClassificationModel,
    bundled_models,
    load_classification_model,
    model_path,
)
from tinysignal.remote import Place, fetched, is_url
from tinysignal.spec import ClassifierSpec, ImageInput

Probabilities = NDArray[np.float32]

_AT_ONCE = 1024  # examples in one run: bounds the memory of the hidden layers
_ROUNDOFF = 1e-6  # beyond 0 and 1: what resampling leaves in pictures


class Classifier:
    """A classifying network, ready to run; made by `Classifier.load`.

    It may be used from several threads at once, pickled and copied: a copy loads the model's file
    anew.

    Examples
    --------
    >>> from tinysignal import Classifier
    >>> classifier = Classifier.load("run")
    >>> classifier
    Classifier(model='templates', input='image of 28 x 28', classes=10)
    >>> probabilities = classifier.classify_file("seven.png")
    >>> classifier.spec.classes[probabilities.argmax()]
    '7'
    """

    def __init__(self, network: ClassificationModel, *, source: str, threads: int) -> None:
        self._network = network
        self._source = source
        self._threads = threads

    @classmethod
    def load(cls, model: str | Path, *, threads: int = 1) -> Self:
        """Load a bundled model, a model file, or the model of a run folder.

        Parameters
        ----------
        model : str or Path
            A bundled name, or a path.
        threads : int
            Threads that one run of the network may use.

        Raises
        ------
        ModelError
            A missing, damaged or foreign file, or a model for another task.
        """
        path = model_path(model)
        network = load_classification_model(path, threads=threads)
        named = path in bundled_models() or is_url(path)
        source = str(path) if named else str(Path(path).absolute())
        return cls(network, source=source, threads=threads)

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self).load, threads=self._threads), (self._source,)

    def __repr__(self) -> str:
        spec = self.spec
        size = " x ".join(map(str, spec.input.shape))
        return (
            f"{type(self).__name__}(model={spec.name!r}, input='{spec.input.kind} of {size}', "
            f"classes={len(spec.classes)})"
        )

    @property
    def spec(self) -> ClassifierSpec:
        """What the model expects and promises."""
        return self._network.spec

    def __call__(self, examples: ArrayLike) -> Probabilities:
        """Probabilities of the classes.

        Parameters
        ----------
        examples : uint8 or floating (examples, rows, columns)
            Pictures are 0 black to 1 white, or 0 to 255 in uint8; sounds are log-mel patches, see
            `tinysignal.mel.log_mel`. `prepare` makes both of files.

        Returns
        -------
        float32 (examples, classes)
            Rows sum to 1.

        Raises
        ------
        SignalError
            Another shape or type, NaN, pictures with values outside 0 to 1.
        ModelError
            The network's logits hold NaN or infinite values.
        """
        rows = np.asarray(examples)
        self._check_shape(rows)
        answers = np.empty((len(rows), len(self.spec.classes)), np.float32)
        for start in range(0, len(rows), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            answers[part] = self._run(rows[part])
        return answers

    def prepare(self, path: str | Place) -> NDArray[np.float32]:
        """What the network sees of a picture or sound file.

        Parameters
        ----------
        path : str, Path or Url

        Returns
        -------
        float32 (rows, columns)

        Raises
        ------
        FileError
            A URL whose file cannot be fetched.
        DataError
            A picture that cannot be read, or an empty page.
        AudioFileError
            A sound that cannot be read.
        MissingExtraError
            An optional package is needed to read it: Pillow, PyAV.
        """
        expected = self.spec.input
        with fetched(path) as local:
            if isinstance(expected, ImageInput):
                return read_framed(local, expected)
            return read_patch(local, expected)

    def classify_file(self, path: str | Place) -> Probabilities:
        """Probabilities of the classes for one picture or sound file.

        Parameters
        ----------
        path : str, Path or Url

        Returns
        -------
        float32 (classes,)

        Raises
        ------
        FileError, DataError, AudioFileError, MissingExtraError
            As `prepare`.
        """
        answer: Probabilities = self(self.prepare(path)[np.newaxis])[0]
        return answer

    def _check_shape(self, rows: NDArray[Any]) -> None:
        if rows.dtype != np.uint8 and rows.dtype.kind != "f":
            raise SignalError(f"examples of {rows.dtype}, expected uint8 or floats.")
        if rows.dtype == np.uint8 and self.spec.input.kind != "image":
            raise SignalError("examples of uint8 are pictures, but the model expects sounds.")
        height, width = self.spec.input.shape
        if rows.ndim != 3 or rows.shape[1:] != (height, width):
            raise SignalError(
                f"examples of shape {rows.shape}, but model '{self.spec.name}' expects "
                f"(examples, {height}, {width})."
            )

    def _run(self, rows: NDArray[Any]) -> Probabilities:
        values = rows.astype(np.float32)
        if rows.dtype == np.uint8:
            values /= 255
        elif not np.isfinite(values).all():
            raise SignalError("examples hold NaN or infinite values. Replace them first.")
        elif self.spec.input.kind == "image" and (
            values.min() < -_ROUNDOFF or values.max() > 1 + _ROUNDOFF
        ):
            raise SignalError(
                f"pictures with values from {values.min():g} to {values.max():g}, expected 0 to 1. "
                "Pass uint8 for 0 to 255."
            )
        return _softmax(self._network.run(values))


def _softmax(logits: NDArray[np.float32]) -> Probabilities:
    """Over the last axis; nothing overflows, whatever the logits."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True).astype(np.float64))
    shares: Probabilities = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    return shares
