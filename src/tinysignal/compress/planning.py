"""From a budget to a plan: at which rank each layer is factored."""

from __future__ import annotations

import math
from typing import Any

from tinysignal.compress.budgeting import budgeted
from tinysignal.compress.plan_file import Plan, check_method
from tinysignal.compress.profiling import Profile
from tinysignal.compress.ranks import assemble, by_energy, uniform
from tinysignal.errors import ConfigError

BUDGETS = ("rank", "energy", "params", "macs", "max_drop", "latency_ms")


def plan(
    profile: Profile,
    *,
    rank: int | None = None,
    energy: float | None = None,
    params: float | None = None,
    macs: float | None = None,
    max_drop: float | None = None,
    latency_ms: float | None = None,
    method: str = "sequential",
    floor: int = 4,
    loss: str = "auto",
) -> Plan:
    """Choose how far each layer is cut, for one of the budgets.

    Parameters
    ----------
    profile : Profile
    rank : int or None
        The same for every layer. One that it does not shrink is left as it is.
    energy : float or None
        Share, above 0 to 1, of the squared singular values that each layer keeps: of its weight in
        the ``plain`` method, else of what it puts out on the calibration data.
    params, macs : float or None
        Of the whole network: a share up to 1, or a count above.
    max_drop : float or None
        Largest loss of accuracy, in percentage points, on labelled calibration data of which half
        is held out.
    latency_ms : float or None
        Largest time for one example, measured in torch on this machine with one thread.
    method : {"sequential", "activation", "plain"}
        See `tinysignal.compress.apply`.
    floor : int
        The smallest rank that an allotment may give.
    loss : {"auto", "kl", "mse"}
        What an allotment is measured by: divergence of the classes' probabilities from the
        original's, or squared error relative to the outputs' variance. ``auto``: "kl" where the
        calibration data are labelled or the outputs are (examples, 2 or more).

    Raises
    ------
    ConfigError
        Not exactly one budget, one that is out of its bounds or cannot be met.
    """
    given = {
        "rank": rank,
        "energy": energy,
        "params": params,
        "macs": macs,
        "max_drop": max_drop,
        "latency_ms": latency_ms,
    }
    asked = {key: value for key, value in given.items() if value is not None}
    if len(asked) != 1:
        got = ", ".join(asked) or "none"
        raise ConfigError(f"budgets: {got}, expected exactly one of {', '.join(BUDGETS)}.")
    check_method(method)
    if type(floor) is not int or floor < 1:
        raise ConfigError(f"floor = {floor!r}, expected a rank of 1 or more.")
    ((key, value),) = asked.items()
    check_budget(key, value)
    if key == "rank":
        return assemble(profile, uniform(profile, int(value)), method, asked)
    if key == "energy":
        return assemble(profile, by_energy(profile, value, method), method, asked)
    steps, measured = budgeted(profile, key, value, method=method, floor=floor, loss=loss)
    return assemble(profile, steps, method, asked, measured)


def check_budget(key: str, value: Any) -> None:
    """Refuse a budget that is out of its bounds.

    Raises
    ------
    ConfigError
    """
    if key == "rank":
        if type(value) is not int or value < 1:
            raise ConfigError(f"rank {value!r}, expected a whole number of 1 or more.")
        return
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise ConfigError(f"{key} = {value!r}, expected a number.")
    if key == "max_drop" and not 0 <= value < 100:
        raise ConfigError(f"max_drop = {value:g}, expected percentage points, 0 to below 100.")
    if key != "max_drop" and value <= 0:
        raise ConfigError(f"{key} = {value:g}, expected more than 0.")
    if key == "energy" and value > 1:
        raise ConfigError(f"energy = {value:g}, expected a share of at most 1.")
