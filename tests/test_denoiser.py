"""The denoiser's promises: stream = whole, stated latency, causality, refusals by name."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from onset import save_onset_model
from tinysignal.audio.validate import MAX_CHANNELS
from tinysignal.denoiser import Denoiser, denoise
from tinysignal.errors import ConfigError, SignalError
from tinysignal.gain import ChannelMode, DenoiseOptions
from tinysignal.model import METADATA_KEY
from tinysignal.spec import DenoiserSpec
from tinysignal.stft import StftSize, istft, stft
from tinysignal.stream import DenoiserStream

RATES_HZ = [4_000, 8_000, 16_000, 22_050, 44_100, 48_000, 192_000]
LOOKAHEADS = [0, 3]

MakeNoisy = Callable[..., np.ndarray]


@pytest.fixture(scope="module")
def denoisers(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Denoiser]:
    """The onset model by its look-ahead in frames."""
    folder = tmp_path_factory.mktemp("models")
    return {
        ahead: Denoiser.load(save_onset_model(folder / f"{ahead}.onnx", lookahead_frames=ahead))
        for ahead in LOOKAHEADS
    }


@pytest.fixture(scope="module")
def denoiser(denoisers: dict[int, Denoiser]) -> Denoiser:
    return denoisers[0]


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Denoiser:
    """gain = m / (m + 1): unlike the onset model, it hears how loud the signal is."""
    path = tmp_path_factory.mktemp("models") / "gate.onnx"
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["channels", "frames", 257])
        for name in ("magnitude", "gain")
    ]
    nodes = [
        helper.make_node("Add", ["magnitude", "one"], ["sum"]),
        helper.make_node("Div", ["magnitude", "sum"], ["gain"]),
    ]
    one = onnx.numpy_helper.from_array(np.float32(1), "one")
    graph = helper.make_graph(nodes, "gate", ends[:1], ends[1:], [one])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    spec = DenoiserSpec(
        name="gate", arch="gate", sample_rate_hz=16_000, window_samples=512, hop_samples=256
    )
    helper.set_model_props(model, {METADATA_KEY: spec.to_json()})
    onnx.save(model, path)
    return Denoiser.load(path)


@pytest.fixture(scope="module")
def turner(tmp_path_factory: pytest.TempPathFactory) -> Denoiser:
    """mask = j X / (|re X| + |im X| + 1): it changes phases, and hears the phase of what it gets.

    j (re + j im) = - im + j re.
    """
    path = tmp_path_factory.mktemp("models") / "turner.onnx"
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["channels", "frames", 257, 2])
        for name in ("spectrum", "mask")
    ]
    constants = {
        "turn": np.array([[0, 1], [-1, 0]], np.float32),
        "one": np.float32(1),
        "last": np.array([3], np.int64),
    }
    nodes = [
        helper.make_node("MatMul", ["spectrum", "turn"], ["turned"]),
        helper.make_node("Abs", ["spectrum"], ["sizes"]),
        helper.make_node("ReduceSum", ["sizes", "last"], ["size"]),
        helper.make_node("Add", ["size", "one"], ["sum"]),
        helper.make_node("Div", ["turned", "sum"], ["mask"]),
    ]
    held = [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "turner", ends[:1], ends[1:], held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    spec = DenoiserSpec(
        name="turner", arch="turner", sample_rate_hz=16_000, window_samples=512, hop_samples=256
    )
    helper.set_model_props(model, {METADATA_KEY: spec.to_json()})
    onnx.save(model, path)
    return Denoiser.load(path)


def white(channels: int, samples: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(0, 0.1, (channels, samples)).astype(np.float32)


def in_blocks(stream: DenoiserStream, signal: np.ndarray, lengths: Iterable[int]) -> np.ndarray:
    """Feed blocks of those lengths, over and over, then flush."""
    pieces, start, lengths = [], 0, list(lengths)
    while start < signal.shape[1]:
        for length in lengths:
            pieces.append(stream.feed(signal[:, start : start + length]))
            start += length
    return np.concatenate([*pieces, stream.flush()], axis=1)


# Stream = whole signal


@settings(deadline=None, max_examples=200)
@given(
    samples=st.integers(1, 6000),
    lengths=st.lists(st.integers(0, 2000), min_size=1, max_size=8).filter(any),
    rate_hz=st.sampled_from(RATES_HZ),
    channels=st.integers(1, 4),
    channel_mode=st.sampled_from(["shared", "independent"]),
    lookahead=st.sampled_from(LOOKAHEADS),
)
def test_any_block_sizes_give_the_offline_answer(
    denoisers: dict[int, Denoiser],
    samples: int,
    lengths: list[int],
    rate_hz: int,
    channels: int,
    channel_mode: ChannelMode,
    lookahead: int,
) -> None:
    signal = white(channels, max(samples, channels))
    denoiser = denoisers[lookahead]
    offline = denoiser(signal, sample_rate_hz=rate_hz, channel_mode=channel_mode)
    stream = denoiser.stream(sample_rate_hz=rate_hz, channels=channels, channel_mode=channel_mode)
    streamed = in_blocks(stream, signal, lengths)
    assert offline.shape == streamed.shape == signal.shape
    assert offline.dtype == streamed.dtype == np.float32
    np.testing.assert_allclose(streamed, offline, atol=1e-5)


def test_a_signal_longer_than_one_run_of_the_network_is_seamless(denoiser: Denoiser) -> None:
    """Whole signals are taken in pieces of bounded size; small blocks never meet that bound."""
    signal = white(8, 16_000 * 20)
    offline = denoiser(signal, sample_rate_hz=16_000)
    stream = denoiser.stream(sample_rate_hz=16_000, channels=8)
    np.testing.assert_allclose(in_blocks(stream, signal, [4001]), offline, atol=1e-5)


@pytest.mark.parametrize("lookahead", LOOKAHEADS)
def test_the_stream_equals_its_network_run_by_hand(
    denoisers: dict[int, Denoiser], lookahead: int
) -> None:
    """The model's own rule on naive spectra: gain = m / (m + half the frame before)."""
    signal = white(1, 4000)
    padded = np.concatenate([np.zeros(256), signal[0], np.zeros(256 + 4096 - 4000 % 256)])
    hann = np.sin(np.pi * np.arange(512) / 512) ** 2
    starts = range(0, padded.size - 512 + 1, 256)
    spectra = np.stack([np.fft.rfft(padded[s : s + 512] * hann) for s in starts])
    magnitude = np.abs(spectra)
    before = np.concatenate([np.zeros((1, 257)), magnitude[:-1]])
    gain = magnitude / (magnitude + before / 2 + 1e-9)
    gain = np.concatenate([gain[lookahead:], np.zeros((lookahead, 257))])
    # The window and its square at a hop of half: w / (w² + w²(+hop)) is the synthesis window.
    dual = hann / (hann**2 + np.roll(hann, 256) ** 2)
    total = np.zeros(padded.size)
    for start, spectrum in zip(starts, spectra * gain, strict=True):
        total[start : start + 512] += np.fft.irfft(spectrum) * dual
    output = denoisers[lookahead](signal, sample_rate_hz=16_000)
    np.testing.assert_allclose(output[0], total[256 : 256 + 4000], atol=1e-5)


