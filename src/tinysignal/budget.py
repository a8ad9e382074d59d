"""Budget of a compression: rank, energy, size or accuracy. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import isfinite

from tinysignal.errors import ConfigError
from tinysignal.options import Options, option

BUDGET = "Budget"


@dataclass(frozen=True, kw_only=True)
class Budget(Options):
    """Target of a compression; exactly one field is given.

    Parameters
    ----------
    rank : int or None
        Rank of every layer in which it saves parameters.
    energy : float or None
        Fraction of each layer's squared singular values to keep, above 0 to 1.
    params, macs : float or None
        Parameters or multiply-accumulates of the whole network to keep: a fraction up to 1, or a
        number above 1.
    max_accuracy_drop : float or None
        Largest loss of accuracy on held-out calibration data, in percentage points.

    Raises
    ------
    ConfigError
        No field or more than one is given, or a value is out of its bounds.

    Examples
    --------
    >>> from tinysignal.budget import Budget
    >>> budget = Budget(params=0.04)
    >>> budget.kind, budget.value
    ('params', 0.04)
    """

    rank: int | None = option(
        None, "Rank of every layer in which it saves parameters.", group=BUDGET, at_least=1
    )
    energy: float | None = option(
        None,
        "Fraction of each layer's squared singular values to keep, such as 95%. Method svd takes "
        "the singular values of the weights, other methods those of the outputs.",
        group=BUDGET,
        above=0,
        at_most=1,
        fraction=True,
        metavar="FRACTION",
    )
    params: float | None = option(
        None,
        "Parameters of the whole network to keep: a fraction such as 4.3%, or a number.",
        group=BUDGET,
        above=0,
        fraction=True,
        metavar="AMOUNT",
    )
    macs: float | None = option(
        None,
        "Multiply-accumulates of the whole network to keep: a fraction such as 5%, or a number for "
        "one example.",
        group=BUDGET,
        above=0,
        fraction=True,
        metavar="AMOUNT",
    )
    max_accuracy_drop: float | None = option(
        None,
        "Largest loss of accuracy on held-out calibration data, in percentage points.",
        group=BUDGET,
        at_least=0,
        below=100,
        metavar="POINTS",
        shown="0.5 for classifiers without another budget",
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
        """Name of the given field."""
        return next(item.name for item in fields(self) if getattr(self, item.name) is not None)

    @property
    def value(self) -> float:
        """Value of the given field."""
        found: float = getattr(self, self.kind)
        return found

    def to_dict(self) -> dict[str, float]:
        """Name and value of the given field: ``{"params": 0.04}``."""
        return {self.kind: self.value}
