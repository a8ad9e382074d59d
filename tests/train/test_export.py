"""The file that training writes is the network that was trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tinysignal import Denoiser, ModelError
from tinysignal.model import load_denoising_model
from tinysignal.nets import CnnNet, DenoisingNet, LinearNet, LstmNet, MaskingNet
from tinysignal.stft import StftSize
from tinysignal.train import export
from tinysignal.train.denoising.modules import MagnitudeModule, WaveformModule

SIZE = StftSize(256, 128)


def make_net(arch: str) -> DenoisingNet:
    torch.manual_seed(0)
    if arch == "linear":
        return LinearNet(bins=SIZE.bins, width=32, frames_per_s=125)
    net: DenoisingNet
    if arch.startswith("lstm"):
        ahead = 3 if arch == "lstm-ahead" else 0
        net = LstmNet(bins=SIZE.bins, width=16, lookahead_frames=ahead, frames_per_s=125)
        for layer in (net.filter, net.low_filter):  # they begin at zero
            torch.nn.init.normal_(layer.weight, std=0.3)
    else:
        net = CnnNet(bins=SIZE.bins, width=4, blocks=2, lookahead_frames=2, frames_per_s=125)
    net.train()
    shape = (4, 30, SIZE.bins, 2) if isinstance(net, MaskingNet) else (4, 30, SIZE.bins)
    net(torch.rand(shape))  # gives batch normalisation statistics to fold
    return net


def write(net: DenoisingNet, path: Path, arch: str) -> None:
    export.export_denoiser(
        net,
        SIZE,
        path,
        arch=arch.removesuffix("-ahead"),
        sample_rate_hz=16_000,
        name="test",
        trained_on="noise",
        licence="MIT",
    )


def make_task(net: DenoisingNet) -> MagnitudeModule:
    if isinstance(net, MaskingNet):
        return WaveformModule(net, SIZE, learning_rate=1e-3)
    return MagnitudeModule(net, SIZE, loss="mse", learning_rate=1e-3)


@pytest.mark.parametrize("arch", ["linear", "cnn", "lstm", "lstm-ahead"])
def test_the_light_runtime_gives_what_torch_gives(arch: str, tmp_path: Path) -> None:
    net = make_net(arch)
    write(net, tmp_path / "m.onnx", arch)
    denoiser = Denoiser.load(tmp_path / "m.onnx")
    noisy = np.random.default_rng(0).normal(0, 0.3, (2, 5000)).astype(np.float32)
    task = make_task(net).eval()
    expected = task.denoise(torch.from_numpy(noisy)).numpy()
    actual = denoiser(noisy, sample_rate_hz=16_000, channel_mode="independent")
    np.testing.assert_allclose(actual, expected, atol=1e-5)


@pytest.mark.parametrize("arch", ["linear", "cnn", "lstm", "lstm-ahead"])
def test_silence_stays_silent_before_and_after_sound(arch: str, tmp_path: Path) -> None:
    write(make_net(arch), tmp_path / "m.onnx", arch)
    denoiser = Denoiser.load(tmp_path / "m.onnx")
    noise = np.random.default_rng(0).normal(0, 0.3, 4000).astype(np.float32)
    signal = np.concatenate([np.zeros(4000, np.float32), noise, np.zeros(4000, np.float32)])
    denoised = denoiser(signal, sample_rate_hz=16_000)
    assert np.isfinite(denoised).all()
    assert not denoised[:3500].any()
    assert not denoised[-3500:].any()
    assert denoised.any()


def test_the_spec_says_what_the_network_is(tmp_path: Path) -> None:
    net = make_net("cnn")
    write(net, tmp_path / "m.onnx", "cnn")
    spec = Denoiser.load(tmp_path / "m.onnx").spec
    assert (spec.arch, spec.name, spec.trained_on, spec.licence) == ("cnn", "test", "noise", "MIT")
    assert (spec.window_samples, spec.hop_samples, spec.lookahead_frames) == (256, 128, 2)
    assert spec.receptive_field_frames == net.receptive_field_frames
    assert spec.latency_s == pytest.approx((256 + 2 * 128) / 16_000)
    # Batch normalisation is folded: weights and one bias a channel.
    assert spec.parameters == sum(
        m.weight.numel() + m.weight.shape[0]
        for m in net.modules()
        if isinstance(m, torch.nn.Conv2d)
    )


def test_multiplications_of_the_linear_network_are_its_weights(tmp_path: Path) -> None:
    net = make_net("linear")
    weights = sum(p.numel() for p in net.parameters() if p.ndim == 2)
    assert export.macs_per_frame(net, SIZE) == weights


def test_a_file_that_differs_from_the_network_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "PARITY", -1.0)
    with pytest.raises(ModelError, match="differs from the network"):
        write(make_net("linear"), tmp_path / "m.onnx", "linear")
    assert list(tmp_path.iterdir()) == []


def test_parity_sees_another_network(tmp_path: Path) -> None:
    net = make_net("linear")
    write(net, tmp_path / "m.onnx", "linear")
    assert export.parity(net, tmp_path / "m.onnx") < 1e-5
    with torch.no_grad():
        next(net.parameters()).add_(0.1)
    assert export.parity(net, tmp_path / "m.onnx") > export.PARITY


def test_a_mask_in_the_file_is_the_networks_in_blocks_of_any_length(tmp_path: Path) -> None:
    net = make_net("lstm")
    write(net, tmp_path / "m.onnx", "lstm")
    assert export.parity(net, tmp_path / "m.onnx") < 1e-5
    with torch.no_grad():
        next(net.parameters()).add_(0.1)
    assert export.parity(net, tmp_path / "m.onnx") > export.PARITY


def test_multiplications_of_the_lstm_network_are_counted(tmp_path: Path) -> None:
    """Every matrix is used once a frame; what is folded away does not count."""
    net = make_net("lstm")
    assert export.macs_per_frame(net, SIZE) == sum(
        p.numel() for p in net.parameters() if p.ndim == 2
    )


@pytest.mark.parametrize("arch", ["lstm", "lstm-ahead"])
@pytest.mark.parametrize("cuts", [[1], [1, 2, 3, 4], [5, 7, 16, 33]], ids=str)
def test_no_bit_depends_on_how_many_frames_come_at_once(
    arch: str, cuts: list[int], tmp_path: Path
) -> None:
    """8-bit LSTMs make steps of 1 % of the last bit of what they are given."""
    write(make_net(arch), tmp_path / "m.onnx", arch)
    network = load_denoising_model(tmp_path / "m.onnx")
    rng = np.random.default_rng(0)
    loudness = np.exp(rng.normal(0, 2, (2, 40, 1)))
    parts = rng.normal(0, loudness[..., None], (2, 40, SIZE.bins, 2)).astype(np.float32)
    spectrum = parts.view(np.complex64)[..., 0]
    whole, end = network.run(spectrum, network.initial_state(2))
    state, pieces = network.initial_state(2), []
    for block in np.split(spectrum, cuts, axis=1):
        piece, state = network.run(block, state)
        pieces.append(piece)
    np.testing.assert_array_equal(np.concatenate(pieces, axis=1), whole)
    for found, expected in zip(state, end, strict=True):
        np.testing.assert_array_equal(found, expected)