def test_reset_starts_anew_and_flush_resets(denoiser: Denoiser) -> None:
    signal = white(1, 3000)
    stream = denoiser.stream(sample_rate_hz=16_000)
    first = in_blocks(stream, signal, [100])
    np.testing.assert_array_equal(in_blocks(stream, signal, [100]), first)
    stream.feed(white(1, 777, seed=5))
    stream.reset()
    np.testing.assert_array_equal(in_blocks(stream, signal, [100]), first)


def test_two_streams_of_one_denoiser_do_not_meet(denoiser: Denoiser) -> None:
    signals = [white(1, 3000, seed) for seed in (1, 2)]
    streams = [denoiser.stream(sample_rate_hz=16_000) for _ in signals]
    halves = [[s.feed(x[:, :1500]) for s, x in zip(streams, signals, strict=True)]]
    halves += [[s.feed(x[:, 1500:]) for s, x in zip(streams, signals, strict=True)]]
    halves += [[s.flush() for s in streams]]
    for pieces, signal in zip(zip(*halves, strict=True), signals, strict=True):
        alone = denoiser(signal, sample_rate_hz=16_000)
        np.testing.assert_allclose(np.concatenate(pieces, axis=1), alone, atol=1e-5)


def test_flushing_a_stream_that_was_fed_nothing_gives_nothing(denoiser: Denoiser) -> None:
    stream = denoiser.stream(sample_rate_hz=16_000, channels=2)
    assert stream.feed(np.zeros((2, 0), np.float32)).shape == (2, 0)
    assert stream.flush().shape == (2, 0)


