"""What every network keeps to, whatever it has learnt."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tinysignal.errors import ConfigError
from tinysignal.train.nets import CnnNet, DenoisingNet, LinearNet

BINS = 65


def linear(level: str = "none") -> DenoisingNet:
    return LinearNet(bins=BINS, width=32, level=level, frames_per_s=62.5)


def cnn(lookahead_frames: int = 0, level: str = "running") -> DenoisingNet:
    return CnnNet(
        bins=BINS,
        width=4,
        blocks=3,
        lookahead_frames=lookahead_frames,
        level=level,
        frames_per_s=62.5,
    )


NETS = {
    "linear": linear,
    "linear-level": lambda: linear("running"),
    "cnn": cnn,
    "cnn-ahead": lambda: cnn(2),
    "cnn-no-level": lambda: cnn(level="none"),
}


@pytest.fixture(params=NETS.values(), ids=NETS.keys())
def net(request: pytest.FixtureRequest) -> DenoisingNet:
    """Every network with random weights, and batch statistics that are not the initial ones."""
    torch.manual_seed(0)
    make: Callable[[], DenoisingNet] = request.param
    made = make()
    for layer in made.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.running_mean, 0, 0.3)
            nn.init.uniform_(layer.running_var, 0.5, 2)
            nn.init.normal_(layer.bias, 0, 0.3)
    return made.eval()


def magnitudes(frames: int) -> torch.Tensor:
    return torch.rand(2, frames, BINS, generator=torch.Generator().manual_seed(1)) + 0.01


def test_blocks_of_any_size_give_what_the_whole_gives(net: DenoisingNet) -> None:
    @given(cuts=st.lists(st.integers(1, 39), max_size=6, unique=True))
    @settings(max_examples=10, deadline=None)
    def check(cuts: list[int]) -> None:
        whole = magnitudes(40)
        with torch.no_grad():
            expected, last = net.gain(whole, net.initial_state(2))
            state, gains = net.initial_state(2), []
            for block in torch.tensor_split(whole, sorted(cuts), dim=1):
                gain, state = net.gain(block, state)
                gains.append(gain)
        torch.testing.assert_close(torch.cat(gains, 1) * whole, expected * whole)
        torch.testing.assert_close(state, last)

    check()


def test_forward_is_the_gain_applied_to_the_frames_it_belongs_to(net: DenoisingNet) -> None:
    whole, ahead = magnitudes(20), net.lookahead_frames
    with torch.no_grad():
        padded = nn.functional.pad(whole, (0, 0, 0, ahead))
        gain, _ = net.gain(padded, net.initial_state(2))
        torch.testing.assert_close(net(whole), gain[:, ahead:] * whole)


def test_nothing_after_the_look_ahead_changes_a_frame(net: DenoisingNet) -> None:
    whole, changed, at = magnitudes(30), magnitudes(30), 20
    changed[:, at:] += 1
    first = at - net.lookahead_frames
    with torch.no_grad():
        before, after = net(whole), net(changed)
    assert torch.equal(before[:, :first], after[:, :first])
    assert not torch.equal(before[:, first], after[:, first])


def test_the_receptive_field_is_as_long_as_stated(net: DenoisingNet) -> None:
    if net.level == "running":
        pytest.skip("the running level remembers more, with weights that decay")
    frames = net.receptive_field_frames + 10
    whole = magnitudes(frames).requires_grad_()
    net(whole)[:, frames - 1].sum().backward()
    assert whole.grad is not None
    reached = whole.grad.abs().sum(dim=(0, 2)).nonzero().flatten()
    assert reached.max() - reached.min() + 1 == net.receptive_field_frames


def test_the_scale_of_a_recording_does_not_matter_with_a_running_level(net: DenoisingNet) -> None:
    whole = magnitudes(20)
    with torch.no_grad():
        quiet, loud = net(whole * 0.01) / 0.01, net(whole)
    same = torch.allclose(quiet, loud, atol=1e-3)
    assert same == (net.level == "running")


def test_nothing_is_amplified_but_by_the_network_of_the_course(net: DenoisingNet) -> None:
    whole = magnitudes(20) * 0.01
    with torch.no_grad():
        amplified = bool((net(whole) > whole * 1.0001).any())
    assert amplified == (isinstance(net, LinearNet) and net.level == "none")


def test_silence_stays_silent_and_finite(net: DenoisingNet) -> None:
    with torch.no_grad():
        gain, state = net.gain(torch.zeros(1, 10, BINS), net.initial_state(1))
    assert torch.isfinite(gain).all()
    assert all(torch.isfinite(s).all() for s in state)
    assert not (gain * 0).any()


def test_the_linear_network_is_the_one_of_the_course() -> None:
    net = LinearNet(bins=513, frames_per_s=31.25)
    layers = [(type(m).__name__, tuple(p.shape for p in m.parameters())) for m in net.layers]
    assert layers == [
        ("Linear", ((1024, 513), (1024,))),
        ("ReLU", ()),
        ("Linear", ((1024, 1024), (1024,))),
        ("ReLU", ()),
        ("Linear", ((513, 1024), (513,))),
        ("ReLU", ()),
    ]
    x = torch.rand(1, 4, 513)
    assert torch.equal(net(x), net.layers(x))


def test_the_cnn_is_two_dimensional_and_its_output_a_mask() -> None:
    net = CnnNet(bins=257, frames_per_s=62.5).eval()
    kernels = [m.kernel_size for m in net.modules() if isinstance(m, nn.Conv2d)]
    assert any(time > 1 and freq > 1 for time, freq in kernels)
    with torch.no_grad():
        gain, _ = net.gain(torch.rand(1, 5, 257), net.initial_state(1))
    assert ((gain > 0) & (gain < 1)).all()


def test_a_frame_wise_network_refuses_look_ahead() -> None:
    with pytest.raises(ConfigError, match="look-ahead"):
        LinearNet(bins=BINS, lookahead_frames=1, frames_per_s=62.5)
