"""A classifier of pictures with examples of its training: what several tabs ask."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tinysignal.app.settings import Settings
from tinysignal.classifier import Classifier
from tinysignal.datasets import Examples, load_dataset
from tinysignal.datasets.published import PUBLISHED, local_files
from tinysignal.errors import DataError, MissingExtraError
from tinysignal.evaluation.classifier import dataset_of, trained_on
from tinysignal.images.files import frame_image
from tinysignal.inspect.placing import PlacingMap, placing_map
from tinysignal.model.hidden import HiddenLayers
from tinysignal.spec import ImageInput

ON_MAPS, AMONG = 600, 4000  # examples on the maps, and of which the nearest are looked for
_NEAREST = 6

Picture = NDArray[np.float32]  # (rows, columns), 0 black to 1 white


@dataclass
class Network:
    """One network of the page; what takes time is made when it is first asked for.

    Parameters
    ----------
    model : str
        A bundled name, or a run folder.
    settings : Settings
    ended : threading.Event
        Ends the making of maps.
    """

    model: str
    settings: Settings
    ended: threading.Event
    _maps: dict[tuple[str, str], PlacingMap] = field(default_factory=dict)
    _making: threading.Lock = field(default_factory=threading.Lock)

    @cached_property
    def classifier(self) -> Classifier:
        """What answers."""
        return Classifier.load(self.model)

    @cached_property
    def layers(self) -> HiddenLayers:
        """What shows its layers."""
        return HiddenLayers.load(self.model)

    @property
    def expected(self) -> ImageInput:
        """How the network wants its pictures."""
        found = self.classifier.spec.input
        assert isinstance(found, ImageInput)
        return found

    def framed(self, ink: Picture) -> Picture:
        """What the network sees of a drawing, 0 paper to 1 ink."""
        paper = ink if self.expected.framing == "whole" else 1 - ink
        return frame_image(paper.astype(np.float32), self.expected)

    def examples(self) -> tuple[Picture, NDArray[np.int64]]:
        """Training examples in the order of a shuffle, and their labels."""
        with self._making:
            return self._examples

    def layer_map(self, layer: str, method: str) -> PlacingMap:
        """Where the outputs of a layer for the first examples lie."""
        pictures, _ = self.examples()
        with self._making:
            if (layer, method) not in self._maps:
                values = self.layers(pictures[:ON_MAPS])[layer]
                made = placing_map(values, method, stop=self.ended)
                self._maps[layer, method] = made
            return self._maps[layer, method]

    def nearest(self, picture: Picture) -> list[int]:
        """The examples whose outputs of the last hidden layer are the most alike."""
        self.examples()
        with self._making:
            known = self._last_outputs
        [layer] = self.layers.titles[:-1][-1:] or ("logits",)
        output = self.layers(picture[np.newaxis])[layer]
        distances = np.square(known - output).sum(axis=1)
        return [int(place) for place in np.argsort(distances, kind="stable")[:_NEAREST]]

    @cached_property
    def _last_outputs(self) -> NDArray[np.float32]:
        [layer] = self.layers.titles[:-1][-1:] or ("logits",)
        return self.layers(self._examples[0])[layer]

    @cached_property
    def _examples(self) -> tuple[Picture, NDArray[np.int64]]:
        train = self._train
        some = train.select(np.random.default_rng(0).permutation(len(train))[:AMONG])
        return some.as_float(), some.labels

    @property
    def _train(self) -> Examples:
        """What it was trained on, where that is on this machine; nothing is fetched.

        Raises
        ------
        DataError
            It is not.
        """
        spec, data_dir = self.classifier.spec, self.settings.data_dir
        source = trained_on(self.model)
        if source not in PUBLISHED or local_files(source, data_dir):
            return dataset_of(self.model, spec, data=source, data_dir=data_dir).train
        if set(spec.classes) == set("0123456789"):
            return _blown_up(self.expected)
        raise DataError(f"maps and neighbours need {source}. Pass --data-dir with its files.")


def _blown_up(expected: ImageInput) -> Examples:
    """scikit-learn's digits of 8 x 8 in the size of a network."""
    try:
        small = load_dataset("digits", valid_fraction=0).train
    except MissingExtraError:
        raise DataError(
            "maps and neighbours need example digits: pass --data-dir with MNIST's files, or "
            "pip install 'tinysignal[train]', which brings some of 8 x 8."
        ) from None
    values = np.stack([frame_image(one, expected) for one in small.as_float()])
    return Examples(values, small.labels)
