"""Transposed and grouped convolutions, attention, embeddings: exact at full rank, and drop-ins."""

from __future__ import annotations

import copy
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from tinysignal.compress import LayerPlan, Plan, apply, plan, profile, rebuild  # noqa: E402
from tinysignal.compress.layers import TRANSPOSED_CONVOLUTION, family_of  # noqa: E402
from tinysignal.compress.layers.factored import FactoredEmbedding  # noqa: E402

METHODS = ("svd", "activation", "sequential")


def at_full_rank(
    net: nn.Module, batches: list[Any], method: str, decomposition: str | None = None
) -> nn.Module:
    """Every layer factored at the rank at which that is exact."""
    found = profile(net, batches)
    steps = []
    for layer in found.layers:
        how = decomposition or layer.decompositions[0]
        rank = layer.exact_rank(how)
        steps.append(LayerPlan(layer.name, layer.kind, how, rank, rank))
    return apply(net, Plan(method, {}, tuple(steps)), found)


def close(found: Any, expected: Any) -> None:
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-3)


TRANSPOSED: list[tuple[nn.Module, tuple[int, ...]]] = [
    (nn.ConvTranspose2d(6, 4, 3, stride=2, padding=1, output_padding=1), (5, 7)),
    (nn.ConvTranspose2d(5, 8, (3, 4), stride=(1, 3), padding=(2, 0), dilation=(2, 1)), (6, 5)),
    (nn.ConvTranspose2d(6, 4, 2, stride=2, bias=False), (5, 4)),
    (nn.ConvTranspose1d(6, 5, 4, stride=3, padding=2, output_padding=2, dilation=2), (9,)),
    (nn.ConvTranspose1d(6, 5, 1, stride=2), (9,)),
]


@pytest.mark.parametrize("number", range(len(TRANSPOSED)))
@pytest.mark.parametrize("method", METHODS)
def test_a_transposed_convolution_is_the_same_in_factors(number: int, method: str) -> None:
    torch.manual_seed(0)
    conv, size = TRANSPOSED[number]
    x = torch.randn(8, conv.in_channels, *size) + 0.5
    for decomposition in TRANSPOSED_CONVOLUTION.decompositions(conv):
        small: Any = at_full_rank(nn.Sequential(conv), [x], method, decomposition)[0]  # type: ignore[index]
        with torch.no_grad():
            close(small(x), conv(x))
            close(small.weight, conv.weight)
            wanted = [n + 1 for n in conv(x).shape[2:]]
            if min(conv.stride) > 1 and conv.output_padding == (0, 0):
                close(small(x, output_size=wanted), conv(x, output_size=wanted))
        for name in ("stride", "padding", "output_padding", "dilation", "in_channels", "groups"):
            assert getattr(small, name) == getattr(conv, name)


@pytest.mark.parametrize("number", range(len(TRANSPOSED)))
def test_the_rows_of_a_transposed_convolution_are_those_of_its_outputs(number: int) -> None:
    conv, size = TRANSPOSED[number]
    x, family = torch.randn(3, conv.in_channels, *size), TRANSPOSED_CONVOLUTION
    with torch.no_grad():
        expected = conv(x).flatten(2).transpose(1, 2).flatten(0, 1).double()
    rows = family.rows(conv, x)
    assert len(rows) == family.count(conv, x)
    torch.testing.assert_close(
        rows.double() @ family.matrix(conv).double().T + family.bias(conv),
        expected,
        atol=1e-5,
        rtol=1e-4,
    )
    torch.testing.assert_close(family.some_rows(conv, x, 2, 3), rows[2::3])


def test_multiplications_of_a_transposed_convolution_are_those_of_its_inputs() -> None:
    net, x = (
        nn.Sequential(nn.ConvTranspose2d(8, 6, 4, stride=2, padding=1)),
        torch.randn(5, 8, 6, 6),
    )
    found = profile(net, [x])
    assert found.macs == found.layers[0].macs == 8 * 6 * 16 * 36
    weights, macs = found.layers[0].cost("channel", 3)
    assert weights == 3 * (8 * 16 + 6)
    assert macs * found.layers[0].rows_per_example == 3 * 8 * 16 * 36 + 3 * 6 * 144


