"""Metrics against independent implementations, numbers by hand and their own symmetries."""

from __future__ import annotations

import doctest
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinysignal.metrics.dnsmos_networks
from speech import speech_like
from tinysignal import metrics
from tinysignal.errors import MissingExtraError, SignalError

RATE_HZ = 16_000
PACKAGES = {"pesq_wb": "pesq", "stoi": "pystoi", "estoi": "pystoi"}


def noisy_pair(seed: int, channels: int = 2, samples: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    target = rng.normal(0.01, 0.2, (channels, samples)).astype(np.float32)
    noise = rng.normal(0, 0.05, (channels, samples)).astype(np.float32)
    return target + noise, target


def test_examples_in_the_docstrings_hold() -> None:
    pytest.importorskip("pesq")
    pytest.importorskip("pystoi")
    assert doctest.testmod(metrics).failed == 0


@pytest.mark.filterwarnings("ignore")  # the reference library's own imports
@pytest.mark.parametrize("seed", range(3))
def test_snr_and_si_sdr_agree_with_torchmetrics(seed: int) -> None:
    torchmetrics = pytest.importorskip("torchmetrics.functional.audio")
    torch = pytest.importorskip("torch")
    estimate, target = noisy_pair(seed)
    tensors = torch.from_numpy(estimate).double(), torch.from_numpy(target).double()
    snr = torchmetrics.signal_noise_ratio(*tensors).numpy()
    si_sdr = torchmetrics.scale_invariant_signal_distortion_ratio(*tensors, zero_mean=True).numpy()
    np.testing.assert_allclose(metrics.snr(estimate, target), snr, atol=1e-5)
    np.testing.assert_allclose(metrics.si_sdr(estimate, target), si_sdr, atol=1e-5)


def test_snr_by_hand() -> None:
    target = np.array([[3.0, -4.0], [1.0, 1.0]])
    estimate = target + np.array([[0.3, -0.4], [0.0, 1.0]])
    expected = [20.0, 10 * np.log10(2)]
    np.testing.assert_allclose(metrics.snr(estimate, target), expected, atol=1e-5)


def test_segmental_snr_by_hand() -> None:
    """Ten frames at 20 dB, then the error vanishes (35 dB, the ceiling), then the target."""
    frame, hop = 512, 256
    target = np.ones((1, hop * 30 + frame), np.float32)
    estimate = target.copy()
    estimate[:, : hop * 10] *= 1.1
    target[:, hop * 20 :] = 0
    estimate[:, hop * 20 :] = 0
    # Frame 9 holds half the error: 10 log10(512 / (256 * 0.1^2)); 10 to 19 none; 20 to 30 silent.
    expected = (9 * 20 + 20 + 10 * np.log10(2) + 10 * 35) / 20
    score = metrics.segmental_snr(estimate, target, sample_rate_hz=RATE_HZ)
    np.testing.assert_allclose(score, [expected], atol=1e-4)


def test_segmental_snr_stays_within_its_limits() -> None:
    _, target = noisy_pair(0)
    for gain, limit_db in (
        (1, metrics.audio.SEGMENT_CEILING_DB),
        (100, metrics.audio.SEGMENT_FLOOR_DB),
    ):
        score = metrics.segmental_snr(gain * target, target, sample_rate_hz=RATE_HZ)
        np.testing.assert_array_equal(score, [limit_db, limit_db])


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**31),
    gain=st.floats(1e-3, 1e3),
    offset=st.floats(-1, 1),
    channels=st.integers(1, 3),
)
def test_si_sdr_ignores_scale_and_mean(
    seed: int, gain: float, offset: float, channels: int
) -> None:
    estimate, target = (x.astype(np.float64) for x in noisy_pair(seed, channels, 500))
    moved = metrics.si_sdr(gain * (estimate + offset), target)
    np.testing.assert_allclose(moved, metrics.si_sdr(estimate, target), atol=1e-3)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**31), gain=st.floats(1e-3, 1e3))
