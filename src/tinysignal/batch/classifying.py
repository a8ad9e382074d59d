"""Many pictures or sounds classified, in this process or on the workers of a Ray cluster."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from functools import partial

from tinysignal.classifier import Classifier, Probabilities
from tinysignal.cluster import Check, Engine, Fault, joined
from tinysignal.errors import MissingExtraError, ModelError, TinysignalError
from tinysignal.remote import Place, bytes_of


def classify_files(
    classifier: Classifier, paths: list[Place], engine: Engine | None = None
) -> Generator[tuple[Place, Probabilities | Fault], None, None]:
    """What is in pictures or sounds, each file for itself.

    Parameters
    ----------
    classifier : Classifier
    paths : list of Path or Url
    engine : Engine or None
        None for this process, which answers in the order of the paths; Ray answers in any order.

    Yields
    ------
    (Path or Url, float32 (classes,) or Fault)

    Raises
    ------
    MissingExtraError, ModelError
        No file can be classified with what is installed, or with this model. Of a worker of Ray,
        each file has it as its fault.
    ConfigError
        The cluster cannot be used, see `tinysignal.cluster.joined`.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tinysignal import Classifier
    >>> from tinysignal.batch import classify_files
    >>> ((path, answer),) = classify_files(Classifier.load("run"), [Path("seven.png")])
    >>> int(answer.argmax())
    7
    """
    if engine is None or not engine.is_ray:
        classify = _Classifying(classifier)
        for path in paths:
            yield path, classify(path)
        return
    with joined(engine) as cluster:
        made = cluster.map(partial(_Classifying, classifier), paths, weigh=bytes_of)
        with closing(made):
            for index, answer in made:
                yield paths[index], answer


class _Classifying:
    """What is done with each file."""

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier

    def __call__(self, path: Place, check: Check = lambda: None) -> Probabilities | Fault:
        try:
            return self._classifier.classify_file(path)
        except (MissingExtraError, ModelError):
            raise  # not this file's fault: the others would fail alike
        except TinysignalError as error:
            return Fault.of(str(error), path)