def test_blocks_of_one_channel_may_have_one_axis(denoiser: Denoiser) -> None:
    signal = white(1, 2000)
    stream = denoiser.stream(sample_rate_hz=16_000)
    output = np.concatenate([stream.feed(signal[0]), stream.flush()], axis=1)
    np.testing.assert_allclose(output, denoiser(signal, sample_rate_hz=16_000), atol=1e-5)


def test_the_shape_of_the_input_is_the_shape_of_the_output(denoiser: Denoiser) -> None:
    for shape in [(700,), (1, 700), (3, 700), (1,), (1, 1)]:
        signal = np.full(shape, 0.1)
        assert denoiser(signal, sample_rate_hz=16_000).shape == shape


def test_the_function_and_the_object_agree(onset_model: Path, make_noisy: MakeNoisy) -> None:
    noisy = make_noisy(channels=2)
    options = {"sample_rate_hz": 16_000, "attenuation_limit_db": 6.0, "mix": 0.5}
    np.testing.assert_array_equal(
        denoise(noisy, model=onset_model, **options),
        Denoiser.load(onset_model)(noisy, **options),
    )


def test_the_input_is_left_as_it_was(denoiser: Denoiser) -> None:
    signal = white(2, 3000)
    before = signal.copy()
    denoiser(signal, sample_rate_hz=16_000)
    np.testing.assert_array_equal(signal, before)


# Latency and causality


