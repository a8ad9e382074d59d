"""The table of layers: sizes, operations by hand, planted dead units, known spectra."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from tinysignal.inspect import LayerRow, record_outputs
from tinysignal.inspect.weights import table_of_layers


class Flat(nn.Module):
    """Any layer, then its output's mean over all but the examples, as two logits."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        y = self.layers(x)
        y = y[0] if isinstance(y, tuple) else y
        mean = y.flatten(1).mean(dim=1)
        return torch.stack([mean, -mean], dim=1)


def table(net: nn.Module, *shape: int, integers: bool = False) -> dict[str, LayerRow]:
    made = torch.Generator().manual_seed(0)
    x = (
        torch.randint(0, 5, (12, *shape), generator=made)
        if integers
        else torch.randn(12, *shape, generator=made)
    )
    found = record_outputs(net, [(x[:7], torch.zeros(7).long()), (x[7:], torch.ones(5).long())])
    return {row.name: row for row in table_of_layers(net, found.seen)}


@pytest.mark.parametrize(
    ("layer", "shape", "macs", "weight", "output"),
    [
        (nn.Linear(6, 4), (6,), 6 * 4, "4 x 6", "4"),
        (nn.Linear(6, 4), (5, 6), 5 * 6 * 4, "4 x 6", "5 x 4"),
        (nn.Conv1d(3, 8, 5, stride=2), (3, 21), 9 * 8 * 3 * 5, "8 x 3 x 5", "8 x 9"),
        (nn.Conv2d(4, 6, 3, padding=1, groups=2), (4, 5, 7), 5 * 7 * 6 * 2 * 9, None, "6 x 5 x 7"),
        # Each of the 4 x 10 inputs is multiplied into 6 channels of 3 taps.
        (nn.ConvTranspose1d(4, 6, 3, stride=2), (4, 10), 40 * 6 * 3, "4 x 6 x 3", "6 x 21"),
        (nn.Embedding(5, 3), (), 0, "5 x 3", "3"),
    ],
)
def test_operations_are_those_counted_by_hand(
    layer: nn.Module, shape: tuple[int, ...], macs: int, weight: str | None, output: str
) -> None:
    row = table(Flat(layer), *shape, integers=isinstance(layer, nn.Embedding))["layers.0"]
    assert (row.macs, row.output_shape, row.note) == (macs, output, "")
    assert row.kind == type(layer).__name__
    assert weight is None or row.shape == weight
    assert row.parameters == sum(p.numel() for p in layer.parameters())


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
def test_recurrent_layers_have_a_row_for_each_weight(kind: Any, batch_first: bool) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = kind(5, 4, batch_first=batch_first)

        def forward(self, x: Tensor) -> Tensor:
            y = self.rnn(x if batch_first else x.transpose(0, 1))[0]
            return (y if batch_first else y.transpose(0, 1))[:, -1, :2]

    rows = table(Net(), 9, 5)
    gates = 3 if kind is nn.GRU else 4
    assert list(rows) == ["rnn.weight_ih_l0", "rnn.weight_hh_l0"]
    assert rows["rnn.weight_ih_l0"].macs == 9 * gates * 4 * 5
    assert rows["rnn.weight_hh_l0"].macs == 9 * gates * 4 * 4
    assert rows["rnn.weight_hh_l0"].output_shape == "9 x 4"
    assert sum(r.parameters for r in rows.values()) == sum(p.numel() for p in Net().parameters())


def test_every_parameter_is_counted_once() -> None:
    net = Flat(
        nn.Conv1d(2, 4, 3, padding=1),
        nn.BatchNorm1d(4),
        nn.PReLU(),
        weight_norm(nn.Linear(8, 8)),
        nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
        nn.GRU(8, 3, num_layers=2, bidirectional=True),
    )
    rows = table(net, 2, 8)
    assert sum(r.parameters for r in rows.values()) == sum(p.numel() for p in net.parameters())
    assert rows["layers.1"].note == "no matrix product"
    assert rows["layers.1"].singular_values is None
    assert rows["layers.3"].kind == "Linear"
    assert rows["layers.3"].macs == 4 * 64
    attention = rows["layers.4.self_attn"]
    assert (attention.macs, attention.note) == (4 * 4 * 8 * 8, "")
    assert rows["layers.4.self_attn.out_proj"].note.startswith("not called")


def test_planted_dead_units_are_found_and_living_ones_are_not() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4), nn.Tanh(), nn.Linear(4, 2))
    with torch.no_grad():
        net[0].bias.fill_(1.0)
        net[0].bias[[1, 4, 5]] = -100.0
    rows = table(net, 6)
    assert rows["0"].dead_share == 3 / 8
    assert rows["2"].dead_share is None
    assert rows["4"].dead_share is None


def test_a_channel_is_dead_where_no_place_of_any_example_fires() -> None:
    net = Flat(nn.Conv2d(1, 5, 3), nn.BatchNorm2d(5), nn.ReLU6(inplace=True), nn.MaxPool2d(2))
    nn.init.constant_(net.layers[1].bias[:2], -50.0)
    assert table(net, 1, 8, 8)["layers.0"].dead_share == pytest.approx(2 / 5)


def test_one_example_that_fires_keeps_a_unit_alive() -> None:
    net = nn.Sequential(nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 2))
    with torch.no_grad():
        net[0].weight.fill_(1.0)
        net[0].bias.fill_(-0.5)
    for fires, share in ((torch.zeros(4, 1), 1.0), (torch.tensor([[0.0], [0], [1], [0]]), 0.0)):
        seen = record_outputs(net, [(fires[:2], torch.tensor([0, 1])), (fires[2:], [0, 1])]).seen
        assert table_of_layers(net, seen)[0].dead_share == share


def test_spectra_are_those_of_the_weight_as_outputs_by_all_else() -> None:
    torch.manual_seed(0)
    net = Flat(nn.Conv1d(3, 4, 5), nn.ConvTranspose1d(4, 6, 3), nn.Linear(19, 7))
    rows = table(net, 3, 21)
    conv, transposed, linear = (net.layers[i].weight.detach().double().numpy() for i in range(3))
    expected = {
        "layers.0": conv.reshape(4, 15),
        "layers.1": transposed.swapaxes(0, 1).reshape(6, 12),
        "layers.2": linear,
    }
    for name, matrix in expected.items():
        values = rows[name].singular_values
        assert values is not None
        np.testing.assert_allclose(values, np.linalg.svd(matrix)[1], atol=1e-12)
        assert (np.diff(values) <= 0).all()


def test_a_weight_of_known_rank_is_seen_as_such() -> None:
    net = nn.Sequential(nn.Linear(9, 9, bias=False), nn.Linear(9, 2))
    q, _ = torch.linalg.qr(torch.randn(9, 9, generator=torch.Generator().manual_seed(0)))
    with torch.no_grad():
        net[0].weight.copy_(q[:, :4] @ q[:4, :])
    row = table(net, 9)["0"]
    assert row.effective_rank == pytest.approx(4, abs=1e-3)
    assert row.rank_energy_95 == 4
