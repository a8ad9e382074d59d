"""Tab: draw a digit; what the network thinks of it, layer by layer."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import gradio as gr
import numpy as np
from numpy.typing import NDArray

from tinysignal.app.network import ON_MAPS, Network
from tinysignal.app.site import Site, answered, drawing, in_one_line, web
from tinysignal.errors import ConfigError, DataError
from tinysignal.inspect.occlusion import occlusion
from tinysignal.inspect.page.images import class_colours
from tinysignal.model import model_path, read_spec
from tinysignal.spec import ClassifierSpec, ImageInput

_COVERED = 6  # the part of a picture's side that the moving square has, as a divisor


def build(site: Site) -> None:
    """The tab, in a Gradio context."""
    answers = Answers(site)
    gr.HTML(
        {"models": [*answers.models.items()], "colours": class_colours(10)},
        html_template=web("digits.html"),
        js_on_load=web("digits.js"),
        apply_default_css=False,
        elem_id="digits",
        server_functions=[answers.look, answers.explain, answers.map, answers.examples],
    )


@dataclass(frozen=True)
class Answers:
    """What the page asks about a drawing."""

    site: Site

    @property
    def models(self) -> dict[str, str]:
        """Titles and paths of the networks that take pictures."""
        found = self.site.models("classify")
        return {title: path for title, path in found.items() if _takes_pictures(path)}

    def network(self, model: str) -> Network:
        """A network that is on offer, and no other file of this machine."""
        if model not in self.models.values():
            raise ConfigError(f"'{model}' is not on this page.")
        return _network(model, self.site)

    @property
    def look(self) -> Callable[..., dict[str, Any]]:
        """Probabilities of a drawing, and what the network sees of it."""

        @answered
        def look(asked: dict[str, Any]) -> dict[str, Any]:
            network = self.network(asked["model"])
            picture = drawing(network.framed, asked["ink"])
            if picture is None:
                return {"empty": True}
            answer = network.classifier(picture[np.newaxis])[0]
            return {
                "classes": list(network.classifier.spec.classes),
                "probabilities": [float(value) for value in answer],
                "seen": _bytes_of(picture),
                "shape": list(picture.shape),
            }

        return look

    @property
    def explain(self) -> Callable[..., dict[str, Any]]:
        """Which pixels decide, and the examples of the training that are the most alike."""

        @answered
        def explain(asked: dict[str, Any]) -> dict[str, Any]:
            network = self.network(asked["model"])
            picture = drawing(network.framed, asked["ink"])
            if picture is None:
                return {"empty": True}
            size = max(2, min(picture.shape) // _COVERED)
            carried = occlusion(network.classifier, picture, size=size)
            most = float(np.abs(carried).max()) or 1.0
            found = {"occlusion": _bytes_of(0.5 + 0.5 * carried / most), "most": most}
            try:
                pictures, labels = network.examples()
            except DataError as error:
                return found | {"alone": in_one_line(error)}
            near = network.nearest(picture)
            classes = network.classifier.spec.classes
            return found | {
                "nearest": [
                    {"picture": _bytes_of(pictures[place]), "class": classes[labels[place]]}
                    for place in near
                ]
            }

        return explain

    @property
    def map(self) -> Callable[..., dict[str, Any]]:
        """A layer's map, and where a drawing lands on it."""

        @answered
        def map(asked: dict[str, Any]) -> dict[str, Any]:
            network = self.network(asked["model"])
            layer = network.layers.titles[int(asked["layer"])]
            found = network.layer_map(layer, asked["method"])
            picture = drawing(network.framed, asked["ink"])
            place = None
            if picture is not None:
                values = network.layers(picture[np.newaxis])[layer]
                place = [float(value) for value in found.place(values)[0]]
            points = None
            if asked["whole"]:
                points = base64.b64encode(found.points.astype("<f4").tobytes()).decode("ascii")
            return {"points": points, "place": place, "method": found.method, "title": layer}

        return map

    @property
    def examples(self) -> Callable[..., dict[str, Any]]:
        """The examples on the maps."""

        @answered
        def examples(asked: dict[str, Any]) -> dict[str, Any]:
            network = self.network(asked["model"])
            pictures, labels = network.examples()
            return {
                "pictures": _bytes_of(pictures[:ON_MAPS]),
                "labels": labels[:ON_MAPS].tolist(),
                "layers": list(network.layers.titles),
                "classes": list(network.classifier.spec.classes),
                "shape": list(pictures.shape[1:]),
            }

        return examples


@cache
def _network(model: str, site: Site) -> Network:
    return Network(model, site.settings, site.ended)


def _takes_pictures(model: str) -> bool:
    spec = read_spec(model_path(model))
    return isinstance(spec, ClassifierSpec) and isinstance(spec.input, ImageInput)


def _bytes_of(values: NDArray[Any]) -> str:
    levels = np.round(255 * np.clip(values, 0, 1)).astype(np.uint8)
    return base64.b64encode(levels.tobytes()).decode("ascii")
