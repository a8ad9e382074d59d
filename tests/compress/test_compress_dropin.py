"""A replaced layer is a drop-in for the old one, whatever computes or reads its weight."""

from __future__ import annotations

import copy
import io
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402
from torch.nn.utils import parametrizations, prune  # noqa: E402
from torch.nn.utils import spectral_norm as old_spectral_norm  # noqa: E402
from torch.nn.utils import weight_norm as old_weight_norm  # noqa: E402

from tinysignal.compress import LayerPlan, Plan, apply, compress, plan, profile  # noqa: E402
from tinysignal.compress.layers import CONVOLUTION, LINEAR, family_of  # noqa: E402
from tinysignal.compress.layers.convolution import PADDED_CONVOLUTION, SamePadding  # noqa: E402
from tinysignal.compress.layers.linear import TRANSPOSED_LINEAR  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")


def pruned(layer: nn.Module) -> nn.Module:
    prune.l1_unstructured(layer, "weight", 0.3)  # type: ignore[no-untyped-call]
    return layer


COMPUTED: dict[str, Callable[[nn.Module], nn.Module]] = {
    "old weight_norm": old_weight_norm,
    "old spectral_norm": old_spectral_norm,
    "prune": pruned,
    "weight_norm": parametrizations.weight_norm,
    "spectral_norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
}


def networks(kind: str) -> nn.Sequential:
    torch.manual_seed(0)
    computed = COMPUTED[kind](nn.Linear(32, 32))
    net = nn.Sequential(nn.Linear(24, 32), nn.ReLU(), computed, nn.ReLU(), nn.Linear(32, 6))
    net(torch.randn(8, 24)).sum().backward()  # as after training: the weight has a gradient
    return net.eval()


@pytest.mark.parametrize("kind", COMPUTED)
@pytest.mark.parametrize("method", ["sequential", "activation", "svd"])
def test_a_computed_weight_is_factored_as_its_value(kind: str, method: str) -> None:
    net, x = networks(kind), torch.randn(300, 24)
    with torch.no_grad():
        before = net(x)
    found = profile(net, [x[:150], x[150:]])
    assert [layer.name for layer in found.layers] == ["0", "2", "4"]
    steps = tuple(
        LayerPlan(p.name, p.kind, "low_rank", p.full_rank, p.full_rank) for p in found.layers
    )
    small = apply(net, Plan(method, {}, steps), found, refine=0)
    with torch.no_grad():
        torch.testing.assert_close(small(x), before, atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(net(x), before)  # the given network still computes it


@pytest.mark.parametrize("kind", COMPUTED)
def test_a_computed_weight_that_stays_whole_stays_computed(kind: str) -> None:
    net, x = networks(kind), torch.randn(300, 24)
    found = profile(net, [x[:150], x[150:]])
    small = apply(
        net, Plan("sequential", {}, (LayerPlan("0", "Linear", "low_rank", 24, 6),)), found
    )
    assert type(small[2]).__name__ == type(net[2]).__name__  # type: ignore[index]
    assert small.state_dict().keys() >= {k for k in net.state_dict() if k.startswith("2.")}
    again = copy.deepcopy(small)
    with torch.no_grad():
        torch.testing.assert_close(again(x), small(x))


def test_a_weight_that_an_unknown_hook_computes_is_left_whole_with_the_reason() -> None:
    layer = nn.Linear(24, 24)
    raw = nn.Parameter(layer.weight.detach().clone())
    del layer._parameters["weight"]
    layer.register_parameter("raw", raw)
    layer.weight = raw.detach()

    def hook(module: Any, args: Any) -> None:
        module.weight = module.raw * 2

    layer.register_forward_pre_hook(hook)
    found = profile(nn.Sequential(layer, nn.Linear(24, 24)), [torch.randn(99, 24)])
    assert {s.name: s.reason for s in found.skipped} == {
        "0": "its weight is computed by a hook that is not known here"
    }


def test_a_module_under_two_names_is_replaced_under_both() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.ModuleList([nn.Linear(24, 24), nn.Linear(24, 24)])
            self.alias = self.body[0]
            self.first = self.body[0]

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.first(self.body[1](self.alias(x)).relu())
            return out

    net, x = Twice(), torch.randn(200, 24)
    found = profile(net, [x])
    assert [layer.calls for layer in found.layers] == [2, 1]
    small = apply(net, plan(found, rank=6), found)
    assert small.alias is small.first is small.body[0]
    assert sum(p.numel() for p in small.parameters()) == 2 * (6 * 48 + 24)


def test_frozen_layers_stay_frozen_and_keep_their_dtype() -> None:
    net = nn.Sequential(nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 24)).double()
    net[0].requires_grad_(False)
    small, _ = compress(net, [torch.randn(99, 24).double()], rank=4)
    assert [p.requires_grad for p in small[0].parameters()] == [False] * 3
    assert [p.requires_grad for p in small[2].parameters()] == [True] * 3
    assert {p.dtype for p in small.parameters()} == {torch.float64}


