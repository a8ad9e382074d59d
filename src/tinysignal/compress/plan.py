"""Plan of a compression: rank and decomposition of each layer, as JSON that people can edit."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tinysignal.budget import Budget
from tinysignal.compress.factorize import Covariance, covariance_of, output_spectrum
from tinysignal.compress.layer_profile import LayerProfile
from tinysignal.compress.profile import Profile
from tinysignal.compress.ranks import Ranks
from tinysignal.compress.solve import cheapest_decomposition
from tinysignal.errors import ConfigError
from tinysignal.files import json_text

VERSION = 2
METHODS = ("sequential", "activation", "svd")


@dataclass(frozen=True)
class LayerPlan:
    """Rank and decomposition of one layer.

    Parameters
    ----------
    name, kind : str
        Name in the network, and type of the layer.
    decomposition : str
        ``low_rank`` (two Linears); for convolutions ``channel``, ``spatial`` or ``tucker``.
    full_rank : int
        Rank at which the decomposition is exact.
    rank : int or None
        Rank; None for a layer that is left whole.
    reason : str
        Reason for the rank, for people.

    Raises
    ------
    ConfigError
        A field has the wrong type, or the rank is not from 1 to the full rank.
    """

    name: str
    kind: str
    decomposition: str
    full_rank: int
    rank: int | None
    reason: str = ""

    def __post_init__(self) -> None:
        where = f"plan, layer {self.name!r:.80}"
        for key in ("name", "kind", "decomposition", "reason"):
            value = getattr(self, key)
            if not isinstance(value, str):
                raise ConfigError(f"{where}: {key} = {value!r:.80}, expected text.")
        full = f"{self.full_rank!r:.80}"
        if type(self.full_rank) is not int or self.full_rank < 1:
            raise ConfigError(f"{where}: full_rank = {full}, expected 1 or more.")
        if self.rank is not None and (
            type(self.rank) is not int or not 1 <= self.rank <= self.full_rank
        ):
            raise ConfigError(
                f"{where}: rank {self.rank!r:.80}, expected 1 to {full}, or null to leave the "
                "layer whole."
            )


@dataclass(frozen=True, repr=False)
class Plan:
    """Ranks and decompositions of all layers of a network.

    Parameters
    ----------
    method : {"sequential", "activation", "svd"}
        Method of the factors, see `tinysignal.compress.compress`.
    budget : dict of str to float
        Budget of the plan: ``{"rank": 20}``, ``{"params": 0.04}``.
    layers : tuple of LayerPlan
        Factorable layers in the order of their calls.
    skipped : dict of str to str
        Layers that cannot be factored, with the reason.
    measured : dict
        Measurements that decided the ranks.
    version : int
        Version of the JSON format.

    Raises
    ------
    ConfigError
        The method or version is unknown, or a layer is listed twice.

    Examples
    --------
    >>> from tinysignal.compress import LayerPlan, Plan
    >>> layer = LayerPlan("0", "Linear", "low_rank", 30, 5, "equal ranks")
    >>> plan = Plan("svd", {"rank": 5}, (layer,))
    >>> plan
    Plan(svd, rank=5: 1 of 1 layers factored at rank 5 to 5)
    >>> Plan.from_json(plan.to_json()) == plan
    True
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
                f"plan of version {self.version!r:.80}, but this release reads {VERSION}. Make a "
                "new plan."
            )
        check_method(self.method)
        for name, count in Counter(layer.name for layer in self.layers).items():
            if count > 1:
                raise ConfigError(
                    f"plan: layer '{name:.80}' is listed {count} times, expected once."
                )

    def __repr__(self) -> str:
        cut = [layer.rank for layer in self.layers if layer.rank is not None]
        ranks = f" at rank {min(cut)} to {max(cut)}" if cut else ""
        budget = ", ".join(f"{key}={value:g}" for key, value in self.budget.items())
        about = f"{self.method}{budget and ', '}{budget}"
        return f"Plan({about}: {len(cut)} of {len(self.layers)} layers factored{ranks})"

    @property
    def ranks(self) -> dict[str, int | None]:
        """Ranks by the names of the layers; None for layers that are left whole."""
        return {layer.name: layer.rank for layer in self.layers}

    def to_json(self) -> str:
        """JSON text of the plan, indented for people."""
        return json_text(asdict(self)) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """Plan from JSON text.

        Raises
        ------
        ConfigError
            The text is not JSON or not a plan, has another version, or a rank is out of range.
        """
        try:
            values: Any = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"the plan is not JSON: {error}.") from None
        if not isinstance(values, dict) or not isinstance(values.get("layers"), list):
            raise ConfigError("the plan has no list of layers, expected a JSON object with one.")
        for key in ("budget", "skipped", "measured"):
            if not isinstance(values.get(key, {}), dict):
                raise ConfigError(f"plan: {key} = {values[key]!r:.80}, expected an object.")
        parts = tuple(_layer(item) for item in values["layers"])
        try:
            return cls(**{**values, "layers": parts})
        except TypeError as error:
            raise ConfigError(f"the plan has unknown or missing fields: {error!s:.200}.") from None