@pytest.mark.parametrize("lookahead", LOOKAHEADS)
@pytest.mark.parametrize("rate_hz", RATES_HZ)
@pytest.mark.parametrize("block", [7, 160])
def test_no_sample_waits_longer_than_the_stated_latency(
    denoisers: dict[int, Denoiser], lookahead: int, rate_hz: int, block: int
) -> None:
    stream = denoisers[lookahead].stream(sample_rate_hz=rate_hz)
    taken = given_back = 0
    for _ in range(3 * stream.latency_samples // block):
        given_back += stream.feed(np.zeros((1, block), np.float32)).shape[1]
        taken += block
        assert taken - stream.latency_samples <= given_back <= taken


@pytest.mark.parametrize("lookahead", LOOKAHEADS)
def test_the_stated_latency_is_no_longer_than_the_wait(
    denoisers: dict[int, Denoiser], lookahead: int
) -> None:
    """Fed one sample at a time, some sample waits for just as many as stated, itself included."""
    stream = denoisers[lookahead].stream(sample_rate_hz=16_000)
    given_back, longest = 0, 0
    for taken in range(1, 4 * stream.latency_samples):
        longest = max(longest, taken - given_back)
        given_back += stream.feed(np.zeros((1, 1), np.float32)).shape[1]
    assert longest == stream.latency_samples


@pytest.mark.parametrize("rate_hz", RATES_HZ)
@pytest.mark.parametrize("lookahead", LOOKAHEADS)
def test_the_latency_is_that_of_the_spec_at_every_rate(
    denoisers: dict[int, Denoiser], lookahead: int, rate_hz: int
) -> None:
    stream = denoisers[lookahead].stream(sample_rate_hz=rate_hz)
    stated_s = denoisers[lookahead].spec.latency_s
    assert stream.latency_s == pytest.approx(stated_s, rel=1e-3)
    assert stream.latency_s == stream.latency_samples / rate_hz


@settings(deadline=None)
@given(
    change=st.integers(1, 5999),
    rate_hz=st.sampled_from(RATES_HZ),
    lookahead=st.sampled_from(LOOKAHEADS),
)
def test_what_comes_later_than_the_latency_changes_nothing(
    denoisers: dict[int, Denoiser], change: int, rate_hz: int, lookahead: int
) -> None:
    denoiser = denoisers[lookahead]
    signal = white(1, 6000)
    other = signal.copy()
    other[:, change:] = white(1, 6000 - change, seed=9) * 3
    latency = denoiser.stream(sample_rate_hz=rate_hz).latency_samples
    outputs = [denoiser(x, sample_rate_hz=rate_hz) for x in (signal, other)]
    same = max(0, change - latency)
    np.testing.assert_allclose(outputs[0][:, :same], outputs[1][:, :same], atol=1e-5)


# Options


@pytest.mark.parametrize("rate_hz", RATES_HZ)
@pytest.mark.parametrize("lookahead", LOOKAHEADS)
def test_mix_zero_returns_the_input(
    denoisers: dict[int, Denoiser], rate_hz: int, lookahead: int
) -> None:
    signal = white(2, 5000)
    output = denoisers[lookahead](signal, sample_rate_hz=rate_hz, mix=0)
    np.testing.assert_allclose(output, signal, atol=1e-5)


def test_mix_in_between_is_the_blend(denoiser: Denoiser) -> None:
    signal = white(1, 5000)
    wet = denoiser(signal, sample_rate_hz=16_000)
    output = denoiser(signal, sample_rate_hz=16_000, mix=0.25)
    np.testing.assert_allclose(output, 0.75 * signal + 0.25 * wet, atol=1e-5)


def test_an_attenuation_limit_of_0_db_returns_the_input(denoiser: Denoiser) -> None:
    signal = white(2, 5000)
    output = denoiser(signal, sample_rate_hz=16_000, attenuation_limit_db=0)
    np.testing.assert_allclose(output, signal, atol=1e-5)


def test_a_lasting_tone_falls_by_two_thirds_of_what_the_limit_does_not_keep(
    denoiser: Denoiser,
) -> None:
    """The onset model's gain on what lasts is 2/3, which is -3.5 dB."""
    tone = 0.5 * np.sin(2 * np.pi * 1000 / 16_000 * np.arange(16_000))

    def change_db(limit_db: float | None) -> float:
        output = denoiser(tone, sample_rate_hz=16_000, attenuation_limit_db=limit_db)
        middle = slice(4000, 12_000)
        return float(10 * np.log10(np.mean(output[middle] ** 2) / np.mean(tone[middle] ** 2)))

    assert change_db(None) == pytest.approx(-3.52, abs=0.05)
    kept = 10 ** (-6 / 20)
    assert change_db(6) == pytest.approx(20 * np.log10(kept + (1 - kept) * 2 / 3), abs=0.05)


def test_an_attenuation_limit_keeps_a_fraction_of_the_input(turner: Denoiser) -> None:
    """Of a complex mask's input, too, and under ``mix`` as well."""
    signal = white(1, 8000)
    wet, kept = turner(signal, sample_rate_hz=16_000), 10 ** (-12 / 20)
    limited = turner(signal, sample_rate_hz=16_000, attenuation_limit_db=12)
    np.testing.assert_allclose(limited, kept * signal + (1 - kept) * wet, atol=1e-5)
    both = turner(signal, sample_rate_hz=16_000, attenuation_limit_db=12, mix=0.5)
    np.testing.assert_allclose(both, (signal + limited) / 2, atol=1e-5)


@pytest.mark.parametrize("limit_db", [3, 6, 12])
def test_noise_alone_falls_by_the_attenuation_limit(limit_db: float) -> None:
    noise = 0.05 * white(1, 5 * 16_000)
    output = denoise(noise, sample_rate_hz=16_000, attenuation_limit_db=limit_db)
    after = slice(32_000, 72_000)  # once the model has heard that it is noise
    fall_db = 10 * np.log10(np.mean(noise[0, after] ** 2) / np.mean(output[0, after] ** 2))
    assert fall_db == pytest.approx(limit_db, abs=0.2)


def test_shared_channels_keep_the_stereo_image(denoiser: Denoiser) -> None:
    left = white(1, 8000)
    output = denoiser(np.concatenate([left, 0.25 * left]), sample_rate_hz=16_000)
    np.testing.assert_allclose(output[1], 0.25 * output[0], atol=1e-6)


def test_equal_channels_are_denoised_like_one_of_them_alone(gate: Denoiser) -> None:
    mono = white(1, 8000)
    alone = gate(mono, sample_rate_hz=16_000)
    for sign in (1, -1):  # channels that cancel, too
        both = gate(np.concatenate([mono, sign * mono]), sample_rate_hz=16_000)
        np.testing.assert_allclose(both, np.concatenate([alone, sign * alone]), atol=1e-5)


def test_channels_of_different_sounds_do_not_hear_each_other(denoiser: Denoiser) -> None:
    """Once their coherence is known, which takes a few frames."""
    signal = white(2, 32_000) * np.float32([[1], [10]])
    shared = denoiser(signal, sample_rate_hz=16_000)
    apart = denoiser(signal, sample_rate_hz=16_000, channel_mode="independent")
    later = slice(8000, None)
    error = np.sum((shared - apart)[:, later] ** 2, axis=1) / np.sum(apart[:, later] ** 2, axis=1)
    assert (10 * np.log10(error) < -25).all()


def test_independent_channels_do_not_hear_each_other(denoiser: Denoiser) -> None:
    signal = white(3, 8000)
    output = denoiser(signal, sample_rate_hz=16_000, channel_mode="independent")
    alone = [denoiser(row, sample_rate_hz=16_000) for row in signal]
    np.testing.assert_allclose(output, np.stack(alone), atol=1e-5)


# Complex masks


def turned_by_hand(signal: np.ndarray) -> np.ndarray:
    size = StftSize(512, 256)
    spectrum = stft(signal, size)
    mask = 1j * spectrum / (np.abs(spectrum.real) + np.abs(spectrum.imag) + 1)
    return istft((spectrum * mask).astype(np.complex64), size, signal.shape[1])


def test_a_complex_mask_multiplies_the_spectrum(turner: Denoiser) -> None:
    signal = white(1, 8000)
    output = turner(signal, sample_rate_hz=16_000)
    np.testing.assert_allclose(output, turned_by_hand(signal), atol=1e-5)
    stream = turner.stream(sample_rate_hz=16_000)
    np.testing.assert_allclose(in_blocks(stream, signal, [1, 300, 77, 4000]), output, atol=1e-5)


def test_equal_channels_get_the_complex_mask_of_one(turner: Denoiser) -> None:
    mono = white(1, 8000)
    both = turner(np.concatenate([mono, mono]), sample_rate_hz=16_000)
    np.testing.assert_allclose(both, np.repeat(turned_by_hand(mono), 2, axis=0), atol=1e-5)


def test_a_complex_mask_turns_down_what_lies_above_the_model_but_not_its_phase(
    turner: Denoiser,
) -> None:
    rate_hz = 48_000
    high = np.sin(2 * np.pi * 20_000 * np.arange(rate_hz) / rate_hz)
    low = white(1, rate_hz)[0]
    change = turner(low + high, sample_rate_hz=rate_hz) - turner(low, sample_rate_hz=rate_hz)
    settled = slice(1000, 10_000)  # before it is known what is noise
    kept = 2 * np.mean(change[settled] * high[settled])
    assert 0.05 < kept < 1
    np.testing.assert_allclose(change[settled], kept * high[settled], atol=0.5 * kept)


# Rates


def test_a_lasting_sound_above_the_models_band_is_noise_beside_speech(denoiser: Denoiser) -> None:
    """At 48 kHz a tone at 20 kHz falls by 20 dB while the model keeps what it hears below."""
    rate_hz = 48_000
    time_s = np.arange(rate_hz) / rate_hz
    high = 0.3 * np.sin(2 * np.pi * 20_000 * time_s)
    top = 0.1 * np.sin(2 * np.pi * 7_600 * time_s)  # lasts, so its gain is 2/3
    output = denoiser(high + top, sample_rate_hz=rate_hz)
    spectrum = np.abs(np.fft.rfft(output[16_000:46_000])) * 2 / 30_000
    frequency_hz = np.fft.rfftfreq(30_000, 1 / rate_hz)
    level = spectrum[np.abs(frequency_hz - 20_000) < 5].max()
    assert level < 0.3 * 0.1 * 1.05


@pytest.mark.parametrize("level", [0.003, 0.3])
def test_the_same_sound_at_another_rate_is_denoised_alike(gate: Denoiser, level: float) -> None:
    """A tone sampled at 48 kHz and at 16 kHz meets the same gain: every third sample agrees."""
    time_s = np.arange(48_000) / 48_000
    tone = level * np.sin(2 * np.pi * 437 * time_s) * (1 + 0.5 * np.sin(2 * np.pi * 3 * time_s))
    high = gate(tone, sample_rate_hz=48_000)[::3]
    low = gate(tone[::3], sample_rate_hz=16_000)
    difference = np.mean((high - low) ** 2) / np.mean(low**2)
    assert 10 * np.log10(difference) < -40


@pytest.mark.parametrize("rate_hz", RATES_HZ)
@pytest.mark.parametrize("channel_mode", ["shared", "independent"])
def test_silence_stays_silent(denoiser: Denoiser, rate_hz: int, channel_mode: ChannelMode) -> None:
    silence = np.zeros((2, 5000), np.float32)
    output = denoiser(silence, sample_rate_hz=rate_hz, channel_mode=channel_mode)
    np.testing.assert_array_equal(output, silence)


@pytest.mark.parametrize("level", [1e-30, 1e-6, 1.0, 1e9])
def test_any_level_stays_finite(denoiser: Denoiser, level: float) -> None:
    for rate_hz in (8_000, 16_000, 48_000):
        square = level * np.sign(white(2, 5000))
        assert np.all(np.isfinite(denoiser(square, sample_rate_hz=rate_hz)))


# Refusals


def refused(action: Callable[[], object], found: str, error: type[Exception] = SignalError) -> None:
    with pytest.raises(error, match=found) as raised:
        action()
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("signal", "found"),
    [
        (np.zeros((700, 2)), r"shape \(700, 2\).*700 channels.*transpose"),
        (np.zeros((700, 1)), r"shape \(700, 1\)"),
        (np.zeros((MAX_CHANNELS + 1, 700)), "at most 32 channels"),
        (np.zeros((1, 2, 3)), r"shape \(1, 2, 3\)"),
        (np.float32(0), r"shape \(\)"),
        (np.zeros(0), "no samples"),
        (np.zeros((2, 0)), "no samples"),
        (np.zeros((0, 2)), "no samples"),
        (np.zeros(700, np.int16), "int16.*Divide"),
        (np.zeros(700, np.complex64), "complex64"),
        (np.zeros(700, bool), "bool"),
        (np.array(["a", "b"]), "<U1"),
        (np.array([0, np.nan]), "NaN"),
        (np.array([0, np.inf]), "NaN or infinite"),
        (np.array([0, -np.inf]), "NaN or infinite"),
        (np.array([0, 1e30]), r"1e\+30"),
    ],
    ids=lambda value: str(getattr(value, "shape", "")) or str(value)[:20],
)
def test_what_is_not_a_signal_is_refused_by_name(
    denoiser: Denoiser, signal: np.ndarray, found: str
) -> None:
    refused(lambda: denoiser(signal, sample_rate_hz=16_000), found)


