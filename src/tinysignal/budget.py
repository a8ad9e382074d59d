"""How far a network is compressed; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import isfinite

from tinysignal.errors import ConfigError
from tinysignal.options import Options, option

BUDGET = "Budget"


@dataclass(frozen=True, kw_only=True)
class Budget(Options):
    """How far a network is compressed: exactly one of the fields is given.

    Raises
    ------
    ConfigError
        None or more than one is given; a value out of its bounds.
    """

    rank: int | None = option(
        None, "The same rank in every layer that it makes smaller.", group=BUDGET, at_least=1
    )
    energy: float | None = option(
        None,
        "Fraction of each layer's squared singular values to keep, such as 95%: of its weight with "
        "method svd, else of its outputs on the calibration data.",
        group=BUDGET,
        above=0,
        at_most=1,
        fraction=True,
        metavar="FRACTION",
    )
    params: float | None = option(
        None,
        "Parameters of the whole network to keep: a fraction such as 4.3%, or their number.",
        group=BUDGET,
        above=0,
        fraction=True,
        metavar="AMOUNT",
    )
    macs: float | None = option(
        None,
        "Multiply-accumulates of the whole network to keep: a fraction such as 5%, or their number "
        "for one example.",
        group=BUDGET,
        above=0,
        fraction=True,
        metavar="AMOUNT",
    )
    max_accuracy_drop: float | None = option(
        None,
        "Largest loss of accuracy in percentage points, on held-out calibration data.",
        group=BUDGET,
        at_least=0,
        below=100,
        metavar="POINTS",
        shown="0.5 for a classifier without another budget",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        given = [item.name for item in fields(self) if getattr(self, item.name) is not None]
        if len(given) != 1:
            names = ", ".join(item.name for item in fields(self))
            raise ConfigError(
                f"budgets: {', '.join(given) or 'none'}, expected exactly one of {names}."
            )
        [name], value = given, getattr(self, given[0])
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not isfinite(value) or (name == "rank" and type(value) is not int):
            expected = "a whole number" if name == "rank" else "a number"
            raise ConfigError(f"{name} is {value!r}, expected {expected}.")

    @property
    def kind(self) -> str:
        """Name of the field that is given."""
        return next(item.name for item in fields(self) if getattr(self, item.name) is not None)

    @property
    def value(self) -> float:
        """The number that is given."""
        found: float = getattr(self, self.kind)
        return found

    def to_dict(self) -> dict[str, float]:
        """``{"params": 0.04}``."""
        return {self.kind: self.value}
