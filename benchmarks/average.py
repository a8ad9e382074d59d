"""The average of two denoisers' weights: a run folder, to score, to train on from, to compress.

    python benchmarks/average.py FIRST SECOND --share 0.5 -o OUT

Of a network and of the same after further training: on the way between the two, both old and new
skills often stay (Wortsman et al., 2022, "Robust fine-tuning of zero-shot models"). Where the
training began by widening an lstm, the first is widened for it; new units are of the second.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from safetensors.torch import save_file

from tinysignal.nets import LstmNet
from tinysignal.train.denoising.build import build_net, stft_size, weights_of
from tinysignal.train.denoising.config import DenoiserConfig
from tinysignal.train.export import export_denoiser
from tinysignal.train.folder import CONFIG, MODEL, WEIGHTS


def main() -> None:
    """Average, and write weights and configuration."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs=2, type=Path, metavar="RUN")
    parser.add_argument("--share", type=float, default=0.5, help="of the second")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    first, second = (weights_of(run) for run in options.runs)
    config = DenoiserConfig.read(options.runs[1] / CONFIG, {})
    size = stft_size(config)
    net = build_net(config, size)
    if isinstance(net, LstmNet):
        net.load_state_dict(second)
        net.widen(first)
        first = {name: weight.clone() for name, weight in net.state_dict().items()}
    average = {
        name: first[name].lerp(last, options.share) if last.is_floating_point() else last
        for name, last in second.items()  # counts are no weights
    }
    options.output.mkdir(parents=True)
    save_file(average, options.output / WEIGHTS)
    shutil.copy(options.runs[1] / CONFIG, options.output / CONFIG)
    net.load_state_dict(average)
    export_denoiser(
        net.eval(),
        size,
        options.output / MODEL,
        arch=config.arch,
        sample_rate_hz=config.sample_rate_hz,
        name=config.name,
        trained_on=config.trained_on,
        licence=config.licence,
    )


if __name__ == "__main__":
    main()
