# %% [markdown]
# # 3. Denoising with a convolutional network
#
# The third exercise: the network sees a patch of the spectrogram instead of a single frame. A voice leaves
# patterns there (harmonics are lines, consonants are stripes), and convolutions find patterns wherever they are.

# %%
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import Audio, display

from tinysignal import Denoiser, audio, metrics
from tinysignal.runs import load_run
from tinysignal.stft import StftSize, stft
from tinysignal.train import DenoiserConfig, train_denoiser

QUICK = os.environ.get("TINYSIGNAL_QUICK") == "1"
DEMO = next(p / "demo" for p in [Path.cwd(), *Path.cwd().parents] if (p / "demo" / "talk.flac").exists())
RUN = Path("runs/cnn")

noisy, RATE_HZ = audio.read(DEMO / "talk.flac")
clean, _ = audio.read(DEMO / "talk_clean.flac")

# %% [markdown]
# ## A convolution by hand
#
# A 3 x 3 kernel slides over the spectrogram; each output is the weighted sum of nine neighbours. This one
# answers to horizontal lines, so to the harmonics of a voice:

# %%
spectrum = stft(clean, StftSize(512, 256))[0]
level = torch.tensor(np.log10(np.abs(spectrum) + 1e-3).astype(np.float32))  # (frames, freq)
kernel = torch.tensor([[-1.0, 2.0, -1.0]] * 3) / 6  # (time, freq)
answer = torch.nn.functional.conv2d(level[None, None], kernel[None, None], padding=1)[0, 0]
figure, axes = plt.subplots(1, 2, figsize=(10, 3))
for axis, values, title in zip(axes, (level, answer.relu()), ("clean", "horizontal lines"), strict=True):
    axis.imshow(values.T[:120], origin="lower", aspect="auto", cmap="magma")
    axis.set(title=title, xlabel="frame", ylabel="bin")
figure.tight_layout()

# %% [markdown]
# A network learns such kernels instead of being given them. *Causal* means that it looks at the present and
# the past only: then it can run while somebody speaks.
#
# ## The network
#
# A U-net: convolutions halve the number of frequencies step by step, dilated convolutions look back in time,
# and transposed convolutions lead back to all frequencies. Its answer is a *mask* between 0 and 1, by which
# each magnitude is multiplied.

# %%
config = DenoiserConfig(
    arch="cnn", pair=(str(DEMO / "talk_clean.flac"), str(DEMO / "talk.flac")),
    sample_rate_hz=RATE_HZ, epochs=10 if QUICK else 1000, clip_s=0.0, width=8, seed=0,
)  # fmt: skip
if not (RUN / "metrics.json").exists():
    train_denoiser(config, RUN, quiet=True)
network, spec = load_run(RUN)
print(f"{spec.parameters:,} parameters, looks back {spec.receptive_field_s:.2f} s, latency {1000 * spec.latency_s:.0f} ms")
curve = np.genfromtxt(RUN / "curve.csv", delimiter=",", names=True)
plt.figure(figsize=(6, 3))
plt.semilogy(curve["epoch"], curve["loss"])
plt.xlabel("epoch")
plt.ylabel("loss");

# %% [markdown]
# ## What it looks back at
#
# Change one frame of the input, and see which frames of the output change: none before it.

# %%
magnitude = torch.rand(1, 200, spec.window_samples // 2 + 1)
changed = magnitude.clone()
changed[:, 100] += 1.0
with torch.no_grad():
    outputs = [network(given) for given in (magnitude, changed)]
first, second = (given[0] if isinstance(given, tuple) else given for given in outputs)
difference = (first - second).abs().amax(dim=-1)[0]
print("first frame that changes:", int(torch.nonzero(difference > 1e-7)[0]))
plt.figure(figsize=(6, 2.5))
plt.plot(difference)
plt.xlabel("frame")
plt.ylabel("change");

# %% [markdown]
# ## Listen

# %%
denoised = Denoiser.load(RUN)(noisy, sample_rate_hz=RATE_HZ)
Path("runs").mkdir(exist_ok=True)
for name, signal in {"noisy": noisy, "denoised": denoised}.items():
    print(f"{name:9} {metrics.snr(signal, clean)[0]:5.2f} dB SNR")
    audio.write(path := Path("runs") / f"cnn-{name}.mp3", signal, sample_rate_hz=RATE_HZ)
    display(Audio(filename=path))

# %% [markdown]
# | [the course's recording](../docs/course.md), 3000 epochs | training loss | SNR before | after |
# | --- | ---: | ---: | ---: |
# | `linear` | 0.00041 | 6.5 dB | 19.4 dB |
# | `cnn` | 0.00034 | 6.5 dB | 19.3 dB |
# | `linear`, the last fifth, not trained on | | 7.4 dB | 13.2 dB |
# | `cnn`, the last fifth, not trained on | | 7.4 dB | 12.0 dB |
#
# **The larger context does not help here. Why?**
#
# <details><summary>Answer</summary>
#
# One minute of one voice is little for a network that sees a second at a time: it learns the recording instead
# of voices. With hours of speech and noise, mixed anew in each step, the order turns:
# [the comparison](../docs/benchmarks/index.md). That is also how the bundled network was trained.
# </details>
