"""Tab: a network cut to a rank, and what that costs."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from tinysignal.app.network import Network
from tinysignal.app.site import Site, answered, drawing, spec_of, web
from tinysignal.errors import ConfigError, MissingExtraError
from tinysignal.spec import ClassifierSpec, ImageInput

_METHODS = {"svd": "SVD of the weights", "activation": "fitted to the outputs"}
_KEPT = 12  # cut networks that are remembered
_TIMED_S = 0.3
_POINTS = 160  # of a spectrum


def build(site: Site) -> None:
    """The tab, in a Gradio context."""
    answers = Answers(site)
    gr.HTML(
        {"runs": list(answers.runs), "methods": [*_METHODS.items()]},
        html_template=web("compress.html"),
        js_on_load=web("compress.js"),
        apply_default_css=False,
        elem_id="compress",
        server_functions=[answers.open, answers.cut, answers.export],
    )


@dataclass(frozen=True)
class Answers:
    """What the page asks about a run that is cut."""

    site: Site

    @property
    def runs(self) -> tuple[str, ...]:
        """The runs of classifiers."""
        found = [(run, spec_of(run)) for run in self.site.settings.runs]
        return tuple(str(run) for run, spec in found if isinstance(spec, ClassifierSpec))

    def cuts(self, run: str) -> Cuts:
        """A run that is on the page, and no other folder of this machine."""
        if run not in self.runs:
            raise ConfigError(f"'{run}' is not on this page.")
        if find_spec("torch") is None:
            raise MissingExtraError("cutting a network", "train")
        return _cuts(run, self.site)

    @property
    def open(self) -> Callable[..., dict[str, Any]]:
        """Facts of the whole network, and its layers' singular values."""

        @answered
        def open(asked: dict[str, Any]) -> dict[str, Any]:
            return self.cuts(asked["run"]).facts(asked["method"])

        return open

    @property
    def cut(self) -> Callable[..., dict[str, Any]]:
        """Accuracy, size and time at a rank, and the answer to the drawing."""

        @answered
        def cut(asked: dict[str, Any]) -> dict[str, Any]:
            cuts = self.cuts(asked["run"])
            found = cuts.at(asked["method"], int(asked["rank"]))
            ink = asked.get("ink")
            return found | (cuts.answers(asked["method"], int(asked["rank"]), ink) if ink else {})

        return cut

    @property
    def export(self) -> Callable[..., dict[str, Any]]:
        """Write the cut network as a run folder beside the run."""

        @answered
        def export(asked: dict[str, Any]) -> dict[str, Any]:
            return self.cuts(asked["run"]).export(asked["method"], int(asked["rank"]))

        return export


@cache
def _cuts(run: str, site: Site) -> Cuts:
    return Cuts(Path(run), site)


@dataclass
class Cuts:
    """One run at several ranks.

    Parameters
    ----------
    run : Path
    site : Site
    """

    run: Path
    site: Site
    _working: threading.RLock = field(default_factory=threading.RLock)
    _known: OrderedDict[tuple[str, int], tuple[Any, dict[str, Any]]] = field(
        default_factory=OrderedDict
    )

    @cached_property
    def _trained(self) -> Any:
        from tinysignal.runs import open_run

        return open_run(self.run, data_dir=self.site.settings.data_dir)

    @cached_property
    def _profile(self) -> Any:
        from tinysignal.compress import profile

        return profile(self._trained.net, self._trained.batches)

    @cached_property
    def _whole(self) -> dict[str, Any]:
        return self._measured(self._trained.net)

    def facts(self, method: str) -> dict[str, Any]:
        """Score, size and time of the whole network; squared singular values of each layer."""
        from tinysignal.compress.plan import spectrum

        with self._working:
            layers = []
            for layer in self._profile.layers:
                values = spectrum(layer, method).clamp(min=0).sqrt().numpy()
                places = np.unique(np.geomspace(1, len(values), _POINTS).astype(int))
                shown = values[places - 1] / max(float(values[0]), 1e-30)
                layers.append(
                    {
                        "name": layer.name,
                        "full": len(values),
                        "largest": layer.largest_rank(layer.decompositions[0]),
                        "at": places.tolist(),
                        "values": np.maximum(shown, 1e-9).round(10).tolist(),
                    }
                )
            metric = self._trained.metric.label
            return {"layers": layers, "whole": self._whole, "metric": metric}

    def at(self, method: str, rank: int) -> dict[str, Any]:
        """Score, size and time of the network cut to a rank."""
        with self._working:
            return self._net(method, rank)[1] | {"whole": self._whole}

    def answers(self, method: str, rank: int, ink: str) -> dict[str, Any]:
        """Probabilities of a drawing before and after."""
        spec = self._trained.spec
        if not isinstance(spec.input, ImageInput):
            return {}
        network = Network(str(self.run), self.site.settings, self.site.ended)
        picture = drawing(network.framed, ink)
        if picture is None:
            return {}
        import torch

        example = torch.from_numpy(picture[np.newaxis])
        with self._working, torch.no_grad():
            nets = (self._trained.net, self._net(method, rank)[0])
            before, after = (net(example).softmax(1)[0].tolist() for net in nets)
        return {"classes": list(spec.classes), "before": before, "after": after}

    def export(self, method: str, rank: int) -> dict[str, Any]:
        """Write a run folder beside the run: what the command writes at this rank."""
        from tinysignal.budget import Budget
        from tinysignal.runs import CompressOptions, compress_run

        target = self.run.resolve().with_name(f"{self.run.resolve().name}-rank-{rank}")
        options = CompressOptions(budget=Budget(rank=rank), method=method, refine=0)
        with self._working:
            compress_run(self.run, target, options, data_dir=self.site.settings.data_dir)
        return {"path": str(target)}

    def _net(self, method: str, rank: int) -> tuple[Any, dict[str, Any]]:
        from tinysignal.compress import apply, plan

        key = (method, rank)
        if key not in self._known:
            chosen = plan(self._profile, rank=rank, method=method)
            net = apply(self._trained.net, chosen, self._profile, refine=0)
            self._known[key] = net, self._measured(net)
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        return self._known[key]

    def _measured(self, net: Any) -> dict[str, Any]:
        from tinysignal.compress.timing import side_by_side

        trained = self._trained
        times = side_by_side({"one": trained.runner(net, 1)}, seconds=_TIMED_S)
        parameters = sum(part.numel() for part in net.parameters())
        return {
            "score": trained.score(net)[trained.metric.key],
            "parameters": parameters,
            "bytes": 4 * parameters,
            "ms": times["one"].median_ms,
        }
