"""Networks that people bring: profile, plan, apply, ONNX, rebuild, further training."""

from __future__ import annotations

import io
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
onnxruntime = pytest.importorskip("onnxruntime")

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional as f  # noqa: E402
from torch.nn.utils import rnn  # noqa: E402
from torch.nn.utils.parametrizations import weight_norm  # noqa: E402

from tinysignal.compress import Plan, Profile, apply, plan, profile, rebuild  # noqa: E402
from tinysignal.compress.layers import LINEAR, family_of  # noqa: E402
from tinysignal.nets.batches import heads  # noqa: E402

GALLERY: dict[str, tuple[type[nn.Module], Callable[[], tuple[Tensor, ...]]]] = {}


def network(*shapes: tuple[int, ...] | Callable[[], Tensor]) -> Callable[[Any], Any]:
    """Add a network to the gallery, with the shapes of its inputs or what makes them."""

    def make() -> tuple[Tensor, ...]:
        return tuple(s() if callable(s) else torch.randn(*s) for s in shapes)

    def add(kind: type[nn.Module]) -> type[nn.Module]:
        GALLERY[kind.__name__] = kind, make
        return kind

    return add


def words(*shape: int) -> Callable[[], Tensor]:
    return lambda: torch.randint(1, 60, shape)


def block(*parts: nn.Module) -> nn.Sequential:
    return nn.Sequential(*parts)


class Residual(nn.Module):
    """x + f(x), of any parts."""

    def __init__(self, *parts: nn.Module) -> None:
        super().__init__()
        self.parts = nn.Sequential(*parts)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.parts(x)
        return out


def conv(inputs: int, outputs: int, size: int = 3, **more: Any) -> nn.Sequential:
    made = nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False, **more)
    return block(made, nn.BatchNorm2d(outputs), nn.ReLU())


