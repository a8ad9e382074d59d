"""Compressing networks of complex masks: what they are looked at with, and held to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tinysignal import ConfigError, Denoiser
from tinysignal.budget import Budget
from tinysignal.compress import profile
from tinysignal.compress.quantize import write_int8
from tinysignal.model import load_denoising_model
from tinysignal.nets import MaskingNet
from tinysignal.runs import report as reports
from tinysignal.runs.compress import CompressOptions, compress_run, open_run
from tinysignal.runs.load import load_run
from tinysignal.train.denoising.build import make_module
from tinysignal.train.denoising.modules import MagnitudeModule
from tinysignal.train.denoising.task import DenoiserRun
from tinysignal.train.tuning import TuneOptions


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times are not what is tested."""
    monkeypatch.setattr(reports, "SECONDS", 0.0)


@pytest.fixture
def trained(lstm_run: Path) -> DenoiserRun:
    """The run with its recordings."""
    opened = open_run(lstm_run)
    assert isinstance(opened, DenoiserRun)
    return opened


def signals(trained: DenoiserRun) -> tuple[Tensor, Tensor]:
    """Some noisy and clean signals, float (batch, time)."""
    noisy, clean = trained.data.source.batch(0)
    return torch.from_numpy(noisy), torch.from_numpy(clean)


def module_of(trained: DenoiserRun, net: torch.nn.Module) -> MagnitudeModule:
    assert isinstance(net, MaskingNet)
    return make_module(trained.config, net, trained.size)


def test_layers_see_the_phases_that_the_network_sees_at_work(trained: DenoiserRun) -> None:
    bins = trained.size.bins
    assert all(batch.shape[2:] == (bins, 2) for batch in trained.batches)
    variances = profile(trained.net, trained.batches).layer("encode").inputs.covariance.diagonal()
    _, real, imaginary = variances.reshape(3, bins)
    inner = slice(1, -1)  # the first and the last bin of a real signal are real
    ratio = imaginary[inner] / real[inner]
    assert ((ratio > 0.5) & (ratio < 2)).all()


def test_a_network_is_scored_by_what_its_file_makes(trained: DenoiserRun) -> None:
    found = trained.score(trained.net)
    assert found == pytest.approx(trained.score(trained.folder / "model.onnx"), abs=1e-3)


def test_what_is_timed_is_the_same_in_torch_and_in_the_file(trained: DenoiserRun) -> None:
    model = trained.folder / "model.onnx"
    with torch.no_grad():
        ours, _ = trained.runner(trained.net, 5)()  # type: ignore[misc]
    theirs, _ = trained.runner(model, 5)()  # type: ignore[misc]
    found = torch.view_as_complex(ours).numpy()
    assert found.shape == (1, 5, trained.size.bins)
    np.testing.assert_allclose(found, theirs, atol=1e-5)
    assert np.abs(found.imag).max() > 1e-3


@pytest.mark.parametrize("share", [0.0, 0.7, 1.0])
def test_the_loss_mixes_the_clean_and_the_original_signals(
    trained: DenoiserRun, share: float
) -> None:
    """With its weight of PESQ, by which the original loses more than by spectra alone."""
    assert trained.config.pesq_weight
    noisy, clean = signals(trained)
    net = load_run(trained.folder)[0].eval()
    with torch.no_grad():
        for weight in net.parameters():
            weight.mul_(0.9)
    module, _ = trained.module(net, trained.net, TuneOptions(epochs=1, distill_weight=share))
    original, own = module_of(trained, trained.net), module_of(trained, net)
    aim = original.denoise(noisy)
    to_clean = own.losses(noisy, clean)["loss"]
    to_original = own.losses(noisy, aim)["loss"] - original.losses(noisy, aim)["loss"]
    assert to_original > 0
    assert to_clean != pytest.approx(to_original, rel=0.1)
    found = float(module.eval().training_step((noisy, clean), 0).detach())
    assert found == pytest.approx((1 - share) * to_clean + share * to_original, rel=1e-3)


def test_further_training_goes_on_from_the_cut(lstm_run: Path, tmp_path: Path) -> None:
    options = CompressOptions(
        budget=Budget(params=0.75), method="activation", tune=TuneOptions(epochs=1, device="cpu")
    )
    report = compress_run(lstm_run, tmp_path / "out", options, quiet=True)
    assert report["parity"] < 1e-4
    assert report["after"]["parameters"] <= 0.75 * report["before"]["parameters"]
    net, spec = load_run(tmp_path / "out")
    assert spec.parameters == sum(p.numel() for p in net.parameters())
    trained, tuned = open_run(lstm_run), open_run(tmp_path / "out")
    assert tuned.config.pesq_weight == trained.config.pesq_weight  # type: ignore[attr-defined]


def test_a_teacher_that_masks_no_phases_is_refused(
    lstm_run: Path, cnn_run: Path, tmp_path: Path
) -> None:
    options = CompressOptions(
        budget=Budget(params=0.75), tune=TuneOptions(epochs=1, device="cpu"), teacher=cnn_run
    )
    with pytest.raises(ConfigError, match="differ in task, classes or input"):
        compress_run(lstm_run, tmp_path / "out", options)
    assert not (tmp_path / "out").exists()


def test_int8_without_a_budget_cuts_nothing(lstm_run: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    report = compress_run(lstm_run, output, CompressOptions(int8=True))
    before, after = (load_run(run)[0] for run in (lstm_run, output))
    expected = open_run(lstm_run).net.state_dict()  # without batch normalisation
    assert all(torch.equal(value, expected[key]) for key, value in after.state_dict().items())
    assert len(expected) < len(before.state_dict())
    assert report["layers"] == []
    assert report["after"]["parameters"] == report["before"]["parameters"]
    assert (output / "model.onnx").stat().st_size == report["int8"]["bytes"]
    assert report["int8"]["bytes"] < 0.7 * report["before"]["bytes"]
    network = load_denoising_model(output / "model.onnx")
    assert network.is_complex
    assert not any("compressed network" in note for note in report["notes"])


def streaming_error(trained: DenoiserRun, path: Path, way: str) -> float:
    """Power by which a stream in nine blocks differs from the whole, relative to the whole's."""
    write_int8(trained.folder / "model.onnx", path, way, trained.examples())
    denoiser, rate_hz = Denoiser.load(path), trained.spec.sample_rate_hz
    noisy = signals(trained)[0][:1].numpy()
    stream = denoiser.stream(sample_rate_hz=rate_hz)
    parts = [stream.feed(block) for block in np.array_split(noisy, 9, axis=1)]
    whole = denoiser(noisy, sample_rate_hz=rate_hz)
    streamed = np.concatenate([*parts, stream.flush()], axis=1)
    return float(np.square(streamed - whole).sum() / np.square(whole).sum())


def test_a_stream_with_8_bit_numbers_is_what_the_whole_is(
    trained: DenoiserRun, tmp_path: Path
) -> None:
    assert trained.int8_ways == ("weights", "static", "recurrent")  # dynamic scales differ by block
    errors = {
        way: streaming_error(trained, tmp_path / "int8.onnx", way) for way in trained.int8_ways
    }
    assert errors["weights"] < 1e-10
    # Activations between two 8-bit steps, to the rounding of floats, may go either way.
    assert errors["static"] < 1e-4
    assert errors["recurrent"] < 1e-6