GROUPED = [
    nn.Conv2d(12, 16, 3, stride=2, padding=1, groups=2),
    nn.Conv2d(12, 8, (3, 1), padding="same", dilation=2, groups=4, bias=False),
    nn.Conv1d(8, 16, 5, padding=2, groups=2, padding_mode="reflect"),
]


@pytest.mark.parametrize("number", range(len(GROUPED)))
@pytest.mark.parametrize("method", METHODS)
def test_a_convolution_in_groups_is_the_same_in_factors(number: int, method: str) -> None:
    torch.manual_seed(0)
    conv: Any = GROUPED[number]
    x = torch.randn(20, conv.in_channels, *((9, 8) if conv.weight.ndim > 3 else (15,))) + 0.5
    net = nn.Sequential(conv, nn.ReLU())
    small: Any = at_full_rank(net, [x], method)[0]  # type: ignore[index]
    with torch.no_grad():
        close(small(x), conv(x))
        close(small.weight, conv.weight)
    assert [part.groups for part in small] == [conv.groups] * 2
    assert small.groups == conv.groups


def test_each_group_gets_the_best_factors_of_its_own() -> None:
    torch.manual_seed(0)
    conv, x = nn.Conv1d(16, 16, 3, groups=2), torch.randn(30, 16, 20)
    halves = [nn.Conv1d(8, 8, 3) for _ in range(2)]
    for g, half in enumerate(halves):
        half.weight.data.copy_(conv.weight[8 * g : 8 * g + 8])
        half.bias.data.copy_(conv.bias[8 * g : 8 * g + 8])  # type: ignore[index]
    found = profile(conv, [x])
    chosen = plan(found, rank=3, method="activation")
    assert chosen.layers[0].full_rank == 8
    small = apply(conv, chosen, found)
    assert sum(p.numel() for p in small.parameters()) == 2 * 3 * (24 + 8) + 16
    for g, half in enumerate(halves):
        own = x[:, 8 * g : 8 * g + 8]
        step = LayerPlan("", "Conv1d", "channel", 8, 3)
        alone = apply(half, Plan("activation", {}, (step,)), [own])
        close(small(x)[:, 8 * g : 8 * g + 8], alone(own))


def test_a_depthwise_convolution_stays_whole_with_the_reason() -> None:
    net = nn.Sequential(nn.Conv2d(16, 16, 3, groups=16), nn.Conv2d(16, 16, 1))
    found = profile(net, [torch.randn(4, 16, 9, 9)])
    assert [layer.name for layer in found.layers] == ["1"]
    assert "depthwise" in found.skipped[0].reason


class Attends(nn.Module):
    """Self-attention, then attention to something of another size."""

    def __init__(self, *, batch_first: bool, bias: bool) -> None:
        super().__init__()
        options: dict[str, Any] = {"batch_first": batch_first, "bias": bias}
        self.own = nn.MultiheadAttention(16, 4, **options)
        self.other = nn.MultiheadAttention(16, 2, kdim=10, vdim=12, **options)

    def forward(self, x: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, ...]:
        hidden, _ = self.own(x, x, x, need_weights=False)
        out, weights = self.other(hidden, key, value, average_attn_weights=False)
        return out, weights


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_attention_is_the_same_in_factors(batch_first: bool, bias: bool, method: str) -> None:
    torch.manual_seed(0)
    net = Attends(batch_first=batch_first, bias=bias)
    given = (torch.randn(9, 7, 16), torch.randn(9, 7, 10), torch.randn(9, 7, 12))
    found = profile(net, [given])
    assert not found.skipped
    assert [layer.name for layer in found.layers[:4]] == [
        f"own.{name}_proj" for name in ("q", "k", "v", "out")
    ]
    small: Any = at_full_rank(net, [given], method)
    with torch.no_grad():
        for one, two in zip(small.eval()(*given), net.eval()(*given), strict=True):
            close(one, two)
        close(small.own.in_proj_weight, net.own.in_proj_weight)
        close(small.own.out_proj.weight, net.own.out_proj.weight)
        close(small.other.k_proj_weight, net.other.k_proj_weight)
        if bias and method == "svd":
            close(small.own.in_proj_bias, net.own.in_proj_bias)
    assert small.other.in_proj_weight is None
    assert small.own.q_proj_weight is None
    for name in ("embed_dim", "num_heads", "head_dim", "kdim", "vdim", "batch_first", "dropout"):
        assert getattr(small.other, name) == getattr(net.other, name)


