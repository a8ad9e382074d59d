"""A plan: which layers are factored, at which ranks. A JSON file that people can edit."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from tinysignal.compress.factorize import output_spectrum
from tinysignal.compress.layers import families as layers
from tinysignal.compress.profile import LayerProfile, Profile
from tinysignal.compress.solve import cheapest_form
from tinysignal.errors import ConfigError

VERSION = 1
METHODS = ("sequential", "activation", "plain")
FORMS = ("pair", "channel", "spatial", "tucker")


@dataclass(frozen=True)
class LayerPlan:
    """What becomes of one layer.

    Parameters
    ----------
    name, kind : str
    form : {"pair", "channel", "spatial", "tucker"}
        Two Linears, or of a convolution see `tinysignal.compress.layers.convolution`.
    full_rank : int
        The rank at which the form is exact.
    rank : int or None
        None leaves the layer as it is.
    why : str
        For people.
    """

    name: str
    kind: str
    form: str
    full_rank: int
    rank: int | None
    why: str = ""

    def __post_init__(self) -> None:
        for key in ("name", "kind", "form", "why"):
            if not isinstance(getattr(self, key), str):
                raise ConfigError(
                    f"plan, layer '{self.name}': {key} = {getattr(self, key)!r}, expected text."
                )
        if self.form not in FORMS:
            raise ConfigError(
                f"plan, layer '{self.name}': form '{self.form}', expected {', '.join(FORMS)}."
            )
        if type(self.full_rank) is not int or self.full_rank < 1:
            raise ConfigError(f"plan, layer '{self.name}': full_rank = {self.full_rank!r}.")
        if self.rank is not None and (
            type(self.rank) is not int or not 1 <= self.rank <= self.full_rank
        ):
            raise ConfigError(
                f"plan, layer '{self.name}': rank {self.rank!r}, expected 1 to {self.full_rank}, "
                "or null to leave it as it is."
            )


@dataclass(frozen=True)
class Plan:
    """Which layers are factored, and how.

    Parameters
    ----------
    method : {"sequential", "activation", "plain"}
    budget : dict of str to float
        What was asked for: ``{"rank": 20}``, ``{"params": 0.04}``.
    layers : tuple of LayerPlan
        In the order in which the network calls them.
    skipped : dict of str to str
        Layers that cannot be factored, and why.
    measured : dict
        What the choice of the ranks was made from.
    version : int
    """

    method: str
    budget: dict[str, float]
    layers: tuple[LayerPlan, ...]
    skipped: dict[str, str] = field(default_factory=dict)
    measured: dict[str, Any] = field(default_factory=dict)
    version: int = VERSION

    def __post_init__(self) -> None:
        if self.version != VERSION:
            raise ConfigError(
                f"plan of version {self.version!r}, but this release reads {VERSION}."
            )
        check_method(self.method)
        names = [layer.name for layer in self.layers]
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(f"plan: layer '{name}' is there {names.count(name)} times.")

    @property
    def ranks(self) -> dict[str, int | None]:
        """The layers' ranks by their names."""
        return {layer.name: layer.rank for layer in self.layers}

    def to_json(self) -> str:
        """The plan as JSON text, to be read and edited by people."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """The plan in JSON text.

        Raises
        ------
        ConfigError
            Not JSON, not a plan, of another version; a rank that cannot be, by the layer's name.
        """
        try:
            values: Any = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"the plan is not JSON: {error}.") from None
        if not isinstance(values, dict) or not isinstance(values.get("layers"), list):
            raise ConfigError("the plan is not a JSON object with a list of layers.")
        for key in ("budget", "skipped", "measured"):
            if not isinstance(values.get(key, {}), dict):
                raise ConfigError(f"plan: {key} = {values[key]!r:.80}, expected an object.")
        parts = tuple(_layer(item) for item in values["layers"])
        try:
            return cls(**{**values, "layers": parts})
        except TypeError as error:
            raise ConfigError(f"the plan's fields are not those of a plan: {error}.") from None


def _layer(values: Any) -> LayerPlan:
    if not isinstance(values, dict):
        raise ConfigError(f"plan: layer {values!r:.80}, expected an object.")
    try:
        return LayerPlan(**values)
    except TypeError as error:
        name = values.get("name")
        raise ConfigError(f"plan, layer {name!r:.80}: {error}.") from None


def check_method(method: object) -> None:
    """Refuse a method that is not there.

    Raises
    ------
    ConfigError
    """
    if method not in METHODS:
        raise ConfigError(f"method {method!r:.80}, expected {', '.join(METHODS)}.")


Steps = dict[str, tuple[str, int | None, str]]  # per layer: form, rank, why


def uniform(profile: Profile, rank: int, *, one_form: bool = False) -> Steps:
    """One rank for all layers: per layer the form, the rank and why.

    With ``one_form``, a convolution keeps its first form even where another is cheaper.

    Raises
    ------
    ConfigError
        It is above every layer's full rank, or shrinks none.
    """
    largest = max(layer.full_rank for layer in profile.layers)
    if rank > largest:
        raise ConfigError(f"rank {rank} is above the full rank of every layer (at most {largest}).")
    steps: Steps = {}
    for layer in profile.layers:
        module = profile.network.get_submodule(layer.name)
        form = layers.forms(module)[0]
        if not shrinks(profile, layer, form, rank):
            steps[layer.name] = form, None, f"rank {rank} does not make it smaller"
        else:
            form, own = (form, rank) if one_form else cheapest_form(module, layer, rank)
            steps[layer.name] = form, own, f"as good as rank {rank}" if own != rank else ""
    return steps


def shrinks(profile: Profile, layer: LayerProfile, form: str, rank: int) -> bool:
    """Whether a rank is possible and has fewer weights than the layer."""
    module = profile.network.get_submodule(layer.name)
    if rank > layers.full_rank(module, form):
        return False
    return layers.cost(module, form, rank)[0] < layer.parameters


def spectrum(layer: LayerProfile, method: str) -> Tensor:
    """Squared singular values, descending, float64, of the weight or of its outputs."""
    if method == "plain":
        values: Tensor = torch.linalg.svdvals(layer.weight.double()).square()
        return values
    return output_spectrum(layer.weight, layer.inputs.covariance)[0][: layer.full_rank]


def by_energy(profile: Profile, share: float, method: str) -> Steps:
    """Per layer the smallest rank that keeps a share of the squared singular values."""
    steps: Steps = {}
    for layer in profile.layers:
        module = profile.network.get_submodule(layer.name)
        form = layers.forms(module)[0]
        kept = spectrum(layer, method).cumsum(0)
        enough = kept >= share * kept[-1] * (1 - 1e-12)
        rank = int(enough.nonzero()[0, 0]) + 1
        if shrinks(profile, layer, form, rank):
            steps[layer.name] = (*cheapest_form(module, layer, rank), f"keeps {share:.4g}")
        else:
            steps[layer.name] = form, None, f"rank {rank} does not make it smaller"
    return steps


def assemble(
    profile: Profile,
    steps: Steps,
    method: str,
    budget: dict[str, Any],
    measured: dict[str, Any] | None = None,
) -> Plan:
    """A plan of forms and ranks."""
    parts = []
    for layer in profile.layers:
        form, rank, why = steps[layer.name]
        full = layers.full_rank(profile.network.get_submodule(layer.name), form)
        parts.append(LayerPlan(layer.name, layer.kind, form, full, rank, why))
    skipped = {one.name: one.reason for one in profile.skipped}
    return Plan(method, budget, tuple(parts), skipped, measured or {})
