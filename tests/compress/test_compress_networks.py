"""Whole networks: what is kept, what is left whole and why, what is refused."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from tinysignal.compress import LayerPlan, Plan, apply, plan, profile
from tinysignal.compress.apply import compressed
from tinysignal.errors import ConfigError, DataError, ModelError

METHODS = ("svd", "activation", "sequential")


def outputs_error(net: nn.Module, small: nn.Module, inputs: Tensor) -> float:
    with torch.no_grad():
        return float((net.eval()(inputs) - small.eval()(inputs)).square().mean())


def planned(name: str, kind: str, form: str, full: int, rank: int, method: str) -> Plan:
    return Plan(method, {"rank": rank}, (LayerPlan(name, kind, form, full, rank),))


@pytest.mark.parametrize("method", METHODS)
def test_at_full_rank_every_linear_layer_gives_what_it_gave(
    deep: nn.Sequential, inputs: Tensor, method: str
) -> None:
    profiled = profile(deep, [inputs])
    steps = tuple(
        LayerPlan(layer.name, "Linear", "low_rank", layer.full_rank, layer.full_rank)
        for layer in profiled.layers
    )
    small = apply(deep, Plan(method, {}, steps), profiled)
    assert all(isinstance(small.get_submodule(s.name), nn.Sequential) for s in steps)
    with torch.no_grad():
        torch.testing.assert_close(small(inputs), deep(inputs), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_the_network_is_left_as_it_was_and_the_same_is_made_twice(
    deep: nn.Sequential, inputs: Tensor, method: str
) -> None:
    deep[0].requires_grad_(False)
    before = copy.deepcopy(deep.state_dict())
    profiled = profile(deep, [inputs[:200], inputs[200:]])
    chosen = plan(profiled, rank=5, method=method)
    one, two = (apply(deep, chosen, profiled) for _ in range(2))
    assert all(module.training for module in deep.modules())
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in one.modules())
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in deep.modules())
    for key, value in deep.state_dict().items():
        assert torch.equal(value, before[key])
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b)


def test_knowing_the_data_beats_the_weights_alone_and_the_network_before_beats_both(
    deep: nn.Sequential, inputs: Tensor
) -> None:
    profiled = profile(deep, [inputs])
    errors = {
        method: outputs_error(
            deep, compressed(profiled, plan(profiled, rank=5, method=method), refine=0), inputs
        )
        for method in METHODS
    }
    assert errors["sequential"] < errors["activation"] < errors["svd"]


def test_refinement_behind_the_relu_gains(deep: nn.Sequential, inputs: Tensor) -> None:
    profiled = profile(deep, [inputs])
    chosen = plan(profiled, rank=5)
    rough, fine = (compressed(profiled, chosen, refine=steps) for steps in (0, 300))
    assert outputs_error(deep, fine, inputs) < outputs_error(deep, rough, inputs)


@pytest.mark.parametrize("bias", [True, False])
def test_the_corrected_bias_keeps_the_mean_output(inputs: Tensor, bias: bool) -> None:
    torch.manual_seed(0)
    net = nn.Linear(24, 16, bias=bias)
    small = apply(net, plan(profile(net, [inputs]), rank=2, method="activation"), [inputs])
    torch.testing.assert_close(small(inputs).mean(0), net(inputs).mean(0), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(small(inputs), net(inputs), atol=1e-2)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("case", ["constant", "one", "few", "zero"])
def test_calibration_data_that_span_little_work(
    deep: nn.Sequential, inputs: Tensor, method: str, case: str
) -> None:
    few = {
        "constant": inputs[:1].expand(50, -1),
        "one": inputs[:1],
        "few": inputs[:7],
        "zero": torch.zeros(20, 24),
    }[case]
    profiled = profile(deep, [few])
    small = apply(deep, plan(profiled, rank=6, method=method), profiled)
    with torch.no_grad():
        assert torch.isfinite(small(inputs)).all()
        if method != "svd":
            torch.testing.assert_close(small(few), deep(few), atol=0.05, rtol=0.05)


def test_a_rank_that_does_not_shrink_a_layer_leaves_it_dense(
    deep: nn.Sequential, inputs: Tensor
) -> None:
    chosen = plan(profile(deep, [inputs]), rank=14)
    # 14 (24 + 32) = 784 >= 768; 14 (32 + 32) = 896 < 1024; the last has full rank 6.
    assert chosen.ranks == {"0": None, "2": 14, "4": 14, "6": None}
    assert "does not make it smaller" in chosen.layers[0].reason


def test_a_compressed_network_is_compressed_again_as_one_layer_a_pair(
    deep: nn.Sequential, inputs: Tensor
) -> None:
    profiled = profile(deep, [inputs])
    once = apply(deep, plan(profiled, rank=12, method="activation"), profiled)
    again = profile(once, [inputs])
    assert [layer.name for layer in again.layers] == ["0", "2", "4", "6"]
    assert again.layers[1].parameters == 12 * 64
    twice = apply(once, plan(again, rank=5, method="activation"), again)
    straight = apply(deep, plan(profiled, rank=5, method="activation"), profiled)
    assert sum(p.numel() for p in twice.parameters()) == sum(
        p.numel() for p in straight.parameters()
    )
    assert outputs_error(deep, twice, inputs) < 2 * outputs_error(deep, straight, inputs) + 1e-6
    kept = apply(once, plan(again, rank=12, method="activation"), again)
    assert kept.state_dict().keys() == once.state_dict().keys()


class Tied(nn.Module):
    """Layers that must be left whole, beside one that need not."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(10, 16)
        self.good = nn.Linear(16, 16)
        self.tied = nn.Linear(16, 10, bias=False)
        self.tied.weight = self.table.weight
        self.other = nn.Linear(16, 16)
        self.other.weight = self.good.weight
        self.idle = nn.Linear(16, 16)
        self.tiny = nn.Linear(16, 1)
        self.grouped = nn.Conv1d(16, 16, 3, groups=16)
        self.parametrized = nn.utils.parametrizations.weight_norm(nn.Linear(16, 16))

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = self.parametrized(self.other(self.good(self.table(tokens))))
        hidden = self.grouped(hidden.transpose(1, 2)).mean(2)
        return self.tied(hidden) + self.tiny(hidden)


