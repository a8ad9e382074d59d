"""Plans for budgets: allotments are compared with equal ranks on data that fitted neither."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from tinysignal.compress.allocate import Measure, Offers, buy, price_of_steps, priced, tilted
from tinysignal.compress.apply import compressed
from tinysignal.compress.plan import Plan, Steps, assemble, by_energy, check_method, uniform
from tinysignal.compress.profile import Held, Profile, on_batches
from tinysignal.compress.timing import one_thread
from tinysignal.errors import ConfigError
from tinysignal.nets.introspection import first_tensor, guarded, watching

_BISECTIONS = 6
_TIMED_RUNS = 30
_HELD_OUT = 2048  # examples that plans are compared on
_TILTS = (1.5, 2.5)
_REFINE = 100  # steps while plans are compared: fewer than at the end

Found = tuple[Steps, dict[str, Any]]


def budgeted(
    profile: Profile, key: str, value: float, *, method: str, floor: int, loss: str
) -> Found:
    """Forms and ranks for a budget, and what they were chosen from.

    Parameters
    ----------
    profile : Profile
    key : {"params", "macs", "max_drop", "latency_ms"}
    value : float
    method, floor, loss
        See `tinysignal.compress.plan`.

    Raises
    ------
    ConfigError
        The budget cannot be met, or needs labels that are not there.
    """
    search = _Search(profile, method, floor, loss, by_macs=key in ("macs", "latency_ms"))
    if key in ("params", "macs"):
        limit = value * search.whole if value <= 1 else value
        found = search.within(limit)
        if found is None:
            raise ConfigError(
                f"{key} = {value:g}: with rank {floor} in every layer the network still has "
                f"{search.least / search.whole:.2%} of its {key}. Ask for more."
            )
        return found
    if key == "max_drop":
        return search.smallest(accuracy_test(search, value))
    return search.largest(speed_test(search, value), f"latency_ms = {value:g}")


class _Search:
    """Allotments of one network, fitted on one half of the calibration data, held to the other."""

    def __init__(
        self, profile: Profile, method: str, floor: int, loss: str, *, by_macs: bool
    ) -> None:
        fit, self.held = halves(profile.batches)
        self.profile = on_batches(profile, fit)
        self.method, self.floor, self.by_macs = method, floor, by_macs
        measure = Measure(self.profile, fit, loss)
        self.offers: dict[str, Offers] = {
            "measured loss": priced(self.profile, measure, method, floor=floor, by_macs=by_macs),
        }
        if method == "sequential":
            for tilt in _TILTS:
                name = f"measured loss, {tilt:g} times less a layer"
                self.offers[name] = tilted(self.offers["measured loss"], tilt)
        self.judge = Measure(self.profile, self.held, measure.kind, most=_HELD_OUT)
        self.whole = profile.macs if by_macs else float(profile.parameters)
        self.least = buy(self.profile, self.offers["measured loss"], None, by_macs=by_macs)[1]

    def cut(self, steps: Steps) -> nn.Module:
        """The network compressed on the first half."""
        plan = assemble(self.profile, steps, self.method, {})
        return compressed(self.profile, plan, refine=_REFINE)

    def within(self, limit: float) -> Found | None:
        """The best of the allotments and equal ranks; None if none fits."""
        if limit < self.least:
            return None
        tried = {
            name: buy(self.profile, offers, limit, by_macs=self.by_macs)[0]
            for name, offers in self.offers.items()
        }
        equal = self._equal(limit)
        if equal is not None:
            tried["equal ranks"] = equal
        known: dict[str, float] = {}  # two allotments may be the same
        losses = {}
        for name, steps in tried.items():
            form = repr([step[:2] for step in steps.values()])
            if form not in known:
                known[form] = self.judge(self.cut(steps))
            losses[name] = known[form]
        best = min(losses, key=lambda name: losses[name])
        measured: dict[str, Any] = {
            "loss": self.judge.kind,
            "held_out_loss": losses,
            "ranks": {
                name: {layer: step[1] for layer, step in steps.items()}
                for name, steps in tried.items()
            },
            "chosen": best,
        }
        return tried[best], measured

    def _equal(self, limit: float) -> Steps | None:
        """The largest equal rank that fits."""
        low, high = 0, max(layer.full_rank for layer in self.profile.layers)
        while low < high:
            middle = (low + high + 1) // 2
            steps = uniform(self.profile, middle, one_form=True)
            fits = price_of_steps(self.profile, steps, by_macs=self.by_macs) <= limit
            low, high = (middle, high) if fits else (low, middle - 1)
        return uniform(self.profile, low, one_form=True) if low else None

    def _allotted(self, share: float) -> Steps:
        offers = self.offers["measured loss"]
        return buy(self.profile, offers, share * self.whole, by_macs=self.by_macs)[0]

    def smallest(self, meets: Callable[[nn.Module], bool]) -> Found:
        """The cheapest allotment that meets a demand which larger networks meet."""
        low, high = self.least / self.whole, 1.0
        best = self._allotted(high)
        for _ in range(_BISECTIONS):
            middle = (low * high) ** 0.5
            steps = self._allotted(middle)
            if meets(self.cut(steps)):
                best, high = steps, middle
            else:
                low = middle
        return best, {"share_kept": high, "chosen": "measured loss"}

    def largest(self, meets: Callable[[nn.Module], bool], what: str) -> Found:
        """The dearest allotment that meets a demand which smaller networks meet."""
        low, high = self.least / self.whole, 1.0
        best = self._allotted(low)
        if not meets(self.cut(best)):
            raise ConfigError(f"{what}: not met even with rank {self.floor} in every layer.")
        for _ in range(_BISECTIONS):
            middle = (low * high) ** 0.5
            steps = self._allotted(middle)
            if meets(self.cut(steps)):
                best, low = steps, middle
            else:
                high = middle
        return best, {"share_kept": low, "chosen": "measured loss"}


def halves(batches: Held) -> tuple[Held, Held]:
    """Two halves of the batches, or of the examples of the only one."""
    if len(batches) > 1:
        return batches[::2], batches[1::2]
    inputs, labels = batches[0]
    if not isinstance(inputs, Tensor) or len(inputs) < 2:
        return batches, batches
    first, second = slice(None, None, 2), slice(1, None, 2)
    return tuple(  # type: ignore[return-value]
        ((inputs[part], None if labels is None else labels[part]),) for part in (first, second)
    )


def accuracy(profile: Profile, network: nn.Module, batches: Held) -> float:
    """Share of labelled examples whose largest output is their label's, in percent."""
    right = count = 0
    with watching(network):
        for inputs, labels in batches:
            if labels is not None:
                outputs = first_tensor(guarded(profile.forward, network, inputs))
                right += int((outputs.argmax(dim=-1) == labels.to(outputs.device)).sum())
                count += labels.numel()
    if not count:
        raise ConfigError("max_drop needs calibration batches of (inputs, labels).")
    return 100 * right / count


def accuracy_test(search: _Search, drop: float) -> Callable[[nn.Module], bool]:
    """Whether a network loses at most so many percentage points on the held-out half."""
    least = accuracy(search.profile, search.profile.network, search.held) - drop
    return lambda network: accuracy(search.profile, network, search.held) >= least - 1e-9


def speed_test(search: _Search, limit_ms: float) -> Callable[[nn.Module], bool]:
    """Whether a network takes at most so long for one example."""
    inputs = search.held[0][0]
    one = inputs[:1] if isinstance(inputs, Tensor) else inputs
    return lambda network: latency_ms(search.profile, network, one) <= limit_ms


def latency_ms(profile: Profile, network: nn.Module, inputs: Any) -> float:
    """Median time of a call in milliseconds, with one thread."""
    times = []
    with one_thread(), watching(network):
        for _ in range(_TIMED_RUNS + 3):  # the first are warm-up
            start = time.perf_counter()
            guarded(profile.forward, network, inputs)
            times.append(time.perf_counter() - start)
    return 1000 * sorted(times[3:])[_TIMED_RUNS // 2]


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
