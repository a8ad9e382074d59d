"""What every network keeps to, whatever it has learnt."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from tinysignal.errors import ConfigError
from tinysignal.nets import CnnNet, DenoisingNet, LinearNet, LstmNet, MaskingNet

BINS = 65


def linear(level: str = "none") -> DenoisingNet:
    return LinearNet(bins=BINS, width=32, normalization=level, frames_per_s=62.5)


def cnn(lookahead_frames: int = 0, level: str = "running") -> DenoisingNet:
    return CnnNet(
        bins=BINS,
        width=4,
        blocks=3,
        lookahead_frames=lookahead_frames,
        normalization=level,
        frames_per_s=62.5,
    )


def lstm(level: str = "running", lookahead_frames: int = 0) -> LstmNet:
    net = LstmNet(
        bins=BINS,
        width=16,
        lookahead_frames=lookahead_frames,
        normalization=level,
        frames_per_s=62.5,
    )
    for layer in (net.filter, net.low_filter):  # they begin at zero
        torch.nn.init.normal_(layer.weight, std=0.3)
    return net


NETS = {
    "linear": linear,
    "linear-level": lambda: linear("running"),
    "cnn": cnn,
    "cnn-ahead": lambda: cnn(2),
    "cnn-no-level": lambda: cnn(level="none"),
    "lstm": lstm,
    "lstm-no-level": lambda: lstm("none"),
    "lstm-ahead": lambda: lstm(lookahead_frames=3),
}


@pytest.fixture(params=NETS.values(), ids=NETS.keys())
def net(request: pytest.FixtureRequest) -> DenoisingNet:
    """Every network with random weights, and batch statistics that are not the initial ones."""
    torch.manual_seed(0)
    make: Callable[[], DenoisingNet] = request.param
    made = make()
    for layer in made.modules():
        if isinstance(layer, _BatchNorm):
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


def whole_signals(net: DenoisingNet, magnitude: torch.Tensor) -> torch.Tensor:
    """What a network makes of whole signals: magnitudes; a `MaskingNet` is given phase zero."""
    if not isinstance(net, MaskingNet):
        found: torch.Tensor = net(magnitude)
        return found
    given = torch.stack([magnitude, torch.zeros_like(magnitude)], dim=3)
    return (net(given).square().sum(dim=3) + 1e-20).sqrt()  # with a gradient at zero


def test_forward_is_the_gain_applied_to_the_frames_it_belongs_to(net: DenoisingNet) -> None:
    whole, ahead = magnitudes(20), net.lookahead_frames
    with torch.no_grad():
        padded = nn.functional.pad(whole, (0, 0, 0, ahead))
        gain, _ = net.gain(padded, net.initial_state(2))
        torch.testing.assert_close(whole_signals(net, whole), gain[:, ahead:] * whole)


def test_nothing_after_the_look_ahead_changes_a_frame(net: DenoisingNet) -> None:
    whole, changed, at = magnitudes(30), magnitudes(30), 20
    changed[:, at:] += 1
    first = at - net.lookahead_frames
    with torch.no_grad():
        before, after = whole_signals(net, whole), whole_signals(net, changed)
    assert torch.equal(before[:, :first], after[:, :first])
    assert not torch.equal(before[:, first], after[:, first])


def test_the_receptive_field_is_as_long_as_stated(net: DenoisingNet) -> None:
    if net.normalization == "running" and net.receptive_field_frames:
        pytest.skip("the running level remembers more, with weights that decay")
    frames = net.receptive_field_frames + 10
    whole = magnitudes(frames).requires_grad_()
    whole_signals(net, whole)[:, frames - 1].sum().backward()
    assert whole.grad is not None
    reached = whole.grad.abs().sum(dim=(0, 2)).nonzero().flatten()
    assert reached.max() - reached.min() + 1 == (net.receptive_field_frames or frames)


def test_the_scale_of_a_recording_does_not_matter_with_a_running_level(net: DenoisingNet) -> None:
    whole = magnitudes(20)
    with torch.no_grad():
        quiet, loud = whole_signals(net, whole * 0.01) / 0.01, whole_signals(net, whole)
    heard = 20 - net.lookahead_frames  # the silence after the end has a floor of its own
    quiet, loud = quiet[:, :heard], loud[:, :heard]
    same = torch.allclose(quiet, loud, atol=1e-3)
    assert same == (net.normalization == "running")


def test_nothing_is_amplified_but_by_the_network_of_the_course(net: DenoisingNet) -> None:
    most = 1.5 if isinstance(net, LstmNet) else 1.0  # its filter carries loud frames on
    whole = magnitudes(20) * 0.01
    with torch.no_grad():
        amplified = bool((whole_signals(net, whole) > whole * most * 1.0001).any())
    assert amplified == (isinstance(net, LinearNet) and net.normalization == "none")


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
    with pytest.raises(ConfigError, match="lookahead_frames is 1, expected 0"):
        LinearNet(bins=BINS, lookahead_frames=1, frames_per_s=62.5)


def spectra(frames: int) -> torch.Tensor:
    return torch.randn(2, frames, BINS, 2, generator=torch.Generator().manual_seed(2))


def test_a_complex_mask_is_the_same_in_blocks_and_turns_phases() -> None:
    torch.manual_seed(0)
    net, whole = lstm().eval(), spectra(30)
    with torch.no_grad():
        expected, _ = net.complex_mask(whole, net.initial_state(2))
        state, masks = net.initial_state(2), []
        for block in torch.tensor_split(whole, [1, 2, 11], dim=1):
            mask, state = net.complex_mask(block, state)
            masks.append(mask)
    torch.testing.assert_close(torch.cat(masks, 1), expected)
    assert expected[..., 1].abs().max() > 0.01
    most = 1.5**2 * 1.00001  # the filter adds to the mask
    assert expected.square().sum(dim=3).max() <= most


def test_forward_of_a_complex_mask_is_the_mask_times_the_spectrum() -> None:
    torch.manual_seed(0)
    net, whole = lstm().eval(), spectra(12)
    with torch.no_grad():
        mask, _ = net.complex_mask(whole, net.initial_state(2))
        expected = torch.view_as_complex(whole) * torch.view_as_complex(mask)
        torch.testing.assert_close(torch.view_as_complex(net(whole)), expected)


def test_a_mask_sees_phases() -> None:
    """Turned by a quarter, a spectrum has the same magnitudes, but is heard differently."""
    torch.manual_seed(0)
    net, whole = lstm().eval(), spectra(10)
    turned = torch.stack([-whole[..., 1], whole[..., 0]], dim=3)
    with torch.no_grad():
        masks = [net.complex_mask(x, net.initial_state(2))[0] for x in (whole, turned)]
    assert not torch.allclose(*masks, atol=1e-3)


@pytest.mark.parametrize("frames", [1, 3, 6])
def test_a_network_that_looks_ahead_begins_as_the_one_that_does_not(frames: int) -> None:
    torch.manual_seed(0)
    causal, ahead = lstm(), lstm(lookahead_frames=frames)
    causal.complex_mask(spectra(30), causal.initial_state(2))  # statistics of their own
    ahead.widen(causal.state_dict())
    causal.eval()
    ahead.eval()
    whole = spectra(40)
    whole[:, :10] = 0  # the state of the one is not that of the other after frames before the first
    expected = causal(whole)
    found = ahead(whole)
    torch.testing.assert_close(found[:, 20:], expected[:, 20:], atol=1e-4, rtol=1e-4)
    found.sum().backward()
    for layer, columns in ((ahead.encode, slice(3 * BINS, None)), (ahead.filter, slice(None))):
        assert layer.weight.grad is not None
        assert layer.weight.grad[:, columns].any()


@pytest.mark.parametrize("frames_on", [1, 2])
def test_with_look_ahead_the_filter_adds_later_frames_too(frames_on: int) -> None:
    net = LstmNet(bins=BINS, width=16, lookahead_frames=2, frames_per_s=62.5).eval()
    whole = torch.nn.functional.normalize(spectra(20), dim=3)
    low = BINS // 2
    without = torch.view_as_complex(net(whole))
    factor = torch.tensor([0.4, -0.2])
    with torch.no_grad():
        net.filter.bias.view(2, 4, low)[:, 1 + frames_on] = torch.atanh(factor)[:, None]
    added = torch.view_as_complex(net(whole)) - without
    given = torch.view_as_complex(whole)
    expected = torch.zeros_like(given)
    expected[:, :-frames_on, :low] = torch.view_as_complex(factor) * given[:, frames_on:, :low]
    torch.testing.assert_close(added, expected, atol=1e-5, rtol=1e-4)


def test_a_widened_network_is_the_same_function_and_learns_with_all_its_units() -> None:
    torch.manual_seed(0)
    narrow, wide = lstm(), LstmNet(bins=BINS, width=24, frames_per_s=62.5)
    narrow.complex_mask(spectra(30), narrow.initial_state(2))  # statistics of their own
    wide.widen(narrow.state_dict())
    narrow.eval()
    wide.eval()
    whole = spectra(20)
    expected = narrow.complex_mask(whole, narrow.initial_state(2))[0]
    found = wide.complex_mask(whole, wide.initial_state(2))[0]
    torch.testing.assert_close(found, expected)
    found.sum().backward()
    for name in ("decode.weight", "exit.weight"):
        gradient = wide.get_parameter(name).grad
        assert gradient is not None
        assert (gradient[:, 16:] != 0).any(dim=0).float().mean() > 0.3  # new units, if awake


@pytest.mark.parametrize("filters", [("filter.", "low_filter."), ("low_filter.",)])
def test_a_network_without_a_filter_goes_on_with_one(filters: tuple[str, ...]) -> None:
    torch.manual_seed(0)
    before, after = (LstmNet(bins=BINS, width=16, frames_per_s=62.5) for _ in range(2))
    weights = before.state_dict()
    after.widen({name: w for name, w in weights.items() if not name.startswith(filters)})
    whole = spectra(20)
    before.eval()
    after.eval()
    expected = before.complex_mask(whole, before.initial_state(2))[0]
    torch.testing.assert_close(after.complex_mask(whole, after.initial_state(2))[0], expected)
    with pytest.raises(RuntimeError):
        after.widen({name: w for name, w in weights.items() if name != f"{filters[0]}bias"})


def test_the_filter_adds_earlier_frames_below_half_of_the_bins() -> None:
    net = LstmNet(bins=BINS, width=16, filter_frames=2, frames_per_s=62.5).eval()
    whole = torch.nn.functional.normalize(spectra(20), dim=3)  # no frame is louder than the next
    low = BINS // 2
    without = torch.view_as_complex(net(whole))
    factor = torch.tensor([0.4, -0.2])  # of the frame before
    with torch.no_grad():
        net.filter.bias.view(2, 2, low)[:, 1] = torch.atanh(factor)[:, None]
    added = torch.view_as_complex(net(whole)) - without
    given = torch.view_as_complex(whole)
    expected = torch.zeros_like(given)
    expected[:, 1:, :low] = torch.view_as_complex(factor) * given[:, :-1, :low]
    torch.testing.assert_close(added, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("frames_ago", "above"), [(0, 1), (0, -1), (4, 0), (3, 1)])
def test_the_low_filter_adds_neighbours_in_time_and_frequency(frames_ago: int, above: int) -> None:
    net = LstmNet(bins=BINS, width=16, low_filter_frames=4, frames_per_s=62.5).eval()
    whole = torch.nn.functional.normalize(spectra(20), dim=3)  # no bin is louder than the next
    lowest = BINS // 16
    without = torch.view_as_complex(net(whole))
    factor = torch.tensor([0.4, -0.2])  # of that neighbour
    with torch.no_grad():
        factors = net.low_filter.bias.view(2, 3, 5, lowest)
        factors[:, 1 + above, 4 - frames_ago] = torch.atanh(factor)[:, None]
    added = torch.view_as_complex(net(whole)) - without
    given = torch.view_as_complex(whole)
    expected = torch.zeros_like(given)
    for k in range(max(0, -above), lowest):
        neighbour = given[:, : 20 - frames_ago, k + above]
        expected[:, frames_ago:, k] = torch.view_as_complex(factor) * neighbour
    torch.testing.assert_close(added, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("other", [lstm, cnn])
def test_only_a_narrower_network_of_its_kind_is_widened(other: Callable[[], DenoisingNet]) -> None:
    net = LstmNet(bins=BINS, width=8, frames_per_s=62.5)
    with pytest.raises(RuntimeError):
        net.widen(other().state_dict())