def test_every_layer_left_whole_is_named_with_its_reason() -> None:
    net = Tied()
    profiled = profile(net, [torch.arange(40).view(8, 5) % 10])
    reasons = {skipped.name: skipped.reason for skipped in profiled.skipped}
    assert [layer.name for layer in profiled.layers] == ["parametrized", "tied"]
    assert "shared" in reasons["good"]
    assert "shared" in reasons["other"]
    assert "not reached" in reasons["idle"]
    assert "too small" in reasons["tiny"]
    assert "depthwise" in reasons["grouped"]
    assert plan(profiled, rank=4).skipped == reasons


@pytest.mark.parametrize("whole", [False, True])
def test_of_a_transformer_attention_and_the_rest_are_factored(whole: bool) -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.0, batch_first=True)
    net = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False) if whole else layer
    tokens = torch.randn(20, 7, 16)
    profiled = profile(net, [tokens])
    assert not profiled.skipped
    chosen = plan(profiled, rank=7)
    small = apply(net, chosen, profiled).eval()
    assert sum(r is not None for r in chosen.ranks.values()) == (12 if whole else 6)
    with torch.no_grad():
        gap = (small(tokens) - net.eval()(tokens)).square().mean()
    assert gap < 0.1


def test_a_forward_function_and_nested_inputs_are_taken() -> None:
    net = nn.ModuleDict({"a": nn.Linear(12, 12), "b": nn.Linear(12, 12)})

    def forward(model: nn.ModuleDict, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"out": model["b"](model["a"](input=batch["x"]).tanh())}

    batches = [{"x": torch.randn(30, 12)} for _ in range(3)]
    profiled = profile(net, batches, forward=forward)
    assert [layer.rows_per_example for layer in profiled.layers] == [1, 1]
    small = apply(net, plan(profiled, params=0.8), profiled)
    assert forward(small, batches[0])["out"].shape == (30, 12)


def test_what_cannot_be_profiled_is_refused_in_one_line(deep: nn.Sequential) -> None:
    deep.train()
    deep[2].eval()
    with pytest.raises(DataError, match="shape 5 x 23"):
        profile(deep, [torch.zeros(5, 23)])
    with pytest.raises(DataError, match="layer '0'"):
        profile(deep, [torch.full((5, 24), torch.nan)])
    broken = nn.Sequential(nn.Linear(24, 24))
    with torch.no_grad():
        broken[0].weight[3, 3] = torch.inf
    with pytest.raises(DataError, match="outputs of layer '0' hold NaN"):
        profile(broken, [torch.ones(5, 24)])
    with pytest.raises(DataError, match="0 calibration batches"):
        profile(deep, [])
    with pytest.raises(ModelError, match="no layer can be factored"):
        profile(nn.ReLU(), [torch.zeros(5, 23)])
    assert [m.training for m in deep[:3]] == [True, True, False]


def test_a_profile_of_other_weights_is_refused(deep: nn.Sequential, inputs: Tensor) -> None:
    profiled = profile(deep, [inputs])
    chosen = plan(profiled, rank=5)
    with torch.no_grad():
        deep[0].bias += 1
    with pytest.raises(ConfigError, match="other weights"):
        apply(deep, chosen, profiled)


def test_half_precision_stays(inputs: Tensor, deep: nn.Sequential) -> None:
    deep, inputs = deep.bfloat16(), inputs.bfloat16()
    profiled = profile(deep, [inputs])
    small = apply(deep, plan(profiled, rank=10), profiled)
    assert {p.dtype for p in small.parameters()} == {torch.bfloat16}
    with torch.no_grad():
        assert (small(inputs) - deep(inputs)).abs().mean() < 0.5 * deep(inputs).std()


class Functional(nn.Module):
    """A ReLU that is no module, then a module that must not be taken for the layer's own."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.end = nn.Linear(24, 32), nn.Linear(32, 8), nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.two(self.one(x).relu() + 1) * 2)


def test_only_an_activation_that_takes_the_very_output_is_a_layers_own(
    deep: nn.Sequential, inputs: Tensor
) -> None:
    assert [p.activation for p in profile(Functional(), [inputs]).layers] == [None, None]
    kinds = [type(p.activation) for p in profile(deep, [inputs]).layers]
    assert kinds == [nn.ReLU, nn.ReLU, nn.ReLU, type(None)]


def test_double_precision_stays(inputs: Tensor, deep: nn.Sequential) -> None:
    deep, inputs = deep.double(), inputs.double()
    profiled = profile(deep, [inputs])
    small = apply(deep, plan(profiled, rank=5), profiled)
    assert {p.dtype for p in small.parameters()} == {torch.float64}
