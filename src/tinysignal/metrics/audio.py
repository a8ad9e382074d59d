"""How good a denoised signal is: pure functions, an array against its clean target.

Every function takes signals (time,) or (channels, time), full scale at 1.0, of any number of
channels, and returns one float64 number for each channel. SNR, SI-SDR and segmental SNR are
computed here, at the signal's own rate. PESQ, STOI and DNSMOS call other people's implementations
at 16 kHz (the 'eval' extra); say which one and which version when you report them.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinysignal.audio.files import resample
from tinysignal.audio.validate import Signal, check_rate, check_signal
from tinysignal.errors import MissingExtraError, SignalError
from tinysignal.metrics.dnsmos_networks import load_networks, opinion_scores

Scores = NDArray[np.float64]  # (channels,)

PERCEPTUAL_RATE_HZ = 16_000

SEGMENT_S, SEGMENT_HOP_S = 0.032, 0.016
SEGMENT_FLOOR_DB, SEGMENT_CEILING_DB = -10.0, 35.0


def snr(estimate: ArrayLike, target: ArrayLike) -> Scores:
    """Signal-to-noise ratio: the target's energy over that of the estimate's difference from it.

    ``10 log10(sum(target^2) / sum((estimate - target)^2))``

    Parameters
    ----------
    estimate, target : floating (time,) or (channels, time)
        Time-aligned; same shape.

    Returns
    -------
    float64 (channels,), dB
        Infinite where the estimate is the target.

    Raises
    ------
    SignalError
        Shapes differ, NaN, or a target channel is silent.

    Examples
    --------
    >>> import numpy as np
    >>> from tinysignal.metrics.audio import snr
    >>> target = np.array([[1.0, -1.0, 1.0, -1.0]])
    >>> snr(target + 0.1, target).round(3)
    array([20.])
    """
    estimated, wanted = _check_pair(estimate, target)
    return _ratio_db(_energy(wanted), _energy(estimated - wanted))


def si_sdr(estimate: ArrayLike, target: ArrayLike) -> Scores:
    """Scale-invariant signal-to-distortion ratio, means removed.

    ``10 log10(sum((a target)^2) / sum((estimate - a target)^2))``, where ``a target`` is the
    estimate's projection on the target, ``a = sum(estimate target) / sum(target^2)``.

    Parameters
    ----------
    estimate, target : floating (time,) or (channels, time)
        Time-aligned; same shape.

    Returns
    -------
    float64 (channels,), dB
        Near 300 or infinite where the estimate is a multiple of the target, minus infinity where
        it holds nothing of it.

    Raises
    ------
    SignalError
        Shapes differ, NaN, or a target channel is silent or constant.

    References
    ----------
    Le Roux et al. (2019), "SDR - half-baked or well done?", eq. 3.

    Examples
    --------
    >>> import numpy as np
    >>> from tinysignal.metrics.audio import si_sdr
    >>> target = np.array([[1.0, -1.0, 1.0, -1.0]])
    >>> estimate = target + np.array([[0.1, 0.1, -0.1, -0.1]])
    >>> si_sdr(5 * estimate, target).round(3)
    array([20.])
    """
    estimated, wanted = _check_pair(estimate, target)
    estimated = estimated - estimated.mean(axis=1, keepdims=True)
    wanted = wanted - wanted.mean(axis=1, keepdims=True)
    energy = _energy(wanted)
    if (energy == 0).any():
        raise SignalError("target is constant in a channel; SI-SDR needs a signal there.")
    scale = (estimated * wanted).sum(axis=1) / energy
    projected = scale[:, np.newaxis] * wanted
    return _ratio_db(_energy(projected), _energy(estimated - projected))


def segmental_snr(estimate: ArrayLike, target: ArrayLike, *, sample_rate_hz: int) -> Scores:
    """Mean over short frames of the SNR in dB, each frame's limited to [-10, 35] dB.

    Frames are rectangular, 32 ms long, one every 16 ms; samples after the last whole frame do not
    count, nor do frames in which the target is digital silence (their SNR is undefined).

    Parameters
    ----------
    estimate, target : floating (time,) or (channels, time)
        Time-aligned; same shape; at least 32 ms.
    sample_rate_hz : int

    Returns
    -------
    float64 (channels,), dB
        From -10 to 35.

    Raises
    ------
    SignalError
        Shapes differ, NaN, shorter than a frame, or a target channel without a frame of signal.

    References
    ----------
    Hansen and Pellom (1998), "An effective quality evaluation protocol for speech enhancement
    algorithms", for the limits; frame and hop are this function's own.

    Examples
    --------
    >>> import numpy as np
    >>> from tinysignal.metrics.audio import segmental_snr
    >>> target = np.ones((1, 16000))
    >>> segmental_snr(1.1 * target, target, sample_rate_hz=16000).round(3)
    array([20.])
    """
    estimated, wanted = _check_pair(estimate, target)
    rate_hz = check_rate(sample_rate_hz)
    frame, hop = round(SEGMENT_S * rate_hz), round(SEGMENT_HOP_S * rate_hz)
    if wanted.shape[1] < frame:
        raise SignalError(
            f"{wanted.shape[1]} samples at {rate_hz} Hz, but segmental SNR needs {frame} (32 ms)."
        )
    target_energy = _frame_energy(wanted, frame, hop)
    error_energy = _frame_energy(estimated - wanted, frame, hop)
    counted = target_energy > 0
    if not counted.any(axis=1).all():
        raise SignalError("a channel of the target is silent in every 32 ms frame.")
    frames_db = _ratio_db(np.where(counted, target_energy, 1.0), error_energy)
    limited = np.clip(frames_db, SEGMENT_FLOOR_DB, SEGMENT_CEILING_DB)
    return np.asarray(limited.mean(axis=1, where=counted), np.float64)


def pesq_wb(estimate: ArrayLike, target: ArrayLike, *, sample_rate_hz: int) -> Scores:
    """Wideband PESQ, MOS-LQO by ITU-T P.862.2.

    Computed by the `pesq` package (C code of the ITU with fixes, github.com/ludlows/PESQ); scores
    of other implementations differ. Other rates than 16 kHz are resampled with soxr first; below
    16 kHz the upper band is empty in both signals and scores do not compare with wideband ones.

    Parameters
    ----------
    estimate, target : floating (time,) or (channels, time)
        Speech, time-aligned; same shape; at least 0.25 s.
    sample_rate_hz : int

    Returns
    -------
    float64 (channels,), MOS-LQO
        1.04 to 4.64.

    Raises
    ------
    SignalError
        Shapes differ, NaN, silent target, too short, or no utterance found in the target.
    MissingExtraError
        The package `pesq` is not installed.

    References
    ----------
    ITU-T Recommendation P.862.2 (2007).

    Examples
    --------
    >>> import numpy as np
    >>> from tinysignal.metrics.audio import pesq_wb
    >>> speech = np.random.default_rng(0).normal(0, 0.1, (1, 16000)).astype(np.float32)
    >>> pesq_wb(speech, speech, sample_rate_hz=16000).round(1)
    array([4.6])
    """
    try:
        import pesq  # noqa: PLC0415 - optional
    except ImportError:
        raise MissingExtraError("PESQ", "eval") from None
    estimated, wanted = _check_pair(estimate, target)
    wanted_16, estimated_16 = (_at_16_khz(s, sample_rate_hz) for s in (wanted, estimated))
    pairs = zip(wanted_16, estimated_16, strict=True)
    try:
        return np.array([pesq.pesq(PERCEPTUAL_RATE_HZ, w, e, "wb") for w, e in pairs])
    except pesq.PesqError as error:
        reason = error.args[0] if error.args else type(error).__name__
        text = reason.decode() if isinstance(reason, bytes) else str(reason)
        raise SignalError(f"PESQ gives no score: {text.rstrip('! .')}.") from None


def stoi(estimate: ArrayLike, target: ArrayLike, *, sample_rate_hz: int) -> Scores:
    """Short-time objective intelligibility, by the `pystoi` package.

    Parameters
    ----------
    estimate, target : floating (time,) or (channels, time)
        Speech, time-aligned; same shape. Resampled to 16 kHz with soxr first.
    sample_rate_hz : int

    Returns
    -------
    float64 (channels,)
        At most 1.

    Raises
    ------
    SignalError
        Shapes differ, NaN, silent target, or less than 0.4 s of speech in it.
    MissingExtraError
        The package `pystoi` is not installed.

    References
    ----------
    Taal et al. (2011), "An algorithm for intelligibility prediction of time-frequency weighted
    noisy speech".

    Examples
    --------
    >>> import numpy as np
    >>> from tinysignal.metrics.audio import stoi
    >>> speech = np.random.default_rng(0).normal(0, 0.1, (1, 16000))
    >>> stoi(speech, speech, sample_rate_hz=16000).round(3)
    array([1.])
    """
    return _pystoi(estimate, target, sample_rate_hz, extended=False)


def estoi(estimate: ArrayLike, target: ArrayLike, *, sample_rate_hz: int) -> Scores:
    """Extended short-time objective intelligibility, by the `pystoi` package.

    Parameters
    ----------
    estimate, target : floating (time,) or (channels, time)
        Speech, time-aligned; same shape. Resampled to 16 kHz with soxr first.
    sample_rate_hz : int

    Returns
    -------
    float64 (channels,)
        At most 1.

    Raises
    ------
    SignalError
        Shapes differ, NaN, silent target, or less than 0.4 s of speech in it.
    MissingExtraError
        The package `pystoi` is not installed.

    References
    ----------
    Jensen and Taal (2016), "An algorithm for predicting the intelligibility of speech masked by
    modulated noise maskers".

    Examples
    --------
    >>> import numpy as np
    >>> from tinysignal.metrics.audio import estoi
    >>> speech = np.random.default_rng(0).normal(0, 0.1, (1, 16000))
    >>> estoi(speech, speech, sample_rate_hz=16000).round(3)
    array([1.])
    """
    return _pystoi(estimate, target, sample_rate_hz, extended=True)


class Dnsmos(NamedTuple):
    """DNSMOS opinion scores, each float64 (channels,), about 1 to 5."""

    ovrl: Scores
    sig: Scores
    bak: Scores
    p808: Scores


def dnsmos(estimate: ArrayLike, *, sample_rate_hz: int) -> Dnsmos:
    """DNSMOS: predicted opinions of the whole, the speech and the background; no target needed.

    Runs the networks of the `speechmos` package (P.835 ``sig_bak_ovr.onnx``, P.808
    ``model_v8.onnx``) on windows of 9.01 s, one a second, as that package does; its own Python
    code is not used because it needs librosa. Signals shorter than 9.01 s are repeated, samples
    beyond full scale are clipped, other rates than 16 kHz are resampled with soxr.

    Parameters
    ----------
    estimate : floating (time,) or (channels, time)
    sample_rate_hz : int

    Returns
    -------
    Dnsmos

    Raises
    ------
    SignalError
        NaN, no samples, swapped axes.
    MissingExtraError
        The package `speechmos` is not installed.

    References
    ----------
    Reddy et al. (2022), "DNSMOS P.835: a non-intrusive perceptual objective speech quality metric
    to evaluate noise suppressors"; Reddy et al. (2021), "DNSMOS", for P.808.

    Examples
    --------
    >>> import numpy as np
    >>> from tinysignal.metrics.audio import dnsmos
    >>> noise = np.random.default_rng(0).normal(0, 0.1, (1, 160000))
    >>> dnsmos(noise, sample_rate_hz=16000).ovrl.shape
    (1,)
    """
    networks = load_networks()
    signal = _at_16_khz(check_signal(estimate, name="estimate", max_channels=None), sample_rate_hz)
    rows = [opinion_scores(row, networks) for row in np.clip(signal, -1, 1)]
    return Dnsmos(*np.array(rows, np.float64).T)


def _check_pair(estimate: ArrayLike, target: ArrayLike) -> tuple[Scores, Scores]:
    """Both signals as float64 (channels, time)."""
    estimated = check_signal(estimate, name="estimate", max_channels=None).astype(np.float64)
    wanted = check_signal(target, name="target", max_channels=None).astype(np.float64)
    if estimated.shape != wanted.shape:
        raise SignalError(
            f"estimate has shape {estimated.shape}, target {wanted.shape}: expected the same, "
            "(channels, time). Cut both to the samples they share."
        )
    silent = np.flatnonzero(_energy(wanted) == 0)
    if silent.size:
        raise SignalError(f"target is silent in channel {silent[0]}; there is nothing to score.")
    return estimated, wanted


def _energy(signal: Scores) -> Scores:
    return np.asarray((signal**2).sum(axis=-1), np.float64)


def _ratio_db(wanted: Scores, rest: Scores) -> Scores:
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(wanted == 0, 0.0, wanted / rest)
        return 10 * np.log10(ratio)


def _frame_energy(signal: Scores, frame: int, hop: int) -> Scores:
    """Energy of every whole frame, (channels, frames), without a copy of the frames."""
    frames = np.lib.stride_tricks.sliding_window_view(signal, frame, axis=1)[:, ::hop]
    return np.asarray(np.einsum("cft,cft->cf", frames, frames), np.float64)


def _at_16_khz(signal: NDArray[np.floating[Any]], sample_rate_hz: int) -> Signal:
    return resample(signal, from_hz=sample_rate_hz, to_hz=PERCEPTUAL_RATE_HZ)


def _pystoi(
    estimate: ArrayLike, target: ArrayLike, sample_rate_hz: int, *, extended: bool
) -> Scores:
    try:
        import pystoi  # noqa: PLC0415 - optional
    except ImportError:
        raise MissingExtraError("STOI", "eval") from None
    estimated, wanted = _check_pair(estimate, target)
    wanted_16, estimated_16 = (_at_16_khz(s, sample_rate_hz) for s in (wanted, estimated))
    pairs = zip(wanted_16, estimated_16, strict=True)
    with warnings.catch_warnings():
        # pystoi warns and answers 1e-5, which would pass for a score.
        warnings.simplefilter("error", RuntimeWarning)
        try:
            scores = [pystoi.stoi(w, e, PERCEPTUAL_RATE_HZ, extended) for w, e in pairs]
        except (RuntimeWarning, np.exceptions.AxisError):  # the latter for less than one frame
            raise SignalError(
                "STOI gives no score: less than 0.4 s of speech in the target."
            ) from None
    return np.array(scores, np.float64)