def cut(net: nn.Module, x: Tensor, decomposition: str, name: str = "0") -> Any:
    found = profile(net, [x])
    layer = found.layer(name)
    rank = layer.exact_rank(decomposition)
    step = LayerPlan(name, layer.kind, decomposition, rank, rank)
    return apply(net, Plan("svd", {}, (step,)), found)


CONV_NAMES = [
    *("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation"),
    *("groups", "padding_mode"),
]
LAYERS: list[tuple[nn.Module, Tensor, str, list[str]]] = [
    (nn.Linear(24, 30), torch.randn(40, 24), "low_rank", ["in_features", "out_features"]),
    *(
        (
            nn.Conv2d(6, 10, (3, 5), stride=(2, 1), padding=(1, 2), dilation=(1, 2)),
            torch.randn(4, 6, 19, 23),
            decomposition,
            [
                "in_channels",
                "out_channels",
                "kernel_size",
                "stride",
                "padding",
                "dilation",
                "groups",
                "padding_mode",
            ],
        )
        for decomposition in ("channel", "spatial", "tucker")
    ),
    (nn.Conv1d(6, 10, 5), torch.randn(4, 6, 40), "tucker", ["kernel_size", "stride", "groups"]),
]


@pytest.mark.parametrize(("layer", "x", "decomposition", "names"), LAYERS)
def test_a_factored_layer_answers_as_the_layer_did(
    layer: nn.Module, x: Tensor, decomposition: str, names: list[str]
) -> None:
    small = cut(nn.Sequential(layer), x, decomposition)[0]
    assert {name: getattr(small, name) for name in names} == {
        name: getattr(layer, name) for name in names
    }
    torch.testing.assert_close(small.weight, layer.weight, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(small.bias, layer.bias)
    assert small.weight.requires_grad
    torch.testing.assert_close(copy.deepcopy(small).weight, small.weight)
    held = io.BytesIO()
    torch.save(small.state_dict(), held)
    assert "weight" not in small.state_dict()


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
@pytest.mark.parametrize("both", [False, True])
def test_a_factored_stack_answers_as_the_recurrent_module_did(
    kind: type[nn.RNNBase], both: bool
) -> None:
    torch.manual_seed(0)
    module = kind(16, 12, num_layers=2, batch_first=True, bidirectional=both, dropout=0.1)

    class Reads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = module

        def forward(self, x: Tensor) -> Tensor:
            self.rnn.flatten_parameters()
            layers = self.rnn.num_layers * (2 if self.rnn.bidirectional else 1)
            state = x.new_zeros(
                layers, len(x), self.rnn.hidden_size, dtype=self.rnn.weight_hh_l1.dtype
            )
            out: Tensor = self.rnn(x, (state, state) if kind is nn.LSTM else state)[0]
            return out

    net, x = Reads(), torch.randn(20, 9, 16)
    found = profile(net, [x])
    steps = tuple(
        LayerPlan(p.name, p.kind, "low_rank", p.full_rank, p.full_rank) for p in found.layers
    )
    small = apply(net, Plan("svd", {}, steps), found)
    again = cut(small, x, "low_rank", "rnn.layers.0.1")
    for one in (small, again):
        for name in ("mode", "num_layers", "input_size", "hidden_size", "proj_size", "bias",
                     "batch_first", "bidirectional", "dropout"):  # fmt: skip
            assert getattr(one.rnn, name) == getattr(module, name)
        for name, weight in module.named_parameters():
            if not name.startswith("bias"):
                torch.testing.assert_close(getattr(one.rnn, name), weight, atol=1e-4, rtol=1e-3)
        with pytest.raises(AttributeError):
            getattr(one.rnn, "weight_ih_l2")  # noqa: B009
        with torch.no_grad():
            torch.testing.assert_close(one.eval()(x), net.eval()(x), atol=1e-4, rtol=1e-3)


def test_a_layer_that_cannot_be_replaced_is_left_whole_and_named() -> None:
    class Picky(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(24, 24), nn.Linear(24, 24)

        def forward(self, x: Tensor) -> Tensor:
            if type(self.b) is not nn.Linear:
                raise TypeError("a Linear, please")
            out: Tensor = self.b(self.a(x).relu())
            return out

    net, x = Picky(), torch.randn(99, 24)
    found = profile(net, [x])
    assert [layer.name for layer in found.layers] == ["a"]
    assert "a Linear, please" in found.skipped[0].reason
    assert apply(net, plan(found, rank=4), found)(x).shape == (99, 24)


class Same(nn.Conv2d):
    """As in EfficientNet and timm."""

    def forward(self, x: Tensor) -> Tensor:
        padded = SamePadding(self)(x)
        return functional.conv2d(padded, self.weight, self.bias, self.stride, 0, self.dilation)


class Static(nn.Conv2d):
    """As in efficientnet-pytorch: the padding of one size of picture."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.static_padding = nn.ZeroPad2d((0, 1, 1, 2))

    def forward(self, x: Tensor) -> Tensor:
        padded = self.static_padding(x)
        return functional.conv2d(padded, self.weight, self.bias, self.stride, self.padding)


class Logged(nn.Conv2d):
    """Computes what its base does."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * 1.0


class Squared(nn.Conv2d):
    """Computes something else."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) ** 2


class Named(nn.Linear):
    """Without a forward of its own."""


def test_subclasses_belong_to_the_family_of_what_they_compute() -> None:
    assert family_of(Named(8, 8)) is LINEAR
    assert family_of(Logged(8, 8, 3)) is CONVOLUTION
    assert family_of(Same(8, 8, 3, stride=2)) is PADDED_CONVOLUTION
    assert family_of(Static(8, 8, 3)) is PADDED_CONVOLUTION
    assert family_of(Squared(8, 8, 3)) is None


@pytest.mark.parametrize("kind", [Same, Static])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("decomposition", ["channel", "spatial", "tucker"])
def test_a_convolution_that_pads_by_itself_is_the_same_in_factors(
    kind: type[nn.Conv2d], stride: int, decomposition: str
) -> None:
    torch.manual_seed(0)
    net, x = nn.Sequential(kind(6, 10, 3, stride=stride)), torch.randn(4, 6, 17, 20)
    for method in ("svd", "sequential"):
        found = profile(net, [x])
        rank = found.layers[0].exact_rank(decomposition)
        step = LayerPlan("0", kind.__name__, decomposition, rank, rank)
        small = apply(net, Plan(method, {}, (step,)), found)
        with torch.no_grad():
            torch.testing.assert_close(small(x), net(x), atol=1e-4, rtol=1e-3)


def test_hugging_faces_conv1d_is_a_linear_with_a_transposed_weight() -> None:
    conv1d = type("Conv1D", (nn.Module,), {"__module__": "transformers.pytorch_utils"})
    layer: Any = conv1d()
    layer.nf, layer.nx = 30, 24
    layer.weight = nn.Parameter(torch.randn(24, 30))
    layer.bias = nn.Parameter(torch.randn(30))
    conv1d.forward = lambda self, x: x @ self.weight + self.bias  # type: ignore[attr-defined]
    assert family_of(layer) is TRANSPOSED_LINEAR
    x = torch.randn(50, 24)
    small = cut(nn.Sequential(layer), x, "low_rank")
    torch.testing.assert_close(small[0].weight, layer.weight, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(small(x), layer(x), atol=1e-4, rtol=1e-3)
    assert (small[0].nf, small[0].nx) == (30, 24)


MEMORY = """
import resource, torch
from torch import nn
from tinysignal.compress import apply, plan, profile
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
torch.set_num_threads(1)
{network}
with torch.no_grad(): net(x)
before = peak()
found = profile(net, [x])
apply(net, plan(found, rank=8), found, refine=0)
print(before, peak())
"""
NETWORKS = {
    "pictures": """
net = nn.Sequential(nn.Conv2d(3, 48, 3, padding=1), nn.ReLU(), nn.Conv2d(48, 48, 3, padding=1),
    nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(48, 10)).eval()
x = torch.randn(16, 3, 160, 160)
""",
    "words": """
net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32_000)).eval()
x = torch.randn(8, 256, 64)
""",
}


@pytest.mark.skipif(sys.platform == "win32", reason="needs the resource module")
@pytest.mark.parametrize("kind", NETWORKS)
def test_memory_is_bounded_by_that_of_a_forward_pass(kind: str) -> None:
    code = MEMORY.format(network=NETWORKS[kind])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
    )
    forward_mb, all_mb = map(float, done.stdout.split())
    assert all_mb < 1.5 * forward_mb + 1024