def test_snr_ignores_a_gain_on_both(seed: int, gain: float) -> None:
    estimate, target = (x.astype(np.float64) for x in noisy_pair(seed, 1, 500))
    both = metrics.snr(gain * estimate, gain * target)
    np.testing.assert_allclose(both, metrics.snr(estimate, target), atol=1e-4)


def test_channels_are_scored_on_their_own() -> None:
    estimate, target = noisy_pair(5)
    for score in (metrics.snr, metrics.si_sdr):
        apart = [score(estimate[[i]], target[[i]])[0] for i in range(2)]
        np.testing.assert_array_equal(score(estimate, target), apart)


def test_perfect_estimate_is_infinite_and_empty_one_minus_infinite() -> None:
    _, target = noisy_pair(0)
    assert (metrics.snr(target, target) == np.inf).all()
    assert (metrics.si_sdr(0 * target, target) == -np.inf).all()
    assert (metrics.si_sdr(target, target) > 250).all()


def paired_metrics() -> dict[str, Callable[..., np.ndarray]]:
    return {
        "snr": metrics.snr,
        "si_sdr": metrics.si_sdr,
        "segmental_snr": lambda e, t: metrics.segmental_snr(e, t, sample_rate_hz=RATE_HZ),
        "pesq_wb": lambda e, t: metrics.pesq_wb(e, t, sample_rate_hz=RATE_HZ),
        "stoi": lambda e, t: metrics.stoi(e, t, sample_rate_hz=RATE_HZ),
        "estoi": lambda e, t: metrics.estoi(e, t, sample_rate_hz=RATE_HZ),
    }


@pytest.mark.parametrize("name", paired_metrics())
def test_what_cannot_be_scored_is_refused(name: str) -> None:
    if name in PACKAGES:
        pytest.importorskip(PACKAGES[name])
    score = paired_metrics()[name]
    estimate, target = noisy_pair(0)
    silent = target.copy()
    silent[1] = 0
    broken = estimate.copy()
    broken[0, 7] = np.nan
    with pytest.raises(SignalError, match="expected the same"):
        score(estimate[:, :-1], target)
    with pytest.raises(SignalError, match="silent in channel 1"):
        score(estimate, silent)
    with pytest.raises(SignalError, match="estimate holds NaN"):
        score(broken, target)


def test_segmental_snr_and_si_sdr_refuse_what_only_they_cannot_score() -> None:
    short = np.ones((1, 100), np.float32)
    with pytest.raises(SignalError, match="needs 512"):
        metrics.segmental_snr(short, short, sample_rate_hz=RATE_HZ)
    with pytest.raises(SignalError, match="constant"):
        metrics.si_sdr(short, short)


def test_pesq_falls_with_noise_and_is_the_same_after_resampling() -> None:
    pytest.importorskip("pesq")
    target = speech_like(3.0, rate_hz=48_000)
    noise = np.random.default_rng(1).normal(size=target.shape).astype(np.float32)
    scores = [
        metrics.pesq_wb(target + level * noise, target, sample_rate_hz=48_000)[0]
        for level in (0, 1e-3, 1e-2)
    ]
    assert scores[0] > 4.6
    assert scores[0] > scores[1] > scores[2] > 1


def test_pesq_names_why_it_gives_no_score(monkeypatch: pytest.MonkeyPatch) -> None:
    pesq = pytest.importorskip("pesq")
    short = speech_like(0.1)
    with pytest.raises(SignalError, match=r"^PESQ gives no score: .*(short|1/4).*[^!. ]\.$"):
        metrics.pesq_wb(short, short, sample_rate_hz=RATE_HZ)

    def find_none(*_: object) -> float:
        raise pesq.NoUtterancesError(b"No utterances detected!")

    monkeypatch.setattr(pesq, "pesq", find_none)
    with pytest.raises(SignalError, match=r"^PESQ gives no score: No utterances detected\.$"):
        metrics.pesq_wb(short, short, sample_rate_hz=RATE_HZ)