def _layer(values: Any) -> LayerPlan:
    if not isinstance(values, dict):
        raise ConfigError(f"plan: layer {values!r:.80}, expected an object.")
    try:
        return LayerPlan(**values)
    except TypeError as error:
        name = values.get("name")
        raise ConfigError(f"plan, layer {name!r:.80}: {error!s:.200}.") from None


def check_method(method: object) -> None:
    """Check the name of a method.

    Raises
    ------
    ConfigError
        The method is unknown.
    """
    if method not in METHODS:
        raise ConfigError(f"method {method!r:.80}, expected {', '.join(METHODS)}.")


class Choice(NamedTuple):
    """Decomposition, rank (None for a layer left whole) and reason of a layer."""

    decomposition: str
    rank: int | None
    reason: str


Choices = dict[str, Choice]  # by the names of the layers


def uniform(profile: Profile, rank: int, ranks: Ranks, *, first_only: bool = False) -> Choices:
    """Choices with the same rank in all layers.

    With ``first_only``, a convolution gets its default decomposition even if another is cheaper.

    Raises
    ------
    ConfigError
        The rank is above the full rank of every layer.
    """
    largest = max(layer.full_rank for layer in profile.layers)
    if rank > largest:
        raise ConfigError(
            f"rank is {rank}, expected at most {largest}, the largest full rank of a layer."
        )
    choices: Choices = {}
    for layer in profile.layers:
        usual = layer.decompositions[0]
        if not layer.shrinks(usual, rank):
            reason = f"rank {rank} does not make it smaller"
            choices[layer.name] = Choice(usual, None, reason)
            continue
        found, own = (usual, rank) if first_only else cheapest_decomposition(layer, rank)
        reason = f"cheaper, error of rank {rank}" if own != rank else ""
        choices[layer.name] = Choice(found, ranks.rounded(layer, found, own), reason)
    return choices


def spectrum(layer: LayerProfile, method: str) -> Tensor:
    """Squared singular values of the weight or of the outputs, descending, float64 (rank,).

    Those of several blocks, which have one rank, are added.
    """
    covariance: Covariance | None = layer.inputs.covariance
    if method == "svd":
        covariance = layer.family.usual_inputs(layer.module)
    total = torch.zeros(layer.full_rank, dtype=torch.float64)
    for outputs, inputs in layer.family.blocks(layer.module):
        block = layer.weight[outputs, inputs]
        if covariance is None:
            values = torch.linalg.svdvals(block.double()).square()
        else:
            values = output_spectrum(block, covariance_of(covariance, inputs))[0]
        values = values[: len(total)]
        total[: len(values)] += values
    return total


def by_energy(profile: Profile, fraction: float, method: str, ranks: Ranks) -> Choices:
    """Choices of the smallest rank that keeps a fraction of the squared singular values."""
    choices: Choices = {}
    for layer in profile.layers:
        usual = layer.decompositions[0]
        kept = spectrum(layer, method).cumsum(0)
        enough = kept >= fraction * kept[-1] * (1 - 1e-12)
        rank = int(enough.nonzero()[0, 0]) + 1
        if layer.shrinks(usual, rank):
            found, own = cheapest_decomposition(layer, rank)
            own = ranks.rounded(layer, found, own)
            choices[layer.name] = Choice(found, own, f"keeps {fraction:.4g}")
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
    """Plan of the chosen decompositions and ranks."""
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