@pytest.mark.parametrize("need_weights", [False, True])
def test_masks_mean_what_they_meant(need_weights: bool) -> None:
    torch.manual_seed(0)
    net = Attends(batch_first=True, bias=True).eval()
    x = torch.randn(5, 7, 16)
    given = (x, torch.randn(5, 6, 10), torch.randn(5, 6, 12))
    small: Any = at_full_rank(net, [given], "svd").eval()
    causal = nn.Transformer.generate_square_subsequent_mask(7)
    ends = torch.arange(7) >= torch.tensor([7, 5, 3, 6, 7])[:, None]
    each = torch.randn(5 * 4, 7, 7)
    masks: list[dict[str, Any]] = [
        {"attn_mask": causal, "is_causal": True},
        {"attn_mask": causal.isinf()},
        {"key_padding_mask": ends},
        {"attn_mask": causal.isinf(), "key_padding_mask": ends},
        {"attn_mask": each, "key_padding_mask": ends.float() * -3},
    ]
    with torch.no_grad():
        for mask in masks:
            one, two = (m.own(x, x, x, need_weights=need_weights, **mask) for m in (small, net))
            close(one[0], two[0])
            assert (one[1] is None) == (two[1] is None) == (not need_weights)
            if need_weights:
                close(one[1], two[1])
        close(small.own(x[0], x[0], x[0])[0], net.own(x[0], x[0], x[0])[0])
    with pytest.raises(RuntimeError, match="is_causal"):
        small.own(x, x, x, is_causal=True)


def test_attention_with_keys_of_its_own_stays_whole_with_the_reason() -> None:
    net = Attends(batch_first=True, bias=True)
    net.own = nn.MultiheadAttention(16, 4, batch_first=True, add_bias_kv=True)
    given = (torch.randn(9, 7, 16), torch.randn(9, 7, 10), torch.randn(9, 7, 12))
    found = profile(net, [given])
    assert {s.name: s.reason for s in found.skipped} == {
        "own": "attention with keys of its own (add_bias_kv, add_zero_attn) is left whole"
    }
    small = apply(net, plan(found, rank=4), found)
    assert type(small.own) is nn.MultiheadAttention


def test_attention_of_which_nothing_is_cut_stays_torchs_own_with_its_fast_path() -> None:
    layer = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.0, batch_first=True)
    net = nn.Sequential(layer, nn.Linear(16, 16))
    small: Any = apply(net, plan(profile(net, [torch.randn(9, 7, 16)], only=["1"]), rank=4),
                       [torch.randn(9, 7, 16)])  # fmt: skip
    assert type(small[0].self_attn) is nn.MultiheadAttention
    assert small[0].activation_relu_or_gelu == layer.activation_relu_or_gelu == 1


@pytest.mark.parametrize("padding", [None, 3])
@pytest.mark.parametrize("method", METHODS)
def test_an_embedding_is_the_same_in_factors(padding: int | None, method: str) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Embedding(40, 12, padding_idx=padding), nn.Linear(12, 9))
    tokens = torch.randint(0, 20, (30, 8))  # half of the words
    small: Any = at_full_rank(net, [tokens], method)
    everything = torch.arange(40)
    with torch.no_grad():
        close(small(everything), net(everything))
        close(small[0].weight, net[0].weight)
        if padding is not None:
            assert not small[0](torch.tensor([padding])).any()
    assert isinstance(small[0], FactoredEmbedding)
    assert (small[0].num_embeddings, small[0].embedding_dim) == (40, 12)
    assert small[0].padding_idx == padding


def test_words_that_the_data_have_not_are_kept_too() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Embedding(60, 16))
    with torch.no_grad():  # two kinds of words, in two planes
        net[0].weight[:30, 4:] *= 0.01
        net[0].weight[30:, :12] *= 0.01
    tokens = torch.randint(0, 30, (50, 8))
    found = profile(net, [tokens])
    small: Any = apply(net, plan(found, rank=8, method="activation"), found)
    gap = (small[0].weight - net[0].weight).square().sum() / net[0].weight.square().sum()
    assert gap < 0.02


