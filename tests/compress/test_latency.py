"""Times that are measured side by side."""

from __future__ import annotations

import time

import pytest
import torch

from tinysignal.compress.timing import side_by_side


def test_times_are_those_of_the_calls() -> None:
    found = side_by_side(
        {"short": lambda: time.sleep(0.001), "long": lambda: time.sleep(0.004)}, seconds=0.0
    )
    assert found["short"].least_ms >= 1
    assert found["long"].least_ms >= 4
    assert found["short"].median_ms < found["long"].median_ms
    for times in found.values():
        assert times.least_ms <= times.median_ms <= times.p99_ms
        assert times.runs >= 12


def test_calls_take_turns_in_changing_order() -> None:
    order: list[str] = []
    slow = {name: lambda name=name: (order.append(name), time.sleep(0.006)) for name in "ab"}  # type: ignore[misc]
    side_by_side(slow, seconds=0.0)
    turns = ["".join(order[at : at + 2]) for at in range(6, len(order), 2)]  # after the warm-up
    assert set(turns) == {"ab", "ba"}


def test_torch_has_one_thread_meanwhile_and_its_own_after_even_an_error() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        seen: list[int] = []
        side_by_side({"a": lambda: seen.append(torch.get_num_threads())}, seconds=0.0)
        assert set(seen) == {1}

        def fail() -> None:
            raise RuntimeError("broken")

        with pytest.raises(RuntimeError, match="broken"):
            side_by_side({"a": fail}, seconds=0.0)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
