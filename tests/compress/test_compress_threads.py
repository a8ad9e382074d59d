"""Small steps have one thread; whoever calls keeps as many as there were."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from tinysignal.compress import apply, plan, profile
from tinysignal.compress.solve import from_moments, refined
from tinysignal.compress.timing import one_thread


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    """Torch with two threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_the_number_of_threads_is_restored_even_after_an_error() -> None:
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    with pytest.raises(RuntimeError, match="broken"), one_thread():
        raise RuntimeError("broken")
    assert torch.get_num_threads() == 2


class Watched(nn.ReLU):
    """Notes how many threads there are while it is trained."""

    seen: ClassVar[list[int]] = []  # of the class: a network is copied

    def forward(self, values: Tensor) -> Tensor:
        """Note it, and work as ReLU."""
        if values.requires_grad:
            self.seen.append(torch.get_num_threads())
        return super().forward(values)


def test_refinement_has_one_thread_and_what_follows_its_own(inputs: Tensor) -> None:
    Watched.seen.clear()
    net = nn.Sequential(nn.Linear(24, 32), Watched(), nn.Linear(32, 6))
    profiled = profile(net, [inputs])
    apply(net, plan(profiled, rank=4), profiled, refine=5)
    assert set(Watched.seen) == {1}
    assert torch.get_num_threads() == 2


def test_an_error_in_the_refinement_leaves_the_threads_as_they_were(inputs: Tensor) -> None:
    def broken(values: Tensor) -> Tensor:
        if values.requires_grad:
            raise RuntimeError("broken")
        return values

    net = nn.Sequential(nn.Linear(24, 32), nn.ReLU(), nn.Linear(32, 6))
    profiled = profile(net, [inputs])
    layer = profiled.layers[0]
    made = from_moments(layer, "low_rank", 4, method="activation")
    with pytest.raises(RuntimeError, match="broken"):
        refined(made, inputs, inputs @ layer.weight.T, broken, steps=3, seed=0)
    assert torch.get_num_threads() == 2
