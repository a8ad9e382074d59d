"""The perceptron and the deformations do what their names say."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from tinysignal.nets.mlp import Mlp
from tinysignal.train.classification.augment import Deformation
from tinysignal.train.module import decaying


def test_the_default_network_is_the_courses() -> None:
    net = Mlp(shape=(28, 28), classes=10)
    kinds = [type(layer) for layer in net.layers]
    assert kinds == [nn.Linear, nn.ReLU, nn.Dropout] * 5 + [nn.Linear]
    shapes = [tuple(p.shape) for p in net.parameters() if p.ndim == 2]
    assert shapes == [(1024, 784), *[(1024, 1024)] * 4, (10, 1024)]
    assert {m.p for m in net.modules() if isinstance(m, nn.Dropout)} == {0.2}


def test_examples_are_normalised_inside() -> None:
    net = Mlp(shape=(2, 3), classes=4, width=8, depth=1, mean=0.5, std=0.25).eval()
    examples = torch.rand(5, 2, 3)
    torch.testing.assert_close(net(examples), net.layers((examples.flatten(1) - 0.5) / 0.25))


def test_no_hidden_layer_is_logistic_regression() -> None:
    net = Mlp(shape=(4, 4), classes=3, depth=0)
    assert [type(layer) for layer in net.layers] == [nn.Linear]


def bar(rows: int = 28, columns: int = 28) -> Tensor:
    """An upright bar in the middle, (1, rows, columns)."""
    example = torch.zeros(1, rows, columns)
    example[:, rows // 4 : -rows // 4, columns // 2 - 1 : columns // 2 + 1] = 1
    return example


def angle_deg(example: Tensor) -> float:
    """How far the principal axis of what is drawn leans from upright."""
    row, column = torch.nonzero(example > 0.5, as_tuple=True)
    row, column = row - row.float().mean(), column - column.float().mean()
    return math.degrees(
        0.5 * math.atan2(2 * float((row * column).sum()), float((row**2 - column**2).sum()))
    )


def test_nothing_asked_for_changes_nothing() -> None:
    examples = torch.rand(3, 8, 9)
    assert Deformation()(examples) is examples


def test_rotations_reach_the_bound_and_do_not_pass_it() -> None:
    torch.manual_seed(0)
    turned = Deformation(rotate_deg=20)(bar().repeat(300, 1, 1))
    angles = [abs(angle_deg(example)) for example in turned]
    assert 16 < max(angles) < 22
    assert sum(angles) / len(angles) == pytest.approx(10, abs=1.5)


def test_a_shift_moves_by_its_share_of_each_axis() -> None:
    torch.manual_seed(0)
    examples = bar(20, 40).repeat(200, 1, 1)
    moved = Deformation(shift=(0.2, 0.0))(examples)
    place = torch.arange(20.0)[:, None]
    offsets = (moved * place).sum((1, 2)) / moved.sum((1, 2)) - 9.5
    assert float(offsets.abs().max()) == pytest.approx(4, abs=0.3)
    torch.testing.assert_close(moved.amax(1), examples.amax(1), atol=0.3, rtol=0)


def test_scale_stretches_both_axes_apart() -> None:
    torch.manual_seed(0)
    stretched = Deformation(scale=0.3)(bar().repeat(300, 1, 1))
    heights = (stretched.sum(2) > 0.5).sum(1).float()
    assert float(heights.max()) == pytest.approx(14 * math.exp(0.3), abs=1.5)
    assert float(heights.min()) == pytest.approx(14 * math.exp(-0.3), abs=1.5)


def test_a_mirror_swaps_left_and_right_of_half_of_them() -> None:
    torch.manual_seed(0)
    example = torch.rand(1, 6, 7)
    mirrored = Deformation(mirror=True)(example.repeat(200, 1, 1))
    same = torch.isclose(mirrored, example, atol=1e-5).all(dim=(1, 2))
    swapped = torch.isclose(mirrored, example.flip(2), atol=1e-5).all(dim=(1, 2))
    assert bool((same | swapped).all())
    assert 70 < int(same.sum()) < 130


def test_an_elastic_field_has_the_deviation_asked_for() -> None:
    torch.manual_seed(0)
    rows = torch.arange(32.0)[None, :, None].expand(2000, 32, 32)  # each pixel says its own row
    moved = Deformation(elastic=0.05)(rows) - rows
    middle = moved[:, 12:20, 12:20]  # where the edge does not come in
    assert float(middle.std()) == pytest.approx(0.05 * 32, rel=0.05)
    neighbours = torch.corrcoef(torch.stack([moved[:, 15, 15], moved[:, 15, 16]]))[0, 1]
    assert float(neighbours) > 0.95


def test_deformation_repeats_with_the_seed() -> None:
    deform = Deformation(rotate_deg=10, scale=0.1, shear=0.1, shift=(0.1, 0.1), elastic=0.03)
    results = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        results.append(deform(bar()))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_the_average_forgets_the_first_weights_before_it_slows_down() -> None:
    averaged, update = torch.zeros(()), decaying(0.9)
    for count in range(200):
        averaged = update(averaged, torch.ones(()), torch.tensor(count))
    assert float(averaged) == pytest.approx(1, abs=1e-6)
    assert float(update(torch.zeros(()), torch.ones(()), 0)) == pytest.approx(0.9)
    assert float(update(torch.zeros(()), torch.ones(()), 10_000)) == pytest.approx(0.1)