@pytest.mark.parametrize(
    "rate_hz", [0, -16_000, 3_999, 192_001, 16_000.5, float("nan"), float("inf"), True, None, "8k"]
)
def test_absurd_rates_are_refused(denoiser: Denoiser, rate_hz: object) -> None:
    signal = np.zeros(700, np.float32)
    refused(lambda: denoiser(signal, sample_rate_hz=rate_hz), f"sample rate {rate_hz} Hz")  # type: ignore[arg-type]


@pytest.mark.parametrize("channels", [0, -1, 33, 1.5, True])
def test_absurd_channel_counts_are_refused(denoiser: Denoiser, channels: int) -> None:
    refused(lambda: denoiser.stream(sample_rate_hz=16_000, channels=channels), "channels")


def test_options_are_held_and_a_call_or_a_stream_may_pass_its_own(onset_model: Path) -> None:
    noisy = np.random.default_rng(0).normal(0, 0.1, (2, 8000)).astype(np.float32)
    plain = Denoiser.load(onset_model)
    half = Denoiser.load(onset_model, mix=0.5, channel_mode="independent")
    given = {"sample_rate_hz": 16_000}
    expected = plain(noisy, mix=0.5, channel_mode="independent", **given)
    np.testing.assert_array_equal(half(noisy, **given), expected)
    np.testing.assert_array_equal(
        half(noisy, mix=1.0, channel_mode="shared", **given), plain(noisy, **given)
    )
    assert half.stream(attenuation_limit_db=3, **given).options == DenoiseOptions(
        channel_mode="independent", attenuation_limit_db=3, mix=0.5
    )
    with pytest.raises(TypeError, match="strength"):
        Denoiser.load(onset_model, strength=1)


