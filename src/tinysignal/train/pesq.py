"""Differentiable approximation of PESQ as a loss.

It follows the perceptual model of ITU-T P.862 with the wideband extension P.862.2. Differences:
there is no search of delays, because estimate and clean signal are aligned; levels and the input
filter are computed on spectra; bad frames are not realigned; frames more than 16 s back have full
weight.

References
----------
ITU-T P.862 (2001), sections 10.1 and 10.2, and P.862.2 (2007); Rix et al. (2001), "Perceptual
evaluation of speech quality (PESQ)"; Martin-Donas et al. (2018), "A deep learning loss function
based on the perceptual evaluation of the speech quality". The Recommendation's tables as given by
torch-pesq 0.1.2 (Schmidt, AudioLabs Erlangen, MIT licence, github.com/audiolabs/torch-pesq).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from tinysignal.errors import SignalError

_RATE_HZ, _FFT_SAMPLES = 16_000, 512  # P.862.2: windows of 32 ms, hops of 16 ms
_LEVEL = 1e7  # mean square from 350 to 3250 Hz, in units of P.862
_LEVEL_BINS = slice(12, 105)
_PADDING_S = 0.32  # silence that P.862 adds to the signal in its level measurement
_SILENT = 1e-10  # mean square below which a clean signal holds no speech, -100 dBFS
_QUIETEST = 1e-2  # lower bound of the estimate's level, -20 dB; bounds the gradients
_ACTIVE = 80.0  # smallest root mean square of the first and last active frame
_SYLLABLE_FRAMES = 20
_WORST = 45.0  # largest disturbance of a frame
_TINY = 1e-8  # keeps the gradients of roots finite

# For each of the 49 bands: number of bins of 31.25 Hz, and the correction of its rounding.
_BINS = (
    *(1, 1, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2),
    *(3, 3, 3, 3, 4, 3, 4, 5, 4, 5, 6, 6, 7, 8, 9, 9, 12, 12, 15, 16, 18, 21, 25, 20),
)
_CORRECTION = (
    *(100.0, 99.999992, 100.0, 100.000008, 100.000008, 100.000015, 99.999992, 99.999969),
    *(50.000027, 100.0, 99.999969, 100.000015, 99.999947, 100.000061, 53.047077, 110.000046),
    *(117.991989, 65.0, 68.760147, 69.999931, 71.428818, 75.000038, 76.843384, 80.968781),
    *(88.646126, 63.864388, 68.155350, 72.547775, 75.584831, 58.379192, 80.950836, 64.135651),
    *(54.384785, 73.821884, 64.437073, 59.176456, 65.521278, 61.399822, 58.144047, 57.004543),
    *(64.126297, 54.311001, 61.114979, 55.077751, 56.849335, 55.628868, 53.137054, 54.985844),
    79.546974,
)
# For each band: width in Bark, and threshold of hearing in dB.
_WIDTH_BARK = (
    *(0.157344, 0.317994, 0.322441, 0.326934, 0.331474, 0.336061, 0.340697, 0.345381, 0.350114),
    *(0.354897, 0.359729, 0.364611, 0.369544, 0.374529, 0.379565, 0.384653, 0.389794, 0.394989),
    *(0.400236, 0.405538, 0.410894, 0.416306, 0.421773, 0.427297, 0.432877, 0.438514, 0.444209),
    *(0.449962, 0.455774, 0.461645, 0.467577, 0.473569, 0.479621, 0.485736, 0.491912, 0.498151),
    *(0.504454, 0.510819, 0.517250, 0.523745, 0.530308, 0.536934, 0.543629, 0.550390, 0.557220),
    *(0.564119, 0.571085, 0.578125, 0.585232),
)
_THRESHOLD_DB = (
    *(77.1, 63.9, 48.5, 36.9, 30.7, 25.9, 20.2, 16.6, 12.5, 9.9, 6.9, 4.9),
    *(2.8, 1.0, -0.1, -1.4, -2.5, -3.4, -4.1, -4.8, -5.3, -5.7, -5.9, -6.0),
    *(-6.0, -6.0, -6.0, -5.8, -5.4, -5.1, -4.7, -4.3, -4.0, -3.6, -3.3, -3.1),
    *(-3.0, -3.0, -2.9, -2.8, -2.8, -2.8, -2.9, -3.2, -3.7, -4.3, -4.4, -3.8),
    -2.7,
)


class PesqLoss(nn.Module):
    """Loss in points of PESQ's raw scale: 0 (no disturbance) to 5.9.

    The level of the estimate has no influence. A clip without speech has a loss of 0.

    Parameters
    ----------
    sample_rate_hz : int
        Sample rate in Hz, 16000 or more; frequencies above 8 kHz are ignored.

    Raises
    ------
    SignalError
        The rate is below 16 kHz.

    Examples
    --------
    >>> import torch
    >>> from tinysignal.train.pesq import PesqLoss
    >>> clean = torch.sin(torch.arange(16000) * 0.3)[None] * torch.linspace(0, 1, 16000)
    >>> noise = torch.randn(1, 16000, generator=torch.Generator().manual_seed(0))
    >>> lost = PesqLoss(sample_rate_hz=16000)
    >>> bool(lost(clean + 0.01 * noise, clean) < lost(clean + 0.1 * noise, clean))
    True
    """

    window: Tensor
    filters: Tensor
    threshold: Tensor
    exponent: Tensor
    width: Tensor
    smoothing: Tensor

    def __init__(self, *, sample_rate_hz: int) -> None:
        super().__init__()
        if sample_rate_hz < _RATE_HZ:
            raise SignalError(
                f"sample rate of {sample_rate_hz} Hz, expected {_RATE_HZ} Hz or more for wideband "
                "PESQ."
            )
        self._rate_hz = sample_rate_hz
        self._hop = round(_FFT_SAMPLES / 2 * sample_rate_hz / _RATE_HZ)
        width = torch.tensor(_WIDTH_BARK)
        centre = width.cumsum(0) - width / 2
        constants = {
            "window": torch.hann_window(2 * self._hop),
            "filters": _bark_filters(),
            "threshold": 10 ** (torch.tensor(_THRESHOLD_DB) / 10),
            "exponent": 0.23 * (6 / (centre + 2)).clamp(1, 2) ** 0.15,
            "width": width[1:],  # P.862 leaves out the first band
            "smoothing": 0.8 * 0.2 ** torch.arange(3.0, -1, -1)[None, None],
        }
        for name, value in constants.items():
            self.register_buffer(name, value, persistent=False)

    def forward(self, estimate: Tensor, clean: Tensor) -> Tensor:
        """Loss of each clip.

        Parameters
        ----------
        estimate, clean : float (batch, time)
            Time-aligned signals; the computation is in float32 also under autocast.

        Returns
        -------
        float32 (batch,)
        """
        with torch.autocast(estimate.device.type, enabled=False):
            return self._lost(estimate.float(), clean.float())

    def mos(self, estimate: Tensor, clean: Tensor) -> Tensor:
        """Mean opinion scores (MOS-LQO) on the scale of wideband PESQ, float32 (batch,).

        References
        ----------
        ITU-T P.862.2 (2007), section 5.
        """
        return 0.999 + 4 / (1 + torch.exp(3.8224 - 1.3669 * (4.5 - self(estimate, clean))))

    def _lost(self, estimate: Tensor, clean: Tensor) -> Tensor:
        estimated, true = self._spectrum(estimate), self._spectrum(clean)
        estimated_level, true_level = _level(estimated), _level(true)
        holds = true_level > _SILENT
        target = _LEVEL * (1 + _PADDING_S * self._rate_hz / clean.shape[1])
        true = true * (target / true_level.clamp_min(_SILENT))[:, None, None]
        floor = (_QUIETEST * true_level).clamp_min(_SILENT)
        estimated = estimated * (target / estimated_level.maximum(floor))[:, None, None]
        symmetric, asymmetric = self._disturbances(estimated @ self.filters, true @ self.filters)
        first, last = _active(true)
        lost = 0.1 * _over_time(symmetric, first, last)
        lost = lost + 0.0309 * _over_time(asymmetric, first, last)
        return torch.where(holds, lost, 0)

    def _spectrum(self, signal: Tensor) -> Tensor:
        """Powers of the bins below 8 kHz in the scale of 16 kHz, float (batch, frames, 256)."""
        frames = pad(signal, (0, 2 * self._hop)).unfold(1, 2 * self._hop, self._hop)
        spectrum = torch.fft.rfft(frames * self.window)[..., : _FFT_SAMPLES // 2]
        parts = torch.view_as_real(spectrum)
        return parts.square().sum(3) * (_FFT_SAMPLES / 2 / self._hop) ** 2

    def _disturbances(self, estimated: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
        """Symmetric and asymmetric disturbance, (batch, frames), from (batch, frames, bands)."""
        true = true * self._response(estimated, true)
        power = self._audible(true).sum(2)
        estimated = estimated * self._gain(power, self._audible(estimated).sum(2))[..., None]
        heard, wanted = self._loudness(estimated), self._loudness(true)
        difference = heard - wanted
        masked = 0.25 * torch.minimum(heard, wanted)
        disturbance = (difference.abs() - masked).clamp_min(0)[..., 1:] * self.width
        # Added components are more audible than missing ones.
        added = ((estimated + 50) / (true + 50))[..., 1:] ** 1.2
        added = torch.where(added < 3, 0, added.clamp_max(12))
        total = self.width.sum()
        symmetric = total * (disturbance.square().sum(2) / total + _TINY).sqrt()
        asymmetric = (disturbance * added).sum(2)
        weight = ((power + 1e5) / 1e7) ** -0.04
        return (symmetric * weight).clamp_max(_WORST), (asymmetric * weight).clamp_max(_WORST)

    def _audible(self, power: Tensor, times: float = 1) -> Tensor:
        return (power * (power > times * self.threshold))[..., 1:]

    def _response(self, estimated: Tensor, true: Tensor) -> Tensor:
        """Gain of each band between the signals, (batch, 1, bands), to compensate for filters."""
        speaks = self._audible(true, 100).sum(2, keepdim=True) >= 1e7
        means = (
            (power * (speaks & (power > 100 * self.threshold))).mean(1, keepdim=True)
            for power in (estimated, true)
        )
        after, before = means
        return ((after + 1000) / (before + 1000)).clamp(0.01, 100)

    def _gain(self, true: Tensor, estimated: Tensor) -> Tensor:
        """Compensation of slow changes of the gain, a factor of power, (batch, frames)."""
        gain = (true + 5e3) / (estimated + 5e3)
        before = self.smoothing.shape[2] - 1
        gain = pad(gain[:, None], (before, 0), mode="replicate")
        return torch.nn.functional.conv1d(gain, self.smoothing)[:, 0].clamp(3e-4, 5)

    def _loudness(self, power: Tensor) -> Tensor:
        """Loudness after Zwicker, in sone per Bark."""
        ratio = (power / self.threshold).clamp_min(1)
        least = 0.1866055 * (2 * self.threshold) ** self.exponent
        return least * ((0.5 + 0.5 * ratio) ** self.exponent - 1)


def _bark_filters() -> Tensor:
    """Matrix from bins to bands with the wideband input filter, (256, 49)."""
    z = torch.exp(-2j * torch.pi * torch.arange(_FFT_SAMPLES // 2) / _FFT_SAMPLES)
    zeros = 2.740826 - 5.4816519 * z + 2.740826 * z**2
    poles = 1 - 1.9444777 * z + 0.94597794 * z**2
    band = torch.arange(len(_BINS)).repeat_interleave(torch.tensor(_BINS))
    filters = nn.functional.one_hot(band, len(_BINS)) * torch.tensor(_CORRECTION) * 6.910853e-6
    return filters * (zeros / poles).abs()[:, None] ** 2


def _level(spectrum: Tensor) -> Tensor:
    """Mean square of the signals between 350 and 3250 Hz, (batch,)."""
    window_power = 0.375 * _FFT_SAMPLES
    return 2 * spectrum[..., _LEVEL_BINS].sum(2).mean(1) / (_FFT_SAMPLES * window_power)


def _active(true: Tensor) -> tuple[Tensor, Tensor]:
    """First and last active frame, (batch, 1); silence before and after speech is ignored."""
    power = 2 * true.sum(2) / (0.375 * _FFT_SAMPLES**2)
    frame = torch.arange(true.shape[1], device=true.device).expand(power.shape)
    active = power > _ACTIVE**2
    first = torch.where(active, frame, true.shape[1]).amin(1, keepdim=True)
    last = torch.where(active, frame, 0).amax(1, keepdim=True)
    return first.minimum(last), last


def _over_time(disturbance: Tensor, first: Tensor, last: Tensor) -> Tensor:
    """Mean over time, (batch,): power mean of 6 in syllables of 20 frames, of 2 over syllables."""
    count = disturbance.shape[1]
    frame = torch.arange(count, device=disturbance.device)
    counted = disturbance.gather(1, (frame + first) % count) * (frame <= last - first)
    hop = _SYLLABLE_FRAMES // 2
    syllables = pad(counted, (0, _SYLLABLE_FRAMES)).unfold(1, _SYLLABLE_FRAMES, hop)
    loud = (syllables**6).mean(2).add(_TINY**2).pow(1 / 6)
    counts = torch.arange(loud.shape[1], device=loud.device) * hop <= last - first
    return ((loud.square() * counts).sum(1) / counts.sum(1)).sqrt()