@pytest.mark.parametrize("score", [metrics.stoi, metrics.estoi])
def test_stoi_is_one_for_the_target_and_falls_with_noise(
    score: Callable[..., np.ndarray],
) -> None:
    pytest.importorskip("pystoi")
    target = speech_like(3.0)
    noise = np.random.default_rng(1).normal(size=target.shape).astype(np.float32)
    scores = [
        score(target + level * noise, target, sample_rate_hz=RATE_HZ)[0] for level in (0, 0.02, 0.2)
    ]
    assert scores[0] == pytest.approx(1, abs=1e-6)
    assert scores[0] > scores[1] > scores[2]


@pytest.mark.parametrize("samples", [1, 10, 411, 700])
def test_stoi_of_hardly_any_samples_is_refused(samples: int) -> None:
    pytest.importorskip("pystoi")
    short = np.sin(np.arange(samples) + 1.0)[np.newaxis]
    with pytest.raises(SignalError, match="STOI"):
        metrics.stoi(short, short, sample_rate_hz=RATE_HZ)


def test_stoi_of_too_little_speech_is_refused_instead_of_answered_with_almost_zero() -> None:
    pytest.importorskip("pystoi")
    short = speech_like(0.3)
    with pytest.raises(SignalError, match=r"less than 0\.4 s of speech"):
        metrics.stoi(short, short, sample_rate_hz=RATE_HZ)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (12.3, (2.781816, 3.187153, 3.584769, 3.126604)),
        (2.0, (2.457044, 2.854241, 3.484385, 2.951885)),
    ],
)
def test_dnsmos_gives_the_numbers_of_speechmos(seconds: float, expected: tuple[float, ...]) -> None:
    """Golden numbers: speechmos 0.0.1.1 with librosa 0.11 on the same signal.

    The tolerance is for onnxruntime's kernels, which differ between processors.
    """
    scores = dnsmos_or_skip(speech_like(seconds))
    np.testing.assert_allclose(np.concatenate(scores), expected, atol=2e-3)


def test_dnsmos_clips_what_a_sound_file_would_clip() -> None:
    loud = 20 * speech_like(9.1)  # one window
    clipped = np.clip(loud, -1, 1)
    np.testing.assert_array_equal(dnsmos_or_skip(loud), dnsmos_or_skip(clipped))


def dnsmos_or_skip(signal: np.ndarray) -> metrics.Dnsmos:
    try:
        return metrics.dnsmos(signal, sample_rate_hz=RATE_HZ)
    except MissingExtraError:
        pytest.skip("speechmos is not installed")


def test_missing_packages_are_named_with_their_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("pesq", "pystoi"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    tinysignal.metrics.dnsmos_networks.load_networks.cache_clear()
    target = speech_like(1.0)
    for score in (metrics.pesq_wb, metrics.stoi, metrics.estoi):
        with pytest.raises(MissingExtraError, match=r"tinysignal\[eval\]"):
            score(target, target, sample_rate_hz=RATE_HZ)
    with pytest.raises(MissingExtraError, match=r"DNSMOS .*tinysignal\[eval\]"):
        metrics.dnsmos(target, sample_rate_hz=RATE_HZ)


def test_importing_the_metrics_imports_none_of_the_optional_packages() -> None:
    program = (
        "import sys, tinysignal.metrics.audio\n"
        "print({'pesq', 'pystoi', 'scipy', 'torch', 'librosa', 'onnxruntime'} & set(sys.modules))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "set()"


def test_a_batch_of_any_size_is_scored_row_by_row() -> None:
    rng = np.random.default_rng(0)
    target = rng.normal(0, 0.1, (100, 4000))
    estimate = target + rng.normal(0, 0.01, target.shape)
    for score in (metrics.snr, metrics.si_sdr):
        rows = [score(e, t)[0] for e, t in zip(estimate, target, strict=True)]
        np.testing.assert_allclose(score(estimate, target), rows)
    with pytest.raises(SignalError, match="transpose"):
        metrics.snr(estimate.T, target.T)
