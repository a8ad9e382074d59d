"""The network of DNSMOS P.835 as a loss: what listeners would say of a signal.

References
----------
Reddy et al. (2022), "DNSMOS P.835: A non-intrusive perceptual objective speech quality metric to
evaluate noise suppressors". Weights and the layers' order are those of the `speechmos` package.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear, max_pool2d, relu

from tinysignal.errors import MissingExtraError
from tinysignal.metrics.dnsmos_networks import OVRL

_WINDOW, _HOP = 320, 160  # samples at 16 kHz
_POOLED = range(3, 6)  # convolutions that are followed by a pooling
_LEAST_POWER = 1e-12
_QUIET_POWER = 1e-3  # of noise at -50 dBFS; bounds the gradients of what is quieter
_BEST = 5.0
_SPOKEN = 1e-6  # mean square, -60 dBFS: quieter clips hold no speech, and have no opinion


class OpinionLoss(nn.Module):
    """Points that DNSMOS's overall opinion lacks to the best, 5, of the first clips with speech.

    It has about a hundred times the cost of a small denoiser, so a few clips of a batch have to
    do. A score that is optimised flatters its network, so it belongs beside other losses, and what
    is trained with it is judged by other scores too.

    Parameters
    ----------
    most_clips : int
        Clips of each batch that are judged.

    Raises
    ------
    MissingExtraError
        `speechmos`, which carries the weights, is not installed.

    Examples
    --------
    >>> import torch
    >>> from tinysignal.train.opinion import OpinionLoss
    >>> noise = 0.1 * torch.randn(2, 48000, generator=torch.Generator().manual_seed(0))
    >>> bool((OpinionLoss().opinion(noise) < 2).all())
    True
    """

    def __init__(self, *, most_clips: int = 4) -> None:
        super().__init__()
        self._most_clips = most_clips
        for name, value in _weights().items():
            self.register_buffer(name, value, persistent=False)

    def forward(self, estimate: Tensor, clean: Tensor) -> Tensor:
        """Mean points lacking to 5, Tensor (), of signals, float (batch, time) at 16 kHz."""
        spoken = clean.square().mean(dim=1) > _SPOKEN
        chosen = spoken.nonzero()[: self._most_clips, 0]
        if chosen.numel() == 0:
            return estimate.new_zeros(())
        return (_BEST - self.opinion(estimate[chosen])).mean()

    def opinion(self, signal: Tensor) -> Tensor:
        """Overall opinion from 1 to 5, float (batch,), of signals, float (batch, time) at 16 kHz.

        `tinysignal.metrics` has it over windows of 9.01 s; here a clip is judged at its length.
        """
        frames = signal.unfold(1, _WINDOW, _HOP)
        real, imaginary = (linear(frames, self.get_buffer(f"basis_{part}")) for part in range(2))
        power = real.square() + imaginary.square()
        smooth = (power + _QUIET_POWER).log10()
        exact = power.detach().clamp_min(_LEAST_POWER).log10()
        x = (smooth + (exact - smooth.detach())).unsqueeze(1)
        for layer in range(7):
            weight, bias = (self.get_buffer(f"{kind}_{layer}") for kind in ("weight", "bias"))
            x = relu(conv2d(x, weight, bias, padding=1))
            if layer in _POOLED:
                x = max_pool2d(x, 2)
        x = x.amax(dim=(2, 3))
        for layer in range(7, 10):
            weight, bias = (self.get_buffer(f"{kind}_{layer}") for kind in ("weight", "bias"))
            x = linear(x if layer == 7 else relu(x), weight, bias)
        raw = x[:, 2].float()
        square, slope, offset = OVRL
        return (square * raw + slope) * raw + offset


def _weights() -> dict[str, Tensor]:
    """Weights by layer, in torch's layout."""
    found = importlib.util.find_spec("speechmos")  # located, not imported: it imports librosa
    if found is None or found.origin is None:
        raise MissingExtraError("opinion_weight", "eval")
    import onnx

    path = Path(found.origin).parent / "dnsmos_models" / "sig_bak_ovr.onnx"
    arrays = {
        tensor.name.removeprefix("mos_estimator_logpow/"): onnx.numpy_helper.to_array(tensor)
        for tensor in onnx.load(path).graph.initializer
    }
    named = {
        f"basis_{number}": arrays[f"time2freq/stft-{part}/kernel:0"][:, :, 0]
        for number, part in enumerate(("real", "imag"))
    }
    for layer in range(7):
        name = f"conv2d_{layer}" if layer else "conv2d"
        named |= {f"weight_{layer}": arrays[f"{name}/kernel:0"]}
        named |= {f"bias_{layer}": arrays[f"{name}/bias:0"]}
    for layer, name in enumerate(("dense", "dense_1", "dense_3"), start=7):
        named |= {f"weight_{layer}": arrays[f"{name}/MatMul/ReadVariableOp/resource:0"].T}
        named |= {f"bias_{layer}": arrays[f"{name}/BiasAdd/ReadVariableOp/resource:0"]}
    return {name: torch.from_numpy(array.copy()) for name, array in named.items()}
