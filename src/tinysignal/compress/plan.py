"""A plan: the rank and the decomposition of each layer. A JSON file that people can edit."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tinysignal.budget import Budget
from tinysignal.compress.factorize import output_spectrum
from tinysignal.compress.profile import LayerProfile, Profile
from tinysignal.compress.solve import cheapest_decomposition
from tinysignal.errors import ConfigError

VERSION = 2
METHODS = ("sequential", "activation", "svd")


@dataclass(frozen=True)
class LayerPlan:
    """The rank and decomposition of one layer.

    Parameters
    ----------
    name, kind : str
        Name in the network, and type.
    decomposition : str
        ``low_rank``: two Linears; of a convolution ``channel``, ``spatial`` or ``tucker``.
    full_rank : int
        The rank at which the decomposition is exact.
    rank : int or None
        None leaves the layer as it is.
    reason : str
        Why this rank, for people.
    """

    name: str
    kind: str
    decomposition: str
    full_rank: int
    rank: int | None
    reason: str = ""

    def __post_init__(self) -> None:
        for key in ("name", "kind", "decomposition", "reason"):
            if not isinstance(getattr(self, key), str):
                raise ConfigError(
                    f"plan, layer '{self.name}': {key} = {getattr(self, key)!r}, expected text."
                )
        if type(self.full_rank) is not int or self.full_rank < 1:
            raise ConfigError(
                f"plan, layer '{self.name}': full_rank = {self.full_rank!r}, expected 1 or more."
            )
        if self.rank is not None and (
            type(self.rank) is not int or not 1 <= self.rank <= self.full_rank
        ):
            raise ConfigError(
                f"plan, layer '{self.name}': rank {self.rank!r}, expected 1 to {self.full_rank}, "
                "or null to leave it as it is."
            )


@dataclass(frozen=True, repr=False)
class Plan:
    """Which layers are factored, and how.

    Parameters
    ----------
    method : {"sequential", "activation", "svd"}
    budget : dict of str to float
        The budget that was asked for: ``{"rank": 20}``, ``{"params": 0.04}``.
    layers : tuple of LayerPlan
        In the order in which the network calls them.
    skipped : dict of str to str
        Layers that cannot be factored, and why.
    measured : dict
        The measurements that the ranks were chosen by.
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

    def __repr__(self) -> str:
        cut = [layer.rank for layer in self.layers if layer.rank is not None]
        ranks = f" at rank {min(cut)} to {max(cut)}" if cut else ""
        budget = ", ".join(f"{key}={value:g}" for key, value in self.budget.items())
        about = f"{self.method}{budget and ', '}{budget}"
        return f"Plan({about}: {len(cut)} of {len(self.layers)} layers factored{ranks})"

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
    """Refuse a method that is not known.

    Raises
    ------
    ConfigError
    """
    if method not in METHODS:
        raise ConfigError(f"method {method!r:.80}, expected {', '.join(METHODS)}.")


class Choice(NamedTuple):
    """The decomposition and rank of a layer, None to leave it whole, and the reason."""

    decomposition: str
    rank: int | None
    reason: str


Choices = dict[str, Choice]  # by the layers' names


def uniform(profile: Profile, rank: int, *, first_only: bool = False) -> Choices:
    """One rank for all layers.

    With ``first_only``, a convolution keeps its first decomposition even where another is cheaper.

    Raises
    ------
    ConfigError
        The rank is above every layer's full rank.
    """
    largest = max(layer.full_rank for layer in profile.layers)
    if rank > largest:
        raise ConfigError(f"rank {rank} is above the full rank of every layer (at most {largest}).")
    choices: Choices = {}
    for layer in profile.layers:
        usual = layer.decompositions[0]
        if not layer.shrinks(usual, rank):
            reason = f"rank {rank} does not make it smaller"
            choices[layer.name] = Choice(usual, None, reason)
            continue
        found, own = (usual, rank) if first_only else cheapest_decomposition(layer, rank)
        reason = f"as good as rank {rank}" if own != rank else ""
        choices[layer.name] = Choice(found, own, reason)
    return choices


def spectrum(layer: LayerProfile, method: str) -> Tensor:
    """Squared singular values, descending, float64, of the weight or of its outputs."""
    if method == "svd":
        values: Tensor = torch.linalg.svdvals(layer.weight.double()).square()
        return values
    return output_spectrum(layer.weight, layer.inputs.covariance)[0][: layer.full_rank]


def by_energy(profile: Profile, fraction: float, method: str) -> Choices:
    """Per layer the smallest rank that keeps a fraction of the squared singular values."""
    choices: Choices = {}
    for layer in profile.layers:
        usual = layer.decompositions[0]
        kept = spectrum(layer, method).cumsum(0)
        enough = kept >= fraction * kept[-1] * (1 - 1e-12)
        rank = int(enough.nonzero()[0, 0]) + 1
        if layer.shrinks(usual, rank):
            found = cheapest_decomposition(layer, rank)
            choices[layer.name] = Choice(*found, f"keeps {fraction:.4g}")
        else:
            choices[layer.name] = Choice(usual, None, f"rank {rank} does not make it smaller")
    return choices


def assemble(
    profile: Profile,
    choices: Choices,
    method: str,
    budget: Budget | None,
    measured: dict[str, Any] | None = None,
) -> Plan:
    """A plan of chosen decompositions and ranks."""
    parts = []
    for layer in profile.layers:
        choice = choices[layer.name]
        full = layer.exact_rank(choice.decomposition)
        parts.append(
            LayerPlan(
                layer.name, layer.kind, choice.decomposition, full, choice.rank, choice.reason
            )
        )
    skipped = {one.name: one.reason for one in profile.skipped}
    asked = {} if budget is None else budget.to_dict()
    return Plan(method, asked, tuple(parts), skipped, measured or {})
