"""A plan: which layers are factored, at which ranks. A JSON file that people can edit."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

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
        Two Linears, or of a convolution see `tinysignal.compress.convolutions`.
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