class Talks(nn.Module):
    def __init__(self, *, bias: bool = False) -> None:
        super().__init__()
        self.words = nn.Embedding(50, 24)
        self.body = nn.Sequential(nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 24))
        self.head = nn.Linear(24, 50, bias=bias)
        self.head.weight = self.words.weight

    def forward(self, tokens: Tensor) -> Tensor:
        out: Tensor = self.head(self.body(self.words(tokens)))
        return out


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_an_embedding_and_its_head_become_one_shared_pair(bias: bool, method: str) -> None:
    torch.manual_seed(0)
    net, tokens = Talks(bias=bias), torch.randint(0, 50, (40, 9))
    found = profile(net, [tokens])
    assert [layer.name for layer in found.layers] == ["body.0", "body.2", "head"]
    small: Any = at_full_rank(net, [tokens], method)
    with torch.no_grad():
        close(small(tokens), net(tokens))
        close(small.words.weight, net.words.weight)
        close(small.head.weight, net.words.weight)
        close(small.words(tokens), net.words(tokens))
    assert (small.words.num_embeddings, small.words.embedding_dim) == (50, 24)
    chosen = plan(found, rank=6, method=method)
    cut: Any = apply(net, chosen, found)
    assert sum(p.numel() for p in cut.head.parameters()) == 6 * (50 + 24) + 50
    assert len(list(cut.words.parameters())) == len(list(cut.head.parameters()))
    for one, two in zip(cut.words.parameters(), cut.head.parameters(), strict=True):
        assert one is two
    again = rebuild(Talks(bias=bias), chosen)
    again.load_state_dict(cut.state_dict())
    with torch.no_grad():
        close(again(tokens), cut(tokens))


def test_a_tied_head_that_stays_whole_stays_tied() -> None:
    net, tokens = Talks(), torch.randint(0, 50, (40, 9))
    for name in ("head", "words"):
        found = profile(net, [tokens], ignore=[name])
        small: Any = apply(net, plan(found, rank=4), found)
        assert type(small.words) is nn.Embedding
        assert type(small.head) is nn.Linear
        assert small.head.weight is small.words.weight
        assert torch.equal(small.words.weight, net.words.weight)


def test_both_sides_of_a_tied_pair_count() -> None:
    torch.manual_seed(0)
    net, tokens = Talks(), torch.randint(0, 50, (80, 9))
    with torch.no_grad():  # the head sees a plane of four, the rows fill another of eight besides
        net.words.weight[:, 12:] *= 0.05
        net.body[2].weight[4:] *= 0.05
        net.body[2].bias[4:] = 0
    found = profile(net, [tokens])
    small: Any = apply(net, plan(found, rank=12, method="activation"), found)
    gap = (small.words.weight - net.words.weight).square().sum() / net.words.weight.square().sum()
    assert gap < 0.02


@pytest.mark.parametrize("budget", [{"params": 0.6}, {"energy": 0.9}, {"macs": 0.6}])
def test_budgets_hold_with_every_new_family(budget: dict[str, float]) -> None:
    torch.manual_seed(0)

    class All(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(60, 24)
            self.attend = nn.MultiheadAttention(24, 4, batch_first=True)
            self.group = nn.Conv1d(24, 24, 3, padding=1, groups=2)
            self.up = nn.ConvTranspose1d(24, 16, 4, stride=2, padding=1)
            self.head = nn.Linear(16, 5)

        def forward(self, tokens: Tensor) -> Tensor:
            x = self.words(tokens)
            x = x + self.attend(x, x, x, need_weights=False)[0]
            x = functional.relu(self.up(self.group(x.transpose(1, 2))))
            out: Tensor = self.head(x.mean(2))
            return out

    net, tokens = All(), torch.randint(0, 60, (64, 10))
    found = profile(net, [tokens])
    assert {family_of(layer.module) for layer in found.layers} != {None}
    chosen = plan(found, **budget)
    small = apply(net, chosen, found)
    assert any(step.rank is not None for step in chosen.layers)
    if "params" in budget:
        total = sum(p.numel() for p in net.parameters())
        assert sum(p.numel() for p in small.parameters()) <= 0.6 * total
    assert small(tokens).shape == (64, 5)
    assert copy.deepcopy(small)(tokens).shape == (64, 5)