@network((16, 3, 16, 16))
class ResNet(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(
            conv(3, 16),
            Residual(conv(16, 16), nn.Conv2d(16, 16, 3, padding=1)),
            conv(16, 32, stride=2),
            Residual(conv(32, 32), nn.Conv2d(32, 32, 3, padding=1)),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(32, 10),
        )


@network((16, 3, 16, 16))
class ResNeXt(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(
            conv(3, 32),
            Residual(conv(32, 32, 1), conv(32, 32, groups=4), nn.Conv2d(32, 32, 1)),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(32, 10),
        )


@network((16, 3, 16, 16))
class MobileNet(nn.Sequential):
    def __init__(self) -> None:
        def inverted(width: int) -> nn.Module:
            wide = 4 * width
            parts = conv(width, wide, 1), conv(wide, wide, groups=wide), nn.Conv2d(wide, width, 1)
            return Residual(*parts)

        super().__init__(
            conv(3, 12), inverted(12), conv(12, 16, 1, stride=2), inverted(16),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(), nn.Linear(16, 10),
        )  # fmt: skip


@network((16, 8, 8, 8))
class SqueezeExcite(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = conv(8, 24)
        self.gate = block(nn.Linear(24, 8), nn.ReLU(), nn.Linear(8, 24), nn.Sigmoid())
        self.head = nn.Linear(24, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x)
        x = x * self.gate(x.mean((2, 3)))[:, :, None, None]
        out: Tensor = self.head(x.mean((2, 3)))
        return out


@network((8, 1, 16, 16))
class UNet(nn.Module):
    """A map of classes for every point."""

    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2 = conv(1, 12), conv(12, 24, stride=2)
        self.middle = conv(24, 32, stride=2)
        self.up2 = nn.ConvTranspose2d(32, 24, 2, stride=2)
        self.up1 = nn.ConvTranspose2d(48, 12, 3, stride=2, padding=1, output_padding=1)
        self.head = nn.Conv2d(24, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        one = self.down1(x)
        two = self.down2(one)
        deep = torch.cat([self.up2(self.middle(two)), two], 1)
        out: Tensor = self.head(torch.cat([self.up1(deep), one], 1))
        return out


@network((6, 4, 2, 8, 8))
class ConvLSTM(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gates = nn.Conv2d(2 + 12, 48, 3, padding=1)
        self.head = nn.Conv2d(12, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        hidden = cell = x.new_zeros(x.shape[0], 12, 8, 8)
        for step in range(4):
            given = torch.cat([x[:, step], hidden], 1)
            a, b, c, d = self.gates(given).chunk(4, 1)
            cell = a.sigmoid() * cell + b.sigmoid() * c.tanh()
            hidden = d.sigmoid() * cell.tanh()
        out: Tensor = self.head(hidden)
        return out


@network(words(8, 9), lambda: torch.tensor([9, 8, 7, 6, 5, 4, 3, 2]))
class BiLSTM(nn.Module):
    """Packed sequences of different lengths, a label a word."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(60, 20, padding_idx=0)
        self.rnn = nn.LSTM(20, 16, num_layers=2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(32, 7)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        packed = rnn.pack_padded_sequence(self.words(tokens), lengths, batch_first=True)
        padded, _ = rnn.pad_packed_sequence(self.rnn(packed)[0], batch_first=True)
        out: Tensor = self.head(padded)
        return out


@network(words(8, 9), words(8, 6))
class GRUTranslator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(60, 24)
        self.encoder = nn.GRU(24, 20, batch_first=True)
        self.decoder = nn.GRU(24, 20, batch_first=True)
        self.head = nn.Linear(20, 60)

    def forward(self, given: Tensor, said: Tensor) -> Tensor:
        state = self.encoder(self.words(given))[1]
        out: Tensor = self.head(self.decoder(self.words(said), state)[0])
        return out


@network((8, 6, 40))
class TCN(nn.Module):
    """Causal dilated convolutions, a number a step."""

    def __init__(self) -> None:
        super().__init__()
        layers = [nn.Conv1d(6 if n == 0 else 24, 24, 3, dilation=2**n) for n in range(3)]
        self.layers = nn.ModuleList(layers)
        self.head = nn.Conv1d(24, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        for number, layer in enumerate(self.layers):
            x = f.relu(layer(f.pad(x, (2 * 2**number, 0))))
        out: Tensor = self.head(x)
        return out


class Attending(nn.Module):
    """A layer of a transformer, before-norm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attend = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = block(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        near = self.norm1(x)
        x = x + self.attend(near, near, near, attn_mask=mask, need_weights=False)[0]
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


@network((8, 3, 16, 16))
class ViT(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 24, 4, stride=4)
        self.first = nn.Parameter(torch.randn(1, 1, 24))
        self.places = nn.Parameter(torch.randn(1, 17, 24))
        self.layers = block(Attending(24, 4), Attending(24, 4))
        self.head = nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.first.expand(x.shape[0], -1, -1), x], 1) + self.places
        out: Tensor = self.head(self.layers(x)[:, 0])
        return out


@network((8, 7, 16), (8, 5, 16))
class Transformer(nn.Transformer):
    """torch's own, encoder and decoder."""

    def __init__(self) -> None:
        super().__init__(16, 4, 1, 1, 32, dropout=0.0, batch_first=True)


@network((4, 20, 40))
class Whisper(nn.Module):
    """The encoder: convolutions over a spectrogram, then attention."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(20, 24, 3, padding=1)
        self.conv2 = nn.Conv1d(24, 24, 3, stride=2, padding=1)
        self.layer = Attending(24, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = f.gelu(self.conv2(f.gelu(self.conv1(x))))
        out: Tensor = self.layer(x.transpose(1, 2).to(self.conv1.weight.dtype))
        return out


@network(words(8, 10))
class GPT(nn.Module):
    """With a head that has the weight of the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(60, 24), nn.Embedding(10, 24)
        self.layers = nn.ModuleList([Attending(24, 4)])
        self.norm = nn.LayerNorm(24)
        self.head = nn.Linear(24, 60, bias=False)
        self.head.weight = self.words.weight

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.words(tokens) + self.places(torch.arange(10))
        mask = torch.full((10, 10), -torch.inf).triu(1)
        for layer in self.layers:
            x = layer(x, mask)
        out: Tensor = self.head(self.norm(x))
        return out


@network((40, 30))
class Autoencoder(nn.Sequential):
    def __init__(self) -> None:
        sizes = [(30, 24), (24, 8), (8, 24), (24, 30)]
        parts = [part for a, b in sizes for part in (nn.Linear(a, b), nn.Tanh())]
        super().__init__(*parts[:-1])


@network((16, 1, 12, 12), (16, 1, 12, 12))
class Siamese(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.look = block(conv(1, 16, stride=2), nn.Flatten(), nn.Linear(576, 20))

    def forward(self, one: Tensor, two: Tensor) -> Tensor:
        return f.cosine_similarity(self.look(one), self.look(two))


@network((40, 24))
class TwoHeads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = block(nn.Linear(24, 32), nn.ReLU())
        self.digit, self.size = nn.Linear(32, 10), nn.Linear(32, 2)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.body(x)
        return {"digit": self.digit(x), "size": self.size(x)}


@network((60, 24))
class OneLogit(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Linear(24, 32), nn.ReLU(), nn.Linear(32, 1), nn.Flatten(0))


@network((60, 12))
class Regression(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(
            nn.Linear(12, 32), nn.SiLU(), nn.Linear(32, 32), nn.SiLU(), nn.Linear(32, 3)
        )


@network((4, 1, 64))
class WaveNet(nn.Module):
    """Gated, with computed weights."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(1, 16, 1)
        layers = [weight_norm(nn.Conv1d(16, 32, 2, dilation=2**n)) for n in range(3)]
        self.layers = nn.ModuleList(layers)
        self.mix = nn.ModuleList([weight_norm(nn.Conv1d(16, 16, 1)) for _ in range(3)])
        self.head = nn.Conv1d(16, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for number, (layer, mix) in enumerate(zip(self.layers, self.mix, strict=True)):
            a, b = layer(f.pad(x, (2**number, 0))).chunk(2, 1)
            x = x + mix(a.tanh() * b.sigmoid())
        out: Tensor = self.head(x.relu())
        return out


@network((16, 16, 20))
class Mixer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tokens = block(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))
        self.channels = block(nn.Linear(20, 40), nn.GELU(), nn.Linear(40, 20))
        self.head = nn.Linear(20, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.tokens(x.transpose(1, 2)).transpose(1, 2)
        x = x + self.channels(x)
        out: Tensor = self.head(x.mean(1))
        return out


@network((8, 20))
class Generator(nn.Sequential):
    """From noise to a picture."""

    def __init__(self) -> None:
        super().__init__(
            nn.Linear(20, 24 * 16), nn.Unflatten(1, (24, 4, 4)),
            nn.ConvTranspose2d(24, 16, 4, stride=2, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
            nn.ConvTranspose2d(16, 1, 4, stride=2, padding=1), nn.Tanh(),
        )  # fmt: skip


def cut(name: str) -> tuple[nn.Module, tuple[Tensor, ...], Profile, Plan, nn.Module]:
    torch.manual_seed(0)
    kind, inputs = GALLERY[name]
    net, given = kind().eval(), inputs()
    batches = [given, inputs()]
    found = profile(net, batches, forward=lambda net, batch: net(*batch))
    chosen = plan(found, params=0.8, min_rank=1)
    return net, given, found, chosen, apply(net, chosen, found, refine=20)


def flat(outputs: Any) -> list[Tensor]:
    return list(heads(outputs).values())


def through_onnx(net: nn.Module, given: tuple[Tensor, ...]) -> list[Tensor]:
    held = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, given, held, dynamo=False, opset_version=17)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        held.getvalue(), options, providers=["CPUExecutionProvider"]
    )
    feeds = {one.name: x.numpy() for one, x in zip(session.get_inputs(), given, strict=True)}
    return [torch.from_numpy(one) for one in session.run(None, feeds)]


@pytest.mark.parametrize("name", GALLERY)
def test_a_network_that_people_bring_is_cut_exported_rebuilt_and_trained(name: str) -> None:
    net, given, _, chosen, small = cut(name)
    count = [sum(p.numel() for p in one.parameters()) for one in (net, small)]
    assert count[1] <= 0.8 * count[0]
    assert all(len(why) > 5 for why in chosen.skipped.values())
    with torch.no_grad():
        wanted, before = flat(small(*given)), flat(net(*given))
    assert [one.shape for one in wanted] == [one.shape for one in before]
    for one, two in zip(through_onnx(small, given), wanted, strict=True):
        torch.testing.assert_close(one, two, atol=1e-4, rtol=1e-3)

    torch.manual_seed(1)
    again = rebuild(GALLERY[name][0](), Plan.from_json(chosen.to_json())).eval()
    again.load_state_dict(small.state_dict())
    with torch.no_grad():
        for one, two in zip(flat(again(*given)), wanted, strict=True):
            torch.testing.assert_close(one, two)

    def loss() -> Tensor:
        return sum(
            ((one - two) ** 2).mean() for one, two in zip(flat(small(*given)), before, strict=True)
        )  # type: ignore[return-value]

    first = loss()
    first.backward()  # type: ignore[no-untyped-call]
    factors = [p for m in small.modules() for p in m.parameters(recurse=False)]
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in factors)
    with torch.no_grad():
        steepness = sum(float(p.grad.square().sum()) for p in small.parameters())  # type: ignore[union-attr]
        for p in small.parameters():
            p.sub_(p.grad, alpha=1e-3 * float(first.detach()) / steepness)  # type: ignore[arg-type]
    assert loss() < first


LEFT = {
    "MobileNet": {"depthwise"},
    "ViT": {"ViT is not factored"},
}


def test_of_these_networks_only_what_must_be_is_left_whole() -> None:
    families = set()
    for name, (kind, inputs) in GALLERY.items():
        found = profile(kind(), [inputs()], forward=lambda net, batch: net(*batch))
        families |= {family_of(layer.module) for layer in found.layers}
        for one in found.skipped:
            expected = LEFT.get(name, set()) | {"too small"}
            assert any(why in one.reason for why in expected), (name, one)
    assert len(families - {LINEAR}) >= 6


CODE = """
import sys
sys.path[:0] = [sys.argv[1]]
import torch
from test_gallery import GALLERY, flat
from tinysignal.compress import Plan, rebuild
for name in sys.argv[3:]:
    held = torch.load(f"{sys.argv[2]}/{name}.pt", weights_only=True)
    net = rebuild(GALLERY[name][0](), Plan.from_json(held["plan"])).eval()
    net.load_state_dict(held["state"])
    with torch.no_grad():
        for one, two in zip(flat(net(*held["given"])), held["outputs"], strict=True):
            torch.testing.assert_close(one, two)
    print(name)
"""


def test_a_new_process_rebuilds_networks_of_every_family(tmp_path: Path) -> None:
    names = ["UNet", "ResNeXt", "BiLSTM", "Transformer", "GPT", "WaveNet"]
    for name in names:
        _, given, _, chosen, small = cut(name)
        with torch.no_grad():
            outputs = flat(small(*given))
        held = {"plan": chosen.to_json(), "state": small.state_dict(), "given": given,
                "outputs": outputs}  # fmt: skip
        torch.save(held, tmp_path / f"{name}.pt")
    here = str(Path(__file__).parent)
    done = subprocess.run(
        [sys.executable, "-c", CODE, here, str(tmp_path), *names],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == names
