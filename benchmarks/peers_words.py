"""Words that a speech recogniser understands: for `peers.py`.

In an environment of its own:

    python benchmarks/peers_words.py FOLDER

prints the words of every file of a folder. pocketsphinx carries its English model in its wheel. It
is an old recogniser and errs often; before and after are compared on the same files.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

Recogniser = Callable[[Path], dict[str, str]]
"""From a folder to the words of each of its files."""

_TWO_SIDED = 1.96


def understood(folder: Path) -> dict[str, str]:
    """Words of every 16 kHz file, by its name."""
    import numpy as np
    import soundfile as sf
    from pocketsphinx import Decoder

    decoder = Decoder(samprate=16_000, loglevel="FATAL")
    words = {}
    for path in sorted(folder.glob("*.wav")):
        signal, _ = sf.read(path, dtype="float32")
        loudest = max(float(np.abs(signal).max()), 1e-9)  # as loud as recognisers want it
        samples = np.round(signal / loudest * 0.7 * 32767).astype(np.int16)
        decoder.start_utt()
        decoder.process_raw(samples.tobytes(), full_utt=True)
        decoder.end_utt()
        found = decoder.hyp()
        words[path.name] = found.hypstr if found else ""
    return words


def word_errors(found: dict[str, str], truth: dict[str, str]) -> dict[str, Any]:
    """Words wrong, left out and put in, per cent of the true ones.

    Parameters
    ----------
    found, truth : dict
        Words by file.

    Returns
    -------
    dict
        ``mean`` of all files together, ``half_width`` of its 95 % interval over files (a ratio's,
        linearised), number of ``files`` and of ``words``, ``values``: errors in each file.
    """
    from torchmetrics.functional.text import word_error_rate

    names = [name for name, text in truth.items() if text]
    words = [len(truth[name].split()) for name in names]
    rates = [float(word_error_rate(found[name], truth[name])) for name in names]
    errors = [round(rate * count) for rate, count in zip(rates, words, strict=True)]
    rate = sum(errors) / sum(words)
    squares = sum((e - rate * w) ** 2 for e, w in zip(errors, words, strict=True))
    return {
        "mean": round(100 * rate, 2),
        "half_width": round(100 * _TWO_SIDED * math.sqrt(squares) / sum(words), 2),
        "files": len(names),
        "words": sum(words),
        "values": errors,
    }


if __name__ == "__main__":
    print(json.dumps(understood(Path(sys.argv[1]))))
