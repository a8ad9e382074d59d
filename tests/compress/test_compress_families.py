"""Convolutions and recurrent layers: their forms are exact at full rank."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tinysignal.compress import LayerPlan, Plan, apply, plan, profile
from tinysignal.compress.factorize import moments_of
from tinysignal.compress.layers import CONVOLUTION, largest_rank
from tinysignal.compress.layers.convolution import patches

CONVS = [
    nn.Conv2d(4, 6, 3, stride=2, padding=1),
    nn.Conv2d(4, 6, (3, 5), padding=(1, 2), dilation=(2, 1), padding_mode="reflect"),
    nn.Conv2d(5, 6, 3, padding="same", bias=False),
    nn.Conv2d(6, 8, 1, stride=2),
    nn.Conv1d(4, 6, 5, stride=2, padding=3, dilation=2),
    nn.Conv1d(4, 6, 3, padding=1, padding_mode="circular"),
]
CASES = [
    (conv, decomposition)
    for conv in CONVS
    for decomposition in ("channel", "spatial", "tucker")
    if decomposition == "channel"
    or (conv.kernel_size[0] > 1 and (decomposition != "spatial" or conv.weight.ndim > 3))
]


def signal_for(conv: nn.Conv1d | nn.Conv2d) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    size = (12, conv.in_channels, *((11, 13) if conv.weight.ndim > 3 else (17,)))
    return torch.randn(*size, generator=generator) + 0.5


@pytest.mark.parametrize("conv", CONVS)
def test_patches_times_the_matrix_are_the_convolution(conv: nn.Conv1d | nn.Conv2d) -> None:
    x = signal_for(conv)
    with torch.no_grad():
        expected = conv(x).flatten(2).transpose(1, 2).flatten(0, 1)
        found = patches(conv, x) @ conv.weight.flatten(1).T
        found = found if conv.bias is None else found + conv.bias
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("conv", "decomposition"), CASES)
@pytest.mark.parametrize("method", ["svd", "activation", "sequential"])
def test_every_form_of_a_convolution_is_exact_at_full_rank(
    conv: nn.Conv1d | nn.Conv2d, decomposition: str, method: str
) -> None:
    x, rank = signal_for(conv), CONVOLUTION.full_rank(conv, decomposition)
    kind = type(conv).__name__
    chosen = Plan(method, {}, (LayerPlan("", kind, decomposition, rank, rank),))
    small = apply(conv, chosen, [x])
    assert isinstance(small, nn.Sequential)
    with torch.no_grad():
        torch.testing.assert_close(small(x), conv(x), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("conv", "decomposition"), CASES)
def test_the_modules_of_a_form_compute_its_product_and_weigh_what_was_said(
    conv: nn.Conv1d | nn.Conv2d, decomposition: str
) -> None:
    x, rank = signal_for(conv), 2
    profiled = profile(conv, [x])
    chosen = Plan(
        "activation",
        {},
        (
            LayerPlan(
                "",
                type(conv).__name__,
                decomposition,
                CONVOLUTION.full_rank(conv, decomposition),
                rank,
            ),
        ),
    )
    small = apply(conv, chosen, profiled)
    layer = profiled.layers[0]
    made = CONVOLUTION.factor(
        conv, decomposition, layer.weight, rank, covariance=layer.inputs.covariance, bias=layer.bias
    )
    rows = patches(conv, x).double()
    with torch.no_grad():
        got = small(x).flatten(2).transpose(1, 2).flatten(0, 1).double()
    want = rows @ made.dense.T
    torch.testing.assert_close(got - got.mean(0), want - want.mean(0), atol=1e-4, rtol=1e-4)
    weights = sum(p.numel() for p in small.parameters() if p.ndim > 1)
    assert weights == CONVOLUTION.cost(conv, decomposition, rank)[0]


def test_the_largest_rank_is_the_last_that_makes_a_layer_smaller() -> None:
    conv = nn.Conv2d(16, 24, 3)
    for decomposition in ("channel", "spatial", "tucker"):
        rank = largest_rank(CONVOLUTION, conv, decomposition)
        assert (
            CONVOLUTION.cost(conv, decomposition, rank)[0]
            < conv.weight.numel()
            <= CONVOLUTION.cost(conv, decomposition, rank + 1)[0]
        )


def test_of_equal_error_the_cheaper_form_is_taken() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(8, 8, 5, padding=2, bias=False)
    with torch.no_grad():  # separable filters: spatial rank 1 is exact, the channel form's is 8
        column, row = torch.randn(8, 5), torch.randn(8, 5)
        conv.weight.copy_(torch.einsum("nh,mw->mnhw", column, row))
    x = torch.randn(10, 8, 12, 12)
    chosen = plan(profile(conv, [x]), rank=5)
    assert chosen.layers[0].decomposition == "spatial"
    assert chosen.layers[0].rank is not None
    small = apply(conv, chosen, [x])
    assert outputs_close(small(x), conv(x), share=0.5)


def outputs_close(found: Tensor, expected: Tensor, *, share: float) -> bool:
    gap = (found - expected).square().mean()
    return bool(gap < share * (expected - expected.mean()).square().mean())


RECURRENT = [
    (nn.GRU, {}),
    (nn.LSTM, {"num_layers": 2, "batch_first": True}),
    (nn.GRU, {"bidirectional": True, "num_layers": 2, "bias": False}),
    (nn.RNN, {"nonlinearity": "relu", "batch_first": True}),
]


@pytest.mark.parametrize(("kind", "options"), RECURRENT)
@pytest.mark.parametrize("method", ["svd", "activation", "sequential"])
def test_a_recurrent_layer_with_factored_inputs_is_the_same_algebra(
    kind: type[nn.RNNBase], options: dict[str, object], method: str
) -> None:
    torch.manual_seed(0)
    net = kind(7, 5, **options)
    x = torch.randn(9, 6, 7)
    profiled = profile(net, [x], forward=lambda m, x: m(x)[0])
    steps = tuple(
        LayerPlan(layer.name, layer.kind, "low_rank", layer.full_rank, layer.full_rank)
        for layer in profiled.layers
    )
    assert len(steps) == net.num_layers
    small = apply(net, Plan(method, {}, steps), profiled)
    rows = 2 * net.num_layers if net.bidirectional else net.num_layers
    batch = 9 if net.batch_first else 6
    state: object = torch.randn(rows, batch, 5)
    if kind is nn.LSTM:
        state = (state, torch.randn(rows, batch, 5))
    with torch.no_grad():
        for given in ((x,), (x, state)):
            torch.testing.assert_close(small(*given), net(*given), atol=1e-4, rtol=1e-4)


def test_a_recurrent_layer_can_be_cut_again() -> None:
    torch.manual_seed(0)
    net, x = nn.LSTM(7, 6, num_layers=2), torch.randn(9, 4, 7)
    small: nn.Module = net
    for _ in range(2):  # the second time, the Linear before a cell, and what is left of the cell's
        profiled = profile(small, [x])
        steps = tuple(
            LayerPlan(layer.name, layer.kind, "low_rank", layer.full_rank, layer.full_rank)
            for layer in profiled.layers
        )
        small = apply(small, Plan("activation", {}, steps), profiled)
    assert len(steps) == 4
    with torch.no_grad():
        torch.testing.assert_close(small(x), net(x), atol=1e-4, rtol=1e-4)


def test_multiplications_of_a_recurrent_layer_are_those_of_all_its_weights() -> None:
    net, x = nn.LSTM(8, 6, bidirectional=True), torch.randn(9, 4, 8)
    found = profile(net, [x])
    weights = sum(p.numel() for p in net.parameters() if p.ndim == 2)
    assert found.macs * 9 == 9 * 4 * weights  # an example of the profile is a row of the first axis


def test_packed_sequences_pass_through_a_factored_stack() -> None:
    torch.manual_seed(0)
    net = nn.LSTM(8, 6, num_layers=2, batch_first=True, bidirectional=True)
    x = nn.utils.rnn.pack_padded_sequence(torch.randn(3, 5, 8), [5, 3, 2], batch_first=True)
    profiled = profile(net, [x])
    steps = tuple(
        LayerPlan(p.name, "LSTM", "low_rank", p.full_rank, p.full_rank) for p in profiled.layers
    )
    small = apply(net, Plan("sequential", {}, steps), profiled)
    with torch.no_grad():
        torch.testing.assert_close(small(x)[0].data, net(x)[0].data, atol=1e-4, rtol=1e-4)


def test_a_stack_in_which_nothing_is_cut_is_put_back() -> None:
    net = nn.Sequential(nn.Linear(12, 12), nn.GRU(12, 4, num_layers=2))
    profiled = profile(net, [torch.randn(9, 3, 12)])
    steps = (LayerPlan("0", "Linear", "low_rank", 12, 3),)
    small = apply(net, Plan("sequential", {}, steps), profiled)
    assert type(small[1]) is nn.GRU
    for key, value in net[1].state_dict().items():
        assert torch.equal(small[1].state_dict()[key], value)


def test_moments_of_patches_are_taken_over_all_positions() -> None:
    conv = CONVS[0]
    x = signal_for(conv)
    found = profile(conv, [x[:5], x[5:]]).layers[0].inputs
    expected = moments_of(patches(conv, x))
    assert found.rows == expected.rows
    torch.testing.assert_close(found.covariance, expected.covariance, atol=1e-5, rtol=1e-4)