@pytest.mark.parametrize("again", [copy.deepcopy, lambda made: pickle.loads(pickle.dumps(made))])
def test_a_copy_answers_as_the_denoiser_itself_wherever_it_is_made(
    again: Callable[[Denoiser], Denoiser],
    onset_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    noisy = np.random.default_rng(0).normal(0, 0.1, 8000)
    monkeypatch.chdir(onset_model.parent)
    denoiser = Denoiser.load(onset_model.name, mix=0.5)  # by a relative path
    monkeypatch.chdir(tmp_path)
    made = again(denoiser)
    assert repr(made) == repr(denoiser)
    np.testing.assert_array_equal(
        made(noisy, sample_rate_hz=16_000), denoiser(noisy, sample_rate_hz=16_000)
    )


def test_denoisers_and_streams_say_what_they_are(onset_model: Path) -> None:
    denoiser = Denoiser.load(onset_model, attenuation_limit_db=12)
    stream = denoiser.stream(sample_rate_hz=48_000, channels=2)
    name = denoiser.spec.name
    for text in (f"model='{name}'", "sample_rate_hz=16000", "attenuation_limit_db=12", "mix=1.0"):
        assert text in repr(denoiser)
    latency = f"latency_ms={1000 * stream.latency_s:g}"
    for text in (f"model='{name}'", "sample_rate_hz=48000", "channels=2", latency, "_db=12"):
        assert text in repr(stream)


def test_a_stream_processes_an_iterable_of_blocks(onset_model: Path) -> None:
    noisy = np.random.default_rng(0).normal(0, 0.1, (1, 7777)).astype(np.float32)
    denoiser = Denoiser.load(onset_model)
    stream = denoiser.stream(sample_rate_hz=16_000)
    for _ in range(2):  # it is ready for the next signal
        cleaned = list(stream.process(np.array_split(noisy, 9, axis=1)))
        assert len(cleaned) == 9 + 1
        expected = denoiser(noisy, sample_rate_hz=16_000)
        np.testing.assert_allclose(np.concatenate(cleaned, axis=1), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"mix": -0.1}, "mix is -0.1"),
        ({"mix": 1.1}, "mix is 1.1"),
        ({"mix": float("nan")}, "mix is nan"),
        ({"attenuation_limit_db": -1}, "attenuation_limit_db is -1"),
        ({"attenuation_limit_db": float("nan")}, "attenuation_limit_db is nan"),
        ({"channel_mode": "mono"}, "channel_mode is 'mono', expected shared or independent"),
    ],
)
def test_options_out_of_bounds_are_refused(
    denoiser: Denoiser, options: dict[str, object], found: str
) -> None:
    refused(lambda: denoiser.stream(sample_rate_hz=16_000, **options), found, ConfigError)
    refused(lambda: Denoiser.load(**options), found, ConfigError)


@pytest.mark.parametrize(
    "block",
    [np.zeros((1, 50)), np.zeros((3, 50)), np.zeros(50), np.zeros((50, 2)), np.zeros((2, 5, 5))],
    ids=lambda block: str(block.shape),
)
def test_a_block_of_other_channels_is_refused(denoiser: Denoiser, block: np.ndarray) -> None:
    stream = denoiser.stream(sample_rate_hz=16_000, channels=2)
    refused(lambda: stream.feed(block), r"expected \(2, time\)")


def test_a_refused_block_leaves_the_stream_as_it_was(denoiser: Denoiser) -> None:
    signal = white(2, 4000)
    stream = denoiser.stream(sample_rate_hz=16_000, channels=2)
    pieces = [stream.feed(signal[:, :1000])]
    for bad in (np.full((2, 300), np.nan), np.zeros((3, 300)), np.zeros((2, 300), np.int16)):
        refused(lambda bad=bad: stream.feed(bad), "block")  # type: ignore[misc]
    pieces += [stream.feed(signal[:, 1000:]), stream.flush()]
    offline = denoiser(signal, sample_rate_hz=16_000)
    np.testing.assert_allclose(np.concatenate(pieces, axis=1), offline, atol=1e-5)


@pytest.mark.parametrize(("rate_hz", "counts"), [(16_000, True), (48_000, False)])
def test_what_a_model_says_of_its_last_bins_counts_at_its_own_rate_only(
    tmp_path: Path, rate_hz: int, counts: bool
) -> None:
    """Recordings at 16 kHz hold nothing there, so a network learns nothing about it."""
    noise = np.random.default_rng(0).normal(0, 0.1, (1, rate_hz)).astype(np.float32)
    edge = slice(7_900, 7_990)  # Hz: the signals last a second
    outputs = []
    for last in (0.05, 1.0):
        gains = np.full(257, 0.05, np.float32)
        gains[-4:] = last
        ends = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["channels", "frames", 257])
            for name in ("magnitude", "gain")
        ]
        initializers = [
            onnx.numpy_helper.from_array(gains, "gains"),
            onnx.numpy_helper.from_array(np.float32(0), "zero"),
        ]
        nodes = [
            helper.make_node("Mul", ["magnitude", "zero"], ["zeros"]),
            helper.make_node("Add", ["zeros", "gains"], ["gain"]),
        ]
        graph = helper.make_graph(nodes, "edge", ends[:1], ends[1:], initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        spec = DenoiserSpec(
            name="edge", arch="edge", sample_rate_hz=16_000, window_samples=512, hop_samples=256
        )
        helper.set_model_props(model, {METADATA_KEY: spec.to_json()})
        onnx.save(model, tmp_path / "edge.onnx")
        outputs.append(Denoiser.load(tmp_path / "edge.onnx")(noise, sample_rate_hz=rate_hz)[0])
    if counts:
        levels = [np.linalg.norm(np.fft.rfft(output)[edge]) for output in outputs]
        assert levels[1] == pytest.approx(20 * levels[0], rel=0.1)
    else:
        np.testing.assert_array_equal(*outputs)
